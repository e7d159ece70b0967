//! What the answers say about the gateway, the endpoint and the account, beyond the number that was
//! asked for: breakers, holds, a wave of one refusal, a wrong endpoint, a refused key. Sync and
//! quick: it is told, and asked.
//!
//! What turns up becomes a [`RunFact`]; the fold then judges every attempt in its light. While it
//! may still turn out that a failure or a refusal was not the number's, that number is in doubt.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Settings;
use super::progress::Why;
use crate::gateway::{Cause, NoConnection};
use crate::job::{Attempt, Job, JobId, Lane, UnixMicros, Verdict, VerdictKind};
use crate::mistake::{Mistake, is_made};
use crate::next::{Step, next_step};
use crate::number::mask_numbers;
use crate::outage::{self, Breaker, Evidence, Failure};
use crate::run::{Meaning, RunFact, RunFacts, RunId, Runs, StopKind, WAVE_BEGUN, alike};

/// This many answers that are all redirects or 4xx, and never anything else, say that the endpoint
/// is wrong.
const SUSPECTS_MAX: usize = 20;

/// This many connections in a row that fail alike, for a reason that lasts, end the run.
const LASTING_MAX: usize = 3;

/// Watches over a run.
pub struct Watch<'a> {
    settings: &'a Settings,
    run: RunId,
    state: RefCell<State>,
    /// A doubt may have been settled.
    settled: Notify,
    /// Jobs in doubt, per lane.
    doubting: [Cell<usize>; Lane::ALL.len()],
}

struct State {
    runs: Runs,
    /// For connections.
    common: Breaker,
    lanes: [LaneWatch; Lane::ALL.len()],
    /// Redirects and 4xx from an endpoint that has not proved right.
    suspects: usize,
    /// How the latest outage shows.
    outage: String,
    /// Since when there is an outage.
    down_since: Option<Instant>,
    connecting: Connecting,
    /// Facts that the ledger has not been told.
    news: Vec<RunFact>,
    /// An outage has ended, and nobody has asked for it yet.
    outage_is_over: bool,
    /// The run has ended, for all or here: no doubt is waited for any more.
    ended: Option<Ends>,
}

/// What has come of the connections of this run.
#[derive(Default)]
struct Connecting {
    /// One was made.
    reached: bool,
    /// The host's name was found, or it may have been.
    resolved: bool,
    /// Why the latest could not be made, and how many in a row for the same reason.
    alike: Option<(Cause, usize)>,
}

impl Connecting {
    /// One could not be made. Is waiting of no use? What has worked in this run may work again.
    fn failed(&mut self, cause: Cause) -> Option<StopKind> {
        self.resolved |= cause != Cause::NoSuchHost;
        let before = self.alike.filter(|(before, _)| *before == cause);
        let count = before.map_or(0, |(_, count)| count) + 1;
        self.alike = Some((cause, count));
        let kind = match cause {
            Cause::NoSuchHost if !self.resolved => StopKind::WrongEndpoint,
            Cause::Certificate => StopKind::Certificate,
            Cause::NoTls | Cause::ProxyCredentials => StopKind::WrongEndpoint,
            _ => return None,
        };
        (count >= LASTING_MAX && !self.reached).then_some(kind)
    }
}

/// One lane's state.
struct LaneWatch {
    breaker: Breaker,
    held_until: Option<Instant>,
    /// Refused by the API in the same words.
    refused: Row,
    /// Answered by the same bare 3xx or 4xx.
    bare: Row,
}

/// Different numbers in a row that were answered alike.
#[derive(Default)]
struct Row {
    words: String,
    from: Option<UnixMicros>,
    jobs: Vec<JobId>,
}

impl Row {
    /// One more; says how many there are now.
    fn add(&mut self, words: String, at: UnixMicros, job: JobId) -> usize {
        if self.words != words {
            *self = Self {
                words,
                ..Self::default()
            };
        }
        self.from.get_or_insert(at);
        if !self.jobs.contains(&job) {
            self.jobs.push(job);
        }
        self.jobs.len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }

    /// Something else came back for a request that left then. What was under way when the first of
    /// the row was answered shows nothing.
    fn broken_by(&mut self, left_at: UnixMicros) {
        if self.from <= Some(left_at) {
            self.clear();
        }
    }
}

