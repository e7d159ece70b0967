//! Taking in an input: store its rows, and find for each number the job it belongs to.
//!
//! Everything happens in one transaction: until [`Intake::begin_run`] the ledger is as it was, so
//! a plan can be looked at and dropped. Records are written as they are read; what identifies a row
//! is kept in memory (80 bytes per row, and the codes to check) until it was claimed, in one
//! pass sorted by number. So each table is written once, in its own order, and nothing is changed
//! afterwards.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use secrecy::{ExposeSecret, SecretString};

use super::bulk::insert_all;
use super::error::failed_to;
use super::rows::{self, BlockWriter, Facts};
use super::seal::{Sealed, Seals};
use super::{SELECT_CAMPAIGN, campaign, find_campaign, former, history, suppress};
use crate::job::{Contact, GivenCode, JobId, Lane, Operation, Told, UnixMicros};
use crate::ledger::rules::{Claim, Claimed, CodePrint, KnownJob, claim, is_settled, may_be_of};
use crate::ledger::{Campaign, CampaignKey, Intake, LeaveOut, LedgerError, NewRun, Records, Span};
use crate::record::{CampaignId, CampaignRecord, InputRecord, Row};
use crate::run::{RunFact, RunFacts, RunId, Runs};

/// What is said of a masked code that cannot be told.
const NO_KNOWN_CODE: &str =
    "the code is masked, and which one it was cannot be told: give the code again";

/// Rows that are written at once, where they are not kept anyway.
const CHUNK: usize = 4_096;

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
                Codes::of(&step, &killed)?;
            }
            let old = find_campaign(&step, key)?;
            let codes = match &old {
                Some((campaign, _)) => Codes::of(&step, campaign)?,
                None => Codes::default(),
            };
            match old {
                Some((campaign, old_reading))
                    if campaign.record.input.sha256 == input.sha256 && old_reading == reading =>
                {
                    Ok(Ok((campaign, 0)))
                }
                old => store(
                    &step,
                    old.as_ref().map(|(old, _)| old),
                    codes,
                    (key, input, reading),
                    contacts,
                ),
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

/// What is known of the codes of a campaign to verify.
#[derive(Default)]
struct Codes {
    /// Jobs whose code was answered, and when.
    settled: HashMap<JobId, UnixMicros>,
    /// Jobs of the latest input whose code is still there.
    kept: HashSet<JobId>,
}

impl Codes {
    /// Reads them, and forgets those of settled jobs that a crash has left.
    fn of(db: &Transaction<'_>, campaign: &Campaign) -> rusqlite::Result<Self> {
        let mut codes = Self::default();
        if campaign.record.operation != Operation::Verify {
            return Ok(codes);
        }
        let id = campaign.record.id;
        let runs = history::runs(db, id)?;
        let facts = Facts::of(db, id)?;
        let scan = facts.scan(db);
        scan.for_each_attempt(UnixMicros(0), |job, attempt| {
            if let (true, Some(answer)) = (is_settled(attempt, &runs), &attempt.answer) {
                codes.settled.insert(job, answer.answered_at);
            }
        })?;
        scan.for_each(campaign.span, Records::Skip, |stored| {
            if stored.code.is_some() {
                codes.kept.insert(stored.job);
            }
            Ok(true)
        })?;
        for job in codes.settled.keys() {
            if codes.kept.remove(job) {
                forget_code(db, *job)?;
            }
        }
        Ok(codes)
    }
}

/// Deletes a code; its bytes are overwritten.
pub fn forget_code(db: &Connection, job: JobId) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM code WHERE job = ?1")?
        .execute([job.0])
        .map(|_| ())
}

/// A row whose code is masked: the line of the row that it means, and when that was settled.
type Masked = (Option<u64>, Option<UnixMicros>);

/// An input on its way into the tables.
struct NewInput<'t> {
    db: &'t Transaction<'t>,
    campaign: Campaign,
    seals: Seals,
    rows: Vec<Sealed>,
    claims: Vec<Claim>,
    /// Codes as given, by row.
    given: HashMap<i64, SecretString>,
    /// What the rows with masked codes tell of the rows that they mean.
    masked: HashMap<i64, Masked>,
    /// What is to be said of rows that ask for no work.
    special: Vec<(i64, String)>,
    /// The places of rows of which a result file says something.
    told: Vec<(usize, Told)>,
    /// How many rows say that they were settled when none was.
    settled_elsewhere: u64,
}

