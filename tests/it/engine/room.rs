//! A ledger that several engines share, in memory: it keeps the two laws that a room of the kind has
//! to keep. Who begins an attempt first has it, and slots are consecutive on one line of time. What
//! it hands out, leases, and when it replies only save work.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::Range;
use std::time::Duration;

use otpdrive::clock::Clock;
use otpdrive::job::{Answer, Attempt, Job, JobId, Lane, UnixMicros};
use otpdrive::ledger::{
    Begun, Ceiling, Ceilings, Due, Elsewhere, Grant, Ledger, LedgerError, News, PerLane, Rest,
    Share, Slots, Then, Wanted,
};
use otpdrive::next::{Step, next_step};
use otpdrive::pace::SLACK;
use otpdrive::run::{Policy, RunFact, RunFacts, RunId, Runs};
use otpdrive::status::{Status, outcome};
use tokio::time::{Instant, sleep};

use super::memory::Memory;
use super::{MS, SECOND};

/// Who is not heard of for so long is given up.
const LEASE: Duration = Duration::from_secs(5);
const MARGIN: Duration = Duration::from_millis(500);
/// The first place is so far away.
const LEAD: Duration = Duration::from_millis(30);
const LOT: Duration = Duration::from_millis(100);

pub struct Room {
    pub clock: Clock,
    pub rows: RefCell<Vec<Job>>,
    /// Who began the last attempt of each row.
    begun_by: RefCell<Vec<usize>>,
    /// After this it must not leave.
    pub leave_by: RefCell<Vec<Instant>>,
    slices: RefCell<Vec<Slice>>,
    pub runs: RefCell<Runs>,
    /// Where each line of time goes on, and the distance from place to place.
    lines: [Cell<(Instant, Duration)>; Share::ALL.len()],
    workers: RefCell<Vec<Worker>>,
    random: RefCell<fastrand::Rng>,
    pub news: RefCell<Vec<(usize, News)>>,
    /// Who is in an outage, and on which lane.
    outages: RefCell<Vec<(usize, Option<Lane>)>>,
    /// What holds the lanes back.
    holds: Cell<[Option<UnixMicros>; Lane::ALL.len()]>,
    /// How jobs came to rest.
    pub rests: RefCell<Vec<(JobId, Rest)>>,
    /// No request may leave longer than this after its intent.
    pub leave_within: Cell<Duration>,
    pub lookahead: Cell<Duration>,
    /// What all may come to.
    pub ceilings: Ceilings,
    /// Processes that reach no gateway.
    pub cut_off: RefCell<HashSet<usize>>,
}

/// Rows that are handed out together.
struct Slice {
    lane: Lane,
    rows: Range<usize>,
    holder: Option<usize>,
    /// What the holder has in hand.
    open: HashSet<JobId>,
    /// Others have a row of it in hand, too: it has to be looked at again.
    again: bool,
    free_at: Instant,
}

/// A process, from its start, or from when it was given up, until it is.
struct Worker {
    lease_until: Instant,
    is_over: bool,
}

impl Room {
    pub fn new(lanes: &[Lane], rates: [Option<u32>; 2], policy: Policy, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let rows = Memory::new(lanes.iter().copied()).jobs.take();
        let mut runs = Runs::default();
        runs.insert(RunId(1), RunFacts::new(policy));
        let now = Instant::now();
        let interval = |rate: Option<u32>| rate.map_or(Duration::ZERO, |rate| SECOND / rate);
        Self {
            clock: Clock::at(UnixMicros(1_700_000_000_000_000)),
            begun_by: RefCell::new(vec![0; rows.len()]),
            leave_by: RefCell::new(vec![now; rows.len()]),
            slices: RefCell::new(slices(&rows)),
            rows: RefCell::new(rows),
            runs: RefCell::new(runs),
            lines: rates.map(|rate| Cell::new((now, interval(rate)))),
            workers: RefCell::default(),
            random: RefCell::new(random),
            news: RefCell::default(),
            outages: RefCell::default(),
            holds: Cell::default(),
            rests: RefCell::default(),
            leave_within: Cell::new(LEASE),
            lookahead: Cell::new(20 * MS),
            ceilings: Ceilings::default(),
            cut_off: RefCell::default(),
        }
    }

