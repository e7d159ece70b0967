//! The composition: arguments, a validated config, the rooms put together, an exit code.

mod bar;
mod check;
mod closing;
mod config;
mod config_file;
mod docs;
use crate::exit;
mod files;
mod forecast;
mod funnel;
mod input;
mod ledger;
mod limits;
mod log;
mod lookup;
mod making;
mod metrics;
mod notify;
mod plan;
mod prepare;
mod progress;
mod purge;
mod report;
mod run;
mod sandbox;
mod screen;
mod settings;
mod signals;
mod status;
mod terminal;
mod unverified;
mod usage;
mod values;
mod work;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Context as _;
use serde_json::json;

use crate::job::Operation::{Send, Verify};
use crate::ledger::LedgerError;
use crate::number::mask_name;
use crate::report::ReportError;
use crate::text::{visible, visible_lines};
use config::{Config, Key, shown_word};
use docs::command_line;
pub use exit::Exit;
use log::Line;
use screen::{Cleaner, Screen};
use settings::{
    CHECK, COMPLETIONS, EVERY, HELP, LEDGER, PURGE, REPORT, RUN, SANDBOX, SEND, SETTLE, STATUS,
    Setting, VERIFY, WHO, WORK,
};
use values::{LogFormat, Values};

/// What can be done.
struct Command {
    name: &'static str,
    /// One line, and, behind a blank one, all there is to say.
    help: &'static str,
    /// Command lines to begin with.
    examples: &'static [&'static str],
    /// Besides those of every command.
    settings: &'static [&'static [Setting]],
    run: fn(&Values, &Screen) -> anyhow::Result<Exit>,
}

impl Command {
    /// The names of its flags.
    fn flags(&self) -> impl Iterator<Item = &'static str> {
        let own = self.settings.iter().copied().flatten().chain(EVERY);
        let names = own.map(|setting| setting.name);
        names.filter(|name| *name != "input")
    }
}

/// The commands, in the order of the help.
const COMMANDS: &[Command] = &[
    Command {
        name: "send",
        help: "Sends one OTP (SMS or call) to every number in a list",
        examples: &[
            "otpdrive send contacts.csv --sandbox",
            "otpdrive send contacts.csv --api-key-file key --sender-id OZONTL --limit 1",
            "otpdrive send contacts.csv --config onboarding.toml",
            "otpdrive send contacts.csv --fallback call --call-window 09:00-21:00",
        ],
        settings: &[RUN, SEND],
        run: |values, screen| run::run(&Config::new(Send, Key::Needed, values)?, screen),
    },
    Command {
        name: "verify",
        help: "Checks the codes people gave back: a list of phone + otp",
        examples: &[
            "otpdrive verify codes.csv --sandbox",
            "otpdrive verify codes.csv --api-key-file key --otp-length 6",
        ],
        settings: &[RUN, VERIFY],
        run: |values, screen| run::run(&Config::new(Verify, Key::Needed, values)?, screen),
    },
    Command {
        name: "work",
        help: "Joins a run that is on, on another machine, without the list\n\n\
               With a ledger on a server: `otpdrive help fleet`",
        examples: &[
            "otpdrive work --ledger postgres://otp@db.example.com/otp --campaign contacts",
            "otpdrive work --config fleet.toml --wait 1h",
        ],
        settings: &[WORK],
        run: work::work,
    },
    Command {
        name: "check",
        help: "Reads and plans exactly as `send` or `verify` would; no request\n\n\
               Where the file holds codes it plans a `verify`. It writes nothing to the ledger",
        examples: &[
            "otpdrive check contacts.csv",
            "otpdrive check contacts.csv --problems bad.csv",
            "otpdrive check contacts.csv --phone-column '#2' --json",
        ],
        settings: &[RUN, SEND, CHECK],
        run: check::check,
    },
    Command {
        name: "report",
        help: "Rewrites the result files from the ledger, or prints rows\n\n\
               Those of one campaign; also after a kill, and beside a run",
        examples: &[
            "otpdrive report --campaign contacts",
            "otpdrive report --campaign contacts --only rejected,unknown > look-at.csv",
        ],
        settings: &[REPORT],
        run: report::report,
    },
    Command {
        name: "status",
        help: "Campaigns in the ledger with their counts; also beside a run",
        examples: &[
            "otpdrive status",
            "otpdrive status --watch",
            "otpdrive status --json",
            "otpdrive status --verify",
        ],
        settings: &[STATUS],
        run: |values, _| status::status(values),
    },
    Command {
        name: "settle",
        help: "Notes what you looked up with the provider\n\n\
               Numbers that were `unknown` are `sent`, or `unsent` and so `pending`",
        examples: &[
            "otpdrive settle held.csv --as sent",
            "otpdrive settle held.csv --as unsent",
        ],
        settings: &[SETTLE],
        run: lookup::settle,
    },
    Command {
        name: "who",
        help: "One number's whole life in the ledger\n\n\
               Campaigns, requests, answers, times",
        examples: &["otpdrive who 9876543210"],
        settings: &[WHO],
        run: lookup::who,
    },
    Command {
        name: "purge",
        help: "Takes people out of the ledger for good, keeps counts\n\n\
               Numbers, rows, references and codes of campaigns that are old enough",
        examples: &[
            "otpdrive purge --older-than 90d --dry-run",
            "otpdrive purge --older-than 90d",
        ],
        settings: &[PURGE],
        run: purge::purge,
    },
    Command {
        name: "ledger",
        help: "Copies a ledger from a file to a server, or back\n\n\
               All campaigns, exactly. From then on send with one of the two only: both know whom they \
               sent to before, and neither knows whom the other sends to",
        examples: &[
            "otpdrive ledger copy --from otpdrive.db --to postgres://otp@db.example.com/otp",
            "otpdrive ledger copy --from postgres://otp@db.example.com/otp --to copy.db",
        ],
        settings: &[LEDGER],
        run: ledger::ledger,
    },
    Command {
        name: "config",
        help: "Every setting, its value and where it comes from\n\n\
               Of `send` and `verify`, as a file for --config; no secrets",
        examples: &[
            "otpdrive config",
            "otpdrive config --config onboarding.toml",
            "otpdrive config --rate 5/s > onboarding.toml",
        ],
        // All but the input.
        settings: &[RUN, SEND.split_at(1).1],
        run: |values, _| config_file::show(values),
    },
    Command {
        name: "sandbox",
        help: "A local gateway that speaks KooKoo's API, for rehearsals\n\n\
               With magic numbers and faults: `otpdrive help sandbox`",
        examples: &["otpdrive sandbox --latency 20ms..80ms --faults 500=5%,drop=1%"],
        settings: &[SANDBOX],
        run: sandbox::serve,
    },
    Command {
        name: "completions",
        help: "Completions for a shell, to stdout",
        examples: &["otpdrive completions bash > /etc/bash_completion.d/otpdrive"],
        settings: &[COMPLETIONS],
        run: |values, _| docs::completions(values, &mut command_line()),
    },
    Command {
        name: "man",
        help: "The manual page, to stdout",
        examples: &["otpdrive man | man -l -"],
        settings: &[],
        run: |_, _| docs::man(),
    },
    Command {
        name: "help",
        help: "A topic of the reference, or the help of a command",
        examples: &["otpdrive help formats", "otpdrive help send"],
        settings: &[HELP],
        run: |values, _| docs::help(values),
    },
];

