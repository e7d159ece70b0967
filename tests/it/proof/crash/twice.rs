//! Processes started in the same instant on one ledger.

use crate::support::contacts;
use crate::support::gate::Gate;
use crate::support::workdir::{Running, Workdir};

#[test]
#[ignore = "tests/prove crash"]
fn of_those_started_in_the_same_instant_one_works_and_nobody_is_asked_twice() {
    const PAIRS: usize = 100;
    const TIMES: usize = PAIRS + 10;
    const ROWS: usize = 4;
    // Longer than a run waits for the lock.
    let gate = Gate::start(&["--latency", "60ms"]);
    let (mut refused, mut later) = (0, 0);
    for nth in 0..TIMES {
        let dir = Workdir::with(contacts(nth * ROWS..(nth + 1) * ROWS));
        let send = || dir.send_to(gate.url());
        let together = if nth < PAIRS { 2 } else { 4 };
        if nth % 2 == 1 {
            // A ledger that is there already; otherwise all find none.
            send().flags("--limit 1").ends(3);
        }
        let runs: Vec<_> = (0..together).map(|_| send().start()).collect();
        let all: Vec<_> = runs.into_iter().map(Running::end).collect();
        let (worked, others): (Vec<_>, Vec<_>) = all.iter().partition(|ran| ran.code == 0);
        assert!(!worked.is_empty(), "{all:?}");
        for ran in &others {
            let told = ran.stderr.contains("another run holds the ledger");
            assert!(ran.code == 5 && told, "{all:?}");
        }
        refused += others.len();
        // Who came when the first was done found nothing to do.
        later += worked.len() - 1;
        assert_eq!(dir.statuses(), ["sent"; ROWS]);
    }
    gate.has_asked_each_once(TIMES * ROWS);
    assert!(refused > 0, "they never met");
    println!("{PAIRS} pairs, 10 fours: {refused} refused, {later} found all done; each asked once");
}
