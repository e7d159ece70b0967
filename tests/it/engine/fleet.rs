//! Several engines at work on one campaign, on one clock, over a room that they share: whoever joins,
//! leaves, dies or is paused, nobody is sent to twice, nobody is forgotten, and the rate is kept.

use std::cell::{Cell, RefCell};
use std::future::{pending, poll_fn};
use std::num::NonZeroU32;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::future::join_all;
use otpdrive::campaign::{self, Context, Finished, Progress, Settings, Task};
use otpdrive::gateway::{Gateway, NoConnection, Ready};
use otpdrive::job::{Job, JobId, Lane, UnixMicros, Verdict, VerdictKind};
use otpdrive::ledger::{News, Rest};
use otpdrive::pace::Rate;
use otpdrive::run::{End, RunFact, RunId, Signal, Stop, StopKind, WhenUncertain};
use otpdrive::status::Status;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::room::{Hand, Room};
use super::{
    MS, SECOND, accepted, failed, held, lost, rejected, settings, stop_kind, throttled, unreachable,
};

/// A request that left.
#[derive(Clone, Debug)]
pub struct Sent {
    pub at: Instant,
    job: JobId,
    pub lane: Lane,
    /// When its answer was there, and what it was.
    answered: Option<(Instant, Verdict)>,
}

pub type Log = RefCell<Vec<Sent>>;
pub type Answers<'r> = &'r dyn Fn(&Job, usize) -> (Duration, Verdict);

/// The gateway as one process sees it. What left is in a log that all have in common.
struct Gate<'r> {
    hand: &'r Hand<'r>,
    room: &'r Room,
    log: &'r Log,
    answers: Answers<'r>,
}

struct Connected<'g> {
    gate: &'g Gate<'g>,
    job: Job,
    lane: Lane,
}

impl Gateway for Gate<'_> {
    type Ready<'g>
        = Connected<'g>
    where
        Self: 'g;

    async fn connect(&self, job: &Job, lane: Lane) -> Result<Self::Ready<'_>, NoConnection> {
        sleep(MS).await;
        if self.room.cut_off.borrow().contains(&self.hand.worker()) {
            return Err(NoConnection::from(unreachable()));
        }
        let (gate, job) = (self, job.clone());
        Ok(Connected { gate, job, lane })
    }

    fn lead(&self) -> Duration {
        MS
    }
}

impl Ready for Connected<'_> {
    async fn go(self) -> Verdict {
        let (log, worker) = (self.gate.log, self.gate.hand.worker());
        let place = usize::try_from(self.job.id.0).unwrap() - 1;
        let known = self.gate.room.rows.borrow()[place].clone();
        let last = known.attempts.last().unwrap();
        assert_eq!(last.answer, None, "what leaves is written down");
        assert!(!self.gate.room.is_over(worker), "it was given up");
        assert!(Instant::now() <= self.gate.room.leave_by.borrow()[place]);
        let n = log.borrow().len();
        let (time, verdict) = (self.gate.answers)(&known, n);
        if let VerdictKind::Withdrawn | VerdictKind::Unreachable = verdict.kind {
            return verdict;
        }
        log.borrow_mut().push(Sent {
            at: Instant::now(),
            job: self.job.id,
            lane: self.lane,
            answered: None,
        });
        sleep(time).await;
        log.borrow_mut()[n].answered = Some((Instant::now(), verdict.clone()));
        verdict
    }
}

