//! What the user's limits allow right now: hours, OTPs of a day, money, and what binds calls
//! besides. Hours and days follow the wall clock, read anew each time; all rates stay on the
//! monotonic one.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::time::Duration;

use tokio::time::Instant;

use super::progress::Why;
use super::watch::Gate;
use crate::calendar::Calendar;
use crate::job::{Lane, UnixMicros};
use crate::ledger::Elsewhere;
use crate::mistake::{Mistake, is_made};
use crate::money::{Amount, Prices};
use crate::pace::Rate;

/// What waits for a time of day looks at the wall clock this often: it may be set, and a machine
/// that sleeps does not count.
pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// A clock that was set by less than this is not worth a note.
const MOVED_MIN: Duration = Duration::from_secs(2);

/// Limits that a user may set; by default there are none.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    /// Hours, and OTPs of a day.
    pub calendar: Calendar,
    /// Requests that calls make in a period of time; they count for the common rate, too.
    pub call_rate: Option<Rate>,
    /// Calls in flight at once.
    pub call_concurrency: Option<NonZeroUsize>,
    /// Start nothing before this time of the wall clock.
    pub start_at: Option<UnixMicros>,
    /// Start no new numbers after this time of the wall clock.
    pub deadline: Option<UnixMicros>,
    /// What requests cost.
    pub prices: Prices,
    /// What they may cost together, over all runs of the campaign.
    pub budget: Option<Amount>,
}

impl Limits {
    /// Does anything depend on the wall clock?
    #[must_use]
    pub fn follow_the_wall(&self) -> bool {
        self.calendar.is_bound() || self.start_at.or(self.deadline).is_some()
    }
}

type PerLane<T> = [T; Lane::ALL.len()];

/// Where others work, too, their requests are counted again this often: those who have no cap do not
/// say so by themselves.
const COUNT_AGAIN: Duration = Duration::from_mins(1);

/// What may still be done in a run.
pub struct Allowance<'a> {
    limits: &'a Limits,
    wall: &'a dyn Fn() -> UnixMicros,
    /// Requests that have a place in flight.
    taken: PerLane<Cell<u64>>,
    /// Of those, how many are not known to have left: each may use up a part of a cap and of the
    /// budget.
    open: PerLane<Cell<u64>>,
    /// OTPs that left, by the day's first moment: of a day that is not there nothing is known.
    days: RefCell<BTreeMap<i64, Left>>,
    spent: Cell<Amount>,
    /// By earlier runs, and by others in this one.
    spent_elsewhere: Cell<Amount>,
    /// When others are to be counted again, where there are some.
    count_again: Cell<Option<Instant>>,
    /// How far the wall clock was ahead of the run's when that was last noted, in microseconds.
    ahead: Cell<i64>,
    /// Until when each lane has been told to wait.
    waits: PerLane<Cell<Option<UnixMicros>>>,
}

/// How many left on a day.
#[derive(Clone, Copy, Default)]
struct Left {
    /// In this run.
    here: PerLane<u64>,
    /// In others, once that was read.
    elsewhere: Option<PerLane<u64>>,
}

impl<'a> Allowance<'a> {
    /// `billed` requests were made for the campaign before.
    pub fn new(
        limits: &'a Limits,
        billed: &PerLane<u64>,
        wall: &'a dyn Fn() -> UnixMicros,
    ) -> Self {
        Self {
            limits,
            wall,
            taken: Default::default(),
            open: Default::default(),
            days: RefCell::default(),
            spent: Cell::default(),
            spent_elsewhere: Cell::new(limits.prices.total(billed).unwrap_or_default()),
            count_again: Cell::default(),
            ahead: Cell::new(0),
            waits: Default::default(),
        }
    }

    /// When to look at the wall clock again, if anything depends on it.
    pub fn look_again(&self, now: Instant) -> Option<Instant> {
        self.limits.follow_the_wall().then(|| now + LOOK_AGAIN)
    }

    /// Has `--deadline` passed?
    pub fn is_late(&self) -> bool {
        let late = self.limits.deadline.is_some_and(|at| at <= (self.wall)());
        late && !is_made(Mistake::DeadlineIgnored)
    }

    /// How long it is until `--start-at`.
    pub fn until_start(&self) -> Duration {
        let start = self.limits.start_at.map(|at| at.since((self.wall)()));
        start.unwrap_or_default()
    }

