//! Campaigns by chance: whatever comes back, and however a run ends.

use std::collections::HashMap;
use std::future::pending;
use std::num::NonZeroUsize;

use otpdrive::job::{Channel, Job, JobId, Lane, UnixMicros, Verdict, VerdictKind};
use otpdrive::run::{End, Policy, RunId, Signal, WhenUncertain};
use otpdrive::status::Status;
use tokio::time::sleep;

use super::memory::Memory;
use super::rule::Rule;
use super::*;

/// A campaign as chance wants it.
struct Chance {
    settings: Settings,
    lanes: Vec<Lane>,
    weights: [u32; 9],
}

impl Chance {
    fn new(random: &mut fastrand::Rng) -> Self {
        let mut settings = settings(random.bool().then(|| random.u32(5..500)));
        settings.seed = random.u64(..);
        settings.concurrency = NonZeroUsize::new(random.usize(1..40)).unwrap();
        settings.limit = (random.u32(0..4) == 0).then(|| random.u64(0..40));
        settings.refused_alike = NonZeroUsize::new(random.usize(0..25));
        let mut uncertain = |hold: u32| match random.u32(0..4) {
            at if at < hold => WhenUncertain::Hold,
            _ => WhenUncertain::Retry,
        };
        settings.policy = Policy {
            on_unknown: uncertain(3),
            on_server_error: uncertain(2),
            max_attempts: random.u32(1..6),
            fallback: random.bool().then_some(Channel::Call),
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

fn verdict(random: &mut fastrand::Rng, weights: &[u32; 9], now: UnixMicros) -> Verdict {
    let mut at = random.u32(0..=weights.iter().sum());
    let place = weights.iter().position(|weight| {
        let here = at < *weight;
        at = at.saturating_sub(*weight);
        here
    });
    match place {
        Some(0) => rejected(["barred", "ported"][random.usize(0..2)]),
        Some(1) => throttled(),
        Some(2) => held(now + random.u32(1..8_000) * MS),
        Some(3) => failed(),
        Some(4) => unreachable(),
        Some(5) => misdirected(),
        Some(6) => lost(),
        Some(7) => Verdict::new(VerdictKind::Ambiguous, "?"),
        Some(8) => Verdict::new(VerdictKind::Withdrawn, "closed"),
        _ => accepted(),
    }
}

/// May this answer, under this policy, have been a delivery?
fn may_be_delivered(policy: Policy, verdict: &Verdict) -> bool {
    match verdict.kind {
        VerdictKind::Accepted | VerdictKind::Ambiguous | VerdictKind::NoAnswer => true,
        VerdictKind::ServerError => policy.on_server_error == WhenUncertain::Hold,
        _ => false,
    }
}

/// Nobody is sent to more often than a run may risk, and what is said of the number is true.
fn check(job: &Job, memory: &Memory, policy: Policy, delivered: &HashMap<(JobId, RunId), usize>) {
    let mut before = 0;
    for run in (1..=4).map(RunId) {
        let times = delivered.get(&(job.id, run)).copied().unwrap_or(0);
        let most = match (policy.on_unknown, before) {
            (WhenUncertain::Hold, 0) => 1,
            (WhenUncertain::Hold, _) => 0,
            (WhenUncertain::Retry, 0) => 2,
            (WhenUncertain::Retry, _) => 1,
        };
        assert!(times <= most, "{times} of {most} in {run:?}: {job:?}");
        before += times;
        for lane in Lane::ALL {
            let tries = memory.runs.borrow().tries(&job.attempts, run, lane);
            assert!(tries <= policy.max_attempts, "{tries} tries: {job:?}");
        }
    }
    match memory.status(job) {
        Status::Sent | Status::Unknown => assert!(before >= 1, "{job:?}"),
        Status::Rejected => assert_eq!(before, 0, "{job:?}"),
        other => panic!("{other:?} after a healthy run: {job:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_nobody_is_sent_to_twice_unknowingly_and_nobody_is_forgotten() {
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let Chance {
            mut settings,
            lanes,
            mut weights,
        } = Chance::new(&mut random);
        let memory = Memory::new(lanes);
        let clock = memory.clock;
        let mut delivered = HashMap::new();
        for run in (1..=4).map(RunId) {
            let last = run.0 == 4;
            let stop_at = (random.bool() && !last).then(|| random.u32(1..20_000) * MS);
            let stop = async {
                match stop_at {
                    Some(time) => sleep(time).await,
                    None => pending().await,
                }
                Signal::Sigint
            };
            if last {
                settings.limit = None;
                weights = [0; 9];
            }
            let mut chance = random.fork();
            let mut slow = random.fork();
            let gateway = Rule::new(&memory, |_| {
                let verdict = verdict(&mut chance, &weights, clock.now());
                (chance.u32(1..2_000) * MS, verdict)
            })
            .connecting(|_| {
                let none = (slow.u32(0..40) < weights[4]).then(unreachable);
                (slow.u32(0..400) * MS, none)
            });
            println!("seed {seed}, {run:?}");
            let finished = drive(&gateway, &settings, stop).await;
            assert!(!last || finished.end == End::Complete, "seed {seed}");
            if let Some(rate) = settings.rate {
                keeps_the_rate(&gateway.times(), rate.requests.get());
            }
            for sent in gateway.log.borrow().iter() {
                if may_be_delivered(settings.policy, sent.verdict.as_ref().unwrap()) {
                    *delivered.entry((sent.job, run)).or_default() += 1;
                }
            }
        }
        for job in memory.jobs.borrow().iter() {
            check(job, &memory, settings.policy, &delivered);
        }
    }
}
