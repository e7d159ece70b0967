//! What became of a number: the one fold from facts to a status.
//!
//! [`outcome`] is used by the engine, the progress line, the result files, `status` and recovery
//! after a crash, so they cannot disagree. Nothing it says is ever stored.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::job::{Attempt, Found, Lane, Lookup, UnixMicros, VerdictKind};
use crate::mistake::{Mistake, is_made};
use crate::next::fallback_after;
use crate::run::{Meaning, Runs};

/// What became of a row: exactly one of these, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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

    /// Is it one of rows that ask for work, done or to be done?
    #[must_use]
    pub fn is_asked(self) -> bool {
        !matches!(self, Self::Invalid | Self::Duplicate | Self::Suppressed)
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
    /// A request for it is under way right now.
    pub is_in_flight: bool,
    /// How many requests left, or may have.
    pub attempts: u32,
    /// How many of them are billed, or may be, on each lane.
    pub billed: [u32; Lane::ALL.len()],
    /// How many of them repeated the one before on the same lane (a fallback is no retry).
    pub retries: u32,
    /// How many of them were sent although the one before may have been accepted.
    pub after_unknown: u32,
    /// When the first request left that was, or may have been, acted on, as well as is known.
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

/// What is said of a number whose last request was looked up with the provider (`otpdrive settle`).
const LOOKED_UP_SENT: &str = "looked up with the provider: it was sent";
const LOOKED_UP_UNSENT: &str = "looked up with the provider: it was not sent";

/// The fold: what the attempts of a job, in order, mean. `lane` is the one that is due first.
#[must_use]
pub fn outcome<'a>(lane: Lane, attempts: &'a [Attempt], runs: &Runs) -> Outcome<'a> {
    let mut outcome = Outcome {
        status: Status::Pending,
        lane,
        reference: "",
        detail: Cow::Borrowed(""),
        is_in_flight: false,
        attempts: 0,
        billed: [0; Lane::ALL.len()],
        retries: 0,
        after_unknown: 0,
        first_sent_at: None,
        settled_at: None,
        latency: None,
    };
    let mut before: Option<&Attempt> = None;
    for attempt in attempts.iter().filter(|attempt| !attempt.never_left()) {
        outcome.attempts += 1;
        outcome.billed[attempt.lane.index()] += u32::from(runs.meaning(attempt).is_billed());
        if let Some(before) = before {
            outcome.retries += u32::from(before.lane == attempt.lane);
            outcome.after_unknown += u32::from(runs.meaning(before) == Meaning::Ambiguous);
        }
        before = Some(attempt);
        let may_be_sent = [Meaning::Accepted, Meaning::NotVerified, Meaning::Ambiguous];
        if outcome.first_sent_at.is_none() && may_be_sent.contains(&runs.meaning(attempt)) {
            outcome.first_sent_at = attempt.left_at();
        }
    }
    let Some(last) = decisive(attempts, runs) else {
        return outcome;
    };
    let status = status(lane, attempts, last, runs);
    outcome.status = status;
    outcome.lane = last.lane;
    outcome.latency = last.latency();
    if let Some(Lookup { found, at }) = last.lookup {
        outcome.settled_at = (found == Found::Sent).then_some(at);
        outcome.detail = Cow::Borrowed(match found {
            Found::Sent => LOOKED_UP_SENT,
            Found::Unsent => LOOKED_UP_UNSENT,
        });
        return outcome;
    }
    if status != Status::Pending {
        outcome.settled_at = last.answer.as_ref().map(|answer| answer.answered_at);
    }
    match last.verdict() {
        None if runs.is_on(last.run) => outcome.is_in_flight = true,
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

/// The attempt that decides what became of a job: the one that was accepted, be it that a person
/// found that out after others were made, or else the last that left, or may have.
#[must_use]
pub fn decisive<'a>(attempts: &'a [Attempt], runs: &Runs) -> Option<&'a Attempt> {
    let mut left = attempts.iter().filter(|attempt| !attempt.never_left());
    let accepted = |attempt: &&Attempt| runs.meaning(attempt) == Meaning::Accepted;
    left.clone().find(accepted).or_else(|| left.next_back())
}

