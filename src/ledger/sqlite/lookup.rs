//! What a person looks up: one number's whole life, and what was found out about it elsewhere.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::rows::{Answers, Scan, attempt_id};
use super::seal::Seals;
use super::{SELECT_CAMPAIGN, campaign, former, history};
use crate::job::{Attempt, Found, JobId, Lookup};
use crate::ledger::{Campaign, Life, Noted, Records, Span};
use crate::number::Number;
use crate::record::Row;
use crate::run::{Meaning, RunId, Runs};
use crate::status::Status;

/// Notes what was found out about those of these numbers that are unknown, in one transaction. What
/// was found out before can be put right as long as nothing has followed from it.
pub fn settle(
    db: &mut Connection,
    of: &Campaign,
    numbers: &[Number],
    lookup: Lookup,
) -> rusqlite::Result<Noted> {
    let mut noted = Noted::default();
    let step = db.transaction()?;
    let id = of.record.id;
    let runs = history::runs(&step, id)?;
    let distinct: HashSet<Number> = numbers.iter().copied().collect();
    for number in distinct {
        let jobs = jobs_of(&step, number, id.0)?;
        let mut found = None;
        for job in &jobs {
            let Some((row, is_former)) = row_of(&step, of, number, *job)? else {
                continue;
            };
            let doubted = doubted(&row, &runs);
            for attempt in &doubted {
                step.execute(
                    "INSERT OR REPLACE INTO lookup (attempt, at, sent) VALUES (?1, ?2, ?3)",
                    params![
                        attempt_id(*job, attempt.n),
                        lookup.at.0,
                        lookup.found == Found::Sent
                    ],
                )?;
            }
            if !doubted.is_empty() {
                found = Some(is_former);
            }
        }
        match found {
            None if jobs.is_empty() => noted.strange += 1,
            None => noted.not_unknown += 1,
            Some(is_former) => {
                noted.noted += 1;
                noted.former += u64::from(is_former);
            }
        }
    }
    step.commit()?;
    Ok(noted)
}

/// The attempts that may be said to have been sent, or not: those that may have been, and those of
/// which that was said before, unless another has followed.
fn doubted<'a>(row: &'a Row, runs: &Runs) -> Vec<&'a Attempt> {
    let attempts = row.attempts().iter();
    if row.outcome(runs).status == Status::Unknown {
        let doubted = |attempt: &&Attempt| runs.meaning(attempt) == Meaning::Ambiguous;
        return attempts.filter(doubted).collect();
    }
    match row.attempts().last() {
        Some(last) if last.lookup.is_some() => attempts
            .filter(|attempt| attempt.lookup.is_some())
            .collect(),
        _ => Vec::new(),
    }
}

/// All that is known of a number, campaign by campaign.
pub fn lives(db: &Connection, number: Number) -> rusqlite::Result<Vec<Life>> {
    let mut select = db.prepare(&format!("{SELECT_CAMPAIGN} ORDER BY id"))?;
    let campaigns = select.query_map([], |row| Ok(campaign(row)?.0))?;
    let mut lives = Vec::new();
    for of in campaigns {
        let of = of?;
        for job in jobs_of(db, number, of.record.id.0)? {
            let Some((row, is_former)) = row_of(db, &of, number, job)? else {
                continue;
            };
            lives.push(Life {
                campaign: of.record.clone(),
                row,
                is_former,
            });
        }
    }
    Ok(lives)
}

/// A campaign's jobs for a number; with codes there may be several.
fn jobs_of(db: &Connection, number: Number, campaign: i64) -> rusqlite::Result<Vec<JobId>> {
    let sql = "SELECT job FROM known WHERE number = ?1 AND campaign = ?2 ORDER BY job";
    db.prepare_cached(sql)?
        .query_map([number.digits().cast_signed(), campaign], |row| {
            row.get(0).map(JobId)
        })?
        .collect()
}

/// The row of the latest input that asks for a job, or the last one that did, if there are attempts;
/// and whether it is such a former one.
fn row_of(
    db: &Connection,
    of: &Campaign,
    number: Number,
    job: JobId,
) -> rusqlite::Result<Option<(Row, bool)>> {
    let Span { first, end } = of.span;
    let sql = "SELECT id FROM contact WHERE id >= ?1 AND id < ?2 AND number = ?3 AND kind = 0
                  AND coalesce(job, id) = ?4";
    let mut select = db.prepare_cached(sql)?;
    let found = select.query_map([first, end, number.digits().cast_signed(), job.0], |row| {
        row.get(0)
    })?;
    let ids: Vec<i64> = found.collect::<Result<_, _>>()?;
    let campaign = of.record.id;
    let mut row = None;
    if let Some(id) = ids.first() {
        let scan = Scan {
            db,
            seals: &Seals::of(db)?,
            campaign,
            answers: &Answers::of(db, campaign, RunId::NEXT)?,
        };
        let one = Span {
            first: *id,
            end: id + 1,
        };
        scan.for_each(one, Records::Skip, |stored| {
            row = Some((stored.into_row(), false));
            Ok(true)
        })?;
        return Ok(row);
    }
    former::for_each_job(db, campaign, Some(job), |_, former| {
        row = Some((former.clone(), true));
        false
    })?;
    Ok(row)
}
