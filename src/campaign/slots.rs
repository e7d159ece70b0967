//! Who goes next, and when: the places in flight, and the numbers that wait for one. New numbers in
//! input order, retries when they are due, both held back per lane by `Retry-After` and breakers,
//! and by the pace. A number that waits holds no place; how many may wait is bounded.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Settings;
use super::limits::Allowance;
use super::progress::Why;
use super::watch::{Gate, Watch};
use crate::job::{Job, JobId, Lane, RowId, UnixMicros};
use crate::ledger::{Due, Then};
use crate::mistake::{Mistake, is_made};
use crate::pace::Pace;
use crate::retry::Budget;

/// Numbers that may wait for a retry; when there are more, no new ones are started.
const WAITING_MAX: usize = 4_096;

/// What is due in less time than this counts when places on a shared line of time are asked for.
const SOON: Duration = Duration::from_millis(100);

/// The places in flight and those who wait for one.
pub struct Slots<'a> {
    limit: NonZeroUsize,
    pace: &'a Paces,
    watch: &'a Watch<'a>,
    allowance: &'a Allowance<'a>,
    taken: Cell<usize>,
    /// Of those, how many have not left yet.
    preparing: [Cell<usize>; Lane::ALL.len()],
    queue: RefCell<Queue>,
    /// Something has changed for those who wait.
    changed: Notify,
}

/// The rate that all requests pay, and that which calls pay besides.
pub struct Paces {
    pub common: Pace,
    pub calls: Pace,
}

impl Paces {
    /// The paces of a run whose intents are written down `lookahead` before their requests leave.
    pub fn new(settings: &Settings, lookahead: Duration) -> Self {
        let calls = settings.limits.call_rate;
        let calls = calls.filter(|_| !is_made(Mistake::CallRateIgnored));
        Self {
            common: Pace::new(settings.rate, lookahead),
            calls: Pace::beside_another(calls, lookahead, settings.rate),
        }
    }

    /// From now on the rates are ones that all processes share.
    pub fn share(&self) {
        self.common.share();
        if !self.calls.is_unlimited() {
            self.calls.share();
        }
    }

    /// All places on the lines that all share are void.
    pub fn forget(&self) {
        self.common.forget();
        self.calls.forget();
    }

    /// How long before their requests leave intents are written down.
    pub fn look_ahead(&self, lookahead: Duration) {
        self.common.look_ahead(lookahead);
        self.calls.look_ahead(lookahead);
    }

    /// The one that requests of this lane pay besides, if there is one.
    pub fn besides(&self, lane: Lane) -> Option<&Pace> {
        Some(&self.calls).filter(|pace| lane == Lane::Call && !pace.is_unlimited())
    }

    /// Do numbers of this lane go before those of others that stand higher up in the input? A place of a
    /// rate of their own, on a line that all share, is lost to all if nobody is ready for it.
    fn goes_first(&self, lane: Lane) -> bool {
        self.besides(lane).is_some_and(Pace::is_shared)
    }
}

/// A place in flight, given back when it is dropped.
pub struct Slot<'s> {
    slots: &'s Slots<'s>,
    pub lane: Lane,
    job: JobId,
    /// Its request does not wait for its turn any more.
    is_ready: Cell<bool>,
    /// Its request left.
    has_left: Cell<bool>,
}

/// Numbers that have something to do.
struct Queue {
    lanes: [LaneQueue; Lane::ALL.len()],
    budget: Budget,
    /// New numbers that may be started, by all who work on the run.
    limit: Option<u64>,
    started: u64,
    /// By others.
    started_elsewhere: u64,
    /// No more is started, whatever the limit says.
    starts_no_more: bool,
    /// A number that was started had to be given back.
    gave_back: bool,
    ended: bool,
}

/// One lane's numbers.
struct LaneQueue {
    new: VecDeque<Job>,
    behind: Then,
    waiting: BinaryHeap<Reverse<Waiting>>,
}

