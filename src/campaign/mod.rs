//! The engine. Read `Engine::deliver` first: it is one number's whole life in a run.
//!
//! It opens no file and knows no HTTP: the durable memory and the gateway are handed in, so are
//! time (tokio's clock), randomness (a seed) and the signal to stop. One task does everything; lives
//! are futures in it, so nothing here needs a lock, and no call to the ledger is awaited between
//! polls of the others. [`slots`] says who goes next, [`watch`] what the answers say about the
//! gateway as a whole, [`rates`] when something may leave, [`course`] how the run goes on and ends.

mod course;
mod limits;
mod progress;
mod rates;
mod slots;
mod watch;

use std::cell::{Cell, RefCell};
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::{Mutex, watch as channel};
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::gateway::{Gateway, Ready};
use crate::job::{Answer, Attempt, Job, Lane, UnixMicros, Verdict, VerdictKind};
use crate::ledger::{Begun, Ceiling, Ledger, Rest};
use crate::mistake::{Mistake, is_made};
use crate::next::{Step, next_step};
use crate::number::{Number, mask_number, mask_numbers};
use crate::pace::{Pace, Rate};
use crate::retry::Backoff;
use crate::run::{End, Policy, RunFact, RunId, Runs, Signal, StopKind};
use crate::status::{Status, outcome};
use limits::Allowance;
pub use limits::Limits;
pub use progress::{Ending, Outage, Progress, Stall, Why};
use rates::Moment;
use slots::{Next, Paces, Slot, Slots};
use watch::Watch;

/// Holds that are longer are worth a warning that says how to go on.
pub const LONG_HOLD: Duration = Duration::from_mins(10);

/// Who was told that others have begun all that may be begun asks again after this, at the earliest:
/// clocks may not agree on the day.
const BEYOND: Duration = Duration::from_secs(1);

/// How a run goes about its work.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What may be done for one number.
    pub policy: Policy,
    /// Requests in flight at once.
    pub concurrency: NonZeroUsize,
    /// Requests in a period of time; `None`: unlimited.
    pub rate: Option<Rate>,
    /// The wait before a retry.
    pub backoff: Backoff,
    /// How long to wait out a gateway that is down.
    pub max_outage: Duration,
    /// This many different numbers in a row refused in the same words are the account's trouble;
    /// `None`: never.
    pub refused_alike: Option<NonZeroUsize>,
    /// Start at most this many numbers.
    pub limit: Option<u64>,
    /// Start no new numbers after this time.
    pub max_duration: Option<Duration>,
    /// What to do with a `Retry-After` from before this run.
    pub earlier_holds: EarlierHolds,
    /// Makes the jitter of retries repeatable.
    pub seed: u64,
    /// How numbers are logged.
    pub log_numbers: LogNumbers,
    /// Hours, caps, money, and what binds calls besides.
    pub limits: Limits,
}

/// What to do with a `Retry-After` that an earlier run was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlierHolds {
    /// It holds its lane back still.
    Keep,
    /// A person knows better.
    Ignore,
}

/// How numbers are logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogNumbers {
    /// `+9198******10`
    Masked,
    /// In full.
    Whole,
}

/// What a run works with.
pub struct Context<'a, L, G> {
    /// The durable memory, and its time.
    pub ledger: &'a L,
    /// The provider.
    pub gateway: &'a G,
    /// What can be seen from outside.
    pub progress: &'a Progress,
    /// What a clock on the wall shows, read anew each time: hours follow it, and nothing else.
    pub wall: &'a dyn Fn() -> UnixMicros,
}

