//! From the values of the settings to a [`Config`] in which nothing can be invalid any more.

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value as Json, json};

use super::values::{self, Values};
use crate::campaign::{EarlierHolds, LogNumbers, Settings};
use crate::contacts::ReadOptions;
use crate::gateway::{self as provider, http};
use crate::job::{Channel, Lane, Operation};
use crate::ledger::CampaignKey;
use crate::ledger::sqlite::Restored;
use crate::run::Policy;

/// The environment variable that holds the key.
pub const KEY_VARIABLE: &str = "KOOKOO_API_KEY";

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
    /// What "never twice" refers to.
    pub campaign: CampaignKey,
    /// The ledger.
    pub ledger: PathBuf,
    /// What to do when it may lack requests that were made.
    pub restored: Restored,
    /// Where the result files go.
    pub out: PathBuf,
    /// How the engine goes about it.
    pub engine: Settings,
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
    pub fn ledger(self, values: &Values) -> PathBuf {
        let default = || format!("./otpdrive{}.db", self.infix()).into();
        values.path("ledger").unwrap_or_else(default)
    }

    /// Where the result files of a campaign go.
    pub fn out(self, values: &Values, campaign: &str) -> PathBuf {
        let default = || format!("./{campaign}{}-results", self.infix()).into();
        values.path("out").unwrap_or_else(default)
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
        let mode = Mode::of(values);
        let input = input(values.path("input"))?;
        let name = campaign_name(values.optional("campaign", str::parse)?, &input)?;
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
        Ok(Self {
            read: ReadOptions {
                operation,
                channel,
                numbers_only: false,
                phone_column: values.optional("phone-column", str::parse)?,
                country_code_column: values.optional("country-code-column", str::parse)?,
                otp_column: values.optional("otp-column", str::parse)?,
                channel_column: values.optional("channel-column", str::parse)?,
                otp_length: values.optional("otp-length", values::number)?,
                delimiter: values.optional("delimiter", values::delimiter)?,
                region: values.required("region", str::parse)?,
                accept_multiline_cells: values.is_on("accept-multiline-cells"),
                campaign_given: values
                    .optional::<String, _>("campaign", str::parse)?
                    .is_some(),
                show_numbers: values.is_on("log-numbers"),
            },
            ledger: mode.ledger(values),
            restored: values.choose("accept-restored-ledger", Restored::Accept, Restored::Refuse),
            out: mode.out(values, &name),
            max_invalid: values.required("max-invalid", values::percent)?,
            settings: settings(values, mode, &engine, &gateway),
            campaign: CampaignKey {
                operation,
                name,
                sandbox: mode == Mode::Rehearsal,
            },
            engine,
            gateway,
            input,
        })
    }

    /// Is there an id for each channel that will be used?
    ///
    /// # Errors
    /// When one is missing: says which flag or variable sets it.
    pub fn ids_for(&self, lanes: &[Lane]) -> anyhow::Result<()> {
        if self.campaign.sandbox {
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
}

/// How the engine goes about its work.
fn engine(values: &Values) -> anyhow::Result<Settings> {
    let max_attempts: NonZeroU32 = values.required("max-attempts", values::number)?;
    Ok(Settings {
        policy: Policy {
            max_attempts: max_attempts.get(),
            fallback: values.optional("fallback", values::word)?,
            on_unknown: values.required("on-unknown", values::word)?,
            on_server_error: values.required("on-server-error", values::word)?,
        },
        refused_alike: values.required("refused-alike", values::alike)?,
        concurrency: values.required("concurrency", values::number)?,
        rate: values.required("rate", values::rate)?,
        backoff: values.required("backoff", values::backoff)?,
        max_outage: values.required("max-outage", values::duration)?,
        limit: values.optional("limit", values::number)?,
        max_duration: values.optional("max-duration", values::duration)?,
        seed: fastrand::u64(..),
        earlier_holds: values.choose(
            "ignore-retry-after",
            EarlierHolds::Ignore,
            EarlierHolds::Keep,
        ),
        log_numbers: values.choose("log-numbers", LogNumbers::Whole, LogNumbers::Masked),
    })
}

/// What the gateway needs.
fn gateway(values: &Values, mode: Mode, needed: Key) -> anyhow::Result<http::Settings> {
    let timeout = values.required("timeout", values::duration)?;
    let connect_timeout = values.optional("connect-timeout", values::duration)?;
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
        Mode::Real => Ok(values.optional(name, str::parse)?.unwrap_or_default()),
        Mode::Rehearsal => anyhow::Ok("sandbox".to_owned()),
    };
    Ok(http::Settings {
        endpoint,
        key: match (mode, needed) {
            (Mode::Real, Key::Needed) => key(values.path("api-key-file").as_deref())?,
            _ => SecretString::from(REHEARSAL_KEY),
        },
        sender_id: id("sender-id")?,
        caller_id: id("caller-id")?,
        timeout,
        connect_timeout,
        proxy: values.optional("proxy", web_address)?,
    })
}

