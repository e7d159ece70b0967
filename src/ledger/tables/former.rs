//! What inputs leave behind that are replaced: numbers that were attempted and that nobody asks for
//! any more, and the lines on which codes stood.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use super::db::{CHUNK, Db, Table, Value};
use super::error::{Result, damaged};
use super::intake::forget_codes;
use super::rows;
use super::scan::Facts;
use super::sorter::Sorter;
use crate::job::{JobId, Operation};
use crate::ledger::{Campaign, Records, Span};
use crate::mistake::{Mistake, is_made};
use crate::number::Number;
use crate::record::{CampaignId, Row, RowState};

/// Notes on which lines the codes of an input stand, before it is replaced.
pub fn note_lines(db: Db<'_>, old: &Campaign) -> Result<()> {
    if old.record.operation == Operation::Send {
        return Ok(());
    }
    let note = "INSERT INTO stood
         SELECT ?1, line, CASE kind WHEN ?4 THEN -number ELSE coalesce(job, id) END FROM contact
          WHERE id >= ?2 AND id < ?3 AND (kind <> ?4 OR number IS NOT NULL)
         ON CONFLICT DO NOTHING";
    let (id, Span { first, end }) = (old.record.id.0, old.span);
    let values = [id.into(), first.into(), end.into(), rows::INVALID.into()];
    db.execute(note, &values).map(drop)
}

/// Stands for the job of a row whose masked code could not be told: no job of its number.
pub fn not_told(number: Number) -> JobId {
    JobId(-number.digits().cast_signed())
}

/// The jobs whose codes stood on each of these lines, in any of the campaign's inputs; see also
/// [`not_told`].
pub fn stood_on(
    db: Db<'_>,
    campaign: CampaignId,
    lines: &[u64],
) -> Result<HashMap<u64, HashSet<JobId>>> {
    let sql = "SELECT line, job FROM stood WHERE line = ?1 AND campaign = ?2";
    let lines: Vec<i64> = lines.iter().map(|line| line.cast_signed()).collect();
    let mut stood: HashMap<u64, HashSet<JobId>> = HashMap::new();
    db.all_of(sql, &lines, &[campaign.0.into()], |row| {
        let line = row.get::<i64>(0)?.cast_unsigned();
        stood.entry(line).or_default().insert(JobId(row.get(1)?));
        Ok(())
    })?;
    Ok(stood)
}

/// Removes the rows of an input that those of `new` have replaced, and the codes that none of them
/// means; keeps the rows that were attempted and that no new one asks for.
pub fn replace(db: Db<'_>, path: &Path, old: &Campaign, new: Span) -> Result<()> {
    let has_codes = old.record.operation == Operation::Verify;
    let mut left = Sorter::beside(path);
    let mut codes = Vec::new();
    let mut returned = Vec::new();
    let mut asked_for = None;
    for record in jobs(db, path, old, new)?.sorted()? {
        let [job, whose, row] = record?;
        let job = JobId(job.cast_signed());
        match whose {
            ASKED_FOR => asked_for = Some(job),
            FORMER => returned.extend((asked_for == Some(job)).then_some(job.0)),
            OLD if asked_for != Some(job) => {
                codes.extend(has_codes.then_some(job));
                left.push([row])?;
            }
            _ => {}
        }
    }
    db.execute_of("DELETE FROM former WHERE job = ?1", &returned)?;
    forget_codes(db, &codes)?;
    keep(db, old, left)?;
    for (table, id) in [("contact", "id"), ("special", "row"), ("block", "first")] {
        let delete = format!("DELETE FROM {table} WHERE {id} >= ?1 AND {id} < ?2");
        db.execute(&delete, &[old.span.first.into(), old.span.end.into()])?;
    }
    Ok(())
}

/// Whose a job is, in the order in which it has to be known.
const ASKED_FOR: u64 = 0;
const FORMER: u64 = 1;
const OLD: u64 = 2;

/// The jobs of the rows that are new, of those that were left behind before, and of the old rows.
fn jobs(db: Db<'_>, path: &Path, old: &Campaign, new: Span) -> Result<Sorter<3>> {
    let mut jobs = Sorter::beside(path);
    let of_rows = "SELECT coalesce(job, id), id FROM contact
                    WHERE id >= ?1 AND id < ?2 AND kind <> ?3 ORDER BY id";
    let invalid = i64::from(rows::INVALID);
    let of_former = "SELECT job, job FROM former WHERE campaign = ?1";
    for (whose, sql, bound) in [
        (ASKED_FOR, of_rows, &[new.first, new.end, invalid][..]),
        (FORMER, of_former, &[old.record.id.0][..]),
        (OLD, of_rows, &[old.span.first, old.span.end, invalid][..]),
    ] {
        let bound: Vec<Value<'_>> = bound.iter().map(|bound| (*bound).into()).collect();
        db.each(sql, &bound, |row| {
            let (job, row): (i64, i64) = (row.get(0)?, row.get(1)?);
            jobs.push([job.cast_unsigned(), whose, row.cast_unsigned()])?;
            Ok(true)
        })?;
    }
    Ok(jobs)
}

