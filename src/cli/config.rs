//! From the values of the settings to a [`Config`] in which nothing can be invalid any more.

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value as Json, json};

use super::limits::{self, hours_for};
use super::notify;
use super::values::{self, Values, trimmed};
use crate::campaign::{EarlierHolds, Limits, LogNumbers, Settings};
use crate::contacts::ReadOptions;
use crate::gateway::{self as provider, http};
use crate::job::{Channel, Lane, Operation, UnixMicros};
use crate::ledger::postgres::Timeline;
use crate::ledger::sqlite::Restored;
use crate::ledger::{At, CampaignKey, Ceilings, Opening};
use crate::number::mask_name;
use crate::report::results::Form;
use crate::run::Policy;
use crate::text::shell_word;

/// The environment variable that holds the key.
pub const KEY_VARIABLE: &str = "KOOKOO_API_KEY";

/// What is longer is no key.
const KEY_LENGTH_MAX: usize = 256;

/// The key that a rehearsal shows to the sandbox.
const REHEARSAL_KEY: &str = "KK00000000000000000000000000000000";

/// The time to connect unless it is given: this, or half of the time for a request.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A run, ready to start.
pub struct Config {
    /// The file, `-` for stdin.
    pub input: PathBuf,
    /// How to read it.
    pub read: ReadOptions,
    /// What is done.
    pub operation: Operation,
    /// Does it count?
    pub mode: Mode,
    /// The ledger.
    pub ledger: At,
    /// Was the ledger named, or is it the one of this folder?
    pub ledger_is_named: bool,
    /// What to do when it may lack requests that were made.
    pub restored: Restored,
    pub timeline: Timeline,
    /// The file that the key was read from.
    pub key_file: Option<PathBuf>,
    /// Whether a person is asked before the first request.
    pub consent: Consent,
    /// Who is told of the end of the run.
    pub notify: Option<Url>,
    /// How the result files are written.
    pub form: Form,
    /// The file of settings, if one was named.
    pub settings_file: Option<PathBuf>,
    /// Where the metrics are written, if they are wanted.
    pub metrics_file: Option<PathBuf>,
    /// Where the result files go, if that was given.
    out: Option<PathBuf>,
    /// Numbers that another campaign sent to less than this ago are left out; zero: none.
    pub cooldown: Duration,
    /// Codes of numbers that were sent to longer ago than this are not asked.
    pub max_age: Option<Duration>,
    /// The column that the numbers in the funnel are told apart by.
    pub by: Option<String>,
    /// Suppression lists.
    pub exclude: Vec<PathBuf>,
    /// How the engine goes about it.
    pub engine: Settings,
    /// What a run may come to, if that is bound.
    pub ceilings: Option<Ceilings>,
    /// What the gateway needs; the endpoint is not used in a rehearsal.
    pub gateway: http::Settings,
    /// Start only when at most this share (0 to 100) of the rows is unusable.
    pub max_invalid: f64,
    /// All settings as the ledger and the report show them; no secrets.
    pub settings: Json,
}

/// Does a command need the key?
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// It makes requests.
    Needed,
    /// It makes none.
    NotNeeded,
}

/// Is a person asked before the first request?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Consent {
    /// Once: OTPs go out for real, and there is somebody to ask.
    Asked,
    /// It is given, not needed, or nobody is there.
    Given,
}

impl Consent {
    fn of(operation: Operation, mode: Mode, values: &Values) -> Self {
        let there = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        let real = operation == Operation::Send && mode == Mode::Real;
        if there && real && !values.is_on("yes") {
            Self::Asked
        } else {
            Self::Given
        }
    }
}

/// Does a run count? A rehearsal never does: it has files of its own.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Real,
    /// It does not.
    Rehearsal,
}

impl Mode {
    /// What was asked for.
    pub fn of(values: &Values) -> Self {
        values.choose("sandbox", Self::Rehearsal, Self::Real)
    }

