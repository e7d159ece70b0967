//! The nouns of the work: rows, jobs, attempts, answers. Facts only; what they mean is said by
//! [`crate::status`], what is to be done by [`crate::next`].

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::number::Number;
use crate::run::RunId;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// A text message.
    Sms,
    /// A telephone call.
    Call,
}

impl Channel {
    /// Both channels.
    pub const ALL: [Self; 2] = [Self::Sms, Self::Call];

    /// `sms` or `call`.
    #[must_use]
    pub fn name(self) -> &'static str {
        Lane::from(self).name()
    }
}

/// Which of the provider's three requests. Each lane has its own `Retry-After` and its own breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

    /// Its place in [`Lane::ALL`]: for arrays with one entry per lane, and in the ledger.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct UnixMicros(pub i64);

impl UnixMicros {
    /// The time from `earlier` to `self`; zero when `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for UnixMicros {
    /// RFC 3339, UTC, with milliseconds; nothing when it lies beyond the year 9999.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => Ok(()),
        }
    }
}

impl FromStr for UnixMicros {
    type Err = jiff::Error;

    /// RFC 3339.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time: Timestamp = text.parse()?;
        Ok(Self(time.as_microsecond()))
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
    /// What a result file of the campaign says of the row, if it comes from one.
    pub told: Told,
    /// What the row asks for, or why it is `invalid`.
    pub request: Result<Request, Problem>,
}

/// What a result file of a campaign says of a row: whoever does not know of it is not the ledger that
/// the file was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing; or the row has been repaired since, so that it means somebody else.
    Nothing,
    /// The campaign had this number.
    Known,
    /// And made a request for it.
    Tried,
}

/// What a usable row asks for.
#[derive(Clone, Debug)]
pub struct Request {
    /// Whom to reach.
    pub number: Number,
    /// Which lane is due first.
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
    /// `******`: the row comes from a `results.csv`, and means the code of the row that it was made
    /// from.
    Masked {
        /// The line of that row, as `otp_line` tells it.
        line: Option<u64>,
        /// When that row was settled, as `otp_settled_at` tells it.
        settled_at: Option<UnixMicros>,
    },
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
    /// The line on which that row starts.
    pub line: u64,
    /// Whom to reach.
    pub number: Number,
    /// The code to check.
    pub code: Option<SecretString>,
    /// Which lane is due first.
    pub lane: Lane,
    /// What has happened, in order of `n`.
    pub attempts: Vec<Attempt>,
}

/// Names a [`Job`] in a ledger, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub i64);

/// Names a row of the latest input in a ledger; ascends in input order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId(pub i64);

/// One request: begun, and maybe answered. Written twice in its life, never changed otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// 1, 2, 3 … over the job's whole life in the campaign, without gaps.
    pub n: u32,
    /// The run that made it.
    pub run: RunId,
    /// Which request.
    pub lane: Lane,
    /// When the intent was written down.
    pub begun_at: UnixMicros,
    /// What came of it; `None`: not known, so it may have been delivered.
    pub answer: Option<Answer>,
    /// What a person found out about it later. Written at most once, for one that may have been
    /// delivered.
    pub lookup: Option<Lookup>,
}

/// What a person found out from the provider about a request that may have been delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What it was.
    pub found: Found,
    /// When that was noted.
    pub at: UnixMicros,
}

/// What became of a request, as the provider's own records say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It was sent.
    Sent,
    /// It was never sent.
    Unsent,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// When its first byte left; `None` when it never did.
    pub left_at: Option<UnixMicros>,
    /// When its fate was known.
    pub answered_at: UnixMicros,
    /// What came back.
    pub verdict: Verdict,
}

/// What an answer of the gateway, or the lack of one, says. Made in one place, `gateway`, by the
/// rules of `src/doc/verdicts.md`. A fact: what it means for the number is said by the fold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// What kind of answer it was.
    pub kind: VerdictKind,
    /// What the gateway, or the network, said; for an accepted OTP its reference, opaque. No key,
    /// no code.
    pub text: String,
    /// From `Retry-After`: no request of this lane before. Only with [`VerdictKind::Throttled`].
    pub retry_at: Option<UnixMicros>,
}

