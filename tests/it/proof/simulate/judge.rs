//! What must hold, whatever happened: judged by the gateway's log and by what the ledger says.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use otpdrive::campaign::EarlierHolds;
use otpdrive::job::{Lane, Operation};
use otpdrive::number::Number;
use otpdrive::pace::Rate;
use otpdrive::record::{Row, RowState};
use otpdrive::run::{End, RunFact, StopKind, WhenUncertain};
use otpdrive::status::Status;
use tokio::time::Instant;

use super::process::{Orders, Said, Traces};
use super::reached::Reached;
use super::story::Story;
use super::weather::SECOND;
use super::world::{Request, World};

/// What is wrong, in words; nothing, if nothing is.
pub type Verdicts = Result<(), String>;

macro_rules! hold {
    ($so:expr, $($why:tt)+) => {
        if !$so {
            return Err(format!($($why)+));
        }
    };
}

/// Judges a process, however it ended.
pub fn any_process(world: &World, story: &Story, orders: &Orders, traces: &Traces) -> Verdicts {
    let log = world.log.borrow();
    one_process(&log, orders, traces)?;
    nobody_twice(&log, story.on_unknown, &world.reached)?;
    rate_is_kept(&log, story.rate)?;
    limits_are_kept(&log, orders, &world.reached)?;
    retry_after_is_kept(&log, orders, story.clock_jumps)
}

/// Judges a process that was not killed by what it left behind, too.
pub fn a_process_that_ended(
    said: &Said,
    world: &World,
    story: &Story,
    orders: &Orders,
    traces: &Traces,
) -> Verdicts {
    let (log, codes) = (world.log.borrow(), story.codes());
    end_is_true(said, world, story, orders, traces)?;
    attempts_are_sound(said, &codes, &log)?;
    rows_are_true(said, &codes, story.operation, &log)?;
    notice(said, orders, &log, &world.reached);
    Ok(())
}

/// What the program may know of a number.
#[derive(Clone, Copy, Default)]
struct Known {
    accepted: bool,
    /// The lane of a request that may have been accepted, the latest run with one, and how many
    /// that run made.
    perhaps: Option<(Lane, usize, u32)>,
}

/// Nobody is asked for again after a request that was accepted, or may have been. Where that is
/// wanted all the same it is never on another channel, and a run risks one more OTP and no more.
fn nobody_twice(log: &[Request], on_unknown: WhenUncertain, reached: &Reached) -> Verdicts {
    let mut all: HashMap<_, Known> = HashMap::new();
    for request in log {
        let known = all.entry(request.who()).or_default();
        hold!(!known.accepted, "again after an acceptance: {request:?}");
        if let Some((lane, ..)) = known.perhaps {
            let hold = on_unknown == WhenUncertain::Hold;
            hold!(!hold, "again after a doubt: {request:?}");
            let same = lane == request.lane;
            hold!(same, "on another channel after a doubt: {request:?}");
        }
        known.accepted = request.recorded && request.accepted && !request.doubtful;
        if request.may_be_accepted() {
            let (most, times) = match known.perhaps {
                None => (2, 1),
                Some((_, run, times)) if run == request.run => (2.max(times), times + 1),
                // The first of a later run is the risk already.
                Some(_) => (2, 2),
            };
            let send = request.lane != Lane::Verify;
            hold!(!send || times <= most, "a third OTP in a run: {request:?}");
            let now = log.last().is_some_and(|last| last.run == request.run);
            reached.note_if(send && times == 2 && now, "a second OTP is risked");
            known.perhaps = Some((request.lane, request.run, times));
        }
    }
    Ok(())
}

/// In any second at most the rate, and 0.5 % or one more.
fn rate_is_kept(log: &[Request], rate: Option<Rate>) -> Verdicts {
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
        let run = request.run;
        hold!(count <= most, "{count} in a second at {rate:?}, run {run}");
    }
    Ok(())
}

