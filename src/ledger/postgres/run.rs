//! The ledger during a run: one process of those that work on it.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_postgres::types::Type;

use super::counts::{self, Counting, Today};
use super::fleet::{LEASE, Worker};
use super::heart::{self, Heart};
use super::line::Line;
use super::link::{self, Link, numbers};
use super::slices::{Slice, Slices};
use super::writer::{GROUP_GAP, Took, Writer, statement};
use super::{Driver, PostgresLedger};
use crate::clock::Clock;
use crate::job::{Answer, Attempt, Job, JobId, Lane, UnixMicros};
use crate::ledger::group::{Queue, write_all};
use crate::ledger::tables::error::{Fault, failed_to};
use crate::ledger::tables::history;
use crate::ledger::tables::scan::Facts;
use crate::ledger::{
    Begun, Campaign, Ceilings, Due, Execution, Grant, Ledger, LedgerError, News, PerLane, Records,
    Rest, Span, Then, Wanted,
};
use crate::next::{Step, due_on, next_step};
use crate::run::{RunFact, RunId, Stop, StopKind};

/// What is asked, for people.
const TAKE: &str = "take rows";

/// Rows that are taken at once: as many as leave in a second, within these bounds.
const SLICE_MIN: i64 = 8;
const SLICE_MAX: i64 = 1_024;
/// Where less of a slice is due, the next one is longer, up to this.
const SLICE_LONGEST: i64 = 16_384;

/// An intent is handed over so long before its request may leave: what it costs to be long is more
/// intents whose requests had not left when a process is killed.
const LOOKAHEAD_MIN: Duration = Duration::from_millis(30);
const LOOKAHEAD_MAX: Duration = Duration::from_millis(100);

/// How often it is asked again whether others have left rows behind.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A ledger on a server, given to a run.
pub struct PostgresRun {
    reader: Arc<Mutex<Reader>>,
    clock: Clock,
    run: RunId,
    worker: Worker,
    driver: Arc<Driver>,
    control: Link,
    queue: Queue,
    writer: JoinHandle<(Writer, usize)>,
    took: Arc<Took>,
    slices: Arc<Mutex<Slices>>,
    /// Rows that are taken next on each lane.
    slice_length: [Cell<i64>; Lane::ALL.len()],
    /// Numbers of each lane to have at hand: as many as are asked in a second, within bounds.
    in_second: [i64; Lane::ALL.len()],
    /// Where this process knows of an outage.
    outages: Outages,
    news: AsyncMutex<mpsc::UnboundedReceiver<News>>,
    say: mpsc::UnboundedSender<News>,
    heart: Heart,
    holds: [Option<UnixMicros>; Lane::ALL.len()],
    line: Line,
}

/// The outages that a process knows of: of lanes, or of connections.
pub(super) type Outages = Arc<Mutex<BTreeSet<Option<Lane>>>>;

/// Reads rows of the campaign.
struct Reader {
    ledger: PostgresLedger,
    facts: Facts,
    run: RunId,
    sandbox: bool,
    ceilings: Option<Ceilings>,
    today: Today,
}

