//! The rates: slots of the common one and that of calls, from the ledger to the paces.

use std::time::Duration;

use tokio::time::Instant;

use super::slots::Paces;
use super::{EarlierHolds, Engine};
use crate::gateway::Gateway;
use crate::job::{Lane, UnixMicros};
use crate::ledger::{self, Grant, Ledger, Wanted};
use crate::mistake::{Mistake, is_made};
use crate::pace::{Ask, Pace};
use crate::run::StopKind;

/// A `Retry-After` of an earlier run holds a lane back for at most this long.
const HOLD_MAX: Duration = Duration::from_hours(24);

/// The first request of a run keeps at least this distance, or that of the rate if that is less,
/// from the run's start: whatever clocks say, no second then holds more than the rate.
const DISTANCE: Duration = Duration::from_secs(1);

/// A clock on the wall that goes forward by more than this while the machine's own does not says that
/// the machine slept.
const SLEPT: Duration = Duration::from_secs(1);

/// Slots of the common rate are asked for in batches of this much time.
const BATCH: Duration = Duration::from_millis(100);

impl<L: Ledger, G: Gateway> Engine<'_, L, G> {
    /// The first slots of the common rate, and what holds the lanes back from before.
    pub(super) async fn reserve_first(&self) {
        let Some(grant) = self.reserve(self.batch()).await else {
            return;
        };
        if self.settings.earlier_holds == EarlierHolds::Ignore {
            return;
        }
        let latest = self.clock.now() + HOLD_MAX;
        for lane in Lane::ALL {
            if let Some(at) = grant.holds[lane.index()].filter(|at| *at > self.clock.now()) {
                self.watch.hold(lane, self.held(lane, at.min(latest)));
            }
        }
    }

    /// Sees to it that there is a slot of a rate that is this process's own.
    pub(super) async fn reserve_own(&self) {
        if self.pace.common.is_shared() {
            return;
        }
        if self.reserved.get() == 0 {
            self.reserve(self.batch()).await;
        }
        self.reserved.set(self.reserved.get().saturating_sub(1));
    }

    /// How many slots of a rate of its own to ask for at once.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and a batch of it is small"
    )]
    fn batch(&self) -> Wanted {
        let batch = self.settings.rate.map_or(1, |rate| {
            (rate.per_second() * BATCH.as_secs_f64()).ceil() as u32
        });
        Wanted {
            slots: batch.max(1),
            calls: 0,
        }
    }

    /// What to reserve of rates that all processes share, and when to look again.
    pub(super) fn wants_slots(&self, now: Instant) -> (Option<Wanted>, Option<Instant>) {
        let Paces { common, calls } = self.pace;
        if !common.is_shared() || self.has_ended() || self.reserving.get() {
            return (None, None);
        }
        self.pace.look_ahead(self.context.ledger.lookahead());
        // What is wanted is counted only when it matters.
        let ask = |pace: &Pace, wanted: &dyn Fn() -> usize| match pace.ask(usize::MAX, now) {
            Ask::For(_) => pace.ask(wanted(), now),
            later => later,
        };
        let wanting_call = || self.slots.wanting(Lane::Call, now);
        let asks = [
            ask(common, &|| self.wanting_any(now) + calls.held()),
            ask(calls, &wanting_call),
        ];
        let [slots, of_calls] = asks.map(|ask| match ask {
            Ask::For(count) => count,
            Ask::At(_) | Ask::Nothing => 0,
        });
        if slots + of_calls > 0 {
            self.reserving.set(true);
            // What a call could use of the time of these slots is lost to all if it is not asked for.
            let calls = calls.along(common, wanting_call);
            return (Some(Wanted { slots, calls }), None);
        }
        let later = asks.into_iter().filter_map(|ask| match ask {
            Ask::At(at) => Some(at),
            Ask::For(_) | Ask::Nothing => None,
        });
        (None, later.min())
    }

    /// How many requests could use any slot soon.
    fn wanting_any(&self, now: Instant) -> usize {
        let lanes = Lane::ALL.into_iter();
        let lanes = lanes.filter(|lane| self.pace.besides(*lane).is_none());
        lanes.map(|lane| self.slots.wanting(lane, now)).sum()
    }

    /// Asks the ledger for slots.
    pub(super) async fn reserve(&self, wanted: Wanted) -> Option<Grant> {
        self.reserving.set(true);
        let since = self.moment();
        let grant = self.context.ledger.reserve(wanted).await;
        self.reserving.set(false);
        match grant {
            Ok(grant) => {
                self.granted(&grant, since);
                Some(grant)
            }
            Err(error) => {
                self.stop(StopKind::Ledger, &error.to_string());
                None
            }
        }
    }

    /// Slots that were asked for then.
    fn granted(&self, grant: &Grant, since: Moment) {
        if let ledger::Slots::Own { count, after } = grant.slots {
            self.reserved.set(count);
            return self.keep_distance(after);
        }
        self.pace.share();
        if self.has_slept(since) {
            return;
        }
        let granted = [
            (&self.pace.common, Some(grant.slots)),
            (&self.pace.calls, grant.calls),
        ];
        for (pace, slots) in granted {
            match slots {
                Some(ledger::Slots::At {
                    first,
                    interval,
                    count,
                }) => pace.add(first, interval, count),
                Some(ledger::Slots::Later(at)) => pace.none_before(at),
                Some(ledger::Slots::Own { .. }) | None => {}
            }
        }
        self.awake.set(self.moment());
    }

    /// Has the machine slept since then? Places that were reserved before are others' now.
    pub(super) fn has_slept(&self, since: Moment) -> bool {
        let now = self.moment();
        let slept = now.slept_since(since) || now.slept_since(self.awake.get());
        if slept {
            self.pace.forget();
            self.awake.set(now);
        }
        slept
    }

    pub(super) fn moment(&self) -> Moment {
        Moment {
            at: Instant::now(),
            wall: self.allowance.wall(),
        }
    }

    /// The first requests keep their distance from the one that left then.
    fn keep_distance(&self, after: Option<UnixMicros>) {
        for pace in [&self.pace.common, &self.pace.calls] {
            let Some(after) = after else { break };
            let interval = pace.interval();
            // A clock that was set back must not make this a long wait, nor one that was set forth
            // none at all: an earlier run may have ended just now.
            let by_the_clock = self.clock.instant(after.min(self.clock.now()) + interval);
            let at = by_the_clock.max(Instant::now() + interval.min(DISTANCE));
            if !is_made(Mistake::NoDistance) {
                pace.not_before(at);
            }
        }
    }
}

/// A moment on two clocks: the first stands still while the machine sleeps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) wall: UnixMicros,
}

impl Moment {
    fn slept_since(self, then: Self) -> bool {
        let passed = self.at.saturating_duration_since(then.at);
        self.wall.since(then.wall) > passed + SLEPT
    }
}
