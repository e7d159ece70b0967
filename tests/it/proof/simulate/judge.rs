//! What must hold, whatever happened: judged by the gateway's log and the result files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use otpdrive::outcome::{Attempt, Number, Operation};
use otpdrive::pace::Rate;
use otpdrive::record::{End, StopKind};

use super::process::{Orders, Traces};
use super::world::{Request, World};

const SECOND: Duration = Duration::from_secs(1);

/// What is wrong, in words; nothing, if nothing is.
pub type Verdicts = Result<(), String>;

macro_rules! hold {
    ($so:expr, $($why:tt)+) => {
        if !$so {
            return Err(format!($($why)+));
        }
    };
}

/// Nobody is asked for again after a request that was accepted, or may have been; with
/// `retry_unknown` after the latter, but never on another channel.
pub fn nobody_twice(log: &[Request], retry_unknown: bool) -> Verdicts {
    let mut settled: HashMap<(Number, &Option<String>), &Request> = HashMap::new();
    let mut doubtful = settled.clone();
    for request in log {
        let who = (request.number, &request.code);
        if let Some(before) = doubtful.get(&who) {
            let same = before.lane == request.lane;
            hold!(
                same,
                "{:?} on another channel after {before:?}",
                request.number
            );
        }
        if request.doubtful || request.heard.is_none() {
            doubtful.insert(who, request);
        }
        if let Some(before) = settled.get(&who) {
            return Err(format!(
                "{:?} again in run {} after {before:?}",
                request.number, request.run
            ));
        }
        let surely_not = request.heard.is_some() && !request.accepted && !request.doubtful;
        // With `retry_unknown` only what is known to be accepted counts.
        let known = request.recorded && request.accepted && !request.doubtful;
        if if retry_unknown { known } else { !surely_not } {
            settled.insert(who, request);
        }
    }
    Ok(())
}

/// In any second at most the rate, and 0.5 % or one more.
pub fn rate_is_kept(log: &[Request], rate: Option<Rate>) -> Verdicts {
    let Some(rate) = rate else { return Ok(()) };
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
        hold!(
            count <= most,
            "{count} requests in a second at {rate:?}, run {}",
            request.run
        );
    }
    Ok(())
}

/// After an answer with `Retry-After` nothing leaves on that lane before its time; after the end of
/// the process that heard it, if it was written down and the clocks agree.
pub fn retry_after_is_kept(log: &[Request], clock_jumps: bool) -> Verdicts {
    for held in log {
        let (Some(heard), Some(until)) = (held.heard, held.not_before) else {
            continue;
        };
        for later in log.iter().filter(|later| later.lane == held.lane) {
            let bound = later.run == held.run || (held.recorded && !clock_jumps);
            let early = later.at > heard && later.at < until;
            hold!(
                !(bound && early),
                "{:?} before Retry-After, runs {} and {}",
                until - later.at,
                held.run,
                later.run
            );
        }
    }
    Ok(())
}

/// What one process may do: no more at once, no more numbers, no more tries than it was told, and
/// nothing after it was told to stop or lost its key.
pub fn one_process(world: &World, orders: &Orders, traces: &Traces) -> Verdicts {
    let log = world.log.borrow();
    let of_run: Vec<&Request> = log.iter().filter(|r| r.run == orders.run).collect();
    let run = orders.run;
    let concurrency = orders.settings.concurrency.get();
    let most = traces.in_flight_max;
    hold!(
        most <= concurrency,
        "{most} in flight of {concurrency} in run {run}"
    );
    if let Some(signalled) = traces.signalled {
        let after = of_run.iter().filter(|r| r.at > signalled).count();
        hold!(after == 0, "{after} requests after the signal in run {run}");
    }
    let refused = of_run.iter().find(|r| r.refused && r.heard.is_some());
    if let Some(refused) = refused {
        let after = of_run.iter().filter(|r| r.at > refused.at).count();
        hold!(
            after <= concurrency,
            "{after} requests after the key was refused in run {run}"
        );
    }
    let numbers: BTreeSet<Number> = of_run.iter().map(|r| r.number).collect();
    if let Some(limit) = orders.settings.limit {
        let tried = numbers.len() as u64;
        hold!(tried <= limit, "{tried} numbers of {limit} in run {run}");
    }
    let failed: BTreeSet<_> = of_run
        .iter()
        .filter(|r| !r.accepted || r.doubtful)
        .map(|r| (r.number, &r.code))
        .collect();
    let unreached = world
        .unreached
        .borrow()
        .iter()
        .filter(|r| **r == run)
        .count();
    // Without an outage there are no free tries.
    if failed.len() < 20 && unreached < 3 {
        let mut tries: HashMap<_, u32> = HashMap::new();
        for request in &of_run {
            let tries = tries
                .entry((request.number, &request.code, request.lane))
                .or_default();
            *tries += 1;
            let most = orders.settings.policy.max_attempts;
            hold!(
                *tries <= most,
                "{tries} tries of {most} for {:?} in run {run}",
                request.number
            );
        }
    }
    Ok(())
}

