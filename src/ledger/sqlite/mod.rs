//! The ledger as one SQLite file for all campaigns: embedded, nothing to install, open to any
//! viewer. One process at a time works with it; `status` and `report` read beside it.
//!
//! Durability: write-ahead log with `synchronous=FULL`, so a commit has reached the disk when it
//! returns. Deleted content (codes, above all) is overwritten (`secure_delete`).

mod file;
mod health;
mod identity;
mod lock;
mod log;
mod migrate;
mod run;
mod schema;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::backup::Backup;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior, params};

use super::LedgerError;
use super::tables::db::Db;
use super::tables::error::{Fault, failed_to};
use super::tables::{self, history};
use crate::job::UnixMicros;
use crate::run::{End, RunId};
use identity::{doubt, keep_log, unmark};
pub(super) use lock::LedgerFile;
use lock::Locked;
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
    /// It is in the hands of this process.
    is_held: bool,
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
            schema::migrate(&mut db, format).map_err(failed_to("open the ledger", path))?;
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
            is_held: true,
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
            is_held: false,
        })
    }

    /// Who works with the ledger now, if anybody; to be asked of one that was opened to read.
    #[must_use]
    pub fn holder(&self) -> Option<String> {
        self.db.file.holder()
    }

    /// The run that is on right now in another process, if any.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn on(&self) -> Result<Option<RunId>, LedgerError> {
        let Some(holder) = self.holder().filter(|_| !self.is_held) else {
            return Ok(None);
        };
        let unfinished = history::unfinished((&*self.db).into());
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

impl SqliteLedger {
    /// To read and write.
    pub(super) fn db(&self) -> Db<'_> {
        Db::Sqlite(&self.db)
    }

    /// What the database itself finds wrong with the file.
    pub(super) fn damage(&self) -> tables::error::Result<Vec<String>> {
        let real = &self.db.file.real;
        let mut wrong = health::damage(&self.db, real)?;
        // Beside a run the log is on the move.
        if self.holder().is_none() {
            wrong.extend(health::lost(real).map_err(Fault::Temporary)?);
        }
        Ok(wrong)
    }

    /// Its file, if nobody else writes into it.
    pub(super) fn held_file(&self) -> Option<&Arc<LedgerFile>> {
        Some(&self.db.file).filter(|_| self.is_held)
    }

    /// Begins a step that writes.
    pub(super) fn step(&mut self) -> rusqlite::Result<Transaction<'_>> {
        self.db
            .transaction_with_behavior(TransactionBehavior::Immediate)
    }

    /// Writes the file anew, without what was deleted from it, and empties the log; unless that was
    /// done since the last purge. `false`: somebody who reads beside us keeps the log.
    pub(super) fn sweep(&self) -> rusqlite::Result<bool> {
        let db = &self.db;
        let sql = "SELECT EXISTS (SELECT 1 FROM purged WHERE swept = 0)";
        if !db.query_row(sql, [], |row| row.get::<_, bool>(0))? {
            return Ok(true);
        }
        db.execute_batch("VACUUM")?;
        if !empty_the_log(db)? {
            return Ok(false);
        }
        db.execute("UPDATE purged SET swept = 1 WHERE swept = 0", [])?;
        empty_the_log(db)
    }

    /// Notes how a run ended, and when its last request left.
    pub(super) fn finish_run(
        &self,
        run: RunId,
        now: UnixMicros,
        end: &End,
        last_left_at: Option<UnixMicros>,
    ) -> Result<(), LedgerError> {
        let sql = "UPDATE run SET finished_at = ?2, end = ?3, last_left_at = ?4, inode = NULL
                    WHERE id = ?1";
        let end = serde_json::to_string(end).unwrap_or_default();
        let left_at = last_left_at.map(|at| at.0);
        self.db
            .execute(sql, params![run.0, now.0, end, left_at])
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
    let copy = || -> Result<Connection, Fault> {
        let mut copy = Connection::open_in_memory()?;
        Backup::new(db, &mut copy)?.step(-1)?;
        schema::migrate(&mut copy, format)?;
        Ok(copy)
    };
    copy().map_err(failed_to("read a ledger of an older version", path))
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

/// Empty tables of a format, in memory.
#[cfg(test)]
pub(super) fn made(format: u32) -> Connection {
    schema::made(format).unwrap()
}

#[cfg(test)]
mod tests;
