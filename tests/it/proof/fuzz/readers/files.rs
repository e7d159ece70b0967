//! The reader of files: every row comes through once, as it stands, or the file is refused.

use std::path::Path;

use otpdrive::contacts::{ReadOptions, Survey, open};
use otpdrive::outcome::{Channel, Contact, Lane, Operation};
use otpdrive::record::{Row, RowState};
use otpdrive::report::results::Results;
use otpdrive::text::is_invisible;

use super::choices::Choices;

/// A row as read: where it stands, what it holds, and its number with the request it asks for.
#[derive(Debug, PartialEq)]
struct Seen {
    line: u64,
    record: String,
    asks_for: Result<(u64, Lane), &'static str>,
}

/// Any bytes: refused with a message that says where, or read without a row lost or merged.
pub fn check(bytes: &[u8]) {
    let folder = super::folder();
    let path = folder.path().join("list.csv");
    let mut choices = Choices::new(bytes);
    let operation = choices.of(&[Operation::Send, Operation::Verify]);
    let mut options = ReadOptions::new(operation, Channel::Call);
    if choices.rarely(8) {
        options.delimiter = Some(choices.of(b",;\t| #-:"));
    }
    if choices.rarely(16) {
        options.phone_column = Some(choices.of(&["phone", "Name", "otp_phone"]).to_owned());
    }
    let (text, planted) = if choices.rarely(4) {
        (choices.rest().to_vec(), Vec::new())
    } else {
        messy(&mut choices)
    };
    std::fs::write(&path, &text).expect("a file");
    let shown = || format!("{:?} with {options:?}", String::from_utf8_lossy(&text));

    let read = read(&path, &options);
    let (survey, rows) = match &read {
        Ok(read) => read,
        Err(why) => {
            let again = self::read(&path, &options).err();
            assert_eq!(again.as_ref(), Some(why), "{}", shown());
            let about = why.strip_prefix(&format!("{}: ", path.display()));
            assert!(
                about.is_some_and(|about| super::is_readable(about, 2_000)),
                "{why:?}, of {}",
                shown()
            );
            return;
        }
    };
    let again = self::read(&path, &options).map(|(_, rows)| rows);
    assert_eq!(again.as_ref(), Ok(rows), "{}", shown());
    assert_eq!(rows.len() as u64, survey.rows, "{}", shown());
    assert!(
        rows.is_sorted_by(|a, b| a.line < b.line),
        "{rows:?}, of {}",
        shown()
    );
    let width = cells(&survey.header).len();
    for row in rows {
        assert_eq!(cells(&row.record).len(), width, "{row:?}, of {}", shown());
    }
    if !text.contains(&b'"') {
        assert_eq!(*rows, simply(&text, survey, &options, rows), "{}", shown());
    }
    for number in planted {
        let digits = |row: &Seen| {
            row.record
                .chars()
                .filter(char::is_ascii_digit)
                .collect::<String>()
        };
        let national = (number % 10_000_000_000).to_string();
        // Of a line that is too short the number is no phone cell, and may be part of another.
        let is_phone = stands_in_the_phone_column(&text, survey, &national);
        let found = rows.iter().any(|row| match row.asks_for {
            Ok((read, _)) => read == number || !is_phone && digits(row).contains(&national),
            // Two rows that became one are at least not used.
            Err(_) => digits(row).contains(&national),
        });
        assert!(found, "{number} is lost: {rows:?}, of {}", shown());
    }
    comes_back(&path, survey, rows, options);
}