    pub fn join(&self) -> Hand<'_> {
        Hand {
            room: self,
            worker: Cell::new(self.register()),
            lease: Cell::new(Instant::now() + LEASE - MARGIN),
            heard: Cell::new(self.news.borrow().len()),
            told: Cell::new(Elsewhere::default()),
        }
    }

    fn register(&self) -> usize {
        let mut workers = self.workers.borrow_mut();
        workers.push(Worker {
            lease_until: Instant::now() + LEASE,
            is_over: false,
        });
        workers.len() - 1
    }

    /// Gives up those who were not heard of; what they had is free.
    fn sweep(&self) {
        let now = Instant::now();
        let mut workers = self.workers.borrow_mut();
        for (n, worker) in workers.iter_mut().enumerate() {
            if !worker.is_over && worker.lease_until < now {
                worker.is_over = true;
                self.release(n);
            }
        }
    }

    /// Whose outage nobody will end ends with its worker.
    fn release(&self, worker: usize) {
        let at = self.clock.now();
        let open = self.outages.borrow().clone();
        for (_, lane) in open.into_iter().filter(|(whose, _)| *whose == worker) {
            self.note(worker, RunFact::OutageEnded { lane, at });
        }
        for slice in &mut *self.slices.borrow_mut() {
            if slice.holder == Some(worker) {
                slice.holder = None;
                slice.open.clear();
            }
        }
    }

    fn note(&self, worker: usize, fact: RunFact) {
        let mut outages = self.outages.borrow_mut();
        match &fact {
            RunFact::OutageBegan { lane, .. } => outages.push((worker, *lane)),
            RunFact::OutageEnded { lane, .. } => {
                let own = outages.iter().position(|open| *open == (worker, *lane));
                let Some(own) = own else { return };
                outages.swap_remove(own);
            }
            _ => {}
        }
        self.runs.borrow_mut().add(RunId(1), &fact);
        self.news.borrow_mut().push((worker, News::Fact(fact)));
    }

    pub fn is_over(&self, worker: usize) -> bool {
        self.workers.borrow()[worker].is_over
    }

    /// Are all rows done with?
    pub fn is_done(&self) -> bool {
        self.slices.borrow().is_empty()
    }

    pub fn count(&self, status: Status) -> usize {
        let (rows, runs) = (self.rows.borrow(), self.runs.borrow());
        let of = |row: &&Job| outcome(row.lane, &row.attempts, &runs).status == status;
        rows.iter().filter(of).count()
    }

    /// A part of a round trip.
    async fn travel(&self) {
        let time = self.random.borrow_mut().u32(0..4) * MS;
        sleep(time).await;
    }

    /// Some slots, or when to ask again.
    fn slots(&self, wanted: Wanted) -> (Slots, Option<Slots>) {
        let now = Instant::now();
        let workers = self.workers.borrow().iter().filter(|w| !w.is_over).count();
        let horizon = LOT * (u32::try_from(workers).unwrap() + 1) + 2 * LEAD;
        let [line, of_calls] = &self.lines;
        let ((end, interval), (calls_end, apart)) = (line.get(), of_calls.get());
        let asked = wanted.calls > 0;
        if end >= now + horizon {
            let later = Slots::Later(end - horizon);
            return (later, asked.then_some(later));
        }
        let first = end.max(now + LEAD);
        let past = first + interval * wanted.slots;
        let mut calls = 0;
        if asked && calls_end <= past {
            let longer = apart.saturating_sub(interval).as_nanos().max(1_000);
            let room = (past - calls_end.max(first)).as_nanos() / longer;
            calls = wanted.calls.min(1 + u32::try_from(room).unwrap());
        }
        let count = wanted.slots + calls;
        line.set((first + interval * count, interval));
        let slots = Slots::At {
            first,
            interval,
            count,
        };
        let of_calls = asked.then(|| {
            if calls == 0 {
                return Slots::Later(calls_end - LEAD);
            }
            let first = calls_end.max(first - SLACK);
            of_calls.set((first + apart * calls, apart));
            Slots::At {
                first,
                interval: apart,
                count: calls,
            }
        });
        (slots, of_calls)
    }

    /// What has been come to, but by this worker.
    fn elsewhere(&self, but: Option<usize>) -> Elsewhere {
        let (mut started, mut billed, mut left) = (0, PerLane::default(), PerLane::default());
        let (runs, rows) = (self.runs.borrow(), self.rows.borrow());
        let begun_by = self.begun_by.borrow().clone();
        let others = rows.iter().zip(begun_by).filter(|(_, by)| Some(*by) != but);
        for (row, _) in others {
            started += u64::from(!row.attempts.is_empty());
            for attempt in &row.attempts {
                let lane = attempt.lane.index();
                billed[lane] += u64::from(runs.meaning(attempt).is_billed());
                left[lane] += u64::from(!attempt.never_left());
            }
        }
        let today = self.ceilings.calendar.day(self.clock.now()).start;
        Elsewhere {
            started,
            billed,
            day: Some((today, left)),
        }
    }

    /// What would be more than all may come to, with one more attempt.
    fn beyond(&self, job: &Job, attempt: &Attempt) -> Option<Ceiling> {
        if self.ceilings == Ceilings::default() {
            return None;
        }
        let Ceilings {
            limit,
            calendar,
            budget,
            prices,
        } = &self.ceilings;
        let all = self.elsewhere(None);
        let left = calendar.left_today(attempt.lane, &all.day.unwrap().1);
        let one = prices.of(attempt.lane).unwrap_or_default();
        let spent = prices.total(&all.billed).unwrap_or_default();
        if job.attempts.is_empty() && *limit == Some(all.started) {
            Some(Ceiling::Limit)
        } else if left == Some(0) {
            Some(Ceiling::DailyCap)
        } else {
            budget
                .is_some_and(|budget| spent + one > budget)
                .then_some(Ceiling::Budget)
        }
    }

    /// The rows of a slice for which there is something to do, for a worker.
    fn hand_out(&self, slice: &mut Slice, worker: usize) -> Vec<Job> {
        let (rows, runs) = (self.rows.borrow(), self.runs.borrow());
        let begun_by = self.begun_by.borrow();
        slice.again = false;
        let mut jobs = Vec::new();
        for n in slice.rows.clone() {
            let row = &rows[n];
            let open = row.attempts.last().is_some_and(|a| a.answer.is_none());
            if open && !self.is_over(begun_by[n]) {
                slice.again = true;
            } else if next_step(row.lane, &row.attempts, &runs) == Step::Try(row.lane) {
                jobs.push(row.clone());
            }
        }
        slice.open = jobs.iter().map(|job| job.id).collect();
        slice.holder = Some(worker);
        jobs
    }
}

