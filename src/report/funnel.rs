//! What came of the OTPs whose codes a campaign checks: from sent to verified.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use crate::job::{Channel, Lane};
use crate::journey::Answered;
use crate::money::{Amount, Prices};
use crate::number::mask_numbers;

/// The longest time that is told from longer ones: a year, in milliseconds.
const TIME_MAX_MS: u64 = 366 * 24 * 3_600_000;

/// Distinct cells that are counted apart, and what the others are counted under.
const GROUPS_MAX: usize = 1_000;
const OTHER_GROUPS: &str = "(others)";

/// From sent to verified: the numbers that were sent to by those campaigns whose OTPs this one
/// checks, each by its latest OTP before its code was checked, up to the latest run.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Funnel {
    /// Numbers that were sent to.
    pub(super) sent: u64,
    /// Those that verified, in whatever campaign of the ledger.
    pub(super) verified: u64,
    /// Those that gave wrong codes only.
    pub(super) wrong: u64,
    /// Those of which no code was answered: none came, or it is still to be checked.
    pub(super) unanswered: u64,
    /// The same by the channel of that OTP.
    pub(super) by_channel: ByChannel,
    /// The numbers that verified, by how many requests to send them an OTP it took, over all
    /// campaigns, since they verified before.
    pub(super) by_attempt: BTreeMap<u32, u64>,
    /// From when the OTP left to when the code that was right was asked; null when nobody verified.
    pub(super) time_to_verify_s: Option<Times>,
    /// What all OTPs of those campaigns cost, at the prices of their latest runs, for each number
    /// that verified; null when a price is not known (`--price`) or nobody verified.
    pub(super) cost_per_verified: Option<f64>,
    /// The column by whose cells the numbers are told apart; null without `--by`.
    pub(super) by_column: Option<String>,
    /// The same by the cells of that column of the lists that were sent to, numbers masked; null
    /// without `--by`.
    pub(super) by: Option<BTreeMap<String, Fates>>,
}

/// Numbers that were sent to, by what came back.
#[derive(Clone, Copy, Debug, Default, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Fates {
    /// All of them.
    pub(super) sent: u64,
    /// Those that verified.
    pub(super) verified: u64,
    /// Those that gave wrong codes only.
    pub(super) wrong: u64,
    /// Those of which no code was answered.
    pub(super) unanswered: u64,
}

/// Numbers by channel; only channels that occur.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct ByChannel {
    /// Text messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sms: Option<Fates>,
    /// Telephone calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call: Option<Fates>,
}

/// How long it took, in seconds.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct Times {
    /// Half of them took no longer.
    pub(super) p50: f64,
    /// 90 % of them took no longer.
    pub(super) p90: f64,
}

/// The running account of a funnel; its size does not grow with the numbers.
pub struct Tally {
    all: Fates,
    channels: [Fates; Channel::ALL.len()],
    by_attempt: BTreeMap<u32, u64>,
    times: Histogram<u64>,
    billed: [u64; Lane::ALL.len()],
    spent: Option<Amount>,
    by: BTreeMap<String, Fates>,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            all: Fates::default(),
            channels: <[Fates; Channel::ALL.len()]>::default(),
            by_attempt: BTreeMap::new(),
            times: Histogram::new_with_bounds(1, TIME_MAX_MS, 3)
                .expect("constant bounds that are in range"),
            billed: [0; Lane::ALL.len()],
            spent: Some(Amount::default()),
            by: BTreeMap::new(),
        }
    }
}

impl Tally {
    /// Takes a number into account, with its cell in the column that the numbers are told apart by.
    pub fn add(&mut self, answered: &Answered, cell: Option<&str>) {
        self.all.add(answered);
        if let Some(channel) = answered.otp.lane.channel() {
            self.channels[channel as usize].add(answered);
        }
        if let Some(cell) = cell {
            self.group(&mask_numbers(cell.trim())).add(answered);
        }
        if let Some(right) = answered.check.filter(|check| check.is_right) {
            *self.by_attempt.entry(answered.nth).or_default() += 1;
            let time = right.at.since(answered.otp.left_at).as_millis();
            let time = u64::try_from(time).unwrap_or(u64::MAX);
            self.times.saturating_record(time);
        }
    }

    /// Takes requests into account that are billed, or may be.
    pub fn bill(&mut self, billed: [u32; Lane::ALL.len()]) {
        for (sum, billed) in self.billed.iter_mut().zip(billed) {
            *sum += u64::from(billed);
        }
    }

    /// Takes in a campaign that had these prices.
    pub fn join(&mut self, other: &Self, prices: Option<Prices>) {
        let spent = prices.unwrap_or_default().total(&other.billed);
        self.spent = self.spent.zip(spent).map(|(before, more)| before + more);
        self.all.join(&other.all);
        for (channel, other) in self.channels.iter_mut().zip(&other.channels) {
            channel.join(other);
        }
        for (nth, count) in &other.by_attempt {
            *self.by_attempt.entry(*nth).or_default() += count;
        }
        for (cell, fates) in &other.by {
            self.group(cell).join(fates);
        }
        // Both have the same bounds.
        let _ = self.times.add(&other.times);
    }

    fn group(&mut self, cell: &str) -> &mut Fates {
        let is_new = !self.by.contains_key(cell);
        let full = is_new && self.by.len() >= GROUPS_MAX;
        let cell = if full { OTHER_GROUPS } else { cell };
        self.by.entry(cell.to_owned()).or_default()
    }

    /// The funnel; `by` is the column by which the numbers were told apart.
    #[must_use]
    pub fn into_funnel(self, by: Option<&str>) -> Funnel {
        let Fates {
            sent,
            verified,
            wrong,
            unanswered,
        } = self.all;
        let [sms, call] = self.channels.map(|fates| (fates.sent > 0).then_some(fates));
        let quantile = |q| seconds(self.times.value_at_quantile(q));
        Funnel {
            sent,
            verified,
            wrong,
            unanswered,
            by_channel: ByChannel { sms, call },
            time_to_verify_s: (verified > 0).then(|| Times {
                p50: quantile(0.5),
                p90: quantile(0.9),
            }),
            cost_per_verified: self
                .spent
                .filter(|_| verified > 0)
                .map(|spent| per(spent, verified)),
            by_attempt: self.by_attempt,
            by_column: by.map(mask_numbers),
            by: by.map(|_| self.by),
        }
    }
}

impl Fates {
    fn add(&mut self, answered: &Answered) {
        self.sent += 1;
        *match answered.check.map(|check| check.is_right) {
            Some(true) => &mut self.verified,
            Some(false) => &mut self.wrong,
            None => &mut self.unanswered,
        } += 1;
    }

    pub(super) fn join(&mut self, other: &Self) {
        self.sent += other.sent;
        self.verified += other.verified;
        self.wrong += other.wrong;
        self.unanswered += other.unanswered;
    }
}

#[expect(clippy::cast_precision_loss, reason = "a year at most")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// To four decimals, as amounts are.
#[expect(clippy::cast_precision_loss, reason = "for display only")]
fn per(spent: Amount, numbers: u64) -> f64 {
    (spent.to_f64() / numbers as f64 * 10_000.0).round() / 10_000.0
}
