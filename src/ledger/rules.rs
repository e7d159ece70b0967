//! The rules of a ledger, over plain values: whose job a row is, when a code is forgotten, what an
//! earlier run leaves to a later one. Written once, for any room; what is due is said by
//! [`crate::next::due_on`].

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use crate::job::{Attempt, JobId, Lane, UnixMicros, VerdictKind};
use crate::mistake::{Mistake, is_made};
use crate::number::Number;
use crate::run::{Meaning, RunFact, Runs, WAVE_BEGUN, alike};
use crate::status::decisive;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// When its code was answered, if it was; see [`settled_at`].
    pub settled_at: Option<UnixMicros>,
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
        /// And its job.
        job: JobId,
    },
    /// To none: its code is masked, and which one it was cannot be told.
    NoKnownCode,
}

/// Finds the jobs of the rows that name one number.
#[derive(Default)]
pub struct Claims {
    known: Vec<KnownJob>,
    /// Jobs that rows have claimed, by which code, and the first line of each.
    claimed: Vec<(JobId, CodePrint, u64)>,
}

impl Claims {
    /// Of a number for which the campaign has these jobs.
    #[must_use]
    pub fn of(known: Vec<KnownJob>) -> Self {
        let claimed = Vec::new();
        Self { known, claimed }
    }

    /// The jobs that the campaign had for the number.
    #[must_use]
    pub fn known(&self) -> &[KnownJob] {
        &self.known
    }

    /// The job of the next row.
    ///
    /// A masked code stands for the one job that the row `means`. Where that is none, or may be more
    /// than one, it cannot be told: a row never gets the answer to another row's code.
    pub fn claim(&mut self, row: &Claim, means: impl Fn(&KnownJob) -> bool) -> Claimed {
        let found = if row.print == CodePrint::MASKED {
            match self.told_by_mask(means) {
                None => return Claimed::NoKnownCode,
                only => only,
            }
        } else {
            let mut known = self.known.iter();
            let known = known.find(|known| known.print == row.print);
            known.filter(|_| !is_made(Mistake::LineIsIdentity)).copied()
        };
        let first = self.claimed.iter().find(|(job, print, _)| match found {
            Some(found) => *job == found.job,
            None => *print == row.print,
        });
        if let Some((job, _, line)) = first.filter(|_| !is_made(Mistake::NoDuplicate)) {
            let (first_line, job) = (*line, *job);
            return Claimed::Duplicate { first_line, job };
        }
        let job = found.map_or(JobId(row.row), |found| found.job);
        self.claimed.push((job, row.print, row.line));
        found.map_or(Claimed::New, Claimed::Known)
    }

    fn told_by_mask(&self, means: impl Fn(&KnownJob) -> bool) -> Option<KnownJob> {
        let any = is_made(Mistake::AnyCode);
        let candidates = self.known.iter().filter(|known| any || means(known));
        let candidates: Vec<&KnownJob> = candidates.take(if any { 1 } else { 2 }).collect();
        let of_use = |known: &KnownJob| known.settled_at.is_some() || known.has_code;
        match candidates[..] {
            [only] if of_use(only) => Some(*only),
            _ => None,
        }
    }
}

/// May a row that was settled then, as its result file says (to the millisecond), have been this
/// job's? One that was not may have been settled since.
#[must_use]
pub fn may_be_of(settled_at: Option<UnixMicros>, known: &KnownJob) -> bool {
    match (settled_at, known.settled_at) {
        (Some(row), Some(job)) => row.0.div_euclid(1_000) == job.0.div_euclid(1_000),
        _ => true,
    }
}

/// Did another campaign send to a number, or may it have sent to it, so short a time ago that this
/// one leaves it out? What a wrong clock noted for the future is taken to be just now.
#[must_use]
pub fn is_recent(
    meaning: Meaning,
    left_at: UnixMicros,
    now: UnixMicros,
    cooldown: Duration,
) -> bool {
    let counts = match meaning {
        Meaning::Accepted => true,
        Meaning::Ambiguous => !is_made(Mistake::DoubtCoolsNothing),
        _ => false,
    };
    counts && now.since(left_at) < cooldown
}

