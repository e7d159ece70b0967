//! Taking in an input: store its rows, and find for each number the job it belongs to.
//!
//! Everything happens in one transaction: until [`Intake::begin_run`] the ledger is as it was, so
//! a plan can be looked at and dropped. Numbers are checked and claimed in one pass sorted by
//! number (the look-ups then touch each page once), and what differs from "new" is written back in
//! one pass sorted by row. SQLite's sorter spills to disk, so memory does not grow with the rows.

use rusqlite::{OptionalExtension, Statement, Transaction, params};
use secrecy::ExposeSecret;

use super::error::failed_to;
use super::rows::{self, Span, Stored, for_each};
use super::{Campaign, code_print, keep_log};
use crate::ledger::LedgerError;
use crate::outcome::{Contact, GivenCode, Operation, RunId, UnixMicros};
use crate::record::{CampaignId, CampaignRecord, InputRecord, Row};

/// What an intake is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignKey {
    /// What is done.
    pub operation: Operation,
    /// The name that the user gave it.
    pub name: String,
    /// A rehearsal.
    pub sandbox: bool,
}

/// What is said of a masked code without a known one.
const NO_KNOWN_CODE: &str = "the code is masked and none was given for the number before";

/// Codes on their way from one input to the next, within one transaction. Not a temporary table:
/// those may spill into files that nobody overwrites.
const CREATE_KEPT_CODE: &str =
    "CREATE TABLE kept_code (job INTEGER PRIMARY KEY, code TEXT NOT NULL) STRICT";

/// An input taken in but not yet committed.
pub struct Intake<'l> {
    step: Transaction<'l>,
    campaign: Campaign,
    path: &'l std::path::Path,
}

impl<'l> Intake<'l> {
    /// Stores the input's rows, unless exactly this input, read in the same way, is there already.
    pub(super) fn take<E>(
        step: Transaction<'l>,
        path: &'l std::path::Path,
        key: &CampaignKey,
        input: &InputRecord,
        reading: &str,
        contacts: impl IntoIterator<Item = Result<Contact, E>>,
    ) -> Result<Result<Self, E>, LedgerError> {
        let fault = failed_to("store the input", path);
        let known = super::find_campaign(&step, key).map_err(&fault)?;
        let campaign = match known {
            Some((campaign, old_reading))
                if campaign.record.input.sha256 == input.sha256 && old_reading == reading =>
            {
                campaign
            }
            other => {
                step.execute_batch(CREATE_KEPT_CODE).map_err(&fault)?;
                if let Some((old, _)) = &other {
                    keep_codes(&step, old).map_err(&fault)?;
                    step.execute(
                        "DELETE FROM contact WHERE id >= ?1 AND id < ?2",
                        params![old.span.first, old.span.end],
                    )
                    .map_err(&fault)?;
                }
                let id = other.map(|(old, _)| old.record.id);
                let campaign = put_campaign(&step, id, key, input, reading).map_err(&fault)?;
                let stored = store(&step, &campaign, contacts).map_err(&fault)?;
                if let Err(error) = stored {
                    return Ok(Err(error));
                }
                claim(&step, &campaign).map_err(&fault)?;
                give_codes(&step, &campaign).map_err(&fault)?;
                campaign
            }
        };
        Ok(Ok(Self {
            step,
            campaign,
            path,
        }))
    }

    /// Hands every row to `each`, in input order, with whether its number was taken as a mobile
    /// against the numbering plan's data. The rows' records are left empty.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn for_each_row(&self, mut each: impl FnMut(&Row, bool)) -> Result<(), LedgerError> {
        let mut read = || {
            let mut select = rows::scan(&self.step, false)?;
            for_each(&mut select, self.campaign.span, |stored: Stored| {
                let assumed_mobile = stored.assumed_mobile;
                each(&stored.into_row(), assumed_mobile);
                Ok(true)
            })
        };
        read().map_err(failed_to("read the plan", self.path))
    }

    /// Makes the input durable and notes that a run begins.
    ///
    /// # Errors
    /// When it cannot be written: then nothing was.
    pub fn begin_run(
        self,
        now: UnixMicros,
        settings: &serde_json::Value,
    ) -> Result<(Campaign, RunId), LedgerError> {
        let write = || {
            self.step.execute(
                "INSERT INTO run (campaign, started_at, settings, version) VALUES (?1, ?2, ?3, ?4)",
                params![
                    self.campaign.record.id.0,
                    now.0,
                    settings.to_string(),
                    env!("CARGO_PKG_VERSION")
                ],
            )?;
            let run = RunId(self.step.last_insert_rowid());
            keep_log(&self.step, true)?;
            self.step.commit()?;
            Ok((self.campaign, run))
        };
        write().map_err(failed_to("store the input", self.path))
    }
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

