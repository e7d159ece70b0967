//! What a run is about to do, counted before the first request and shown to the user.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::forecast::{Forecast, Wait};
use crate::calendar::Bounds;
use crate::campaign::{Limits, Settings};
use crate::job::{Lane, UnixMicros};
use crate::money::Amount;
use crate::next::{Step, next_step};
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
    /// Requests that are billed, or may be, by lane.
    pub billed: [u64; Lane::ALL.len()],
    /// Numbers taken as mobiles against the numbering plan's data.
    pub assumed_mobile: u64,
    /// Numbers that are left out because another campaign has just sent to them, by its name.
    recent: BTreeMap<String, u64>,
    /// Numbers that are left out because they stand in a suppression list, by its name.
    excluded: BTreeMap<String, u64>,
    /// Numbers that were attempted and that the file has no more, by what is known of them.
    pub earlier: Counts,
    /// Codes that are not asked because they are too old.
    too_old: u64,
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
        let outcome = row.outcome(runs);
        self.counts[outcome.status.index()] += 1;
        self.bill(outcome.billed);
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
                }
            }
        }
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

    /// The plan in words, as of `now`; `about` are lines to begin with.
    #[must_use]
    pub fn describe(
        &self,
        about: &[(&str, String)],
        settings: &Settings,
        now: UnixMicros,
    ) -> String {
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
        if self.too_old > 0 {
            let why = "the latest OTP to its number is older than --max-age";
            line("", format!("{} x {why}", self.too_old));
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
        line("to do", self.to_do());
        if self.requests() > 0 {
            for (label, value) in self.time(settings, now) {
                line(label, value);
            }
        }
        if let Some(cost) = self.cost(settings) {
            line("cost", cost);
        }
        let unbound = settings.limits.calendar.calls == Bounds::default();
        if self.started[Lane::Call.index()] > 0 && unbound {
            line(
                "calls",
                "many accounts may call 50 times a day and not from 21:00 to 09:00 IST, and only \
                 after asking the provider: --call-daily-cap 50 --call-window 09:00-21:00"
                    .to_owned(),
            );
        }
        text
    }

    /// How long it takes, when that is, and what waits for its hours or for another day.
    fn time(&self, settings: &Settings, now: UnixMicros) -> Vec<(&'static str, String)> {
        let calendar = &settings.limits.calendar;
        let forecast = Forecast::new(settings, now, self.started);
        let mut lines = Vec::new();
        let took = forecast.ends.since(now);
        if settings.rate.is_some() || took > Duration::ZERO {
            let mut time = format!("about {} at this rate", in_words(took));
            if settings.limits.follow_the_wall() {
                let ends = calendar.shown(forecast.ends, now);
                time = format!("about {}, done at {ends}", in_words(took));
            }
            lines.push(("time", time));
        }
        if let Some(at) = settings.limits.start_at.filter(|at| *at > now) {
            let at = calendar.shown(at, now);
            lines.push(("", format!("nothing leaves before {at} (--start-at)")));
        }
        for Wait { lane, left, until } in forecast.waits {
            let until = calendar.shown(until, now);
            let of = match lane {
                Lane::Sms => "sms",
                Lane::Call => "calls",
                Lane::Verify => "codes",
            };
            lines.push(("", format!("{left} {of} wait until {until}")));
        }
        if let Some(deadline) = settings.limits.deadline {
            let at = calendar.shown(deadline, now);
            let left = if deadline < forecast.ends {
                ": the rest stays pending"
            } else {
                ""
            };
            lines.push((
                "",
                format!("nothing new is started after {at} (--deadline){left}"),
            ));
        }
        lines
    }

    /// What it costs at most.
    fn cost(&self, settings: &Settings) -> Option<String> {
        let Limits { prices, budget, .. } = &settings.limits;
        prices.least()?;
        let fallback = settings.policy.fallback.map(Lane::from);
        // One of the two is billed: the fallback follows what surely was not sent.
        let dearest = |lane| {
            prices
                .of(lane)
                .max(fallback.and_then(|lane| prices.of(lane)))
        };
        let mut each = Vec::new();
        let mut most = Amount::default();
        for lane in Lane::ALL {
            let requests = self.started[lane.index()];
            if requests > 0 {
                let Some(price) = dearest(lane) else {
                    let lane = lane.name();
                    return Some(format!("not known: --price has none for {lane}"));
                };
                most = most + price * requests;
                each.push(format!("{} {price}", lane.name()));
            }
        }
        let spent = prices.total(&self.billed).unwrap_or_default();
        let mut cost = format!(
            "at most {most} ({} each), and no retry of unknown ones",
            each.join(", ")
        );
        if each.is_empty() {
            "nothing".clone_into(&mut cost);
        }
        if spent > Amount::default() {
            let _ = write!(cost, "; {spent} spent before");
        }
        if let Some(budget) = budget {
            let _ = write!(cost, "; budget {budget}");
            if spent + most > *budget {
                let _ = write!(cost, ", which will stop it (exit 3)");
            }
        }
        Some(cost)
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

    fn settings(flags: &str) -> Settings {
        crate::cli::tests::engine(&format!("otpdrive send list.csv {flags}"))
    }

    /// So many numbers are due.
    fn due(sms: u64, call: u64) -> Plan {
        Plan {
            rows: sms + call,
            due: [sms, call, 0],
            started: [sms, call, 0],
            ..Plan::default()
        }
    }

    #[track_caller]
    fn says(plan: &Plan, flags: &str, words: &[&str]) {
        // 10:00 in India, on a Thursday.
        let now = "2026-11-26T04:30:00Z".parse().unwrap();
        let text = plan.describe(&[], &settings(flags), now);
        for word in words {
            assert!(text.contains(word), "no {word:?} in: {text}");
        }
    }

    #[test]
    fn a_plan_says_when_it_is_done_and_what_waits() {
        says(
            &due(4_615, 0),
            "--rate 10/s",
            &["about 7m 42s at this rate"],
        );
        let day = "--window 09:00-21:00";
        says(&due(4_615, 0), day, &["about 7m 42s, done at 10:07 IST"]);
        // Eleven hours at 1/s, and the rest.
        says(
            &due(40_000, 0),
            "--rate 1/s --window 09:00-21:00",
            &[
                "400 sms wait until Fri 2026-11-27 09:00 IST",
                "done at Fri 2026-11-27 09:06 IST",
            ],
        );
        says(
            &due(100, 120),
            "--call-daily-cap 50 --call-window 11:00-21:00",
            &[
                "120 calls wait until 11:00 IST",
                "done at Sat 2026-11-28 11:00 IST",
            ],
        );
        let now = UnixMicros(0);
        let mut settings = settings("--rate 10/s --timezone UTC");
        settings.limits.start_at = Some(now + Duration::from_hours(1));
        settings.limits.deadline = Some(now + Duration::from_secs(3_630));
        let text = due(600, 0).describe(&[], &settings, now);
        assert!(text.contains("before 01:00 UTC (--start-at)"), "{text}");
        let late = "after 01:00 UTC (--deadline): the rest stays pending";
        assert!(text.contains(late), "{text}");
    }

    #[test]
    fn a_plan_says_what_it_costs_at_most() {
        let mut plan = due(4_615, 0);
        says(
            &plan,
            "--price sms=0.25",
            &["at most 1153.75 (sms 0.25 each)"],
        );
        says(&plan, "--price call=1", &["--price has none for sms"]);
        plan.billed = [100, 0, 0];
        says(
            &plan,
            "--price sms=0.25 --budget 1000",
            &[
                "25 spent before",
                "budget 1000, which will stop it (exit 3)",
            ],
        );
        plan.started = [10, 0, 0];
        let fallback = "--fallback call --price sms=0.25,call=1.10";
        says(&plan, fallback, &["at most 11 (sms 1.10 each)"]);
        assert!(
            !plan
                .describe(&[], &settings("-v"), UnixMicros(0))
                .contains("cost")
        );
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
        let settings = settings("--rate 30/h");
        let about = [("campaign", "june (new)".to_owned())];
        let text = plan.describe(&about, &settings, UnixMicros(0));
        assert!(text.contains("line 4: no number"), "{text}");
        assert!(text.contains("about 2m 0s"), "{text}");
    }
}