/// What a run is to do.
pub struct Task {
    /// Its name in the ledger.
    pub run: RunId,
    /// The lanes on which something is due.
    pub lanes: Vec<Lane>,
    /// The runs of the campaign, this one included.
    pub runs: Runs,
    /// How many requests of the campaign's earlier runs are billed, or may be, on each lane.
    pub billed: [u64; Lane::ALL.len()],
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
    context: &Context<'_, L, G>,
    settings: &Settings,
    task: Task,
    stop: impl Future<Output = Signal>,
) -> Finished {
    context.progress.begins();
    let pace = Paces::new(settings, context.ledger.lookahead());
    let watch = Watch::new(settings, task.run, task.runs);
    let allowance = Allowance::new(&settings.limits, &task.billed, context.wall);
    let slots = Slots::new(
        settings.concurrency,
        settings.limit,
        &task.lanes,
        (&pace, &watch, &allowance),
    );
    let shared = (&pace, &watch, &allowance, &slots);
    let engine = Engine::new(context, settings, task.run, shared);
    engine.reserve_first().await;
    let mut lives = FuturesUnordered::new();
    let mut empty = Vec::new();
    let mut reads = FuturesUnordered::new();
    let mut counts = FuturesUnordered::new();
    let mut reservations = FuturesUnordered::new();
    let mut stop = pin!(stop.fuse());
    let mut news = pin!(context.ledger.news());
    loop {
        let now = Instant::now();
        let for_others = slots.give_back(now);
        if !for_others.is_empty() {
            reservations.push(engine.give_back(for_others).left_future());
        }
        let (wake, over) = loop {
            match engine.next(now) {
                Next::Start(job, slot) => {
                    let hand = engine.hand(slot.lane);
                    let life = engine.deliver(job, slot, hand);
                    lives.push(live(life, empty.pop()));
                }
                Next::At(at, _) => break (Some(at), false),
                Next::Nothing => break (engine.deadline(), false),
                Next::Over => break (engine.deadline(), true),
            }
        };
        if reads.is_empty()
            && let Some(lane) = slots.wants(now, |lane| context.ledger.read_ahead(lane))
        {
            let due = context.ledger.due(lane, context.ledger.read_ahead(lane));
            reads.push(due.map(move |due| (lane, due)));
        }
        if counts.is_empty()
            && let Some(day) = allowance.wants()
        {
            let left = context.ledger.left_on(day.clone());
            counts.push(left.map(move |left| (day, left)));
        }
        if over && slots.taken() == 0 && reads.is_empty() && counts.is_empty() {
            engine.stop(StopKind::Budget, &allowance.budget_in_words());
        }
        context.progress.set_queues(slots.taken(), slots.waiting());
        let (wanted, reserve_at) = engine.wants_slots(now);
        let reserve = |wanted| engine.reserve(wanted).map(drop).right_future();
        reservations.extend(wanted.map(reserve));
        let has_more = wake.is_some() || !lives.is_empty();
        let wake = [wake, slots.asks_at(now), reserve_at.filter(|_| has_more)];
        let wake = wake.into_iter().flatten().min();
        let wake = wake.filter(|_| !engine.has_ended());
        if lives.is_empty() && reads.is_empty() && counts.is_empty() && wake.is_none() {
            break;
        }
        if reads.is_empty() {
            engine.settle_doubts();
        }
        tokio::select! {
            biased;
            signal = &mut stop => engine.finish(End::Interrupted(signal)),
            heard = &mut news => {
                engine.hear(heard);
                news.set(context.ledger.news());
            }
            Some(()) = reservations.next() => {}
            // All that have ended, before it is looked at who goes next.
            Some(home) = lives.next() => {
                empty.push(home);
                while let Some(Some(home)) = lives.next().now_or_never() {
                    empty.push(home);
                }
            }
            Some((lane, due)) = reads.next() => engine.take_in(lane, due),
            Some((day, left)) = counts.next() => engine.take_count(&day, left),
            () = slots.changed() => {}
            () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
        }
    }
    engine.close().await
}

/// The place in memory where a number's life was, for the next one: a life is large, and what was used
/// just now is near.
struct Home<F>(Pin<Box<F>>);

/// A life, where another has ended if there is such a place.
fn live<F: Future<Output = ()>>(life: F, empty: Option<Home<F>>) -> impl Future<Output = Home<F>> {
    let mut home = match empty {
        Some(Home(mut home)) => {
            home.set(life);
            home
        }
        None => Box::pin(life),
    };
    async {
        home.as_mut().await;
        Home(home)
    }
}

