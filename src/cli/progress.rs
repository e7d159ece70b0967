//! How a run gets on: a bar on a terminal, else plain lines now and then.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike as _};
use serde_json::{Value as Json, json};

use super::bar::{Doing, Now, Said};
use super::config::Config;
use super::log::{Line, by_status};
use super::screen::Screen;
use super::terminal::{InPlace, Paint, can_redraw, has_colours};
use super::values::Progress as When;
use crate::calendar::Calendar;
use crate::campaign::{Ending, LONG_HOLD, Outage, Progress, Stall, Why};
use crate::clock;
use crate::figures::{counted, in_words};
use crate::job::Lane;
use crate::status::Status;

/// How often the bar is redrawn.
const REDRAW: Duration = Duration::from_millis(100);

/// How often a plain line is printed where there is no terminal.
const PLAIN_LINE: Duration = Duration::from_secs(10);

/// The longest time without one, while nothing changes.
const PLAIN_LINE_RARELY: Duration = Duration::from_mins(10);

impl Screen {
    /// Does a bar show how a run gets on?
    fn has_bar(&self) -> bool {
        !self.quiet && !self.is_json() && self.progress != When::Never && can_redraw(&io::stderr())
    }

    /// Shows how a run gets on, until the result is dropped.
    #[must_use]
    pub fn follow(&self, view: &Arc<View>) -> Following {
        let done = Arc::new(AtomicBool::new(false));
        let shown = !self.quiet && self.progress != When::Never;
        let thread = shown.then(|| {
            let (view, done, bar) = (Arc::clone(view), Arc::clone(&done), self.has_bar());
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

/// A run as it is seen from outside.
pub struct View {
    screen: Screen,
    name: String,
    pub(super) progress: Arc<Progress>,
    /// How many rows are worked on, now or earlier.
    asked: u64,
    /// How many of them are done with when the run is.
    goal: u64,
    calendar: Calendar,
    timeout: Duration,
    meter: Mutex<Meter>,
}

impl View {
    /// The run of this campaign that is about to begin.
    #[must_use]
    pub fn new(screen: &Screen, name: &str, progress: &Arc<Progress>, config: &Config) -> Self {
        let counts = progress.counts();
        let asked = Status::ALL.into_iter().filter(|status| status.is_asked());
        let asked = asked.map(|status| counts[status.index()]).sum();
        let pending = counts[Status::Pending.index()];
        // Where there is a limit, the run's part of them.
        let limit = config.engine.limit.unwrap_or(pending);
        Self {
            screen: screen.clone(),
            name: screen.cleaned_piece(name),
            progress: Arc::clone(progress),
            asked,
            goal: asked - pending.saturating_sub(limit),
            calendar: config.engine.limits.calendar.clone(),
            timeout: config.gateway.timeout,
            meter: Mutex::new(Meter::new(progress)),
        }
    }

    /// Says what an end of the run waits for, and what it would cost not to; a bar says so itself.
    pub fn say_what_is_awaited(&self) {
        let requests = self.progress.unanswered();
        if requests > 0 && !self.screen.has_bar() {
            let at_most = in_words(self.timeout);
            let text = format!(
                "otpdrive: waiting for {} in flight, at most {at_most}; a second signal (Ctrl-C) ends at once: their numbers would be unknown",
                counted(requests, "request", "requests")
            );
            let fields = [("in_flight", json!(requests))];
            self.screen.tell(Line::of(&text).named("waiting", &fields));
        }
    }

    fn draw(&self, done: &AtomicBool) {
        let bars = &self.screen.bars;
        let terminal = InPlace::new(io::stderr());
        let width = || usize::from(InPlace::new(io::stderr()).width());
        bars.set_draw_target(ProgressDrawTarget::term_like(Box::new(terminal)));
        let style =
            ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = bars.add(ProgressBar::no_length().with_style(style));
        let colours = has_colours(&io::stderr());
        let paint = |paint: Paint, text: &str| if colours { paint } else { Paint::Plain }.on(text);
        while !done.load(Ordering::Relaxed) {
            bar.set_message(self.now().lines(width(), paint).join("\n"));
            std::thread::park_timeout(REDRAW);
        }
        bar.finish_and_clear();
        bars.set_draw_target(ProgressDrawTarget::hidden());
    }

    fn print(&self, done: &AtomicBool) {
        let mut next = Instant::now() + PLAIN_LINE;
        let mut patience = Patience::new(next);
        while !done.load(Ordering::Relaxed) {
            std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
            if Instant::now() >= next {
                let now = self.now();
                let why = self.progress.stalled().map(|stall| stall.why);
                let is_over = patience.is_over(now.counts, why, next);
                if is_over || self.screen.progress == When::Always {
                    self.say(&now);
                }
                next += PLAIN_LINE;
            }
        }
    }

    fn say(&self, now: &Now) {
        let text = format!("{}{}", self.screen.time(), now.line());
        self.screen
            .tell(Line::of(&text).named("progress", &self.fields(now)));
    }

    fn fields(&self, now: &Now) -> [(&'static str, Json); 5] {
        [
            ("done", json!(now.done)),
            ("rows", json!(now.goal)),
            ("counts", by_status(&now.counts)),
            ("in_flight", json!(self.progress.unanswered())),
            ("waiting", json!(now.retrying)),
        ]
    }

    /// Says what is in flight and what it waits for, because somebody asked (SIGUSR1, SIGINFO).
    pub fn tell(&self) {
        let oldest = self.progress.oldest();
        let oldest = oldest.map_or("no answer is awaited".to_owned(), |age| {
            let requests = self.progress.unanswered();
            let s = if requests == 1 { "" } else { "s" };
            let age = age.as_secs_f64();
            format!("{requests} answer{s} awaited, the oldest for {age:.1}s")
        });
        let now = self.now();
        let text = format!("{}\n  {oldest}", now.line());
        self.screen
            .show(Line::of(&text).named("progress", &self.fields(&now)));
    }

    fn now(&self) -> Now {
        let counts = self.progress.counts();
        let done = self.asked - counts[Status::Pending.index()];
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let speed = meter.speed(self.progress.departed());
        let in_flight = self.progress.in_flight();
        // An outage goes on while a probe is on its way.
        let stalled = self
            .progress
            .stalled()
            .filter(|stall| in_flight == 0 || (stall.outage.is_some() && in_flight == 1));
        let doing = match (self.progress.ending(), stalled) {
            (Some(ending), _) => Doing::Stopping(self.ending(ending)),
            (None, Some(stall)) => Doing::Paused(self.stalled(&stall)),
            (None, None) => {
                #[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
                let left = self.goal.saturating_sub(done) as f64 / speed;
                let left = (speed > 0.0).then(|| Duration::try_from_secs_f64(left));
                Doing::Working(left.and_then(Result::ok))
            }
        };
        Now {
            name: self.name.clone(),
            done,
            goal: self.goal,
            speed,
            doing,
            counts,
            in_flight,
            retrying: self.progress.waiting(),
        }
    }

    fn ending(&self, ending: Ending) -> Said {
        let requests = self.progress.unanswered();
        if requests == 0 {
            return "writing down what came back".to_owned().into();
        }
        let answers = counted(requests, "answer", "answers");
        let at_most = in_words(self.timeout.saturating_sub(ending.since.elapsed()));
        let short = format!("waiting for {answers}, at most {at_most}");
        let verb = if requests == 1 { "becomes" } else { "become" };
        let again = format!("; Ctrl-C again ends now ({requests} {verb} unknown)");
        let again = if ending.interrupted { &again } else { "" };
        let full = format!("{short}{again}");
        Said { full, short }
    }

    fn stalled(&self, stall: &Stall) -> Said {
        let now = tokio::time::Instant::now();
        let stall_left = stall.until.saturating_duration_since(now);
        let left = in_words(stall_left);
        let short = match (stall.why, &stall.outage) {
            (Why::Outage, Some(outage)) => return self.down(outage, stall_left),
            (Why::Pace | Why::Outage, _) => format!("the rate lets the next one leave in {left}"),
            (Why::Backoff, _) => format!("retries wait, the next for {left}"),
            (Why::RetryAfter(lane), _) => {
                let lane = match lane {
                    Lane::Verify => String::new(),
                    lane => format!(", {}", lane.name()),
                };
                format!("the gateway asked to wait (Retry-After{lane}), {left} left")
            }
            (why @ (Why::StartAt(at) | Why::Window(_, at) | Why::DailyCap(_, at)), _) => {
                let until = self.calendar.shown(at, clock::wall());
                let full = format!("{} until {until}, {left} left", why.in_words());
                let short = format!("it waits until {until}, {left} left");
                return Said { full, short };
            }
        };
        let way_out = "; to go on before, stop and start again with --ignore-retry-after";
        let is_long = matches!(stall.why, Why::RetryAfter(_)) && stall_left > LONG_HOLD;
        let full = format!("{short}{}", if is_long { way_out } else { "" });
        Said { full, short }
    }

    /// `gateway down 1m 12s (connection refused): probe in 15s, gives up at 22:46 IST`
    fn down(&self, outage: &Outage, probe: Duration) -> Said {
        let lasts = in_words(outage.since.elapsed());
        // Where it is not the gateway, the words are another's.
        let shown = match outage.shown.strip_prefix("the gateway is down") {
            Some(why) => format!("gateway down {lasts}{why}"),
            None => format!("{}, for {lasts}", outage.shown),
        };
        let probe = match probe {
            Duration::ZERO => "probing".to_owned(),
            time => format!("probe in {}", in_words(time)),
        };
        let ends = outage.deadline.map(|deadline| {
            let now = clock::wall();
            let at = now + deadline.saturating_duration_since(tokio::time::Instant::now());
            format!(", gives up at {}", self.calendar.shown(at, now))
        });
        let then = format!("{probe}{}", ends.unwrap_or_default());
        Said {
            full: self.screen.cleaned_piece(&format!("{shown}: {then}")),
            short: format!("down {lasts}: {then}"),
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

/// Measures requests per second over the last seconds.
struct Meter {
    marks: VecDeque<(Instant, u64)>,
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
