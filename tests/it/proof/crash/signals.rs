//! Signals at random moments. The first ends a run in good order, the second at once.

use std::time::Duration;

use crate::proof::quick_or_long;
use crate::support::gate::{Gate, by_number};
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
        let (name, code) = if nth % 2 == 0 {
            ("TERM", 143)
        } else {
            ("INT", 130)
        };
        let before = gate.settled_log().len();
        let mut run = dir
            .send_to(gate.url())
            .args(&["--rate", "300/s"])
            // A shell in the background has its jobs ignore SIGINT until they listen to it.
            .under(&["env", "--default-signal=INT"])
            .start();
        std::thread::sleep(Duration::from_micros(random.u64(0..160_000)));
        if run.has_ended() {
            assert_eq!(run.end().code, 0);
            break;
        }
        run.signal(name);
        let ran = run.end_soon();
        if ran.code == -1 {
            // It was not listening yet: the signal ended it before anything left.
            assert_eq!(gate.settled_log().len(), before, "{}", ran.stderr);
            continue;
        }
        interrupted += 1;
        assert_eq!(ran.code, code, "{}", ran.stderr);
        let report = dir.report();
        assert_eq!(report["state"], "interrupted");
        assert_eq!(
            report["counts"]["unknown"], 0,
            "all that had left was waited for"
        );
        let arrived = gate.settled_log().len();
        assert_eq!(
            report["counts"]["sent"], arrived,
            "all that was answered is recorded"
        );
    }
    assert!(
        interrupted > times / 10,
        "{interrupted} of {times} were interrupted"
    );
    dir.send_to(gate.url()).ends(0);
    let seen = by_number(&gate.settled_log());
    assert_eq!(seen.len(), rows);
    assert!(seen.values().all(|requests| requests.len() == 1));
    println!(
        "{interrupted} runs interrupted by SIGTERM or SIGINT, {rows} rows: none unknown, each asked once"
    );
}

#[test]
#[ignore = "tests/prove crash"]
fn a_second_signal_at_any_moment_ends_it_at_once_and_nobody_is_asked_twice() {
    // Answers take longer than the test waits for the end.
    let slow = Gate::start(&["--latency", "30s"]);
    let quick = Gate::start(&[]);
    let times = quick_or_long(6, 60);
    let mut random = fastrand::Rng::with_seed(37);
    let (mut unknown, mut asked) = (0, 0);
    for nth in 0..times {
        let numbers = nth * 10..nth * 10 + 10;
        let dir = Workdir::with(contacts(numbers));
        let send = |gate: &Gate| {
            let send = dir.send_to(gate.url());
            send.args(&["--concurrency", "4", "--rate", "100/s"])
        };
        let before = slow.settled_log().len();
        let mut run = send(&slow).start();
        wait_until("a request is under way", || slow.log().len() > before);
        std::thread::sleep(Duration::from_millis(random.u64(0..60)));
        let ways = [
            ("TERM", "INT", 130),
            ("INT", "TERM", 143),
            ("TERM", "TERM", 143),
        ];
        let (first, second, code) = ways[nth % 3];
        run.signal(first);
        std::thread::sleep(Duration::from_millis(random.u64(30..90)));
        assert!(!run.has_ended(), "it waits for what is under way");
        run.signal(second);
        // Soon is sooner than the answers.
        let ran = run.end_soon();
        assert_eq!(ran.code, code, "{}", ran.stderr);
        let ran = send(&quick).run();
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        let at_first = by_number(&slow.settled_log());
        let afterwards = by_number(&quick.settled_log());
        for row in dir.results() {
            let number = &row["otp_phone"];
            let left = at_first.get(number).map_or(0, Vec::len);
            let later = afterwards.get(number).map_or(0, Vec::len);
            asked += left;
            match row["otp_status"].as_str() {
                "unknown" => assert!(left <= 1 && later == 0, "{row:?}"),
                "sent" => assert!(left == 0 && later == 1, "{row:?}"),
                other => panic!("{other}: {row:?}"),
            }
            unknown += usize::from(row["otp_status"] == "unknown");
        }
    }
    assert!(unknown <= times * 4, "{unknown} unknown");
    println!(
        "{times} runs ended by a second signal: {asked} requests under way, {unknown} unknown, none asked again"
    );
}
