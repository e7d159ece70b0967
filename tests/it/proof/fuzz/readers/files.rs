//! The reader of files: every row comes through once, as it stands, or the file is refused.

use std::fmt::Write as _;
use std::path::Path;

use otpdrive::contacts::{ReadOptions, Survey};
use otpdrive::job::{Channel, Operation};
use otpdrive::text::is_invisible;

use super::choices::Choices;
use super::{Seen, is_readable, read};

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
    let wide = choices.rarely(12);
    let (text, planted) = if choices.rarely(4) {
        (choices.rest().to_vec(), Vec::new())
    } else {
        messy(&mut choices)
    };
    let bytes = str::from_utf8(&text).ok().filter(|_| wide).map(utf16);
    std::fs::write(&path, bytes.as_ref().unwrap_or(&text)).expect("a file");
    let shown = format!("{:?} with {options:?}", String::from_utf8_lossy(&text));
    let read_once = read(&path, &options);
    let read_again = read(&path, &options).map(|(_, rows)| rows);
    let (survey, rows) = match read_once {
        Ok(read) => read,
        Err(why) => {
            let about = why.strip_prefix(&format!("{}: ", path.display()));
            let readable = about.is_some_and(|about| is_readable(about, 2_000));
            assert!(readable, "{why:?}, of {shown}");
            assert_eq!(read_again, Err(why), "{shown}");
            return;
        }
    };
    assert_eq!(read_again.as_ref(), Ok(&rows), "{shown}");
    assert_eq!(rows.len() as u64, survey.rows, "{shown}");
    let in_order = rows.is_sorted_by(|a, b| a.line < b.line);
    assert!(in_order, "{rows:?}, of {shown}");
    let width = cells(&survey.header);
    for row in &rows {
        assert_eq!(cells(&row.record), width, "{row:?}, of {shown}");
    }
    // What becomes of columns of ours is seen when they come back, and what of codes, where it is
    // known which can be read.
    let has = |text: &[u8], what: &[u8]| text.windows(what.len()).any(|window| window == what);
    let plain = survey.otp_column.is_none() && survey.encoding != "Windows-1252";
    if plain && !has(&text, b"\"") && !has(&text, b"otp_") {
        let rows = rows.iter().map(|row| (row.line, row.record.clone()));
        assert_eq!(rows.collect::<Vec<_>>(), simply(&text, &survey), "{shown}");
    }
    for number in planted {
        let found = is_found(number, &text, &survey, &rows);
        assert!(found, "{number} is lost: {rows:?}, of {shown}");
    }
    comes_back(&path, &survey, &rows, options);
}

