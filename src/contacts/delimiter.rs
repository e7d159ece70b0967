//! What separates the cells of a file: of the characters that may, the one with which it makes most
//! sense.

use csv::StringRecord;

use super::content::Content;
use super::earlier::is_ours;
use super::error::Fault;
use super::names::phone_by_name;
use super::phone_column::header_below;
use super::sheet::CELL_END;
use super::table::{Dialect, Table};
use super::{ReadOptions, numbers};
use crate::job::Lane;

/// What separates cells, as far as it is not known better.
const DELIMITERS: [u8; 4] = *b",;\t|";

/// The first rows, as far as they are looked at.
const SAMPLE_ROWS: usize = 100;
const SAMPLE_BYTES: usize = 256 * 1024;

/// How much sense a file makes with a delimiter; the greatest is the best.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Sense {
    /// Its header is that of a result file.
    ours: bool,
    /// It has one phone column (2), or one of several (1).
    phone: u8,
    /// It is a title, most likely, and the row with the names of the columns is below it.
    titled: bool,
    /// Cells of the header, when there is more than one: then the delimiter is in it. A header that
    /// cannot be read is likelier right than one cell.
    cells: Cells,
    /// Cells of the first rows.
    below: usize,
}

/// How many cells a header has, as far as that says something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Cells {
    #[default]
    One,
    Unreadable,
    /// So many of the first rows have a number where the phone column is; and so many cells.
    Several {
        numbers: usize,
        cells: usize,
    },
}

/// The delimiter that was given, or else the one that is found. A result file has commas, whatever
/// its list had.
pub(super) fn find(
    content: &Content,
    dialect: Dialect,
    options: &ReadOptions,
) -> Result<u8, Fault> {
    if content.sheet().is_some() {
        return match options.delimiter {
            Some(_) if !options.columns_are_optional => Err(Fault::DelimiterOfWorkbook),
            _ => Ok(CELL_END),
        };
    }
    let given = options.delimiter;
    if let Some(delimiter) = given.filter(|_| !options.columns_are_optional) {
        let comma = Dialect {
            delimiter: b',',
            ..dialect
        };
        let table = Table::open(content, comma);
        let is_ours = table.is_ok_and(|table| is_ours(table.latest().cells));
        return Ok(if is_ours { b',' } else { delimiter });
    }
    let mut found: Vec<(Sense, u8)> = Vec::new();
    let given = given.filter(|given| !DELIMITERS.contains(given));
    for delimiter in DELIMITERS.into_iter().chain(given) {
        let dialect = Dialect {
            delimiter,
            ..dialect
        };
        let sense = match Table::open(content, dialect) {
            Ok(table) => match table.announced {
                Some(announced) => return Ok(announced),
                None => Sense::of(table, options),
            },
            Err(fault @ (Fault::Empty | Fault::HeaderLine { .. })) => return Err(fault),
            Err(_) => Sense {
                cells: Cells::Unreadable,
                ..Sense::default()
            },
        };
        found.push((sense, delimiter));
    }
    // The sort is stable: of equals the first stays in front.
    found.sort_by(|(one, _), (other, _)| other.cmp(one));
    let ((best, delimiter), (next, other)) = (&found[0], &found[1]);
    let has_numbers = matches!(best.cells, Cells::Several { numbers: 1.., .. });
    if best == next && best.phone > 0 && has_numbers {
        return Err(Fault::ManyDelimiters {
            one: delimiter_name(char::from(*delimiter)),
            other: delimiter_name(char::from(*other)),
        });
    }
    Ok(*delimiter)
}

impl Sense {
    fn of(mut table: Table, options: &ReadOptions) -> Self {
        let names = table.latest().cells.clone();
        let rows = sample(&mut table);
        let titled = header_below(&names, &rows, options).is_some();
        let rows: Vec<StringRecord> = rows.into_iter().map(|(_, row)| row).collect();
        let (phone, place) = match phone_by_name(&names, options) {
            // One cell, with what may separate two in it: `phone,mobile`.
            Ok(Some(place)) if names.len() < 2 && names[place].contains([',', ';', '\t', '|']) => {
                (1, Some(place))
            }
            Ok(Some(place)) => (2, Some(place)),
            Ok(None) => (0, None),
            Err(_) => (1, None),
        };
        let is_number = |cell| numbers::read(cell, Lane::Call, options.region).is_ok();
        let phones = rows.iter().filter_map(|row| row.get(place?));
        let numbers = phones.filter(|cell| is_number(cell)).count();
        Self {
            ours: is_ours(&names),
            phone,
            titled,
            cells: match names.len() {
                ..2 => Cells::One,
                cells => Cells::Several { numbers, cells },
            },
            below: rows.iter().map(StringRecord::len).sum(),
        }
    }
}

