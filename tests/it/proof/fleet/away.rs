//! The server, or the way to it, that is away for a while.

use std::time::Duration;

use super::proxy::Proxy;
use super::{CONCURRENCY, Fleet, server};
use crate::proof::quick_or_long;
use crate::support::workdir::Running;

const RATE: usize = 100;

/// Two processes on this fleet.
fn two(fleet: &Fleet) -> [Running; 2] {
    ["one", "two"].map(|out| fleet.send(out).flags(format!("--rate {RATE}/s")).start())
}

/// They end well, and have asked each number once.
#[track_caller]
fn end_well(fleet: &Fleet, workers: [Running; 2], what: &str) {
    for worker in workers {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 0, "{what}: {}", ran.stderr);
    }
    let most = super::holds_the_rate(RATE, &fleet.gate.settled_log());
    assert_eq!(fleet.judge(0), 0, "{what}");
    fleet.gate.has_asked_each_once(fleet.rows);
    println!(
        "{what}: {} rows, each asked once, at most {most} in a second at {RATE}/s",
        fleet.rows
    );
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_server_that_is_broken_off_or_stands_still_holds_a_run_up_and_no_more() {
    let times = quick_or_long(1, 10);
    let (mut server, address) = server();
    let fleet = Fleet::new(200 + times * 100, &address);
    let workers = two(&fleet);
    for nth in 1..=times {
        fleet.wait_for(nth * 100 - 50);
        server.restart_immediately();
        fleet.wait_for(nth * 100);
        server.pause();
        std::thread::sleep(Duration::from_secs(2));
        server.resume();
    }
    let what = format!("a server broken off and stopped, {times} times each");
    end_well(&fleet, workers, &what);
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_connection_that_is_cut_or_loses_replies_holds_a_run_up_and_no_more() {
    let times = quick_or_long(2, 20);
    let (server, _) = server();
    let proxy = Proxy::to(server.port());
    let port = server.port().to_string();
    let address = server
        .address()
        .replace(&format!(":{port}/"), &format!(":{}/", proxy.port()));
    let fleet = Fleet::new(200 + times * 60, &address);
    let workers = two(&fleet);
    for nth in 0..times {
        // What was written is written, and nobody is told.
        for what in [
            "INSERT INTO otpdrive.intent",
            "UPDATE otpdrive.pace",
            "UPDATE otpdrive.ahead",
        ] {
            fleet.wait_for(nth * 60 + 20);
            proxy.lose_reply_to(what);
        }
        fleet.wait_for(nth * 60 + 60);
        proxy.cut(Duration::from_millis(1_500));
    }
    assert!(proxy.lost() > times, "{} replies were lost", proxy.lost());
    let what = format!("{} replies lost, {times} cuts", proxy.lost());
    end_well(&fleet, workers, &what);
}

#[test]
#[ignore = "tests/prove fleet"]
fn whoever_is_told_to_stop_while_the_server_stands_still_does_so() {
    const ROWS: usize = 300;
    let (server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    let worker = fleet.send("one").flags("--rate 50/s").start();
    fleet.wait_for(ROWS / 10);
    server.pause();
    worker.signal("TERM");
    let ran = worker.end();
    server.resume();
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    ran.says("the server stands still");
    let unknown = fleet.judge(CONCURRENCY + RATE / 10);
    println!("told to stop while the server stood still: {unknown} unknown");
}
