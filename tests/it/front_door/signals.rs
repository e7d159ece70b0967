//! Signals: the first ends a run in good order, the second at once; nothing is lost by either.

use std::time::Duration;

use crate::support::stub::Stub;
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164, wait_until};

#[test]
fn a_signal_lets_requests_in_flight_finish_and_leaves_the_rest_pending() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129)] {
        let stub = Stub::start();
        stub.hold();
        let dir = Workdir::with(contacts(0..20));
        let mut run = dir.send(&stub).args(&["--concurrency", "3"]).start();
        stub.wait_for(3);
        run.signal(name);
        std::thread::sleep(Duration::from_millis(200));
        assert!(!run.has_ended(), "requests are in flight");
        stub.release();
        let ran = run.end_soon();
        assert_eq!(ran.code, code, "{}", ran.stderr);
        assert_eq!(stub.count(), 3, "no new request");
        let awaited = "waiting for 3 requests in flight, at most 30s; a second signal (Ctrl-C) ends \
                       at once: their numbers would be unknown";
        assert!(ran.stderr.contains(awaited), "{}", ran.stderr);
        let counts = &dir.report()["counts"];
        assert_eq!(
            (&counts["sent"], &counts["pending"]),
            (&3.into(), &17.into())
        );
        assert_eq!(dir.report()["state"], "interrupted");
        dir.send(&stub).ends(0);
        assert!((0..20).all(|n| stub.count_for(&e164(n)) == 1));
    }
}

#[test]
fn a_second_signal_ends_at_once_and_what_had_left_is_unknown() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..20));
    let run = dir.send(&stub).args(&["--concurrency", "3"]).start();
    stub.wait_for(3);
    run.signal("TERM");
    std::thread::sleep(Duration::from_millis(200));
    run.signal("INT");
    assert_eq!(run.end_soon().code, 130);
    stub.release();
    dir.send(&stub).ends(1);
    let counts = &dir.report()["counts"];
    assert_eq!(
        (&counts["sent"], &counts["unknown"]),
        (&17.into(), &3.into())
    );
    assert!((0..20).all(|n| stub.count_for(&e164(n)) == 1));
}

#[test]
fn a_signal_ends_a_resumed_run_that_waits_for_a_slow_rate_without_a_trace() {
    for (name, code) in [("TERM", 143), ("KILL", -1)] {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..2));
        let args = ["--rate", "1/h"];
        dir.send(&stub).args(&args).args(&["--limit", "1"]).ends(3);
        let run = dir.send(&stub).args(&args).start();
        wait_until("the run is on", || {
            let status = dir.otpdrive(&["status"]).run();
            status.stdout.contains("running")
        });
        std::thread::sleep(Duration::from_millis(200));
        run.signal(name);
        assert_eq!(run.end_soon().code, code);
        dir.otpdrive(&["report"]).ends(0);
        assert_eq!(dir.statuses(), ["sent", "pending"], "after {name}");
        assert_eq!(stub.count(), 1);
    }
}

#[test]
fn a_signal_ends_a_run_that_waits_for_retry_after() {
    use crate::support::stub::Reply;
    let stub = Stub::start();
    stub.always(Reply::new(429, "").header("Retry-After", "3600"));
    let dir = Workdir::with(contacts(0..5));
    let run = dir.send(&stub).args(&["--concurrency", "1"]).start();
    stub.wait_for_answers(1);
    std::thread::sleep(Duration::from_millis(100));
    run.signal("INT");
    assert_eq!(run.end_soon().code, 130);
    assert_eq!(dir.statuses(), ["pending"; 5]);
    assert_eq!(stub.count(), 1);
}

#[test]
fn a_terminal_that_closes_is_ignored_where_that_was_asked_for() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..3));
    let mut run = dir.send(&stub).in_shell("trap '' HUP; exec \"$@\"").start();
    stub.wait_for(3);
    run.signal("HUP");
    run.signal("HUP");
    std::thread::sleep(Duration::from_millis(200));
    assert!(!run.has_ended());
    stub.release();
    assert_eq!(run.end_soon().code, 0);
}

#[test]
fn a_quit_ends_at_once_and_leaves_no_core_dump() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..3));
    let run = dir
        .send(&stub)
        .in_shell("ulimit -c unlimited; exec \"$@\"")
        .start();
    stub.wait_for(3);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", run.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    // 1: not even to a program that collects them.
    assert_eq!(
        core.unwrap().split_whitespace().nth(4),
        Some("1"),
        "{limits}"
    );
    run.signal("QUIT");
    assert_eq!(run.end_soon().code, -1, "by the signal");
    assert!(!dir.names().iter().any(|name| name.starts_with("core")));
}
