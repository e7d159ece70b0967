//! The guard before the CSV parser: cuts text into rows without reading their cells.
//!
//! The parser always finds *a* reading: after a quote that is never closed it takes the rest of
//! the file for one cell, and those rows would be lost in silence. So each row is cut here first,
//! by the parser's own rule (a quote counts only at the start of a cell; `\n`, `\r\n` and `\r` end
//! a row), and what cannot be meant is refused with the line where the quote opened: a file that
//! ends inside quotes, a cell over several lines that ends in the middle of other text, cells and
//! rows beyond all measure. The parser is then handed one row at a time, which also tells on
//! which line each row starts, and keeps memory bounded whatever the file.

use std::io::{self, BufRead, Read};

use super::error::Fault;

/// Lines that a quoted cell may span: an address has some, a lost quote has thousands.
const CELL_LINES_MAX: u64 = 100;

/// Bytes of a row, its line end included.
const ROW_BYTES_MAX: usize = 1024 * 1024;

/// A byte order mark; here it stands in the middle of a file and is text.
const BOM: &[u8] = "\u{feff}".as_bytes();

/// What separates cells, as far as it is not known better.
pub(super) const DELIMITERS: [u8; 4] = *b",;\t|";

/// Rows of a text, handed on one at a time through [`Read`].
pub(super) struct Rows<R> {
    source: R,
    cursor: Cursor,
    row: Vec<u8>,
    handed: usize,
    line: u64,
}

impl<R: BufRead> Rows<R> {
    /// `before` is the number of bytes of the file that come before the text. Without a delimiter
    /// any of [`DELIMITERS`] starts a cell.
    pub(super) fn new(source: R, before: u64, delimiter: Option<u8>) -> Self {
        let cursor = Cursor {
            delimiter,
            place: Place::CellStart,
            line: 1,
            byte: before,
            quote_line: 0,
            after_cr: false,
        };
        Self {
            source,
            cursor,
            row: Vec::new(),
            handed: 0,
            line: 0,
        }
    }

    /// From the next row on, only this separates cells.
    pub(super) fn set_delimiter(&mut self, delimiter: u8) {
        self.cursor.delimiter = Some(delimiter);
    }

    /// Where the bytes come from.
    pub(super) fn source(&self) -> &R {
        &self.source
    }

    /// The line on which the latest row starts.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// Does the latest row hold a line end inside a cell?
    pub(super) fn spans_lines(&self) -> bool {
        self.cursor.line - self.line > 1
    }

    /// The latest row, as written.
    pub(super) fn text(&self) -> &str {
        str::from_utf8(&self.row).unwrap_or_default()
    }

    /// Moves on to the next row; false when there is none.
    pub(super) fn advance(&mut self) -> Result<bool, Fault> {
        let (line, byte) = (self.cursor.line, self.cursor.byte);
        self.row.clear();
        self.handed = 0;
        self.cursor.place = Place::CellStart;
        loop {
            let chunk = self.source.fill_buf().map_err(Fault::Read)?;
            if chunk.is_empty() {
                self.cursor.end()?;
                break;
            }
            let (used, ended) = self.cursor.scan(chunk)?;
            self.row.extend_from_slice(&chunk[..used]);
            self.source.consume(used);
            if self.row.len() > ROW_BYTES_MAX {
                let max = ROW_BYTES_MAX;
                return Err(Fault::LongRow { line, max });
            }
            if ended {
                break;
            }
        }
        if self.row.is_empty() {
            return Ok(false);
        }
        self.line = line;
        match str::from_utf8(&self.row) {
            Ok(_) => Ok(true),
            Err(error) => Err(not_utf8(&self.row[..error.valid_up_to()], line, byte)),
        }
    }
}

/// The place of the byte that follows `valid` text in the row that starts at this line and byte.
fn not_utf8(valid: &[u8], line: u64, byte: u64) -> Fault {
    // A `\n` before anything else is the second half of the line end before the row.
    let text = valid.strip_prefix(b"\n").unwrap_or(valid);
    let ends = text.iter().filter(|b| matches!(b, b'\r' | b'\n')).count();
    let pairs = text.windows(2).filter(|pair| pair == b"\r\n").count();
    Fault::NotUtf8 {
        line: line + (ends - pairs) as u64,
        byte: byte + valid.len() as u64,
    }
}

