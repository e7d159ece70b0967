//! A CSV file as a header and rows of cells: how it is separated, where it starts, which rows
//! count. Knows no column by name.

use std::fs::File;
use std::io;

use csv::StringRecord;

use super::error::Fault;
use super::rows::{DELIMITERS, Rows};
use super::source::{Decoded, Raw, decode};
use crate::text::is_invisible;

/// The rows of a CSV file, read once from the start.
pub(super) struct Table {
    csv: csv::Reader<Rows<Decoded>>,
    /// The latest row.
    record: StringRecord,
    /// What separates cells.
    pub(super) delimiter: u8,
    /// The first row.
    pub(super) header: StringRecord,
    /// The line of the header.
    pub(super) header_line: u64,
    /// Does a cell of the header hold a line end?
    pub(super) header_spans_lines: bool,
}

/// One row that is not blank.
pub(super) struct Row<'a> {
    /// The line on which it starts.
    pub(super) line: u64,
    /// Does a cell hold a line end?
    pub(super) spans_lines: bool,
    /// Its cells.
    pub(super) cells: &'a StringRecord,
}

impl Table {
    /// Reads up to the header; the delimiter is found there unless it is given.
    pub(super) fn open(file: &File, delimiter: Option<u8>) -> Result<Self, Fault> {
        let (source, before) = decode(Raw::new(file)?)?;
        let mut rows = Rows::new(source, before, delimiter);
        let found = find_header(&mut rows, delimiter)?;
        if delimiter.is_none() {
            // The header was cut with any delimiter; from now on only this one opens cells.
            return Self::open(file, Some(found));
        }
        let delimiter = found;
        let (header_line, header_spans_lines) = (rows.line(), rows.spans_lines());
        let mut csv = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(delimiter)
            .from_reader(rows);
        let mut header = StringRecord::new();
        csv.read_record(&mut header).map_err(fault)?;
        Ok(Self {
            csv,
            record: StringRecord::new(),
            delimiter,
            header,
            header_line,
            header_spans_lines,
        })
    }

    /// The next row that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, Fault> {
        loop {
            if !self.csv.read_record(&mut self.record).map_err(fault)? {
                return Ok(None);
            }
            if !self.record.iter().all(|cell| cell.trim().is_empty()) {
                break;
            }
        }
        let rows = self.csv.get_ref();
        Ok(Some(Row {
            line: rows.line(),
            spans_lines: rows.spans_lines(),
            cells: &self.record,
        }))
    }

    /// The SHA-256 of what was read so far: after the last row, of the whole file.
    pub(super) fn sha256(&self) -> String {
        self.csv.get_ref().source().get_ref().sha256()
    }
}

/// Moves on to the header and says what separates its cells. Blank lines come before it, and
/// maybe the line `sep=;` by which Excel says what it chose.
fn find_header(rows: &mut Rows<Decoded>, given: Option<u8>) -> Result<u8, Fault> {
    let mut announced = None;
    loop {
        if !rows.advance()? {
            return Err(Fault::Empty);
        }
        let text = rows.text();
        if is_blank(text) {
            continue;
        }
        match announcement(text) {
            Some(delimiter) if announced.is_none() => {
                announced = Some(delimiter);
                rows.set_delimiter(given.unwrap_or(delimiter));
            }
            _ => return Ok(given.or(announced).unwrap_or_else(|| sniff(text))),
        }
    }
}

/// Does a line hold nothing but separators and white space?
fn is_blank(line: &str) -> bool {
    line.chars()
        .all(|c| c.is_whitespace() || is_invisible(c) || matches!(c, ',' | ';' | '|' | '"'))
}

/// The delimiter in a line such as `sep=;`.
fn announcement(line: &str) -> Option<u8> {
    let line = line.trim_matches(['\r', '\n']);
    match line.as_bytes() {
        [s, e, p, b'=', delimiter]
            if [s, e, p].map(u8::to_ascii_lowercase) == *b"sep" && can_delimit(*delimiter) =>
        {
            Some(*delimiter)
        }
        _ => None,
    }
}

