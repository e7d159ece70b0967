//! The request log: one line of JSON per request.
//!
//! It names whole numbers (the file has mode 0600), and never a key or a code.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::answers::{Decision, path};
use super::lock;
use crate::job::UnixMicros;

/// Where requests are noted, if anywhere.
#[derive(Debug)]
pub(super) struct Log {
    started: Instant,
    started_at: UnixMicros,
    file: Option<File>,
    failed: Mutex<Option<io::Error>>,
}

impl Log {
    /// Opens the file, if there is to be one, to append to it.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let open = |path| {
            let mut how = OpenOptions::new();
            how.create(true).append(true).mode(0o600).open(path)
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            started: Instant::now(),
            started_at: UnixMicros(0) + now.unwrap_or_default(),
            file: path.map(open).transpose()?,
            failed: Mutex::default(),
        })
    }

    /// Does anybody want to know?
    pub(super) fn is_on(&self) -> bool {
        self.file.is_some()
    }

    /// Adds a line, at once and as a whole, so that nobody ever reads half of one. The time is that
    /// of a monotonic clock, set to the time of day when the sandbox began to listen. Says if that
    /// worked.
    pub(super) fn note(&self, decision: &Decision, status: u16) -> bool {
        const MICROS_PER_SECOND: i64 = 1_000_000;
        let Some(mut file) = self.file.as_ref() else {
            return true;
        };
        let UnixMicros(at) = self.started_at + self.started.elapsed();
        let (seconds, micros) = (at / MICROS_PER_SECOND, at % MICROS_PER_SECOND);
        let path = decision.lane.map_or("other", path);
        let phone = match decision.number {
            Some(number) => format!("\"+{}\"", number.digits()),
            None => "null".to_owned(),
        };
        let (n, action, accepted) = (decision.n, decision.action, decision.accepted);
        let line = format!(
            "{{\"t\":{seconds}.{micros:06},\"path\":\"{path}\",\"phone\":{phone},\"n\":{n},\
             \"action\":\"{action}\",\"accepted\":{accepted},\"status\":{status}}}\n"
        );
        let failed = file.write_all(line.as_bytes()).err();
        let noted = failed.is_none();
        if !noted {
            *lock(&self.failed) = failed;
        }
        noted
    }

    /// Why a line could not be written.
    pub(super) fn failure(&self) -> Option<io::Error> {
        lock(&self.failed).take()
    }
}