/// May a request of a lane go now?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// One, as a probe.
    Probe,
    /// Not before then.
    Until(Instant, Why),
    /// Not before something comes back.
    Shut,
    /// Not in this run: there is no money left for it.
    Over,
}

impl Gate {
    /// May a request go where both have to let it?
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Over, _) | (_, Self::Over) => Self::Over,
            (Self::Shut, _) | (_, Self::Shut) => Self::Shut,
            (Self::Until(at, _), Self::Until(later, _)) if later > at => other,
            (Self::Until(..), _) => self,
            (_, Self::Until(..)) | (Self::Open, _) => other,
            (Self::Probe, _) => Self::Probe,
        }
    }
}

/// Whom the end of a run ends it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    /// There is nobody else.
    ForAll,
    /// Others may go on with it.
    Here,
}

/// Why a run has to stop.
pub type MustStop = (StopKind, String);

impl<'a> Watch<'a> {
    pub fn new(settings: &'a Settings, run: RunId, runs: Runs) -> Self {
        let lane = |_| LaneWatch {
            breaker: Breaker::of_lane(settings.max_outage),
            held_until: None,
            refused: Row::default(),
            bare: Row::default(),
        };
        Self {
            settings,
            run,
            state: RefCell::new(State {
                runs,
                common: Breaker::of_connections(settings.max_outage),
                lanes: Lane::ALL.map(lane),
                suspects: 0,
                outage: String::new(),
                down_since: None,
                connecting: Connecting::default(),
                news: Vec::new(),
                outage_is_over: false,
                ended: None,
            }),
            settled: Notify::new(),
            doubting: Default::default(),
        }
    }

    /// Looks at the facts of the runs, this one's included.
    pub fn with_runs<T>(&self, look: impl FnOnce(&Runs) -> T) -> T {
        look(&self.state.borrow().runs)
    }

    /// The facts that have turned up since the last call.
    pub fn news(&self) -> Vec<RunFact> {
        std::mem::take(&mut self.state.borrow_mut().news)
    }

    /// Others who work on this run have found something out: it says what attempts mean. That it is
    /// an outage here, too, has to show here.
    pub fn told(&self, fact: &RunFact) {
        let mut state = self.state.borrow_mut();
        if *fact == RunFact::EndpointProven {
            state.proven();
        }
        state.runs.add(self.run, fact);
        drop(state);
        self.settled.notify_waiters();
    }

    /// A connection was made.
    pub fn reached(&self) {
        let connecting = &mut self.state.borrow_mut().connecting;
        *connecting = Connecting {
            reached: true,
            resolved: true,
            alike: None,
        };
    }

    /// No connection could be made for this job. Says whether the run has to stop for it.
    pub fn unreachable(
        &self,
        now: Instant,
        at: UnixMicros,
        lane: Lane,
        job: JobId,
        none: &NoConnection,
    ) -> Option<MustStop> {
        let mut state = self.state.borrow_mut();
        if let Some(kind) = state.connecting.failed(none.cause) {
            return Some(lasting(kind, &none.why));
        }
        state.lanes[lane.index()].breaker.withdrawn(job);
        let failure = Failure {
            job,
            left_at: at,
            words: String::new(),
            evidence: Evidence::Strong,
        };
        let opened = state.common.failed(now, at, failure);
        if let Some(from) = opened {
            state.outage_began(self.run, None, from, none);
        } else if state.common.is_open() {
            state.outage = shown(none);
        }
        None
    }