/// An engine at work for a hand.
pub async fn work(
    (room, hand, log): (&Room, &Hand<'_>, &Log),
    settings: &Settings,
    answers: Answers<'_>,
    wall: &dyn Fn() -> UnixMicros,
    stop: impl Future<Output = Signal>,
) -> Finished {
    let gateway = Gate {
        hand,
        room,
        log,
        answers,
    };
    let progress = Progress::new([room.rows.borrow().len() as u64; Status::ALL.len()]);
    let context = Context {
        ledger: hand,
        gateway: &gateway,
        progress: &progress,
        wall,
    };
    let task = Task {
        run: RunId(1),
        lanes: vec![Lane::Sms, Lane::Call],
        runs: room.runs.borrow().clone(),
        billed: Default::default(),
    };
    campaign::run(&context, settings, task, stop).await
}

/// Nothing of `work` happens in this time.
async fn paused<T>(work: impl Future<Output = T>, from: Instant, until: Instant) -> T {
    let (mut work, mut begins, mut ends) = (
        pin!(work),
        pin!(sleep_until(from)),
        pin!(sleep_until(until)),
    );
    poll_fn(|context| {
        if begins.as_mut().poll(context).is_ready() && ends.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        work.as_mut().poll(context)
    })
    .await
}

/// The most requests in any second.
fn most(log: &[Sent]) -> usize {
    let mut first = 0;
    let in_second = log.iter().enumerate().map(|(n, sent)| {
        while sent.at - log[first].at >= SECOND {
            first += 1;
        }
        n - first + 1
    });
    in_second.max().unwrap_or(0)
}

fn keeps_the_rate(log: &[Sent], rate: u32) {
    let bound = rate as usize + (rate as usize / 50).max(1);
    assert!(most(log) <= bound, "{} at {rate}/s", most(log));
}

/// What happens to a process.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Ends,
    Leaves(Duration),
    IsKilled(Duration),
    IsPaused(Duration, Duration),
}

/// Some rows, some processes, and what happens to them.
struct Story {
    seed: u64,
    rate: u32,
    settings: Settings,
    lanes: Vec<Lane>,
    /// When they join, in milliseconds.
    workers: Vec<(u32, Fate)>,
}

impl Story {
    fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let rate = *random.choice(&[20, 100, 500, 2_000]).unwrap();
        let mut settings = settings(Some(rate));
        settings.seed = seed;
        if random.bool() {
            settings.policy.on_unknown = WhenUncertain::Retry;
        }
        let mut lanes = vec![Lane::Sms; rate as usize * random.usize(5..12)];
        if random.bool() {
            lanes.extend(vec![Lane::Call; lanes.len() / 20]);
        }
        settings.limits.call_rate = random.bool().then_some(Rate {
            requests: NonZeroU32::new(rate / 5).unwrap(),
            per: SECOND,
        });
        let mut workers = vec![(0, Fate::Ends)];
        for _ in 0..random.u32(1..6) {
            let at = random.u32(200..9_000) * MS;
            let fate = match random.u32(0..5) {
                0 => Fate::Ends,
                1 => Fate::Leaves(at),
                2 | 3 => Fate::IsKilled(at),
                _ => Fate::IsPaused(at, random.u32(5..8_000) * MS),
            };
            workers.push((random.u32(0..6_000), fate));
        }
        Self {
            seed,
            rate,
            settings,
            lanes,
            workers,
        }
    }

    async fn play(&self) {
        let calls = self
            .settings
            .limits
            .call_rate
            .map(|rate| rate.requests.get());
        let (rates, policy) = ([Some(self.rate), calls], self.settings.policy);
        let room = Room::new(&self.lanes, rates, policy, self.seed);
        let luck = RefCell::new(fastrand::Rng::with_seed(!self.seed));
        let answers = |_: &Job, n: usize| {
            let mut luck = luck.borrow_mut();
            let verdict = match luck.u32(0..100) {
                0..4 => throttled(),
                4..6 => failed(),
                6..8 => lost(),
                8..10 => rejected(["barred", "ported", "unknown", "no operator"][n % 4]),
                10 => Verdict::new(VerdictKind::Withdrawn, "closed"),
                11 if n.is_multiple_of(9) => held(room.clock.now() + 2 * SECOND),
                _ => accepted(),
            };
            (luck.u32(20..400) * MS, verdict)
        };
        let log = Log::default();
        let workers = self.workers.iter().map(|(join, fate)| async {
            sleep(MS * *join).await;
            self.live(*fate, &room, &log, &answers).await;
        });
        timeout(3_600 * SECOND, join_all(workers)).await.unwrap();
        let log = log.take();
        assert!(room.is_done());
        assert_eq!(room.count(Status::Pending), 0);
        keeps_the_rate(&log, self.rate);
        if let Some(rate) = calls {
            let calls = log.iter().filter(|sent| sent.lane == Lane::Call);
            let calls: Vec<Sent> = calls.cloned().collect();
            keeps_the_rate(&calls, rate);
        }
        once(&room, &log, policy.on_unknown);
        holds_kept(&room, &log);
    }

    /// The life of one process.
    async fn live(&self, fate: Fate, room: &Room, log: &Log, answers: Answers<'_>) {
        let (start, hand, wall) = (Instant::now(), room.join(), || room.clock.now());
        let stop = async {
            match fate {
                Fate::Leaves(time) => sleep(time).await,
                _ => pending().await,
            }
            Signal::Sigterm
        };
        let work = work((room, &hand, log), &self.settings, answers, &wall, stop);
        let finished = match fate {
            Fate::Ends | Fate::Leaves(_) => work.await,
            Fate::IsKilled(time) => match timeout(time, work).await {
                Ok(finished) => finished,
                Err(_) => return,
            },
            Fate::IsPaused(at, time) => paused(work, start + at, start + at + time).await,
        };
        match finished.end {
            End::Complete => assert!(room.is_done(), "rows are left"),
            End::Interrupted(_) => {}
            End::Stopped(stop) => panic!("{stop:?}"),
        }
        hand.leave();
    }
}

