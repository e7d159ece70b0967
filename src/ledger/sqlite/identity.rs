//! Is this the very file that its latest run worked on, and all of it?
//!
//! From before its first request up to its end, a run has its mark in the file: the file's number on
//! the disk. As long as the mark is there, a log of some length lies beside the file, at every
//! moment. A copy has another number; a file that was moved, restored or mounted without its log
//! has none beside it, or the empty one that whoever looks into it makes.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, params};

use super::file::{file_fault, log_length};
use super::lock::Locked;
use super::{checkpoint, empty_the_log, log};
use crate::ledger::tables::error::failed_to;
use crate::ledger::{Execution, LedgerError};
use crate::run::RunId;

const NO_LOG: &str = "its latest run did not come to its end, and the log of that run (-wal) is not beside it: the file was copied, restored, moved or renamed without it, or another program took the log in";
const COPY: &str = "it is a copy, made while a run was on or after a run that was killed";

/// Does closing the file leave its log beside it? While the mark is in the file it has to.
pub fn keep_log(db: &Connection, keep: bool) -> rusqlite::Result<()> {
    let no_checkpoint = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    db.set_db_config(no_checkpoint, keep).map(drop)
}

/// Makes the log ready for a run, and puts the run's mark into the file. Nothing older stays in the
/// log (codes, above all), and before the mark is in the file the log has its length.
pub fn mark(
    db: &mut Locked,
    run: RunId,
    execution: Execution,
    path: &Path,
) -> Result<(), LedgerError> {
    let unusable = |why: &str| LedgerError::Database {
        path: path.to_owned(),
        what: "start a run",
        why: why.to_owned(),
    };
    if db.file.has_moved() {
        let why = "it was moved or replaced meanwhile. Run the same command again";
        return Err(unusable(why));
    }
    let inode = db.file.inode().map_err(file_fault(path))?;
    let mut write = || -> rusqlite::Result<bool> {
        if !empty_the_log(db)? {
            return Ok(false);
        }
        if execution == Execution::Threads {
            log::fill(db)?;
        }
        keep_log(db, true)?;
        let sql = "UPDATE run SET inode = ?2 WHERE id = ?1";
        db.execute(sql, params![run.0, inode])?;
        checkpoint(db, "FULL")
    };
    if write().map_err(failed_to("start a run", path))? {
        return Ok(());
    }
    Err(unusable(
        "somebody reads in it (a report, a viewer, a backup). Wait for the end of that, then run the same command again",
    ))
}

/// Takes the mark of a killed run away: with what is in its log, the file is all there.
pub fn unmark(db: &Connection) -> rusqlite::Result<()> {
    let sql = "UPDATE run SET inode = NULL WHERE inode IS NOT NULL";
    db.execute(sql, []).map(drop)
}

/// Why it is not the file of its latest run, or not all of it, if so. In format 1 a run that did not
/// come to its end is a mark without a number.
pub fn doubt(db: &Locked, format: u32) -> rusqlite::Result<Option<&'static str>> {
    let sql = if format == 1 {
        "SELECT NULL FROM run WHERE id = (SELECT max(id) FROM run) AND finished_at IS NULL"
    } else {
        "SELECT inode FROM run WHERE inode IS NOT NULL"
    };
    let mark: Option<Option<i64>> = db.query_row(sql, [], |row| row.get(0)).optional()?;
    let is_ours = |inode| db.file.inode().is_ok_and(|ours| ours == inode);
    Ok(match mark {
        Some(_) if log_length(&db.file.real) == 0 => Some(NO_LOG),
        Some(Some(inode)) if !is_ours(inode) => Some(COPY),
        _ => None,
    })
}
