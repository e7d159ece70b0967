//! Where a ledger lies, whether it is there, and how it gets there: whole, or not at all.
//!
//! A new ledger is built under another name and renamed when it is durable. So a file that is empty
//! or half made never is one of ours that was just begun: it is a ledger that lost its content, and
//! starting afresh in it would send to everybody again.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::error::failed_to;
use super::{empty_the_log, schema, settings};
use crate::ledger::LedgerError;

/// What a ledger is called while it is being made.
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

/// Makes a new ledger. Whoever calls holds its lock, so what is half made is nobody's any more.
pub fn make(real: &Path) -> Result<(), LedgerError> {
    let draft = with(real, HALF_MADE);
    let made = sweep(&draft)
        .map_err(file_fault(real))
        .and_then(|()| build(&draft, real));
    if made.is_err() {
        // It is in nobody's way, and swept away the next time.
        let _ = sweep(&draft);
    }
    made
}

fn build(draft: &Path, real: &Path) -> Result<(), LedgerError> {
    let fault = failed_to("make the ledger", real);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .map_err(file_fault(real))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(draft, flags).map_err(&fault)?;
    settings(&db, real)?;
    schema::migrate(&mut db, 0).map_err(&fault)?;
    empty_the_log(&db).map_err(&fault)?;
    db.close().map_err(|(_, error)| fault(error))?;
    let save = || {
        File::open(draft)?.sync_all()?;
        fs::rename(draft, real)?;
        File::open(real.parent().unwrap_or(Path::new("/")))?.sync_all()
    };
    save().map_err(file_fault(real))
}

fn sweep(draft: &Path) -> io::Result<()> {
    for end in ["", "-wal", "-shm", "-journal"] {
        match fs::remove_file(with(draft, end)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
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
