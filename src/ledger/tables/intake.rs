//! Taking in an input: store its rows, and find for each number the job it belongs to.
//!
//! Everything happens in one transaction: until [`Intake::begin_run`] the ledger is as it was, so
//! a plan can be looked at and dropped.

use std::collections::HashMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::campaigns::{self, find};
use super::db::{Db, Step};
use super::error::{Fault, Result, failed_to};
use super::new_input::{self, EachNew};
use super::scan::Facts;
use super::{former, history, suppress};
use crate::job::{Attempt, Contact, JobId, Lane, Operation, RowId, UnixMicros};
use crate::ledger::postgres::fleet;
use crate::ledger::rules::settled_at;
use crate::ledger::sqlite::LedgerFile;
use crate::ledger::{Campaign, CampaignKey, LeaveOut, LedgerError, NewRun, PerLane, Records};
use crate::mistake::{Mistake, is_made};
use crate::record::{CampaignId, CampaignRecord, InputRecord, Row};
use crate::run::{RunFact, RunFacts, RunId, Runs};

/// An input taken in but not yet durable: dropped, it leaves no mark.
pub struct Intake<'l> {
    step: Step<'l>,
    campaign: Campaign,
    /// It is the campaign's first input.
    is_first: bool,
    /// Others work on it already.
    joins: bool,
    told_elsewhere: u64,
    path: PathBuf,
    /// The ledger's, if it is one and the rows were durable in it before.
    file: Option<Arc<LedgerFile>>,
}

impl<'l> Intake<'l> {
    /// Stores the input's rows, unless exactly this input, read in the same way, is there already;
    /// those of a first one are handed to `each_new`.
    pub(crate) fn take<E>(
        step: Step<'l>,
        (path, file): (PathBuf, Option<Arc<LedgerFile>>),
        key: &CampaignKey,
        input: &InputRecord,
        reading: &str,
        contacts: impl IntoIterator<Item = Result<Contact, E>>,
        each_new: &mut EachNew<'_>,
    ) -> Result<Result<Self, E>, LedgerError> {
        let db = step.db();
        let (mut is_first, mut is_new, mut joins) = (false, true, false);
        let beside = db.beside();
        let take = || {
            for killed in history::killed(db)? {
                conclude(db, killed.run, killed.campaign)?;
            }
            let old = find(db, key)?;
            let settled = match &old {
                Some((campaign, _)) => settled(db, campaign)?,
                None => HashMap::new(),
            };
            match old {
                Some((campaign, old_reading))
                    if campaign.record.input.sha256 == input.sha256 && old_reading == reading =>
                {
                    (is_new, joins) = (false, is_on(db, &campaign)?);
                    Ok(Ok((campaign, 0)))
                }
                old => {
                    let old = old.map(|(old, _)| old);
                    if old.as_ref().map(|old| is_on(db, old)).transpose()? == Some(true) {
                        return Err(Fault::Refused(format!(
                            "other machines work on campaign {}, with other rows or read in another way: a changed list is taken in when they have ended",
                            key.name
                        )));
                    }
                    is_first = old.is_none();
                    let (input, old) = ((key, input, reading), old.as_ref());
                    new_input::store(db, &beside, old, &settled, input, contacts, each_new)
                }
            }
        };
        let campaign = take().map_err(failed_to("store the input", &path))?;
        Ok(campaign.map(|(campaign, told_elsewhere)| Self {
            step,
            campaign,
            is_first,
            joins,
            told_elsewhere,
            path,
            file: file.filter(|_| !is_new),
        }))
    }

    /// The campaign that it is for.
    #[must_use]
    pub fn campaign(&self) -> &CampaignRecord {
        &self.campaign.record
    }

    /// Is it the campaign's first input? Then nothing was tried for any of its rows.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// How many rows say something of themselves of which this ledger's campaign knows nothing:
    /// another ledger does.
    #[must_use]
    pub fn told_elsewhere(&self) -> u64 {
        self.told_elsewhere
    }

    /// The campaign's earlier runs, and the one that would begin now as [`RunId::NEXT`].
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn runs(&self, new: &NewRun<'_>) -> Result<Runs, LedgerError> {
        let (db, campaign) = (self.step.db(), self.campaign.record.id);
        let read = || -> Result<Runs> {
            let mut runs = history::runs(db, campaign)?;
            runs.insert(RunId::NEXT, RunFacts::new(new.policy));
            if history::is_proven(db, campaign, new.endpoint)? {
                runs.add(RunId::NEXT, &RunFact::EndpointProven);
            }
            if let Db::Postgres(server) = db {
                fleet::on(server)?
                    .into_iter()
                    .for_each(|on| runs.set_on(on));
            }
            Ok(runs)
        };
        read().map_err(failed_to("read the runs", &self.path))
    }

