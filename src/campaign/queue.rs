//! Who is next: new numbers in input order and retries when they are due, one queue a lane.
//!
//! Pure bookkeeping: time is passed in, nothing waits here. A number that waits for its retry lies
//! here and holds no slot; how many may lie here is bounded.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use tokio::time::Instant;

use super::live::Why;
use crate::outcome::{Job, Lane, RowId};
use crate::retry::Budget;

/// New numbers read ahead from the ledger, a lane.
pub const READ_AHEAD: usize = 1_024;

/// Numbers that may wait for a retry; when there are more, no new ones are started.
const WAITING_MAX: usize = 4_096;

/// A number that waits for its next try.
pub struct Waiting {
    /// Not before.
    pub due: Instant,
    /// The number.
    pub job: Job,
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
    fn key(&self) -> (Instant, RowId) {
        (self.due, self.job.row)
    }
}

/// One lane's numbers.
struct LaneQueue {
    new: VecDeque<Job>,
    /// How far the ledger was read for it; `None`: to the end.
    read_to: Option<RowId>,
    waiting: BinaryHeap<Reverse<Waiting>>,
    /// From `Retry-After`: nothing before.
    held_until: Option<Instant>,
}

/// All numbers of a run that have something to do.
pub struct Queue {
    lanes: [LaneQueue; Lane::ALL.len()],
    budget: Budget,
    /// New numbers that may still be started.
    quota: Option<u64>,
}

/// What is next.
pub enum Next {
    /// A number of this lane that was never tried in this run.
    New(Lane),
    /// A number of this lane whose wait is over.
    Again(Lane),
    /// Nothing before this time.
    At(Instant, Why),
    /// Nothing, unless something comes from the ledger or back from a request.
    Nothing,
}

impl Queue {
    /// Empty queues for the lanes on which there is something to do; at most `quota` new numbers
    /// are started.
    pub fn new(lanes: &[Lane], quota: Option<u64>) -> Self {
        let queue = |lane| LaneQueue {
            new: VecDeque::new(),
            read_to: lanes.contains(&lane).then_some(RowId(0)),
            waiting: BinaryHeap::new(),
            held_until: None,
        };
        Self {
            lanes: Lane::ALL.map(queue),
            budget: Budget::default(),
            quota,
        }
    }

    /// The lane that wants new numbers, and behind which row.
    pub fn wants(&self) -> Option<(Lane, RowId)> {
        // With nothing more to start, one look is enough to know whether something is left.
        let enough = if self.quota == Some(0) {
            0
        } else {
            READ_AHEAD / 2
        };
        Lane::ALL.into_iter().find_map(|lane| {
            let queue = &self.lanes[lane.index()];
            let low = queue.new.len() <= enough;
            queue.read_to.filter(|_| low).map(|row| (lane, row))
        })
    }

    /// Takes in new numbers; `read_to` is where to go on, `None` at the end.
    pub fn add(&mut self, lane: Lane, jobs: Vec<Job>, read_to: Option<RowId>) {
        let queue = &mut self.lanes[lane.index()];
        queue.new.extend(jobs);
        queue.read_to = read_to;
    }

    /// Lets a number wait.
    pub fn wait(&mut self, lane: Lane, waiting: Waiting) {
        self.lanes[lane.index()].waiting.push(Reverse(waiting));
    }

    /// Changes the jobs that wait; not when they are due.
    pub fn for_each_waiting(&mut self, mut each: impl FnMut(&mut Job)) {
        for lane in &mut self.lanes {
            let mut waiting = std::mem::take(&mut lane.waiting).into_vec();
            for Reverse(waiting) in &mut waiting {
                each(&mut waiting.job);
            }
            lane.waiting = waiting.into();
        }
    }

    /// Holds a whole lane back.
    pub fn hold(&mut self, lane: Lane, until: Instant) {
        let held = &mut self.lanes[lane.index()].held_until;
        *held = Some(held.map_or(until, |before| before.max(until)));
    }

    /// Is the lane held back?
    pub fn is_held(&self, lane: Lane, now: Instant) -> bool {
        self.lanes[lane.index()].held_at(now)
    }

    /// Starts no new numbers any more.
    pub fn start_no_more(&mut self) {
        self.quota = Some(0);
    }

    /// Are there numbers that were not started?
    pub fn has_new(&self) -> bool {
        self.lanes
            .iter()
            .any(|lane| !lane.new.is_empty() || lane.read_to.is_some())
    }

    /// How many wait for a retry.
    pub fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting.len()).sum()
    }

    /// What is next. A retry goes before a new number as long as the budget allows.
    pub fn next(&self, now: Instant) -> Next {
        let may_start = self.quota != Some(0) && self.waiting() < WAITING_MAX;
        let new = if may_start { self.first_new(now) } else { None };
        let again = self.first_waiting(now);
        match (new, again) {
            (Some(lane), Some(_)) if !self.budget.allows() => Next::New(lane),
            (_, Some(lane)) => Next::Again(lane),
            (Some(lane), None) => Next::New(lane),
            (None, None) => self.idle(now, may_start),
        }
    }

    /// Takes a lane's next new number.
    pub fn take_new(&mut self, lane: Lane) -> Option<Job> {
        let job = self.lanes[lane.index()].new.pop_front()?;
        self.quota = self.quota.map(|left| left.saturating_sub(1));
        self.budget.earn();
        Some(job)
    }

    /// Takes a lane's next retry.
    pub fn take_waiting(&mut self, lane: Lane) -> Option<Waiting> {
        let Reverse(waiting) = self.lanes[lane.index()].waiting.pop()?;
        self.budget.spend();
        Some(waiting)
    }

    /// The lane whose next new number stands highest up in the input.
    fn first_new(&self, now: Instant) -> Option<Lane> {
        let heads = self.open(now).filter_map(|lane| {
            let job = self.lanes[lane.index()].new.front()?;
            Some((job.row, lane))
        });
        heads.min().map(|(_, lane)| lane)
    }

    /// The lane whose next retry has been due for longest.
    fn first_waiting(&self, now: Instant) -> Option<Lane> {
        let heads = self.open(now).filter_map(|lane| {
            let Reverse(waiting) = self.lanes[lane.index()].waiting.peek()?;
            (waiting.due <= now).then_some((waiting.due, lane))
        });
        heads.min().map(|(_, lane)| lane)
    }

    fn open(&self, now: Instant) -> impl Iterator<Item = Lane> {
        Lane::ALL
            .into_iter()
            .filter(move |lane| !self.is_held(*lane, now))
    }

    /// When something will be possible again, and why not now.
    fn idle(&self, now: Instant, may_start: bool) -> Next {
        let of_lane = |lane: Lane| {
            let queue = &self.lanes[lane.index()];
            let due = queue.waiting.peek().map(|Reverse(waiting)| waiting.due);
            let new = (may_start && !queue.new.is_empty()).then_some(now);
            let earliest = [due, new].into_iter().flatten().min()?;
            match queue.held_until {
                Some(held) if held > earliest => Some((held, Why::RetryAfter(lane))),
                _ => Some((earliest, Why::Backoff)),
            }
        };
        Lane::ALL
            .into_iter()
            .filter_map(of_lane)
            .min_by_key(|(at, _)| *at)
            .map_or(Next::Nothing, |(at, why)| Next::At(at, why))
    }
}

impl LaneQueue {
    fn held_at(&self, now: Instant) -> bool {
        self.held_until.is_some_and(|until| until > now)
    }
}