/// The whole program.
#[must_use]
pub fn main() -> Exit {
    let cleaner = Cleaner::new(if log::json_is_wanted() {
        LogFormat::Json
    } else {
        LogFormat::Text
    });
    let mut matches = match command_line().try_get_matches() {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => {
            // There is nobody to tell if stdout is closed.
            let _ = error.print();
            return Exit::Done;
        }
        Err(error) => {
            // Arguments are repeated in it: names of files may hold numbers, and what a terminal obeys,
            // addresses a password.
            let shown = std::env::args_os().map(|arg| {
                let arg = shown_word(&arg.to_string_lossy());
                mask_name(&visible(&arg))
            });
            let shown: Vec<String> = shown.collect();
            let again = command_line().try_get_matches_from(&shown).err();
            let error = usage::with_advice(again.unwrap_or(error), &shown);
            return refuse(&cleaner, &error.render().to_string());
        }
    };
    // clap has seen to it that a command is named.
    let (name, flags) = matches.remove_subcommand().unwrap_or_default();
    let started = Values::new(flags).and_then(|values| {
        let screen = Screen::new(&values, cleaner.clone())?;
        Ok((values, screen))
    });
    let (values, screen) = match started {
        Ok(started) => started,
        Err(error) => {
            let why = format!("otpdrive: {}\n", in_full(&error));
            return refuse(&cleaner, &visible_lines(&why));
        }
    };
    screen.report_panics();
    let run = || {
        signals::ensure_file_handles()?;
        signals::leave_no_core()?;
        signals::survive_what_is_harmless()?;
        let mut commands = COMMANDS.iter();
        let command = commands.find(|command| command.name == name);
        (command.context("there is no such command")?.run)(&values, &screen)
    };
    // Nothing of what was unwound is used afterwards.
    let exit = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(exit)) => exit,
        Ok(Err(error)) => {
            screen.error(&format!("otpdrive: {}", in_full(&error)));
            exit_for(&error)
        }
        // It has said so itself.
        Err(_) => Exit::Bug,
    };
    if screen.is_json() {
        screen.tell(Line::of("the end").named("exit", &[("code", json!(exit as u8))]));
    }
    exit
}

