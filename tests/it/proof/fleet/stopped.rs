//! A process that stands still for longer than the others wait for it.

use std::time::Duration;

use super::{Fleet, server};
use crate::support::wait_until;
use crate::support::workdir::Running;

#[test]
#[ignore = "tests/prove fleet"]
fn whoever_stands_still_too_long_sends_nothing_more_and_tells_what_it_knows() {
    const ROWS: usize = 200;
    let (server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    let start = |out: &str| fleet.send(out).flags("--rate 50/s").start();
    let stopped = start("stopped");
    let others: Vec<Running> = ["one", "two"].map(start).into();
    fleet.wait_for(ROWS / 4);
    stopped.signal("STOP");
    wait_until("it is given up", || {
        !server
            .sql("SELECT 1 FROM otpdrive.worker WHERE lost_at IS NOT NULL")
            .is_empty()
    });
    for other in others {
        let ran = other.end();
        assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
    }
    let asked = fleet.gate.settled_log().len();
    stopped.signal("CONT");
    let ran = stopped.end_soon();
    assert_eq!(ran.code, 3, "{}", ran.stderr);
    ran.says("this process did not reach the ledger for longer than 15s");
    ran.says("run the same command again to go on");
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(
        fleet.gate.settled_log().len(),
        asked,
        "it sent nothing more"
    );
    // What was answered while it stood still it has told; what had not left it has given back.
    assert_eq!(fleet.judge(0), 0);
    fleet.gate.has_asked_each_once(ROWS);
    println!(
        "a process stopped beyond its lease: {asked} asked by the others and before, none unknown"
    );
}

#[test]
#[ignore = "tests/prove fleet"]
fn whoever_is_given_up_while_others_are_at_work_joins_them_again() {
    const ROWS: usize = 560;
    let (server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    let start = |out: &str| fleet.send(out).flags("--rate 20/s").start();
    let stopped = start("stopped");
    let other = start("other");
    fleet.wait_for(ROWS / 20);
    stopped.signal("STOP");
    wait_until("it is given up", || {
        let lost = "SELECT 1 FROM otpdrive.worker WHERE lost_at IS NOT NULL";
        !server.sql(lost).is_empty()
    });
    stopped.signal("CONT");
    let ran = stopped.end_soon();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.says("it has joined them again");
    let ran = other.end_soon();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let again = "SELECT count(*) FROM otpdrive.intent WHERE worker = 3";
    let again: usize = server.sql(again)[0][0].as_ref().unwrap().parse().unwrap();
    assert!(again > 20, "{again} after it had joined again");
    assert_eq!(fleet.judge(0), 0);
    fleet.gate.has_asked_each_once(ROWS);
    println!("a process given up while another was at work: joined again, and asked {again} more");
}

/// As after a server that was away for longer than a lease: whose turn comes first, that of the beat
/// or of the next request, must not matter.
#[test]
#[ignore = "tests/prove fleet"]
fn whoever_is_late_and_was_given_up_by_nobody_goes_on() {
    const ROWS: usize = 120;
    let (server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    let workers = ["one", "two"].map(|out| fleet.send(out).flags("--rate 100/s").start());
    fleet.wait_for(ROWS / 2);
    server.sql("UPDATE otpdrive.worker SET lease_until = otpdrive.now_micros() - 1");
    for worker in workers {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    assert_eq!(fleet.judge(0), 0);
    fleet.gate.has_asked_each_once(ROWS);
    println!("late, and given up by nobody: {ROWS} rows, each asked once");
}
