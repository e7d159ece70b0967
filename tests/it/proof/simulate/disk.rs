//! The real ledger, with points at which the process may end, and a disk that is slow or full.

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use otpdrive::campaign::{EarlierHolds, Progress};
use otpdrive::clock::Clock;
use otpdrive::job::{Answer, Attempt, Job, JobId, Lane, UnixMicros};
use otpdrive::ledger::{Begun, Due, Grant, Ledger, LedgerError, Rest, Run, Wanted};
use otpdrive::run::RunFact;
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, sleep};

use super::killer::Killer;
use super::process::Orders;
use super::weather::Mood;
use super::world::{Intent, World};

/// The ledger of one process.
pub struct Disk<'w> {
    pub ledger: Run,
    pub killer: &'w Killer,
    pub world: &'w World,
    pub orders: &'w Orders,
    pub progress: &'w Progress,
    pub random: RefCell<Rng>,
    pub since: Instant,
    /// How many numbers there are to work on.
    pub numbers: usize,
    pub was_granted: Cell<bool>,
    pub intents: Cell<usize>,
    /// The requests whose answers were handed over, in order, as places in the gateway's log.
    pub handed: RefCell<Vec<usize>>,
    /// How many of them are on the disk.
    pub recorded: Cell<usize>,
    pub facts: RefCell<Vec<RunFact>>,
}

impl Disk<'_> {
    async fn seek(&self) {
        let longest = self.orders.commit_max.as_micros();
        let longest = u32::try_from(longest).unwrap_or(1).max(1);
        let time = self.random.borrow_mut().u32(0..longest);
        sleep(Duration::from_micros(time.into())).await;
    }

    /// All that was handed over before is on the disk: the ledger's own promise.
    fn is_durable(&self, handed: usize) {
        self.killer.is_durable();
        let from = self.recorded.get().min(handed);
        self.world.recorded(&self.handed.borrow()[from..handed]);
        self.recorded.set(from.max(handed));
    }

    /// Counts what has turned up.
    fn reached(&self, fact: &RunFact) {
        let reached = &self.world.reached;
        match fact {
            RunFact::OutageBegan { lane, .. } => {
                reached.note("an outage");
                reached.note_if(lane.is_some(), "an outage of one lane");
                let parked = self.progress.waiting() > 0;
                reached.note_if(parked, "an outage while numbers are parked");
                reached.note_if(self.numbers < 20, "an outage with few numbers");
                let mood = self.orders.weather.mood(self.since.elapsed());
                let is_polite = matches!(mood, Mood::All("polite") | Mood::Lane(_, "polite"));
                reached.note_if(is_polite, "an outage that says when to come back");
            }
            RunFact::OutageEnded { .. } => reached.note("an outage is waited out"),
            RunFact::Wave { .. } => {
                reached.note("a wave");
                let falls_back = self.orders.settings.policy.fallback.is_some();
                reached.note_if(falls_back, "a wave with a fallback");
            }
            RunFact::EndpointProven | RunFact::ClockMoved { .. } => {}
        }
    }
}

impl Ledger for Disk<'_> {
    fn clock(&self) -> Clock {
        self.ledger.clock()
    }

    async fn due(&self, lane: Lane, limit: usize) -> Result<Due, LedgerError> {
        self.seek().await;
        self.killer.point("reading what is due").await;
        let limit = limit.min(self.orders.read_max);
        self.ledger.due(lane, limit).await
    }

    async fn begin(&self, job: &Job, attempt: &Attempt) -> Result<Begun, LedgerError> {
        self.killer.point("before an intent").await;
        self.seek().await;
        self.intents.set(self.intents.get() + 1);
        let full_after = self.orders.disk_full_after;
        if full_after.is_some_and(|most| self.intents.get() > most) {
            return Err(LedgerError::Database {
                path: PathBuf::from("simulated"),
                what: "write",
                why: "disk full".to_owned(),
            });
        }
        self.world.intents.borrow_mut().push(Intent {
            run: self.orders.run,
            campaign: self.orders.campaign,
            number: job.number,
            code: job.code.as_ref().map(|c| c.expose_secret().to_owned()),
            begun_at: attempt.begun_at,
        });
        let handed = self.handed.borrow().len();
        let begun = self.ledger.begin(job, attempt).await;
        if begun.is_ok() {
            self.is_durable(handed);
        }
        self.killer.point("an intent is durable").await;
        self.seek().await;
        begun
    }

    async fn answer(&self, job: JobId, n: u32, answer: &Answer) {
        self.killer.point("before an answer is noted").await;
        self.ledger.answer(job, n, answer).await;
        if answer.left_at.is_some() {
            let request = self.world.last_heard(job);
            self.handed.borrow_mut().extend(request);
        }
        self.killer.point("an answer was handed over").await;
    }

    async fn note(&self, fact: &RunFact) {
        self.killer.point("before a fact is noted").await;
        self.reached(fact);
        self.facts.borrow_mut().push(fact.clone());
        self.ledger.note(fact).await;
        self.killer.point("a fact was handed over").await;
    }

    async fn rest(&self, job: &Job, how: Rest) {
        self.ledger.rest(job, how).await;
        self.killer.point("a number is at rest").await;
    }

    async fn left_on(&self, day: Range<UnixMicros>) -> Result<[u64; Lane::ALL.len()], LedgerError> {
        self.seek().await;
        self.ledger.left_on(day).await
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        self.killer.point("before all is durable").await;
        self.seek().await;
        let handed = self.handed.borrow().len();
        let flushed = self.ledger.flush().await;
        if flushed.is_ok() {
            self.is_durable(handed);
        }
        self.killer.point("all is durable").await;
        flushed
    }

    async fn reserve(&self, wanted: Wanted) -> Result<Grant, LedgerError> {
        self.killer.point("reserving").await;
        let grant = self.ledger.reserve(wanted).await?;
        if !self.was_granted.replace(true) {
            let now = Some(self.clock().now());
            let held = grant.holds.iter().any(|at| *at > now);
            let kept = match self.orders.settings.earlier_holds {
                EarlierHolds::Keep => "a hold from before is kept",
                EarlierHolds::Ignore => "a hold from before is ignored",
            };
            self.world.reached.note_if(held, kept);
        }
        Ok(grant)
    }
}