/// Nothing leaves outside of its hours, nor beyond the day's cap, nor beyond the budget.
fn limits_are_kept(log: &[Request], orders: &Orders, reached: &Reached) -> Verdicts {
    let limits = &orders.settings.limits;
    let of_run = log.iter().enumerate().filter(|(_, r)| r.run == orders.run);
    for (n, request) in of_run {
        let (before, lane, wall) = (&log[..n], request.lane, request.wall);
        let open = limits.calendar.is_open(lane, wall);
        hold!(open, "outside of its hours: {request:?}");
        let day = limits.calendar.day(wall);
        let today = before.iter().filter(|r| day.contains(&r.wall)).count() as u64 + 1;
        if let Some(cap) = limits.calendar.all.daily_cap {
            hold!(today <= cap.get(), "{today} on a day, not {cap}");
            reached.note_if(today == cap.get(), "a day's cap is reached");
        }
        let billed = before.iter().filter(|r| r.may_be_accepted()).count() as u64 + 1;
        if let Some((budget, price)) = limits.budget.zip(limits.prices.of(lane)) {
            hold!(price * billed <= budget, "{billed} cost more than {budget}");
        }
    }
    Ok(())
}

/// After an answer with `Retry-After` nothing leaves on that lane before its time; after the end of
/// the process that heard it, if it was written down, the clocks agree, and nobody said otherwise.
fn retry_after_is_kept(log: &[Request], orders: &Orders, clock_jumps: bool) -> Verdicts {
    let keep = orders.settings.earlier_holds == EarlierHolds::Keep && !clock_jumps;
    for held in log {
        let (Some(heard), Some(until)) = (held.heard, held.not_before) else {
            continue;
        };
        let of_lane = log.iter().filter(|later| later.lane == held.lane);
        for later in of_lane.filter(|later| later.run == orders.run) {
            let bound = later.run == held.run || (held.recorded && keep);
            let early = later.at > heard && later.at < until;
            let (by, from) = (until.saturating_duration_since(later.at), held.run);
            hold!(!(bound && early), "{by:?} before Retry-After of run {from}");
        }
    }
    Ok(())
}

/// What one process may do: no more at once, no more numbers than it was told, and nothing after it
/// was told to stop or lost its key or its account.
fn one_process(log: &[Request], orders: &Orders, traces: &Traces) -> Verdicts {
    let of_run: Vec<&Request> = log.iter().filter(|r| r.run == orders.run).collect();
    let concurrency = orders.settings.concurrency.get();
    let most = traces.in_flight_max;
    hold!(most <= concurrency, "{most} in flight of {concurrency}");
    if let Some(signalled) = traces.signalled {
        let after = of_run.iter().filter(|r| r.at > signalled).count();
        hold!(after == 0, "{after} requests after the signal");
    }
    let refused = of_run.iter().filter(|r| matches!(r.fate, "closed" | "402"));
    if let Some(heard) = refused.filter_map(|r| r.heard).min() {
        let after = of_run.iter().filter(|r| r.at > heard).count();
        hold!(
            after == 0,
            "{after} requests after key or account was refused"
        );
    }
    let numbers: BTreeSet<Number> = of_run.iter().map(|r| r.number).collect();
    if let Some(limit) = orders.settings.limit {
        let tried = numbers.len() as u64;
        hold!(tried <= limit, "{tried} numbers of {limit}");
    }
    Ok(())
}

/// The facts in the ledger keep the rules, and are those of the gateway.
fn attempts_are_sound(said: &Said, codes: &[&str], log: &[Request]) -> Verdicts {
    let policy = said.runs.policy();
    let outage = |fact: &RunFact| matches!(fact, RunFact::OutageBegan { .. });
    let outages = said.facts.iter().filter(|fact| outage(fact)).count();
    for (row, code) in said.rows.iter().zip(codes) {
        let RowState::Job(attempts) = &row.state else {
            continue;
        };
        for (n, attempt) in (1..).zip(attempts) {
            hold!(attempt.n == n, "attempt {} is the {n}-th", attempt.n);
        }
        for lane in Lane::ALL {
            let of_run = attempts
                .iter()
                .filter(|a| a.run == said.run && a.lane == lane);
            let left: Vec<_> = of_run.filter(|attempt| !attempt.never_left()).collect();
            let tries = said.runs.tries(attempts, said.run, lane);
            hold!(tries <= policy.max_attempts, "{tries} tries: {attempts:?}");
            let held = left
                .iter()
                .filter(|a| a.verdict().is_some_and(|v| v.retry_at.is_some()));
            let counted = left.len() - held.count();
            let most = policy.max_attempts as usize;
            // Without an outage there are no free tries.
            hold!(outages > 0 || counted <= most, "{counted} tries of {most}");
        }
        let asked = log.iter().filter(|request| is_for(request, row, code));
        let (asked, left) = (asked.count(), attempts.iter().filter(|a| !a.never_left()));
        let left = left.count();
        hold!(
            asked <= left,
            "{asked} requests, {left} in the ledger: {attempts:?}"
        );
        let known = attempts
            .iter()
            .filter(|a| a.answer.is_some() && !a.never_left());
        let known = known.count();
        hold!(
            known <= asked,
            "{known} answers to {asked} requests: {attempts:?}"
        );
    }
    Ok(())
}

