//! A campaign by chance: who is in the file, how often the program is run on it, and what goes wrong
//! each time. All of it follows from the seed.

use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use fastrand::Rng;
use otpdrive::campaign::{EarlierHolds, Limits, LogNumbers, Settings};
use otpdrive::job::{Channel, Contact, GivenCode, Lane, Operation, Problem, Request, UnixMicros};
use otpdrive::number::Number;
use otpdrive::pace::Rate;
use otpdrive::retry::Backoff;
use otpdrive::run::{Policy, WhenUncertain};
use secrecy::SecretString;

use super::process::{Input, Orders};
use super::weather::{MS, SECOND, Weather};
use super::world::right_code;

const HOUR: Duration = Duration::from_hours(1);

/// When all simulations begin.
pub const BEGIN: UnixMicros = UnixMicros(1_790_000_000_000_000);

/// One line of the input.
#[derive(Clone, Debug, Hash)]
struct Line {
    number: Option<Number>,
    channel: Option<Channel>,
    otp: String,
    note: u32,
}

/// A campaign, before it happens.
pub struct Story {
    pub random: Rng,
    pub operation: Operation,
    pub rate: Option<Rate>,
    pub on_unknown: WhenUncertain,
    /// How many processes there are before the last, which nothing disturbs.
    pub runs: usize,
    lines: Vec<Line>,
    channel: Channel,
    pub clock_jumps: bool,
}