impl PostgresRun {
    pub(in crate::ledger) fn start(
        ledger: PostgresLedger,
        campaign: &Campaign,
        run: RunId,
        clock: Clock,
        ceilings: Option<&Ceilings>,
    ) -> Result<Self, LedgerError> {
        let path = ledger.path().to_owned();
        let (sandbox, id) = (campaign.record.sandbox, campaign.record.id);
        let read = || -> Result<_, Fault> {
            let db = ledger.db();
            let worker = ledger.server.worker().ok_or(Fault::NoRow)?;
            let holds = history::holds(db, sandbox, clock.now())?;
            let rates = "SELECT interval_us, calls_us FROM worker WHERE id = ?1";
            let rates: (i64, i64) = db.one(rates, &[worker.0.into()], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            let policy = history::runs(db, id)?.policy_of(run);
            Ok((worker, holds, rates, policy, Facts::of(db, id)?))
        };
        let (worker, holds, (interval, interval_of_calls), policy, facts) =
            read().map_err(failed_to("start a run", &path))?;
        let link = || Link::new(&ledger.driver, &ledger.address, path.clone());
        let (say, news) = mpsc::unbounded_channel();
        let took = Arc::new(Took::default());
        let today = Today::default();
        let counting = ceilings
            .map(|ceilings| Counting::new(ceilings, (run, policy), sandbox, clock, today.clone()));
        let link_of_writer = link();
        let writer = Writer {
            sql: link_of_writer.in_schema(&statement(counting.as_ref())),
            link: link_of_writer,
            counting,
            run,
            worker,
            sandbox,
            news: say.clone(),
            took: Arc::clone(&took),
            held: holds.map(|at| at.map(|at| at.0)),
        };
        let (driver, control) = (Arc::clone(&ledger.driver), link());
        // Answers lie by their attempts here, and need no places.
        let (queue, entries) = Queue::new(path.clone(), 0);
        let slices = Arc::new(Mutex::new(Slices::default()));
        let outages = Arc::new(Mutex::new(BTreeSet::new()));
        let heart = heart::start(
            link(),
            (run, worker),
            say.clone(),
            Arc::clone(&slices),
            Arc::clone(&outages),
        );
        let in_second = Lane::ALL.map(|lane| match lane {
            Lane::Call => least_of_a_second(interval.max(interval_of_calls)),
            Lane::Sms | Lane::Verify => least_of_a_second(interval),
        });
        let reader = Reader {
            ledger,
            facts,
            run,
            sandbox,
            ceilings: ceilings.cloned(),
            today,
        };
        let shown = clock.now();
        Ok(Self {
            reader: Arc::new(Mutex::new(reader)),
            clock,
            run,
            worker,
            driver,
            control,
            queue,
            writer: tokio::spawn(write_all(writer, entries, GROUP_GAP)),
            took,
            slices,
            slice_length: in_second.map(Cell::new),
            in_second,
            outages,
            news: AsyncMutex::new(news),
            say,
            heart,
            holds,
            line: Line::new(sandbox, worker, (clock.instant(shown), shown.0)),
        })
    }

    /// Ends this process' part of the run: what it has left is free for others. Also says how many
    /// answers could not be written.
    pub(in crate::ledger) async fn close(self) -> (PostgresLedger, usize) {
        // The run goes on: what fails later is in no outage of this process.
        let at = self.clock.now();
        let open = self.outages().clone();
        for lane in open {
            self.note(&RunFact::OutageEnded { lane, at }).await;
        }
        self.ends();
        drop(self.queue);
        let lost = match self.writer.await {
            Ok((_, lost)) => lost,
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        self.heart.end().await;
        if leave(&self.control, self.worker).await.is_err() {
            // The others find out when its lease is over.
            tracing::warn!(name: "ledger_away", "the ledger could not be told that this process has ended: its rows are free for others in some seconds");
        }
        let mut reader = self.reader;
        let reader = loop {
            match Arc::try_unwrap(reader) {
                Ok(reader) => break reader.into_inner().unwrap_or_else(PoisonError::into_inner),
                // It reads on a thread of its own, for the last time.
                Err(shared) => reader = shared,
            }
            sleep(Duration::from_millis(1)).await;
        };
        let mut ledger = reader.ledger;
        ledger.driver.wait_again();
        if let Err(error) = ledger.reconnect() {
            tracing::warn!(name: "ledger_away", "{error}");
        }
        (ledger, lost)
    }

    fn outages(&self) -> MutexGuard<'_, BTreeSet<Option<Lane>>> {
        self.outages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slices(&self) -> MutexGuard<'_, Slices> {
        self.slices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next rows on a lane that nobody has, and whether others have some that may come back.
    async fn take_slice(&self, lane: Lane) -> Result<(Option<Span>, Others), LedgerError> {
        let length = self.slice_length[lane.index()].get();
        let held = self.slices().held(lane);
        let values = [self.run.0, lane as i64, self.worker.0, length];
        let mut values = numbers(&values).to_vec();
        values.push((&held, Type::INT8_ARRAY));
        let sql = self.control.in_schema(TAKE_SLICE);
        let heard = self.control.ask(TAKE, &sql, &values).await?;
        let read = || {
            let row = &heard.rows[0];
            let first: Option<i64> = row.try_get(0)?;
            let end: Option<i64> = row.try_get(1)?;
            let others = if row.try_get(2)? {
                Others::HaveSome
            } else {
                Others::HaveNone
            };
            let span = first.zip(end).map(|(first, end)| Span { first, end });
            Ok((span, others))
        };
        read().map_err(self.control.unreadable(TAKE))
    }

    /// From now on a slice is for whoever takes it.
    async fn give_back(&self, slice: Option<Slice>) {
        if let Some(slice) = slice
            && let Err(error) = self.is_free(slice).await
        {
            let (kind, message) = (StopKind::Ledger, error.to_string());
            // Nobody listens any more: the run has ended.
            let _ = self.say.send(News::Stop(Stop { kind, message }));
        }
    }

    /// A slice is free; who takes it has to see what was answered in it.
    async fn is_free(&self, slice: Slice) -> Result<(), LedgerError> {
        self.queue.flush().await?;
        let values = [self.run.0, slice.lane as i64, slice.first, self.worker.0];
        let sql = self.control.in_schema(GIVE_BACK);
        let values = numbers(&values);
        self.control.ask("give rows back", &sql, &values).await?;
        self.slices().is_others(slice);
        Ok(())
    }

    /// Reads a slice: the jobs in it of which something is to be done, with the lanes on which it is.
    async fn read(&self, lane: Lane, span: Span) -> Result<Vec<(Lane, Job)>, LedgerError> {
        let reader = Arc::clone(&self.reader);
        let read = move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.read_again(|reader| reader.due(lane, span), "read what is due")
        };
        Execution::Threads.work(read).await
    }
}

/// Do others have rows that may come back?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    HaveSome,
    HaveNone,
}

