//! One process at a time: a lock on the database file itself, so that it holds under every name
//! that the file has or gets. The system releases it when the process ends, however it ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::CACHE_KIB;
use super::file::{file_fault, is_there, make, real, with};
use crate::job::UnixMicros;
use crate::ledger::LedgerError;

/// How often, and after which wait, the lock is asked for again.
const LOCK_TRIES: u32 = 5;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// From so many rows on they are read on threads of their own, of which there are at most so many.
const ROWS_BESIDE: i64 = 8_192;
const READERS_MAX: usize = 4;

/// The file beside the ledger that names the lock's holder. It is a note, not the lock: nothing
/// depends on it.
const NOTE: &str = ".otpdrive-lock";
/// What every note of ours begins with, and how much of one is read.
const NOTE_START: &str = "otpdrive: ";
const NOTE_MAX: u64 = 200;
/// What stands in it before the time at which the lock was taken.
const SINCE: &str = " since ";

/// The ledger's file, open as long as `SQLite` works with it: closing any descriptor of a file
/// drops all locks that `SQLite` has on it in this process.
pub struct LedgerFile {
    file: File,
    /// Its path behind all links, absolute: `SQLite` can take it for nothing but a path.
    pub real: PathBuf,
}

impl LedgerFile {
    /// Opens the file to read beside a run.
    pub(super) fn to_read(path: &Path) -> Result<Self, LedgerError> {
        let real = real(path)?;
        if !is_there(&real)? {
            return Err(LedgerError::Missing(path.to_owned()));
        }
        let file = File::open(&real).map_err(file_fault(path))?;
        Self::with_one_name(file, real, path)
    }

    /// Opens the file for a run and takes its lock, or says who has it. Makes the file when there
    /// is none.
    pub(super) fn to_write(path: &Path) -> Result<Self, LedgerError> {
        let real = real(path)?;
        let made = if is_there(&real)? { None } else { make(&real)? };
        let open = || OpenOptions::new().read(true).write(true).open(&real);
        let file = made.map_or_else(open, Ok).map_err(file_fault(path))?;
        let mut locked = file.try_lock();
        for _ in 0..LOCK_TRIES {
            // `status` holds it for an instant, to see whether anybody does.
            if !matches!(locked, Err(TryLockError::WouldBlock)) {
                break;
            }
            thread::sleep(LOCK_WAIT);
            locked = file.try_lock();
        }
        locked.map_err(|error| match error {
            TryLockError::WouldBlock => LedgerError::Held {
                path: path.to_owned(),
                holder: read_note(&real),
            },
            TryLockError::Error(source) => file_fault(path)(source),
        })?;
        write_note(&real);
        Self::with_one_name(file, real, path)
    }

    fn with_one_name(file: File, real: PathBuf, path: &Path) -> Result<Self, LedgerError> {
        match file.metadata().map_err(file_fault(path))?.nlink() {
            0 | 1 => Ok(Self { file, real }),
            names => Err(LedgerError::SeveralNames {
                path: path.to_owned(),
                names,
            }),
        }
    }

    /// Who works with the ledger now, if anybody.
    pub(super) fn holder(&self) -> Option<String> {
        if let Err(TryLockError::WouldBlock) = self.file.try_lock_shared() {
            return Some(read_note(&self.real));
        }
        // What cannot be unlocked was not locked.
        let _ = self.file.unlock();
        None
    }

    /// The number of the file on its disk: it keeps it under another name, a copy has another.
    pub(super) fn inode(&self) -> io::Result<i64> {
        Ok(self.file.metadata()?.ino().cast_signed())
    }

    /// One more connection to the file, to read.
    pub(super) fn reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(&self.real, flags)?;
        db.pragma_update(None, "cache_size", CACHE_KIB / 4)?;
        Ok(db)
    }

    /// The same, to read so many rows on threads of their own: none where that would be no faster, or
    /// where the path leads elsewhere by now.
    pub(in crate::ledger) fn readers_beside(&self, rows: i64) -> Vec<Connection> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        if rows < ROWS_BESIDE || cores == 1 {
            return Vec::new();
        }
        let readers = (0..cores.min(READERS_MAX)).map_while(|_| self.reader().ok());
        let readers: Vec<Connection> = readers.collect();
        if self.has_moved() {
            return Vec::new();
        }
        readers
    }

    /// Has the file lost its path, or another one taken it?
    pub(super) fn has_moved(&self) -> bool {
        let id = |file: fs::Metadata| (file.dev(), file.ino());
        let (this, there) = (self.file.metadata(), fs::metadata(&self.real));
        this.ok().map(id) != there.ok().map(id)
    }
}

/// A connection and the file that it works on; fields are dropped in this order.
pub struct Locked {
    pub db: Connection,
    pub file: Arc<LedgerFile>,
}

impl Deref for Locked {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.db
    }
}

impl DerefMut for Locked {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.db
    }
}

/// Says who holds the lock. What is not a note of ours stays as it is: then there is no note.
fn write_note(real: &Path) {
    let path = with(real, NOTE);
    if note(&path).is_some() {
        // Where it cannot be removed, it cannot be made either.
        let _ = fs::remove_file(&path);
    }
    let now = jiff::Timestamp::now();
    let text = format!("{NOTE_START}process {}{SINCE}{now:.3}", std::process::id());
    let mut new = OpenOptions::new();
    let made = new.write(true).create_new(true).mode(0o600).open(path);
    // Without it only the holder's name is missing.
    let _ = made.and_then(|mut note| note.write_all(text.as_bytes()));
}

/// When the holder, as its note names it, took the lock.
pub(super) fn since(holder: &str) -> Option<UnixMicros> {
    let (_, since) = holder.rsplit_once(SINCE)?;
    since.parse().ok()
}

fn read_note(real: &Path) -> String {
    let unknown = || "a process that left no note of itself".to_owned();
    note(&with(real, NOTE)).unwrap_or_else(unknown)
}

/// The holder in a note of ours; no link is followed, and nothing is opened that could block.
fn note(path: &Path) -> Option<String> {
    if !fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    let file = File::open(path).ok()?;
    file.take(NOTE_MAX).read_to_string(&mut text).ok()?;
    let holder = text.strip_prefix(NOTE_START)?;
    (!holder.contains(char::is_control)).then(|| holder.to_owned())
}
