//! How long a run will take if every request works at once, and what decides that: rates, requests
//! in flight, hours, caps.

use std::time::Duration;

use crate::campaign::Settings;
use crate::job::{Lane, UnixMicros};
use crate::pace::Rate;

/// So many changes are looked at: a run of more days is said to take at least as long.
const STEPS_MAX: usize = 10_000;

/// What is known besides the settings when a run is about to begin.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known {
    /// OTPs of other runs that left on the day on which this one begins.
    pub left: PerLane<u64>,
    /// How long the gateway takes to answer.
    pub latencies: PerLane<Option<Duration>>,
}

/// What will be, as far as can be told.
#[derive(Debug)]
pub struct Forecast {
    /// When the first request may leave, hours aside.
    pub starts: UnixMicros,
    /// When the last request leaves.
    pub ends: UnixMicros,
    /// What waits for its hours or for another day, the first time on each lane.
    pub waits: Vec<Wait>,
    /// What decides how fast requests leave for most of the time; `None`: how fast they are
    /// answered, which is not known.
    pub pace: Option<Pace>,
    /// Requests that have not left when nothing new is started any more.
    pub late: u64,
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
    /// The flag that says so.
    pub flag: &'static str,
}

/// What decides how fast requests leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// `--rate`
    Rate,
    /// `--call-rate`
    CallRate,
    /// `--concurrency`, and how long answers take.
    Concurrency,
    /// `--call-concurrency`, and how long answers take.
    CallConcurrency,
}

impl Pace {
    const ALL: [Self; 4] = [
        Self::Rate,
        Self::CallRate,
        Self::Concurrency,
        Self::CallConcurrency,
    ];

    /// The name of the flag, without its dashes.
    pub fn flag(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::CallRate => "call-rate",
            Self::Concurrency => "concurrency",
            Self::CallConcurrency => "call-concurrency",
        }
    }
}

type PerLane<T> = [T; Lane::ALL.len()];

/// A run in thought.
struct Walk<'s> {
    settings: &'s Settings,
    latencies: PerLane<Option<Duration>>,
    at: UnixMicros,
    /// Requests to go, by lane.
    to_go: PerLane<f64>,
    /// OTPs that left today.
    today: PerLane<f64>,
    waits: Vec<Wait>,
    /// For how many seconds each pace was kept.
    kept: [f64; Pace::ALL.len()],
    /// Nothing new is started from then on.
    stops: Option<UnixMicros>,
    late: u64,
}

impl Forecast {
    /// From `now` on, for so many requests on each lane.
    pub fn new(
        settings: &Settings,
        now: UnixMicros,
        requests: PerLane<u64>,
        known: &Known,
    ) -> Self {
        let starts = begins(settings, now);
        let lasts = settings.max_duration.map(|most| now + most);
        let stops = settings.limits.deadline.into_iter().chain(lasts).min();
        let all = requests.iter().sum();
        let mut walk = Walk {
            settings,
            latencies: known.latencies,
            at: starts,
            to_go: requests.map(as_f64),
            today: known.left.map(as_f64),
            waits: Vec::new(),
            kept: [0.0; Pace::ALL.len()],
            stops,
            late: stops.filter(|at| *at <= starts).map_or(0, |_| all),
        };
        for _ in 0..STEPS_MAX {
            if !walk.step() {
                break;
            }
        }
        let longest = (Pace::ALL.into_iter().zip(walk.kept))
            .filter(|(_, kept)| *kept > 0.0)
            .max_by(|one, other| one.1.total_cmp(&other.1));
        Self {
            starts,
            ends: walk.at,
            waits: walk.waits,
            pace: longest.map(|(pace, _)| pace),
            late: walk.late,
        }
    }
}

/// When a run that is started now begins with its requests, hours aside.
pub fn begins(settings: &Settings, now: UnixMicros) -> UnixMicros {
    settings.limits.start_at.unwrap_or(now).max(now)
}

