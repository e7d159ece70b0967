//! What a ledger knows, as the report reads it: campaigns, their runs, their rows.
//!
//! These are facts in the shape in which they are handed from the ledger to the renderings; what
//! they mean is said by [`crate::status`].

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::job::{Attempt, Lane, Operation, UnixMicros};
use crate::money::Prices;
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

/// What a run was to do, as its plan said before its first request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Planned {
    /// Numbers, or codes, to ask; each with one request if all goes well.
    pub numbers: u64,
    /// How long it takes if all goes well; null: as fast as answers come.
    pub time_s: Option<f64>,
    /// What it costs at most; null without a price (`--price`).
    pub cost_at_most: Option<f64>,
    /// Text messages of other runs that had left on the day on which it began; counted where there
    /// is a cap.
    pub sms_before: u64,
    /// The same of calls.
    pub calls_before: u64,
}

impl Planned {
    /// How long it takes if all goes well.
    #[must_use]
    pub fn time(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.time_s?).ok()
    }
}

impl RunRecord {
    /// Where the settings keep the plan.
    pub const PLAN: &'static str = "plan";

    /// What was planned; `None` where that was not kept.
    #[must_use]
    pub fn planned(&self) -> Option<Planned> {
        Planned::deserialize(&self.settings[Self::PLAN]).ok()
    }

    /// The prices that it was given, if it was.
    #[must_use]
    pub fn prices(&self) -> Option<Prices> {
        self.settings["price"].as_str()?.parse().ok()
    }
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
    /// Its code is too old to be asked (`--max-age`): the latest OTP of its number is this one's.
    TooOld {
        /// The name of the campaign that sent it, or may have.
        campaign: String,
        /// When.
        at: UnixMicros,
    },
}

impl fmt::Display for Suppression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recent { campaign, at } => {
                write!(f, "campaign {campaign} sent to it, or may have, at {at}")
            }
            Self::Excluded(list) => write!(f, "it stands in {list}"),
            Self::TooOld { campaign, at } => write!(
                f,
                "the code is too old to be asked (--max-age): campaign {campaign} sent the latest OTP at {at}"
            ),
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

/// The columns of a result file that are this program's own, behind those of the input.
pub mod result_column {
    /// Where the row stands in the input.
    pub const LINE: &str = "otp_line";
    /// The campaign.
    pub const CAMPAIGN: &str = "otp_campaign";
    /// The number as it was read, E.164.
    pub const PHONE: &str = "otp_phone";
    /// `sms` or `call`; empty when a code is checked.
    pub const CHANNEL: &str = "otp_channel";
    /// What became of the row.
    pub const STATUS: &str = "otp_status";
    /// What the provider calls it.
    pub const REFERENCE: &str = "otp_reference";
    /// Why.
    pub const DETAIL: &str = "otp_detail";
    /// How many requests left, or may have.
    pub const ATTEMPTS: &str = "otp_attempts";
    /// When the first left that was, or may have been, acted on.
    pub const FIRST_SENT_AT: &str = "otp_first_sent_at";
    /// When the status became final.
    pub const SETTLED_AT: &str = "otp_settled_at";
    /// How long the last answer took.
    pub const LATENCY_MS: &str = "otp_latency_ms";

    /// All of them, in their order.
    pub const ALL: [&str; 11] = [
        LINE,
        CAMPAIGN,
        PHONE,
        CHANNEL,
        STATUS,
        REFERENCE,
        DETAIL,
        ATTEMPTS,
        FIRST_SENT_AT,
        SETTLED_AT,
        LATENCY_MS,
    ];
}

/// What stands for a code in a result file.
pub const MASKED_CODE: &str = "******";
