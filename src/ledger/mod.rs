//! The durable memory: what was read, what was begun, what was answered, what turned up in a run.
//!
//! It stores facts and derives nothing; it knows no HTTP and no CSV. The engine sees it through
//! [`Ledger`], everybody else through [`Store`]. Two rooms are behind both: a file ([`sqlite`]), which
//! one process works with at a time, and a server ([`postgres`]), which several machines share: there
//! `due` hands out slices and can say "later", `begin` can say that a number is in other hands,
//! `reserve` takes slots of the common rate, and what others ran into comes back with the replies.
//! The tables, and what is read from them, are the same in both; [`rules`] are written once, over
//! plain values.

pub mod at;
mod group;
pub mod postgres;
pub mod rules;
mod run;
pub mod sqlite;
pub mod store;
mod tables;

pub use at::At;
pub use run::Run;
pub use store::{Opening, Store};
pub use tables::intake::Intake;

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::calendar::Calendar;
use crate::clock::Clock;
use crate::job::{Answer, Attempt, Job, JobId, Lane, Operation, UnixMicros};
use crate::money::{Amount, Prices};
use crate::number::Number;
use crate::pace::Rate;
use crate::record::{CampaignRecord, Row};
use crate::run::{Policy, RunFact, RunId, Stop};
use crate::summary::Counts;

/// How long before its request an intent is handed over to a ledger on this machine's own disk.
const LOOKAHEAD: Duration = Duration::from_millis(20);

/// New numbers that are read ahead where nobody else works.
const READ_AHEAD: usize = 1_024;

/// What the engine asks of the durable memory during a run.
///
/// Everything is durable in the order in which it was asked for: when an intent is durable, so is
/// every answer and every fact handed over before it. This is why a crash never leaves more requests
/// without an answer than were in flight at once.
pub trait Ledger {
    /// The time of this ledger.
    fn clock(&self) -> Clock;

    /// The next jobs on `lane`, in input order, for which the run's policy finds something to do: at
    /// most `limit`, or, where rows are handed out to several machines, as many as are in those that
    /// are handed out at once. The ledger remembers how far it was read.
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
    fn rest(&self, job: &Job, how: Rest) -> impl Future<Output = ()>;

    /// Returns when everything handed over is durable, or cannot be made so.
    fn flush(&self) -> impl Future<Output = Result<(), LedgerError>>;

    /// Asks for slots of the rate before requests leave. The engine asks once when a run begins, and
    /// then while there is something to send; it never asks twice at once.
    fn reserve(&self, wanted: Wanted) -> impl Future<Output = Result<Grant, LedgerError>>;

    /// The run ends: what is still to be written is not waited for without end.
    fn ends(&self) {}

    /// What others ran into: the next of it each time. Never returns where there are no others.
    fn news(&self) -> impl Future<Output = News> {
        std::future::pending()
    }

    /// An intent is handed over this long before its request may leave: enough for a commit that is
    /// slow, short enough that a crash finds few intents whose requests had not left.
    fn lookahead(&self) -> Duration {
        LOOKAHEAD
    }

    /// New numbers of a lane that are read ahead: where others work, too, no more than soon leave, or
    /// they would have nothing to do meanwhile.
    fn read_ahead(&self, _lane: Lane) -> usize {
        READ_AHEAD
    }

    /// How many requests of other runs, of all campaigns, left on each lane, or may have, while a
    /// clock on the wall was within `day`. Rehearsals and real runs are apart.
    fn left_on(&self, day: Range<UnixMicros>)
    -> impl Future<Output = Result<PerLane, LedgerError>>;
}

/// A campaign in a ledger, with the place of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// What is known of it.
    pub record: CampaignRecord,
    span: Span,
    /// The first row for which something is due on each lane, or an earlier one: those before it need
    /// not be looked at.
    due_from: [i64; Lane::ALL.len()],
}

impl Campaign {
    fn new(record: CampaignRecord, span: Span) -> Self {
        let due_from = [span.first; Lane::ALL.len()];
        Self {
            record,
            span,
            due_from,
        }
    }

    /// The first of its rows, and what comes behind the last.
    fn bounds(&self) -> (i64, i64) {
        (self.span.first, self.span.end)
    }
}

/// A range of rows: from `first` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    first: i64,
    end: i64,
}

impl Span {
    fn rows(self) -> i64 {
        self.end - self.first
    }
}

/// What an intake is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignKey {
    /// What is done.
    pub operation: Operation,
    /// The name that the user gave it.
    pub name: String,
    /// A rehearsal.
    pub sandbox: bool,
}

