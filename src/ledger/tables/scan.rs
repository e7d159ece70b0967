//! Reading rows back: one scan that every reader shares. Each table is read along its key, range by
//! range, and what is found is put together here.

use std::collections::HashMap;
use std::io;
use std::sync::mpsc;
use std::thread;

use rusqlite::Connection;

use super::answers::{Answers, read_answer};
use super::db::{Columns, Db, Found};
use super::error::{Fault, Result, damaged};
use super::rows::{DUPLICATE, INVALID, JOB, Stored, lane, read_block};
use super::seal::{Sealed, Seals};
use crate::job::{Attempt, JobId, Lane, RowId, UnixMicros};
use crate::ledger::{Records, Span};
use crate::mistake::{Mistake, is_made};
use crate::number::Number;
use crate::record::{CampaignId, RowState, Suppression};
use crate::run::RunId;

/// Rows that are read at once.
pub const RANGE: usize = 1_024;

/// What it takes to read the rows of a campaign.
pub struct Facts {
    campaign: CampaignId,
    seals: Seals,
    answers: Answers,
}

impl Facts {
    /// With all that came of its attempts.
    pub fn of(db: Db<'_>, campaign: CampaignId) -> Result<Self> {
        Self::before(db, campaign, RunId::NEXT)
    }

    /// With what came of the attempts before run `end`.
    pub fn before(db: Db<'_>, campaign: CampaignId, end: RunId) -> Result<Self> {
        Ok(Self {
            answers: Answers::of(db, campaign, end)?,
            ..Self::without_answers(db, campaign)?
        })
    }

    /// For whom it is enough to know that there are attempts.
    pub fn without_answers(db: Db<'_>, campaign: CampaignId) -> Result<Self> {
        Ok(Self {
            campaign,
            seals: Seals::of(db)?,
            answers: Answers::default(),
        })
    }

    /// Whose rows they are.
    pub fn campaign(&self) -> CampaignId {
        self.campaign
    }

    pub fn scan<'a>(&'a self, db: Db<'a>) -> Scan<'a> {
        Scan { db, facts: self }
    }
}

/// Reads the rows of a campaign.
pub struct Scan<'a> {
    db: Db<'a>,
    facts: &'a Facts,
}

// What is read of the rows, or of the jobs that have their ids, from ?1 up to, not including, ?2.

const ROWS: &str = "SELECT id, coalesce(job, id), line, lane, kind, assumed, number, seal
       FROM contact WHERE id >= ?1 AND id < ?2 ORDER BY id";

const SPECIAL: &str = "SELECT row, text FROM special WHERE row >= ?1 AND row < ?2 ORDER BY row";

const SUPPRESSED: &str =
    "SELECT job, by, at FROM suppressed WHERE job >= ?1 AND job < ?2 ORDER BY job";

const CODES: &str = "SELECT job, code FROM code WHERE job >= ?1 AND job < ?2 ORDER BY job";

/// Attempts: jobs, and what was tried for them; on a server with what came of it.
fn attempts(db: Db<'_>) -> &'static str {
    match db {
        Db::Sqlite(_) => {
            "SELECT id >> 20, id & 1048575, run, lane, begun_at FROM intent
              WHERE id > ?1 << 20 AND id < ?2 << 20 ORDER BY id"
        }
        Db::Postgres(_) => {
            "SELECT i.id >> 20, i.id & 1048575, i.run, i.lane, i.begun_at,
                    a.left_at, a.answered_at, a.verdict, a.text, a.retry_at
               FROM intent i LEFT JOIN answer a
                 ON a.id = i.id AND a.id > ?1 << 20 AND a.id < ?2 << 20
              WHERE i.id > ?1 << 20 AND i.id < ?2 << 20 ORDER BY i.id"
        }
    }
}

/// A range of rows that was asked for, and what was tried for the jobs with their ids.
struct AskedRows<'a> {
    db: Db<'a>,
    range: Span,
    rows: Found<'a>,
    special: Found<'a>,
    attempts: Found<'a>,
}

impl<'a> AskedRows<'a> {
    fn of(db: Db<'a>, range: Span) -> Result<Self> {
        Ok(Self {
            db,
            range,
            rows: db.ask(ROWS, range)?,
            special: db.ask(SPECIAL, range)?,
            attempts: db.ask(attempts(db), range)?,
        })
    }
}

/// What else is known of the jobs with the ids of a range.
struct AskedMore<'a> {
    suppressed: Found<'a>,
    codes: Found<'a>,
}

