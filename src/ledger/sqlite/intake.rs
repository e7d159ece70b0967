//! Taking in an input: store its rows, and find for each number the job it belongs to.
//!
//! Everything happens in one transaction: until [`Intake::begin_run`] the ledger is as it was, so
//! a plan can be looked at and dropped.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction};

use super::error::failed_to;
use super::rows::Facts;
use super::{SELECT_CAMPAIGN, campaign, find_campaign, former, history, new_input, suppress};
use crate::job::{Contact, JobId, Lane, Operation, UnixMicros};
use crate::ledger::rules::is_settled;
use crate::ledger::{Campaign, CampaignKey, Intake, LeaveOut, LedgerError, NewRun, Records};
use crate::record::{CampaignRecord, InputRecord, Row};
use crate::run::{RunFact, RunFacts, RunId, Runs};

/// An input taken in but not yet committed.
pub struct SqliteIntake<'l> {
    step: Transaction<'l>,
    campaign: Campaign,
    told_elsewhere: u64,
    path: &'l Path,
}

impl<'l> SqliteIntake<'l> {
    /// Stores the input's rows, unless exactly this input, read in the same way, is there already.
    pub(super) fn take<E>(
        step: Transaction<'l>,
        path: &'l Path,
        key: &CampaignKey,
        input: &InputRecord,
        reading: &str,
        contacts: impl IntoIterator<Item = Result<Contact, E>>,
    ) -> Result<Result<Self, E>, LedgerError> {
        let take = || {
            // What the run was refused may keep its codes.
            history::note_waves_of_killed(&step)?;
            if let Some(killed) = killed(&step)? {
                settled(&step, &killed)?;
            }
            let old = find_campaign(&step, key)?;
            let settled = match &old {
                Some((campaign, _)) => settled(&step, campaign)?,
                None => HashMap::new(),
            };
            match old {
                Some((campaign, old_reading))
                    if campaign.record.input.sha256 == input.sha256 && old_reading == reading =>
                {
                    Ok(Ok((campaign, 0)))
                }
                old => {
                    let old = old.map(|(old, _)| old);
                    let input = (key, input, reading);
                    new_input::store(&step, path, old.as_ref(), &settled, input, contacts)
                }
            }
        };
        let campaign = take().map_err(failed_to("store the input", path))?;
        Ok(campaign.map(|(campaign, told_elsewhere)| Self {
            step,
            campaign,
            told_elsewhere,
            path,
        }))
    }
}

impl Intake for SqliteIntake<'_> {
    fn told_elsewhere(&self) -> u64 {
        self.told_elsewhere
    }

    fn runs(&self, new: &NewRun<'_>) -> Result<Runs, LedgerError> {
        let campaign = self.campaign.record.id;
        let read = || -> rusqlite::Result<Runs> {
            let mut runs = history::runs(&self.step, campaign)?;
            runs.insert(RunId::NEXT, RunFacts::new(new.policy));
            if history::is_proven(&self.step, campaign, new.endpoint)? {
                runs.add(RunId::NEXT, &RunFact::EndpointProven);
            }
            Ok(runs)
        };
        read().map_err(failed_to("read the runs", self.path))
    }

    fn leave_out(&self, runs: &Runs, whom: &LeaveOut<'_>) -> Result<(), LedgerError> {
        suppress::note(&self.step, &self.campaign, runs, whom)
            .map_err(failed_to("find out whom to leave out", self.path))
    }

    fn for_each_former(&self, mut each: impl FnMut(&Row)) -> Result<(), LedgerError> {
        former::for_each(&self.step, self.campaign.record.id, None, |_, _, row| {
            each(row);
            true
        })
        .map_err(failed_to("read the plan", self.path))
    }

    fn campaign(&self) -> &CampaignRecord {
        &self.campaign.record
    }

    fn left_on(&self, day: &Range<UnixMicros>) -> Result<[u64; Lane::ALL.len()], LedgerError> {
        history::left_on(&self.step, self.campaign.record.sandbox, RunId::NEXT, day)
            .map_err(failed_to("count what left on a day", self.path))
    }

    fn latencies(&self) -> Result<[Option<Duration>; Lane::ALL.len()], LedgerError> {
        history::latencies(&self.step, self.campaign.record.sandbox)
            .map_err(failed_to("read how long answers took", self.path))
    }

    fn for_each_row(
        &self,
        records: Records,
        mut each: impl FnMut(&Row, bool),
    ) -> Result<(), LedgerError> {
        let mut read = || {
            let facts = Facts::of(&self.step, self.campaign.record.id)?;
            let scan = facts.scan(&self.step);
            scan.for_each(self.campaign.span, records, |stored| {
                let assumed_mobile = stored.assumed_mobile;
                each(&stored.into_row(), assumed_mobile);
                Ok(true)
            })
        };
        read().map_err(failed_to("read the plan", self.path))
    }

    fn begin_run(
        self,
        now: UnixMicros,
        new: &NewRun<'_>,
    ) -> Result<(Campaign, RunId), LedgerError> {
        let write = || {
            let run = history::begin(&self.step, self.campaign.record.id, now, new)?;
            self.step.commit()?;
            Ok((self.campaign, run))
        };
        write().map_err(failed_to("store the input", self.path))
    }
}

