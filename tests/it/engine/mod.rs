//! The engine, in process and with paused time: a memory and a gateway of the tests' own.

mod ceilings;
mod chance;
mod fleet;
mod hours;
mod memory;
mod outage;
mod pace;
mod refusals;
mod room;
mod rule;
mod tries;

use std::future::pending;
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use otpdrive::campaign::{
    self, Context, EarlierHolds, Finished, Limits, LogNumbers, Progress, Settings, Task,
};
use otpdrive::clock::Clock;
use otpdrive::job::{UnixMicros, Verdict, VerdictKind};
use otpdrive::pace::Rate;
use otpdrive::retry::Backoff;
use otpdrive::run::{End, Policy, Signal, StopKind, WhenUncertain};
use otpdrive::status::Status;
use tokio::time::Instant;

use rule::{Rule, Sent};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn settings(rate: Option<u32>) -> Settings {
    Settings {
        policy: Policy {
            max_attempts: 5,
            fallback: None,
            on_unknown: WhenUncertain::Hold,
            on_server_error: WhenUncertain::Retry,
        },
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
        refused_alike: NonZeroUsize::new(20),
        limit: None,
        max_duration: None,
        earlier_holds: EarlierHolds::Keep,
        seed: 1,
        log_numbers: LogNumbers::Masked,
        limits: Limits::default(),
    }
}

/// A run of the engine, and what must hold after any.
async fn drive(
    gateway: &Rule<'_>,
    settings: &Settings,
    stop: impl Future<Output = Signal>,
) -> Finished {
    let ledger = gateway.memory;
    let run = ledger.begin_run(settings.policy);
    let counts = Status::ALL.map(|status| ledger.count(status) as u64);
    let progress = Progress::new(counts);
    let context = Context {
        ledger,
        gateway,
        progress: &progress,
        wall: &|| ledger.wall(),
    };
    let task = Task {
        run,
        lanes: ledger.lanes(),
        runs: ledger.runs.borrow().clone(),
        billed: ledger.billed.get(),
    };
    let finished = campaign::run(&context, settings, task, stop).await;
    ledger.what_was_said_holds();
    for status in Status::ALL {
        let (shown, count) = (progress.counts()[status.index()], ledger.count(status));
        assert_eq!(shown, count as u64, "{status:?} on the screen");
    }
    let log = gateway.log.borrow();
    assert_eq!(progress.departed(), log.len() as u64, "departures");
    ledger.check(log.len(), settings.rate.is_some());
    let last_left = finished.last_left_at.map(|at| ledger.clock.instant(at));
    assert_eq!(last_left, log.last().map(|sent| sent.left));
    if finished.end == End::Complete {
        ledger.all_at_rest();
        assert_eq!(ledger.count(Status::Pending), 0, "complete");
    }
    assert!(gateway.in_flight_max.get() <= settings.concurrency.get());
    holds_kept(&log, ledger.clock);
    finished
}

/// Runs to the end with nothing special.
async fn run(gateway: &Rule<'_>, settings: &Settings) -> Finished {
    drive(gateway, settings, pending()).await
}

/// A signal after this time.
async fn signal_after(time: Duration) -> Signal {
    tokio::time::sleep(time).await;
    Signal::Sigterm
}

fn stop_kind(finished: &Finished) -> Option<StopKind> {
    match &finished.end {
        End::Stopped(stop) => Some(stop.kind),
        _ => None,
    }
}

fn accepted() -> Verdict {
    Verdict::new(VerdictKind::Accepted, "SM1")
}

fn throttled() -> Verdict {
    Verdict::new(VerdictKind::Throttled, "HTTP 503")
}

/// As `throttled`, with a `Retry-After`.
fn held(until: UnixMicros) -> Verdict {
    Verdict {
        retry_at: Some(until),
        ..throttled()
    }
}

fn failed() -> Verdict {
    Verdict::new(VerdictKind::ServerError, "HTTP 500")
}

fn lost() -> Verdict {
    Verdict::new(VerdictKind::NoAnswer, "no answer in time")
}

fn unreachable() -> Verdict {
    Verdict::new(VerdictKind::Unreachable, "connection refused")
}

fn rejected(words: &str) -> Verdict {
    Verdict::new(VerdictKind::Rejected, words)
}

fn misdirected() -> Verdict {
    Verdict::new(VerdictKind::Misdirected, "HTTP 404")
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

/// No request left between an answer with `Retry-After` and the time it named; says how many
/// such answers there were.
fn holds_kept(log: &[Sent], clock: Clock) -> usize {
    let mut holds = 0;
    for held in log {
        let Some((known, verdict)) = held.answered.zip(held.verdict.as_ref()) else {
            continue;
        };
        let Some(until) = verdict.retry_at.map(|at| clock.instant(at)) else {
            continue;
        };
        holds += 1;
        for sent in log.iter().filter(|sent| sent.lane == held.lane) {
            let early = sent.left > known && sent.left < until;
            assert!(!early, "{sent:?} is too early");
        }
    }
    holds
}
