//! Who leaves when: the rate, intents just before their requests, slow connections, holds, limits.

use std::num::NonZeroUsize;
use std::time::Duration;

use otpdrive::campaign::EarlierHolds;
use otpdrive::job::{Channel, JobId, Lane, Verdict, VerdictKind};
use otpdrive::run::{End, Signal, StopKind};
use otpdrive::status::Status;
use tokio::time::Instant;

use super::memory::Memory;
use super::rule::Rule;
use super::*;

/// The mean rate of these departures.
fn mean(times: &[Instant]) -> f64 {
    let took = (times[times.len() - 1] - times[0]).as_secs_f64();
    f64::from(u32::try_from(times.len() - 1).unwrap()) / took
}

#[tokio::test(start_paused = true)]
async fn the_rate_is_kept_and_used_with_a_tenth_of_retries() {
    for (rate, jobs) in [(10, 600), (200, 6_000), (2_000, 30_000)] {
        let memory = Memory::sms(jobs);
        let mut random = fastrand::Rng::with_seed(u64::from(rate));
        // Once at most: with five tries in a row some number would run out of luck.
        let gateway = Rule::new(&memory, |asked| {
            let verdict = if asked.before == 0 && random.f64() < 0.1 {
                throttled()
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
        let mean = mean(&times[..jobs]);
        assert!(mean >= 0.99 * f64::from(rate), "{mean:.2} of {rate}/s");
    }
}

/// Connections stall, and are then all there at once: at the gateway, too, no second holds more than
/// the rate, and what it allows is used as before as soon as they are there.
#[tokio::test(start_paused = true)]
async fn connections_that_stall_and_are_then_all_there_at_once_make_no_burst() {
    for (rate, concurrency) in [(10, 1_000), (50, 32), (50, 1_000), (400, 64)] {
        let jobs = rate as usize * 20;
        let memory = Memory::sms(jobs);
        let start = Instant::now();
        let gateway = Rule::new(&memory, |_| (20 * MS, accepted())).connecting(|_| {
            let age = start.elapsed();
            let left = (7 * SECOND).saturating_sub(age);
            (if age > 3 * SECOND { left.max(MS) } else { MS }, None)
        });
        let mut settings = settings(Some(rate));
        settings.concurrency = NonZeroUsize::new(concurrency).unwrap();
        run(&gateway, &settings).await;
        assert_eq!(memory.count(Status::Sent), jobs);
        let times = gateway.times();
        keeps_the_rate(&times, rate);
        let took = (times[jobs - 1] - start).as_secs_f64();
        assert!(took <= 24.5, "{took:.1} s for 20 and a stall of 4");
        let after: Vec<_> = times
            .into_iter()
            .filter(|at| *at - start > 7 * SECOND)
            .collect();
        let mean = mean(&after);
        assert!(
            mean >= 0.98 * f64::from(rate),
            "{mean:.2} of {rate}/s after the stall"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_used_however_long_connections_take_and_intents_stay_close() {
    for (rate, most) in [(10, 1), (200, 4)] {
        let jobs = rate as usize * 20;
        let memory = Memory::sms(jobs);
        let mut gateway = Rule::new(&memory, |_| (20 * MS, accepted()))
            .connecting(|asked| (Duration::from_millis(250 + asked.index as u64 % 50), None));
        gateway.lead = 300 * MS;
        run(&gateway, &settings(Some(rate))).await;
        let times = gateway.times();
        keeps_the_rate(&times, rate);
        let mean = mean(&times);
        assert!(mean >= 0.99 * f64::from(rate), "{mean:.2} of {rate}/s");
        let ahead = memory.ahead_max.get();
        assert!(ahead <= most, "{ahead} intents ahead at {rate}/s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_connection_was_gone_leaves_its_turn_to_others() {
    let memory = Memory::sms(1_000);
    let gateway = Rule::new(&memory, |asked| {
        if asked.before == 0 && asked.job.0 % 3 == 0 {
            (MS, Verdict::new(VerdictKind::Withdrawn, "closed"))
        } else {
            (20 * MS, accepted())
        }
    });
    let mut settings = settings(Some(50));
    settings.policy.max_attempts = 1;
    run(&gateway, &settings).await;
    assert_eq!(memory.count(Status::Sent), 1_000);
    assert_eq!(memory.withdrawn(), 333);
    keeps_the_rate(&gateway.times(), 50);
}

/// That a connection was gone may turn out late: its turn is nobody's then.
#[tokio::test(start_paused = true)]
async fn turns_that_are_put_back_late_make_no_burst() {
    let memory = Memory::sms(1_000);
    let start = Instant::now();
    let gateway = Rule::new(&memory, |asked| {
        let gone = start.elapsed() < 5 * SECOND && asked.job.0 % 2 == 0;
        let verdict = Verdict::new(VerdictKind::Withdrawn, "closed");
        (SECOND, if gone { verdict } else { accepted() })
    });
    run(&gateway, &settings(Some(50))).await;
    assert_eq!(memory.count(Status::Sent), 1_000);
    keeps_the_rate(&gateway.times(), 50);
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_before_retry_after_and_no_burst_follows_it() {
    let memory = Memory::sms(2_000);
    let clock = memory.clock;
    let gateway = Rule::new(&memory, |asked| match asked.index {
        300 | 700 => (20 * MS, held(clock.now() + 5 * SECOND)),
        _ => (30 * MS, accepted()),
    });
    run(&gateway, &settings(Some(200))).await;
    assert_eq!(memory.count(Status::Sent), 2_000);
    keeps_the_rate(&gateway.times(), 200);
    assert_eq!(holds_kept(&gateway.log.borrow(), clock), 2);
}

#[tokio::test(start_paused = true)]
async fn while_one_lane_is_held_back_calls_and_fallbacks_go_on() {
    // Forty text messages and forty calls, in turn.
    let lanes = [Lane::Sms, Lane::Call].into_iter().cycle().take(80);
    let memory = Memory::new(lanes);
    let (clock, start) = (memory.clock, Instant::now());
    let words = ["barred", "ported", "unknown number", "no such operator"];
    let mut texts = 0;
    let gateway = Rule::new(&memory, |asked| {
        texts += usize::from(asked.lane == Lane::Sms);
        let verdict = match texts {
            _ if asked.lane == Lane::Call => accepted(),
            1..=10 => rejected(words[texts % words.len()]),
            15 => held(clock.now() + 60 * SECOND),
            _ => accepted(),
        };
        (10 * MS, verdict)
    });
    let mut settings = settings(Some(20));
    settings.policy.fallback = Some(Channel::Call);
    run(&gateway, &settings).await;
    assert_eq!(memory.count(Status::Sent), 80);
    let calls = gateway.times_on(Lane::Call);
    assert_eq!(calls.len(), 50, "forty, and ten instead of text messages");
    let last_call = *calls.last().unwrap() - start;
    assert!(last_call < 10 * SECOND, "{last_call:?}");
    let messages = gateway.times_on(Lane::Sms);
    assert!(*messages.last().unwrap() - start > 60 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_hold_from_before_is_kept_for_its_lane_unless_it_is_to_be_ignored() {
    for (earlier_holds, wait) in [
        (EarlierHolds::Keep, 60 * SECOND),
        (EarlierHolds::Ignore, Duration::ZERO),
    ] {
        let lanes = [Lane::Sms, Lane::Call].into_iter().cycle().take(20);
        let memory = Memory::new(lanes);
        let start = Instant::now();
        let gateway = Rule::new(&memory, |_| (MS, accepted()));
        let until = memory.clock.now() + 60 * SECOND;
        memory.holds.set([Some(until), None, None]);
        let mut settings = settings(Some(100));
        settings.earlier_holds = earlier_holds;
        run(&gateway, &settings).await;
        let first = |lane| gateway.times_on(lane)[0] - start;
        assert!(first(Lane::Call) < SECOND);
        let waited = first(Lane::Sms);
        assert!(waited >= wait && waited < wait + SECOND, "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_of_this_run_is_kept_even_if_those_from_before_are_ignored() {
    let memory = Memory::sms(50);
    let clock = memory.clock;
    let gateway = Rule::new(&memory, |asked| match asked.index {
        5 => (MS, held(clock.now() + 30 * SECOND)),
        _ => (MS, accepted()),
    });
    let mut settings = settings(Some(10));
    settings.earlier_holds = EarlierHolds::Ignore;
    run(&gateway, &settings).await;
    assert_eq!(holds_kept(&gateway.log.borrow(), clock), 1);
    assert_eq!(memory.count(Status::Sent), 50);
}

#[tokio::test(start_paused = true)]
async fn the_first_request_keeps_its_distance_from_the_run_before() {
    let memory = Memory::sms(3);
    memory.after.set(Some(memory.clock.now()));
    let start = Instant::now();
    let gateway = Rule::new(&memory, |_| (MS, accepted()));
    let mut settings = settings(Some(1));
    settings.rate.as_mut().unwrap().per = 60 * SECOND;
    run(&gateway, &settings).await;
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
        let memory = Memory::sms(1);
        let gateway = Rule::new(&memory, |_| (10 * MS, failed()));
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
    let memory = Memory::sms(3_000);
    // Every other number fails always: never twenty in a row, so no outage.
    let gateway = Rule::new(&memory, |asked| match asked.job.0 % 2 {
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
    assert_eq!(memory.count(Status::Failed), 1_500);
}

#[tokio::test(start_paused = true)]
async fn intents_are_noted_just_before_their_requests_leave_and_in_input_order() {
    for (rate, most) in [(1, 1), (10, 1), (200, 4), (2_000, 40)] {
        let memory = Memory::sms(3_000.min(100 * rate as usize));
        let gateway = Rule::new(&memory, |_| (100 * MS, accepted()));
        run(&gateway, &settings(Some(rate))).await;
        let ahead = memory.ahead_max.get();
        assert!(ahead <= most, "{ahead} intents ahead at {rate}/s");
        let log = gateway.log.borrow();
        assert!(log.is_sorted_by_key(|sent| sent.job), "{rate}/s");
    }
}

#[tokio::test(start_paused = true)]
async fn intents_that_have_not_left_are_answered_as_withdrawn_when_it_stops() {
    let mut withdrawn = 0;
    for stop_ms in 1_000..1_040 {
        let memory = Memory::sms(3_000);
        let gateway = Rule::new(&memory, |_| (200 * MS, accepted()));
        let stop = signal_after(stop_ms * MS);
        let finished = drive(&gateway, &settings(Some(400)), stop).await;
        assert_eq!(finished.end, End::Interrupted(Signal::Sigterm));
        assert_eq!(memory.count(Status::Unknown), 0);
        assert_eq!(memory.count(Status::Sent), gateway.log.borrow().len());
        withdrawn += memory.withdrawn();
    }
    assert!(withdrawn > 0, "the case came up");
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_a_hold_overtakes_is_withdrawn_and_made_again_later() {
    let mut withdrawn = 0;
    for latency_ms in 20..40 {
        let memory = Memory::sms(200);
        let clock = memory.clock;
        let gateway = Rule::new(&memory, |asked| match asked.index {
            50 => (latency_ms * MS, held(clock.now() + 10 * SECOND)),
            _ => (10 * MS, accepted()),
        });
        let mut settings = settings(Some(400));
        settings.policy.max_attempts = 1;
        run(&gateway, &settings).await;
        assert_eq!(memory.count(Status::Sent), 200);
        withdrawn += memory.withdrawn();
    }
    assert!(withdrawn > 0, "the case came up");
}

#[tokio::test(start_paused = true)]
async fn nothing_leaves_without_its_intent_and_the_run_stops() {
    for intents in [0, 1, 50] {
        let memory = Memory::sms(200);
        memory.full_after.set(Some(intents));
        let gateway = Rule::new(&memory, |_| (MS, accepted()));
        let finished = run(&gateway, &settings(None)).await;
        assert_eq!(stop_kind(&finished), Some(StopKind::Ledger));
        assert!(gateway.log.borrow().len() <= intents);
    }
}

#[tokio::test(start_paused = true)]
async fn a_number_in_other_hands_is_left_to_them() {
    let memory = Memory::sms(20);
    memory.taken.borrow_mut().extend([JobId(3), JobId(20)]);
    let gateway = Rule::new(&memory, |_| (MS, accepted()));
    let settings = settings(Some(50));
    let run = memory.begin_run(settings.policy);
    let progress = Progress::new(Status::ALL.map(|status| memory.count(status) as u64));
    let context = Context {
        ledger: &memory,
        gateway: &gateway,
        progress: &progress,
        wall: &|| memory.wall(),
    };
    let task = Task {
        run,
        lanes: memory.lanes(),
        runs: memory.runs.borrow().clone(),
        billed: memory.billed.get(),
    };
    campaign::run(&context, &settings, task, std::future::pending()).await;
    for job in [3, 20].map(JobId) {
        assert_eq!(gateway.requests_for(job), 0);
    }
    assert_eq!(memory.count(Status::Sent), 18);
}

#[tokio::test(start_paused = true)]
async fn what_is_due_later_is_asked_for_again_then() {
    let memory = Memory::sms(20);
    let later = Instant::now() + 10 * SECOND;
    memory.later.set(Some(later));
    let gateway = Rule::new(&memory, |_| (MS, accepted()));
    let finished = run(&gateway, &settings(None)).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Sent), 20);
    let waited = gateway.times()[0] - later;
    assert!(waited < SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_in_flight_than_allowed() {
    for concurrency in [1, 7, 64] {
        let memory = Memory::sms(300);
        let gateway = Rule::new(&memory, |_| (50 * MS, accepted()))
            .connecting(|asked| (Duration::from_millis(asked.index as u64 % 70), None));
        let mut settings = settings(None);
        settings.concurrency = NonZeroUsize::new(concurrency).unwrap();
        run(&gateway, &settings).await;
        assert_eq!(gateway.in_flight_max.get(), concurrency);
        assert_eq!(memory.count(Status::Sent), 300);
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_to_start_numbers_ends_when_it_is_over_however_slow_the_rate() {
    let memory = Memory::sms(20);
    let start = Instant::now();
    let gateway = Rule::new(&memory, |_| (10 * MS, accepted()));
    let mut settings = settings(Some(4));
    settings.rate.as_mut().unwrap().per = 60 * SECOND;
    settings.max_duration = Some(2 * SECOND);
    let finished = run(&gateway, &settings).await;
    assert_eq!(stop_kind(&finished), Some(StopKind::MaxDuration));
    let took = start.elapsed();
    assert!(took >= 2 * SECOND && took < 3 * SECOND, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn the_time_to_start_numbers_ends_though_a_lane_is_held_for_a_day() {
    let memory = Memory::sms(20);
    let (clock, start) = (memory.clock, Instant::now());
    let gateway = Rule::new(&memory, |asked| match asked.index {
        0..5 => (10 * MS, accepted()),
        _ => (10 * MS, held(clock.now() + 86_400 * SECOND)),
    });
    let mut settings = settings(Some(10));
    settings.max_duration = Some(2 * SECOND);
    let finished = run(&gateway, &settings).await;
    assert_eq!(stop_kind(&finished), Some(StopKind::MaxDuration));
    assert!(
        gateway.log.borrow().len() <= 10,
        "nothing is started after it"
    );
    let took = start.elapsed();
    assert!(took < 3 * SECOND, "{took:?}");
    assert_eq!(memory.count(Status::Pending), 15, "{finished:?}");
}

#[tokio::test(start_paused = true)]
async fn no_more_numbers_are_started_than_the_limit_says() {
    for limit in [0, 1, 30] {
        let memory = Memory::sms(100);
        let gateway = Rule::new(&memory, |asked| match asked.before {
            0 if asked.job.0 % 4 == 0 => (MS, failed()),
            _ => (MS, accepted()),
        });
        let mut settings = settings(Some(100));
        settings.limit = Some(limit);
        let finished = run(&gateway, &settings).await;
        assert_eq!(stop_kind(&finished), Some(StopKind::Limit));
        assert_eq!(memory.count(Status::Sent) as u64, limit);
    }
}

/// Numbers that wait for a retry are bounded: the rest of the file is not read into memory.
#[tokio::test(start_paused = true)]
async fn a_bounded_number_of_jobs_is_in_hand_at_once() {
    const PARKED_MAX: usize = 4_096;
    const READ_AHEAD: usize = 2 * 1_024;
    let memory = Memory::sms(20_000);
    // Every other one has to come back in an hour: never twenty in a row.
    let gateway = Rule::new(&memory, |asked| match asked.before {
        0 if asked.job.0 % 2 == 0 => (MS, failed()),
        _ => (MS, accepted()),
    });
    let mut settings = settings(None);
    settings.concurrency = NonZeroUsize::new(64).unwrap();
    settings.backoff.base = 3_600 * SECOND;
    settings.backoff.cap = 3_600 * SECOND;
    run(&gateway, &settings).await;
    assert_eq!(memory.count(Status::Sent), 20_000);
    let in_hand = memory.in_hand_max.get();
    assert!(in_hand <= PARKED_MAX + READ_AHEAD + 64, "{in_hand}");
}
