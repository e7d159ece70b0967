//! What a run is about to do, counted before the first request and shown to the user: as a [`table`]
//! for people, as [`json`] for programs. Both tell the same [`Briefing`].

mod cost;
pub mod json;
mod lines;
pub mod table;
mod time;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::config::Config;
use super::forecast::{Forecast, Known};
use super::input::Memory;
use crate::contacts::{Purpose, Survey};
use crate::job::{Lane, UnixMicros};
use crate::ledger::CampaignKey;
use crate::next::{Step, next_step};
use crate::record::{Planned, Row, RowState, Suppression};
use crate::run::Runs;
use crate::status::Status;
use crate::summary::Counts;
use cost::Cost;

/// So many of the lines with one problem are named.
const LINES_NAMED: usize = 5;

/// All that a plan tells.
pub struct Briefing<'a> {
    /// How it is done.
    pub config: &'a Config,
    /// What the file is.
    pub survey: &'a Survey,
    /// What it was taken for, where that was not said.
    pub purpose: Option<&'a Purpose>,
    /// The name of each suppression list, and what it yielded, in words.
    pub suppression_lists: &'a [(String, String)],
    /// The campaign.
    pub campaign: &'a CampaignKey,
    /// What the ledger remembers.
    pub memory: &'a Memory,
    /// Where the result files go.
    pub out: &'a Path,
    /// What is to be done.
    pub plan: &'a Plan,
    /// How long it takes.
    pub forecast: &'a Forecast,
    /// What that was made from.
    pub known: &'a Known,
    /// The time of the plan.
    pub now: UnixMicros,
}

/// Rows that cannot be used for one reason.
#[derive(Debug, Default)]
struct Unusable {
    count: u64,
    /// The first of them.
    lines: Vec<u64>,
}

/// Numbers that are left out because another campaign has just sent to them.
#[derive(Debug)]
struct Recent {
    count: u64,
    /// When it sent the latest of these.
    latest: UnixMicros,
}

/// The account of a plan.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rows of the input.
    pub rows: u64,
    /// All rows by what is known of them now, indexed by [`Status::index`].
    pub counts: [u64; Status::ALL.len()],
    /// Numbers for which a request is due, by lane.
    due: [u64; Lane::ALL.len()],
    /// The first of them, as many as the run starts (`--limit`).
    started: [u64; Lane::ALL.len()],
    limit: Option<u64>,
    /// Of those, how many were tried before.
    again: u64,
    /// Requests that are billed, or may be, by lane.
    pub billed: [u64; Lane::ALL.len()],
    /// Numbers taken as mobiles against the numbering plan's data.
    pub assumed_mobile: u64,
    /// Numbers that are left out because another campaign has just sent to them, by its name.
    recent: BTreeMap<String, Recent>,
    /// Numbers that are left out because they stand in a suppression list, by its name.
    excluded: BTreeMap<String, u64>,
    /// Codes that are not asked because they are too old.
    too_old: u64,
    /// Numbers that were attempted and that the file has no more, by what is known of them.
    pub earlier: Counts,
    /// Rows that cannot be used, by reason.
    unusable: BTreeMap<String, Unusable>,
    /// What reports hold the run against.
    pub planned: Planned,
}

impl Briefing<'_> {
    /// What reports hold the run against.
    #[must_use]
    pub fn planned(&self) -> Planned {
        let time = self.forecast.ends.since(self.now);
        let is_known = self.forecast.pace.is_some() || time > Duration::ZERO;
        let cost = match Cost::of(self.plan, &self.config.engine) {
            Some(Cost::Known(bill)) => Some(bill.most.to_f64()),
            Some(Cost::Unknown(_)) | None => None,
        };
        Planned {
            numbers: self.plan.requests(),
            time_s: is_known.then_some(time.as_secs_f64()),
            cost_at_most: cost,
            sms_before: self.known.left[Lane::Sms.index()],
            calls_before: self.known.left[Lane::Call.index()],
        }
    }
}

