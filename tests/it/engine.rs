//! The engine, in process and with paused time: a memory and a gateway of the tests' own.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::pending;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use otpdrive::campaign::{self, Finished, Live, Means, Settings, Task};
use otpdrive::clock::Clock;
use otpdrive::gateway::Gateway;
use otpdrive::ledger::{Due, Ledger, LedgerError, Reserved};
use otpdrive::outcome::{
    Channel, Job, JobId, Lane, Number, Policy, RowId, RunId, Status, Step, UnixMicros, Verdict,
    next_step, outcome,
};
use otpdrive::pace::Rate;
use otpdrive::record::{End, Signal, StopKind};
use otpdrive::retry::Backoff;
use tokio::time::{Instant, sleep};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

/// A ledger that forgets at the end of the test.
struct Memory {
    jobs: RefCell<Vec<Job>>,
    /// How long a commit takes.
    commit: Duration,
    /// From so many intents on, none can be written down.
    full_after: Cell<Option<usize>>,
    intents: Cell<usize>,
    withdrawn: Cell<usize>,
    after: Cell<Option<UnixMicros>>,
    runs: Cell<i64>,
    left: Cell<usize>,
    /// The most intents at once whose requests had not left.
    ahead_max: Cell<usize>,
}

impl Memory {
    fn new(lanes: impl IntoIterator<Item = Lane>) -> Self {
        let job = |(n, lane): (i64, Lane)| Job {
            id: JobId(n),
            row: RowId(n),
            number: Number::new(919_000_000_000 + n.cast_unsigned()).unwrap(),
            code: None,
            lane,
            attempts: Vec::new(),
        };
        Self {
            jobs: RefCell::new((1..).zip(lanes).map(job).collect()),
            commit: MS,
            full_after: Cell::new(None),
            intents: Cell::new(0),
            withdrawn: Cell::new(0),
            after: Cell::new(None),
            runs: Cell::new(0),
            left: Cell::new(0),
            ahead_max: Cell::new(0),
        }
    }

    fn with_job<T>(&self, id: JobId, act: impl FnOnce(&mut Job) -> T) -> T {
        let place = usize::try_from(id.0).unwrap() - 1;
        act(&mut self.jobs.borrow_mut()[place])
    }

    fn count(&self, status: Status) -> usize {
        let jobs = self.jobs.borrow();
        let of = |job: &&Job| outcome(job.lane, &job.attempts).status == status;
        jobs.iter().filter(of).count()
    }

    fn attempts(&self) -> usize {
        self.jobs.borrow().iter().map(|j| j.attempts.len()).sum()
    }
}

/// On which lane something is due for a job, as the plan and the real ledger see it.
fn due_on(job: &Job, policy: Policy) -> Option<Lane> {
    match next_step(job.lane, &job.attempts, &policy, true) {
        Step::Try { lane, .. } => Some(lane),
        Step::Rest => {
            let status = outcome(job.lane, &job.attempts).status;
            (status == Status::Pending).then_some(job.lane)
        }
    }
}

impl Ledger for Memory {
    async fn due(
        &self,
        lane: Lane,
        after: RowId,
        limit: usize,
        policy: Policy,
    ) -> Result<Due, LedgerError> {
        sleep(self.commit).await;
        let jobs = self.jobs.borrow();
        let from = usize::try_from(after.0).unwrap();
        let mut due = Due {
            jobs: Vec::new(),
            seen: RowId(0),
            exhausted: true,
        };
        for job in &jobs[from.min(jobs.len())..] {
            due.seen = job.row;
            let run = RunId(self.runs.get());
            let begun = job.attempts.last().is_some_and(|last| last.run == run);
            if !begun && due_on(job, policy) == Some(lane) {
                due.jobs.push(job.clone());
            }
            if due.jobs.len() == limit {
                due.exhausted = false;
                break;
            }
        }
        Ok(due)
    }

