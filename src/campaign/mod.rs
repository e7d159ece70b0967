//! The engine: who is next, may it go now, begin, send, settle, decide.
//!
//! It opens no file and knows no HTTP: the durable memory and the gateway are handed in, so are
//! time (tokio's clock), randomness (a seed) and the signal to stop. One task does everything;
//! requests in flight are futures in it, so nothing here needs a lock.
//!
//! Read `Line::attempt` first: it is one request's whole life.

mod live;
mod queue;

use std::cell::Cell;
use std::num::NonZeroUsize;
use std::pin::pin;
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::ledger::{Due, Ledger, LedgerError};
use crate::outage::{Gate, Outage};
use crate::outcome::{
    Answer, Attempt, Job, Lane, Policy, RowId, RunId, Status, Step, UnixMicros, Verdict,
    mask_numbers, next_step, outcome,
};
use crate::pace::{Pace, Rate};
use crate::record::{End, Signal, Stop, StopKind};
use crate::retry::Backoff;
pub use live::{Live, Stall, Why};
use queue::{Next, Queue, READ_AHEAD, Waiting};

/// This many answers from the start that are all redirects or 4xx say that the endpoint is wrong.
const SUSPECTS_MAX: usize = 20;

/// Waits for the pace that are shorter are not mentioned.
const WORTH_SAYING: Duration = Duration::from_secs(2);

/// Permits are asked for in lots of this much time.
const LOT: Duration = Duration::from_millis(100);

/// How a run goes about its work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What may be done for one number.
    pub policy: Policy,
    /// Is an answered 500 or 502 not believed, but taken as "may have been sent"?
    pub hold_server_errors: bool,
    /// Requests in flight at once.
    pub concurrency: NonZeroUsize,
    /// Requests in a period of time; `None`: unlimited.
    pub rate: Option<Rate>,
    /// The wait before a retry.
    pub backoff: Backoff,
    /// How long to wait out a gateway that is down.
    pub max_outage: Duration,
    /// Start at most this many numbers.
    pub limit: Option<u64>,
    /// Start no new numbers after this time.
    pub max_duration: Option<Duration>,
    /// Makes the jitter of retries repeatable.
    pub seed: u64,
}

/// What a run works with.
pub struct Means<'a, L, G> {
    /// The durable memory.
    pub ledger: &'a L,
    /// The provider.
    pub gateway: &'a G,
    /// Tells the time.
    pub clock: Clock,
    /// What can be seen from outside.
    pub live: &'a Live,
}

/// What a run is to do.
pub struct Task {
    /// Its name in the ledger.
    pub run: RunId,
    /// The lanes on which there is something to do.
    pub lanes: Vec<Lane>,
    /// Until when each lane is held back by a `Retry-After` from before.
    pub holds: [Option<UnixMicros>; Lane::ALL.len()],
}

/// How a run ended.
#[derive(Debug)]
pub struct Finished {
    /// For the report and the exit code.
    pub end: End,
    /// When the last request left.
    pub last_left_at: Option<UnixMicros>,
}

/// Works through the campaign until nothing is left to do, it has to stop, or `stop` says so.
/// Requests in flight are always waited for: what has left must be recorded.
pub async fn run<L: Ledger, G: Gateway>(
    means: &Means<'_, L, G>,
    settings: &Settings,
    task: Task,
    stop: impl Future<Output = Signal>,
) -> Finished {
    let shared = Line {
        means,
        pace: Pace::new(settings.rate),
        closed: Cell::new(false),
        held: Cell::new([None; Lane::ALL.len()]),
        intents: Cell::new(0),
        last_left_at: Cell::new(None),
    };
    let mut desk = Desk::new(&shared, settings, &task);
    let mut flights = FuturesUnordered::new();
    let mut reads = FuturesUnordered::new();
    let mut stop = pin!(stop.fuse());
    loop {
        let mut wake = None;
        while flights.len() < settings.concurrency.get() {
            match desk.next(Instant::now()).await {
                Move::Go(job, lane) => flights.push(shared.attempt(job, lane)),
                Move::Again => {}
                Move::At(at) => {
                    wake = Some(at);
                    break;
                }
                Move::Nothing => break,
            }
        }
        if reads.is_empty()
            && let Some((lane, after)) = desk.wants()
        {
            let due = means.ledger.due(lane, after, READ_AHEAD, settings.policy);
            reads.push(due.map(move |due| (lane, due)));
        }
        means.live.set_queues(flights.len(), desk.queue.waiting());
        if flights.is_empty() && reads.is_empty() && (wake.is_none() || desk.end.is_some()) {
            if desk.end.is_some() || desk.parked.is_empty() {
                break;
            }
            desk.give_up_parked();
            continue;
        }
        tokio::select! {
            biased;
            signal = &mut stop => desk.finish(End::Interrupted(signal)),
            Some(landed) = flights.next() => desk.settle(landed).await,
            Some((lane, read)) = reads.next() => desk.take_in(lane, read),
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
    }
    desk.close().await
}

/// What requests in flight share.
struct Line<'a, L, G> {
    means: &'a Means<'a, L, G>,
    pace: Pace,
    /// The run has ended: nothing leaves any more.
    closed: Cell<bool>,
    /// Until when each lane is held back.
    held: Cell<[Option<Instant>; Lane::ALL.len()]>,
    /// Intents whose requests have not left yet.
    intents: Cell<usize>,
    last_left_at: Cell<Option<UnixMicros>>,
}