    /// Where the ledger is.
    ///
    /// # Errors
    /// When it is neither a file nor a server. What was given is not repeated, for it may hold a
    /// password.
    pub fn ledger(self, values: &Values) -> anyhow::Result<At> {
        let ledger = values.path("ledger");
        at("--ledger", ledger.unwrap_or_else(|| self.default_ledger()))
    }

    /// The ledger where none is named.
    fn default_ledger(self) -> PathBuf {
        format!("./otpdrive{}.db", self.infix()).into()
    }

    /// The ledger as commands about a campaign have to name it; `None`: they need not.
    pub fn named(sandbox: bool, ledger: &Path) -> Option<&Path> {
        let mode = if sandbox { Self::Rehearsal } else { Self::Real };
        let default = mode.default_ledger();
        let bare = default.strip_prefix(".").unwrap_or(&default);
        Some(ledger).filter(|ledger| *ledger != default && *ledger != bare)
    }

    /// Where the result files of a campaign go, unless that is given: those of a list's codes beside
    /// those of its OTPs.
    pub fn out(self, operation: Operation, campaign: &str) -> PathBuf {
        let of = match operation {
            Operation::Send => "",
            Operation::Verify => "-verify",
        };
        format!("./{campaign}{of}{}-results", self.infix()).into()
    }

    fn infix(self) -> &'static str {
        match self {
            Self::Real => "",
            Self::Rehearsal => "-sandbox",
        }
    }
}

impl Config {
    /// What `send`, `verify` or `check` is to do.
    ///
    /// # Errors
    /// When a value cannot be read, values contradict each other or something is missing.
    pub fn new(operation: Operation, key: Key, values: &Values) -> anyhow::Result<Self> {
        let input = input(values.path("input"))?;
        Self::of(operation, key, values, input)
    }

