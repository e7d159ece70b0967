//! Signals at random moments. The first ends a run in good order, the second at once.

use std::time::Duration;

use crate::proof::{nobody_twice_nobody_lost, quick_or_long};
use crate::support::gate::{Gate, counts};
use crate::support::workdir::Workdir;
use crate::support::{contacts, wait_until};

#[test]
#[ignore = "tests/prove crash"]
fn a_signal_at_any_moment_leaves_nothing_unknown() {
    let gate = Gate::start(&["--latency", "5ms..60ms"]);
    let times = quick_or_long(14, 200);
    let mut random = fastrand::Rng::with_seed(36);
    let rows = times * 25;
    let dir = Workdir::with(contacts(0..rows));
    let mut interrupted = 0;
    for nth in 0..times {
        let (name, code) = [("TERM", 143), ("INT", 130)][nth % 2];
        let before = gate.settled_log().len();
        let send = dir.send_to(gate.url()).flags("--rate 300/s");
        // A shell in the background has its jobs ignore SIGINT until they listen to it.
        let mut run = send.under(&["env", "--default-signal=INT"]).start();
        std::thread::sleep(Duration::from_micros(random.u64(0..160_000)));
        if run.has_ended() {
            assert_eq!(run.end().code, 0);
            break;
        }
        run.signal(name);
        let ran = run.end_soon();
        let arrived = gate.settled_log().len();
        if ran.code == -1 {
            // It was not listening yet: the signal ended it before anything left.
            assert_eq!(arrived, before, "{}", ran.stderr);
            continue;
        }
        interrupted += 1;
        assert_eq!(ran.code, code, "{}", ran.stderr);
        let report = dir.report();
        assert_eq!(report["state"], "interrupted");
        // All that had left was waited for, and all that was answered is recorded.
        assert_eq!(report["counts"]["unknown"], 0);
        assert_eq!(report["counts"]["sent"], arrived);
    }
    assert!(interrupted > times / 10, "{interrupted} were interrupted");
    dir.send_to(gate.url()).ends(0);
    gate.has_asked_each_once(rows);
    println!("{interrupted} runs interrupted, {rows} rows: none unknown, each asked once");
}

#[test]
#[ignore = "tests/prove crash"]
fn a_second_signal_at_any_moment_ends_it_at_once_and_nobody_is_asked_twice() {
    const ROWS: usize = 10;
    // Answers take longer than the test waits for the end.
    let (slow, quick) = (Gate::start(&["--latency", "30s"]), Gate::start(&[]));
    let times = quick_or_long(6, 60);
    let mut random = fastrand::Rng::with_seed(37);
    let mut unknown = 0;
    for nth in 0..times {
        let dir = Workdir::with(contacts(nth * ROWS..(nth + 1) * ROWS));
        let few = "--concurrency 4 --rate 100/s";
        let before = slow.settled_log().len();
        let mut run = dir.send_to(slow.url()).flags(few).start();
        wait_until("a request is under way", || slow.log().len() > before);
        std::thread::sleep(Duration::from_millis(random.u64(0..60)));
        let (first, second) = [("TERM", "INT"), ("INT", "TERM"), ("TERM", "TERM")][nth % 3];
        run.signal(first);
        std::thread::sleep(Duration::from_millis(random.u64(30..90)));
        assert!(!run.has_ended(), "it waits for what is under way");
        run.signal(second);
        // Soon is sooner than the answers.
        let ran = run.end_soon();
        assert_eq!(ran.code, if second == "INT" { 130 } else { 143 }, "{ran:?}");
        dir.send_to(quick.url()).flags(few).ends(1);
        let (left, later) = (counts(&slow.settled_log()), counts(&quick.settled_log()));
        let held = nobody_twice_nobody_lost(&dir, ROWS, &left, &later);
        // None of those under way was answered: who is `sent` was asked afterwards.
        unknown += held;
        assert_eq!(later.len(), (nth + 1) * ROWS - unknown);
    }
    assert!(unknown <= times * 4, "{unknown} unknown");
    println!("{times} runs ended by a second signal: {unknown} unknown, none asked again");
}
