//! Texts as people and programs see them: what is invisible, what a terminal would obey, and how a
//! value is written in a query.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Characters without width: joiners, direction marks, soft hyphens, byte order marks, tags.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}')
}

/// Would a terminal obey this character, or reorder the text around it, or would nobody see it?
/// Joiners are not meant: words of Indian languages need them.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control() || is_invisible(c) && !matches!(c, '\u{200c}' | '\u{200d}')
}

/// Would a spreadsheet run it? Blanks or quotes in front of the sign do not keep each of them from
/// it, nor does a sign of full width.
#[must_use]
pub fn is_formula(text: &str) -> bool {
    let idle = |c: char| c.is_whitespace() || is_hidden(c) || matches!(c, '"' | '\'');
    text.starts_with(['\t', '\r'])
        || text
            .trim_start_matches(idle)
            .starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠'])
}

/// A text that was kept from being a formula to a spreadsheet, as it was before that.
#[must_use]
pub fn without_neutralisers(text: &str) -> String {
    let is_kept = |rest: &&str| is_formula(rest);
    let mut rest = text.strip_prefix('\'').filter(is_kept).unwrap_or(text);
    let mut out = String::with_capacity(rest.len());
    while let Some((before, after)) = rest.split_once(";'") {
        out.push_str(before);
        out.push_str(if is_formula(after) { ";" } else { ";'" });
        rest = after;
    }
    out + rest
}

/// A text as one line on which everything can be seen: what is hidden is escaped as in JSON.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, is_hidden)
}

/// The same for a text whose line ends are our own.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c != '\n' && is_hidden(c))
}

fn escaped(text: &str, hidden: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if hidden(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// A text as one word of a command line, to be pasted into a shell.
#[must_use]
pub fn shell_word(text: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_alphanumeric() || "-_./+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("'{}'", text.replace('\'', "'\\''")))
}

/// How many columns of a terminal a text takes up at most: some draw what belongs together (an emoji
/// of several, a syllable) as one, and some its characters one by one.
#[must_use]
pub fn columns(text: &str) -> usize {
    let one_by_one = text.chars().map(|c| match c {
        // Makes the one before wide.
        '\u{fe0f}' => 1,
        c => c.width().unwrap_or(0),
    });
    text.width().max(one_by_one.sum())
}

/// A text in at most so many columns; what is left out at its end is `…`.
#[must_use]
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if columns(text) <= most {
        return Cow::Borrowed(text);
    }
    let ends = text.char_indices().map(|(end, _)| &text[..end]);
    let fits = |start: &&str| columns(start) < most;
    let start = ends.take_while(fits).last().unwrap_or_default();
    let start = start.trim_end_matches(|c: char| c.is_whitespace() || c == '\u{200d}');
    Cow::Owned(if most == 0 {
        String::new()
    } else {
        format!("{start}…")
    })
}

/// Parts of a line as lines of at most so many columns, as far as no part is longer: the first begins
/// behind the first of `indents`, the others behind the second. Each line but the last ends with `end`.
#[must_use]
pub fn folded<T: AsRef<str>>(
    parts: impl IntoIterator<Item = T>,
    indents: [usize; 2],
    end: &str,
    most: usize,
) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for part in parts {
        let part = part.as_ref();
        let indent = indents[usize::from(lines.len() > 1)];
        match lines.last_mut() {
            Some(line) if indent + columns(line) + 1 + columns(part) + columns(end) <= most => {
                line.push(' ');
                line.push_str(part);
            }
            last => {
                if let Some(last) = last {
                    last.push_str(end);
                }
                lines.push(part.to_owned());
            }
        }
    }
    lines
}

/// Names that are less like than this, of 1, are not alike.
const LIKENESS_MIN: f64 = 0.7;

/// The name that was meant, if one is much like it.
pub fn nearest<'n>(meant: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let likeness = |name: &&str| strsim::jaro_winkler(name, meant);
    let nearest = names.max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    nearest.filter(|name| likeness(name) >= LIKENESS_MIN)
}

/// A value as it stands in a query: everything but unreserved characters (RFC 3986, 2.3) encoded,
/// so `+` becomes `%2B` and never arrives as a space.
#[must_use]
pub fn percent_encoded(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_for_a_shell_stays_one_word() {
        assert_eq!(shell_word("june-2026.csv"), "june-2026.csv");
        assert_eq!(shell_word("my leads"), "'my leads'");
        assert_eq!(shell_word("it's $1"), r"'it'\''s $1'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn wide_texts_are_shortened_by_what_they_take_up() {
        assert_eq!(columns("नमस्ते 👍🏽"), 9, "as the widest terminal draws it");
        assert_eq!(shortened("contacts", 8), "contacts");
        assert_eq!(shortened("contacts", 7), "contac…");
        assert_eq!(shortened("漢字漢字", 6), "漢字…");
        assert_eq!(shortened("June leads", 6), "June…");
        assert_eq!(
            shortened("👩\u{200d}👩\u{200d}👧 family", 5),
            "👩\u{200d}👩…"
        );
        assert_eq!(shortened("x", 0), "");
        for most in 0..30 {
            assert!(columns(&shortened("सितंबर 2026 के ग्राहक ❤️", most)) <= most);
        }
    }

    #[test]
    fn a_line_is_folded_between_its_parts() {
        let words = "otpdrive report --only failed,unknown".split(' ');
        let lines = folded(words, [2; 2], " \\", 20);
        assert_eq!(lines, ["otpdrive report \\", "--only \\", "failed,unknown"]);
    }

    #[test]
    fn what_a_terminal_obeys_is_shown_instead() {
        assert_eq!(visible("a\u{1b}[2Jb\rc\nd"), "a\\u001b[2Jb\\u000dc\\u000ad");
        assert_eq!(
            visible("\u{9b}31m \u{202e}x \u{e0041}"),
            "\\u009b31m \\u202ex \\udb40\\udc41"
        );
        assert_eq!(visible("नमस्ते क्‍ष"), "नमस्ते क्‍ष");
        assert_eq!(visible_lines("a\n\u{7f}b\n"), "a\n\\u007fb\n");
    }
}