impl<R: BufRead> Read for Rows<R> {
    /// Hands on the latest row, or the next one once that is done: never two rows in one call.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.handed == self.row.len() && !self.advance().map_err(io::Error::other)? {
            return Ok(0);
        }
        let mut n = buffer.len().min(self.row.len() - self.handed);
        if self.handed == 0 && self.row.starts_with(BOM) {
            // In pieces, or the parser would take it away from the first row and then find a quote
            // at the start of a cell where none was found here.
            n = n.min(1);
        }
        buffer[..n].copy_from_slice(&self.row[self.handed..self.handed + n]);
        self.handed += n;
        Ok(n)
    }
}

/// Where in a row a byte stands.
#[derive(Clone, Copy)]
enum Place {
    /// A quote here opens a quoted cell.
    CellStart,
    /// In text without quotes, or after it.
    Bare,
    /// Inside quotes: nothing separates cells or rows.
    Quoted,
    /// After a quote inside quotes: the end of the cell, unless another quote follows.
    Closing,
    /// In spaces after the end of a quoted cell over several lines: no text may follow.
    Padding,
}

/// Walks over the bytes of a text and knows where rows end.
struct Cursor {
    delimiter: Option<u8>,
    place: Place,
    /// The line of the next byte.
    line: u64,
    /// Its offset in the file.
    byte: u64,
    /// Where the latest quoted cell opened.
    quote_line: u64,
    /// Was the last byte a `\r`? Then a `\n` belongs to it.
    after_cr: bool,
}

impl Cursor {
    /// Walks to the end of the row, or of the chunk: how many bytes, and did the row end?
    fn scan(&mut self, chunk: &[u8]) -> Result<(usize, bool), Fault> {
        for (i, &b) in chunk.iter().enumerate() {
            let second_half = b == b'\n' && self.after_cr;
            self.after_cr = b == b'\r';
            if second_half {
                continue;
            }
            if matches!(b, b'\r' | b'\n') {
                self.line += 1;
            }
            self.place = match (self.place, b) {
                (_, 0) => {
                    let (line, byte) = (self.line, self.byte + i as u64);
                    return Err(Fault::Nul { line, byte });
                }
                (Place::Quoted, b'"') => Place::Closing,
                (Place::Quoted, _) => self.stay_quoted()?,
                (_, b'\r' | b'\n') => {
                    self.byte += i as u64 + 1;
                    return Ok((i + 1, true));
                }
                (_, b) if self.is_delimiter(b) => Place::CellStart,
                (Place::CellStart, b'"') => {
                    self.quote_line = self.line;
                    Place::Quoted
                }
                (Place::Closing, b'"') => Place::Quoted,
                (Place::Closing | Place::Padding, b' ') if self.line > self.quote_line => {
                    Place::Padding
                }
                (Place::Closing | Place::Padding, _) if self.line > self.quote_line => {
                    let (line, end) = (self.quote_line, self.line);
                    return Err(Fault::StrayQuote { line, end });
                }
                _ => Place::Bare,
            };
        }
        self.byte += chunk.len() as u64;
        Ok((chunk.len(), false))
    }

    fn is_delimiter(&self, b: u8) -> bool {
        self.delimiter
            .map_or_else(|| DELIMITERS.contains(&b), |delimiter| delimiter == b)
    }

    fn stay_quoted(&self) -> Result<Place, Fault> {
        if self.line - self.quote_line > CELL_LINES_MAX {
            let (line, max) = (self.quote_line, CELL_LINES_MAX);
            return Err(Fault::LongCell { line, max });
        }
        Ok(Place::Quoted)
    }

