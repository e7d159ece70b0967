//! What became of a number: the one fold from facts to a status.
//!
//! [`outcome`] is used by the engine, the progress line, the result files, `status` and recovery
//! after a crash, so they cannot disagree. Nothing it says is ever stored.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::job::{Attempt, Lane, UnixMicros, VerdictKind};
use crate::next::fallback_after;
use crate::run::{Meaning, Runs};

/// What became of a row: exactly one of these, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
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
    /// How many requests left, or may have.
    pub attempts: u32,
    /// How many of them repeated the one before on the same lane (a fallback is no retry).
    pub retries: u32,
    /// How many of them were sent although the one before may have been accepted.
    pub after_unknown: u32,
    /// When the first request left, as well as is known.
    pub first_sent_at: Option<UnixMicros>,
    /// When the status became final; `None` while it is not.
    pub settled_at: Option<UnixMicros>,
    /// From the first byte of the last request to the end of its answer.
    pub latency: Option<Duration>,
}

/// What is said of a request whose answer was never recorded.
pub const NO_ANSWER_RECORDED: &str = "the answer was not recorded: it may have been delivered";

/// What is said of a number whose tries are used up after an ambiguous one, or whose final answer
/// cannot be trusted because of it.
const AFTER_AMBIGUITY: &str = "an earlier try may have been accepted";

/// The fold: what the attempts of a job, in order, mean. `lane` is the one that is due first.
#[must_use]
pub fn outcome<'a>(lane: Lane, attempts: &'a [Attempt], runs: &Runs) -> Outcome<'a> {
    let mut outcome = Outcome {
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
    let mut before: Option<&Attempt> = None;
    for attempt in attempts.iter().filter(|attempt| !attempt.never_left()) {
        outcome.attempts += 1;
        if let Some(before) = before {
            outcome.retries += u32::from(before.lane == attempt.lane);
            outcome.after_unknown += u32::from(runs.meaning(before) == Meaning::Ambiguous);
        } else {
            outcome.first_sent_at = attempt.left_at();
        }
        before = Some(attempt);
    }
    let Some(last) = before else {
        return outcome;
    };
    let status = status(lane, attempts, last, runs);
    let verdict = last.verdict();
    outcome.status = status;
    outcome.lane = last.lane;
    outcome.latency = last.latency();
    if status != Status::Pending {
        outcome.settled_at = last.answer.as_ref().map(|answer| answer.answered_at);
    }
    match verdict {
        None => outcome.detail = Cow::Borrowed(NO_ANSWER_RECORDED),
        Some(accepted) if accepted.kind == VerdictKind::Accepted => {
            outcome.reference = &accepted.text;
        }
        Some(_) if status == Status::Unknown && runs.meaning(last) != Meaning::Ambiguous => {
            outcome.detail = Cow::Borrowed(AFTER_AMBIGUITY);
        }
        Some(other) => outcome.detail = Cow::Borrowed(&other.text),
    }
    outcome
}

/// The status of a job whose last attempt that left, or may have left, is `last`.
fn status(lane: Lane, attempts: &[Attempt], last: &Attempt, runs: &Runs) -> Status {
    let meaning = runs.meaning(last);
    if meaning == Meaning::Accepted {
        return if last.lane == Lane::Verify {
            Status::Verified
        } else {
            Status::Sent
        };
    }
    if is_uncertain(attempts, runs) {
        return Status::Unknown;
    }
    let follows = fallback_after(lane, last.lane, &runs.policy()).is_some();
    match meaning {
        Meaning::NotVerified => Status::NotVerified,
        Meaning::Rejected if !follows => Status::Rejected,
        Meaning::Failed | Meaning::Held if !follows => {
            let tries = runs.tries(attempts, last.run, last.lane);
            if tries >= runs.policy_of(last.run).max_attempts {
                Status::Failed
            } else {
                Status::Pending
            }
        }
        _ => Status::Pending,
    }
}

/// May any of these have been accepted without our knowing?
#[must_use]
pub fn is_uncertain(attempts: &[Attempt], runs: &Runs) -> bool {
    attempts
        .iter()
        .any(|attempt| runs.meaning(attempt) == Meaning::Ambiguous)
}
