//! The terminal itself: how wide it is, whether it may be painted, and lines that are redrawn in
//! place, also when its width changes.

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};

use indicatif::TermLike;
use rustix::termios::tcgetwinsize;

use crate::status::Status;
use crate::text::columns;

/// How wide and high a terminal is that does not say so.
const USUAL: (usize, usize) = (80, 24);

/// Columns of texts that are not redrawn.
const WIDTH_MAX: usize = 80;

/// On a terminal with fewer columns, texts stand not behind a label but below it, behind so many.
pub const NARROW: usize = 60;
pub const INDENT_NARROW: usize = 4;

/// Is it a terminal on which lines can be redrawn?
pub fn can_redraw(out: &impl IsTerminal) -> bool {
    let term = std::env::var_os("TERM").unwrap_or_default();
    out.is_terminal() && !term.is_empty() && term != "dumb"
}

/// May it be painted? See <https://no-color.org>.
pub fn has_colours(out: &impl IsTerminal) -> bool {
    let set = |name| std::env::var_os(name).unwrap_or_default();
    can_redraw(out) && set("NO_COLOR").is_empty() && set("CLICOLOR") != "0"
}

/// How many columns and rows it has.
fn size(out: impl AsFd) -> (usize, usize) {
    let size = tcgetwinsize(out).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or(USUAL, |size| (size.ws_col.into(), size.ws_row.into()))
}

/// How many columns a line may have that is not redrawn; `most` where it is no terminal.
pub fn width(out: &(impl AsFd + IsTerminal), most: usize) -> usize {
    if out.is_terminal() {
        size(out).0.min(most)
    } else {
        most
    }
}

/// How many columns a line on stderr may have that is not redrawn.
pub fn width_of_texts() -> usize {
    width(&io::stderr(), WIDTH_MAX)
}

/// What something is painted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    /// As it was wanted.
    Good,
    /// Somebody should look at it, or wait.
    Care,
    /// It went wrong.
    Bad,
    /// Like all else.
    Plain,
}

impl Paint {
    /// The text, painted.
    pub fn on(self, text: &str) -> String {
        let code = match self {
            Self::Good => "32",
            Self::Care => "33",
            Self::Bad => "31",
            Self::Plain => return text.to_owned(),
        };
        format!("\u{1b}[{code}m{text}\u{1b}[39m")
    }
}

impl From<Status> for Paint {
    fn from(status: Status) -> Self {
        match status {
            Status::Sent | Status::Verified => Self::Good,
            Status::Rejected | Status::Failed | Status::Invalid => Self::Bad,
            Status::Unknown | Status::Pending => Self::Care,
            Status::NotVerified | Status::Duplicate | Status::Suppressed => Self::Plain,
        }
    }
}

/// Stderr or stdout, as the place of lines that are drawn over and over.
///
/// What is drawn is fitted to its width by whoever draws it. Each line ends in a line end of its own,
/// so a terminal that changes its width breaks each anew by itself, and it is known how many rows
/// they take up then. Everything goes out in one write, and that it cannot be written (the terminal
/// is gone) is no error.
#[derive(Debug)]
pub struct InPlace<T> {
    out: T,
    lines: Mutex<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    /// Columns of each line that is there.
    drawn: Vec<usize>,
    /// What is to be there next.
    next: Vec<String>,
    /// How wide the terminal was when it was drawn.
    width: usize,
}

impl<T: AsFd> InPlace<T> {
    /// Nothing is there yet.
    pub fn new(out: T) -> Self {
        Self {
            out,
            lines: Mutex::default(),
        }
    }
}

impl Lines {
    /// What puts the next lines in the place of those that are there, in a terminal of this width.
    fn redraw(&mut self, width: usize) -> String {
        let rows = self.drawn.iter().map(|line| line.div_ceil(width).max(1));
        let up = rows.sum::<usize>().saturating_sub(1);
        let up = Some(up).filter(|up| *up > 0);
        let up = up.map_or(String::new(), |up| format!("\u{1b}[{up}A"));
        let next = std::mem::take(&mut self.next);
        // A row that a narrower terminal broke is remembered as joined to the next one until it is
        // cleared as a whole, and a wider terminal would draw both into one.
        let is_as_before = std::mem::replace(&mut self.width, width) == width;
        let clear = if is_as_before { "" } else { "\u{1b}[J" };
        let text = format!("\r{up}{clear}{}\u{1b}[J", next.join("\u{1b}[K\r\n"));
        self.drawn = next.iter().map(|line| columns(&unpainted(line))).collect();
        text
    }
}

/// A line without its paint.
fn unpainted(line: &str) -> String {
    let mut pieces = line.split('\u{1b}');
    let first = pieces.next().unwrap_or_default().to_owned();
    let behind = |piece: &'_ str| {
        piece
            .split_once('m')
            .map_or("", |(_, text)| text)
            .to_owned()
    };
    first + &pieces.map(behind).collect::<String>()
}

impl<T: AsFd + std::fmt::Debug + Send + Sync> TermLike for InPlace<T> {
    fn width(&self) -> u16 {
        u16::try_from(size(&self.out).0).unwrap_or(u16::MAX)
    }

    fn height(&self) -> u16 {
        u16::try_from(size(&self.out).1).unwrap_or(u16::MAX)
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)
    }

    /// Takes a line; what fills a row up to its end would join it to the next one.
    fn write_str(&self, line: &str) -> io::Result<()> {
        if !line.trim_matches([' ', '\r']).is_empty() {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.next.push(line.to_owned());
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if !lines.drawn.is_empty() || !lines.next.is_empty() {
            let text = lines.redraw(size(&self.out).0);
            let mut rest = text.as_bytes();
            let write = |rest| rustix::io::retry_on_intr(|| rustix::io::write(&self.out, rest));
            while let Ok(written @ 1..) = write(rest) {
                rest = &rest[written..];
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cleared_where_the_terminal_broke_or_joins_them() {
        let mut lines = Lines::default();
        let mut redraw = |width| {
            lines.next = vec!["#".repeat(15), "in flight".to_owned()];
            lines.redraw(width)
        };
        let drawn = "###############\u{1b}[K\r\nin flight\u{1b}[J";
        assert_eq!(redraw(20), format!("\r\u{1b}[J{drawn}"));
        assert_eq!(redraw(20), format!("\r\u{1b}[1A{drawn}"));
        assert_eq!(redraw(10), format!("\r\u{1b}[2A\u{1b}[J{drawn}"));
        assert_eq!(redraw(40), format!("\r\u{1b}[1A\u{1b}[J{drawn}"));
    }
}
