//! The values of the settings: where they come from, and how their text is read. Each parser says
//! what it would have liked.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use clap::ArgMatches;
use clap::parser::ValueSource;
use serde::Deserialize;
use serde::de::value::Error as ValueError;
use serde::de::{DeserializeOwned, IntoDeserializer as _};
use serde_json::Value as Json;

use super::config_file::ConfigFile;
use super::settings::{ALL, CHECK, EVERY, RUN, SEND, Setting, VERIFY};
use crate::contacts::OTP_LENGTH_MAX;
use crate::job::Operation;
use crate::pace::Rate;
use crate::retry::Backoff;
use crate::status::Status;
use crate::text::{is_hidden, is_invisible, visible};

/// What a command was told, as text.
#[derive(Clone)]
pub struct Values {
    matches: ArgMatches,
    file: Option<ConfigFile>,
    /// Told to `check`, and meant for `verify`.
    for_verify: bool,
    /// What a run that is joined goes by.
    of_run: BTreeMap<&'static str, OsString>,
}

/// Where a value comes from; each wins over those behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A flag.
    Flag,
    /// The environment.
    Variable,
    /// The file that `--config` names.
    File,
    /// Nobody said anything.
    Default,
}

/// How the text of a value is read.
type Read<T, E> = fn(&str) -> Result<T, E>;

impl Values {
    /// What the command line and the environment say, and the file that `--config` names.
    ///
    /// # Errors
    /// When that file cannot be used.
    pub fn new(matches: ArgMatches) -> Result<Self> {
        let mut values = Self {
            matches,
            file: None,
            for_verify: false,
            of_run: BTreeMap::new(),
        };
        if let Some(path) = values.path("config") {
            values.file = Some(ConfigFile::read(&path)?);
        }
        for setting in ALL.into_iter().flatten() {
            for other in setting.conflicts {
                values.ensure_one_of(setting.name, other)?;
            }
        }
        Ok(values)
    }

    /// What `check` was told, as `verify` would be: what that does not have is not there, and what is
    /// not given is by its defaults.
    #[must_use]
    pub fn for_verify(&self) -> Self {
        Self {
            for_verify: true,
            ..self.clone()
        }
    }

    /// The same for a run that is joined: what is not given, and what the command does not have, is as
    /// the run's own settings say, or else by default.
    #[must_use]
    pub fn of_run(&self, operation: Operation, settings: &Json) -> Self {
        let own = match operation {
            Operation::Send => SEND,
            Operation::Verify => VERIFY,
        };
        let told = [RUN, own].into_iter().flatten().filter_map(|setting| {
            let told = setting.reported(settings);
            let told = told.or_else(|| setting.default.map(str::to_owned))?;
            Some((setting.name, told.into()))
        });
        Self {
            of_run: told.collect(),
            ..self.clone()
        }
    }

    /// Was one of the settings that are meant given as a flag?
    pub fn has_flag_of(&self, is_meant: impl Fn(&Setting) -> bool) -> bool {
        let mut given = self.matches.ids().map(clap::Id::as_str);
        given.any(|id| {
            let mut settings = ALL.into_iter().flatten();
            settings.any(|setting| setting.name == id && is_meant(setting))
                && self.matches.value_source(id) == Some(ValueSource::CommandLine)
        })
    }

    /// Refuses two settings that rule each other out, wherever they come from. Of two sources the
    /// stronger one may say the first: `--sandbox` rehearses what a file of settings says.
    ///
    /// # Errors
    /// Names both.
    pub fn ensure_one_of(&self, name: &str, other: &str) -> Result<()> {
        let said = |name| {
            let (text, source) = self.effective(name)?;
            let is_on = source != Source::Default && text != "false" && text != "0";
            is_on.then_some((self.shown(name, source), source))
        };
        if let (Some((one, by)), Some((another, by_another))) = (said(name), said(other)) {
            ensure!(
                by < by_another,
                "{one} and {another} rule each other out: leave one of them out"
            );
        }
        Ok(())
    }

    /// A setting, as whoever gave it knows it.
    fn shown(&self, name: &str, source: Source) -> String {
        match (source, &self.file) {
            (Source::File, Some(file)) => format!("{} in {}", name.replace('-', "_"), file.name),
            _ => self.source(name),
        }
    }

    /// The file of settings, if one was named.
    pub fn file(&self) -> Option<&ConfigFile> {
        self.file.as_ref()
    }