/// The facts in the ledger keep the rules.
pub fn attempts_are_sound(attempts: &[Vec<Attempt>]) -> Verdicts {
    for job in attempts {
        let mut most = 0;
        for (n, attempt) in (1..).zip(job) {
            hold!(attempt.n == n, "attempt {} is the {n}-th", attempt.n);
            // A later run may allow fewer than an earlier one had begun.
            most = attempt.tries_max.max(most);
            hold!(attempt.try_number <= most, "{attempt:?}");
        }
    }
    Ok(())
}

/// Each row has one status, and it is true. `codes` are those of the input's rows, in its order.
pub fn results_are_true(
    results: &[BTreeMap<String, String>],
    codes: &[&str],
    operation: Operation,
    log: &[Request],
) -> Verdicts {
    let rows = codes.len();
    hold!(results.len() == rows, "{} rows of {rows}", results.len());
    let mut seen = BTreeSet::new();
    for (row, code) in results.iter().zip(codes) {
        let (phone, status) = (&row["otp_phone"], row["otp_status"].as_str());
        let asked: Vec<&Request> = log
            .iter()
            .filter(|r| r.number.e164() == *phone && r.code.as_deref().is_none_or(|c| c == *code))
            .collect();
        let accepted = asked.iter().any(|r| r.accepted);
        let wanted = match (status, operation) {
            ("sent", Operation::Send) | ("verified", Operation::Verify) => Some(true),
            ("not_verified", Operation::Verify) | ("rejected" | "failed" | "pending", _) => {
                Some(false)
            }
            ("unknown" | "invalid" | "duplicate", _) => None,
            (other, _) => return Err(format!("a row is {other}")),
        };
        let is_true = wanted.is_none_or(|wanted| wanted == accepted);
        hold!(is_true, "{status} {phone}: {asked:?}");
        if !matches!(status, "invalid" | "duplicate") {
            let once = seen.insert((phone, (operation == Operation::Verify).then_some(code)));
            hold!(once, "{phone} has two rows that count");
        }
    }
    Ok(())
}

/// The ledger refuses nothing while the disk has room: it would be the same request twice.
pub fn ledger_takes_all(end: &End, disk_was_full: bool) -> Verdicts {
    match end {
        End::Stopped(stop) if stop.kind == StopKind::Ledger && !disk_was_full => {
            Err(stop.message.clone())
        }
        _ => Ok(()),
    }
}

/// Whoever says "complete" has left nothing over; and after a healthy run nothing can be wanting.
pub fn all_is_done(end: &End, results: &[BTreeMap<String, String>], healthy: bool) -> Verdicts {
    let complete = *end == End::Complete;
    hold!(complete || !healthy, "a healthy run ends {end:?}");
    for row in results {
        let status = row["otp_status"].as_str();
        let over = matches!(status, "pending" | "failed");
        hold!(!(over && healthy), "{status} after a healthy run: {row:?}");
        hold!(!(status == "pending" && complete), "complete, but {row:?}");
    }
    Ok(())
}

/// A crash leaves no more in doubt than was in flight.
pub fn doubts_are_few(
    results: &[BTreeMap<String, String>],
    log: &[Request],
    crashes_in_flight: usize,
) -> Verdicts {
    let unknown = results
        .iter()
        .filter(|row| row["otp_status"] == "unknown")
        .count();
    let doubtful = log.iter().filter(|request| request.doubtful).count();
    hold!(
        unknown <= doubtful + crashes_in_flight,
        "{unknown} unknown, {doubtful} doubtful answers, {crashes_in_flight} in flight at crashes"
    );
    Ok(())
}
