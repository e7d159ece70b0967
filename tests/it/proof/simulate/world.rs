//! What lies outside of the program: the gateway with its moods, and its log of what arrived. The
//! log is the judge.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, UNIX_EPOCH};

use fastrand::Rng;
use otpdrive::clock::Clock;
use otpdrive::gateway::words::{self, Reply};
use otpdrive::gateway::{Gateway, NoConnection, Ready};
use otpdrive::job::{Found, Job, JobId, Lane, UnixMicros, Verdict, VerdictKind};
use otpdrive::number::Number;
use otpdrive::run::WhenUncertain;
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};

use super::killer::Killer;
use super::process::Orders;
use super::reached::Reached;

/// No story takes so many.
const REQUESTS_MAX: usize = 30_000;

/// A request as the gateway saw it.
#[derive(Clone, Debug)]
pub struct Request {
    /// The process that made it: 0, 1, 2 …
    pub run: usize,
    /// For which list.
    pub campaign: usize,
    pub at: Instant,
    /// What the system's clock said then.
    pub wall: UnixMicros,
    pub lane: Lane,
    pub number: Number,
    pub code: Option<String>,
    /// What became of it, in a word.
    pub fate: &'static str,
    /// The OTP went out, or the code was used up.
    pub accepted: bool,
    /// What comes back, if anything, does not say which.
    pub doubtful: bool,
    /// When the program heard the answer; `None`: it did not live to.
    pub heard: Option<Instant>,
    /// The answer is known to be on the disk.
    pub recorded: bool,
    /// What its answer said: nothing on this lane before.
    pub not_before: Option<Instant>,
    /// What somebody found out about it.
    pub looked_up: Option<Found>,
}

/// A request that was about to leave, and may have.
pub struct Intent {
    pub run: usize,
    pub campaign: usize,
    pub number: Number,
    pub code: Option<String>,
    pub begun_at: UnixMicros,
}

impl Request {
    /// Whom it was for.
    pub fn who(&self) -> (Number, Option<&str>) {
        (self.number, self.code.as_deref())
    }

    /// May it have been accepted, as far as the program can know?
    pub fn may_be_accepted(&self) -> bool {
        match self.looked_up {
            Some(found) => found == Found::Sent,
            None => self.heard.is_none() || self.accepted || self.doubtful,
        }
    }

    /// Was it accepted, and does the program know?
    pub fn is_known_to_be_accepted(&self) -> bool {
        match self.looked_up {
            Some(found) => found == Found::Sent,
            None => self.recorded && self.accepted && !self.doubtful,
        }
    }
}

/// A process, and whom it makes requests for.
type JobOfRun = (usize, Number, Option<String>);

/// Everything outside, over all processes.
pub struct World {
    pub log: RefCell<Vec<Request>>,
    /// All that the ledger was told, whether or not it is on the disk.
    pub intents: RefCell<Vec<Intent>>,
    /// Before which process what was known of a campaign's number was looked up.
    pub lookups: RefCell<HashMap<(usize, Number), usize>>,
    /// When a process asked for the first connection for each job, and how many.
    pub starts: RefCell<HashMap<JobOfRun, (UnixMicros, usize)>>,
    pub reached: Reached,
    random: RefCell<Rng>,
    /// Numbers whose right code was used up.
    used: RefCell<HashSet<Number>>,
    /// The latest request for each job whose answer was heard.
    heard: RefCell<HashMap<JobId, usize>>,
}

/// The right code of a number: not the sandbox's rule, and with leading zeros.
pub fn right_code(number: Number) -> String {
    format!("{:06}", number.digits() * 7 % 90_000)
}

fn json(status: &str, message: &str) -> String {
    format!(r#"{{"status":"{status}","message":"{message}"}}"#)
}

/// What comes back, and what became of the request.
struct Fate {
    accepted: bool,
    doubtful: bool,
    /// HTTP status, `Retry-After`, body; `None`: nothing.
    answer: Option<(u16, Option<RetryAfter>, String)>,
}

/// A `Retry-After`, in one of its forms.
#[derive(Clone, Copy)]
enum RetryAfter {
    Seconds(u32),
    Date(UnixMicros),
}

impl World {
    pub fn new(random: Rng) -> Self {
        Self {
            log: RefCell::default(),
            intents: RefCell::default(),
            lookups: RefCell::default(),
            starts: RefCell::default(),
            reached: Reached::default(),
            random: RefCell::new(random),
            used: RefCell::default(),
            heard: RefCell::default(),
        }
    }

    /// The gateway as one process meets it.
    pub fn gateway<'w>(
        &'w self,
        orders: &'w Orders,
        clock: Clock,
        killer: &'w Killer,
    ) -> SimGateway<'w> {
        SimGateway {
            world: self,
            orders,
            clock,
            killer,
            since: Instant::now(),
            in_flight: Flight::default(),
            calls: Flight::default(),
        }
    }

    /// The latest request for this job whose answer was heard, as a place in the log.
    pub fn last_heard(&self, job: JobId) -> Option<usize> {
        self.heard.borrow().get(&job).copied()
    }

    /// The answers to these requests are on the disk.
    pub fn recorded(&self, requests: &[usize]) {
        let mut log = self.log.borrow_mut();
        for index in requests {
            log[*index].recorded = true;
        }
    }

    /// Somebody found out what became of the requests for a number that are in doubt; `run` is the
    /// next process.
    pub fn look_up(&self, campaign: usize, number: Number, found: Found, run: usize) {
        self.reached.note(match found {
            Found::Sent => "looked up: it was sent",
            Found::Unsent => "looked up: it was not sent",
        });
        for request in self.log.borrow_mut().iter_mut() {
            let is_meant = (request.campaign, request.number) == (campaign, number);
            let in_doubt = request.may_be_accepted() || !request.recorded;
            if is_meant && in_doubt && request.looked_up.is_none() {
                request.looked_up = Some(found);
            }
        }
        self.lookups.borrow_mut().insert((campaign, number), run);
    }

    fn starts(&self, ready: &SimReady<'_>, wall: UnixMicros) {
        let job = (ready.gateway.orders.run, ready.number, ready.code.clone());
        let mut starts = self.starts.borrow_mut();
        starts.entry(job).or_insert((wall, 0)).1 += 1;
    }

    fn accepts(&self, number: Number, code: Option<&str>) -> bool {
        code.is_none_or(|code| code == right_code(number) && self.used.borrow_mut().insert(number))
    }
}

