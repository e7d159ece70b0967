//! From the words of the command line to a [`Config`] in which nothing can be invalid any more.

use std::io::IsTerminal as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::args::{Doubt, RunArgs, SendArgs, VerifyArgs};
use super::values::RateLimit;
use crate::campaign::Settings;
use crate::contacts::ReadOptions;
use crate::gateway::http;
use crate::ledger::sqlite::{CampaignKey, Restored};
use crate::outcome::{Channel, Lane, Operation, Policy};
use crate::redact::Redactor;

/// The environment variable that holds the key.
pub const KEY_VARIABLE: &str = "KOOKOO_API_KEY";

/// The key that a rehearsal shows to the sandbox.
const REHEARSAL_KEY: &str = "KK00000000000000000000000000000000";

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
    /// All settings in words, for the ledger and the report; no secrets.
    pub settings: serde_json::Value,
}

impl Config {
    /// What `send` is to do; `check` needs no key (`needs_key` false).
    ///
    /// # Errors
    /// When flags contradict each other or something is missing.
    pub fn send(args: SendArgs, needs_key: bool, log_numbers: bool) -> anyhow::Result<Self> {
        if let Some(fallback) = args.fallback {
            ensure!(
                fallback != args.channel,
                "--fallback {0} makes no sense with --channel {0}: name the other channel",
                fallback.name()
            );
        }
        let given = Given {
            operation: Operation::Send,
            input: args.input,
            channel: args.channel,
            fallback: args.fallback,
            otp_column: None,
            channel_column: args.channel_column,
            on_unknown: args.on_unknown,
            sender_id: args.sender_id.unwrap_or_default(),
            caller_id: args.caller_id.unwrap_or_default(),
            log_numbers,
        };
        given.with(args.run, needs_key)
    }