fn is_for(request: &Request, row: &Row, code: &str) -> bool {
    let (number, of) = request.who();
    row.number == Some(number) && of.is_none_or(|of| of == code)
}

/// Each row has one status, and it is true. `codes` are those of the input's rows, in its order.
fn rows_are_true(said: &Said, codes: &[&str], operation: Operation, log: &[Request]) -> Verdicts {
    let mut seen = BTreeSet::new();
    for (row, code) in said.rows.iter().zip(codes) {
        let status = row.outcome(&said.runs).status;
        let asked = log.iter().filter(|request| is_for(request, row, code));
        let asked: Vec<&Request> = asked.collect();
        let accepted = asked.iter().any(|request| request.accepted);
        let wanted = match (status, operation) {
            (Status::Sent, Operation::Send) | (Status::Verified, Operation::Verify) => Some(true),
            (Status::NotVerified, Operation::Verify)
            | (Status::Rejected | Status::Failed | Status::Pending, _) => Some(false),
            (Status::Unknown | Status::Invalid | Status::Duplicate, _) => None,
            (other, _) => return Err(format!("a row is {other:?}")),
        };
        let is_true = wanted.is_none_or(|wanted| wanted == accepted);
        hold!(is_true, "{status:?}, but: {asked:?}");
        if !matches!(status, Status::Invalid | Status::Duplicate) {
            let who = (row.number, (operation == Operation::Verify).then_some(code));
            hold!(seen.insert(who), "{who:?} has two rows that count");
        }
    }
    Ok(())
}

/// It ended for a reason.
fn end_is_true(
    said: &Said,
    world: &World,
    story: &Story,
    orders: &Orders,
    traces: &Traces,
) -> Verdicts {
    let (log, codes, reached) = (world.log.borrow(), story.codes(), &world.reached);
    let of_run: Vec<&Request> = log.iter().filter(|r| r.run == orders.run).collect();
    let End::Stopped(stop) = &said.end else {
        let complete = said.end == End::Complete;
        hold!(!complete || !has_wave(said), "complete after a wave");
        return Ok(());
    };
    let heard = |r: &&&Request| r.heard.is_some() && !r.doubtful;
    let came = |fate| of_run.iter().filter(heard).any(|r| r.fate == fate);
    match stop.kind {
        // It would be the same request twice.
        StopKind::Ledger => {
            let full = orders.disk_full_after.is_some();
            hold!(full, "{}", stop.message);
        }
        StopKind::Outage => {
            reached.note("an outage is too long");
            return was_silent(&of_run, orders.settings.max_outage, traces.began);
        }
        StopKind::AccountRefused if came("402") => {
            reached.note("an account is refused with a 402");
        }
        StopKind::AccountRefused => return was_a_wave(said, orders, &codes, &of_run),
        StopKind::KeyRefused => {
            hold!(came("closed"), "the key was not refused");
            reached.note("a key is refused");
        }
        StopKind::WrongEndpoint => {
            let mut earlier = log.iter().filter(|r| r.run < orders.run);
            let right = earlier.any(|r| r.recorded && r.accepted && !r.doubtful);
            hold!(!right, "the endpoint had proved right");
            reached.note("an endpoint is wrong");
        }
        StopKind::Certificate => return Err("there are no certificates".to_owned()),
        StopKind::Limit => reached.note("a limit"),
        StopKind::MaxDuration => reached.note("a time to start numbers is over"),
        StopKind::Budget => {
            hold!(
                orders.settings.limits.budget.is_some(),
                "there is no budget"
            );
            reached.note("a budget is used up");
        }
        StopKind::Deadline => return Err("there is no deadline".to_owned()),
    }
    Ok(())
}

/// A run that stopped for an outage had heard of no acceptance on some lane for so long. The last
/// request of all may have been on its way when it stopped.
fn was_silent(of_run: &[&Request], max_outage: Duration, began: Instant) -> Verdicts {
    let now = Instant::now();
    hold!(now - began >= max_outage, "an outage that was too short");
    let silent = Lane::ALL.into_iter().any(|lane| {
        let of_lane = of_run.iter().filter(|r| r.lane == lane);
        let mut before_last = of_lane.rev().skip(1);
        !before_last.any(|r| r.at + max_outage > now && r.accepted && !r.doubtful)
    });
    hold!(silent, "a gateway that works is no outage");
    Ok(())
}