/// When a code was answered so that it is of no more use, if it was: then it is forgotten. Where it
/// was asked again since, that was no answer.
#[must_use]
pub fn settled_at(attempts: &[Attempt], runs: &Runs) -> Option<UnixMicros> {
    let settles = [Meaning::Accepted, Meaning::NotVerified, Meaning::Rejected];
    let last = decisive(attempts, runs)?;
    let answer = last.answer.as_ref()?;
    (last.lane == Lane::Verify && settles.contains(&runs.meaning(last)))
        .then_some(answer.answered_at)
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

impl Departure {
    /// A request whose answer was not recorded left within this time of its intent.
    pub const LEFT_WITHIN: Duration = Duration::from_secs(1);

    /// When it left, as well as is known.
    #[must_use]
    pub fn at(self) -> UnixMicros {
        match self {
            Self::Left(at) | Self::Begun(at) => at,
        }
    }

    /// Did it leave within `day`, or may it have? `moves` are those of its run's clock.
    #[must_use]
    pub fn is_within(self, day: &Range<UnixMicros>, moves: &[(UnixMicros, i64)]) -> bool {
        let mut times = [self.at(), self.latest()].into_iter();
        times.any(|at| day.contains(&on_the_wall(at, moves)))
    }

    /// When it left at the latest.
    #[must_use]
    pub fn latest(self) -> UnixMicros {
        match self {
            Self::Left(at) => at,
            Self::Begun(at) => at + Self::LEFT_WITHIN,
        }
    }
}

/// What a clock on the wall showed at this time of a run. `moves` are the run's
/// [`RunFact::ClockMoved`], in their order: when, and how far the wall was ahead from then on.
#[must_use]
pub fn on_the_wall(at: UnixMicros, moves: &[(UnixMicros, i64)]) -> UnixMicros {
    let latest = moves.iter().rfind(|(from, _)| *from <= at);
    UnixMicros(at.0.saturating_add(latest.map_or(0, |(_, ahead)| *ahead)))
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
            settled_at: None,
            has_code: true,
        }
    }

    fn claimed(rows: &[Claim], known: &[KnownJob]) -> Vec<Claimed> {
        let mut all = Vec::new();
        let mut claims = Claims::of(known.to_vec());
        for row in rows {
            // Each masked row means the job whose id is 10 less than its own.
            all.push(claims.claim(row, |known| known.job.0 == row.row - 10));
        }
        all
    }

    fn duplicate(first_line: u64, job: i64) -> Claimed {
        let job = JobId(job);
        Claimed::Duplicate { first_line, job }
    }

    #[test]
    fn the_first_row_of_a_number_is_a_new_job_and_the_next_its_duplicate() {
        let rows = [row(CodePrint::NONE, 7), row(CodePrint::NONE, 9)];
        assert_eq!(claimed(&rows, &[]), [Claimed::New, duplicate(8, 7)]);
        let job = known(3, CodePrint::NONE);
        let expected = [Claimed::Known(job), duplicate(8, 3)];
        assert_eq!(claimed(&rows, &[job]), expected);
    }

    #[test]
    fn a_day_is_that_of_the_wall_even_where_the_clock_was_set_or_the_machine_slept() {
        let day = UnixMicros(10_000_000)..UnixMicros(20_000_000);
        let slept = [
            (UnixMicros(3_000_000), 8_000_000),
            (UnixMicros(6_000_000), 0),
        ];
        let within = |departure: Departure, moves: &[_]| departure.is_within(&day, moves);
        let left = |seconds: i64| Departure::Left(UnixMicros(seconds * 1_000_000));
        assert!(within(left(10), &[]) && !within(left(20), &[]));
        assert!(!within(left(2), &slept) && within(left(3), &slept));
        assert!(!within(left(7), &slept), "it was set right again");
        let begun = Departure::Begun(UnixMicros(9_500_000));
        assert!(within(begun, &[]), "it may have left a little later");
    }

    #[test]
    fn two_codes_of_a_number_are_two_jobs() {
        let rows = [row(CODE, 7), row(OTHER, 6), row(OTHER, 8)];
        let job = known(3, CODE);
        let expected = [Claimed::Known(job), Claimed::New, duplicate(7, 6)];
        assert_eq!(claimed(&rows, &[job]), expected);
    }

    #[test]
    fn a_masked_code_is_that_of_its_own_row_and_of_no_other() {
        let settled = KnownJob {
            settled_at: Some(UnixMicros(5)),
            has_code: false,
            ..known(1, CODE)
        };
        let pending = known(2, OTHER);
        let rows = [11, 12, 13].map(|id| row(CodePrint::MASKED, id));
        let expected = [
            Claimed::Known(settled),
            Claimed::Known(pending),
            Claimed::NoKnownCode,
        ];
        assert_eq!(claimed(&rows, &[settled, pending]), expected);
        assert_eq!(claimed(&rows[1..], &[settled]), [Claimed::NoKnownCode; 2]);
    }

    #[test]
    fn a_masked_code_that_may_be_one_of_two_cannot_be_told() {
        let jobs = [known(1, CODE), known(2, OTHER)];
        let claimed = Claims::of(jobs.to_vec()).claim(&row(CodePrint::MASKED, 7), |_| true);
        assert_eq!(claimed, Claimed::NoKnownCode);
    }

    #[test]
    fn a_masked_code_that_nobody_has_kept_is_no_code() {
        let forgotten = KnownJob {
            has_code: false,
            ..known(1, CODE)
        };
        let rows = [row(CodePrint::MASKED, 11)];
        assert_eq!(claimed(&rows, &[forgotten]), [Claimed::NoKnownCode]);
        assert_eq!(claimed(&rows, &[]), [Claimed::NoKnownCode]);
    }

    #[test]
    fn a_code_may_be_a_duplicate_of_a_masked_one_behind_it() {
        let job = known(3, CODE);
        let rows = [row(CodePrint::MASKED, 13), row(CODE, 7)];
        let expected = [Claimed::Known(job), duplicate(14, 3)];
        assert_eq!(claimed(&rows, &[job]), expected);
    }

    #[test]
    fn a_row_that_was_settled_at_another_time_is_another_jobs() {
        let at = |micros| KnownJob {
            settled_at: Some(UnixMicros(micros)),
            ..known(1, CODE)
        };
        let told = Some(UnixMicros(7_000));
        assert!(may_be_of(told, &at(7_999)) && !may_be_of(told, &at(8_000)));
        assert!(may_be_of(None, &at(7_999)), "settled since");
        assert!(may_be_of(told, &known(1, CODE)), "not settled by an answer");
    }

    #[test]
    fn what_was_or_may_have_been_sent_within_the_cool_down_is_recent() {
        let cooldown = Duration::from_mins(1);
        let at = |seconds| UnixMicros(0) + Duration::from_secs(seconds);
        let recent = |meaning, left| is_recent(meaning, at(left), at(100), cooldown);
        assert!(recent(Meaning::Accepted, 41) && recent(Meaning::Ambiguous, 41));
        assert!(!recent(Meaning::Accepted, 40), "that is over");
        assert!(recent(Meaning::Accepted, 500), "a wrong clock");
        for nothing in [Meaning::Rejected, Meaning::Failed, Meaning::Nothing] {
            assert!(!recent(nothing, 99), "{nothing:?}");
        }
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
            lookup: None,
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
            let at = expected.then_some(UnixMicros(3));
            assert_eq!(settled_at(&[attempt(Lane::Verify, kind)], &runs), at);
            assert_eq!(settled_at(&[attempt(Lane::Sms, kind)], &runs), None);
        }
        let [refused, later] =
            [VerdictKind::Rejected, VerdictKind::Throttled].map(|kind| attempt(Lane::Verify, kind));
        let asked_again = [refused, later];
        assert_eq!(settled_at(&asked_again, &runs), None, "it goes on");
        let wave = RunFact::Wave {
            lane: Lane::Verify,
            from: UnixMicros(3),
            words: "said".to_owned(),
        };
        runs.add(run, &wave);
        let refused = attempt(Lane::Verify, VerdictKind::Rejected);
        assert_eq!(settled_at(&[refused], &runs), None);
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
