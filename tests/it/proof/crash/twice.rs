//! Two processes started in the same instant on one ledger.

use std::sync::Barrier;

use crate::support::contacts;
use crate::support::gate::{Gate, by_number};
use crate::support::workdir::Workdir;

#[test]
#[ignore = "tests/prove crash"]
fn of_two_started_in_the_same_instant_one_works_and_nobody_is_asked_twice() {
    const TIMES: usize = 100;
    const ROWS: usize = 4;
    // Longer than a run waits for the lock.
    let gate = Gate::start(&["--latency", "60ms"]);
    let (mut refused, mut later) = (0, 0);
    for nth in 0..TIMES {
        let numbers = nth * ROWS..(nth + 1) * ROWS;
        let dir = Workdir::with(contacts(numbers.clone()));
        let send = || dir.send_to(gate.url());
        if nth % 2 == 1 {
            // A ledger that is there already; otherwise both find none.
            send().args(&["--limit", "1"]).ends(3);
        }
        let together = Barrier::new(2);
        let both = std::thread::scope(|scope| {
            let start = || {
                together.wait();
                send().run()
            };
            let (one, other) = (scope.spawn(start), scope.spawn(start));
            [one.join().unwrap(), other.join().unwrap()]
        });
        let mut codes = both.each_ref().map(|ran| ran.code);
        codes.sort_unstable();
        match codes {
            [0, 5] => refused += 1,
            // The other one came when the first was done, and found nothing to do.
            [0, 0] => later += 1,
            _ => panic!("{codes:?}: {both:?}"),
        }
        for ran in both.iter().filter(|ran| ran.code == 5) {
            assert!(
                ran.stderr.contains("another run holds the ledger"),
                "{}",
                ran.stderr
            );
        }
        assert_eq!(dir.statuses(), ["sent"; ROWS]);
    }
    let seen = by_number(&gate.settled_log());
    assert_eq!(seen.len(), TIMES * ROWS);
    assert!(seen.values().all(|requests| requests.len() == 1));
    assert!(refused > 0, "they never met");
    println!(
        "{TIMES} pairs: {refused} times one was refused, {later} times it found all done; each asked once"
    );
}
