//! Rows inside of a quoted cell: two stray quotes, rows apart, make valid CSV of one cell with all
//! between them in it.
//!
//! A cell may well hold lines, and lines may hold numbers. So a row over several lines is refused
//! only when one of these looks like a row, however short: it has in the place of the phone column
//! what looks like a number and is not the row's own. Prose has a space behind its commas. Who knows
//! better says so (`--accept-multiline-cells`).

use super::error::Fault;
use super::numbers;
use super::table::{LINE_ENDS, Row};
use crate::contacts::Region;

/// What was seen of a file's rows.
pub(super) struct Swallowed {
    phone: usize,
    /// Cells of the header.
    width: usize,
    delimiter: char,
    region: Region,
    /// Has a row a space behind each delimiter, as prose has?
    spaced: bool,
    /// Where the first row starts in which one could be, if rows had such spaces.
    prose: Option<u64>,
}

impl Swallowed {
    pub(super) fn new(header: &Row<'_>, phone: usize, delimiter: char, region: Region) -> Self {
        Self {
            phone,
            width: header.cells.len(),
            delimiter,
            region,
            spaced: is_prose(header.text, delimiter),
            prose: None,
        }
    }

    /// A header over several lines that holds a number has rows in it: no name does.
    pub(super) fn check_header(&self, header: &Row<'_>) -> Result<(), Fault> {
        let mut cells = header.text.split(['\r', '\n', self.delimiter]);
        if header.spans_lines && cells.any(|cell| self.is_number(cell)) {
            return Err(Fault::SwallowedRow { line: header.line });
        }
        Ok(())
    }

    /// Refuses a row when another one is in it, or notes that one may be.
    pub(super) fn add(&mut self, row: &Row<'_>) -> Result<(), Fault> {
        let (line, cells) = (row.line, row.cells);
        if !row.spans_lines {
            self.spaced = self.spaced || is_prose(row.text, self.delimiter);
            return Ok(());
        }
        let own = cells.get(self.phone).unwrap_or_default().split(LINE_ENDS);
        let own: Vec<&str> = own.map(|line| line.trim_matches([' ', ',', ';'])).collect();
        let text = row.text.replace("\"\"", "");
        let lines: Vec<&str> = text.trim_matches(LINE_ENDS).split(LINE_ENDS).collect();
        for (n, text) in lines.iter().enumerate() {
            let first = n == 0;
            // Of a line after the first, only what is in the cell counts, unless the row has too
            // many cells.
            let in_cell = !first && cells.len() <= self.width;
            let text = if in_cell {
                text.split('"').next().unwrap_or_default()
            } else {
                *text
            };
            let parts: Vec<&str> = text.split(self.delimiter).collect();
            let cell = parts
                .get(self.phone)
                .map_or("", |cell| cell.trim_matches('"'));
            let may_be_own = first || n + 1 == lines.len();
            if !self.is_number(cell) || may_be_own && own.contains(&cell.trim()) {
                continue;
            }
            let quoted = if first {
                text.rsplit('"').next().unwrap_or_default()
            } else {
                text
            };
            if is_prose(quoted, self.delimiter) {
                self.prose = self.prose.or(Some(line));
            } else {
                return Err(Fault::SwallowedRow { line });
            }
        }
        Ok(())
    }

    /// Refuses the first row in which one seems to be, if others have spaces as prose has.
    pub(super) fn end(&self) -> Result<(), Fault> {
        match self.prose.filter(|_| self.spaced) {
            Some(line) => Err(Fault::SwallowedRow { line }),
            None => Ok(()),
        }
    }

    fn is_number(&self, cell: &str) -> bool {
        numbers::looks_like_one(cell.trim_matches('"'), self.region)
    }
}

/// Does a space and then something else stand behind each delimiter, and is there one?
fn is_prose(text: &str, delimiter: char) -> bool {
    let mut parts = text.split(delimiter).skip(1).peekable();
    let is_word = |part: &str| {
        part.strip_prefix(' ')
            .is_some_and(|word| !word.trim().is_empty())
    };
    parts.peek().is_some() && parts.all(is_word)
}