/// The first rows below the header, with their lines. What is wrong with them shows when all are
/// read.
pub(super) fn sample(table: &mut Table) -> Vec<(u64, StringRecord)> {
    let (mut rows, mut bytes) = (Vec::new(), 0);
    while rows.len() < SAMPLE_ROWS && bytes < SAMPLE_BYTES {
        let Ok(Some(row)) = table.next() else {
            break;
        };
        bytes += row.text.len();
        rows.push((row.line, row.cells.clone()));
    }
    rows
}

/// What separates cells, for a message that names columns.
pub(super) fn separated(delimiter: char) -> String {
    if delimiter == char::from(CELL_END) {
        return String::new();
    }
    let name = delimiter_name(delimiter);
    format!(" (cells separated by {name}; --delimiter says what else separates them)")
}

pub(super) fn delimiter_name(delimiter: char) -> &'static str {
    match delimiter {
        ',' => "commas",
        ';' => "semicolons",
        '\t' => "tabs",
        '|' => "bars",
        _ => "the given delimiter",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::super::encoding::Encoding;
    use super::*;
    use crate::job::{Channel, Operation};

    fn found(text: &str) -> Result<char, Fault> {
        found_or(None, text)
    }

    fn found_or(given: Option<u8>, text: &str) -> Result<char, Fault> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let mut options = ReadOptions::new(Operation::Send, Channel::Sms);
        options.delimiter = given;
        let dialect = Dialect {
            encoding: Encoding::Utf8,
            delimiter: b',',
            long_cells: false,
            header_line: None,
        };
        let content = Content::of(file).unwrap();
        find(&content, dialect, &options).map(char::from)
    }

    #[test]
    fn the_delimiter_is_the_one_that_yields_a_phone_column() {
        for (text, expected) in [
            ("a,phone\n1,2", ','),
            ("a;phone\n1,5;2", ';'),
            ("a\tphone\n", '\t'),
            ("a|phone\n", '|'),
            ("phone\n", ','),
            ("Name;Mobile (home, office)\nA;9876543210\n", ';'),
            ("Name, first; last;phone;x, y, z\n", ';'),
            ("\"Courses (a;b;c;d;e)\",phone\nx,9876543210\n", ','),
            ("Courses (a;b;c;d;e),phone\nx,9876543210\n", ','),
            ("phone,x;y\n9876543210,1\n", ','),
            ("phone,a|phone\n9876543210,1|2\n", ','),
            ("phone,a|phone\n1,2|9876543210\n", '|'),
            ("sep=|\na;phone,phone\n", '|'),
            ("a;b;otp_phone,otp_status,phone\n", ','),
            ("phone;otp_phone;otp_status;a,b,c,d,e\n", ';'),
        ] {
            assert_eq!(found(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_delimiter_that_is_given_wins_but_in_a_result_file() {
        let found = |text| found_or(Some(b';'), text).unwrap();
        assert_eq!(found("a,phone\n1,2"), ';');
        assert_eq!(found("sep=,\na,phone\n1,2"), ';');
        assert_eq!(found("a;b,phone,otp_phone,otp_status\n1,2,,"), ',');
    }

    #[test]
    fn without_a_phone_column_it_is_the_one_with_most_cells() {
        for (text, expected) in [
            ("\"a,b,c\";d\n", ';'),
            ("a;b,c\n", ','),
            ("a;b;c,d\n", ';'),
            ("Our leads\nname;fon\nA;9876543210\n", ';'),
        ] {
            assert_eq!(found(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn two_that_make_as_much_sense_have_to_be_chosen_between() {
        let fault = found("phone,x;phone\n9876543210,1;9876543211\n").unwrap_err();
        let text = fault.to_string();
        assert!(
            text.contains("commas") && text.contains("semicolons"),
            "{text}"
        );
        assert!(text.contains("--delimiter"), "{text}");
    }
}
