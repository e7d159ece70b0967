//! The ledger as one SQLite file for all campaigns: embedded, nothing to install, open to any
//! viewer. One process at a time works with it; `status` and `report` read beside it.
//!
//! Durability: write-ahead log with `synchronous=FULL`, so a commit has reached the disk when it
//! returns. Deleted content (codes, above all) is overwritten (`secure_delete`).

mod error;
mod file;
mod health;
mod identity;
mod intake;
mod lock;
mod log;
mod rows;
mod run;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::LedgerError;
use crate::outcome::{Contact, Lane, Number, Operation, RunId, UnixMicros};
use crate::record::{CampaignId, CampaignRecord, End, InputRecord, Row, RunRecord};
use error::failed_to;
pub use health::Verified;
use identity::{doubt, keep_log, unfinished};
pub use intake::{CampaignKey, Intake};
use lock::{LedgerFile, Locked};
use rows::{Span, for_each};
pub use run::{Place, RunLedger};

/// SQLite before this one could corrupt a database with a write-ahead log and two connections.
const SQLITE_OLDEST: i32 = 3_051_003;

/// Memory that SQLite may use for pages and for sorting, in KiB (negative: SQLite's way to say so).
const CACHE_KIB: i64 = -6 * 1_024;

/// The log is moved into the file when it has this many pages (32 MB): each time costs some 20 ms
/// in which nothing is committed, which at 10,000 requests a second and SQLite's own 1,000 pages
/// costs the pace more than 1 %.
const CHECKPOINT_PAGES: i64 = 8_000;

/// A ledger file, open.
pub struct SqliteLedger {
    db: Locked,
    path: PathBuf,
}

/// What to do with a ledger that may lack requests which were made; see
/// [`doubt`](SqliteLedger::doubt).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Leave it.
    Refuse,
    /// Go on with it: whoever was sent to since may be sent to again.
    Accept,
}

/// A campaign in a ledger, with the place of its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Campaign {
    /// What is known of it.
    pub record: CampaignRecord,
    span: Span,
}

impl SqliteLedger {
    /// Is there a ledger? See [`open`](Self::open) for what is refused.
    ///
    /// # Errors
    /// When what is there cannot be one, or is what is left of one.
    pub fn exists(path: &Path) -> Result<bool, LedgerError> {
        file::is_there(&file::real(path)?)
    }

