//! The request log: a line of JSON a request, or the same kept in memory for tests.
//!
//! It names whole numbers (the file has mode 0600), and never a key or a code.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use super::action::Action;
use crate::outcome::{Lane, Number, UnixMicros};

/// A line is in the file after this time, with room for the timer to be late, and within 20 ms.
const FLUSH_AFTER: Duration = Duration::from_millis(15);
/// A buffer of this size is written at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// One request, as the log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// When its head was complete. A monotonic clock, set to the time of day when the sandbox
    /// began to listen.
    pub at: UnixMicros,
    /// Which request; `None` for a path that the API does not have.
    pub lane: Option<Lane>,
    /// Whom it is about, when that could be read.
    pub number: Option<Number>,
    /// 1 for the first for this number on this endpoint; 0 when it was not counted.
    pub n: u32,
    /// What the sandbox did.
    pub action: Action,
    /// Was the OTP taken for sending, or the code right and used up?
    pub accepted: bool,
    /// The HTTP status of the answer, 0 for none.
    pub status: u16,
}

impl Request {
    fn write_line(&self, line: &mut Vec<u8>) -> io::Result<()> {
        const MICROS_PER_SECOND: i64 = 1_000_000;
        let (seconds, micros) = (self.at.0 / MICROS_PER_SECOND, self.at.0 % MICROS_PER_SECOND);
        let path = self.lane.map_or("other", super::answers::path);
        write!(
            line,
            r#"{{"t":{seconds}.{micros:06},"path":"{path}","phone":"#
        )?;
        match self.number {
            Some(number) => write!(line, r#""+{}""#, number.digits())?,
            None => line.write_all(b"null")?,
        }
        writeln!(
            line,
            r#","n":{},"action":"{}","accepted":{},"status":{}}}"#,
            self.n, self.action, self.accepted, self.status
        )
    }
}

/// Reads the requests of a sandbox that runs elsewhere in the process and was told to keep them.
#[derive(Clone, Debug)]
pub struct Requests(Arc<Log>);

impl Requests {
    /// All requests so far, in the order of arrival. Empty unless
    /// [`keep_requests`](super::Options::keep_requests) was set.
    #[must_use]
    pub fn all(&self) -> Vec<Request> {
        let kept = self.0.kept.as_ref();
        kept.map_or(Vec::new(), |kept| lock(kept).clone())
    }
}

/// Where requests are noted, if anywhere.
#[derive(Debug)]
pub(super) struct Log {
    started: Instant,
    started_at: UnixMicros,
    kept: Option<Mutex<Vec<Request>>>,
    lines: Option<Mutex<Lines>>,
    /// There are lines that are not in the file.
    due: Notify,
}

#[derive(Debug)]
struct Lines {
    path: PathBuf,
    file: BufWriter<File>,
    line: Vec<u8>,
    failed: Option<io::Error>,
}

impl Log {
    /// Opens the file, if there is to be one, to append to it.
    pub(super) fn open(path: Option<&Path>, keep: bool) -> io::Result<Self> {
        let open = |path: &Path| {
            let mut how = OpenOptions::new();
            let file = how.create(true).append(true).mode(0o600).open(path)?;
            io::Result::Ok(Mutex::new(Lines {
                path: path.to_owned(),
                file: BufWriter::with_capacity(BUFFER_BYTES, file),
                line: Vec::new(),
                failed: None,
            }))
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Ok(Self {
            started: Instant::now(),
            started_at: UnixMicros(0) + now.unwrap_or_default(),
            kept: keep.then(Mutex::default),
            lines: path.map(open).transpose()?,
            due: Notify::new(),
        })
    }

    /// Does anybody want to know?
    pub(super) fn is_on(&self) -> bool {
        self.kept.is_some() || self.lines.is_some()
    }

    pub(super) fn now(&self) -> UnixMicros {
        self.started_at + self.started.elapsed()
    }

    pub(super) fn note(&self, request: Request) {
        if let Some(lines) = &self.lines {
            let mut lines = lock(lines);
            let idle = lines.file.buffer().is_empty();
            if let Err(error) = lines.add(&request) {
                lines.failed.get_or_insert(error);
            }
            if idle {
                self.due.notify_one();
            }
        }
        if let Some(kept) = &self.kept {
            lock(kept).push(request);
        }
    }

    /// Brings lines into the file in time, until that fails.
    pub(super) async fn keep_written(&self) -> Result<(), (PathBuf, io::Error)> {
        loop {
            self.due.notified().await;
            sleep(FLUSH_AFTER).await;
            self.flush()?;
        }
    }

    /// Brings all lines into the file.
    pub(super) fn flush(&self) -> Result<(), (PathBuf, io::Error)> {
        let Some(lines) = &self.lines else {
            return Ok(());
        };
        let mut lines = lock(lines);
        let failed = lines.failed.take();
        failed
            .map_or_else(|| lines.file.flush(), Err)
            .map_err(|error| (lines.path.clone(), error))
    }

    pub(super) fn reader(self: &Arc<Self>) -> Requests {
        Requests(Arc::clone(self))
    }
}

impl Lines {
    /// A line goes into the buffer as a whole, so that nobody ever reads a torn one.
    fn add(&mut self, request: &Request) -> io::Result<()> {
        self.line.clear();
        request.write_line(&mut self.line)?;
        self.file.write_all(&self.line)
    }
}

/// A lock whose holder panicked is still good: nothing here is left half done.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
