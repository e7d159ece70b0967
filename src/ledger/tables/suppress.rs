//! Whom a run leaves out on purpose: suppression lists, the cool-down over all campaigns, and codes
//! that are too old.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::campaigns::{SELECT_CAMPAIGN, campaign};
use super::db::{CHUNK, Db, Table};
use super::error::Result;
use super::history;
use super::journey::Journeys;
use super::scan::Facts;
use crate::job::{JobId, Operation, UnixMicros};
use crate::ledger::rules::{Departure, is_recent};
use crate::ledger::{Campaign, LeaveOut, Records};
use crate::mistake::{Mistake, is_made};
use crate::next::{Step, next_step};
use crate::number::Number;
use crate::record::RowState;
use crate::run::Runs;

/// Notes for whom a run, the latest of `runs`, would do something but is not to; says how many they
/// are.
pub fn note(db: Db<'_>, of: &Campaign, runs: &Runs, whom: &LeaveOut<'_>) -> Result<u64> {
    let id = of.record.id;
    db.execute("DELETE FROM suppressed WHERE campaign = ?1", &[id.0.into()])?;
    let recent = if of.record.operation == Operation::Send {
        recent(db, of, whom)?
    } else {
        HashMap::new()
    };
    let max_age = whom.max_age;
    if recent.is_empty() && whom.excluded.is_empty() && max_age.is_none() {
        return Ok(0);
    }
    let facts = Facts::of(db, id)?;
    let mut journeys = Journeys::new(db, of.record.sandbox, &[]);
    let mut left_out: Vec<LeftOut> = Vec::new();
    // Of codes, whose OTPs are looked up together.
    let mut codes: Vec<(JobId, Number)> = Vec::new();
    facts.scan(db).for_each(of.span, Records::Skip, |stored| {
        let (Some(number), RowState::Job(attempts)) = (stored.number, &stored.state) else {
            return Ok(true);
        };
        if next_step(stored.lane, attempts, runs) == Step::Rest {
            return Ok(true);
        }
        if let Some(list) = whom.excluded.get(&number) {
            left_out.push((stored.job, Rc::from(&**list), None));
        } else if let Some(sent) = recent.get(&number) {
            left_out.push((stored.job, Rc::clone(&sent.campaign), Some(sent.at)));
        } else if max_age.is_some() {
            codes.push((stored.job, number));
        }
        if codes.len() == CHUNK {
            left_out.extend(too_old(&mut journeys, whom, &mut codes)?);
        }
        Ok(true)
    })?;
    left_out.extend(too_old(&mut journeys, whom, &mut codes)?);
    let into = Table {
        name: "suppressed",
        columns: ["job", "campaign", "by", "at"],
    };
    db.insert_all(&into, &left_out, |(job, by, at)| {
        [
            job.0.into(),
            id.0.into(),
            (&**by).into(),
            at.map(|at| at.0).into(),
        ]
    })?;
    Ok(left_out.len() as u64)
}

/// A job, which list or campaign it is left out for, and when that campaign sent.
type LeftOut = (JobId, Rc<str>, Option<UnixMicros>);

/// Of these codes, those that are too old to be checked.
fn too_old(
    journeys: &mut Journeys<'_>,
    whom: &LeaveOut<'_>,
    codes: &mut Vec<(JobId, Number)>,
) -> Result<Vec<LeftOut>> {
    let Some(max_age) = whom.max_age else {
        return Ok(Vec::new());
    };
    let numbers = codes.iter().map(|(_, number)| *number);
    let old = journeys.of_older_otps(numbers, whom.now, max_age)?;
    let left_out = codes.drain(..).filter_map(|(job, number)| {
        let (campaign, at) = old.get(&number)?;
        Some((job, Rc::clone(campaign), Some(*at)))
    });
    Ok(left_out.collect())
}

/// Somebody was sent to, or may have been.
struct Sent {
    campaign: Rc<str>,
    at: UnixMicros,
}

/// Whom the other campaigns have sent to, or may have sent to, within the cool-down.
fn recent(db: Db<'_>, of: &Campaign, whom: &LeaveOut<'_>) -> Result<HashMap<Number, Sent>> {
    let mut numbers = HashMap::new();
    if whom.cooldown.is_zero() || is_made(Mistake::NoCooldown) {
        return Ok(numbers);
    }
    let since = UnixMicros(whom.now.0.saturating_sub(micros(whom.cooldown)));
    // One whose answer is not there may have left a little later than it was begun.
    let begun = UnixMicros(since.0.saturating_sub(micros(Departure::LEFT_WITHIN)));
    let others = format!(
        "{SELECT_CAMPAIGN} WHERE operation = 'send' AND sandbox = ?1 AND id <> ?2
            AND EXISTS (SELECT 1 FROM run WHERE campaign = campaign.id
                           AND coalesce(last_left_at, finished_at, 9223372036854775807) >= ?3)"
    );
    let values = [
        of.record.sandbox.into(),
        of.record.id.0.into(),
        begun.0.into(),
    ];
    for other in db.all(&others, &values, |row| Ok(campaign(row)?.0))? {
        let other = other.record;
        let runs = history::runs(db, other.id)?;
        let facts = Facts::of(db, other.id)?;
        let mut jobs: HashMap<JobId, UnixMicros> = HashMap::new();
        facts.scan(db).for_each_attempt(begun, |job, attempt| {
            if let Some(at) = attempt.left_at()
                && is_recent(runs.meaning(attempt), at, whom.now, whom.cooldown)
            {
                jobs.insert(job, at);
            }
        })?;
        let name = Rc::from(other.name);
        let known = "SELECT number, job FROM known WHERE campaign = ?1";
        db.each(known, &[other.id.0.into()], |row| {
            let Some(at) = jobs.get(&JobId(row.get(1)?)).copied() else {
                return Ok(true);
            };
            let number = Number::new(row.get::<i64>(0)?.cast_unsigned());
            let Some(number) = number else {
                return Ok(true);
            };
            let campaign = Rc::clone(&name);
            let sent = numbers.entry(number).or_insert(Sent { campaign, at });
            if sent.at < at {
                let campaign = Rc::clone(&name);
                *sent = Sent { campaign, at };
            }
            Ok(true)
        })?;
    }
    Ok(numbers)
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}
