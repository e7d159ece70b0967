//! Reading back: one scan that every reader shares, and the numbers that lanes and verdicts are
//! stored as.

use std::collections::HashMap;

use secrecy::SecretString;

use super::db::{Columns, Db, Statement, Table};
use super::error::{Result, damaged, out_of_range};
use super::places::Places;
use super::seal::{Sealed, Seals};
use super::sorter::Sorter;
use crate::job::{
    Answer, Attempt, Found, Job, JobId, Lane, Lookup, RowId, UnixMicros, Verdict, VerdictKind,
};
use crate::ledger::postgres::server::{self, Server};
use crate::ledger::{Records, Span};
use crate::mistake::{Mistake, is_made};
use crate::number::Number;
use crate::record::{CampaignId, Row, RowState, Suppression};
use crate::run::RunId;

/// An attempt's id is its job's, shifted by this, and its `n`.
pub const N_BITS: u32 = 20;

/// The id of a job's `n`th attempt, if there is room for one.
pub fn attempt_id(job: JobId, n: u32) -> Option<i64> {
    let n = i64::from(n);
    (job.0 > 0 && job.0 < 1 << (62 - N_BITS) && n > 0 && n < 1 << N_BITS)
        .then_some(job.0 << N_BITS | n)
}

/// The job of an attempt.
pub fn job_of(id: i64) -> JobId {
    JobId(id >> N_BITS)
}

/// What a row is: `contact.kind`.
pub const JOB: u8 = 0;
pub const INVALID: u8 = 1;
pub const DUPLICATE: u8 = 2;

/// One row of the input with all that is known of it, as it lies in the tables.
pub struct Stored {
    pub row: RowId,
    pub job: JobId,
    pub line: u64,
    pub record: String,
    pub lane: Lane,
    pub number: Option<Number>,
    pub assumed_mobile: bool,
    pub code: Option<SecretString>,
    pub state: RowState,
}

impl Stored {
    /// Is its job one that an earlier input has begun?
    fn is_of_before(&self) -> bool {
        let asks = matches!(self.state, RowState::Job(_) | RowState::Suppressed(..));
        asks && self.job.0 != self.row.0
    }

    /// As the report wants it.
    pub fn into_row(self) -> Row {
        Row {
            line: self.line,
            record: self.record,
            number: self.number,
            lane: self.lane,
            state: self.state,
        }
    }

    /// As the engine wants it; `None` for rows that ask for no work.
    pub fn into_job(self) -> Option<Job> {
        let RowState::Job(attempts) = self.state else {
            return None;
        };
        Some(Job {
            id: self.job,
            row: self.row,
            line: self.line,
            number: self.number?,
            code: self.code,
            lane: self.lane,
            attempts,
        })
    }
}

/// What came of the attempts of some runs, besides what is read with them: where their answers are
/// in a file, which lie in the order in which they came, and what a person looked up.
#[derive(Default)]
struct Answers {
    seqs: Places,
    lookups: HashMap<i64, Lookup>,
}

impl Answers {
    /// Those of the runs of a campaign before run `end`.
    fn of(db: Db<'_>, campaign: CampaignId, end: RunId) -> Result<Self> {
        let seqs = match db {
            Db::Sqlite(_) => seqs(db, campaign, end)?,
            Db::Postgres(_) => Places::default(),
        };
        let sql = "SELECT l.attempt, l.sent, l.at FROM lookup l CROSS JOIN intent i
               JOIN run r ON r.id = i.run
              WHERE i.id = l.attempt AND r.campaign = ?1 ORDER BY l.attempt, l.at";
        let found = db.all(sql, &[campaign.0.into()], |row| {
            let found = if row.get(1)? {
                Found::Sent
            } else {
                Found::Unsent
            };
            let at = UnixMicros(row.get(2)?);
            Ok((row.get(0)?, Lookup { found, at }))
        })?;
        Ok(Self {
            seqs,
            lookups: found.into_iter().collect(),
        })
    }

    fn seq(&self, attempt: i64) -> Result<Option<i64>> {
        let seq = self.seqs.get(attempt.cast_unsigned())?;
        Ok(seq.map(u64::cast_signed))
    }
}

