//! The terminal: stderr for people, and log lines that never tear the progress bar.
//!
//! Nothing that comes from outside (names of files, the words of a gateway) moves the cursor or
//! begins a line: it is made visible here, on its way out.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::io::{IsTerminal as _, Write};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use indicatif::{MultiProgress, ProgressDrawTarget};
use secrecy::SecretString;
use serde_json::{Value as Json, json};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use super::config::KEY_VARIABLE;
use super::log::{Fields, JsonLines, Level, Line};
use super::terminal::{Paint, has_colours};
use super::values::{self, LogFormat, Progress, Values};
use crate::campaign::LogNumbers;
use crate::clock;
use crate::gateway;
use crate::number::numbers_in_name;
use crate::redact::Redactor;
use crate::text::{visible, visible_lines};

/// Makes lines for people fit to be shown.
#[derive(Clone)]
pub struct Cleaner {
    /// Knows the key in the environment, if there is one.
    from_start: Redactor,
    /// Knows the run's key.
    of_run: Arc<OnceLock<Redactor>>,
    /// Numbers in names, and what stands for them.
    numbers: Arc<Mutex<Vec<(String, String)>>>,
    /// What every line for machines tells.
    common: Arc<Mutex<Fields>>,
    format: LogFormat,
}

impl Cleaner {
    /// Takes out what looks like a key, and the one in the environment.
    #[must_use]
    pub fn new(format: LogFormat) -> Self {
        let key = std::env::var(KEY_VARIABLE).unwrap_or_default();
        Self {
            from_start: gateway::redactor(&SecretString::from(key.trim())),
            of_run: Arc::default(),
            numbers: Arc::default(),
            common: Arc::default(),
            format,
        }
    }

    /// One line, whatever is in it.
    fn line(&self, text: &str) -> String {
        visible(&self.without_secrets(text.trim_end())).into_owned() + "\n"
    }

    /// Lines whose ends are our own.
    #[must_use]
    pub fn lines(&self, text: &str) -> String {
        visible_lines(&self.without_secrets(text.trim_end())).into_owned() + "\n"
    }

    /// What is said, in the format that is wanted.
    #[must_use]
    pub fn said(&self, line: Line<'_>) -> String {
        if self.format == LogFormat::Text {
            return self.lines(line.text);
        }
        let common = self.common.lock().unwrap_or_else(PoisonError::into_inner);
        let message = line.message();
        let mut fields = line.fields;
        fields.extend(common.clone());
        for (name, is) in [
            ("timestamp", json!(clock::wall().to_string())),
            ("level", json!(line.level.name())),
            ("event", json!(line.event)),
            ("message", json!(message)),
        ] {
            fields.insert(name.to_owned(), is);
        }
        drop(common);
        let mut line = Json::Object(fields);
        self.clean(&mut line);
        // What is hidden is escaped as in JSON, and stands in texts only.
        visible(&line.to_string()).into_owned() + "\n"
    }

    /// Each text by itself, or what is taken out could be more than the text.
    fn clean(&self, json: &mut Json) {
        match json {
            Json::String(text) => *text = self.without_secrets(text).into_owned(),
            Json::Array(all) => all.iter_mut().for_each(|one| self.clean(one)),
            Json::Object(all) => all.values_mut().for_each(|one| self.clean(one)),
            _ => {}
        }
    }

    fn without_secrets<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut text = self.without_keys(text);
        let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
        for (number, masked) in numbers.iter() {
            if text.contains(number) {
                text = text.replace(number, masked).into();
            }
        }
        text
    }

    fn without_keys<'t>(&self, text: &'t str) -> Cow<'t, str> {
        match (self.from_start.clean(text), self.of_run.get()) {
            (text, None) => text,
            (text, Some(redactor)) => redactor.clean(&text).into_owned().into(),
        }
    }
}

/// Where everything for people goes.
#[derive(Clone)]
pub struct Screen {
    pub(super) bars: MultiProgress,
    cleaner: Cleaner,
    pub(super) quiet: bool,
    pub(super) progress: Progress,
    log_numbers: LogNumbers,
}