/// The gateway as one process meets it.
pub struct SimGateway<'w> {
    world: &'w World,
    orders: &'w Orders,
    clock: Clock,
    killer: &'w Killer,
    since: Instant,
    pub in_flight: Flight,
    pub calls: Flight,
}

/// How many are on their way, and how many were at most.
#[derive(Default)]
pub struct Flight {
    now: Cell<usize>,
    pub most: Cell<usize>,
}

impl Flight {
    fn takes_off(&self) {
        self.now.set(self.now.get() + 1);
        self.most.set(self.most.get().max(self.now.get()));
    }

    fn lands(&self) {
        self.now.set(self.now.get() - 1);
    }
}

impl SimGateway<'_> {
    /// Where a request of this lane counts.
    fn flights(&self, lane: Lane) -> impl Iterator<Item = &Flight> {
        let calls = (lane == Lane::Call).then_some(&self.calls);
        [&self.in_flight].into_iter().chain(calls)
    }

    /// What becomes of a request that has arrived.
    fn fate(&self, fate: &str, number: Number, lane: Lane, code: Option<&str>) -> Fate {
        let error = |message: &str| json("Error", message);
        let surely_not = |status, retry_after, body: String| Fate {
            accepted: false,
            doubtful: false,
            answer: Some((status, retry_after, body)),
        };
        let bare = |status| surely_not(status, None, String::new());
        let perhaps = |answer| {
            let coin = self.world.random.borrow_mut().bool();
            Fate {
                accepted: coin && self.world.accepts(number, code),
                doubtful: true,
                answer,
            }
        };
        let number_of = |n| self.world.random.borrow_mut().u32(n);
        match fate {
            "rejected" => surely_not(200, None, error("Number is barred")),
            "missing" => surely_not(400, None, error("API key or Phone Number Missing")),
            "no credit" => {
                let words = error(&format!("No credit for {}", number.digits() % 1_000));
                surely_not(200, None, words)
            }
            "closed" => match number_of(0..3) {
                0 => bare(401),
                1 => bare(403),
                _ => surely_not(200, None, error("Authentication Error")),
            },
            "polite" | "429 seconds" => {
                let (status, most) = if fate == "polite" {
                    (503, 6)
                } else {
                    (429, 20)
                };
                let seconds = RetryAfter::Seconds(number_of(0..most));
                surely_not(status, Some(seconds), String::new())
            }
            "429 date" => {
                let wait = Duration::from_secs(number_of(0..20).into());
                let at = self.clock.now() + wait;
                let whole = UnixMicros(at.0 - at.0 % 1_000_000);
                surely_not(429, Some(RetryAfter::Date(whole)), error("Too many"))
            }
            "in progress" => surely_not(
                200,
                None,
                error("Already request is in progress, please try again."),
            ),
            "302" | "402" | "404" | "408" | "429" | "503" => bare(fate.parse().unwrap_or(503)),
            "500" | "502" => {
                let status = fate.parse().unwrap_or(500);
                let policy = &self.orders.settings.policy;
                if policy.on_server_error == WhenUncertain::Hold {
                    perhaps(Some((status, None, String::new())))
                } else {
                    bare(status)
                }
            }
            "504" => perhaps(Some((504, None, String::new()))),
            "garbage" => perhaps(Some((200, None, "\u{fffd}{]".to_owned()))),
            "lost" => perhaps(None),
            _ => self.in_good_order(number, lane, code),
        }
    }

    /// What becomes of a request with which nothing goes wrong.
    fn in_good_order(&self, number: Number, lane: Lane, code: Option<&str>) -> Fate {
        let accepted = self.world.accepts(number, code);
        let (status, message) = match lane {
            // The same reference again and again: it identifies nothing.
            Lane::Sms => ("Success", "SM8"),
            Lane::Call => ("queued", "SM8"),
            Lane::Verify if accepted => ("success", "Your Mobile Number OTP code is verified!"),
            Lane::Verify => ("Error", "Your Mobile Number OTP code verification failed"),
        };
        Fate {
            accepted,
            doubtful: false,
            answer: Some((200, None, json(status, message))),
        }
    }

    async fn answer(&self, index: usize, lane: Lane, fate: Fate) -> Verdict {
        let (time, in_time) = {
            let mut random = self.world.random.borrow_mut();
            let longest = u32::try_from(self.orders.weather.latency_max.as_micros()).unwrap_or(1);
            let overdue = self
                .orders
                .weather
                .late_one_in
                .map(|n| random.u32(0..n) == 0);
            let time = Duration::from_micros(random.u32(0..longest).into());
            match overdue {
                Some(true) => (self.orders.timeout, false),
                _ => (time, true),
            }
        };
        let Some((status, wait, body)) = fate.answer.filter(|_| in_time) else {
            self.world.log.borrow_mut()[index].doubtful = true;
            sleep(time).await;
            return Verdict::new(VerdictKind::NoAnswer, "no answer in time");
        };
        sleep(time).await;
        let (header, not_before) = match wait {
            None => (None, None),
            Some(RetryAfter::Seconds(n)) => {
                let until = Instant::now() + Duration::from_secs(n.into());
                (Some(n.to_string()), Some(until))
            }
            Some(RetryAfter::Date(at)) => {
                let since_1970 = Duration::from_micros(at.0.unsigned_abs());
                let date = httpdate::fmt_http_date(UNIX_EPOCH + since_1970);
                (Some(date), Some(self.clock.instant(at)))
            }
        };
        self.world.log.borrow_mut()[index].not_before = not_before;
        let reply = Reply {
            status,
            retry_after: header.as_deref(),
            body: Ok(body.as_bytes()),
        };
        words::verdict(lane, &reply, self.clock.now())
    }
}