    /// Notes whom a run, the latest of `runs`, leaves out on purpose, of those for whom it would do
    /// something, and returns how many that are; and forgets whom the one before left out.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn leave_out(&self, runs: &Runs, whom: &LeaveOut<'_>) -> Result<u64, LedgerError> {
        if self.joins {
            // The run that is on has left them out.
            return Ok(0);
        }
        suppress::note(self.step.db(), &self.campaign, runs, whom)
            .map_err(failed_to("find out whom to leave out", &self.path))
    }

    /// Hands each number that was attempted and that the input has no more to `each`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn for_each_former(&self, mut each: impl FnMut(&Row)) -> Result<(), LedgerError> {
        former::for_each(
            self.step.db(),
            self.campaign.record.id,
            None,
            |_, _, row| {
                each(row);
                true
            },
        )
        .map_err(failed_to("read the plan", &self.path))
    }

    /// Hands every row to `each`, in input order, with whether its number was taken as a mobile
    /// against the numbering plan's data. It says on which lane the run has something to do for it, if
    /// so: rows before the first of these are not looked at again.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn for_each_row(
        &mut self,
        records: Records,
        mut each: impl FnMut(&Row, bool) -> Option<Lane>,
    ) -> Result<(), LedgerError> {
        let (db, span) = (self.step.db(), self.campaign.span);
        let mut due_from = [span.end; Lane::ALL.len()];
        let file = self.file.as_ref();
        let beside = file.map_or_else(Vec::new, |file| file.readers_beside(span.rows()));
        let read = || {
            let facts = Facts::of(db, self.campaign.record.id)?;
            facts
                .scan(db)
                .for_each_beside(beside, span, records, |stored| {
                    let (RowId(id), assumed_mobile) = (stored.row, stored.assumed_mobile);
                    if let Some(lane) = each(&stored.into_row(), assumed_mobile) {
                        let first = &mut due_from[lane.index()];
                        *first = id.min(*first);
                    }
                    Ok(true)
                })
        };
        read().map_err(failed_to("read the plan", &self.path))?;
        let late = i64::from(is_made(Mistake::OneRowLate));
        self.campaign.due_from = due_from.map(|first| first + late);
        Ok(())
    }

    /// How many requests of all campaigns left on each lane, or may have, while a clock on the wall
    /// was within `day`. Rehearsals and real runs are apart.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn left_on(&self, day: &Range<UnixMicros>) -> Result<PerLane, LedgerError> {
        history::left_on(self.step.db(), self.campaign.record.sandbox, &[], day)
            .map_err(failed_to("count what left on a day", &self.path))
    }

    /// How long the gateway took of late to answer on each lane, over all campaigns: half of the
    /// answers took no longer. `None`: there were none. Rehearsals and real runs are apart.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn latencies(&self) -> Result<[Option<Duration>; Lane::ALL.len()], LedgerError> {
        history::latencies(self.step.db(), self.campaign.record.sandbox)
            .map_err(failed_to("read how long answers took", &self.path))
    }

    /// Makes the input durable and notes that a run begins.
    ///
    /// # Errors
    /// When it cannot be written: then nothing was.
    pub fn begin_run(
        self,
        now: UnixMicros,
        new: &NewRun<'_>,
    ) -> Result<(Campaign, RunId), LedgerError> {
        let write = || {
            let run = match self.step.db() {
                Db::Postgres(server) => fleet::begin(server, &self.campaign, now, new)?,
                db @ Db::Sqlite(_) => history::begin(db, self.campaign.record.id, now, new)?,
            };
            self.step.commit()?;
            Ok::<_, Fault>((self.campaign, run))
        };
        write().map_err(failed_to("store the input", &self.path))
    }
}

/// Does anybody work on this campaign right now? A file is in the hands of one process.
fn is_on(db: Db<'_>, campaign: &Campaign) -> Result<bool> {
    match db {
        Db::Sqlite(_) => Ok(false),
        Db::Postgres(server) => Ok(fleet::open_run(server, campaign.record.id)?.is_some()),
    }
}

/// What a run would have noted and forgotten itself, had it come to its end alone.
pub fn conclude(db: Db<'_>, run: RunId, campaign: CampaignId) -> Result<()> {
    // What it was refused may keep its codes.
    history::note_waves_of(db, run)?;
    settled(db, &campaigns::of(db, campaign)?).map(drop)
}

/// Jobs whose code was answered, and when.
pub type Settled = HashMap<JobId, UnixMicros>;

/// Reads which codes of a campaign were answered, and forgets those of them that a crash has left.
fn settled(db: Db<'_>, campaign: &Campaign) -> Result<Settled> {
    let mut settled = HashMap::new();
    if campaign.record.operation != Operation::Verify {
        return Ok(settled);
    }
    let mut of_job: Vec<Attempt> = Vec::new();
    let id = campaign.record.id;
    let runs = history::runs(db, id)?;
    let facts = Facts::of(db, id)?;
    facts
        .scan(db)
        .for_each_attempt(UnixMicros(0), |job, attempt| {
            if attempt.n == 1 {
                of_job.clear();
            }
            of_job.push(attempt.clone());
            match settled_at(&of_job, &runs) {
                Some(at) => settled.insert(job, at),
                None => settled.remove(&job),
            };
        })?;
    let mut left = Vec::new();
    db.each("SELECT job FROM code", &[], |row| {
        let job = JobId(row.get(0)?);
        left.extend(settled.contains_key(&job).then_some(job));
        Ok(true)
    })?;
    forget_codes(db, &left)?;
    Ok(settled)
}

/// Deletes a code; in a file its bytes are overwritten.
pub fn forget_code(db: Db<'_>, job: JobId) -> Result<()> {
    db.execute("DELETE FROM code WHERE job = ?1", &[job.0.into()])
        .map(drop)
}

/// Deletes codes. In a file deleting moves what lies beside one, and leaves copies: so codes are
/// blank before the first of many is deleted. A server never sees them.
pub fn forget_codes(db: Db<'_>, jobs: &[JobId]) -> Result<()> {
    if let Db::Postgres(_) = db {
        let jobs: Vec<i64> = jobs.iter().map(|job| job.0).collect();
        return db.execute_of("DELETE FROM code WHERE job = ?1", &jobs);
    }
    let blank = "UPDATE code SET code = substr('--------------------------------', 1, length(code))
                  WHERE job = ?1";
    let mut blank = db.prepare(blank)?;
    for job in jobs {
        blank.execute(&[job.0.into()])?;
    }
    // No code begins like a blank.
    db.execute("DELETE FROM code WHERE code LIKE '-%'", &[])
        .map(drop)
}
