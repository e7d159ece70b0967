//! The file of settings that `--config` names: TOML, one key per setting of `send` and `verify`, named
//! as its flag with `_` for `-`. Which settings there are is said by their one table.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::ArgAction;
use toml::{Table, Value};

use super::config::{Config, KEY_VARIABLE, Key, shown_ledger};
use super::exit::Exit;
use super::notify;
use super::report::print;
use super::settings::{EVERY, RUN, SEND, Setting, VERIFY};
use super::values::{Source, Values};
use crate::job::Operation::Send;
use crate::ledger::postgres::Address;
use crate::text::{nearest, visible};

/// The most that such a file may hold.
const BYTES_MAX: u64 = 1 << 20;

/// What a file of settings says.
#[derive(Clone, Debug)]
pub struct ConfigFile {
    /// Its name, for messages.
    pub name: String,
    /// By setting: its value as a flag would have it; several of a flag that can be repeated.
    texts: BTreeMap<&'static str, Vec<OsString>>,
}

impl ConfigFile {
    /// Reads the file. Paths in it are relative to its folder, so that it means the same from every
    /// working folder.
    ///
    /// # Errors
    /// When it cannot be read, is no TOML, or has a key that is no setting or a value of another kind.
    /// What it holds is not repeated, for it may be a secret in the wrong place.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let name = visible(&path.to_string_lossy()).into_owned();
        let read = || {
            let text = text(path)?;
            let folder = path.parent().unwrap_or(Path::new(""));
            let mut texts = BTreeMap::new();
            for (key, value) in table(&text)? {
                let setting = setting(&key)?;
                let wrong = |why| format!("{key}: {why}");
                let values = self::values(setting, value).map_err(anyhow::Error::msg);
                let values = values.with_context(|| wrong("it has a value of the wrong kind"))?;
                let values = values
                    .into_iter()
                    .map(|value| at_home(setting, value, folder));
                texts.insert(setting.name, values.collect());
            }
            anyhow::Ok(texts)
        };
        let texts = read().with_context(|| format!("--config {name}"))?;
        Ok(Self { name, texts })
    }

    /// What the file says of a setting.
    pub fn texts(&self, name: &str) -> Option<&[OsString]> {
        self.texts.get(name).map(Vec::as_slice)
    }
}

/// The settings that may stand in a file.
pub fn all() -> impl Iterator<Item = &'static Setting> {
    // What both have means the same for both.
    let is_new = |of_verify: &&Setting| SEND.iter().all(|of_send| of_send.name != of_verify.name);
    let tables = [EVERY, RUN, SEND].into_iter().flatten();
    let settings = tables.chain(VERIFY.iter().filter(is_new));
    settings.filter(|setting| !["input", "config"].contains(&setting.name))
}

fn text(path: &Path) -> anyhow::Result<String> {
    let length = path.metadata().context("it cannot be read")?.len();
    ensure!(length <= BYTES_MAX, "it is too long for a file of settings");
    std::fs::read_to_string(path).context("it cannot be read")
}

fn table(text: &str) -> anyhow::Result<Table> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start));
        let line = before.map_or(1, |before| before.matches('\n').count() + 1);
        anyhow::anyhow!("line {line} is no TOML: {}", error.message())
    })
}

/// The setting that a key names.
fn setting(key: &str) -> anyhow::Result<&'static Setting> {
    let name = key.replace('_', "-");
    if let Some(setting) = all().find(|setting| setting.name == name) {
        return Ok(setting);
    }
    ensure!(
        name != "api-key",
        "the key itself has no place in a file of settings: api_key_file names a file that holds it"
    );
    match nearest(&name, all().map(|setting| setting.name)) {
        Some(nearest) => bail!(
            "there is no setting {}; did you mean {}?",
            visible(key),
            nearest.replace('-', "_")
        ),
        None => bail!(
            "there is no setting {}; `otpdrive config` lists them",
            visible(key)
        ),
    }
}

/// The key of a setting.
pub fn key(setting: &Setting) -> String {
    setting.name.replace('-', "_")
}

/// A value as flags would have it, or what was wanted.
fn values(setting: &Setting, value: Value) -> Result<Vec<String>, &'static str> {
    let is_switch = matches!(setting.action, ArgAction::SetTrue);
    match value {
        Value::Boolean(on) if is_switch => Ok(vec![on.to_string()]),
        _ if is_switch => Err("wanted true or false"),
        Value::String(text) => Ok(vec![text]),
        Value::Integer(number) => Ok(vec![number.to_string()]),
        Value::Array(all) if matches!(setting.action, ArgAction::Append) => {
            let texts = all.into_iter().map(|one| match one {
                Value::String(text) => Ok(text),
                _ => Err("wanted a list of texts"),
            });
            texts.collect()
        }
        Value::Boolean(_) => Err("wanted a text or a number, not true or false"),
        _ => Err("wanted a text in quotes, or a whole number"),
    }
}

/// A path is where the file of settings is.
fn at_home(setting: &Setting, value: String, folder: &Path) -> OsString {
    match setting.value {
        "PATH|URL" if Address::is_meant_by(&value) => value.into(),
        "FILE" | "PATH|URL" | "DIR" => PathBuf::from(folder).join(value).into_os_string(),
        _ => value.into(),
    }
}

