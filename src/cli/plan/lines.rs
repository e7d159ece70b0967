//! Lines that fit a terminal.
//!
//! Names from outside (of files, campaigns, columns) and what can be pasted are never broken: a
//! number in a name would not be found, to be masked, in two pieces.

use std::path::Path;

use crate::cli::terminal::{INDENT_NARROW, NARROW};
use crate::text::{columns, folded, visible};

/// Columns of a label.
const LABEL: usize = 10;

/// Stands for a blank at which no line ends. No text has one: it is made visible before.
pub const GLUE: char = '\u{1f}';

/// Lines of so many columns at most; only a word that is longer is wider.
pub struct Table {
    text: String,
    most: usize,
    /// Of what stands below a label.
    indent: String,
}

impl Table {
    /// An empty one.
    pub fn new(most: usize) -> Self {
        let indent = if most < NARROW {
            INDENT_NARROW
        } else {
            LABEL + 3
        };
        Self {
            text: String::new(),
            most,
            indent: " ".repeat(indent),
        }
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.text
    }

    /// What a label says.
    pub fn row(&mut self, label: &str, text: &str) {
        let indent = self.indent.clone();
        self.line(&format!("  {label:<LABEL$} "), &indent, text);
    }

    /// More of the row before, an item of its own.
    pub fn item(&mut self, text: &str) {
        let indent = self.indent.clone();
        self.line(&indent, &format!("{indent}  "), text);
    }

    /// A text behind `first`, its further lines behind `further`; all of it where it does not fit
    /// behind the first.
    pub fn line(&mut self, first: &str, further: &str, text: &str) {
        let words = || text.split(' ').map(|word| word.replace(GLUE, " "));
        let indents = [columns(first), columns(further)];
        let mut lines = folded(words(), indents, "", self.most);
        if indents[0] > indents[1] && indents[0] + columns(&lines[0]) > self.most {
            self.text += first.trim_end();
            self.text = std::mem::take(&mut self.text) + "\n" + further;
            lines = folded(words(), [indents[1]; 2], "", self.most);
        } else {
            self.text += first;
        }
        self.text += &lines.join(&format!("\n{further}"));
        self.text.push('\n');
    }
}

/// A text that is not broken, and in which everything can be seen.
pub fn whole(text: &str) -> String {
    visible(text).replace(' ', &GLUE.to_string())
}

/// A whole path.
pub fn path(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    whole(&path.to_string_lossy())
}

/// Names of columns in quotes stay in one piece.
pub fn glued(text: &str) -> String {
    let mut is_name = false;
    let glued = |c: char| {
        is_name ^= c == '"';
        if is_name && c == ' ' { GLUE } else { c }
    };
    text.chars().map(glued).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_that_and_no_name_is_broken() {
        const WIDTH: usize = 80;
        let mut table = Table::new(WIDTH);
        let name = whole("a name with blanks, ever so long ".repeat(4).trim_end());
        table.row("label", &format!("{} {name} end", "word ".repeat(30)));
        let text = table.text;
        let wide: Vec<&str> = text.lines().filter(|line| line.len() > WIDTH).collect();
        assert_eq!(
            wide,
            [format!("{}{}", " ".repeat(13), name.replace(GLUE, " "))]
        );
        assert!(text.starts_with("  label      word word"), "{text}");
        let mut narrow = Table::new(20);
        narrow.row("label", "word word");
        narrow.row("label", "one-long-word word");
        let expected = "  label      word\n    word\n  label\n    one-long-word\n    word\n";
        assert_eq!(narrow.text, expected);
    }
}