fn place(job: JobId) -> usize {
    usize::try_from(job.0).unwrap() - 1
}

/// Up to so many rows of one lane each.
const SLICE: usize = 10;

fn slices(rows: &[Job]) -> Vec<Slice> {
    let mut slices: Vec<Slice> = Vec::new();
    for (n, row) in rows.iter().enumerate() {
        match slices.last_mut() {
            Some(last) if last.lane == row.lane && last.rows.len() < SLICE => last.rows.end = n + 1,
            _ => slices.push(Slice {
                lane: row.lane,
                rows: n..n + 1,
                holder: None,
                open: HashSet::new(),
                again: false,
                free_at: Instant::now(),
            }),
        }
    }
    slices
}

/// The room as one process sees it.
pub struct Hand<'r> {
    room: &'r Room,
    worker: Cell<usize>,
    /// Others may think us dead from then on.
    lease: Cell<Instant>,
    heard: Cell<usize>,
    told: Cell<Elsewhere>,
}

impl Hand<'_> {
    pub fn worker(&self) -> usize {
        self.worker.get()
    }

    /// A sign of life, sent then: one that was given up begins anew.
    fn beat(&self, sent: Instant) {
        self.room.sweep();
        if self.room.is_over(self.worker.get()) {
            self.worker.set(self.room.register());
        } else {
            let worker = &mut self.room.workers.borrow_mut()[self.worker.get()];
            worker.lease_until = Instant::now() + LEASE;
        }
        self.lease.set(sent + LEASE - MARGIN);
    }

    /// Free slices of the lane.
    fn take(&self, lane: Lane, limit: usize) -> Due {
        let (mut jobs, now) = (Vec::new(), Instant::now());
        let mut slices = self.room.slices.borrow_mut();
        let mut is_there = false;
        for slice in slices.iter_mut().filter(|slice| slice.lane == lane) {
            let free = slice.holder.is_none() && slice.free_at <= now;
            if free && jobs.len() + SLICE <= limit {
                jobs.extend(self.room.hand_out(slice, self.worker.get()));
                tidy(slice);
            }
            is_there |= free;
        }
        slices.retain(|slice| slice.holder.is_none() || !slice.open.is_empty());
        let is_done = !slices.iter().any(|slice| slice.lane == lane);
        let then = if is_done {
            Then::Done
        } else if is_there && !jobs.is_empty() {
            Then::More
        } else {
            Then::Later(now + 200 * MS)
        };
        Due { jobs, then }
    }

    /// Whose is the attempt? The key decides.
    fn insert(&self, job: &Job, attempt: &Attempt) -> Begun {
        let (leave_by, worker) = (self.lease.get(), self.worker.get());
        self.room.sweep();
        let n = place(job.id);
        let rows = self.room.rows.borrow();
        // The key of an attempt is the number's and its own.
        let is_new = rows[n].attempts.len() + 1 == attempt.n as usize;
        if self.room.is_over(worker) || !is_new {
            drop(rows);
            self.let_go(job.id, true);
            return Begun::Taken;
        }
        drop(rows);
        if let Some(ceiling) = self.room.beyond(job, attempt) {
            return Begun::Beyond(ceiling);
        }
        let mut rows = self.room.rows.borrow_mut();
        rows[n].attempts.push(attempt.clone());
        self.room.begun_by.borrow_mut()[n] = worker;
        let leave_by = leave_by.min(Instant::now() + self.room.leave_within.get());
        self.room.leave_by.borrow_mut()[n] = leave_by;
        let leave_by = Some(leave_by);
        Begun::Go { leave_by }
    }

    /// Leaves in good order.
    pub fn leave(&self) {
        let worker = self.worker.get();
        self.room.workers.borrow_mut()[worker].is_over = true;
        self.room.release(worker);
    }

    /// It is not in our hands any more; `again`: but in others', and so not done with.
    fn let_go(&self, job: JobId, again: bool) {
        let mut slices = self.room.slices.borrow_mut();
        for slice in slices.iter_mut() {
            if slice.holder == Some(self.worker.get()) && slice.open.remove(&job) {
                slice.again |= again;
                tidy(slice);
            }
        }
        slices.retain(|slice| slice.holder.is_none() || !slice.open.is_empty());
    }
}