/// The kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VerdictKind {
    /// The OTP was accepted for sending, or the code was right.
    Accepted,
    /// The code was wrong.
    NotVerified,
    /// Refused in the API's own words.
    Rejected,
    /// Surely not sent: too many requests, or "not now".
    Throttled,
    /// Answered as failed (500, 502). Whether that is believed is the run's policy.
    ServerError,
    /// Answered as if nothing were served there: a redirect or a 4xx without the API's words.
    Misdirected,
    /// The key was refused.
    KeyRefused,
    /// The account was refused (402).
    AccountRefused,
    /// An answer that cannot be trusted: the OTP may have been sent.
    Ambiguous,
    /// It left, and nothing came back: the OTP may have been sent.
    NoAnswer,
    /// Surely not sent: no name, no connection, no TLS.
    Unreachable,
    /// It did not leave after all: the run ended, or its connection was gone.
    Withdrawn,
}

impl VerdictKind {
    /// All kinds.
    pub const ALL: [Self; 12] = [
        Self::Accepted,
        Self::NotVerified,
        Self::Rejected,
        Self::Throttled,
        Self::ServerError,
        Self::Misdirected,
        Self::KeyRefused,
        Self::AccountRefused,
        Self::Ambiguous,
        Self::NoAnswer,
        Self::Unreachable,
        Self::Withdrawn,
    ];

    /// In words for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NotVerified => "wrong code",
            Self::Rejected => "refused",
            Self::Throttled => "not now",
            Self::ServerError => "answered as failed",
            Self::Misdirected => "answered as if nothing were served there",
            Self::KeyRefused => "the key was refused",
            Self::AccountRefused => "the account was refused",
            Self::Ambiguous => "an answer that cannot be trusted",
            Self::NoAnswer => "no answer came",
            Self::Unreachable => "not reached",
            Self::Withdrawn => "did not leave after all",
        }
    }

    /// For machines: in metrics and log lines.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::NotVerified => "not_verified",
            Self::Rejected => "rejected",
            Self::Throttled => "throttled",
            Self::ServerError => "server_error",
            Self::Misdirected => "misdirected",
            Self::KeyRefused => "key_refused",
            Self::AccountRefused => "account_refused",
            Self::Ambiguous => "ambiguous",
            Self::NoAnswer => "no_answer",
            Self::Unreachable => "unreachable",
            Self::Withdrawn => "withdrawn",
        }
    }

    /// May a request have left that came to this?
    #[must_use]
    pub fn may_have_left(self) -> bool {
        !matches!(self, Self::Unreachable | Self::Withdrawn)
    }

    /// Can only the API itself have said this? Then the endpoint is right.
    #[must_use]
    pub fn proves_endpoint(self) -> bool {
        matches!(self, Self::Accepted | Self::NotVerified | Self::Rejected)
    }
}

impl Verdict {
    /// A verdict of this kind with these words.
    #[must_use]
    pub fn new(kind: VerdictKind, text: impl Into<String>) -> Self {
        Self {
            kind,
            text: text.into(),
            retry_at: None,
        }
    }
}

impl Attempt {
    /// What came back, if it is known.
    #[must_use]
    pub fn verdict(&self) -> Option<&Verdict> {
        self.answer.as_ref().map(|answer| &answer.verdict)
    }

    /// Surely never left: as if it had not been made.
    #[must_use]
    pub fn never_left(&self) -> bool {
        self.verdict()
            .is_some_and(|verdict| !verdict.kind.may_have_left())
    }

    /// When its first byte left, as well as is known; `None` when it never did.
    #[must_use]
    pub fn left_at(&self) -> Option<UnixMicros> {
        match &self.answer {
            None => Some(self.begun_at),
            Some(answer) => answer.left_at,
        }
    }

    /// From the first byte to the end of the answer; `None` when no answer came.
    #[must_use]
    pub fn latency(&self) -> Option<Duration> {
        let answer = self.answer.as_ref()?;
        let came = answer.verdict.kind != VerdictKind::NoAnswer;
        let left_at = answer.left_at.filter(|_| came)?;
        Some(answer.answered_at.since(left_at))
    }
}