/// What the lives of a run share.
struct Engine<'a, L, G> {
    context: &'a Context<'a, L, G>,
    settings: &'a Settings,
    run: RunId,
    clock: Clock,
    pace: &'a Paces,
    watch: &'a Watch<'a>,
    allowance: &'a Allowance<'a>,
    slots: &'a Slots<'a>,
    random: RefCell<fastrand::Rng>,
    /// Those who have their connection, in the order in which they got it.
    line: Mutex<()>,
    /// The same of calls that have a rate of their own: they come from here to the other line.
    line_of_calls: Mutex<()>,
    /// Slots of the common rate that were reserved and not yet used.
    reserved: Cell<u32>,
    /// The ledger is being asked for slots.
    reserving: Cell<bool>,
    /// When the machine was last known not to have slept since slots were granted.
    awake: Cell<Moment>,
    /// Requests begun that have not left yet.
    intents: [Cell<usize>; Lane::ALL.len()],
    /// Numbers in hand whose next or last request is on a lane.
    in_hand: [Cell<usize>; Lane::ALL.len()],
    last_left_at: Cell<Option<UnixMicros>>,
    start_until: Cell<Option<Instant>>,
    /// Why no new numbers are started any more.
    out_of_time: Cell<Option<(StopKind, &'static str)>>,
    /// When it was last looked at who may go.
    looked: Cell<Instant>,
    /// Turns true when the run has ended: nothing leaves any more.
    ended: channel::Sender<bool>,
    end: RefCell<Option<End>>,
}

type Shared<'a> = (&'a Paces, &'a Watch<'a>, &'a Allowance<'a>, &'a Slots<'a>);

impl<'a, L: Ledger, G: Gateway> Engine<'a, L, G> {
    fn new(
        context: &'a Context<'a, L, G>,
        settings: &'a Settings,
        run: RunId,
        (pace, watch, allowance, slots): Shared<'a>,
    ) -> Self {
        let now = Instant::now();
        let start = now + allowance.until_start();
        Self {
            context,
            settings,
            run,
            clock: context.ledger.clock(),
            pace,
            watch,
            allowance,
            slots,
            random: RefCell::new(fastrand::Rng::with_seed(settings.seed)),
            line: Mutex::new(()),
            line_of_calls: Mutex::new(()),
            reserved: Cell::new(0),
            reserving: Cell::default(),
            awake: Cell::new(Moment {
                at: now,
                wall: allowance.wall(),
            }),
            intents: Default::default(),
            in_hand: Default::default(),
            last_left_at: Cell::new(None),
            start_until: Cell::new(settings.max_duration.map(|time| start + time)),
            out_of_time: Cell::new(None),
            looked: Cell::new(now),
            ended: channel::Sender::new(false),
            end: RefCell::new(None),
        }
    }

