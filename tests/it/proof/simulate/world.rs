//! What lies outside of the program: the gateway with its moods, and its log of what arrived. The
//! log is the judge.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, UNIX_EPOCH};

use fastrand::Rng;
use otpdrive::clock::Clock;
use otpdrive::gateway::Gateway;
use otpdrive::gateway::words::{self, Reply};
use otpdrive::outcome::{Job, Lane, Number, UnixMicros, Verdict};
use secrecy::ExposeSecret;
use tokio::time::{Instant, sleep};

use super::killer::Killer;
use super::weather::{MS, Weather};

/// A request as the gateway saw it.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says what is so, on its own"
)]
pub struct Request {
    /// The process that made it: 0, 1, 2 …
    pub run: usize,
    pub at: Instant,
    pub lane: Lane,
    pub number: Number,
    pub code: Option<String>,
    /// The OTP went out, or the code was used up.
    pub accepted: bool,
    /// What came back, if anything, does not say which.
    pub doubtful: bool,
    /// When the program heard the answer; `None`: it did not live to.
    pub heard: Option<Instant>,
    /// The answer is known to be on the disk.
    pub recorded: bool,
    /// The key was refused.
    pub refused: bool,
    /// What its answer said: nothing on this lane before.
    pub not_before: Option<Instant>,
}

/// Everything outside, over all processes of a campaign.
pub struct World {
    pub log: RefCell<Vec<Request>>,
    random: RefCell<Rng>,
    /// Numbers whose right code was used up.
    used: RefCell<HashSet<Number>>,
    /// The latest request for each number, unless nobody listened to it.
    heard: RefCell<HashMap<Number, usize>>,
    /// Requests to which nobody listened, by process.
    pub unreached: RefCell<Vec<usize>>,
}

/// The right code of a number: not the sandbox's rule, and with leading zeros.
pub fn right_code(number: Number) -> String {
    format!("{:06}", number.digits() * 7 % 90_000)
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
            random: RefCell::new(random),
            used: RefCell::default(),
            heard: RefCell::default(),
            unreached: RefCell::default(),
        }
    }

    /// The gateway as one process meets it.
    pub fn gateway<'w>(
        &'w self,
        run: usize,
        weather: &'w Weather,
        manner: Manner<'w>,
    ) -> SimGateway<'w> {
        SimGateway {
            world: self,
            run,
            weather,
            manner,
            since: Instant::now(),
            in_flight: Cell::new(0),
            in_flight_max: Cell::new(0),
        }
    }

    /// The latest request for this number, when it arrived and its answer was heard, as a place in
    /// the log.
    pub fn last_heard(&self, number: Number) -> Option<usize> {
        self.heard.borrow().get(&number).copied()
    }

    /// The answers to these requests are on the disk.
    pub fn recorded(&self, requests: &[usize]) {
        let mut log = self.log.borrow_mut();
        for index in requests {
            log[*index].recorded = true;
        }
    }

    fn accepts(&self, number: Number, code: Option<&str>) -> bool {
        code.is_none_or(|code| code == right_code(number) && self.used.borrow_mut().insert(number))
    }
}

/// How a process talks to the gateway.
#[derive(Clone, Copy)]
pub struct Manner<'w> {
    pub clock: Clock,
    pub timeout: Duration,
    /// An answered 500 or 502 may have been accepted, and the program is told so.
    pub hold_server_errors: bool,
    pub killer: &'w Killer,
}

/// The gateway as one process meets it.
pub struct SimGateway<'w> {
    world: &'w World,
    run: usize,
    weather: &'w Weather,
    manner: Manner<'w>,
    since: Instant,
    in_flight: Cell<usize>,
    pub in_flight_max: Cell<usize>,
}

