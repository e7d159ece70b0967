//! What may be done for a number now: recovery and retry are one table.

use crate::job::{Attempt, Job, Lane};
use crate::mistake::{Mistake, is_made};
use crate::run::{Meaning, Policy, RunId, Runs, WhenUncertain};
use crate::status::{decisive, is_uncertain};

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
    let Some(last) = decisive(attempts, runs) else {
        return Step::Try(lane);
    };
    let uncertain = is_uncertain(attempts, runs);
    let held = uncertain && !may_risk_again(attempts, runs, run);
    if held && !is_made(Mistake::DoubtTriedAgain) {
        return Step::Rest;
    }
    let other = fallback_after(lane, last.lane, &policy)
        .filter(|_| !uncertain || is_made(Mistake::FallbackAfterDoubt));
    let fall_back = other.map_or(Step::Rest, Step::Try);
    let meaning = runs.meaning(last);
    match meaning {
        Meaning::Accepted if is_made(Mistake::AcceptedAgain) => return Step::Try(last.lane),
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
    let most = policy.max_attempts + u32::from(is_made(Mistake::OneTryTooMany));
    let tries_left = runs.tries(attempts, run, last.lane) < most;
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
    uncertain.skip(1).all(|attempt| attempt.run != run) || is_made(Mistake::RiskWithoutEnd)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::VerdictKind::{
        Accepted, AccountRefused, Ambiguous, KeyRefused, Misdirected, NoAnswer, NotVerified,
        Rejected, ServerError, Throttled, Unreachable, Withdrawn,
    };
    use crate::job::{Channel, Found, JobId, Lookup, RowId, UnixMicros, VerdictKind};
    use crate::number::Number;
    use crate::run::tests::{
        CALL_NEXT, NEXT_RUN, POLICY, RETRY, RUN, attempt, held, one_run, outage, wave,
    };
    use crate::run::{RunFact, RunFacts};
    use crate::status::{Status, outcome};

    const CALL: Option<Lane> = Some(Lane::Call);
    const SMS: Option<Lane> = Some(Lane::Sms);

    fn step(lane: Lane, attempts: &[Attempt], runs: &Runs) -> Option<Lane> {
        match next_step(lane, attempts, runs) {
            Step::Try(lane) => Some(lane),
            Step::Rest => None,
        }
    }

    /// What is next after these attempts of the first run: in that run, and in one after it with the
    /// same policy.
    fn steps(attempts: &[Attempt], mut runs: Runs) -> [Option<Lane>; 2] {
        let within = step(Lane::Sms, attempts, &runs);
        runs.insert(NEXT_RUN, RunFacts::new(runs.policy()));
        [within, step(Lane::Sms, attempts, &runs)]
    }

    /// As [`steps`], after text messages with these answers.
    fn after(policy: Policy, facts: &[RunFact], kinds: &[VerdictKind]) -> [Option<Lane>; 2] {
        let attempts: Vec<_> = (1..)
            .zip(kinds)
            .map(|(at, kind)| attempt(RUN, Lane::Sms, at, *kind))
            .collect();
        steps(&attempts, one_run(policy, facts))
    }

    #[test]
    fn a_number_never_tried_gets_its_first_try_on_its_lane() {
        for lane in Lane::ALL {
            assert_eq!(step(lane, &[], &one_run(POLICY, &[])), Some(lane));
            assert_eq!(step(lane, &[], &Runs::default()), Some(lane));
        }
    }

    #[test]
    fn accepted_and_a_wrong_code_are_final() {
        for policy in [POLICY, RETRY, CALL_NEXT] {
            for kind in [Accepted, NotVerified] {
                assert_eq!(after(policy, &[], &[kind]), [None, None]);
                assert_eq!(after(policy, &[], &[Ambiguous, kind]), [None, None]);
                assert_eq!(after(policy, &[], &[kind, Withdrawn]), [None, None]);
            }
        }
    }

    #[test]
    fn what_a_person_found_to_be_sent_is_final_whatever_followed_it() {
        let mut doubt = attempt(RUN, Lane::Sms, 1, NoAnswer);
        doubt.lookup = Some(Lookup {
            found: Found::Sent,
            at: UnixMicros(9),
        });
        for kind in [Rejected, Throttled, KeyRefused] {
            let attempts = [doubt.clone(), attempt(RUN, Lane::Sms, 2, kind)];
            for policy in [POLICY, RETRY, CALL_NEXT] {
                let runs = one_run(policy, &[]);
                let outcome = outcome(Lane::Sms, &attempts, &runs);
                assert_eq!(outcome.status, Status::Sent, "{kind:?}");
                assert_eq!(outcome.settled_at, Some(UnixMicros(9)));
                assert_eq!(steps(&attempts, runs), [None, None], "{kind:?}");
            }
        }
    }

    #[test]
    fn refused_is_final_unless_another_channel_follows() {
        assert_eq!(after(RETRY, &[], &[Rejected]), [None, None]);
        assert_eq!(after(CALL_NEXT, &[], &[Rejected]), [CALL, CALL]);
        assert_eq!(after(CALL_NEXT, &[], &[Rejected, Withdrawn]), [CALL, CALL]);
    }

    #[test]
    fn the_other_channel_does_not_lead_back() {
        for kind in [Rejected, Throttled] {
            let attempts = [
                attempt(RUN, Lane::Sms, 1, Rejected),
                attempt(RUN, Lane::Call, 2, kind),
            ];
            for fallback in [Channel::Call, Channel::Sms] {
                let policy = Policy {
                    max_attempts: 1,
                    fallback: Some(fallback),
                    ..POLICY
                };
                assert_eq!(step(Lane::Sms, &attempts, &one_run(policy, &[])), None);
            }
        }
        for fallback in [Channel::Call, Channel::Sms] {
            let policy = Policy {
                fallback: Some(fallback),
                ..POLICY
            };
            assert_eq!(fallback_after(Lane::Verify, Lane::Verify, &policy), None);
        }
    }

    #[test]
    fn an_answer_that_was_surely_no_is_tried_again_while_tries_are_left() {
        for kind in [Throttled, ServerError] {
            assert_eq!(after(CALL_NEXT, &[], &[kind; 2]), [SMS, SMS]);
            assert_eq!(after(POLICY, &[], &[kind; 3]), [None, SMS]);
            let next = after(CALL_NEXT, &[], &[kind; 3]);
            assert_eq!(next, [CALL, SMS], "a later run gives fresh tries first");
        }
    }

    #[test]
    fn tries_are_counted_per_run() {
        let mut runs = one_run(POLICY, &[]);
        runs.insert(NEXT_RUN, RunFacts::new(POLICY));
        let mut attempts: Vec<_> = [1, 2, 3]
            .map(|at| attempt(RUN, Lane::Sms, at, ServerError))
            .into();
        for at in 4..=6 {
            assert_eq!(step(Lane::Sms, &attempts, &runs), SMS, "at {at}");
            attempts.push(attempt(NEXT_RUN, Lane::Sms, at, ServerError));
        }
        assert_eq!(step(Lane::Sms, &attempts, &runs), None);
    }

    #[test]
    fn an_outage_and_a_wave_leave_every_try_whatever_the_number_of_tries() {
        let outage = outage(Some(Lane::Sms), 1, None);
        for max_attempts in [1, 2, 3, 5] {
            for fallback in [None, Some(Channel::Call)] {
                let policy = Policy {
                    max_attempts,
                    fallback,
                    ..POLICY
                };
                let failures = [Throttled; 7];
                assert_eq!(after(policy, &outage, &failures), [SMS, SMS]);
                let wave = [wave(Lane::Sms, 1)];
                assert_eq!(after(policy, &wave, &[Rejected]), [SMS, SMS]);
            }
        }
    }

    #[test]
    fn a_hold_uses_up_no_try_for_a_while() {
        for (holds, expected) in [(1, [SMS, SMS]), (22, [SMS, SMS]), (23, [None, SMS])] {
            let attempts: Vec<_> = (1..=holds).map(|at| held(RUN, Lane::Sms, at)).collect();
            let next = steps(&attempts, one_run(POLICY, &[]));
            assert_eq!(next, expected, "{holds} holds");
        }
    }

    #[test]
    fn what_says_nothing_about_the_number_uses_no_try_up() {
        for kind in [Misdirected, KeyRefused, AccountRefused] {
            assert_eq!(after(CALL_NEXT, &[], &[kind; 9]), [SMS, SMS]);
        }
        for kind in [Unreachable, Withdrawn] {
            assert_eq!(after(CALL_NEXT, &[], &[kind; 9]), [SMS, SMS]);
        }
    }

    #[test]
    fn what_may_have_been_delivered_is_held_and_tried_again_on_demand_only() {
        for kind in [Ambiguous, NoAnswer] {
            assert_eq!(after(CALL_NEXT, &[], &[kind]), [None, None]);
            assert_eq!(after(RETRY, &[], &[kind]), [SMS, SMS]);
        }
        let unanswered = [attempt(RUN, Lane::Sms, 1, None)];
        assert_eq!(steps(&unanswered, one_run(POLICY, &[])), [None, None]);
        assert_eq!(steps(&unanswered, one_run(RETRY, &[])), [SMS, SMS]);
        let both = Policy {
            fallback: Some(Channel::Call),
            ..RETRY
        };
        assert_eq!(after(both, &[], &[Ambiguous, Rejected]), [None, None]);
        assert_eq!(after(both, &[], &[Ambiguous, Throttled]), [SMS, SMS]);
    }

    #[test]
    fn a_run_risks_one_more_otp_per_number_and_no_more() {
        let many = Policy {
            max_attempts: 9,
            ..RETRY
        };
        let twice = [Ambiguous, NoAnswer];
        assert_eq!(after(many, &[], &twice), [None, SMS]);
        let between = [Ambiguous, Throttled, ServerError];
        assert_eq!(after(many, &[], &between), [SMS, SMS], "surely not sent");
        let mut runs = one_run(many, &outage(None, 0, None));
        let mut attempts: Vec<_> = [1, 2]
            .map(|at| attempt(RUN, Lane::Sms, at, Ambiguous))
            .into();
        let next = step(Lane::Sms, &attempts, &runs);
        assert_eq!(
            next, None,
            "an outage does not excuse what may have gone out"
        );
        runs.insert(NEXT_RUN, RunFacts::new(many));
        attempts.push(attempt(NEXT_RUN, Lane::Sms, 3, None));
        assert_eq!(step(Lane::Sms, &attempts, &runs), None);
    }

    #[test]
    fn a_code_is_checked_again_as_often_as_tries_allow() {
        let runs = one_run(RETRY, &[]);
        for tries in 0..=3 {
            let attempts: Vec<_> = (0..tries)
                .map(|at| attempt(RUN, Lane::Verify, at, NoAnswer))
                .collect();
            let next = step(Lane::Verify, &attempts, &runs);
            assert_eq!(next.is_some(), tries < 3, "after {tries}");
        }
    }

    #[test]
    fn a_later_run_may_drop_the_fallback_or_choose_another_channel() {
        let mut runs = one_run(CALL_NEXT, &[]);
        runs.insert(NEXT_RUN, RunFacts::new(POLICY));
        let rejected = attempt(RUN, Lane::Sms, 1, Rejected);
        let failed = |lane| attempt(RUN, lane, 2, Throttled);
        let next = |lane, attempts: &[Attempt]| step(lane, attempts, &runs);
        assert_eq!(next(Lane::Sms, std::slice::from_ref(&rejected)), None);
        assert_eq!(next(Lane::Sms, &[rejected, failed(Lane::Call)]), SMS);
        assert_eq!(next(Lane::Call, &[failed(Lane::Sms)]), CALL);
        let uncertain = [attempt(RUN, Lane::Sms, 1, None)];
        runs.insert(NEXT_RUN, RunFacts::new(RETRY));
        let again = step(Lane::Call, &uncertain, &runs);
        assert_eq!(again, SMS, "never on another channel after a doubt");
    }

    #[test]
    fn a_channel_that_was_chosen_since_goes_before_its_fallback() {
        let sms_next = Policy {
            fallback: Some(Channel::Sms),
            ..POLICY
        };
        let mut runs = one_run(POLICY, &[]);
        runs.insert(NEXT_RUN, RunFacts::new(sms_next));
        let mut attempts = vec![attempt(RUN, Lane::Sms, 1, Throttled)];
        assert_eq!(step(Lane::Call, &attempts, &runs), CALL);
        for at in 2..=4 {
            attempts.push(attempt(NEXT_RUN, Lane::Call, at, Throttled));
        }
        assert_eq!(step(Lane::Call, &attempts, &runs), SMS);
    }

    #[test]
    fn what_a_run_has_begun_is_in_its_own_hands() {
        let mut job = Job {
            id: JobId(1),
            row: RowId(1),
            line: 2,
            number: Number::new(919_876_543_210).unwrap(),
            code: None,
            lane: Lane::Sms,
            attempts: vec![attempt(RUN, Lane::Sms, 1, Rejected)],
        };
        let mut runs = one_run(CALL_NEXT, &[]);
        assert_eq!(due_on(&job, &runs), None);
        runs.insert(NEXT_RUN, RunFacts::new(CALL_NEXT));
        assert_eq!(due_on(&job, &runs), CALL);
        job.attempts
            .push(attempt(NEXT_RUN, Lane::Call, 2, Withdrawn));
        assert_eq!(due_on(&job, &runs), None);
    }

    /// All that can be the latest fact of a number on a lane.
    fn facts(run: RunId, lane: Lane, at: u64) -> Vec<Attempt> {
        let answered = VerdictKind::ALL.map(|kind| attempt(run, lane, at, kind));
        let mut facts = vec![attempt(run, lane, at, None), held(run, lane, at)];
        facts.extend(answered);
        facts
    }

    /// All pairs of facts, policies and facts of the run: the two functions agree on who is finished.
    #[test]
    fn who_is_pending_has_something_to_do_and_who_is_settled_has_not() {
        let of_runs = [
            vec![],
            vec![RunFact::EndpointProven],
            vec![wave(Lane::Sms, 0)],
            outage(None, 0, None),
            outage(Some(Lane::Sms), 0, Some(1)),
            outage(Some(Lane::Call), 2, None),
        ];
        let mut policies = Vec::new();
        for max_attempts in [1, 2, 3] {
            for policy in [POLICY, RETRY, CALL_NEXT] {
                policies.push(Policy {
                    max_attempts,
                    ..policy
                });
            }
        }
        for first in facts(RUN, Lane::Sms, 1) {
            for second in [Lane::Sms, Lane::Call]
                .into_iter()
                .flat_map(|lane| facts(RUN, lane, 2))
            {
                let attempts = [first.clone(), second];
                for policy in &policies {
                    for of_run in &of_runs {
                        let mut runs = one_run(*policy, of_run);
                        agree(&attempts, &runs, false);
                        for later in &policies {
                            runs.insert(NEXT_RUN, RunFacts::new(*later));
                            agree(&attempts, &runs, true);
                        }
                    }
                }
            }
        }
    }

    #[track_caller]
    fn agree(attempts: &[Attempt], runs: &Runs, anew: bool) {
        for lane in [Lane::Sms, Lane::Call] {
            let next = step(lane, attempts, runs);
            let status = outcome(lane, attempts, runs).status;
            let agree = match status {
                Status::Pending => next.is_some(),
                // A later run gives fresh tries.
                Status::Failed => next.is_some() == anew,
                Status::Unknown if runs.policy().on_unknown == WhenUncertain::Retry => true,
                _ => next.is_none(),
            };
            assert!(
                agree,
                "{status:?} {next:?} on {lane:?}: {attempts:?} {runs:?}"
            );
        }
    }
}