    /// One number's whole life in a run: from its first turn to its rest.
    async fn deliver<'e>(&'e self, mut job: Job, mut slot: Slot<'_>, mut hand: InHand<'e>) {
        let mut shown = self.status(&job);
        let mut failures = 0;
        let how = loop {
            let lane = slot.lane;
            let mut at_least = Duration::ZERO;
            // A connection is there, warm or new; or none, and it surely was not sent.
            let ready = self.connect(&job, lane).await;
            failures += u32::from(ready.is_none());
            // Its departure is at most 20 ms away.
            if let Some(ready) = ready
                && self.line_up(lane).await
            {
                // Durable: from here on a crash leaves `unknown`, never a second sending.
                match self.begin(&mut job, lane).await {
                    Start::Go(intent) => {
                        // The next thing to happen is the first byte.
                        let answer = self.go(ready, &slot, intent).await;
                        // To wait for a `Retry-After` is enough.
                        let held = answer.verdict.retry_at.is_some();
                        failures += u32::from(answer.left_at.is_some() && !held);
                        self.answered(&mut job, answer).await;
                    }
                    // Others were faster: it was all that could be begun, on this day or at all.
                    Start::NotNow => at_least = BEYOND,
                    Start::NotAtAll => break Rest::Unfinished,
                    Start::NotOurs => return,
                }
            }
            drop(slot);
            // Was a failure the outage's, a refusal the account's, or the number's?
            self.watch.doubts_settled(&job).await;
            self.pass_on_news().await;
            self.show(&job, &mut shown);
            let step = |runs: &Runs| next_step(job.lane, &job.attempts, runs);
            let Step::Try(next) = self.watch.with_runs(step) else {
                break self.how(&job, shown);
            };
            let withdrawn = job.attempts.last().is_some_and(Attempt::never_left);
            if withdrawn && is_made(Mistake::WithdrawnForgotten) {
                break self.how(&job, shown);
            }
            hand = self.hand(next);
            if next != lane {
                failures = 0;
            }
            // Parked: holds no slot.
            let wait = self.wait(failures).max(at_least);
            let Some(granted) = self.slots.take(&job, next, wait).await else {
                break self.left_to_others(&job);
            };
            slot = granted;
        };
        self.context.ledger.rest(&job, how).await;
        drop(hand);
    }

    /// A number gets no place here any more: the run ends, or others can do more for it.
    fn left_to_others(&self, job: &Job) -> Rest {
        if self.has_ended() {
            return Rest::Unfinished;
        }
        if job.attempts.iter().all(|made| made.run != self.run) {
            self.slots.starts_again();
        }
        Rest::GivenBack
    }

    /// Numbers that were not tried are for others who work on the run.
    async fn give_back(&self, jobs: Vec<Job>) {
        for job in jobs {
            self.context.ledger.rest(&job, Rest::GivenBack).await;
        }
    }

    /// A number is in hand on this lane.
    fn hand(&self, lane: Lane) -> InHand<'_> {
        InHand::of(&self.in_hand[lane.index()])
    }

    /// A connection for this request, unless there is none or the run ends.
    async fn connect(&self, job: &Job, lane: Lane) -> Option<G::Ready<'a>> {
        if self.has_ended() {
            return None;
        }
        let connected = tokio::select! {
            biased;
            connected = self.context.gateway.connect(job, lane) => connected,
            () = self.ending() => return None,
        };
        match connected {
            Ok(ready) => {
                self.watch.reached();
                Some(ready)
            }
            Err(none) => {
                tracing::debug!(
                    name: "no_connection",
                    number = self.shown(job.number),
                    line = job.line,
                    lane = lane.name(),
                    text = self.shown_text(&none.why),
                    "no connection"
                );
                let (now, at) = (Instant::now(), self.clock.now());
                let stop = self.watch.unreachable(now, at, lane, job.id, &none);
                if let Some((kind, message)) = stop {
                    self.stop(kind, &message);
                }
                None
            }
        }
    }

    /// Waits until it is time to write the intent down; says whether the request may still go.
    async fn line_up(&self, lane: Lane) -> bool {
        let in_order = async {
            // They hold up nobody else while they wait for a rate of their own.
            let _first_of_calls = match self.pace.besides(lane) {
                Some(pace) => {
                    let first = self.line_of_calls.lock().await;
                    pace.intent(|| self.intents[lane.index()].get()).await;
                    Some(first)
                }
                None => None,
            };
            // With a place of their own calls have one of all, too.
            let has_both = self.pace.besides(lane).is_some_and(Pace::is_shared);
            if !self.pace.common.is_unlimited() && !has_both {
                let _first_in_line = self.line.lock().await;
                self.reserve_own().await;
                self.pace.common.intent(|| self.intents()).await;
            }
            self.intends(lane, 1);
        };
        if self.pace.common.is_unlimited() && self.pace.besides(lane).is_none() {
            self.intends(lane, 1);
        } else {
            tokio::select! {
                biased;
                () = self.ending() => return false,
                () = in_order => {}
            }
        }
        let may = self.may_leave(lane);
        if !may {
            self.intends(lane, -1);
        }
        may
    }

    /// Requests begun that have not left yet.
    fn intents(&self) -> usize {
        self.intents.iter().map(Cell::get).sum()
    }

    /// So many more of them.
    fn intends(&self, lane: Lane, more: isize) {
        let intents = &self.intents[lane.index()];
        intents.set(intents.get().saturating_add_signed(more));
    }

    /// Writes the intent of the next attempt down.
    async fn begin(&self, job: &mut Job, lane: Lane) -> Start {
        let attempt = Attempt {
            n: job.attempts.last().map_or(0, |last| last.n) + 1,
            run: self.run,
            lane,
            begun_at: self.clock.now(),
            answer: None,
            lookup: None,
        };
        // Before the request, or its day could not be told after a crash.
        self.note_moves(attempt.begun_at).await;
        let since = self.pace.common.is_shared().then(|| self.moment());
        let begun = self.context.ledger.begin(job, &attempt).await;
        let leave_by = match begun {
            Ok(Begun::Go { leave_by }) => Some(leave_by),
            _ => is_made(Mistake::IntentIgnored).then_some(None),
        };
        if let Some(leave_by) = leave_by {
            job.attempts.push(attempt);
            return Start::Go(Intent { leave_by, since });
        }
        self.intends(lane, -1);
        match begun {
            Ok(Begun::Beyond(Ceiling::Limit)) => {
                self.slots.gives_back();
                Start::NotAtAll
            }
            Ok(Begun::Beyond(Ceiling::DailyCap | Ceiling::Budget)) => Start::NotNow,
            Ok(_) => Start::NotOurs,
            Err(error) => {
                self.stop(StopKind::Ledger, &error.to_string());
                Start::NotOurs
            }
        }
    }

    /// Waits for its turn and lets the request go; says what came of it.
    async fn go(&self, ready: G::Ready<'_>, slot: &Slot<'_>, intent: Intent) -> Answer {
        let turn = self.turn(slot.lane, intent).await;
        self.intends(slot.lane, -1);
        slot.is_ready();
        let mut left_at = None;
        let verdict = if let Some(turn) = turn {
            let now = self.clock.now();
            let wall = self.allowance.wall();
            let unanswered = self.context.progress.leaves();
            let verdict = ready.go().await;
            drop(unanswered);
            match verdict.kind {
                VerdictKind::Unreachable | VerdictKind::Withdrawn => turn.put_back(),
                _ => {
                    left_at = Some(now);
                    slot.has_left(wall);
                    self.last_left_at.set(self.last_left_at.get().max(left_at));
                    self.context.progress.departs();
                }
            }
            verdict
        } else {
            Verdict::new(VerdictKind::Withdrawn, "it did not leave")
        };
        Answer {
            left_at,
            answered_at: self.clock.now(),
            verdict,
        }
    }

    /// Waits for a turn to leave; `None`: there is none for this request.
    async fn turn(&self, lane: Lane, intent: Intent) -> Option<Turn<'_>> {
        let turn = tokio::select! {
            biased;
            turn = self.turns(lane), if !is_made(Mistake::NoTurn) => turn,
            () = std::future::ready(()), if is_made(Mistake::NoTurn) => Turn::default(),
            () = self.ending(), if !is_made(Mistake::LeavesAfterEnd) => return None,
        };
        if intent.since.is_some_and(|since| self.has_slept(since)) {
            return None;
        }
        let may = self.may_leave(lane) && intent.is_in_time();
        if may || is_made(Mistake::LeavesAfterEnd) {
            return Some(turn);
        }
        turn.put_back();
        None
    }

    /// A turn of each rate that binds the lane.
    async fn turns(&self, lane: Lane) -> Turn<'a> {
        let of_all = &self.pace.common;
        if let Some(pace) = self.pace.besides(lane) {
            let (here, common) = pace.turn_of_both(of_all).await;
            Turn([Some((pace, here)), Some((of_all, common))])
        } else {
            Turn([Some((of_all, of_all.turn().await)), None])
        }
    }

    /// Hands an answer to the ledger, and draws the conclusions for all.
    async fn answered(&self, job: &mut Job, answer: Answer) {
        let Some(attempt) = job.attempts.last_mut() else {
            return;
        };
        let (n, lane, verdict) = (attempt.n, attempt.lane, &answer.verdict);
        let latency = answer.left_at.map(|left| answer.answered_at.since(left));
        let (text, reference) = match verdict.kind {
            VerdictKind::Accepted => ("", &*verdict.text),
            _ => (&*verdict.text, ""),
        };
        tracing::debug!(
            name: "answered",
            number = self.shown(job.number),
            line = job.line,
            attempt = n,
            lane = lane.name(),
            verdict = verdict.kind.key(),
            text = self.shown_text(text),
            reference = self.shown_reference(job.number, reference),
            latency_ms = latency.map(|latency| latency.as_secs_f64() * 1_000.0),
            "answered"
        );
        let hold = verdict.retry_at.map(|at| self.held(lane, at));
        attempt.answer = Some(answer.clone());
        self.context.progress.answered(attempt);
        if self
            .watch
            .with_runs(|runs| runs.meaning(attempt))
            .is_billed()
        {
            self.allowance.is_billed(lane);
        }
        // At once: nothing leaves any more while the ledger is being told.
        if let Some((kind, message)) = self.watch.heard(Instant::now(), job, hold) {
            self.stop(kind, &message);
        }
        // What turned up comes first: a crash in between must not leave an answer without it.
        self.pass_on_news().await;
        if !is_made(Mistake::AnswerLost) {
            self.context.ledger.answer(job.id, n, &answer).await;
        }
    }

    /// The time at which a lane may go on, said aloud.
    fn held(&self, lane: Lane, at: UnixMicros) -> Instant {
        let until = self.clock.instant(at);
        let wait = until.saturating_duration_since(Instant::now());
        let (lane, seconds) = (lane.name(), wait.as_secs_f64());
        if wait > LONG_HOLD {
            tracing::warn!(
                name: "told_to_wait",
                lane,
                seconds,
                "the gateway asked to wait for long; to go on before, stop this run and start the next one with --ignore-retry-after"
            );
        } else {
            tracing::info!(name: "told_to_wait", lane, seconds, "the gateway asked to wait");
        }
        until
    }

    /// Tells the ledger what has turned up.
    async fn pass_on_news(&self) {
        for fact in self.watch.news() {
            self.context.ledger.note(&fact).await;
        }
    }

    /// Notes that the wall clock was set, or that the machine slept; it is `at` now.
    async fn note_moves(&self, at: UnixMicros) {
        if let Some(ahead) = self.allowance.moved(at) {
            let moved = RunFact::ClockMoved { at, ahead };
            self.context.ledger.note(&moved).await;
        }
    }

    /// How long a number waits after so many failures in a row on a lane.
    fn wait(&self, failures: u32) -> Duration {
        let random = &mut self.random.borrow_mut();
        self.settings.backoff.delay(failures, random)
    }

    /// How a number of this status comes to rest for which nothing more is done.
    fn how(&self, job: &Job, status: Status) -> Rest {
        if self.watch.is_left_in_doubt(job) {
            return Rest::Unfinished;
        }
        match status {
            Status::Sent | Status::Verified | Status::NotVerified | Status::Rejected => {
                Rest::Settled
            }
            _ => Rest::Open,
        }
    }

    fn status(&self, job: &Job) -> Status {
        self.watch
            .with_runs(|runs| outcome(job.lane, &job.attempts, runs).status)
    }

    /// Shows what has become of a number.
    fn show(&self, job: &Job, shown: &mut Status) {
        let status = self.status(job);
        self.context.progress.moved(*shown, status);
        *shown = status;
    }

    fn may_leave(&self, lane: Lane) -> bool {
        !self.has_ended() && !self.watch.is_held(lane) && self.allowance.may_leave(lane)
    }

    /// Returns when the run has ended.
    async fn ending(&self) {
        // The sender is our own.
        let _ = self.ended.subscribe().wait_for(|ended| *ended).await;
    }

    fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// A number as it may be logged.
    fn shown(&self, number: Number) -> String {
        match self.settings.log_numbers {
            LogNumbers::Whole => number.e164(),
            LogNumbers::Masked => number.masked(),
        }
    }

    /// What the gateway calls a message or call, as it may be logged: for people to ask it about, so
    /// only this very number is masked in it.
    fn shown_reference(&self, number: Number, text: &str) -> String {
        match self.settings.log_numbers {
            LogNumbers::Whole => text.to_owned(),
            LogNumbers::Masked => mask_number(number, text),
        }
    }

    /// A text of the gateway as it may be logged.
    fn shown_text(&self, text: &str) -> String {
        match self.settings.log_numbers {
            LogNumbers::Whole => text.to_owned(),
            LogNumbers::Masked => mask_numbers(text),
        }
    }
}

