//! Hours, caps and money: what waits for a time of day, and what ends a run.

use std::cell::Cell;
use std::num::{NonZeroU64, NonZeroUsize};

use otpdrive::calendar::{Bounds, Calendar, zone};
use otpdrive::clock::Clock;
use otpdrive::job::{JobId, Lane, UnixMicros};
use otpdrive::run::{End, RunFact, Signal, StopKind};
use otpdrive::status::Status;
use tokio::time::{Instant, sleep};

use super::memory::Memory;
use super::rule::{Rule, Sent};
use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn at(text: &str) -> UnixMicros {
    text.parse().unwrap()
}

fn bounds(window: &str) -> Bounds {
    Bounds {
        window: Some(window.parse().unwrap()),
        ..Bounds::default()
    }
}

fn cap(n: u64) -> Bounds {
    Bounds {
        daily_cap: NonZeroU64::new(n),
        ..Bounds::default()
    }
}

fn calendar(all: Bounds, calls: Bounds) -> Calendar {
    Calendar {
        zone: zone("Asia/Kolkata").unwrap(),
        all,
        calls,
    }
}

fn bound(rate: Option<u32>, all: Bounds, calls: Bounds) -> Settings {
    let mut settings = settings(rate);
    settings.limits.calendar = calendar(all, calls);
    settings
}

/// So many numbers, when clocks in India show this.
fn memory(lanes: impl IntoIterator<Item = Lane>, time: &str) -> Memory {
    let mut memory = Memory::new(lanes);
    memory.clock = Clock::at(at(&format!("2026-11-26T{time}+05:30")));
    memory
}

/// When a request left, by a clock on the wall that nobody has set.
fn wall(memory: &Memory, sent: &Sent) -> UnixMicros {
    let ago = i64::try_from(sent.left.elapsed().as_micros()).unwrap();
    UnixMicros(memory.clock.now().0 - ago)
}

/// All that left, on a lane, did so when it was open.
fn within(memory: &Memory, gateway: &Rule<'_>, calendar: &Calendar) {
    for sent in gateway.log.borrow().iter() {
        let at = wall(memory, sent);
        assert!(calendar.is_open(sent.lane, at), "{sent:?} at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn requests_leave_within_their_hours_retries_too_and_nobody_is_lost() {
    let memory = memory([Lane::Sms; 90], "20:59:00");
    let gateway = Rule::new(&memory, |asked| match asked.before {
        0 if asked.job.0 % 2 == 0 => (2 * SECOND, throttled()),
        _ => (2 * SECOND, accepted()),
    });
    let mut settings = bound(Some(1), bounds("09:00-21:00"), Bounds::default());
    settings.policy.max_attempts = 2;
    let start = Instant::now();
    let finished = run(&gateway, &settings).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Sent), 90);
    within(&memory, &gateway, &settings.limits.calendar);
    let times = gateway.times();
    keeps_the_rate(&times, 1);
    let first_day = times.iter().filter(|at| **at - start < HOUR).count();
    assert!((55..=60).contains(&first_day), "{first_day} before 21:00");
    let opens = times[first_day] - start;
    let expected = 12 * HOUR + 60 * SECOND;
    assert!(
        opens >= expected && opens < expected + 6 * SECOND,
        "{opens:?}"
    );
    // An intent is written 20 ms ahead: the window may close in between.
    assert!(memory.withdrawn() <= 1);
}

