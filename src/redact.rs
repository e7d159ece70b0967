//! Makes texts fit to leave the program, what the gateway said and what is logged: no keys, no
//! codes, nothing that a terminal would obey.
//!
//! For secrets it is a second line of defence: they are never put into such texts on purpose.

use std::borrow::Cow;
use std::ops::Range;

use secrecy::{ExposeSecret, SecretString};

/// What stands where a key stood.
const GONE: &str = "[key]";

/// What stands where a code stood.
const CODE_GONE: &str = "******";

/// KooKoo's keys are `KK` and this many hex digits: keys of other accounts are recognised too.
const KEY_HEX_DIGITS: usize = 32;

/// Shorter keys are placeholders, as in a rehearsal: taking them out would only spoil words.
const KEY_LENGTH_MIN: usize = 6;

/// How often a text is decoded: what was encoded by a proxy and again by a page is twice.
const LAYERS: usize = 4;

/// Knows the forms in which a key may appear.
#[derive(Clone, Default)]
pub struct Redactor {
    needles: Vec<SecretString>,
}

impl Redactor {
    /// Takes this key out, and whatever looks like a KooKoo key: in any case, in pieces with white
    /// space between, percent-encoded, escaped as in JSON or HTML, in base64 or in hex.
    #[must_use]
    pub fn new(key: &SecretString) -> Self {
        let key = key.expose_secret();
        if key.len() < KEY_LENGTH_MIN {
            return Self::default();
        }
        let mut needles = vec![folded(key), hex(key)];
        // As it stands in the address: where that begins in the middle of another escape, or the
        // key is not in ASCII, decoding would miss it.
        needles.push(folded(&percent_encoded(key)));
        needles.extend((0..3).flat_map(|before| base64(key, before)));
        Self { needles }
    }

    /// The text without keys.
    #[must_use]
    pub fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        without(text, GONE, |seen| {
            let mut needles = self.needles.iter();
            needles
                .find_map(|needle| begins_with(seen, needle))
                .or_else(|| key_like(seen))
        })
    }
}

/// The text without this code.
#[must_use]
pub fn without_code<'t>(text: &'t str, code: &SecretString) -> Cow<'t, str> {
    let code = folded(code.expose_secret());
    without(text, CODE_GONE, |seen| begins_with(seen, &code))
}

/// A character as it is compared, and where it stands in the text.
#[derive(Clone, Copy)]
struct Seen {
    c: char,
    start: usize,
    end: usize,
}

/// The text with a stand-in for all that `found` finds at the beginning of some characters and
/// knows the length of. It is shown the text in lower case and without white space, first as it is,
/// then decoded.
fn without<'t>(
    text: &'t str,
    stand_in: &str,
    found: impl Fn(&[Seen]) -> Option<usize>,
) -> Cow<'t, str> {
    let mut layer: Vec<Seen> = text
        .char_indices()
        .map(|(start, c)| Seen {
            c: c.to_ascii_lowercase(),
            start,
            end: start + c.len_utf8(),
        })
        .collect();
    let mut spans: Vec<Range<usize>> = Vec::new();
    for _ in 0..LAYERS {
        let seen: Vec<Seen> = layer
            .iter()
            .copied()
            .filter(|seen| counts(seen.c))
            .collect();
        let mut at = 0;
        while at < seen.len() {
            let length = found(&seen[at..]).unwrap_or(0);
            if length > 0 {
                spans.push(seen[at].start..seen[at + length - 1].end);
            }
            at += length.max(1);
        }
        let decoded = decoded(&layer);
        if decoded.len() == layer.len() {
            break;
        }
        layer = decoded;
    }
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    spans.sort_by_key(|span| span.start);
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        if span.start >= done {
            out.push_str(&text[done..span.start]);
            out.push_str(stand_in);
        }
        done = done.max(span.end);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// Is it more than what may stand between the pieces of a key?
fn counts(c: char) -> bool {
    !(c.is_whitespace() || is_hidden(c) || matches!(c, '\u{200c}' | '\u{200d}'))
}