impl Screen {
    /// Sets up stderr and the log.
    ///
    /// # Errors
    /// When a setting of them cannot be read.
    pub fn new(values: &Values, mut cleaner: Cleaner) -> anyhow::Result<Self> {
        let format = values.required("log-format", values::word)?;
        cleaner.format = format;
        let verbose = values.optional("verbose", values::number::<u8>)?;
        let screen = Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            cleaner,
            quiet: values.is_on("quiet"),
            progress: values.required("progress", values::word)?,
            log_numbers: values.choose("log-numbers", LogNumbers::Whole, LogNumbers::Masked),
        };
        if screen.progress == Progress::Always {
            values.ensure_one_of("quiet", "progress")?;
        }
        let names =
            ["input", "campaign", "ledger", "out", "problems"].map(|name| values.path(name));
        for name in names.into_iter().flatten().chain(values.paths("exclude")) {
            screen.mask_numbers_of(&name.to_string_lossy());
        }
        let level = match verbose.unwrap_or(0) {
            _ if screen.quiet => LevelFilter::ERROR,
            0 => LevelFilter::WARN,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        // Only this program's own events: libraries may log addresses, with the key in them.
        let ours = Targets::new().with_target("otpdrive", level);
        // Without colours: then no line holds anything that a terminal obeys.
        let lines = fmt::layer().with_writer(screen.clone()).with_ansi(false);
        let json = JsonLines(screen.clone());
        let log = tracing_subscriber::registry();
        // An error means that a subscriber is set already, as in tests.
        let _ = match format {
            LogFormat::Text => log.with(lines.with_filter(ours)).try_init(),
            LogFormat::Json => log.with(json.with_filter(ours)).try_init(),
        };
        Ok(screen)
    }

    /// From now on this key is taken out of everything that is printed.
    pub fn hide(&self, redactor: Redactor) {
        // Set once a process.
        let _ = self.cleaner.of_run.set(redactor);
    }

    /// Does a text hold a key?
    pub fn has_key(&self, text: &str) -> bool {
        self.cleaner.without_keys(text) != text
    }

    /// From now on the numbers in this name, of a file or a campaign, are masked wherever they stand.
    pub fn mask_numbers_of(&self, name: &str) {
        if self.log_numbers == LogNumbers::Masked {
            let numbers = &self.cleaner.numbers;
            let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
            numbers.extend(numbers_in_name(name));
        }
    }

    /// Asks a question; anything but yes is no.
    pub fn ask(&self, question: &str) -> bool {
        let asked = Line::of(question).named("question", &[]);
        let asked = self.cleaner.said(asked);
        self.print(&match self.cleaner.format {
            LogFormat::Text => format!("{} ", asked.trim_end()),
            LogFormat::Json => asked,
        });
        let mut answer = String::new();
        // What cannot be read is no yes, and has moved nothing on.
        let nothing = std::io::stdin().read_line(&mut answer).unwrap_or(0) == 0;
        if nothing && self.cleaner.format == LogFormat::Text {
            self.print("\n");
        }
        matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
    }

    /// Lines for programs, fit to be shown as well: what a terminal obeys is escaped as in JSON.
    pub fn cleaned(&self, text: &str) -> String {
        self.cleaner.lines(text)
    }

    /// A piece of a line as it may be shown: what is laid out by its width has to be clean before.
    pub fn cleaned_piece(&self, text: &str) -> String {
        self.cleaner.line(text).trim_end().to_owned()
    }

    /// Says something, in one line or more, unless the user wants quiet.
    pub fn say(&self, text: &str) {
        self.tell(Line::of(text));
    }

    /// The same, with what machines are to know of it; an error is said in any case.
    pub fn tell(&self, line: Line<'_>) {
        if !self.quiet || line.level == Level::Error {
            self.show(line);
        }
    }

    /// Says lines that were laid out, each with what its first word is painted as, unless the user wants
    /// quiet. For programs they are one event.
    pub fn tell_lines(&self, lines: &[(Paint, String)], event: &str, fields: &[(&str, Json)]) {
        if self.quiet {
            return;
        }
        if self.is_json() {
            let text: String = lines.iter().map(|(_, line)| line.as_str()).collect();
            self.tell(Line::of(&text).named(event, fields));
            return;
        }
        let colours = has_colours(&std::io::stderr());
        let shown = lines.iter().map(|(paint, line)| {
            let line = self.cleaner.line(line);
            let start = line.len() - line.trim_start().len();
            let word = line[start..].split_whitespace().next();
            match word.filter(|_| colours) {
                Some(word) => {
                    let rest = &line[start + word.len()..];
                    format!("{}{}{rest}", &line[..start], paint.on(word))
                }
                None => line,
            }
        });
        self.print(&shown.collect::<String>());
    }

    /// Says what has to be seen, in one line or more.
    pub fn show(&self, line: Line<'_>) {
        self.print(&self.cleaner.said(line));
    }

    /// Says what has to be said, in one line.
    pub fn error(&self, text: &str) {
        self.fail(Line::error(text));
    }

