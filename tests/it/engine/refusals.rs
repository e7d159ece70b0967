//! What is refused for the account's, the service's or the endpoint's sake says nothing about the
//! numbers.

use std::num::NonZeroUsize;

use otpdrive::job::{Channel, JobId, Lane, Verdict, VerdictKind};
use otpdrive::run::{End, RunFact, Signal, StopKind};
use otpdrive::status::Status;
use tokio::time::Instant;

use super::memory::Memory;
use super::rule::{Asked, Rule};
use super::*;

/// The same words for everybody, with digits of their own.
fn no_credit(asked: Asked) -> Verdict {
    let number = 90_000 + asked.job.0;
    rejected(&format!("No credit for {number}"))
}

fn with_fallback(rate: Option<u32>) -> Settings {
    let mut settings = settings(rate);
    settings.policy.fallback = Some(Channel::Call);
    settings
}

#[tokio::test(start_paused = true)]
async fn a_wave_of_one_refusal_stops_the_run_with_everybody_pending_and_no_call_made() {
    for (rate, concurrency) in [(Some(20), 1_000), (None, 32), (None, 1), (Some(500), 8)] {
        let memory = Memory::sms(300);
        let gateway = Rule::new(&memory, |asked| match asked.lane {
            Lane::Sms => (30 * MS, no_credit(asked)),
            _ => (30 * MS, accepted()),
        });
        let mut settings = with_fallback(rate);
        settings.concurrency = NonZeroUsize::new(concurrency).unwrap();
        let finished = run(&gateway, &settings).await;
        assert_eq!(stop_kind(&finished), Some(StopKind::AccountRefused));
        assert_eq!(memory.count(Status::Pending), 300);
        assert_eq!(gateway.times_on(Lane::Call).len(), 0, "no call is made");
        let asked = gateway.log.borrow().len();
        let most = 20 + concurrency.min(20);
        assert!((20..=most).contains(&asked), "{asked} were asked for");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wave_in_mid_run_takes_nothing_back_from_those_before_it() {
    let memory = Memory::sms(300);
    let gateway = Rule::new(&memory, |asked| match asked.job.0 {
        7 => (10 * MS, no_credit(asked)),
        ..100 => (10 * MS, accepted()),
        _ => (10 * MS, no_credit(asked)),
    });
    let finished = run(&gateway, &settings(Some(50))).await;
    assert_eq!(stop_kind(&finished), Some(StopKind::AccountRefused));
    let count = |status| memory.count(status);
    assert_eq!((count(Status::Sent), count(Status::Rejected)), (98, 1));
    assert_eq!(count(Status::Pending), 201);
    let facts = memory.facts.borrow();
    let is_wave = |fact: &&RunFact| matches!(fact, RunFact::Wave { .. });
    assert_eq!(facts.iter().filter(is_wave).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn refusals_between_which_others_are_accepted_are_no_wave() {
    let memory = Memory::sms(400);
    let gateway = Rule::new(&memory, |asked| match (asked.lane, asked.job.0 % 20) {
        (Lane::Sms, 1..) => (10 * MS, no_credit(asked)),
        _ => (10 * MS, accepted()),
    });
    let mut settings = with_fallback(Some(100));
    settings.concurrency = NonZeroUsize::MIN;
    let finished = run(&gateway, &settings).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Sent), 400);
    assert_eq!(gateway.times_on(Lane::Call).len(), 380);
}

#[tokio::test(start_paused = true)]
async fn refusals_in_different_words_are_no_wave_and_off_means_off() {
    let words = ["barred", "ported"];
    for (refused_alike, alternate) in [(NonZeroUsize::new(20), true), (None, false)] {
        let memory = Memory::sms(200);
        let gateway = Rule::new(&memory, |asked| {
            let index = if alternate { asked.index % 2 } else { 0 };
            (10 * MS, rejected(words[index]))
        });
        let mut settings = settings(Some(100));
        settings.refused_alike = refused_alike;
        let finished = run(&gateway, &settings).await;
        assert_eq!(finished.end, End::Complete);
        assert_eq!(memory.count(Status::Rejected), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn one_number_refused_again_and_again_is_no_wave() {
    // Twenty numbers are needed, and the list has fewer.
    let memory = Memory::sms(19);
    let gateway = Rule::new(&memory, |asked| (10 * MS, no_credit(asked)));
    let finished = run(&gateway, &with_fallback(Some(50))).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Rejected), 19);
    assert_eq!(
        gateway.times_on(Lane::Call).len(),
        19,
        "then calls are made"
    );
}

#[tokio::test(start_paused = true)]
async fn a_wave_of_calls_is_one_although_text_messages_are_accepted() {
    let lanes = [Lane::Sms, Lane::Call].into_iter().cycle().take(200);
    let memory = Memory::new(lanes);
    let gateway = Rule::new(&memory, |asked| match asked.lane {
        Lane::Call => (10 * MS, no_credit(asked)),
        _ => (10 * MS, accepted()),
    });
    let finished = run(&gateway, &settings(Some(50))).await;
    assert_eq!(stop_kind(&finished), Some(StopKind::AccountRefused));
    assert_eq!(memory.count(Status::Rejected), 0);
}

#[tokio::test(start_paused = true)]
async fn when_a_run_is_interrupted_refusals_that_may_have_begun_a_wave_stay_pending() {
    for (refused, kept) in [
        (1, Status::Rejected),
        (2, Status::Pending),
        (9, Status::Pending),
    ] {
        let memory = Memory::sms(100);
        let first = 31;
        let gateway = Rule::new(&memory, |asked| match asked.job.0 {
            job if asked.lane == Lane::Call || job < first => (10 * MS, accepted()),
            job if job < first + refused => (10 * MS, no_credit(asked)),
            // They are still being waited for when the signal comes.
            _ => (3 * SECOND, lost()),
        });
        let mut settings = with_fallback(Some(20));
        settings.policy.fallback = None;
        let finished = drive(&gateway, &settings, signal_after(3 * SECOND)).await;
        assert_eq!(finished.end, End::Interrupted(Signal::Sigterm));
        for n in first..first + refused {
            let status = memory.with_job(JobId(n), |job| job.clone());
            let status = memory.status(&status);
            assert_eq!(status, kept, "{n} of {refused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn no_call_is_made_for_refusals_that_may_have_begun_a_wave_when_a_signal_comes() {
    let memory = Memory::sms(100);
    let gateway = Rule::new(&memory, |asked| match asked.lane {
        Lane::Sms => (10 * MS, no_credit(asked)),
        _ => (10 * MS, accepted()),
    });
    drive(&gateway, &with_fallback(Some(10)), signal_after(SECOND)).await;
    assert_eq!(gateway.times_on(Lane::Call).len(), 0);
    assert_eq!(memory.count(Status::Pending), 100);
}

#[tokio::test(start_paused = true)]
async fn answers_that_come_after_a_signal_may_show_a_wave_too() {
    let memory = Memory::sms(100);
    let gateway = Rule::new(&memory, |asked| (500 * MS, no_credit(asked)));
    let stop = signal_after(400 * MS);
    drive(&gateway, &with_fallback(Some(20)), stop).await;
    assert!(gateway.log.borrow().len() > 2);
    assert_eq!(memory.count(Status::Pending), 100);
}

/// More may be in doubt than may be parked: then it has to be decided.
#[tokio::test(start_paused = true)]
async fn doubts_are_bounded_like_all_that_is_parked() {
    let memory = Memory::sms(12_000);
    let gateway = Rule::new(&memory, |asked| (MS, no_credit(asked)));
    let mut settings = settings(None);
    settings.concurrency = NonZeroUsize::new(64).unwrap();
    settings.refused_alike = NonZeroUsize::new(100_000);
    let finished = run(&gateway, &settings).await;
    let in_hand = memory.in_hand_max.get();
    assert!(in_hand <= 4_096 + 2 * 1_024 + 64, "{in_hand}");
    let rejected = memory.count(Status::Rejected);
    match stop_kind(&finished) {
        None => assert_eq!(rejected, 12_000),
        stopped => assert_eq!((stopped, rejected), (Some(StopKind::AccountRefused), 0)),
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_or_account_stops_the_run_at_once() {
    for (kind, stop) in [
        (VerdictKind::KeyRefused, StopKind::KeyRefused),
        (VerdictKind::AccountRefused, StopKind::AccountRefused),
    ] {
        for from in [0, 40] {
            let memory = Memory::sms(200);
            let gateway = Rule::new(&memory, |asked| match asked.index {
                n if n < from => (10 * MS, accepted()),
                _ => (10 * MS, Verdict::new(kind, "HTTP 402")),
            });
            let mut settings = with_fallback(Some(100));
            settings.concurrency = NonZeroUsize::new(4).unwrap();
            let finished = run(&gateway, &settings).await;
            assert_eq!(stop_kind(&finished), Some(stop));
            assert_eq!(memory.count(Status::Sent), from);
            assert_eq!(memory.count(Status::Pending), 200 - from);
            assert!(gateway.log.borrow().len() <= from + 4);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_maintenance_page_is_an_outage_that_is_waited_out() {
    for text in ["HTTP 302", "HTTP 404"] {
        for max_attempts in [1, 5] {
            let memory = Memory::sms(300);
            let page = || Verdict::new(VerdictKind::Misdirected, text);
            let gateway = Rule::down(&memory, 1..40, &[Lane::Sms], page);
            let mut settings = with_fallback(Some(50));
            settings.policy.max_attempts = max_attempts;
            let finished = run(&gateway, &settings).await;
            assert_eq!(finished.end, End::Complete);
            assert_eq!(memory.count(Status::Sent), 300);
            assert_eq!(gateway.times_on(Lane::Call).len(), 0, "no call is made");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_from_which_nothing_else_has_ever_come_is_wrong() {
    for (rows, asked) in [(1, 1), (2, 2), (19, 19), (100, 20)] {
        let memory = Memory::sms(rows);
        let gateway = Rule::new(&memory, |_| (5 * MS, misdirected()));
        let mut settings = with_fallback(Some(20));
        settings.concurrency = NonZeroUsize::MIN;
        let finished = run(&gateway, &settings).await;
        assert_eq!(
            stop_kind(&finished),
            Some(StopKind::WrongEndpoint),
            "{rows}"
        );
        assert_eq!(memory.count(Status::Pending), rows);
        assert_eq!(gateway.log.borrow().len(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn one_odd_number_in_a_later_run_is_that_numbers_own() {
    let memory = Memory::sms(30);
    let settings = settings(Some(20));
    let finished = run(&Rule::new(&memory, |_| (5 * MS, accepted())), &settings).await;
    assert_eq!(finished.end, End::Complete);
    memory.add([Lane::Sms]);
    let odd = Rule::new(&memory, |_| (5 * MS, misdirected()));
    let finished = run(&odd, &settings).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Rejected), 1);
    let finished = run(&Rule::new(&memory, |_| (5 * MS, accepted())), &settings).await;
    assert_eq!(finished.end, End::Complete, "and nothing is left to do");
}

#[tokio::test(start_paused = true)]
async fn what_looked_like_a_wrong_endpoint_is_the_numbers_own_once_it_has_proved_right() {
    let memory = Memory::sms(30);
    let gateway = Rule::new(&memory, |asked| match (asked.lane, asked.job.0) {
        (Lane::Sms, ..10) => (5 * MS, misdirected()),
        _ => (5 * MS, accepted()),
    });
    let start = Instant::now();
    let finished = run(&gateway, &with_fallback(Some(20))).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Sent), 30);
    assert_eq!(gateway.times_on(Lane::Call).len(), 9);
    assert!(start.elapsed() < 10 * SECOND);
    assert!(memory.facts.borrow().contains(&RunFact::EndpointProven));
}