    async fn begin(&self, job: &Job) -> Result<(), LedgerError> {
        sleep(self.commit).await;
        self.intents.set(self.intents.get() + 1);
        if self
            .full_after
            .get()
            .is_some_and(|n| self.intents.get() > n)
        {
            return Err(LedgerError::Database {
                path: PathBuf::from("memory"),
                what: "write",
                why: "disk full".to_owned(),
            });
        }
        let attempt = job.attempts.last().unwrap().clone();
        self.with_job(job.id, |known| {
            let n = known.attempts.last().map_or(0, |last| last.n) + 1;
            assert_eq!(attempt.n, n, "begun twice");
            known.attempts.push(attempt);
        });
        let ahead = self.intents.get() - self.withdrawn.get() - self.left.get();
        self.ahead_max.set(self.ahead_max.get().max(ahead));
        Ok(())
    }

    async fn withdraw(&self, id: JobId, n: u32) {
        self.withdrawn.set(self.withdrawn.get() + 1);
        self.with_job(id, |job| {
            let last = job.attempts.pop().unwrap();
            assert_eq!((last.n, last.answer), (n, None));
        });
    }

    async fn answer(&self, job: &Job) {
        let attempt = job.attempts.last().unwrap().clone();
        self.with_job(job.id, |known| {
            *known.attempts.last_mut().unwrap() = attempt;
        });
    }

    async fn flush(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    async fn reserve(&self, permits: u32) -> Result<Reserved, LedgerError> {
        Ok(Reserved {
            permits,
            after: self.after.take(),
        })
    }
}

/// A request as it left, and its answer.
#[derive(Clone, Debug)]
struct Sent {
    left: Instant,
    answered: Option<Instant>,
    job: JobId,
    lane: Lane,
    first: bool,
    verdict: Option<Verdict>,
}

/// A gateway that answers by a rule: after this time, this.
struct Rule<'m, F> {
    memory: &'m Memory,
    answer: RefCell<F>,
    log: RefCell<Vec<Sent>>,
    in_flight: Cell<usize>,
    in_flight_max: Cell<usize>,
}

impl<'m, F: FnMut(usize, &Job, Lane) -> (Duration, Verdict)> Rule<'m, F> {
    fn new(memory: &'m Memory, answer: F) -> Self {
        Self {
            memory,
            answer: RefCell::new(answer),
            log: RefCell::new(Vec::new()),
            in_flight: Cell::new(0),
            in_flight_max: Cell::new(0),
        }
    }

    fn times(&self) -> Vec<Instant> {
        self.log.borrow().iter().map(|sent| sent.left).collect()
    }
}

impl<F: FnMut(usize, &Job, Lane) -> (Duration, Verdict)> Gateway for Rule<'_, F> {
    async fn request(&self, job: &Job, lane: Lane) -> Verdict {
        let noted = self.memory.with_job(job.id, |known| known.attempts.clone());
        let last = noted.last().expect("it is written down before it leaves");
        assert_eq!((last.lane, &last.answer), (lane, &None));
        self.memory.left.set(self.memory.left.get() + 1);
        let index = self.log.borrow().len();
        let (time, verdict) = (self.answer.borrow_mut())(index, job, lane);
        self.log.borrow_mut().push(Sent {
            left: Instant::now(),
            answered: None,
            job: job.id,
            lane,
            first: job.attempts.len() == 1,
            verdict: None,
        });
        self.in_flight.set(self.in_flight.get() + 1);
        let most = self.in_flight_max.get().max(self.in_flight.get());
        self.in_flight_max.set(most);
        sleep(time).await;
        self.in_flight.set(self.in_flight.get() - 1);
        let sent = &mut self.log.borrow_mut()[index];
        sent.answered = Some(Instant::now());
        sent.verdict = Some(verdict.clone());
        verdict
    }
}

