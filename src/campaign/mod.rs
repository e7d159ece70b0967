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
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::gateway::Gateway;
use crate::ledger::{Due, Ledger, LedgerError};
use crate::outage::{Gate, Outage};
use crate::outcome::{
    Answer, Attempt, Job, Lane, Number, Policy, RowId, RunId, Status, Step, UnixMicros, Verdict,
    mask_numbers, next_step, outcome,
};
use crate::pace::{Pace, Rate};
use crate::record::{End, Signal, Stop, StopKind};
use crate::retry::Backoff;
pub use live::{Live, Stall, Why};
use queue::{Next, Queue, READ_AHEAD, Waiting};

/// This many answers from the start that are all redirects or 4xx say that the endpoint is wrong.
const SUSPECTS_MAX: usize = 20;

/// A `Retry-After` of an earlier run holds a lane back for at most this long.
const HOLD_MAX: Duration = Duration::from_hours(24);

/// Waits for the pace that are shorter are not mentioned.
const WORTH_SAYING: Duration = Duration::from_secs(2);

/// The first request of a run keeps at least this distance, or that of the rate if that is less,
/// from the run's start: whatever clocks say, no second then holds more than the rate.
const DISTANCE: Duration = Duration::from_secs(1);

/// Permits are asked for in lots of this much time.
const LOT: Duration = Duration::from_millis(100);

/// How a run goes about its work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What may be done for one number.
    pub policy: Policy,
    /// Is an answered 500 or 502 not believed, but taken as "may have been sent"?
    pub hold_server_errors: bool,
    /// This many different numbers in a row refused in the same words say that it is the account or
    /// the service, not the numbers; `None`: never.
    pub refused_alike: Option<NonZeroUsize>,
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
    /// Log whole numbers instead of masked ones.
    pub log_numbers: bool,
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
        closed: watch::Sender::new(false),
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
                Move::Go(begun) => flights.push(shared.attempt(begun)),
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
            if desk.settle_last_doubts() {
                continue;
            }
            break;
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
    closed: watch::Sender<bool>,
    /// Until when each lane is held back.
    held: Cell<[Option<Instant>; Lane::ALL.len()]>,
    /// Requests begun that have not left yet.
    intents: Cell<usize>,
    last_left_at: Cell<Option<UnixMicros>>,
}

/// A request about to be made: the job's last attempt.
struct Begun {
    job: Job,
    lane: Lane,
}

/// A request that is over.
struct Landed {
    begun: Begun,
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
    /// One request's whole life. The slot is the place among the flights, taken before and given
    /// back after.
    async fn attempt(&self, mut begun: Begun) -> Landed {
        let Means {
            ledger,
            gateway,
            clock,
            ..
        } = self.means;
        let Begun { job, lane, .. } = &mut begun;
        // Durable when it returns: from here on a crash leaves `unknown`, never a second sending.
        let noted = ledger.begin(job).await;
        if noted.is_ok() && self.may_leave(*lane) {
            tokio::select! {
                biased;
                () = self.pace.turn() => {}
                () = self.closing() => {}
            }
        }
        self.intents.set(self.intents.get() - 1);
        if let Err(error) = noted {
            job.attempts.pop();
            let fate = Fate::NotNoted(error);
            return Landed { begun, fate };
        }
        if !self.may_leave(*lane) {
            if let Some(attempt) = job.attempts.pop() {
                ledger.withdraw(job.id, attempt.n).await;
            }
            let fate = Fate::Withdrawn;
            return Landed { begun, fate };
        }
        let left_at = clock.now();
        self.last_left_at.set(Some(left_at));
        self.means.live.set_departed(self.pace.departed());
        let verdict = gateway.request(job, *lane).await;
        if let Some(attempt) = job.attempts.last_mut() {
            attempt.answer = Some(Answer {
                left_at,
                answered_at: clock.now(),
                verdict,
            });
        }
        let fate = Fate::Answered;
        Landed { begun, fate }
    }

    /// Returns when the run has ended.
    async fn closing(&self) {
        // The sender is our own.
        let _ = self.closed.subscribe().wait_for(|closed| *closed).await;
    }

