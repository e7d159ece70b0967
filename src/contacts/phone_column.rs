//! Which column holds the numbers, and where the header is.

use csv::StringRecord;

use super::cell::is_blank;
use super::delimiter::separated;
use super::earlier::{Results, is_result};
use super::error::{Fault, list, list_places};
use super::names::{PHONE, phone_by_name};
use super::table::Row;
use super::{ReadOptions, numbers};
use crate::job::Lane;

/// What helps where `--header-line` is said of another list.
pub(super) const TAKE_OUT: &str = "take the lines above the names of the columns out of this list, for --header-line is that of the list to send to";

/// The phone column: by its name, but in a result file that which was read before.
pub(super) fn find_phone(
    names: &StringRecord,
    sample: &[(u64, StringRecord)],
    results: &Results,
    options: &ReadOptions,
) -> Result<Option<usize>, Fault> {
    let by_name = phone_by_name(names, options);
    let Some(ours) = results.phone.filter(|_| results.ours) else {
        return by_name;
    };
    if options.phone_column.is_some() {
        return by_name;
    }
    let known: Vec<(&StringRecord, String)> = sample
        .iter()
        .filter_map(|(_, row)| Some((row, numbers::written_by_us(row.get(ours)?)?)))
        .collect();
    let fits = |i: usize| {
        let fits = |(row, number): &&(&StringRecord, String)| {
            row.get(i)
                .is_some_and(|cell| numbers::resembles(cell, number))
        };
        known.iter().filter(fits).count()
    };
    let own = || (0..names.len()).filter(|i| !is_result(&names[*i]));
    let fitting: Vec<(usize, usize)> = own().map(|i| (i, fits(i))).collect();
    let most = fitting.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let best = fitting
        .into_iter()
        .filter(|(_, count)| *count == most && most > 0);
    let best: Vec<usize> = best.map(|(i, _)| i).collect();
    // Numbers that are none of those that were read are somebody's word against them.
    let is_number = |cell: &str| numbers::looks_like_one(cell, options.region);
    let holds_numbers = |row: &StringRecord| own().any(|i| row.get(i).is_some_and(is_number));
    match (by_name, &best[..]) {
        (Ok(Some(i)), best) if best.is_empty() || best.contains(&i) => Ok(Some(i)),
        (_, [only]) => Ok(Some(*only)),
        (by_name, []) if known.iter().any(|(row, _)| holds_numbers(row)) => by_name,
        // What was read is in a column of its own in any case.
        _ => Ok(Some(ours)),
    }
}

/// The line of the header, when that is plainly a row below what was taken for one: a row with a
/// phone column and without numbers, of more cells than this one has.
pub(super) fn header_below(
    names: &StringRecord,
    sample: &[(u64, StringRecord)],
    options: &ReadOptions,
) -> Option<u64> {
    let is_number = |cell: &str| numbers::read(cell, Lane::Call, options.region).is_ok();
    let is_header = |row: &StringRecord| {
        filled(row) > filled(names)
            && matches!(phone_by_name(row, options), Ok(Some(_)))
            && !row.iter().any(is_number)
    };
    if !matches!(
        phone_by_name(names, options),
        Ok(None) | Err(Fault::MissingColumn { .. })
    ) {
        return None;
    }
    let header = sample.iter().find(|(_, row)| is_header(row));
    header.map(|(line, _)| *line)
}

/// Cells that hold something.
fn filled(cells: &StringRecord) -> usize {
    cells.iter().filter(|cell| !is_blank(cell)).count()
}

/// Why there is no phone column, and what may be it.
pub(super) fn no_phone(
    header: &Row<'_>,
    sample: &[(u64, StringRecord)],
    delimiter: char,
    options: &ReadOptions,
) -> Fault {
    let (line, names) = (header.line, header.cells);
    if filled(names) == 1 && sample.iter().any(|(_, row)| filled(row) > 1) {
        let advice = if options.columns_are_optional {
            TAKE_OUT
        } else {
            "say with --header-line N on which line the names of the columns are"
        };
        return Fault::Title { line, advice };
    }
    let looks_like_one = |cell: &str| match numbers::read(cell, Lane::Call, options.region) {
        Ok(_) => true,
        Err(problem) => problem == numbers::SEVERAL,
    };
    let count = |i: usize| {
        let cells = sample.iter().filter_map(|(_, row)| row.get(i));
        cells.filter(|cell| looks_like_one(cell)).count()
    };
    let counted = (0..names.len()).map(|i| (count(i), i));
    let mut likely: Vec<(usize, usize)> = counted.filter(|(count, _)| *count > 0).collect();
    if likely.is_empty() {
        return PHONE.missing(names, delimiter);
    }
    likely.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    Fault::UnknownPhoneColumn {
        likely: list_places(likely.into_iter().map(|(_, i)| (i, &names[i]))),
        columns: list(names),
        separated: separated(delimiter),
    }
}
