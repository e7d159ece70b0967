//! The nouns everything else speaks in, and the one fold from what happened to what it means.
//!
//! Facts are [`Attempt`]s: a request was begun, and (later, maybe) answered with a [`Verdict`].
//! Judgements are derived from them and never stored: [`outcome`] says what became of a number,
//! [`next_step`] says what may be done for it now. The progress line, the result files, `status`
//! and recovery after a crash all use these two functions, so they cannot disagree.
//!
//! This room knows nothing: no file, no network, no clock.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::text::is_invisible;

/// A telephone number in E.164 form: country code and national number, 7 to 15 digits, no `+`.
///
/// It has no `Display`, and its `Debug` is masked: a whole number is printed only where somebody
/// wrote [`Number::e164`] on purpose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u64);

impl Number {
    /// The number with these E.164 digits, when there are 7 to 15 of them.
    #[must_use]
    pub fn new(digits: u64) -> Option<Self> {
        (1_000_000..=999_999_999_999_999)
            .contains(&digits)
            .then_some(Self(digits))
    }

    /// The E.164 digits as an integer: `919876543210`.
    #[must_use]
    pub fn digits(self) -> u64 {
        self.0
    }

    /// `+919876543210`
    #[must_use]
    pub fn e164(self) -> String {
        format!("+{}", self.0)
    }

    /// The ten national digits of an Indian number, `9876543210`; `None` for other countries.
    #[must_use]
    pub fn indian_national(self) -> Option<u64> {
        (910_000_000_000..=919_999_999_999)
            .contains(&self.0)
            .then(|| self.0 - 910_000_000_000)
    }

    /// The form for logs: `+9198******10`.
    #[must_use]
    pub fn masked(self) -> String {
        mask(&self.0.to_string())
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// Keeps the first four and the last two of a run of digits, `+9198******10`; fewer of the first
/// when less than six would be hidden.
fn mask(digits: &str) -> String {
    const LAST: usize = 2;
    const HIDDEN_MIN: usize = 6;
    let count = digits.chars().count();
    let first = count.saturating_sub(LAST + HIDDEN_MIN).min(4);
    let hidden = count.saturating_sub(first + LAST);
    let shown = |from: usize, n| digits.chars().skip(from).take(n).collect::<String>();
    format!(
        "+{}{}{}",
        shown(0, first),
        "*".repeat(hidden),
        shown(first + hidden, LAST)
    )
}

/// Masks every number of seven or more digits, in one piece or in groups, in a text that came from
/// elsewhere (the gateway's messages may repeat the number), so that it may be logged or counted in
/// a report.
#[must_use]
pub fn mask_numbers(text: &str) -> String {
    const SHORTEST_NUMBER: usize = 7;
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(char::is_numeric) {
        let (before, from) = rest.split_at(start);
        let (digits, end) = number_at_start(from);
        if digits.chars().count() >= SHORTEST_NUMBER {
            out.push_str(before.strip_suffix('+').unwrap_or(before));
            out.push_str(&mask(&digits));
        } else {
            out.push_str(before);
            out.push_str(&from[..end]);
        }
        rest = &from[end..];
    }
    out.push_str(rest);
    out
}

/// The groups of digits that a text begins with, and where they end: between them may stand a few
/// separators, also percent-encoded.
fn number_at_start(text: &str) -> (String, usize) {
    const SEPARATORS_MAX: usize = 3;
    let (mut digits, mut end) = (String::new(), 0);
    loop {
        let mut rest = &text[end..];
        for _ in 0..SEPARATORS_MAX {
            rest = after_separator(rest).unwrap_or(rest);
        }
        let Some(digit) = rest.chars().next().filter(|c| c.is_numeric()) else {
            return (digits, end);
        };
        digits.push(digit);
        end = text.len() - rest.len() + digit.len_utf8();
    }
}

fn after_separator(text: &str) -> Option<&str> {
    let dash = |c| matches!(c, '\u{2010}'..='\u{2015}' | '\u{2212}');
    let plain = |c: char| c.is_whitespace() || is_invisible(c) || "-.()/".contains(c) || dash(c);
    ["%20", "%2D", "%2d", "&nbsp;"]
        .into_iter()
        .find_map(|encoded| text.strip_prefix(encoded))
        .or_else(|| text.strip_prefix(plain))
}

/// What a campaign does with its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Sends an OTP to each number.
    Send,
    /// Checks the code that came back from each number.
    Verify,
}

impl Operation {
    /// `send` or `verify`: the name of the command, in files and in the ledger.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Verify => "verify",
        }
    }
}