    /// Opens the file for a run, and makes a new one when there is none. It is looked through
    /// before anything is written to it: a damaged one stays exactly as it is.
    ///
    /// # Errors
    /// When another run holds it, when it is damaged, no ledger or too new, when it has several
    /// names or may lack requests, when it cannot be written.
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        Self::open_restored(path, Restored::Refuse)
    }

    /// Opens the file for a run, also one that may lack requests if that is what is wished.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_restored(path: &Path, restored: Restored) -> Result<Self, LedgerError> {
        let fault = failed_to("open the ledger", path);
        let file = Arc::new(LedgerFile::to_write(path)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&file.real, flags).map_err(&fault)?;
        let mut db = Locked { db, file };
        // Or closing a damaged file would move the log into it.
        keep_log(&db, file::log_length(&db.file.real) > 0).map_err(&fault)?;
        let format = recognise(&db, path)?;
        let doubt = doubt(&db).map_err(&fault)?;
        if let (Some(why), Restored::Refuse) = (doubt, restored) {
            return Err(LedgerError::Restored {
                path: path.to_owned(),
                why,
            });
        }
        db.pragma_update(None, "cache_size", CACHE_KIB)
            .map_err(&fault)?;
        let damage = health::damage(&db, &db.file.real).map_err(&fault)?;
        let lost = health::lost(&db.file.real).map_err(file::file_fault(path))?;
        if let Some(why) = damage.into_iter().chain(lost).next() {
            return Err(LedgerError::Damaged {
                path: path.to_owned(),
                why,
            });
        }
        settings(&db, path)?;
        if format < schema::newest() {
            schema::migrate(&mut db, format).map_err(&fault)?;
        }
        // The log is what tells a killed run's own file from a copy of it.
        let killed = unfinished(&db).map_err(&fault)?.is_some();
        if !killed {
            empty_the_log(&db).map_err(&fault)?;
        }
        keep_log(&db, killed).map_err(&fault)?;
        Ok(Self {
            db,
            path: path.to_owned(),
        })
    }

    /// Opens the file to read beside a run.
    ///
    /// # Errors
    /// When there is none, when it is damaged, no ledger or too new, when it has several names.
    pub fn open_to_read(path: &Path) -> Result<Self, LedgerError> {
        let file = Arc::new(LedgerFile::to_read(path)?);
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let fault = failed_to("open the ledger", path);
        let db = Connection::open_with_flags(&file.real, flags).map_err(&fault)?;
        let db = Locked { db, file };
        // One look at the file, whatever a run commits meanwhile.
        db.execute_batch("BEGIN").map_err(&fault)?;
        recognise(&db, path)?;
        db.pragma_update(None, "cache_size", CACHE_KIB)
            .map_err(&fault)?;
        Ok(Self {
            db,
            path: path.to_owned(),
        })
    }

    /// Who works with the ledger now, if anybody; to be asked of one that was opened to read.
    #[must_use]
    pub fn holder(&self) -> Option<String> {
        self.db.file.holder()
    }

    /// Why requests that were made may be missing in the file, if so.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn doubt(&self) -> Result<Option<String>, LedgerError> {
        doubt(&self.db).map_err(failed_to("read the latest run", &self.path))
    }

    /// Does the ledger's path lead to another file by now, or to none?
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.db.file.has_moved()
    }

    /// Looks through the whole ledger for what cannot be so.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub fn verify(&self) -> Result<Verified, LedgerError> {
        let real = &self.db.file.real;
        let mut verified = health::verify(&self.db, real)
            .map_err(failed_to("look through the ledger", &self.path))?;
        // Beside a run the log is on the move.
        if self.holder().is_none() {
            let lost = health::lost(real).map_err(file::file_fault(&self.path))?;
            verified.wrong.extend(lost);
        }
        Ok(verified)
    }

    /// Takes in an input; see [`Intake`]. `reading` names the settings it was read with: the same
    /// bytes read in the same way are not taken in again.
    ///
    /// # Errors
    /// The outer one when the ledger fails, the inner one is the input's own.
    pub fn take_in<E>(
        &mut self,
        key: &CampaignKey,
        input: &InputRecord,
        reading: &str,
        contacts: impl IntoIterator<Item = Result<Contact, E>>,
    ) -> Result<Result<Intake<'_>, E>, LedgerError> {
        let step = self
            .db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed_to("write to the ledger", &self.path))?;
        Intake::take(step, &self.path, key, input, reading, contacts)
    }

    /// Gives the ledger to a run: from now on only the run writes.
    ///
    /// # Errors
    /// When somebody reads in it from before the run, when it was moved, when the memory of the
    /// pace cannot be read.
    pub fn start(
        self,
        campaign: &Campaign,
        run: RunId,
        now: UnixMicros,
        place: Place,
    ) -> Result<RunLedger, LedgerError> {
        RunLedger::start(self, campaign, run, now, place)
    }

    /// Notes how a run ended, and when its last request left.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish_run(
        &self,
        run: RunId,
        now: UnixMicros,
        end: &End,
        last_left_at: Option<UnixMicros>,
    ) -> Result<(), LedgerError> {
        self.db
            .execute(
                "UPDATE run SET finished_at = ?2, end = ?3, last_left_at = ?4 WHERE id = ?1",
                params![
                    run.0,
                    now.0,
                    serde_json::to_string(end).unwrap_or_default(),
                    last_left_at.map(|at| at.0)
                ],
            )
            .and_then(|_| empty_the_log(&self.db))
            .and_then(|()| keep_log(&self.db, false))
            .map_err(failed_to("note the end of the run", &self.path))
    }

    /// All campaigns, in the order in which they were first run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn campaigns(&self) -> Result<Vec<Campaign>, LedgerError> {
        let read = || -> rusqlite::Result<Vec<Campaign>> {
            let sql = format!("{SELECT_CAMPAIGN} ORDER BY id");
            let mut select = self.db.prepare(&sql)?;
            let found = select.query_map([], |row| Ok(campaign(row)?.0))?;
            found.collect()
        };
        read().map_err(failed_to("list the campaigns", &self.path))
    }

    /// The campaign's latest run.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn latest_run(&self, campaign: CampaignId) -> Result<Option<RunRecord>, LedgerError> {
        self.db
            .query_row(
                "SELECT id, started_at, finished_at, end, settings, version FROM run
                  WHERE campaign = ?1 ORDER BY id DESC LIMIT 1",
                [campaign.0],
                |row| {
                    Ok(RunRecord {
                        id: RunId(row.get(0)?),
                        started_at: UnixMicros(row.get(1)?),
                        finished_at: row.get::<_, Option<i64>>(2)?.map(UnixMicros),
                        end: row
                            .get::<_, Option<String>>(3)?
                            .and_then(|end| serde_json::from_str(&end).ok()),
                        settings: serde_json::from_str(&row.get::<_, String>(4)?)
                            .unwrap_or_default(),
                        version: row.get(5)?,
                    })
                },
            )
            .optional()
            .map_err(failed_to("read the run", &self.path))
    }

    /// Hands each row of the campaign's latest input to `each`, in input order, until it says
    /// `Break`. Without records, `record` is left empty: they are most of the bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn for_each_row(
        &self,
        campaign: &Campaign,
        with_records: bool,
        each: &mut dyn FnMut(&Row) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        let mut read = || {
            let mut select = rows::scan(&self.db, with_records)?;
            for_each(&mut select, campaign.span, |stored| {
                Ok(each(&stored.into_row()).is_continue())
            })
        };
        read().map_err(failed_to("read the rows", &self.path))
    }

    /// Hands the times at which the requests of a run left, ascending, to `each`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn for_each_departure(
        &self,
        run: RunId,
        mut each: impl FnMut(UnixMicros),
    ) -> Result<(), LedgerError> {
        let mut read = || {
            let mut sorted = self.db.prepare(
                "SELECT coalesce(left_at, begun_at) AS at FROM attempt WHERE run = ?1 ORDER BY at",
            )?;
            let mut found = sorted.query([run.0])?;
            while let Some(row) = found.next()? {
                each(UnixMicros(row.get(0)?));
            }
            Ok(())
        };
        read().map_err(failed_to("read the attempts", &self.path))
    }
}

