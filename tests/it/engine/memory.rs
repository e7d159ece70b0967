//! A ledger that forgets at the end of the test, and that is strict with whoever uses it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use otpdrive::clock::Clock;
use otpdrive::job::{Answer, Attempt, Job, JobId, Lane, RowId, UnixMicros, VerdictKind};
use otpdrive::ledger::{Begun, Due, Grant, Ledger, LedgerError, Rest, Slots, Then, Wanted};
use otpdrive::next::due_on;
use otpdrive::number::Number;
use otpdrive::run::{Policy, RunFact, RunFacts, RunId, Runs};
use otpdrive::status::{Status, outcome};
use tokio::time::{Instant, sleep};

use super::MS;

/// All that is known of a campaign.
pub struct Memory {
    pub clock: Clock,
    pub jobs: RefCell<Vec<Job>>,
    pub runs: RefCell<Runs>,
    pub facts: RefCell<Vec<RunFact>>,
    /// How long a commit takes.
    pub commit: Duration,
    /// From so many intents on, none can be written down.
    pub full_after: Cell<Option<usize>>,
    /// These are in other hands.
    pub taken: RefCell<HashSet<JobId>>,
    /// Nothing is due before.
    pub later: Cell<Option<Instant>>,
    /// When the latest request of an earlier run left.
    pub after: Cell<Option<UnixMicros>>,
    /// What holds the lanes back from before.
    pub holds: Cell<[Option<UnixMicros>; Lane::ALL.len()]>,
    /// How far the wall is ahead of the run's clock.
    pub ahead: Cell<i64>,
    /// What other runs sent on a day, by its first moment.
    pub elsewhere: RefCell<HashMap<i64, [u64; Lane::ALL.len()]>>,
    /// What earlier runs of the campaign are billed for.
    pub billed: Cell<[u64; Lane::ALL.len()]>,
    run: Cell<RunId>,
    read_to: Cell<[usize; Lane::ALL.len()]>,
    in_hand: RefCell<HashSet<JobId>>,
    /// What was to be said of jobs when they came to rest.
    said: RefCell<Vec<(JobId, Status)>>,
    /// The most jobs that were handed out and had not come to rest.
    pub in_hand_max: Cell<usize>,
    granted: Cell<usize>,
    intents: Cell<usize>,
    pub left: Cell<usize>,
    unsent: Cell<usize>,
    /// The most intents at once whose requests had not left.
    pub ahead_max: Cell<usize>,
}

impl Memory {
    pub fn new(lanes: impl IntoIterator<Item = Lane>) -> Self {
        let memory = Self {
            clock: Clock::start(),
            jobs: RefCell::default(),
            runs: RefCell::default(),
            facts: RefCell::default(),
            commit: MS,
            full_after: Cell::new(None),
            taken: RefCell::default(),
            later: Cell::new(None),
            after: Cell::new(None),
            holds: Cell::new([None; Lane::ALL.len()]),
            ahead: Cell::new(0),
            elsewhere: RefCell::default(),
            billed: Cell::default(),
            run: Cell::new(RunId(0)),
            read_to: Cell::default(),
            in_hand: RefCell::default(),
            said: RefCell::default(),
            in_hand_max: Cell::new(0),
            granted: Cell::new(0),
            intents: Cell::new(0),
            left: Cell::new(0),
            unsent: Cell::new(0),
            ahead_max: Cell::new(0),
        };
        memory.add(lanes);
        memory
    }

    /// What a clock on the wall shows.
    pub fn wall(&self) -> UnixMicros {
        UnixMicros(self.clock.now().0 + self.ahead.get())
    }

    /// So many numbers to send a text message to.
    pub fn sms(jobs: usize) -> Self {
        Self::new(vec![Lane::Sms; jobs])
    }

    /// More rows at the end of the input.
    pub fn add(&self, lanes: impl IntoIterator<Item = Lane>) {
        let mut jobs = self.jobs.borrow_mut();
        for lane in lanes {
            let n = i64::try_from(jobs.len()).unwrap() + 1;
            jobs.push(Job {
                id: JobId(n),
                row: RowId(n),
                line: n.cast_unsigned() + 1,
                number: Number::new(919_000_000_000 + n.cast_unsigned()).unwrap(),
                code: None,
                lane,
                attempts: Vec::new(),
            });
        }
    }