/// What one is told all keep, as soon as they can know.
fn holds_kept(room: &Room, log: &[Sent]) {
    for held in log {
        let Some((at, verdict)) = &held.answered else {
            continue;
        };
        let Some(until) = verdict.retry_at.map(|at| room.clock.instant(at)) else {
            continue;
        };
        let mut after = log.iter().filter(|sent| sent.lane == held.lane);
        let early = after.find(|sent| sent.at > *at + 50 * MS && sent.at < until);
        assert!(early.is_none(), "{early:?} after {held:?}");
    }
}

/// No number may have got more than it should.
fn once(room: &Room, log: &[Sent], on_unknown: WhenUncertain) {
    let risked = |kind: VerdictKind| matches!(kind, VerdictKind::Accepted | VerdictKind::NoAnswer);
    let mut sent = vec![0; room.rows.borrow().len()];
    for request in log {
        let is_risked = request
            .answered
            .as_ref()
            .is_none_or(|(_, said)| risked(said.kind));
        sent[usize::try_from(request.job.0).unwrap() - 1] += usize::from(is_risked);
    }
    let most = match on_unknown {
        WhenUncertain::Hold => 1,
        WhenUncertain::Retry => 2,
    };
    for (n, row) in room.rows.borrow().iter().enumerate() {
        assert!(sent[n] <= most, "{row:?}");
        let was_sent = row
            .attempts
            .iter()
            .any(|a| a.verdict().is_some_and(|v| v.kind == VerdictKind::Accepted));
        assert!(!was_sent || sent[n] >= 1, "{row:?}");
    }
}