/// How an OTP travels.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A text message.
    Sms,
    /// A telephone call.
    Call,
}

impl Channel {
    /// `sms` or `call`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Lane::from(self).name()
    }
}

/// Which of the provider's three requests: each is held back by its own `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// `smsotp`
    Sms,
    /// `callotp`
    Call,
    /// `verifyotp`
    Verify,
}

impl Lane {
    /// All lanes; a lane's place in it is [`Lane::index`].
    pub const ALL: [Self; 3] = [Self::Sms, Self::Call, Self::Verify];

    /// Its place in [`Lane::ALL`]: for arrays with one entry a lane, and in the ledger.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// `sms`, `call` or `verify`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Call => "call",
            Self::Verify => "verify",
        }
    }

    /// The channel an OTP travels on; `None` when a code is checked.
    #[must_use]
    pub fn channel(self) -> Option<Channel> {
        match self {
            Self::Sms => Some(Channel::Sms),
            Self::Call => Some(Channel::Call),
            Self::Verify => None,
        }
    }
}

impl From<Channel> for Lane {
    fn from(channel: Channel) -> Self {
        match channel {
            Channel::Sms => Self::Sms,
            Channel::Call => Self::Call,
        }
    }
}

/// A point in time: microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMicros(pub i64);

impl UnixMicros {
    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl std::ops::Add<Duration> for UnixMicros {
    type Output = Self;

    fn add(self, time: Duration) -> Self {
        Self(
            self.0
                .saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)),
        )
    }
}

/// One row of an input file, as read: what it asks for, or why it cannot be used.
#[derive(Clone, Debug)]
pub struct Contact {
    /// The line of the file on which the row starts; the header is line 1.
    pub line: u64,
    /// The row's own columns (without `otp_*` ones, a code masked) as a CSV fragment: comma
    /// separated, quoted where needed, no line end.
    pub record: String,
    /// What the row asks for, or why it is `invalid`.
    pub wish: Result<Wish, Problem>,
}

/// What a usable row asks for.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Whom to reach.
    pub number: Number,
    /// Which request is due first.
    pub lane: Lane,
    /// The code to check; `None` when an OTP is to be sent.
    pub code: Option<GivenCode>,
    /// The numbering plan's data calls this a fixed line, but it starts with 6-9 and is taken as a
    /// mobile: plans lag behind reality.
    pub assumed_mobile: bool,
}

/// The code cell of a row to verify.
#[derive(Clone, Debug)]
pub enum GivenCode {
    /// The code as written, its zeros kept.
    Plain(SecretString),
    /// `******`: the row comes from a `results.csv`; it means the code that was given before.
    Masked,
}

/// Why a row is `invalid`, in plain words: fixed phrases, so that they can be counted and never
/// repeat what the cell held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem(pub &'static str);

/// One piece of work: a number within a campaign (and, to verify, a code), with all that has
/// happened for it so far.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its name in the ledger.
    pub id: JobId,
    /// The row of the input that asks for it: work is done in this order.
    pub row: RowId,
    /// Whom to reach.
    pub number: Number,
    /// The code to check.
    pub code: Option<SecretString>,
    /// Which request is due first.
    pub lane: Lane,
    /// What has happened, in order.
    pub attempts: Vec<Attempt>,
}

/// Names a [`Job`] in a ledger, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

/// Names a row of the latest input in a ledger; ascends in input order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

