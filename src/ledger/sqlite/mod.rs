//! The ledger as one SQLite file for all campaigns: embedded, nothing to install, open to any
//! viewer. One process at a time works with it; `status` and `report` read beside it.
//!
//! Durability: write-ahead log with `synchronous=FULL`, so a commit has reached the disk when it
//! returns. Deleted content (codes, above all) is overwritten (`secure_delete`).

mod asked;
mod bulk;
mod codes;
mod error;
mod file;
mod former;
mod health;
mod history;
mod identity;
mod intake;
mod journey;
mod lock;
mod log;
mod lookup;
mod migrate;
mod new_input;
mod purge;
mod rows;
mod run;
mod schema;
mod seal;
mod sorter;
mod suppress;
mod writer;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use super::{
    Campaign, CampaignKey, Execution, LedgerError, Life, Noted, Purged, Records, Span, Store,
    Verified,
};
use crate::clock::Clock;
use crate::job::{Contact, Lookup, Operation, UnixMicros};
use crate::journey::Journey;
use crate::number::Number;
use crate::record::{CampaignId, CampaignRecord, InputRecord, Row, RunRecord};
use crate::run::{End, RunId, Runs};
use error::failed_to;
use identity::{doubt, keep_log, unmark};
pub use intake::SqliteIntake;
use lock::{LedgerFile, Locked};
use rows::Facts;
pub use run::RunLedger;

/// SQLite before this one could corrupt a database with a write-ahead log and two connections.
const SQLITE_OLDEST: i32 = 3_051_003;

/// Memory that SQLite may use for pages and for sorting, in KiB (negative: SQLite's way to say so).
const CACHE_KIB: i64 = -6 * 1_024;

/// The log is moved into the file when it has this many pages (8 MB). Facts are appended, so few
/// pages are in it twice, and each time is short.
const CHECKPOINT_PAGES: i64 = 2_000;

/// A ledger file, open.
pub struct SqliteLedger {
    db: Locked,
    path: PathBuf,
    doubt: Option<&'static str>,
    /// What was seen of one that was opened to read; see [`version`].
    version: Option<i64>,
}

/// What to do with a ledger that may lack requests which were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// Leave it.
    Refuse,
    /// Go on with it: whoever was sent to since may be sent to again.
    Accept,
}

impl SqliteLedger {
    /// The file as it was named.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

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
        let doubt = doubt(&db, format).map_err(&fault)?;
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
        if format < schema::NEWEST {
            schema::migrate(&mut db, format).map_err(&fault)?;
        }
        unmark(&db)
            .and_then(|()| empty_the_log(&db))
            .and_then(|_| keep_log(&db, false))
            .map_err(&fault)?;
        Ok(Self {
            db,
            path: path.to_owned(),
            doubt: None,
            version: None,
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
        let mut db = Locked { db, file };
        // One look at the file, whatever a run commits meanwhile.
        db.execute_batch("BEGIN").map_err(&fault)?;
        let format = recognise(&db, path)?;
        let doubt = doubt(&db, format).map_err(&fault)?;
        let seen = version(&db).map_err(&fault)?;
        let is_copy = format < schema::NEWEST;
        if is_copy {
            db.db = migrated_copy(&db, path, format)?;
        }
        db.pragma_update(None, "cache_size", CACHE_KIB)
            .map_err(&fault)?;
        Ok(Self {
            db,
            path: path.to_owned(),
            doubt,
            version: Some(seen).filter(|_| !is_copy),
        })
    }

    /// Who works with the ledger now, if anybody; to be asked of one that was opened to read.
    #[must_use]
    pub fn holder(&self) -> Option<String> {
        self.db.file.holder()
    }

    /// The run that is on right now, if any; to be asked of one that was opened to read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn on(&self) -> Result<Option<RunId>, LedgerError> {
        let Some(holder) = self.holder() else {
            return Ok(None);
        };
        let unfinished = history::unfinished(&self.db);
        let unfinished = unfinished.map_err(failed_to("read the runs", &self.path))?;
        // One that began before was killed, and its ledger is in other hands.
        let since = lock::since(&holder);
        let on = unfinished.filter(|(_, began)| since.is_none_or(|since| *began >= since));
        Ok(on.map(|(run, _)| run))
    }