/// Stores an input in place of the campaign's `old` one.
fn store<E>(
    db: &Transaction<'_>,
    old: Option<&Campaign>,
    codes: Codes,
    (key, input, reading): (&CampaignKey, &InputRecord, &str),
    contacts: impl IntoIterator<Item = Result<Contact, E>>,
) -> rusqlite::Result<Result<(Campaign, u64), E>> {
    if let Some(old) = old {
        former::note_lines(db, old)?;
    }
    let id = old.map(|old| old.record.id);
    let campaign = put_campaign(db, id, key, input, reading)?;
    let mut new = NewInput {
        db,
        campaign,
        seals: Seals::of(db)?,
        rows: Vec::new(),
        claims: Vec::new(),
        given: HashMap::new(),
        masked: HashMap::new(),
        special: Vec::new(),
        told: Vec::new(),
        settled_elsewhere: 0,
    };
    if let Err(error) = new.read(contacts)? {
        return Ok(Err(error));
    }
    new.claim(old.is_none(), codes)?;
    rows::write(db, &new.seals, new.campaign.record.id, &new.rows)?;
    new.special.sort_unstable();
    rows::write_special(db, &new.special)?;
    if let Some(old) = old {
        former::replace(db, old, &new.rows)?;
    }
    let told_elsewhere = new.told_elsewhere()?;
    Ok(Ok((new.campaign, told_elsewhere)))
}

impl NewInput<'_> {
    /// Reads all rows; writes their records.
    fn read<E>(
        &mut self,
        contacts: impl IntoIterator<Item = Result<Contact, E>>,
    ) -> rusqlite::Result<Result<(), E>> {
        let mut records = BlockWriter::new(self.db, &self.seals, self.campaign.span.first);
        let lane = match self.campaign.record.operation {
            Operation::Send => Lane::Sms,
            Operation::Verify => Lane::Verify,
        };
        for (id, contact) in (self.campaign.span.first..).zip(contacts) {
            let contact = match contact {
                Ok(contact) => contact,
                Err(error) => return Ok(Err(error)),
            };
            records.add(contact.record)?;
            if contact.told != Told::Nothing {
                self.told.push((self.rows.len(), contact.told));
            }
            let mut row = Sealed {
                row: id,
                line: contact.line,
                lane,
                kind: rows::INVALID,
                assumed: false,
                number: None,
                job: JobId(id),
            };
            match contact.request {
                Err(problem) => self.special.push((id, problem.0.to_owned())),
                Ok(request) => {
                    row.number = Some(request.number);
                    row.lane = request.lane;
                    row.kind = rows::JOB;
                    row.assumed = request.assumed_mobile;
                    let print = match request.code {
                        None => CodePrint::NONE,
                        Some(GivenCode::Masked { line, settled_at }) => {
                            self.masked.insert(id, (line, settled_at));
                            CodePrint::MASKED
                        }
                        Some(GivenCode::Plain(code)) => {
                            let print = self.seals.code(request.number, code.expose_secret());
                            self.given.insert(id, code);
                            print
                        }
                    };
                    self.claims.push(Claim {
                        number: request.number,
                        print,
                        row: id,
                        line: contact.line,
                    });
                }
            }
            self.rows.push(row);
        }
        records.end()?;
        Ok(Ok(()))
    }

    /// How many rows say something of which the campaign knows nothing.
    fn told_elsewhere(&self) -> rusqlite::Result<u64> {
        let of_number = "k.number = ?1 AND k.campaign = ?2";
        let exists = |what: &str| {
            self.db
                .prepare(&format!("SELECT EXISTS (SELECT 1 FROM known k {what})"))
        };
        let mut is_known = exists(&format!("WHERE {of_number} AND k.job < ?3"))?;
        let is_tried = format!("JOIN intent i ON i.id = k.job << 20 | 1 WHERE {of_number}");
        let mut is_tried = exists(&format!("{is_tried} AND k.job < ?3"))?;
        let (id, first) = (self.campaign.record.id.0, self.campaign.span.first);
        let mut elsewhere = self.settled_elsewhere;
        for (place, told) in &self.told {
            let Some(number) = self.rows[*place].number else {
                continue;
            };
            let select = match told {
                Told::Tried => &mut is_tried,
                Told::Known | Told::Nothing => &mut is_known,
            };
            let bound = [number.digits().cast_signed(), id, first];
            let is_so: bool = select.query_row(bound, |found| found.get(0))?;
            elsewhere += u64::from(!is_so);
        }
        Ok(elsewhere)
    }

    /// Finds for each row its job: a known one, the one of an earlier line, or one of its own.
    /// Keeps the codes that are still to be checked, and forgets those of the input before that no
    /// row of this one means.
    fn claim(&mut self, is_new: bool, mut codes: Codes) -> rusqlite::Result<()> {
        let (db, id) = (self.db, self.campaign.record.id.0);
        let first = self.campaign.span.first;
        self.claims.sort_unstable();
        let mut select =
            db.prepare("SELECT job, code_print FROM known WHERE number = ?1 AND campaign = ?2")?;
        let (mut added, mut needed) = (Vec::with_capacity(CHUNK), Vec::new());
        let was_kept = codes.kept.clone();
        for of_number in self
            .claims
            .chunk_by(|one, other| one.number == other.number)
        {
            let mut known = Vec::new();
            if !is_new {
                let number = of_number[0].number.digits().cast_signed();
                let found = select.query_map([number, id], |row| {
                    let job = JobId(row.get(0)?);
                    Ok(KnownJob {
                        job,
                        print: CodePrint(row.get(1)?),
                        settled_at: codes.settled.get(&job).copied(),
                        has_code: was_kept.contains(&job),
                    })
                })?;
                known = found.collect::<Result<_, _>>()?;
            }
            let mut stood = HashSet::new();
            for claim in of_number {
                if let Some((Some(line), _)) = self.masked.get(&claim.row) {
                    let jobs = former::stood_on(db, self.campaign.record.id, *line)?;
                    stood.extend(jobs.into_iter().map(|job| (claim.row, job)));
                }
            }
            let means = |claim: &Claim, known: &KnownJob| {
                let settled_at = self.masked.get(&claim.row).and_then(|masked| masked.1);
                // One that could not be told was never settled, and is no better told now.
                let not_told = former::not_told(claim.number);
                stood.contains(&(claim.row, known.job))
                    && may_be_of(settled_at, known)
                    && (settled_at.is_some() || !stood.contains(&(claim.row, not_told)))
            };
            claim(of_number, &known, means, |claim, claimed| {
                // The rows lie in another order than the numbers: most are not touched again.
                let place = usize::try_from(claim.row - first).unwrap_or(usize::MAX);
                let (mut job, mut settled) = (JobId(claim.row), false);
                match claimed {
                    Claimed::New => added.push(*claim),
                    Claimed::Known(known) => {
                        (job, settled) = (known.job, known.settled_at.is_some());
                        self.rows[place].job = job;
                    }
                    Claimed::Duplicate { first_line, job } => {
                        self.rows[place].kind = rows::DUPLICATE;
                        self.rows[place].job = job;
                        self.special.push((claim.row, first_line.to_string()));
                        return;
                    }
                    Claimed::NoKnownCode => {
                        let told = self.masked.get(&claim.row).and_then(|masked| masked.1);
                        let is_ours =
                            |known: &KnownJob| known.settled_at.is_some() && may_be_of(told, known);
                        let elsewhere = told.is_some() && !known.iter().any(is_ours);
                        self.settled_elsewhere += u64::from(elsewhere);
                        self.rows[place].kind = rows::INVALID;
                        self.special.push((claim.row, NO_KNOWN_CODE.to_owned()));
                        return;
                    }
                }
                if !settled && claim.print != CodePrint::NONE {
                    codes.kept.remove(&job);
                    needed.extend(self.given.remove(&claim.row).map(|code| (job, code)));
                }
            });
            if added.len() >= CHUNK {
                add_known(db, id, &added)?;
                added.clear();
            }
        }
        add_known(db, id, &added)?;
        needed.sort_unstable_by_key(|(job, _)| *job);
        let into = "INSERT OR REPLACE INTO code (job, code)";
        insert_all(db, into, &needed, |(job, code)| {
            [job.0.into(), code.expose_secret().into()]
        })?;
        codes
            .kept
            .into_iter()
            .try_for_each(|job| forget_code(db, job))
    }
}

