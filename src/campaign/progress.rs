//! What can be seen of a run while it runs: written by the engine, read by the progress line.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::job::{Attempt, Lane, UnixMicros};
use crate::requests::Requests;
use crate::status::Status;

/// Why nothing moves, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stall {
    /// The reason.
    pub why: Why,
    /// When something will be tried again.
    pub until: Instant,
    /// The outage, if that is the reason.
    pub outage: Option<Outage>,
}

/// An outage that goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// How it shows.
    pub shown: String,
    /// Since when.
    pub since: Instant,
    /// When it will have lasted too long.
    pub deadline: Option<Instant>,
}

/// Nothing leaves any more; what is in flight is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Since when.
    pub since: Instant,
    /// A signal asked for it.
    pub interrupted: bool,
}

/// The reasons for which nothing moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The rate lets nothing leave before.
    Pace,
    /// The retries that are left are not due yet.
    Backoff,
    /// The gateway asked to wait.
    RetryAfter(Lane),
    /// The gateway is down; `until` the next probe.
    Outage,
    /// It is not yet the time that the user chose to start at.
    StartAt(UnixMicros),
    /// Hours let nothing leave on this lane before.
    Window(Lane, UnixMicros),
    /// The day's cap lets nothing more leave on this lane before.
    DailyCap(Lane, UnixMicros),
}

impl Why {
    /// What waits for a time of day, and which setting says so: fits before "until 09:00".
    #[must_use]
    pub fn in_words(self) -> String {
        let calls = |lane| match lane {
            Lane::Call => "calls wait",
            Lane::Sms | Lane::Verify => "requests wait",
        };
        match self {
            Self::StartAt(_) => "nothing leaves (--start-at)".to_owned(),
            Self::Window(lane, _) => format!("{} (--window, --call-window)", calls(lane)),
            Self::DailyCap(lane, _) => {
                format!(
                    "{}: the day's cap is reached (--daily-cap, --call-daily-cap)",
                    calls(lane)
                )
            }
            Self::Pace | Self::Backoff | Self::RetryAfter(_) | Self::Outage => {
                "it waits".to_owned()
            }
        }
    }
}

/// The state of a run, as of now.
#[derive(Debug, Default)]
pub struct Progress {
    counts: [AtomicU64; Status::ALL.len()],
    departed: AtomicU64,
    in_flight: AtomicU64,
    /// When each of them left, with a number that tells those of one moment apart.
    unanswered: Mutex<BTreeSet<(Instant, u64)>>,
    left: AtomicU64,
    waiting: AtomicU64,
    stalled: Mutex<Option<Stall>>,
    requests: Mutex<Requests>,
    ending: Mutex<Option<Ending>>,
}

impl Progress {
    /// A run that starts from these counts.
    #[must_use]
    pub fn new(counts: [u64; Status::ALL.len()]) -> Self {
        Self {
            counts: counts.map(AtomicU64::new),
            ..Self::default()
        }
    }

    /// The same, where these requests were made before.
    #[must_use]
    pub fn after(self, requests: Requests) -> Self {
        Self {
            requests: Mutex::new(requests),
            ..self
        }
    }

    /// The requests of the campaign that have been answered, or never will be.
    #[must_use]
    pub fn requests(&self) -> Requests {
        let requests = self.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The rows by status, indexed by [`Status::index`].
    #[must_use]
    pub fn counts(&self) -> [u64; Status::ALL.len()] {
        std::array::from_fn(|index| self.counts[index].load(Ordering::Relaxed))
    }

    /// Requests that left in this run.
    #[must_use]
    pub fn departed(&self) -> u64 {
        self.departed.load(Ordering::Relaxed)
    }

    /// Requests on their way.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Requests that have left and were not answered yet: those that an end would wait for.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.waited_for().len() as u64
    }

    /// For how long the answer is awaited that is awaited the longest.
    #[must_use]
    pub fn oldest(&self) -> Option<Duration> {
        Some(self.waited_for().first()?.0.elapsed())
    }

    /// Does the run end?
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        *self.ending.lock().ok()?
    }

    fn waited_for(&self) -> MutexGuard<'_, BTreeSet<(Instant, u64)>> {
        self.unanswered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers that wait for a retry.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Why nothing moves, if nothing does.
    #[must_use]
    pub fn stalled(&self) -> Option<Stall> {
        self.stalled.lock().ok()?.clone()
    }

    pub(super) fn moved(&self, from: Status, to: Status) {
        if from != to {
            // Others may have moved it before, unseen here.
            let less = |count: u64| count.checked_sub(1);
            let _ =
                self.counts[from.index()].fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
            self.counts[to.index()].fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn answered(&self, attempt: &Attempt) {
        let requests = self.requests.lock();
        requests
            .unwrap_or_else(PoisonError::into_inner)
            .add(attempt);
    }

    /// One more has left.
    pub(super) fn departs(&self) {
        self.departed.fetch_add(1, Ordering::Relaxed);
    }

    /// A request leaves; its answer is awaited until the result is dropped.
    pub(super) fn leaves(&self) -> Unanswered<'_> {
        let this = (Instant::now(), self.left.fetch_add(1, Ordering::Relaxed));
        self.waited_for().insert(this);
        Unanswered {
            progress: self,
            this,
        }
    }

    /// It begins, or goes on after all.
    pub(super) fn begins(&self) {
        if let Ok(mut ending) = self.ending.lock() {
            *ending = None;
        }
    }

    /// Nothing leaves any more.
    pub(super) fn ends(&self, interrupted: bool) {
        let since = Instant::now();
        if let Ok(mut ending) = self.ending.lock() {
            ending.get_or_insert(Ending { since, interrupted });
        }
    }

    pub(super) fn set_queues(&self, in_flight: usize, waiting: usize) {
        self.in_flight.store(in_flight as u64, Ordering::Relaxed);
        self.waiting.store(waiting as u64, Ordering::Relaxed);
    }

    pub(super) fn stall(&self, why: Option<Stall>) {
        if let Ok(mut stalled) = self.stalled.lock()
            && *stalled != why
        {
            *stalled = why;
        }
    }
}

/// A request whose answer is awaited.
pub(super) struct Unanswered<'p> {
    progress: &'p Progress,
    this: (Instant, u64),
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.progress.waited_for().remove(&self.this);
    }
}
