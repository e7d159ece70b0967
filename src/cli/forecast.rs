//! How long a run will take by its settings, if every request works at once: rates, hours, caps.

use std::time::Duration;

use crate::campaign::Settings;
use crate::job::{Lane, UnixMicros};
use crate::pace::Rate;

/// So many changes are looked at: a run of more days is said to take at least as long.
const STEPS_MAX: usize = 10_000;

/// What will be, as far as can be told.
#[derive(Debug)]
pub struct Forecast {
    /// When the last request leaves.
    pub ends: UnixMicros,
    /// What waits for its hours or for another day, the first time on each lane.
    pub waits: Vec<Wait>,
}

/// So many requests of a lane wait until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// On this lane.
    pub lane: Lane,
    /// So many.
    pub left: u64,
    /// Until then.
    pub until: UnixMicros,
}

/// A run in thought.
struct Walk<'s> {
    settings: &'s Settings,
    at: UnixMicros,
    /// Requests to go, by lane.
    to_go: [f64; Lane::ALL.len()],
    /// OTPs that left today. What other runs of the day sent is not known here.
    today: [f64; Lane::ALL.len()],
    waits: Vec<Wait>,
}

impl Forecast {
    /// From `now` on, for so many requests on each lane.
    pub fn new(settings: &Settings, now: UnixMicros, requests: [u64; Lane::ALL.len()]) -> Self {
        let start = settings.limits.start_at.unwrap_or(now).max(now);
        let mut walk = Walk {
            settings,
            at: start,
            to_go: requests.map(as_f64),
            today: [0.0; Lane::ALL.len()],
            waits: Vec::new(),
        };
        for _ in 0..STEPS_MAX {
            if !walk.step() {
                break;
            }
        }
        Self {
            ends: walk.at,
            waits: walk.waits,
        }
    }
}

impl Walk<'_> {
    /// Goes on to the next change of who may leave; says whether anything is left.
    fn step(&mut self) -> bool {
        let busy = Lane::ALL
            .into_iter()
            .filter(|lane| self.to_go[lane.index()] >= 0.5);
        let busy: Vec<Lane> = busy.collect();
        let waits: Vec<Option<UnixMicros>> =
            busy.iter().map(|lane| self.waits_until(*lane)).collect();
        for (lane, until) in busy.iter().zip(&waits) {
            self.note(*lane, *until);
        }
        let open = busy.iter().zip(&waits).filter(|(_, until)| until.is_none());
        let open: Vec<Lane> = open.map(|(lane, _)| *lane).collect();
        let rates = self.rates(&open);
        let day_ends = self.settings.limits.calendar.day(self.at).end;
        let closes = open
            .iter()
            .filter_map(|lane| self.settings.limits.calendar.closes(*lane, self.at));
        let changes = waits.iter().flatten().copied().chain(closes);
        let capped = self.settings.limits.calendar.has_caps();
        let changes = changes.chain(capped.then_some(day_ends)).min();
        let done = open
            .iter()
            .zip(&rates)
            .map(|(lane, rate)| self.most(*lane) / rate);
        let done = done.min_by(f64::total_cmp);
        let done = done.map(|time| Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX));
        let next = done.map(|time| self.at + time);
        let Some(next) = next.into_iter().chain(changes).min() else {
            return false;
        };
        if busy.is_empty() {
            return false;
        }
        let time = next.since(self.at).as_secs_f64();
        for (lane, rate) in open.iter().zip(&rates) {
            let gone = (time * rate).min(self.to_go[lane.index()]);
            let gone = if rate.is_infinite() {
                self.most(*lane)
            } else {
                gone
            };
            self.to_go[lane.index()] -= gone;
            self.today[lane.index()] += gone;
        }
        if next >= day_ends {
            self.today = [0.0; Lane::ALL.len()];
        }
        self.at = next;
        true
    }

    /// How many of a lane may leave before its cap is reached.
    fn most(&self, lane: Lane) -> f64 {
        let today = self.today.map(whole);
        let left = self.settings.limits.calendar.left_today(lane, &today);
        self.to_go[lane.index()].min(left.map_or(f64::INFINITY, as_f64))
    }

    fn waits_until(&self, lane: Lane) -> Option<UnixMicros> {
        let calendar = &self.settings.limits.calendar;
        let opens = calendar.opens(lane, self.at);
        if opens > self.at {
            return Some(opens);
        }
        let left = calendar.left_today(lane, &self.today.map(whole));
        (left == Some(0)).then(|| calendar.day(self.at).end)
    }

    fn note(&mut self, lane: Lane, until: Option<UnixMicros>) {
        let known = self.waits.iter().any(|wait| wait.lane == lane);
        if let Some(until) = until.filter(|_| !known) {
            let left = whole(self.to_go[lane.index()]);
            self.waits.push(Wait { lane, left, until });
        }
    }

    /// How fast requests of these lanes leave: they share the rate by what is left of each.
    fn rates(&self, open: &[Lane]) -> Vec<f64> {
        let all: f64 = open.iter().map(|lane| self.to_go[lane.index()]).sum();
        let rate = self.settings.rate.map_or(f64::INFINITY, Rate::per_second);
        let calls = self
            .settings
            .limits
            .call_rate
            .map_or(f64::INFINITY, Rate::per_second);
        let share = |lane: &Lane| {
            let share = rate * self.to_go[lane.index()] / all.max(1.0);
            if *lane == Lane::Call {
                share.min(calls)
            } else {
                share
            }
        };
        open.iter().map(share).collect()
    }
}

#[expect(clippy::cast_precision_loss, reason = "an estimate for people")]
fn as_f64(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an estimate for people, never negative"
)]
fn whole(count: f64) -> u64 {
    count.round() as u64
}
