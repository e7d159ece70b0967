//! What stands behind a flag: durations, rates, shares. Each parser says what it would have liked.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::outcome::Operation;
use crate::pace::Rate;
use crate::retry::Backoff;

/// A rate, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit(pub Option<Rate>);

/// Base and cap of a backoff.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffRange(pub Backoff);

/// A share of a hundred.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent(pub f64);

/// The least and the most an answer takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency(pub Duration, pub Duration);

/// The longest time that a flag takes.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// `500ms`, `30s`, `15m`, `1h30m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || "wanted a time with its unit, such as 500ms, 30s, 15m or 1h30m".to_owned();
    let signed: jiff::SignedDuration = text.trim().parse().map_err(|_| wanted())?;
    match Duration::try_from(signed) {
        Ok(time) if time <= LONGEST => Ok(time),
        Ok(_) => Err("wanted at most a year".to_owned()),
        Err(_) => Err(wanted()),
    }
}

/// `10/s`, `600/m`, `500/h`, `unlimited`.
pub fn rate(text: &str) -> Result<RateLimit, String> {
    if text == "unlimited" {
        return Ok(RateLimit(None));
    }
    let wanted = || "wanted N/s, N/m, N/h or unlimited, such as 10/s".to_owned();
    let (requests, per) = text.split_once('/').ok_or_else(wanted)?;
    let requests: NonZeroU32 = requests.trim().parse().map_err(|_| wanted())?;
    let per = match per.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        _ => return Err(wanted()),
    };
    let rate = Rate { requests, per };
    if rate.interval() < Duration::from_micros(1) {
        return Err("wanted at most 1000000/s; for no limit say unlimited".to_owned());
    }
    Ok(RateLimit(Some(rate)))
}

/// `500ms..30s`
pub fn backoff(text: &str) -> Result<BackoffRange, String> {
    let (base, cap) = text
        .split_once("..")
        .ok_or("wanted BASE..CAP, such as 500ms..30s")?;
    let (base, cap) = (duration(base)?, duration(cap)?);
    if base > cap {
        return Err("wanted a base that is not above the cap".to_owned());
    }
    Ok(BackoffRange(Backoff { base, cap }))
}

/// `50%`
pub fn percent(text: &str) -> Result<Percent, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    match number {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Percent(percent)),
        _ => Err("wanted a share between 0% and 100%".to_owned()),
    }
}

/// `20ms` or `20ms..80ms`
pub fn latency(text: &str) -> Result<Latency, String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (duration(least)?, duration(most)?);
    if least > most {
        return Err("wanted the shorter time first".to_owned());
    }
    Ok(Latency(least, most))
}

/// `,` `;` `|` `tab`
pub fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() => Ok(*one),
        _ => Err("wanted one character, or tab".to_owned()),
    }
}

/// `send` or `verify`
pub fn operation(text: &str) -> Result<Operation, String> {
    [Operation::Send, Operation::Verify]
        .into_iter()
        .find(|operation| operation.name() == text)
        .ok_or_else(|| "wanted send or verify".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_documented_and_refused_otherwise() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert!(duration("30").is_err());
        assert!(duration("-5s").is_err());
        assert!(duration("9000h").is_err());
        assert_eq!(rate("unlimited"), Ok(RateLimit(None)));
        let RateLimit(Some(per_minute)) = rate("600/m").unwrap() else {
            panic!("a limit");
        };
        assert!((per_minute.per_second() - 10.0).abs() < 1e-9);
        for bad in ["0/s", "10", "-1/s", "10/d", "1.5/s", "2000000/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert!(backoff("30s..500ms").is_err());
        assert_eq!(percent("50%"), Ok(Percent(50.0)));
        assert!(percent("101%").is_err());
        assert_eq!(delimiter("tab"), Ok(b'\t'));
        assert!(delimiter("ab").is_err());
        assert!(latency("80ms..20ms").is_err());
    }
}
