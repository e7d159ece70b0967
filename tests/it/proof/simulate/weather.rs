//! How a process finds the gateway: its moods, what goes wrong how often, how long connections take.

use std::ops::Range;
use std::time::Duration;

use fastrand::Rng;
use otpdrive::job::Lane;

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);

/// How the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Some requests go wrong, by the weights.
    Fair,
    /// Nobody listens.
    Down,
    /// Every request meets this fate.
    All(&'static str),
    /// Every request on this lane does; on the others some go wrong.
    Lane(Lane, &'static str),
}

/// What a request meets, the weights' places in [`Weather::weights`].
#[rustfmt::skip]
const FATES: [&str; 17] = [
    "accepted", "rejected", "missing", "429", "429 seconds", "429 date", "503", "408",
    "in progress", "500", "502", "504", "garbage", "lost", "404", "unreachable", "gone",
];

/// What a whole gateway, or one of its endpoints, may be like.
#[rustfmt::skip]
const SICK: [&str; 12] = [
    "429", "500", "502", "503", "504", "polite", "polite", "polite", "404", "302",
    "no credit", "no credit",
];

/// How a process finds the gateway.
#[derive(Clone, Debug)]
pub struct Weather {
    pub weights: [u32; FATES.len()],
    /// The moods, one after the other, for so long each; the last one stays.
    pub moods: Vec<(Duration, Mood)>,
    /// The longest that an answer takes.
    pub latency_max: Duration,
    /// One in so many answers comes after the client has given up.
    pub late_one_in: Option<u32>,
    /// The longest that a connection takes.
    pub connect_max: Duration,
    /// Connections asked for in this time are all there at its end.
    pub stall: Range<Duration>,
}

impl Weather {
    /// Nothing goes wrong.
    pub fn fair() -> Self {
        let mut weights = [0; FATES.len()];
        weights[0] = 1;
        Self {
            weights,
            moods: Vec::new(),
            latency_max: 300 * MS,
            late_one_in: None,
            connect_max: 30 * MS,
            stall: Duration::ZERO..Duration::ZERO,
        }
    }

    pub fn by_chance(random: &mut Rng) -> Self {
        let mut weather = Self::fair();
        if random.u32(0..5) > 0 {
            weather.weights[0] = random.u32(1..60);
            for weight in &mut weather.weights[1..] {
                *weight = if random.bool() { 0 } else { random.u32(0..6) };
            }
        }
        for _ in 0..random.u32(0..4) {
            let sick = random.choice(SICK).unwrap_or(SICK[0]);
            let mood = match random.u32(0..12) {
                0 => Mood::Down,
                1..4 => Mood::All(sick),
                4..7 => Mood::Lane(random.choice(Lane::ALL).unwrap_or(Lane::Sms), sick),
                7 => Mood::All("lost"),
                8 if random.bool() => Mood::All("closed"),
                9 if random.bool() => Mood::All("402"),
                _ => Mood::Fair,
            };
            let most = random.choice([1_000, 10_000, 90_000]).unwrap_or(1);
            let time = random.u32(1..most);
            weather.moods.push((time * MS, mood));
        }
        weather.moods.push((MS, Mood::Fair));
        weather.latency_max = random.u32(1..3_000) * MS;
        weather.late_one_in = random.bool().then(|| random.u32(20..200));
        weather.connect_max = random.choice([1, 1, 60, 900]).unwrap_or(1) * MS;
        if random.u32(0..4) == 0 {
            let from = random.u32(0..4_000) * MS;
            weather.stall = from..from + random.u32(500..6_000) * MS;
        }
        weather
    }

    /// What a request on this lane meets so long after the process began.
    pub fn fate(&self, age: Duration, lane: Lane, random: &mut Rng) -> &'static str {
        match self.mood(age) {
            Mood::Down => "unreachable",
            Mood::All(fate) => fate,
            Mood::Lane(of, fate) if of == lane => fate,
            Mood::Fair | Mood::Lane(..) => {
                let mut at = random.u32(0..self.weights.iter().sum());
                for (weight, fate) in self.weights.iter().zip(FATES) {
                    if at < *weight {
                        return fate;
                    }
                    at -= weight;
                }
                FATES[0]
            }
        }
    }

    pub fn mood(&self, mut age: Duration) -> Mood {
        for (time, mood) in &self.moods {
            if age < *time {
                return *mood;
            }
            age -= *time;
        }
        self.moods.last().map_or(Mood::Fair, |(_, mood)| *mood)
    }

    /// How long a connection takes that is asked for so long after the process began.
    pub fn connecting(&self, age: Duration, random: &mut Rng) -> Duration {
        if self.stall.contains(&age) {
            return self.stall.end.saturating_sub(age);
        }
        let longest = u32::try_from(self.connect_max.as_micros()).unwrap_or(1);
        Duration::from_micros(random.u32(0..longest).into())
    }
}