    /// The day whose requests in other runs have to be counted before anything may go on.
    pub fn wants(&self) -> Option<Range<UnixMicros>> {
        if !self.limits.calendar.has_caps() {
            return None;
        }
        let day = self.limits.calendar.day((self.wall)());
        let days = self.days.borrow();
        let known = days.get(&day.start.0).and_then(|left| left.elsewhere);
        let again = self.count_again.get();
        (known.is_none() || again.is_some_and(|at| at <= Instant::now())).then_some(day)
    }

    /// Others who work on the run, too, have come to this.
    pub fn told(&self, elsewhere: &Elsewhere) {
        let billed = self.limits.prices.total(&elsewhere.billed);
        self.spent_elsewhere.set(billed.unwrap_or_default());
        if let Some((start, left)) = elsewhere.day {
            let mut days = self.days.borrow_mut();
            days.entry(start.0).or_default().elsewhere = Some(left);
            let again = Instant::now() + COUNT_AGAIN;
            self.count_again.set(self.count_again.get().or(Some(again)));
        }
    }

    fn spent(&self) -> Amount {
        self.spent.get() + self.spent_elsewhere.get()
    }

    /// So many left on this day in other runs.
    pub fn counted(&self, day: &Range<UnixMicros>, elsewhere: PerLane<u64>) {
        let mut days = self.days.borrow_mut();
        days.entry(day.start.0).or_default().elsewhere = Some(elsewhere);
        self.count_again.set(None);
    }

    /// May a request of this lane have a place in flight?
    pub fn gate(&self, lane: Lane, now: Instant) -> Gate {
        let taken = self.taken[lane.index()].get();
        let most = self.limits.call_concurrency.filter(|_| lane == Lane::Call);
        let most = most.filter(|_| !is_made(Mistake::CallPlacesIgnored));
        let wall = (self.wall)();
        let gate = match self.opens(lane, wall) {
            Some((at, why)) => Gate::Until(now + at.since(wall), why),
            None if most.is_some_and(|most| taken >= most.get() as u64) => Gate::Shut,
            None => match self.left_today(lane, wall) {
                Some(0) => self.capped(lane, now, wall),
                _ => self.affordable(lane),
            },
        };
        let waits = match gate {
            Gate::Until(_, Why::Window(_, at) | Why::DailyCap(_, at) | Why::StartAt(at)) => {
                Some(at)
            }
            _ => None,
        };
        let before = self.waits[lane.index()].replace(waits);
        if let (Gate::Until(_, why), Some(at)) = (gate, waits.filter(|_| before != waits)) {
            let until = self.limits.calendar.shown(at, wall);
            tracing::warn!(
                name: "closed",
                lane = lane.name(),
                "{} until {until}",
                why.in_words()
            );
        }
        gate
    }

    /// When hours let a request leave, if not now, and why not before.
    fn opens(&self, lane: Lane, wall: UnixMicros) -> Option<(UnixMicros, Why)> {
        if is_made(Mistake::HoursIgnored) {
            return None;
        }
        let start = self.limits.start_at.filter(|at| *at > wall);
        if let Some(at) = start.filter(|_| !is_made(Mistake::StartIgnored)) {
            return Some((at, Why::StartAt(at)));
        }
        let bound = if is_made(Mistake::CallHoursIgnored) {
            Lane::Sms
        } else {
            lane
        };
        let at = self.limits.calendar.opens(bound, wall);
        (at > wall).then_some((at, Why::Window(lane, at)))
    }

    /// How many requests of this lane may leave today, those with a place taken off; `None`: any
    /// number.
    fn left_today(&self, lane: Lane, wall: UnixMicros) -> Option<u64> {
        let open = self.open.each_ref().map(Cell::get);
        self.left_after(lane, wall, &open)
    }

    fn left_after(&self, lane: Lane, wall: UnixMicros, besides: &PerLane<u64>) -> Option<u64> {
        let calendar = &self.limits.calendar;
        if !calendar.has_caps() || is_made(Mistake::CapsIgnored) {
            return None;
        }
        let day = calendar.day(wall);
        let left = self.days.borrow().get(&day.start.0).copied();
        let left = left.unwrap_or_default();
        // Until the others are counted, none.
        let elsewhere = left.elsewhere.unwrap_or([u64::MAX / 4; Lane::ALL.len()]);
        let sum = |lane: Lane| {
            let at = lane.index();
            left.here[at] + elsewhere[at] + besides[at]
        };
        let bound = match lane {
            Lane::Call if is_made(Mistake::CallCapIgnored) => Lane::Sms,
            lane => lane,
        };
        calendar.left_today(bound, &Lane::ALL.map(sum))
    }

