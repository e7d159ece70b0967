//! The ledger during a run: the engine's side of it, a reader and the writer behind it.

use std::cell::Cell;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, OpenFlags};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::identity::{keep_log, mark};
use super::lock::{LedgerFile, Locked};
use super::writer::{GROUP_GAP, Writer};
use super::{CACHE_KIB, SqliteLedger};
use crate::clock::Clock;
use crate::job::{Answer, Attempt, Job, JobId, Lane, UnixMicros};
use crate::ledger::group::{Answered, Entry, Intent, write_all};
use crate::ledger::tables::db::Db;
use crate::ledger::tables::error::{Fault, failed_to};
use crate::ledger::tables::history::{self, Noted, holds, last_departure};
use crate::ledger::tables::rows::{Facts, attempt_id};
use crate::ledger::{
    Begun, Campaign, Due, Execution, Grant, Ledger, LedgerError, Records, Rest, Share, Slots, Span,
    Then,
};
use crate::mistake::{Mistake, is_made};
use crate::next::due_on;
use crate::run::{RunFact, RunId, Runs};

/// Entries that may wait for the writer; the engine waits when there are more.
const QUEUE_MAX: usize = 4_096;

/// Does a piece of the database's work.
pub async fn work<T: Send + 'static>(
    execution: Execution,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match execution {
        Execution::Inline => work(),
        Execution::Threads => match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        },
    }
}

/// A ledger given to a run.
pub struct RunLedger {
    path: PathBuf,
    clock: Clock,
    execution: Execution,
    queue: mpsc::Sender<Entry>,
    writer: JoinHandle<(Writer, usize)>,
    reader: Arc<Mutex<Reader>>,
    next_answer: Cell<i64>,
    next_fact: Cell<i64>,
    last_left_at: Cell<Option<UnixMicros>>,
    holds: [Option<UnixMicros>; Lane::ALL.len()],
}

impl RunLedger {
    pub(in crate::ledger) fn start(
        ledger: SqliteLedger,
        campaign: &Campaign,
        run: RunId,
        clock: Clock,
        execution: Execution,
    ) -> Result<Self, LedgerError> {
        let SqliteLedger { mut db, path, .. } = ledger;
        let sandbox = campaign.record.sandbox;
        let sql = "SELECT coalesce(max(seq), 0) + 1 FROM answer";
        let read = || -> Result<_, Fault> {
            let next_answer: i64 = db.query_row(sql, [], |row| row.get(0))?;
            let last_left_at = last_departure(Db::Sqlite(&db), sandbox, run)?;
            let holds = holds(Db::Sqlite(&db), sandbox, clock.now())?;
            let reader = Reader::new(&db.file, campaign, run)?;
            Ok((next_answer, last_left_at, holds, reader))
        };
        let read = read().map_err(failed_to("start a run", &path))?;
        let (next_answer, last_left_at, holds, reader) = read;
        // Now that all connections are there.
        if let Err(error) = mark(&mut db, run, execution, &path) {
            // It never began. Where that cannot be written, it counts as killed.
            let _ =
                history::take_back(Db::Sqlite(&db), run).and_then(|()| Ok(keep_log(&db, false)?));
            return Err(error);
        }
        let writer = Writer { db, run, execution };
        let (queue, entries) = mpsc::channel(QUEUE_MAX);
        Ok(Self {
            path,
            clock,
            execution,
            queue,
            writer: tokio::spawn(write_all(writer, entries, GROUP_GAP)),
            reader: Arc::new(Mutex::new(reader)),
            next_answer: Cell::new(next_answer),
            // The first place is that of what is known when a run begins.
            next_fact: Cell::new(1),
            last_left_at: Cell::new(last_left_at),
            holds,
        })
    }

