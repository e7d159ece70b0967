//! The real ledger, with points at which the process may end, and a disk that is slow or full.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::time::Duration;

use fastrand::Rng;
use otpdrive::ledger::sqlite::RunLedger;
use otpdrive::ledger::{Due, Ledger, LedgerError, Reserved};
use otpdrive::outcome::{Job, JobId, Lane, Policy, RowId};
use tokio::time::sleep;

use super::killer::Killer;
use super::world::World;

/// The ledger of one process.
pub struct Disk<'w> {
    pub ledger: RunLedger,
    pub killer: &'w Killer,
    pub world: &'w World,
    pub random: RefCell<Rng>,
    /// The most rows that are read at once.
    pub read_max: usize,
    /// The longest that a commit takes.
    pub commit_max: Duration,
    /// From so many intents on there is no room.
    pub full_after: Option<usize>,
    pub intents: Cell<usize>,
    /// The requests whose answers were handed over, in order, as places in the gateway's log.
    pub handed: RefCell<Vec<usize>>,
    /// How many of them are on the disk.
    pub recorded: Cell<usize>,
}

impl Disk<'_> {
    async fn seek(&self) {
        let longest = u32::try_from(self.commit_max.as_micros())
            .unwrap_or(1)
            .max(1);
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
}

impl Ledger for Disk<'_> {
    async fn due(
        &self,
        lane: Lane,
        after: RowId,
        limit: usize,
        policy: Policy,
    ) -> Result<Due, LedgerError> {
        self.seek().await;
        self.killer.point("reading what is due").await;
        let limit = limit.min(self.read_max);
        self.ledger.due(lane, after, limit, policy).await
    }

    async fn begin(&self, job: &Job) -> Result<(), LedgerError> {
        self.killer.point("before an intent").await;
        self.seek().await;
        self.intents.set(self.intents.get() + 1);
        if self
            .full_after
            .is_some_and(|most| self.intents.get() > most)
        {
            return Err(LedgerError::Database {
                path: PathBuf::from("simulated"),
                what: "write",
                why: "disk full".to_owned(),
            });
        }
        let handed = self.handed.borrow().len();
        let begun = self.ledger.begin(job).await;
        if begun.is_ok() {
            self.is_durable(handed);
        }
        self.killer.point("an intent is durable").await;
        self.seek().await;
        begun
    }

    async fn withdraw(&self, job: JobId, n: u32) {
        self.killer.point("before an intent is withdrawn").await;
        self.ledger.withdraw(job, n).await;
        self.killer.point("an intent was withdrawn").await;
    }

    async fn answer(&self, job: &Job) {
        self.killer.point("before an answer is noted").await;
        self.ledger.answer(job).await;
        let request = self.world.last_heard(job.number);
        self.handed.borrow_mut().extend(request);
        self.killer.point("an answer was handed over").await;
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        self.killer
            .point("before the last answers are durable")
            .await;
        self.seek().await;
        let handed = self.handed.borrow().len();
        let flushed = self.ledger.flush().await;
        if flushed.is_ok() {
            self.is_durable(handed);
        }
        self.killer.point("the last answers are durable").await;
        flushed
    }

    async fn reserve(&self, permits: u32) -> Result<Reserved, LedgerError> {
        self.killer.point("reserving").await;
        self.ledger.reserve(permits).await
    }
}
