//! The digits of a cell that holds one number and nothing else: what is written around them, and
//! what says that it is none, or two. Knows no numbering plan.

use std::borrow::Cow;

use super::cell::western;
use crate::job::Problem;

pub(super) const EMPTY: Problem = Problem("no phone number");
pub(super) const SCIENTIFIC: Problem =
    Problem("a number in scientific notation: a spreadsheet has lost its digits");
pub(super) const DECIMAL: Problem = Problem("a number with a decimal fraction");
pub(super) const NEGATIVE: Problem =
    Problem("a negative number: a spreadsheet has calculated with it");
pub(super) const SEVERAL: Problem = Problem("more than one phone number in the cell");
pub(super) const EXTENSION: Problem = Problem("a phone number with an extension");
pub(super) const LETTERS: Problem = Problem("letters in the phone number");
pub(super) const STRANGE: Problem = Problem("characters that do not belong in a phone number");

/// Digits of the shortest number that may stand for a whole one.
pub(super) const DIGITS_MIN: usize = 7;

/// Digits of the longest number, E.164.
pub(super) const DIGITS_MAX: usize = 15;

/// What may be written in front of a number: links, and how exports of chats and lead ads say what
/// it is.
const SCHEMES: [&str; 5] = ["tel", "p", "whatsapp", "sms", "callto"];

/// What is written in a cell.
#[derive(Debug)]
pub(super) struct Written<'a> {
    /// The digits, without those of a decimal fraction.
    pub(super) digits: Cow<'a, str>,
    /// Does a `+` come before them?
    pub(super) plus: bool,
    /// How many zeros a decimal fraction had, `9876543210.0`.
    pub(super) zeros: usize,
}

/// The digits of a value that is one number and nothing else.
pub(super) fn written(value: &str) -> Result<Written<'_>, Problem> {
    if is_digits(value) {
        return Ok(Written {
            digits: Cow::Borrowed(value),
            plus: false,
            zeros: 0,
        });
    }
    let text: String = value.chars().map(western).collect();
    let text = only_part(without_scheme(text.trim()))?;
    let text = text.trim_end_matches([' ', ',', ';', '/']);
    let (text, zeros) = without_zero_fraction(without_marks_behind(text));
    if text.is_empty() {
        return Err(EMPTY);
    }
    if let Some(problem) = diagnosis(text) {
        return Err(problem);
    }
    Ok(Written {
        digits: Cow::Owned(text.chars().filter(char::is_ascii_digit).collect()),
        plus: text.trim_start_matches(['(', ' ']).starts_with('+'),
        zeros,
    })
}

/// `tel:…`, `p:…`, `callto://…`
fn without_scheme(text: &str) -> &str {
    match text.split_once(':') {
        Some((scheme, rest))
            if SCHEMES
                .iter()
                .any(|known| known.eq_ignore_ascii_case(scheme)) =>
        {
            rest.strip_prefix("//").unwrap_or(rest).trim_start()
        }
        _ => text,
    }
}

/// Contacts of Google have several numbers in a cell, ` ::: ` between them; one that stands alone
/// is one.
fn only_part(text: &str) -> Result<&str, Problem> {
    let mut parts = text
        .split(":::")
        .map(str::trim)
        .filter(|part| !part.is_empty());
    let first = parts.next().unwrap_or_default();
    match parts.next() {
        None => Ok(first),
        Some(_) => Err(SEVERAL),
    }
}

/// What stands behind the last digit and is no word says nothing, `98765 43210.`.
fn without_marks_behind(text: &str) -> &str {
    let end = text.trim_end_matches(|c: char| " -.,()".contains(c));
    if end.ends_with(|c: char| c.is_ascii_digit()) {
        end
    } else {
        text
    }
}

/// A fraction of nothing, as spreadsheets and pandas write it behind whole numbers, is taken off.
fn without_zero_fraction(text: &str) -> (&str, usize) {
    match text.rsplit_once(['.', ',']) {
        Some((whole, zeros @ ("0" | "00"))) if whole.contains(|c: char| c.is_ascii_digit()) => {
            (whole, zeros.len())
        }
        _ => (text, 0),
    }
}