    /// The job's last attempt was answered. Says whether the run has to stop for it.
    pub fn heard(&self, now: Instant, job: &Job, hold: Option<Instant>) -> Option<MustStop> {
        let attempt = job.attempts.last()?;
        let answer = attempt.answer.as_ref()?;
        let text = &answer.verdict.text;
        let Some(left_at) = answer.left_at else {
            if answer.verdict.kind != VerdictKind::Unreachable {
                return None;
            }
            let none = NoConnection::from(answer.verdict.clone());
            return self.unreachable(now, answer.answered_at, attempt.lane, job.id, &none);
        };
        let heard = Heard {
            now,
            job,
            lane: attempt.lane,
            left_at,
            at: answer.answered_at,
            verdict: &answer.verdict,
        };
        let mut state = self.state.borrow_mut();
        state.connected(self.run, &heard);
        let stop = match answer.verdict.kind {
            VerdictKind::Throttled
            | VerdictKind::ServerError
            | VerdictKind::Ambiguous
            | VerdictKind::NoAnswer => {
                state.failed(self.run, &heard);
                None
            }
            VerdictKind::Misdirected => self.misdirected(&mut state, &heard),
            kind => {
                state.worked(self.run, &heard);
                let lane = &mut state.lanes[attempt.lane.index()];
                lane.bare.broken_by(left_at);
                match kind {
                    VerdictKind::KeyRefused if is_made(Mistake::KeyGoesOn) => None,
                    VerdictKind::KeyRefused => Some(key_refused(text)),
                    VerdictKind::AccountRefused => Some(account_refused(text)),
                    VerdictKind::Rejected => self.rejected(&mut state, &heard),
                    _ => {
                        lane.refused.broken_by(left_at);
                        None
                    }
                }
            }
        };
        // Behind the failure, for what opens with it is held, too.
        if let Some(until) = hold {
            state.hold(attempt.lane, until);
        }
        drop(state);
        self.settled.notify_waiters();
        stop
    }

    /// Refused in the API's own words: one more of a row of them, or the first.
    fn rejected(&self, state: &mut State, heard: &Heard<'_>) -> Option<MustStop> {
        let text = &heard.verdict.text;
        let refused = &mut state.lanes[heard.lane.index()].refused;
        let count = refused.add(alike(text), heard.at, heard.job.id);
        if count < self.settings.refused_alike?.get() || is_made(Mistake::NoWave) {
            return None;
        }
        state.wave(self.run, heard.lane);
        let lane = heard.lane.name();
        Some((
            StopKind::AccountRefused,
            format!(
                "{count} numbers in a row were refused on the lane {lane} in the same words (\"{text}\"): it is the account or the service, not the numbers. They stay pending, and nothing more was sent. Settle it with the provider, then run the same command again; if it really is the numbers, set --refused-alike"
            ),
        ))
    }

    /// A redirect or a 4xx without the API's words: the endpoint's fault, the service's, or the
    /// number's.
    fn misdirected(&self, state: &mut State, heard: &Heard<'_>) -> Option<MustStop> {
        let text = &heard.verdict.text;
        let proven = state.runs.get(self.run)?.endpoint_proven();
        let lane = &mut state.lanes[heard.lane.index()];
        if lane.breaker.is_open() {
            let failure = heard.failure(Evidence::None);
            let _ = lane.breaker.failed(heard.now, heard.at, failure);
            return None;
        }
        if !proven {
            state.suspects += 1;
            lane.bare.add(text.clone(), heard.at, heard.job.id);
            return (state.suspects >= SUSPECTS_MAX).then(|| wrong_endpoint(text));
        }
        lane.refused.broken_by(heard.left_at);
        let count = lane.bare.add(text.clone(), heard.at, heard.job.id);
        if count >= self.settings.refused_alike?.get() {
            let from = lane.bare.from.unwrap_or(heard.at);
            lane.bare.clear();
            if let Some(from) = lane.breaker.open(heard.now, from) {
                state.outage_began(self.run, Some(heard.lane), from, &down(text));
            }
        }
        None
    }

    /// The run ends, for all or just here. When doubts are left, refusals that may have been the
    /// beginning of a wave, of words or without, are not the numbers'; but where others go on, they
    /// will see, and what they are told of a wave would hold for all refusals to come. The last one
    /// to end looks at what all have left.
    pub fn ended(&self, whom: Ends) {
        let mut state = self.state.borrow_mut();
        for lane in Lane::ALL
            .into_iter()
            .filter(|_| self.settings.refused_alike.is_some() && whom == Ends::ForAll)
        {
            let LaneWatch { refused, bare, .. } = &state.lanes[lane.index()];
            let (refused, bare) = (refused.jobs.len(), (bare.jobs.len(), bare.from));
            if refused >= WAVE_BEGUN {
                state.wave(self.run, lane);
            }
            if let (WAVE_BEGUN.., Some(from)) = bare {
                state.outage_began(self.run, Some(lane), from, &down("nothing is served there"));
            }
        }
        state.ended = Some(whom);
        drop(state);
        self.settled.notify_waiters();
    }