/// Prints every setting of `send`, and those of `verify` besides, as such a file.
///
/// # Errors
/// When a value cannot be read, or values contradict each other.
pub fn show(values: &Values) -> anyhow::Result<Exit> {
    // What cannot be used is told as `send` would.
    Config::of(Send, Key::NotNeeded, values, PathBuf::from("-"))?;
    let name = |source| match source {
        Source::Flag => "flag",
        Source::Variable => "environment",
        Source::File => values.file().map_or("", |file| file.name.as_str()),
        Source::Default => "default",
    };
    let mut text = String::new();
    for setting in all() {
        // What only `verify` has, this command does not.
        let of_verify = || {
            let in_file = values.file().and_then(|file| file.texts(setting.name));
            let in_file = in_file.map(|texts| (texts.join(OsStr::new(",")), Source::File));
            in_file.or(setting.default.map(|text| (text.into(), Source::Default)))
        };
        let key = key(setting);
        let shown = |text: OsString| match setting.name {
            "notify" => notify::shown(&text.to_string_lossy()).into(),
            "ledger" => shown_ledger(&text.to_string_lossy()).into(),
            _ => text,
        };
        let line = if let Some((text, source)) = values.effective(setting.name).or_else(of_verify) {
            let value = toml_value(setting, &shown(text));
            format!("{key} = {value} # {}", name(source))
        } else {
            let derived = setting.derived.map(|derived| format!(": {derived}"));
            format!("# {key} is not set{}", derived.unwrap_or_default())
        };
        text += &visible(&line);
        text.push('\n');
    }
    let is_set = match std::env::var_os(KEY_VARIABLE) {
        Some(_) => "is set",
        None => "is not set",
    };
    text += &[
        "# ",
        KEY_VARIABLE,
        " ",
        is_set,
        "; api_key_file wins over it\n",
    ]
    .concat();
    print(std::io::stdout().lock(), text.as_bytes())
}

/// A value as TOML has it.
fn toml_value(setting: &Setting, text: &OsStr) -> String {
    let text = text.to_string_lossy();
    let is_list = matches!(setting.action, ArgAction::Append);
    let is_bare = matches!(setting.action, ArgAction::SetTrue | ArgAction::Count)
        || setting.value == "N" && text.parse::<u64>().is_ok();
    match (is_bare, is_list) {
        (true, _) => text.into_owned(),
        (_, true) => Value::Array(text.split(',').map(Value::from).collect()).to_string(),
        _ => Value::from(text.into_owned()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ConfigFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("settings.toml");
        std::fs::write(&path, text).unwrap();
        ConfigFile::read(&path).map_err(|error| format!("{error:#}"))
    }

    fn is_refused(text: &str, words: &[&str]) {
        let error = read(text).unwrap_err();
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
    }

    #[test]
    fn values_are_as_flags_would_have_them() {
        let file = read(
            "rate = \"5/s\"\nconcurrency = 8\nyes = true\nverbose = 2\nledger = \"x/l.db\"\n\
             exclude = [\"a.csv\", \"/b.csv\"]\nphone_column = \"Mobile No.\"\n",
        )
        .unwrap();
        let one = |name: &str| file.texts(name).unwrap()[0].to_str().unwrap().to_owned();
        assert_eq!(
            (one("rate"), one("concurrency")),
            ("5/s".into(), "8".into())
        );
        assert_eq!((one("yes"), one("verbose")), ("true".into(), "2".into()));
        assert_eq!(one("phone-column"), "Mobile No.");
        assert!(one("ledger").starts_with('/') && one("ledger").ends_with("/x/l.db"));
        let exclude = file.texts("exclude").unwrap();
        assert!(exclude[0].to_str().unwrap().ends_with("/a.csv") && exclude[1] == "/b.csv");
        assert_eq!(file.texts("backoff"), None);
    }

    #[test]
    fn what_is_no_setting_is_refused_with_the_nearest_one() {
        is_refused("ratee = \"5/s\"", &["ratee", "did you mean rate?"]);
        is_refused("sender_ids = \"x\"", &["did you mean sender_id?"]);
        is_refused("colour = 1", &["colour", "otpdrive config"]);
        is_refused("input = \"x.csv\"", &["input"]);
        is_refused("config = \"x\"", &["config"]);
        is_refused("[send]\nrate = 1", &["send"]);
    }

    #[test]
    fn values_of_another_kind_are_refused_with_their_key() {
        is_refused("yes = 1", &["yes", "true or false"]);
        is_refused("rate = true", &["rate", "a text or a number"]);
        is_refused("rate = [\"1/s\"]", &["rate", "text in quotes"]);
        is_refused("exclude = [1]", &["exclude", "list of texts"]);
        is_refused("max_invalid = 0.5", &["max_invalid"]);
    }

    #[test]
    fn what_stands_in_the_file_is_never_repeated() {
        let key = "KK0123456789abcdef0123456789abcdef";
        for text in [
            format!("api_key = \"{key}\""),
            format!("rate = 5\napi_key = {key}"),
            format!("yes = \"{key}\""),
        ] {
            let error = read(&text).unwrap_err();
            assert!(!error.contains(key), "{error}");
        }
        is_refused("rate = 5\nx = y", &["line 2"]);
        is_refused("api_key = \"x\"", &["api_key_file"]);
    }
}