/// A number that waits for its next try.
struct Waiting {
    /// Not before.
    due: Instant,
    row: RowId,
    job: JobId,
    granted: oneshot::Sender<()>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Waiting {}

impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

impl Waiting {
    fn key(&self) -> (Instant, RowId, JobId) {
        (self.due, self.row, self.job)
    }
}

/// What is next.
pub enum Next<'s> {
    /// A number that was never tried in this run, and its place.
    Start(Job, Slot<'s>),
    /// Nothing before this time.
    At(Instant, Why),
    /// Nothing, unless something comes back or from the ledger.
    Nothing,
    /// As `Nothing`, and then there is no money for what is left.
    Over,
}

/// Whose turn it is.
enum Turn {
    New(Lane),
    Again(Lane),
    At(Instant, Why),
    Nobodys,
    Over,
}

impl<'a> Slots<'a> {
    /// As many places as `limit`; work on `lanes`; at most `quota` new numbers are started.
    pub fn new(
        limit: NonZeroUsize,
        quota: Option<u64>,
        lanes: &[Lane],
        (pace, watch, allowance): (&'a Paces, &'a Watch<'a>, &'a Allowance<'a>),
    ) -> Self {
        let queue = |lane| LaneQueue {
            new: VecDeque::new(),
            behind: if lanes.contains(&lane) {
                Then::More
            } else {
                Then::Done
            },
            waiting: BinaryHeap::new(),
        };
        Self {
            limit,
            pace,
            watch,
            allowance,
            taken: Cell::new(0),
            preparing: Default::default(),
            queue: RefCell::new(Queue {
                lanes: Lane::ALL.map(queue),
                budget: Budget::default(),
                limit: quota,
                started: 0,
                started_elsewhere: 0,
                starts_no_more: false,
                gave_back: false,
                ended: false,
            }),
            changed: Notify::new(),
        }
    }

    /// Returns when something has changed for those who wait.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The lane that wants new numbers from the ledger, of which so many are read ahead.
    pub fn wants(&self, now: Instant, read_ahead: impl Fn(Lane) -> usize) -> Option<Lane> {
        let queue = self.queue.borrow();
        // One is enough for a probe.
        if self.cut_off_until(now).is_some() && (self.taken.get() > 0 || queue.is_busy()) {
            return None;
        }
        // With nothing more to start, one look is enough to know whether something is left.
        let starts_more = queue.quota() != Some(0);
        let enough = |lane| if starts_more { read_ahead(lane) / 2 } else { 0 };
        Lane::ALL.into_iter().filter(|_| !queue.ended).find(|lane| {
            let of_lane = &queue.lanes[lane.index()];
            let more = match of_lane.behind {
                Then::More => true,
                Then::Later(at) => at <= now && starts_more,
                Then::Done => false,
            };
            more && of_lane.new.len() <= enough(*lane)
        })
    }

    /// Where no connection can be made, others who work on the run may have one: what waits here is
    /// for them. Returns those that were never tried; the others hear that they get no place.
    pub fn give_back(&self, now: Instant) -> Vec<Job> {
        let Some(probe_at) = self.cut_off_until(now) else {
            return Vec::new();
        };
        let mut queue = self.queue.borrow_mut();
        let mut probes = usize::from(self.taken.get() == 0 && probe_at <= now);
        let mut given_back = Vec::new();
        for lane in queue.lanes.iter_mut().filter(|lane| lane.is_busy()) {
            lane.waiting.clear();
            let kept = probes.min(lane.new.len());
            probes -= kept;
            given_back.extend(lane.new.drain(kept..));
            lane.behind = Then::Later(probe_at);
        }
        given_back
    }

    /// Until when no connection is tried, where none can be made and others may have one.
    fn cut_off_until(&self, now: Instant) -> Option<Instant> {
        let shared = self.pace.common.is_shared();
        self.watch.cut_off_until(now).filter(|_| shared)
    }

    /// When to ask the ledger again, where others hold the rest.
    pub fn asks_at(&self, now: Instant) -> Option<Instant> {
        let queue = self.queue.borrow();
        // What others leave behind is for somebody else.
        if queue.quota() == Some(0) {
            return None;
        }
        let laters = queue.lanes.iter().filter_map(|lane| match lane.behind {
            Then::Later(at) if at > now => Some(at),
            Then::Later(_) | Then::More | Then::Done => None,
        });
        laters.min()
    }

    /// Takes in new numbers.
    pub fn add(&self, lane: Lane, due: Due) {
        let lane = &mut self.queue.borrow_mut().lanes[lane.index()];
        lane.new.extend(due.jobs);
        lane.behind = due.then;
    }

    /// Starts no new numbers any more.
    pub fn start_no_more(&self) {
        self.queue.borrow_mut().starts_no_more = true;
    }

    /// Others have started so many numbers of this run.
    pub fn started_elsewhere(&self, count: u64) {
        self.queue.borrow_mut().started_elsewhere = count;
    }

    /// A number that was started comes back as a new one, to whoever starts it.
    pub fn starts_again(&self) {
        let mut queue = self.queue.borrow_mut();
        queue.started = queue.started.saturating_sub(1);
    }

    /// A new number is given back: with those that others have started the limit is reached.
    pub fn gives_back(&self) {
        self.queue.borrow_mut().gave_back = true;
    }

    /// Nobody gets a place any more.
    pub fn end(&self) {
        let mut queue = self.queue.borrow_mut();
        queue.ended = true;
        for lane in &mut queue.lanes {
            lane.waiting.clear();
        }
    }

    /// Are there numbers that were not started?
    pub fn has_new(&self) -> bool {
        let queue = self.queue.borrow();
        queue.gave_back || queue.lanes.iter().any(LaneQueue::has_new)
    }

    /// Can no number be started on this lane while doubts are left?
    pub fn starts_nothing(&self, lane: Lane) -> bool {
        let queue = self.queue.borrow();
        !queue.may_start(self.watch) || !queue.lanes[lane.index()].has_new_now()
    }

    /// How many requests of this lane could leave soon if the rate let them: those with a place, and
    /// those who would get one.
    pub fn wanting(&self, lane: Lane, now: Instant) -> usize {
        let preparing = self.preparing[lane.index()].get();
        if self.taken.get() >= self.limit.get() {
            return preparing;
        }
        let queue = self.queue.borrow();
        let waiting = || queue.ready(lane, now + SOON, self.watch);
        let gate = self.watch.gate(lane, now);
        preparing
            + match gate.and(self.allowance.gate(lane, now)) {
                Gate::Open => waiting(),
                Gate::Probe => waiting().min(1),
                Gate::Until(..) | Gate::Shut | Gate::Over => 0,
            }
    }

    /// How many places are taken.
    pub fn taken(&self) -> usize {
        self.taken.get()
    }

    /// How many numbers wait for a place.
    pub fn waiting(&self) -> usize {
        self.queue.borrow().waiting()
    }

    /// Waits for a place for a number that is in hand, not before `wait` is over; `None`: the run
    /// has ended.
    pub async fn take(&self, job: &Job, lane: Lane, wait: Duration) -> Option<Slot<'_>> {
        let (granted, is_granted) = oneshot::channel();
        {
            let mut queue = self.queue.borrow_mut();
            if queue.ended {
                return None;
            }
            queue.lanes[lane.index()].waiting.push(Reverse(Waiting {
                due: Instant::now() + wait,
                row: job.row,
                job: job.id,
                granted,
            }));
        }
        self.changed.notify_one();
        is_granted.await.ok()?;
        Some(self.slot(lane, job.id))
    }