    /// The flag, else the environment variable, else what the file says, else the default. Of a
    /// setting that the command does not have there is nothing.
    fn texts(&self, name: &str) -> Option<(Vec<OsString>, Source)> {
        let mut known = ALL.into_iter().flatten().map(|setting| setting.name);
        debug_assert!(known.any(|known| known == name), "no setting is {name}");
        let of_run = self.of_run.get(name);
        let of_run = of_run.map(|text| (vec![text.clone()], Source::Default));
        let Ok(given) = self.matches.try_get_raw(name) else {
            return of_run;
        };
        let mut own = [EVERY, RUN, VERIFY, CHECK].into_iter().flatten();
        let own = own.find(|setting| setting.name == name);
        if self.for_verify && own.is_none() {
            return None;
        }
        let source = match self.matches.value_source(name) {
            Some(ValueSource::CommandLine) => Source::Flag,
            Some(ValueSource::EnvVariable) => Source::Variable,
            _ => Source::Default,
        };
        let in_file = self.file.as_ref().and_then(|file| file.texts(name));
        if let (Source::Default, Some(texts)) = (source, in_file) {
            return Some((texts.to_vec(), Source::File));
        }
        if let (Source::Default, Some(of_run)) = (source, of_run) {
            return Some(of_run);
        }
        let default = own.filter(|_| self.for_verify && source == Source::Default);
        let texts = match default {
            Some(own) => vec![own.default?.into()],
            None => given?.map(OsStr::to_owned).collect(),
        };
        Some((texts, source))
    }

    /// A value as it is effective, as text, and where it comes from. A switch that is on is `true`, a
    /// count a number; a list has commas.
    pub fn effective(&self, name: &str) -> Option<(OsString, Source)> {
        let (texts, source) = self.texts(name)?;
        Some((texts.join(OsStr::new(",")), source))
    }

    fn text(&self, name: &str) -> Option<OsString> {
        self.effective(name).map(|(text, _)| text)
    }

    /// A value that is needed.
    ///
    /// # Errors
    /// When it is not there or cannot be read: says what is wanted.
    pub fn required<T, E: Display>(&self, name: &str, read: Read<T, E>) -> Result<T> {
        self.optional(name, read)?
            .with_context(|| format!("--{name} is needed"))
    }

    /// A value, if there is one.
    ///
    /// # Errors
    /// When it cannot be read: says what is wanted.
    pub fn optional<T, E: Display>(&self, name: &str, read: Read<T, E>) -> Result<Option<T>> {
        let read = |text: OsString| match text.to_str().map(read) {
            Some(read) => read.map_err(|wanted| anyhow!("{}: {wanted}", self.source(name))),
            None => bail!("{}: wanted UTF-8", self.source(name)),
        };
        self.text(name).map(read).transpose()
    }

    /// What gave a value: its flag, or its environment variable.
    fn source(&self, name: &str) -> String {
        let mut settings = ALL.into_iter().flatten();
        let is_it = |setting: &&Setting| setting.name == name && setting.variable.is_some();
        let variable = settings.find(is_it).and_then(|setting| setting.variable);
        let variable =
            variable.filter(|_| self.matches.value_source(name) == Some(ValueSource::EnvVariable));
        variable.map_or_else(|| format!("--{name}"), str::to_owned)
    }

    /// A folder, if one is named.
    ///
    /// # Errors
    /// When its name is empty.
    pub fn folder(&self, name: &str) -> Result<Option<PathBuf>> {
        let folder = self.path(name);
        let is_named = folder.iter().all(|folder| !folder.as_os_str().is_empty());
        ensure!(is_named, "--{name}: wanted a folder, such as ./results");
        Ok(folder)
    }

    /// A file or a folder.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    /// Files, of a flag that may be given several times.
    pub fn paths(&self, name: &str) -> Vec<PathBuf> {
        let given = self.texts(name).map(|(texts, _)| texts);
        let given = given.into_iter().flatten();
        given.map(PathBuf::from).collect()
    }

    /// Did somebody say it, or is it the default?
    pub fn is_given(&self, name: &str) -> bool {
        let source = self.texts(name).map(|(_, source)| source);
        source.is_some_and(|source| source != Source::Default)
    }

    /// Is this switched on?
    pub fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|text| text == "true")
    }

    /// One of two, by a switch.
    pub fn choose<T>(&self, switch: &str, on: T, off: T) -> T {
        if self.is_on(switch) { on } else { off }
    }

    /// The settings of a run as its report shows them.
    pub fn report(&self) -> Json {
        let settings = [RUN, SEND, VERIFY].into_iter().flatten();
        let shown = settings.filter_map(|setting| {
            let text = self.text(setting.name);
            setting.report(text.as_deref().and_then(OsStr::to_str))
        });
        Json::Object(shown.collect())
    }
}