impl Walk<'_> {
    /// Goes on to the next change of who may leave; says whether anything is left.
    fn step(&mut self) -> bool {
        let busy = Lane::ALL
            .into_iter()
            .filter(|lane| self.to_go[lane.index()] >= 0.5);
        let busy: Vec<Lane> = busy.collect();
        if busy.is_empty() {
            return false;
        }
        let waits: Vec<Option<(UnixMicros, &str)>> =
            busy.iter().map(|lane| self.waits_until(*lane)).collect();
        for (lane, wait) in busy.iter().zip(&waits) {
            self.note(*lane, *wait);
        }
        let open = busy.iter().zip(&waits).filter(|(_, until)| until.is_none());
        let open: Vec<Lane> = open.map(|(lane, _)| *lane).collect();
        let speeds = self.speeds(&open);
        let calendar = &self.settings.limits.calendar;
        let day_ends = calendar.day(self.at).end;
        let closes = open
            .iter()
            .filter_map(|lane| calendar.closes(*lane, self.at));
        let changes = waits.iter().flatten().map(|(until, _)| *until);
        let stops = self.stops.filter(|stops| *stops > self.at);
        let changes = changes.chain(closes).chain(stops);
        let changes = changes.chain(calendar.has_caps().then_some(day_ends)).min();
        let done = (open.iter().zip(&speeds))
            .map(|(lane, (speed, _))| self.most(*lane) / speed)
            .min_by(f64::total_cmp);
        let done = done.map(|time| Duration::try_from_secs_f64(time).unwrap_or(Duration::MAX));
        let next = done.map(|time| self.at + time);
        let Some(next) = next.into_iter().chain(changes).min() else {
            return false;
        };
        let time = next.since(self.at).as_secs_f64();
        for (lane, (speed, pace)) in open.iter().zip(&speeds) {
            let gone = (time * speed).min(self.to_go[lane.index()]);
            let gone = if speed.is_infinite() {
                self.most(*lane)
            } else {
                gone
            };
            self.to_go[lane.index()] -= gone;
            self.today[lane.index()] += gone;
            if let Some(pace) = pace {
                self.kept[*pace as usize] += time;
            }
        }
        if next >= day_ends {
            self.today = [0.0; Lane::ALL.len()];
        }
        self.at = next;
        if self.stops == Some(next) {
            self.late = self.to_go.map(whole).iter().sum();
        }
        true
    }

    /// How many of a lane may leave before its cap is reached.
    fn most(&self, lane: Lane) -> f64 {
        let today = self.today.map(whole);
        let left = self.settings.limits.calendar.left_today(lane, &today);
        self.to_go[lane.index()].min(left.map_or(f64::INFINITY, as_f64))
    }

    /// Until when a lane has to wait, if it has, and by which flag.
    fn waits_until(&self, lane: Lane) -> Option<(UnixMicros, &'static str)> {
        let calendar = &self.settings.limits.calendar;
        let opens = calendar.opens(lane, self.at);
        if opens > self.at {
            let is_for_all = lane != Lane::Call || !calendar.is_open(Lane::Sms, self.at);
            let flag = if is_for_all {
                "--window"
            } else {
                "--call-window"
            };
            return Some((opens, flag));
        }
        let today = self.today.map(whole);
        let is_used_up = |lane| calendar.left_today(lane, &today) == Some(0);
        let is_for_all = lane != Lane::Call || is_used_up(Lane::Sms);
        let flag = if is_for_all {
            "--daily-cap"
        } else {
            "--call-daily-cap"
        };
        is_used_up(lane).then(|| (calendar.day(self.at).end, flag))
    }

    fn note(&mut self, lane: Lane, wait: Option<(UnixMicros, &'static str)>) {
        let known = self.waits.iter().any(|wait| wait.lane == lane);
        if let Some((until, flag)) = wait.filter(|_| !known) {
            let left = whole(self.to_go[lane.index()]);
            self.waits.push(Wait {
                lane,
                left,
                until,
                flag,
            });
        }
    }

    /// How fast requests of these lanes leave, per second, and what decides that: they share what
    /// there is by what is left of each.
    fn speeds(&self, open: &[Lane]) -> Vec<(f64, Option<Pace>)> {
        let to_go = |lane: &Lane| self.to_go[lane.index()];
        let all: f64 = open.iter().map(to_go).sum();
        let limits = &self.settings.limits;
        let per_second = |rate: Option<Rate>| rate.map(Rate::per_second);
        // A lane of which nothing is known is taken to be as fast as can be.
        let seconds = |lane: &Lane| {
            let latency = self.latencies[lane.index()].unwrap_or_default();
            latency.as_secs_f64()
        };
        let mean: f64 = open.iter().map(|lane| to_go(lane) * seconds(lane)).sum();
        let at_once =
            |most: usize, seconds: f64| (seconds > 0.0).then(|| as_f64(most as u64) / seconds);
        let common = slowest([
            (per_second(self.settings.rate), Pace::Rate),
            (
                at_once(self.settings.concurrency.get(), mean / all.max(1.0)),
                Pace::Concurrency,
            ),
        ]);
        let of_calls = slowest([
            (per_second(limits.call_rate), Pace::CallRate),
            (
                limits
                    .call_concurrency
                    .and_then(|most| at_once(most.get(), seconds(&Lane::Call))),
                Pace::CallConcurrency,
            ),
        ]);
        let share = |lane: &Lane| {
            let share = (common.0 * to_go(lane) / all.max(1.0), common.1);
            if *lane == Lane::Call && of_calls.0 < share.0 {
                of_calls
            } else {
                share
            }
        };
        open.iter().map(share).collect()
    }
}

/// The least of some speeds, and what it is; without any there is no limit.
fn slowest<const N: usize>(speeds: [(Option<f64>, Pace); N]) -> (f64, Option<Pace>) {
    let speeds = speeds.into_iter();
    let known = speeds.filter_map(|(speed, pace)| Some((speed?, Some(pace))));
    known
        .min_by(|one, other| one.0.total_cmp(&other.0))
        .unwrap_or((f64::INFINITY, None))
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
