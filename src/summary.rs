//! The running account of a campaign's rows: how many became what, with how many requests, how
//! fast, and what was said about the ones that went wrong.
//!
//! It only counts judgements that [`crate::status`] makes. It formats nothing and its size does
//! not grow with the number of rows.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::{AddAssign, Index};

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::Serialize;

use crate::job::{Attempt, Channel, Lane, VerdictKind};
use crate::number::mask_numbers;
use crate::record::{Row, RowState};
use crate::status::{NO_ANSWER_RECORDED, Outcome, Status};

/// The longest latency that is told from longer ones: an hour.
const LATENCY_MAX_US: u64 = 3_600_000_000;

/// Latencies are kept to this many significant digits.
const LATENCY_DIGITS: u8 = 3;

/// Distinct messages that are counted apart; a gateway that says something new each time must not
/// fill the memory.
const MESSAGES_MAX: usize = 1_000;

/// What is kept of one message.
const MESSAGE_CHARS_MAX: usize = 300;

/// Messages that [`Summary::messages`] names.
pub const MESSAGES_NAMED: usize = 20;

/// So many rows of a status are told apart by their lines.
pub const LINES_NAMED: usize = 5;

/// What the messages that are not named are counted under.
pub const OTHER_MESSAGES: &str = "(other messages)";

/// Rows that were accepted at this try or a later one are counted together.
pub const TRIES_TOLD_APART: usize = 10;

/// How many rows have which status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Status::ALL.len()]);

impl Counts {
    /// One row that had this status now has that one.
    pub fn moved(&mut self, from: Status, to: Status) {
        let left = &mut self.0[from.index()];
        debug_assert!(*left > 0, "no row is {} any more", from.name());
        *left = left.saturating_sub(1);
        *self += to;
    }

    /// How many rows there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// `sent 98, invalid 2`
    #[must_use]
    pub fn in_words(&self) -> String {
        let counts = self.iter().filter(|(_, count)| *count > 0);
        let words: Vec<String> = counts
            .map(|(status, count)| format!("{} {count}", status.name()))
            .collect();
        if words.is_empty() {
            return "no rows".to_owned();
        }
        words.join(", ")
    }

    /// The numbers of rows, indexed by [`Status::index`].
    #[must_use]
    pub fn by_index(&self) -> [u64; Status::ALL.len()] {
        self.0
    }

    /// Every status with its number of rows, in the order of [`Status::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Status, u64)> {
        Status::ALL.into_iter().zip(self.0)
    }
}

impl FromIterator<(Status, u64)> for Counts {
    fn from_iter<I: IntoIterator<Item = (Status, u64)>>(counts: I) -> Self {
        let mut all = Self::default();
        for (status, count) in counts {
            all.0[status.index()] += count;
        }
        all
    }
}

impl From<[u64; Status::ALL.len()]> for Counts {
    /// In the order of [`Status::ALL`].
    fn from(counts: [u64; Status::ALL.len()]) -> Self {
        Self(counts)
    }
}

impl AddAssign<Status> for Counts {
    /// One more row with this status.
    fn add_assign(&mut self, status: Status) {
        self.0[status.index()] += 1;
    }
}

impl Index<Status> for Counts {
    type Output = u64;

    fn index(&self, status: Status) -> &u64 {
        &self.0[status.index()]
    }
}

/// How many requests the rows took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Attempts {
    /// All requests.
    pub total: u64,
    /// Those that repeated the one before on the same channel.
    pub retries: u64,
    /// Rows that were sent or verified, but not with the first request.
    pub recovered: u64,
    /// Rows with a request that was sent although the one before may have been accepted.
    pub after_unknown: u64,
}

/// Something that was said of requests that went wrong, or of rows that cannot be used.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Message<'a> {
    /// The words, numbers masked.
    pub message: &'a str,
    /// Of how many.
    pub count: u64,
}

