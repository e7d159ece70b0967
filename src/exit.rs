//! How the program ends.

use std::process::{ExitCode, Termination};

use crate::run::{End, Signal};
use crate::status::Status;

/// The exit codes, each with one meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, nothing needs a person.
    Done = 0,
    /// Done, some rows are rejected, failed, unknown or invalid.
    NeedsPerson = 1,
    /// Bad usage, configuration or input: nothing was sent.
    Usage = 2,
    /// Stopped early, rows are pending: run it again.
    Stopped = 3,
    /// Refused as a whole (key, account, endpoint, certificate): somebody has to change something
    /// first.
    Refused = 4,
    /// Another run holds this ledger.
    Held = 5,
    /// A bug: the accounts do not balance.
    Bug = 70,
    /// The terminal was closed.
    Sighup = 129,
    /// Ctrl-C.
    Sigint = 130,
    /// Terminated.
    Sigterm = 143,
}

impl Exit {
    /// The code for a run that ended so, with these rows by status.
    #[must_use]
    pub fn of_run(end: &End, count: impl Fn(Status) -> u64) -> Self {
        match end {
            End::Interrupted(signal) => Self::from(*signal),
            End::Stopped(stop) if stop.kind.needs_a_change() => Self::Refused,
            End::Stopped(_) => Self::Stopped,
            End::Complete => {
                let mut statuses = Status::ALL.into_iter();
                if statuses.any(|status| status.needs_a_person() && count(status) > 0) {
                    Self::NeedsPerson
                } else {
                    Self::Done
                }
            }
        }
    }
}

impl From<Signal> for Exit {
    fn from(signal: Signal) -> Self {
        match signal {
            Signal::Sighup => Self::Sighup,
            Signal::Sigint => Self::Sigint,
            Signal::Sigterm => Self::Sigterm,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self as u8)
    }
}
