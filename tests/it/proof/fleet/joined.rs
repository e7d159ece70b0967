//! Several processes that work on one campaign.

use super::{Fleet, holds_the_rate, server};
use crate::support::contacts;
use crate::support::workdir::Running;

#[test]
#[ignore = "tests/prove fleet"]
fn those_who_come_at_once_or_later_work_on_one_campaign() {
    const ROWS: usize = 600;
    const RATE: usize = 100;
    let (_server, address) = server();
    let fleet = Fleet::new(ROWS, &address);
    let rated = |out: &str| fleet.send(out).flags(format!("--rate {RATE}/s"));
    // None finds a ledger; both make it, and take the file in.
    let mut workers: Vec<Running> = ["first", "second"].map(|out| rated(out).start()).into();
    fleet.wait_for(ROWS / 12);
    workers.push(rated("third").start());
    is_kept_out_while_others_work(&fleet);
    for worker in workers {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let status = fleet.line("status --json").ends(0).json();
    assert_eq!(status["rows"], ROWS, "one campaign");
    assert_eq!(status["state"], "complete");
    let most = holds_the_rate(RATE, &fleet.gate.settled_log());
    assert_eq!(fleet.judge(0), 0);
    fleet.gate.has_asked_each_once(ROWS);
    println!("3 processes, {ROWS} rows: each asked once, at most {most} in a second at {RATE}/s");
}

/// Whoever wants something else than those who are at work is told so, and sends nothing.
fn is_kept_out_while_others_work(fleet: &Fleet) {
    fleet
        .dir
        .write("changed.csv", contacts(fleet.rows..fleet.rows + 2));
    let changed = fleet
        .send("other")
        .input("changed.csv")
        .flags("--campaign list");
    let changed = changed.ends(2);
    changed.says("other machines work on campaign list");
    changed.says("Nothing was sent");
    for flags in ["--max-attempts 2", "--on-unknown retry", "--fallback call"] {
        let policy = fleet.send("other").flags(flags).ends(2);
        policy.says("other machines work on campaign list with other settings");
        policy.says("Nothing was sent");
    }
    let rated = fleet.send("other").flags("--call-rate 1/s").ends(2);
    rated.says("other settings of --call-rate: name the same ones to join them");
    for flags in ["--limit 5", "--budget 5 --price sms=1", "--daily-cap 5"] {
        let counted = fleet.send("other").flags(flags).ends(2);
        counted.says("other settings of --limit, --budget, --price, --daily-cap");
        counted.says("Nothing was sent");
    }
    assert!(!fleet.dir.path("other/results.csv").exists());
}
