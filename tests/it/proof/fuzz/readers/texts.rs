//! What takes keys and numbers out of texts, and the reader of faults.

use otpdrive::gateway::redactor;
use otpdrive::number::mask_numbers;
use otpdrive::sandbox::Faults;
use otpdrive::text::percent_encoded;
use secrecy::SecretString;

use super::choices::Choices;

/// No key and no number comes through, whatever is around it; faults are read or refused.
pub fn check(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let key = key(&mut choices);
    let text = text(&mut choices, &key);

    let clean = redactor(&SecretString::from(key.clone()))
        .clean(&text)
        .into_owned();
    let shown = format!("{clean:?}, of {text:?}");
    for secret in [&key, &percent_encoded(&key)] {
        assert!(!clean.contains(secret), "{secret:?} is left in {shown}");
    }
    let like_a_key =
        |window: &[u8]| window.starts_with(b"KK") && window[2..].iter().all(u8::is_ascii_hexdigit);
    assert!(!clean.as_bytes().windows(34).any(like_a_key), "{shown}");

    let masked = mask_numbers(&text);
    // The digits of an encoded separator are none of the number's.
    let separated = ["%20", "%2D", "%2d"]
        .iter()
        .fold(masked.clone(), |text, code| text.replace(code, " "));
    assert!(longest_number(&separated) < 7, "{masked:?}, of {text:?}");
    assert_eq!(mask_numbers(&masked), masked, "of {text:?}");
    if text.chars().filter(|c| c.is_numeric()).count() < 7 {
        assert_eq!(masked, text);
    }

    if let Ok(faults) = text.parse::<Faults>() {
        assert_eq!(faults.is_empty(), text.trim().is_empty(), "{text:?}");
        let named = text.split(',').filter(|part| part.contains('=')).count();
        assert!(named == text.matches('%').count(), "{text:?}");
    }
}

/// The digits of the longest number that a text shows, in groups or not.
fn longest_number(text: &str) -> usize {
    let (mut longest, mut digits, mut gap) = (0, 0, 0);
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits = if gap > 1 { 1 } else { digits + 1 };
            gap = 0;
            longest = longest.max(digits);
        } else {
            gap += if " -.".contains(c) { 1 } else { 2 };
        }
    }
    longest
}

fn key(choices: &mut Choices<'_>) -> String {
    match choices.below(4) {
        0 => format!("KK{}", "0123456789abcdefABCDEF9876543210"),
        // Others are refused as keys.
        1 => (0..6 + choices.below(20))
            .map(|_| choices.of(&['a', 'F', '0', '+', '/', '%', '~', 'K', '&']))
            .collect(),
        2 => "a+b/cd".to_owned(),
        _ => "secret-key".to_owned(),
    }
}

fn text(choices: &mut Choices<'_>, key: &str) -> String {
    const WORDS: [&str; 32] = [
        "KK", "K", "0aF1", "[key]", "%2B", "+91", "98765", "43210", "987", "6", " ", "-", ".",
        "  ", "é", "\u{966}", "500", "drop", "=", "2%", ",", "99.9%", "reset=1%", "nan%", "1e1%",
        "\0", "%39", "&#56;", "<b>", "&shy;", "\\u{37}", "９",
    ];
    let mut text = String::new();
    while !choices.is_empty() {
        match choices.byte() {
            0..=9 => text += key,
            10..=19 => text += &percent_encoded(key),
            20..=24 => text += &key[..key.floor_char_boundary(choices.size(key.len()))],
            25..=29 => text += &["KK", &"0aF1".repeat(8)].concat(),
            30..=49 => text.push(char::from(choices.byte())),
            _ => text += choices.of(&WORDS),
        }
    }
    text
}