/// Says why nothing is done, before there is a screen.
fn refuse(cleaner: &Cleaner, why: &str) -> Exit {
    // There is nobody to tell if stderr is closed.
    let usage = [("code", json!(Exit::Usage as u8))];
    let said = cleaner.said(Line::error(why).named("usage", &usage));
    let _ = std::io::stderr().write_all(said.as_bytes());
    Exit::Usage
}

/// An error and its causes, each text once: some errors say themselves what caused them.
fn in_full(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// What goes wrong after the first request is dealt with where it happens, by [`run`].
fn exit_for(error: &anyhow::Error) -> Exit {
    if let Some(LedgerError::Held { .. }) = error.downcast_ref() {
        return Exit::Held;
    }
    match error.downcast_ref::<ReportError<LedgerError>>() {
        Some(ReportError::Unbalanced { .. }) => Exit::Bug,
        Some(_) | None => Exit::Usage,
    }
}

/// What drives futures: one thread is enough.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the asynchronous runtime cannot be set up")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::campaign::{EarlierHolds, Settings};
    use crate::job::Lane;
    use crate::run::WhenUncertain;

    /// What a command line says, and what is made of it.
    pub(super) fn config(line: &str) -> anyhow::Result<Config> {
        let mut matches = command_line().try_get_matches_from(line.split(' '))?;
        let (name, flags) = matches.remove_subcommand().expect("a command");
        let operation = if name == "verify" { Verify } else { Send };
        Config::new(operation, Key::NotNeeded, &Values::new(flags)?)
    }

    pub(super) fn engine(line: &str) -> Settings {
        config(line).expect("a good line").engine
    }

    #[track_caller]
    fn refuses(line: &str, words: &[&str]) {
        let error = format!("{:#}", config(line).err().expect("an error"));
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
    }

    #[test]
    fn what_is_not_given_is_as_documented() {
        command_line().debug_assert();
        let send = config("otpdrive send list.csv").unwrap();
        assert_eq!(send.engine.refused_alike, std::num::NonZeroUsize::new(20));
        assert_eq!(send.engine.earlier_holds, EarlierHolds::Keep);
        assert_eq!(send.ledger.to_string(), "./otpdrive.db");
        assert_eq!(send.read.campaign, None);
        assert_eq!(send.out("list").to_str(), Some("./list-results"));
        assert_eq!(send.cooldown, std::time::Duration::from_hours(24));
        assert_eq!(send.engine.policy.on_unknown, WhenUncertain::Hold);
        let verify = engine("otpdrive verify list.csv").policy;
        assert_eq!(verify.on_unknown, WhenUncertain::Retry);
        let keys: Vec<&String> = send.settings.as_object().unwrap().keys().collect();
        assert_eq!(
            keys.iter().map(|key| key.as_str()).collect::<Vec<_>>(),
            [
                "backoff_base_s",
                "backoff_cap_s",
                "budget",
                "call_concurrency",
                "call_daily_cap",
                "call_rate_per_s",
                "call_window",
                "channel",
                "command",
                "concurrency",
                "connect_timeout_s",
                "cooldown_s",
                "daily_cap",
                "deadline",
                "endpoint",
                "fallback",
                "header_line",
                "limit",
                "max_age_s",
                "max_attempts",
                "max_duration_s",
                "max_invalid_percent",
                "max_outage_s",
                "on_server_error",
                "on_unknown",
                "otp_length",
                "price",
                "rate_per_s",
                "refused_alike",
                "region",
                "start_at",
                "timeout_s",
                "timezone",
                "window",
            ]
        );
        assert_eq!(send.settings["backoff_cap_s"], 30.0);
        assert_eq!(send.settings["limit"], serde_json::Value::Null);
        assert_eq!(send.settings["rate_per_s"], 10.0);
    }

    #[test]
    fn what_is_given_is_used() {
        let line = "otpdrive send list.csv --refused-alike off --ignore-retry-after --sandbox";
        let send = config(line).unwrap();
        assert_eq!(send.engine.refused_alike, None);
        assert_eq!(send.engine.earlier_holds, EarlierHolds::Ignore);
        assert_eq!(send.ledger.to_string(), "./otpdrive-sandbox.db");
        assert_eq!(send.out("list").to_str(), Some("./list-sandbox-results"));
        assert_eq!(send.settings["endpoint"], "sandbox");
        let alike = engine("otpdrive verify list.csv --refused-alike 1").refused_alike;
        assert_eq!(alike, std::num::NonZeroUsize::new(1));
    }

    #[test]
    fn hours_caps_and_money_are_read_and_shown() {
        let line = "otpdrive send list.csv --window 08:00-22:00 --call-window 09:00-21:00 --timezone Europe/Berlin --daily-cap 900 --call-daily-cap 50 --call-rate 30/m --call-concurrency 3 --price sms=0.25,call=1.10 --budget 2000 --start-at 2050-01-01T09:00 --deadline 18:00";
        let send = config(line).unwrap();
        let limits = &send.engine.limits;
        let time = |text: &str| Some(text.parse().unwrap());
        assert_eq!(limits.start_at, time("2050-01-01T08:00:00Z"));
        assert_eq!(limits.deadline, time("2050-01-01T17:00:00Z"), "of that day");
        assert!(limits.calendar.has_caps() && limits.call_rate.is_some());
        assert_eq!(limits.call_concurrency, std::num::NonZeroUsize::new(3));
        for (key, value) in [
            ("window", "08:00-22:00"),
            ("call_window", "09:00-21:00"),
            ("timezone", "Europe/Berlin"),
            ("price", "sms=0.25,call=1.10"),
            ("budget", "2000"),
            ("start_at", "2050-01-01T08:00:00.000Z"),
            ("deadline", "2050-01-01T17:00:00.000Z"),
        ] {
            assert_eq!(send.settings[key], value, "{key}");
        }
        assert_eq!(send.settings["daily_cap"], 900);
        assert_eq!(send.settings["call_rate_per_s"], 0.5);
        assert!(send.prices_for(&[Lane::Sms, Lane::Call]).is_ok());
        let line = "otpdrive send list.csv --price sms=0.25 --budget 1 --fallback call";
        refuses(line, &["call=AMOUNT"]);
        let send = config("otpdrive send list.csv --price sms=0.25 --budget 1").unwrap();
        assert!(send.prices_for(&[Lane::Call]).is_err());
        assert!(send.prices_for(&[]).is_ok(), "nothing is due");
    }

    #[test]
    fn a_short_timeout_shortens_the_time_to_connect() {
        let connect = |flags: &str| {
            let config = config(&format!("otpdrive send list.csv {flags}")).unwrap();
            let connect = config.gateway.connect_timeout.as_secs_f64();
            assert_eq!(config.settings["connect_timeout_s"], connect);
            connect
        };
        for (flags, seconds) in [
            ("--timeout 3s", 1.5),
            ("--timeout 1m", 5.0),
            ("--timeout 3s --connect-timeout 2s", 2.0),
        ] {
            assert!((connect(flags) - seconds).abs() < 1e-9, "{flags}");
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused_with_their_names() {
        for (flags, words) in [
            (
                "send --sandbox --endpoint https://x.in/",
                ["--sandbox", "--endpoint"],
            ),
            ("send -q -v", ["--quiet", "--verbose"]),
            ("report --schema --only failed", ["--schema", "--only"]),
            ("report --only failed --out x", ["--only", "--out"]),
            ("send --fallback sms", ["--fallback", "--channel"]),
            (
                "send --connect-timeout 3s --timeout 3s",
                ["--connect-timeout", "--timeout"],
            ),
            ("send --refused-alike 0", ["--refused-alike", "off"]),
            ("send --on-unknown never", ["--on-unknown", "hold"]),
            ("send --rate 10", ["--rate", "N/s"]),
            ("send --window 09:00", ["--window", "it has no end"]),
            ("verify --window 09:00-09:00", ["--window", "leave it out"]),
            (
                "send --window 09:00-12:00 --call-window 12:00-15:00",
                ["--call-window", "--window"],
            ),
            (
                "send --timezone Asia/Kolkatta",
                ["--timezone", "did you mean Asia/Kolkata?"],
            ),
            (
                "send --daily-cap 5 --call-daily-cap 6",
                ["--call-daily-cap", "--daily-cap"],
            ),
            ("send --daily-cap 0", ["--daily-cap", "at least 1"]),
            ("send --call-rate 11/s", ["--call-rate", "--rate"]),
            (
                "send --call-concurrency 33",
                ["--call-concurrency", "--concurrency"],
            ),
            ("send --budget 10", ["--budget", "--price"]),
            (
                "send --price sms=0.25 --budget 0.2",
                ["--budget", "--price"],
            ),
            ("send --price 0.25", ["--price", "sms=0.25"]),
            (
                "send --deadline 2020-01-01T00:00Z",
                ["--deadline", "has passed"],
            ),
            (
                "send --start-at 2050-01-02T00:00Z --deadline 2050-01-01T00:00Z",
                ["--deadline", "--start-at"],
            ),
            (
                "send --start-at 2050-01-01T21:00+05:30 --window 09:00-20:00 --deadline 23:00",
                ["--window", "--deadline"],
            ),
            ("send --start-at soon", ["--start-at", "such as 18:00"]),
        ] {
            refuses(&format!("otpdrive {flags}"), &words);
        }
    }
}