/// A campaign's name: it becomes part of a folder's name.
pub fn campaign(text: &str) -> Result<String, String> {
    let unfit = if let Some(hidden) = text.chars().find(|c| is_hidden(*c)) {
        format!(
            "hold a character that cannot be seen (U+{:04X}), as in \"{}\"",
            u32::from(hidden),
            visible(text)
        )
    } else if text.is_empty() || text.starts_with('.') || text.contains('/') {
        "be empty, begin with a dot or contain a slash".to_owned()
    } else {
        return Ok(text.to_owned());
    };
    Err(format!(
        "it becomes part of a folder's name, so it cannot {unfit}; give another one with --campaign"
    ))
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Whether there is a progress bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// A bar on a terminal, else a plain line every 10 s.
    Auto,
    /// A bar, also when stderr is no terminal.
    Always,
    /// Neither bar nor lines.
    Never,
}

/// The longest time that a setting takes.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// `500ms`, `30s`, `15m`, `1h30m`, `30d`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || "wanted a time with its unit, such as 500ms, 30s, 15m or 1h30m".to_owned();
    let span: jiff::Span = text.trim().parse().map_err(|_| wanted())?;
    let days = jiff::SpanRelativeTo::days_are_24_hours();
    let signed = span.to_duration(days).map_err(|_| wanted())?;
    match Duration::try_from(signed) {
        Ok(time) if time <= LONGEST => Ok(time),
        Ok(_) => Err("wanted at most a year".to_owned()),
        Err(_) => Err(wanted()),
    }
}

/// The same, but not `0s`.
pub fn some_time(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("wanted more than 0s".to_owned()),
        time => Ok(time),
    }
}

/// `10/s`, `600/m`, `500/h`, `unlimited`.
pub fn rate(text: &str) -> Result<Option<Rate>, String> {
    if text == "unlimited" {
        return Ok(None);
    }
    let wanted = || "wanted N/s, N/m, N/h or unlimited, such as 10/s".to_owned();
    let (requests, per) = text.split_once('/').ok_or_else(wanted)?;
    let requests: NonZeroU32 = requests.trim().parse().map_err(|_| wanted())?;
    let per = match per.trim() {
        "s" => Duration::from_secs(1),
        "m" => Duration::from_mins(1),
        "h" => Duration::from_hours(1),
        _ => return Err(wanted()),
    };
    let rate = Rate { requests, per };
    if rate.interval() < Duration::from_micros(1) {
        return Err("wanted at most 1000000/s; for no limit say unlimited".to_owned());
    }
    Ok(Some(rate))
}

/// `500ms..30s`
pub fn backoff(text: &str) -> Result<Backoff, String> {
    let (base, cap) = text
        .split_once("..")
        .ok_or("wanted BASE..CAP, such as 500ms..30s")?;
    let (base, cap) = (duration(base)?, duration(cap)?);
    if base > cap {
        return Err("wanted a base that is not above the cap, such as 500ms..30s".to_owned());
    }
    Ok(Backoff { base, cap })
}

/// `50%`
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim().parse::<f64>();
    match number {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("wanted a share between 0% and 100%, such as 50%".to_owned()),
    }
}

/// `20ms` or `20ms..80ms`
pub fn latency(text: &str) -> Result<RangeInclusive<Duration>, String> {
    let (least, most) = text.split_once("..").unwrap_or((text, text));
    let (least, most) = (duration(least)?, duration(most)?);
    if least > most {
        return Err("wanted the shorter time first, such as 20ms..80ms".to_owned());
    }
    Ok(least..=most)
}

/// `,` `;` `|` `tab`
pub fn delimiter(text: &str) -> Result<u8, String> {
    match text.as_bytes() {
        b"tab" | b"\\t" => Ok(b'\t'),
        [one] if one.is_ascii() => Ok(*one),
        _ => Err("wanted one character, such as , or ; or tab".to_owned()),
    }
}

/// `32`
pub fn number<T: FromStr>(text: &str) -> Result<T, String> {
    let wanted = |_| match text.parse::<u128>() {
        Ok(0) => "wanted at least 1".to_owned(),
        Ok(_) => "wanted a smaller number".to_owned(),
        Err(_) => "wanted a whole number, such as 32".to_owned(),
    };
    text.parse().map_err(wanted)
}