/// One request: begun, and maybe answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// 1, 2, 3 … over the number's whole life in the campaign.
    pub n: u32,
    /// The run that made it.
    pub run: RunId,
    /// Which request.
    pub lane: Lane,
    /// Which of the tries on this lane it is: 1 to `tries_max`. A try that says nothing about the
    /// number (gateway unreachable, key refused) is not used up: the next has the same place. One
    /// that was answered in an outage gives its place back: it has the one before, 0 at first.
    pub try_number: u32,
    /// How many tries there were to be.
    pub tries_max: u32,
    /// The channel that was to follow if this one surely did not reach the number.
    pub fallback: Option<Channel>,
    /// When the intent was written down.
    pub begun_at: UnixMicros,
    /// What came of it; `None`: not known, so it may have been delivered.
    pub answer: Option<Answer>,
}

/// Names a run (one process working on one campaign) in a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub i64);

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// When the request was handed to the network.
    pub left_at: UnixMicros,
    /// When its fate was known.
    pub answered_at: UnixMicros,
    /// What it means.
    pub verdict: Verdict,
}

/// What an answer of the gateway, or the lack of one, means. See the table of verdicts in the
/// README; made in one place, `gateway`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The OTP was accepted for sending, or the code was right. The gateway's reference, opaque.
    Accepted(String),
    /// The code was wrong.
    NotVerified(String),
    /// The gateway will not do it for this number.
    Rejected(String),
    /// Surely not sent: too many requests. All of the lane waits until `retry_at`.
    Throttled {
        /// What the gateway said.
        message: String,
        /// From `Retry-After`: no request of this lane before.
        retry_at: Option<UnixMicros>,
    },
    /// Answered as failed (500, 502), and believed: not sent.
    ServerError(String),
    /// Surely not sent: no name, no connection, no TLS. Says nothing about the number.
    Unreachable(String),
    /// Answered as if nothing were served there (a redirect, a 404), and nothing but such answers
    /// has come back yet: the endpoint is suspect, not the number. Becomes `Rejected` when
    /// another answer shows that the endpoint is right.
    Misdirected(String),
    /// The key was refused. Says nothing about the number.
    KeyRefused(String),
    /// It left, and no trustworthy answer came back: it may have been delivered.
    Ambiguous(String),
}

impl Verdict {
    /// Does the gateway's word settle the number, as far as this lane goes?
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Accepted(_) | Self::NotVerified(_) | Self::Rejected(_)
        )
    }

    /// The same verdict with its text changed.
    #[must_use]
    pub fn map_text(self, change: impl FnOnce(String) -> String) -> Self {
        match self {
            Self::Accepted(text) => Self::Accepted(change(text)),
            Self::NotVerified(text) => Self::NotVerified(change(text)),
            Self::Rejected(text) => Self::Rejected(change(text)),
            Self::Throttled { message, retry_at } => Self::Throttled {
                message: change(message),
                retry_at,
            },
            Self::ServerError(text) => Self::ServerError(change(text)),
            Self::Unreachable(text) => Self::Unreachable(change(text)),
            Self::Misdirected(text) => Self::Misdirected(change(text)),
            Self::KeyRefused(text) => Self::KeyRefused(change(text)),
            Self::Ambiguous(text) => Self::Ambiguous(change(text)),
        }
    }

    /// What the gateway, or the network, said; for an accepted OTP its reference.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Accepted(text)
            | Self::NotVerified(text)
            | Self::Rejected(text)
            | Self::Throttled { message: text, .. }
            | Self::ServerError(text)
            | Self::Unreachable(text)
            | Self::Misdirected(text)
            | Self::KeyRefused(text)
            | Self::Ambiguous(text) => text,
        }
    }
}