    /// A process begins to work with it; gives its name.
    pub fn begin_run(&self, policy: Policy) -> RunId {
        let mut runs = self.runs.borrow_mut();
        let mut facts = RunFacts::new(policy);
        let earlier = (1..=self.run.get().0).filter_map(|run| runs.get(RunId(run)));
        if earlier.into_iter().any(RunFacts::endpoint_proven) {
            facts.add(&RunFact::EndpointProven);
        }
        self.run.set(RunId(self.run.get().0 + 1));
        runs.insert(self.run.get(), facts);
        self.read_to.set([0; Lane::ALL.len()]);
        self.in_hand.borrow_mut().clear();
        self.said.borrow_mut().clear();
        self.granted.set(0);
        self.run.get()
    }

    /// The lanes on which something is due.
    pub fn lanes(&self) -> Vec<Lane> {
        let (jobs, runs) = (self.jobs.borrow(), self.runs.borrow());
        let due: HashSet<_> = jobs.iter().filter_map(|job| due_on(job, &runs)).collect();
        Lane::ALL.into_iter().filter(|l| due.contains(l)).collect()
    }

    pub fn with_job<T>(&self, id: JobId, act: impl FnOnce(&mut Job) -> T) -> T {
        let place = usize::try_from(id.0).unwrap() - 1;
        act(&mut self.jobs.borrow_mut()[place])
    }

    pub fn status(&self, job: &Job) -> Status {
        outcome(job.lane, &job.attempts, &self.runs.borrow()).status
    }

    pub fn count(&self, status: Status) -> usize {
        let jobs = self.jobs.borrow();
        jobs.iter().filter(|job| self.status(job) == status).count()
    }

    /// The attempts of all jobs, made by any run.
    pub fn attempts(&self) -> Vec<Attempt> {
        let jobs = self.jobs.borrow();
        jobs.iter().flat_map(|job| job.attempts.clone()).collect()
    }

    pub fn withdrawn(&self) -> usize {
        let attempts = self.attempts().into_iter();
        let kinds = attempts.filter_map(|a| Some(a.verdict()?.kind));
        kinds.filter(|kind| *kind == VerdictKind::Withdrawn).count()
    }

    /// What must hold whenever a run has ended.
    pub fn check(&self, departed: usize, with_rate: bool) {
        for attempt in self.attempts() {
            assert!(attempt.answer.is_some(), "not answered: {attempt:?}");
            assert_eq!(attempt.left_at().is_none(), attempt.never_left());
        }
        assert!(!with_rate || departed <= self.granted.get(), "not granted");
        let of_run = |a: &&Attempt| a.run == self.run.get() && !a.never_left();
        assert_eq!(self.attempts().iter().filter(of_run).count(), departed);
    }

    /// What turns up later changes nothing for those who have come to rest.
    pub fn what_was_said_holds(&self) {
        for (job, said) in self.said.borrow().iter() {
            let now = self.with_job(*job, |job| job.clone());
            assert_eq!(
                self.status(&now),
                *said,
                "{now:?} {:?}",
                self.facts.borrow()
            );
        }
    }

    /// Nothing is left in hand: what was handed out has come to rest.
    pub fn all_at_rest(&self) {
        let in_hand = self.in_hand.borrow();
        assert!(in_hand.is_empty(), "still in hand: {in_hand:?}");
    }
}

impl Ledger for Memory {
    fn clock(&self) -> Clock {
        self.clock
    }

    async fn due(&self, lane: Lane, limit: usize) -> Result<Due, LedgerError> {
        sleep(self.commit).await;
        if let Some(at) = self.later.get().filter(|at| *at > Instant::now()) {
            let (jobs, then) = (Vec::new(), Then::Later(at));
            return Ok(Due { jobs, then });
        }
        let (all, runs) = (self.jobs.borrow(), self.runs.borrow());
        let mut read_to = self.read_to.get();
        let at = &mut read_to[lane.index()];
        let mut jobs = Vec::new();
        while *at < all.len() && jobs.len() < limit {
            let job = &all[*at];
            if due_on(job, &runs) == Some(lane) {
                assert!(self.in_hand.borrow_mut().insert(job.id), "twice in hand");
                jobs.push(job.clone());
            }
            *at += 1;
        }
        let then = if *at < all.len() {
            Then::More
        } else {
            Then::Done
        };
        self.read_to.set(read_to);
        let in_hand = self.in_hand.borrow().len();
        self.in_hand_max.set(self.in_hand_max.get().max(in_hand));
        Ok(Due { jobs, then })
    }

