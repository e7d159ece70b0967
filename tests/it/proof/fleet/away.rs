//! The server, or the way to it, that is away for a while.

use std::time::{Duration, Instant};

use super::proxy::Proxy;
use super::{CONCURRENCY, Fleet, server};
use crate::proof::{long, quick_or_long};
use crate::support::postgres::Cluster;
use crate::support::workdir::Running;
use crate::support::{contacts, wait_until};

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
    // Whoever ends last leaves nothing behind.
    assert_eq!(fleet.gate.settled_log().len(), fleet.rows, "{what}");
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
        // Also for longer than a lease.
        let longest = quick_or_long(1_500, 30_000);
        let time = if nth == 0 { longest } else { 1_500 };
        proxy.cut(Duration::from_millis(time));
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

/// The gateway is asked for nothing more, though there is something to do. Gives how often it was.
#[track_caller]
fn stands_still(fleet: &Fleet) -> usize {
    let mut asked = fleet.gate.log().len();
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let later = fleet.gate.log().len();
        if later == asked {
            break;
        }
        asked = later;
    }
    assert!(asked < fleet.rows, "nothing holds them up");
    asked
}

/// Whatever has left is noted there.
#[track_caller]
fn has_noted_all(server: &Cluster, fleet: &Fleet) {
    let left = fleet.gate.log().len();
    let noted = server.sql("SELECT count(*) FROM otpdrive.intent");
    let noted: usize = noted[0][0].as_ref().unwrap().parse().unwrap();
    assert!(noted >= left, "{left} left, {noted} of them are noted");
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_server_whose_disk_is_full_holds_a_run_up_until_there_is_room() {
    const ROWS: usize = 500;
    let Some(mut server) = Cluster::on_a_small_disk() else {
        println!("no mounts here: nothing is shown of a server whose disk is full");
        return;
    };
    let fleet = Fleet::new(ROWS, &server.address());
    let workers = two(&fleet);
    fleet.wait_for(100);
    server.disk().fill();
    let asked = stands_still(&fleet);
    has_noted_all(&server, &fleet);
    fleet.dir.write("other.csv", contacts(ROWS..2 * ROWS));
    let other = fleet.send("other").input("other.csv").ends(2);
    other.says("No space left on device");
    other.says("Make room on its disk, then run the same command again");
    assert_eq!(fleet.gate.log().len(), asked);
    server.disk().make_room();
    fleet.wait_for(asked + 100);
    // Without room for its log it ends, and does not come back.
    server.disk().fill();
    server.tries("SELECT pg_switch_wal()");
    wait_until("it is down", || server.log().contains("PANIC:"));
    server.stop();
    let asked = stands_still(&fleet);
    server.disk().make_room();
    server.go_on();
    has_noted_all(&server, &fleet);
    let what = format!("a full disk, for the data and for the log after {asked}");
    end_well(&fleet, workers, &what);
}

/// A run waits two minutes; whoever is told to stop half a minute.
#[test]
#[ignore = "tests/prove fleet"]
fn a_disk_that_stays_full_ends_a_run_that_says_what_to_do() {
    const ROWS: usize = 300;
    if !long() {
        println!("a disk that stays full: in the long form");
        return;
    }
    for (signal, soonest, latest) in [(Some("TERM"), 0, 40), (None, 115, 150)] {
        let Some(server) = Cluster::on_a_small_disk() else {
            return;
        };
        let fleet = Fleet::new(ROWS, &server.address());
        let worker = fleet.send("one").flags(format!("--rate {RATE}/s")).start();
        fleet.wait_for(ROWS / 6);
        server.disk().fill();
        let since = Instant::now();
        stands_still(&fleet);
        if let Some(signal) = signal {
            worker.signal(signal);
        }
        let ran = worker.end();
        let took = since.elapsed().as_secs();
        assert!((soonest..latest).contains(&took), "{took} s");
        assert_eq!(ran.code, 3, "{}", ran.stderr);
        ran.says("s by now. Make room on its disk, then run the same command again");
        server.disk().make_room();
        let unknown = fleet.judge(CONCURRENCY + RATE / 10);
        println!("a disk that stays full, {signal:?}: ended after {took} s, {unknown} unknown");
    }
}
