//! Telephone numbers, and how they are masked in texts.

use std::fmt;
use std::ops::Range;

use crate::decode::{Seen, layers};
use crate::text::is_invisible;

/// A telephone number in E.164 form: country code and national number, 7 to 15 digits, no `+`.
///
/// It has no `Display`, and its `Debug` is masked: a whole number is printed only where somebody
/// wrote [`Number::e164`] on purpose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u64);

impl Number {
    /// The number with these E.164 digits, when there are 7 to 15 of them.
    #[must_use]
    pub fn new(digits: u64) -> Option<Self> {
        (1_000_000..=999_999_999_999_999)
            .contains(&digits)
            .then_some(Self(digits))
    }

    /// The E.164 digits as an integer: `919876543210`.
    #[must_use]
    pub fn digits(self) -> u64 {
        self.0
    }

    /// `+919876543210`
    #[must_use]
    pub fn e164(self) -> String {
        format!("+{}", self.0)
    }

    /// The ten national digits of an Indian number, `9876543210`; `None` for other countries.
    #[must_use]
    pub fn indian_national(self) -> Option<u64> {
        (910_000_000_000..=919_999_999_999)
            .contains(&self.0)
            .then(|| self.0 - 910_000_000_000)
    }

    /// The form for logs: `+9198******10`.
    #[must_use]
    pub fn masked(self) -> String {
        mask(&self.0.to_string())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// Keeps the first four and the last two of a run of digits, `+9198******10`; fewer of the first
/// when less than six would be hidden.
fn mask(digits: &str) -> String {
    const LAST: usize = 2;
    const HIDDEN_MIN: usize = 6;
    let count = digits.chars().count();
    let first = count.saturating_sub(LAST + HIDDEN_MIN).min(4);
    let hidden = count.saturating_sub(first + LAST);
    let shown = |from: usize, n| digits.chars().skip(from).take(n).collect::<String>();
    format!(
        "+{}{}{}",
        shown(0, first),
        "*".repeat(hidden),
        shown(first + hidden, LAST)
    )
}

/// The same for a number as somebody wrote it: what stands between its digits is kept.
#[must_use]
pub fn mask_digits(text: &str) -> String {
    let digits: String = text.chars().filter(|c| c.is_numeric()).collect();
    let masked = mask(&digits);
    let mut masked = masked.chars().skip(1);
    let mask = |c: char| {
        Some(c)
            .filter(|c| !c.is_numeric())
            .or_else(|| masked.next())
    };
    text.chars().filter_map(mask).collect()
}

/// Masks every number of seven or more digits, in one piece or in groups, plain or encoded, in a text
/// that came from elsewhere (the gateway's messages may repeat the number), so that it may be logged
/// or counted in a report.
#[must_use]
pub fn mask_numbers(text: &str) -> String {
    const SHORTEST_NUMBER: usize = 7;
    masked(text, |digits| match digits.len() {
        SHORTEST_NUMBER.. => vec![digits],
        _ => Vec::new(),
    })
}

/// Masks this number alone, and what is not in ASCII as if it were one: a reference, which may repeat
/// it, is of use only whole.
#[must_use]
pub fn mask_number(number: Number, text: &str) -> String {
    const ENOUGH: usize = 8;
    let whole = number.digits().to_string();
    let end = &whole[whole.len().saturating_sub(ENOUGH)..];
    masked(text, |digits| {
        let shown: String = digits.iter().map(|digit| digit.c).collect();
        if shown.contains(end) || shown.len() > ENOUGH && !shown.is_ascii() {
            vec![digits]
        } else {
            Vec::new()
        }
    })
}

/// Masks the telephone numbers in the name of a file or a campaign, and leaves dates and counters.
#[must_use]
pub fn mask_name(name: &str) -> String {
    let parts = name
        .split('/')
        .map(|part| masked(part, numbers_between_dates));
    parts.collect::<Vec<_>>().join("/")
}

/// The telephone numbers in such a name as they stand there, each with what stands for it.
#[must_use]
pub fn numbers_in_name(name: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in name.split('/') {
        for layer in layers(part) {
            let numbers = numbers(&layer, numbers_between_dates).into_iter();
            found.extend(numbers.map(|(span, masked)| (part[span].to_owned(), masked)));
        }
    }
    found
}

/// The numbers among the digits that stand together in a name: as many as an Indian number has, but
/// for dates. What could be an Indian mobile number is one, whatever else it looks like.
fn numbers_between_dates(digits: &[Seen]) -> Vec<&[Seen]> {
    const SHORTEST_NUMBER: usize = 10;
    if is_indian_mobile(digits) {
        return vec![digits];
    }
    let groups: Vec<&[Seen]> = digits.chunk_by(|a, b| a.end == b.start).collect();
    let (mut found, mut start, mut end, mut at) = (Vec::new(), 0, 0, 0);
    while at < groups.len() {
        let date = groups_of_date(&groups[at..]);
        let next = at + date.max(1);
        let length: usize = groups[at..next].iter().map(|group| group.len()).sum();
        if date > 0 {
            found.push(&digits[start..end]);
            start = end + length;
        }
        (end, at) = (end + length, next);
    }
    found.push(&digits[start..]);
    found.retain(|digits| digits.len() >= SHORTEST_NUMBER);
    found
}

/// Are these all digits of an Indian mobile number, with its country code or without?
fn is_indian_mobile(digits: &[Seen]) -> bool {
    const NATIONAL: usize = 10;
    let text: String = digits.iter().map(|digit| digit.c).collect();
    let mut fronts = ["", "0", "91", "091", "0091"].into_iter();
    fronts.any(|front| {
        let national = text.strip_prefix(front).unwrap_or_default();
        national.len() == NATIONAL && national.starts_with(['6', '7', '8', '9'])
    })
}

/// How many groups of digits at the front are a date of these years, `2026-11-26`, `26_11_2026`,
/// `20261126`, `20261126153000`; 0 when there is none. No country has numbers like the last, so long
/// and with such a front.
fn groups_of_date(groups: &[&[Seen]]) -> usize {
    const FORMS: [&[usize]; 5] = [&[4, 2, 2], &[2, 2, 4], &[8], &[12], &[14]];
    let is_date = |form: &&&[usize]| {
        let Some(groups) = groups.get(..form.len()) else {
            return false;
        };
        let lengths = groups.iter().map(|group| group.len());
        let digits = groups.concat();
        let apart = digits
            .windows(2)
            .all(|pair| pair[1].start - pair[0].end <= 1);
        let pairs = digits.chunks_exact(2).map(|pair| {
            let two: String = pair.iter().map(|digit| digit.c).collect();
            two.parse::<u32>().ok()
        });
        let pairs: Option<Vec<u32>> = pairs.collect();
        lengths.eq(form.iter().copied())
            && apart
            && pairs.is_some_and(|pairs| match pairs[..] {
                [20, 20..=99, 1..=12, 1..=31, ref time @ ..] => time
                    .iter()
                    .zip([23, 59, 59])
                    .all(|(part, most)| *part <= most),
                [1..=31, 1..=12, 20, 20..=99] => true,
                _ => false,
            })
    };
    FORMS.iter().find(is_date).map_or(0, |form| form.len())
}

/// Masks the groups of digits that are numbers, what is encoded first: what is left may be more
/// numbers.
fn masked(text: &str, which: impl Fn(&[Seen]) -> Vec<&[Seen]>) -> String {
    let mut text = text.to_owned();
    loop {
        let layers = layers(&text);
        let mut found = layers.iter().rev().map(|layer| numbers(layer, &which));
        let Some(found) = found.find(|found| !found.is_empty()) else {
            return text;
        };
        for (span, masked) in found.into_iter().rev() {
            text.replace_range(span, &masked);
        }
    }
}

/// Where digits stand that `which` takes for a number, each with what stands for it.
fn numbers(layer: &[Seen], which: impl Fn(&[Seen]) -> Vec<&[Seen]>) -> Vec<(Range<usize>, String)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(before) = layer[at..].iter().position(|seen| seen.c.is_numeric()) {
        let start = at + before;
        let (digits, length) = number_at_start(&layer[start..]);
        for number in which(&digits) {
            let [first, .., last] = number else { continue };
            let text: String = number.iter().map(|digit| digit.c).collect();
            let plus = layer[at..start].last().filter(|seen| seen.c == '+');
            let plus = plus.filter(|_| first.start == layer[start].start);
            let first = plus.unwrap_or(first);
            found.push((first.start..last.end, mask(&text)));
        }
        at = start + length;
    }
    found
}

/// The groups of digits that a text begins with, and where they end: between them may stand a few
/// separators.
fn number_at_start(layer: &[Seen]) -> (Vec<Seen>, usize) {
    const SEPARATORS_MAX: usize = 3;
    let (mut digits, mut end) = (Vec::new(), 0);
    loop {
        let rest = layer[end..].iter();
        let next = rest
            .take(SEPARATORS_MAX + 1)
            .position(|seen| !is_separator(seen.c));
        match next.map(|gap| (gap, layer[end + gap])) {
            Some((gap, digit)) if digit.c.is_numeric() => {
                digits.push(digit);
                end += gap + 1;
            }
            _ => return (digits, end),
        }
    }
}

fn is_separator(c: char) -> bool {
    let dash = matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}');
    c.is_whitespace() || is_invisible(c) || "-.()/,_+".contains(c) || dash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_keeps_all_digits_but_those_of_its_number() {
        let number = Number::new(919_876_543_210).unwrap();
        let mask = |text: &str| mask_number(number, text);
        for reference in ["SM8198760001112223334", "2026112608301234", "", "91-1234"] {
            assert_eq!(mask(reference), reference);
        }
        assert_eq!(mask("919876543210"), "+9198******10");
        assert_eq!(mask("CA7 to 98765-43210"), "CA7 to +98******10");
        assert_eq!(mask("%39876543210"), "+98******10");
        assert!(!mask("९८७६५४३२१०").contains("७६५४"));
    }

