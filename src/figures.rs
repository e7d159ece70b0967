//! Numbers, shares and times as people read them.

use std::fmt::Write as _;
use std::time::Duration;

/// `24,318`
#[must_use]
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A decimal number with thousands set apart: `1,153.75`; any other text as it is.
#[must_use]
pub fn decimal(text: &str) -> String {
    let whole = text.find('.').unwrap_or(text.len());
    let (whole, part) = text.split_at(whole);
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), count);
    whole + part
}

/// `24,318 rows`, `1 row`
#[must_use]
pub fn counted(n: u64, one: &str, more: &str) -> String {
    format!("{} {}", count(n), if n == 1 { one } else { more })
}

/// How much of the whole it is, 0 to 100; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "a share for people")]
#[must_use]
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 0.0;
    }
    100.0 * part as f64 / whole as f64
}

/// `94.4 %`; never 0 or 100 % unless it is exactly that.
#[must_use]
pub fn share(part: u64, whole: u64) -> String {
    let percent = percent(part, whole);
    match part {
        0 => "0 %".to_owned(),
        _ if part == whole => "100 %".to_owned(),
        _ if percent < 0.1 => "<0.1 %".to_owned(),
        _ if percent > 99.9 => ">99.9 %".to_owned(),
        _ => format!("{percent:.1} %"),
    }
}

/// `47 min 6 s`, `3 h 5 min`, `0.8 s`: two units at most.
#[must_use]
pub fn span(time: Duration) -> String {
    if time < Duration::from_secs(10) {
        return format!("{:.1} s", time.as_secs_f64());
    }
    let seconds = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    let units = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let mut text = String::new();
    for (n, unit) in units.into_iter().skip_while(|(n, _)| *n == 0).take(2) {
        if n > 0 {
            // Writing to a String cannot fail.
            let _ = write!(text, " {n} {unit}");
        }
    }
    text.trim_start().to_owned()
}

/// `2d 5h`, `1h 5m`, `2m 10s`, `12s`: as terminals show it
#[must_use]
pub fn in_words(time: Duration) -> String {
    const DAYS_FROM: u64 = 48;
    let seconds = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, ..) if h >= DAYS_FROM => format!("{}d {}h", h / 24, h % 24),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

/// `0.9 ms`, `115 ms`, `1.23 s`, `1 min 2 s`
#[must_use]
pub fn millis(ms: f64) -> String {
    match ms {
        _ if ms < 10.0 => format!("{} ms", trimmed(ms, 2)),
        _ if ms < 1_000.0 => format!("{} ms", trimmed(ms, 1)),
        _ if ms < 60_000.0 => format!("{} s", trimmed(ms / 1_000.0, 2)),
        _ => span(Duration::from_secs_f64(ms / 1_000.0)),
    }
}

/// A number with at most so many decimals, without zeros at its end.
#[must_use]
pub fn trimmed(x: f64, decimals: usize) -> String {
    let text = format!("{x:.decimals$}");
    if !text.contains('.') {
        return text;
    }
    let text = text.trim_end_matches('0').trim_end_matches('.');
    text.to_owned()
}

/// For axes: `500`, `10 k`, `1.5 M`
#[must_use]
pub fn short(x: f64) -> String {
    match x {
        _ if x >= 1e6 => format!("{} M", trimmed(x / 1e6, 1)),
        _ if x >= 1e4 => format!("{} k", trimmed(x / 1e3, 1)),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a small whole number"
        )]
        _ if x >= 1e3 => count(x as u64),
        _ => trimmed(x, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!(count(7), "7");
        assert_eq!(count(1_000), "1,000");
        assert_eq!(count(10_000_000), "10,000,000");
        assert_eq!(share(1, 24_318), "<0.1 %");
        assert_eq!(share(24_317, 24_318), ">99.9 %");
        assert_eq!(share(0, 0), "0 %");
        assert_eq!(share(944, 1_000), "94.4 %");
        assert_eq!(span(Duration::from_millis(800)), "0.8 s");
        assert_eq!(span(Duration::from_secs(2_826)), "47 min 6 s");
        assert_eq!(span(Duration::from_mins(185)), "3 h 5 min");
        assert_eq!(span(Duration::from_hours(24)), "1 d");
        assert_eq!(millis(115.0), "115 ms");
        assert_eq!(millis(1_230.0), "1.23 s");
        assert_eq!(millis(0.929), "0.93 ms");
        assert_eq!(short(15_000.0), "15 k");
    }

    #[test]
    fn a_time_is_told_in_two_units() {
        for (seconds, words) in [
            (12, "12s"),
            (130, "2m 10s"),
            (3_900, "1h 5m"),
            (100_000, "27h 46m"),
            (180_000, "2d 2h"),
        ] {
            assert_eq!(in_words(Duration::from_secs(seconds)), words);
        }
    }
}