    /// The same, with what machines are to know of it.
    pub fn fail(&self, line: Line<'_>) {
        match self.cleaner.format {
            LogFormat::Text => self.print(&(self.time() + &self.cleaner.line(line.text))),
            LogFormat::Json => self.show(line),
        }
    }

    /// The time, in front of a line of text that goes to a file and not to somebody who sits there.
    pub fn time(&self) -> String {
        if self.is_json() || std::io::stderr().is_terminal() {
            return String::new();
        }
        format!("{} ", clock::wall())
    }

    /// Are all lines for machines?
    pub fn is_json(&self) -> bool {
        self.cleaner.format == LogFormat::Json
    }

    /// From now on every line for machines tells this.
    pub fn all_tell(&self, name: &str, is: Json) {
        let common = self.cleaner.common.lock();
        let mut common = common.unwrap_or_else(PoisonError::into_inner);
        common.insert(name.to_owned(), is);
    }

    /// Says a line that is there for its time alone: when a run began or ended.
    pub fn mark(&self, event: &str, text: &str, fields: &[(&str, Json)]) {
        let time = self.time();
        if self.is_json() || !time.is_empty() {
            let text = format!("{time}{text}");
            self.tell(Line::of(&text).named(event, fields));
        }
    }

    fn print(&self, text: &str) {
        self.bars.suspend(|| {
            // There is nobody left to tell that stderr is closed.
            let _ = std::io::stderr().write_all(text.as_bytes());
        });
    }

    /// From now on a panic is a line like any other. It leaves the bar alone, which may be what
    /// panics; who unwinds takes it off the screen.
    pub fn report_panics(&self) {
        let cleaner = self.cleaner.clone();
        std::panic::set_hook(Box::new(move |panic| {
            let trace = Backtrace::capture();
            let text = format!(
                "otpdrive: a bug, please report it; what the ledger has is safe, so the same command may be run again: {panic}"
            );
            let mut text = match cleaner.format {
                LogFormat::Text => cleaner.line(&text),
                LogFormat::Json => cleaner.said(Line::error(&text).named("panic", &[])),
            };
            if cleaner.format == LogFormat::Text && trace.status() == BacktraceStatus::Captured {
                text += &cleaner.lines(&trace.to_string());
            }
            let _ = std::io::stderr().write_all(text.as_bytes());
        }));
    }
}

impl<'a> MakeWriter<'a> for Screen {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine {
            screen: self.clone(),
        }
    }
}

/// Writes whole log lines above the bar.
pub struct LogLine {
    screen: Screen,
}

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let line = String::from_utf8_lossy(line);
        self.screen.print(&self.screen.cleaner.line(&line));
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Passes rows of CSV on, each on one line in which a terminal obeys nothing.
pub struct Visible<W> {
    out: W,
    quoted: bool,
}

impl<W> Visible<W> {
    /// Passes them on to this.
    pub fn new(out: W) -> Self {
        Self { out, quoted: false }
    }
}

impl<W: Write> Write for Visible<W> {
    fn write(&mut self, rows: &[u8]) -> std::io::Result<usize> {
        let mut shown = String::with_capacity(rows.len());
        for piece in String::from_utf8_lossy(rows).split_inclusive(['"', '\n']) {
            // A line end in a cell is the cell's, not ours.
            match piece.strip_suffix('\n').filter(|_| !self.quoted) {
                Some(row) => shown.extend([&visible(row), "\n"]),
                None => shown.push_str(&visible(piece)),
            }
            self.quoted ^= piece.ends_with('"');
        }
        self.out.write_all(shown.as_bytes())?;
        Ok(rows.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stays_one_line_without_keys_and_commands() {
        let cleaner = Cleaner::new(LogFormat::Text);
        let screen = cleaner.clone();
        let _ = screen
            .of_run
            .set(gateway::redactor(&SecretString::from("a-secret")));
        let text = "panicked at a.rs:\nno a-\nsecret, no \u{1b}[2J\n";
        assert_eq!(
            cleaner.line(text),
            "panicked at a.rs:\\u000ano [key], no \\u001b[2J\n"
        );
        assert_eq!(cleaner.lines("a\nb\r\n"), "a\nb\n");
    }

    #[test]
    fn rows_on_a_terminal_keep_their_lines_and_lose_their_commands() {
        let mut out = Vec::new();
        Visible::new(&mut out)
            .write_all("a,\"b\r\nc\"\"\nd\"\n\u{9b}31m,\u{202e}\n".as_bytes())
            .unwrap();
        let expected = "a,\"b\\u000d\\u000ac\"\"\\u000ad\"\n\\u009b31m,\\u202e\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