#[test]
fn whoever_comes_and_goes_nobody_is_sent_to_twice_and_nobody_is_forgotten() {
    let given = |name| Some(std::env::var(name).ok()?.parse::<u64>().unwrap());
    let seeds = given("OTPDRIVE_SEED").map_or(0..given("OTPDRIVE_SEEDS").unwrap_or(25), |seed| {
        seed..seed + 1
    });
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let told = std::panic::AssertUnwindSafe(|| runtime.block_on(Story::new(seed).play()));
        if let Err(panic) = std::panic::catch_unwind(told) {
            println!("OTPDRIVE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// With workers that join and leave, too.
#[tokio::test(start_paused = true)]
async fn while_there_is_work_the_rate_is_used() {
    for (rate, workers) in [(20, 3), (200, 5), (2_000, 3)] {
        let settings = settings(Some(rate));
        let rows = vec![Lane::Sms; rate as usize * 30];
        let room = Room::new(&rows, [Some(rate), None], settings.policy, 7);
        let (log, start) = (Log::default(), Instant::now());
        let answers = |_: &Job, n: usize| (Duration::from_millis(20 + n as u64 % 300), accepted());
        let at_work = (0..workers).map(|n| {
            let (room, log, settings, answers) = (&room, &log, &settings, &answers);
            async move {
                sleep(2 * SECOND * n).await;
                let (hand, wall) = (room.join(), || room.clock.now());
                let stop = async {
                    if n + 1 == workers {
                        pending::<()>().await;
                    }
                    sleep(SECOND * (9 + 2 * n)).await;
                    Signal::Sigterm
                };
                work((room, &hand, log), settings, answers, &wall, stop).await;
                hand.leave();
            }
        });
        join_all(at_work).await;
        let log = log.take();
        assert_eq!(log.len(), rows.len());
        keeps_the_rate(&log, rate);
        let took = (log[log.len() - 1].at - start).as_secs_f64();
        assert!(took < 30.0 / 0.97, "{took:.2} s for 30 at {rate}/s");
    }
}

/// Calls keep their own rate, and use it, however many text messages go between them.
#[tokio::test(start_paused = true)]
async fn calls_of_all_keep_the_rate_of_calls() {
    for (rate, calls) in [(500, 100), (100, 20), (1_000, 300), (50, 2)] {
        let mut settings = settings(Some(rate));
        settings.limits.call_rate = NonZeroU32::new(calls).map(|requests| Rate {
            requests,
            per: SECOND,
        });
        let mut rows = vec![Lane::Sms; rate as usize * 20];
        rows.extend(vec![Lane::Call; calls as usize * 20]);
        let room = Room::new(&rows, [Some(rate), Some(calls)], settings.policy, 5);
        let log = Log::default();
        let at_work = (0..3).map(|_| async {
            let (hand, wall) = (room.join(), || room.clock.now());
            work((&room, &hand, &log), &settings, &soon, &wall, pending()).await;
            hand.leave();
        });
        join_all(at_work).await;
        let log = log.take();
        assert_eq!(log.len(), rows.len());
        keeps_the_rate(&log, rate);
        let of_calls = log.iter().filter(|sent| sent.lane == Lane::Call);
        let of_calls: Vec<Sent> = of_calls.cloned().collect();
        keeps_the_rate(&of_calls, calls);
        // At the end there are some who have none left, and then their slots carry none.
        let most_of_them = &of_calls[..of_calls.len() * 9 / 10];
        let took = (most_of_them[most_of_them.len() - 1].at - of_calls[0].at).as_secs_f64();
        assert!(took < 18.0 / 0.97, "the rate is used: {took:.2} s for 18 s");
    }
}

/// One process alone with a room.
struct Alone {
    room: Room,
    log: Log,
    settings: Settings,
    ahead: Cell<i64>,
}

impl Alone {
    fn new(rate: u32, rows: usize) -> Self {
        let settings = settings(Some(rate));
        Self {
            room: Room::new(
                &vec![Lane::Sms; rows],
                [Some(rate), None],
                settings.policy,
                1,
            ),
            log: Log::default(),
            settings,
            ahead: Cell::new(0),
        }
    }

    async fn run(&self, answers: Answers<'_>, stop: impl Future<Output = Signal>) -> Finished {
        let hand = self.room.join();
        let wall = || UnixMicros(self.room.clock.now().0 + self.ahead.get());
        let of = (&self.room, &hand, &self.log);
        let work = work(of, &self.settings, answers, &wall, stop);
        timeout(3_600 * SECOND, work).await.unwrap()
    }

    fn withdrawn(&self) -> usize {
        let rows = self.room.rows.borrow();
        let attempts = rows.iter().flat_map(|row| &row.attempts);
        attempts.filter(|attempt| attempt.never_left()).count()
    }
}

fn soon(_: &Job, _: usize) -> (Duration, Verdict) {
    (30 * MS, accepted())
}

#[tokio::test(start_paused = true)]
async fn what_could_not_leave_in_time_does_not_leave() {
    let alone = Alone::new(100, 300);
    alone.room.leave_within.set(3 * MS);
    let (finished, ()) = tokio::join!(alone.run(&soon, pending()), async {
        sleep(SECOND).await;
        assert!(alone.withdrawn() > 100, "they were begun");
        alone.room.leave_within.set(SECOND);
    });
    assert_eq!(finished.end, End::Complete);
    assert_eq!(alone.room.count(Status::Sent), 300);
    once(&alone.room, &alone.log.borrow(), WhenUncertain::Hold);
}

#[tokio::test(start_paused = true)]
async fn after_the_machine_has_slept_nothing_of_before_leaves() {
    let alone = Alone::new(1_000, 3_000);
    let slept = async {
        sleep(SECOND).await;
        // The wall goes on, the machine's own clock does not.
        alone.ahead.set(5_000_000);
        Instant::now()
    };
    let (finished, slept) = tokio::join!(alone.run(&soon, pending()), slept);
    assert_eq!(finished.end, End::Complete);
    assert!(alone.withdrawn() >= 15, "{}", alone.withdrawn());
    let log = alone.log.take();
    let next = log.iter().map(|sent| sent.at).find(|at| *at > slept);
    assert!(next.unwrap() - slept >= 30 * MS, "on new places only");
    keeps_the_rate(&log, 1_000);
    once(&alone.room, &log, WhenUncertain::Hold);
}

#[tokio::test(start_paused = true)]
async fn what_the_end_of_a_run_leaves_open_is_told_apart() {
    let alone = Alone::new(100, 400);
    let answers = |job: &Job, _: usize| match job.id.0 % 4 {
        0 => (MS, throttled()),
        1 => (MS, lost()),
        _ => (MS, accepted()),
    };
    let mut stop = Box::pin(sleep(SECOND));
    let finished = alone.run(
        &answers,
        poll_fn(|context| {
            let over = stop.as_mut().poll(context);
            over.map(|()| Signal::Sigterm)
        }),
    );
    assert!(matches!(finished.await.end, End::Interrupted(_)));
    let rests = alone.room.rests.borrow();
    let of = |how| rests.iter().filter(|(_, rest)| *rest == how).count();
    for (job, how) in &*rests {
        let left = alone.log.borrow().iter().any(|sent| sent.job == *job);
        let expected = match job.0 % 4 {
            _ if !left => Rest::Unfinished,
            0 => Rest::Unfinished,
            1 => Rest::Open,
            _ => Rest::Settled,
        };
        assert_eq!(*how, expected, "{job:?}");
    }
    assert!(
        [Rest::Settled, Rest::Open, Rest::Unfinished]
            .iter()
            .all(|how| of(*how) > 10)
    );
}

/// Two refusals alike when a process ends may be the beginning of a wave; but where others go on, what
/// is said of a wave would take their refusals back, too.
#[tokio::test(start_paused = true)]
async fn who_leaves_says_nothing_of_a_wave_that_others_will_see() {
    let alone = Alone::new(100, 400);
    let answers = |job: &Job, _: usize| match job.id.0 {
        90.. => (MS, rejected("barred")),
        _ => (MS, accepted()),
    };
    let stop = async {
        while alone.log.borrow().len() < 95 {
            sleep(MS).await;
        }
        Signal::Sigterm
    };
    let finished = alone.run(&answers, stop).await;
    assert!(matches!(finished.end, End::Interrupted(_)));
    assert!(alone.room.count(Status::Rejected) >= 5, "they are believed");
}

#[tokio::test(start_paused = true)]
async fn what_others_were_told_and_found_out_counts_here() {
    let alone = Alone::new(100, 600);
    let room = &alone.room;
    let others = |news| room.news.borrow_mut().push((usize::MAX, news));
    let start = Instant::now();
    let tell = async {
        sleep(SECOND).await;
        others(News::Hold(Lane::Sms, room.clock.now() + 3 * SECOND));
        sleep(2_500 * MS).await;
        // An outage at the others': what fails here meanwhile is nobody's fault.
        let (lane, from, why) = (Some(Lane::Sms), room.clock.now(), String::new());
        others(News::Fact(RunFact::OutageBegan { lane, from, why }));
        sleep(2 * SECOND).await;
        let (kind, message) = (StopKind::KeyRefused, "the key".to_owned());
        others(News::Stop(Stop { kind, message }));
    };
    let answers = |_: &Job, n: usize| match n % 2 {
        0 if start.elapsed() > 4 * SECOND => (MS, throttled()),
        _ => (MS, accepted()),
    };
    let (finished, ()) = tokio::join!(alone.run(&answers, pending()), tell);
    assert_eq!(stop_kind(&finished), Some(StopKind::KeyRefused));
    let times: Vec<_> = alone
        .log
        .borrow()
        .iter()
        .map(|sent| sent.at - start)
        .collect();
    let within =
        |from: Duration, to: Duration| times.iter().filter(|at| (from..to).contains(*at)).count();
    assert_eq!(within(SECOND + 30 * MS, 4 * SECOND), 0, "held");
    assert!(
        within(4 * SECOND, 5_500 * MS) > 120,
        "no breaker opens here"
    );
    assert_eq!(within(5_540 * MS, 60 * SECOND), 0, "stopped");
}

#[tokio::test(start_paused = true)]
async fn one_that_reaches_no_gateway_holds_nobody_up() {
    let mut settings = settings(Some(100));
    // What it tries with is started by whoever begins it.
    settings.limit = Some(2_002);
    let rows = vec![Lane::Sms; 2_000];
    let mut room = Room::new(&rows, [Some(100), None], settings.policy, 3);
    room.ceilings.limit = settings.limit;
    let (log, start) = (Log::default(), Instant::now());
    room.cut_off.borrow_mut().extend([0, 1]);
    let at_work = (0..3).map(|_| async {
        let (hand, wall) = (room.join(), || room.clock.now());
        let of = (&room, &hand, &log);
        let finished = work(of, &settings, &soon, &wall, pending()).await;
        hand.leave();
        finished.end
    });
    let again = async {
        sleep(8 * SECOND).await;
        room.cut_off.borrow_mut().remove(&1);
    };
    let all = async { tokio::join!(join_all(at_work), again) };
    let (ends, ()) = timeout(600 * SECOND, all).await.unwrap();
    assert!(ends.iter().all(|end| *end == End::Complete), "{ends:?}");
    assert!(start.elapsed() < 40 * SECOND, "{:?}", start.elapsed());
    assert_eq!(room.count(Status::Sent), rows.len());
    once(&room, &log.borrow(), WhenUncertain::Hold);
    keeps_the_rate(&log.take(), 100);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_reaches_the_gateway_they_try_together_as_often_as_one() {
    let tries = |probers: u32| async move {
        let alone = Alone::new(100, 50);
        let tries = Cell::new(0);
        let answers = |_: &Job, _: usize| {
            tries.set(tries.get() + 1);
            (MS, unreachable())
        };
        let stop = async {
            let news = News::Probers(None, probers);
            alone.room.news.borrow_mut().push((usize::MAX, news));
            sleep(300 * SECOND).await;
            Signal::Sigterm
        };
        alone.run(&answers, stop).await;
        tries.get()
    };
    let (alone, of_five) = (tries(1).await, tries(5).await);
    assert!((20..40).contains(&alone), "{alone}");
    assert!((7..15).contains(&of_five), "{of_five}");
}

#[tokio::test(start_paused = true)]
async fn intents_are_written_down_as_early_as_the_ledger_needs() {
    for (lookahead, most) in [(20 * MS, 25), (60 * MS, 65)] {
        let alone = Alone::new(1_000, 2_000);
        alone.room.lookahead.set(lookahead);
        let unsent = Cell::new(0);
        let answers = |_: &Job, n: usize| {
            let rows = alone.room.rows.borrow();
            let begun: usize = rows.iter().map(|row| row.attempts.len()).sum();
            unsent.set(unsent.get().max(begun - n - 1));
            soon(&rows[0], n)
        };
        let finished = alone.run(&answers, pending()).await;
        assert_eq!(finished.end, End::Complete);
        let unsent = unsent.get();
        assert!((most - 15..=most).contains(&unsent), "{unsent}");
        keeps_the_rate(&alone.log.borrow(), 1_000);
    }
}