    /// The same for this input.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn of(
        operation: Operation,
        key: Key,
        values: &Values,
        input: PathBuf,
    ) -> anyhow::Result<Self> {
        let mode = Mode::of(values);
        let engine = engine(values)?;
        let gateway = gateway(values, mode, key)?;
        let channel = values.optional("channel", values::word)?;
        // `verify` has no channels.
        let channel = channel.unwrap_or(Channel::Sms);
        ensure!(
            engine.policy.fallback != Some(channel),
            "--fallback {0} makes no sense with --channel {0}: name the other channel",
            channel.name()
        );
        let config = Self {
            read: ReadOptions {
                operation,
                channel,
                channel_is_given: operation == Operation::Send && values.is_given("channel"),
                numbers_only: false,
                phone_column: values.optional("phone-column", values::column)?,
                country_code_column: values
                    .optional("country-code-column", values::column_or_none)?,
                columns_are_optional: false,
                otp_column: match operation {
                    // `check` may be told that there is none.
                    Operation::Send => values.optional("otp-column", values::column_or_none)?,
                    Operation::Verify => values.optional("otp-column", values::column)?,
                },
                channel_column: values.optional("channel-column", values::column_or_none)?,
                otp_length: values.optional("otp-length", values::otp_length)?,
                delimiter: values.optional("delimiter", values::delimiter)?,
                header_line: values.optional("header-line", values::number)?,
                region: values.required("region", str::parse)?,
                region_is_given: values.is_given("region"),
                accept_multiline_cells: values.is_on("accept-multiline-cells"),
                campaign: values.optional("campaign", values::campaign)?,
                show_numbers: values.is_on("log-numbers"),
            },
            operation,
            mode,
            ledger: mode.ledger(values)?,
            ledger_is_named: values.path("ledger").is_some(),
            restored: values.choose("accept-restored-ledger", Restored::Accept, Restored::Refuse),
            timeline: values.choose("accept-timeline", Timeline::Accept, Timeline::Refuse),
            key_file: values.path("api-key-file"),
            consent: Consent::of(operation, mode, values),
            notify: values.optional("notify", private_address)?,
            form: values.choose("excel", Form::Excel, Form::Plain),
            settings_file: values.path("config"),
            metrics_file: values.path("metrics-file"),
            out: values.folder("out")?,
            cooldown: match operation {
                Operation::Send => values.required("cooldown", values::duration)?,
                Operation::Verify => Duration::ZERO,
            },
            max_age: values.optional("max-age", values::duration)?,
            by: values.optional("by", str::parse)?,
            exclude: values.paths("exclude"),
            max_invalid: values.required("max-invalid", values::percent)?,
            settings: settings(values, mode, &engine, &gateway),
            ceilings: ceilings(&engine),
            engine,
            gateway,
            input,
        };
        config.ensure_columns_differ()?;
        let none = config.read.channel_column.as_deref() == Some("none");
        // A result file says itself how each of its rows was sent, where nobody says otherwise.
        config.ensure_channels(!none || !config.read.channel_is_given, key)?;
        Ok(config)
    }

    /// Two things cannot be in one column.
    fn ensure_columns_differ(&self) -> anyhow::Result<()> {
        let ReadOptions {
            phone_column,
            country_code_column,
            otp_column,
            channel_column,
            ..
        } = &self.read;
        for (flag, column) in [
            ("country-code-column", country_code_column),
            ("otp-column", otp_column),
            ("channel-column", channel_column),
        ] {
            ensure!(
                column.is_none() || column != phone_column,
                "--{flag} and --phone-column name the same column: leave one of them out, or name another"
            );
        }
        Ok(())
    }

    /// Is everything there for each channel that is used in any case? A campaign uses the one that is
    /// chosen, unless its rows choose: then it may use the other one alone.
    ///
    /// # Errors
    /// When no request could ever be made, and what is missing.
    pub fn ensure_channels(&self, rows_choose: bool, key: Key) -> anyhow::Result<()> {
        let (mine, other) = match (self.operation, self.read.channel) {
            (Operation::Verify, _) => return hours_for(&[Lane::Verify], &self.engine),
            (Operation::Send, Channel::Sms) => (Lane::Sms, Lane::Call),
            (Operation::Send, Channel::Call) => (Lane::Call, Lane::Sms),
        };
        let needs = |check: &dyn Fn(&[Lane]) -> anyhow::Result<()>| {
            if rows_choose && check(&[other]).is_ok() {
                return Ok(());
            }
            check(&[mine])
        };
        needs(&|lanes| hours_for(lanes, &self.engine))?;
        needs(&|lanes| self.prices_for(lanes))?;
        // Without a key no request is made, and no id is needed.
        if key == Key::Needed {
            needs(&|lanes| self.ids_for(lanes))?;
        }
        Ok(())
    }

    /// A campaign of this name.
    pub fn campaign(&self, name: &str) -> CampaignKey {
        CampaignKey {
            operation: self.operation,
            name: name.to_owned(),
            sandbox: self.mode == Mode::Rehearsal,
        }
    }

    /// How the ledger is opened.
    pub fn opening(&self) -> Opening<'_> {
        Opening {
            restored: self.restored,
            timeline: self.timeline,
            key: Some(&self.gateway.key),
        }
    }

    /// Where the result files of a campaign go.
    pub fn out(&self, campaign: &str) -> PathBuf {
        let default = || self.mode.out(self.operation, campaign);
        self.out.clone().unwrap_or_else(default)
    }

    /// Is there an id for each channel that will be used?
    ///
    /// # Errors
    /// When one is missing: says which flag or variable sets it.
    pub fn ids_for(&self, lanes: &[Lane]) -> anyhow::Result<()> {
        if self.mode == Mode::Rehearsal {
            return Ok(());
        }
        let fallback = self.engine.policy.fallback.map(Lane::from);
        let used = |lane| lanes.contains(&lane) || (!lanes.is_empty() && fallback == Some(lane));
        ensure!(
            !used(Lane::Sms) || !self.gateway.sender_id.is_empty(),
            "SMS needs a sender id: set --sender-id or KOOKOO_SENDER_ID"
        );
        ensure!(
            !used(Lane::Call) || !self.gateway.caller_id.is_empty(),
            "calls need a caller id: set --caller-id or KOOKOO_CALLER_ID"
        );
        Ok(())
    }

    /// Is there a price for each channel that will be used, where a budget is set?
    ///
    /// # Errors
    /// When one is missing.
    pub fn prices_for(&self, lanes: &[Lane]) -> anyhow::Result<()> {
        let Limits { prices, budget, .. } = &self.engine.limits;
        let fallback = self.engine.policy.fallback.map(Lane::from);
        let used = lanes
            .iter()
            .copied()
            .chain(fallback.filter(|_| !lanes.is_empty()));
        for lane in used.filter(|_| budget.is_some()) {
            ensure!(
                prices.of(lane).is_some(),
                "--budget needs a price for each channel that is used, and --price has none for {0}: add {0}=AMOUNT",
                lane.name()
            );
        }
        Ok(())
    }
}