#[tokio::test(start_paused = true)]
async fn calls_wait_for_their_hours_while_text_messages_go_on() {
    let lanes = [Lane::Sms, Lane::Call].repeat(50);
    let memory = memory(lanes, "03:00:00");
    let gateway = Rule::new(&memory, |_| (20 * MS, accepted()));
    let settings = bound(Some(10), Bounds::default(), bounds("09:00-21:00"));
    let start = Instant::now();
    let finished = run(&gateway, &settings).await;
    assert_eq!(finished.end, End::Complete);
    let last_sms = gateway.times_on(Lane::Sms)[49] - start;
    assert!(last_sms < 10 * SECOND, "{last_sms:?}");
    let first_call = gateway.times_on(Lane::Call)[0] - start;
    assert!(first_call >= 6 * HOUR && first_call < 6 * HOUR + 6 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_night_is_no_outage() {
    let memory = memory([Lane::Sms; 40], "20:55:00");
    // Down for five minutes before the window closes, and for ten after it opens.
    let down = 60..12 * 3_600 + 15 * 60;
    let gateway = Rule::down(&memory, down, &Lane::ALL, unreachable);
    let mut settings = bound(Some(1), bounds("09:00-21:00"), Bounds::default());
    settings.rate.as_mut().unwrap().per = 10 * SECOND;
    settings.max_outage = 900 * SECOND;
    let finished = run(&gateway, &settings).await;
    assert_eq!(finished.end, End::Complete, "14 minutes of 15");
    within(&memory, &gateway, &settings.limits.calendar);
    // The same without an end.
    let memory = super::hours::memory([Lane::Sms; 40], "20:55:00");
    let gateway = Rule::down(&memory, 60..90_000, &Lane::ALL, unreachable);
    let start = Instant::now();
    let finished = run(&gateway, &settings).await;
    assert_eq!(stop_kind(&finished), Some(StopKind::Outage));
    assert!(start.elapsed() > 12 * HOUR && start.elapsed() < 13 * HOUR);
}

#[tokio::test(start_paused = true)]
async fn hours_follow_a_clock_that_is_set_and_the_pace_does_not() {
    let memory = memory([Lane::Sms; 100], "03:00:00");
    let hour = i64::try_from(HOUR.as_micros()).unwrap();
    let start = Instant::now();
    let clock = async {
        sleep(20 * SECOND).await;
        memory.ahead.set(7 * hour);
        sleep(20 * SECOND).await;
        // Out of the window, and into it again.
        memory.ahead.set(-hour);
        sleep(1_000 * SECOND).await;
        memory.ahead.set(8 * hour);
        std::future::pending::<Signal>().await
    };
    let gateway = Rule::new(&memory, |_| (20 * MS, accepted()));
    let settings = bound(Some(2), bounds("09:00-21:00"), Bounds::default());
    let finished = drive(&gateway, &settings, clock).await;
    assert_eq!(finished.end, End::Complete);
    let times = gateway.times();
    keeps_the_rate(&times, 2);
    let seconds = times.iter().map(|at| (*at - start).as_secs());
    let open = |second: &u64| (20..=40).contains(second) || *second >= 1_040;
    let outside: Vec<u64> = seconds.clone().filter(|second| !open(second)).collect();
    assert!(outside.is_empty(), "{outside:?}");
    let soon = seconds.clone().filter(|second| *second < 40).count();
    assert!(soon >= 28, "{soon}: seconds late at most");
    let facts = memory.facts.borrow();
    let moved = facts
        .iter()
        .filter(|fact| matches!(fact, RunFact::ClockMoved { .. }));
    assert_eq!(moved.count(), 2, "each is noted before a request leaves");
}

/// How many left on each day, in India.
fn by_day(memory: &Memory, gateway: &Rule<'_>, calendar: &Calendar) -> Vec<usize> {
    let mut days: Vec<(UnixMicros, usize)> = Vec::new();
    for sent in gateway.log.borrow().iter() {
        let day = calendar.day(wall(memory, sent)).start;
        match days.last_mut() {
            Some((known, count)) if *known == day => *count += 1,
            _ => days.push((day, 1)),
        }
    }
    days.into_iter().map(|(_, count)| count).collect()
}

#[tokio::test(start_paused = true)]
async fn a_cap_counts_by_the_day_what_left_in_any_run() {
    for (rate, concurrency) in [(None, 1_000), (Some(5), 3)] {
        let memory = memory([Lane::Sms; 25], "12:00:00");
        let mut settings = bound(rate, cap(10), Bounds::default());
        settings.concurrency = NonZeroUsize::new(concurrency).unwrap();
        let calendar = settings.limits.calendar.clone();
        let day = calendar.day(memory.clock.now());
        let elsewhere = [(day.start.0, [3, 1, 99]), (day.end.0, [2, 0, 0])];
        *memory.elsewhere.borrow_mut() = elsewhere.into();
        // A request that was answered "later" has left, too; one that did not leave has not.
        let gateway = Rule::new(&memory, |asked| match (asked.job.0, asked.before) {
            (2, 0) => (MS, throttled()),
            (4, 0) => (MS, Verdict::new(VerdictKind::Withdrawn, "closed")),
            _ => (20 * MS, accepted()),
        });
        let finished = run(&gateway, &settings).await;
        assert_eq!(finished.end, End::Complete);
        assert_eq!(memory.count(Status::Sent), 25);
        assert_eq!(by_day(&memory, &gateway, &calendar), [6, 8, 10, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cap_of_calls_holds_back_calls_alone() {
    let memory = memory([Lane::Call, Lane::Sms].repeat(20), "23:59:00");
    let gateway = Rule::new(&memory, |_| (20 * MS, accepted()));
    let settings = bound(Some(20), cap(1_000), cap(8));
    let start = Instant::now();
    run(&gateway, &settings).await;
    let last_sms = gateway.times_on(Lane::Sms)[19] - start;
    assert!(last_sms < 10 * SECOND, "{last_sms:?}");
    let calls = gateway.times_on(Lane::Call);
    let day = |calls: &[Instant]| (calls[0] - start).as_secs();
    assert!(day(&calls) < 5);
    assert!((60..70).contains(&day(&calls[8..])), "midnight");
    assert!(day(&calls[16..]) >= 86_460, "the next one");
    assert_eq!(calls.len(), 20);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_before_the_time_to_start_and_waiting_can_be_ended() {
    let memory = memory([Lane::Sms, Lane::Call].repeat(5), "12:00:00");
    let gateway = Rule::new(&memory, |_| (20 * MS, accepted()));
    let mut settings = settings(Some(5));
    settings.limits.start_at = Some(memory.clock.now() + HOUR);
    settings.max_duration = Some(600 * SECOND);
    let finished = drive(&gateway, &settings, signal_after(60 * SECOND)).await;
    assert_eq!(finished.end, End::Interrupted(Signal::Sigterm));
    assert_eq!(gateway.log.borrow().len(), 0);
    let start = Instant::now();
    let finished = run(&gateway, &settings).await;
    assert_eq!(finished.end, End::Complete);
    let waited = gateway.times()[0] - start + 60 * SECOND;
    assert!(waited >= HOUR && waited < HOUR + 6 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn no_new_number_is_started_after_the_deadline() {
    let memory = memory([Lane::Sms; 100], "20:59:50");
    let gateway = Rule::new(&memory, |asked| match asked.before {
        0 => (20 * MS, throttled()),
        _ => (20 * MS, accepted()),
    });
    let mut settings = settings(Some(4));
    settings.limits.deadline = Some(at("2026-11-26T21:00:00+05:30"));
    let start = Instant::now();
    let finished = run(&gateway, &settings).await;
    assert_eq!(stop_kind(&finished), Some(StopKind::Deadline));
    let log = gateway.log.borrow();
    let last = log.iter().rfind(|sent| sent.first).unwrap().left - start;
    assert!(last <= 10 * SECOND, "{last:?}");
    assert!(log.last().unwrap().left - start > 10 * SECOND, "a retry");
    assert!(memory.count(Status::Pending) > 50);
}

#[tokio::test(start_paused = true)]
async fn what_was_started_does_not_wait_for_another_day_behind_the_deadline() {
    let memory = memory([Lane::Sms; 100], "20:59:50");
    let gateway = Rule::new(&memory, |_| (20 * MS, throttled()));
    let mut settings = bound(Some(4), bounds("09:00-21:00"), Bounds::default());
    settings.limits.deadline = Some(at("2026-11-26T20:59:58+05:30"));
    settings.backoff.base = 30 * SECOND;
    let start = Instant::now();
    let finished = run(&gateway, &settings).await;
    assert_eq!(stop_kind(&finished), Some(StopKind::Deadline));
    assert!(start.elapsed() < 60 * SECOND, "{:?}", start.elapsed());
    assert_eq!(memory.count(Status::Pending), 100);
}

#[tokio::test(start_paused = true)]
async fn a_budget_is_used_to_the_last_request_and_never_passed() {
    for concurrency in [1, 1_000] {
        let memory = memory([Lane::Sms; 60], "12:00:00");
        memory.billed.set([3, 0, 0]);
        // One in three costs nothing, and one in three may have cost something.
        let gateway = Rule::new(&memory, |asked| match asked.job.0 % 3 {
            0 => (20 * MS, rejected(["barred", "ported"][asked.index % 2])),
            1 => (20 * MS, lost()),
            _ => (20 * MS, accepted()),
        });
        let mut settings = settings(None);
        settings.concurrency = NonZeroUsize::new(concurrency).unwrap();
        settings.limits.prices = "sms=0.25".parse().unwrap();
        settings.limits.budget = Some("5.10".parse().unwrap());
        let finished = run(&gateway, &settings).await;
        assert_eq!(stop_kind(&finished), Some(StopKind::Budget));
        let billed = memory.count(Status::Sent) + memory.count(Status::Unknown);
        assert_eq!(billed, 17, "5.00 with the three before");
    }
}

#[tokio::test(start_paused = true)]
async fn where_a_call_is_too_dear_text_messages_go_on() {
    let memory = memory([Lane::Call, Lane::Sms].repeat(10), "12:00:00");
    let gateway = Rule::new(&memory, |_| (20 * MS, accepted()));
    let mut settings = settings(Some(50));
    settings.limits.prices = "sms=0.25,call=1".parse().unwrap();
    settings.limits.budget = Some("5.80".parse().unwrap());
    let finished = run(&gateway, &settings).await;
    assert_eq!(stop_kind(&finished), Some(StopKind::Budget));
    let (calls, sms) = (gateway.times_on(Lane::Call), gateway.times_on(Lane::Sms));
    assert_eq!((calls.len(), sms.len()), (4, 7), "5.75");
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_enough_stops_nothing() {
    let memory = memory([Lane::Sms; 20], "12:00:00");
    let gateway = Rule::new(&memory, |_| (20 * MS, accepted()));
    let mut settings = settings(None);
    settings.limits.prices = "sms=0.25".parse().unwrap();
    settings.limits.budget = Some("5".parse().unwrap());
    let finished = run(&gateway, &settings).await;
    assert_eq!(finished.end, End::Complete);
    memory.billed.set([20, 0, 0]);
    let gateway = Rule::new(&memory, |_| (20 * MS, accepted()));
    let again = run(&gateway, &settings).await;
    assert_eq!(again.end, End::Complete, "nothing is left to do");
}

#[tokio::test(start_paused = true)]
async fn calls_keep_a_rate_and_a_number_in_flight_of_their_own() {
    let memory = memory([Lane::Call, Lane::Sms].repeat(60), "12:00:00");
    let in_flight = Cell::new(0);
    let gateway = Rule::new(&memory, |_| (900 * MS, accepted()));
    let mut settings = settings(Some(20));
    settings.limits.call_rate = settings.rate;
    settings.limits.call_rate.as_mut().unwrap().requests = NonZeroU32::new(2).unwrap();
    let start = Instant::now();
    run(&gateway, &settings).await;
    let (calls, sms) = (gateway.times_on(Lane::Call), gateway.times_on(Lane::Sms));
    keeps_the_rate(&gateway.times(), 20);
    keeps_the_rate(&calls, 2);
    let took = (calls[59] - start).as_secs_f64();
    assert!((29.0..31.5).contains(&took), "{took} s for 60 calls");
    assert!(sms[59] - start < 5 * SECOND, "they do not wait for calls");

    let memory = super::hours::memory([Lane::Call, Lane::Sms].repeat(20), "12:00:00");
    let gateway = Rule::new(&memory, |_| (SECOND, accepted()));
    settings.limits.call_rate = None;
    settings.limits.call_concurrency = NonZeroUsize::new(3);
    run(&gateway, &settings).await;
    let log = gateway.log.borrow();
    let calls: Vec<&Sent> = log.iter().filter(|sent| sent.lane == Lane::Call).collect();
    for call in &calls {
        let under_way = |other: &&&Sent| {
            other.left <= call.left && other.answered.is_none_or(|at| at > call.left)
        };
        let count = calls.iter().filter(under_way).count();
        in_flight.set(in_flight.get().max(count));
    }
    assert_eq!(in_flight.get(), 3);
    assert_eq!(memory.count(Status::Sent), 40);
    assert_eq!(gateway.requests_for(JobId(1)), 1);
}
