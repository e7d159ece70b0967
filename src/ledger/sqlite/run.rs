//! The ledger during a run: the engine's side of it, a reader and the writer behind it.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::JoinHandle;

use super::SqliteLedger;
use super::identity::{keep_log, mark};
use super::lock::{LedgerFile, Locked};
use super::writer::{GROUP_GAP, Writer};
use crate::clock::Clock;
use crate::job::{Answer, Attempt, Job, JobId, Lane, UnixMicros};
use crate::ledger::group::{Queue, write_all};
use crate::ledger::tables::db::Db;
use crate::ledger::tables::error::{Fault, failed_to};
use crate::ledger::tables::history::{self, holds, last_departure};
use crate::ledger::tables::scan::Facts;
use crate::ledger::{
    Begun, Campaign, Due, Execution, Grant, Ledger, LedgerError, PerLane, Records, Rest, Slots,
    Span, Then, Wanted,
};
use crate::mistake::{Mistake, is_made};
use crate::next::due_on;
use crate::record::CampaignId;
use crate::run::{RunFact, RunId, Runs};

/// A ledger given to a run.
pub struct RunLedger {
    clock: Clock,
    execution: Execution,
    queue: Queue,
    writer: JoinHandle<(Writer, usize)>,
    reader: Arc<Mutex<Reader>>,
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
            let reader = Reader::new(&db.file, campaign, run, execution.rows_at_once())?;
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
        let (queue, entries) = Queue::new(path, next_answer);
        Ok(Self {
            clock,
            execution,
            queue,
            writer: tokio::spawn(write_all(writer, entries, GROUP_GAP)),
            reader: Arc::new(Mutex::new(reader)),
            last_left_at: Cell::new(last_left_at),
            holds,
        })
    }

    pub(in crate::ledger) async fn close(self) -> (SqliteLedger, usize) {
        let path = self.queue.path().to_owned();
        drop((self.queue, self.reader));
        let (Writer { db, .. }, lost) = match self.writer.await {
            Ok(back) => back,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        let ledger = SqliteLedger {
            version: None,
            db,
            path,
            doubt: None,
            is_held: true,
        };
        (ledger, lost)
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
        let due = self.execution.work(read).await;
        due.map_err(failed_to("read what is due", self.queue.path()))
    }

    async fn begin(&self, job: &Job, attempt: &Attempt) -> Result<Begun, LedgerError> {
        self.queue.begin(job, attempt).await
    }

    async fn answer(&self, job: JobId, n: u32, answer: &Answer) {
        self.queue.answer(job, n, answer).await;
    }

    async fn note(&self, fact: &RunFact) {
        self.queue.note(fact).await;
    }

    async fn rest(&self, job: &Job, how: Rest) {
        self.queue.rest(job, how).await;
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        self.queue.flush().await
    }

    /// The file is this process's alone, and so is the rate; all there is to keep is what earlier
    /// runs have left: the distance from their last request, said once, and what holds lanes back.
    async fn reserve(&self, wanted: Wanted) -> Result<Grant, LedgerError> {
        let slots = Slots::Own {
            count: wanted.slots.max(1),
            after: self.last_left_at.take(),
        };
        Ok(Grant {
            slots,
            calls: None,
            holds: self.holds,
        })
    }

    async fn left_on(&self, day: Range<UnixMicros>) -> Result<PerLane, LedgerError> {
        let reader = Arc::clone(&self.reader);
        let read = move || {
            let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            history::left_on(Db::Sqlite(&reader.db), reader.sandbox, &[reader.run], &day)
        };
        let left = self.execution.work(read).await;
        left.map_err(failed_to("count what left on a day", self.queue.path()))
    }
}

/// Reads what is due. Of this run's own attempts it only has to know that they are there.
struct Reader {
    db: Locked,
    /// Of earlier runs; read when they are wanted.
    facts: Option<Facts>,
    campaign: CampaignId,
    run: RunId,
    sandbox: bool,
    runs: Runs,
    /// Rows that are read at once.
    at_once: usize,
    /// What each lane has not looked at yet, and what was read of it beyond what was asked for.
    of_lanes: [(Span, VecDeque<Job>); Lane::ALL.len()],
}

impl Reader {
    fn new(
        file: &Arc<LedgerFile>,
        campaign: &Campaign,
        run: RunId,
        at_once: usize,
    ) -> Result<Self, Fault> {
        let db = Locked {
            db: file.reader()?,
            file: Arc::clone(file),
        };
        let id = campaign.record.id;
        Ok(Self {
            facts: None,
            at_once,
            campaign: id,
            run,
            sandbox: campaign.record.sandbox,
            runs: history::runs(Db::Sqlite(&db), id)?,
            of_lanes: campaign.due_from.map(|first| {
                let Span { end, .. } = campaign.span;
                (Span { first, end }, VecDeque::new())
            }),
            db,
        })
    }

    fn due(&mut self, lane: Lane, limit: usize) -> Result<Due, Fault> {
        let (ahead, read) = &mut self.of_lanes[lane.index()];
        let db = Db::Sqlite(&self.db);
        while read.len() < limit && ahead.first < ahead.end {
            let end = ahead
                .end
                .min(ahead.first.saturating_add_unsigned(self.at_once as u64));
            let range = Span { end, ..*ahead };
            let facts = match &mut self.facts {
                Some(facts) => facts,
                none => none.insert(Facts::before(db, self.campaign, self.run)?),
            };
            facts.scan(db).for_each(range, Records::Skip, |stored| {
                let job = stored.into_job();
                read.extend(job.filter(|job| due_on(job, &self.runs) == Some(lane)));
                Ok(true)
            })?;
            ahead.first = end + i64::from(is_made(Mistake::OneRowShort));
        }
        let jobs: Vec<Job> = read.drain(..limit.min(read.len())).collect();
        let then = if read.is_empty() && ahead.first >= ahead.end {
            Then::Done
        } else {
            Then::More
        };
        Ok(Due { jobs, then })
    }
}
