//! The rate: who leaves when. Governor's GCRA on tokio's clock, so that tests pause time.
//!
//! Departures are granted one by one in the order of asking, so waiting costs one timer, not one a
//! waiter. What a late timer loses is made up for within [`TOLERANCE`], and no more: a longer stall
//! is forgotten, so that no second ever sees a burst. In any second at most the rate and what fits
//! into the tolerance leave: +0.5 %, or one request.

use std::cell::Cell;
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

/// How much time a late departure may make up for.
const TOLERANCE: Duration = Duration::from_millis(5);

/// An intent is written down this long before its request may leave: enough for a commit that is
/// slow, short enough that a crash finds few intents whose requests had not left.
const LOOKAHEAD: Duration = Duration::from_millis(20);

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

type Limiter = RateLimiter<NotKeyed, InMemoryState, SinceStart, NoOpMiddleware<Duration>>;

/// Lets requests leave one by one, never above a rate.
pub struct Pace {
    limit: Option<Limit>,
}

struct Limit {
    limiter: Limiter,
    start: Instant,
    /// Governor counts whole cells; a request at a slow rate is several, so that the tolerance is
    /// a matter of milliseconds at any rate.
    cells: NonZeroU32,
    interval: Duration,
    turn: Mutex<()>,
    /// When the next departure is expected.
    next: Cell<Instant>,
    not_before: Cell<Option<Instant>>,
    /// When a turn was put back that nobody has taken since.
    returned_at: Cell<Option<Instant>>,
    returned: Notify,
}

impl Pace {
    /// A pace of `rate` (`None`: unlimited).
    #[must_use]
    pub fn new(rate: Option<Rate>) -> Self {
        Self {
            limit: rate.map(Limit::new),
        }
    }

    /// Is there no rate to keep?
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        self.limit.is_none()
    }

    /// Lets no request leave before `at`.
    pub fn not_before(&self, at: Instant) {
        if let Some(limit) = &self.limit {
            limit.next.set(limit.next.get().max(at));
            limit.not_before.set(limit.not_before.get().max(Some(at)));
        }
    }

    /// How far a request has to keep its distance from the one before.
    #[must_use]
    pub fn interval(&self) -> Duration {
        self.limit.as_ref().map_or(Duration::ZERO, |l| l.interval)
    }

    /// When the intent of one more request should be written down, if `waiting` of them already
    /// wait for their turn. `None`: at once.
    #[must_use]
    pub fn intent_at(&self, waiting: usize) -> Option<Instant> {
        let limit = self.limit.as_ref()?;
        let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
        let leaves = limit.next.get() + limit.interval.saturating_mul(waiting);
        leaves.checked_sub(LOOKAHEAD)
    }

    /// Waits for this request's turn to leave. Dropped while it waits, it takes nobody's turn.
    pub async fn turn(&self) {
        if let Some(limit) = &self.limit {
            limit.turn().await;
        }
    }

    /// Waits for a turn of this pace and of another, which more requests keep. Both come at the moment at
    /// which the request may leave: one that was waited for in between would be early for the next.
    pub async fn turn_of_both(&self, other: &Self) {
        let Some(limit) = &self.limit else {
            return other.turn().await;
        };
        let _in_order = limit.turn.lock().await;
        limit.is_due().await;
        other.turn().await;
        limit.take().await;
    }

    /// The request whose turn came then did not leave after all. The next in line may have the turn
    /// if it takes it within the tolerance; then it is forgotten.
    pub fn put_back(&self, turn: Instant) {
        if let Some(limit) = &self.limit {
            limit.returned_at.set(Some(turn));
            limit.returned.notify_one();
        }
    }
}

impl Limit {
    fn new(rate: Rate) -> Self {
        let interval = rate.interval().max(Duration::from_nanos(1));
        let cells = clamped(interval.as_nanos().div_ceil(TOLERANCE.as_nanos()));
        let cell = (interval / cells.get()).max(Duration::from_nanos(1));
        let tolerance = if is_made(Mistake::PauseMadeUp) {
            TOLERANCE * 100
        } else {
            TOLERANCE
        };
        let spare = clamped(tolerance.as_nanos() / cell.as_nanos());
        // With the tolerance used up, exactly one request may leave.
        let burst = cells.saturating_add(spare.get());
        // `cell` is at least a nanosecond, so there is such a quota.
        let quota = Quota::with_period(cell)
            .unwrap_or(Quota::per_second(NonZeroU32::MIN))
            .allow_burst(burst);
        let start = Instant::now();
        let limiter = RateLimiter::direct_with_clock(quota, SinceStart(start));
        // No burst at the start either: an earlier run may have ended just now.
        let _ = limiter.check_n(spare);
        Self {
            limiter,
            start,
            cells,
            interval,
            turn: Mutex::new(()),
            next: Cell::new(start),
            not_before: Cell::new(None),
            returned_at: Cell::new(None),
            returned: Notify::new(),
        }
    }

    async fn turn(&self) {
        let _in_order = self.turn.lock().await;
        self.take().await;
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
            match self.limiter.check_n(self.cells) {
                Ok(Ok(())) => break,
                Ok(Err(not_until)) => {
                    let earliest = self.start + not_until.earliest_possible();
                    self.next.set(earliest);
                    tokio::select! {
                        () = sleep_until(earliest) => {}
                        () = self.returned.notified() => {}
                    }
                }
                // More cells than the burst holds: ruled out by `new`.
                Err(_) => sleep_until(Instant::now() + self.interval).await,
            }
        }
        let now = Instant::now();
        // What a late timer lost is made up for.
        let expected = self
            .next
            .get()
            .max(now.checked_sub(TOLERANCE).unwrap_or(now));
        self.next.set(expected.min(now) + self.interval);
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

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(requests: u32, per: Duration) -> Pace {
        let requests = NonZeroU32::new(requests).unwrap();
        Pace::new(Some(Rate { requests, per }))
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
        let pace = Pace::new(None);
        let start = Instant::now();
        departures(&pace, 10_000).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(pace.intent_at(3), None);
    }
}