/// How the engine goes about its work.
fn engine(values: &Values) -> anyhow::Result<Settings> {
    let concurrency: NonZeroUsize = values.required("concurrency", values::number)?;
    let rate = values.required("rate", values::rate)?;
    let max_attempts: NonZeroU32 = values.required("max-attempts", values::number)?;
    Ok(Settings {
        policy: Policy {
            max_attempts: max_attempts.get(),
            fallback: values.optional("fallback", values::word)?,
            on_unknown: values.required("on-unknown", values::word)?,
            on_server_error: values.required("on-server-error", values::word)?,
        },
        refused_alike: values.required("refused-alike", values::alike)?,
        concurrency,
        rate,
        limits: limits::limits(values, concurrency, rate)?,
        backoff: values.required("backoff", values::backoff)?,
        max_outage: values.required("max-outage", values::duration)?,
        limit: values
            .optional("limit", values::number)?
            .map(NonZeroU64::get),
        max_duration: values.optional("max-duration", values::some_time)?,
        seed: fastrand::u64(..),
        earlier_holds: values.choose(
            "ignore-retry-after",
            EarlierHolds::Ignore,
            EarlierHolds::Keep,
        ),
        log_numbers: values.choose("log-numbers", LogNumbers::Whole, LogNumbers::Masked),
    })
}

/// What a run may come to, whoever works on it.
fn ceilings(engine: &Settings) -> Option<Ceilings> {
    let limits = &engine.limits;
    let is_bound = engine.limit.is_some() || limits.budget.is_some() || limits.calendar.has_caps();
    is_bound.then(|| Ceilings {
        limit: engine.limit,
        calendar: limits.calendar.clone(),
        budget: limits.budget,
        prices: limits.prices,
    })
}

/// What the gateway needs.
fn gateway(values: &Values, mode: Mode, needed: Key) -> anyhow::Result<http::Settings> {
    let timeout = values.required("timeout", values::some_time)?;
    let connect_timeout = values.optional("connect-timeout", values::some_time)?;
    let connect_timeout = connect_timeout.unwrap_or(CONNECT_TIMEOUT.min(timeout / 2));
    ensure!(
        connect_timeout < timeout,
        "--connect-timeout must be shorter than --timeout: otherwise a request that never left would look as if it had"
    );
    let endpoint = values.required("endpoint", endpoint)?;
    ensure!(
        is_private(&endpoint) || values.is_on("allow-http"),
        "--endpoint is plain http towards another machine: the key and the numbers could be read on the way. Use https, or --allow-http if you know that the way is safe"
    );
    let id = |name| match mode {
        Mode::Real => Ok(values.optional(name, values::id)?.unwrap_or_default()),
        Mode::Rehearsal => anyhow::Ok("sandbox".to_owned()),
    };
    let key_file = values.path("api-key-file");
    Ok(http::Settings {
        endpoint,
        key: if mode == Mode::Real && (needed == Key::Needed || key_file.is_some()) {
            key(key_file.as_deref())?
        } else {
            SecretString::from(REHEARSAL_KEY)
        },
        sender_id: id("sender-id")?,
        caller_id: id("caller-id")?,
        timeout,
        connect_timeout,
        proxy: match mode {
            Mode::Real => values.optional("proxy", web_address)?,
            // One that a file names is not for it.
            Mode::Rehearsal => None,
        },
    })
}

