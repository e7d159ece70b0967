//! How often a number is asked for.

use std::num::NonZeroUsize;

use otpdrive::job::{Channel, Job, JobId, Lane};
use otpdrive::run::{End, WhenUncertain};
use otpdrive::status::Status;

use super::memory::Memory;
use super::rule::Rule;
use super::*;

#[tokio::test(start_paused = true)]
async fn tries_on_one_channel_are_as_many_as_allowed_and_never_more_without_an_outage() {
    for seed in 0..50 {
        let mut random = fastrand::Rng::with_seed(seed);
        // Calls, too, are made for others, and they work.
        let lanes = [Lane::Sms, Lane::Call].into_iter().cycle().take(60);
        let memory = Memory::new(lanes);
        let mut settings = settings(None);
        settings.policy.max_attempts = random.u32(1..5);
        settings.policy.fallback = Some(Channel::Call);
        settings.concurrency = NonZeroUsize::MIN;
        // Only one number fails, on both channels: it fails alone.
        let failing = |job: JobId| job.0 == 15;
        let gateway = Rule::new(&memory, |asked| {
            let fails = failing(asked.job);
            (MS, if fails { throttled() } else { accepted() })
        });
        settings.backoff.base = MS;
        settings.backoff.cap = MS;
        run(&gateway, &settings).await;
        for job in memory.jobs.borrow().iter().filter(|job| failing(job.id)) {
            for lane in [Lane::Sms, Lane::Call] {
                let tries = job.attempts.iter().filter(|a| a.lane == lane).count();
                assert_eq!(tries, settings.policy.max_attempts as usize, "{job:?}");
            }
        }
        assert_eq!(memory.count(Status::Failed), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_risks_one_more_otp_for_a_number_and_no_more() {
    let memory = Memory::sms(60);
    // So few that it does not look like an outage.
    let is_lost = |job: JobId| job.0 % 6 == 0;
    let mut settings = settings(Some(50));
    settings.policy.on_unknown = WhenUncertain::Retry;
    for (runs, most) in [(1, 2), (2, 3), (3, 4)] {
        let gateway = Rule::new(&memory, |asked| {
            let is_lost = is_lost(asked.job);
            (10 * MS, if is_lost { lost() } else { accepted() })
        });
        let finished = run(&gateway, &settings).await;
        assert_eq!(finished.end, End::Complete);
        for job in memory.jobs.borrow().iter() {
            let expected = if is_lost(job.id) { most } else { 1 };
            assert_eq!(job.attempts.len(), expected, "in run {runs}: {job:?}");
        }
    }
    assert_eq!(memory.count(Status::Unknown), 10);
}

#[tokio::test(start_paused = true)]
async fn what_was_surely_not_sent_is_no_risk_and_is_tried_again() {
    let memory = Memory::sms(20);
    let gateway = Rule::new(&memory, |asked| match (asked.job.0, asked.before) {
        (10, 0) => (10 * MS, lost()),
        (10, 1..4) => (10 * MS, throttled()),
        _ => (10 * MS, accepted()),
    });
    let mut settings = settings(Some(20));
    settings.policy.on_unknown = WhenUncertain::Retry;
    run(&gateway, &settings).await;
    assert_eq!(gateway.requests_for(JobId(10)), 5);
    assert_eq!(memory.count(Status::Sent), 20);
}

#[tokio::test(start_paused = true)]
async fn a_code_is_checked_again_up_to_the_number_of_tries() {
    let memory = Memory::new(vec![Lane::Verify; 40]);
    let is_lost = |job: &Job| job.id.0 % 4 == 0;
    let gateway = Rule::new(&memory, |asked| match asked.job.0 % 4 {
        0 => (10 * MS, lost()),
        _ => (10 * MS, accepted()),
    });
    let mut settings = settings(Some(20));
    settings.policy.on_unknown = WhenUncertain::Retry;
    run(&gateway, &settings).await;
    for job in memory.jobs.borrow().iter() {
        let expected = if is_lost(job) { 5 } else { 1 };
        assert_eq!(job.attempts.len(), expected, "{job:?}");
    }
    assert_eq!(memory.count(Status::Unknown), 10);
    assert_eq!(memory.count(Status::Verified), 30);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_called_after_a_text_message_that_may_have_been_delivered() {
    for on_unknown in [WhenUncertain::Hold, WhenUncertain::Retry] {
        for on_server_error in [WhenUncertain::Hold, WhenUncertain::Retry] {
            let memory = Memory::sms(60);
            let gateway = Rule::new(&memory, |asked| match (asked.lane, asked.job.0 % 4) {
                (Lane::Sms, 0) => (10 * MS, lost()),
                (Lane::Sms, 1) => (10 * MS, failed()),
                _ => (10 * MS, accepted()),
            });
            let mut settings = settings(Some(50));
            settings.policy.max_attempts = 2;
            settings.policy.fallback = Some(Channel::Call);
            settings.policy.on_unknown = on_unknown;
            settings.policy.on_server_error = on_server_error;
            run(&gateway, &settings).await;
            let believed = on_server_error == WhenUncertain::Retry;
            let calls = gateway.times_on(Lane::Call).len();
            assert_eq!(calls, if believed { 15 } else { 0 });
            let unknown = memory.count(Status::Unknown);
            assert_eq!(unknown, if believed { 15 } else { 30 });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_number_that_is_told_again_and_again_to_come_back_does_not_keep_a_run_for_ever() {
    let memory = Memory::sms(30);
    let clock = memory.clock;
    let gateway = Rule::new(&memory, |asked| match asked.job.0 {
        15 => (10 * MS, held(clock.now() + SECOND)),
        _ => (10 * MS, accepted()),
    });
    let finished = run(&gateway, &settings(Some(10))).await;
    assert_eq!(finished.end, End::Complete);
    assert_eq!(memory.count(Status::Failed), 1);
    assert_eq!(gateway.requests_for(JobId(15)), 25, "20 holds, and 5 tries");
}
