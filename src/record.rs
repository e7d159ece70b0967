//! What a ledger knows, as the report reads it: campaigns, their runs, their rows.
//!
//! These are facts in the shape in which they are handed from the ledger to the renderings; what
//! they mean is said by [`crate::status`].

use std::borrow::Cow;
use std::fmt;

use crate::job::{Attempt, Lane, Operation, UnixMicros};
use crate::number::Number;
use crate::run::{End, RunId, Runs};
use crate::status::{Outcome, Status, outcome};

/// Names a campaign in a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CampaignId(pub i64);

/// What "never twice" refers to: one number, one campaign, one OTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignRecord {
    /// Its name in the ledger.
    pub id: CampaignId,
    /// What it does with its numbers.
    pub operation: Operation,
    /// The name that the user knows.
    pub name: String,
    /// A rehearsal against the sandbox: apart from the real campaign of the same name.
    pub sandbox: bool,
    /// The input that it was last run with.
    pub input: InputRecord,
}

/// An input file, as it was last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputRecord {
    /// The file's name without its folder, or `stdin`.
    pub name: String,
    /// SHA-256 of its bytes, 64 hex digits.
    pub sha256: String,
    /// How many rows it has.
    pub rows: u64,
    /// Its header without `otp_*` columns, as a CSV fragment without line end; has as many cells
    /// as each row's record.
    pub header: String,
}

/// One process that worked on a campaign.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// Its name in the ledger.
    pub id: RunId,
    /// When it took hold of the ledger.
    pub started_at: UnixMicros,
    /// When it let go; `None` while it runs, and for ever when it was killed.
    pub finished_at: Option<UnixMicros>,
    /// How it ended; `None` like `finished_at`.
    pub end: Option<End>,
    /// The settings it ran with, no secrets.
    pub settings: serde_json::Value,
    /// The version of the program.
    pub version: String,
}

/// One row of the input and all that is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The line of the file on which it starts.
    pub line: u64,
    /// Its own columns, as a CSV fragment without line end.
    pub record: String,
    /// Its number, when it could be read.
    pub number: Option<Number>,
    /// The lane that is due first for it.
    pub lane: Lane,
    /// What is known of it.
    pub state: RowState,
}

/// What is known of a row.
#[derive(Clone, Debug, PartialEq)]
pub enum RowState {
    /// It cannot be used; why, in plain words.
    Invalid(String),
    /// Its number (to verify: and its code) stands further up.
    Duplicate {
        /// On this line.
        first_line: u64,
    },
    /// It asks for work, and this was done; empty: nothing yet.
    Job(Vec<Attempt>),
    /// It asks for work, and the latest run left it out on purpose; this was done before.
    Suppressed(Suppression, Vec<Attempt>),
}

/// Why a run leaves a number out on purpose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Suppression {
    /// Another campaign sent to it, or may have sent to it, only just now (`--cooldown`).
    Recent {
        /// That campaign's name.
        campaign: String,
        /// When.
        at: UnixMicros,
    },
    /// It stands in a suppression list (`--exclude`) of this name.
    Excluded(String),
}

impl fmt::Display for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recent { campaign, at } => {
                write!(f, "campaign {campaign} sent to it, or may have, at {at}")
            }
            Self::Excluded(list) => write!(f, "it stands in {list}"),
        }
    }
}

impl Row {
    /// All that was done for it, in order.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        match &self.state {
            RowState::Job(attempts) | RowState::Suppressed(_, attempts) => attempts,
            RowState::Invalid(_) | RowState::Duplicate { .. } => &[],
        }
    }

    /// What became of the row, and what to say about it.
    #[must_use]
    pub fn outcome(&self, runs: &Runs) -> Outcome<'_> {
        let not_worked_on = |status, detail| Outcome {
            status,
            detail,
            ..outcome(self.lane, &[], runs)
        };
        match &self.state {
            RowState::Invalid(problem) => {
                not_worked_on(Status::Invalid, Cow::Borrowed(problem.as_str()))
            }
            RowState::Duplicate { first_line } => not_worked_on(
                Status::Duplicate,
                Cow::Owned(format!("same as line {first_line}")),
            ),
            RowState::Job(attempts) => outcome(self.lane, attempts, runs),
            RowState::Suppressed(why, attempts) => {
                let outcome = outcome(self.lane, attempts, runs);
                match outcome.status {
                    Status::Pending | Status::Failed => Outcome {
                        status: Status::Suppressed,
                        detail: Cow::Owned(why.to_string()),
                        settled_at: None,
                        ..outcome
                    },
                    // What was sent, or may have been, is that above all.
                    _ => outcome,
                }
            }
        }
    }
}
