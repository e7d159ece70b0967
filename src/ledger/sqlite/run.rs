//! The ledger during a run: the engine's side of it, a reader and the writer behind it.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags, params};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::error::failed_to;
use super::identity::mark_log;
use super::lock::Locked;
use super::rows::{self, Span, damaged, for_each};
use super::writer::{self, Entry};
use super::{CACHE_KIB, Campaign, SqliteLedger, stored_lane};
use crate::ledger::{Due, Ledger, LedgerError, Reserved};
use crate::outcome::{
    Job, JobId, Lane, Policy, RowId, RunId, Status, Step, UnixMicros, next_step, outcome,
};
use crate::record::CampaignId;

/// Entries that may wait for the writer; the engine waits when there are more.
const QUEUE_MAX: usize = 4_096;

/// Where the database works during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On threads beside the engine, so that a slow disk holds up nothing else.
    Beside,
    /// On the engine's own thread: for simulations, which are the same each time.
    InPlace,
}

impl Place {
    /// Does a piece of work there.
    pub(super) async fn work<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match self {
            Self::InPlace => work(),
            Self::Beside => match tokio::task::spawn_blocking(work).await {
                Ok(done) => done,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            },
        }
    }
}

/// A ledger given to a run.
pub struct RunLedger {
    run: RunId,
    campaign: CampaignId,
    span: Span,
    path: PathBuf,
    place: Place,
    queue: mpsc::Sender<Entry>,
    writer: JoinHandle<(Locked, usize)>,
    reader: tokio::sync::Mutex<Option<Locked>>,
    last_left_at: Cell<Option<UnixMicros>>,
    holds: [Option<UnixMicros>; Lane::ALL.len()],
}

impl RunLedger {
    pub(super) fn start(
        ledger: SqliteLedger,
        campaign: &Campaign,
        run: RunId,
        now: UnixMicros,
        place: Place,
    ) -> Result<Self, LedgerError> {
        let SqliteLedger { db, path } = ledger;
        let fault = failed_to("start a run", &path);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let reader = Connection::open_with_flags(&db.file.real, flags).map_err(&fault)?;
        let reader = Locked {
            db: reader,
            file: Arc::clone(&db.file),
        };
        mark_log(&db, run, &path)?;
        reader
            .pragma_update(None, "cache_size", CACHE_KIB / 4)
            .map_err(&fault)?;
        let sandbox = campaign.record.sandbox;
        let last_left_at = last_departure(&db, sandbox, run).map_err(&fault)?;
        let holds = holds(&db, sandbox, now).map_err(&fault)?;
        drop(fault);
        let (queue, entries) = mpsc::channel(QUEUE_MAX);
        Ok(Self {
            run,
            campaign: campaign.record.id,
            span: campaign.span,
            path,
            place,
            queue,
            writer: tokio::spawn(writer::write_all(db, entries, place)),
            reader: tokio::sync::Mutex::new(Some(reader)),
            last_left_at: Cell::new(last_left_at),
            holds,
        })
    }

    /// Until when a `Retry-After` of an earlier run holds back each lane.
    #[must_use]
    pub fn holds(&self) -> [Option<UnixMicros>; Lane::ALL.len()] {
        self.holds
    }

    /// Ends the run's hold on the ledger; also says how many answers could not be written down.
    pub async fn close(self) -> (SqliteLedger, usize) {
        drop((self.queue, self.reader));
        let (db, lost) = match self.writer.await {
            Ok(back) => back,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let ledger = SqliteLedger {
            db,
            path: self.path,
        };
        (ledger, lost)
    }

    async fn put(&self, entry: Entry) {
        // The writer ends only when this sender is dropped.
        let _ = self.queue.send(entry).await;
    }

    fn failed(&self, what: &'static str, why: String) -> LedgerError {
        LedgerError::Database {
            path: self.path.clone(),
            what,
            why,
        }
    }

    async fn heard(
        &self,
        done: oneshot::Receiver<Result<(), String>>,
        what: &'static str,
    ) -> Result<(), LedgerError> {
        match done.await {
            Ok(result) => result.map_err(|why| self.failed(what, why)),
            Err(_) => Err(self.failed(what, "its writer has ended".to_owned())),
        }
    }
}

impl Ledger for RunLedger {
    async fn due(
        &self,
        lane: Lane,
        after: RowId,
        limit: usize,
        policy: Policy,
    ) -> Result<Due, LedgerError> {
        let span = Span {
            first: self.span.first.max(after.0 + 1),
            end: self.span.end,
        };
        let mut reader = self.reader.lock().await;
        let Some(db) = reader.take() else {
            return Err(self.failed("read what is due", "its reader has ended".to_owned()));
        };
        let (campaign, run) = (self.campaign, self.run);
        let read = move || {
            let due = due(&db, campaign, span, lane, limit, policy, run);
            (db, due)
        };
        let (db, due) = self.place.work(read).await;
        *reader = Some(db);
        due.map_err(failed_to("read what is due", &self.path))
    }

