//! One table of settings. From a row come the flag, its place and texts in `-h`, `--help` and the manual
//! page, its key in a file of settings and, unless its value is free text, its key in the report. These
//! helps are the reference: no other list of flags is written.
//!
//! To add a setting, add a row here and read it by its name, with a parser of [`super::values`], in
//! [`super::config`].

use std::ffi::OsString;

use clap::{Arg, ArgAction};
use serde_json::{Value as Json, json};

use super::values::{duration, percent, rate};
use crate::gateway::words::ENDPOINT;
use crate::pace::Rate;

/// One setting.
pub struct Setting {
    /// The flag without its dashes; `input` has none.
    pub name: &'static str,
    /// What stands for the value: the words that there are, or its kind, such as `DUR`, which decides
    /// how the report shows it. A switch has none.
    pub value: &'static str,
    /// The value when nothing is given.
    pub default: Option<&'static str>,
    /// In words, where the value follows from other settings or from the input.
    pub derived: Option<&'static str>,
    /// The environment variable that gives it when the flag does not.
    pub variable: Option<&'static str>,
    /// The settings that make no sense beside it, whatever each comes from.
    pub conflicts: &'static [&'static str],
    /// Its flag in one letter.
    pub short: Option<char>,
    /// What giving it means, and giving it twice.
    pub action: ArgAction,
    /// The heading that it stands under in help.
    pub group: &'static str,
    /// Is it left out of the short help?
    pub is_seldom: bool,
    /// What it does: one line, and, behind a blank one, all there is to say.
    pub help: &'static str,
}

/// The headings of help, in their order.
pub const GROUPS: &[&str] = &[
    "Campaign",
    "Ledger",
    "Sandbox",
    "Channel",
    "Pace",
    "Hours and money",
    "Retries",
    "Input and output",
    "Input",
    "Output",
    "Connection",
    "General",
];