/// A request that is over.
struct Landed {
    job: Job,
    lane: Lane,
    fate: Fate,
}

enum Fate {
    /// It left; the job's last attempt has its answer.
    Answered,
    /// It did not leave after all, and the intent was taken back.
    Withdrawn,
    /// Its intent could not be written down, so it did not leave.
    NotNoted(LedgerError),
}

impl<L: Ledger, G: Gateway> Line<'_, L, G> {
    /// One request's whole life. The job's last attempt is the one that begins here; the slot is
    /// the place among the flights, taken before and given back after.
    async fn attempt(&self, mut job: Job, lane: Lane) -> Landed {
        let Means {
            ledger,
            gateway,
            clock,
            ..
        } = self.means;
        // Durable when it returns: from here on a crash leaves `unknown`, never a second sending.
        let noted = ledger.begin(&job).await;
        if noted.is_ok() {
            self.pace.turn().await;
        }
        self.intents.set(self.intents.get() - 1);
        if let Err(error) = noted {
            job.attempts.pop();
            let fate = Fate::NotNoted(error);
            return Landed { job, lane, fate };
        }
        if !self.may_leave(lane) {
            if let Some(attempt) = job.attempts.pop() {
                ledger.withdraw(job.id, attempt.n).await;
            }
            let fate = Fate::Withdrawn;
            return Landed { job, lane, fate };
        }
        let left_at = clock.now();
        self.last_left_at.set(Some(left_at));
        self.means.live.set_departed(self.pace.departed());
        let verdict = gateway.request(&job, lane).await;
        if let Some(attempt) = job.attempts.last_mut() {
            attempt.answer = Some(Answer {
                left_at,
                answered_at: clock.now(),
                verdict,
            });
        }
        let fate = Fate::Answered;
        Landed { job, lane, fate }
    }

    fn may_leave(&self, lane: Lane) -> bool {
        let held = self.held.get()[lane.index()];
        !self.closed.get() && held.is_none_or(|until| until <= Instant::now())
    }
}

/// Was this answered in a way that uses up a try, unless it is part of an outage?
fn is_in_vain(attempt: &Attempt) -> bool {
    matches!(
        attempt.answer.as_ref().map(|answer| &answer.verdict),
        Some(Verdict::Throttled { .. } | Verdict::ServerError(_))
    )
}

/// A try that was part of an outage says nothing about the number: the next one takes its place.
fn give_back(attempt: &mut Attempt) {
    if is_in_vain(attempt) {
        attempt.try_number = attempt.try_number.saturating_sub(1);
    }
}

/// Decides: who goes next, and what an answer leads to.
struct Desk<'a, L, G> {
    line: &'a Line<'a, L, G>,
    settings: &'a Settings,
    run: RunId,
    queue: Queue,
    outage: Outage,
    random: fastrand::Rng,
    /// Permits of the common rate that were reserved and not yet used.
    permits: u32,
    start_until: Option<Instant>,
    /// Answers that say more about the endpoint than about the number, until it is known.
    suspects: Vec<Job>,
    /// Used up their tries in what may be the beginning of an outage: as many as it takes to tell.
    parked: Vec<Job>,
    /// Something came back that only the API itself can have said.
    proven: bool,
    end: Option<End>,
}

/// What the desk wants done.
enum Move {
    /// Make this request.
    Go(Job, Lane),
    /// Ask again at once.
    Again,
    /// Ask again then.
    At(Instant),
    /// Ask again when something has come back.
    Nothing,
}