/// The campaign of the latest run, if that was killed: codes may be left of it that were answered.
fn killed(db: &Connection) -> rusqlite::Result<Option<Campaign>> {
    let of_latest = "id = (SELECT campaign FROM run WHERE finished_at IS NULL
                              AND id = (SELECT max(id) FROM run))";
    let sql = format!("{SELECT_CAMPAIGN} WHERE {of_latest}");
    db.query_row(&sql, [], |row| Ok(campaign(row)?.0))
        .optional()
}

/// Jobs whose code was answered, and when.
pub type Settled = HashMap<JobId, UnixMicros>;

/// Reads which codes of a campaign were answered, and forgets those of them that a crash has left.
fn settled(db: &Transaction<'_>, campaign: &Campaign) -> rusqlite::Result<Settled> {
    let mut settled = HashMap::new();
    if campaign.record.operation != Operation::Verify {
        return Ok(settled);
    }
    let id = campaign.record.id;
    let runs = history::runs(db, id)?;
    let facts = Facts::of(db, id)?;
    facts
        .scan(db)
        .for_each_attempt(UnixMicros(0), |job, attempt| {
            if let (true, Some(answer)) = (is_settled(attempt, &runs), &attempt.answer) {
                settled.insert(job, answer.answered_at);
            }
        })?;
    let mut left = Vec::new();
    let mut select = db.prepare("SELECT job FROM code")?;
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        let job = JobId(row.get(0)?);
        left.extend(settled.contains_key(&job).then_some(job));
    }
    left.into_iter().try_for_each(|job| blank_code(db, job))?;
    delete_blank_codes(db)?;
    Ok(settled)
}

/// Deletes a code; its bytes are overwritten.
pub fn forget_code(db: &Connection, job: JobId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM code WHERE job = ?1")?
        .execute([job.0])
        .map(|_| ())
}

/// Overwrites a code in its place. Deleting moves what lies beside it in the file, and leaves copies:
/// so codes are blank before the first of many is deleted.
pub fn blank_code(db: &Connection, job: JobId) -> rusqlite::Result<()> {
    let blank = "UPDATE code SET code = substr('--------------------------------', 1, length(code))
                  WHERE job = ?1";
    db.prepare_cached(blank)?.execute([job.0]).map(|_| ())
}

/// Deletes all of them; no code begins like a blank.
pub fn delete_blank_codes(db: &Connection) -> rusqlite::Result<()> {
    db.execute("DELETE FROM code WHERE code LIKE '-%'", [])
        .map(|_| ())
}