/// Why a text is not one number: the most telling reason first.
fn diagnosis(text: &str) -> Option<Problem> {
    let letter = text.contains(char::is_alphabetic);
    let digit = text.contains(|c: char| c.is_ascii_digit());
    let first = text.trim_start_matches(['(', ' ']);
    let negative = first.starts_with('-') && digit && !letter;
    let strange = |c: char| !c.is_ascii_digit() && !" -.()".contains(c);
    let strange = !digit || first.strip_prefix('+').unwrap_or(first).contains(strange);
    let reasons = [
        (is_scientific(text), SCIENTIFIC),
        (is_decimal(text), DECIMAL),
        (negative, NEGATIVE),
        (has_extension(text), EXTENSION),
        (is_several(text) || ends_in_another(text), SEVERAL),
        (letter, LETTERS),
        (strange, STRANGE),
    ];
    let reason = reasons.into_iter().find(|(holds, _)| *holds);
    reason.map(|(_, problem)| problem)
}

pub(super) fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// `9876543210.5`, `+91-987654321.5`, `+919876543.25`; but `+91.9876543210`, `987.654.3210` and
/// `+33 6.12.34.56.78` are in groups. What stands before the last group does not matter: a trailing
/// decimal is never a digit.
fn is_decimal(text: &str) -> bool {
    let Some((whole, fraction)) = text.rsplit_once(['.', ',']) else {
        return false;
    };
    let digit = |c: char| c.is_ascii_digit();
    let belongs = |c: char| digit(c) || " +-.(),".contains(c);
    if !is_digits(fraction) || !whole.contains(digit) || !whole.chars().all(belongs) {
        return false;
    }
    let (group, mark) = (last_group(whole), &text[whole.len()..=whole.len()]);
    match fraction.len() {
        1 => true,
        2 => !(group.len() == 2 && whole.ends_with(&[mark, group].concat())),
        _ => mark == "." && (is_digits(whole) || group.len() >= DIGITS_MIN),
    }
}

/// The digits that a text ends with.
fn last_group(text: &str) -> &str {
    &text[text.trim_end_matches(|c: char| c.is_ascii_digit()).len()..]
}

/// `9.19877E+11`, `9,2e11`, `9E 11`.
fn is_scientific(text: &str) -> bool {
    let Some((mantissa, exponent)) = text.split_once(['e', 'E']) else {
        return false;
    };
    is_digits(&mantissa.replace(['.', ','], "").replace(['+', '-'], ""))
        && is_digits(exponent.trim_start_matches([' ', '+', '-']))
}

/// `98…/98…`, `98…, 98…`, `98… 98…`, `98… or 98…`, `23456789/90`: does something stand between
/// what would be two numbers?
fn is_several(text: &str) -> bool {
    let all = text.bytes().filter(u8::is_ascii_digit).count();
    let mut before = 0;
    text.chars().any(|c| {
        let after = all - before;
        before += usize::from(c.is_ascii_digit());
        before >= DIGITS_MIN
            && match c {
                '/' | '|' | '\\' | '&' | ';' => after > 0,
                ',' => after >= DIGITS_MIN,
                c => !c.is_ascii_digit() && after >= DIGITS_MIN && all > DIGITS_MAX,
            }
    })
}

/// `66543210-11`, `022-6654 3210-11`, `66543210 (11)`, `66543210-1-2`: the last digits of a second
/// line of one landline, and a third.
fn ends_in_another(text: &str) -> bool {
    const MORE_MAX: usize = 4;
    let mut behind = 0;
    for group in text.split([' ', '-', '.', '(', ')']).rev() {
        let group = group.trim_start_matches('+');
        if !is_digits(group) {
            continue;
        }
        if group.len() >= DIGITS_MIN && (1..=MORE_MAX).contains(&behind) {
            return true;
        }
        behind += group.len();
    }
    let last = last_group(text);
    let rest = &text[..text.len() - last.len()];
    let before = rest.trim_end_matches(|c: char| !c.is_ascii_digit());
    let between = &rest[before.len()..];
    let group = last_group(before);
    if last.is_empty() || !between.chars().all(|c| " -.()".contains(c)) {
        return false;
    }
    let digits = before.bytes().filter(u8::is_ascii_digit).count();
    let apart = between.contains(['-', '(']) && last.len() <= 2;
    let more = || last.len() == 1 && group.len() == 1 && ends_in_another(before);
    digits >= DIGITS_MIN && apart && (group.len() > 2 || more())
}

/// `9876543210 ext 12`, `9876543210x12`, `9876543210 #12`.
fn has_extension(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let (Some(at), Some(last)) = (
        text.find("ext").or_else(|| text.find(['x', '#'])),
        text.rfind(|c: char| c.is_ascii_digit()),
    ) else {
        return false;
    };
    let before = text[..at].bytes().filter(u8::is_ascii_digit).count();
    before >= DIGITS_MIN && last > at
}