    pub(in crate::ledger) async fn close(self) -> (SqliteLedger, usize) {
        drop((self.queue, self.reader));
        let (Writer { db, .. }, lost) = match self.writer.await {
            Ok(back) => back,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let ledger = SqliteLedger {
            version: None,
            db,
            path: self.path,
            doubt: None,
            is_held: true,
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

    async fn heard<T>(
        &self,
        done: oneshot::Receiver<Result<T, String>>,
        what: &'static str,
    ) -> Result<T, LedgerError> {
        let result = done.await;
        result
            .unwrap_or_else(|_| Err("its writer has ended".to_owned()))
            .map_err(|why| self.failed(what, why))
    }
}

impl Ledger for RunLedger {
    fn clock(&self) -> Clock {
        self.clock
    }

    async fn due(&self, lane: Lane, limit: usize) -> Result<Due, LedgerError> {
        let reader = Arc::clone(&self.reader);
        let read = move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.due(lane, limit)
        };
        let due = work(self.execution, read).await;
        due.map_err(failed_to("read what is due", &self.path))
    }

    async fn begin(&self, job: &Job, attempt: &Attempt) -> Result<Begun, LedgerError> {
        const WHAT: &str = "note that a request is about to leave";
        let Some(id) = attempt_id(job.id, attempt.n) else {
            return Err(self.failed(WHAT, "there were too many before it".to_owned()));
        };
        let (lane, begun_at) = (attempt.lane, attempt.begun_at);
        let intent = Intent { id, lane, begun_at };
        let (done, heard) = oneshot::channel();
        self.put(Entry::Begin { intent, done }).await;
        if is_made(Mistake::NotDurable) {
            return Ok(Begun::GO);
        }
        self.heard(heard, WHAT).await
    }

    async fn answer(&self, job: JobId, n: u32, answer: &Answer) {
        // One that was not begun has no id, and no answer.
        if let Some(attempt) = attempt_id(job, n) {
            let answered = Answered {
                seq: self.next_answer.replace(self.next_answer.get() + 1),
                attempt,
                answer: answer.clone(),
            };
            self.put(Entry::Answer(answered)).await;
        }
    }

    async fn note(&self, fact: &RunFact) {
        let noted = Noted {
            seq: self.next_fact.replace(self.next_fact.get() + 1),
            fact: fact.clone(),
        };
        self.put(Entry::Note(noted)).await;
    }

    async fn rest(&self, job: &Job, how: Rest) {
        if how == Rest::Settled && job.lane == Lane::Verify {
            self.put(Entry::Forget(job.id)).await;
        }
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        let (done, heard) = oneshot::channel();
        self.put(Entry::Flush { done }).await;
        self.heard(heard, "write the last answers down").await
    }

    /// The file is this process's alone, and so is the rate; all there is to keep is what earlier
    /// runs have left: the distance from their last request, said once, and what holds lanes back.
    async fn reserve(&self, _: Share, slots: u32) -> Result<Grant, LedgerError> {
        let slots = Slots::Own {
            count: slots.max(1),
            after: self.last_left_at.take(),
        };
        let holds = self.holds;
        Ok(Grant { slots, holds })
    }

    async fn left_on(&self, day: Range<UnixMicros>) -> Result<[u64; Lane::ALL.len()], LedgerError> {
        let reader = Arc::clone(&self.reader);
        let read = move || {
            let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            history::left_on(Db::Sqlite(&reader.db), reader.sandbox, reader.run, &day)
        };
        let left = work(self.execution, read).await;
        left.map_err(failed_to("count what left on a day", &self.path))
    }
}

/// Reads what is due. Of this run's own attempts it only has to know that they are there.
struct Reader {
    db: Locked,
    /// Of earlier runs.
    facts: Facts,
    run: RunId,
    sandbox: bool,
    runs: Runs,
    /// What each lane has not looked at yet.
    ahead: [Span; Lane::ALL.len()],
}

impl Reader {
    fn new(file: &Arc<LedgerFile>, campaign: &Campaign, run: RunId) -> Result<Self, Fault> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Locked {
            db: Connection::open_with_flags(&file.real, flags)?,
            file: Arc::clone(file),
        };
        db.pragma_update(None, "cache_size", CACHE_KIB / 4)?;
        let id = campaign.record.id;
        Ok(Self {
            facts: Facts::before(Db::Sqlite(&db), id, run)?,
            run,
            sandbox: campaign.record.sandbox,
            runs: history::runs(Db::Sqlite(&db), id)?,
            ahead: [campaign.span; Lane::ALL.len()],
            db,
        })
    }

    fn due(&mut self, lane: Lane, limit: usize) -> Result<Due, Fault> {
        let ahead = &mut self.ahead[lane.index()];
        let scan = self.facts.scan(Db::Sqlite(&self.db));
        let mut jobs = Vec::with_capacity(limit.min(1_024));
        let mut seen = ahead.end;
        scan.for_each(*ahead, Records::Skip, |stored| {
            let behind = stored.row.0 + 1;
            let job = stored.into_job();
            jobs.extend(job.filter(|job| due_on(job, &self.runs) == Some(lane)));
            if jobs.len() >= limit {
                seen = behind;
            }
            Ok(jobs.len() < limit)
        })?;
        ahead.first = seen + i64::from(is_made(Mistake::OneRowShort));
        let then = if ahead.first < ahead.end {
            Then::More
        } else {
            Then::Done
        };
        Ok(Due { jobs, then })
    }
}