/// Frees a slice that has nothing left in hand, if it has to be looked at again.
fn tidy(slice: &mut Slice) {
    if slice.open.is_empty() && slice.again {
        slice.holder = None;
        slice.free_at = Instant::now() + SECOND;
    }
}

impl Ledger for Hand<'_> {
    fn clock(&self) -> Clock {
        self.room.clock
    }

    async fn due(&self, lane: Lane, limit: usize) -> Result<Due, LedgerError> {
        let sent = Instant::now();
        self.room.travel().await;
        self.beat(sent);
        let due = self.take(lane, limit);
        self.room.travel().await;
        Ok(due)
    }

    async fn begin(&self, job: &Job, attempt: &Attempt) -> Result<Begun, LedgerError> {
        self.room.travel().await;
        let begun = self.insert(job, attempt);
        self.room.travel().await;
        Ok(begun)
    }

    async fn answer(&self, job: JobId, n: u32, answer: &Answer) {
        let mut rows = self.room.rows.borrow_mut();
        let attempt = &mut rows[place(job)].attempts[n as usize - 1];
        assert_eq!(attempt.answer, None, "answered twice");
        attempt.answer = Some(answer.clone());
        if let Some(at) = answer.verdict.retry_at {
            let hold = News::Hold(attempt.lane, at);
            let mut holds = self.room.holds.get();
            let of_lane = &mut holds[attempt.lane.index()];
            *of_lane = (*of_lane).max(Some(at));
            self.room.holds.set(holds);
            self.room.news.borrow_mut().push((self.worker.get(), hold));
        }
    }

    async fn note(&self, fact: &RunFact) {
        self.room.note(self.worker.get(), fact.clone());
    }

    async fn rest(&self, job: &Job, how: Rest) {
        self.room.rests.borrow_mut().push((job.id, how));
        if how != Rest::Unfinished {
            self.let_go(job.id, how == Rest::GivenBack);
        }
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        self.room.travel().await;
        Ok(())
    }

    async fn reserve(&self, wanted: Wanted) -> Result<Grant, LedgerError> {
        let sent = Instant::now();
        self.room.travel().await;
        self.beat(sent);
        let (slots, calls) = self.room.slots(wanted);
        self.room.travel().await;
        Ok(Grant {
            slots,
            calls,
            holds: self.room.holds.get(),
        })
    }

    async fn news(&self) -> News {
        loop {
            let next = self.room.news.borrow().get(self.heard.get()).cloned();
            if let Some((from, news)) = next {
                self.heard.set(self.heard.get() + 1);
                if from != self.worker.get() {
                    return news;
                }
            } else {
                self.beat(Instant::now());
                if self.room.ceilings != Ceilings::default() {
                    let elsewhere = self.room.elsewhere(Some(self.worker.get()));
                    if self.told.replace(elsewhere) != elsewhere {
                        return News::Counted(elsewhere);
                    }
                }
                sleep(20 * MS).await;
            }
        }
    }

    fn lookahead(&self) -> Duration {
        self.room.lookahead.get()
    }

    fn read_ahead(&self, lane: Lane) -> usize {
        let [common, calls] = self.room.lines.each_ref().map(|line| line.get().1);
        let interval = if lane == Lane::Call {
            calls.max(common)
        } else {
            common
        };
        let in_second = SECOND.as_nanos().checked_div(interval.as_nanos());
        in_second.map_or(512, |rate| usize::try_from(rate).unwrap().max(SLICE))
    }

    async fn left_on(&self, _: Range<UnixMicros>) -> Result<PerLane, LedgerError> {
        self.room.travel().await;
        Ok(self.room.elsewhere(Some(self.worker.get())).day.unwrap().1)
    }
}
