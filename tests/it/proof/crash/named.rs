//! Killed at named points: strace kills the program at the entry of its n-th system call of a kind,
//! so what that call would have done is not done, and what the call before it did is.
//!
//! strace counts for each thread by itself (and injects no signal with `--seccomp-bpf`). The main
//! thread plans, sends, and writes results; one other writes to the ledger.

use super::{Campaign, FAULTS, Kind};
use crate::proof::{long, quick_or_long};
use crate::support::gate::{Gate, by_number};

/// The points, and what is about to happen there.
const POINTS: [(&str, &str); 10] = [
    ("flock", "the ledger is taken"),
    ("mkdir", "the folder of results is made"),
    ("pwrite64", "a page or an intent is written"),
    ("fsync,fdatasync", "what was written is made durable"),
    (
        "ftruncate",
        "the log has been moved into the file and is emptied",
    ),
    ("writev", "a request leaves"),
    ("recvfrom", "an answer is read"),
    ("write", "results are written"),
    ("rename,renameat,renameat2", "results get their names"),
    ("unlink", "the ledger is closed"),
];

/// Runs the command once with a kill at the n-th of these calls. Did that happen?
fn kill_at(campaign: &mut Campaign, gate: &Gate, calls: &str, nth: usize) -> bool {
    let (trace, inject) = (
        format!("trace={calls}"),
        format!("inject={calls}:signal=SIGKILL:when={nth}"),
    );
    let args = ["-e", &trace, "-e", &inject];
    let ran = campaign.command(gate).strace("/dev/null", &args).run();
    let killed = ran.code == -1;
    assert!(killed || ran.code == 1, "{}", ran.stderr);
    campaign.kills += usize::from(killed);
    killed
}

#[test]
#[ignore = "tests/prove crash"]
fn killed_at_every_named_point_nobody_is_asked_twice_and_nobody_is_lost() {
    let gate = Gate::start(&["--faults", FAULTS]);
    let mut random = fastrand::Rng::with_seed(34);
    let rows = quick_or_long(6, 12);
    let mut first = 0;
    let mut unknown = 0;
    let mut done = Vec::new();
    for (calls, what) in POINTS {
        let (mut nth, mut kills) = (1, 0);
        loop {
            let kind = Kind::ALL[done.len() % Kind::ALL.len()];
            let mut campaign = Campaign::new(kind, first..first + rows);
            first += rows;
            let killed = kill_at(&mut campaign, &gate, calls, nth);
            if killed {
                // The run that goes on is killed as well, somewhere.
                let (calls, _) = POINTS[random.usize(..POINTS.len())];
                kill_at(&mut campaign, &gate, calls, random.usize(1..30));
            }
            kills += campaign.kills;
            let ran = campaign.command(&gate).run();
            done.push((campaign, ran));
            if !killed {
                break;
            }
            nth += if long() {
                1
            } else {
                1 + nth / 2 + random.usize(..=nth / 2)
            };
        }
        assert!(kills > 0, "no run was killed where {what}");
        println!("{kills} runs killed around where {what}");
    }
    let seen = by_number(&gate.stop());
    for (campaign, ran) in &done {
        unknown += campaign.judge_result(ran, &seen);
    }
    let kills: usize = done.iter().map(|(campaign, _)| campaign.kills).sum();
    println!(
        "{} campaigns, {kills} kills at named points: nobody asked twice, nobody lost, {unknown} unknown",
        done.len()
    );
}

/// What a run does after the last request is out of reach above, where another thread makes the
/// same calls earlier: here there is nothing left to send.
#[test]
#[ignore = "tests/prove crash"]
fn killed_at_every_named_point_of_a_run_with_nothing_to_send_all_stays_as_it_was() {
    let gate = Gate::start(&[]);
    let mut campaign = Campaign::new(Kind::Sms, 0..20);
    campaign.judge(&gate);
    let old = campaign.dir.results();
    for (calls, what) in POINTS {
        let mut nth = 1;
        while kill_at(&mut campaign, &gate, calls, nth) {
            assert_eq!(campaign.dir.results(), old, "killed where {what}, {nth}");
            nth += quick_or_long(1 + nth / 2, 1);
        }
    }
    let kills = campaign.kills;
    campaign.kills = 0;
    assert_eq!(campaign.judge(&gate), 0);
    assert_eq!(
        campaign.dir.names_in("list-results"),
        ["report.json", "results.csv"]
    );
    println!("{kills} kills at named points of a run with nothing to send: nothing changed");
}
