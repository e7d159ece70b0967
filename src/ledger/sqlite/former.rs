//! What inputs leave behind that are replaced: numbers that were attempted and that nobody asks for
//! any more, and the lines on which codes stood.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::bulk::insert_all;
use super::error::damaged;
use super::rows::{self, Facts};
use super::seal::Sealed;
use crate::job::{JobId, Operation};
use crate::ledger::{Campaign, Records};
use crate::mistake::{Mistake, is_made};
use crate::number::Number;
use crate::record::{CampaignId, Row, RowState};

/// Notes on which lines the codes of an input stand, before it is replaced.
pub fn note_lines(db: &Connection, old: &Campaign) -> rusqlite::Result<()> {
    if old.record.operation == Operation::Send {
        return Ok(());
    }
    db.execute(
        "INSERT OR IGNORE INTO stood
         SELECT ?1, line, CASE kind WHEN ?4 THEN -number ELSE coalesce(job, id) END FROM contact
          WHERE id >= ?2 AND id < ?3 AND (kind <> ?4 OR number IS NOT NULL)",
        params![old.record.id.0, old.span.first, old.span.end, rows::INVALID],
    )
    .map(|_| ())
}

/// Stands for the job of a row whose masked code could not be told: no job of its number.
pub fn not_told(number: Number) -> JobId {
    JobId(-number.digits().cast_signed())
}

/// The jobs whose codes stood on this line, in any of the campaign's inputs; see also [`not_told`].
pub fn stood_on(
    db: &Connection,
    campaign: CampaignId,
    line: u64,
) -> rusqlite::Result<HashSet<JobId>> {
    db.prepare_cached("SELECT job FROM stood WHERE campaign = ?1 AND line = ?2")?
        .query_map([campaign.0, line.cast_signed()], |row| {
            row.get(0).map(JobId)
        })?
        .collect()
}

/// Removes the rows of an input that `new` ones have replaced, and keeps those that were attempted
/// and that no new row asks for.
pub fn replace(db: &Connection, old: &Campaign, new: &[Sealed]) -> rusqlite::Result<()> {
    let campaign = old.record.id;
    let mut asked_for: Vec<JobId> = new.iter().map(|row| row.job).collect();
    asked_for.sort_unstable();
    let facts = Facts::without_answers(db, campaign)?;
    let mut left = Vec::new();
    facts.scan(db).for_each(old.span, Records::Read, |stored| {
        let job = stored.job;
        let row = stored.into_row();
        let is_former = !row.attempts().is_empty() && asked_for.binary_search(&job).is_err();
        if is_former && !is_made(Mistake::FormerDropped) {
            left.push((job, row));
        }
        Ok(true)
    })?;
    let into = "INSERT OR REPLACE INTO former (job, campaign, line, lane, number, header, record)";
    insert_all(db, into, &left, |(job, row)| {
        let number = row.number.map_or(0, Number::digits);
        [
            job.0.into(),
            campaign.0.into(),
            row.line.cast_signed().into(),
            (row.lane as i64).into(),
            number.cast_signed().into(),
            old.record.input.header.as_str().into(),
            row.record.as_str().into(),
        ]
    })?;
    for (table, id) in [("contact", "id"), ("special", "row"), ("block", "first")] {
        let delete = format!("DELETE FROM {table} WHERE {id} >= ?1 AND {id} < ?2");
        db.execute(&delete, [old.span.first, old.span.end])?;
    }
    let mut select = db.prepare("SELECT job FROM former WHERE campaign = ?1")?;
    let former = select.query_map([campaign.0], |row| row.get(0).map(JobId))?;
    let former: Vec<JobId> = former.collect::<Result<_, _>>()?;
    let mut back = db.prepare("DELETE FROM former WHERE job = ?1")?;
    for job in former {
        if asked_for.binary_search(&job).is_ok() {
            back.execute([job.0])?;
        }
    }
    Ok(())
}

/// Hands each number that was attempted and that the campaign's latest input has no more to `each`
/// (or `only` that of one job), with its job and the header of its record, until it says `false`.
pub fn for_each(
    db: &Connection,
    campaign: CampaignId,
    only: Option<JobId>,
    mut each: impl FnMut(JobId, &str, &Row) -> bool,
) -> rusqlite::Result<()> {
    let mut select = db.prepare(
        "SELECT job, line, lane, number, header, record FROM former
          WHERE campaign = ?1 AND job = coalesce(?2, job) ORDER BY job",
    )?;
    let mut found = select.query(params![campaign.0, only.map(|job| job.0)])?;
    // Mostly there are none, and answers are many.
    let mut facts = None;
    while let Some(row) = found.next()? {
        let facts = match &mut facts {
            Some(facts) => facts,
            none => none.insert(Facts::of(db, campaign)?),
        };
        let job = JobId(row.get(0)?);
        let number = Number::new(row.get::<_, i64>(3)?.cast_unsigned());
        let former = Row {
            line: row.get::<_, i64>(1)?.cast_unsigned(),
            record: row.get(5)?,
            number: Some(number.ok_or_else(|| damaged(format!("job {}: no number", job.0)))?),
            lane: rows::lane(row.get(2)?, 2)?,
            state: RowState::Job(facts.scan(db).attempts_of(job)?),
        };
        if !each(job, row.get_ref(4)?.as_str()?, &former) {
            break;
        }
    }
    Ok(())
}