/// `127.0.0.1:8025`
pub fn address(text: &str) -> Result<SocketAddr, String> {
    let wanted = |_| "wanted an address with its port, such as 127.0.0.1:8025".to_owned();
    text.parse().map_err(wanted)
}

/// `mobile`, `#2`: a column that there has to be.
pub fn column(text: &str) -> Result<String, String> {
    if text.eq_ignore_ascii_case("none") {
        let why = "it is needed, so it cannot be none; one of that name is named by its place";
        return Err(format!("{why}, such as '#2'"));
    }
    column_or_none(text)
}

/// The same, or `none`.
pub fn column_or_none(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("wanted the name of a column, its place, such as '#2', or none".to_owned()),
        _ => Ok(text.to_owned()),
    }
}

/// `6`
pub fn otp_length(text: &str) -> Result<NonZeroUsize, String> {
    match number::<NonZeroUsize>(text)? {
        length if length.get() <= OTP_LENGTH_MAX => Ok(length),
        _ => Err(format!(
            "wanted at most {OTP_LENGTH_MAX}: no code is longer"
        )),
    }
}

/// `OZONTL`, `914012345678`
pub fn id(text: &str) -> Result<String, String> {
    let id = trimmed(text);
    let odd = |c: char| c.is_whitespace() || is_hidden(c) || is_invisible(c) || QUOTES.contains(c);
    match id.chars().find(|c| odd(*c)) {
        None => Ok(id.to_owned()),
        Some(c) => {
            let what = match c {
                ' ' => "a space",
                c if QUOTES.contains(c) => "a quote",
                _ => "a character that cannot be seen",
            };
            Err(format!(
                "there is {what} in \"{}\": wanted the id alone, such as OZONTL or 914012345678",
                visible(id)
            ))
        }
    }
}

/// No part of any id.
const QUOTES: &str = "\"'`\u{2018}\u{2019}\u{201c}\u{201d}";

/// Without what editors and shells leave around a word.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || is_invisible(c))
}

/// Numbers whose refusal may still be part of a wave wait for it to be settled: so many at most.
const ALIKE_MAX: usize = 1_000;

/// `20` or `off`
pub fn alike(text: &str) -> Result<Option<NonZeroUsize>, String> {
    match (text, text.parse::<NonZeroUsize>()) {
        ("off", _) => Ok(None),
        (_, Ok(number)) if number.get() <= ALIKE_MAX => Ok(Some(number)),
        _ => Err(format!(
            "wanted a whole number from 1 to {ALIKE_MAX}, such as 20, or off"
        )),
    }
}

/// `failed,unknown`
pub fn statuses(text: &str) -> Result<Vec<Status>, String> {
    text.split(',').map(|one| word(one.trim())).collect()
}

/// One of a few words: the variants of the type.
pub fn word<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let word = T::deserialize(text.into_deserializer());
    word.map_err(|why: ValueError| why.to_string().replace("unknown variant", "there is no"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::WhenUncertain;

    #[test]
    fn values_are_read_as_documented_and_refused_otherwise() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30d"), Ok(Duration::from_hours(720)));
        assert!(duration("30").is_err() && duration("1mo").is_err());
        assert!(duration("-5s").is_err());
        assert!(duration("9000h").is_err());
        assert_eq!(rate("unlimited"), Ok(None));
        let per_minute = rate("600/m").unwrap().expect("a limit");
        assert!((per_minute.per_second() - 10.0).abs() < 1e-9);
        for bad in ["0/s", "10", "-1/s", "10/d", "1.5/s", "2000000/s"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
        assert!(backoff("30s..500ms").is_err());
        assert_eq!(percent("50%"), Ok(50.0));
        assert!(percent("101%").is_err());
        assert_eq!(delimiter("tab"), Ok(b'\t'));
        assert!(delimiter("ab").is_err());
        assert_eq!(
            statuses("failed,unknown"),
            Ok(vec![Status::Failed, Status::Unknown])
        );
        let error = word::<WhenUncertain>("never").unwrap_err();
        assert_eq!(error, "there is no `never`, expected `hold` or `retry`");
        assert_eq!(alike("off"), Ok(None));
        assert_eq!(alike("1"), Ok(Some(NonZeroUsize::MIN)));
        assert!(alike("0").is_err() && alike("1001").is_err());
        assert!(latency("80ms..20ms").is_err());
        let error = campaign("a\u{1}b").unwrap_err();
        assert!(error.contains(r#""a\u0001b""#), "{error}");
        assert!(column("None").is_err() && column("2") == Ok("2".to_owned()));
    }
}