    /// The text ends here: may it?
    fn end(&self) -> Result<(), Fault> {
        match self.place {
            Place::Quoted => Err(Fault::UnclosedQuote {
                line: self.quote_line,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of a text with their lines, or the fault.
    fn cut(text: &[u8]) -> Result<Vec<(u64, String)>, Fault> {
        // A buffer of three bytes puts every boundary inside something.
        let source = io::BufReader::with_capacity(3, text);
        let mut rows = Rows::new(source, 0, Some(b','));
        let mut all = Vec::new();
        while rows.advance()? {
            all.push((rows.line(), rows.text().to_owned()));
        }
        Ok(all)
    }

    fn lines(text: &str) -> Vec<u64> {
        let rows = cut(text.as_bytes()).unwrap().into_iter();
        rows.filter(|(_, row)| !row.trim().is_empty())
            .map(|(line, _)| line)
            .collect()
    }

    #[test]
    fn rows_know_the_line_they_start_on_whatever_the_line_end() {
        assert_eq!(lines("a\nb\n\nc"), [1, 2, 4]);
        assert_eq!(lines("a\r\nb\r\n\r\nc\r\n"), [1, 2, 4]);
        assert_eq!(lines("a\rb\r\rc"), [1, 2, 4]);
        assert_eq!(lines("a,\"x\r\ny\nz\"\r\nb"), [1, 4]);
    }

    #[test]
    fn a_quote_in_the_middle_of_a_cell_opens_nothing() {
        assert_eq!(lines("5\" pipe,1\na \"b\n\"c\" d,2\ne"), [1, 2, 3, 4]);
    }

    #[test]
    fn a_quote_that_is_never_closed_is_refused_where_it_opened() {
        let fault = cut(b"name,phone\r\na,1\r\n\"b,2\r\nc,3\r\n").unwrap_err();
        assert!(matches!(fault, Fault::UnclosedQuote { line: 3 }), "{fault}");
    }

    #[test]
    fn a_quote_closed_by_the_next_stray_quote_is_refused_where_it_opened() {
        let fault = cut(b"name,phone\n\"a,1\nb,2\n\"c,3\n").unwrap_err();
        assert!(
            matches!(fault, Fault::StrayQuote { line: 2, end: 4 }),
            "{fault}"
        );
        assert_eq!(lines("\"a\nb\"\"c\"  ,1\nd"), [1, 3]);
        let fault = cut(b"a,\"b\n5\" pipe,1\n").unwrap_err();
        assert!(
            matches!(fault, Fault::StrayQuote { line: 1, end: 2 }),
            "{fault}"
        );
    }

    #[test]
    fn a_cell_over_very_many_lines_is_refused_and_one_over_some_is_not() {
        let cell = |lines: usize| format!("\"{}\"\n", "x\n".repeat(lines));
        assert_eq!(lines(&cell(100)), [1]);
        let fault = cut(cell(101).as_bytes()).unwrap_err();
        assert!(matches!(fault, Fault::LongCell { line: 1, .. }), "{fault}");
    }

    #[test]
    fn a_row_without_end_does_not_fill_the_memory() {
        let fault = Rows::new(io::BufReader::new(io::repeat(b'x')), 0, None)
            .advance()
            .unwrap_err();
        assert!(matches!(fault, Fault::LongRow { line: 1, .. }), "{fault}");
    }

    #[test]
    fn bytes_that_are_not_utf8_and_zero_bytes_are_refused_with_their_place() {
        let text = b"a,b\r\n\"x\r\ny\",caf\xe9\r\n";
        let fault = cut(text).unwrap_err();
        assert!(
            matches!(fault, Fault::NotUtf8 { line: 3, byte: 15 }),
            "{fault}"
        );
        let fault = cut(b"a\nb\0").unwrap_err();
        assert!(matches!(fault, Fault::Nul { line: 2, byte: 3 }), "{fault}");
    }

    #[test]
    fn the_parser_is_handed_one_row_at_a_time() {
        let mut rows = Rows::new(&b"ab\r\nc"[..], 0, None);
        let mut buffer = [0; 9];
        let mut read = || {
            let n = rows.read(&mut buffer).unwrap();
            String::from_utf8(buffer[..n].to_vec()).unwrap()
        };
        assert_eq!([read(), read(), read()], ["ab\r", "\nc", ""]);
    }
}
