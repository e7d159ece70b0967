//! The rules of a ledger, over plain values: whose job a row is, when a code is forgotten, what an
//! earlier run leaves to a later one. Written once, for any room; what is due is said by
//! [`crate::next::due_on`].

use std::collections::BTreeSet;
use std::time::Duration;

use crate::job::{Attempt, JobId, Lane, UnixMicros, VerdictKind};
use crate::mistake::{Mistake, is_made};
use crate::number::Number;
use crate::run::{Meaning, RunFact, Runs, WAVE_BEGUN, alike};

/// By what a code is recognised after it is deleted, a keyed hash. Masked ones sort first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodePrint(pub i64);

impl CodePrint {
    /// There is no code: an OTP is to be sent.
    pub const NONE: Self = Self(0);
    /// The code is masked: it is one that was given before.
    pub const MASKED: Self = Self(i64::MIN);
}

/// A row that asks for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    /// For this number.
    pub number: Number,
    /// With which code.
    pub print: CodePrint,
    /// The row's id: that of its job, if it is a new one.
    pub row: i64,
    /// Its line.
    pub line: u64,
}

/// A job that a campaign has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownJob {
    /// Its name.
    pub job: JobId,
    /// The code that was given for it.
    pub print: CodePrint,
    /// Has its code been answered? See [`is_settled`].
    pub settled: bool,
    /// Is its code still there?
    pub has_code: bool,
}

/// To which job a row belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// To a new one, which has the row's id.
    New,
    /// To one that the campaign has.
    Known(KnownJob),
    /// To the one of another row.
    Duplicate {
        /// That row's line.
        first_line: u64,
    },
    /// To none: its code is masked, and none is known.
    NoKnownCode,
}

/// Finds the job of each of the `rows` that name one number, in their order; `known` are the campaign's jobs of this number.
///
/// A masked code stands for a job that no row has claimed yet, unsettled ones first, so that none
/// is lost when only some of a number's rows come back.
pub fn claim(rows: &[Claim], mut known: Vec<KnownJob>, mut each: impl FnMut(&Claim, Claimed)) {
    known.sort_unstable_by_key(|known| (known.settled, known.job));
    let mut claimed: Vec<(JobId, CodePrint, u64)> = Vec::new();
    for row in rows {
        let line_of = |job: JobId| {
            let first = claimed.iter().find(|(other, ..)| *other == job);
            first.map(|(.., line)| *line)
        };
        let found = if row.print == CodePrint::MASKED {
            let free = |known: &&KnownJob| {
                line_of(known.job).is_none() && (known.settled || known.has_code)
            };
            let last_claimed = || known.iter().rfind(|known| line_of(known.job).is_some());
            let Some(found) = known.iter().find(free).or_else(last_claimed) else {
                each(row, Claimed::NoKnownCode);
                continue;
            };
            Some(*found)
        } else {
            let known = known.iter().find(|known| known.print == row.print);
            known.filter(|_| !is_made(Mistake::LineIsIdentity)).copied()
        };
        let same = claimed.iter().find(|(_, print, _)| *print == row.print);
        let first_line = match (found, same) {
            (Some(found), _) => line_of(found.job),
            (None, same) => same.map(|(.., line)| *line),
        };
        if let Some(first_line) = first_line.filter(|_| !is_made(Mistake::NoDuplicate)) {
            each(row, Claimed::Duplicate { first_line });
            continue;
        }
        let job = found.map_or(JobId(row.row), |found| found.job);
        claimed.push((job, row.print, row.line));
        each(row, found.map_or(Claimed::New, Claimed::Known));
    }
}

/// Is this an answer after which a code is of no more use? Then it is forgotten.
#[must_use]
pub fn is_settled(attempt: &Attempt, runs: &Runs) -> bool {
    let settles = [Meaning::Accepted, Meaning::NotVerified, Meaning::Rejected];
    attempt.lane == Lane::Verify && settles.contains(&runs.meaning(attempt))
}