/// The status of a job of which `last` is the [`decisive`] attempt.
fn status(lane: Lane, attempts: &[Attempt], last: &Attempt, runs: &Runs) -> Status {
    let meaning = runs.meaning(last);
    if meaning == Meaning::Accepted {
        return if last.lane == Lane::Verify {
            Status::Verified
        } else {
            Status::Sent
        };
    }
    if is_uncertain(attempts, runs) && !is_made(Mistake::DoubtForgotten) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::VerdictKind::{
        Accepted, Ambiguous, KeyRefused, Misdirected, NoAnswer, NotVerified, Rejected, ServerError,
        Throttled, Unreachable, Withdrawn,
    };
    use crate::run::tests::{
        CALL_NEXT, NEXT_RUN, POLICY, RUN, attempt, held, one_run, outage, second, wave,
    };
    use crate::run::{Policy, RunFact, RunFacts};

    /// What text messages of one run with these answers, second by second, make of a number.
    fn of(policy: Policy, facts: &[RunFact], kinds: &[VerdictKind]) -> Status {
        let attempts: Vec<_> = (1..)
            .zip(kinds)
            .map(|(at, kind)| attempt(RUN, Lane::Sms, at, *kind))
            .collect();
        outcome(Lane::Sms, &attempts, &one_run(policy, facts)).status
    }

    #[test]
    fn the_last_answer_that_counts_is_the_status() {
        for (kinds, expected) in [
            (&[][..], Status::Pending),
            (&[Accepted], Status::Sent),
            (&[NotVerified], Status::NotVerified),
            (&[Rejected], Status::Rejected),
            (&[ServerError, Throttled], Status::Pending),
            (&[ServerError, Throttled, ServerError], Status::Failed),
            (&[KeyRefused], Status::Pending),
            (&[Misdirected], Status::Pending),
            (&[NoAnswer], Status::Unknown),
            (&[Throttled, Ambiguous], Status::Unknown),
            (&[Ambiguous, Accepted], Status::Sent),
        ] {
            assert_eq!(of(POLICY, &[], kinds), expected, "{kinds:?}");
        }
        let verified = [attempt(RUN, Lane::Verify, 1, Accepted)];
        let runs = one_run(POLICY, &[]);
        assert_eq!(
            outcome(Lane::Verify, &verified, &runs).status,
            Status::Verified
        );
    }

    #[test]
    fn a_request_whose_answer_was_not_recorded_may_have_been_delivered() {
        let runs = one_run(POLICY, &[]);
        let attempts = [attempt(RUN, Lane::Sms, 1, None)];
        let outcome = outcome(Lane::Sms, &attempts, &runs);
        assert_eq!(outcome.status, Status::Unknown);
        assert_eq!(outcome.detail, NO_ANSWER_RECORDED);
        assert_eq!(outcome.first_sent_at, Some(second(1)));
        assert_eq!((outcome.settled_at, outcome.latency), (None, None));
    }

    #[test]
    fn nothing_but_acceptance_resolves_an_earlier_doubt() {
        for doubt in [Ambiguous, NoAnswer] {
            for after in VerdictKind::ALL {
                let expected = if after == Accepted {
                    Status::Sent
                } else {
                    Status::Unknown
                };
                assert_eq!(of(POLICY, &[], &[doubt, after]), expected, "{after:?}");
                let wave = [wave(Lane::Sms, 0)];
                assert_eq!(of(POLICY, &wave, &[doubt, after]), expected, "{after:?}");
            }
        }
        let attempts = [
            attempt(RUN, Lane::Sms, 1, NoAnswer),
            attempt(RUN, Lane::Sms, 2, Rejected),
        ];
        let runs = one_run(POLICY, &[]);
        let outcome = outcome(Lane::Sms, &attempts, &runs);
        assert_eq!(outcome.detail, AFTER_AMBIGUITY);
        assert_eq!(outcome.after_unknown, 1);
    }

    #[test]
    fn nobody_ends_failed_or_rejected_for_the_gateways_or_the_accounts_sake() {
        let outage = outage(Some(Lane::Sms), 1, None);
        for max_attempts in [1, 2, 3, 5] {
            let policy = Policy {
                max_attempts,
                ..POLICY
            };
            let failures = [ServerError; 7];
            assert_eq!(of(policy, &[], &failures), Status::Failed);
            assert_eq!(of(policy, &outage, &failures), Status::Pending);
            assert_eq!(
                of(policy, &[wave(Lane::Sms, 1)], &[Rejected]),
                Status::Pending
            );
        }
    }

    #[test]
    fn a_number_is_pending_while_another_channel_is_to_follow() {
        let mut runs = one_run(CALL_NEXT, &[]);
        let rejected = [attempt(RUN, Lane::Sms, 1, Rejected)];
        let failed = [1, 2, 3].map(|at| attempt(RUN, Lane::Sms, at, Throttled));
        let status = |attempts, runs: &_| outcome(Lane::Sms, attempts, runs).status;
        assert_eq!(status(&rejected, &runs), Status::Pending);
        assert_eq!(status(&failed, &runs), Status::Pending);
        runs.insert(NEXT_RUN, RunFacts::new(POLICY));
        assert_eq!(status(&rejected, &runs), Status::Rejected, "dropped since");
        assert_eq!(status(&failed, &runs), Status::Failed, "dropped since");
        let both = [rejected[0].clone(), attempt(RUN, Lane::Call, 2, Rejected)];
        let runs = one_run(CALL_NEXT, &[]);
        assert_eq!(status(&both, &runs), Status::Rejected, "it has followed");
    }

    #[test]
    fn tries_that_were_used_up_are_so_by_the_policy_of_their_run() {
        let generous = Policy {
            max_attempts: 5,
            ..POLICY
        };
        let mut runs = one_run(POLICY, &[]);
        runs.insert(NEXT_RUN, RunFacts::new(generous));
        let mut attempts = vec![];
        for at in 1..=3 {
            attempts.push(attempt(RUN, Lane::Sms, at, ServerError));
        }
        assert_eq!(outcome(Lane::Sms, &attempts, &runs).status, Status::Failed);
        attempts.push(attempt(NEXT_RUN, Lane::Sms, 4, ServerError));
        assert_eq!(outcome(Lane::Sms, &attempts, &runs).status, Status::Pending);
        let waiting = [held(RUN, Lane::Sms, 1)];
        assert_eq!(outcome(Lane::Sms, &waiting, &runs).status, Status::Pending);
    }

    #[test]
    fn what_never_left_is_as_if_it_had_not_been_made() {
        let runs = one_run(POLICY, &[]);
        let left = [
            attempt(RUN, Lane::Sms, 2, ServerError),
            attempt(RUN, Lane::Sms, 4, Rejected),
        ];
        let all = [
            attempt(RUN, Lane::Call, 1, Unreachable),
            left[0].clone(),
            attempt(RUN, Lane::Call, 3, Withdrawn),
            left[1].clone(),
            attempt(RUN, Lane::Call, 5, Withdrawn),
        ];
        assert_eq!(
            outcome(Lane::Sms, &all, &runs),
            outcome(Lane::Sms, &left, &runs)
        );
        let none = outcome(Lane::Call, &all[..1], &runs);
        assert_eq!(none, outcome(Lane::Call, &[], &runs));
        assert_eq!((none.first_sent_at, none.attempts), (None, 0));
    }

    #[test]
    fn an_outcome_tells_the_times_and_counts_of_its_attempts() {
        let mut accepted = attempt(RUN, Lane::Call, 3, Accepted);
        accepted.answer.as_mut().unwrap().verdict.text = "CA1".to_owned();
        let attempts = [
            attempt(RUN, Lane::Sms, 1, Throttled),
            attempt(RUN, Lane::Sms, 2, Rejected),
            accepted,
        ];
        let runs = one_run(CALL_NEXT, &[]);
        let outcome = outcome(Lane::Sms, &attempts, &runs);
        assert_eq!((outcome.lane, outcome.reference), (Lane::Call, "CA1"));
        assert_eq!((outcome.attempts, outcome.retries), (3, 1));
        assert_eq!(outcome.first_sent_at, Some(second(3)), "not before");
        assert_eq!(outcome.latency, Some(Duration::from_millis(5)));
        let answered_at = second(3) + Duration::from_millis(5);
        assert_eq!(outcome.settled_at, Some(answered_at), "the answer's time");
    }

    #[test]
    fn a_status_has_its_place_and_its_word() {
        for (place, status) in Status::ALL.into_iter().enumerate() {
            assert_eq!(status.index(), place);
            let word = serde_json::to_value(status).unwrap();
            assert_eq!(word, status.name());
        }
    }
}