/// A running account of rows.
#[derive(Clone, Debug)]
pub struct Summary {
    counts: Counts,
    channels: [Counts; 2],
    attempts: Attempts,
    billed: [u64; Lane::ALL.len()],
    in_flight: u64,
    latencies: Histogram<u64>,
    accepted_by_try: [u64; TRIES_TOLD_APART],
    messages: Said,
    details: [Said; Status::ALL.len()],
    /// The lines of the first rows of each, with what is said of them.
    lines: [Vec<(u64, String)>; Status::ALL.len()],
}

/// What is kept of a message: one line, numbers masked.
fn message(text: &str) -> String {
    let mut message = mask_numbers(text).replace(char::is_control, " ");
    if let Some((end, _)) = message.char_indices().nth(MESSAGE_CHARS_MAX) {
        message.truncate(end);
        message.push('…');
    }
    message
}

/// How often something was said, by its words.
#[derive(Clone, Debug, Default)]
struct Said {
    counts: HashMap<String, u64>,
    others: u64,
}

impl Said {
    fn add(&mut self, text: &str) {
        let message = message(text);
        if let Some(count) = self.counts.get_mut(&message) {
            *count += 1;
        } else if self.counts.len() < MESSAGES_MAX {
            self.counts.insert(message, 1);
        } else {
            self.others += 1;
        }
    }

    /// The [`MESSAGES_NAMED`] most frequent, equally frequent ones by their text, and behind them
    /// the rest as [`OTHER_MESSAGES`].
    fn most_frequent(&self) -> Vec<Message<'_>> {
        let messages = self.counts.iter();
        let mut messages: Vec<_> = messages
            .map(|(message, &count)| Message { message, count })
            .collect();
        messages.sort_unstable_by_key(|said| (Reverse(said.count), said.message));
        let unnamed = messages.iter().skip(MESSAGES_NAMED).map(|said| said.count);
        let count = self.others + unnamed.sum::<u64>();
        messages.truncate(MESSAGES_NAMED);
        if count > 0 {
            let message = OTHER_MESSAGES;
            messages.push(Message { message, count });
        }
        messages
    }
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            channels: <[Counts; 2]>::default(),
            attempts: Attempts::default(),
            billed: [0; Lane::ALL.len()],
            in_flight: 0,
            latencies: Histogram::new_with_bounds(1, LATENCY_MAX_US, LATENCY_DIGITS)
                .expect("constant bounds that are in range"),
            accepted_by_try: Default::default(),
            messages: Said::default(),
            details: Default::default(),
            lines: Default::default(),
        }
    }
}

impl Summary {
    /// Takes a row with this outcome into account.
    pub fn add(&mut self, row: &Row, outcome: &Outcome<'_>) {
        self.counts += outcome.status;
        if let Some(channel) = channel(row, outcome) {
            self.channels[channel as usize] += outcome.status;
        }
        let accepted = matches!(outcome.status, Status::Sent | Status::Verified);
        self.attempts.total += u64::from(outcome.attempts);
        self.attempts.retries += u64::from(outcome.retries);
        self.attempts.recovered += u64::from(accepted && outcome.attempts > 1);
        self.attempts.after_unknown += u64::from(outcome.after_unknown > 0);
        for (sum, billed) in self.billed.iter_mut().zip(outcome.billed) {
            *sum += u64::from(billed);
        }
        self.in_flight += u64::from(outcome.is_in_flight);
        if let Some(before) = outcome.attempts.checked_sub(1).filter(|_| accepted) {
            let last = TRIES_TOLD_APART - 1;
            let place = usize::try_from(before).map_or(last, |before| before.min(last));
            self.accepted_by_try[place] += 1;
        }
        if matches!(
            outcome.status,
            Status::Rejected | Status::Failed | Status::Invalid
        ) {
            self.details[outcome.status.index()].add(&outcome.detail);
        }
        let lines = &mut self.lines[outcome.status.index()];
        if outcome.status.needs_a_person() && lines.len() < LINES_NAMED {
            lines.push((row.line, message(&outcome.detail)));
        }
        let mut made = row.attempts();
        if outcome.is_in_flight {
            // Nothing can be said of the last one yet.
            made = made.split_last().map_or(made, |(_, before)| before);
        }
        for attempt in made {
            self.add_attempt(attempt);
        }
    }

