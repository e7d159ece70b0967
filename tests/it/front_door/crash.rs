//! kill -9 at any moment: nobody is requested twice, and nobody is forgotten.

use std::fs::File;

use crate::support::stub::Stub;
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164};

#[test]
fn killed_again_and_again_it_requests_nobody_twice_and_forgets_nobody() {
    const ROWS: usize = 300;
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    let mut random = fastrand::Rng::with_seed(9);
    for _ in 0..5 {
        let goal = stub.count() + random.usize(1..50);
        let run = dir.send(&stub).args(&["--rate", "500/s"]).start();
        stub.wait_for(goal);
        run.kill();
    }
    let ran = dir.send(&stub).run();
    assert!(ran.code == 0 || ran.code == 1, "{}", ran.stderr);
    let results = dir.results();
    assert_eq!(results.len(), ROWS);
    for (n, row) in results.iter().enumerate() {
        let requests = stub.count_for(&e164(n));
        match row["otp_status"].as_str() {
            "sent" => assert_eq!(requests, 1, "{n}"),
            "unknown" => assert!(requests <= 1, "{n}: {requests} requests"),
            other => panic!("{n} is {other}"),
        }
    }
    let unknown = dir.report()["counts"]["unknown"].as_u64().unwrap();
    assert!(unknown <= 5 * 20, "{unknown} unknown");
}

#[test]
fn the_report_of_a_killed_run_tells_what_is_known() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..10));
    let run = dir.send(&stub).args(&["--concurrency", "4"]).start();
    stub.wait_for(4);
    run.kill();
    stub.release();
    dir.otpdrive(&["report"]).ends(0);
    let report = dir.report();
    assert_eq!(report["state"], "interrupted");
    assert_eq!(report["counts"]["unknown"], 4);
    assert_eq!(report["counts"]["pending"], 6);
    let status = dir.otpdrive(&["status"]).ends(0);
    assert!(status.stdout.contains("killed"), "{}", status.stdout);
}

#[test]
fn a_killed_run_is_not_said_to_be_on_while_another_process_has_the_ledger() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..10));
    let run = dir.send(&stub).args(&["--concurrency", "4"]).start();
    stub.wait_for(4);
    let status = |word: &str| {
        let status = dir.line("status").ends(0).stdout;
        assert!(status.contains(word), "{status}");
    };
    status("4 in flight");
    run.kill();
    stub.release();
    // As `settle` and `purge` do, and `send` before it begins.
    let ledger = File::open(dir.path("otpdrive.db")).unwrap();
    ledger.lock().unwrap();
    let note = |since| {
        let note = format!("otpdrive: process 1 since {since}");
        dir.write("otpdrive.db.otpdrive-lock", note);
    };
    note(jiff::Timestamp::now());
    status("killed");
    note(jiff::Timestamp::UNIX_EPOCH);
    status("process 1 since");
}

#[test]
fn a_second_run_on_the_same_ledger_is_refused_and_named_the_holder() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..3));
    let run = dir.send(&stub).start();
    stub.wait_for(3);
    let second = dir.send(&stub).args(&["--campaign", "other"]).ends(5);
    assert!(second.stderr.contains("process "), "{}", second.stderr);
    stub.release();
    assert_eq!(run.end_soon().code, 0);
    assert_eq!(stub.count(), 3);
}
