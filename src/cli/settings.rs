//! One table of settings. From a row come the flag, its help, its row in the README and, unless its
//! value is free text, its key in the report.
//!
//! To add a setting, add a row here and read it by its name, with a parser of [`super::values`], in
//! [`super::config`]. A test then shows the row that the README needs.

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
    /// What it does.
    pub help: &'static str,
}

/// The rows of a table: the help of a setting, its name and value, and what else there is to it.
macro_rules! settings {
    ($(
        $(#[doc = $help:literal])+
        $kind:ident($($word:literal),+) $({ $($field:ident: $set:expr),+ })?;
    )+) => {
        &[$(Setting {
            help: concat!($($help),+).trim_ascii(),
            $($($field: $set,)+)?
            ..$kind($($word),+)
        }),+]
    };
}

/// All tables; those of a command are named where the commands are.
pub const ALL: [&[Setting]; 10] = [
    EVERY,
    RUN,
    SEND,
    VERIFY,
    REPORT,
    STATUS,
    SETTLE,
    WHO,
    COMPLETIONS,
    SANDBOX,
];

/// What every command takes.
pub const EVERY: &[Setting] = settings! {
    /// A file of settings: TOML, a key for each flag of `send` and `verify` (`max_outage = "1h"`), paths
    /// relative to its folder. A flag wins over the environment, that over the file
    value("config", "FILE");
    /// More on stderr: `-v` why it waits, `-vv` what each request came to
    switch("verbose") { short: Some('v'), action: ArgAction::Count };
    /// Nothing but errors
    switch("quiet") { short: Some('q'), conflicts: &["verbose"] };
    /// The form of log lines; `json`: one object per line
    value("log-format", "text|json") { default: Some("text") };
    /// Whole numbers in logs instead of `+9198******10`
    switch("log-numbers");
    /// On stderr; `auto`: a bar on a terminal, else a plain line every 10 s; `always`: a bar
    value("progress", "auto|always|never") { default: Some("auto") };
};

/// What `send`, `verify` and `check` share.
pub const RUN: &[Setting] = settings! {
    /// A file that holds the API key; without it `KOOKOO_API_KEY` is used. No flag takes the key
    /// itself: argv is public
    value("api-key-file", "FILE");
    /// Where the API is; plain http only towards a loopback address
    value("endpoint", "URL") { default: Some(ENDPOINT) };
    /// Plain http anywhere: key and numbers can be read on the way
    switch("allow-http");
    /// Go through this http(s) proxy; `HTTP_PROXY` and the like are ignored
    value("proxy", "URL");
    /// What "never twice" refers to: one number, one campaign, one OTP. Needed where the input has no
    /// name of its own: stdin, a pipe
    value("campaign", "NAME") { derived: Some("the file's stem, or what it says itself in `otp_campaign`") };
    /// The durable memory of all campaigns; with `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH") { derived: Some("`./otpdrive.db`") };
    /// Go on with a ledger that was restored from a backup: whoever was sent to after the backup was
    /// made may be sent to again
    switch("accept-restored-ledger");
    /// Where the result files go; with `--sandbox` `./CAMPAIGN-sandbox-results` and
    /// `./CAMPAIGN-verify-sandbox-results`; never onto the input itself
    value("out", "DIR") { derived: Some("`./CAMPAIGN-results`; verify: `./CAMPAIGN-verify-results`") };
    /// A suppression list, a CSV file with a phone column: its numbers are left out (`suppressed`).
    /// Can be given several times
    value("exclude", "FILE") { action: ArgAction::Append };
    /// `N/s`, `N/m`, `N/h` or `unlimited`: all requests, retries and fallbacks included
    value("rate", "RATE") { default: Some("10/s") };
    /// Requests in flight at once, and the most rows that a crash can leave `unknown`
    value("concurrency", "N") { default: Some("32") };
    /// Start requests only in these hours; outside of them wait, and say so. `21:00-06:00` goes over
    /// midnight
    value("window", "HH:MM-HH:MM");
    /// Whose clocks and days count
    value("timezone", "ZONE") { default: Some("Asia/Kolkata") };
    /// Start nothing before: `18:00` (the next), `2026-11-27 18:00`, or with an offset
    value("start-at", "TIME");
    /// Start no new numbers after this time (exit 3); retries of those started may follow, unless they have to wait for hours, a cap or a `Retry-After`
    value("deadline", "TIME");
    /// Start at most N numbers in this run, the first ones of the file; the rest stays `pending` (exit
    /// 3)
    value("limit", "N");
    /// Start no new numbers once the run has lasted this long; retries of those started may follow, unless they have to wait for a `Retry-After`
    value("max-duration", "DUR");
    /// Requests for one number on one channel in a run
    value("max-attempts", "N") { default: Some("5") };
    /// The wait before a retry: a random time up to BASE, 2 BASE, 4 BASE … CAP
    value("backoff", "BASE..CAP") { default: Some("500ms..30s") };
    /// Do not wait out a `Retry-After` that an earlier run was told
    switch("ignore-retry-after");
    /// One request, from its start to the end of its answer
    value("timeout", "DUR") { default: Some("30s") };
    /// Name look-up, connection, TLS; must be shorter than `--timeout`
    value("connect-timeout", "DUR") { derived: Some("`5s`, or half of `--timeout` if that is less") };
    /// `retry`: an answered 500 or 502 means "not sent"; `hold`: it may have been sent, so `unknown`
    value("on-server-error", "retry|hold") { default: Some("retry") };
    /// That many different numbers in a row refused in the same words: it is the account or the
    /// service, not the numbers
    value("refused-alike", "N|off") { default: Some("20") };
    /// How long to wait out a gateway that is down before stopping (exit 3)
    value("max-outage", "DUR") { default: Some("15m") };
    /// Refuse to start when more rows are unusable (a wrong column, most likely)
    value("max-invalid", "PCT") { default: Some("50%") };
    /// The column of phone numbers: its name, or `#N` for the Nth
    value("phone-column", "NAME") { derived: Some("found by its name") };
    /// The column of country codes, `91`, `+44`: its name, `#N` or `none`
    value("country-code-column", "NAME") { derived: Some("found by its name") };
    /// What separates cells: one character, or `tab`
    value("delimiter", "CHAR") { derived: Some("found out") };
    /// The line of the header, where a title stands above it
    value("header-line", "N") { derived: Some("the first line that is not blank") };
    /// Take quoted cells over several lines as they stand, even where their lines look like rows that
    /// a stray quote has swallowed
    switch("accept-multiline-cells");
    /// The country whose national numbers the file holds, as in ISO 3166
    value("region", "CC") { default: Some("IN") };
    /// A rehearsal against a gateway in the process: no key, ids or network; it never counts as the
    /// real thing, even in the same ledger. Not with `--endpoint`, `--proxy`, `--api-key-file`
    switch("sandbox") { conflicts: &["endpoint", "proxy", "api-key-file"] };
    /// Send without asking; a real `send` asks once, where stdin and stderr are a terminal
    switch("yes");
};

/// What `send` and `check` take besides.
pub const SEND: &[Setting] = settings! {
    /// A list with a header and a phone column, CSV or .xlsx, as it is or packed; `-` or nothing: stdin
    value("input", "CONTACTS");
    /// How the OTP travels; a `channel` column wins for its row
    value("channel", "sms|call") { default: Some("sms") };
    /// The other channel for numbers which the first surely did not reach (`rejected`, `failed`),
    /// never after `unknown`
    value("fallback", "sms|call");
    /// The sender of SMS, registered with the provider; needed to send SMS
    value("sender-id", "ID") { variable: Some("KOOKOO_SENDER_ID") };
    /// The caller of calls, a number of the account; needed to call
    value("caller-id", "ID") { variable: Some("KOOKOO_CALLER_ID") };
    /// Requests of calls; they count for `--rate`, too
    value("call-rate", "RATE");
    /// Calls in flight at once
    value("call-concurrency", "N");
    /// Calls keep these hours, too
    value("call-window", "HH:MM-HH:MM");
    /// At most N OTPs on a day in `--timezone`, over all runs that share the ledger; then wait for
    /// the next
    value("daily-cap", "N");
    /// At most N of them as calls
    value("call-daily-cap", "N");
    /// What one OTP costs: `sms=0.25,call=1.10`
    value("price", "CHANNEL=AMOUNT,…");
    /// Stop (exit 3) before the request that would pass it; `unknown` counts as spent; over all runs
    /// of the campaign
    value("budget", "AMOUNT");
    /// Leave out (`suppressed`) whom another campaign of this ledger sent to, or may have sent to, less
    /// than this ago; `0s`: nobody
    value("cooldown", "DUR") { default: Some("24h") };
    /// The column of channels: its name, `#N` or `none`
    value("channel-column", "NAME") { derived: Some("the one named channel, if all its cells are") };
    /// A request left and no trustworthy answer came back: `hold`: leave it to a person; `retry`:
    /// risk a second OTP
    value("on-unknown", "hold|retry") { default: Some("hold") };
};

/// What `verify` takes besides.
pub const VERIFY: &[Setting] = settings! {
    /// A list with a header, a phone column and an otp column; `-` or nothing: stdin
    value("input", "CODES");
    /// The column of codes: its name, or `#N` for the Nth
    value("otp-column", "NAME") { derived: Some("found by its name") };
    /// How long codes are; others are `invalid`
    value("otp-length", "N");
    /// `retry`: checking a code twice does no harm; `hold`: leave it to a person
    value("on-unknown", "hold|retry") { default: Some("retry") };
};

/// What `report` takes.
pub const REPORT: &[Setting] = settings! {
    /// Which campaign
    value("campaign", "NAME") { derived: Some("the only one in the ledger") };
    /// Which of two campaigns that have one name
    value("operation", "send|verify");
    /// The ledger; with `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH") { derived: Some("`./otpdrive.db`") };
    /// Where the result files go; with `--sandbox` `./CAMPAIGN-sandbox-results` and
    /// `./CAMPAIGN-verify-sandbox-results`
    value("out", "DIR") { derived: Some("`./CAMPAIGN-results`; verify: `./CAMPAIGN-verify-results`") };
    /// The report of a rehearsal
    switch("sandbox");
    /// Print these rows (`failed,unknown`) to stdout instead, as in `results.csv`; on a terminal
    /// nothing in them is obeyed
    value("only", "STATUS") { action: ArgAction::Append, conflicts: &["out"] };
    /// Print the JSON Schema of `report.json` instead
    switch("schema") { conflicts: &["campaign", "only", "out"] };
};

/// What `status` takes.
pub const STATUS: &[Setting] = settings! {
    /// The ledger; with `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH") { derived: Some("`./otpdrive.db`") };
    /// The default ledger of rehearsals
    switch("sandbox");
    /// Look through the whole ledger for damage instead: exit 0 when it is sound, 2 when it is not
    switch("verify");
};

/// What `settle` takes.
pub const SETTLE: &[Setting] = settings! {
    /// CSV file with a header and a phone column, such as `report --only unknown` prints; `-` or
    /// nothing: stdin
    value("input", "FILE");
    /// What became of them
    value("as", "sent|unsent");
    /// Which campaign
    value("campaign", "NAME") { derived: Some("what the file says in `otp_campaign`, or the only one in the ledger") };
    /// The ledger; with `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH") { derived: Some("`./otpdrive.db`") };
    /// A campaign of rehearsals
    switch("sandbox");
    /// The column of phone numbers
    value("phone-column", "NAME") { derived: Some("found by its name") };
    /// The column of country codes: its name, `#N` or `none`
    value("country-code-column", "NAME") { derived: Some("found by its name") };
    /// What separates cells: one character, or `tab`
    value("delimiter", "CHAR") { derived: Some("found out") };
    /// The line of the header, where a title stands above it
    value("header-line", "N") { derived: Some("the first line that is not blank") };
    /// The country whose national numbers the file holds, as in ISO 3166
    value("region", "CC") { default: Some("IN") };
};

/// What `who` takes.
pub const WHO: &[Setting] = settings! {
    /// A phone number, as a list may have it
    value("input", "NUMBER");
    /// The ledger; with `--sandbox` `./otpdrive-sandbox.db`
    value("ledger", "PATH") { derived: Some("`./otpdrive.db`") };
    /// The default ledger of rehearsals
    switch("sandbox");
    /// The country of a national number, as in ISO 3166
    value("region", "CC") { default: Some("IN") };
};

/// What `completions` takes.
pub const COMPLETIONS: &[Setting] = settings! {
    /// bash, zsh or fish
    value("input", "SHELL");
};

/// What `sandbox` takes.
pub const SANDBOX: &[Setting] = settings! {
    /// A loopback address; port 0 takes a free one
    value("listen", "ADDR") { default: Some("127.0.0.1:8025") };
    /// How long an answer takes: `20ms` or `20ms..80ms`
    value("latency", "DUR") { default: Some("0ms") };
    /// `NAME=PERCENT%,…`: an HTTP status from 300 to 599 or a name, such as `500=2%,drop=1%`; the
    /// README lists the names
    value("faults", "FAULTS");
    /// The same seed gives the same faults to the same numbers
    value("seed", "N") { default: Some("0") };
    /// Refuse every key but the one in this file
    value("api-key-file", "FILE");
    /// Append one JSON line per request: `t`, `path`, `phone`, `n`, `action`, `accepted`, `status`
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
        help: "",
    }
}

const fn switch(name: &'static str) -> Setting {
    Setting {
        action: ArgAction::SetTrue,
        ..value(name, "")
    }
}

impl Setting {
    /// What clap is to know of it.
    pub fn arg(&self) -> Arg {
        let arg = Arg::new(self.name)
            .long(Some(self.name).filter(|name| *name != "input"))
            .short(self.short)
            .action(self.action.clone());
        let arg = match self.derived {
            Some(default) => arg.help(format!("{} [default: {default}]", self.help)),
            None => arg.help(self.help),
        };
        if self.value.is_empty() {
            return arg;
        }
        arg.value_name(self.value)
            .allow_negative_numbers(self.name != "input")
            .value_parser(clap::value_parser!(OsString))
            .default_value(self.default)
            .env(self.variable)
            .hide_env_values(true)
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
            "PCT" => ("_percent", json!(percent(given).ok())),
            "CC" | "ZONE" | "HH:MM-HH:MM" | "AMOUNT" | "CHANNEL=AMOUNT,…" => ("", json!(text)),
            word if word.contains('|') => ("", json!(text)),
            _ => return None,
        };
        Some((self.name.replace('-', "_") + unit, shown))
    }
}