    #[test]
    fn a_number_is_masked_as_it_is_written() {
        assert_eq!(mask_digits("+91 98765-43210"), "+91 98***-***10");
        assert_eq!(mask_digits("१२३४५६७८"), "******७८");
        assert_eq!(mask_digits("12"), "12");
        assert_eq!(mask_digits(""), "");
    }

    #[test]
    fn numbers_are_masked_wherever_they_stand() {
        let number = Number::new(919_876_543_210).unwrap();
        assert_eq!(format!("{number:?}"), "+9198******10");
        assert_eq!(mask_numbers("to +919876543210!"), "to +9198******10!");
        assert_eq!(mask_numbers("9876543210"), "+98******10");
        assert_eq!(mask_numbers("1234567 12345678"), "+1234*********78");
        assert_eq!(mask_numbers("a 1234567, b"), "a +*****67, b");
        for form in [
            "(+91) (98765) 43210",
            "+91 98765/43210",
            "91\u{a0}98765\u{2013}43210",
            "91%2098765%2043210",
            "91,98,76,54,32,10",
            "+91 98765, 43210",
            "91 98765%2c43210",
            "91 98765+43210",
            "91_98_76_54_32_10",
            "९१९८७६५४३२१०",
            "９１98765４３210",
            "+91 %39%38%37%36%35%31%32%33%34%30",
            "+91 &#57;&#56;&#55;&#54;&#53;&#49;&#50;&#51;&#52;&#48;",
            "+91 98765<b>12340</b>",
            "+91 98765&nbsp;&shy;12340",
            "+91 98765%E2%80%8B12340",
            "+91 98\\u200b765\\u{31}2340",
            "+91 %EF%BC%99%EF%BC%98765 12340",
            "+91 98765&amp;nbsp;12340",
        ] {
            let masked = mask_numbers(form);
            let digits = masked.chars().filter(|c| c.is_numeric()).count();
            assert_eq!(digits, 6, "{masked}");
        }
        for (name, masked) in [
            ("9876543210.csv", "+98******10.csv"),
            ("lists/91 98765-43210.csv", "lists/+9198******10.csv"),
            ("2026-11-26 9876512340.csv", "2026-11-26 +98******40.csv"),
            ("20261126_9876512340", "20261126_+98******40"),
            ("2026/9876543210.csv", "2026/+98******10.csv"),
            (
                "customers-9876543210-2026-11-01",
                "customers-+98******10-2026-11-01",
            ),
            ("1-12-2026_9876543210.csv", "+1122***********10.csv"),
            ("+19171231234.csv", "+191******34.csv"),
            ("2026112698", "+20******98"),
            ("20 2611 2698", "+20******98"),
            ("20261126987", "+202******87"),
            ("+201012311530", "+2010******30"),
            ("91982026-11-01", "+9198******01"),
            ("91 98 2026 11 01", "+9198******01"),
            (
                "9876543210 2026-11-26 9876543211",
                "+98******10 2026-11-26 +98******11",
            ),
            ("leads-2026-11-26.csv", "leads-2026-11-26.csv"),
            ("5000-leads-26_11_2026_1530", "5000-leads-26_11_2026_1530"),
            ("leads_202611261530", "leads_202611261530"),
            ("leads_20261126T153000", "leads_20261126T153000"),
            ("leads_20261126_153000.csv", "leads_20261126_153000.csv"),
        ] {
            assert_eq!(mask_name(name), masked);
            let mut replaced = name.to_owned();
            for (number, masked) in numbers_in_name(name) {
                replaced = replaced.replace(&number, &masked);
            }
            assert_eq!(replaced, masked);
        }
        assert_eq!(mask_numbers("HTTP 503: 127.0.0.1"), "HTTP 503: 127.0.0.1");
        assert_eq!(mask_numbers("code 004512"), "code 004512");
        assert_eq!(mask_numbers(""), "");
        assert_eq!(Number::new(999_999), None);
        assert_eq!(Number::new(1_000_000_000_000_000), None);
    }
}