    /// Holds a whole lane back.
    pub fn hold(&self, lane: Lane, until: Instant) {
        self.state.borrow_mut().hold(lane, until);
    }

    /// Is the lane held back?
    pub fn is_held(&self, lane: Lane) -> bool {
        let state = self.state.borrow();
        state.lanes[lane.index()]
            .held_until
            .is_some_and(|until| until > Instant::now())
    }

    /// May a request of this lane go?
    pub fn gate(&self, lane: Lane, now: Instant) -> Gate {
        let state = self.state.borrow();
        let of_lane = &state.lanes[lane.index()];
        let held = of_lane.held_until.filter(|until| *until > now);
        let mut gate = held.map_or(Gate::Open, |until| {
            Gate::Until(until, Why::RetryAfter(lane))
        });
        for breaker in [&state.common, &of_lane.breaker] {
            match (breaker.gate(now), gate) {
                (outage::Gate::Probe, Gate::Open) => gate = Gate::Probe,
                (outage::Gate::Closed | outage::Gate::Probe, _) => {}
                (outage::Gate::Probing, _) => return Gate::Shut,
                (outage::Gate::Wait(at), Gate::Until(until, _)) if at < until => {}
                (outage::Gate::Wait(at), _) => gate = Gate::Until(at, Why::Outage),
            }
        }
        gate
    }

    /// So many are in this outage, here and elsewhere, and nobody is not.
    pub fn probe_together(&self, lane: Option<Lane>, probers: u32) {
        let mut state = self.state.borrow_mut();
        let breaker = match lane {
            Some(lane) => &mut state.lanes[lane.index()].breaker,
            None => &mut state.common,
        };
        breaker.probe_together(probers);
    }

    /// Until when no connection is tried, where none can be made: the past where one is tried now.
    pub fn cut_off_until(&self, now: Instant) -> Option<Instant> {
        match self.state.borrow().common.gate(now) {
            outage::Gate::Closed => None,
            outage::Gate::Probe | outage::Gate::Probing => Some(now),
            outage::Gate::Wait(at) => Some(at),
        }
    }

    /// A request for this job is on its way; while a breaker is open it is the probe.
    pub fn granted(&self, lane: Lane, job: JobId) {
        let mut state = self.state.borrow_mut();
        state.common.probe(job);
        state.lanes[lane.index()].breaker.probe(job);
    }

    /// That request is over.
    pub fn released(&self, lane: Lane, job: JobId) {
        let mut state = self.state.borrow_mut();
        state.common.withdrawn(job);
        state.lanes[lane.index()].breaker.withdrawn(job);
    }

    /// How the latest outage showed.
    pub fn outage(&self) -> String {
        self.state.borrow().outage.clone()
    }

    /// Since when there is an outage, if there is one.
    pub fn down_since(&self) -> Option<Instant> {
        self.state.borrow().down_since
    }

    /// When an outage will have lasted too long, for the lanes that are `busy`: where nothing is left
    /// to do, nobody waits for its end.
    pub fn deadline(&self, busy: impl Fn(Lane) -> bool) -> Option<Instant> {
        let state = self.state.borrow();
        let lanes = Lane::ALL.into_iter().filter(|lane| busy(*lane));
        let breakers = lanes.flat_map(|lane| [&state.lanes[lane.index()].breaker, &state.common]);
        breakers.filter_map(Breaker::deadline).min()
    }

    /// For so long nothing could leave on the lanes that are `closed`: that is no outage. It counts
    /// for connections, too, when nothing else is `busy`.
    pub fn was_closed(
        &self,
        time: Duration,
        closed: impl Fn(Lane) -> bool,
        busy: impl Fn(Lane) -> bool,
    ) {
        let mut state = self.state.borrow_mut();
        for lane in Lane::ALL.into_iter().filter(|lane| closed(*lane)) {
            state.lanes[lane.index()].breaker.was_closed(time);
        }
        let mut busy = Lane::ALL.into_iter().filter(|lane| busy(*lane)).peekable();
        if busy.peek().is_some() && busy.all(closed) {
            state.common.was_closed(time);
        }
    }