/// Moves the write-ahead log into the file and cuts it to nothing: what was deleted from the file
/// (codes, above all) must not be readable in old entries of the log. A reader beside us can hold
/// that up; the next time does it then.
fn empty_the_log(db: &Connection) -> rusqlite::Result<()> {
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}

/// The format of the file. Refuses what is not ours, and what is too new.
fn recognise(db: &Connection, path: &Path) -> Result<u32, LedgerError> {
    let fault = failed_to("read the ledger's format", path);
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let not_ours = |why: String| LedgerError::NotALedger {
        path: path.to_owned(),
        why,
    };
    let application = match pragma("application_id") {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(not_ours(error.to_string()));
        }
        read => read.map_err(&fault)?,
    };
    if application != schema::APPLICATION_ID {
        return Err(not_ours("it belongs to another program".to_owned()));
    }
    match u32::try_from(pragma("user_version").map_err(&fault)?) {
        Ok(found) if found > schema::newest() => Err(LedgerError::TooNew {
            path: path.to_owned(),
            found,
            known: schema::newest(),
        }),
        Ok(found) if found > 0 => match health::strange(db, found).map_err(&fault)? {
            None => Ok(found),
            Some(what) => Err(not_ours(format!(
                "somebody put {what} into it, which may change what is written or read"
            ))),
        },
        _ => Err(LedgerError::Damaged {
            path: path.to_owned(),
            why: "there never was a format like the one it names".to_owned(),
        }),
    }
}