/// A secret as texts are compared with it.
fn folded(secret: &str) -> SecretString {
    let counting = secret.chars().filter(|c| counts(*c));
    SecretString::from(counting.map(|c| c.to_ascii_lowercase()).collect::<String>())
}

/// Does this begin with the needle, which is in lower case? Then its length.
fn begins_with(seen: &[Seen], needle: &SecretString) -> Option<usize> {
    let needle = needle.expose_secret();
    let mut seen = seen.iter();
    let matches = needle
        .chars()
        .all(|c| seen.next().is_some_and(|s| s.c == c));
    matches.then(|| needle.chars().count())
}

/// Does this begin with something that looks like a key?
fn key_like(seen: &[Seen]) -> Option<usize> {
    let length = 2 + KEY_HEX_DIGITS;
    let window = seen.get(..length)?;
    let prefix = window[0].c == 'k' && window[1].c == 'k';
    (prefix && window[2..].iter().all(|seen| seen.c.is_ascii_hexdigit())).then_some(length)
}

/// Every escape replaced by what it stands for.
fn decoded(layer: &[Seen]) -> Vec<Seen> {
    let mut out = Vec::with_capacity(layer.len());
    let mut rest = layer;
    while let Some(first) = rest.first() {
        let (c, used) = escape(rest).unwrap_or((first.c, 1));
        out.push(Seen {
            c: c.to_ascii_lowercase(),
            start: first.start,
            end: rest[used - 1].end,
        });
        rest = &rest[used..];
    }
    out
}

/// What an escape at the beginning stands for, and its length: `%2b`, `\u002b`, `\/`, `&#43;`.
fn escape(seen: &[Seen]) -> Option<(char, usize)> {
    const LONGEST: usize = 10;
    let first = seen.first()?.c;
    if !matches!(first, '%' | '\\' | '&') {
        return None;
    }
    let text: String = seen.iter().take(LONGEST).map(|seen| seen.c).collect();
    let number = |digits: &str, radix| char::from_u32(u32::from_str_radix(digits, radix).ok()?);
    if first == '%' {
        return Some((number(text.get(1..3)?, 16)?, 3));
    }
    if first == '\\' {
        return Some(match text[1..].chars().next()? {
            'u' => (number(text.get(2..6)?, 16)?, 6),
            'x' => (number(text.get(2..4)?, 16)?, 4),
            'n' | 'r' | 't' => (' ', 2),
            c if c.is_ascii_punctuation() => (c, 2),
            _ => return None,
        });
    }
    let (name, _) = text[1..].split_once(';')?;
    let c = match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "plus" => '+',
        "sol" => '/',
        "equals" => '=',
        _ => match name.strip_prefix("#x") {
            Some(digits) => number(digits, 16)?,
            None => number(name.strip_prefix('#')?, 10)?,
        },
    };
    Some((c, name.chars().count() + 2))
}

/// In hexadecimal.
fn hex(key: &str) -> SecretString {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(2 * key.len());
    for byte in key.bytes() {
        // Writing to a String cannot fail.
        let _ = write!(out, "{byte:02x}");
    }
    SecretString::from(out)
}

/// In base64 (RFC 4648; in lower case, as everything that is compared) behind so many other bytes:
/// the characters that the key alone makes up, in both alphabets.
fn base64(key: &str, before: usize) -> [SecretString; 2] {
    let bits = |at: usize| -> u32 {
        // The six bits of character `at`, of which those outside the key are never asked for.
        let bit = |n: usize| {
            let byte = key.as_bytes()[n / 8 - before];
            u32::from(byte >> (7 - n % 8) & 1)
        };
        (6 * at..6 * at + 6).fold(0, |value, n| value << 1 | bit(n))
    };
    let first = (8 * before).div_ceil(6);
    let end = 8 * (before + key.len()) / 6;
    ["+/", "-_"].map(|last_two| {
        let alphabet =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789".to_owned() + last_two;
        let text: String = (first..end)
            .map(|at| char::from(alphabet.as_bytes()[bits(at) as usize]).to_ascii_lowercase())
            .collect();
        SecretString::from(text)
    })
}