/// Does a line, cut at the delimiters and nothing else, have this number where the header has the
/// phone column? Where the header cannot be cut so, that is taken to be so. A line of one cell is
/// no row of a wider file, but as likely a line of somebody's address.
fn stands_in_the_phone_column(text: &[u8], survey: &Survey, national: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    let cut = |line: &str| -> Vec<String> {
        let cells = line.split(survey.delimiter);
        cells.map(bare).collect()
    };
    let lines: Vec<Vec<String>> = text.split(['\r', '\n']).map(cut).collect();
    let header = lines.iter().find_map(|cells| {
        let mut names = cells.iter();
        let phone = names.position(|cell| *cell == bare(&survey.phone_column));
        phone.map(|phone| (phone, cells.len()))
    });
    header.is_none_or(|(phone, width)| {
        let mut rows = lines.iter().filter(|row| row.len() > 1 || width == 1);
        rows.any(|row| row.get(phone).is_some_and(|cell| cell.contains(national)))
    })
}

/// `results.csv` of these rows is a valid next input with the same rows.
fn comes_back(path: &Path, survey: &Survey, rows: &[Seen], mut options: ReadOptions) {
    let mut csv = Vec::new();
    let mut results = Results::new(&mut csv, &survey.header);
    for row in rows {
        let (number, lane) = match row.asks_for {
            Ok((digits, lane)) => (otpdrive::outcome::Number::new(digits), lane),
            Err(_) => (None, Lane::Call),
        };
        let row = Row {
            line: row.line,
            record: row.record.clone(),
            number,
            lane,
            state: match row.asks_for {
                Ok(_) => RowState::Job(Vec::new()),
                Err(why) => RowState::Invalid(why.to_owned()),
            },
        };
        results.row(&row, &row.outcome()).expect("it is written");
    }
    results.finish().expect("it is written");
    std::fs::write(path, &csv).expect("a file");
    options.delimiter = None;
    let shown = || String::from_utf8_lossy(&csv).into_owned();
    match read(path, &options) {
        Ok((_, back)) => {
            assert_eq!(back.len(), rows.len(), "{}", shown());
            for (back, row) in back.iter().zip(rows) {
                // Hidden like any code; the ledger knows that there was none before.
                let bad_code = row.asks_for.is_err_and(|why| why.contains("a code"));
                let same = back.asks_for.ok() == row.asks_for.ok();
                assert!(same || bad_code, "{row:?} became {back:?}: {}", shown());
            }
        }
        // Lines in a cell that are no rows between semicolons can be some between commas; and a
        // row can be as long as a row may be.
        Err(why) => assert!(
            why.contains("look like rows of their own") || csv.len() > 500_000,
            "{why}: {}",
            shown()
        ),
    }
}

fn read(path: &Path, options: &ReadOptions) -> Result<(Survey, Vec<Seen>), String> {
    let read = || {
        let mut input = open(path, options.clone())?;
        let survey = input.survey()?;
        let contacts = input.contacts(&survey)?;
        let rows = contacts
            .map(|contact| contact.map(seen))
            .collect::<Result<_, _>>()?;
        Ok((survey, rows))
    };
    read().map_err(|error: otpdrive::contacts::ContactsError| error.to_string())
}

fn seen(contact: Contact) -> Seen {
    Seen {
        line: contact.line,
        record: contact.record,
        asks_for: match contact.wish {
            Ok(wish) => Ok((wish.number.digits(), wish.lane)),
            Err(problem) => Err(problem.0),
        },
    }
}

/// The cells of a record.
fn cells(record: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(record.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("CSV")).collect();
    match &rows[..] {
        // What is empty is one empty cell.
        [] => vec![String::new()],
        [row] => row.iter().map(str::to_owned).collect(),
        _ => panic!("more than one row: {record:?}"),
    }
}