/// A text in UTF-16, with its mark.
fn utf16(text: &str) -> Vec<u8> {
    let units = std::iter::once(0xfeff).chain(text.encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

/// Is this number, which stands in a row of its own, still in one?
fn is_found(number: u64, text: &[u8], survey: &Survey, rows: &[Seen]) -> bool {
    let national = (number % 10_000_000_000).to_string();
    // Of a line that is too short the number is no phone cell, and may be part of another.
    let is_phone = stands_in_the_phone_column(text, survey, &national);
    let holds = |row: &Seen| {
        let digits = row.record.chars().filter(char::is_ascii_digit);
        digits.collect::<String>().contains(&national)
    };
    rows.iter().any(|row| match row.asks {
        Ok((asked, ..)) => asked == number || !is_phone && holds(row),
        // Two rows that became one are at least not used.
        Err(_) => holds(row),
    })
}

/// Does a line, cut at the delimiters and nothing else, have this number where the header has the
/// phone column? Where the header cannot be cut so, that is taken to be so. A line of one cell is
/// no row of a wider file, but as likely a line of somebody's address.
fn stands_in_the_phone_column(text: &[u8], survey: &Survey, national: &str) -> bool {
    let text = String::from_utf8_lossy(text);
    let cut = |line: &str| line.split(survey.delimiter).map(bare).collect();
    let lines: Vec<Vec<String>> = text.split(['\r', '\n']).map(cut).collect();
    let phone = bare(&survey.phone_column);
    let header = lines.iter().find_map(|cells| {
        let at = cells.iter().position(|cell| *cell == phone)?;
        Some((at, cells.len()))
    });
    header.is_none_or(|(at, width)| {
        let mut rows = lines.iter().filter(|row| row.len() > 1 || width == 1);
        rows.any(|row| row.get(at).is_some_and(|cell| cell.contains(national)))
    })
}

/// Our columns, as `results.csv` has them.
const OURS: &str = ",otp_line,otp_campaign,otp_phone,otp_channel,otp_status,otp_reference,\
    otp_detail,otp_attempts,otp_first_sent_at,otp_settled_at,otp_latency_ms";

/// With our columns behind them, as in `results.csv`, they are a valid next input with the same rows.
fn comes_back(path: &Path, survey: &Survey, rows: &[Seen], mut options: ReadOptions) {
    let mut csv = survey.header.clone() + OURS;
    for row in rows {
        let (line, record) = (row.line, &row.record);
        let _ = match row.asks {
            Ok((number, ..)) => write!(csv, "\n{record},{line},a,+{number},call,pending,,,0,,,"),
            Err(why) => write!(csv, "\n{record},{line},a,,,invalid,,\"{why}\",0,,,"),
        };
    }
    std::fs::write(path, &csv).expect("a file");
    options.delimiter = None;
    let (survey, back) = read(path, &options).unwrap_or_else(|why| panic!("{why}: {csv}"));
    assert_eq!(survey.campaign.as_deref(), Some("a"));
    assert_eq!(back.len(), rows.len(), "{csv}");
    for (back, row) in back.iter().zip(rows) {
        let same = back.asks.ok() == row.asks.ok() && back.record == row.record;
        assert!(same, "{row:?} became {back:?}: {csv}");
    }
}

/// How many cells a record has.
fn cells(record: &str) -> usize {
    let mut reader = csv::ReaderBuilder::new();
    let mut reader = reader.has_headers(false).from_reader(record.as_bytes());
    let rows: Vec<csv::StringRecord> = reader.records().map(|row| row.expect("CSV")).collect();
    assert!(rows.len() <= 1, "more than one row: {record:?}");
    // What is empty is one empty cell.
    rows.first().map_or(1, csv::StringRecord::len)
}

/// The rows of a text without quotes, cut up with nothing but `split`: line and record.
fn simply(text: &[u8], survey: &Survey) -> Vec<(u64, String)> {
    let text = str::from_utf8(text).expect("it said so");
    let text = text.trim_start_matches('\u{feff}');
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut lines = text.lines().zip(1..);
    let mut sep = false;
    let header = lines.find(|(line, _)| {
        let is_sep = line.len() == 5 && line.to_lowercase().starts_with("sep=");
        let announces = is_sep && !sep && !line.ends_with(|c: char| c.is_ascii_alphanumeric());
        sep |= announces;
        !announces && line.contains(|c| !is_empty(c) && !",;|\t".contains(c))
    });
    let names: Vec<&str> = header.expect("one").0.split(survey.delimiter).collect();
    let is_row = |line: &str| line.contains(|c: char| !c.is_whitespace() && c != survey.delimiter);
    let rows = lines.filter(|(line, _)| is_row(line));
    let rows = rows.map(|(line, n)| (n, line.split(survey.delimiter).collect::<Vec<_>>()));
    let rows: Vec<(u64, Vec<&str>)> = rows.collect();
    let widths = rows.iter().map(|(_, cells)| cells.len());
    let width = widths.chain([names.len()]).max().unwrap_or(0);
    let record = |mut cells: Vec<&str>| {
        cells.resize(width, "");
        let quote = |cell: &str| if cell.contains(',') { "\"" } else { "" };
        let quoted = cells
            .iter()
            .map(|cell| [quote(cell), cell, quote(cell)].concat());
        quoted.collect::<Vec<_>>().join(",")
    };
    let rows = rows.into_iter().map(|(line, cells)| (line, record(cells)));
    rows.collect()
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

/// Names of columns; the last three are ours.
const NAMES: &str = "Name ¦ note ¦ channel ¦ otp ¦ a;b ¦ \"x|y\" ¦ \"q\"\"q\" ¦¦ \u{feff}z ¦ id \
    ¦ \"two\nlines\" ¦ Address ¦ a,b";
const OUR_NAMES: &str = " ¦ otp_status ¦ otp_phone ¦ otp_detail";

/// `blank` stands for a cell that is.
const CELLS: &str = "¦¦ Asha ¦ blank ¦ \"Rao, A\" ¦ \"say \"\"hi\"\"\" ¦ 5\" pipe ¦ \"two\nlines\" \
    ¦ \"a\r\nb\r\nc\" ¦ \"\" ¦ sms ¦ CALL ¦ 004512 ¦ ****** ¦ x;y ¦ x|y ¦ \u{a0} ¦ \u{200b} ¦ =1+1 \
    ¦ नमस्ते ¦ ' ¦ \"a\" b ¦ a\tb ¦ 12E45 ¦ - ¦ #N/A ¦ \"\n\" ¦ \u{feff} ¦ fax ¦ \"x\n\" y";

const PHONES: &str = "phone ¦ phone ¦ Mobile No. ¦ \"phone\" ¦ MSISDN ¦ \u{feff}phone ¦ fon";

/// What is in front of a header.
const FIRST: [&str; 8] = [
    "",
    "",
    "",
    "\u{feff}",
    "\u{feff}\u{feff}",
    "\n",
    " ,;\n\u{feff}",
    "\u{feff}\u{feff}\u{feff}",
];

/// A file as people make them, and the numbers that stand in rows of their own.
pub fn messy(choices: &mut Choices<'_>) -> (Vec<u8>, Vec<u64>) {
    let delimiter = choices.of(&[",", ",", ",", ";", "\t", "|"]);
    let end = choices.of(&["\n", "\n", "\r\n", "\r"]);
    let mut text = choices.of(&FIRST).to_owned();
    if choices.rarely(8) {
        text += &["sep=", delimiter, end].concat();
    }
    let mut planted = Vec::new();
    let before = choices.size(3);
    let after = choices.size(4);
    let row = |text: &mut String, choices: &mut Choices<'_>, phone: &str, other: &str| {
        let cell = |choices: &mut Choices<'_>| choices.word(other).replace("blank", " ");
        let mut row: Vec<String> = (0..before).map(|_| cell(choices)).collect();
        row.push(phone.to_owned());
        row.extend((0..after).map(|_| cell(choices)));
        *text += &row.join(delimiter);
        *text += choices.of(&["", "", "", "", delimiter]);
        *text += if choices.rarely(16) { "\r\n\n" } else { end };
    };
    let phone = choices.word(PHONES);
    let ours = if choices.rarely(3) { OUR_NAMES } else { "" };
    row(&mut text, choices, phone, &[NAMES, ours].concat());
    let body = text.len();
    for n in 0..choices.below(12) {
        let national = 9_000_000_000 + choices.below(1 << 24) * 16 + n;
        let phone = match choices.below(12) {
            0 => choices.word(CELLS).replace("blank", " "),
            1 => format!("\"{national}\""),
            2 => format!("+91 {national}"),
            3 => format!(" 0{national}"),
            4 => format!("=\"{national}\""),
            _ => national.to_string(),
        };
        if phone.contains(&national.to_string()) {
            planted.push(910_000_000_000 + national);
        }
        row(&mut text, choices, &phone, CELLS);
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
            let stray = [
                "\"", "\"", "\"", "\"", "\n", "\r", delimiter, "\u{feff}", " ",
            ];
            let stray = choices.of(&stray);
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
