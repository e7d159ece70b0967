//! What a person looks up: one number's whole life, and what was found out about it elsewhere.

use std::collections::HashSet;

use rusqlite::{Connection, params};

use super::rows::{Facts, attempt_id};
use super::{SELECT_CAMPAIGN, campaign, former, history};
use crate::job::{Attempt, Found, JobId, Lookup};
use crate::ledger::{Campaign, Life, Noted, Records};
use crate::number::Number;
use crate::record::{Row, RowState};
use crate::run::{Meaning, Runs};
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
    let mut wanted: HashSet<Number> = numbers.iter().copied().collect();
    let rows = rows_of(&step, of, &wanted)?;
    for (job, row, is_former) in &rows {
        let doubted = doubted(row, &runs);
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
        row.number.map(|number| wanted.remove(&number));
        if doubted.is_empty() {
            noted.not_unknown += 1;
        } else {
            noted.noted += 1;
            noted.former += u64::from(*is_former);
        }
    }
    // Of those who left the list before anything was done for them there is no row.
    for number in wanted {
        if jobs_of(&step, number, id.0)?.is_empty() {
            noted.strange += 1;
        } else {
            noted.not_unknown += 1;
        }
    }
    step.commit()?;
    Ok(noted)
}

/// The rows of a campaign for these numbers, those of earlier inputs too, each with its job: in one
/// pass, for the numbers may be many.
fn rows_of(
    db: &Connection,
    of: &Campaign,
    wanted: &HashSet<Number>,
) -> rusqlite::Result<Vec<(JobId, Row, bool)>> {
    let id = of.record.id;
    let is_wanted = |number: Option<Number>| number.is_some_and(|number| wanted.contains(&number));
    let mut rows = Vec::new();
    Facts::of(db, id)?
        .scan(db)
        .for_each(of.span, Records::Skip, |stored| {
            let asks = matches!(stored.state, RowState::Job(_) | RowState::Suppressed(..));
            if asks && is_wanted(stored.number) {
                rows.push((stored.job, stored.into_row(), false));
            }
            Ok(true)
        })?;
    former::for_each(db, id, None, |job, _, row| {
        if is_wanted(row.number) {
            rows.push((job, row.clone(), true));
        }
        true
    })?;
    Ok(rows)
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
        if jobs_of(db, number, of.record.id.0)?.is_empty() {
            continue;
        }
        let rows = rows_of(db, &of, &HashSet::from([number]))?.into_iter();
        lives.extend(rows.map(|(_, row, is_former)| Life {
            campaign: of.record.clone(),
            row,
            is_former,
        }));
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
