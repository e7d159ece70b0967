//! A list as a header and rows of cells: where it starts, which rows count. Knows no column by name.
//!
//! The parser always finds *a* reading: after a quote that is never closed it takes the rest of the
//! file for one cell, and those rows would be lost in silence. So a row that goes on over several
//! lines has to be written as a program writes it, or it is refused.

use std::io;
use std::num::NonZeroU64;

use csv::StringRecord;

use super::content::Content;
use super::encoding::{Encoding, Text};
use super::error::Fault;
use super::lines::{self, Lines};
use super::sheet::ROW_END;
use crate::text::is_invisible;

/// Line ends that a cell may hold: an address has some, a lost quote has thousands.
const CELL_LINE_ENDS_MAX: usize = 100;

/// How the bytes of a file become cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dialect {
    pub(super) encoding: Encoding,
    /// What separates cells.
    pub(super) delimiter: u8,
    /// Is a cell over very many lines taken as it stands?
    pub(super) long_cells: bool,
    /// The line on which the header is, when that was said.
    pub(super) header_line: Option<NonZeroU64>,
}

/// The rows of a list, read once from the start.
pub(super) struct Table {
    csv: csv::Reader<Lines<Text>>,
    /// The latest row.
    record: StringRecord,
    dialect: Dialect,
    /// What a line before the header says that separates cells.
    pub(super) announced: Option<u8>,
}

/// One row that is not blank.
pub(super) struct Row<'a> {
    /// The line on which it starts.
    pub(super) line: u64,
    /// Its cells.
    pub(super) cells: &'a StringRecord,
    /// The row as it was written.
    pub(super) text: &'a str,
    /// Does a cell hold a line end?
    pub(super) spans_lines: bool,
}

impl Table {
    /// Reads up to the header. Blank lines come before it, and maybe the line `sep=;` by which Excel
    /// says what it chose; and anything, when it was said on which line the header is.
    pub(super) fn open(content: &Content, dialect: Dialect) -> Result<Self, Fault> {
        let (text, before) = Text::open(content, dialect.encoding)?;
        let mut csv = csv::ReaderBuilder::new();
        csv.has_headers(false)
            .flexible(true)
            .delimiter(dialect.delimiter);
        let ends = if content.sheet().is_some() {
            csv.quoting(false).terminator(csv::Terminator::Any(ROW_END));
            [ROW_END; 2]
        } else {
            lines::LINE_ENDS
        };
        let mut lines = Lines::new(text, before, ends);
        let mut announced = None;
        for _ in 1..dialect.header_line.map_or(1, NonZeroU64::get) {
            lines.skip_line()?;
            announced = announced.or(announcement(lines.row()));
            if lines.is_at_end() {
                break;
            }
        }
        let mut table = Self {
            csv: csv.from_reader(lines),
            record: StringRecord::new(),
            dialect,
            announced,
        };
        let asked = dialect.header_line;
        while let Some(row) = table.next()? {
            let line = row.line;
            match announcement(row.text) {
                _ if is_blank(row.text) => {}
                Some(announced) if table.announced.is_none() => table.announced = Some(announced),
                _ if asked.is_none_or(|asked| asked.get() == line) => return Ok(table),
                _ => break,
            }
        }
        Err(asked.map_or(Fault::Empty, |line| Fault::HeaderLine { line }))
    }

    /// This is a result file: what the program wrote is taken as it stands.
    pub(super) fn is_result(&mut self) {
        self.dialect.long_cells = true;
        self.csv.get_mut().allow_result_rows();
    }

