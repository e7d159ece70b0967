//! Reads the code that a person gave back. A code is text: its zeros count.

use std::num::NonZeroUsize;

use secrecy::{ExposeSecret as _, SecretString};

use super::cell::{unwrap, western};
use super::digits::{DIGITS_MIN, is_digits};
use crate::job::Problem;
use crate::number::Number;

pub(super) const NUMBER: Problem = Problem("the phone number of the row where a code should be");
pub(super) const NO_CODE: Problem = Problem("no code");
pub(super) const SEVERAL_CODES: Problem = Problem("more than one code in the cell");
pub(super) const CODE_DAMAGED: Problem =
    Problem("a code damaged by a spreadsheet: digits are lost");
pub(super) const WORDS: Problem = Problem("words where a code should be");
pub(super) const WRONG_LENGTH: Problem = Problem("a code of another length than --otp-length says");

/// No gateway sends longer ones.
pub const CHARS_MAX: usize = 32;

/// So many letters in a row are a word, not part of a code.
const WORD_MIN: usize = 3;

/// What is in a cell of codes.
pub(super) enum Code {
    /// A code, its zeros kept.
    Plain(SecretString),
    /// `******`
    Masked,
}

/// The code in a cell, or why there is none.
pub(super) fn read(cell: &str, length: Option<NonZeroUsize>) -> Result<Code, Problem> {
    let text: String = unwrap(cell).chars().map(western).collect();
    let words = has_words(&text) || is_ordinal(&text);
    if is_several(&text) {
        return Err(SEVERAL_CODES);
    }
    if is_date(&text) {
        return Err(Problem("a date where a code should be"));
    }
    let text = text.trim_end_matches('.').replace(' ', "");
    if is_damaged(&text) {
        return Err(CODE_DAMAGED);
    }
    let text = text.replace('-', "");
    if text.is_empty() {
        return Err(NO_CODE);
    }
    if text.bytes().all(|b| b == b'*') {
        return Ok(Code::Masked);
    }
    if words || !text.contains(|c: char| c.is_ascii_digit()) {
        return Err(WORDS);
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(Problem(
            "a code with characters other than letters and digits",
        ));
    }
    if text.len() > CHARS_MAX {
        return Err(Problem("a code of more than 32 characters"));
    }
    if length.is_some_and(|length| length.get() != text.len()) {
        return Err(WRONG_LENGTH);
    }
    Ok(Code::Plain(SecretString::from(text)))
}

/// Is there a word: letters alone between spaces or dashes, or more in a row than a code has?
fn has_words(text: &str) -> bool {
    let letters = |part: &str| part.chars().all(char::is_alphabetic);
    let mut parts = text.split([' ', '-', ':']).filter(|part| !part.is_empty());
    let several = parts.clone().count() > 1;
    let mut runs = text.split(|c: char| !c.is_alphabetic());
    several && parts.any(letters) || runs.any(|run| run.chars().count() >= WORD_MIN)
}

/// Is this the number of the row itself, with its country code or without?
pub(super) fn is_number(code: &SecretString, number: Number) -> bool {
    let code = code.expose_secret().trim_start_matches('0');
    code.len() >= DIGITS_MIN && number.digits().to_string().ends_with(code)
}

/// The groups of letters and digits in a text.
fn groups(text: &str) -> impl Iterator<Item = &str> {
    let groups = text.split(|c: char| !c.is_alphanumeric());
    groups.filter(|group| !group.is_empty())
}

/// `123456 654321`, `123456 - 654321`: groups that are long enough to be codes themselves.
fn is_several(text: &str) -> bool {
    /// Digits of the shortest code.
    const CODE_MIN: usize = 4;
    let is_code = |group: &&str| is_digits(group) && group.len() >= CODE_MIN;
    groups(text).filter(is_code).count() > 1
}

/// `12-05-2026`, `2026-05-12`
fn is_date(text: &str) -> bool {
    let lengths: Vec<usize> = groups(text).map(str::len).collect();
    text.chars()
        .all(|c| c.is_ascii_digit() || c == '-' || c == ' ')
        && matches!(lengths[..], [1..=2, 1..=2, 4] | [4, 1..=2, 1..=2])
}

/// `1st`, `22nd`
fn is_ordinal(text: &str) -> bool {
    let text = text.trim().to_ascii_lowercase();
    let mut endings = ["st", "nd", "rd", "th"].into_iter();
    endings.any(|ending| text.strip_suffix(ending).is_some_and(is_digits))
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
    use super::*;

    /// What a cell is read as, in one word.
    fn word(cell: &str) -> String {
        match read(cell, None) {
            Ok(Code::Plain(code)) => code.expose_secret().to_owned(),
            Ok(Code::Masked) => "masked".to_owned(),
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
            ("100-105", "100105"),
            ("100 - 105", "100105"),
            ("100\u{2013}105", "100105"),
            ("-1234", "1234"),
            ("810105.", "810105"),
            ("७००१०५", "700105"),
            ("３１०１０५", "310105"),
            ("௩௧0-105", "310105"),
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
            ("-", "no code"),
            ("''", "words"),
            ("4512.0", "damaged"),
            ("4.5E+05", "damaged"),
            ("4E+05", "damaged"),
            ("4E-05", "damaged"),
            ("4,512", "damaged"),
            ("12.34", "damaged"),
            ("****12", "other than"),
            ("1234?", "other than"),
            ("#N/A", "words"),
            ("Not received", "words"),
            ("NULL", "words"),
            ("pending", "words"),
            ("नहीं", "words"),
            ("OTP: 200105", "words"),
            ("OTP200105", "words"),
            ("G-200105", "words"),
            ("1st", "words"),
            ("22ND", "words"),
            ("123456 654321", "more than one"),
            ("123456\n654321", "more than one"),
            ("123456 - 654321", "more than one"),
            ("1234-5678", "more than one"),
            ("12-05-2026", "date"),
            ("1 5 2026", "date"),
            ("2026-05-12", "date"),
            ("210335 thanks", "words"),
            ("210335thanks", "words"),
            ("12 ok", "words"),
        ] {
            assert!(word(cell).contains(part), "{cell:?}: {}", word(cell));
        }
        assert!(word(&"7".repeat(33)).contains("more than 32"));
    }

    #[test]
    fn a_code_of_another_length_is_none_when_the_length_is_said() {
        let read = |cell| read(cell, NonZeroUsize::new(6));
        assert!(read("43215").is_err_and(|problem| problem.0.contains("--otp-length")));
        assert!(read("004-512").is_ok() && read("******").is_ok());
        assert!(read("*").is_ok());
    }

    #[test]
    fn a_problem_never_repeats_the_cell() {
        assert!(!word("48151623?42").contains("48151623"));
    }
}