fn settings(rate: Option<u32>) -> Settings {
    Settings {
        policy: Policy {
            max_attempts: 5,
            fallback: None,
            retry_unknown: false,
        },
        hold_server_errors: false,
        refused_alike: NonZeroUsize::new(20),
        concurrency: NonZeroUsize::new(1_000).unwrap(),
        rate: rate.map(|requests| Rate {
            requests: NonZeroU32::new(requests).unwrap(),
            per: SECOND,
        }),
        backoff: Backoff {
            base: 500 * MS,
            cap: 30 * SECOND,
        },
        max_outage: 900 * SECOND,
        limit: None,
        max_duration: None,
        seed: 1,
        log_numbers: false,
    }
}

async fn drive<F: FnMut(usize, &Job, Lane) -> (Duration, Verdict)>(
    gateway: &Rule<'_, F>,
    settings: &Settings,
    clock: Clock,
    holds: [Option<UnixMicros>; 3],
    stop: impl Future<Output = Signal>,
) -> Finished {
    let ledger = gateway.memory;
    let jobs = ledger.jobs.borrow().clone();
    let lanes: Vec<_> = jobs
        .iter()
        .filter_map(|j| due_on(j, settings.policy))
        .collect();
    let lanes = Lane::ALL.into_iter().filter(|lane| lanes.contains(lane));
    let mut counts = [0; Status::ALL.len()];
    for job in &jobs {
        counts[outcome(job.lane, &job.attempts).status.index()] += 1;
    }
    let live = Live::new(counts);
    let means = Means {
        ledger,
        gateway,
        clock,
        live: &live,
    };
    ledger.runs.set(ledger.runs.get() + 1);
    let task = Task {
        run: RunId(ledger.runs.get()),
        lanes: lanes.collect(),
        holds,
    };
    let finished = campaign::run(&means, settings, task, stop).await;
    let shown = live.counts();
    for status in Status::ALL {
        let count = ledger.count(status) as u64;
        assert_eq!(shown[status.index()], count, "{status:?} on the screen");
    }
    finished
}

/// Runs to the end with nothing special.
async fn run<F: FnMut(usize, &Job, Lane) -> (Duration, Verdict)>(
    gateway: &Rule<'_, F>,
    settings: &Settings,
) -> Finished {
    drive(gateway, settings, Clock::start(), [None; 3], pending()).await
}

fn accepted() -> Verdict {
    Verdict::Accepted("SM1".to_owned())
}

fn throttled(retry_at: Option<UnixMicros>) -> Verdict {
    Verdict::Throttled {
        message: "busy".to_owned(),
        retry_at,
    }
}

fn failed() -> Verdict {
    Verdict::ServerError("HTTP 500".to_owned())
}