    /// The next row that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<Row<'_>>, Fault> {
        loop {
            self.csv.get_mut().start_row();
            if !self.csv.read_record(&mut self.record).map_err(fault)? {
                return Ok(None);
            }
            if self.csv.get_ref().went_on() {
                self.check_quotes()?;
            }
            if !self.record.iter().all(|cell| cell.trim().is_empty()) {
                return Ok(Some(self.latest()));
            }
        }
    }

    /// The latest row again; after [`open`](Self::open) the header.
    pub(super) fn latest(&self) -> Row<'_> {
        let lines = self.csv.get_ref();
        let (line, end) = lines.place();
        Row {
            line,
            cells: &self.record,
            text: lines.row(),
            spans_lines: end > line,
        }
    }

    /// Refuses the latest row when a quote in it opens a cell and is not closed at the cell's end.
    fn check_quotes(&self) -> Result<(), Fault> {
        let (line, end) = self.csv.get_ref().place();
        let text = self.csv.get_ref().row();
        let opened = |cell: &str| format!("\"{}", cell.replace('"', "\"\""));
        let last = opened(self.record.iter().next_back().unwrap_or_default());
        let before = text.strip_suffix(&last);
        let starts_cell = ['\r', '\n', char::from(self.dialect.delimiter)];
        if before.is_some_and(|before| before.is_empty() || before.ends_with(starts_cell)) {
            return Err(Fault::UnclosedQuote { line });
        }
        for cell in self.record.iter().filter(|cell| cell.contains(LINE_ENDS)) {
            let written = opened(cell.trim_end_matches(' '));
            let is_whole = text.match_indices(&written).any(|(at, _)| {
                let rest = &text[at + written.len()..];
                rest.trim_start_matches(' ').starts_with('"')
            });
            if !is_whole {
                return Err(Fault::StrayQuote { line, end });
            }
            let line_ends = cell.replace("\r\n", "\n").matches(LINE_ENDS).count();
            if line_ends > CELL_LINE_ENDS_MAX && !self.dialect.long_cells {
                let max = CELL_LINE_ENDS_MAX;
                return Err(Fault::LongCell { line, max });
            }
        }
        Ok(())
    }

    /// The SHA-256 of what was read so far: after the last row, of the whole file.
    pub(super) fn sha256(&self) -> String {
        self.csv.get_ref().source().sha256()
    }
}

/// What ends a line.
pub(super) const LINE_ENDS: [char; 2] = ['\r', '\n'];

/// Does a line hold nothing but separators and white space?
fn is_blank(line: &str) -> bool {
    line.chars()
        .all(|c| c.is_whitespace() || c.is_control() || is_invisible(c) || ",;|\"".contains(c))
}

