//! How a process finds the gateway: its moods, and what goes wrong how often.

use std::time::Duration;

use fastrand::Rng;

pub const MS: Duration = Duration::from_millis(1);

/// How the gateway is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Some requests go wrong, by the weights.
    Fair,
    /// Nobody listens.
    Down,
    /// Every request is answered with this HTTP status.
    Sick(u16),
    /// Nothing comes back.
    Mute,
    /// The key is refused.
    Closed,
}

/// What a request meets, the weights' places in [`Weather::weights`].
const FATES: [&str; 16] = [
    "accepted",
    "rejected",
    "missing",
    "429",
    "429 seconds",
    "429 date",
    "503",
    "408",
    "in progress",
    "500",
    "502",
    "504",
    "garbage",
    "lost",
    "404",
    "unreachable",
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
            let mood = match random.u32(0..12) {
                0..2 => Mood::Down,
                2..4 => Mood::Sick(random.choice([429, 500, 502, 503, 504]).unwrap_or(503)),
                4 => Mood::Mute,
                5 if random.bool() => Mood::Closed,
                _ => Mood::Fair,
            };
            let most = if random.bool() { 3_000 } else { 90_000 };
            let time = random.u32(1..most);
            weather.moods.push((time * MS, mood));
        }
        weather.moods.push((MS, Mood::Fair));
        weather.latency_max = random.u32(1..3_000) * MS;
        weather.late_one_in = random.bool().then(|| random.u32(20..200));
        weather
    }

    /// What a request meets that arrives so long after the process began.
    pub fn fate(&self, age: Duration, random: &mut Rng) -> &'static str {
        match self.mood(age) {
            Mood::Fair => {
                let mut at = random.u32(0..self.weights.iter().sum());
                for (weight, fate) in self.weights.iter().zip(FATES) {
                    if at < *weight {
                        return fate;
                    }
                    at -= weight;
                }
                FATES[0]
            }
            Mood::Down => "unreachable",
            Mood::Mute => "lost",
            Mood::Closed => "closed",
            Mood::Sick(429) => "429",
            Mood::Sick(500) => "500",
            Mood::Sick(502) => "502",
            Mood::Sick(504) => "504",
            Mood::Sick(_) => "503",
        }
    }

    fn mood(&self, mut age: Duration) -> Mood {
        for (time, mood) in &self.moods {
            if age < *time {
                return *mood;
            }
            age -= *time;
        }
        self.moods.last().map_or(Mood::Fair, |(_, mood)| *mood)
    }
}
