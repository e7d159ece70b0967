//! Faults at random, by rate, the same for the same seed.

use std::str::FromStr;

use super::action::Action;
use crate::job::Lane;
use crate::number::Number;

/// How often which fault happens: `500=2%,drop=1%`.
///
/// Whether a request meets a fault depends on the seed, the endpoint, the number and how often
/// this number has been asked for there; not on the order in which the requests arrive.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    /// Each with its share of all requests, 0 to 1; together at most 1.
    shares: Vec<(Action, f64)>,
}

/// Why a text does not say which faults there are to be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// No `=`.
    #[error("{0:?} is not NAME=PERCENT%, as in 500=2%,drop=1%")]
    NotAPair(String),
    /// No such fault.
    #[error("there is no fault {0:?}; there is {names}", names = Action::names())]
    UnknownName(String),
    /// The share is no percentage.
    #[error("the share of {name} is {share:?}, not a percentage from 0% to 100%, as in 2% or 0.5%")]
    NotAShare {
        /// The fault.
        name: String,
        /// What was given.
        share: String,
    },
    /// Named twice.
    #[error("{0} is named twice")]
    Twice(String),
    /// More than all requests.
    #[error("the shares add up to more than 100%")]
    TooMuch,
}

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(text: &str) -> Result<Self, FaultsError> {
        const ROUNDING: f64 = 1e-9;
        let mut shares: Vec<(Action, f64)> = Vec::new();
        let parts = text.split(',').map(str::trim);
        for part in parts.filter(|_| !text.trim().is_empty()) {
            let (name, share) = part
                .split_once('=')
                .ok_or_else(|| FaultsError::NotAPair(part.to_owned()))?;
            let (name, share) = (name.trim(), share.trim());
            let action =
                Action::fault(name).ok_or_else(|| FaultsError::UnknownName(name.to_owned()))?;
            let percent = share
                .strip_suffix('%')
                .and_then(|number| number.trim().parse::<f64>().ok())
                .filter(|percent| (0.0..=100.0).contains(percent))
                .ok_or_else(|| FaultsError::NotAShare {
                    name: name.to_owned(),
                    share: share.to_owned(),
                })?;
            if shares.iter().any(|(known, _)| *known == action) {
                return Err(FaultsError::Twice(name.to_owned()));
            }
            shares.push((action, percent / 100.0));
        }
        if shares.iter().map(|(_, share)| share).sum::<f64>() > 1.0 + ROUNDING {
            return Err(FaultsError::TooMuch);
        }
        Ok(Self { shares })
    }
}

impl Faults {
    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// What happens to the `n`th request for this number on this lane.
    pub(super) fn draw(&self, seed: u64, lane: Lane, number: Number, n: u32) -> Action {
        if self.is_empty() {
            return Action::Ok;
        }
        let what = number.digits() * 4 + lane.index() as u64;
        let mut dice = dice(dice(seed, what).u64(..), u64::from(n)).f64();
        for (action, share) in &self.shares {
            dice -= share;
            if dice < 0.0 {
                return *action;
            }
        }
        Action::Ok
    }
}

/// Random numbers that depend on a seed and on what they are for.
pub(super) fn dice(seed: u64, purpose: u64) -> fastrand::Rng {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    fastrand::Rng::with_seed(seed ^ purpose.wrapping_mul(GOLDEN_RATIO))
}