/// The delimiter in a line such as `sep=;`.
fn announcement(line: &str) -> Option<u8> {
    match line.trim_matches(LINE_ENDS).as_bytes() {
        [name @ .., b'=', delimiter]
            if name.eq_ignore_ascii_case(b"sep") && can_delimit(*delimiter) =>
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

/// What is wrong, taken out of the parser's error again.
fn fault(error: csv::Error) -> Fault {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => Fault::of_reading(error),
        _ => Fault::Read(io::ErrorKind::InvalidData.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn table(text: &str, delimiter: u8) -> Result<Table, Fault> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let dialect = Dialect {
            encoding: Encoding::Utf8,
            delimiter,
            long_cells: false,
            header_line: None,
        };
        Table::open(&Content::of(file).unwrap(), dialect)
    }

    fn header(text: &str) -> Vec<String> {
        let table = table(text, b',').unwrap();
        table.record.iter().map(str::to_owned).collect()
    }

    #[test]
    fn excels_sep_line_is_not_the_header() {
        for (text, announced, names) in [
            ("sep=;\r\na;b,c\r\n", Some(b';'), &["a;b", "c"][..]),
            ("\u{feff}SEP=|\na\n", Some(b'|'), &["a"]),
            ("sep=;\nsep=|\n", Some(b';'), &["sep=|"]),
            ("sep=x\n", None, &["sep=x"]),
        ] {
            assert_eq!(table(text, b',').unwrap().announced, announced);
            assert_eq!(header(text), names);
        }
    }

    #[test]
    fn blank_lines_before_the_header_and_a_bom_are_skipped() {
        let names = header("\u{feff}\r\n ,, \n;;\n\"\",\"\"\nphone,name\n1,2");
        assert_eq!(names, ["phone", "name"]);
        assert_eq!(table("\n \n1,2\n", b',').unwrap().latest().line, 3);
    }

    #[test]
    fn a_file_without_a_header_is_empty() {
        for text in ["", "\u{feff}", "\n\r\n", " ,,\n", "sep=;\n"] {
            assert!(matches!(table(text, b','), Err(Fault::Empty)), "{text:?}");
        }
    }

    #[test]
    fn blank_rows_do_not_count_and_others_know_their_line() {
        let text = "phone,name\r\n\r\n1,\"a\r\nb\"\r\n,,,\r\n \u{a0},\r\n2\r\n\"\",\"\"\r\n3,,,";
        let mut table = table(text, b',').unwrap();
        let mut rows = Vec::new();
        while let Some(row) = table.next().unwrap() {
            rows.push((row.line, row.cells.len(), row.spans_lines));
        }
        assert_eq!(rows, [(3, 2, true), (7, 1, false), (9, 4, false)]);
    }

    /// The lines on which the rows start, the header's included.
    fn lines(text: &str) -> Result<Vec<u64>, Fault> {
        let mut table = table(text, b',')?;
        let mut lines = vec![table.latest().line];
        while let Some(row) = table.next()? {
            lines.push(row.line);
        }
        Ok(lines)
    }

    #[test]
    fn rows_know_the_line_they_start_on_whatever_the_line_end() {
        for (text, expected) in [
            ("a\nb\n\nc", &[1, 2, 4][..]),
            ("a\r\nb\r\n\r\nc\r\n", &[1, 2, 4]),
            ("a\rb\r\rc", &[1, 2, 4]),
            ("a,\"x\r\ny\nz\"\r\nb", &[1, 4]),
        ] {
            assert_eq!(lines(text).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_quote_in_the_middle_of_a_cell_opens_nothing() {
        let text = "5\" pipe,1\na \"b\n\"c\" d,2\ne,\"\"\nf\"";
        assert_eq!(lines(text).unwrap(), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_refused_where_its_row_starts() {
        for end in ["b,2\r\nc,3\r\n", "b\n", "b", "", "b\"\"", ",1,\"\""] {
            let fault = lines(&format!("name,phone\r\na,1\r\n\"{end}")).unwrap_err();
            assert!(matches!(fault, Fault::UnclosedQuote { line: 3 }), "{fault}");
        }
        assert_eq!(lines("a,\"\"").unwrap(), [1]);
        assert_eq!(lines("a\n\"b\"\"\"").unwrap(), [1, 2]);
    }

    #[test]
    fn a_quote_closed_by_the_next_stray_quote_is_refused_where_its_row_starts() {
        for (text, lines_expected) in [
            ("name,phone\n\"a,1\nb,2\n\"c,3\n", (2, 4)),
            ("a,\"b\n5\" pipe,1\n", (1, 2)),
            ("a\n\"b\n\"  \" \n", (2, 3)),
        ] {
            match lines(text).unwrap_err() {
                Fault::StrayQuote { line, end } => assert_eq!((line, end), lines_expected),
                other => panic!("{other}"),
            }
        }
        assert_eq!(lines("\"a\nb\"\"c \"  ,1\nd").unwrap(), [1, 3]);
    }

    #[test]
    fn a_cell_over_very_many_lines_is_refused_and_one_over_some_is_not() {
        let cell = |lines: usize| format!("\"{}\"\n", "x\n".repeat(lines));
        assert_eq!(lines(&cell(100)).unwrap(), [1]);
        let fault = lines(&cell(101)).unwrap_err();
        assert!(matches!(fault, Fault::LongCell { line: 1, .. }), "{fault}");
    }
}