impl SimGateway<'_> {
    /// What becomes of a request that has arrived.
    fn fate(&self, fate: &str, number: Number, lane: Lane, code: Option<&str>) -> Fate {
        let error = |message: &str| format!(r#"{{"status":"Error","message":"{message}"}}"#);
        let surely_not = |status, retry_after, body| Fate {
            accepted: false,
            doubtful: false,
            answer: Some((status, retry_after, body)),
        };
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
            "closed" => match number_of(0..3) {
                0 => surely_not(401, None, String::new()),
                1 => surely_not(403, None, "<html>".to_owned()),
                _ => surely_not(200, None, error("Authentication Error")),
            },
            "429" => surely_not(429, None, String::new()),
            "429 seconds" => {
                let seconds = RetryAfter::Seconds(number_of(0..20));
                surely_not(429, Some(seconds), String::new())
            }
            "429 date" => {
                let wait = Duration::from_secs(number_of(0..20).into());
                let at = self.manner.clock.now() + wait;
                let whole = UnixMicros(at.0 - at.0 % 1_000_000);
                surely_not(429, Some(RetryAfter::Date(whole)), error("Too many"))
            }
            "503" => surely_not(503, None, String::new()),
            "408" => surely_not(408, None, String::new()),
            "in progress" => surely_not(
                200,
                None,
                error("Already request is in progress, please try again."),
            ),
            "404" => surely_not(404, None, "<html>not here</html>".to_owned()),
            "500" | "502" => {
                let status = if fate == "500" { 500 } else { 502 };
                if self.manner.hold_server_errors {
                    perhaps(Some((status, None, String::new())))
                } else {
                    surely_not(status, None, String::new())
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
        let (accepted, body) = match lane {
            // The same reference again and again: it identifies nothing.
            Lane::Sms => (true, r#"{"status":"Success","message":"SM8"}"#),
            Lane::Call => (true, r#"{"status":"queued","message":"SM8"}"#),
            Lane::Verify if self.world.accepts(number, code) => (
                true,
                r#"{"status":"success","message":"Your Mobile Number OTP code is verified!"}"#,
            ),
            Lane::Verify => (
                false,
                r#"{"status":"Error","message":"Your Mobile Number OTP code verification failed"}"#,
            ),
        };
        Fate {
            accepted,
            doubtful: false,
            answer: Some((200, None, body.to_owned())),
        }
    }

    async fn answer(&self, index: usize, lane: Lane, fate: Fate) -> Verdict {
        let (time, in_time) = {
            let mut random = self.world.random.borrow_mut();
            let longest = u32::try_from(self.weather.latency_max.as_micros()).unwrap_or(1);
            let overdue = self.weather.late_one_in.map(|n| random.u32(0..n) == 0);
            let time = Duration::from_micros(random.u32(0..longest).into());
            match overdue {
                Some(true) => (self.manner.timeout, false),
                _ => (time, true),
            }
        };
        let Some((status, wait, body)) = fate.answer.filter(|_| in_time) else {
            self.world.log.borrow_mut()[index].doubtful = true;
            sleep(time).await;
            return words::no_answer(false, "no answer in time".to_owned());
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
                (Some(date), Some(self.manner.clock.instant(at)))
            }
        };
        {
            let request = &mut self.world.log.borrow_mut()[index];
            request.not_before = not_before;
        }
        let reply = Reply {
            status,
            retry_after: header.as_deref(),
            body: Ok(body.as_bytes()),
        };
        words::verdict(lane, &reply, self.manner.clock.now())
    }
}

impl Gateway for SimGateway<'_> {
    async fn request(&self, job: &Job, lane: Lane) -> Verdict {
        let killer = self.manner.killer;
        killer.point("before it leaves").await;
        let name = {
            let mut random = self.world.random.borrow_mut();
            self.weather.fate(self.since.elapsed(), &mut random)
        };
        if name == "unreachable" {
            self.world.unreached.borrow_mut().push(self.run);
            self.world.heard.borrow_mut().remove(&job.number);
            sleep(MS).await;
            return words::no_answer(true, "connection refused".to_owned());
        }
        let code = job
            .code
            .as_ref()
            .map(|code| code.expose_secret().to_owned());
        let fate = self.fate(name, job.number, lane, code.as_deref());
        let index = {
            let mut log = self.world.log.borrow_mut();
            log.push(Request {
                run: self.run,
                at: Instant::now(),
                lane,
                number: job.number,
                code,
                accepted: fate.accepted,
                doubtful: fate.doubtful,
                heard: None,
                recorded: false,
                refused: name == "closed",
                not_before: None,
            });
            log.len() - 1
        };
        self.in_flight.set(self.in_flight.get() + 1);
        let most = self.in_flight_max.get().max(self.in_flight.get());
        self.in_flight_max.set(most);
        killer.point("after it left").await;
        let verdict = self.answer(index, lane, fate).await;
        killer.point("before its answer is heard").await;
        self.in_flight.set(self.in_flight.get() - 1);
        let request = &mut self.world.log.borrow_mut()[index];
        request.heard = Some(Instant::now());
        self.world.heard.borrow_mut().insert(job.number, index);
        verdict
    }
}
