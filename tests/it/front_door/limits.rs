//! What the user sets an end to: time, and the risk of one OTP more.

use std::time::{Duration, Instant};

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164};

#[test]
fn a_slow_rate_does_not_make_a_run_longer_than_it_may_be() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..5));
    let start = Instant::now();
    dir.send(&stub)
        .flags("--rate 4/m --max-duration 2s")
        .ends(3);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(dir.report()["stop_reason"]["kind"], "max_duration");
    assert_eq!(dir.count("sent"), 1);
    assert_eq!(dir.count("pending"), 4);
}

#[test]
fn a_wait_of_a_day_is_said_aloud_and_can_be_ended() {
    let stub = Stub::start();
    let answer = Reply::new(429, "").header("Retry-After", "86400");
    stub.script("smsotp", &e164(0), [answer]);
    let dir = Workdir::with(contacts(0..3));
    let send = || dir.send(&stub).flags("--concurrency 1");
    let first = send().start();
    stub.wait_for_answers(1);
    std::thread::sleep(Duration::from_millis(200));
    first.signal("TERM");
    let first = first.end_soon();
    let second = send().start();
    std::thread::sleep(Duration::from_millis(500));
    second.signal("TERM");
    let second = second.end_soon();
    for ran in [first, second] {
        assert_eq!(ran.code, 143, "{}", ran.stderr);
        assert!(
            ran.stderr.contains("--ignore-retry-after"),
            "{}",
            ran.stderr
        );
    }
    assert_eq!(stub.count(), 1, "it holds");
    send().flags("--ignore-retry-after").ends(0);
    assert_eq!(stub.count(), 4);
}

#[test]
fn one_more_otp_is_risked_for_a_number_and_run_never_two() {
    let stub = Stub::start();
    stub.default(|_, request| {
        if request.number == e164(1) {
            Reply::dropped()
        } else {
            Reply::success()
        }
    });
    let dir = Workdir::with(contacts(0..3));
    for run in 1..=3 {
        dir.send(&stub).flags("--on-unknown retry").ends(1);
        assert_eq!(dir.statuses(), ["sent", "unknown", "sent"]);
        // The first run's own, and one more each.
        assert_eq!(stub.count_for(&e164(1)), run + 1);
    }
    assert_eq!(stub.count(), 2 + 4);
}