impl Plan {
    /// For a run that starts at most so many numbers.
    #[must_use]
    pub fn new(limit: Option<u64>) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Takes a row into account; `runs` ends with the one that is planned. Says on which lane that has
    /// something to do for it, if so.
    pub fn add(&mut self, row: &Row, assumed_mobile: bool, runs: &Runs) -> Option<Lane> {
        self.rows += 1;
        self.assumed_mobile += u64::from(assumed_mobile);
        let outcome = row.outcome(runs);
        self.counts[outcome.status.index()] += 1;
        self.bill(outcome.billed);
        match &row.state {
            RowState::Invalid(problem) => {
                if !self.unusable.contains_key(problem) {
                    self.unusable.insert(problem.clone(), Unusable::default());
                }
                if let Some(unusable) = self.unusable.get_mut(problem) {
                    unusable.count += 1;
                    if unusable.lines.len() < LINES_NAMED {
                        unusable.lines.push(row.line);
                    }
                }
            }
            RowState::Duplicate { .. } => {}
            RowState::Suppressed(Suppression::Recent { campaign, at }, _) => {
                let recent = self.recent.entry(campaign.clone()).or_insert(Recent {
                    count: 0,
                    latest: *at,
                });
                recent.count += 1;
                recent.latest = recent.latest.max(*at);
            }
            RowState::Suppressed(Suppression::TooOld { .. }, _) => self.too_old += 1,
            RowState::Suppressed(Suppression::Excluded(list), _) => {
                *self.excluded.entry(list.clone()).or_default() += 1;
            }
            RowState::Job(attempts) => {
                if let Step::Try(lane) = next_step(row.lane, attempts, runs) {
                    self.due[lane.index()] += 1;
                    if self.limit.is_none_or(|limit| self.requests() < limit) {
                        self.started[lane.index()] += 1;
                        self.again += u64::from(!attempts.is_empty());
                    }
                    return Some(lane);
                }
            }
        }
        None
    }

    /// Takes a number into account that was attempted and that the file has no more.
    pub fn add_earlier(&mut self, row: &Row, runs: &Runs) {
        let outcome = row.outcome(runs);
        self.earlier += outcome.status;
        self.bill(outcome.billed);
    }

    fn bill(&mut self, billed: [u32; Lane::ALL.len()]) {
        for (sum, billed) in self.billed.iter_mut().zip(billed) {
            *sum += u64::from(billed);
        }
    }

    /// Rows with this status.
    #[must_use]
    pub fn count(&self, status: Status) -> u64 {
        self.counts[status.index()]
    }

    /// Rows with a number, or a code, of their own.
    #[must_use]
    pub fn usable(&self) -> u64 {
        self.rows - self.count(Status::Invalid) - self.count(Status::Duplicate)
    }

    /// The reasons why rows cannot be used, the most frequent first.
    fn reasons(&self) -> Vec<(&str, &Unusable)> {
        let reasons = self.unusable.iter();
        let mut reasons: Vec<_> = reasons.map(|(why, of)| (&**why, of)).collect();
        reasons.sort_by_key(|(_, of)| std::cmp::Reverse(of.count));
        reasons
    }

    /// Requests that the run makes on each lane, if each works at once.
    #[must_use]
    pub fn started(&self) -> [u64; Lane::ALL.len()] {
        self.started
    }

    /// Requests that the run makes, if each works at once.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.started.iter().sum()
    }

    /// The lanes on which requests are due.
    #[must_use]
    pub fn lanes(&self) -> Vec<Lane> {
        Lane::ALL
            .into_iter()
            .filter(|lane| self.due[lane.index()] > 0)
            .collect()
    }

    /// The share of rows that cannot be used, 0 to 100.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn invalid_percent(&self) -> f64 {
        if self.rows == 0 {
            return 0.0;
        }
        100.0 * self.count(Status::Invalid) as f64 / self.rows as f64
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::number::Number;

    fn row(line: u64, state: RowState) -> Row {
        Row {
            line,
            record: String::new(),
            number: Number::new(919_876_543_210),
            lane: Lane::Sms,
            state,
        }
    }

    /// So many numbers are due.
    pub fn due(sms: u64, call: u64) -> Plan {
        Plan {
            rows: sms + call,
            due: [sms, call, 0],
            started: [sms, call, 0],
            ..Plan::default()
        }
    }

    #[test]
    fn a_plan_counts_each_row_once_and_groups_what_cannot_be_used() {
        let runs = Runs::default();
        let mut plan = Plan::default();
        plan.add(&row(2, RowState::Job(Vec::new())), true, &runs);
        plan.add(&row(3, RowState::Duplicate { first_line: 2 }), false, &runs);
        for line in 4..11 {
            let problem = if line == 4 {
                "no number"
            } else {
                "two numbers"
            };
            plan.add(
                &row(line, RowState::Invalid(problem.to_owned())),
                false,
                &runs,
            );
        }
        assert_eq!((plan.rows, plan.usable(), plan.requests()), (9, 1, 1));
        assert_eq!(plan.lanes(), [Lane::Sms]);
        let reasons = plan.reasons();
        let reasons: Vec<_> = reasons.iter().map(|(why, of)| (*why, of.count)).collect();
        assert_eq!(reasons, [("two numbers", 6), ("no number", 1)]);
        assert_eq!(plan.unusable["two numbers"].lines, [5, 6, 7, 8, 9]);
    }
}