/// The settings as the ledger and the report show them.
fn settings(values: &Values, mode: Mode, engine: &Settings, gateway: &http::Settings) -> Json {
    let mut shown = values.report();
    shown["endpoint"] = match mode {
        Mode::Real => json!(provider::redactor(&gateway.key).clean(gateway.endpoint.as_str())),
        Mode::Rehearsal => json!("sandbox"),
    };
    shown["backoff_base_s"] = json!(engine.backoff.base.as_secs_f64());
    shown["backoff_cap_s"] = json!(engine.backoff.cap.as_secs_f64());
    // Its default follows from another setting.
    shown["connect_timeout_s"] = json!(gateway.connect_timeout.as_secs_f64());
    shown
}

fn input(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    match given {
        Some(path) => Ok(path),
        None if std::io::stdin().is_terminal() => {
            bail!("name a CSV file, or pipe one in (`-` means stdin)")
        }
        None => Ok(PathBuf::from("-")),
    }
}

fn campaign_name(given: Option<String>, input: &Path) -> anyhow::Result<String> {
    let name = given.unwrap_or_else(|| match input.file_stem() {
        Some(stem) if input != Path::new("-") => stem.to_string_lossy().into_owned(),
        _ => "stdin".to_owned(),
    });
    let unfit = |c: char| c == '/' || c.is_control();
    ensure!(
        !name.is_empty() && !name.starts_with('.') && !name.contains(unfit),
        "a campaign's name becomes part of a folder's name: it cannot be empty, begin with a dot or contain a slash; set --campaign"
    );
    Ok(name)
}

/// The key, from a file or the environment; never from a flag, for flags are public.
pub fn key(file: Option<&Path>) -> anyhow::Result<SecretString> {
    let text = match file {
        // Not named: it may be the key itself, given by mistake.
        Some(file) => std::fs::read_to_string(file)
            .context("the file that --api-key-file names cannot be read")?,
        None => std::env::var(KEY_VARIABLE).unwrap_or_default(),
    };
    let text = SecretString::from(text);
    let key = text.expose_secret().trim();
    ensure!(
        !key.is_empty(),
        "no API key: set {KEY_VARIABLE}, or name a file that holds it with --api-key-file. For a rehearsal without a key use --sandbox"
    );
    ensure!(
        key.chars().all(|c| c.is_ascii_graphic()),
        "the API key has a space, a line break or another odd character in it: is it really the key?"
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

fn web_address(text: &str) -> anyhow::Result<Url> {
    let wanted = "wanted an http:// or https:// address";
    let url: Url = text.parse().context(wanted)?;
    ensure!(
        matches!(url.scheme(), "http" | "https") && url.has_host(),
        wanted
    );
    Ok(url)
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

    #[test]
    fn a_campaign_is_named_after_its_file() {
        let name = |path: &str| campaign_name(None, Path::new(path));
        assert_eq!(name("lists/june.csv").unwrap(), "june");
        assert_eq!(name("-").unwrap(), "stdin");
        assert!(campaign_name(Some("../up".to_owned()), Path::new("-")).is_err());
    }
}