/// What became of a row: exactly one of these, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[clap(rename_all = "snake_case")]
pub enum Status {
    /// The gateway accepted the OTP. Accepted is not delivered.
    Sent,
    /// The code was right.
    Verified,
    /// The code was wrong.
    NotVerified,
    /// The gateway refused this number.
    Rejected,
    /// All tries used up, surely never accepted.
    Failed,
    /// May have been delivered; held for a person.
    Unknown,
    /// The row cannot be used.
    Invalid,
    /// The number stands further up in the file.
    Duplicate,
    /// Left out on purpose.
    Suppressed,
    /// Not attempted yet; running the same command again goes on.
    Pending,
}

impl Status {
    /// All statuses, in the order in which they are shown; a status's place is [`Status::index`].
    pub const ALL: [Self; 10] = [
        Self::Sent,
        Self::Verified,
        Self::NotVerified,
        Self::Rejected,
        Self::Failed,
        Self::Unknown,
        Self::Invalid,
        Self::Duplicate,
        Self::Suppressed,
        Self::Pending,
    ];

    /// Its place in [`Status::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The word used in files, flags and on the screen.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Verified => "verified",
            Self::NotVerified => "not_verified",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Invalid => "invalid",
            Self::Duplicate => "duplicate",
            Self::Suppressed => "suppressed",
            Self::Pending => "pending",
        }
    }

    /// Is this an answer that a person should look at (exit code 1)?
    #[must_use]
    pub fn needs_a_person(self) -> bool {
        matches!(
            self,
            Self::Rejected | Self::Failed | Self::Unknown | Self::Invalid
        )
    }
}

/// What became of a job, derived from its attempts by [`outcome`].
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome<'a> {
    /// The row's status.
    pub status: Status,
    /// The lane of the last request, or the one that is due.
    pub lane: Lane,
    /// The gateway's reference, when it accepted.
    pub reference: &'a str,
    /// Why, in the gateway's or our words; empty when there is nothing to say.
    pub detail: Cow<'a, str>,
    /// How many requests were begun.
    pub attempts: u32,
    /// How many of them repeated the one before on the same lane (a fallback is no retry).
    pub retries: u32,
    /// How many of them were sent although the one before may have been accepted.
    pub after_unknown: u32,
    /// When the first request left, as well as is known.
    pub first_sent_at: Option<UnixMicros>,
    /// When the status became final; `None` while it is not.
    pub settled_at: Option<UnixMicros>,
    /// From leaving to answer, of the last request.
    pub latency: Option<Duration>,
}

/// What is said of a request whose answer was never recorded.
pub const NO_ANSWER_RECORDED: &str = "the answer was not recorded: it may have been delivered";

/// What is said of a number whose tries are used up after an ambiguous one, or whose final answer
/// cannot be trusted because of it.
const AFTER_AMBIGUITY: &str = "an earlier try may have been accepted";

