//! An outage costs time, never rows: whatever the number of tries, however short the list, on one
//! lane or on all, and with a gateway that says when to come back.

use otpdrive::job::{Channel, JobId, Lane, Verdict, VerdictKind};
use otpdrive::run::{End, RunFact, StopKind};
use otpdrive::status::Status;
use tokio::time::Instant;

use super::memory::Memory;
use super::rule::Rule;
use super::*;

const TRIES: [u32; 4] = [1, 2, 3, 5];

fn failures() -> [fn() -> Verdict; 4] {
    [unreachable, throttled, failed, misdirected]
}

#[tokio::test(start_paused = true)]
async fn an_outage_costs_time_and_no_row_and_no_burst_follows_it() {
    for failure in failures() {
        for max_attempts in TRIES {
            let memory = Memory::sms(1_000);
            let start = Instant::now();
            let gateway = Rule::down(&memory, 2..60, &Lane::ALL, failure);
            let mut settings = settings(Some(100));
            settings.policy.max_attempts = max_attempts;
            let finished = run(&gateway, &settings).await;
            let at = format!("{:?} {max_attempts}", failure());
            assert_eq!(finished.end, End::Complete, "{at}");
            assert_eq!(memory.count(Status::Sent), 1_000, "{at}");
            let times = gateway.times();
            keeps_the_rate(&times, 100);
            let probes = times
                .iter()
                .filter(|at| (10..60).contains(&(**at - start).as_secs()));
            let probes = probes.count();
            assert!(probes <= 10, "{probes} probes for {at}");
            // It goes on soon after the next probe.
            assert!(start.elapsed() < 95 * SECOND, "{:?} {at}", start.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_lasts_too_long_stops_the_run_with_all_rows_pending() {
    for failure in failures() {
        for max_attempts in TRIES {
            let memory = Memory::sms(100);
            let gateway = Rule::down(&memory, 1..1_000_000, &Lane::ALL, failure);
            let mut settings = settings(Some(20));
            settings.policy.max_attempts = max_attempts;
            let start = Instant::now();
            let finished = run(&gateway, &settings).await;
            let at = format!("{:?} {max_attempts}", failure());
            assert_eq!(stop_kind(&finished), Some(StopKind::Outage), "{at}");
            let took = start.elapsed();
            assert!(took >= 900 * SECOND && took < 935 * SECOND, "{took:?} {at}");
            let sent = memory.count(Status::Sent);
            assert_eq!(memory.count(Status::Pending), 100 - sent, "{at}");
        }
    }
}

/// Numbers of which one try is used up already wait for their retry when it begins, too.
#[tokio::test(start_paused = true)]
async fn no_number_has_fewer_tries_for_an_outage_not_even_in_the_next_run() {
    for max_attempts in TRIES {
        let memory = Memory::sms(300);
        let start = Instant::now();
        let gateway = Rule::new(&memory, |asked| {
            let verdict = match start.elapsed().as_secs() {
                0..2 if asked.job.0 % 3 == 0 && asked.before == 0 && max_attempts > 1 => failed(),
                0..2 => accepted(),
                _ => throttled(),
            };
            (10 * MS, verdict)
        });
        let mut settings = settings(Some(100));
        settings.policy.max_attempts = max_attempts;
        settings.max_outage = 30 * SECOND;
        let finished = run(&gateway, &settings).await;
        assert_eq!(stop_kind(&finished), Some(StopKind::Outage));
        assert_eq!(memory.count(Status::Failed), 0, "{max_attempts} tries");
        drop(gateway);
        // In the next run each needs all its tries.
        let gateway = Rule::new(&memory, |asked| {
            let tries = memory.with_job(asked.job, |job| {
                let of_run = job.attempts.iter().filter(|a| a.run.0 == 2);
                u32::try_from(of_run.count()).unwrap()
            });
            let bad = tries < max_attempts && asked.job.0 % 3 == 0;
            (10 * MS, if bad { failed() } else { accepted() })
        });
        settings.backoff.base = MS;
        settings.backoff.cap = 20 * MS;
        let finished = run(&gateway, &settings).await;
        assert_eq!(finished.end, End::Complete);
        assert_eq!(memory.count(Status::Sent), 300, "{max_attempts} tries");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_tells_everybody_when_to_come_back_is_down_all_the_same() {
    for max_attempts in TRIES {
        for wait in [1, 5] {
            let memory = Memory::sms(300);
            let clock = memory.clock;
            let polite = move || held(clock.now() + wait * SECOND);
            let gateway = Rule::down(&memory, 2..22, &Lane::ALL, polite);
            let mut settings = settings(Some(50));
            settings.policy.max_attempts = max_attempts;
            let finished = run(&gateway, &settings).await;
            assert_eq!(finished.end, End::Complete);
            assert_eq!(memory.count(Status::Sent), 300, "{max_attempts} tries");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_list_waits_an_outage_out_like_a_long_one() {
    for failure in [unreachable, throttled, failed] {
        for max_attempts in TRIES {
            for rows in [2, 12, 19] {
                let memory = Memory::sms(rows);
                let gateway = Rule::down(&memory, 0..15, &Lane::ALL, failure);
                let mut settings = settings(Some(10));
                settings.policy.max_attempts = max_attempts;
                let finished = run(&gateway, &settings).await;
                let at = format!("{:?} {max_attempts} {rows}", failure());
                assert_eq!(finished.end, End::Complete, "{at}");
                assert_eq!(memory.count(Status::Sent), rows, "{at}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_polite_outage_of_a_short_list_loses_nobody() {
    for max_attempts in TRIES {
        let memory = Memory::sms(12);
        let clock = memory.clock;
        let polite = move || held(clock.now() + SECOND);
        let gateway = Rule::down(&memory, 0..15, &Lane::ALL, polite);
        let mut settings = settings(Some(10));
        settings.policy.max_attempts = max_attempts;
        run(&gateway, &settings).await;
        assert_eq!(memory.count(Status::Sent), 12, "{max_attempts} tries");
    }
}

#[tokio::test(start_paused = true)]
async fn one_number_that_fails_alone_is_no_outage() {
    for max_attempts in TRIES {
        let memory = Memory::sms(40);
        let start = Instant::now();
        let gateway = Rule::new(&memory, |asked| match asked.job.0 {
            30 => (10 * MS, failed()),
            _ => (10 * MS, accepted()),
        });
        let mut settings = settings(Some(20));
        settings.policy.max_attempts = max_attempts;
        let finished = run(&gateway, &settings).await;
        assert_eq!(finished.end, End::Complete);
        assert_eq!(memory.count(Status::Failed), 1);
        let failing = JobId(30);
        assert_eq!(gateway.requests_for(failing), max_attempts as usize);
        assert_eq!(memory.facts.borrow()[..], [RunFact::EndpointProven]);
        assert!(start.elapsed() < 40 * SECOND, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_down_costs_no_row_while_the_other_works() {
    for failure in [throttled, failed] {
        for max_attempts in TRIES {
            let lanes = [Lane::Sms, Lane::Call].into_iter().cycle().take(300);
            let memory = Memory::new(lanes);
            let start = Instant::now();
            let gateway = Rule::down(&memory, 2..32, &[Lane::Sms], failure);
            let mut settings = settings(Some(50));
            settings.policy.max_attempts = max_attempts;
            let finished = run(&gateway, &settings).await;
            assert_eq!(finished.end, End::Complete);
            assert_eq!(memory.count(Status::Sent), 300, "{max_attempts} tries");
            let calls = gateway.times_on(Lane::Call);
            let last_call = *calls.last().unwrap() - start;
            assert!(last_call < 8 * SECOND, "calls go on: {last_call:?}");
            for fact in memory.facts.borrow().iter() {
                if let RunFact::OutageBegan { lane, .. } = fact {
                    assert_eq!(*lane, Some(Lane::Sms));
                }
            }
        }
    }
}

/// A fallback would reach them, but what failed in an outage has not used up its tries.
#[tokio::test(start_paused = true)]
async fn an_outage_of_one_lane_is_no_reason_to_fall_back() {
    for max_attempts in TRIES {
        let memory = Memory::sms(100);
        let gateway = Rule::down(&memory, 1..31, &[Lane::Sms], throttled);
        let mut settings = settings(Some(50));
        settings.policy.max_attempts = max_attempts;
        settings.policy.fallback = Some(Channel::Call);
        run(&gateway, &settings).await;
        assert_eq!(memory.count(Status::Sent), 100);
        assert_eq!(
            gateway.times_on(Lane::Call).len(),
            0,
            "{max_attempts} tries"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_for_retry_after_uses_up_nothing_of_the_longest_outage() {
    for failure in [unreachable, throttled, failed] {
        let memory = Memory::sms(100);
        let (clock, start) = (memory.clock, Instant::now());
        let is_down = move || (7_000..8_000).contains(&start.elapsed().as_millis());
        let gateway = Rule::new(&memory, move |asked| match asked.index {
            5 => (10 * MS, held(clock.now() + 6 * SECOND)),
            _ if is_down() => (10 * MS, failure()),
            _ => (10 * MS, accepted()),
        })
        .connecting(move |_| {
            let why = is_down().then(failure);
            (MS, why.filter(|why| *why == unreachable()))
        });
        let mut settings = settings(Some(50));
        settings.policy.max_attempts = 1;
        settings.max_outage = 5 * SECOND;
        let finished = run(&gateway, &settings).await;
        assert_eq!(finished.end, End::Complete, "{:?}", failure());
        assert_eq!(memory.count(Status::Sent), 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_in_an_outage_does_not_count_as_outage() {
    let memory = Memory::sms(100);
    let (clock, start) = (memory.clock, Instant::now());
    let gateway = Rule::new(&memory, |asked| {
        let verdict = match start.elapsed().as_secs() {
            1..3 => throttled(),
            // The probes are answered politely: half a minute each.
            3..60 => held(clock.now() + 30 * SECOND),
            _ => accepted(),
        };
        assert!(asked.index < 200);
        (10 * MS, verdict)
    });
    let mut settings = settings(Some(50));
    settings.max_outage = 20 * SECOND;
    let finished = run(&gateway, &settings).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Sent), 100);
}

#[tokio::test(start_paused = true)]
async fn connections_that_cannot_be_made_are_no_attempts() {
    let memory = Memory::sms(200);
    let gateway = Rule::down(&memory, 1..20, &Lane::ALL, unreachable);
    run(&gateway, &settings(Some(50))).await;
    assert_eq!(memory.attempts().len(), 200);
    assert!(gateway.connects.get() > 200);
}

#[tokio::test(start_paused = true)]
async fn a_warm_connection_that_is_gone_says_nothing_and_a_host_that_is_gone_is_an_outage() {
    for (verdict, begun) in [
        (Verdict::new(VerdictKind::Withdrawn, "closed"), 0),
        (unreachable(), 1),
    ] {
        let memory = Memory::sms(200);
        let start = Instant::now();
        let gateway = Rule::new(&memory, |_| {
            let down = (1_000..1_300).contains(&start.elapsed().as_millis());
            (MS, if down { verdict.clone() } else { accepted() })
        });
        let mut settings = settings(Some(50));
        settings.policy.max_attempts = 1;
        let finished = run(&gateway, &settings).await;
        assert_eq!(finished.end, End::Complete);
        assert_eq!(memory.count(Status::Sent), 200);
        let facts = memory.facts.borrow();
        let outages = facts
            .iter()
            .filter(|fact| matches!(fact, RunFact::OutageBegan { .. }));
        assert_eq!(outages.count(), begun);
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_the_end_of_an_outage_with_nothing_left_to_do() {
    let memory = Memory::sms(40);
    let start = Instant::now();
    let gateway = Rule::new(&memory, |_| (10 * MS, lost()));
    let finished = run(&gateway, &settings(None)).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Unknown), 40);
    assert!(start.elapsed() < SECOND, "{:?}", start.elapsed());
}

/// Neighbours in the file with trouble of their own, more of them than make an outage.
#[tokio::test(start_paused = true)]
async fn many_numbers_that_always_fail_do_not_keep_the_others_from_being_asked() {
    let memory = Memory::sms(300);
    let start = Instant::now();
    let gateway = Rule::new(&memory, |asked| match asked.job.0 {
        50..80 => (10 * MS, throttled()),
        _ => (10 * MS, accepted()),
    });
    let finished = run(&gateway, &settings(Some(50))).await;
    assert_eq!(memory.count(Status::Sent), 270, "{finished:?}");
    assert!(start.elapsed() < 300 * SECOND, "{:?}", start.elapsed());
}

/// As cron does it: what failed in one run, told when to come back, is no outage of the next.
#[tokio::test(start_paused = true)]
async fn a_campaign_that_is_run_again_does_not_take_its_failed_numbers_for_an_outage() {
    for says_when in [false, true] {
        let memory = Memory::sms(30);
        let clock = memory.clock;
        let mut settings = settings(Some(50));
        settings.max_outage = 4 * SECOND;
        settings.backoff.cap = SECOND;
        for again in 0..3 {
            let gateway = Rule::new(&memory, |asked| match asked.job.0 {
                10 | 20 if says_when => (10 * MS, held(clock.now() + SECOND)),
                10 | 20 => (10 * MS, throttled()),
                _ => (10 * MS, accepted()),
            });
            let finished = run(&gateway, &settings).await;
            assert_eq!(finished.end, End::Complete, "run {again} {says_when}");
            assert_eq!(memory.count(Status::Failed), 2);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_hold_that_opens_an_outage_is_no_part_of_it() {
    let memory = Memory::sms(20);
    let clock = memory.clock;
    let gateway = Rule::new(&memory, |asked| match asked.before {
        0 => (SECOND, held(clock.now() + 6 * SECOND)),
        _ => (10 * MS, accepted()),
    });
    let mut settings = settings(None);
    settings.max_outage = 3 * SECOND;
    let finished = run(&gateway, &settings).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Sent), 20);
}

#[tokio::test(start_paused = true)]
async fn a_short_outage_that_says_something_new_each_time_costs_no_row() {
    let memory = Memory::sms(12);
    let start = Instant::now();
    let gateway = Rule::new(&memory, |asked| {
        let verdict = if start.elapsed() < 4 * SECOND {
            let text = format!(
                "HTTP 503: unavailable, ref {:x}",
                asked.index * 7_919 + 0xa0a0
            );
            Verdict::new(VerdictKind::Throttled, text)
        } else {
            accepted()
        };
        (10 * MS, verdict)
    });
    let mut settings = settings(None);
    settings.policy.max_attempts = 2;
    run(&gateway, &settings).await;
    assert_eq!(memory.count(Status::Sent), 12);
}

/// Probes stay rare also where redirects come instead of the failures that opened it, from an
/// endpoint that has never proved right; and that is no wrong endpoint.
#[tokio::test(start_paused = true)]
async fn redirects_within_an_outage_are_part_of_it() {
    let memory = Memory::sms(100);
    let start = Instant::now();
    let gateway = Rule::new(&memory, |asked| match asked.index {
        0..20 => (SECOND, throttled()),
        _ if start.elapsed() < 60 * SECOND => (10 * MS, misdirected()),
        _ => (10 * MS, accepted()),
    });
    let mut settings = settings(Some(50));
    settings.concurrency = NonZeroUsize::new(20).unwrap();
    let finished = run(&gateway, &settings).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Sent), 100);
    let times = gateway.times().into_iter().map(|at| (at - start).as_secs());
    let probes = times.filter(|at| (2..59).contains(at)).count();
    assert!((1..10).contains(&probes), "{probes}");
}

#[tokio::test(start_paused = true)]
async fn a_run_interrupted_where_a_maintenance_page_begins_leaves_its_rows_pending() {
    let memory = Memory::sms(60);
    let gateway = Rule::new(&memory, |asked| match asked.index {
        0..20 => (10 * MS, accepted()),
        _ => (10 * MS, misdirected()),
    });
    let mut settings = settings(Some(20));
    settings.concurrency = NonZeroUsize::new(3).unwrap();
    let finished = drive(&gateway, &settings, signal_after(1_500 * MS)).await;
    assert!(matches!(finished.end, End::Interrupted(_)), "{finished:?}");
    assert_eq!(memory.count(Status::Rejected), 0);
    assert_eq!(memory.count(Status::Pending), 40);
}

#[tokio::test(start_paused = true)]
async fn two_odd_numbers_at_the_end_of_a_list_are_no_outage() {
    let memory = Memory::sms(30);
    let mut settings = settings(Some(50));
    settings.backoff.cap = SECOND;
    for again in 0..3 {
        let gateway = Rule::new(&memory, |asked| match asked.job.0 {
            29.. => (10 * MS, throttled()),
            _ => (10 * MS, accepted()),
        });
        let finished = run(&gateway, &settings).await;
        assert_eq!(finished.end, End::Complete, "run {again}");
        assert_eq!(memory.count(Status::Failed), 2);
    }
}