/// Would a terminal obey this character, or reorder what stands around it, or would nobody see it?
/// Joiners are not meant: words of Indian languages need them.
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A text as one line on which everything can be seen: what is hidden is escaped as in JSON.
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    use std::fmt::Write as _;
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_hidden(c) {
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

/// The same for a text whose line ends are our own.
#[must_use]
pub fn visible_lines(text: &str) -> Cow<'_, str> {
    let hidden = |c| c != '\n' && is_hidden(c);
    if !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let lines: Vec<_> = text.split('\n').map(visible).collect();
    Cow::Owned(lines.join("\n"))
}

/// A value as it stands in a query: everything but unreserved characters (RFC 3986, 2.3) encoded,
/// so `+` becomes `%2B` and never arrives as a space.
#[must_use]
pub fn percent_encoded(value: &str) -> String {
    use std::fmt::Write as _;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_taken_out_plain_and_encoded() {
        let redactor = Redactor::new(&SecretString::from("a+b/cd"));
        assert_eq!(
            redactor.clean("x a+b/cd y a%2Bb%2Fcd z"),
            "x [key] y [key] z"
        );
    }

    #[test]
    fn a_key_is_taken_out_in_every_disguise() {
        let redactor = Redactor::new(&SecretString::from("Ab+c/\"d&=9"));
        for form in [
            "aB+C/\"D&=9",
            "Ab%2bc%2f%22d%26%3d9",
            "Ab%252Bc%252F%2522d%2526%253D9",
            "%41%62%2B%63%2F%22%64%26%3D%39",
            "Ab+c\\/\\\"d&=9",
            "Ab\\u002bc\\u002F\\u0022d\\u0026\\u003d9",
            "Ab&#43;c&#x2F;&quot;d&amp;=9",
            "Ab&plus;c&sol;&quot;d&amp;&equals;9",
            "Ab+c\r\n  /\"d\u{200b}&=9",
            "Ab+c\\n/\\\"d&=9",
            "41622b632f2264263d39",
        ] {
            let text = format!("<{form}> ok");
            let clean = redactor.clean(&text).replace("[key]", "");
            assert_eq!(clean, "<> ok", "{form}");
        }
    }

    #[test]
    fn a_key_is_taken_out_of_base64_wherever_it_begins() {
        let redactor = Redactor::new(&SecretString::from("Key?Key>Key~1"));
        for text in [
            "S2V5P0tleT5LZXl+MQ==",
            "S2V5P0tleT5LZXl-MQ",
            "eEtleT9LZXk+S2V5fjF5",
            "eEtleT9LZXk-S2V5fjF5",
            "eHhLZXk/S2V5PktleX4xeHg=",
            "eHhLZXk_S2V5PktleX4xeHg=",
        ] {
            let clean = redactor.clean(text);
            assert!(clean.contains(GONE), "{text}: {clean}");
            assert!(clean.len() - GONE.len() <= 8, "{text}: {clean}");
        }
    }

    #[test]
    fn a_code_is_taken_out_in_pieces_and_encoded() {
        let code = SecretString::from("00a512");
        for form in [
            "00a512",
            "00A 512",
            "%30%30%61512",
            "0&#48;a512",
            "00a\n512",
        ] {
            assert_eq!(without_code(&format!("x{form}y"), &code), "x******y");
        }
        assert_eq!(without_code("00b512", &code), "00b512");
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

    #[test]
    fn what_looks_like_a_key_is_taken_out_unknown() {
        let text = format!("KKK{}é", "0aF1".repeat(8));
        assert_eq!(Redactor::default().clean(&text), "K[key]é");
        let short = format!("KK{}", "0".repeat(31));
        assert_eq!(Redactor::default().clean(&short), short);
    }

    #[test]
    fn a_placeholder_spoils_no_words() {
        let redactor = Redactor::new(&SecretString::from("any"));
        assert_eq!(redactor.clean("many.csv"), "many.csv");
    }
}