impl CampaignRecord {
    /// Is this the campaign that is meant?
    #[must_use]
    pub fn is(&self, key: &CampaignKey) -> bool {
        (self.operation, &self.name, self.sandbox) == (key.operation, &key.name, key.sandbox)
    }
}

/// What is noted of a run when it begins.
#[derive(Clone, Copy, Debug)]
pub struct NewRun<'a> {
    /// What it may do.
    pub policy: Policy,
    /// Where its requests go. Once it has proved right, it has for all later runs.
    pub endpoint: &'a str,
    /// All settings, no secrets.
    pub settings: &'a serde_json::Value,
    /// The rates of [`Share::ALL`]; `None`: any.
    pub rates: [Option<Rate>; Share::ALL.len()],
    /// What it may come to, if that is bound.
    pub ceilings: Option<&'a Ceilings>,
    /// Requests of the campaign's earlier runs that are billed, or may be.
    pub billed: PerLane,
}

/// A number for each lane.
pub type PerLane = [u64; Lane::ALL.len()];

/// What a run may come to, whoever works on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ceilings {
    /// Numbers that are started.
    pub limit: Option<u64>,
    /// OTPs of a day, of all campaigns.
    pub calendar: Calendar,
    /// What requests cost together, over all runs of the campaign.
    pub budget: Option<Amount>,
    /// What one costs.
    pub prices: Prices,
}

/// One of the [`Ceilings`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// Numbers that a run starts.
    Limit,
    /// OTPs of a day.
    DailyCap,
    /// Money.
    Budget,
}

/// What others have come to, where all who work together are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Elsewhere {
    /// Numbers that they have started in this run.
    pub started: u64,
    /// Requests of theirs that are billed, or may be, and of the campaign's earlier runs.
    pub billed: PerLane,
    /// The first moment of a day, and others' requests that left on it, or may.
    pub day: Option<(UnixMicros, PerLane)>,
}

/// A process that works on a run right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Working {
    /// The run.
    pub run: RunId,
    /// Its machine and its number there, for people.
    pub host: String,
    /// When it began or joined the run.
    pub since: UnixMicros,
    /// How many requests it has begun.
    pub begun: u64,
}

/// Whom a run leaves out on purpose.
#[derive(Clone, Copy, Debug)]
pub struct LeaveOut<'a> {
    /// The time now.
    pub now: UnixMicros,
    /// Numbers that another campaign of the ledger sent to, or may have sent to, less than this ago;
    /// zero: none. Only OTPs count, not codes; rehearsals and real campaigns are apart.
    pub cooldown: Duration,
    /// Codes of numbers whose latest OTP, of any campaign, was sent longer ago than this; `None`: of
    /// any age.
    pub max_age: Option<Duration>,
    /// Numbers in suppression lists, with the name of the list.
    pub excluded: &'a HashMap<Number, Arc<str>>,
}

/// What a person looked up, and for how many numbers of a campaign that could be noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Noted {
    /// They were `unknown`; now they are not. Or what was noted before was put right.
    pub noted: u64,
    /// Of those, how many the latest input has no more: no run sends to them.
    pub former: u64,
    /// The campaign knows them, but they were not `unknown`.
    pub not_unknown: u64,
    /// The campaign does not know them.
    pub strange: u64,
}

/// A campaign whose people were, or are to be, taken out of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purged {
    /// The campaign.
    pub campaign: CampaignRecord,
    /// When they are taken out.
    pub at: UnixMicros,
    /// When something last happened in it.
    pub last_active: UnixMicros,
    /// What had become of the rows of its latest input,
    pub counts: Counts,
    /// and of those of earlier ones.
    pub earlier: Counts,
}

/// What one campaign knows of a number.
#[derive(Clone, Debug)]
pub struct Life {
    /// The campaign.
    pub campaign: CampaignRecord,
    /// The row that asks for the number, or the last one that did.
    pub row: Row,
    /// The campaign's latest input has no such row any more.
    pub is_former: bool,
}

/// Are the rows' own columns wanted? They are most of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Records {
    /// Yes.
    Read,
    /// No: [`Row::record`] is left empty.
    Skip,
}

/// Where a ledger works during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execution {
    /// On threads beside the engine, so that a slow disk holds up nothing else.
    Threads,
    /// On the engine's own thread, with no room made beforehand, and reading few rows at once: for
    /// simulations, which are the same each time, and whose lists are short.
    Inline,
}