/// Writes the rows down as read.
fn store<E>(
    db: &Transaction<'_>,
    campaign: &Campaign,
    contacts: impl IntoIterator<Item = Result<Contact, E>>,
) -> rusqlite::Result<Result<(), E>> {
    let salt = super::salt(db)?;
    let mut insert = db.prepare(
        "INSERT INTO contact (id, line, record, lane, number, problem, assumed, code, code_print)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    let default_lane = rows::lane_index(match campaign.record.operation {
        Operation::Send => crate::outcome::Lane::Sms,
        Operation::Verify => crate::outcome::Lane::Verify,
    });
    for (id, contact) in (campaign.span.first..).zip(contacts) {
        let contact = match contact {
            Ok(contact) => contact,
            Err(error) => return Ok(Err(error)),
        };
        let line = contact.line.cast_signed();
        match contact.wish {
            Err(problem) => insert.execute(params![
                id,
                line,
                contact.record,
                default_lane,
                None::<i64>,
                problem.0,
                false,
                None::<&str>,
                0
            ])?,
            Ok(wish) => {
                let (code, print) = match &wish.code {
                    None => (None, Some(0)),
                    Some(GivenCode::Masked) => (None, None),
                    Some(GivenCode::Plain(code)) => {
                        let code = code.expose_secret();
                        (Some(code), Some(code_print(&salt, wish.number, code)))
                    }
                };
                insert.execute(params![
                    id,
                    line,
                    contact.record,
                    rows::lane_index(wish.lane),
                    wish.number.digits().cast_signed(),
                    None::<&str>,
                    wish.assumed_mobile,
                    code,
                    print
                ])?
            }
        };
    }
    Ok(Ok(()))
}

/// Sets the codes of the input before aside: a masked code of the next one means one of them.
fn keep_codes(db: &Transaction<'_>, old: &Campaign) -> rusqlite::Result<()> {
    db.execute(
        "INSERT INTO kept_code SELECT coalesce(job, id), code FROM contact
          WHERE id >= ?1 AND id < ?2 AND code IS NOT NULL AND first_line IS NULL",
        params![old.span.first, old.span.end],
    )
    .map(|_| ())
}

/// Gives masked rows the codes that they mean, and forgets the others.
fn give_codes(db: &Transaction<'_>, campaign: &Campaign) -> rusqlite::Result<()> {
    db.execute(
        "UPDATE contact SET code = (SELECT code FROM kept_code k WHERE k.job = contact.job)
          WHERE id >= ?1 AND id < ?2 AND code_print IS NULL AND job IS NOT NULL
            AND first_line IS NULL",
        params![campaign.span.first, campaign.span.end],
    )?;
    db.execute_batch("DROP TABLE kept_code")
}

/// Finds for each row its job: a known one, the one of an earlier line, or a new one of its own.
fn claim(db: &Transaction<'_>, campaign: &Campaign) -> rusqlite::Result<()> {
    db.execute_batch(
        "CREATE TEMP TABLE differs (id INTEGER, job INTEGER, first_line INTEGER, problem TEXT, forget INTEGER)",
    )?;
    let mut sorted = db.prepare(
        "SELECT number, code_print, id, line FROM contact
          WHERE id >= ?1 AND id < ?2 AND number IS NOT NULL ORDER BY number, code_print, id",
    )?;
    let mut claims = Claims {
        campaign: campaign.record.id,
        exact: db.prepare(
            "SELECT job FROM known WHERE number = ?1 AND campaign = ?2 AND code_print = ?3",
        )?,
        all: db.prepare(
            "SELECT job, EXISTS (SELECT 1 FROM attempt a WHERE a.job = k.job AND a.lane = 2
                                    AND a.verdict IN (1, 2, 3)) AS settled
               FROM known k WHERE number = ?1 AND campaign = ?2 ORDER BY settled, job",
        )?,
        kept: db.prepare("SELECT 1 FROM kept_code WHERE job = ?1")?,
        add: db.prepare("INSERT INTO known VALUES (?1, ?2, ?3, ?4)")?,
        differs: db.prepare("INSERT INTO differs VALUES (?1, ?2, ?3, ?4, ?5)")?,
        attempts: db.prepare(
            "SELECT 1 FROM attempt WHERE job = ?1 AND lane = 2 AND verdict IN (1, 2, 3) LIMIT 1",
        )?,
    };
    let mut found = sorted.query(params![campaign.span.first, campaign.span.end])?;
    let mut number = None;
    let mut jobs_of_number: Vec<(i64, i64)> = Vec::new();
    while let Some(row) = found.next()? {
        let this: i64 = row.get(0)?;
        if number != Some(this) {
            number = Some(this);
            jobs_of_number.clear();
        }
        claims.claim(
            this,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            &mut jobs_of_number,
        )?;
    }
    drop(found);
    write_back(db)
}

