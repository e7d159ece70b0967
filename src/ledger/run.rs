//! A ledger in the hands of a run, in either room.

use std::ops::Range;
use std::time::Duration;

use super::postgres::PostgresRun;
use super::sqlite::RunLedger;
use super::{Begun, Due, Grant, Ledger, LedgerError, News, PerLane, Rest, Wanted};
use crate::clock::Clock;
use crate::job::{Answer, Attempt, Job, JobId, Lane, UnixMicros};
use crate::run::RunFact;

/// A ledger given to a run.
pub enum Run {
    /// A file, which is this process' alone.
    Sqlite(RunLedger),
    /// A server.
    Postgres(Box<PostgresRun>),
}

/// Asks whichever room it is.
macro_rules! of {
    ($run:expr, $ledger:ident => $asked:expr) => {
        match $run {
            Run::Sqlite($ledger) => $asked,
            Run::Postgres($ledger) => $asked,
        }
    };
}

impl Ledger for Run {
    fn clock(&self) -> Clock {
        of!(self, ledger => ledger.clock())
    }

    async fn due(&self, lane: Lane, limit: usize) -> Result<Due, LedgerError> {
        of!(self, ledger => ledger.due(lane, limit).await)
    }

    async fn begin(&self, job: &Job, attempt: &Attempt) -> Result<Begun, LedgerError> {
        of!(self, ledger => ledger.begin(job, attempt).await)
    }

    async fn answer(&self, job: JobId, n: u32, answer: &Answer) {
        of!(self, ledger => ledger.answer(job, n, answer).await);
    }

    async fn note(&self, fact: &RunFact) {
        of!(self, ledger => ledger.note(fact).await);
    }

    async fn rest(&self, job: &Job, how: Rest) {
        of!(self, ledger => ledger.rest(job, how).await);
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        of!(self, ledger => ledger.flush().await)
    }

    async fn reserve(&self, wanted: Wanted) -> Result<Grant, LedgerError> {
        of!(self, ledger => ledger.reserve(wanted).await)
    }

    fn ends(&self) {
        of!(self, ledger => ledger.ends());
    }

    async fn news(&self) -> News {
        of!(self, ledger => ledger.news().await)
    }

    fn lookahead(&self) -> Duration {
        of!(self, ledger => ledger.lookahead())
    }

    fn read_ahead(&self, lane: Lane) -> usize {
        of!(self, ledger => ledger.read_ahead(lane))
    }

    async fn left_on(&self, day: Range<UnixMicros>) -> Result<PerLane, LedgerError> {
        of!(self, ledger => ledger.left_on(day).await)
    }
}