    /// Looks at the file anew, and says whether it may have changed; to be asked of one that was
    /// opened to read.
    ///
    /// # Errors
    /// As [`open_to_read`](Self::open_to_read).
    pub fn look_again(&mut self) -> Result<bool, LedgerError> {
        if self.version.is_none() || self.has_moved() {
            *self = Self::open_to_read(&self.path)?;
            return Ok(true);
        }
        let db = &self.db;
        let look = || {
            db.execute_batch("COMMIT; BEGIN")?;
            version(db)
        };
        let seen = Some(look().map_err(failed_to("open the ledger", &self.path))?);
        Ok(std::mem::replace(&mut self.version, seen) != seen)
    }

    /// Why requests that were made may be missing in the file, if so; to be asked of one that was
    /// opened to read.
    #[must_use]
    pub fn doubt(&self) -> Option<&'static str> {
        self.doubt
    }

    /// Does the ledger's path lead to another file by now, or to none?
    #[must_use]
    pub fn has_moved(&self) -> bool {
        self.db.file.has_moved()
    }
}

/// A number that is another one after each commit of another connection.
fn version(db: &Connection) -> rusqlite::Result<i64> {
    db.query_row("PRAGMA data_version", [], |row| row.get(0))
}

impl Store for SqliteLedger {
    type Intake<'s> = SqliteIntake<'s>;
    type Run = RunLedger;

    fn verify(&self) -> Result<Verified, LedgerError> {
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

    fn take_in<E>(
        &mut self,
        key: &CampaignKey,
        input: &InputRecord,
        reading: &str,
        contacts: impl IntoIterator<Item = Result<Contact, E>>,
    ) -> Result<Result<SqliteIntake<'_>, E>, LedgerError> {
        let step = self
            .db
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed_to("write to the ledger", &self.path))?;
        SqliteIntake::take(step, &self.path, key, input, reading, contacts)
    }

    fn campaigns(&self) -> Result<Vec<Campaign>, LedgerError> {
        let read = || -> rusqlite::Result<Vec<Campaign>> {
            let sql = format!("{SELECT_CAMPAIGN} ORDER BY id");
            let mut select = self.db.prepare(&sql)?;
            let found = select.query_map([], |row| Ok(campaign(row)?.0))?;
            found.collect()
        };
        read().map_err(failed_to("list the campaigns", &self.path))
    }

    fn runs(&self, campaign: CampaignId) -> Result<Runs, LedgerError> {
        history::runs(&self.db, campaign).map_err(failed_to("read the runs", &self.path))
    }

    fn latest_run(&self, campaign: CampaignId) -> Result<Option<RunRecord>, LedgerError> {
        history::latest(&self.db, campaign).map_err(failed_to("read the run", &self.path))
    }

    fn last_complete(&self, campaign: CampaignId) -> Result<Option<UnixMicros>, LedgerError> {
        history::last_complete(&self.db, campaign).map_err(failed_to("read the run", &self.path))
    }

    fn for_each_row(
        &self,
        campaign: &Campaign,
        records: Records,
        each: &mut dyn FnMut(&Row) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        let mut read = || {
            let facts = Facts::of(&self.db, campaign.record.id)?;
            let scan = facts.scan(&self.db);
            scan.for_each(campaign.span, records, |stored| {
                Ok(each(&stored.into_row()).is_continue())
            })
        };
        read().map_err(failed_to("read the rows", &self.path))
    }

    fn for_each_former(
        &self,
        campaign: CampaignId,
        each: &mut dyn FnMut(&str, &Row) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        former::for_each(&self.db, campaign, None, |_, header, row| {
            each(header, row).is_continue()
        })
        .map_err(failed_to("read what earlier inputs asked for", &self.path))
    }

    fn latest_at_work(
        &self,
        campaign: CampaignId,
    ) -> Result<Option<(RunRecord, UnixMicros)>, LedgerError> {
        history::latest_at_work(&self.db, campaign).map_err(failed_to("read the run", &self.path))
    }

    fn settle(
        &mut self,
        campaign: &Campaign,
        numbers: &[Number],
        lookup: Lookup,
    ) -> Result<Noted, LedgerError> {
        lookup::settle(&mut self.db, campaign, numbers, lookup)
            .map_err(failed_to("note what was looked up", &self.path))
    }

    fn lives(&self, number: Number) -> Result<Vec<Life>, LedgerError> {
        lookup::lives(&self.db, number).map_err(failed_to("look the number up", &self.path))
    }

    fn for_each_journey(
        &self,
        of: &Campaign,
        records: Records,
        on: Option<RunId>,
        each: &mut dyn FnMut(&str, &Row, &Journey) -> ControlFlow<()>,
    ) -> Result<(), LedgerError> {
        journey::for_each(&self.db, of, records, on, each)
            .map_err(failed_to("read what numbers went through", &self.path))
    }

    fn senders(&self, of: &CampaignRecord) -> Result<Vec<Campaign>, LedgerError> {
        journey::senders(&self.db, of)
            .map_err(failed_to("find out who sent to these numbers", &self.path))
    }

    fn purged(&self) -> Result<Vec<Purged>, LedgerError> {
        purge::all(&self.db).map_err(failed_to("read what was purged", &self.path))
    }

    fn due_for_purge(
        &self,
        now: UnixMicros,
        older_than: Duration,
        on: Option<RunId>,
    ) -> Result<Vec<Purged>, LedgerError> {
        purge::due(&self.db, now, older_than, on)
            .map_err(failed_to("find out what is to be purged", &self.path))
    }

    fn purge(&mut self, due: &[Purged], now: UnixMicros) -> Result<bool, LedgerError> {
        purge::purge(&mut self.db, due, now).map_err(failed_to("purge the ledger", &self.path))
    }

    fn departures(&self, run: RunId) -> Result<Vec<UnixMicros>, LedgerError> {
        let departures = history::departures(&self.db, run)
            .map_err(failed_to("read the attempts", &self.path))?;
        let times = departures.into_iter().map(|(_, departure)| departure.at());
        let mut times: Vec<UnixMicros> = times.collect();
        times.sort_unstable();
        Ok(times)
    }

    fn start(
        self,
        campaign: &Campaign,
        run: RunId,
        clock: Clock,
        execution: Execution,
    ) -> Result<RunLedger, LedgerError> {
        RunLedger::start(self, campaign, run, clock, execution)
    }

    async fn close(run: RunLedger) -> (Self, usize) {
        run.close().await
    }

    fn finish_run(
        &self,
        run: RunId,
        now: UnixMicros,
        end: &End,
        last_left_at: Option<UnixMicros>,
    ) -> Result<(), LedgerError> {
        self.db
            .execute(
                "UPDATE run SET finished_at = ?2, end = ?3, last_left_at = ?4, inode = NULL
                  WHERE id = ?1",
                params![
                    run.0,
                    now.0,
                    serde_json::to_string(end).unwrap_or_default(),
                    last_left_at.map(|at| at.0)
                ],
            )
            .and_then(|_| empty_the_log(&self.db))
            .and_then(|_| keep_log(&self.db, false))
            .map_err(failed_to("note the end of the run", &self.path))
    }
}

