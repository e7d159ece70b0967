//! The words of the command line, as clap reads them; [`super::config`] makes sense of them.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::values::{self, BackoffRange, Percent, RateLimit};
use crate::contacts::Region;
use crate::outcome::{Channel, Operation, Status};

/// Bulk phone verification over the KooKoo (Ozonetel) two-factor API: sends one OTP to every
/// number in a CSV file and checks the codes that come back. Never sends twice unknowingly, never
/// loses a row, never exceeds the rate; running the same command again is always safe.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true)]
pub struct Cli {
    /// How much is said, and how.
    #[command(flatten)]
    pub log: LogArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Sends one OTP (SMS or call) to every number in a CSV file
    Send(SendArgs),
    /// Checks the codes people gave back: a CSV file of phone + otp
    Verify(VerifyArgs),
    /// Reads, repairs and plans exactly as `send` would, and makes no request
    Check(SendArgs),
    /// Rewrites the result files of a campaign from the ledger
    Report(ReportArgs),
    /// Lists the campaigns in the ledger with their counts; works while one is running
    Status(StatusArgs),
    /// A local gateway that speaks KooKoo's API, with magic numbers and faults
    Sandbox(SandboxArgs),
}

/// How much is said, and how.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// Log more to stderr: -v says why it waits, -vv what each request came to
    #[arg(short, long, action = ArgAction::Count, global = true)]
    pub verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// The form of log lines
    #[arg(
        long,
        value_enum,
        default_value = "text",
        global = true,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,
    /// Show whole numbers in logs instead of +9198******10
    #[arg(long, global = true)]
    pub log_numbers: bool,
    /// Progress on stderr; `auto`: a bar on a terminal, else a plain line every 10 s
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        global = true,
        value_name = "WHEN"
    )]
    pub progress: Progress,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether there is a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, else a plain line every 10 s.
    Auto,
    /// A bar, also when stderr is no terminal.
    Always,
    /// Neither bar nor lines.
    Never,
}

/// What to do when it is not known whether a request was acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Doubt {
    /// It may have been sent: leave it to a person.
    Hold,
    /// Try it again, as if it had not been sent.
    Retry,
}

/// The flags of `send` and `check`.
#[derive(Debug, Args)]
pub struct SendArgs {
    /// CSV file with a header and a phone column; `-` or nothing: stdin
    #[arg(value_name = "CONTACTS")]
    pub input: Option<PathBuf>,
    /// How the OTP travels; a `channel` column in the file wins for its row
    #[arg(long, value_enum, default_value = "sms")]
    pub channel: Channel,
    /// Try the other channel for a number which the first surely did not reach (rejected, failed),
    /// never after unknown
    #[arg(long, value_enum)]
    pub fallback: Option<Channel>,
    /// The sender of SMS, registered with the provider; needed to send SMS
    #[arg(
        long,
        env = "KOOKOO_SENDER_ID",
        hide_env_values = true,
        value_name = "ID"
    )]
    pub sender_id: Option<String>,
    /// The caller of calls, a number of the account; needed to call
    #[arg(
        long,
        env = "KOOKOO_CALLER_ID",
        hide_env_values = true,
        value_name = "ID"
    )]
    pub caller_id: Option<String>,
    /// The column of channels [default: the one named channel]
    #[arg(long, value_name = "NAME")]
    pub channel_column: Option<String>,
    /// When a request left and no trustworthy answer came back
    #[arg(long, value_enum, default_value = "hold")]
    pub on_unknown: Doubt,
    /// What both commands share.
    #[command(flatten)]
    pub run: RunArgs,
}

/// The flags of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// CSV file with a header, a phone column and an otp column; `-` or nothing: stdin
    #[arg(value_name = "CODES")]
    pub input: Option<PathBuf>,
    /// The column of codes [default: found by its name]
    #[arg(long, value_name = "NAME")]
    pub otp_column: Option<String>,
    /// When a request left and no trustworthy answer came back
    #[arg(long, value_enum, default_value = "retry")]
    pub on_unknown: Doubt,
    /// What both commands share.
    #[command(flatten)]
    pub run: RunArgs,
}