/// No second holds more than the rate and a hundredth (or one) more; no tenth of one holds more
/// than half as much again and three.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "small counts"
)]
fn keeps_the_rate(times: &[Instant], rate: u32) {
    let bounds = [
        (SECOND, rate as usize + 1.max(rate as usize / 100)),
        (100 * MS, (f64::from(rate) / 10.0 * 1.5) as usize + 3),
    ];
    for (window, most) in bounds {
        let mut start = 0;
        for (n, at) in times.iter().enumerate() {
            while *at - times[start] >= window {
                start += 1;
            }
            let count = n - start + 1;
            assert!(count <= most, "{count} in {window:?} at {rate}/s");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_and_used_with_a_tenth_of_retries() {
    for (rate, jobs) in [(10, 600), (200, 6_000), (2_000, 30_000)] {
        let memory = Memory::new(vec![Lane::Sms; jobs]);
        let mut random = fastrand::Rng::with_seed(u64::from(rate));
        // Once at most: with five tries in a row some number would run out of luck.
        let gateway = Rule::new(&memory, |_, job, _| {
            let verdict = if job.attempts.len() == 1 && random.f64() < 0.1 {
                throttled(None)
            } else {
                accepted()
            };
            (random.u32(20..150) * MS, verdict)
        });
        run(&gateway, &settings(Some(rate))).await;
        assert_eq!(memory.count(Status::Sent), jobs);
        let times = gateway.times();
        keeps_the_rate(&times, rate);
        // The last retries wait for their time and not for the rate.
        let steady = &times[..jobs];
        let took = (steady[jobs - 1] - steady[0]).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let mean = (jobs - 1) as f64 / took;
        assert!(mean >= 0.99 * f64::from(rate), "{mean:.2} of {rate}/s");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_before_retry_after_and_no_burst_follows_it() {
    let memory = Memory::new(vec![Lane::Sms; 2_000]);
    let clock = Clock::start();
    let gateway = Rule::new(&memory, |index, _, _| match index {
        300 | 700 => (20 * MS, throttled(Some(clock.now() + 5 * SECOND))),
        _ => (30 * MS, accepted()),
    });
    drive(&gateway, &settings(Some(200)), clock, [None; 3], pending()).await;
    assert_eq!(memory.count(Status::Sent), 2_000);
    keeps_the_rate(&gateway.times(), 200);
    let log = gateway.log.borrow();
    assert_eq!(holds_kept(&log, clock), 2);
}

/// No request left between an answer with `Retry-After` and the time it named; says how many
/// such answers there were.
fn holds_kept(log: &[Sent], clock: Clock) -> usize {
    let mut holds = 0;
    for held in log {
        let Some(Verdict::Throttled {
            retry_at: Some(until),
            ..
        }) = held.verdict
        else {
            continue;
        };
        holds += 1;
        let (known, until) = (held.answered.unwrap(), clock.instant(until));
        for sent in log.iter().filter(|sent| sent.lane == held.lane) {
            let early = sent.left > known && sent.left < until;
            assert!(!early, "{:?} too early", until - sent.left);
        }
    }
    holds
}

#[tokio::test(start_paused = true)]
async fn a_hold_of_an_earlier_run_is_kept_for_its_lane() {
    let lanes = [Lane::Sms, Lane::Call];
    let memory = Memory::new(lanes.into_iter().cycle().take(20));
    let clock = Clock::start();
    let start = Instant::now();
    let gateway = Rule::new(&memory, |_, _, _| (MS, accepted()));
    let holds = [Some(clock.now() + 60 * SECOND), None, None];
    drive(&gateway, &settings(None), clock, holds, pending()).await;
    for sent in gateway.log.borrow().iter() {
        let waited = sent.left - start >= 60 * SECOND;
        assert_eq!(waited, sent.lane == Lane::Sms, "{sent:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_time_and_no_row_and_no_burst_follows_it() {
    for verdict in [
        Verdict::Unreachable("refused".to_owned()),
        throttled(None),
        failed(),
    ] {
        let memory = Memory::new(vec![Lane::Sms; 1_000]);
        let start = Instant::now();
        let gateway = Rule::new(&memory, |_, _, _| {
            let down = (2..60).contains(&start.elapsed().as_secs());
            (10 * MS, if down { verdict.clone() } else { accepted() })
        });
        let mut settings = settings(Some(100));
        settings.policy.max_attempts = 1;
        let finished = run(&gateway, &settings).await;
        assert_eq!(finished.end, End::Complete);
        assert_eq!(memory.count(Status::Sent), 1_000, "{verdict:?}");
        let times = gateway.times();
        keeps_the_rate(&times, 100);
        let probes = times
            .iter()
            .filter(|at| (5..60).contains(&(**at - start).as_secs()));
        let probes = probes.count();
        assert!(probes <= 10, "{probes} probes for {verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_lasts_too_long_stops_the_run_with_all_rows_pending() {
    for verdict in [
        Verdict::Unreachable("refused".to_owned()),
        throttled(None),
        failed(),
    ] {
        let memory = Memory::new(vec![Lane::Sms; 100]);
        let gateway = Rule::new(&memory, |_, _, _| (10 * MS, verdict.clone()));
        let mut settings = settings(Some(50));
        settings.policy.max_attempts = 1;
        let start = Instant::now();
        let finished = run(&gateway, &settings).await;
        assert_eq!(stop_kind(&finished), Some(StopKind::Outage));
        let took = start.elapsed();
        assert!(took >= 900 * SECOND && took < 902 * SECOND, "{took:?}");
        assert_eq!(memory.count(Status::Pending), 100, "{verdict:?}");
    }
}

fn stop_kind(finished: &Finished) -> Option<StopKind> {
    match &finished.end {
        End::Stopped(stop) => Some(stop.kind),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_request_keeps_its_distance_from_the_run_before() {
    let memory = Memory::new(vec![Lane::Sms; 3]);
    let clock = Clock::start();
    memory.after.set(Some(clock.now()));
    let start = Instant::now();
    let gateway = Rule::new(&memory, |_, _, _| (MS, accepted()));
    let mut settings = settings(Some(1));
    settings.rate.as_mut().unwrap().per = 60 * SECOND;
    drive(&gateway, &settings, clock, [None; 3], pending()).await;
    let times = gateway.times();
    assert!(times[0] - start >= 60 * SECOND, "{:?}", times[0] - start);
    assert!(times[0] - start <= 61 * SECOND, "{:?}", times[0] - start);
    assert!(times[1] - times[0] >= 59 * SECOND);
    // It does not wait for a slot that nobody needs.
    assert!(start.elapsed() < 182 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn retries_wait_for_a_random_time_below_the_doubling_bound() {
    let mut waits: [Vec<Duration>; 4] = Default::default();
    for seed in 0..200 {
        let memory = Memory::new([Lane::Sms]);
        let gateway = Rule::new(&memory, |_, _, _| (10 * MS, failed()));
        let mut settings = settings(None);
        settings.seed = seed;
        settings.backoff.cap = 3 * SECOND;
        run(&gateway, &settings).await;
        assert_eq!(memory.count(Status::Failed), 1);
        let log = gateway.log.borrow();
        assert_eq!(log.len(), 5);
        for (n, pair) in log.windows(2).enumerate() {
            waits[n].push(pair[1].left - pair[0].answered.unwrap());
        }
    }
    for (waits, most_ms) in waits.iter().zip([500, 1_000, 2_000, 3_000]) {
        let most = Duration::from_millis(most_ms);
        assert!(waits.iter().all(|wait| *wait <= most + 5 * MS));
        assert!(waits.iter().any(|wait| *wait > most.mul_f64(0.9)));
        assert!(waits.iter().any(|wait| *wait < most.mul_f64(0.1)));
    }
}

#[tokio::test(start_paused = true)]
async fn retries_are_never_most_of_the_traffic_while_new_numbers_are_left() {
    let memory = Memory::new(vec![Lane::Sms; 3_000]);
    // Every other number fails always: never twenty in a row, so no outage.
    let gateway = Rule::new(&memory, |_, job, _| match job.id.0 % 2 {
        0 => (5 * MS, failed()),
        _ => (5 * MS, accepted()),
    });
    let mut settings = settings(Some(100));
    settings.backoff.base = 10 * MS;
    settings.backoff.cap = 20 * MS;
    run(&gateway, &settings).await;
    let log = gateway.log.borrow();
    let last_new = log.iter().rposition(|sent| sent.first).unwrap();
    for start in (200..last_new - 200).step_by(50) {
        let window = &log[start..start + 200];
        let retries = window.iter().filter(|sent| !sent.first).count();
        assert!(
            retries <= 60,
            "{retries} retries of 200 at {start} of {last_new}"
        );
    }
    assert_eq!(memory.count(Status::Sent), 1_500);
}

#[tokio::test(start_paused = true)]
async fn intents_are_noted_just_before_their_requests_leave_and_in_input_order() {
    for (rate, most) in [(1, 1), (10, 1), (200, 4), (2_000, 40)] {
        let memory = Memory::new(vec![Lane::Sms; 3_000.min(100 * rate as usize)]);
        let gateway = Rule::new(&memory, |_, _, _| (100 * MS, accepted()));
        run(&gateway, &settings(Some(rate))).await;
        let ahead = memory.ahead_max.get();
        assert!(ahead <= most, "{ahead} intents ahead at {rate}/s");
        let log = gateway.log.borrow();
        assert!(log.is_sorted_by_key(|sent| sent.job), "{rate}/s");
    }
}

#[tokio::test(start_paused = true)]
async fn intents_that_have_not_left_are_withdrawn_when_it_stops() {
    let mut withdrawn = 0;
    for stop_ms in 1_000..1_040 {
        let memory = Memory::new(vec![Lane::Sms; 3_000]);
        let gateway = Rule::new(&memory, |_, _, _| (200 * MS, accepted()));
        let stop = async {
            sleep(stop_ms * MS).await;
            Signal::Sigterm
        };
        let settings = settings(Some(400));
        let finished = drive(&gateway, &settings, Clock::start(), [None; 3], stop).await;
        assert_eq!(finished.end, End::Interrupted(Signal::Sigterm));
        assert_eq!(memory.attempts(), gateway.log.borrow().len());
        assert_eq!(memory.count(Status::Unknown), 0);
        assert_eq!(memory.count(Status::Sent), gateway.log.borrow().len());
        withdrawn += memory.withdrawn.get();
    }
    assert!(withdrawn > 0, "the case came up");
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_without_its_intent_and_the_run_stops() {
    for intents in [0, 1, 50] {
        let memory = Memory::new(vec![Lane::Sms; 200]);
        memory.full_after.set(Some(intents));
        let gateway = Rule::new(&memory, |_, _, _| (MS, accepted()));
        let finished = run(&gateway, &settings(None)).await;
        assert_eq!(stop_kind(&finished), Some(StopKind::Ledger));
        assert!(gateway.log.borrow().len() <= intents);
        assert_eq!(memory.attempts(), gateway.log.borrow().len());
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_in_flight_than_allowed() {
    for concurrency in [1, 7, 64] {
        let memory = Memory::new(vec![Lane::Sms; 300]);
        let gateway = Rule::new(&memory, |_, _, _| (50 * MS, accepted()));
        let mut settings = settings(None);
        settings.concurrency = NonZeroUsize::new(concurrency).unwrap();
        run(&gateway, &settings).await;
        assert_eq!(gateway.in_flight_max.get(), concurrency);
    }
}

/// A campaign as chance wants it.
struct Chance {
    settings: Settings,
    lanes: Vec<Lane>,
    weights: [u32; 8],
}

impl Chance {
    fn new(random: &mut fastrand::Rng) -> Self {
        let mut settings = settings(random.bool().then(|| random.u32(5..500)));
        settings.seed = random.u64(..);
        settings.concurrency = NonZeroUsize::new(random.usize(1..40)).unwrap();
        settings.hold_server_errors = random.bool();
        settings.limit = (random.u32(0..4) == 0).then(|| random.u64(0..40));
        settings.policy = Policy {
            max_attempts: random.u32(1..5),
            fallback: random.bool().then_some(Channel::Call),
            retry_unknown: random.u32(0..4) == 0,
        };
        let lane = |random: &mut fastrand::Rng| match random.u32(0..3) {
            0 => Lane::Call,
            _ => Lane::Sms,
        };
        Self {
            settings,
            lanes: (0..random.usize(1..80)).map(|_| lane(random)).collect(),
            weights: std::array::from_fn(|_| random.u32(0..10)),
        }
    }
}

fn verdict(random: &mut fastrand::Rng, weights: &[u32; 8], now: UnixMicros) -> Verdict {
    let text = || "said".to_owned();
    let mut at = random.u32(0..=weights.iter().sum());
    let place = weights.iter().position(|weight| {
        let here = at < *weight;
        at = at.saturating_sub(*weight);
        here
    });
    match place {
        Some(0) => Verdict::Rejected(text()),
        Some(1) => throttled(None),
        Some(2) => throttled(Some(now + random.u32(1..8_000) * MS)),
        Some(3) => failed(),
        Some(4) => Verdict::Unreachable(text()),
        Some(5) => Verdict::Misdirected(text()),
        Some(6) => Verdict::Ambiguous(text()),
        _ => accepted(),
    }
}

/// May this answer, under these settings, have been a delivery?
fn may_be_delivered(settings: &Settings, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Accepted(_) | Verdict::Ambiguous(_) => true,
        Verdict::ServerError(_) => settings.hold_server_errors,
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_nobody_is_sent_to_twice_unknowingly_and_nobody_is_forgotten() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let Chance {
            mut settings,
            lanes,
            mut weights,
        } = Chance::new(&mut random);
        let memory = Memory::new(lanes);
        let mut log: Vec<Sent> = Vec::new();
        let mut complete = false;
        for runs in 1..=4 {
            let clock = Clock::start();
            let stop_at = (random.bool() && runs < 4).then(|| random.u32(1..20_000) * MS);
            let stop = async {
                match stop_at {
                    Some(time) => sleep(time).await,
                    None => pending().await,
                }
                Signal::Sigint
            };
            if runs == 4 {
                settings.limit = None;
                weights = [0; 8];
            }
            let mut chance = fastrand::Rng::with_seed(random.u64(..));
            let gateway = Rule::new(&memory, |_, _, _| {
                let verdict = verdict(&mut chance, &weights, clock.now());
                (chance.u32(1..2_000) * MS, verdict)
            });
            let finished = drive(&gateway, &settings, clock, [None; 3], stop).await;
            assert!(gateway.in_flight_max.get() <= settings.concurrency.get());
            holds_kept(&gateway.log.borrow(), clock);
            if let Some(rate) = settings.rate {
                keeps_the_rate(&gateway.times(), rate.requests.get());
            }
            log.extend(gateway.log.borrow().iter().cloned());
            if finished.end == End::Complete {
                let pending = memory.count(Status::Pending);
                assert_eq!(pending, 0, "seed {seed}: complete");
            }
            complete = finished.end == End::Complete;
        }
        assert!(complete, "seed {seed}: a healthy gateway ends it");
        assert_eq!(memory.attempts(), log.len(), "seed {seed}");
        let mut delivered: HashMap<JobId, usize> = HashMap::new();
        for sent in &log {
            if may_be_delivered(&settings, sent.verdict.as_ref().unwrap()) {
                *delivered.entry(sent.job).or_default() += 1;
            }
        }
        for job in memory.jobs.borrow().iter() {
            let times = delivered.get(&job.id).copied().unwrap_or(0);
            if !settings.policy.retry_unknown {
                assert!(times <= 1, "seed {seed}: {job:?}");
            }
            let most = settings.policy.max_attempts;
            assert!(job.attempts.iter().all(|a| a.try_number <= most));
            let outcome = outcome(job.lane, &job.attempts);
            match outcome.status {
                Status::Sent => assert!(times >= 1),
                Status::Unknown => assert!(times >= 1, "seed {seed}: {job:?}"),
                Status::Rejected => assert_eq!(times, 0, "seed {seed}: {job:?}"),
                other => panic!("seed {seed}: {other:?} after a healthy run: {job:?}"),
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tries_on_one_channel_are_never_more_than_allowed_without_an_outage() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        let memory = Memory::new(vec![Lane::Sms; 60]);
        let mut settings = settings(None);
        settings.policy.max_attempts = random.u32(1..5);
        settings.policy.fallback = Some(Channel::Call);
        settings.concurrency = NonZeroUsize::MIN;
        // Each failure is followed by a success, so no streak looks like an outage.
        let gateway = Rule::new(&memory, |_, job, _| match job.id.0 % 3 {
            0 => (MS, throttled(None)),
            _ => (MS, accepted()),
        });
        settings.backoff.base = MS;
        settings.backoff.cap = MS;
        run(&gateway, &settings).await;
        let failing = |job: &&Job| job.id.0 % 3 == 0;
        for job in memory.jobs.borrow().iter().filter(failing) {
            for lane in [Lane::Sms, Lane::Call] {
                let tries = job.attempts.iter().filter(|a| a.lane == lane).count();
                // The last ones of all, with nobody left to succeed, may look like an outage.
                assert!(tries >= settings.policy.max_attempts as usize, "{job:?}");
            }
        }
        assert_eq!(memory.count(Status::Failed), 20);
    }
}