    /// Gives places to those whose turn it is, `lead` before their request can leave; says what is
    /// next. A number that waits is woken, a new one is handed out.
    pub fn next(&self, now: Instant, lead: Duration) -> Next<'_> {
        let mut queue = self.queue.borrow_mut();
        if self.watch.outage_is_over() {
            // What failed in it comes back between new numbers, so that it shows whose fault it was.
            queue.budget.use_up();
        }
        while !queue.ended
            && self.taken.get() < self.limit.get() + usize::from(is_made(Mistake::OneTooMany))
        {
            let gate = |lane| self.gate(lane, now, lead);
            let turn = queue.turn(now, self.watch, gate, |lane| self.pace.goes_first(lane));
            let preparing = self.preparing.iter().map(Cell::get).sum();
            if let Turn::New(_) | Turn::Again(_) = turn
                && let Some(at) = self.pace.common.intent_at(preparing)
                && let Some(at) = at.checked_sub(lead).filter(|at| *at > now)
            {
                return Next::At(at, Why::Pace);
            }
            match turn {
                Turn::New(lane) => {
                    if let Some(job) = queue.take_new(lane) {
                        self.grant(lane, job.id);
                        let slot = self.slot(lane, job.id);
                        return Next::Start(job, slot);
                    }
                }
                Turn::Again(lane) => {
                    if let Some(waiting) = queue.take_waiting(lane) {
                        self.grant(lane, waiting.job);
                        if waiting.granted.send(()).is_err() {
                            // Nobody waits any more: the run was dropped.
                            drop(self.slot(lane, waiting.job));
                        }
                    }
                }
                Turn::At(at, why) => return Next::At(at, why),
                Turn::Nobodys => return Next::Nothing,
                Turn::Over => return Next::Over,
            }
        }
        Next::Nothing
    }