impl<'a, L: Ledger, G: Gateway> Desk<'a, L, G> {
    fn new(line: &'a Line<'a, L, G>, settings: &'a Settings, task: &Task) -> Self {
        let mut desk = Self {
            line,
            settings,
            run: task.run,
            queue: Queue::new(&task.lanes, settings.limit),
            outage: Outage::new(settings.max_outage),
            random: fastrand::Rng::with_seed(settings.seed),
            permits: 0,
            start_until: settings.max_duration.map(|time| Instant::now() + time),
            suspects: Vec::new(),
            parked: Vec::new(),
            proven: false,
            end: None,
        };
        for lane in Lane::ALL {
            if let Some(at) = task.holds[lane.index()] {
                desk.hold(lane, at);
            }
        }
        desk
    }

    /// The next request to begin, or when to ask again.
    async fn next(&mut self, now: Instant) -> Move {
        self.line.means.live.stall(None);
        if self.end.is_none() {
            self.look_at_the_clock(now);
        }
        if self.end.is_some() {
            return Move::Nothing;
        }
        if !self.queue.has_work() {
            return Move::Nothing;
        }
        let outage_ends = self.outage.deadline();
        match self.outage.gate(now) {
            Gate::Closed | Gate::Probe => {}
            Gate::Probing => return outage_ends.map_or(Move::Nothing, Move::At),
            Gate::Wait(probe_at) => {
                self.stall(Why::Outage, probe_at);
                let earliest = outage_ends.map_or(probe_at, |end| end.min(probe_at));
                return Move::At(earliest);
            }
        }
        if let Err(error) = self.reserve().await {
            self.stop(StopKind::Ledger, error.to_string());
            return Move::Nothing;
        }
        if let Some(intent_at) = self.line.pace.intent_at(self.line.intents.get())
            && intent_at > now
        {
            if intent_at > now + WORTH_SAYING {
                self.stall(Why::Pace, intent_at);
            }
            return Move::At(intent_at);
        }
        match self.queue.next(now) {
            Next::New(job, lane) => self.begin(job, lane).await,
            Next::Again(waiting, lane) => self.begin(waiting.job, lane).await,
            Next::At(at, why) => {
                self.stall(why, at);
                let ends = [Some(at), self.start_until, outage_ends];
                Move::At(ends.into_iter().flatten().min().unwrap_or(at))
            }
            Next::Nothing => Move::Nothing,
        }
    }

    /// Ends what has lasted long enough.
    fn look_at_the_clock(&mut self, now: Instant) {
        if self.outage.deadline().is_some_and(|end| end <= now) {
            let message = format!(
                "the gateway has been down for {:?}; run the same command again when it is back",
                self.settings.max_outage
            );
            self.stop(StopKind::Outage, message);
        }
        if self.start_until.is_some_and(|until| until <= now) {
            self.queue.start_no_more();
        }
    }

    /// Begins the next attempt of a job.
    async fn begin(&mut self, mut job: Job, lane: Lane) -> Move {
        let policy = &self.settings.policy;
        let last = job.attempts.last();
        let anew = last.is_none_or(|last| last.run != self.run);
        let step = next_step(job.lane, &job.attempts, policy, anew);
        let Step::Try { try_number, .. } = step else {
            self.let_be(job).await;
            return Move::Again;
        };
        if self.settings.rate.is_some() {
            self.permits -= 1;
        }
        if self.outage.is_open() {
            self.outage.probe();
        }
        let n = job.attempts.last().map_or(0, |last| last.n) + 1;
        let fallback = policy.fallback.filter(|other| {
            let other = Lane::from(*other);
            other != lane && other != job.lane
        });
        job.attempts.push(Attempt {
            n,
            run: self.run,
            lane,
            try_number,
            tries_max: policy.max_attempts,
            fallback,
            begun_at: self.line.means.clock.now(),
            answer: None,
        });
        // Counted here: the flight itself is looked at only when no more are to take off.
        self.line.intents.set(self.line.intents.get() + 1);
        Move::Go(job, lane)
    }

    /// Leaves a job at rest. If another channel was to follow in an earlier run and is not wanted
    /// any more, that is noted, so that the job is not pending for ever.
    async fn let_be(&mut self, mut job: Job) {
        if outcome(job.lane, &job.attempts).status != Status::Pending {
            return;
        }
        if let Some(last) = job.attempts.last_mut() {
            last.fallback = None;
            let status = outcome(job.lane, &job.attempts).status;
            self.line.means.live.moved(Status::Pending, status);
            self.line.means.ledger.answer(&job).await;
        }
    }

