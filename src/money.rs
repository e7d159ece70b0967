//! Money, exactly: no floating point. There is no currency: prices and budget are in the same one.

use std::fmt;
use std::ops::{Add, Mul};
use std::str::FromStr;

use crate::job::{Channel, Lane};

/// Parts of a whole that an amount is counted in.
const PARTS: i64 = 10_000;

/// How many decimals that makes.
const DECIMALS: usize = 4;

/// An amount of money, to four decimals, never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Amount(i64);

impl Amount {
    /// As a number for machines.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for display only")]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / PARTS as f64
    }

    /// In ten-thousandths.
    #[must_use]
    pub fn parts(self) -> i64 {
        self.0
    }

    /// How often this price can be paid from it.
    #[must_use]
    pub fn how_often(self, price: Self) -> u64 {
        let times = self.0.checked_div(price.0).unwrap_or(i64::MAX);
        times.unsigned_abs()
    }

    /// What is left of it, if anything.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0))
    }
}

impl Add for Amount {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Mul<u64> for Amount {
    type Output = Self;

    fn mul(self, times: u64) -> Self {
        let times = i64::try_from(times).unwrap_or(i64::MAX);
        Self(self.0.saturating_mul(times))
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::default(), Self::add)
    }
}

impl FromStr for Amount {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = || "wanted an amount with at most 4 decimals, such as 0.25 or 2000".to_owned();
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > DECIMALS {
            return Err(wanted());
        }
        let parts = format!("{whole}{part:0<DECIMALS$}");
        parts.parse().map(Self).map_err(|_| wanted())
    }
}

impl fmt::Display for Amount {
    /// `2000`, `0.25`, `0.125`: at least two decimals, if any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / PARTS, self.0 % PARTS);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let part = format!("{part:0DECIMALS$}");
        write!(f, "{whole}.{:0<2}", part.trim_end_matches('0'))
    }
}

/// What one request costs on each channel, where that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prices([Option<Amount>; Channel::ALL.len()]);

impl Prices {
    /// What a request on this lane costs. To check a code costs nothing.
    #[must_use]
    pub fn of(&self, lane: Lane) -> Option<Amount> {
        self.0[lane.channel()? as usize]
    }

    /// The least that a request costs on any channel; `None`: no price is known.
    #[must_use]
    pub fn least(&self) -> Option<Amount> {
        self.0.into_iter().flatten().min()
    }

    /// What so many requests on each lane cost; `None`: a price is not known.
    #[must_use]
    pub fn total(&self, requests: &[u64; Lane::ALL.len()]) -> Option<Amount> {
        let lanes = Channel::ALL.map(Lane::from).into_iter();
        let billed = lanes.filter(|lane| requests[lane.index()] > 0);
        billed
            .map(|lane| Some(self.of(lane)? * requests[lane.index()]))
            .sum()
    }
}

impl FromStr for Prices {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut prices = Self::default();
        for price in text.split(',') {
            let named = price.split_once('=').and_then(|(name, amount)| {
                let channel = Channel::ALL.into_iter().find(|c| c.name() == name.trim())?;
                Some((channel, amount.trim()))
            });
            let (channel, amount) = named.ok_or(
                "wanted CHANNEL=AMOUNT, each channel once, such as sms=0.25 or sms=0.25,call=1.10",
            )?;
            let amount = amount.parse()?;
            if prices.0[channel as usize].replace(amount).is_some() {
                return Err(format!("there are two prices for {}", channel.name()));
            }
        }
        Ok(prices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        text.parse().unwrap()
    }

    #[test]
    fn amounts_are_exact() {
        for (text, shown) in [
            ("0.25", "0.25"),
            ("2000", "2000"),
            ("2000.0", "2000"),
            ("1.1", "1.10"),
            ("0.0001", "0.0001"),
            ("0.125", "0.125"),
        ] {
            assert_eq!(amount(text).to_string(), shown);
        }
        assert_eq!(amount("0.1") * 3, amount("0.3"));
        assert_eq!(amount("0.1") + amount("0.2"), amount("0.3"));
        assert_eq!(amount("0.25") * 4_615, amount("1153.75"));
        assert!((amount("1153.75").to_f64() - 1153.75).abs() < 1e-9);
        for bad in [
            "", ".", "-1", "+1", "1,000", "0.00001", "1e3", "1.", ".5", "₹1",
        ] {
            assert!(bad.parse::<Amount>().is_err(), "{bad}");
        }
        assert!("9".repeat(30).parse::<Amount>().is_err(), "too much");
    }

    #[test]
    fn prices_are_those_of_the_channels_that_are_named() {
        let prices: Prices = "sms=0.25, call=1.1".parse().unwrap();
        assert_eq!(prices.of(Lane::Sms), Some(amount("0.25")));
        assert_eq!(prices.of(Lane::Verify), None);
        assert_eq!(prices.total(&[2, 1, 7]), Some(amount("1.60")));
        let sms: Prices = "sms=0.25".parse().unwrap();
        assert_eq!(sms.total(&[2, 0, 0]), Some(amount("0.5")));
        assert_eq!(sms.total(&[2, 1, 0]), None);
        for bad in [
            "0.25",
            "sms",
            "fax=1",
            "sms=1,sms=2",
            "sms=x",
            "verify=1",
            "",
        ] {
            assert!(bad.parse::<Prices>().is_err(), "{bad}");
        }
    }
}