    async fn begin(&self, job: &Job) -> Result<(), LedgerError> {
        let Some(attempt) = job.attempts.last().cloned() else {
            return Err(self.failed("note an intent", "there is none".to_owned()));
        };
        let (done, heard) = oneshot::channel();
        self.put(Entry::Begin {
            job: job.id,
            attempt,
            done,
        })
        .await;
        self.heard(heard, "note that a request is about to leave")
            .await
    }

    async fn withdraw(&self, job: JobId, n: u32) {
        self.put(Entry::Withdraw { job, n }).await;
    }

    async fn answer(&self, job: &Job) {
        if let Some(attempt) = job.attempts.last().cloned() {
            self.put(Entry::answer(job.id, job.row, attempt)).await;
        }
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        let (done, heard) = oneshot::channel();
        self.put(Entry::Flush { done }).await;
        self.heard(heard, "write the last answers down").await
    }

    /// The file is this process's alone, and so is the rate; all there is to keep is the distance
    /// from the last request of the run before.
    async fn reserve(&self, permits: u32) -> Result<Reserved, LedgerError> {
        Ok(Reserved {
            permits,
            after: self.last_left_at.take(),
        })
    }
}

fn due(
    db: &Connection,
    campaign: CampaignId,
    span: Span,
    lane: Lane,
    limit: usize,
    policy: Policy,
    run: RunId,
) -> rusqlite::Result<Due> {
    let mut due = Due {
        jobs: Vec::with_capacity(limit.min(1_024)),
        seen: RowId(span.end - 1),
        exhausted: true,
    };
    let mut select = rows::scan(db, false)?;
    // A number that is not the one it was claimed with has changed since: somebody else's, maybe.
    let mut known =
        db.prepare_cached("SELECT 1 FROM known WHERE number = ?1 AND campaign = ?2 AND job = ?3")?;
    for_each(&mut select, span, |stored| {
        let row = stored.row;
        // What this run has begun already is in the engine's own hands, whatever its next lane.
        let new = |job: &Job| job.attempts.last().is_none_or(|last| last.run != run);
        if let Some(job) = stored.into_job().filter(new) {
            let pending = || outcome(job.lane, &job.attempts).status == Status::Pending;
            match next_step(job.lane, &job.attempts, &policy, true) {
                Step::Try { lane: next, .. } if next == lane => {
                    let number = job.number.digits().cast_signed();
                    if !known.exists(params![number, campaign.0, job.id.0])? {
                        let row = job.row.0;
                        return Err(damaged(format!("row {row}: its number is not a known one")));
                    }
                    due.jobs.push(job);
                }
                // Pending, but nothing is to be done for it: the engine has to settle that.
                Step::Rest if job.lane == lane && pending() => due.jobs.push(job),
                Step::Try { .. } | Step::Rest => {}
            }
        }
        if due.jobs.len() >= limit {
            due.seen = row;
            due.exhausted = false;
            return Ok(false);
        }
        Ok(true)
    })?;
    Ok(due)
}

/// A request whose answer was not recorded left within this time of its intent, in microseconds.
const LEFT_WITHIN: i64 = 1_000_000;

/// When the account's latest request left, over all campaigns (rehearsals are apart). A run that
/// was killed left no note of it: then its attempts are looked through.
fn last_departure(
    db: &Connection,
    sandbox: bool,
    this_run: RunId,
) -> rusqlite::Result<Option<UnixMicros>> {
    let of_finished: Option<i64> = db.query_row(
        "SELECT max(last_left_at) FROM run WHERE campaign IN (SELECT id FROM campaign WHERE sandbox = ?1)",
        [sandbox],
        |row| row.get(0),
    )?;
    let killed = "SELECT r.id FROM run r JOIN campaign c ON c.id = r.campaign
                   WHERE r.finished_at IS NULL AND c.sandbox = ?1 AND r.id <> ?2";
    let any_killed: bool = db.query_row(
        &format!("SELECT exists({killed})"),
        params![sandbox, this_run.0],
        |row| row.get(0),
    )?;
    let of_killed: Option<i64> = if any_killed {
        let sql = format!(
            "SELECT max(coalesce(left_at, begun_at + {LEFT_WITHIN})) FROM attempt WHERE run IN ({killed})"
        );
        db.query_row(&sql, params![sandbox, this_run.0], |row| row.get(0))?
    } else {
        None
    };
    Ok(of_finished.max(of_killed).map(UnixMicros))
}

/// The latest `Retry-After` of each lane; what a wrong clock noted for the future is no fact.
fn holds(
    db: &Connection,
    sandbox: bool,
    now: UnixMicros,
) -> rusqlite::Result<[Option<UnixMicros>; Lane::ALL.len()]> {
    let mut latest = db.prepare(
        "SELECT max(a.retry_at) FROM attempt a JOIN run r ON r.id = a.run JOIN campaign c ON c.id = r.campaign
          WHERE a.lane = ?1 AND a.retry_at IS NOT NULL AND c.sandbox = ?2
            AND a.answered_at <= ?3",
    )?;
    let mut holds = [None; Lane::ALL.len()];
    for lane in Lane::ALL {
        let at: Option<i64> =
            latest.query_row(params![stored_lane(lane), sandbox, now.0], |row| row.get(0))?;
        holds[lane.index()] = at.map(UnixMicros);
    }
    Ok(holds)
}
