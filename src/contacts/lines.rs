//! Hands a text to the CSV parser one line at a time.
//!
//! The parser reads on only while a row is not complete. So the text that it was handed for a row
//! is the row as it was written, and the row's place in the file is known. This also keeps memory
//! bounded whatever the file.

use std::io::{self, BufRead, Read};

use super::error::Fault;

/// Bytes of a row, its line end included. In a result file the quotes of a cell may be doubled, and
/// columns are added.
const ROW_BYTES_MAX: usize = 1024 * 1024;
const RESULT_BYTES_MAX: usize = 4 * ROW_BYTES_MAX;

/// What ends a line of text.
pub(super) const LINE_ENDS: [u8; 2] = *b"\r\n";

/// Lines of a text, handed on one at a time through [`Read`]. A line of text ends with `\n`, `\r\n`
/// or `\r`; the `\n` of `\r\n` is handed on with the next line.
pub(super) struct Lines<R> {
    source: R,
    /// The row so far, and how much of it has been handed on.
    row: Vec<u8>,
    handed: usize,
    /// The line on which the row starts, and the latest line.
    first: u64,
    latest: u64,
    /// The offset in the file of the next byte.
    byte: u64,
    after_cr: bool,
    ended: bool,
    row_bytes_max: usize,
    /// What ends a line.
    ends: [u8; 2],
}

impl<R: BufRead> Lines<R> {
    /// `before` is the number of bytes of the file that come before the text.
    pub(super) fn new(source: R, before: u64, ends: [u8; 2]) -> Self {
        Self {
            source,
            row: Vec::new(),
            handed: 0,
            first: 1,
            latest: 0,
            byte: before,
            after_cr: false,
            ended: false,
            row_bytes_max: ROW_BYTES_MAX,
            ends,
        }
    }

    /// Lets rows be as long as those of a result file.
    pub(super) fn allow_result_rows(&mut self) {
        self.row_bytes_max = RESULT_BYTES_MAX;
    }

    /// Where the bytes come from.
    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// The line on which the latest row starts, and the one on which it ends.
    pub(super) fn place(&self) -> (u64, u64) {
        (self.first, self.latest)
    }

    /// Did the parser want more than one line for the latest row? Then a line end is part of a
    /// cell, or the text ended before the row did.
    pub(super) fn went_on(&self) -> bool {
        self.latest > self.first || self.ended
    }

    /// Has the text ended?
    pub(super) fn is_at_end(&self) -> bool {
        self.ended
    }

    /// The latest row as it was written.
    pub(super) fn row(&self) -> &str {
        str::from_utf8(&self.row).unwrap_or_default()
    }

    /// A new row begins. All that was handed on belongs to the rows before it.
    pub(super) fn start_row(&mut self) {
        self.row.clear();
        self.handed = 0;
    }

    /// Leaves out the next line of a text, which is the latest row then.
    pub(super) fn skip_line(&mut self) -> Result<(), Fault> {
        self.start_row();
        self.next_line()?;
        self.handed = self.row.len();
        Ok(())
    }

    /// Adds the next line to the row.
    fn next_line(&mut self) -> Result<(), Fault> {
        let ends = self.ends;
        let is_end = |b: &u8| ends.contains(b);
        if self.row.iter().all(is_end) {
            // Only the ends of blank lines: the parser skips them.
            self.row.clear();
            self.first = self.latest + 1;
        }
        let start = self.row.len();
        self.handed = start;
        loop {
            let chunk = self.source.fill_buf().map_err(Fault::of_reading)?;
            let line_feed = self.after_cr && self.row.len() == start && chunk.starts_with(b"\n");
            let skipped = usize::from(line_feed);
            let end = chunk[skipped..].iter().position(is_end);
            let used = end.map_or(chunk.len(), |at| skipped + at + 1);
            let done = end.is_some() || chunk.is_empty();
            self.row.extend_from_slice(&chunk[..used]);
            self.source.consume(used);
            if self.row.len() > self.row_bytes_max {
                let (line, max) = (self.first, self.row_bytes_max);
                return Err(Fault::LongRow { line, max });
            }
            if done {
                break;
            }
        }
        let text = &self.row[start..];
        self.ended = text.is_empty();
        self.latest += u64::from(!self.ended);
        let (line, byte) = (self.latest, |at: usize| self.byte + at as u64);
        if let Some(at) = text.iter().position(|b| *b == 0) {
            let byte = byte(at);
            return Err(Fault::Nul { line, byte });
        }
        if let Err(error) = str::from_utf8(text) {
            let byte = byte(error.valid_up_to());
            return Err(Fault::NotUtf8 { line, byte });
        }
        self.after_cr = text.ends_with(b"\r");
        self.byte = byte(text.len());
        Ok(())
    }
}

impl<R: BufRead> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.handed == self.row.len() {
            self.next_line().map_err(io::Error::other)?;
        }
        let n = (&self.row[self.handed..]).read(buffer)?;
        self.handed += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(text: impl BufRead) -> Result<(), Fault> {
        let mut lines = Lines::new(text, 0, LINE_ENDS);
        match lines.read_to_end(&mut Vec::new()) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.downcast().unwrap_or_else(Fault::Read)),
        }
    }

    #[test]
    fn a_row_without_end_does_not_fill_the_memory() {
        let fault = read_all(io::BufReader::new(io::repeat(b'x'))).unwrap_err();
        assert!(matches!(fault, Fault::LongRow { line: 1, .. }), "{fault}");
    }

    #[test]
    fn bytes_that_are_not_utf8_and_zero_bytes_are_refused_with_their_place() {
        // A buffer of three bytes puts every boundary inside something.
        let cut = |text: &[u8]| read_all(io::BufReader::with_capacity(3, text));
        let fault = cut(b"a,b\r\n\"x\r\ny\",caf\xe9\r\n").unwrap_err();
        assert!(
            matches!(fault, Fault::NotUtf8 { line: 3, byte: 15 }),
            "{fault}"
        );
        let fault = cut(b"a\nb\0").unwrap_err();
        assert!(matches!(fault, Fault::Nul { line: 2, byte: 3 }), "{fault}");
    }

    #[test]
    fn the_parser_is_handed_one_line_at_a_time() {
        let mut lines = Lines::new(
            io::BufReader::with_capacity(3, &b"ab\r\n\nc"[..]),
            0,
            LINE_ENDS,
        );
        let mut buffer = [0; 9];
        let mut read = || {
            let n = lines.read(&mut buffer).unwrap();
            String::from_utf8(buffer[..n].to_vec()).unwrap()
        };
        assert_eq!([read(), read(), read(), read()], ["ab\r", "\n\n", "c", ""]);
    }
}