/// A request with its connection, and a place among those in flight.
pub struct SimReady<'g> {
    gateway: &'g SimGateway<'g>,
    job: JobId,
    number: Number,
    code: Option<String>,
    lane: Lane,
}

impl Drop for SimReady<'_> {
    fn drop(&mut self) {
        for flight in self.gateway.flights(self.lane) {
            flight.lands();
        }
    }
}

impl Gateway for SimGateway<'_> {
    type Ready<'g>
        = SimReady<'g>
    where
        Self: 'g;

    async fn connect(&self, job: &Job, lane: Lane) -> Result<SimReady<'_>, NoConnection> {
        let (time, fate) = {
            let (age, mut random) = (self.since.elapsed(), self.world.random.borrow_mut());
            let fate = self.orders.weather.fate(age, lane, &mut random);
            (self.orders.weather.connecting(age, &mut random), fate)
        };
        if self.orders.weather.stall.contains(&self.since.elapsed()) {
            self.world.reached.note("connections stall");
        }
        for flight in self.flights(lane) {
            flight.takes_off();
        }
        let ready = SimReady {
            gateway: self,
            job: job.id,
            number: job.number,
            code: job.code.as_ref().map(|c| c.expose_secret().to_owned()),
            lane,
        };
        self.world.starts(&ready, self.clock.now());
        sleep(time).await;
        if fate == "unreachable" {
            return Err(Verdict::new(VerdictKind::Unreachable, "connection refused").into());
        }
        Ok(ready)
    }

    fn lead(&self) -> Duration {
        self.orders.weather.connect_max
    }
}

impl Ready for SimReady<'_> {
    async fn go(self) -> Verdict {
        let (gateway, lane) = (self.gateway, self.lane);
        let (world, killer) = (gateway.world, gateway.killer);
        killer.point("before it leaves").await;
        let name = {
            let (age, mut random) = (gateway.since.elapsed(), world.random.borrow_mut());
            gateway.orders.weather.fate(age, lane, &mut random)
        };
        if name == "unreachable" || name == "gone" {
            world
                .reached
                .note("a connection is gone when its turn comes");
            let kind = if name == "gone" {
                VerdictKind::Withdrawn
            } else {
                VerdictKind::Unreachable
            };
            return Verdict::new(kind, "connection closed");
        }
        let fate = gateway.fate(name, self.number, lane, self.code.as_deref());
        let index = world.log.borrow().len();
        assert!(index < REQUESTS_MAX, "there is no end to the requests");
        world.log.borrow_mut().push(Request {
            run: gateway.orders.run,
            campaign: gateway.orders.campaign,
            at: Instant::now(),
            wall: gateway.clock.now(),
            lane,
            number: self.number,
            code: self.code.clone(),
            fate: name,
            accepted: fate.accepted,
            doubtful: fate.doubtful,
            heard: None,
            recorded: false,
            not_before: None,
            looked_up: None,
        });
        killer.point("after it left").await;
        let verdict = gateway.answer(index, lane, fate).await;
        killer.point("before its answer is heard").await;
        world.log.borrow_mut()[index].heard = Some(Instant::now());
        world.heard.borrow_mut().insert(self.job, index);
        verdict
    }
}