/// What every writing connection is set to, checked where it matters.
fn settings(db: &Connection, path: &Path) -> Result<(), LedgerError> {
    assert!(
        rusqlite::version_number() >= SQLITE_OLDEST,
        "built against an SQLite that can corrupt its write-ahead log"
    );
    let fault = failed_to("open the ledger", path);
    let mode: String = db
        .query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))
        .map_err(&fault)?;
    if mode != "wal" {
        return Err(LedgerError::Database {
            path: path.to_owned(),
            what: "open the ledger",
            why: "no write-ahead log can be kept: its disk fails, or its file system does not \
                  support one; put it on a local disk"
                .to_owned(),
        });
    }
    // Where the mode has just changed, the log can be emptied only when something was read.
    db.pragma_query_value(None, "schema_version", |_| Ok(()))
        .and_then(|()| db.pragma_update(None, "synchronous", "FULL"))
        .and_then(|()| db.pragma_update(None, "secure_delete", true))
        .and_then(|()| db.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES))
        .and_then(|()| db.pragma_update(None, "cache_size", CACHE_KIB))
        .map_err(&fault)
}

const SELECT_CAMPAIGN: &str = "SELECT id, operation, name, sandbox, input_name, input_sha256, rows,
        header, first_row, reading FROM campaign";

/// A campaign and the settings with which its input was read.
fn campaign(row: &rusqlite::Row<'_>) -> rusqlite::Result<(Campaign, String)> {
    let operation: String = row.get(1)?;
    let rows: i64 = row.get(6)?;
    let first: i64 = row.get(8)?;
    // No ledger counts so far; a damaged one may.
    let in_range = rows >= 0 && first >= 0;
    let end = first.checked_add(rows).filter(|_| in_range);
    let end = end.ok_or(rusqlite::Error::IntegralValueOutOfRange(6, rows))?;
    let campaign = Campaign {
        record: CampaignRecord {
            id: CampaignId(row.get(0)?),
            operation: if operation == Operation::Verify.name() {
                Operation::Verify
            } else {
                Operation::Send
            },
            name: row.get(2)?,
            sandbox: row.get(3)?,
            input: InputRecord {
                name: row.get(4)?,
                sha256: row.get(5)?,
                rows: rows.cast_unsigned(),
                header: row.get(7)?,
            },
        },
        span: Span { first, end },
    };
    Ok((campaign, row.get(9)?))
}

fn find_campaign(
    db: &Connection,
    key: &CampaignKey,
) -> rusqlite::Result<Option<(Campaign, String)>> {
    let sql = format!("{SELECT_CAMPAIGN} WHERE name = ?1 AND operation = ?2 AND sandbox = ?3");
    db.query_row(
        &sql,
        params![key.name, key.operation.name(), key.sandbox],
        campaign,
    )
    .optional()
}

fn salt(db: &Connection) -> rusqlite::Result<Vec<u8>> {
    db.query_row("SELECT salt FROM ledger", [], |row| row.get(0))
}

/// A keyed hash by which a code is recognised after the code itself is deleted. The key is this
/// ledger's own. Never 0, which stands for "no code".
fn code_print(salt: &[u8], number: Number, code: &str) -> i64 {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, salt);
    let text = format!("{} {code}", number.digits());
    let tag = ring::hmac::sign(&key, text.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&tag.as_ref()[..8]);
    i64::from_le_bytes(first) | 1
}

/// The stored form of a lane, for SQL that names one.
fn stored_lane(lane: Lane) -> i64 {
    rows::lane_index(lane)
}