/// The fold: what the attempts of a job, in order, mean.
///
/// `lane` is the one that is due first, for a job without attempts.
#[must_use]
pub fn outcome(lane: Lane, attempts: &[Attempt]) -> Outcome<'_> {
    let Some(last) = attempts.last() else {
        return Outcome {
            status: Status::Pending,
            lane,
            reference: "",
            detail: Cow::Borrowed(""),
            attempts: 0,
            retries: 0,
            after_unknown: 0,
            first_sent_at: None,
            settled_at: None,
            latency: None,
        };
    };
    let status = status(attempts, last);
    let answer = last.answer.as_ref();
    let settled = status != Status::Pending;
    let pairs = |is: fn(&Attempt, &Attempt) -> bool| {
        let pairs = attempts.windows(2);
        pairs.filter(|pair| is(&pair[0], &pair[1])).count()
    };
    Outcome {
        status,
        lane: last.lane,
        reference: match answer.map(|a| &a.verdict) {
            Some(Verdict::Accepted(reference)) => reference,
            _ => "",
        },
        detail: Cow::Borrowed(match answer.map(|a| &a.verdict) {
            None => NO_ANSWER_RECORDED,
            Some(Verdict::Accepted(_)) => "",
            Some(verdict @ Verdict::Ambiguous(_)) => verdict.text(),
            Some(_) if status == Status::Unknown => AFTER_AMBIGUITY,
            Some(verdict) => verdict.text(),
        }),
        attempts: count(attempts.len()),
        retries: count(pairs(|before, after| before.lane == after.lane)),
        after_unknown: count(pairs(|before, _| is_ambiguous(before))),
        first_sent_at: attempts
            .first()
            .map(|first| first.answer.as_ref().map_or(first.begun_at, |a| a.left_at)),
        settled_at: answer.filter(|_| settled).map(|a| a.answered_at),
        latency: answer.map(|a| a.answered_at.since(a.left_at)),
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// May this request have been accepted without our knowing?
fn is_ambiguous(attempt: &Attempt) -> bool {
    match &attempt.answer {
        None => true,
        Some(answer) => matches!(answer.verdict, Verdict::Ambiguous(_)),
    }
}

fn status(attempts: &[Attempt], last: &Attempt) -> Status {
    use Status::{Failed, NotVerified, Pending, Rejected, Sent, Unknown, Verified};
    let Some(answer) = &last.answer else {
        return Unknown;
    };
    if let Verdict::Accepted(_) = answer.verdict {
        return if last.lane == Lane::Verify {
            Verified
        } else {
            Sent
        };
    }
    if attempts.iter().any(is_ambiguous) {
        return Unknown;
    }
    match answer.verdict {
        Verdict::NotVerified(_) => NotVerified,
        Verdict::Rejected(_) if last.fallback.is_none() => Rejected,
        Verdict::Throttled { .. } | Verdict::ServerError(_)
            if last.fallback.is_none() && last.try_number >= last.tries_max =>
        {
            Failed
        }
        _ => Pending,
    }
}

/// What the user allows to be done for a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Requests for one number on one lane, at least 1.
    pub max_attempts: u32,
    /// The channel to try for a number that the first one surely did not reach.
    pub fallback: Option<Channel>,
    /// May a request be repeated although it may have been delivered?
    pub retry_unknown: bool,
}

/// What is to be done for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request on this lane, as this try (1 to `max_attempts`).
    Try {
        /// Which request.
        lane: Lane,
        /// Which of the tries it is.
        try_number: u32,
    },
    /// Nothing: it is settled, or it is held for a person.
    Rest,
}