impl<'a> AskedMore<'a> {
    fn of(db: Db<'a>, range: Span) -> Result<Self> {
        Ok(Self {
            suppressed: db.ask(SUPPRESSED, range)?,
            codes: db.ask(CODES, range)?,
        })
    }
}

/// The rows of a range, which follow each other.
struct Rows {
    range: Span,
    all: Vec<Stored>,
    /// The jobs that earlier inputs have begun, in their order, and the places of their rows.
    of_before: Vec<(i64, usize)>,
}

impl Rows {
    fn new(range: Span, all: Vec<Stored>) -> Result<Self> {
        let mut there = all.iter().map(|stored| stored.row.0);
        let mut ids = range.first..range.end;
        if let Some(missing) = ids.find(|id| there.next() != Some(*id)) {
            return Err(damaged(format!("row {missing} is missing")));
        }
        let places = all.iter().enumerate();
        let of_before = places.filter(|(_, stored)| stored.asks() && !stored.is_first());
        let of_before = of_before.map(|(place, stored)| (stored.job.0, place));
        let mut of_before: Vec<(i64, usize)> = of_before.collect();
        of_before.sort_unstable();
        Ok(Self {
            range,
            all,
            of_before,
        })
    }

    /// The row that was the first to ask for this job, if it is among them.
    fn first_of(&mut self, job: i64) -> Option<&mut Stored> {
        let place = usize::try_from(job - self.range.first).ok()?;
        let stored = self.all.get_mut(place);
        stored.filter(|stored| stored.asks() && stored.is_first())
    }

    /// Hands what was found of jobs to `take`, each with its row. `found` is of those that the rows
    /// were the first to ask for, `sql` finds the same of others.
    fn add(
        &mut self,
        db: Db<'_>,
        found: Found<'_>,
        sql: &str,
        take: impl Fn(&mut Stored, &Columns<'_>) -> Result<()>,
    ) -> Result<()> {
        found.each(|columns| {
            let row = self.first_of(columns.get(0)?);
            row.map_or(Ok(()), |row| take(row, columns))
        })?;
        db.each_near(sql, &self.of_before, |place, columns| {
            take(&mut self.all[place], columns)
        })
    }
}

impl Scan<'_> {
    /// Hands each row of the span to `each`, in input order, until it says `false`. A row that is
    /// not there or not as it was written, or an attempt, is damage: it would be lost, or sent to
    /// again, or to somebody else. Records are read only from the start of an input.
    pub fn for_each(
        &self,
        span: Span,
        records: Records,
        each: impl FnMut(Stored) -> Result<bool>,
    ) -> Result<()> {
        let mut hand_over = self.handing_over(span, records, each);
        let mut ranges = ranges(span);
        let mut ask = || {
            let Some(range) = ranges.next() else {
                return Ok::<_, Fault>(None);
            };
            let rows = AskedRows::of(self.db, range)?;
            Ok(Some((rows, AskedMore::of(self.db, range)?)))
        };
        self.db.reading(|| {
            let mut next = ask()?;
            while let Some((rows, more)) = next {
                // A server works on it while this one is looked at.
                next = ask()?;
                if !hand_over(self.reader().rows(rows)?, more)? {
                    break;
                }
            }
            Ok(())
        })
    }