    /// Has an outage ended since the last call?
    pub fn outage_is_over(&self) -> bool {
        std::mem::take(&mut self.state.borrow_mut().outage_is_over)
    }

    /// Waits until it is clear whether the job's last answer says something about the number.
    pub async fn doubts_settled(&self, job: &Job) {
        let Some(lane) = job.attempts.last().map(|last| last.lane) else {
            return;
        };
        let mut counted = false;
        let doubting = &self.doubting[lane.index()];
        loop {
            let settled = self.settled.notified();
            if !self.is_in_doubt(job) {
                break;
            }
            if !counted {
                counted = true;
                doubting.set(doubting.get() + 1);
            }
            settled.await;
        }
        if counted {
            doubting.set(doubting.get() - 1);
        }
    }

    fn is_in_doubt(&self, job: &Job) -> bool {
        self.state.borrow().ended.is_none() && self.may_change(job)
    }

    /// Did the run end here before it was clear what the job's last answer says?
    pub fn is_left_in_doubt(&self, job: &Job) -> bool {
        self.state.borrow().ended == Some(Ends::Here) && self.may_change(job)
    }

    /// May it still turn out that the job's last answer says nothing about the number?
    fn may_change(&self, job: &Job) -> bool {
        let state = self.state.borrow();
        let last = job.attempts.iter().rfind(|last| !last.never_left());
        let last = last.filter(|last| last.run == self.run);
        let Some((last, answer)) = last.and_then(|last| Some((last, last.answer.as_ref()?))) else {
            return false;
        };
        let lane = &state.lanes[last.lane.index()];
        // Whatever may still turn out to be an outage would cover it.
        let outages = [
            lane.breaker.suspected_from(),
            state.common.suspected_from(),
            lane.bare.from,
        ];
        let mut outages = outages.into_iter().flatten();
        let suspected = outages.any(|from| answer.answered_at >= from);
        let kind = answer.verdict.kind;
        match state.runs.meaning(last) {
            // An OTP may have gone out: nothing that turns up later changes that.
            Meaning::Ambiguous if last.lane != Lane::Verify => false,
            Meaning::Failed | Meaning::Held | Meaning::Ambiguous => {
                // With tries left it is asked again in any case.
                let again = Step::Try(last.lane);
                suspected && next_step(job.lane, &job.attempts, &state.runs) != again
            }
            Meaning::Rejected if kind == VerdictKind::Misdirected && suspected => true,
            Meaning::Rejected if self.settings.refused_alike.is_none() => false,
            Meaning::Rejected if is_made(Mistake::NoDoubt) => false,
            Meaning::Rejected => {
                lane.refused.jobs.contains(&job.id) || lane.bare.jobs.contains(&job.id)
            }
            Meaning::Nothing => {
                let run = state.runs.get(self.run);
                let unproven = run.is_some_and(|run| !run.endpoint_proven());
                kind == VerdictKind::Misdirected && unproven && !lane.breaker.is_open()
            }
            Meaning::Accepted | Meaning::NotVerified => false,
        }
    }

    /// How many jobs of the lane are in doubt.
    pub fn doubting(&self, lane: Lane) -> usize {
        self.doubting[lane.index()].get()
    }

    /// Nothing more will come back on this lane that could settle its doubts. Says whether the run
    /// has to stop.
    pub fn nothing_else_left(&self, now: Instant, lane: Lane) -> Option<MustStop> {
        let mut state = self.state.borrow_mut();
        let of_lane = &mut state.lanes[lane.index()];
        let said = of_lane.bare.words.clone();
        if let Some(from) = of_lane.breaker.nothing_else_left(now) {
            state.outage_began(
                self.run,
                Some(lane),
                from,
                &down("nothing but failures comes back"),
            );
        } else {
            of_lane.breaker.forget();
            of_lane.refused.clear();
            of_lane.bare.clear();
            state.common.forget();
        }
        let unproven = state
            .runs
            .get(self.run)
            .is_some_and(|run| !run.endpoint_proven());
        let stop =
            (unproven && state.suspects > 0 && !said.is_empty()).then(|| wrong_endpoint(&said));
        drop(state);
        self.settled.notify_waiters();
        stop
    }
}