    /// Sees to it that there is a permit of the common rate, before its intent is written down:
    /// with it comes how long the request has to wait for the run before.
    async fn reserve(&mut self) -> Result<(), LedgerError> {
        let Some(rate) = self.settings.rate else {
            return Ok(());
        };
        if self.permits == 0 {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rate is positive, and a lot of it is small"
            )]
            let lot = (rate.per_second() * LOT.as_secs_f64()).ceil() as u32;
            let Means { ledger, clock, .. } = self.line.means;
            let reserved = ledger.reserve(lot.max(1)).await?;
            if let Some(after) = reserved.after {
                // A clock that was set back must not make this a long wait.
                let before = after.min(clock.now());
                let at = clock.instant(before + self.line.pace.interval());
                self.line.pace.not_before(at);
            }
            self.permits = reserved.permits;
        }
        Ok(())
    }

    fn wants(&self) -> Option<(Lane, RowId)> {
        if self.end.is_some() {
            return None;
        }
        self.queue.wants()
    }

    fn take_in(&mut self, lane: Lane, read: Result<Due, LedgerError>) {
        match read {
            Ok(Due {
                mut jobs,
                seen,
                exhausted,
            }) => {
                // What this run has begun on another lane is in its hands already.
                let run = self.run;
                jobs.retain(|job| job.attempts.last().is_none_or(|last| last.run != run));
                self.queue.add(lane, jobs, (!exhausted).then_some(seen));
            }
            Err(error) => self.stop(StopKind::Ledger, error.to_string()),
        }
    }

    /// Takes note of a request that is over.
    async fn settle(&mut self, landed: Landed) {
        let Landed { job, lane, fate } = landed;
        match fate {
            Fate::Answered => self.answered(job, lane).await,
            Fate::Withdrawn => {
                self.outage.probe_withdrawn();
                self.wait(job, lane, Instant::now());
            }
            Fate::NotNoted(error) => {
                self.outage.probe_withdrawn();
                self.stop(StopKind::Ledger, error.to_string());
            }
        }
    }

    async fn answered(&mut self, mut job: Job, lane: Lane) {
        let Some(attempt) = job.attempts.last_mut() else {
            return;
        };
        let Some(answer) = attempt.answer.as_mut() else {
            return;
        };
        let now = Instant::now();
        let outages = self.outage.epoch();
        tracing::debug!(number = ?job.number, lane = lane.name(), verdict = mask_numbers(&format!("{:?}", answer.verdict)), "answered");
        self.outage.record(now, job.id, &answer.verdict);
        match &answer.verdict {
            Verdict::ServerError(text) if self.settings.hold_server_errors => {
                answer.verdict = Verdict::Ambiguous(text.clone());
            }
            Verdict::Misdirected(text) if self.proven => {
                answer.verdict = Verdict::Rejected(text.clone());
            }
            Verdict::Throttled {
                retry_at: Some(at), ..
            } => self.hold(lane, *at),
            _ => {}
        }
        let verdict = answer.verdict.clone();
        if self.outage.is_open() {
            give_back(attempt);
        }
        self.note(&job).await;
        if self.outage.epoch() != outages {
            self.give_tries_back().await;
        } else if !self.outage.is_suspected() {
            self.give_up_parked();
        }
        match verdict {
            Verdict::KeyRefused(text) => {
                let message = format!(
                    "the gateway refused the API key ({text}); nothing more was sent. Check the key, then run the same command again"
                );
                return self.stop(StopKind::KeyRefused, message);
            }
            Verdict::Misdirected(_) => {
                self.suspects.push(job);
                if self.suspects.len() >= SUSPECTS_MAX {
                    self.stop_at_wrong_endpoint();
                }
                return;
            }
            Verdict::Unreachable(_) | Verdict::Ambiguous(_) => {}
            _ => self.clear_the_endpoint().await,
        }
        self.decide(job, true);
    }

    /// Hands the job's last answer to the ledger, and shows it.
    async fn note(&self, job: &Job) {
        let (last, earlier) = match job.attempts.split_last() {
            Some((_, earlier)) => (&job.attempts[..], earlier),
            None => return,
        };
        let before = outcome(job.lane, earlier).status;
        let after = outcome(job.lane, last).status;
        self.line.means.live.moved(before, after);
        self.line.means.ledger.answer(job).await;
    }

    /// The endpoint is right after all: what looked like a wrong one was about the numbers.
    async fn clear_the_endpoint(&mut self) {
        self.proven = true;
        for mut job in std::mem::take(&mut self.suspects) {
            let before = outcome(job.lane, &job.attempts).status;
            let answer = job.attempts.last_mut().and_then(|a| a.answer.as_mut());
            if let Some(answer) = answer {
                answer.verdict = Verdict::Rejected(answer.verdict.text().to_owned());
                let status = outcome(job.lane, &job.attempts).status;
                self.line.means.live.moved(before, status);
                self.line.means.ledger.answer(&job).await;
                self.decide(job, true);
            }
        }
    }

    /// What is to be done for a job whose last attempt was answered. One whose tries are used up
    /// may be parked until it is known whether that was the beginning of an outage.
    fn decide(&mut self, job: Job, may_park: bool) {
        let now = Instant::now();
        let Some(last) = job.attempts.last() else {
            return;
        };
        let failures = job.attempts.iter().rev();
        let failures = failures.take_while(|a| a.run == last.run && a.lane == last.lane);
        let failures = u32::try_from(failures.count()).unwrap_or(u32::MAX);
        let wait = self.settings.backoff.delay(failures, &mut self.random);
        let (same, later) = (last.lane, now + wait);
        let used_up = is_in_vain(last) && self.outage.is_suspected();
        match next_step(job.lane, &job.attempts, &self.settings.policy, false) {
            Step::Try { lane, .. } if lane == same => self.wait(job, lane, later),
            // If this turns out to be an outage, it gets its try back.
            _ if used_up && may_park => self.parked.push(job),
            Step::Try { lane, .. } => self.wait(job, lane, now),
            Step::Rest => {}
        }
    }

    /// There was no outage, or nothing is left that could show one: what is used up is used up.
    fn give_up_parked(&mut self) {
        for job in std::mem::take(&mut self.parked) {
            self.decide(job, false);
        }
    }

    /// An outage has turned up: tries that failed just before it were part of it.
    async fn give_tries_back(&mut self) {
        let run = self.run;
        self.queue.for_each_waiting(|job| {
            let last = job.attempts.last_mut();
            if let Some(last) = last.filter(|last| last.run == run) {
                give_back(last);
            }
        });
        for mut job in std::mem::take(&mut self.parked) {
            let before = outcome(job.lane, &job.attempts).status;
            if let Some(last) = job.attempts.last_mut() {
                give_back(last);
            }
            let after = outcome(job.lane, &job.attempts).status;
            self.line.means.live.moved(before, after);
            self.line.means.ledger.answer(&job).await;
            self.decide(job, false);
        }
    }

    fn wait(&mut self, job: Job, lane: Lane, due: Instant) {
        self.queue.wait(lane, Waiting { due, job });
    }

    fn hold(&mut self, lane: Lane, at: UnixMicros) {
        let until = self.line.means.clock.instant(at);
        self.queue.hold(lane, until);
        let mut held = self.line.held.get();
        held[lane.index()] = held[lane.index()].max(Some(until));
        self.line.held.set(held);
    }

    fn stall(&self, why: Why, until: Instant) {
        self.line.means.live.stall(Some(Stall { why, until }));
    }

    fn stop_at_wrong_endpoint(&mut self) {
        let said = self.suspects.last().and_then(|job| {
            let answer = job.attempts.last()?.answer.as_ref()?;
            Some(answer.verdict.text().to_owned())
        });
        let message = format!(
            "the endpoint is wrong: nothing but redirects and errors of the kind \"{}\" came back, so nothing was sent. Check --endpoint, then run the same command again",
            said.unwrap_or_default()
        );
        self.stop(StopKind::WrongEndpoint, message);
    }

    fn stop(&mut self, kind: StopKind, message: String) {
        self.finish(End::Stopped(Stop { kind, message }));
    }

    /// Nothing leaves any more. The first reason counts.
    fn finish(&mut self, end: End) {
        self.line.closed.set(true);
        self.end.get_or_insert(end);
    }

    /// The last entries become durable; says how it ended.
    async fn close(mut self) -> Finished {
        if !self.suspects.is_empty() && self.end.is_none() {
            self.stop_at_wrong_endpoint();
        }
        if self.end.is_none() && self.queue.has_new() {
            let (kind, message) = if self
                .start_until
                .is_some_and(|until| until <= Instant::now())
            {
                (StopKind::MaxDuration, "--max-duration has passed")
            } else {
                (StopKind::Limit, "--limit was reached")
            };
            let message = format!("{message}; run the same command again to go on");
            self.stop(kind, message);
        }
        if let Err(error) = self.line.means.ledger.flush().await {
            self.end = Some(End::Stopped(Stop {
                kind: StopKind::Ledger,
                message: error.to_string(),
            }));
        }
        Finished {
            end: self.end.unwrap_or(End::Complete),
            last_left_at: self.line.last_left_at.get(),
        }
    }
}