/// Recovery and retry are one table: what may be done after a job's last fact.
///
/// `lane` is the one that is due first. `anew` is true when a run finds the job in the ledger: tries that an earlier run used up are
/// then fresh. Within a run, used up is used up.
#[must_use]
pub fn next_step(lane: Lane, attempts: &[Attempt], policy: &Policy, anew: bool) -> Step {
    let first_try = |lane| Step::Try {
        lane,
        try_number: 1,
    };
    let Some(last) = attempts.last() else {
        return first_try(lane);
    };
    let ambiguous = attempts.iter().any(is_ambiguous);
    if ambiguous && !policy.retry_unknown {
        return Step::Rest;
    }
    let verdict = last.answer.as_ref().map(|answer| &answer.verdict);
    let falling_back = policy.fallback.map(Lane::from) == Some(last.lane);
    let settled = verdict.is_some_and(Verdict::is_final);
    if anew && last.lane != lane && !falling_back && !ambiguous && !settled {
        // Nothing was sent, and the user has chosen another channel since.
        return first_try(lane);
    }
    let again = |try_number| Step::Try {
        lane: last.lane,
        try_number,
    };
    let fall_back = policy
        .fallback
        .map(Lane::from)
        .filter(|other| !ambiguous && *other != lane && *other != last.lane)
        .map(first_try);
    let one_more = last.try_number < policy.max_attempts;
    match verdict {
        Some(Verdict::Accepted(_) | Verdict::NotVerified(_)) => Step::Rest,
        Some(Verdict::Rejected(_)) => fall_back.unwrap_or(Step::Rest),
        Some(Verdict::Unreachable(_) | Verdict::Misdirected(_) | Verdict::KeyRefused(_)) => {
            again(last.try_number)
        }
        Some(Verdict::Throttled { .. } | Verdict::ServerError(_)) if !one_more => match fall_back {
            Some(step) => step,
            None if anew => first_try(last.lane),
            None => Step::Rest,
        },
        None | Some(Verdict::Ambiguous(_)) if !one_more => {
            if anew {
                first_try(last.lane)
            } else {
                Step::Rest
            }
        }
        None
        | Some(Verdict::Throttled { .. } | Verdict::ServerError(_) | Verdict::Ambiguous(_)) => {
            again(last.try_number + 1)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);

    fn attempt(lane: Lane, try_number: u32, verdict: Option<Verdict>) -> Attempt {
        Attempt {
            n: 1,
            run: RunId(1),
            lane,
            try_number,
            tries_max: 3,
            fallback: None,
            begun_at: NOW,
            answer: verdict.map(|verdict| Answer {
                left_at: NOW,
                answered_at: NOW + Duration::from_millis(5),
                verdict,
            }),
        }
    }

    fn text() -> String {
        "said".to_owned()
    }

    fn throttled() -> Verdict {
        Verdict::Throttled {
            message: text(),
            retry_at: None,
        }
    }

    fn verdicts() -> [Option<Verdict>; 10] {
        [
            None,
            Some(Verdict::Accepted(text())),
            Some(Verdict::NotVerified(text())),
            Some(Verdict::Rejected(text())),
            Some(throttled()),
            Some(Verdict::ServerError(text())),
            Some(Verdict::Unreachable(text())),
            Some(Verdict::Misdirected(text())),
            Some(Verdict::KeyRefused(text())),
            Some(Verdict::Ambiguous(text())),
        ]
    }

    const HOLD: Policy = Policy {
        max_attempts: 3,
        fallback: None,
        retry_unknown: false,
    };

    const RETRY: Policy = Policy {
        retry_unknown: true,
        ..HOLD
    };

    const CALL_NEXT: Policy = Policy {
        fallback: Some(Channel::Call),
        ..HOLD
    };

    fn step(attempts: &[Attempt], policy: Policy, anew: bool) -> Option<(Lane, u32)> {
        match next_step(Lane::Sms, attempts, &policy, anew) {
            Step::Try { lane, try_number } => Some((lane, try_number)),
            Step::Rest => None,
        }
    }

    /// What one text message with this fact is, and what is next: in a run, and in the next run.
    #[track_caller]
    fn arm(
        last: &Attempt,
        status: Status,
        policy: Policy,
        within: Option<(Lane, u32)>,
        anew: Option<(Lane, u32)>,
    ) {
        let mut last = last.clone();
        last.fallback = policy.fallback;
        let attempts = [last];
        assert_eq!(outcome(Lane::Sms, &attempts).status, status);
        assert_eq!(step(&attempts, policy, false), within, "within a run");
        assert_eq!(step(&attempts, policy, true), anew, "in the next run");
    }

    #[test]
    fn a_number_never_tried_is_pending_and_gets_its_first_try() {
        for lane in Lane::ALL {
            let outcome = outcome(lane, &[]);
            assert_eq!((outcome.status, outcome.lane), (Status::Pending, lane));
            let first = Step::Try {
                lane,
                try_number: 1,
            };
            assert_eq!(next_step(lane, &[], &HOLD, true), first);
        }
    }

    #[test]
    fn accepted_is_final() {
        let sent = attempt(Lane::Sms, 1, Some(Verdict::Accepted(text())));
        arm(&sent, Status::Sent, CALL_NEXT, None, None);
        arm(&sent, Status::Sent, RETRY, None, None);
        let verified = [attempt(Lane::Verify, 1, Some(Verdict::Accepted(text())))];
        assert_eq!(outcome(Lane::Verify, &verified).status, Status::Verified);
    }

    #[test]
    fn a_wrong_code_is_final() {
        let wrong = attempt(Lane::Verify, 1, Some(Verdict::NotVerified(text())));
        arm(&wrong, Status::NotVerified, RETRY, None, None);
    }

    #[test]
    fn rejected_is_final_unless_another_channel_follows() {
        let rejected = attempt(Lane::Sms, 1, Some(Verdict::Rejected(text())));
        arm(&rejected, Status::Rejected, RETRY, None, None);
        let call = Some((Lane::Call, 1));
        arm(&rejected, Status::Pending, CALL_NEXT, call, call);
    }

    #[test]
    fn the_other_channel_does_not_lead_back() {
        let mut first = attempt(Lane::Sms, 1, Some(Verdict::Rejected(text())));
        first.fallback = Some(Channel::Call);
        let attempts = [
            first,
            attempt(Lane::Call, 1, Some(Verdict::Rejected(text()))),
        ];
        assert_eq!(outcome(Lane::Sms, &attempts).status, Status::Rejected);
        for fallback in [Some(Channel::Call), Some(Channel::Sms)] {
            let policy = Policy { fallback, ..HOLD };
            assert_eq!(step(&attempts, policy, true), None);
        }
    }

    #[test]
    fn a_fallback_that_is_dropped_is_pending_with_nothing_to_do() {
        let mut rejected = attempt(Lane::Sms, 1, Some(Verdict::Rejected(text())));
        rejected.fallback = Some(Channel::Call);
        assert_eq!(step(std::slice::from_ref(&rejected), HOLD, true), None);
        let status = outcome(Lane::Sms, &[rejected]).status;
        assert_eq!(status, Status::Pending, "the engine settles it");
    }

    #[test]
    fn an_answer_that_was_surely_no_is_tried_again_while_tries_are_left() {
        for verdict in [throttled(), Verdict::ServerError(text())] {
            let second = attempt(Lane::Sms, 2, Some(verdict.clone()));
            let third = Some((Lane::Sms, 3));
            arm(&second, Status::Pending, CALL_NEXT, third, third);
            let last = attempt(Lane::Sms, 3, Some(verdict));
            let fresh = Some((Lane::Sms, 1));
            arm(&last, Status::Failed, HOLD, None, fresh);
            let call = Some((Lane::Call, 1));
            arm(&last, Status::Pending, CALL_NEXT, call, call);
        }
    }

    #[test]
    fn a_try_given_back_after_an_outage_leaves_the_number_pending() {
        let mut given_back = attempt(Lane::Sms, 0, Some(throttled()));
        given_back.tries_max = 1;
        let policy = Policy {
            max_attempts: 1,
            ..HOLD
        };
        let first = Some((Lane::Sms, 1));
        arm(&given_back, Status::Pending, policy, first, first);
    }

    #[test]
    fn what_says_nothing_about_the_number_uses_no_try_up() {
        for verdict in [
            Verdict::Unreachable(text()),
            Verdict::Misdirected(text()),
            Verdict::KeyRefused(text()),
        ] {
            let last = attempt(Lane::Sms, 3, Some(verdict));
            let same = Some((Lane::Sms, 3));
            arm(&last, Status::Pending, CALL_NEXT, same, same);
        }
    }

    #[test]
    fn what_may_have_been_delivered_is_held_and_tried_again_on_demand_only() {
        for verdict in [None, Some(Verdict::Ambiguous(text()))] {
            let first = attempt(Lane::Sms, 1, verdict.clone());
            arm(&first, Status::Unknown, CALL_NEXT, None, None);
            let second = Some((Lane::Sms, 2));
            arm(&first, Status::Unknown, RETRY, second, second);
            let last = attempt(Lane::Sms, 3, verdict);
            let fresh = Some((Lane::Sms, 1));
            arm(&last, Status::Unknown, RETRY, None, fresh);
        }
    }

    #[test]
    fn nothing_but_acceptance_resolves_an_earlier_doubt() {
        for before in [None, Some(Verdict::Ambiguous(text()))] {
            for after in verdicts() {
                let accepted = matches!(after, Some(Verdict::Accepted(_)));
                let attempts = [
                    attempt(Lane::Sms, 1, before.clone()),
                    attempt(Lane::Sms, 2, after),
                ];
                let outcome = outcome(Lane::Sms, &attempts);
                let expected = if accepted {
                    Status::Sent
                } else {
                    Status::Unknown
                };
                assert_eq!(outcome.status, expected, "{attempts:?}");
                assert_eq!(outcome.after_unknown, 1);
                assert_eq!(step(&attempts, HOLD, true), None, "{attempts:?}");
                let calls = Policy {
                    retry_unknown: true,
                    ..CALL_NEXT
                };
                let next = step(&attempts, calls, true);
                assert_ne!(next.map(|(lane, _)| lane), Some(Lane::Call));
            }
        }
    }

    /// All pairs of facts: the two functions agree on who is finished.
    #[test]
    fn who_is_pending_has_something_to_do_and_who_is_settled_has_not() {
        let policies = [HOLD, RETRY, CALL_NEXT];
        for (first, second) in verdicts()
            .into_iter()
            .flat_map(|first| verdicts().map(|second| (first.clone(), second)))
        {
            for policy in policies {
                for try_number in [2, 3] {
                    let mut attempts = [
                        attempt(Lane::Sms, 1, first.clone()),
                        attempt(Lane::Sms, try_number, second.clone()),
                    ];
                    for attempt in &mut attempts {
                        attempt.fallback = policy.fallback;
                    }
                    let status = outcome(Lane::Sms, &attempts).status;
                    for anew in [false, true] {
                        let next = step(&attempts, policy, anew);
                        let at = format!("{attempts:?} {policy:?} {anew}");
                        match status {
                            Status::Pending => assert!(next.is_some(), "{at}"),
                            Status::Failed => assert_eq!(next.is_some(), anew, "{at}"),
                            Status::Unknown if policy.retry_unknown => {}
                            _ => assert_eq!(next, None, "{at}"),
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn an_outcome_tells_the_times_and_counts_of_its_attempts() {
        let attempts = [
            attempt(Lane::Sms, 1, Some(throttled())),
            attempt(Lane::Sms, 2, Some(Verdict::Rejected(text()))),
            attempt(Lane::Call, 1, Some(Verdict::Accepted("CA1".to_owned()))),
        ];
        let outcome = outcome(Lane::Sms, &attempts);
        assert_eq!((outcome.lane, outcome.reference), (Lane::Call, "CA1"));
        assert_eq!((outcome.attempts, outcome.retries), (3, 1));
        assert_eq!(outcome.first_sent_at, Some(NOW));
        assert_eq!(outcome.latency, Some(Duration::from_millis(5)));
        assert_eq!(
            outcome.settled_at,
            Some(NOW + Duration::from_millis(5)),
            "the answer's time"
        );
    }

    #[test]
    fn numbers_are_masked_wherever_they_stand() {
        let number = Number::new(919_876_543_210).unwrap();
        assert_eq!(format!("{number:?}"), "+9198******10");
        assert_eq!(mask_numbers("to +919876543210!"), "to +9198******10!");
        assert_eq!(mask_numbers("9876543210"), "+98******10");
        assert_eq!(mask_numbers("1234567 12345678"), "+1234*********78");
        assert_eq!(mask_numbers("a 1234567, b"), "a +*****67, b");
        for form in [
            "(+91) (98765) 43210",
            "+91 98765/43210",
            "91\u{a0}98765\u{2013}43210",
            "91%2098765%2043210",
            "९१९८७६५४३२१०",
            "９１98765４３210",
        ] {
            let masked = mask_numbers(form);
            let digits = masked.chars().filter(|c| c.is_numeric()).count();
            assert_eq!(digits, 6, "{masked}");
        }
        assert_eq!(mask_numbers("HTTP 503: 127.0.0.1"), "HTTP 503: 127.0.0.1");
        assert_eq!(mask_numbers("code 004512"), "code 004512");
        assert_eq!(mask_numbers(""), "");
        assert_eq!(Number::new(999_999), None);
        assert_eq!(Number::new(1_000_000_000_000_000), None);
    }
}