impl Execution {
    /// Rows of which it is looked at once what is due.
    fn rows_at_once(self) -> usize {
        match self {
            Self::Threads => tables::scan::RANGE,
            Self::Inline => 3,
        }
    }

    /// Does a piece of a database's work.
    async fn work<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self {
            Self::Inline => work(),
            Self::Threads => match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
        }
    }
}

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Campaigns in the ledger.
    pub campaigns: u64,
    /// Rows of their latest inputs.
    pub rows: u64,
    /// Requests begun.
    pub attempts: u64,
    /// What is wrong, in plain words, a sentence each; empty: the ledger is sound.
    pub wrong: Vec<String>,
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
    Go {
        /// It must not leave after this, for then it may be in other hands; `None`: it is never too
        /// late.
        leave_by: Option<Instant>,
    },
    /// Somebody else has begun this attempt: the job is not ours any more.
    Taken,
    /// With what others have begun meanwhile it would be more than the run may come to: nothing is
    /// written down.
    Beyond(Ceiling),
}

impl Begun {
    /// The request may leave whenever it is its turn.
    pub const GO: Self = Self::Go { leave_by: None };
}

/// How a job comes to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// It has an answer that is final.
    Settled,
    /// It has none, and this run does nothing more for it; a later one may go on with it.
    Open,
    /// The run ended before: whoever works on may go on with it at once.
    Unfinished,
    /// The run goes on, but nothing can be done for it here: it is for whoever can.
    GivenBack,
}

/// Which rate slots are asked of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// The account's common rate.
    Common,
    /// That which calls pay besides.
    Calls,
}

impl Share {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Common, Self::Calls];

    /// Its place in [`Share::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// What is asked of [`Ledger::reserve`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// So many slots,
    pub slots: u32,
    /// and so many for calls that have a rate of their own besides.
    pub calls: u32,
}

/// An answer to [`Ledger::reserve`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// When requests may leave.
    pub slots: Slots,
    /// Those of the calls' own rate, if they were asked for. For each there is one among the slots
    /// that is not before it, and none between the two.
    pub calls: Option<Slots>,
    /// What holds each lane back from before this run: a `Retry-After`. What others are told
    /// meanwhile is [`News`].
    pub holds: [Option<UnixMicros>; Lane::ALL.len()],
}

/// When requests may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// The rate is this process's alone.
    Own {
        /// So many may leave, at least 1, at its own pace.
        count: u32,
        /// When the latest request before these left, as far as is known: the first of these has to
        /// keep its distance from it.
        after: Option<UnixMicros>,
    },
    /// Places on the one line of time that all processes share: `first`, `first + interval`, and so
    /// on. One that is not used in time is lost.
    At {
        /// The first of them.
        first: Instant,
        /// From one to the next.
        interval: Duration,
        /// How many.
        count: u32,
    },
    /// None now: ask again then.
    Later(Instant),
}

/// What others ran into, who work on the same campaign or with the same account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The gateway asked to wait until then.
    Hold(Lane, UnixMicros),
    /// Something turned up that is true of the run.
    Fact(RunFact),
    /// What they have come to.
    Counted(Elsewhere),
    /// So many are in this outage, of a lane or of connections, and nobody is not: together they
    /// probe as often as one would.
    Probers(Option<Lane>, u32),
    /// Something that ends the run for all.
    Stop(Stop),
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
        why: &'static str,
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
    /// Others work with it in a way that does not go together with what was asked for.
    #[error("{0}. Nothing was sent")]
    Refused(String),
    /// It cannot be copied now, or not there.
    #[error("{0}. Nothing was copied, and both are as they were")]
    NotCopied(String),
    /// Its server cannot be reached.
    #[error("the ledger {path} cannot be reached: {why}")]
    Server {
        /// Its address.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// Its server is not the one on which all was written.
    #[error(
        "the ledger {path} is not as it was left: {why}. What was sent in the last seconds before may be missing, and would be sent again. Nothing was sent. Find out what is missing (`otpdrive who`, the provider's own list); to go on, run the same command with --accept-timeline"
    )]
    ServerChanged {
        /// Its address.
        path: PathBuf,
        /// How that shows.
        why: String,
    },
}

/// What to do when the system refuses a file.
fn remedy(error: &std::io::Error) -> &'static str {
    use std::io::ErrorKind::{FileTooLarge, InvalidInput, QuotaExceeded, StorageFull};
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => {
            "Make room on its disk, then run the same command again"
        }
        InvalidInput => "Name a file with --ledger",
        _ => "It needs a folder that exists and that this user may write to",
    }
}
