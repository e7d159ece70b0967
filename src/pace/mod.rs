//! The rate: who leaves when. Governor's GCRA on tokio's clock, so that tests pause time.
//!
//! Departures are granted one by one in the order of asking, so waiting costs one timer, not one a
//! waiter. What a late timer loses is made up for within [`TOLERANCE`], and no more: a longer stall
//! is forgotten, so that no second ever sees a burst. In any second at most the rate and what fits
//! into the tolerance leave: +0.5 %, or one request. Where several processes share the rate, who
//! leaves when is agreed upon in the ledger, and governor only guards it.

mod line;

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock as GovernorClock;
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, sleep_until};

use crate::mistake::{Mistake, is_made};
pub use line::Ask;
use line::{LATE, Line};

/// How much time a late departure may make up for.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Requests in a period of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub requests: NonZeroU32,
    /// In which time.
    pub per: Duration,
}

impl Rate {
    /// The rate as requests per second.
    #[must_use]
    pub fn per_second(self) -> f64 {
        f64::from(self.requests.get()) / self.per.as_secs_f64()
    }

    /// The distance between two requests.
    #[must_use]
    pub fn interval(self) -> Duration {
        self.per / (self.requests.get() + u32::from(is_made(Mistake::RateTooHigh)))
    }
}

impl fmt::Display for Rate {
    /// `10/s`, `30/m`, `500/h`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => 's',
            60 => 'm',
            _ => 'h',
        };
        write!(f, "{}/{unit}", self.requests)
    }
}

/// Time as governor sees it: since the pace began, on tokio's clock.
#[derive(Clone)]
struct SinceStart(Instant);

impl GovernorClock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Governor's limiter for requests that keep an interval.
struct Limiter {
    gcra: RateLimiter<NotKeyed, InMemoryState, SinceStart, NoOpMiddleware<Duration>>,
    start: Instant,
    /// Governor counts whole cells; a request at a slow rate is several, so that the tolerance is
    /// a matter of milliseconds at any rate.
    cells: NonZeroU32,
    interval: Duration,
}

impl Limiter {
    /// Late ones may make up for `tolerance`.
    fn new(interval: Duration, tolerance: Duration) -> Self {
        let interval = interval.max(Duration::from_nanos(1));
        let cells = clamped(interval.as_nanos().div_ceil(TOLERANCE.as_nanos()));
        let cell = (interval / cells.get()).max(Duration::from_nanos(1));
        let tolerance = if is_made(Mistake::PauseMadeUp) {
            tolerance * 100
        } else {
            tolerance
        };
        let spare = clamped(tolerance.as_nanos() / cell.as_nanos());
        // With the tolerance used up, exactly one request may leave.
        let burst = cells.saturating_add(spare.get());
        // `cell` is at least a nanosecond, so there is such a quota.
        let quota = Quota::with_period(cell)
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        let start = Instant::now();
        let gcra = RateLimiter::direct_with_clock(quota, SinceStart(start));
        // No burst at the start either: an earlier run may have ended just now.
        let _ = gcra.check_n(spare);
        Self {
            gcra,
            start,
            cells,
            interval,
        }
    }

    /// Lets one go, or says when to ask again.
    fn check(&self) -> Result<(), Instant> {
        match self.gcra.check_n(self.cells) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(not_until)) => Err(self.start + not_until.earliest_possible()),
            // More cells than the burst holds: ruled out by `new`.
            Err(_) => Err(Instant::now() + self.interval),
        }
    }
}

/// A line of calls that is behind by no more than this is made up for.
pub const SLACK: Duration = Duration::from_millis(10);

/// Lets requests leave one by one, never above a rate.
///
/// The rate is this process's own, or all processes share it: then each reserves places on one line of
/// time, and this pace follows them.
pub struct Pace {
    own: Option<Own>,
    line: OnceCell<Line>,
    /// How late a request may be at its place on the line.
    late: Duration,
    lookahead: Cell<Duration>,
    turn: Mutex<()>,
}