    /// So many rows of each status, of which nothing else is known.
    #[cfg(test)]
    #[must_use]
    pub fn of(counts: Counts) -> Self {
        Self {
            counts,
            ..Self::default()
        }
    }

    /// Rows for which a request is under way right now.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight
    }

    fn add_attempt(&mut self, attempt: &Attempt) {
        if let Some(latency) = attempt.latency() {
            let latency = u64::try_from(latency.as_micros());
            self.latencies
                .saturating_record(latency.unwrap_or(u64::MAX));
        }
        match attempt.verdict() {
            None => self.messages.add(NO_ANSWER_RECORDED),
            Some(verdict) => match verdict.kind {
                VerdictKind::Accepted | VerdictKind::NotVerified | VerdictKind::Withdrawn => {}
                _ => self.messages.add(&verdict.text),
            },
        }
    }

    /// How many rows have which status.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The same for the rows that ask for work on one channel: see [`channel`].
    #[must_use]
    pub fn channel(&self, channel: Channel) -> &Counts {
        &self.channels[channel as usize]
    }

    /// How many requests the rows took.
    #[must_use]
    pub fn attempts(&self) -> Attempts {
        self.attempts
    }

    /// How many requests are billed, or may be, on each lane.
    #[must_use]
    pub fn billed(&self) -> &[u64; Lane::ALL.len()] {
        &self.billed
    }

    /// From leaving to known fate, in microseconds, of every answered request: retries count too,
    /// or a slow gateway would look fast once the retry is.
    #[must_use]
    pub fn latencies(&self) -> &Histogram<u64> {
        &self.latencies
    }

    /// How many rows were accepted at their first request, their second … and their
    /// [`TRIES_TOLD_APART`]th or a later one.
    #[must_use]
    pub fn accepted_by_try(&self) -> &[u64; TRIES_TOLD_APART] {
        &self.accepted_by_try
    }

    /// What was said of the requests that were refused, failed or not understood, or whose answer
    /// is not known, on one line and numbers masked: the [`MESSAGES_NAMED`] most frequent, equally
    /// frequent ones by their text, and behind them the rest as [`OTHER_MESSAGES`]. The counts are
    /// of requests.
    #[must_use]
    pub fn messages(&self) -> Vec<Message<'_>> {
        self.messages.most_frequent()
    }

    /// The lines of the rows that need a person for this, with what is said of them, numbers masked;
    /// the first [`LINES_NAMED`].
    #[must_use]
    pub fn lines(&self, status: Status) -> &[(u64, String)] {
        &self.lines[status.index()]
    }

    /// Why rows were rejected, failed or cannot be used, in the same form. The counts are of rows.
    #[must_use]
    pub fn details(&self, status: Status) -> Vec<Message<'_>> {
        self.details[status.index()].most_frequent()
    }
}