    /// What `verify` is to do.
    ///
    /// # Errors
    /// When flags contradict each other or something is missing.
    pub fn verify(args: VerifyArgs, log_numbers: bool) -> anyhow::Result<Self> {
        let given = Given {
            operation: Operation::Verify,
            input: args.input,
            channel: Channel::Sms,
            fallback: None,
            otp_column: args.otp_column,
            channel_column: None,
            on_unknown: args.on_unknown,
            sender_id: String::new(),
            caller_id: String::new(),
            log_numbers,
        };
        given.with(args.run, true)
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

/// What the two commands give differently.
struct Given {
    operation: Operation,
    input: Option<PathBuf>,
    channel: Channel,
    fallback: Option<Channel>,
    otp_column: Option<String>,
    channel_column: Option<String>,
    on_unknown: Doubt,
    sender_id: String,
    caller_id: String,
    log_numbers: bool,
}

impl Given {
    fn with(self, run: RunArgs, needs_key: bool) -> anyhow::Result<Config> {
        ensure!(
            run.connect_timeout < run.timeout,
            "--connect-timeout must be shorter than --timeout: otherwise a request that never left would look as if it had"
        );
        let input = input(self.input.clone())?;
        let name = campaign_name(run.campaign.clone(), &input)?;
        let files = Files::new(&name, run.sandbox);
        let key = if run.sandbox || !needs_key {
            SecretString::from(REHEARSAL_KEY)
        } else {
            key(run.api_key_file.as_deref())?
        };
        let settings = self.in_words(&run, &Redactor::new(&key));
        let RateLimit(rate) = run.rate;
        Ok(Config {
            read: ReadOptions {
                operation: self.operation,
                channel: self.channel,
                phone_column: run.phone_column,
                otp_column: self.otp_column,
                channel_column: self.channel_column,
                delimiter: run.delimiter,
                region: run.region,
            },
            campaign: CampaignKey {
                operation: self.operation,
                name,
                sandbox: run.sandbox,
            },
            ledger: run.ledger.unwrap_or(files.ledger),
            restored: if run.accept_restored_ledger {
                Restored::Accept
            } else {
                Restored::Refuse
            },
            out: run.out.unwrap_or(files.out),
            engine: Settings {
                policy: Policy {
                    max_attempts: run.max_attempts.get(),
                    fallback: self.fallback,
                    retry_unknown: self.on_unknown == Doubt::Retry,
                },
                hold_server_errors: run.on_server_error == Doubt::Hold,
                concurrency: run.concurrency,
                rate,
                backoff: run.backoff.0,
                max_outage: run.max_outage,
                limit: run.limit,
                max_duration: run.max_duration,
                seed: fastrand::u64(..),
                log_numbers: self.log_numbers,
            },
            gateway: http::Settings {
                endpoint: endpoint(&run.endpoint, run.allow_http)?,
                key,
                sender_id: or_rehearsal(self.sender_id, run.sandbox),
                caller_id: or_rehearsal(self.caller_id, run.sandbox),
                timeout: run.timeout,
                connect_timeout: run.connect_timeout,
                proxy: run.proxy.as_deref().map(proxy).transpose()?,
                concurrency: run.concurrency.get(),
            },
            max_invalid: run.max_invalid.0,
            settings,
            input,
        })
    }

    /// The settings as they go into the ledger and the report. The ids are numbers of the account
    /// and stay out.
    fn in_words(&self, run: &RunArgs, redactor: &Redactor) -> serde_json::Value {
        let seconds = |time: Duration| time.as_secs_f64();
        json!({
            "channel": (self.operation == Operation::Send).then_some(self.channel),
            "fallback": self.fallback,
            "endpoint": if run.sandbox { "sandbox".into() } else { redactor.clean(&run.endpoint) },
            "rate_per_s": run.rate.0.map(crate::pace::Rate::per_second),
            "concurrency": run.concurrency,
            "limit": run.limit,
            "max_duration_s": run.max_duration.map(seconds),
            "max_attempts": run.max_attempts,
            "backoff_base_s": seconds(run.backoff.0.base),
            "backoff_cap_s": seconds(run.backoff.0.cap),
            "timeout_s": seconds(run.timeout),
            "connect_timeout_s": seconds(run.connect_timeout),
            "on_unknown": if self.on_unknown == Doubt::Hold { "hold" } else { "retry" },
            "on_server_error": if run.on_server_error == Doubt::Hold { "hold" } else { "retry" },
            "max_outage_s": seconds(run.max_outage),
            "max_invalid_percent": run.max_invalid.0,
            "region": run.region.to_string(),
        })
    }
}

/// Where the ledger and the results of a campaign are unless they are named.
pub struct Files {
    /// The ledger.
    pub ledger: PathBuf,
    /// The folder of the result files.
    pub out: PathBuf,
}

impl Files {
    /// A rehearsal never counts as the real thing: it has files of its own.
    #[must_use]
    pub fn new(campaign: &str, sandbox: bool) -> Self {
        let infix = if sandbox { "-sandbox" } else { "" };
        Self {
            ledger: default_ledger(sandbox),
            out: PathBuf::from(format!("./{campaign}{infix}-results")),
        }
    }
}

/// The ledger unless it is named.
#[must_use]
pub fn default_ledger(sandbox: bool) -> PathBuf {
    PathBuf::from(if sandbox {
        "./otpdrive-sandbox.db"
    } else {
        "./otpdrive.db"
    })
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

fn or_rehearsal(id: String, sandbox: bool) -> String {
    if sandbox { "sandbox".to_owned() } else { id }
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

/// The endpoint: https, or http towards this machine.
fn endpoint(text: &str, allow_http: bool) -> anyhow::Result<Url> {
    let url: Url = text
        .parse()
        // Not repeated: it may hold a key.
        .context("--endpoint is no URL")?;
    ensure!(
        matches!(url.scheme(), "https" | "http") && url.host_str().is_some(),
        "--endpoint must be an https:// address"
    );
    ensure!(
        url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none(),
        "--endpoint must have no user, query or fragment: parameters are added by the program"
    );
    ensure!(
        url.scheme() == "https" || allow_http || is_loopback(&url),
        "--endpoint is plain http towards another machine: the key and the numbers could be read on the way. Use https, or --allow-http if you know that the way is safe"
    );
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn proxy(text: &str) -> anyhow::Result<Url> {
    let url: Url = text.parse().context("--proxy is no URL")?;
    ensure!(
        matches!(url.scheme(), "http" | "https"),
        "--proxy must be an http:// or https:// address"
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
            assert!(endpoint(good, false).is_ok(), "{good}");
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
            assert!(endpoint(bad, false).is_err(), "{bad}");
        }
        assert!(endpoint("http://192.0.2.1/api", true).is_ok());
    }

    #[test]
    fn a_campaign_is_named_after_its_file() {
        let name = |path: &str| campaign_name(None, Path::new(path));
        assert_eq!(name("lists/june.csv").unwrap(), "june");
        assert_eq!(name("-").unwrap(), "stdin");
        assert!(campaign_name(Some("../up".to_owned()), Path::new("-")).is_err());
    }
}
