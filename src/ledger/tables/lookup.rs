//! What a person looks up: one number's whole life, and what was found out about it elsewhere.

use std::collections::HashSet;

use super::campaigns;
use super::db::Db;
use super::error::Result;
use super::rows::attempt_id;
use super::scan::Facts;
use super::{former, history};
use crate::job::{Attempt, Found, JobId, Lookup};
use crate::ledger::{Campaign, Life, Noted, Records};
use crate::number::Number;
use crate::record::Row;
use crate::run::{Meaning, Runs};
use crate::status::Status;

/// Notes what was found out about those of these numbers that are unknown; within a step. What
/// was found out before can be put right as long as nothing has followed from it.
pub fn settle(db: Db<'_>, of: &Campaign, numbers: &[Number], lookup: Lookup) -> Result<Noted> {
    let mut noted = Noted::default();
    let id = of.record.id;
    let runs = history::runs(db, id)?;
    let mut wanted: HashSet<Number> = numbers.iter().copied().collect();
    let rows = rows_of(db, of, &wanted)?;
    for (job, row, is_former) in &rows {
        let doubted = doubted(row, &runs);
        for attempt in &doubted {
            let note = "INSERT INTO lookup (attempt, at, sent) VALUES (?1, ?2, ?3)
                ON CONFLICT (attempt, at) DO UPDATE SET sent = excluded.sent";
            let values = [
                attempt_id(*job, attempt.n).into(),
                lookup.at.0.into(),
                (lookup.found == Found::Sent).into(),
            ];
            db.execute(note, &values)?;
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
        if jobs_of(db, number, id.0)?.is_empty() {
            noted.strange += 1;
        } else {
            noted.not_unknown += 1;
        }
    }
    Ok(noted)
}

/// The rows of a campaign for these numbers, those of earlier inputs too, each with its job: in one
/// pass, for the numbers may be many.
fn rows_of(db: Db<'_>, of: &Campaign, wanted: &HashSet<Number>) -> Result<Vec<(JobId, Row, bool)>> {
    let id = of.record.id;
    let is_wanted = |number: Option<Number>| number.is_some_and(|number| wanted.contains(&number));
    let mut rows = Vec::new();
    Facts::of(db, id)?
        .scan(db)
        .for_each(of.span, Records::Skip, |stored| {
            if stored.asks() && is_wanted(stored.number) {
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
pub fn lives(db: Db<'_>, number: Number) -> Result<Vec<Life>> {
    let mut lives = Vec::new();
    for of in campaigns::all(db)? {
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
fn jobs_of(db: Db<'_>, number: Number, campaign: i64) -> Result<Vec<JobId>> {
    let sql = "SELECT job FROM known WHERE number = ?1 AND campaign = ?2 ORDER BY job";
    let values = [number.digits().cast_signed().into(), campaign.into()];
    db.all(sql, &values, |row| row.get(0).map(JobId))
}