/// A `Retry-After` is heeded for at most so long.
const HOLD_MAX: Duration = Duration::from_hours(24);

/// Until when a `Retry-After` of an earlier run still holds back its lane. What a wrong clock noted
/// for the future is no fact.
#[must_use]
pub fn hold(answered_at: UnixMicros, retry_at: UnixMicros, now: UnixMicros) -> Option<UnixMicros> {
    let until = retry_at.min(answered_at + HOLD_MAX);
    (answered_at <= now && until > now).then_some(until)
}

/// When a request left, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// Then.
    Left(UnixMicros),
    /// It was begun then, and there is no answer.
    Begun(UnixMicros),
}

/// A request whose answer was not recorded left within this time of its intent.
const LEFT_WITHIN: Duration = Duration::from_secs(1);

impl Departure {
    /// When it left, as well as is known.
    #[must_use]
    pub fn at(self) -> UnixMicros {
        match self {
            Self::Left(at) | Self::Begun(at) => at,
        }
    }

    /// When it left at the latest.
    #[must_use]
    pub fn latest(self) -> UnixMicros {
        match self {
            Self::Left(at) => at,
            Self::Begun(at) => at + LEFT_WITHIN,
        }
    }
}

/// An answer of a run that was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastAnswer {
    /// On this lane.
    pub lane: Lane,
    /// For this job.
    pub job: JobId,
    /// When its request left.
    pub left_at: UnixMicros,
    /// When it came.
    pub answered_at: UnixMicros,
    /// What kind of answer it was.
    pub kind: VerdictKind,
    /// Its words.
    pub text: String,
    /// The run went on after it: the number was called next, or its code was forgotten.
    pub acted_on: bool,
}

