//! Rows as they lie in the tables, how they are written, and the numbers that lanes and verdicts are
//! stored as.

use secrecy::SecretString;

use super::db::{Db, Table};
use super::error::{Result, damaged, out_of_range};
use super::seal::{Sealed, Seals};
use crate::job::{Attempt, Job, JobId, Lane, RowId, VerdictKind};
use crate::number::Number;
use crate::record::{CampaignId, Row, RowState, Suppression};

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
    /// Does it ask for work?
    pub fn asks(&self) -> bool {
        matches!(self.state, RowState::Job(_) | RowState::Suppressed(..))
    }

    /// Was it the first to ask for its job? Or else an earlier input has begun it.
    pub fn is_first(&self) -> bool {
        self.job.0 == self.row.0
    }

    /// It is left out on purpose.
    pub fn suppress(&mut self, why: Suppression) {
        if let RowState::Job(attempts) = &mut self.state {
            self.state = RowState::Suppressed(why, std::mem::take(attempts));
        }
    }

    /// Its job's attempts.
    pub fn attempts_mut(&mut self) -> impl Iterator<Item = (JobId, &mut Attempt)> {
        let job = self.job;
        let attempts = match &mut self.state {
            RowState::Job(attempts) | RowState::Suppressed(_, attempts) => &mut attempts[..],
            RowState::Invalid(_) | RowState::Duplicate { .. } => &mut [],
        };
        attempts.iter_mut().map(move |attempt| (job, attempt))
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

/// Rows whose records lie in one block: so many at most, or so many bytes.
const BLOCK_ROWS: usize = 1_000;
const BLOCK_BYTES: usize = 256 * 1_024;

/// Reads the records of a block, and checks them.
pub fn read_block(db: Db<'_>, seals: &Seals, first: i64) -> Result<Vec<String>> {
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
