//! What must hold, whatever happened: judged by the gateway's log and by how the process ended.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use otpdrive::campaign::EarlierHolds;
use otpdrive::job::{Lane, UnixMicros};
use otpdrive::number::Number;
use otpdrive::pace::Rate;
use otpdrive::run::{End, StopKind, WhenUncertain};
use otpdrive::status::Status;
use tokio::time::Instant;

use super::process::{Orders, Said, Traces};
use super::story::Story;
use super::weather::SECOND;
use super::world::{Request, World};

/// What has been started leaves so long after that at the latest, when its connection is there.
const STARTED: Duration = Duration::from_secs(2);

/// What is wrong, in words; nothing, if nothing is.
pub type Verdicts = Result<(), String>;

macro_rules! hold {
    ($so:expr, $($why:tt)+) => {
        if !$so {
            return Err(format!($($why)+));
        }
    };
}
pub(super) use hold;

/// A process that is over.
pub struct Case<'a> {
    pub log: &'a [Request],
    pub world: &'a World,
    pub story: &'a Story,
    pub orders: &'a Orders,
    pub traces: &'a Traces,
}

/// What the program may know of a number.
#[derive(Clone, Copy, Default)]
struct Known {
    accepted: bool,
    /// The lane of a request that may have been accepted, the latest run with one, and how many
    /// that run made.
    perhaps: Option<(Lane, usize, u32)>,
}

impl<'a> Case<'a> {
    /// Judges a process, however it ended.
    pub fn any_process(&self) -> Verdicts {
        self.orders_are_kept()?;
        self.nobody_twice()?;
        self.nobody_soon_after_another_campaign()?;
        self.rate_is_kept(self.story.rate, |_| true)?;
        self.rate_is_kept(self.story.call_rate, |lane| lane == Lane::Call)?;
        self.limits_are_kept()?;
        self.times_are_kept()?;
        self.retry_after_is_kept()
    }

