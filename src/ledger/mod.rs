//! The durable memory: what was read, what was begun, what was answered.
//!
//! It stores facts and derives nothing; it knows no HTTP and no CSV. The engine sees it through the
//! one trait here, [`Ledger`]; [`sqlite`] is the room behind it. A second room that several
//! machines share fits behind the same trait: `due` then leases rows to this machine, `begin` fails
//! for a lease that was lost, `reserve` takes permits from the common rate.

pub mod sqlite;

use std::path::PathBuf;

use crate::outcome::{Job, JobId, Lane, Policy, RowId, UnixMicros};

/// What the engine asks of the durable memory during a run.
///
/// Everything is durable in the order in which it was asked for: when an intent is durable, so is
/// every answer handed over before it. This is why a crash never leaves more requests without an
/// answer than were in flight at once.
pub trait Ledger {
    /// The next jobs on `lane`, in input order, for which `policy` finds something to do: at most
    /// `limit`, behind row `after`.
    fn due(
        &self,
        lane: Lane,
        after: RowId,
        limit: usize,
        policy: Policy,
    ) -> impl Future<Output = Result<Due, LedgerError>>;

    /// Writes down that the job's last attempt is about to leave. Durable when it returns; an
    /// error means that the request must not leave.
    fn begin(&self, job: &Job) -> impl Future<Output = Result<(), LedgerError>>;

    /// Takes back an intent whose request never left.
    fn withdraw(&self, job: JobId, n: u32) -> impl Future<Output = ()>;

    /// Hands over the answer to the job's last attempt. It is durable later, before any later
    /// intent; whether that worked is told by the next [`begin`](Ledger::begin) or by
    /// [`flush`](Ledger::flush).
    fn answer(&self, job: &Job) -> impl Future<Output = ()>;

    /// Returns when everything handed over is durable, or cannot be made so.
    fn flush(&self) -> impl Future<Output = Result<(), LedgerError>>;

    /// Asks for permits of the account's common rate before requests leave.
    fn reserve(&self, permits: u32) -> impl Future<Output = Result<Reserved, LedgerError>>;
}

/// An answer to [`Ledger::due`].
#[derive(Debug)]
pub struct Due {
    /// The jobs, in input order.
    pub jobs: Vec<Job>,
    /// All rows up to here were looked at.
    pub seen: RowId,
    /// There are no more rows behind `seen`.
    pub exhausted: bool,
}

/// An answer to [`Ledger::reserve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// How many requests may leave, at least 1.
    pub permits: u32,
    /// When the latest request before these left, as far as is known: the first of these has to
    /// keep its distance from it.
    pub after: Option<UnixMicros>,
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
    /// It has more than one name.
    #[error(
        "the ledger {path} has {names} names (hard links), and a log beside only one of them. Nothing was sent. Keep the name that {path}-wal stands beside, or any if none has one: `find / -xdev -samefile {path}` lists them, and `rm` removes a name without the file. For a backup make a copy instead"
    )]
    SeveralNames {
        /// The ledger.
        path: PathBuf,
        /// How many.
        names: u64,
    },
    /// Requests that were made may be missing in it.
    #[error(
        "the ledger {path} may lack requests that were made: {why}. Nothing was sent. Bring back the file of that run together with its log. If there is none, everybody who was sent to after the copy was made is sent to again: to accept that, run the same command with --accept-restored-ledger"
    )]
    Restored {
        /// The ledger.
        path: PathBuf,
        /// How that shows.
        why: String,
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
