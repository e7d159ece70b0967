//! Where a ledger lies, whether it is there, and how it gets there: whole, or not at all.
//!
//! A new ledger is built under another name and renamed when it is durable. So a file that is empty
//! or half made never is one of ours that was just begun: it is a ledger that lost its content, and
//! starting afresh in it would send to everybody again.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::schema;
use crate::ledger::LedgerError;
use crate::ledger::tables::error::failed_to;

/// What the name of a ledger ends with while it is being made.
const HALF_MADE: &str = ".half-made";

/// The files in which `SQLite` keeps what is not in the database file yet.
const LOGS: [&str; 2] = ["-wal", "-journal"];

/// The file itself, behind all links, whether it is there or not: two names of one ledger have to
/// be one ledger from the start.
pub fn real(path: &Path) -> Result<PathBuf, LedgerError> {
    follow(path).map_err(file_fault(path))
}

fn follow(path: &Path) -> io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        found => return found,
    }
    let folder = match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    // A loop of links is another error than "not found".
    if let Ok(target) = fs::read_link(path) {
        return follow(&folder.join(target));
    }
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    Ok(folder.canonicalize()?.join(name))
}

/// Is there a ledger? What is there and cannot be one is an error, and so is what is left of one.
pub fn is_there(real: &Path) -> Result<bool, LedgerError> {
    let damaged = |why: String| LedgerError::Damaged {
        path: real.to_owned(),
        why,
    };
    match fs::metadata(real) {
        Ok(found) if found.is_dir() => Err(file_fault(real)(ErrorKind::IsADirectory.into())),
        Ok(found) if !found.is_file() => Err(LedgerError::NotALedger {
            path: real.to_owned(),
            why: "it is no regular file".to_owned(),
        }),
        Ok(found) if found.len() == 0 => Err(damaged(
            "the file is empty. If it never was a ledger, remove it".to_owned(),
        )),
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            for log in LOGS.map(|log| with(real, log)) {
                if log.exists() {
                    return Err(damaged(format!(
                        "the file is gone, but its log {} is there. Bring the file back to its log; if the ledger was deleted on purpose, delete the log too",
                        log.display()
                    )));
                }
            }
            Ok(false)
        }
        Err(error) => Err(file_fault(real)(error)),
    }
}

/// Makes a new ledger and takes its lock before it has its name; `None` when somebody else's has
/// that name by now. A draft that a crash leaves is in nobody's way.
pub fn make(real: &Path) -> Result<Option<File>, LedgerError> {
    let fault = failed_to("make the ledger", real);
    // In memory: on the disk it is one file, without a log of its own.
    let mut db = Connection::open_in_memory().map_err(&fault)?;
    schema::migrate(&mut db, 0).map_err(failed_to("make the ledger", real))?;
    let content = db.serialize("main").map_err(&fault)?;
    let folder = real.parent().unwrap_or(Path::new("/"));
    let save = || {
        let mut draft = tempfile::Builder::new()
            .prefix(".otpdrive-")
            .suffix(HALF_MADE)
            .tempfile_in(folder)?;
        draft.write_all(&content)?;
        draft.as_file().sync_all()?;
        draft.as_file().lock()?;
        let made = match draft.persist_noclobber(real) {
            Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => return Ok(None),
            named => named?,
        };
        File::open(folder)?.sync_all()?;
        Ok(Some(made))
    };
    save().map_err(file_fault(real))
}

/// How long the write-ahead log is; 0 when there is none.
pub fn log_length(real: &Path) -> u64 {
    fs::metadata(with(real, LOGS[0])).map_or(0, |log| log.len())
}

/// The path with something at its end.
pub fn with(path: &Path, end: &str) -> PathBuf {
    let mut whole = OsString::from(path);
    whole.push(end);
    whole.into()
}

/// An error of the file system, with its place.
pub fn file_fault(path: &Path) -> impl Fn(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::File {
        path: path.clone(),
        source,
    }
}