/// What `send` and `verify` share.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// A file that holds the API key; without it the variable `KOOKOO_API_KEY` is the key
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Where the API is; plain http only towards a loopback address, unless --allow-http
    #[arg(
        long,
        default_value = "https://kookoo.in/api/v1/TwoFactor",
        value_name = "URL"
    )]
    pub endpoint: String,
    /// Allow plain http towards any address: the key and the numbers can be read on the way
    #[arg(long)]
    pub allow_http: bool,
    /// Go through this proxy; without it none is used, whatever the environment says
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// What "never twice" refers to: one number, one campaign, one OTP [default: the file's stem]
    #[arg(long, value_name = "NAME")]
    pub campaign: Option<String>,
    /// The durable memory of all campaigns, with --sandbox ./otpdrive-sandbox.db [default: ./otpdrive.db]
    #[arg(long, value_name = "PATH")]
    pub ledger: Option<PathBuf>,
    /// Use a ledger that is a copy or lacks its log, although its latest run never ended: whoever
    /// was sent to after the copy was made is sent to again
    #[arg(long)]
    pub accept_restored_ledger: bool,
    /// Where the result files go, with --sandbox ./CAMPAIGN-sandbox-results [default:
    /// ./CAMPAIGN-results]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Requests in a time, retries and fallbacks included: N/s, N/m, N/h or unlimited
    #[arg(long, default_value = "10/s", value_parser = values::rate)]
    pub rate: RateLimit,
    /// Requests in flight at once, and the most rows that a crash can leave unknown
    #[arg(long, default_value = "32", value_name = "N")]
    pub concurrency: std::num::NonZeroUsize,
    /// Start at most N numbers in this run; the rest stays pending
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// Start no new numbers once the run has lasted this long; the rest stays pending
    #[arg(long, value_name = "DUR", value_parser = values::duration)]
    pub max_duration: Option<Duration>,
    /// Requests for one number on one channel in a run
    #[arg(long, default_value = "5", value_name = "N")]
    pub max_attempts: std::num::NonZeroU32,
    /// The wait before a retry: exponential with full jitter; Retry-After is a lower bound
    #[arg(long, default_value = "500ms..30s", value_name = "BASE..CAP", value_parser = values::backoff)]
    pub backoff: BackoffRange,
    /// The time for one request, from its start to the end of its answer
    #[arg(long, default_value = "30s", value_name = "DUR", value_parser = values::duration)]
    pub timeout: Duration,
    /// The time for name look-up, connection and TLS; shorter than --timeout
    #[arg(long, default_value = "5s", value_name = "DUR", value_parser = values::duration)]
    pub connect_timeout: Duration,
    /// Is an answered 500 or 502 believed to mean "not sent"?
    #[arg(long, value_enum, default_value = "retry")]
    pub on_server_error: Doubt,
    /// How long to wait out a gateway that is down before stopping
    #[arg(long, default_value = "15m", value_name = "DUR", value_parser = values::duration)]
    pub max_outage: Duration,
    /// Refuse to start when more rows than that are unusable: a wrong column, most likely
    #[arg(long, default_value = "50%", value_name = "PCT", value_parser = values::percent)]
    pub max_invalid: Percent,
    /// The phone column [default: found by its name]
    #[arg(long, value_name = "NAME")]
    pub phone_column: Option<String>,
    /// What separates cells: one character, or `tab` [default: found out]
    #[arg(long, value_name = "CHAR", value_parser = values::delimiter)]
    pub delimiter: Option<u8>,
    /// The country whose national numbers the file holds, as in ISO 3166
    #[arg(long, default_value = "IN", value_name = "CC")]
    pub region: Region,
    /// A rehearsal: start the sandbox in this process and send to it; no key, no ids, no network.
    /// It never counts as the real thing
    #[arg(long, conflicts_with_all = ["endpoint", "api_key_file", "proxy"])]
    pub sandbox: bool,
}

/// The flags of `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Which campaign [default: the only one in the ledger]
    #[arg(long, value_name = "NAME")]
    pub campaign: Option<String>,
    /// `send` or `verify`, when two campaigns have the same name
    #[arg(long, value_name = "OPERATION", value_parser = values::operation)]
    pub operation: Option<Operation>,
    /// The ledger, with --sandbox ./otpdrive-sandbox.db [default: ./otpdrive.db]
    #[arg(long, value_name = "PATH")]
    pub ledger: Option<PathBuf>,
    /// Where the result files go, with --sandbox ./CAMPAIGN-sandbox-results [default:
    /// ./CAMPAIGN-results]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The report of a rehearsal
    #[arg(long)]
    pub sandbox: bool,
    /// Print the rows with these statuses as CSV instead, a valid next input
    #[arg(long, value_name = "STATUS", value_delimiter = ',', value_enum)]
    pub only: Vec<Status>,
    /// Print the JSON Schema of report.json instead
    #[arg(long, conflicts_with_all = ["campaign", "only", "out"])]
    pub schema: bool,
}

/// The flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The ledger, with --sandbox ./otpdrive-sandbox.db [default: ./otpdrive.db]
    #[arg(long, value_name = "PATH")]
    pub ledger: Option<PathBuf>,
    /// The default ledger of rehearsals
    #[arg(long)]
    pub sandbox: bool,
    /// Look through the whole ledger for damage instead: exit 0 when it is sound, 2 when it is not
    #[arg(long)]
    pub verify: bool,
}

/// The flags of `sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Where to listen: a loopback address; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8025", value_name = "ADDR")]
    pub listen: std::net::SocketAddr,
    /// How long an answer takes: `20ms` or `20ms..80ms`
    #[arg(long, default_value = "0ms", value_name = "DUR", value_parser = values::latency)]
    pub latency: values::Latency,
    /// Faults by rate, such as `500=2%,drop=1%,429=5%,slow=3%`; the README lists the names
    #[arg(long, value_name = "FAULTS")]
    pub faults: Option<crate::sandbox::Faults>,
    /// Makes the faults repeatable
    #[arg(long, default_value = "0", value_name = "N")]
    pub seed: u64,
    /// Accept only the API key in this file
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Append one JSON line a request to this file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}