/// The channel that a row counts for: that of its last request, or the one that is due. `None`
/// when a code is checked, and for rows that ask for no work (invalid, duplicate).
#[must_use]
pub fn channel(row: &Row, outcome: &Outcome<'_>) -> Option<Channel> {
    match row.state {
        RowState::Job(_) | RowState::Suppressed(..) => outcome.lane.channel(),
        RowState::Invalid(_) | RowState::Duplicate { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Answer, Lane, UnixMicros, Verdict};
    use crate::number::Number;
    use crate::report::tests::samples::runs;
    use crate::run::RunId;

    fn attempt(n: u32, lane: Lane, answer: Option<(i64, Verdict)>) -> Attempt {
        let begun_at = UnixMicros(1_000_000 * i64::from(n));
        Attempt {
            lookup: None,
            n,
            run: RunId(1),
            lane,
            begun_at,
            answer: answer.map(|(latency_us, verdict)| Answer {
                left_at: Some(begun_at),
                answered_at: UnixMicros(begun_at.0 + latency_us),
                verdict,
            }),
        }
    }

    fn row(lane: Lane, state: RowState) -> Row {
        Row {
            line: 2,
            record: String::new(),
            number: Number::new(919_876_543_210),
            lane,
            state,
        }
    }

    fn job(attempts: Vec<Attempt>) -> Row {
        let lane = attempts.first().map_or(Lane::Sms, |first| first.lane);
        row(lane, RowState::Job(attempts))
    }

    fn throttled(message: &str) -> Verdict {
        Verdict::new(VerdictKind::Throttled, message)
    }

    fn sent() -> Verdict {
        Verdict::new(VerdictKind::Accepted, "SM1")
    }

    fn rejected(message: impl Into<String>) -> Row {
        let verdict = Verdict::new(VerdictKind::Rejected, message);
        job(vec![attempt(1, Lane::Sms, Some((1, verdict)))])
    }

    fn add(summary: &mut Summary, row: &Row) {
        summary.add(row, &row.outcome(&runs()));
    }

    fn summary_of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Summary {
        let mut summary = Summary::default();
        for row in rows {
            add(&mut summary, row);
        }
        summary
    }

    fn said(summary: &Summary) -> Vec<(&str, u64)> {
        let messages = summary.messages().into_iter();
        messages.map(|said| (said.message, said.count)).collect()
    }

    #[test]
    fn counts_know_each_status_and_their_sum() {
        let mut counts = Counts::default();
        for status in Status::ALL {
            counts += status;
        }
        counts += Status::Unknown;
        assert_eq!(counts[Status::Unknown], 2);
        assert_eq!(counts[Status::Sent], 1);
        assert_eq!(counts.total(), 11);
        let order: Vec<_> = counts.iter().map(|(status, _)| status).collect();
        assert_eq!(order, Status::ALL);
    }

    #[test]
    fn a_moved_row_is_counted_once() {
        let mut counts = Counts::default();
        counts += Status::Pending;
        counts.moved(Status::Pending, Status::Sent);
        assert_eq!(counts[Status::Pending], 0);
        assert_eq!(counts[Status::Sent], 1);
        assert_eq!(counts.total(), 1);
    }

    #[test]
    fn every_row_is_counted_but_only_work_has_a_channel() {
        let summary = summary_of([
            &job(vec![]),
            &row(Lane::Call, RowState::Job(vec![])),
            &job(vec![attempt(1, Lane::Sms, Some((5, sent())))]),
            &row(Lane::Sms, RowState::Invalid("too short".to_owned())),
            &row(Lane::Sms, RowState::Duplicate { first_line: 2 }),
            &row(Lane::Verify, RowState::Job(vec![])),
        ]);
        assert_eq!(summary.counts().total(), 6);
        assert_eq!(summary.counts()[Status::Pending], 3);
        assert_eq!(summary.channel(Channel::Sms).total(), 2);
        assert_eq!(summary.channel(Channel::Sms)[Status::Sent], 1);
        assert_eq!(summary.channel(Channel::Call)[Status::Pending], 1);
        assert_eq!(summary.channel(Channel::Call).total(), 1);
    }

    #[test]
    fn a_fallback_counts_for_the_channel_that_reached_the_number() {
        let refused = Verdict::new(VerdictKind::Rejected, "no");
        let summary = summary_of([&job(vec![
            attempt(1, Lane::Sms, Some((5, refused))),
            attempt(2, Lane::Call, Some((5, sent()))),
        ])]);
        assert_eq!(summary.channel(Channel::Call)[Status::Sent], 1);
        assert_eq!(summary.channel(Channel::Sms).total(), 0);
    }

    #[test]
    fn attempts_tell_retries_recoveries_and_repeats_after_unknown_apart() {
        let recovered = job(vec![
            attempt(1, Lane::Sms, Some((5, throttled("busy")))),
            attempt(2, Lane::Sms, Some((5, sent()))),
        ]);
        let repeated = job(vec![
            attempt(1, Lane::Sms, None),
            attempt(2, Lane::Sms, Some((5, throttled("busy")))),
            attempt(3, Lane::Sms, Some((5, throttled("busy")))),
        ]);
        let first_time = job(vec![attempt(1, Lane::Sms, Some((5, sent())))]);
        let expected = Attempts {
            total: 6,
            retries: 3,
            recovered: 1,
            after_unknown: 1,
        };
        let summary = summary_of([&recovered, &repeated, &first_time]);
        assert_eq!(summary.attempts(), expected);
    }

    #[test]
    fn every_answered_request_has_a_latency_not_only_the_last() {
        let summary = summary_of([&job(vec![
            attempt(1, Lane::Sms, Some((3_000, throttled("busy")))),
            attempt(2, Lane::Sms, None),
            attempt(3, Lane::Sms, Some((1_000, sent()))),
        ])]);
        let latencies = summary.latencies();
        assert_eq!(latencies.len(), 2);
        assert!(latencies.equivalent(latencies.max(), 3_000));
        assert!(latencies.equivalent(latencies.min(), 1_000));
    }

    #[test]
    fn latencies_beyond_an_hour_and_clocks_that_step_back_are_still_counted() {
        let summary = summary_of([&job(vec![
            attempt(1, Lane::Sms, Some((7_200_000_000, throttled("busy")))),
            attempt(2, Lane::Sms, Some((-5, sent()))),
        ])]);
        assert_eq!(summary.latencies().len(), 2);
        assert!(
            summary
                .latencies()
                .equivalent(summary.latencies().max(), LATENCY_MAX_US)
        );
    }

    #[test]
    fn messages_come_with_the_most_frequent_first_and_equals_by_text() {
        let rows = ["b", "a", "c", "c"].map(rejected);
        let summary = summary_of(&rows);
        assert_eq!(said(&summary), [("c", 2), ("a", 1), ("b", 1)]);
    }

    #[test]
    fn messages_are_of_what_went_wrong_only() {
        let wrong = Verdict::new(VerdictKind::NotVerified, "verification failed");
        let summary = summary_of([
            &job(vec![attempt(1, Lane::Sms, Some((1, sent())))]),
            &job(vec![attempt(1, Lane::Verify, Some((1, wrong)))]),
            &job(vec![attempt(1, Lane::Sms, None)]),
            &row(Lane::Sms, RowState::Invalid("too short".to_owned())),
        ]);
        assert_eq!(said(&summary), [(NO_ANSWER_RECORDED, 1)]);
    }

    #[test]
    fn messages_that_differ_in_the_number_only_are_one_and_show_no_number() {
        let rows = ["919876543210 barred", "919876999910 barred"].map(rejected);
        let summary = summary_of(&rows);
        assert_eq!(said(&summary), [("+9198******10 barred", 2)]);
    }

    #[test]
    fn a_gateway_that_always_says_something_new_does_not_fill_the_memory() {
        let mut summary = Summary::default();
        for n in 0..MESSAGES_MAX + 500 {
            add(&mut summary, &rejected(format!("trace {n}")));
        }
        add(&mut summary, &rejected("trace 7"));
        assert_eq!(summary.messages.counts.len(), MESSAGES_MAX);
        let named = said(&summary);
        assert_eq!(named.len(), MESSAGES_NAMED + 1);
        assert_eq!(named[0], ("trace 7", 2));
        assert_eq!(named[MESSAGES_NAMED].0, OTHER_MESSAGES);
        let counted: u64 = named.iter().map(|(_, count)| count).sum();
        assert_eq!(counted, 1_501, "each message is in one of the entries");
    }

    #[test]
    fn messages_are_one_line_and_cannot_steer_a_terminal() {
        let summary = summary_of([&rejected("no\n\u{1b}[2J")]);
        assert_eq!(said(&summary), [("no  [2J", 1)]);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let summary = summary_of([&rejected("ä".repeat(MESSAGE_CHARS_MAX + 1))]);
        let cut = format!("{}…", "ä".repeat(MESSAGE_CHARS_MAX));
        assert_eq!(said(&summary), [(cut.as_str(), 1)]);
    }
}
