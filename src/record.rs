//! What a ledger knows, as the report reads it: campaigns, their runs, their rows.
//!
//! These are facts in the shape in which they are handed from the ledger to the renderings; what
//! they mean is said by [`crate::outcome`].

use std::borrow::Cow;

use crate::outcome::{
    Attempt, Lane, Number, Operation, Outcome, RunId, Status, UnixMicros, outcome,
};

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

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Nothing was left to do.
    Complete,
    /// It stopped with rows left over.
    Stopped(Stop),
    /// A signal ended it.
    Interrupted(Signal),
}

/// Why a run stopped early.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Stop {
    /// For machines.
    pub kind: StopKind,
    /// For people: what happened and what to do.
    pub message: String,
}

/// The kinds of early stops, as in `stop_reason.kind` of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopKind {
    /// The gateway refused the key.
    KeyRefused,
    /// Nothing but redirects and 4xx came back from the start.
    WrongEndpoint,
    /// The gateway was down for longer than `--max-outage`.
    Outage,
    /// `--limit` was reached.
    Limit,
    /// `--max-duration` was reached.
    MaxDuration,
    /// The ledger could not be written.
    Ledger,
}

/// The signals that end a run gracefully.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Signal {
    /// Ctrl-C.
    Sigint,
    /// What `kill`, cron and systemd send.
    Sigterm,
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
    /// The request that is due first for it.
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
}

impl Row {
    /// What became of the row, and what to say about it.
    #[must_use]
    pub fn outcome(&self) -> Outcome<'_> {
        let not_worked_on = |status, detail| Outcome {
            status,
            detail,
            ..outcome(self.lane, &[])
        };
        match &self.state {
            RowState::Invalid(problem) => {
                not_worked_on(Status::Invalid, Cow::Borrowed(problem.as_str()))
            }
            RowState::Duplicate { first_line } => not_worked_on(
                Status::Duplicate,
                Cow::Owned(format!("same as line {first_line}")),
            ),
            RowState::Job(attempts) => outcome(self.lane, attempts),
        }
    }
}
