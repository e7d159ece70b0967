//! A story by chance: who is in the files, how often the program is run on them, what is done to them
//! in between, and what goes wrong each time. All of it follows from the seed.

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::time::Duration;

use fastrand::Rng;
use otpdrive::calendar::Window;
use otpdrive::campaign::{EarlierHolds, Limits, LogNumbers, Settings};
use otpdrive::job::{Channel, Operation, UnixMicros};
use otpdrive::pace::Rate;
use otpdrive::retry::Backoff;
use otpdrive::run::{Policy, WhenUncertain};

use super::lists::List;
use super::process::Orders;
use super::weather::{MS, SECOND, Weather};

const HOUR: Duration = Duration::from_hours(1);

/// So many campaigns of one list at most.
const LISTS_MAX: usize = 3;

/// Somebody asks the provider what became of numbers that are unknown.
pub const LOOKED_UP: &str = "unknown numbers are looked up";

/// Somebody works on the list, which is no accident.
pub const EDITED: &str = "the list is edited";

/// When all simulations begin.
pub const BEGIN: UnixMicros = UnixMicros(1_790_000_000_000_000);

/// All that happens with one ledger, before it happens.
pub struct Story {
    pub random: Rng,
    pub rate: Option<Rate>,
    /// What calls keep besides.
    pub call_rate: Option<Rate>,
    pub on_unknown: WhenUncertain,
    /// How many processes there are before the last ones, which nothing disturbs.
    pub runs: usize,
    pub lists: Vec<List>,
    /// The list that is worked with now.
    pub now: usize,
    pub cooldown: Duration,
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
        let most = random.choice([8, 40, 100, 150]).unwrap_or(8);
        let rows = random.usize(1..most);
        let channel = [Channel::Call, Channel::Sms, Channel::Sms][random.usize(0..3)];
        let cooldowns = [24 * HOUR, 24 * HOUR, HOUR, 20 * SECOND];
        // Of its own, so that stories stay what they were.
        let mut of_calls = Rng::with_seed(seed ^ 0xca11);
        let call_rate = (of_calls.u32(0..4) == 0).then(|| Rate {
            requests: NonZeroU32::new(of_calls.u32(1..20)).unwrap_or(NonZeroU32::MIN),
            per: of_calls.choice([SECOND, 10 * SECOND]).unwrap_or(SECOND),
        });
        Self {
            rate,
            call_rate,
            on_unknown: retry_if(match operation {
                Operation::Send => random.u32(0..6) == 0,
                Operation::Verify => random.u32(0..3) > 0,
            }),
            runs: random.usize(0..7),
            lists: vec![List::new(operation, channel, rows, &mut random)],
            now: 0,
            cooldown: random.choice(cooldowns).unwrap_or(HOUR),
            clock_jumps: random.u32(0..4) == 0,
            random,
        }
    }

    /// The list that is worked with now.
    pub fn list(&self) -> &List {
        &self.lists[self.now]
    }

    /// What somebody does before the next process, in words.
    pub fn happens(&mut self) -> &'static str {
        let lists = self.lists.len();
        let (random, list) = (&mut self.random, &mut self.lists[self.now]);
        match random.u32(0..14) {
            0 | 1 if lists < LISTS_MAX => {
                let operation = match random.u32(0..8) {
                    0 => Operation::Verify,
                    _ => list.operation,
                };
                let copy = list.copy(format!("copy {lists}"), operation);
                self.now = lists;
                self.lists.push(copy);
                "the list is copied"
            }
            2 | 3 if lists > 1 => {
                self.now = random.usize(0..lists);
                "a list is gone on with"
            }
            4 => {
                list.replace(random, true);
                "the list is replaced"
            }
            5 => {
                list.replace(random, false);
                "a part of the list is sent"
            }
            6..8 if list.operation == Operation::Send => LOOKED_UP,
            6..11 if list.feed_back(random) => "a result file is fed back",
            _ => {
                list.edit(random);
                EDITED
            }
        }
    }

    /// How long it takes until the next process.
    pub fn pause(&mut self) -> Duration {
        let random = &mut self.random;
        match random.u32(0..8) {
            0 => self.cooldown + random.u32(0..4_000) * MS,
            1 => self.cooldown.mul_f64(random.f64()),
            _ => random.choice([0, 3, 700, 5_000]).unwrap_or(0) * MS,
        }
    }

    fn settings(&mut self) -> Settings {
        let operation = self.list().operation;
        let random = &mut self.random;
        Settings {
            policy: Policy {
                max_attempts: random.u32(1..6),
                fallback: match operation {
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
            limits: Limits {
                call_rate: self.call_rate,
                ..Limits::default()
            },
        }
    }

    /// The next process: something may go wrong with it.
    pub fn next(&mut self, run: usize, age: Duration) -> Orders {
        let mut settings = self.settings();
        let calm = self.last(run, age);
        let jumps = self.clock_jumps;
        let random = &mut self.random;
        let ends = random.u32(0..10);
        let soon = |random: &mut Rng| {
            let most = random.choice([50, 2_000, 40_000]).unwrap_or(50);
            random.u32(0..most) * MS
        };
        let mut excluded = HashMap::new();
        if random.u32(0..8) == 0 {
            let numbers = self.lists[self.now].lines.iter().filter_map(|l| l.number);
            let some = numbers.filter(|_| random.u32(0..4) == 0);
            excluded.extend(some.map(|number| (number, "bounced.csv".into())));
        }
        let asks_for_none = random.u32(0..10) == 0;
        let mut wall = calm.wall;
        if jumps {
            let off = random.i64(0..48) * random.choice([-1, 1]).unwrap_or(1);
            wall.0 += off * i64::try_from(HOUR.as_micros()).unwrap_or(0);
        }
        settings.limits = Limits {
            call_rate: settings.limits.call_rate,
            ..limits(calm.operation, settings.seed, wall)
        };
        Orders {
            settings,
            cooldown: if asks_for_none {
                Duration::ZERO
            } else {
                calm.cooldown
            },
            excluded,
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
            campaign: self.now,
            operation: self.list().operation,
            name: self.list().name.clone(),
            cooldown: self.cooldown,
            excluded: HashMap::new(),
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

/// Hours that begin soon.
fn window(wall: UnixMicros, random: &mut Rng) -> Window {
    let minute = |at: i64| (at / 60_000_000).rem_euclid(24 * 60);
    let from = minute(wall.0) + random.i64(0..10);
    let until = from + random.i64(1..30);
    let shown = [from, until].map(|at| format!("{:02}:{:02}", at / 60 % 24, at % 60));
    shown.join("-").parse().unwrap()
}

/// Now and then hours that are near, a cap, a budget, a time to begin and one to end; those of calls.
fn limits(operation: Operation, seed: u64, wall: UnixMicros) -> Limits {
    let mut random = Rng::with_seed(seed);
    let mut limits = Limits::default();
    if random.u32(0..8) == 0 {
        limits.calendar.all.window = Some(window(wall, &mut random));
    }
    if operation == Operation::Send && random.u32(0..8) == 0 {
        limits.calendar.all.daily_cap = NonZeroU64::new(random.u64(30..80));
    }
    if operation == Operation::Send && random.u32(0..8) == 0 {
        limits.prices = "sms=1,call=1".parse().unwrap();
        limits.budget = Some(random.u32(1..60).to_string().parse().unwrap());
    }
    let mut now_and_then = || random.u32(0..8) == 0;
    let [starts, ends, hours, cap, few] = [(); 5].map(|()| now_and_then());
    limits.start_at = starts.then(|| wall + random.u32(1..120) * SECOND);
    limits.deadline = ends.then(|| limits.start_at.unwrap_or(wall) + random.u32(1..90) * SECOND);
    // Hours that have no minute in common are no settings.
    if hours && limits.calendar.all.window.is_none() {
        limits.calendar.calls.window = Some(window(wall, &mut random));
    }
    if cap && operation == Operation::Send {
        limits.calendar.calls.daily_cap = NonZeroU64::new(random.u64(20..60));
    }
    if few {
        limits.call_concurrency = NonZeroUsize::new(random.usize(1..6));
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