/// Can this byte separate cells?
pub(super) fn can_delimit(b: u8) -> bool {
    matches!(b, b'\t' | b' '..=b'~') && b != b'"' && !b.is_ascii_alphanumeric()
}

/// The candidate that stands most often outside quotes; the first of them when there is none.
fn sniff(header: &str) -> u8 {
    let outside = || header.split('"').step_by(2).flat_map(str::bytes);
    let count = |delimiter: &u8| outside().filter(|b| b == delimiter).count();
    // `max_by_key` takes the last of equals.
    let best = DELIMITERS.into_iter().rev().max_by_key(count);
    best.unwrap_or(DELIMITERS[0])
}

/// What is wrong, taken out of the parser's error again.
fn fault(error: csv::Error) -> Fault {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error.downcast().unwrap_or_else(Fault::Read),
        _ => Fault::Read(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn table(text: &str, delimiter: Option<u8>) -> Result<Table, Fault> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        Table::open(&file, delimiter)
    }

    fn header(text: &str) -> (char, Vec<String>) {
        let table = table(text, None).unwrap();
        let names = table.header.iter().map(str::to_owned).collect();
        (char::from(table.delimiter), names)
    }

    fn strings<const N: usize>(cells: [&str; N]) -> Vec<String> {
        cells.map(str::to_owned).to_vec()
    }

    #[test]
    fn the_delimiter_is_the_one_that_stands_most_often_in_the_header_outside_quotes() {
        assert_eq!(header("a,b\n1,2"), (',', strings(["a", "b"])));
        assert_eq!(header("a;b\n1,5;2"), (';', strings(["a", "b"])));
        assert_eq!(header("a\tb\n"), ('\t', strings(["a", "b"])));
        assert_eq!(header("a|b\n"), ('|', strings(["a", "b"])));
        assert_eq!(header("\"a,b,c\";d\n"), (';', strings(["a,b,c", "d"])));
        assert_eq!(header("phone\n"), (',', strings(["phone"])));
        assert_eq!(header("a;b,c\n"), (',', strings(["a;b", "c"])));
    }

    #[test]
    fn a_delimiter_that_is_given_wins() {
        let table = table("sep=;\na;b,c\n", Some(b',')).unwrap();
        assert_eq!(table.header, vec!["a;b", "c"]);
    }

    #[test]
    fn excels_sep_line_is_not_the_header() {
        assert_eq!(header("sep=;\r\na,b;c\r\n"), (';', strings(["a,b", "c"])));
        assert_eq!(header("\u{feff}SEP=|\na\n"), ('|', strings(["a"])));
        assert_eq!(header("sep=;\nsep=|\n"), (';', strings(["sep=|"])));
        assert_eq!(header("sep=x\n"), (',', strings(["sep=x"])));
    }

    #[test]
    fn blank_lines_before_the_header_and_a_bom_are_skipped() {
        let (_, names) = header("\u{feff}\r\n ,, \n;;\n\"\",\"\"\nphone,name\n1,2");
        assert_eq!(names, ["phone", "name"]);
        assert_eq!(table("\n \n1,2\n", None).unwrap().header_line, 3);
    }

    #[test]
    fn a_file_without_a_header_is_empty() {
        for text in ["", "\u{feff}", "\n\r\n", " ,,\n", "sep=;\n"] {
            assert!(matches!(table(text, None), Err(Fault::Empty)), "{text:?}");
        }
    }

    #[test]
    fn blank_rows_do_not_count_and_others_know_their_line() {
        let text = "phone,name\r\n\r\n1,\"a\r\nb\"\r\n,,,\r\n \u{a0},\r\n2\r\n\"\",\"\"\r\n3,,,";
        let mut table = table(text, None).unwrap();
        let mut rows = Vec::new();
        while let Some(row) = table.next().unwrap() {
            rows.push((row.line, row.cells.len(), row.spans_lines));
        }
        assert_eq!(rows, [(3, 2, true), (7, 1, false), (9, 4, false)]);
    }
}