/// A copy of a ledger of an older format in memory, brought to the newest one: who only reads
/// changes nothing.
fn migrated_copy(db: &Locked, path: &Path, format: u32) -> Result<Connection, LedgerError> {
    let fault = failed_to("read a ledger of an older version", path);
    let damage = health::damage(db, &db.file.real).map_err(&fault)?;
    if let Some(why) = damage.into_iter().next() {
        return Err(LedgerError::Damaged {
            path: path.to_owned(),
            why,
        });
    }
    let copy = || {
        let mut copy = Connection::open_in_memory()?;
        Backup::new(db, &mut copy)?.step(-1)?;
        schema::migrate(&mut copy, format)?;
        Ok(copy)
    };
    copy().map_err(fault)
}

/// Moves the write-ahead log into the file and cuts it to nothing: what was deleted from the file
/// (codes, above all) must not be readable in old entries of the log. A reader beside us can hold
/// that up (then it says `false`); the next time does it then.
fn empty_the_log(db: &Connection) -> rusqlite::Result<bool> {
    checkpoint(db, "TRUNCATE")
}

/// Moves the write-ahead log into the file: did no reader hold that up?
fn checkpoint(db: &Connection, mode: &str) -> rusqlite::Result<bool> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    let held_up: bool = db.query_row(&sql, [], |row| row.get(0))?;
    Ok(!held_up)
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
        Ok(found) if found > schema::NEWEST => Err(LedgerError::TooNew {
            path: path.to_owned(),
            found,
            known: schema::NEWEST,
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
    // One text for each power of two of rows, see `bulk`.
    db.set_prepared_statement_cache_capacity(64);
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

#[cfg(test)]
mod tests;