impl Story {
    pub fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let operation = match random.u32(0..4) {
            0 => Operation::Verify,
            _ => Operation::Send,
        };
        let rate = random.bool().then(|| Rate {
            requests: NonZeroU32::new(random.u32(1..200)).unwrap_or(NonZeroU32::MIN),
            per: random
                .choice([SECOND, SECOND, SECOND, 10 * SECOND])
                .unwrap_or(SECOND),
        });
        let mut story = Self {
            operation,
            rate,
            on_unknown: retry_if(match operation {
                Operation::Send => random.u32(0..6) == 0,
                Operation::Verify => random.u32(0..3) > 0,
            }),
            runs: random.usize(0..5),
            lines: Vec::new(),
            channel: if random.u32(0..3) == 0 {
                Channel::Call
            } else {
                Channel::Sms
            },
            clock_jumps: random.u32(0..4) == 0,
            random,
        };
        let most = [8, 40, 100, 150][story.random.usize(0..4)];
        for _ in 0..story.random.usize(1..most) {
            let line = story.line();
            story.lines.push(line);
        }
        story
    }

    fn line(&mut self) -> Line {
        let random = &mut self.random;
        let number = Number::new(919_876_500_000 + random.u64(0..200)).unwrap();
        let otp = match random.u32(0..4) {
            0 => format!("{:06}", random.u32(0..10)),
            1 => String::new(),
            _ => right_code(number),
        };
        let channels = [None, None, None, Some(Channel::Sms), Some(Channel::Call)];
        Line {
            number: (random.u32(0..12) > 0).then_some(number),
            channel: random.choice(channels).flatten(),
            otp,
            note: random.u32(..),
        }
    }

    /// The file as it is now.
    pub fn input(&self) -> Input {
        let mut hasher = DefaultHasher::new();
        self.lines.hash(&mut hasher);
        let contacts = (2..).zip(&self.lines).map(|(line, of)| Contact {
            was_tried: false,
            line,
            record: format!("{:?},{},{}", of.number, of.otp.len(), of.note),
            request: self.request(of),
        });
        Input {
            sha256: format!("{:064x}", hasher.finish()),
            contacts: contacts.collect(),
        }
    }

    fn request(&self, row: &Line) -> Result<Request, Problem> {
        let number = row.number.ok_or(Problem("not a number"))?;
        let (lane, code) = match self.operation {
            Operation::Send => (row.channel.unwrap_or(self.channel).into(), None),
            Operation::Verify if row.otp.is_empty() => return Err(Problem("no code")),
            Operation::Verify => {
                let otp = SecretString::from(row.otp.clone());
                (Lane::Verify, Some(GivenCode::Plain(otp)))
            }
        };
        Ok(Request {
            number,
            lane,
            code,
            assumed_mobile: false,
        })
    }

    /// The codes of the file's rows.
    pub fn codes(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line.otp.as_str()).collect()
    }

    /// Somebody works on the file: rows come, go, move and change.
    pub fn edit(&mut self) {
        for _ in 0..self.random.u32(0..6) {
            let at = self.random.usize(0..self.lines.len());
            match self.random.u32(0..5) {
                0 if self.lines.len() > 1 => drop(self.lines.remove(at)),
                1 => self.random.shuffle(&mut self.lines),
                2 => self.lines[at].note += 1,
                3 => {
                    let again = self.lines[at].clone();
                    self.lines.push(again);
                }
                _ => {
                    let line = self.line();
                    self.lines.insert(at, line);
                }
            }
        }
    }

    fn settings(&mut self) -> Settings {
        let random = &mut self.random;
        Settings {
            policy: Policy {
                max_attempts: random.u32(1..6),
                fallback: match self.operation {
                    Operation::Verify => None,
                    Operation::Send => random
                        .choice([None, Some(Channel::Call), Some(Channel::Sms)])
                        .flatten(),
                },
                on_unknown: self.on_unknown,
                on_server_error: retry_if(random.bool()),
            },
            concurrency: NonZeroUsize::new(random.usize(1..40)).unwrap_or(NonZeroUsize::MIN),
            rate: self.rate,
            backoff: Backoff {
                base: random.u32(1..600) * MS,
                cap: random.u32(600..30_000) * MS,
            },
            max_outage: random.u32(1..900) * SECOND,
            limit: (random.u32(0..5) == 0).then(|| random.u64(0..40)),
            max_duration: (random.u32(0..6) == 0).then(|| random.u32(1..60) * SECOND),
            refused_alike: NonZeroUsize::new(random.choice([0, 3, 8, 20]).unwrap_or(0)),
            earlier_holds: match random.u32(0..4) {
                0 => EarlierHolds::Ignore,
                _ => EarlierHolds::Keep,
            },
            seed: random.u64(..),
            log_numbers: LogNumbers::Masked,
            limits: Limits::default(),
        }
    }

    /// The next process: something may go wrong with it.
    pub fn next(&mut self, run: usize, age: Duration) -> Orders {
        let mut settings = self.settings();
        let calm = self.last(run, age);
        let operation = self.operation;
        let jumps = self.clock_jumps;
        let random = &mut self.random;
        let ends = random.u32(0..10);
        let soon = |random: &mut Rng| {
            let most = random.choice([50, 2_000, 40_000]).unwrap_or(50);
            random.u32(0..most) * MS
        };
        let mut wall = calm.wall;
        if jumps {
            let off = random.i64(0..48) * random.choice([-1, 1]).unwrap_or(1);
            wall.0 += off * i64::try_from(HOUR.as_micros()).unwrap_or(0);
        }
        settings.limits = limits(operation, settings.seed, wall);
        Orders {
            settings,
            weather: Weather::by_chance(random),
            timeout: random.u32(1_000..30_000) * MS,
            commit_max: random.choice([1, 2, 5, 5, 300]).unwrap_or(1) * MS,
            read_max: random.choice([1, 5, 20, 1_024]).unwrap_or(1),
            wall,
            signal_at: (ends == 0).then(|| soon(random)),
            kill_at: (ends == 1).then(|| soon(random)),
            kill_at_point: (3..8).contains(&ends).then(|| {
                let size = random.u32(2..12);
                random.u64(0..1 << size)
            }),
            disk_full_after: (ends == 2).then(|| random.usize(0..60)),
            ..calm
        }
    }

    /// The last process: nothing goes wrong, and nothing may be left over.
    pub fn last(&mut self, run: usize, age: Duration) -> Orders {
        Orders {
            run,
            operation: self.operation,
            settings: Settings {
                limit: None,
                max_duration: None,
                ..self.settings()
            },
            weather: Weather::fair(),
            timeout: 30 * SECOND,
            commit_max: 2 * MS,
            read_max: 10,
            wall: BEGIN + age,
            signal_at: None,
            kill_at: None,
            kill_at_point: None,
            disk_full_after: None,
            random: self.random.fork(),
        }
    }
}

/// Now and then hours that are near, a cap, a budget.
fn limits(operation: Operation, seed: u64, wall: UnixMicros) -> Limits {
    let mut random = Rng::with_seed(seed);
    let mut limits = Limits::default();
    if random.u32(0..8) == 0 {
        let minute = |at: i64| (at / 60_000_000).rem_euclid(24 * 60);
        let from = minute(wall.0) + random.i64(0..10);
        let until = from + random.i64(1..30);
        let shown = [from, until].map(|at| format!("{:02}:{:02}", at / 60 % 24, at % 60));
        limits.calendar.all.window = Some(shown.join("-").parse().unwrap());
    }
    if operation == Operation::Send && random.u32(0..8) == 0 {
        limits.calendar.all.daily_cap = NonZeroU64::new(random.u64(30..80));
    }
    if operation == Operation::Send && random.u32(0..8) == 0 {
        limits.prices = "sms=1,call=1".parse().unwrap();
        limits.budget = Some(random.u32(1..60).to_string().parse().unwrap());
    }
    limits
}

fn retry_if(so: bool) -> WhenUncertain {
    if so {
        WhenUncertain::Retry
    } else {
        WhenUncertain::Hold
    }
}
