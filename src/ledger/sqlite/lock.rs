//! One process at a time: an advisory lock on a file beside the ledger, which also names its
//! holder. The system releases it when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{file_fault, real, with};
use crate::ledger::LedgerError;

/// How often, and after which wait, the lock is asked for again.
const LOCK_TRIES: u32 = 5;
const LOCK_WAIT: Duration = Duration::from_millis(10);

/// Takes the lock of a ledger, whether its file is there yet or not, or says who has it.
pub(super) fn take(path: &Path) -> Result<File, LedgerError> {
    let fault = file_fault(path);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(lock_path(path)?)
        .map_err(&fault)?;
    let mut tries = 0;
    loop {
        match file.try_lock() {
            Ok(()) => break,
            // `status` holds it for an instant, to see whether anybody does.
            Err(TryLockError::WouldBlock) if tries < LOCK_TRIES => tries += 1,
            Err(TryLockError::WouldBlock) => {
                return Err(LedgerError::Held {
                    path: path.to_owned(),
                    holder: read_holder(&mut file),
                });
            }
            Err(TryLockError::Error(source)) => return Err(fault(source)),
        }
        std::thread::sleep(LOCK_WAIT);
    }
    let now = jiff::Timestamp::now();
    let holder = format!("process {} since {now:.0}", std::process::id());
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(holder.as_bytes()))
        .map_err(fault)?;
    Ok(file)
}

/// Who works with the ledger now, if anybody.
#[must_use]
pub fn holder(path: &Path) -> Option<String> {
    let mut file = File::open(lock_path(path).ok()?).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(read_holder(&mut file)),
        _ => None,
    }
}

fn read_holder(file: &mut File) -> String {
    let mut text = String::new();
    match file.read_to_string(&mut text) {
        Ok(_) if !text.is_empty() => text,
        _ => "a process that has just started".to_owned(),
    }
}

/// Beside the file itself, not beside a link to it: two names of one ledger are one lock.
fn lock_path(path: &Path) -> Result<PathBuf, LedgerError> {
    Ok(with(&real(path)?, ".lock"))
}