/// Where the answers to attempts are.
fn seqs(db: Db<'_>, campaign: CampaignId, end: RunId) -> Result<Places> {
    let sql = "SELECT a.id, a.seq FROM (
                SELECT id AS run, campaign, first_answer AS first,
                       lead(first_answer, 1, 9223372036854775807) OVER (ORDER BY id) AS end FROM run
             ) r CROSS JOIN answer a ON a.seq >= r.first AND a.seq < r.end
             WHERE r.campaign = ?1 AND r.run < ?2";
    let values = [campaign.0.into(), end.0.into()];
    let beside = db.beside();
    let mut answers = Sorter::beside(&beside);
    db.each(sql, &values, |row| {
        let [id, seq] = [row.get::<i64>(0)?, row.get(1)?];
        answers.push([id.cast_unsigned(), seq.cast_unsigned()])?;
        Ok(true)
    })?;
    Places::of(answers.sorted()?, &beside)?.map_err(|id| {
        let job = job_of(id.cast_signed()).0;
        damaged(format!("job {job}: an attempt has two answers"))
    })
}

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

/// Rows that a server is asked for at once.
const RANGE: usize = 4_096;

/// A range of rows that a server was asked for, and their attempts.
struct Asked {
    range: Span,
    rows: server::Asked<Vec<tokio_postgres::Row>>,
    attempts: server::Asked<Vec<tokio_postgres::Row>>,
}

impl Asked {
    fn of(server: &Server, range: Span) -> Result<Self> {
        let bounds = [range.first.into(), range.end.into()];
        Ok(Self {
            range,
            rows: server.ask(ROWS_OF_SERVER, &bounds)?,
            attempts: server.ask(ATTEMPTS_OF_SERVER, &bounds)?,
        })
    }
}

/// Neither a code, nor what is to be said, is looked for where there can be none.
macro_rules! row {
    () => {
        "c.id, coalesce(c.job, c.id), c.line, c.lane, c.kind, c.assumed, c.number, c.seal,
           CASE WHEN c.kind <> 0 THEN (SELECT text FROM special s WHERE s.row = c.id) END,
           CASE WHEN c.kind = 0 AND c.lane = 2
                THEN (SELECT code FROM code k WHERE k.job = coalesce(c.job, c.id)) END,
           p.by, p.at"
    };
}

/// In a file a row is followed by its attempts, one by one.
const ROWS_OF_FILE: &str = concat!(
    "SELECT ",
    row!(),
    ", i.id, i.run, i.lane, i.begun_at
       FROM contact c
       LEFT JOIN suppressed p ON p.job = CASE WHEN c.kind = 0 THEN coalesce(c.job, c.id) END
       LEFT JOIN intent i ON i.id > CASE c.kind WHEN 0 THEN coalesce(c.job, c.id) << 20 END
                         AND i.id < (coalesce(c.job, c.id) + 1) << 20
      WHERE c.id >= ?1 AND c.id < ?2
      ORDER BY c.id, i.id"
);

/// Rows alone. A server joins tables as its statistics suggest, which are old while a run is on: what
/// could be joined in a wrong way is looked up row by row, or asked for by a range of its own.
const ROWS_OF_SERVER: &str = concat!(
    "SELECT ",
    row!(),
    " FROM contact c LEFT JOIN LATERAL (SELECT by, at FROM suppressed
              WHERE job = CASE WHEN c.kind = 0 THEN coalesce(c.job, c.id) END LIMIT 1) p ON true
      WHERE c.id >= ?1 AND c.id < ?2 ORDER BY c.id"
);

/// The attempts of jobs that have the ids of their rows, by range.
const ATTEMPTS_OF_SERVER: &str = "
    SELECT i.id, i.run, i.lane, i.begun_at, a.left_at, a.answered_at, a.verdict, a.text, a.retry_at
      FROM intent i LEFT JOIN answer a ON a.id = i.id AND a.id > ?1 << 20 AND a.id < ?2 << 20
     WHERE i.id > ?1 << 20 AND i.id < ?2 << 20 ORDER BY i.id";