/// The rows of a table, under the headings that they have in help: the help of a setting, its name and
/// value, and what else there is to it. The first paragraph of the help is all that `-h` shows.
macro_rules! settings {
    ($(
        $group:literal:
        $(
            $(#[doc = $help:literal])+
            $kind:ident($($word:literal),+) $({ $($field:ident: $set:expr),+ })?;
        )+
    )+) => {
        &[$($(Setting {
            group: $group,
            help: concat!($($help, "\n"),+).trim_ascii(),
            $($($field: $set,)+)?
            ..$kind($($word),+)
        },)+)+]
    };
}

/// All tables; those of a command are named where the commands are.
pub const ALL: [&[Setting]; 15] = [
    EVERY,
    RUN,
    SEND,
    VERIFY,
    WORK,
    CHECK,
    REPORT,
    STATUS,
    SETTLE,
    WHO,
    PURGE,
    LEDGER,
    COMPLETIONS,
    SANDBOX,
    HELP,
];

/// What every command takes.
pub const EVERY: &[Setting] = settings! {
    "General":
    /// A file of settings, in TOML
    ///
    /// Keys are the flags of `send` and `verify` with `_` for `-` (`max_outage = "1h"`); paths are
    /// relative to the file's folder. A flag wins over the environment, that over the file
    value("config", "FILE");
    /// More on stderr, `-vv` still more
    ///
    /// With `-v` why it waits, with `-vv` what each request came to
    switch("verbose") { short: Some('v'), action: ArgAction::Count };
    /// Nothing but errors
    switch("quiet") { short: Some('q'), conflicts: &["verbose"] };
    /// The form of log lines
    ///
    /// In `json` everything on stderr is one object per line; see `otpdrive help logs`
    value("log-format", "text|json") { default: Some("text"), is_seldom: true };
    /// Whole numbers in logs instead of `+9198******10`
    switch("log-numbers") { is_seldom: true };
    /// Progress on stderr
    ///
    /// On a terminal two lines that are redrawn. Elsewhere, or with `TERM=dumb`, a plain line every 10 s:
    /// with `auto` ever more rarely while nothing changes, with `always` every time
    value("progress", "auto|always|never") { default: Some("auto") };
};

/// What `send`, `verify` and `check` share.
pub const RUN: &[Setting] = settings! {
    "Campaign":
    /// What "never twice" refers to
    ///
    /// one number, one campaign, one OTP. Needed where the input has no name of its own: stdin, a pipe
    value("campaign", "NAME") { derived: Some("the file's stem, or what it says itself in `otp_campaign`") };
    /// The durable memory of all campaigns
    ///
    /// With `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH|URL") { derived: Some("`./otpdrive.db`") };
    /// Go on with a ledger that was restored from a backup
    ///
    /// Whoever was sent to after the backup was made may be sent to again
    switch("accept-restored-ledger") { is_seldom: true };
    /// Go on with a ledger whose server's history is another one
    ///
    /// A standby took over, or a backup was restored: whoever was sent to in the last seconds before may be
    /// sent to again
    switch("accept-timeline") { is_seldom: true };
    /// A suppression list: its numbers are left out
    ///
    /// A CSV file with a phone column; they are `suppressed`. Can be given several times
    value("exclude", "FILE") { action: ArgAction::Append };
    /// Start at most N numbers in this run
    ///
    /// The first ones of the file; the rest stays `pending` (exit 3)
    value("limit", "N");
    /// A rehearsal: no key, no ids, no network
    ///
    /// Against a gateway in the process; it never counts as the real thing, even in the same ledger. Not
    /// with `--endpoint`, `--proxy`, `--api-key-file`
    switch("sandbox") { conflicts: &["endpoint", "proxy", "api-key-file"] };
    /// Send without asking
    ///
    /// A real `send` asks once, where stdin and stderr are a terminal
    switch("yes");

    "Pace":
    /// Requests per time, retries too
    ///
    /// All requests, fallbacks included: `N/s`, `N/m`, `N/h` or `unlimited`
    value("rate", "RATE") { default: Some("10/s") };
    /// Requests in flight at once
    ///
    /// It is also the most rows that a crash can leave `unknown`
    value("concurrency", "N") { default: Some("32") };

    "Hours and money":
    /// Start requests only in these hours
    ///
    /// Outside of them wait, and say so. `21:00-06:00` goes over midnight
    value("window", "HH:MM-HH:MM");
    /// Whose clocks and days count
    value("timezone", "ZONE") { default: Some("Asia/Kolkata"), is_seldom: true };
    /// Start nothing before this time
    ///
    /// A time is `18:00` (the next), `2026-11-27 18:00`, or with an offset
    value("start-at", "TIME") { is_seldom: true };
    /// Start no new numbers after this time
    ///
    /// Then exit 3; retries of those started may follow, unless they have to wait for hours, a cap or a
    /// `Retry-After`
    value("deadline", "TIME");
    /// Start no new numbers once the run has lasted this long
    ///
    /// Retries of those started may follow, unless they have to wait for a `Retry-After`
    value("max-duration", "DUR") { is_seldom: true };

    "Retries":
    /// Requests per number and channel
    ///
    /// Within one run
    value("max-attempts", "N") { default: Some("5") };
    /// The wait before a retry
    ///
    /// A random time up to BASE, 2 BASE, 4 BASE … CAP
    value("backoff", "BASE..CAP") { default: Some("500ms..30s"), is_seldom: true };
    /// Do not wait out a `Retry-After` that an earlier run was told
    switch("ignore-retry-after") { is_seldom: true };
    /// What an answered 500 or 502 means
    ///
    /// With `retry` "not sent"; with `hold` that it may have been sent, so `unknown`
    value("on-server-error", "retry|hold") { default: Some("retry"), is_seldom: true };
    /// So many refusals in the same words are the account's
    ///
    /// That many different numbers in a row: it is the account or the service, not the numbers
    value("refused-alike", "N|off") { default: Some("20"), is_seldom: true };
    /// Wait out an outage this long
    ///
    /// The gateway is down, nothing leaves but a probe now and then; after this stop (exit 3)
    value("max-outage", "DUR") { default: Some("15m") };

    "Input and output":
    /// Where the result files go
    ///
    /// With `--sandbox` `./CAMPAIGN-sandbox-results` and `./CAMPAIGN-verify-sandbox-results`; never onto
    /// the input itself
    value("out", "DIR") { derived: Some("`./CAMPAIGN-results`; verify: `./CAMPAIGN-verify-results`") };
    /// Result files that survive Excel
    ///
    /// With a byte order mark, and numbers as `="+919876543210"`: text to a spreadsheet, and still a
    /// valid next input; see `otpdrive help results`
    switch("excel") { is_seldom: true };
    /// POST report.json there at the end of the run
    ///
    /// An https address, or one of this machine; 3 tries of 10 s. Whether it arrives changes nothing
    /// else. Only its host is ever shown
    value("notify", "URL") { is_seldom: true };
    /// Metrics for Prometheus, every 10 s and at the end
    ///
    /// For the textfile collector of `node_exporter`, which may read it (mode 0644); one file per
    /// campaign, named `….prom`; see `otpdrive help operations`
    value("metrics-file", "FILE") { is_seldom: true };
    /// The column of phone numbers: its name, or `#N`
    ///
    /// `#2` is the second
    value("phone-column", "NAME") { derived: Some("found by its name") };
    /// The column of country codes, `91`, `+44`
    ///
    /// Its name, `#N` or `none`
    value("country-code-column", "NAME") { derived: Some("found by its name"), is_seldom: true };
    /// The country of national numbers
    ///
    /// Whose national numbers the file holds, as in ISO 3166
    value("region", "COUNTRY") { default: Some("IN") };
    /// What separates cells: one character, or `tab`
    value("delimiter", "CHAR") { derived: Some("found out"), is_seldom: true };
    /// The line of the header, where a title stands above it
    value("header-line", "N") { derived: Some("the first line that is not blank"), is_seldom: true };
    /// Take quoted cells over several lines as they stand
    ///
    /// Even where their lines look like rows that a stray quote has swallowed
    switch("accept-multiline-cells") { is_seldom: true };
    /// Refuse to start when more rows are unusable
    ///
    /// A wrong column, most likely
    value("max-invalid", "PERCENT") { default: Some("50%"), is_seldom: true };

    "Connection":
    /// A file with the API key [or env: KOOKOO_API_KEY]
    ///
    /// The file wins over the variable. No flag takes the key itself: argv is public
    value("api-key-file", "FILE");
    /// Where the API is
    ///
    /// Plain http only towards a loopback address
    value("endpoint", "URL") { default: Some(ENDPOINT), is_seldom: true };
    /// Plain http anywhere: key and numbers can be read on the way
    switch("allow-http") { is_seldom: true };
    /// Go through this http(s) proxy
    ///
    /// `HTTP_PROXY` and the like are ignored
    value("proxy", "URL") { is_seldom: true };
    /// One request, from its start to the end of its answer
    value("timeout", "DUR") { default: Some("30s"), is_seldom: true };
    /// Name look-up, connection, TLS; must be shorter than `--timeout`
    value("connect-timeout", "DUR") {
        derived: Some("`5s`, or half of `--timeout` if that is less"), is_seldom: true
    };
};

/// What `send` and `check` take besides.
pub const SEND: &[Setting] = settings! {
    "Campaign":
    /// A list with a header and a phone column; `-` or nothing: stdin
    ///
    /// CSV or .xlsx, as it is or packed; see `otpdrive help formats`
    value("input", "CONTACTS");
    /// Leave out whom another campaign sent to just now
    ///
    /// Whom another campaign of this ledger sent to, or may have sent to, less than this ago is
    /// `suppressed`; `0s`: nobody
    value("cooldown", "DUR") { default: Some("24h"), is_seldom: true };

    "Channel":
    /// How the OTP travels
    ///
    /// A `channel` column wins for its row
    value("channel", "sms|call") { default: Some("sms") };
    /// The other channel, when the first surely failed
    ///
    /// For numbers which the first surely did not reach (`rejected`, `failed`), never after `unknown`
    value("fallback", "sms|call");
    /// The sender of SMS
    ///
    /// Registered with the provider; needed to send SMS
    value("sender-id", "ID") { variable: Some("KOOKOO_SENDER_ID") };
    /// The caller of calls
    ///
    /// A number of the account; needed to call
    value("caller-id", "ID") { variable: Some("KOOKOO_CALLER_ID") };
    /// The column of channels: its name, `#N` or `none`
    value("channel-column", "NAME") {
        derived: Some("the one named channel, if all its cells are"), is_seldom: true
    };

    "Pace":
    /// Requests of calls; they count for `--rate`, too
    value("call-rate", "RATE") { is_seldom: true };
    /// Calls in flight at once
    value("call-concurrency", "N") { is_seldom: true };

    "Hours and money":
    /// Calls keep these hours, too
    value("call-window", "HH:MM-HH:MM");
    /// At most N OTPs on a day
    ///
    /// A day in `--timezone`, over all runs that share the ledger; then wait for the next
    value("daily-cap", "N");
    /// At most N of them as calls
    value("call-daily-cap", "N");
    /// What one OTP costs: `sms=0.25,call=1.10`
    value("price", "CHANNEL=AMOUNT,…");
    /// Stop before the request that would pass it
    ///
    /// Then exit 3; `unknown` counts as spent; over all runs of the campaign
    value("budget", "AMOUNT");

    "Retries":
    /// When no clear answer came
    ///
    /// A request left and no trustworthy answer came back. With `hold` it is left to a person, with
    /// `retry` a second OTP is risked
    value("on-unknown", "hold|retry") { default: Some("hold") };
};

/// What `verify` takes besides.
pub const VERIFY: &[Setting] = settings! {
    "Campaign":
    /// A list with a phone and an otp column; `-` or nothing: stdin
    ///
    /// CSV or .xlsx, as it is or packed; see `otpdrive help formats`
    value("input", "CODES");

    "Input and output":
    /// The column of codes: its name, or `#N`
    value("otp-column", "NAME") { derived: Some("found by its name") };
    /// How long codes are; others are `invalid`
    value("otp-length", "N");
    /// In the `funnel`: tell apart by this column
    ///
    /// One of the lists that were sent to (branch, city); not one of numbers or codes
    value("by", "COLUMN") { is_seldom: true };

    "Retries":
    /// Do not ask codes of older OTPs
    ///
    /// A code is not asked (`suppressed`) when this ledger's latest OTP to its number was sent longer ago
    /// than this, as the run begins. Numbers that this ledger never sent to are asked
    value("max-age", "DUR");
    /// When no clear answer came
    ///
    /// A request left and no trustworthy answer came back. With `retry` the code is checked again, which
    /// does no harm; with `hold` it is left to a person
    value("on-unknown", "hold|retry") { default: Some("retry") };
};

/// What `work` takes: what is of this machine. All else is as the run says that is on.
pub const WORK: &[Setting] = settings! {
    "Campaign":
    /// The campaign whose run is joined
    value("campaign", "NAME") { derived: Some("the only one that is on") };
    /// Which of two campaigns that have one name
    value("operation", "send|verify");
    /// The server that the others use, too
    ///
    /// `postgres://USER@HOST/DATABASE`; a file is one process's
    value("ledger", "PATH|URL");
    /// Go on with a server whose history is another one
    ///
    /// A standby took over, or a backup was restored: whoever was sent to in the last seconds before may be
    /// sent to again
    switch("accept-timeline") { is_seldom: true };
    /// Wait so long for a run to begin
    value("wait", "DUR") { default: Some("0s") };
    /// Join a rehearsal: no key, no ids, no network
    switch("sandbox") { conflicts: &["proxy", "api-key-file"] };

    "Channel":
    /// The sender of SMS
    ///
    /// Registered with the provider; needed to send SMS
    value("sender-id", "ID") { variable: Some("KOOKOO_SENDER_ID") };
    /// The caller of calls
    ///
    /// A number of the account; needed to call
    value("caller-id", "ID") { variable: Some("KOOKOO_CALLER_ID") };

    "Pace":
    /// Requests in flight at once, of this process
    ///
    /// It is also the most rows that a crash of it can leave `unknown`
    value("concurrency", "N") { derived: Some("as the run has it") };
    /// Calls in flight at once, of this process
    value("call-concurrency", "N") { derived: Some("as the run has it"), is_seldom: true };

    "Output":
    /// Where the result files go
    ///
    /// Those of the whole campaign, as far as it is at the end
    value("out", "DIR") { derived: Some("`./CAMPAIGN-results`; verify: `./CAMPAIGN-verify-results`") };
    /// Result files that survive Excel
    switch("excel") { is_seldom: true };
    /// POST report.json there at the end of the run
    ///
    /// An https address, or one of this machine; 3 tries of 10 s. Only its host is ever shown
    value("notify", "URL") { is_seldom: true };
    /// Metrics for Prometheus, every 10 s and at the end
    ///
    /// As `send` writes them; see `otpdrive help operations`
    value("metrics-file", "FILE") { is_seldom: true };

    "Connection":
    /// A file with the API key [or env: KOOKOO_API_KEY]
    ///
    /// The file wins over the variable. No flag takes the key itself: argv is public
    value("api-key-file", "FILE");
    /// Plain http anywhere: key and numbers can be read on the way
    switch("allow-http") { is_seldom: true };
    /// Go through this http(s) proxy
    ///
    /// `HTTP_PROXY` and the like are ignored
    value("proxy", "URL") { is_seldom: true };
    /// One request, from its start to the end of its answer
    value("timeout", "DUR") { derived: Some("as the run has it"), is_seldom: true };
    /// Name look-up, connection, TLS; must be shorter than `--timeout`
    value("connect-timeout", "DUR") { derived: Some("as the run has it"), is_seldom: true };
};

/// What `check` takes besides.
pub const CHECK: &[Setting] = settings! {
    "Input and output":
    /// The plan as one JSON object on stdout
    ///
    /// `otpdrive.plan/1`, and nothing else there: counts for all statuses, unusable rows by reason, what
    /// is due by lane, time, cost, notes
    switch("json");
    /// Write all unusable rows to this CSV file
    ///
    /// With what is wrong with each, as in `results.csv`: mend the rows and send the file, with
    /// `--campaign`
    value("problems", "FILE");
    /// The column of codes: its name, `#N`, `none`
    ///
    /// With a name or `#N` a verify is planned, with `none` a send
    value("otp-column", "NAME") { derived: Some("found by its name and its cells") };
    /// How long codes are; others are `invalid`
    value("otp-length", "N");
};

/// What `report` takes.
pub const REPORT: &[Setting] = settings! {
    "Campaign":
    /// Which campaign
    value("campaign", "NAME") { derived: Some("the only one in the ledger") };
    /// Which of two campaigns that have one name
    value("operation", "send|verify");
    /// The ledger
    ///
    /// With `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH|URL") { derived: Some("`./otpdrive.db`") };
    /// The report of a rehearsal
    switch("sandbox");

    "Output":
    /// Where the result files go
    ///
    /// With `--sandbox` `./CAMPAIGN-sandbox-results` and `./CAMPAIGN-verify-sandbox-results`
    value("out", "DIR") { derived: Some("`./CAMPAIGN-results`; verify: `./CAMPAIGN-verify-results`") };
    /// Print these rows to stdout instead: `failed,unknown`
    ///
    /// As in `results.csv`, a valid next input; on a terminal nothing in them is obeyed
    value("only", "STATUS") { action: ArgAction::Append, conflicts: &["out"] };
    /// Print whom was sent to and has not verified
    ///
    /// Whom this campaign sent to and who have not verified since, in any campaign of the ledger: the
    /// list's own columns, a list for a second step with another --campaign. Nobody of whom something is
    /// unknown or under way, or whom another campaign has sent to since
    switch("unverified") { conflicts: &["only", "out"] };
    /// Of those, whom nobody sent to since
    ///
    /// With --unverified: only those to whom no campaign sent less than this ago
    value("older-than", "DUR") { conflicts: &["only", "out"] };
    /// In the `funnel`: tell apart by this column
    ///
    /// One of the lists that were sent to (branch, city); not one of numbers or codes. Of campaigns of
    /// codes only
    value("by", "COLUMN") { conflicts: &["only", "unverified"] };
    /// Result files, or rows, that survive Excel
    switch("excel");
    /// Print the JSON Schema of `report.json` instead
    switch("schema") { conflicts: &["campaign", "only", "unverified", "older-than", "by", "out"] };
};

/// What `status` takes.
pub const STATUS: &[Setting] = settings! {
    "Ledger":
    /// The ledger
    ///
    /// With `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH|URL") { derived: Some("`./otpdrive.db`") };
    /// The default ledger of rehearsals
    switch("sandbox");
    /// Look through the whole ledger for damage instead
    ///
    /// Exit 0 when it is sound, 2 when it is not
    switch("verify") { conflicts: &["json", "watch"] };

    "Output":
    /// One JSON object per campaign and line
    switch("json");
    /// Look again every second while a run is on
    ///
    /// On a terminal the table is redrawn in place, elsewhere printed when it changes. It ends with the
    /// run, or at Ctrl-C
    switch("watch");
};

/// What `settle` takes.
pub const SETTLE: &[Setting] = settings! {
    "Campaign":
    /// A list with a phone column; `-` or nothing: stdin
    ///
    /// Such as `report --only unknown` prints
    value("input", "FILE");
    /// What became of them
    value("as", "sent|unsent");
    /// Which campaign
    value("campaign", "NAME") { derived: Some("what the file says in `otp_campaign`, or the only one in the ledger") };
    /// The ledger
    ///
    /// With `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH|URL") { derived: Some("`./otpdrive.db`") };
    /// A campaign of rehearsals
    switch("sandbox");

    "Input":
    /// The column of phone numbers: its name, or `#N`
    value("phone-column", "NAME") { derived: Some("found by its name") };
    /// The column of country codes, `91`, `+44`
    ///
    /// Its name, `#N` or `none`
    value("country-code-column", "NAME") { derived: Some("found by its name"), is_seldom: true };
    /// What separates cells: one character, or `tab`
    value("delimiter", "CHAR") { derived: Some("found out"), is_seldom: true };
    /// The line of the header, under a title
    value("header-line", "N") { derived: Some("the first line that is not blank"), is_seldom: true };
    /// The country of national numbers
    ///
    /// Whose national numbers the file holds, as in ISO 3166
    value("region", "COUNTRY") { default: Some("IN") };
};

/// What `who` takes.
pub const WHO: &[Setting] = settings! {
    "Ledger":
    /// A phone number, as a list may have it
    value("input", "NUMBER");
    /// The ledger
    ///
    /// With `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH|URL") { derived: Some("`./otpdrive.db`") };
    /// The default ledger of rehearsals
    switch("sandbox");
    /// The country of a national number
    ///
    /// As in ISO 3166
    value("region", "COUNTRY") { default: Some("IN") };
};

/// What `purge` takes.
pub const PURGE: &[Setting] = settings! {
    "Campaign":
    /// Campaigns with nothing new for so long: `30d`
    ///
    /// Finished or not
    value("older-than", "DUR");
    /// Say what would be purged, and change nothing
    switch("dry-run");
    /// The ledger
    ///
    /// With `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH|URL") { derived: Some("`./otpdrive.db`") };
    /// The default ledger of rehearsals
    switch("sandbox");
};

/// What `ledger` takes.
pub const LEDGER: &[Setting] = settings! {
    "Ledger":
    /// What to do: `copy`
    value("input", "copy");
    /// The ledger that is read
    ///
    /// Nobody may be at work with it; it stays as it is
    value("from", "PATH|URL");
    /// The ledger that is written, empty or not there yet
    value("to", "PATH|URL");
    /// A file with the API key [or env: KOOKOO_API_KEY]
    ///
    /// Only where codes wait to be checked: on a server they are sealed with a key made from it
    value("api-key-file", "FILE");
};

/// What `completions` takes.
pub const COMPLETIONS: &[Setting] = settings! {
    "General":
    /// bash, zsh or fish
    value("input", "SHELL");
};

/// What `help` takes.
pub const HELP: &[Setting] = settings! {
    "General":
    /// A topic, or a command
    value("input", "TOPIC");
};

/// What `sandbox` takes.
pub const SANDBOX: &[Setting] = settings! {
    "Sandbox":
    /// Where it listens
    ///
    /// A loopback address; port 0 takes a free one
    value("listen", "ADDRESS") { default: Some("127.0.0.1:8025") };
    /// How long an answer takes
    ///
    /// `20ms`, or anything between two: `20ms..80ms`
    value("latency", "DUR") { default: Some("0ms") };
    /// Faults by share: `500=2%,drop=1%`
    ///
    /// An HTTP status from 300 to 599 or a name; `otpdrive help sandbox` lists the names
    value("faults", "NAME=PERCENT%,…");
    /// The same seed, the same faults
    ///
    /// To the same numbers
    value("seed", "N") { default: Some("0") };
    /// Refuse every key but the one in this file
    value("api-key-file", "FILE");
    /// Append one JSON line per request
    ///
    /// Its keys: `t`, `path`, `phone`, `n`, `action`, `accepted`, `status`
    value("log", "FILE");
};

const fn value(name: &'static str, value: &'static str) -> Setting {
    Setting {
        name,
        value,
        default: None,
        derived: None,
        variable: None,
        conflicts: &[],
        short: None,
        action: ArgAction::Set,
        group: "",
        is_seldom: false,
        help: "",
    }
}

const fn switch(name: &'static str) -> Setting {
    Setting {
        action: ArgAction::SetTrue,
        ..value(name, "")
    }
}

/// A help as `-h` has it, and in full.
pub fn said(help: &str) -> (String, String) {
    let flowing = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (short, more) = help.split_once("\n\n").unwrap_or((help, ""));
    let (short, more) = (flowing(short), flowing(more));
    let full = match more.chars().next() {
        None => short.clone(),
        Some(first) if first.is_lowercase() => format!("{short}: {more}"),
        Some(_) => format!("{short}. {more}"),
    };
    (short, full)
}

impl Setting {
    /// What clap is to know of it.
    pub fn arg(&self) -> Arg {
        let arg = Arg::new(self.name)
            .long(Some(self.name).filter(|name| *name != "input"))
            .short(self.short)
            .action(self.action.clone())
            .help_heading(Some(self.group).filter(|_| self.name != "input"))
            .hide_short_help(self.is_seldom);
        let (short, full) = said(self.help);
        let default = |text: &str| format!(" [default: {text}]");
        let variable = self.variable.map(|name| format!(" [env: {name}]"));
        let either = [self.default.map(default), variable].into_iter().flatten();
        let either: String = either.collect();
        let derived = self.derived.map(default).unwrap_or_default();
        let arg = arg
            .help(short + &either)
            .long_help(full + &either + &derived);
        if self.value.is_empty() {
            return arg;
        }
        arg.value_name(self.value)
            .allow_negative_numbers(self.name != "input")
            .value_parser(clap::value_parser!(OsString))
            .default_value(self.default)
            .env(self.variable)
            // They stand in the text, and no value of the environment anywhere.
            .hide_default_value(true)
            .hide_env(true)
    }

    /// A setting of a run as its report shows it, with its key: the name, and the unit. What is not
    /// there is null. Free text is left out: it may name somebody or hold a secret.
    pub fn report(&self, text: Option<&str>) -> Option<(String, Json)> {
        // What cannot be read was refused before.
        let given = text.unwrap_or_default();
        let seconds = duration(given).ok().map(|time| time.as_secs_f64());
        let per_second = rate(given).ok().flatten().map(Rate::per_second);
        let (unit, shown) = match self.value {
            "N" | "N|off" => ("", json!(given.parse::<u64>().ok())),
            "DUR" => ("_s", json!(seconds)),
            "RATE" => ("_per_s", json!(per_second)),
            "PERCENT" => ("_percent", json!(percent(given).ok())),
            "COUNTRY" | "ZONE" | "HH:MM-HH:MM" | "AMOUNT" | "CHANNEL=AMOUNT,…" => {
                ("", json!(text))
            }
            // It may have a password in it.
            "PATH|URL" => return None,
            word if word.contains('|') => ("", json!(text)),
            _ => return None,
        };
        Some((self.name.replace('-', "_") + unit, shown))
    }

    /// What such a report says of it, as a flag would have it. Rates of a run are those of who works
    /// on it.
    pub fn reported(&self, settings: &Json) -> Option<String> {
        let key = self.name.replace('-', "_");
        let seconds = |key: &str| Some(format!("{}s", settings.get(key)?.as_f64()?));
        match self.value {
            "DUR" => seconds(&(key + "_s")),
            "BASE..CAP" => {
                let [base, cap] = ["backoff_base_s", "backoff_cap_s"].map(seconds);
                Some(format!("{}..{}", base?, cap?))
            }
            "N|off" if settings.get(&key)?.is_null() => Some("off".to_owned()),
            "N" | "N|off" => Some(settings.get(&key)?.as_u64()?.to_string()),
            "NAME" | "RATE" | "PERCENT" => None,
            // A rehearsal goes nowhere.
            _ => Some(settings.get(&key)?.as_str()?.to_owned()).filter(|text| text != "sandbox"),
        }
    }
}