fn add_known(db: &Connection, campaign: i64, claims: &[Claim]) -> rusqlite::Result<()> {
    let into = "INSERT INTO known (number, campaign, code_print, job)";
    insert_all(db, into, claims, |claim| {
        [
            claim.number.digits().cast_signed().into(),
            campaign.into(),
            claim.print.0.into(),
            claim.row.into(),
        ]
    })
}

/// Gives the input a range of ids and makes it the campaign's latest.
fn put_campaign(
    db: &Transaction<'_>,
    id: Option<CampaignId>,
    key: &CampaignKey,
    input: &InputRecord,
    reading: &str,
) -> rusqlite::Result<Campaign> {
    let rows = input.rows.cast_signed();
    let first: i64 = db.query_row(
        "UPDATE ledger SET next_id = next_id + ?1 RETURNING next_id - ?1",
        [rows],
        |row| row.get(0),
    )?;
    let id: i64 = db.query_row(
        "INSERT OR REPLACE INTO campaign (id, operation, name, sandbox, input_name, input_sha256,
                reading, header, rows, first_row)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) RETURNING id",
        params![
            id.map(|id| id.0),
            key.operation.name(),
            key.name,
            key.sandbox,
            input.name,
            input.sha256,
            reading,
            input.header,
            rows,
            first
        ],
        |row| row.get(0),
    )?;
    Ok(Campaign {
        record: CampaignRecord {
            id: CampaignId(id),
            operation: key.operation,
            name: key.name.clone(),
            sandbox: key.sandbox,
            input: input.clone(),
        },
        span: Span {
            first,
            end: first + rows,
        },
    })
}
