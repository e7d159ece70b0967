//! What a run is about to do, counted before the first request and shown to the user.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use crate::job::Lane;
use crate::next::{Step, next_step};
use crate::pace::Rate;
use crate::record::{Row, RowState, Suppression};
use crate::run::Runs;
use crate::status::Status;
use crate::summary::Counts;
use crate::text::{shell_word, visible};

/// Problems shown with their lines.
const PROBLEMS_SHOWN: usize = 5;

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
    /// Numbers taken as mobiles against the numbering plan's data.
    pub assumed_mobile: u64,
    /// Numbers that are left out because another campaign has just sent to them, by its name.
    recent: BTreeMap<String, u64>,
    /// Numbers that are left out because they stand in a suppression list, by its name.
    excluded: BTreeMap<String, u64>,
    /// Numbers that were attempted and that the file has no more, by what is known of them.
    pub earlier: Counts,
    /// Invalid rows by reason.
    problems: BTreeMap<String, u64>,
    /// The first ones, with their lines.
    first_problems: Vec<(u64, String)>,
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

    /// Takes a row into account; `runs` ends with the one that is planned.
    pub fn add(&mut self, row: &Row, assumed_mobile: bool, runs: &Runs) {
        self.rows += 1;
        self.assumed_mobile += u64::from(assumed_mobile);
        self.counts[row.outcome(runs).status.index()] += 1;
        match &row.state {
            RowState::Invalid(problem) => {
                *self.problems.entry(problem.clone()).or_default() += 1;
                if self.first_problems.len() < PROBLEMS_SHOWN {
                    self.first_problems.push((row.line, problem.clone()));
                }
            }
            RowState::Duplicate { .. } => {}
            RowState::Suppressed(Suppression::Recent { campaign, .. }, _) => {
                *self.recent.entry(campaign.clone()).or_default() += 1;
            }
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
                }
            }
        }
    }

    /// Takes a number into account that was attempted and that the file has no more.
    pub fn add_earlier(&mut self, row: &Row, runs: &Runs) {
        self.earlier += row.outcome(runs).status;
    }

    /// Rows with this status.
    #[must_use]
    pub fn count(&self, status: Status) -> u64 {
        self.counts[status.index()]
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

    /// The plan in words; `about` are lines to begin with.
    #[must_use]
    pub fn describe(&self, about: &[(&str, String)], rate: Option<Rate>) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let mut line = |label: &str, value: String| {
            let _ = writeln!(text, "  {label:<16} {value}");
        };
        for (label, value) in about {
            line(label, value.clone());
        }
        line("rows", self.rows.to_string());
        let usable = self.rows - self.count(Status::Invalid) - self.count(Status::Duplicate);
        line("usable", usable.to_string());
        for status in Status::ALL {
            if status != Status::Pending && self.count(status) > 0 {
                line(status.name(), self.count(status).to_string());
            }
        }
        for (campaign, count) in &self.recent {
            let word = shell_word(campaign);
            let (campaign, word) = (visible(campaign), visible(&word));
            line(
                "",
                format!(
                    "{count} x campaign {campaign} has just sent to it, or may have; to go on with that one: --campaign {word}; to send all the same: --cooldown 0s"
                ),
            );
        }
        for (list, count) in &self.excluded {
            line("", format!("{count} x it stands in {}", visible(list)));
        }
        if self.earlier.total() > 0 {
            let numbers = "numbers that were tried and that the file has no more";
            let counts = self.earlier.in_words();
            line(
                "earlier",
                format!("{} {numbers}: {counts}", self.earlier.total()),
            );
        }
        if self.assumed_mobile > 0 {
            let note = "taken as mobiles (6-9) although the numbering plan does not list them so";
            line("assumed mobile", format!("{} {note}", self.assumed_mobile));
        }
        for (problem, count) in &self.problems {
            line("", format!("{count} x {problem}"));
        }
        for (number, problem) in &self.first_problems {
            line("", format!("line {number}: {problem}"));
        }
        let requests = self.requests();
        line("to do", self.to_do());
        if let Some(rate) = rate.filter(|_| requests > 0) {
            let time = in_words(time_for(requests, rate));
            line("time", format!("about {time} at this rate"));
        }
        if self.started[Lane::Call.index()] > 0 {
            line(
                "calls",
                "many accounts may call 50 times a day and not from 21:00 to 09:00 IST, and only \
                 after asking the provider"
                    .to_owned(),
            );
        }
        text
    }

    fn to_do(&self) -> String {
        let (requests, due) = (self.requests(), self.due.iter().sum::<u64>());
        if due == 0 {
            return "nothing: all numbers are settled or held".to_owned();
        }
        let started = Lane::ALL.into_iter().zip(self.started);
        let started = started.filter(|(_, requests)| *requests > 0);
        let mut parts: Vec<String> = started
            .map(|(lane, requests)| format!("{requests} {}", lane.name()))
            .collect();
        if self.again > 0 {
            parts.push(format!("{} of them tried before", self.again));
        }
        if requests < due {
            parts.push(format!("the first of {due} that are due: --limit"));
        }
        let noun = if requests == 1 { "request" } else { "requests" };
        format!("{requests} {noun} ({}), and retries", parts.join(", "))
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
fn time_for(requests: u64, rate: Rate) -> Duration {
    Duration::try_from_secs_f64(requests as f64 / rate.per_second()).unwrap_or(Duration::MAX)
}

/// `1h 5m`, `2m 10s`, `12s`
#[must_use]
pub fn in_words(time: Duration) -> String {
    let seconds = time.as_secs() + u64::from(time.subsec_millis() >= 500);
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m {s}s"),
        (h, m, _) => format!("{h}h {m}m"),
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn a_plan_counts_each_row_once_and_estimates_the_time() {
        let runs = Runs::default();
        let mut plan = Plan::default();
        plan.add(&row(2, RowState::Job(Vec::new())), true, &runs);
        plan.add(&row(3, RowState::Duplicate { first_line: 2 }), false, &runs);
        plan.add(
            &row(4, RowState::Invalid("no number".to_owned())),
            false,
            &runs,
        );
        assert_eq!(plan.rows, 3);
        assert_eq!(plan.requests(), 1);
        assert_eq!(plan.lanes(), [Lane::Sms]);
        let rate = Rate {
            requests: std::num::NonZeroU32::MIN,
            per: Duration::from_mins(2),
        };
        let text = plan.describe(&[("campaign", "june (new)".to_owned())], Some(rate));
        assert!(text.contains("line 4: no number"), "{text}");
        assert!(text.contains("about 2m 0s"), "{text}");
    }
}