/// The settings as the ledger and the report show them.
fn settings(values: &Values, mode: Mode, engine: &Settings, gateway: &http::Settings) -> Json {
    let mut shown = values.report();
    shown["endpoint"] = match mode {
        Mode::Real => json!(provider::redactor(&gateway.key).clean(gateway.endpoint.as_str())),
        Mode::Rehearsal => json!("sandbox"),
    };
    shown["command"] = json!(command(&gateway.key));
    shown["backoff_base_s"] = json!(engine.backoff.base.as_secs_f64());
    let limits = &engine.limits;
    let time = |at: Option<UnixMicros>| json!(at.map(|at| at.to_string()));
    shown["start_at"] = time(limits.start_at);
    shown["deadline"] = time(limits.deadline);
    shown["backoff_cap_s"] = json!(engine.backoff.cap.as_secs_f64());
    // Its default follows from another setting.
    shown["connect_timeout_s"] = json!(gateway.connect_timeout.as_secs_f64());
    shown
}

/// A ledger as it was named, without a password.
pub fn shown_ledger(word: &str) -> String {
    match At::parse(word, |_| None) {
        Ok(at @ At::Server(_)) => at.to_string(),
        Ok(At::File(_)) => word.to_owned(),
        // What cannot be read may hold one anywhere.
        Err(_) => "postgres://…".to_owned(),
    }
}

/// A word of a command line, without the password of a ledger.
pub fn shown_word(word: &str) -> String {
    match word.split_once('=') {
        Some((flag, value)) if flag.starts_with('-') => format!("{flag}={}", shown_ledger(value)),
        _ => shown_ledger(word),
    }
}

/// The command line as it was given, to be pasted into a shell, but for the key, numbers in names, which
/// are masked, and of `--notify` and `--proxy` all but the host.
fn command(key: &SecretString) -> String {
    const ADDRESSES: [&str; 2] = ["--notify", "--proxy"];
    let redactor = provider::redactor(key);
    let mut is_address = false;
    let words = std::env::args_os().skip(1).map(|word| {
        let word = word.to_string_lossy().into_owned();
        let follows = ADDRESSES.contains(&word.as_str());
        if std::mem::replace(&mut is_address, follows) {
            return notify::shown(&word);
        }
        match word.split_once('=') {
            Some((flag, address)) if ADDRESSES.contains(&flag) => {
                format!("{flag}={}", notify::shown(address))
            }
            _ => shown_word(&word),
        }
    });
    let words = std::iter::once("otpdrive".to_owned()).chain(words);
    let words: Vec<String> = words
        .map(|word| shell_word(&mask_name(&redactor.clean(&word))).into_owned())
        .collect();
    words.join(" ")
}

/// The file that is meant, `-` for stdin.
///
/// # Errors
/// When nothing is named and nothing is piped in.
pub fn input(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match given {
        Some(path) => Ok(path),
        None if std::io::stdin().is_terminal() => {
            bail!("name a CSV file, or pipe one in (`-` means stdin)")
        }
        None => Ok(PathBuf::from("-")),
    }
}

/// The ledger that a flag names.
///
/// # Errors
/// When it is neither a file nor a server. What was given is not repeated, for it may hold a password.
pub fn at(flag: &'static str, ledger: PathBuf) -> anyhow::Result<At> {
    let Some(text) = ledger.to_str() else {
        return Ok(At::File(ledger));
    };
    let at = At::parse(text, |name| std::env::var(name).ok()).context(flag)?;
    let is_other = text.split_once("://");
    let is_other = is_other.is_some_and(|(scheme, _)| !scheme.ends_with("file"));
    ensure!(
        !text.trim().is_empty() && (!is_other || at.file().is_none()),
        "{flag}: wanted a file, such as ./otpdrive.db, or a server: postgres://USER@HOST/DATABASE"
    );
    Ok(at)
}

