//! What may be done for a number now: recovery and retry are one table.

use crate::job::{Attempt, Job, Lane};
use crate::run::{Meaning, Policy, RunId, Runs, WhenUncertain};
use crate::status::is_uncertain;

/// What is to be done for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request on this lane.
    Try(Lane),
    /// Nothing: it is settled, or it is held for a person.
    Rest,
}

/// What may be done after a job's last fact, in the latest of `runs`.
///
/// | last fact | next |
/// |---|---|
/// | none | the first try on `lane` |
/// | accepted, or the code was wrong | nothing |
/// | refused | the other channel, if one is to follow |
/// | surely not sent, tries left in this run | the same lane again |
/// | surely not sent, none left | the other channel, if one is to follow |
/// | says nothing about the number | the same lane again |
/// | may have been delivered | nothing, unless the policy risks one more OTP |
///
/// Tries are counted per run: the next run gives fresh ones.
#[must_use]
pub fn next_step(lane: Lane, attempts: &[Attempt], runs: &Runs) -> Step {
    let policy = runs.policy();
    let run = runs.latest().unwrap_or(RunId::NEXT);
    let Some(last) = attempts.iter().rfind(|attempt| !attempt.never_left()) else {
        return Step::Try(lane);
    };
    let uncertain = is_uncertain(attempts, runs);
    if uncertain && !may_risk_again(attempts, runs, run) {
        return Step::Rest;
    }
    let fallback = fallback_after(lane, last.lane, &policy).filter(|_| !uncertain);
    let fall_back = fallback.map_or(Step::Rest, Step::Try);
    let meaning = runs.meaning(last);
    match meaning {
        Meaning::Accepted | Meaning::NotVerified => return Step::Rest,
        Meaning::Rejected => return fall_back,
        Meaning::Failed | Meaning::Held | Meaning::Nothing | Meaning::Ambiguous => {}
    }
    // Where the first lane was never tried, the last one is no fallback.
    let falling_back = policy.fallback.map(Lane::from) == Some(last.lane)
        && attempts.iter().any(|attempt| attempt.lane == lane);
    if last.run != run && last.lane != lane && !falling_back && !uncertain {
        // Nothing was sent, and the user has chosen another channel since.
        return Step::Try(lane);
    }
    let tries_left = runs.tries(attempts, run, last.lane) < policy.max_attempts;
    if tries_left || meaning == Meaning::Nothing {
        Step::Try(last.lane)
    } else if matches!(meaning, Meaning::Failed | Meaning::Held) {
        fall_back
    } else {
        Step::Rest
    }
}

/// The lane that follows when `last` surely did not reach the number; `lane` is the one that was due
/// first. Nothing leads back.
#[must_use]
pub fn fallback_after(lane: Lane, last: Lane, policy: &Policy) -> Option<Lane> {
    let other = policy.fallback.map(Lane::from)?;
    (other != lane && other != last && last != Lane::Verify).then_some(other)
}

/// May one more request be made for a job of which one may have been delivered?
///
/// Checking a code twice does no harm. Sending does: a run risks one OTP more than may have gone out
/// already, never two.
fn may_risk_again(attempts: &[Attempt], runs: &Runs, run: RunId) -> bool {
    if runs.policy().on_unknown == WhenUncertain::Hold {
        return false;
    }
    let mut uncertain = attempts
        .iter()
        .filter(|attempt| runs.meaning(attempt) == Meaning::Ambiguous)
        .peekable();
    if uncertain
        .peek()
        .is_some_and(|first| first.lane == Lane::Verify)
    {
        return true;
    }
    // The first of all is what may have gone out already; any other of this run was the risk.
    uncertain.skip(1).all(|attempt| attempt.run != run)
}

/// The lane on which the latest of `runs` has something to do for a job. What the run has begun
/// already is in the engine's own hands, whatever its next lane.
#[must_use]
pub fn due_on(job: &Job, runs: &Runs) -> Option<Lane> {
    let latest = runs.latest();
    if job
        .attempts
        .last()
        .is_some_and(|last| Some(last.run) == latest)
    {
        return None;
    }
    match next_step(job.lane, &job.attempts, runs) {
        Step::Try(lane) => Some(lane),
        Step::Rest => None,
    }
}
