//! How a run gets on: a bar on a terminal, else plain lines now and then.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::plan::in_words;
use super::screen::Screen;
use super::values::Progress as When;
use crate::calendar::Calendar;
use crate::campaign::{LONG_HOLD, Progress, Settings, Stall, Why};
use crate::clock;
use crate::job::Lane;
use crate::pace::Rate;
use crate::status::Status;

/// How often the bar is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// How often a plain line is printed where there is no terminal.
const PLAIN_LINE: Duration = Duration::from_secs(10);

/// The longest time without one, while nothing changes.
const PLAIN_LINE_RARELY: Duration = Duration::from_mins(10);

impl Screen {
    /// Says what an end of the run waits for, and what it would cost not to.
    pub fn say_what_is_awaited(&self, requests: u64, at_most: Duration) {
        if requests > 0 {
            let s = if requests == 1 { "" } else { "s" };
            let at_most = in_words(at_most);
            self.say(&format!(
                "otpdrive: waiting for {requests} request{s} in flight, at most {at_most}; a second signal (Ctrl-C) ends at once: their numbers would be unknown"
            ));
        }
    }

    /// Shows how a run gets on, until the result is dropped.
    #[must_use]
    pub fn follow(&self, progress: Arc<Progress>, rows: u64, settings: &Settings) -> Following {
        let bar = match self.progress {
            _ if self.quiet => None,
            When::Never => None,
            When::Always => Some(true),
            When::Auto => Some(std::io::stderr().is_terminal()),
        };
        let done = Arc::new(AtomicBool::new(false));
        let thread = bar.map(|bar| {
            let view = View {
                screen: self.clone(),
                rows,
                // Where there is a limit, the run's part of them.
                goal: settings.limit.map_or(rows, |limit| {
                    let pending = progress.counts()[Status::Pending.index()];
                    rows - pending.saturating_sub(limit)
                }),
                progress,
                rate: settings.rate,
                calendar: settings.limits.calendar.clone(),
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
    progress: Arc<Progress>,
    rows: u64,
    /// How many are done when the run is.
    goal: u64,
    rate: Option<Rate>,
    calendar: Calendar,
}

impl View {
    fn draw(&self, done: &AtomicBool) {
        let bars = &self.screen.bars;
        bars.set_draw_target(ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} rows\n{msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bars.add(ProgressBar::new(self.goal).with_style(style));
        let mut meter = Meter::new(&self.progress);
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
        let mut meter = Meter::new(&self.progress);
        let mut next = Instant::now() + PLAIN_LINE;
        let mut patience = Patience::new(next);
        while !done.load(Ordering::Relaxed) {
            std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
            if Instant::now() >= next {
                let now = self.describe(&mut meter);
                let why = self.progress.stalled().map(|stall| stall.why);
                if patience.is_over(self.progress.counts(), why, next) {
                    self.screen
                        .say(&format!("{}/{} rows, {}", now.done, self.goal, now.text));
                }
                next += PLAIN_LINE;
            }
        }
    }

    fn describe(&self, meter: &mut Meter) -> Now {
        let counts = self.progress.counts();
        let done = self.rows - counts[Status::Pending.index()];
        let speed = meter.speed(self.progress.departed());
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
        let (waiting, in_flight) = (self.progress.waiting(), self.progress.in_flight());
        if waiting > 0 {
            let _ = write!(text, ", waiting {waiting}");
        }
        match self.progress.stalled() {
            Some(stall) if in_flight == 0 => {
                let _ = write!(text, "; {}", self.stalled(&stall));
            }
            _ if speed > 0.0 => {
                #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
                let left = self.goal.saturating_sub(done) as f64 / speed;
                let left = Duration::try_from_secs_f64(left).unwrap_or(Duration::MAX);
                let _ = write!(text, "; about {} left", in_words(left));
            }
            _ => {}
        }
        Now { done, text }
    }

    fn stalled(&self, stall: &Stall) -> String {
        let stall_left = stall
            .until
            .saturating_duration_since(tokio::time::Instant::now());
        let left = in_words(stall_left);
        match stall.why {
            Why::Pace => format!("the rate lets the next one leave in {left}"),
            Why::Backoff => format!("retries wait, the next for {left}"),
            Why::RetryAfter(lane) => {
                let lane = match lane {
                    Lane::Verify => String::new(),
                    lane => format!(", {}", lane.name()),
                };
                let way_out = if stall_left > LONG_HOLD {
                    "; to go on before, stop and start again with --ignore-retry-after"
                } else {
                    ""
                };
                format!("the gateway asked to wait (Retry-After{lane}), {left} left{way_out}")
            }
            Why::Outage => format!("{}, next probe in {left}", stall.outage),
            why @ (Why::StartAt(at) | Why::Window(_, at) | Why::DailyCap(_, at)) => {
                let until = self.calendar.shown(at, clock::wall());
                format!("{} until {until}, {left} left", why.in_words())
            }
        }
    }
}

/// Which of the plain lines are worth saying: one that says something new, and then fewer and fewer.
struct Patience {
    /// What the latest line said: the rows by status, and why nothing moved, if nothing did.
    counts: [u64; Status::ALL.len()],
    why: Option<Why>,
    /// When it is said again, though nothing has changed; and how long that was in coming.
    until: Instant,
    gap: Duration,
}

impl Patience {
    /// The first line is due then.
    fn new(first: Instant) -> Self {
        Self {
            counts: Default::default(),
            why: None,
            until: first,
            gap: PLAIN_LINE,
        }
    }

    /// Is a line to be said now?
    fn is_over(
        &mut self,
        counts: [u64; Status::ALL.len()],
        why: Option<Why>,
        now: Instant,
    ) -> bool {
        // While a probe is on its way the outage goes on.
        let why = why.or(self.why.filter(|_| counts == self.counts));
        if (counts, why) != (self.counts, self.why) {
            (self.counts, self.why) = (counts, why);
            self.gap = PLAIN_LINE;
        } else if now < self.until {
            return false;
        } else {
            self.gap = PLAIN_LINE_RARELY.min(self.gap * 2);
        }
        self.until = now + self.gap;
        true
    }
}

struct Now {
    done: u64,
    text: String,
}

/// Measures requests per second over the last seconds.
struct Meter {
    marks: std::collections::VecDeque<(Instant, u64)>,
}

impl Meter {
    const WINDOW: Duration = Duration::from_secs(10);

    fn new(progress: &Progress) -> Self {
        Self {
            marks: [(Instant::now(), progress.departed())].into(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::UnixMicros;

    #[test]
    fn a_long_wait_is_said_when_it_begins_and_then_rarely() {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        let mut said = Vec::new();
        let mut at = |seconds: u64, sent: u64, why: Option<Why>| {
            let mut counts = [0; Status::ALL.len()];
            counts[Status::Sent.index()] = sent;
            if patience.is_over(counts, why, start + Duration::from_secs(seconds)) {
                said.push(seconds);
            }
        };
        // Rows are sent; then it waits for the morning.
        for tick in 1..=6 {
            at(tick * 10, tick, None);
        }
        let morning = Some(Why::Window(Lane::Sms, UnixMicros(7)));
        for tick in 7..=370 {
            at(tick * 10, 6, morning);
        }
        // An outage, with a probe on its way now and then.
        for tick in 371..=380 {
            at(tick * 10, 7, (tick % 3 > 0).then_some(Why::Outage));
        }
        let waits = [
            70, 80, 100, 140, 220, 380, 700, 1300, 1900, 2500, 3100, 3700,
        ];
        let expected = [
            &[10, 20, 30, 40, 50, 60],
            &waits[..],
            &[3710, 3720, 3740, 3780],
        ]
        .concat();
        assert_eq!(said, expected);
    }
}