/// The rows of a text without quotes, cut up with nothing but `split`.
fn simply(text: &[u8], survey: &Survey, options: &ReadOptions, read: &[Seen]) -> Vec<Seen> {
    let text = str::from_utf8(text).expect("or it had been refused");
    let text = text
        .trim_start_matches('\u{feff}')
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    let mut lines = text.lines().zip(1..);
    let is_blank = |line: &str| {
        let mut cells = line.split([',', ';', '|', '\t']);
        cells.all(|cell| cell.trim_matches(is_empty).is_empty())
    };
    let mut sep = false;
    let header = lines.find(|(line, _)| {
        let announces = line.len() == 5
            && line.to_lowercase().starts_with("sep=")
            && !sep
            && !line.ends_with(|c: char| c.is_ascii_alphanumeric());
        sep |= announces;
        !announces && !is_blank(line)
    });
    let names: Vec<&str> = header.expect("one").0.split(survey.delimiter).collect();
    let mut rows: Vec<(u64, Vec<&str>)> = lines
        .map(|(line, n)| (n, line.split(survey.delimiter).collect::<Vec<_>>()))
        .filter(|(_, cells)| cells.iter().any(|cell| !cell.trim().is_empty()))
        .collect();
    let width = rows
        .iter()
        .map(|(_, cells)| cells.len())
        .max()
        .unwrap_or(0)
        .max(names.len());
    let code = names
        .iter()
        .position(|name| Some(*name) == survey.otp_column.as_deref());
    assert_eq!(rows.len(), read.len(), "rows, of {text:?} with {options:?}");
    let simple = rows.iter_mut().zip(read).map(|((line, cells), read)| {
        if let Some(cell) = code
            .and_then(|code| cells.get_mut(code))
            .filter(|cell| !bare(cell).is_empty())
        {
            *cell = "******";
        }
        cells.resize(width, "");
        let ours = |name: &str| {
            let name = bare(name);
            name.strip_prefix("otp_")
                .is_some_and(|name| OURS.contains(&name))
        };
        let kept = cells
            .iter()
            .enumerate()
            .filter(|(i, _)| !names.get(*i).is_some_and(|name| ours(name)));
        let quoted = |cell: &str| {
            if cell.contains(',') {
                format!("\"{cell}\"")
            } else {
                cell.to_owned()
            }
        };
        let record: Vec<String> = kept.map(|(_, cell)| quoted(cell)).collect();
        Seen {
            line: *line,
            record: record.join(","),
            asks_for: read.asks_for,
        }
    });
    simple.collect()
}

fn is_empty(c: char) -> bool {
    c.is_whitespace() || is_invisible(c)
}

/// A value without what cannot be seen and the quote by which a spreadsheet keeps it a text.
fn bare(cell: &str) -> String {
    let seen = cell.replace(is_invisible, "");
    let seen = seen.trim();
    seen.strip_prefix('\'').unwrap_or(seen).trim().to_owned()
}

const OURS: [&str; 9] = [
    "phone",
    "channel",
    "status",
    "reference",
    "detail",
    "attempts",
    "first_sent_at",
    "settled_at",
    "latency_ms",
];

const NAMES: [&str; 16] = [
    "Name",
    "note",
    "channel",
    "otp",
    "a;b",
    "\"x|y\"",
    "\"q\"\"q\"",
    "",
    "\u{feff}z",
    "id",
    "\"two\nlines\"",
    "Address",
    "a,b",
    "otp_status",
    "otp_phone",
    "otp_detail",
];

const CELLS: [&str; 30] = [
    "",
    "",
    "Asha",
    " ",
    "\"Rao, A\"",
    "\"say \"\"hi\"\"\"",
    "5\" pipe",
    "\"two\nlines\"",
    "\"a\r\nb\r\nc\"",
    "\"\"",
    "sms",
    "CALL",
    "004512",
    "******",
    "x;y",
    "x|y",
    "\u{a0}",
    "\u{200b}",
    "=1+1",
    "नमस्ते",
    "'",
    "\"a\" b",
    "a\tb",
    "12E45",
    "-",
    "#N/A",
    "\"\n\"",
    "\u{feff}",
    "fax",
    "\"x\n\" y",
];

const PHONES: [&str; 7] = [
    "phone",
    "phone",
    "Mobile No.",
    "\"phone\"",
    "MSISDN",
    "\u{feff}phone",
    "fon",
];

