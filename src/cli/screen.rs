//! The terminal: stderr for people, the progress bar, log lines that never tear it.
//!
//! Nothing that comes from outside (names of files, the words of a gateway) moves the cursor or
//! begins a line: it is made visible here, on its way out.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use secrecy::SecretString;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use super::args::{LogArgs, LogFormat, Progress};
use super::config::KEY_VARIABLE;
use super::plan::in_words;
use crate::campaign::{Live, Stall, Why};
use crate::gateway;
use crate::outcome::{Lane, Status};
use crate::pace::Rate;
use crate::redact::Redactor;
use crate::text::{visible, visible_lines};

/// How often the bar is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// How often a plain line is printed where there is no terminal.
const PLAIN_LINE: Duration = Duration::from_secs(10);

/// Makes lines for people fit to be shown.
#[derive(Clone)]
pub struct Cleaner {
    /// Knows the key in the environment, if there is one.
    from_start: Redactor,
    /// Knows the run's key.
    of_run: Arc<OnceLock<Redactor>>,
}

impl Cleaner {
    /// Takes out what looks like a key, and the one in the environment.
    #[must_use]
    pub fn new() -> Self {
        let key = std::env::var(KEY_VARIABLE).unwrap_or_default();
        Self {
            from_start: gateway::redactor(&SecretString::from(key.trim())),
            of_run: Arc::default(),
        }
    }

    /// One line, whatever is in it.
    fn line(&self, text: &str) -> String {
        visible(&self.without_keys(text.trim_end())).into_owned() + "\n"
    }

    /// Lines whose ends are our own.
    #[must_use]
    pub fn lines(&self, text: &str) -> String {
        visible_lines(&self.without_keys(text.trim_end())).into_owned() + "\n"
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
    bars: MultiProgress,
    cleaner: Cleaner,
    quiet: bool,
    progress: Progress,
}

impl Screen {
    /// Sets up stderr and the log.
    #[must_use]
    pub fn new(args: &LogArgs, cleaner: Cleaner) -> Self {
        let screen = Self {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::hidden()),
            cleaner,
            quiet: args.quiet,
            progress: args.progress,
        };
        let level = match (args.quiet, args.verbose) {
            (true, _) => LevelFilter::ERROR,
            (false, 0) => LevelFilter::WARN,
            (false, 1) => LevelFilter::INFO,
            (false, 2) => LevelFilter::DEBUG,
            (false, _) => LevelFilter::TRACE,
        };
        // Only this program's own events: libraries may log addresses, with the key in them.
        let ours = Targets::new().with_target("otpdrive", level);
        // Without colours: then no line holds anything that a terminal obeys.
        let lines = fmt::layer().with_writer(screen.clone()).with_ansi(false);
        let log = tracing_subscriber::registry();
        // An error means that a subscriber is set already, as in tests.
        let _ = match args.log_format {
            LogFormat::Text => log.with(lines.with_filter(ours)).try_init(),
            LogFormat::Json => log.with(lines.json().with_filter(ours)).try_init(),
        };
        screen
    }

    /// From now on this key is taken out of everything that is printed.
    pub fn hide(&self, redactor: Redactor) {
        // Set once a process.
        let _ = self.cleaner.of_run.set(redactor);
    }

    /// Says something, in one line or more, unless the user wants quiet.
    pub fn say(&self, text: &str) {
        if !self.quiet {
            self.print(&self.cleaner.lines(text));
        }
    }

    /// Says what has to be said, in one line.
    pub fn error(&self, text: &str) {
        self.print(&self.cleaner.line(text));
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
            let mut text = cleaner.line(&format!(
                "otpdrive: a bug, please report it; what the ledger has is safe, so the same command may be run again: {panic}"
            ));
            if trace.status() == BacktraceStatus::Captured {
                text += &cleaner.lines(&trace.to_string());
            }
            let _ = std::io::stderr().write_all(text.as_bytes());
        }));
    }

    /// Shows how a run gets on, until the result is dropped.
    #[must_use]
    pub fn follow(&self, live: Arc<Live>, rows: u64, rate: Option<Rate>) -> Following {
        let bar = match self.progress {
            _ if self.quiet => None,
            Progress::Never => None,
            Progress::Always => Some(true),
            Progress::Auto => Some(std::io::stderr().is_terminal()),
        };
        let done = Arc::new(AtomicBool::new(false));
        let thread = bar.map(|bar| {
            let view = View {
                screen: self.clone(),
                live,
                rows,
                rate,
            };
            let done = Arc::clone(&done);
            std::thread::spawn(move || {
                if bar {
                    view.draw(&done);
                } else {
                    view.print(&done);
                }
            })
        });
        Following { done, thread }
    }
}