impl Ledger for PostgresRun {
    fn clock(&self) -> Clock {
        self.clock
    }

    async fn due(&self, lane: Lane, _limit: usize) -> Result<Due, LedgerError> {
        let jobs = self.slices().handed_over(lane);
        if !jobs.is_empty() {
            let then = Then::More;
            return Ok(Due { jobs, then });
        }
        let before = self.slices().giving_back();
        let (span, others) = self.take_slice(lane).await?;
        let Some(span) = span else {
            // What was on its way back meanwhile was in nobody's sight.
            let is_all = before == self.slices().giving_back() && !before.0;
            let then = match others {
                Others::HaveNone if is_all => Then::Done,
                _ => Then::Later(Instant::now() + ASK_AGAIN),
            };
            let jobs = Vec::new();
            return Ok(Due { jobs, then });
        };
        let found = self.read(lane, span).await?;
        self.slice_length[lane.index()].set(next_length(
            span.end - span.first,
            found.len(),
            self.in_second[lane.index()],
        ));
        let slice = Slice {
            lane,
            first: span.first,
        };
        let jobs = self.slices().take(slice, found);
        let then = Then::More;
        Ok(Due { jobs, then })
    }

    async fn begin(&self, job: &Job, attempt: &Attempt) -> Result<Begun, LedgerError> {
        let begun = self.queue.begin(job, attempt).await;
        if let Ok(Begun::Taken) = begun {
            let given_back = self.slices().is_left(job.id);
            self.give_back(given_back).await;
        }
        begun
    }

    async fn answer(&self, job: JobId, n: u32, answer: &Answer) {
        self.queue.answer(job, n, answer).await;
    }

    async fn note(&self, fact: &RunFact) {
        follow(&mut self.outages(), fact);
        self.queue.note(fact).await;
    }

