//! Processes of a fleet that are killed at random moments, and started again.

use std::time::Duration;

use super::{CONCURRENCY, Fleet, holds_the_rate, server};
use crate::proof::quick_or_long;
use crate::support::workdir::Running;

#[test]
#[ignore = "tests/prove fleet"]
fn whoever_is_killed_nobody_is_asked_twice_and_nobody_is_lost() {
    const RATE: usize = 100;
    let kills = quick_or_long(6, 100);
    let (_server, address) = server();
    let fleet = Fleet::new(kills * 60, &address);
    let start = |nth: usize| {
        let send = fleet.send(&format!("worker-{nth}"));
        send.flags(format!("--rate {RATE}/s")).start()
    };
    let mut random = fastrand::Rng::with_seed(71);
    let mut workers: Vec<Running> = (0..3).map(start).collect();
    fleet.wait_for(10);
    let mut killed = 0;
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(random.u64(50..900)));
        let nth = random.usize(..workers.len());
        // They come back at once, and join those who are left.
        let dead = std::mem::replace(&mut workers[nth], start(nth));
        killed += usize::from(dead.kill());
    }
    assert!(killed > kills / 2, "{killed} were killed");
    // The rows of the dead are free when their leases are over.
    for worker in workers {
        let ran = worker.end();
        assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
    }
    let log = fleet.gate.settled_log();
    let most = holds_the_rate(RATE, &log);
    let unknown = fleet.judge(killed * CONCURRENCY);
    println!(
        "{killed} kills of 3 processes, each started again, {} requests: none twice, none lost, {unknown} unknown, at most {most} in a second at {RATE}/s",
        log.len()
    );
}

/// Whoever is declared lost in the moment in which it takes rows has them after that, and never gives
/// them back if it dies then.
#[test]
#[ignore = "tests/prove fleet"]
fn rows_that_a_lost_process_took_at_the_last_moment_are_not_lost_with_it() {
    const ROWS: usize = 200;
    let (server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    let start = |out: &str| fleet.send(out).flags("--rate 60/s").start();
    let lost = start("lost");
    fleet.wait_for(1);
    let other = start("other");
    fleet.wait_for(ROWS / 4);
    let has = "SELECT 1 FROM otpdrive.slice WHERE worker = 1";
    assert!(!server.sql(has).is_empty(), "it has rows");
    lost.kill();
    server.sql("UPDATE otpdrive.worker SET lost_at = otpdrive.now_micros() WHERE id = 1");
    let ran = other.end_soon();
    assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
    fleet.judge(CONCURRENCY);
}
