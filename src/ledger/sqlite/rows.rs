//! Reading back: one scan that every reader shares, and the codes that verdicts are stored as.

use rusqlite::{Connection, Row as DbRow, Statement, params};
use secrecy::SecretString;

use crate::outcome::{
    Answer, Attempt, Channel, Job, JobId, Lane, Number, RowId, RunId, UnixMicros, Verdict,
};
use crate::record::{Row, RowState};

/// One row of the input with all that is known of it, as it lies in the tables.
pub struct Stored {
    pub row: RowId,
    pub job: JobId,
    pub line: u64,
    pub record: String,
    pub lane: Lane,
    pub number: Option<Number>,
    pub problem: Option<String>,
    pub assumed_mobile: bool,
    pub first_line: Option<u64>,
    pub code: Option<SecretString>,
    pub attempts: Vec<Attempt>,
}

impl Stored {
    /// As the report wants it.
    pub fn into_row(self) -> Row {
        Row {
            line: self.line,
            record: self.record,
            number: self.number,
            lane: self.lane,
            state: match (self.problem, self.first_line) {
                (Some(problem), _) => RowState::Invalid(problem),
                (None, Some(first_line)) => RowState::Duplicate { first_line },
                (None, None) => RowState::Job(self.attempts),
            },
        }
    }

    /// As the engine wants it; `None` for rows that ask for no work.
    pub fn into_job(self) -> Option<Job> {
        let number = self.number?;
        if self.problem.is_some() || self.first_line.is_some() {
            return None;
        }
        Some(Job {
            id: self.job,
            row: self.row,
            number,
            code: self.code,
            lane: self.lane,
            attempts: self.attempts,
        })
    }
}

/// Which rows a [`scan`] looks at: ids from `first` up to, not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub first: i64,
    pub end: i64,
}

/// Prepares the scan of a [`Span`], in input order; `with_records` false leaves `record` empty,
/// for readers that do not need what makes up most of the bytes.
pub fn scan(db: &Connection, with_records: bool) -> rusqlite::Result<Statement<'_>> {
    let record = if with_records { "c.record" } else { "''" };
    db.prepare(&format!(
        "SELECT c.id, coalesce(c.job, c.id), c.line, {record}, c.lane, c.number, c.problem,
                c.assumed, c.first_line, c.code,
                a.n, a.run, a.lane, a.try_number, a.tries_max, a.fallback, a.begun_at,
                a.left_at, a.answered_at, a.verdict, a.text, a.retry_at
           FROM contact c LEFT JOIN attempt a
             ON a.job = coalesce(c.job, c.id) AND c.first_line IS NULL
          WHERE c.id >= ?1 AND c.id < ?2
          ORDER BY c.id, a.n"
    ))
}

/// Hands each row of the span to `each`, in input order, until it says `false`. A row that is not
/// there, or an attempt, is damage: it would be lost, or sent to again.
pub fn for_each(
    select: &mut Statement<'_>,
    span: Span,
    mut each: impl FnMut(Stored) -> rusqlite::Result<bool>,
) -> rusqlite::Result<()> {
    let mut found = select.query(params![span.first, span.end])?;
    let mut current: Option<Stored> = None;
    let mut next = span.first;
    while let Some(db_row) = found.next()? {
        let id = RowId(db_row.get(0)?);
        if current.as_ref().is_none_or(|stored| stored.row != id) {
            if id.0 != next {
                return Err(damaged(format!("row {next} is missing")));
            }
            next += 1;
            if let Some(complete) = current.replace(stored(db_row, id)?)
                && !each(complete)?
            {
                return Ok(());
            }
        }
        if let (Some(stored), Some(attempt)) = (&mut current, attempt(db_row)?) {
            if attempt.n as usize != stored.attempts.len() + 1 {
                return Err(damaged(format!("row {}: an attempt is missing", id.0)));
            }
            if (attempt.lane == Lane::Verify) != (stored.lane == Lane::Verify) {
                return Err(damaged(format!(
                    "row {}: an attempt is another row's",
                    id.0
                )));
            }
            stored.attempts.push(attempt);
        }
    }
    if let Some(last) = current
        && !each(last)?
    {
        return Ok(());
    }
    if next < span.end {
        return Err(damaged(format!("row {next} is missing")));
    }
    Ok(())
}

/// What was read cannot have been written so.
pub fn damaged(why: String) -> rusqlite::Error {
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(corrupt, Some(why))
}