    /// May a request of this lane have a place now, `lead` before it can leave?
    fn gate(&self, lane: Lane, now: Instant, lead: Duration) -> Gate {
        let preparing = self.preparing[lane.index()].get();
        let besides = self.pace.besides(lane);
        let near = besides.and_then(|pace| pace.intent_at(preparing)?.checked_sub(lead));
        let near = near.filter(|at| *at > now);
        let pace = near.map_or(Gate::Open, |at| Gate::Until(at, Why::Pace));
        let gate = self.watch.gate(lane, now).and(pace);
        gate.and(self.allowance.gate(lane, now))
    }

    fn grant(&self, lane: Lane, job: JobId) {
        let preparing = &self.preparing[lane.index()];
        self.taken.set(self.taken.get() + 1);
        preparing.set(preparing.get() + 1);
        self.watch.granted(lane, job);
        self.allowance.granted(lane);
    }

    fn slot(&self, lane: Lane, job: JobId) -> Slot<'_> {
        Slot {
            slots: self,
            lane,
            job,
            is_ready: Cell::new(false),
            has_left: Cell::new(false),
        }
    }
}

impl Slot<'_> {
    /// Its request does not wait for its turn any more.
    pub fn is_ready(&self) {
        if !self.is_ready.replace(true) {
            let preparing = &self.slots.preparing[self.lane.index()];
            preparing.set(preparing.get() - 1);
        }
    }

    /// Its request left when a clock on the wall showed this.
    pub fn has_left(&self, wall: UnixMicros) {
        self.has_left.set(true);
        self.slots.allowance.has_left(self.lane, wall);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.is_ready();
        self.slots.taken.set(self.slots.taken.get() - 1);
        self.slots.watch.released(self.lane, self.job);
        self.slots
            .allowance
            .released(self.lane, self.has_left.get());
        self.slots.changed.notify_one();
    }
}

impl Queue {
    /// New numbers that may still be started here.
    fn quota(&self) -> Option<u64> {
        if self.starts_no_more {
            return Some(0);
        }
        let left = |limit: u64| limit.saturating_sub(self.started + self.started_elsewhere);
        self.limit.map(left)
    }

    fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    /// Has any number something to do?
    fn is_busy(&self) -> bool {
        self.lanes.iter().any(LaneQueue::is_busy)
    }

    /// May a new number be started, as far as the limit and the numbers that wait go?
    fn may_start(&self, watch: &Watch<'_>) -> bool {
        let in_doubt: usize = Lane::ALL.into_iter().map(|lane| watch.doubting(lane)).sum();
        self.quota() != Some(0) && self.waiting() + in_doubt < WAITING_MAX
    }