/// Keeps those rows of an input that is replaced that are `left` and were attempted.
fn keep(db: Db<'_>, old: &Campaign, left: Sorter<1>) -> Result<()> {
    let mut left = left.sorted()?.peekable();
    let mut kept = Vec::new();
    let facts = Facts::without_answers(db, old.record.id)?;
    facts.scan(db).for_each(old.span, Records::Read, |stored| {
        let (row, job) = (stored.row.0.cast_unsigned(), stored.job);
        if left
            .next_if(|left| !matches!(left, Ok([left]) if *left != row))
            .transpose()?
            .is_none()
        {
            return Ok(true);
        }
        let row = stored.into_row();
        if !row.attempts().is_empty() && !is_made(Mistake::FormerDropped) {
            kept.push((job, row));
        }
        if kept.len() == CHUNK {
            write(db, old, &kept)?;
            kept.clear();
        }
        Ok(true)
    })?;
    write(db, old, &kept)
}

fn write(db: Db<'_>, old: &Campaign, kept: &[(JobId, Row)]) -> Result<()> {
    let into = Table {
        name: "former",
        columns: [
            "job", "campaign", "line", "lane", "number", "header", "record",
        ],
    };
    let otherwise = "ON CONFLICT (job) DO UPDATE SET campaign = excluded.campaign,
        line = excluded.line, lane = excluded.lane, number = excluded.number,
        header = excluded.header, record = excluded.record";
    db.insert_or(&into, otherwise, kept, |(job, row)| {
        let number = row.number.map_or(0, Number::digits);
        [
            job.0.into(),
            old.record.id.0.into(),
            row.line.cast_signed().into(),
            (row.lane as i64).into(),
            number.cast_signed().into(),
            old.record.input.header.as_str().into(),
            row.record.as_str().into(),
        ]
    })
}

/// Hands each number that was attempted and that the campaign's latest input has no more to `each`
/// (or `only` that of one job), with its job and the header of its record, until it says `false`.
pub fn for_each(
    db: Db<'_>,
    campaign: CampaignId,
    only: Option<JobId>,
    mut each: impl FnMut(JobId, &str, &Row) -> bool,
) -> Result<()> {
    let sql = "SELECT job, line, lane, number, header, record FROM former
          WHERE campaign = ?1 AND job = coalesce(?2, job) ORDER BY job";
    // Mostly there are none, and answers are many.
    let mut facts = None;
    let mut formers: Vec<(JobId, String, Row)> = Vec::new();
    let mut is_going = true;
    let mut hand_over = |formers: &mut Vec<(JobId, String, Row)>| {
        if formers.is_empty() {
            return Ok(is_going);
        }
        let facts = match &mut facts {
            Some(facts) => facts,
            none => none.insert(Facts::of(db, campaign)?),
        };
        let jobs: Vec<JobId> = formers.iter().map(|(job, ..)| *job).collect();
        let mut attempts = facts.scan(db).attempts_of(&jobs)?;
        for (job, header, mut row) in formers.drain(..) {
            row.state = RowState::Job(attempts.remove(&job).unwrap_or_default());
            is_going = is_going && each(job, &header, &row);
        }
        Ok(is_going)
    };
    db.each(
        sql,
        &[campaign.0.into(), only.map(|job| job.0).into()],
        |row| {
            let job = JobId(row.get(0)?);
            let number = Number::new(row.get::<i64>(3)?.cast_unsigned());
            let former = Row {
                line: row.get::<i64>(1)?.cast_unsigned(),
                record: row.get(5)?,
                number: Some(number.ok_or_else(|| damaged(format!("job {}: no number", job.0)))?),
                lane: rows::lane(row.get(2)?, 2)?,
                state: RowState::Job(Vec::new()),
            };
            formers.push((job, row.get(4)?, former));
            if formers.len() < CHUNK {
                return Ok(true);
            }
            hand_over(&mut formers)
        },
    )?;
    hand_over(&mut formers).map(drop)
}