    /// The same, where rows and attempts are read over other connections to the file, if there are
    /// any and the system gives a thread for each. They have to be durable, and nobody may write
    /// meanwhile.
    pub fn for_each_beside(
        &self,
        others: Vec<Connection>,
        span: Span,
        records: Records,
        each: impl FnMut(Stored) -> Result<bool>,
    ) -> Result<()> {
        if others.is_empty() {
            return self.for_each(span, records, each);
        }
        let (reader, threads) = (self.reader(), others.len());
        thread::scope(|scope| {
            let read = others.into_iter().enumerate().map(|(place, other)| {
                let (sender, read) = mpsc::sync_channel(RANGES_AHEAD);
                let read_on = move || {
                    let db = Db::Sqlite(&other);
                    for range in ranges(span).skip(place).step_by(threads) {
                        let rows = AskedRows::of(db, range).and_then(|asked| reader.rows(asked));
                        let is_last = rows.is_err();
                        // Nobody may want more of them.
                        if sender.send(rows).is_err() || is_last {
                            break;
                        }
                    }
                };
                let started = thread::Builder::new().spawn_scoped(scope, read_on);
                started.map(|_| read)
            });
            let read: io::Result<Vec<mpsc::Receiver<Result<Rows>>>> = read.collect();
            let Ok(read) = read else {
                return self.for_each(span, records, each);
            };
            let mut hand_over = self.handing_over(span, records, each);
            // In turn each has the next range, until one has none.
            for rows in read.iter().cycle().map_while(|read| read.recv().ok()) {
                let rows = rows?;
                let more = AskedMore::of(self.db, rows.range)?;
                if !hand_over(rows, more)? {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Completes the rows of a range and hands them to `each`; says whether more are wanted.
    fn handing_over(
        &self,
        span: Span,
        records: Records,
        mut each: impl FnMut(Stored) -> Result<bool>,
    ) -> impl FnMut(Rows, AskedMore<'_>) -> Result<bool> {
        let mut block = Vec::new().into_iter();
        move |rows, more| {
            for mut stored in self.complete(rows, more)? {
                if records == Records::Read {
                    if block.len() == 0 {
                        block = read_block(self.db, &self.facts.seals, stored.row.0)?.into_iter();
                    }
                    stored.record = block.next().unwrap_or_default();
                }
                let is_last = stored.row.0 + 1 == span.end;
                if is_last && is_made(Mistake::LastRowLost) || !each(stored)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }

    fn reader(&self) -> Reader<'_> {
        Reader {
            campaign: self.facts.campaign,
            seals: &self.facts.seals,
        }
    }

    /// The rows of a range with all that is known of them.
    fn complete(&self, mut rows: Rows, more: AskedMore<'_>) -> Result<Vec<Stored>> {
        let db = self.db;
        rows.add(db, more.suppressed, SUPPRESSED, |stored, row| {
            let why = suppression(row.get(1)?, row.get(2)?, stored.lane);
            stored.suppress(why);
            Ok(())
        })?;
        rows.add(db, more.codes, CODES, |stored, row| {
            stored.code = Some(db.open(stored.job, row.get(1)?)?);
            Ok(())
        })?;
        let made = rows.all.iter_mut().flat_map(Stored::attempts_mut);
        self.facts.answers.complete(db, made)?;
        Ok(rows.all)
    }

    /// Hands the attempts of the campaign that were begun at `since` or later to `each`, job by job,
    /// also those of rows that it has no more.
    pub fn for_each_attempt(
        &self,
        since: UnixMicros,
        mut each: impl FnMut(JobId, &Attempt),
    ) -> Result<()> {
        let (answer, joined) = match self.db {
            Db::Sqlite(_) => ("", ""),
            Db::Postgres(_) => (
                ", a.left_at, a.answered_at, a.verdict, a.text, a.retry_at",
                " LEFT JOIN answer a ON a.id = i.id",
            ),
        };
        let sql = format!(
            "SELECT i.id >> 20, i.id & 1048575, i.run, i.lane, i.begun_at{answer}
               FROM intent i{joined}
              WHERE i.begun_at >= ?2 AND i.run IN (SELECT id FROM run WHERE campaign = ?1)
              ORDER BY i.id"
        );
        let mut some = Vec::with_capacity(RANGE);
        let mut hand_over = |some: &mut Vec<(JobId, Attempt)>| {
            let made = some.iter_mut().map(|(job, attempt)| (*job, attempt));
            self.facts.answers.complete(self.db, made)?;
            some.drain(..)
                .for_each(|(job, attempt)| each(job, &attempt));
            Ok(())
        };
        let values = [self.facts.campaign.0.into(), since.0.into()];
        self.db.each(&sql, &values, |row| {
            some.push((JobId(row.get(0)?), attempt(row)?));
            if some.len() == RANGE {
                hand_over(&mut some)?;
            }
            Ok(true)
        })?;
        hand_over(&mut some)
    }

    /// The attempts of these jobs, in the order in which they were begun.
    pub fn attempts_of(&self, jobs: &[JobId]) -> Result<HashMap<JobId, Vec<Attempt>>> {
        let mut wanted: Vec<(i64, usize)> = jobs.iter().map(|job| (job.0, 0)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let mut attempts_of: HashMap<JobId, Vec<Attempt>> = HashMap::new();
        self.db.each_near(attempts(self.db), &wanted, |_, row| {
            let of_job = attempts_of.entry(JobId(row.get(0)?)).or_default();
            of_job.push(attempt(row)?);
            Ok(())
        })?;
        let made = attempts_of.iter_mut().flat_map(|(job, of_job)| {
            of_job.sort_unstable_by_key(|attempt| attempt.n);
            of_job.iter_mut().map(|attempt| (*job, attempt))
        });
        self.facts.answers.complete(self.db, made)?;
        Ok(attempts_of)
    }
}

/// Adds an attempt to its row.
fn add_attempt(stored: &mut Stored, attempt: Attempt) -> Result<()> {
    let damaged = |why: &str| damaged(format!("row {}: {why}", stored.row.0));
    if (attempt.lane == Lane::Verify) != (stored.lane == Lane::Verify) {
        return Err(damaged("an attempt is another row's"));
    }
    let (RowState::Job(attempts) | RowState::Suppressed(_, attempts)) = &mut stored.state else {
        return Ok(());
    };
    if attempt.n as usize != attempts.len() + 1 {
        return Err(damaged("an attempt is missing"));
    }
    attempts.push(attempt);
    Ok(())
}

fn suppression(by: String, at: Option<i64>, lane: Lane) -> Suppression {
    let Some(at) = at.map(UnixMicros) else {
        return Suppression::Excluded(by);
    };
    let campaign = by;
    match lane {
        Lane::Verify => Suppression::TooOld { campaign, at },
        Lane::Sms | Lane::Call => Suppression::Recent { campaign, at },
    }
}

/// Ranges that each thread reads ahead.
const RANGES_AHEAD: usize = 4;

/// A span in pieces that are read at once.
fn ranges(span: Span) -> impl Iterator<Item = Span> {
    let firsts = (span.first..span.end).step_by(RANGE);
    firsts.map(move |first| Span {
        first,
        end: span.end.min(first.saturating_add_unsigned(RANGE as u64)),
    })
}

/// Reads what is durable of rows.
#[derive(Clone, Copy)]
struct Reader<'a> {
    campaign: CampaignId,
    seals: &'a Seals,
}

impl Reader<'_> {
    /// The rows of a range and what was tried for them; in a file without what came of it.
    fn rows(self, asked: AskedRows<'_>) -> Result<Rows> {
        let mut special: Vec<(i64, String)> = Vec::new();
        asked.special.each(|row| {
            special.push((row.get(0)?, row.get(1)?));
            Ok(())
        })?;
        let mut all = Vec::with_capacity(RANGE);
        asked.rows.each(|row| {
            all.push(self.stored(row, &special)?);
            Ok(())
        })?;
        let mut rows = Rows::new(asked.range, all)?;
        rows.add(
            asked.db,
            asked.attempts,
            attempts(asked.db),
            |stored, row| add_attempt(stored, attempt(row)?),
        )?;
        Ok(rows)
    }

    /// A row, with what is to be said of some, in their order.
    fn stored(self, row: &Columns<'_>, special: &[(i64, String)]) -> Result<Stored> {
        let id: i64 = row.get(0)?;
        let damaged = |why: &str| damaged(format!("row {id}: {why}"));
        let digits = row.get::<Option<i64>>(6)?.map(i64::cast_unsigned);
        let sealed = Sealed {
            row: id,
            job: JobId(row.get(1)?),
            line: row.get::<i64>(2)?.cast_unsigned(),
            lane: lane(row.get(3)?, 3)?,
            kind: row.get(4)?,
            assumed: row.get(5)?,
            number: digits
                .map(|digits| Number::new(digits).ok_or_else(|| damaged("its number is none")))
                .transpose()?,
        };
        let seal: i64 = row.get(7)?;
        if self.seals.row(self.campaign, &sealed) != seal {
            return Err(damaged("it is not as it was written"));
        }
        let said = || {
            let found = special.binary_search_by_key(&id, |(row, _)| *row);
            let found = found.map(|place| &special[place].1);
            found.map_err(|_| damaged("what is to be said of it is missing"))
        };
        let state = match sealed.kind {
            JOB => RowState::Job(Vec::new()),
            INVALID => RowState::Invalid(said()?.clone()),
            DUPLICATE => RowState::Duplicate {
                first_line: said()?.parse().map_err(|_| damaged("of which line?"))?,
            },
            _ => return Err(damaged("what it is is not known")),
        };
        Ok(Stored {
            row: RowId(id),
            job: sealed.job,
            line: sealed.line,
            record: String::new(),
            lane: sealed.lane,
            number: sealed.number,
            assumed_mobile: sealed.assumed,
            code: None,
            state,
        })
    }
}

/// An attempt, on a server with its answer.
fn attempt(row: &Columns<'_>) -> Result<Attempt> {
    let answer = match row {
        Columns::Postgres(_) if row.get::<Option<i64>>(6)?.is_some() => Some(read_answer(row, 5)?),
        _ => None,
    };
    Ok(Attempt {
        n: row.get(1)?,
        run: RunId(row.get(2)?),
        lane: lane(row.get(3)?, 3)?,
        begun_at: UnixMicros(row.get(4)?),
        answer,
        lookup: None,
    })
}