    async fn rest(&self, job: &Job, how: Rest) {
        self.queue.rest(job, how).await;
        let given_back = match how {
            Rest::Settled | Rest::Open => self.slices().rests(job.id),
            Rest::GivenBack => self.slices().gives_back(job.id),
            // All of it is others' when this process has ended.
            Rest::Unfinished => {
                self.slices().is_left(job.id);
                None
            }
        };
        self.give_back(given_back).await;
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        self.ends();
        self.queue.flush().await
    }

    async fn reserve(&self, wanted: Wanted) -> Result<Grant, LedgerError> {
        let (slots, calls) = self.line.reserve(&self.control, wanted).await?;
        Ok(Grant {
            slots,
            calls,
            holds: self.holds,
        })
    }

    async fn news(&self) -> News {
        match self.news.lock().await.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    fn ends(&self) {
        // After that others go on with its rows.
        self.driver.give_up_after(LEASE);
    }

    fn lookahead(&self) -> Duration {
        (GROUP_GAP + self.took.longest() * 2).clamp(LOOKAHEAD_MIN, LOOKAHEAD_MAX)
    }

    fn read_ahead(&self, lane: Lane) -> usize {
        usize::try_from(self.in_second[lane.index()]).unwrap_or(usize::MAX)
    }

    async fn left_on(&self, day: Range<UnixMicros>) -> Result<PerLane, LedgerError> {
        let reader = Arc::clone(&self.reader);
        let read = move || {
            let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.read_again(|reader| reader.left_on(&day), "count what left on a day")
        };
        Execution::Threads.work(read).await
    }
}

impl Reader {
    /// Reads something, however often the connection is lost meanwhile.
    fn read_again<T>(
        &mut self,
        read: impl Fn(&Self) -> Result<T, Fault>,
        what: &'static str,
    ) -> Result<T, LedgerError> {
        let since = Instant::now();
        loop {
            let failed = match self.ledger.reconnect() {
                Err(error) => error,
                Ok(()) => match read(self) {
                    Ok(found) => return Ok(found),
                    Err(fault) => failed_to(what, self.ledger.path())(fault),
                },
            };
            // A connection that was lost, or lost again at once, is known to be closed in a moment.
            std::thread::sleep(link::FIRST_WAIT);
            let patient = since.elapsed() < link::PATIENCE && !self.ledger.driver.gave_up();
            if !patient || !self.ledger.server.is_closed() {
                return Err(failed);
            }
        }
    }

    /// What left on a day, of all but this process.
    fn left_on(&self, day: &Range<UnixMicros>) -> Result<PerLane, Fault> {
        let (server, db) = (&self.ledger.server, self.ledger.db());
        let mut along = counts::along(server, self.ceilings.as_ref())?;
        along.push(self.run);
        let left = history::left_on(db, self.sandbox, &along, day)?;
        match &self.ceilings {
            Some(ceilings) => self
                .today
                .read(server, self.sandbox, ceilings, day.start, left),
            None => Ok(left),
        }
    }