    /// The requests of the process.
    pub fn of_run(&self) -> impl DoubleEndedIterator<Item = &'a Request> + Clone {
        let run = self.orders.run;
        self.log.iter().filter(move |request| request.run == run)
    }

    /// The requests for the list, of all processes.
    pub fn of_campaign(&self) -> impl Iterator<Item = &'a Request> {
        let campaign = self.orders.campaign;
        let mut log = self.log.iter();
        std::iter::from_fn(move || log.find(|request| request.campaign == campaign))
    }

    /// Nobody is asked for again in a campaign after a request that was accepted, or may have been.
    /// Where that is wanted all the same it is never on another channel, and a run risks one more
    /// OTP and no more. What earlier processes did was judged then.
    fn nobody_twice(&self) -> Verdicts {
        let mut all: HashMap<_, Known> = HashMap::new();
        for request in self.of_campaign() {
            let now = request.run == self.orders.run;
            let known = all.entry(request.who()).or_default();
            let again = now && known.accepted;
            hold!(!again, "again after an acceptance: {request:?}");
            if let Some((lane, ..)) = known.perhaps.filter(|_| now) {
                let hold = self.story.on_unknown == WhenUncertain::Hold;
                hold!(!hold, "again after a doubt: {request:?}");
                let same = lane == request.lane;
                hold!(same, "on another channel after a doubt: {request:?}");
            }
            known.accepted |= request.is_known_to_be_accepted();
            if request.may_be_accepted() {
                let (most, times) = match known.perhaps {
                    None => (2, 1),
                    Some((_, run, times)) if run == request.run => (2.max(times), times + 1),
                    // The first of a later run is the risk already.
                    Some(_) => (2, 2),
                };
                let send = request.lane != Lane::Verify && now;
                hold!(!send || times <= most, "a third OTP in a run: {request:?}");
                let reached = &self.world.reached;
                reached.note_if(send && times == 2, "a second OTP is risked");
                known.perhaps = Some((request.lane, request.run, times));
            }
        }
        Ok(())
    }

    /// Nobody gets an OTP to whom another campaign has sent one, or may have, within the cool-down.
    /// An intent may be noted a second before its request leaves.
    fn nobody_soon_after_another_campaign(&self) -> Verdicts {
        let (orders, reached) = (self.orders, &self.world.reached);
        let is_otp = |r: &&Request| r.lane != Lane::Verify;
        let mut latest: HashMap<Number, UnixMicros> = HashMap::new();
        let others = self.log.iter().filter(|r| r.campaign != orders.campaign);
        for earlier in others.filter(is_otp).filter(|r| r.may_be_accepted()) {
            let at = latest.entry(earlier.number).or_insert(earlier.wall);
            *at = earlier.wall.max(*at);
        }
        for request in self.of_run().filter(is_otp) {
            let Some(at) = latest.get(&request.number) else {
                continue;
            };
            let ago = orders.wall.since(*at);
            let late = ago + SECOND >= orders.cooldown;
            hold!(late, "{ago:?} after another campaign: {request:?}");
            reached.note(match orders.cooldown {
                Duration::ZERO => "sent to by two campaigns on purpose",
                _ => "sent to again after the cool-down",
            });
        }
        Ok(())
    }

    /// In any second at most the rate on these lanes, and 0.5 % or one more.
    fn rate_is_kept(&self, rate: Option<Rate>, binds: impl Fn(Lane) -> bool) -> Verdicts {
        let Some(rate) = rate else {
            return Ok(());
        };
        let log: Vec<_> = self.log.iter().filter(|r| binds(r.lane)).collect();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "small counts"
        )]
        let most = (rate.per_second() + f64::max(1.0, rate.per_second() / 200.0)).floor() as usize;
        let mut start = 0;
        for (n, request) in log.iter().enumerate() {
            while request.at - log[start].at >= SECOND {
                start += 1;
            }
            let count = n - start + 1;
            let run = request.run;
            hold!(count <= most, "{count} in a second at {rate:?}, run {run}");
        }
        Ok(())
    }

    /// Nothing leaves outside of its hours, nor beyond the day's cap, nor beyond the budget.
    fn limits_are_kept(&self) -> Verdicts {
        let limits = &self.orders.settings.limits;
        for (n, request) in self.log.iter().enumerate() {
            if request.run != self.orders.run {
                continue;
            }
            let (before, lane, wall) = (&self.log[..n], request.lane, request.wall);
            let open = limits.calendar.is_open(lane, wall);
            hold!(open, "outside of its hours: {request:?}");
            let (reached, day) = (&self.world.reached, limits.calendar.day(wall));
            let today = |binds: &dyn Fn(Lane) -> bool| {
                let today = |r: &&Request| binds(r.lane) && day.contains(&r.wall);
                before.iter().filter(today).count() as u64 + 1
            };
            if let Some(cap) = limits.calendar.all.daily_cap {
                let today = today(&|lane| lane != Lane::Verify);
                hold!(today <= cap.get(), "{today} on a day, not {cap}");
                reached.note_if(today == cap.get(), "a day's cap is reached");
            }
            let calls = limits.calendar.calls;
            if let Some(cap) = calls.daily_cap.filter(|_| lane == Lane::Call) {
                let today = today(&|lane| lane == Lane::Call);
                hold!(today <= cap.get(), "{today} calls on a day, not {cap}");
                reached.note_if(today == cap.get(), "a day's cap of calls is reached");
            }
            let bound = lane == Lane::Call && calls.window.is_some();
            reached.note_if(bound, "a call within its hours");
            if let Some((budget, price)) = limits.budget.zip(limits.prices.of(lane)) {
                let of_campaign = before.iter().filter(|r| r.campaign == request.campaign);
                let billed = of_campaign.filter(|r| r.may_be_accepted()).count() as u64 + 1;
                hold!(price * billed <= budget, "{billed} cost more than {budget}");
            }
        }
        Ok(())
    }

    /// Nothing leaves before the time to start, and no new number is started after the deadline; one that
    /// was started may still have had to connect.
    fn times_are_kept(&self) -> Verdicts {
        let (orders, reached) = (self.orders, &self.world.reached);
        let limits = &orders.settings.limits;
        if let (Some(start), Some(first)) = (limits.start_at, self.of_run().next()) {
            hold!(first.wall >= start, "before its time: {first:?}");
            reached.note("a time to start is waited for");
        }
        let Some(deadline) = limits.deadline else {
            return Ok(());
        };
        let stall = &orders.weather.stall;
        let stall = stall.end.saturating_sub(stall.start);
        let late = deadline + stall + orders.weather.connect_max + STARTED;
        let starts = self.world.starts.borrow();
        for request in self.of_run().filter(|r| r.wall > deadline) {
            let job = (request.run, request.number, request.code.clone());
            let (first, connections) = starts[&job];
            hold!(first <= deadline, "started at {first}: {request:?}");
            let waited = connections > 1 || request.wall <= late;
            hold!(waited, "started late: {request:?}");
            reached.note_if(connections > 1, "a retry after the deadline");
        }
        Ok(())
    }

    /// After an answer with `Retry-After` nothing leaves on that lane before its time; after the end
    /// of the process that heard it, if it was written down, the clocks agree, and nobody said
    /// otherwise.
    fn retry_after_is_kept(&self) -> Verdicts {
        let orders = self.orders;
        let keep = orders.settings.earlier_holds == EarlierHolds::Keep && !self.story.clock_jumps;
        for held in self.log {
            let (Some(heard), Some(until)) = (held.heard, held.not_before) else {
                continue;
            };
            for later in self.of_run().filter(|later| later.lane == held.lane) {
                let bound = later.run == held.run || (held.recorded && keep);
                let early = later.at > heard && later.at < until;
                let (by, from) = (until.saturating_duration_since(later.at), held.run);
                hold!(!(bound && early), "{by:?} before Retry-After of run {from}");
            }
        }
        Ok(())
    }

    /// What one process may do: no more at once, no more numbers than it was told, nobody but those
    /// in its list and out of others, and nothing after it was told to stop or lost its key or its
    /// account.
    fn orders_are_kept(&self) -> Verdicts {
        let settings = &self.orders.settings;
        let (most, concurrency) = (self.traces.in_flight_max, settings.concurrency.get());
        hold!(most <= concurrency, "{most} in flight of {concurrency}");
        if let Some(few) = settings.limits.call_concurrency {
            let calls = self.traces.calls_max;
            hold!(calls <= few.get(), "{calls} calls in flight of {few}");
            let reached = &self.world.reached;
            reached.note_if(calls == few.get(), "calls in flight are as many as may be");
        }
        if let Some(signalled) = self.traces.signalled {
            let after = self.of_run().filter(|r| r.at > signalled).count();
            hold!(after == 0, "{after} requests after the signal");
        }
        let refused = self.of_run().filter(|r| matches!(r.fate, "closed" | "402"));
        if let Some(heard) = refused.filter_map(|r| r.heard).min() {
            let after = self.of_run().filter(|r| r.at > heard).count();
            hold!(after == 0, "{after} requests after a refusal of all");
        }
        let numbers: BTreeSet<Number> = self.of_run().map(|r| r.number).collect();
        if let Some(limit) = settings.limit {
            let tried = numbers.len() as u64;
            hold!(tried <= limit, "{tried} numbers of {limit}");
        }
        let lines = self.story.list().lines.iter();
        let asked_for: BTreeSet<_> = lines.map(|l| (l.number, l.otp.as_str())).collect();
        let numbers_only: BTreeSet<_> = asked_for.iter().map(|(number, _)| *number).collect();
        for request in self.of_run() {
            let number = Some(request.number);
            let is_in = match &request.code {
                Some(code) => asked_for.contains(&(number, code)),
                None => numbers_only.contains(&number),
            };
            hold!(is_in, "nobody asked for {request:?}");
            let left_out = self.orders.excluded.contains_key(&request.number);
            hold!(!left_out, "in a suppression list: {request:?}");
        }
        Ok(())
    }

    /// It ended for a reason.
    pub fn end_is_true(&self, said: &Said) -> Verdicts {
        let (orders, reached) = (self.orders, &self.world.reached);
        let End::Stopped(stop) = &said.end else {
            let complete = said.end == End::Complete;
            hold!(!complete || !said.has_wave(), "complete after a wave");
            return Ok(());
        };
        let mut heard = self.of_run().filter(|r| r.heard.is_some() && !r.doubtful);
        let mut came = |fate| heard.any(|r| r.fate == fate);
        match stop.kind {
            // It would be the same request twice.
            StopKind::Ledger => {
                let full = orders.disk_full_after.is_some();
                hold!(full, "{}", stop.message);
            }
            StopKind::Outage => {
                reached.note("an outage is too long");
                return self.was_silent();
            }
            StopKind::AccountRefused if came("402") => {
                reached.note("an account is refused with a 402");
            }
            StopKind::AccountRefused => return self.was_a_wave(said),
            StopKind::KeyRefused => {
                hold!(came("closed"), "the key was not refused");
                reached.note("a key is refused");
            }
            StopKind::WrongEndpoint => {
                let mut earlier = self.log.iter().filter(|r| r.run < orders.run);
                let right = earlier.any(|r| r.recorded && r.accepted && !r.doubtful);
                hold!(!right, "the endpoint had proved right");
                reached.note("an endpoint is wrong");
            }
            StopKind::Certificate => return Err("there are no certificates".to_owned()),
            StopKind::Limit => reached.note("a limit"),
            StopKind::MaxDuration => reached.note("a time to start numbers is over"),
            StopKind::Budget => {
                hold!(orders.settings.limits.budget.is_some(), "there is none");
                reached.note("a budget is used up");
            }
            StopKind::Deadline => {
                let deadline = orders.settings.limits.deadline;
                let has_passed = deadline.is_some_and(|at| at <= self.wall());
                hold!(has_passed, "before the deadline");
                reached.note("a deadline");
            }
        }
        Ok(())
    }

    /// What the system's clock shows now.
    fn wall(&self) -> UnixMicros {
        self.orders.wall + (Instant::now() - self.traces.began)
    }

    /// A run that stopped for an outage had heard of no acceptance on some lane for so long. The
    /// last request of all may have been on its way when it stopped.
    fn was_silent(&self) -> Verdicts {
        let (now, max_outage) = (Instant::now(), self.orders.settings.max_outage);
        let long = now - self.traces.began >= max_outage;
        hold!(long, "an outage that was too short");
        let silent = Lane::ALL.into_iter().any(|lane| {
            let of_lane = self.of_run().filter(|r| r.lane == lane);
            let mut before_last = of_lane.rev().skip(1);
            !before_last.any(|r| r.at + max_outage > now && r.accepted && !r.doubtful)
        });
        hold!(silent, "a gateway that works is no outage");
        Ok(())
    }

    /// All that were refused for the account's sake are pending, and nobody among them was called.
    fn was_a_wave(&self, said: &Said) -> Verdicts {
        let refused_alike = self.orders.settings.refused_alike;
        let most = refused_alike.map_or(usize::MAX, Into::into);
        let waves: Vec<_> = Lane::ALL
            .into_iter()
            .filter_map(|lane| Some((lane, self.alike(lane, most)?)))
            .collect();
        hold!(!waves.is_empty(), "{most} were not refused alike");
        for (lane, refused) in waves {
            let again = self
                .of_run()
                .find(|r| r.lane != lane && refused.get(&r.who()).is_some_and(|at| r.at > *at));
            hold!(again.is_none(), "a fallback out of a wave: {again:?}");
            for (row, line) in said.rows.iter().zip(&self.story.list().lines) {
                let is = |(number, of): &(Number, Option<&str>)| {
                    row.number == Some(*number) && of.is_none_or(|of| of == line.otp)
                };
                let is_in = refused.keys().any(is);
                let rejected = row.outcome(&said.runs).status == Status::Rejected;
                hold!(!is_in || !rejected, "refused in a wave: {row:?}");
            }
        }
        Ok(())
    }

    /// Who was refused in the same words on this lane, one after the other, and when, if there are
    /// so many. An acceptance in between counts if its request left after the first refusal was
    /// heard.
    fn alike(&self, lane: Lane, most: usize) -> Option<HashMap<(Number, Option<&str>), Instant>> {
        let of_lane = self.of_run().filter(|r| r.lane == lane && !r.doubtful);
        let mut answers: Vec<_> = of_lane.filter_map(|r| Some((r.heard?, r))).collect();
        answers.sort_by_key(|(heard, _)| *heard);
        let (mut words, mut refused) = ("", HashMap::new());
        for (heard, request) in answers {
            let fate = request.fate;
            let is_refusal = matches!(fate, "rejected" | "missing" | "no credit");
            let first = refused.values().min().copied();
            let breaks = if is_refusal {
                fate != words
            } else {
                let says = request.accepted || matches!(fate, "404" | "302" | "accepted");
                says && first.is_some_and(|first| request.at >= first)
            };
            if breaks {
                refused.clear();
            }
            if is_refusal {
                words = fate;
                refused.entry(request.who()).or_insert(heard);
                if refused.len() >= most {
                    return Some(refused);
                }
            }
        }
        None
    }
}
