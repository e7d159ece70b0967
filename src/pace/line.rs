//! Places on a line of time that all processes share: who leaves at its place keeps the rate,
//! whoever else is there.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::Limiter;

/// How late a request may leave at its place. Behind that the place is nobody's: so many more than the
/// rate can leave in any second, over all processes together.
pub(super) const LATE: Duration = Duration::from_millis(10);

/// Places for so much time are asked for at once.
const LOT: Duration = Duration::from_millis(100);

/// They are there so long before they are needed, besides: a round trip to the ledger.
const ROUND_TRIP: Duration = Duration::from_millis(20);

/// Without a distance there are any number of places.
const SHORTEST: Duration = Duration::from_nanos(1);

/// What to do so that there are enough places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Ask for so many.
    For(u32),
    /// Look again then.
    At(Instant),
    /// There are enough.
    Nothing,
}

/// The places that this process may use.
pub(super) struct Line {
    lots: RefCell<VecDeque<Lot>>,
    /// A place that was taken and given back.
    returned: Cell<Option<Instant>>,
    /// Where the line goes on, if nobody else asks.
    end: Cell<Instant>,
    /// Before this there are none to be had.
    not_before: Cell<Instant>,
    late: Duration,
    interval: Cell<Duration>,
    /// Lets no more leave than the whole rate, whatever the places say.
    guard: RefCell<Limiter>,
    changed: Notify,
}

/// Places that were reserved together.
struct Lot {
    next: Instant,
    interval: Duration,
    left: u32,
}

impl Lot {
    fn place(&self, n: u32) -> Instant {
        self.next + self.interval.saturating_mul(n)
    }

    fn drop_first(&mut self, count: u32) {
        self.next = self.place(count);
        self.left = self.left.saturating_sub(count);
    }

    /// How many of the first stand before this.
    fn before(&self, at: Instant) -> u32 {
        let time = at.saturating_duration_since(self.next).as_nanos();
        let count = time.div_ceil(self.interval.as_nanos());
        u32::try_from(count).unwrap_or(u32::MAX).min(self.left)
    }
}

impl Line {
    /// No places yet. Who is later than `late` at one has lost it.
    pub fn new(interval: Duration, late: Duration) -> Self {
        let now = Instant::now();
        Self {
            lots: RefCell::default(),
            returned: Cell::new(None),
            end: Cell::new(now),
            not_before: Cell::new(now),
            late,
            interval: Cell::new(interval.max(SHORTEST)),
            guard: RefCell::new(Limiter::new(interval, late)),
            changed: Notify::new(),
        }
    }

    /// These places are ours. The rate may have become another one.
    pub fn add(&self, first: Instant, interval: Duration, count: u32) {
        let interval = interval.max(SHORTEST);
        if self.interval.replace(interval) != interval {
            self.guard.replace(Limiter::new(interval, self.late));
        }
        let lot = Lot {
            next: first,
            interval,
            left: count,
        };
        self.end.set(lot.place(count));
        if count > 0 {
            self.lots.borrow_mut().push_back(lot);
        }
        self.changed.notify_waiters();
    }

    /// There are no more before this.
    pub fn none_before(&self, at: Instant) {
        self.not_before.set(at);
    }

    /// All places are void.
    pub fn forget(&self) {
        self.lots.borrow_mut().clear();
        self.returned.set(None);
    }

    /// The place was not used after all.
    pub fn put_back(&self, place: Instant) {
        self.returned.set(Some(place));
        self.changed.notify_waiters();
    }

    /// Places that can still be used.
    pub fn held(&self) -> usize {
        self.drop_late();
        let returned = usize::from(self.returned.get().is_some());
        let lots = self.lots.borrow();
        returned + lots.iter().map(|lot| lot.left as usize).sum::<usize>()
    }

    /// The place of the request behind so many others.
    pub fn place(&self, before: usize) -> Option<Instant> {
        self.drop_late();
        let mut before = u32::try_from(before).ok()?;
        if let Some(returned) = self.returned.get() {
            let Some(others) = before.checked_sub(1) else {
                return Some(returned);
            };
            before = others;
        }
        for lot in &*self.lots.borrow() {
            match before.checked_sub(lot.left) {
                Some(others) => before = others,
                None => return Some(lot.place(before)),
            }
        }
        None
    }