/// An answer that is read with its attempt `i`: the columns behind the attempt's own, and how it is
/// found. In a file they lie in another order, and are looked for one by one.
fn with_answer(db: Db<'_>) -> (&'static str, &'static str) {
    match db {
        Db::Sqlite(_) => ("", ""),
        Db::Postgres(_) => (
            ", a.left_at, a.answered_at, a.verdict, a.text, a.retry_at",
            " LEFT JOIN answer a ON a.id = i.id",
        ),
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
        mut each: impl FnMut(Stored) -> Result<bool>,
    ) -> Result<()> {
        let mut block = Vec::new().into_iter();
        let mut complete = |mut stored: Stored| {
            if records == Records::Read {
                if block.len() == 0 {
                    block = read_block(self.db, &self.facts.seals, stored.row.0)?.into_iter();
                }
                stored.record = block.next().unwrap_or_default();
            }
            each(stored)
        };
        match self.db {
            Db::Sqlite(_) => self.for_each_in_file(span, &mut complete),
            Db::Postgres(server) => {
                server.reading(|| self.for_each_on_server(server, span, &mut complete))
            }
        }
    }

    fn for_each_in_file(
        &self,
        span: Span,
        complete: &mut dyn FnMut(Stored) -> Result<bool>,
    ) -> Result<()> {
        let mut answer = self.db.prepare(SELECT_ANSWER)?;
        let mut current: Option<Stored> = None;
        let mut next = span.first;
        let mut is_complete = true;
        let bounds = [span.first.into(), span.end.into()];
        self.db.each(ROWS_OF_FILE, &bounds, |columns| {
            let id: i64 = columns.get(0)?;
            if current.as_ref().is_none_or(|stored| stored.row.0 != id) {
                if id != next {
                    return Ok(false);
                }
                next += 1;
                if let Some(before) = current.replace(self.stored(columns, id)?)
                    && !complete(before)?
                {
                    is_complete = false;
                    return Ok(false);
                }
            }
            if let (Some(stored), Some(id)) = (&mut current, columns.get(12)?) {
                add_attempt(stored, self.attempt(columns, id, 13, &mut answer)?)?;
            }
            Ok(true)
        })?;
        if !is_complete {
            return Ok(());
        }
        if next < span.end {
            return Err(damaged(format!("row {next} is missing")));
        }
        let last = current.filter(|_| !is_made(Mistake::LastRowLost));
        last.map_or(Ok(()), |last| complete(last).map(|_| ()))
    }

    fn for_each_on_server(
        &self,
        server: &Server,
        span: Span,
        complete: &mut dyn FnMut(Stored) -> Result<bool>,
    ) -> Result<()> {
        let mut ranges = (span.first..span.end).step_by(RANGE).map(|first| Span {
            first,
            end: span.end.min(first.saturating_add_unsigned(RANGE as u64)),
        });
        let mut ask = || {
            let range = ranges.next();
            range.map(|range| Asked::of(server, range)).transpose()
        };
        let mut next = ask()?;
        while let Some(asked) = next {
            // The server reads it while this one is looked at.
            next = ask()?;
            for stored in self.rows_of(asked)? {
                let is_last = stored.row.0 + 1 == span.end;
                if is_last && is_made(Mistake::LastRowLost) || !complete(stored)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// The rows of a range, with all that is known of them.
    fn rows_of(&self, asked: Asked) -> Result<Vec<Stored>> {
        let mut rows = Vec::new();
        let mut ids = asked.range.first..asked.range.end;
        for row in asked.rows.answer()? {
            let stored = self.stored(&Columns::Postgres(&row), row.try_get(0)?)?;
            rows.push(stored);
        }
        let mut there = rows.iter().map(|stored| stored.row.0);
        if let Some(missing) = ids.find(|id| there.next() != Some(*id)) {
            return Err(damaged(format!("row {missing} is missing")));
        }
        let mut answer = self.db.prepare(SELECT_ANSWER)?;
        let mut attempts: HashMap<JobId, Vec<Attempt>> = HashMap::new();
        for row in asked.attempts.answer()? {
            let id = row.try_get(0)?;
            let attempt = self.attempt(&Columns::Postgres(&row), id, 1, &mut answer)?;
            attempts.entry(job_of(id)).or_default().push(attempt);
        }
        let of_before = rows.iter().filter(|stored| stored.is_of_before());
        let of_before: Vec<JobId> = of_before.map(|stored| stored.job).collect();
        self.add_attempts_of(&mut attempts, &of_before)?;
        for stored in &mut rows {
            for attempt in attempts.remove(&stored.job).unwrap_or_default() {
                add_attempt(stored, attempt)?;
            }
        }
        Ok(rows)
    }

    fn stored(&self, row: &Columns<'_>, id: i64) -> Result<Stored> {
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
        if self.facts.seals.row(self.facts.campaign, &sealed) != seal {
            return Err(damaged("it is not as it was written"));
        }
        let text: Option<String> = row.get(8)?;
        let state = match (sealed.kind, text) {
            (JOB, _) => match row.get::<Option<String>>(10)? {
                None => RowState::Job(Vec::new()),
                Some(by) => {
                    RowState::Suppressed(suppression(by, row.get(11)?, sealed.lane), Vec::new())
                }
            },
            (INVALID, Some(problem)) => RowState::Invalid(problem),
            (DUPLICATE, Some(line)) => RowState::Duplicate {
                first_line: line.parse().map_err(|_| damaged("of which line?"))?,
            },
            _ => return Err(damaged("what is to be said of it is missing")),
        };
        Ok(Stored {
            row: RowId(id),
            job: sealed.job,
            line: sealed.line,
            record: String::new(),
            lane: sealed.lane,
            number: sealed.number,
            assumed_mobile: sealed.assumed,
            code: row
                .get::<Option<&str>>(9)?
                .map(|code| self.db.open(sealed.job, code))
                .transpose()?,
            state,
        })
    }

    /// The attempt whose run, lane and time stand in the columns from `column` on.
    fn attempt(
        &self,
        row: &Columns<'_>,
        id: i64,
        column: usize,
        answer: &mut Statement<'_>,
    ) -> Result<Attempt> {
        let came = match self.db {
            Db::Sqlite(_) => match self.facts.answers.seq(id)? {
                Some(seq) => answer.first(&[seq.into()], |row| read_answer(row, 0))?,
                None => None,
            },
            Db::Postgres(_) => match row.get::<Option<i64>>(column + 4)? {
                Some(_) => Some(read_answer(row, column + 3)?),
                None => None,
            },
        };
        Ok(Attempt {
            n: u32::try_from(id & ((1 << N_BITS) - 1)).unwrap_or(0),
            run: RunId(row.get(column)?),
            lane: lane(row.get(column + 1)?, column + 1)?,
            begun_at: UnixMicros(row.get(column + 2)?),
            answer: came,
            lookup: self.facts.answers.lookups.get(&id).copied(),
        })
    }

    /// Hands the attempts of the campaign that were begun at `since` or later to `each`, job by job,
    /// also those of rows that it has no more.
    pub fn for_each_attempt(
        &self,
        since: UnixMicros,
        mut each: impl FnMut(JobId, &Attempt),
    ) -> Result<()> {
        let mut answer = self.db.prepare(SELECT_ANSWER)?;
        let (with, joined) = with_answer(self.db);
        let sql = format!(
            "SELECT i.id, i.run, i.lane, i.begun_at{with} FROM intent i{joined}
              WHERE i.begun_at >= ?2 AND i.run IN (SELECT id FROM run WHERE campaign = ?1)
              ORDER BY i.id"
        );
        let values = [self.facts.campaign.0.into(), since.0.into()];
        self.db.each(&sql, &values, |row| {
            let id = row.get(0)?;
            each(job_of(id), &self.attempt(row, id, 1, &mut answer)?);
            Ok(true)
        })
    }

    /// Adds the attempts of these jobs.
    pub fn add_attempts_of(
        &self,
        attempts: &mut HashMap<JobId, Vec<Attempt>>,
        jobs: &[JobId],
    ) -> Result<()> {
        let mut answer = self.db.prepare(SELECT_ANSWER)?;
        let sql = match self.db {
            Db::Sqlite(_) => {
                "SELECT id, run, lane, begun_at FROM intent
                  WHERE id > ?1 << 20 AND id < (?1 + 1) << 20 ORDER BY id"
            }
            Db::Postgres(_) => {
                "SELECT i.id, i.run, i.lane, i.begun_at,
                        a.left_at, a.answered_at, a.verdict, a.text, a.retry_at
                   FROM intent i
                   LEFT JOIN LATERAL (SELECT * FROM answer WHERE id = i.id LIMIT 1) a ON true
                  WHERE i.id > ?1 << 20 AND i.id < (?1 + 1) << 20 ORDER BY i.id"
            }
        };
        let numbers: Vec<i64> = jobs.iter().map(|job| job.0).collect();
        let found = self.db.all_of(sql, &numbers, &[], |row| {
            let id = row.get(0)?;
            Ok((job_of(id), self.attempt(row, id, 1, &mut answer)?))
        })?;
        for (job, attempt) in found {
            attempts.entry(job).or_default().push(attempt);
        }
        for job in jobs {
            if let Some(of_job) = attempts.get_mut(job) {
                of_job.sort_unstable_by_key(|attempt| attempt.n);
            }
        }
        Ok(())
    }
}

/// Adds an attempt to its row. One that asks for no work has none.
fn add_attempt(stored: &mut Stored, attempt: Attempt) -> Result<()> {
    let (RowState::Job(attempts) | RowState::Suppressed(_, attempts)) = &mut stored.state else {
        return Ok(());
    };
    let row = stored.row.0;
    let damaged = |why: &str| damaged(format!("row {row}: {why}"));
    if attempt.n as usize != attempts.len() + 1 {
        return Err(damaged("an attempt is missing"));
    }
    if (attempt.lane == Lane::Verify) != (stored.lane == Lane::Verify) {
        return Err(damaged("an attempt is another row's"));
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

/// Writes rows down, sealed.
pub fn write(db: Db<'_>, seals: &Seals, campaign: CampaignId, rows: &[Sealed]) -> Result<()> {
    let into = Table {
        name: "contact",
        columns: [
            "id", "line", "lane", "kind", "assumed", "number", "job", "seal",
        ],
    };
    db.insert_all(&into, rows, |row| {
        [
            row.row.into(),
            row.line.cast_signed().into(),
            (row.lane as i64).into(),
            row.kind.into(),
            row.assumed.into(),
            row.number
                .map(|number| number.digits().cast_signed())
                .into(),
            Some(row.job.0).filter(|job| *job != row.row).into(),
            seals.row(campaign, row).into(),
        ]
    })
}

/// Writes down what is to be said of rows that ask for no work.
pub fn write_special(db: Db<'_>, special: &[(i64, String)]) -> Result<()> {
    let into = Table {
        name: "special",
        columns: ["row", "text"],
    };
    db.insert_all(&into, special, |(row, text)| [(*row).into(), text.into()])
}

/// Answers in a file, which have their places among all.
pub const ANSWERS_OF_FILE: Table<7> = Table {
    name: "answer",
    columns: [
        "seq",
        "id",
        "left_at",
        "answered_at",
        "verdict",
        "text",
        "retry_at",
    ],
};

const SELECT_ANSWER: &str =
    "SELECT left_at, answered_at, verdict, text, retry_at FROM answer WHERE seq = ?1";

/// The answer that stands in the columns from `column` on.
fn read_answer(row: &Columns<'_>, column: usize) -> Result<Answer> {
    Ok(Answer {
        left_at: row.get::<Option<i64>>(column)?.map(UnixMicros),
        answered_at: UnixMicros(row.get(column + 1)?),
        verdict: Verdict {
            kind: kind(row.get(column + 2)?, column + 2)?,
            text: row.get(column + 3)?,
            retry_at: row.get::<Option<i64>>(column + 4)?.map(UnixMicros),
        },
    })
}

/// Rows whose records lie in one block: so many at most, or so many bytes.
const BLOCK_ROWS: usize = 1_000;
const BLOCK_BYTES: usize = 256 * 1_024;

/// Reads the records of a block, and checks them.
fn read_block(db: Db<'_>, seals: &Seals, first: i64) -> Result<Vec<String>> {
    let sql = "SELECT sum, records FROM block WHERE first = ?1";
    let block: Option<(i64, String)> = db.first(sql, &[first.into()], |block| {
        Ok((block.get(0)?, block.get(1)?))
    })?;
    block
        .filter(|(sum, records)| seals.records(first, records) == *sum)
        .and_then(|(_, records)| serde_json::from_str(&records).ok())
        .ok_or_else(|| damaged(format!("row {first}: its record is not as it was written")))
}

/// Writes the records of an input down, block by block.
pub struct BlockWriter<'a> {
    db: Db<'a>,
    seals: &'a Seals,
    first: i64,
    records: Vec<String>,
    bytes: usize,
}

impl<'a> BlockWriter<'a> {
    /// For rows from `first` on.
    pub fn new(db: Db<'a>, seals: &'a Seals, first: i64) -> Self {
        Self {
            db,
            seals,
            first,
            records: Vec::new(),
            bytes: 0,
        }
    }

    pub fn add(&mut self, record: String) -> Result<()> {
        self.bytes += record.len();
        self.records.push(record);
        if self.records.len() < BLOCK_ROWS && self.bytes < BLOCK_BYTES {
            return Ok(());
        }
        self.end()
    }

    /// Writes what is left.
    pub fn end(&mut self) -> Result<()> {
        if !self.records.is_empty() {
            let records = serde_json::to_string(&self.records).unwrap_or_default();
            let sum = self.seals.records(self.first, &records);
            let into = Table {
                name: "block",
                columns: ["first", "sum", "records"],
            };
            let block = (self.first, sum, records);
            self.db
                .insert_all(&into, &[block], |(first, sum, records)| {
                    [(*first).into(), (*sum).into(), records.into()]
                })?;
        }
        self.first += i64::try_from(self.records.len()).unwrap_or(i64::MAX);
        self.records.clear();
        self.bytes = 0;
        Ok(())
    }
}

/// The lane stored as this number: its place in [`Lane::ALL`], part of the format.
pub fn lane(index: i64, column: usize) -> Result<Lane> {
    let lane = usize::try_from(index)
        .ok()
        .and_then(|index| Lane::ALL.get(index));
    lane.copied().ok_or_else(|| out_of_range(column))
}

/// The kinds of answers in the order of the numbers that they are stored as, from 1 on: part of the
/// format, only ever added to.
const KINDS: [VerdictKind; VerdictKind::ALL.len()] = [
    VerdictKind::Accepted,
    VerdictKind::NotVerified,
    VerdictKind::Rejected,
    VerdictKind::Throttled,
    VerdictKind::ServerError,
    VerdictKind::Unreachable,
    VerdictKind::Misdirected,
    VerdictKind::KeyRefused,
    VerdictKind::Ambiguous,
    VerdictKind::AccountRefused,
    VerdictKind::NoAnswer,
    VerdictKind::Withdrawn,
];

/// A kind of answer as it is stored.
pub fn kind_index(kind: VerdictKind) -> i64 {
    let mut kinds = (1..).zip(KINDS);
    kinds
        .find(|(_, other)| *other == kind)
        .map_or(0, |(index, _)| index)
}

/// The kind of answer that is stored as this number.
pub fn kind(index: u32, column: usize) -> Result<VerdictKind> {
    let kind = KINDS.get(index.wrapping_sub(1) as usize).copied();
    kind.ok_or_else(|| out_of_range(column))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_answer_and_every_lane_reads_back_as_it_was_written() {
        for of in VerdictKind::ALL {
            let index = u32::try_from(kind_index(of)).unwrap();
            assert_eq!(kind(index, 0).unwrap(), of);
        }
        assert!(kind(0, 0).is_err() && kind(13, 0).is_err());
        for of in Lane::ALL {
            let index = i64::try_from(of.index()).unwrap();
            assert_eq!(lane(index, 0).unwrap(), of);
        }
        assert!(lane(3, 0).is_err() && lane(-1, 0).is_err());
    }

    #[test]
    fn an_attempt_has_an_id_that_no_other_has() {
        assert_eq!(attempt_id(JobId(3), 1), Some(3 << 20 | 1));
        assert_eq!(job_of(3 << 20 | 1), JobId(3));
        assert_eq!(attempt_id(JobId(3), (1 << 20) - 1), Some((4 << 20) - 1));
        for (job, n) in [(3, 0), (3, 1 << 20), (0, 1), (-1, 1), (1 << 42, 1)] {
            assert_eq!(attempt_id(JobId(job), n), None);
        }
    }

    #[test]
    fn records_are_whatever_text_they_are() {
        let made = crate::ledger::sqlite::made(2);
        let db = Db::Sqlite(&made);
        let seals = Seals::of(db).unwrap();
        let mut records = vec!["\"a\",b\u{1f4de}\n".to_owned(), String::new()];
        records.push("x".repeat(BLOCK_BYTES));
        records.extend((0..BLOCK_ROWS * 2).map(|n| format!("row {n}")));
        let mut writer = BlockWriter::new(db, &seals, 7);
        for record in &records {
            writer.add(record.clone()).unwrap();
        }
        writer.end().unwrap();
        let mut read = Vec::new();
        while read.len() < records.len() {
            let first = 7 + i64::try_from(read.len()).unwrap();
            read.extend(read_block(db, &seals, first).unwrap());
        }
        assert_eq!(read, records);
        made.execute_batch("UPDATE block SET records = '[\"\"]' WHERE first = 7")
            .unwrap();
        assert!(read_block(db, &seals, 7).is_err());
    }
}