/// A file as people make them, and the numbers that stand in rows of their own.
fn messy(choices: &mut Choices<'_>) -> (Vec<u8>, Vec<u64>) {
    let delimiter = choices.of(&[",", ",", ",", ";", "\t", "|"]);
    let end = choices.of(&["\n", "\n", "\r\n", "\r"]);
    let mut text = choices
        .of(&[
            "",
            "",
            "",
            "\u{feff}",
            "\u{feff}\u{feff}",
            "\n",
            " ,;\n\u{feff}",
            "\u{feff}\u{feff}\u{feff}",
        ])
        .to_owned();
    if choices.rarely(8) {
        text += &["sep=", delimiter, end].concat();
    }
    let mut planted = Vec::new();
    let before = choices.size(3);
    let after = choices.size(4);
    let row =
        |text: &mut String, choices: &mut Choices<'_>, phone: &str, other: &[&'static str]| {
            let mut row: Vec<String> = (0..before).map(|_| choices.of(other).to_owned()).collect();
            row.push(phone.to_owned());
            row.extend((0..after).map(|_| choices.of(other).to_owned()));
            *text += &row.join(delimiter);
            *text += choices.of(&["", "", "", "", delimiter]);
            *text += if choices.rarely(16) { "\r\n\n" } else { end };
        };
    let phone = choices.of(&PHONES);
    let names = if choices.rarely(3) {
        &NAMES[..]
    } else {
        &NAMES[..13]
    };
    row(&mut text, choices, phone, names);
    let body = text.len();
    for n in 0..choices.below(12) {
        let national = 9_000_000_000 + choices.below(1 << 24) * 16 + n;
        let phone = match choices.below(12) {
            0 => choices.of(&CELLS).to_owned(),
            1 => format!("\"{national}\""),
            2 => format!("+91 {national}"),
            3 => format!(" 0{national}"),
            4 => format!("=\"{national}\""),
            _ => national.to_string(),
        };
        if phone.contains(&national.to_string()) {
            planted.push(910_000_000_000 + national);
        }
        row(&mut text, choices, &phone, &CELLS);
    }
    if text.contains("otp") {
        // A row with a cell too many may have its number in a column that is dropped or hidden.
        planted.clear();
    }
    // Stray characters, but none that takes a number apart; in the header or behind it, for rows
    // under a header of another width have their numbers in another column.
    let (start, end) = if choices.rarely(4) {
        (0, body)
    } else {
        (body, text.len())
    };
    for _ in 0..choices.below(8).saturating_sub(3) {
        let at = text.floor_char_boundary(start + choices.size(end - start + 1));
        let digit = |c: char| c.is_ascii_digit();
        if !(text[at..].starts_with(digit) && text[..at].ends_with(digit)) {
            let stray = choices.of(&[
                "\"", "\"", "\"", "\"", "\n", "\r", delimiter, "\u{feff}", " ",
            ]);
            text.insert_str(at, stray);
        }
    }
    if choices.rarely(3) {
        quote(&mut text, choices, start);
    }
    let mut bytes = text.into_bytes();
    if choices.rarely(24) {
        let at = choices.size(bytes.len() + 1);
        bytes.insert(at, choices.of(&[0, 0xff, 0xc3, 0x80]));
    }
    if choices.rarely(64) {
        let long = choices
            .of(&["x", "9", "\n", ",", "9,"])
            .repeat(1 << choices.below(18));
        let at = choices.size(bytes.len() + 1);
        bytes.splice(at..at, long.into_bytes());
        // It may have taken a number apart.
        planted.clear();
    }
    (bytes, planted)
}

/// Two quotes that make one cell of some that follow each other.
fn quote(text: &mut String, choices: &mut Choices<'_>, start: usize) {
    let ends = text[start..].match_indices(|c| ",;\t|\r\n".contains(c));
    let ends: Vec<usize> = ends.map(|(at, _)| start + at).collect();
    if ends.is_empty() {
        return;
    }
    let first = choices.size(ends.len());
    let last = (first + 1 + choices.size(8)).min(ends.len() - 1);
    if first < last {
        text.insert(ends[last], '"');
        text.insert(ends[first] + 1, '"');
    }
}