    /// What is due in a slice. What an earlier holder of it has begun in this run goes on.
    fn due(&self, lane: Lane, span: Span) -> Result<Vec<(Lane, Job)>, Fault> {
        let mut jobs = Vec::new();
        let db = self.ledger.db();
        // Facts of the run turn up while it is on.
        let (runs, run) = (history::runs(db, self.facts.campaign())?, self.run);
        self.facts
            .scan(db)
            .for_each(span, Records::Skip, |stored| {
                let Some(job) = stored.into_job() else {
                    return Ok(true);
                };
                let mut of_this_run = job.attempts.iter().filter(|attempt| attempt.run == run);
                let next = match of_this_run.next() {
                    None => due_on(&job, &runs).filter(|next| *next == lane),
                    Some(first) if first.lane == lane => {
                        match next_step(job.lane, &job.attempts, &runs) {
                            Step::Try(next) => Some(next),
                            Step::Rest => None,
                        }
                    }
                    Some(_) => None,
                };
                jobs.extend(next.map(|next| (next, job)));
                Ok(true)
            })?;
        Ok(jobs)
    }
}

/// How many numbers are asked in a second at this distance, of those that are worth to be taken at once.
fn least_of_a_second(interval: i64) -> i64 {
    match interval {
        0 => SLICE_MAX,
        interval => (1_000_000 / interval).clamp(SLICE_MIN, SLICE_MAX),
    }
}

/// How many rows to take next where so many of the last ones had something to do, so that about
/// `wanted` have: whoever takes more keeps from others what they could do meanwhile.
fn next_length(rows: i64, found: usize, wanted: i64) -> i64 {
    let found = i64::try_from(found).unwrap_or(i64::MAX).max(1);
    let length = (rows * wanted / found).min(rows * 2);
    length.clamp(wanted, SLICE_LONGEST)
}

/// Keeps in mind where there is an outage.
pub(super) fn follow(outages: &mut BTreeSet<Option<Lane>>, fact: &RunFact) {
    match fact {
        RunFact::OutageBegan { lane, .. } => {
            outages.insert(*lane);
        }
        RunFact::OutageEnded { lane, .. } => {
            outages.remove(lane);
        }
        _ => {}
    }
}

/// What a worker has left is free for others.
async fn leave(control: &Link, worker: Worker) -> Result<(), LedgerError> {
    let sql = control.in_schema(LEAVE);
    let worker = [worker.0];
    let left = control.ask("leave the run", &sql, &numbers(&worker)).await;
    left.map(drop)
}

/// A slice that nobody has any more goes first, or that this process was given without hearing of it;
/// else the rows that nobody has looked at.
const TAKE_SLICE: &str = "
WITH free AS (SELECT first FROM {schema}.slice WHERE run = $1 AND lane = $2
                 AND (worker IS NULL OR worker = $3 AND first <> ALL($5))
               ORDER BY first LIMIT 1 FOR UPDATE SKIP LOCKED),
 taken AS (UPDATE {schema}.slice s SET worker = $3 FROM free
            WHERE s.run = $1 AND s.lane = $2 AND s.first = free.first RETURNING s.first, s.past),
 ahead AS (UPDATE {schema}.ahead SET next = next + $4
            WHERE run = $1 AND lane = $2 AND next < past AND NOT EXISTS (SELECT 1 FROM free)
           RETURNING next - $4 AS first, least(next, past) AS past),
 new AS (INSERT INTO {schema}.slice (run, lane, first, past, worker)
         SELECT $1, $2, first, past, $3 FROM ahead),
 found AS (SELECT first, past FROM taken UNION ALL SELECT first, past FROM ahead)
SELECT (SELECT first FROM found), (SELECT past FROM found),
       EXISTS (SELECT 1 FROM {schema}.slice WHERE run = $1 AND worker IS DISTINCT FROM $3)
       OR EXISTS (SELECT 1 FROM {schema}.ahead WHERE run = $1 AND lane <> $2 AND next < past)";

const GIVE_BACK: &str = "
UPDATE {schema}.slice SET worker = NULL
 WHERE run = $1 AND lane = $2 AND first = $3 AND worker = $4";

const LEAVE: &str = "
WITH gone AS (UPDATE {schema}.worker SET finished_at = {schema}.now_micros()
               WHERE id = $1 AND finished_at IS NULL)
UPDATE {schema}.slice SET worker = NULL WHERE worker = $1";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_rows_are_taken_as_have_about_what_is_wanted() {
        for (rows, found, next) in [
            (100, 100, 100),
            (100, 50, 200),
            (100, 25, 200),
            (400, 100, 400),
            (400, 350, 114),
            (100, 0, 200),
            (16_384, 3, SLICE_LONGEST),
        ] {
            assert_eq!(next_length(rows, found, 100), next, "{found} of {rows}");
        }
    }
}