/// The prepared statements of one claiming pass.
struct Claims<'s> {
    campaign: CampaignId,
    exact: Statement<'s>,
    all: Statement<'s>,
    kept: Statement<'s>,
    add: Statement<'s>,
    differs: Statement<'s>,
    attempts: Statement<'s>,
}

impl Claims<'_> {
    /// Claims one row; `seen` holds the jobs of its number found in this input so far, each with
    /// its line.
    fn claim(
        &mut self,
        number: i64,
        print: Option<i64>,
        id: i64,
        line: i64,
        seen: &mut Vec<(i64, i64)>,
    ) -> rusqlite::Result<()> {
        let campaign = self.campaign.0;
        let known: Option<i64> = match print {
            Some(print) => self
                .exact
                .query_row(params![number, campaign, print], |row| row.get(0))
                .optional()?,
            None => self.masked(number, seen)?,
        };
        let Some(job) = known.or(print.map(|_| id)) else {
            self.differs
                .execute(params![id, None::<i64>, None::<i64>, NO_KNOWN_CODE, false])?;
            return Ok(());
        };
        if let Some((_, first_line)) = seen.iter().find(|(seen_job, _)| *seen_job == job) {
            self.differs
                .execute(params![id, job, first_line, None::<&str>, true])?;
            return Ok(());
        }
        seen.push((job, line));
        if known.is_none() {
            self.add.execute(params![number, campaign, print, id])?;
        } else {
            let settled = self.attempts.exists([job])?;
            self.differs
                .execute(params![id, job, None::<i64>, None::<&str>, settled])?;
        }
        Ok(())
    }
}

impl Claims<'_> {
    /// The job that a masked code stands for: one that no row has claimed yet, unsettled ones
    /// first, so that none is lost when only some of a number's rows come back.
    fn masked(&mut self, number: i64, seen: &[(i64, i64)]) -> rusqlite::Result<Option<i64>> {
        let mut found = self.all.query(params![number, self.campaign.0])?;
        let mut claimed = None;
        while let Some(row) = found.next()? {
            let (job, settled): (i64, bool) = (row.get(0)?, row.get(1)?);
            if seen.iter().any(|(seen_job, _)| *seen_job == job) {
                claimed = Some(job);
            } else if settled || self.kept.exists([job])? {
                return Ok(Some(job));
            }
        }
        Ok(claimed)
    }
}

/// Writes what the claiming pass found, in the order of the rows.
fn write_back(db: &Transaction<'_>) -> rusqlite::Result<()> {
    let mut differs =
        db.prepare("SELECT id, job, first_line, problem, forget FROM differs ORDER BY id")?;
    let mut update = db.prepare(
        "UPDATE contact SET job = ?2, first_line = ?3, problem = ?4,
                code = CASE WHEN ?5 THEN NULL ELSE code END
          WHERE id = ?1",
    )?;
    let mut found = differs.query([])?;
    while let Some(row) = found.next()? {
        update.execute(params![
            row.get::<_, i64>(0)?,
            row.get::<_, Option<i64>>(1)?,
            row.get::<_, Option<i64>>(2)?,
            row.get::<_, Option<String>>(3)?,
            row.get::<_, bool>(4)?
        ])?;
    }
    drop(found);
    drop((differs, update));
    db.execute_batch("DROP TABLE temp.differs")
}