    /// Its place, or when that might be if all goes to this process.
    pub fn expected(&self, before: usize) -> Instant {
        self.place(before).unwrap_or_else(|| {
            let more = u32::try_from(before - self.held()).unwrap_or(u32::MAX);
            let next = self.end.get().max(self.not_before.get());
            next.max(Instant::now()) + self.interval.get().saturating_mul(more)
        })
    }

    /// What to do so that there are places for so many requests.
    pub fn ask(&self, wanted: usize, now: Instant) -> Ask {
        let missing = wanted.saturating_sub(self.held());
        if missing == 0 {
            // Those who are there may come too late for a place.
            let next = self.place(0).filter(|_| wanted > 0);
            return next.map_or(Ask::Nothing, |next| Ask::At(next + self.late + SHORTEST));
        }
        let last = self.lots.borrow().back().map(|lot| lot.place(lot.left - 1));
        let short = last.and_then(|last| last.checked_sub(LOT + ROUND_TRIP));
        let at = short.unwrap_or(now).max(self.not_before.get());
        if at > now {
            return Ask::At(at);
        }
        Ask::For(self.of_lot(missing))
    }

    /// So many of those that are missing are asked for at once.
    pub fn of_lot(&self, missing: usize) -> u32 {
        let lot = LOT.as_nanos().div_ceil(self.interval.get().as_nanos());
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        u32::try_from(lot).unwrap_or(u32::MAX).max(1).min(missing)
    }

    /// Waits for the next place and takes it.
    pub async fn turn(&self) -> Instant {
        loop {
            match self.take() {
                Ok(place) => return place,
                Err(until) => self.wait(until).await,
            }
        }
    }

    /// Waits until the time of the next place has come.
    pub async fn is_due(&self) {
        loop {
            match self.place(0) {
                Some(place) if place <= Instant::now() => return,
                next => self.wait(next).await,
            }
        }
    }

    /// Takes a place whose time has come; or says when to look again, if it is known.
    pub fn take(&self) -> Result<Instant, Option<Instant>> {
        let place = self.place(0).ok_or(None)?;
        if place > Instant::now() {
            return Err(Some(place));
        }
        self.takes(place)
    }

    /// Takes the next place for a request that has no other, ahead of those who wait for any: though
    /// its time has not come, if no place lies between. Or says when to look again, if it is known.
    pub fn claim(&self) -> Result<Instant, Option<Instant>> {
        let place = self.place(0).ok_or(None)?;
        let near = place.checked_sub(self.interval.get());
        if near > Some(Instant::now()) {
            return Err(near);
        }
        self.takes(place)
    }

    /// Takes the next place, which is this one.
    fn takes(&self, place: Instant) -> Result<Instant, Option<Instant>> {
        if self.returned.take().is_some() {
            return Ok(place);
        }
        self.guard.borrow().check().map_err(Some)?;
        if let Some(lot) = self.lots.borrow_mut().front_mut() {
            lot.drop_first(1);
        }
        Ok(place)
    }

    /// Waits until something has changed, or until then.
    pub async fn wait(&self, until: Option<Instant>) {
        let changed = self.changed.notified();
        match until {
            None => changed.await,
            Some(at) => tokio::select! {
                () = sleep_until(at) => {}
                () = changed => {}
            },
        }
    }

