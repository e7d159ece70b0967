//! Reads the code that a person gave back. A code is text: its zeros count.

use secrecy::SecretString;

use super::cell::unwrap;
use crate::job::{GivenCode, Problem};

/// No gateway sends longer ones.
const CHARS_MAX: usize = 32;

/// The code in a cell, or why there is none.
pub(super) fn read(cell: &str) -> Result<GivenCode, Problem> {
    let mut text = unwrap(cell).into_owned();
    text.retain(|c| c != ' ');
    if text.is_empty() {
        return Err(Problem("no code"));
    }
    if text.bytes().all(|b| b == b'*') {
        return Ok(GivenCode::Masked {
            line: None,
            settled_at: None,
        });
    }
    if is_damaged(&text) {
        return Err(Problem("a code damaged by a spreadsheet: digits are lost"));
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Problem(
            "a code with characters other than letters and digits",
        ));
    }
    if text.len() > CHARS_MAX {
        return Err(Problem("a code of more than 32 characters"));
    }
    Ok(GivenCode::Plain(SecretString::from(text)))
}

/// Was this a number to a spreadsheet: `4.5E+05`, `4512.0`, `4,512`? A code such as `12E45` may
/// be meant.
fn is_damaged(text: &str) -> bool {
    let numeric = |b: u8| b.is_ascii_digit() || b"+-.,eE".contains(&b);
    text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(numeric)
        && (text.contains(['.', ',']) || text.contains(['e', 'E']) && text.contains(['+', '-']))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    /// What a cell is read as, in one word.
    fn word(cell: &str) -> String {
        match read(cell) {
            Ok(GivenCode::Plain(code)) => code.expose_secret().to_owned(),
            Ok(GivenCode::Masked { .. }) => "masked".to_owned(),
            Err(Problem(why)) => why.to_owned(),
        }
    }

    #[test]
    fn codes_are_read_as_text() {
        for (cell, code) in [
            ("004512", "004512"),
            (" 004512\u{a0}", "004512"),
            ("'004512", "004512"),
            ("=\"004512\"", "004512"),
            ("\u{200b}0045 12", "004512"),
            ("000000", "000000"),
            ("aB12Cd", "aB12Cd"),
            ("12E45", "12E45"),
            ("******", "masked"),
            ("*", "masked"),
        ] {
            assert_eq!(word(cell), code, "{cell:?}");
        }
        assert_eq!(word(&"7".repeat(32)), "7".repeat(32));
    }

    #[test]
    fn what_is_not_a_code_says_why() {
        for (cell, part) in [
            ("", "no code"),
            (" \u{a0} ", "no code"),
            ("''", "other than"),
            ("4512.0", "damaged"),
            ("4.5E+05", "damaged"),
            ("4E+05", "damaged"),
            ("4,512", "damaged"),
            ("12-34", "other than"),
            ("-1234", "other than"),
            ("****12", "other than"),
            ("१२३४", "other than"),
            ("#N/A", "other than"),
        ] {
            assert!(word(cell).contains(part), "{cell:?}: {}", word(cell));
        }
        assert!(word(&"7".repeat(33)).contains("more than 32"));
    }

    #[test]
    fn a_problem_never_repeats_the_cell() {
        assert!(!word("48151623-42").contains("48151623"));
    }
}
