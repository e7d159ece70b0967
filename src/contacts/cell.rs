//! What spreadsheets and copying wrap around a value: `'`, `="…"`, spaces that are not spaces,
//! characters that cannot be seen; and the digits of other scripts, in numbers and in codes. Knows
//! nothing of what the value means.

use std::borrow::Cow;

use crate::text::is_invisible;

/// The value in a cell: white space is plain space, nothing invisible is left, and what keeps a
/// spreadsheet from touching it (`'`, `="…"`) is taken off.
pub(super) fn unwrap(cell: &str) -> Cow<'_, str> {
    if cell.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Cow::Borrowed(cell);
    }
    let plain: String = cell
        .chars()
        .map(|c| if c.is_whitespace() { ' ' } else { c })
        .filter(|c| !is_invisible(*c))
        .collect();
    let text = plain.trim();
    let text = text.strip_prefix('\'').unwrap_or(text);
    let quoted = text.strip_prefix('=').unwrap_or(text);
    let inner = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    Cow::Owned(inner.unwrap_or(text).trim().to_owned())
}

/// Is there nothing to be seen in a cell?
pub(super) fn is_blank(cell: &str) -> bool {
    cell.chars().all(|c| c.is_whitespace() || is_invisible(c))
}

/// The digits, dashes and `+` of other scripts as ASCII ones.
pub(super) fn western(c: char) -> char {
    /// The zero of each set of ten digits: Arabic, Persian, nine scripts of India, full width.
    const ZEROS: [u32; 12] = [
        0x660, 0x6f0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xff10,
    ];
    match c {
        '\0'..='\u{7f}' => c,
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{ff0d}' => '-',
        '\u{ff0b}' => '+',
        _ => ZEROS
            .into_iter()
            .filter_map(|zero| u32::from(c).checked_sub(zero))
            .find_map(|digit| char::from_digit(digit, 10))
            .unwrap_or(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_around_a_value_is_taken_off() {
        for (cell, value) in [
            ("004512", "004512"),
            ("", ""),
            (" \u{a0}12\t", "12"),
            ("'0012", "0012"),
            ("=\"0012\"", "0012"),
            ("\"0012\"", "0012"),
            ("' 12", "12"),
            ("\u{feff}\u{202a}12\u{200b}34\u{202c}", "1234"),
            ("1\u{2007}2\u{202f}3", "1 2 3"),
            ("\"12", "\"12"),
            ("=12", "=12"),
            ("\"", "\""),
        ] {
            assert_eq!(unwrap(cell), value, "{cell:?}");
        }
    }

    #[test]
    fn digits_and_dashes_of_other_scripts_are_read_as_ascii() {
        let read = |text: &str| text.chars().map(western).collect::<String>();
        assert_eq!(read("७0２٣۴৫੬૭୮௯౦೧൨"), "7023456789012");
        assert_eq!(read("\u{2011}\u{2212}\u{ff0d}\u{ff0b}"), "---+");
        assert_eq!(read("aé०๑"), "aé0๑");
    }
}
