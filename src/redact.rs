//! Takes secrets out of texts that leave the program: what the gateway said, what is logged.
//!
//! A second line of defence: secrets are never put into such texts on purpose.

use std::borrow::Cow;

use secrecy::{ExposeSecret, SecretString};

/// What stands where a key stood.
const GONE: &str = "[key]";

/// KooKoo's keys are `KK` and this many hex digits: keys of other accounts are recognised too.
const KEY_HEX_DIGITS: usize = 32;

/// Shorter keys are placeholders, as in a rehearsal: taking them out would only spoil words.
const KEY_LENGTH_MIN: usize = 6;

/// Knows the forms in which a key may appear.
#[derive(Clone, Default)]
pub struct Redactor {
    needles: Vec<SecretString>,
}

impl Redactor {
    /// Takes this key out, plain and percent-encoded, and whatever looks like a KooKoo key.
    #[must_use]
    pub fn new(key: &SecretString) -> Self {
        let plain = key.expose_secret();
        if plain.len() < KEY_LENGTH_MIN {
            return Self::default();
        }
        let encoded = percent_encoded(plain);
        let mut needles = vec![SecretString::from(plain)];
        if encoded != plain {
            needles.push(SecretString::from(encoded));
        }
        Self { needles }
    }

    /// The text without keys.
    #[must_use]
    pub fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = Cow::Borrowed(text);
        for needle in &self.needles {
            let needle = needle.expose_secret();
            if !needle.is_empty() && text.contains(needle) {
                text = Cow::Owned(text.replace(needle, GONE));
            }
        }
        while let Some(at) = key_like(&text) {
            let end = at + 2 + KEY_HEX_DIGITS;
            text = Cow::Owned(format!("{}{GONE}{}", &text[..at], &text[end..]));
        }
        text
    }
}

/// Where something stands that looks like a key.
fn key_like(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let length = 2 + KEY_HEX_DIGITS;
    bytes.windows(length).position(|window| {
        window.starts_with(b"KK") && window[2..].iter().all(u8::is_ascii_hexdigit)
    })
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