    async fn begin(&self, job: &Job, attempt: &Attempt) -> Result<Begun, LedgerError> {
        sleep(self.commit).await;
        self.intents.set(self.intents.get() + 1);
        if self
            .full_after
            .get()
            .is_some_and(|n| self.intents.get() > n)
        {
            return Err(LedgerError::Database {
                path: PathBuf::from("memory"),
                what: "write",
                why: "disk full".to_owned(),
            });
        }
        if self.taken.borrow().contains(&job.id) {
            self.in_hand.borrow_mut().remove(&job.id);
            self.unsent.set(self.unsent.get() + 1);
            return Ok(Begun::Taken);
        }
        assert!(self.in_hand.borrow().contains(&job.id), "at rest: {job:?}");
        self.with_job(job.id, |known| {
            assert_eq!(known.attempts, job.attempts, "it knows the facts");
            let n = known.attempts.last().map_or(0, |last| last.n) + 1;
            assert_eq!((attempt.n, attempt.run), (n, self.run.get()), "begun twice");
            assert_eq!(attempt.answer, None);
            known.attempts.push(attempt.clone());
        });
        let ahead = self.intents.get() - self.unsent.get() - self.left.get();
        self.ahead_max.set(self.ahead_max.get().max(ahead));
        Ok(Begun::GO)
    }

    async fn answer(&self, job: JobId, n: u32, answer: &Answer) {
        self.unsent
            .set(self.unsent.get() + usize::from(answer.left_at.is_none()));
        self.with_job(job, |job| {
            let last = job.attempts.last_mut().unwrap();
            assert_eq!((last.n, &last.answer), (n, &None), "answered twice");
            last.answer = Some(answer.clone());
        });
    }

    async fn note(&self, fact: &RunFact) {
        self.runs.borrow_mut().add(self.run.get(), fact);
        self.facts.borrow_mut().push(fact.clone());
    }

    async fn rest(&self, job: &Job, how: Rest) {
        let known = self.with_job(job.id, |known| known.clone());
        assert_eq!(known.attempts, job.attempts, "it knows the facts");
        let was_in_hand = self.in_hand.borrow_mut().remove(&job.id);
        assert!(was_in_hand, "at rest twice: {job:?}");
        let status = self.status(&known);
        self.said.borrow_mut().push((job.id, status));
        match how {
            Rest::GivenBack => panic!("there is nobody else"),
            Rest::Settled => assert!(
                !matches!(status, Status::Pending | Status::Failed | Status::Unknown),
                "settled, but {status:?}"
            ),
            Rest::Open | Rest::Unfinished => assert!(
                !matches!(
                    status,
                    Status::Sent | Status::Verified | Status::NotVerified
                ),
                "not settled, but {status:?}"
            ),
        }
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        sleep(self.commit).await;
        Ok(())
    }

    async fn reserve(&self, wanted: Wanted) -> Result<Grant, LedgerError> {
        let Wanted { slots, calls } = wanted;
        assert_eq!(calls, 0, "the rate of calls is its own");
        assert!(slots > 0);
        self.granted.set(self.granted.get() + slots as usize);
        let slots = Slots::Own {
            count: slots,
            after: self.after.take(),
        };
        Ok(Grant {
            slots,
            calls: None,
            holds: self.holds.get(),
        })
    }

    async fn left_on(&self, day: Range<UnixMicros>) -> Result<[u64; Lane::ALL.len()], LedgerError> {
        sleep(self.commit).await;
        let elsewhere = self.elsewhere.borrow();
        Ok(elsewhere.get(&day.start.0).copied().unwrap_or_default())
    }
}