impl State {
    fn note(&mut self, run: RunId, fact: RunFact) {
        self.runs.add(run, &fact);
        self.news.push(fact);
    }

    fn outage_began(
        &mut self,
        run: RunId,
        lane: Option<Lane>,
        from: UnixMicros,
        none: &NoConnection,
    ) {
        let of = lane.map_or("", Lane::name);
        self.outage = shown(none);
        self.down_since.get_or_insert_with(Instant::now);
        tracing::warn!(
            name: "outage_began",
            lane = of,
            "{}: requests pause, but for a probe now and then",
            self.outage
        );
        let why = mask_numbers(&none.why);
        self.note(run, RunFact::OutageBegan { lane, from, why });
    }

    fn outage_ended(&mut self, run: RunId, lane: Option<Lane>, at: UnixMicros) {
        tracing::warn!(
            name: "outage_ended",
            lane = lane.map_or("", Lane::name),
            "the gateway answers again"
        );
        self.outage_is_over = true;
        let of_lanes = self.lanes.iter().map(|lane| &lane.breaker);
        if !of_lanes.chain([&self.common]).any(Breaker::is_open) {
            self.down_since = None;
        }
        self.note(run, RunFact::OutageEnded { lane, at });
    }

    fn wave(&mut self, run: RunId, lane: Lane) {
        let refused = &mut self.lanes[lane.index()].refused;
        if let Some(from) = refused.from {
            let words = std::mem::take(&mut refused.words);
            refused.clear();
            self.note(run, RunFact::Wave { lane, from, words });
        }
    }

    fn hold(&mut self, lane: Lane, until: Instant) {
        if is_made(Mistake::HoldIgnored) {
            return;
        }
        let lane = &mut self.lanes[lane.index()];
        lane.held_until = lane.held_until.max(Some(until));
        lane.breaker.held_until(until);
    }

    /// A request left, so there was a connection. Where nothing came back on it, that is no sign
    /// that the gateway is up.
    fn connected(&mut self, run: RunId, heard: &Heard<'_>) {
        if heard.verdict.kind != VerdictKind::NoAnswer {
            if self.common.worked(heard.left_at) {
                self.outage_ended(run, None, heard.at);
            }
        } else if self.common.is_open() {
            let failure = heard.failure(Evidence::None);
            let _ = self.common.failed(heard.now, heard.at, failure);
        }
    }

    fn failed(&mut self, run: RunId, heard: &Heard<'_>) {
        let breaker = &self.lanes[heard.lane.index()].breaker;
        let streak_from = breaker.suspected_from().unwrap_or(heard.at);
        let means = |attempt: &Attempt| self.runs.meaning(attempt);
        // It failed before, while others did not.
        let own_trouble = heard.job.attempts.iter().any(|before| {
            let answered_at = before.answer.as_ref().map(|answer| answer.answered_at);
            before.lane == heard.lane
                && answered_at.is_some_and(|at| at < streak_from)
                && means(before).is_trouble()
        });
        let evidence = match heard.job.attempts.last().map(means) {
            _ if own_trouble => Evidence::None,
            Some(Meaning::Failed | Meaning::Held) => Evidence::Strong,
            _ => Evidence::Weak,
        };
        let breaker = &mut self.lanes[heard.lane.index()].breaker;
        if let Some(from) = breaker.failed(heard.now, heard.at, heard.failure(evidence)) {
            self.outage_began(run, Some(heard.lane), from, &down(&heard.verdict.text));
        }
    }

    fn worked(&mut self, run: RunId, heard: &Heard<'_>) {
        let lane = &mut self.lanes[heard.lane.index()];
        if lane.breaker.worked(heard.left_at) {
            self.outage_ended(run, Some(heard.lane), heard.at);
        }
        let proven = self.runs.get(run).is_some_and(RunFacts::endpoint_proven);
        if heard.verdict.kind.proves_endpoint() && !proven {
            self.proven();
            self.note(run, RunFact::EndpointProven);
        }
    }

