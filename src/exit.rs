//! How the program ends.

use std::process::{ExitCode, Termination};

use crate::run::{End, Signal};
use crate::status::Status;

/// The codes, and [`Exit::ALL`] of them with what their documentation says.
macro_rules! exits {
    ($(#[doc = $meaning:literal] $name:ident = $code:literal,)+) => {
        /// The exit codes, each with one meaning.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Exit {
            $(#[doc = $meaning] $name = $code,)+
        }

        impl Exit {
            /// All of them, with their meanings in one line.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, $meaning.trim_ascii())),+];
        }
    };
}

exits! {
    /// done, nothing needs a person
    Done = 0,
    /// done, some rows are `rejected`, `failed`, `unknown` or `invalid`
    NeedsPerson = 1,
    /// bad usage, configuration or input: nothing was sent
    Usage = 2,
    /// stopped early, rows are `pending`: run it again
    Stopped = 3,
    /// refused as a whole (key, account, endpoint): change something first
    Refused = 4,
    /// another run holds this ledger
    Held = 5,
    /// a bug: the accounts do not balance, or the program panicked
    Bug = 70,
    /// ended by SIGHUP: the terminal was closed
    Sighup = 129,
    /// interrupted by SIGINT
    Sigint = 130,
    /// ended by SIGTERM
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