/// The key where one is given: see [`key`].
///
/// # Errors
/// When what is given cannot be one.
pub fn key_if_given(file: Option<&Path>) -> anyhow::Result<Option<SecretString>> {
    let is_given = file.is_some() || std::env::var_os(KEY_VARIABLE).is_some();
    is_given.then(|| key(file)).transpose()
}

/// The key, from a file or the environment; never from a flag, for flags are public.
pub fn key(file: Option<&Path>) -> anyhow::Result<SecretString> {
    // Not named: it may be the key itself, given by mistake.
    const THE_FILE: &str = "the file that --api-key-file names";
    let (place, text) = match file {
        Some(file) => {
            let bytes =
                std::fs::read(file).with_context(|| format!("{THE_FILE} cannot be read"))?;
            let text = String::from_utf8(bytes).ok();
            let text = text.with_context(|| format!("{THE_FILE} is no text in UTF-8"))?;
            (THE_FILE, text)
        }
        None => (
            KEY_VARIABLE,
            std::env::var(KEY_VARIABLE).unwrap_or_default(),
        ),
    };
    let text = SecretString::from(text);
    let key = trimmed(text.expose_secret());
    ensure!(
        !key.is_empty() || file.is_none(),
        "{THE_FILE} is empty: write the API key into it, and nothing else"
    );
    ensure!(
        !key.is_empty(),
        "no API key: set {KEY_VARIABLE}, or name a file that holds it with --api-key-file. For a rehearsal without a key use --sandbox"
    );
    ensure!(
        !['"', '\'', '`']
            .iter()
            .any(|quote| key.starts_with(*quote) && key.ends_with(*quote)),
        "the API key in {place} stands between quotes: take them out"
    );
    ensure!(
        !key.to_ascii_uppercase().contains("API_KEY="),
        "the API key in {place} stands behind its name: leave the key alone there, without `{KEY_VARIABLE}=`"
    );
    ensure!(
        key.len() <= KEY_LENGTH_MAX,
        "the API key in {place} has {} characters: is it really the key, and nothing else?",
        key.len()
    );
    ensure!(
        key.chars().all(|c| c.is_ascii_graphic()),
        "the API key in {place} has a space, a line break or another odd character in it: is it really the key, and nothing else?"
    );
    Ok(SecretString::from(key))
}

fn endpoint(text: &str) -> anyhow::Result<Url> {
    let url = web_address(text)?;
    ensure!(
        url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none(),
        "wanted an address without user, query and fragment: parameters are added by the program"
    );
    Ok(url)
}

/// Can nobody else read what is sent there?
fn is_private(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let loopback = || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    url.scheme() == "https" || host == "localhost" || loopback()
}

/// Where a report may be posted to: it tells how a campaign went.
fn private_address(text: &str) -> anyhow::Result<Url> {
    let url = web_address(text)?;
    ensure!(
        is_private(&url),
        "wanted an https:// address; plain http is for this machine only"
    );
    Ok(url)
}

fn web_address(text: &str) -> anyhow::Result<Url> {
    let url: Option<Url> = text.parse().ok();
    url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        .context(
            "wanted an http:// or https:// address, such as https://kookoo.in/api/v1/TwoFactor",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_only() {
        for good in [
            "https://kookoo.in/api/v1/TwoFactor",
            "http://127.0.0.1:8025/api",
            "http://127.9.9.9/api",
            "http://[::1]:80/api",
            "http://localhost/api",
        ] {
            assert!(endpoint(good).is_ok_and(|url| is_private(&url)), "{good}");
        }
        for bad in [
            "http://192.0.2.1/api",
            "http://localhost.example.com/api",
            "http://127.0.0.1.example.com/",
            "ftp://127.0.0.1/",
            "https://kookoo.in/api?x=1",
            "https://me:secret@kookoo.in/api",
            "kookoo.in",
        ] {
            assert!(!endpoint(bad).is_ok_and(|url| is_private(&url)), "{bad}");
        }
        assert!(endpoint("http://192.0.2.1/api").is_ok(), "--allow-http");
    }
}
