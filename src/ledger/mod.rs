//! The durable memory: what was read, what was begun, what was answered, what turned up in a run.
//!
//! It stores facts and derives nothing; it knows no HTTP and no CSV. The engine sees it through
//! [`Ledger`], everybody else through [`Store`]; [`sqlite`] is the room behind both. [`rules`] are
//! written once, over plain values, for any room. A second room that several machines share fits
//! behind the same traits: `due` then hands out slices and can say "later", `begin` can say that a
//! number is in other hands, `reserve` takes slots of the common rate, and what others ran into
//! comes back with the replies.

// pub mod rules;
// pub mod sqlite;

use std::path::PathBuf;

use tokio::time::Instant;

use crate::clock::Clock;
use crate::job::{Answer, Attempt, Job, JobId, Lane, UnixMicros};
use crate::run::RunFact;

/// What the engine asks of the durable memory during a run.
///
/// Everything is durable in the order in which it was asked for: when an intent is durable, so is
/// every answer and every fact handed over before it. This is why a crash never leaves more requests
/// without an answer than were in flight at once.
pub trait Ledger {
    /// The time of this ledger.
    fn clock(&self) -> Clock;

    /// The next jobs on `lane`, in input order, for which the run's policy finds something to do: at
    /// most `limit`. The ledger remembers how far it was read.
    fn due(&self, lane: Lane, limit: usize) -> impl Future<Output = Result<Due, LedgerError>>;

    /// Writes down that a job's next attempt, not yet in `job.attempts`, is about to leave. Durable
    /// when it returns; an error means that the request must not leave.
    fn begin(
        &self,
        job: &Job,
        attempt: &Attempt,
    ) -> impl Future<Output = Result<Begun, LedgerError>>;

    /// Hands over what came of an attempt: once per attempt. It is durable later, before any later
    /// intent; whether that worked is told by the next [`begin`](Ledger::begin) or by
    /// [`flush`](Ledger::flush).
    fn answer(&self, job: JobId, n: u32, answer: &Answer) -> impl Future<Output = ()>;

    /// Hands over something that turned up in this run, as [`answer`](Ledger::answer) does.
    fn note(&self, fact: &RunFact) -> impl Future<Output = ()>;

    /// The engine has nothing more to do for this job in this run. A code that is settled is
    /// forgotten now.
    fn rest(&self, job: &Job, settled: Settled) -> impl Future<Output = ()>;

    /// Returns when everything handed over is durable, or cannot be made so.
    fn flush(&self) -> impl Future<Output = Result<(), LedgerError>>;

    /// Asks for slots of the account's common rate before requests leave.
    fn reserve(&self, slots: u32) -> impl Future<Output = Result<Grant, LedgerError>>;
}

/// An answer to [`Ledger::due`].
#[derive(Debug)]
pub struct Due {
    /// The jobs, in input order.
    pub jobs: Vec<Job>,
    /// What is behind them.
    pub then: Then,
}

/// What comes behind the jobs that were handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// There are more rows to look at.
    More,
    /// None now; others hold the rest, so ask again then.
    Later(Instant),
    /// None.
    Done,
}

/// An answer to [`Ledger::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The intent is durable: the request may leave.
    Go,
    /// Somebody else has begun this attempt: the job is not ours any more.
    Taken,
}

/// Has a job that comes to rest an answer that is final?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It has.
    Yes,
    /// A later run may go on with it.
    No,
}

/// An answer to [`Ledger::reserve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// How many requests may leave, at least 1.
    pub slots: u32,
    /// When the latest request before these left, as far as is known: the first of these has to
    /// keep its distance from it.
    pub after: Option<UnixMicros>,
    /// What holds each lane back, from others or from before: a `Retry-After`.
    pub holds: [Option<UnixMicros>; Lane::ALL.len()],
}

/// Why a ledger could not be used. The texts fit behind "failed to …" and say what to do.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another run works with it.
    #[error(
        "another run holds the ledger {path}: {holder}. Wait for it to end; `otpdrive status` shows how far it is"
    )]
    Held {
        /// The ledger.
        path: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// It is no file of this program.
    #[error(
        "{path} is not a ledger of otpdrive ({why}). It was left as it is. If it should be one, it is damaged: put a copy in its place; else name another file with --ledger"
    )]
    NotALedger {
        /// The file.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// It is not as it was written.
    #[error(
        "the ledger {path} is damaged: {why}. Nothing was repaired or begun afresh, for then people would be sent to again. `otpdrive status --verify` looks through all of it. Keep it aside, together with {path}-wal if that is there, put a copy in its place, and run the same command again"
    )]
    Damaged {
        /// The ledger.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
    /// It was written by a newer version.
    #[error(
        "the ledger {path} has format {found}, and this version of otpdrive knows only up to {known}. Use the newer version; the file was left as it is"
    )]
    TooNew {
        /// The ledger.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest format that this program understands.
        known: u32,
    },
    /// There is none.
    #[error("there is no ledger {0}. Name it with --ledger, or send a campaign first")]
    Missing(PathBuf),
    /// The file or its folder cannot be used.
    #[error("the ledger {path} cannot be used: {source}. {}", remedy(source))]
    File {
        /// The ledger.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database cannot do what it was asked for.
    #[error("failed to {what}: {why} (ledger {path})")]
    Database {
        /// The ledger.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the database said.
        why: String,
    },
    /// The campaign is not in it.
    #[error("{0}")]
    NoCampaign(String),
}

/// What to do when the system refuses a file.
fn remedy(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            "Make room on its disk, then run the same command again"
        }
        _ => "It needs a folder that exists and that this user may write to",
    }
}