/// A progress line on the screen, until it is dropped.
pub struct Following {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Following {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // If it panicked, it has said so.
            let _ = thread.join();
        }
    }
}

struct View {
    screen: Screen,
    live: Arc<Live>,
    rows: u64,
    rate: Option<Rate>,
}

impl View {
    fn draw(&self, done: &AtomicBool) {
        let bars = &self.screen.bars;
        bars.set_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} rows\n{msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bars.add(ProgressBar::new(self.rows).with_style(style));
        let mut meter = Meter::new(&self.live);
        while !done.load(Ordering::Relaxed) {
            let now = self.describe(&mut meter);
            bar.set_position(now.done);
            bar.set_message(now.text);
            std::thread::park_timeout(REDRAW);
        }
        bar.finish_and_clear();
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn print(&self, done: &AtomicBool) {
        let mut meter = Meter::new(&self.live);
        let mut next = Instant::now() + PLAIN_LINE;
        while !done.load(Ordering::Relaxed) {
            std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
            if Instant::now() >= next {
                next += PLAIN_LINE;
                let now = self.describe(&mut meter);
                self.screen
                    .say(&format!("{}/{} rows, {}", now.done, self.rows, now.text));
            }
        }
    }

    fn describe(&self, meter: &mut Meter) -> Now {
        let counts = self.live.counts();
        let done = self.rows - counts[Status::Pending.index()];
        let speed = meter.speed(self.live.departed());
        let limit = self.rate.map_or("no limit".to_owned(), |rate| {
            format!("limit {:.1}/s", rate.per_second())
        });
        // Writing to a String cannot fail.
        let mut text = format!("{speed:.1}/s ({limit})");
        for status in Status::ALL {
            let count = counts[status.index()];
            if count > 0 && status != Status::Pending {
                let _ = write!(text, ", {} {count}", status.name());
            }
        }
        let (waiting, in_flight) = (self.live.waiting(), self.live.in_flight());
        if waiting > 0 {
            let _ = write!(text, ", waiting {waiting}");
        }
        match self.live.stalled() {
            Some(stall) if in_flight == 0 => {
                let _ = write!(text, "; {}", stalled(&stall));
            }
            _ if speed > 0.0 => {
                #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
                let left = counts[Status::Pending.index()] as f64 / speed;
                let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
                let _ = write!(text, "; about {} left", in_words(left));
            }
            _ => {}
        }
        Now { done, text }
    }
}

struct Now {
    done: u64,
    text: String,
}

fn stalled(stall: &Stall) -> String {
    let left = stall
        .until
        .saturating_duration_since(tokio::time::Instant::now());
    let left = in_words(left);
    match stall.why {
        Why::Pace => format!("the rate lets the next one leave in {left}"),
        Why::Backoff => format!("retries wait, the next for {left}"),
        Why::RetryAfter(lane) => format!(
            "the gateway asked to wait (Retry-After{}), {left} left",
            if lane == Lane::Verify {
                String::new()
            } else {
                format!(", {}", lane.name())
            }
        ),
        Why::Outage => format!("the gateway is down, next probe in {left}"),
    }
}

/// Measures requests per second over the last seconds.
struct Meter {
    marks: std::collections::VecDeque<(Instant, u64)>,
}

impl Meter {
    const WINDOW: Duration = Duration::from_secs(10);

    fn new(live: &Live) -> Self {
        Self {
            marks: [(Instant::now(), live.departed())].into(),
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a speed for people")]
    fn speed(&mut self, departed: u64) -> f64 {
        let now = Instant::now();
        self.marks.push_back((now, departed));
        while self.marks.len() > 2
            && self
                .marks
                .get(1)
                .is_some_and(|(at, _)| now - *at > Self::WINDOW)
        {
            self.marks.pop_front();
        }
        let Some((since, before)) = self.marks.front() else {
            return 0.0;
        };
        let seconds = (now - *since).as_secs_f64().max(0.001);
        (departed - before) as f64 / seconds
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
        self.screen.error(&String::from_utf8_lossy(line));
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
        let cleaner = Cleaner::new();
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