/// A rate that is this process's alone.
struct Own {
    limiter: Limiter,
    /// When the next departure is expected.
    next: Cell<Instant>,
    not_before: Cell<Option<Instant>>,
    /// When a turn was put back that nobody has taken since.
    returned_at: Cell<Option<Instant>>,
    returned: Notify,
}

impl Pace {
    /// A pace of `rate` (`None`: unlimited). Intents are written down `lookahead` before their
    /// requests may leave.
    #[must_use]
    pub fn new(rate: Option<Rate>, lookahead: Duration) -> Self {
        Self {
            own: rate.map(Own::new),
            line: OnceCell::new(),
            late: LATE,
            lookahead: Cell::new(lookahead),
            turn: Mutex::new(()),
        }
    }

    /// As `new`, for requests that keep another pace besides, of a higher rate. They leave with the
    /// first place there that is not before theirs here, and so may be late by its distance.
    #[must_use]
    pub fn beside_another(rate: Option<Rate>, lookahead: Duration, another: Option<Rate>) -> Self {
        let distance = another.map_or(Duration::ZERO, Rate::interval);
        Self {
            late: LATE + SLACK.max(distance),
            ..Self::new(rate, lookahead)
        }
    }

    /// Is there no rate to keep?
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.own.is_none() && self.line.get().is_none()
    }

    /// From now on the rate is one that all processes share.
    pub fn share(&self) {
        self.line();
    }

    /// Is it?
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.line.get().is_some()
    }

    fn line(&self) -> &Line {
        let new = || Line::new(self.interval(), self.late);
        self.line.get_or_init(new)
    }

    /// These places on the line that all share are ours.
    pub fn add(&self, first: Instant, interval: Duration, count: u32) {
        self.line().add(first, interval, count);
    }

    /// There are no places on the line that all share before `at`.
    pub fn none_before(&self, at: Instant) {
        self.line().none_before(at);
    }

    /// All places on the line that all share are void.
    pub fn forget(&self) {
        if let Some(line) = self.line.get() {
            line.forget();
        }
    }

    /// So many places on the line that all share are there to be used.
    #[must_use]
    pub fn held(&self) -> usize {
        self.line.get().map_or(0, Line::held)
    }

    /// What to do so that so many requests can leave.
    #[must_use]
    pub fn ask(&self, wanted: usize, now: Instant) -> Ask {
        let line = self.line.get();
        line.map_or(Ask::Nothing, |line| line.ask(wanted, now))
    }

    /// How many places to ask for along with those of another pace, for so many requests: at most as
    /// many as there would be of the other.
    #[must_use]
    pub fn along(&self, other: &Self, wanted: impl FnOnce() -> usize) -> u32 {
        self.line.get().map_or(0, |line| {
            let missing = wanted().saturating_sub(line.held());
            other.line().of_lot(missing)
        })
    }

    /// From now on intents are written down so long before their requests may leave.
    pub fn look_ahead(&self, lookahead: Duration) {
        self.lookahead.set(lookahead);
    }

    /// Lets no request leave before `at`.
    pub fn not_before(&self, at: Instant) {
        if let Some(own) = &self.own {
            own.next.set(own.next.get().max(at));
            own.not_before.set(own.not_before.get().max(Some(at)));
        }
    }

    /// How far a request has to keep its distance from the one before.
    #[must_use]
    pub fn interval(&self) -> Duration {
        let own = self.own.as_ref();
        own.map_or(Duration::ZERO, |own| own.limiter.interval)
    }

    /// When the intent of one more request should be written down, if `waiting` of them already
    /// wait for their turn. `None`: at once.
    #[must_use]
    pub fn intent_at(&self, waiting: usize) -> Option<Instant> {
        let leaves = match (self.line.get(), &self.own) {
            (Some(line), _) => line.expected(waiting),
            (None, Some(own)) => own.expected(waiting),
            (None, None) => return None,
        };
        leaves.checked_sub(self.lookahead.get())
    }

    /// Returns when the intent of one more request should be written down, if so many wait already.
    /// On a line that all share there is a place for it then.
    pub async fn intent(&self, waiting: impl Fn() -> usize) {
        let Some(line) = self.line.get() else {
            while let Some(at) = self.intent_at(waiting()).filter(|at| *at > Instant::now()) {
                sleep_until(at).await;
            }
            return;
        };
        loop {
            let place = line.place(waiting());
            match place.map(|place| place.checked_sub(self.lookahead.get())) {
                Some(at) if at <= Some(Instant::now()) => return,
                at => line.wait(at.flatten()).await,
            }
        }
    }

    /// Waits for this request's turn to leave. Dropped while it waits, it takes nobody's turn. Says
    /// what to put back if it does not leave.
    pub async fn turn(&self) -> Instant {
        match (self.line.get(), &self.own) {
            (Some(line), _) => {
                let _in_order = self.turn.lock().await;
                line.turn().await
            }
            (None, Some(own)) => {
                let _in_order = self.turn.lock().await;
                own.take().await;
                Instant::now()
            }
            (None, None) => Instant::now(),
        }
    }

    /// Waits for a turn of this pace and of another, which more requests keep. Both come at the moment at
    /// which the request may leave: one that was waited for in between would be early for the next.
    /// Says what to put back: here, and at the other.
    pub async fn turn_of_both(&self, other: &Self) -> (Instant, Instant) {
        let _in_order = self.turn.lock().await;
        if let Some(line) = self.line.get() {
            let others = other.line();
            loop {
                line.is_due().await;
                let place = match others.claim() {
                    Ok(place) => place,
                    Err(until) => {
                        others.wait(until).await;
                        continue;
                    }
                };
                sleep_until(place).await;
                match line.take() {
                    Ok(own) => return (own, place),
                    Err(until) => {
                        others.put_back(place);
                        line.wait(until).await;
                    }
                }
            }
        }
        if let Some(own) = &self.own {
            own.is_due().await;
            other.turn().await;
            own.take().await;
        } else {
            other.turn().await;
        }
        (Instant::now(), Instant::now())
    }

    /// The request whose turn came then did not leave after all. The next in line may have the turn
    /// if it takes it within the tolerance; then it is forgotten.
    pub fn put_back(&self, turn: Instant) {
        if let Some(line) = self.line.get() {
            line.put_back(turn);
        } else if let Some(own) = &self.own {
            own.returned_at.set(Some(turn));
            own.returned.notify_one();
        }
    }
}

