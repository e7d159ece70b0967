//! Is this the very file that its latest run worked on, and all of it?
//!
//! While a run is unfinished, the file says so, and beside it lies a log with something in it that
//! names the file by its number on the disk. A copy has another number; a file that was moved,
//! restored or mounted without its log has none beside it, or the empty one that whoever looks into
//! it makes.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params};

use super::error::failed_to;
use super::file::log_length;
use super::lock::Locked;
use crate::ledger::LedgerError;
use crate::outcome::RunId;

/// Where a run's settings have the number of the file.
const INODE: &str = "ledger_inode";

/// Does closing the file leave its log beside it? While a run is unfinished it has to.
pub fn keep_log(db: &Connection, keep: bool) -> rusqlite::Result<()> {
    let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    db.set_db_config(no_checkpoint, keep).map(drop)
}

/// When all connections are there and no request has left: writes into the file that its run is unfinished, and into the
/// log on which file it works. Nothing older stays in the log (codes, above all), and at no moment
/// is it empty.
pub fn mark_log(db: &Locked, run: RunId, path: &Path) -> Result<(), LedgerError> {
    if db.file.has_moved() {
        return Err(unusable(
            path,
            "it was moved or replaced meanwhile. Run the same command again",
        ));
    }
    let fault = failed_to("start a run", path);
    let (log, moved): (i64, i64) = db
        .query_row("PRAGMA wal_checkpoint(RESTART)", [], |row| {
            Ok((row.get(1)?, row.get(2)?))
        })
        .map_err(&fault)?;
    if log != moved {
        // It never began.
        db.execute("DELETE FROM run WHERE id = ?1", [run.0])
            .map_err(&fault)?;
        return Err(unusable(
            path,
            "somebody reads in it (a report, a viewer, a backup). Wait for the end of that, then run the same command again",
        ));
    }
    // The first commit into a log that begins afresh cuts it to this length, or to its own.
    db.pragma_update(None, "journal_size_limit", 0)
        .and_then(|()| {
            let sql = "UPDATE run SET settings = json_set(settings, '$.' || ?2, ?3) WHERE id = ?1";
            db.execute(sql, params![run.0, INODE, db.file.inode()])
        })
        .and_then(|_| db.pragma_update(None, "journal_size_limit", -1))
        .map_err(&fault)
}

/// The settings of the ledger's latest run, if that did not come to its end.
pub fn unfinished(db: &Connection) -> rusqlite::Result<Option<String>> {
    let sql = "SELECT settings FROM run
                WHERE id = (SELECT max(id) FROM run) AND finished_at IS NULL";
    db.query_row(sql, [], |row| row.get(0)).optional()
}

/// Why it is not the file of its latest run, or not all of it, if so.
pub fn doubt(db: &Locked) -> rusqlite::Result<Option<String>> {
    let Some(settings) = unfinished(db)? else {
        return Ok(None);
    };
    let settings: serde_json::Value = serde_json::from_str(&settings).unwrap_or_default();
    let of_run = settings[INODE].as_i64();
    let why = if log_length(&db.file.real) == 0 {
        "its latest run did not come to its end, and the log of that run (-wal) is not beside it: the file was copied, restored, moved or renamed without it, or another program took the log in"
    } else if of_run.is_some() && of_run != db.file.inode() {
        "it is a copy, made while a run was on or after a run that was killed"
    } else {
        return Ok(None);
    };
    Ok(Some(why.to_owned()))
}

fn unusable(path: &Path, why: &str) -> LedgerError {
    LedgerError::Database {
        path: path.to_owned(),
        what: "start a run",
        why: why.to_owned(),
    }
}