/// All that were refused for the account's sake are pending, and nobody among them was called.
fn was_a_wave(said: &Said, orders: &Orders, codes: &[&str], of_run: &[&Request]) -> Verdicts {
    let most = orders.settings.refused_alike.map_or(usize::MAX, Into::into);
    let waves: Vec<_> = Lane::ALL
        .into_iter()
        .filter_map(|lane| Some((lane, alike(of_run, lane, most)?)))
        .collect();
    hold!(!waves.is_empty(), "{most} were not refused alike");
    for (lane, refused) in waves {
        let again = of_run
            .iter()
            .find(|r| r.lane != lane && refused.get(&r.who()).is_some_and(|at| r.at > *at));
        hold!(again.is_none(), "a fallback out of a wave: {again:?}");
        for (row, code) in said.rows.iter().zip(codes) {
            let is = |(number, of): &(Number, Option<&str>)| {
                row.number == Some(*number) && of.is_none_or(|of| of == *code)
            };
            let is_in = refused.keys().any(is);
            let status = row.outcome(&said.runs).status;
            hold!(
                !is_in || status != Status::Rejected,
                "refused in a wave: {row:?}"
            );
        }
    }
    Ok(())
}

/// Who was refused in the same words on this lane, one after the other, and when, if there are so
/// many. An acceptance in between counts if its request left after the first refusal was heard.
fn alike<'r>(
    of_run: &[&'r Request],
    lane: Lane,
    most: usize,
) -> Option<HashMap<(Number, Option<&'r str>), Instant>> {
    let mut answers: Vec<_> = of_run
        .iter()
        .filter(|r| r.lane == lane && !r.doubtful)
        .filter_map(|r| Some((r.heard?, *r)))
        .collect();
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

/// Whoever says "complete" has left nothing over; and after a healthy run nothing can be wanting.
pub fn all_is_done(said: &Said, healthy: bool) -> Verdicts {
    let complete = said.end == End::Complete;
    hold!(complete || !healthy, "a healthy run ends {:?}", said.end);
    for row in &said.rows {
        let status = row.outcome(&said.runs).status;
        let over = matches!(status, Status::Pending | Status::Failed);
        hold!(
            !(over && healthy),
            "{status:?} after a healthy run: {row:?}"
        );
        let pending = status == Status::Pending;
        hold!(!(pending && complete), "complete, but {row:?}");
    }
    Ok(())
}

/// A crash leaves no more in doubt than was in flight.
pub fn doubts_are_few(said: &Said, log: &[Request], crashes_in_flight: usize) -> Verdicts {
    let status = |row: &&Row| row.outcome(&said.runs).status == Status::Unknown;
    let unknown = said.rows.iter().filter(status).count();
    let doubtful = log.iter().filter(|request| request.doubtful).count();
    hold!(
        unknown <= doubtful + crashes_in_flight,
        "{unknown} unknown, {doubtful} doubtful answers, {crashes_in_flight} in flight at crashes"
    );
    Ok(())
}

fn has_wave(said: &Said) -> bool {
    let mut facts = said.facts.iter();
    facts.any(|fact| matches!(fact, RunFact::Wave { .. }))
}

/// States of the whole run that were reached.
fn notice(said: &Said, orders: &Orders, log: &[Request], reached: &Reached) {
    let of_run = || log.iter().filter(|request| request.run == orders.run);
    let mut first: HashMap<_, Lane> = HashMap::new();
    let fell_back = of_run().any(|r| *first.entry(r.who()).or_insert(r.lane) != r.lane);
    reached.note_if(fell_back, "a fallback");
    let refused = matches!(&said.end, End::Stopped(stop) if stop.kind == StopKind::AccountRefused);
    let in_doubt = has_wave(said) && !refused;
    reached.note_if(in_doubt, "refusals in doubt at an end");
    let down = said.facts.iter().filter_map(|fact| match fact {
        RunFact::OutageBegan { lane, .. } => *lane,
        _ => None,
    });
    for lane in down {
        let works = of_run().any(|r| r.lane != lane && r.accepted);
        reached.note_if(works, "an outage of one lane while another works");
    }
}