fn stored(row: &DbRow<'_>, id: RowId) -> rusqlite::Result<Stored> {
    Ok(Stored {
        row: id,
        job: JobId(row.get(1)?),
        line: row.get::<_, i64>(2)?.cast_unsigned(),
        record: row.get(3)?,
        lane: lane(row.get(4)?, 4)?,
        number: row
            .get::<_, Option<i64>>(5)?
            .map(|digits| {
                Number::new(digits.cast_unsigned())
                    .ok_or_else(|| damaged(format!("row {}: its number is none", id.0)))
            })
            .transpose()?,
        problem: row.get(6)?,
        assumed_mobile: row.get(7)?,
        first_line: row.get::<_, Option<i64>>(8)?.map(i64::cast_unsigned),
        code: row.get::<_, Option<String>>(9)?.map(SecretString::from),
        attempts: Vec::new(),
    })
}

fn attempt(row: &DbRow<'_>) -> rusqlite::Result<Option<Attempt>> {
    const N: usize = 10;
    let Some(n) = row.get(N)? else {
        return Ok(None);
    };
    Ok(Some(Attempt {
        n,
        run: RunId(row.get(N + 1)?),
        lane: lane(row.get(N + 2)?, N + 2)?,
        try_number: row.get(N + 3)?,
        tries_max: row.get(N + 4)?,
        fallback: row
            .get::<_, Option<i64>>(N + 5)?
            .map(|index| lane(index, N + 5))
            .transpose()?
            .and_then(Lane::channel),
        begun_at: UnixMicros(row.get(N + 6)?),
        answer: answer(row, N + 7)?,
    }))
}

fn answer(row: &DbRow<'_>, at: usize) -> rusqlite::Result<Option<Answer>> {
    let Some(left_at) = row.get(at)? else {
        return Ok(None);
    };
    let text: String = row.get(at + 3)?;
    let retry_at = row.get::<_, Option<i64>>(at + 4)?.map(UnixMicros);
    Ok(Some(Answer {
        left_at: UnixMicros(left_at),
        answered_at: UnixMicros(row.get(at + 1)?),
        verdict: decode(row.get(at + 2)?, text, retry_at)
            .ok_or(rusqlite::Error::IntegralValueOutOfRange(at + 2, 0))?,
    }))
}

fn lane(index: i64, column: usize) -> rusqlite::Result<Lane> {
    usize::try_from(index)
        .ok()
        .and_then(|index| Lane::ALL.get(index).copied())
        .ok_or(rusqlite::Error::IntegralValueOutOfRange(column, index))
}

/// The number that stands for a verdict in the ledger: part of the format, never reused.
pub fn encode(verdict: &Verdict) -> i64 {
    match verdict {
        Verdict::Accepted(_) => 1,
        Verdict::NotVerified(_) => 2,
        Verdict::Rejected(_) => 3,
        Verdict::Throttled { .. } => 4,
        Verdict::ServerError(_) => 5,
        Verdict::Unreachable(_) => 6,
        Verdict::Misdirected(_) => 7,
        Verdict::KeyRefused(_) => 8,
        Verdict::Ambiguous(_) => 9,
    }
}

fn decode(code: i64, text: String, retry_at: Option<UnixMicros>) -> Option<Verdict> {
    Some(match code {
        1 => Verdict::Accepted(text),
        2 => Verdict::NotVerified(text),
        3 => Verdict::Rejected(text),
        4 => Verdict::Throttled {
            message: text,
            retry_at,
        },
        5 => Verdict::ServerError(text),
        6 => Verdict::Unreachable(text),
        7 => Verdict::Misdirected(text),
        8 => Verdict::KeyRefused(text),
        9 => Verdict::Ambiguous(text),
        _ => return None,
    })
}

/// A channel as it is stored.
pub fn channel_index(channel: Channel) -> i64 {
    lane_index(Lane::from(channel))
}

/// A lane as it is stored.
pub fn lane_index(lane: Lane) -> i64 {
    match lane {
        Lane::Sms => 0,
        Lane::Call => 1,
        Lane::Verify => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verdict_reads_back_as_it_was_written() {
        let text = || "said".to_owned();
        for verdict in [
            Verdict::Accepted(text()),
            Verdict::NotVerified(text()),
            Verdict::Rejected(text()),
            Verdict::Throttled {
                message: text(),
                retry_at: Some(UnixMicros(7)),
            },
            Verdict::ServerError(text()),
            Verdict::Unreachable(text()),
            Verdict::Misdirected(text()),
            Verdict::KeyRefused(text()),
            Verdict::Ambiguous(text()),
        ] {
            let back = decode(encode(&verdict), text(), Some(UnixMicros(7)));
            assert_eq!(back.as_ref(), Some(&verdict));
        }
        assert_eq!(decode(10, text(), None), None);
    }

    #[test]
    fn lanes_are_stored_by_their_index() {
        for lane in Lane::ALL {
            assert_eq!(usize::try_from(lane_index(lane)), Ok(lane.index()));
        }
    }
}