    /// What looked like a wrong endpoint was about the numbers.
    fn proven(&mut self) {
        self.suspects = 0;
        for lane in &mut self.lanes {
            lane.bare.clear();
        }
    }
}

/// What came back for a request that left.
struct Heard<'h> {
    now: Instant,
    job: &'h Job,
    lane: Lane,
    left_at: UnixMicros,
    at: UnixMicros,
    verdict: &'h Verdict,
}

impl Heard<'_> {
    /// The HTTP status, or what was said with a 200: what stands behind a status may hold a
    /// reference that is another each time.
    fn kind_of_failure(&self) -> String {
        let text = &self.verdict.text;
        match text.split_once(": ") {
            Some((status, _)) if status.starts_with("HTTP ") => status.to_owned(),
            _ => alike(text),
        }
    }

    fn failure(&self, evidence: Evidence) -> Failure {
        Failure {
            job: self.job.id,
            left_at: self.left_at,
            words: self.kind_of_failure(),
            evidence,
        }
    }
}

/// Nothing but this comes from the gateway.
fn down(why: &str) -> NoConnection {
    Verdict::new(VerdictKind::Unreachable, why).into()
}

/// How an outage shows, in words for people.
fn shown(none: &NoConnection) -> String {
    let why = mask_numbers(&none.why);
    match none.cause {
        Cause::Machine | Cause::Proxy | Cause::ProxyCredentials => why,
        _ => format!("the gateway is down ({why})"),
    }
}

fn lasting(kind: StopKind, why: &str) -> MustStop {
    let check = match kind {
        StopKind::Certificate => "--endpoint, and which certificates this machine trusts",
        _ => "--endpoint and --proxy",
    };
    let message = format!(
        "{why}; nothing was sent in this run, and waiting would not help. Check {check}, then run the same command again"
    );
    (kind, message)
}

fn key_refused(said: &str) -> MustStop {
    let message = format!(
        "the gateway refused the API key ({said}); nothing more was sent. Check the key, then run the same command again"
    );
    (StopKind::KeyRefused, message)
}

fn account_refused(said: &str) -> MustStop {
    let message = format!(
        "the gateway refused the account ({said}); nothing more was sent. Check its credit with the provider, then run the same command again"
    );
    (StopKind::AccountRefused, message)
}

fn wrong_endpoint(said: &str) -> MustStop {
    let message = format!(
        "the endpoint is wrong: nothing but redirects and errors of the kind \"{said}\" has ever come back from it, so nothing was sent. Check --endpoint, then run the same command again"
    );
    (StopKind::WrongEndpoint, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waiting_cannot_mend_ends_a_run_unless_it_worked_before() {
        use Cause::{Certificate, Gateway, Machine, NoSuchHost, NoTls, Proxy, ProxyCredentials};
        let ends = |causes: &[Cause], reached: bool| {
            let mut connecting = Connecting {
                reached,
                resolved: reached,
                alike: None,
            };
            let ends = causes.iter().map(|cause| connecting.failed(*cause));
            ends.last().flatten()
        };
        let (host, certificate) = ([NoSuchHost; 3], [Certificate; 3]);
        assert_eq!(ends(&host, false), Some(StopKind::WrongEndpoint));
        assert_eq!(ends(&certificate, false), Some(StopKind::Certificate));
        for lasting in [NoTls, ProxyCredentials] {
            assert_eq!(ends(&[lasting; 3], false), Some(StopKind::WrongEndpoint));
        }
        for lasting in [host, certificate, [NoTls; 3], [ProxyCredentials; 3]] {
            assert_eq!(ends(&lasting[1..], false), None, "too few");
            assert_eq!(ends(&lasting, true), None, "it worked in this run");
        }
        for passing in [Gateway, Machine, Proxy] {
            assert_eq!(ends(&[passing; 9], false), None);
            let before = |lasting: [Cause; 3]| [&[passing][..], &lasting].concat();
            let stop = ends(&before(certificate), false);
            assert_eq!(stop, Some(StopKind::Certificate));
            assert_eq!(ends(&before(host), false), None, "it had a name before");
        }
    }
}
