//! What spreadsheets and copying wrap around a value: `'`, `="…"`, spaces that are not spaces,
//! characters that cannot be seen. Knows nothing of what the value means.

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
}