/// The wave that may have begun on `lane` when a run was killed; `answers` are the run's last ones,
/// oldest first. A refusal that was acted on was out of doubt, and so was all before it.
#[must_use]
pub fn wave_begun(lane: Lane, answers: &[LastAnswer]) -> Option<RunFact> {
    let on_lane = || answers.iter().filter(|answer| answer.lane == lane);
    let refused = |answer: &&LastAnswer| answer.kind == VerdictKind::Rejected;
    let acted_on = on_lane().filter(refused).filter(|answer| answer.acted_on);
    let in_doubt_after = acted_on.map(|answer| answer.answered_at).max();
    let mut row: Vec<&LastAnswer> = Vec::new();
    for answer in on_lane().filter(|answer| Some(answer.answered_at) > in_doubt_after) {
        let Some(first) = row.first() else {
            row.extend(Some(answer).filter(refused));
            continue;
        };
        match answer.kind {
            VerdictKind::Rejected => {
                if alike(&first.text) != alike(&answer.text) {
                    row.clear();
                }
                row.push(answer);
            }
            // What was under way when the first of the row was answered shows nothing.
            VerdictKind::Accepted | VerdictKind::NotVerified | VerdictKind::Misdirected
                if answer.left_at >= first.answered_at =>
            {
                row.clear();
            }
            _ => {}
        }
    }
    let jobs: BTreeSet<JobId> = row.iter().map(|answer| answer.job).collect();
    let first = row.first().filter(|_| jobs.len() >= WAVE_BEGUN)?;
    Some(RunFact::Wave {
        lane,
        from: first.answered_at,
        words: alike(&first.text),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Answer, Verdict};
    use crate::run::{Policy, RunFacts, RunId, WhenUncertain};

    const CODE: CodePrint = CodePrint(11);
    const OTHER: CodePrint = CodePrint(13);

    fn row(print: CodePrint, row: i64) -> Claim {
        Claim {
            number: Number::new(919_876_543_210).unwrap(),
            print,
            row,
            line: row.unsigned_abs() + 1,
        }
    }

    fn known(job: i64, print: CodePrint) -> KnownJob {
        KnownJob {
            job: JobId(job),
            print,
            settled: false,
            has_code: true,
        }
    }

    fn claimed(rows: &[Claim], known: &[KnownJob]) -> Vec<Claimed> {
        let mut all = Vec::new();
        claim(rows, known.to_vec(), |_, claimed| all.push(claimed));
        all
    }

    #[test]
    fn the_first_row_of_a_number_is_a_new_job_and_the_next_its_duplicate() {
        let rows = [row(CodePrint::NONE, 7), row(CodePrint::NONE, 9)];
        let duplicate = Claimed::Duplicate { first_line: 8 };
        assert_eq!(claimed(&rows, &[]), [Claimed::New, duplicate]);
        let job = known(3, CodePrint::NONE);
        assert_eq!(claimed(&rows, &[job]), [Claimed::Known(job), duplicate]);
    }

    #[test]
    fn two_codes_of_a_number_are_two_jobs() {
        let rows = [row(CODE, 7), row(OTHER, 6), row(OTHER, 8)];
        let job = known(3, CODE);
        let duplicate = Claimed::Duplicate { first_line: 7 };
        let expected = [Claimed::Known(job), Claimed::New, duplicate];
        assert_eq!(claimed(&rows, &[job]), expected);
    }

    #[test]
    fn a_masked_code_is_the_first_that_is_pending_then_a_settled_one() {
        let settled = KnownJob {
            settled: true,
            has_code: false,
            ..known(1, CODE)
        };
        let pending = known(2, OTHER);
        let rows = [7, 8, 9].map(|id| row(CodePrint::MASKED, id));
        let (first, second) = (Claimed::Known(pending), Claimed::Known(settled));
        // The third has nothing left: the same as one before.
        let third = Claimed::Duplicate { first_line: 9 };
        assert_eq!(claimed(&rows, &[settled, pending]), [first, second, third]);
    }

    #[test]
    fn a_masked_code_that_nobody_has_kept_is_no_code() {
        let forgotten = KnownJob {
            has_code: false,
            ..known(1, CODE)
        };
        let rows = [row(CodePrint::MASKED, 7)];
        assert_eq!(claimed(&rows, &[forgotten]), [Claimed::NoKnownCode]);
        assert_eq!(claimed(&rows, &[]), [Claimed::NoKnownCode]);
    }

    #[test]
    fn a_code_may_be_a_duplicate_of_a_masked_one_behind_it() {
        let job = known(3, CODE);
        let rows = [row(CodePrint::MASKED, 9), row(CODE, 7)];
        let duplicate = Claimed::Duplicate { first_line: 10 };
        assert_eq!(claimed(&rows, &[job]), [Claimed::Known(job), duplicate]);
    }

    #[test]
    fn a_code_is_settled_by_an_answer_of_its_own_and_not_by_one_of_the_account() {
        let run = RunId(1);
        let policy = Policy {
            max_attempts: 1,
            fallback: None,
            on_unknown: WhenUncertain::Retry,
            on_server_error: WhenUncertain::Retry,
        };
        let mut runs = Runs::default();
        runs.insert(run, RunFacts::new(policy));
        let attempt = |lane, kind| Attempt {
            n: 1,
            run,
            lane,
            begun_at: UnixMicros(1),
            answer: Some(Answer {
                left_at: Some(UnixMicros(2)),
                answered_at: UnixMicros(3),
                verdict: Verdict::new(kind, "said"),
            }),
        };
        let settled = [VerdictKind::Accepted, VerdictKind::NotVerified];
        for kind in VerdictKind::ALL {
            let expected = settled.contains(&kind) || kind == VerdictKind::Rejected;
            assert_eq!(is_settled(&attempt(Lane::Verify, kind), &runs), expected);
            assert!(!is_settled(&attempt(Lane::Sms, kind), &runs));
        }
        let wave = RunFact::Wave {
            lane: Lane::Verify,
            from: UnixMicros(3),
            words: "said".to_owned(),
        };
        runs.add(run, &wave);
        assert!(!is_settled(
            &attempt(Lane::Verify, VerdictKind::Rejected),
            &runs
        ));
    }

    #[test]
    fn a_retry_after_holds_for_a_day_at_most_and_not_from_the_future() {
        let at = |hours| UnixMicros(0) + Duration::from_hours(hours);
        assert_eq!(hold(at(1), at(2), at(1)), Some(at(2)));
        assert_eq!(hold(at(1), at(99), at(2)), Some(at(25)));
        assert_eq!(hold(at(1), at(2), at(2)), None, "it is over");
        assert_eq!(hold(at(3), at(4), at(2)), None, "noted by a wrong clock");
    }

    #[test]
    fn what_was_not_answered_may_have_left_a_second_after_its_intent() {
        let (begun, second) = (UnixMicros(5), Duration::from_secs(1));
        assert_eq!(Departure::Left(begun).latest(), begun);
        assert_eq!(Departure::Begun(begun).latest(), begun + second);
        assert_eq!(Departure::Begun(begun).at(), begun);
    }

    /// The answer for a job at this second; its request left half a second before.
    fn last(job: i64, second: i64, kind: VerdictKind, text: &str) -> LastAnswer {
        LastAnswer {
            lane: Lane::Sms,
            job: JobId(job),
            left_at: UnixMicros(second * 1_000_000 - 500_000),
            answered_at: UnixMicros(second * 1_000_000),
            kind,
            text: text.to_owned(),
            acted_on: false,
        }
    }

    fn refused(job: i64, second: i64) -> LastAnswer {
        last(
            job,
            second,
            VerdictKind::Rejected,
            &format!("no credit, {second}"),
        )
    }

    /// From which second on there is a wave.
    fn begun_at(answers: &[LastAnswer]) -> Option<i64> {
        assert_eq!(wave_begun(Lane::Call, answers), None);
        match wave_begun(Lane::Sms, answers)? {
            RunFact::Wave { lane, from, words } => {
                assert_eq!((lane, words.as_str()), (Lane::Sms, "no credit, #"));
                Some(from.0 / 1_000_000)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn two_numbers_that_were_refused_alike_before_a_kill_may_be_a_wave() {
        assert_eq!(begun_at(&[]), None);
        assert_eq!(begun_at(&[refused(1, 1)]), None);
        assert_eq!(begun_at(&[refused(1, 1), refused(1, 2)]), None, "one job");
        assert_eq!(begun_at(&[refused(1, 1), refused(2, 2)]), Some(1));
        for kind in VerdictKind::ALL {
            let between = last(3, 2, kind, "something else");
            let breaks = [
                VerdictKind::Accepted,
                VerdictKind::NotVerified,
                VerdictKind::Rejected,
                VerdictKind::Misdirected,
            ];
            let expected = (!breaks.contains(&kind)).then_some(1);
            let answers = [refused(1, 1), between, refused(2, 3)];
            assert_eq!(begun_at(&answers), expected, "{kind:?}");
        }
    }

    #[test]
    fn what_was_under_way_at_the_first_refusal_does_not_break_the_row() {
        let mut slow = last(3, 3, VerdictKind::Accepted, "sent");
        let answers = |slow: &LastAnswer| [refused(1, 1), refused(2, 2), slow.clone()];
        assert_eq!(begun_at(&answers(&slow)), None);
        slow.left_at = UnixMicros(999_999);
        assert_eq!(begun_at(&answers(&slow)), Some(1));
    }

    #[test]
    fn a_refusal_that_was_acted_on_and_those_before_it_are_the_numbers() {
        let mut answers = [1, 2, 3, 4, 5].map(|n| refused(n, n));
        answers[2].acted_on = true;
        assert_eq!(begun_at(&answers), Some(4));
        assert_eq!(begun_at(&answers[..4]), None);
    }
}