/// May a request be made?
enum Start {
    /// Yes: its intent is durable.
    Go(Intent),
    /// Not now; what is counted with others says when.
    NotNow,
    /// Not in this run: its limit is reached.
    NotAtAll,
    /// The number is in other hands, or the run ends.
    NotOurs,
}

/// What binds a request that was begun.
#[derive(Clone, Copy, Debug)]
struct Intent {
    /// It must not leave after this.
    leave_by: Option<Instant>,
    /// Where others may have taken it over while the machine slept: when it was begun.
    since: Option<Moment>,
}

impl Intent {
    fn is_in_time(self) -> bool {
        self.leave_by.is_none_or(|at| Instant::now() <= at)
    }
}

/// Turns that a request may use: what to put back, and where.
#[derive(Clone, Copy, Default)]
struct Turn<'a>([Option<(&'a Pace, Instant)>; 2]);

impl Turn<'_> {
    /// The request did not leave after all.
    fn put_back(self) {
        for (pace, turn) in self.0.into_iter().flatten() {
            pace.put_back(turn);
        }
    }
}

/// Counts a number as in hand on a lane, until it is dropped.
struct InHand<'e>(&'e Cell<usize>);

impl<'e> InHand<'e> {
    fn of(count: &'e Cell<usize>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for InHand<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}