    /// The day's cap is reached, by what has left or by what is under way.
    fn capped(&self, lane: Lane, now: Instant, wall: UnixMicros) -> Gate {
        let none = PerLane::default();
        if self.wants().is_some() || self.left_after(lane, wall, &none) > Some(0) {
            return Gate::Shut;
        }
        let at = self.limits.calendar.day(wall).end;
        // What is shut tomorrow morning, too, waits on then.
        Gate::Until(now + at.since(wall), Why::DailyCap(lane, at))
    }

    /// Is there money for one more?
    fn affordable(&self, lane: Lane) -> Gate {
        let Some((budget, price)) = self.limits.budget.zip(self.limits.prices.of(lane)) else {
            return Gate::Open;
        };
        if is_made(Mistake::BudgetIgnored) {
            return Gate::Open;
        }
        let open = self.open.each_ref().map(Cell::get);
        let under_way = self.limits.prices.total(&open).unwrap_or_default();
        match self.spent() + price {
            least if least > budget => Gate::Over,
            least if least + under_way > budget => Gate::Shut,
            _ => Gate::Open,
        }
    }

    /// Does the lane wait for a time of day?
    pub fn is_waiting(&self, lane: Lane) -> bool {
        self.waits[lane.index()].get().is_some()
    }

    /// May a request with its place leave this very moment? A window may have closed, and another
    /// day have begun.
    pub fn may_leave(&self, lane: Lane) -> bool {
        if !self.limits.follow_the_wall() {
            return true;
        }
        let wall = (self.wall)();
        if self.opens(lane, wall).is_some() {
            return false;
        }
        // Its own place is one of them.
        let mut others = self.open.each_ref().map(Cell::get);
        others[lane.index()] = others[lane.index()].saturating_sub(1);
        self.left_after(lane, wall, &others) != Some(0)
    }

    /// A request of this lane has a place.
    pub fn granted(&self, lane: Lane) {
        add(&self.taken[lane.index()], 1);
        add(&self.open[lane.index()], 1);
    }

    /// It has none any more; `has_left` was told before if it left.
    pub fn released(&self, lane: Lane, has_left: bool) {
        add(&self.taken[lane.index()], -1);
        if !has_left {
            add(&self.open[lane.index()], -1);
        }
    }

    /// It left when a clock on the wall showed this.
    pub fn has_left(&self, lane: Lane, wall: UnixMicros) {
        add(&self.open[lane.index()], -1);
        if self.limits.calendar.has_caps() {
            let day = self.limits.calendar.day(wall);
            let mut days = self.days.borrow_mut();
            days.entry(day.start.0).or_default().here[lane.index()] += 1;
        }
    }

    /// A request of this lane is billed, or may be.
    pub fn is_billed(&self, lane: Lane) {
        let price = self.limits.prices.of(lane).unwrap_or_default();
        self.spent.set(self.spent.get() + price);
    }

    /// What a clock on the wall shows.
    pub fn wall(&self) -> UnixMicros {
        (self.wall)()
    }

    /// How far the wall clock is ahead of the run's time, in microseconds, if that has changed.
    pub fn moved(&self, at: UnixMicros) -> Option<i64> {
        let ahead = (self.wall)().0 - at.0;
        let changed = Duration::from_micros(ahead.abs_diff(self.ahead.get()));
        let moved = changed >= MOVED_MIN;
        moved.then(|| {
            self.ahead.set(ahead);
            ahead
        })
    }

    /// How the budget was used.
    pub fn budget_in_words(&self) -> String {
        let budget = self.limits.budget.unwrap_or_default();
        format!(
            "the next request would cost more than --budget ({budget}) leaves: {} is spent; raise it and run the same command again to go on",
            self.spent()
        )
    }
}

fn add(count: &Cell<u64>, more: i64) {
    count.set(count.get().saturating_add_signed(more));
}