impl Own {
    fn new(rate: Rate) -> Self {
        let limiter = Limiter::new(rate.interval(), TOLERANCE);
        Self {
            next: Cell::new(limiter.start),
            limiter,
            not_before: Cell::new(None),
            returned_at: Cell::new(None),
            returned: Notify::new(),
        }
    }

    /// When a request behind so many others should leave.
    fn expected(&self, before: usize) -> Instant {
        let before = u32::try_from(before).unwrap_or(u32::MAX);
        self.next.get() + self.limiter.interval.saturating_mul(before)
    }

    /// Waits until a turn is likely to be there at once.
    async fn is_due(&self) {
        let is_put_back = || {
            let returned_at = self.returned_at.get();
            returned_at.is_some_and(|at| at.elapsed() <= TOLERANCE)
        };
        while self.next.get() > Instant::now() && !is_put_back() {
            tokio::select! {
                () = sleep_until(self.next.get()) => {}
                () = self.returned.notified() => {}
            }
        }
    }

    /// Takes a turn; nobody else does meanwhile.
    async fn take(&self) {
        while let Some(at) = self.not_before.get().filter(|at| *at > Instant::now()) {
            sleep_until(at).await;
        }
        loop {
            let returned_at = self.returned_at.take();
            if returned_at.is_some_and(|at| at.elapsed() <= TOLERANCE) {
                return;
            }
            let Err(earliest) = self.limiter.check() else {
                break;
            };
            self.next.set(earliest);
            tokio::select! {
                () = sleep_until(earliest) => {}
                () = self.returned.notified() => {}
            }
        }
        let now = Instant::now();
        // What a late timer lost is made up for.
        let expected = self
            .next
            .get()
            .max(now.checked_sub(TOLERANCE).unwrap_or(now));
        self.next.set(expected.min(now) + self.limiter.interval);
    }
}