    /// Forgets what nobody may use any more.
    fn drop_late(&self) {
        let now = Instant::now();
        let Some(oldest) = now.checked_sub(self.late) else {
            return;
        };
        self.returned
            .set(self.returned.get().filter(|at| *at >= oldest));
        let mut lots = self.lots.borrow_mut();
        while let Some(lot) = lots.front_mut() {
            lot.drop_first(lot.before(oldest));
            if lot.left > 0 {
                break;
            }
            lots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use futures::future::join_all;
    use tokio::time::{advance, sleep, timeout};

    use super::*;
    use crate::pace::{Pace, Rate};

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);
    const LOOKAHEAD: Duration = Duration::from_millis(20);

    fn pace(requests: u32) -> Pace {
        let requests = NonZeroU32::new(requests).unwrap();
        let per = SECOND;
        let pace = Pace::new(Some(Rate { requests, per }), LOOKAHEAD);
        pace.share();
        pace
    }

    /// The line of time on which all are handed their places.
    struct Common {
        end: Cell<Instant>,
        interval: Duration,
    }

    impl Common {
        fn new(requests: u32) -> Self {
            Self {
                end: Cell::new(Instant::now()),
                interval: SECOND / requests,
            }
        }

        /// As many as there are to be had, after a round trip.
        async fn reserve(&self, pace: &Pace, count: u32) {
            let (lead, horizon) = (30 * MS, 360 * MS);
            sleep(4 * MS).await;
            let now = Instant::now();
            if self.end.get() >= now + horizon {
                pace.none_before(self.end.get() - horizon);
            } else {
                let first = self.end.get().max(now + lead);
                self.end.set(first + self.interval * count);
                pace.add(first, self.interval, count);
            }
            sleep(4 * MS).await;
        }
    }

    /// A worker that always has something to send; when it did.
    async fn work(pace: &Pace, common: &Common, left: &RefCell<Vec<Instant>>) {
        let reserve = async {
            loop {
                match pace.ask(usize::MAX, Instant::now()) {
                    Ask::For(count) => common.reserve(pace, count).await,
                    Ask::At(at) => sleep_until(at).await,
                    Ask::Nothing => sleep(MS).await,
                }
            }
        };
        let send = async {
            loop {
                pace.turn().await;
                left.borrow_mut().push(Instant::now());
            }
        };
        tokio::join!(reserve, send);
    }

    /// The most in any second.
    fn most(times: &[Instant]) -> usize {
        let mut first = 0;
        let in_second = times.iter().enumerate().map(|(n, at)| {
            while *at - times[first] >= SECOND {
                first += 1;
            }
            n - first + 1
        });
        in_second.max().unwrap_or(0)
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_share_a_line_the_rate_is_kept_and_used() {
        for rate in [10, 200, 3_000] {
            let (start, sent) = (Instant::now(), RefCell::default());
            let common = Common::new(rate);
            // Some join later, some leave earlier, and one works in fits and starts.
            let spans = [(0, 30), (0, 11), (7, 13), (12, 30)];
            let workers = spans.map(|(from, to)| {
                let (common, sent) = (&common, &sent);
                async move {
                    sleep(SECOND * from).await;
                    let pace = pace(rate);
                    let _ = timeout(SECOND * (to - from), work(&pace, common, sent)).await;
                }
            });
            let stalls = async {
                for n in 0..30 {
                    sleep(900 * MS).await;
                    advance(MS * (n * 3)).await;
                }
            };
            tokio::join!(join_all(workers), stalls);
            let times = sent.take();
            let rate = rate as usize;
            assert!(most(&times) <= rate + 1.max(rate / 100), "{}", most(&times));
            assert!(times.is_sorted());
            // 30 seconds, of which 1.3 in all were stalls.
            let took = (times[times.len() - 1] - start).as_millis();
            let share = 100_000 * times.len() as u128 / (rate as u128 * took);
            assert!(share > 92, "{share} % at {rate}/s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_late_has_lost_the_place_and_those_behind_are_kept() {
        let (pace, start) = (pace(20), Instant::now());
        pace.add(start, 50 * MS, 4);
        advance(LATE).await;
        assert_eq!(pace.turn().await, start, "not yet late");
        advance(51 * MS).await;
        assert_eq!(pace.held(), 2, "the second is lost");
        assert_eq!(pace.turn().await, start + 100 * MS);
        assert_eq!(start.elapsed(), 100 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_put_back_is_the_next_ones_or_nobodys() {
        let (pace, start) = (pace(20), Instant::now());
        pace.add(start, 50 * MS, 4);
        let first = pace.turn().await;
        advance(9 * MS).await;
        pace.put_back(first);
        assert_eq!((pace.held(), pace.turn().await), (4, start));
        pace.put_back(start);
        advance(2 * MS).await;
        assert_eq!((pace.held(), pace.turn().await), (3, start + 50 * MS));
        pace.forget();
        let none = timeout(SECOND, pace.turn()).await;
        assert!(none.is_err(), "all are void");
    }

    #[tokio::test(start_paused = true)]
    async fn more_is_asked_for_in_time_but_no_more_than_is_wanted() {
        let (pace, start) = (pace(100), Instant::now());
        assert_eq!(pace.ask(0, start), Ask::Nothing);
        assert_eq!(pace.ask(3, start), Ask::For(3));
        assert_eq!(pace.ask(1_000, start), Ask::For(10));
        pace.none_before(start + 70 * MS);
        assert_eq!(pace.ask(1, start), Ask::At(start + 70 * MS));
        pace.none_before(start);
        pace.add(start + 30 * MS, 10 * MS, 20);
        // None is left when all were late for the first of them.
        let lost = start + 30 * MS + LATE + SHORTEST;
        assert_eq!(pace.ask(20, start), Ask::At(lost));
        assert_eq!(pace.ask(25, start), Ask::At(start + 100 * MS));
        assert_eq!(pace.ask(25, start + 100 * MS), Ask::For(5));
        // The rate was changed meanwhile.
        pace.add(start + 230 * MS, 2 * MS, 10);
        assert_eq!(pace.ask(usize::MAX, start + SECOND), Ask::For(50));
    }

    #[tokio::test(start_paused = true)]
    async fn an_intent_is_for_a_place_that_is_there() {
        let (pace, start) = (pace(10), Instant::now());
        let none = timeout(SECOND, pace.intent(|| 0)).await;
        assert!(none.is_err(), "there is no place");
        pace.add(start + 2 * SECOND, 5 * MS, 2);
        pace.intent(|| 1).await;
        assert_eq!(start.elapsed(), 1_985 * MS);
        for place in [2_000 * MS, 2_005 * MS] {
            assert_eq!(pace.turn().await, start + place);
        }
        pace.look_ahead(60 * MS);
        let give = async {
            sleep(10 * MS).await;
            pace.add(start + 5 * SECOND, 100 * MS, 1);
        };
        tokio::join!(pace.intent(|| 0), give);
        assert_eq!(start.elapsed(), 4_940 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_is_never_had_above_the_whole_rate() {
        let (pace, start) = (pace(10), Instant::now());
        // A line that is out of order.
        pace.add(start, 100 * MS, 50);
        pace.add(start, 100 * MS, 50);
        let mut times = Vec::new();
        let send = async {
            loop {
                pace.turn().await;
                times.push(Instant::now());
            }
        };
        let _ = timeout(10 * SECOND, send).await;
        assert!(most(&times) <= 11, "{}", most(&times));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_leaves_with_the_first_common_place_behind_its_own() {
        let (all, start) = (pace(10), Instant::now());
        let requests = NonZeroU32::new(1).unwrap();
        let per = SECOND;
        let of_all = NonZeroU32::new(10).map(|requests| Rate { requests, per });
        let calls = Pace::beside_another(Some(Rate { requests, per }), LOOKAHEAD, of_all);
        calls.share();
        calls.add(start + 230 * MS, SECOND, 1);
        all.add(start, 100 * MS, 4);
        let (call, common) = calls.turn_of_both(&all).await;
        assert_eq!((call, common), (start + 230 * MS, start + 300 * MS));
        // Those who wait for any place let it go first.
        let second = start + 2 * SECOND;
        calls.add(second - 50 * MS, SECOND, 1);
        all.add(second, 100 * MS, 3);
        let (call, any) = tokio::join!(calls.turn_of_both(&all), async {
            [all.turn().await, all.turn().await]
        });
        let others = [second + 100 * MS, second + 200 * MS];
        assert_eq!((call, any), ((second - 50 * MS, second), others));
        // There is none of all for long: its own place is lost, the one behind is not.
        calls.add(start + 4 * SECOND, SECOND, 2);
        all.add(start + 5_050 * MS, 100 * MS, 1);
        let (call, common) = calls.turn_of_both(&all).await;
        assert_eq!((call, common), (start + 5 * SECOND, start + 5_050 * MS));
    }
}