    /// Is it known which number is next in the input? With a limit it matters: the first ones are
    /// meant, whatever their lane.
    fn knows_the_next(&self) -> bool {
        let known = |lane: &LaneQueue| !lane.new.is_empty() || lane.behind != Then::More;
        self.quota().is_none() || self.lanes.iter().all(known)
    }

    /// How many numbers of this lane could go before this.
    fn ready(&self, lane: Lane, at: Instant, watch: &Watch<'_>) -> usize {
        let queue = &self.lanes[lane.index()];
        let is_due = |waiting: &&Reverse<Waiting>| waiting.0.due <= at;
        let again = queue.waiting.iter().filter(is_due).count();
        let may_start = self.may_start(watch) && self.knows_the_next();
        let most = self.quota().map_or(usize::MAX, |quota| {
            usize::try_from(quota).unwrap_or(usize::MAX)
        });
        again
            + if may_start {
                queue.new.len().min(most)
            } else {
                0
            }
    }

    /// Whose turn it is. A retry goes before a new number as long as the budget allows.
    fn turn(
        &self,
        now: Instant,
        watch: &Watch<'_>,
        gate: impl Fn(Lane) -> Gate,
        goes_first: impl Fn(Lane) -> bool,
    ) -> Turn {
        let may_start = self.may_start(watch) && self.knows_the_next();
        // The lane whose next new number stands highest up in the input, if none goes first, and the
        // one whose next retry has been due for longest.
        let (mut new, mut again) = (None, None);
        let mut later: Option<(Instant, Why)> = None;
        let mut over = false;
        for lane in Lane::ALL {
            let queue = &self.lanes[lane.index()];
            let first = queue.new.front().filter(|_| may_start);
            let due = queue.waiting.peek().map(|Reverse(waiting)| waiting.due);
            let Some(earliest) = first.map(|_| now).into_iter().chain(due).min() else {
                continue;
            };
            let gate = gate(lane);
            over |= gate == Gate::Over;
            let at = match gate {
                Gate::Shut | Gate::Over => continue,
                Gate::Until(at, why) => Some((at.max(earliest), why)),
                Gate::Open | Gate::Probe => (earliest > now).then_some((earliest, Why::Backoff)),
            };
            if let Some(at) = at {
                later = later.into_iter().chain([at]).min_by_key(|(at, _)| *at);
                continue;
            }
            new = new
                .into_iter()
                .chain(first.map(|job| (!goes_first(lane), job.row, lane)))
                .min();
            // A probe is a new number, where there is one: those that failed may fail for themselves.
            let due = due.filter(|due| *due <= now && (gate != Gate::Probe || first.is_none()));
            again = again.into_iter().chain(due.map(|due| (due, lane))).min();
        }
        match (new, again) {
            (Some((.., lane)), Some(_)) if !self.budget.allows() => Turn::New(lane),
            (_, Some((_, lane))) => Turn::Again(lane),
            (Some((.., lane)), None) => Turn::New(lane),
            (None, None) => match later {
                Some((at, why)) => Turn::At(at, why),
                None if over => Turn::Over,
                None => Turn::Nobodys,
            },
        }
    }

    fn take_new(&mut self, lane: Lane) -> Option<Job> {
        let job = self.lanes[lane.index()].new.pop_front()?;
        self.started += u64::from(!(is_made(Mistake::LimitOneMore) && self.quota() == Some(1)));
        self.budget.earn();
        Some(job)
    }

    fn take_waiting(&mut self, lane: Lane) -> Option<Waiting> {
        let Reverse(waiting) = self.lanes[lane.index()].waiting.pop()?;
        self.budget.spend();
        Some(waiting)
    }
}

impl LaneQueue {
    fn is_busy(&self) -> bool {
        !self.new.is_empty() || !self.waiting.is_empty()
    }

    fn has_new(&self) -> bool {
        !self.new.is_empty() || self.behind != Then::Done
    }

    /// What others hold may come back some day, but nobody here waits for it.
    fn has_new_now(&self) -> bool {
        !self.new.is_empty() || self.behind == Then::More
    }
}