    fn may_leave(&self, lane: Lane) -> bool {
        let held = self.held.get()[lane.index()];
        !*self.closed.borrow() && held.is_none_or(|until| until <= Instant::now())
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
    /// `start_until` has passed.
    out_of_time: bool,
    /// Numbers whose tries are used up on their lane, while it may turn out that it was the
    /// beginning of an outage.
    in_doubt: Vec<Job>,
    /// When the latest outage was over: what had left before was part of it.
    outage_ended_at: Option<UnixMicros>,
    /// Answers that say more about the endpoint than about the number, until it is known.
    suspects: Vec<Job>,
    /// Something came back that only the API itself can have said.
    proven: bool,
    end: Option<End>,
}

/// What the desk wants done.
enum Move {
    /// Make this request.
    Go(Begun),
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
            out_of_time: false,
            in_doubt: Vec::new(),
            outage_ended_at: None,
            suspects: Vec::new(),
            proven: false,
            end: None,
        };
        for lane in Lane::ALL {
            if let Some(at) = task.holds[lane.index()] {
                desk.hold(lane, at.min(line.means.clock.now() + HOLD_MAX));
            }
        }
        desk
    }

    /// The next request to begin, or when to ask again.
    async fn next(&mut self, now: Instant) -> Move {
        self.line.means.live.stall(None);
        if self.start_until.is_some_and(|until| until <= now) {
            self.start_until = None;
            self.out_of_time = true;
            self.queue.start_no_more();
        }
        if self.end.is_some() {
            return Move::Nothing;
        }
        let next = self.queue.next(now);
        if let Next::Nothing = next {
            return Move::Nothing;
        }
        if let Some(wait) = self.wait_out_outage(now) {
            return wait;
        }
        if let Next::At(at, why) = next {
            self.stall(why, at);
            let ends = [Some(at), self.start_until, self.outage.deadline()];
            return Move::At(ends.into_iter().flatten().min().unwrap_or(at));
        }
        if let Err(error) = self.reserve().await {
            self.stop(StopKind::Ledger, &error.to_string());
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
        match next {
            Next::New(lane) => match self.queue.take_new(lane) {
                Some(job) => self.begin(job, lane).await,
                None => Move::Again,
            },
            Next::Again(lane) => match self.queue.take_waiting(lane) {
                Some(waiting) => self.begin(waiting.job, lane).await,
                None => Move::Again,
            },
            Next::At(..) | Next::Nothing => Move::Nothing,
        }
    }

    /// While the gateway is down: when to ask again. Ends the run when that takes too long.
    fn wait_out_outage(&mut self, now: Instant) -> Option<Move> {
        let ends = self.outage.deadline();
        if ends.is_some_and(|end| end <= now) {
            let message = format!(
                "the gateway has been down for {:?}; run the same command again when it is back",
                self.settings.max_outage
            );
            self.stop(StopKind::Outage, &message);
            return Some(Move::Nothing);
        }
        match self.outage.gate(now) {
            Gate::Closed | Gate::Probe => None,
            Gate::Probing => Some(ends.map_or(Move::Nothing, Move::At)),
            Gate::Wait(probe_at) => {
                self.stall(Why::Outage, probe_at);
                Some(Move::At(ends.map_or(probe_at, |end| end.min(probe_at))))
            }
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
        self.permits = self.permits.saturating_sub(1);
        self.line.intents.set(self.line.intents.get() + 1);
        if self.outage.is_open() {
            self.outage.probe(job.id);
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
        Move::Go(Begun { job, lane })
    }

    /// Leaves a job at rest. If another channel was to follow in an earlier run and is not wanted
    /// any more, that is noted, so that the job is not pending for ever.
    async fn let_be(&mut self, mut job: Job) {
        if outcome(job.lane, &job.attempts).status != Status::Pending {
            return;
        }
        self.restate(&mut job, |last| last.fallback = None).await;
    }

    /// Changes what is noted of a job's last attempt, in the ledger and on the screen.
    async fn restate(&self, job: &mut Job, change: impl FnOnce(&mut Attempt)) {
        let before = outcome(job.lane, &job.attempts).status;
        if let Some(last) = job.attempts.last_mut() {
            change(last);
        }
        let after = outcome(job.lane, &job.attempts).status;
        self.line.means.live.moved(before, after);
        self.line.means.ledger.answer(job).await;
    }

    /// Sees to it that there is a permit of the common rate.
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
                let interval = self.line.pace.interval();
                // A clock that was set back must not make this a long wait, nor one that was set
                // forth none at all: an earlier run may have ended just now.
                let by_the_clock = clock.instant(after.min(clock.now()) + interval);
                let at = by_the_clock.max(Instant::now() + interval.min(DISTANCE));
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
            Ok(due) => {
                let read_to = (!due.exhausted).then_some(due.seen);
                self.queue.add(lane, due.jobs, read_to);
            }
            Err(error) => self.stop(StopKind::Ledger, &error.to_string()),
        }
    }

    /// Takes note of a request that is over.
    async fn settle(&mut self, landed: Landed) {
        let Landed { begun, fate } = landed;
        let Begun { job, lane } = begun;
        match fate {
            Fate::Answered => self.answered(job, lane).await,
            Fate::Withdrawn => {
                self.outage.withdrawn(job.id);
                self.wait(job, lane, Instant::now());
            }
            Fate::NotNoted(error) => {
                self.outage.withdrawn(job.id);
                self.stop(StopKind::Ledger, &error.to_string());
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
        let (outages, was_open) = (self.outage.epoch(), self.outage.is_open());
        let now = Instant::now();
        tracing::debug!(
            number = self.shown(job.number),
            lane = lane.name(),
            verdict = ?answer.verdict.clone().map_text(|text| self.shown_text(text)),
            "answered"
        );
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
        if was_open && !self.outage.is_open() {
            self.outage_ended_at = Some(answer.answered_at);
            tracing::warn!("the gateway is back");
        }
        if self.outage.is_open() || Some(answer.left_at) < self.outage_ended_at {
            give_back(attempt);
        }
        self.note(&job).await;
        if self.outage.epoch() != outages {
            tracing::warn!("the gateway is down: requests pause, but for a probe now and then");
            self.give_tries_back().await;
        } else if !self.outage.is_suspected() {
            self.settle_doubts();
        }
        match verdict {
            Verdict::KeyRefused(text) => {
                let message = format!(
                    "the gateway refused the API key ({text}); nothing more was sent. Check the key, then run the same command again"
                );
                return self.stop(StopKind::KeyRefused, &message);
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

    /// A number as it may be logged.
    fn shown(&self, number: Number) -> String {
        if self.settings.log_numbers {
            number.e164()
        } else {
            number.masked()
        }
    }

    /// A text of the gateway as it may be logged.
    fn shown_text(&self, text: String) -> String {
        if self.settings.log_numbers {
            text
        } else {
            mask_numbers(&text)
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
        for mut job in std::mem::take(&mut self.in_doubt) {
            self.restate(&mut job, give_back).await;
            self.decide(job, false);
        }
    }

    /// There is no outage, so what is used up is used up.
    fn settle_doubts(&mut self) {
        for job in std::mem::take(&mut self.in_doubt) {
            self.decide(job, false);
        }
    }

    /// At the end of the work no outage can turn up any more. Says whether that leads to more work.
    fn settle_last_doubts(&mut self) -> bool {
        if self.end.is_some() {
            return false;
        }
        self.settle_doubts();
        self.queue.waiting() > 0
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
            let reject = |last: &mut Attempt| {
                if let Some(answer) = &mut last.answer {
                    answer.verdict = Verdict::Rejected(answer.verdict.text().to_owned());
                }
            };
            self.restate(&mut job, reject).await;
            self.decide(job, true);
        }
    }

    /// What is to be done for a job whose last attempt was answered.
    /// `may_doubt`: it may still turn out that its failure was the beginning of an outage.
    fn decide(&mut self, job: Job, may_doubt: bool) {
        let now = Instant::now();
        let Some(last) = job.attempts.last() else {
            return;
        };
        let failures = job.attempts.iter().rev();
        let failures = failures.take_while(|a| a.run == last.run && a.lane == last.lane);
        let failures = u32::try_from(failures.count()).unwrap_or(u32::MAX);
        let wait = self.settings.backoff.delay(failures, &mut self.random);
        let (same, later) = (last.lane, now + wait);
        let in_doubt = may_doubt && is_in_vain(last) && self.outage.is_suspected();
        match next_step(job.lane, &job.attempts, &self.settings.policy, false) {
            Step::Try { lane, .. } if lane == same => self.wait(job, lane, later),
            // Used up on this lane; but if this turns out to be an outage, it gets its try back.
            _ if in_doubt => self.in_doubt.push(job),
            Step::Try { lane, .. } => self.wait(job, lane, now),
            Step::Rest => {}
        }
    }

    fn wait(&mut self, job: Job, lane: Lane, due: Instant) {
        self.queue.wait(lane, Waiting { due, job });
    }

    fn hold(&mut self, lane: Lane, at: UnixMicros) {
        let until = self.line.means.clock.instant(at);
        let seconds = until
            .saturating_duration_since(Instant::now())
            .as_secs_f64();
        tracing::info!(lane = lane.name(), seconds, "the gateway asked to wait");
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
        self.stop(StopKind::WrongEndpoint, &message);
    }

    fn stop(&mut self, kind: StopKind, message: &str) {
        let message = mask_numbers(message);
        tracing::warn!(?kind, "{message}");
        self.finish(End::Stopped(Stop { kind, message }));
    }

    /// Nothing leaves any more. The first reason counts.
    fn finish(&mut self, end: End) {
        self.line.closed.send_replace(true);
        self.end.get_or_insert(end);
    }

    /// The last entries become durable; says how it ended.
    async fn close(mut self) -> Finished {
        if !self.suspects.is_empty() && self.end.is_none() {
            self.stop_at_wrong_endpoint();
        }
        if self.end.is_none() && self.queue.has_new() {
            let (kind, message) = if self.out_of_time {
                (StopKind::MaxDuration, "--max-duration has passed")
            } else {
                (StopKind::Limit, "--limit was reached")
            };
            let message = format!("{message}; run the same command again to go on");
            self.stop(kind, &message);
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