fn clamped(n: u128) -> NonZeroU32 {
    u32::try_from(n)
        .ok()
        .and_then(NonZeroU32::new)
        .unwrap_or(if n == 0 {
            NonZeroU32::MIN
        } else {
            NonZeroU32::MAX
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOKAHEAD: Duration = Duration::from_millis(20);
    const SECOND: Duration = Duration::from_secs(1);

    fn pace(requests: u32, per: Duration) -> Pace {
        let requests = NonZeroU32::new(requests).unwrap();
        Pace::new(Some(Rate { requests, per }), LOOKAHEAD)
    }

    async fn departures(pace: &Pace, count: u32) -> Vec<Instant> {
        let mut times = Vec::new();
        for _ in 0..count {
            pace.turn().await;
            times.push(Instant::now());
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn requests_leave_one_interval_apart_at_any_rate() {
        for (requests, per) in [
            (1, 3_600 * SECOND),
            (7, 60 * SECOND),
            (1, SECOND),
            (50, SECOND),
        ] {
            let pace = pace(requests, per);
            let times = departures(&pace, 20).await;
            let interval = per / requests;
            for pair in times.windows(2) {
                let apart = pair[1] - pair[0];
                // The make-up time, and a timer's coarseness.
                let off = TOLERANCE + Duration::from_millis(1);
                assert!(
                    apart + off >= interval,
                    "{apart:?} at {requests} in {per:?}"
                );
                assert!(
                    apart <= interval + off,
                    "{apart:?} at {requests} in {per:?}"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_is_forgotten_and_never_made_up_for() {
        let pace = pace(1_000, SECOND);
        departures(&pace, 100).await;
        sleep_until(Instant::now() + 60 * SECOND).await;
        let times = departures(&pace, 1_100).await;
        let within = times.iter().filter(|at| **at - times[0] < SECOND).count();
        assert!(within <= 1_010, "{within} in a second");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_leaves_before_the_time_it_is_told() {
        let pace = pace(10, SECOND);
        let at = Instant::now() + 5 * SECOND;
        pace.not_before(at);
        assert_eq!(pace.intent_at(0), Some(at - LOOKAHEAD));
        let times = departures(&pace, 2).await;
        assert!(times[0] >= at);
        assert!(times[1] - times[0] >= Duration::from_millis(94));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_turn_can_be_given_up_without_losing_anything() {
        let pace = pace(10, SECOND);
        let at = Instant::now() + 5 * SECOND;
        pace.not_before(at);
        let gave_up = tokio::time::timeout(SECOND, pace.turn()).await;
        assert!(gave_up.is_err());
        let times = departures(&pace, 1).await;
        assert!(times[0] >= at, "what holds it back is still known");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_is_put_back_is_the_next_ones_at_once_or_nobodys() {
        let pace = pace(10, SECOND);
        let first = departures(&pace, 1).await[0];
        let (next, ()) = tokio::join!(departures(&pace, 2), async { pace.put_back(first) });
        assert_eq!(next[0], first);
        assert!(next[1] - first >= Duration::from_millis(90));
        pace.put_back(Instant::now());
        sleep_until(Instant::now() + 2 * TOLERANCE).await;
        let late = departures(&pace, 1).await[0];
        assert!(late - next[1] >= Duration::from_millis(90));
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_two_paces_keeps_both_however_long_the_line_is() {
        let (all, few) = (pace(93, SECOND), pace(19, 10 * SECOND));
        // A crowd that is there at first, and then no more.
        let crowd = futures::future::join_all((0..9).map(|_| departures(&all, 1)));
        let calls = async {
            let mut times = Vec::new();
            for _ in 0..40 {
                few.turn_of_both(&all).await;
                times.push(Instant::now());
            }
            times
        };
        let (_, times) = tokio::join!(crowd, calls);
        let second = |at: &Instant| {
            times
                .iter()
                .filter(|t| *t >= at && **t - *at < SECOND)
                .count()
        };
        assert_eq!(times.iter().map(second).max(), Some(2));
        let took = times[39] - times[0];
        assert!(took < 21 * SECOND, "the rate is used: {took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let pace = Pace::new(None, LOOKAHEAD);
        let start = Instant::now();
        departures(&pace, 10_000).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(pace.intent_at(3), None);
    }
}
