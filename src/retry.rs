//! When to try again: capped exponential backoff with full jitter, and a budget that keeps retries
//! from becoming most of the traffic. Pure policy: randomness is passed in, nothing waits here.

use std::time::Duration;

use crate::mistake::{Mistake, is_made};

/// How long to wait after a failure: a random time up to `base`, `2 base`, `4 base` … `cap`
/// ("full jitter": it spreads the retries of many numbers most evenly).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The most after the first failure.
    pub base: Duration,
    /// The most after any failure.
    pub cap: Duration,
}

impl Backoff {
    /// The wait after this many failures in a row; none after none.
    #[must_use]
    pub fn delay(&self, failures: u32, random: &mut fastrand::Rng) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else {
            return Duration::ZERO;
        };
        let most_doublings = if is_made(Mistake::NoBackoff) { 0 } else { 31 };
        let doublings = doublings.min(most_doublings);
        let most = self.base.saturating_mul(1 << doublings).min(self.cap);
        most.mul_f64(
            random
                .f64()
                .max(f64::from(is_made(Mistake::LongestBackoff))),
        )
    }
}

/// Retries allowed for each new number, once the credit is used up.
const SHARE: f64 = 0.25;

/// Retries that may run ahead of their share.
const CREDIT_MAX: f64 = 100.0;

/// As long as there are new numbers to start, at most one retry goes out for every four of them
/// (and [`CREDIT_MAX`] ahead); when there are none left, retries go as the pace allows.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    credit: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            credit: CREDIT_MAX / 2.0,
        }
    }
}

impl Budget {
    /// A new number was started.
    pub fn earn(&mut self) {
        self.credit = (self.credit + SHARE).min(CREDIT_MAX);
    }

    /// May a retry go before a new number?
    #[must_use]
    pub fn allows(&self) -> bool {
        self.credit >= 1.0 || is_made(Mistake::RetriesFirst)
    }

    /// What has been saved up is gone.
    pub fn use_up(&mut self) {
        self.credit = 0.0;
    }

    /// A retry was made.
    pub fn spend(&mut self) {
        self.credit = (self.credit - 1.0).max(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_cap_and_use_the_whole_range() {
        let backoff = Backoff {
            base: Duration::from_millis(500),
            cap: Duration::from_secs(30),
        };
        let mut random = fastrand::Rng::with_seed(1);
        for (failures, most_ms) in [(1, 500), (2, 1_000), (3, 2_000), (7, 30_000), (99, 30_000)] {
            let most = Duration::from_millis(most_ms);
            let delays: Vec<_> = (0..1_000)
                .map(|_| backoff.delay(failures, &mut random))
                .collect();
            assert!(delays.iter().all(|delay| *delay <= most));
            assert!(delays.iter().any(|delay| *delay > most.mul_f64(0.95)));
            assert!(delays.iter().any(|delay| *delay < most.mul_f64(0.05)));
        }
    }

    #[test]
    fn retries_are_a_fifth_of_the_traffic_at_most_while_new_numbers_start() {
        let mut budget = Budget::default();
        let (mut retries, mut firsts) = (0_u32, 0_u32);
        while firsts < 10_000 {
            if budget.allows() {
                budget.spend();
                retries += 1;
            } else {
                budget.earn();
                firsts += 1;
            }
        }
        assert!((2_400..=2_600).contains(&retries), "{retries} retries");
    }
}
