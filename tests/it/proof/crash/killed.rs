//! Killed at random moments, and at named points: there strace kills the program at the entry of its
//! n-th system call of a kind, so what that call would have done is not done, and what the call
//! before it did is. strace counts for each thread by itself.

use std::time::{Duration, Instant};

use super::{Campaign, FAULTS, KINDS, SMS};
use crate::proof::quick_or_long;
use crate::support::gate::{Gate, by_number};

/// The points, and what is about to happen there.
#[rustfmt::skip]
const POINTS: [(&str, &str); 10] = [
    ("flock", "the ledger is taken"),
    ("mkdir", "the folder of results is made"),
    ("pwrite64", "a page or an intent is written"),
    ("fsync,fdatasync", "what was written is made durable"),
    ("ftruncate", "the log has been moved into the file and is emptied"),
    ("sendto", "a request leaves"),
    ("recvfrom", "an answer is read"),
    ("write", "results are written"),
    ("rename,renameat,renameat2", "results get their names"),
    ("unlink", "the ledger is closed"),
];

#[test]
#[ignore = "tests/prove crash"]
fn killed_at_random_moments_nobody_is_asked_twice_and_nobody_is_lost() {
    let gate = Gate::start(&["--faults", FAULTS, "--latency", "1ms..20ms"]);
    let (kills, mut killed) = (quick_or_long(7, 60), 0);
    for (nth, kind) in KINDS.into_iter().enumerate() {
        let first = nth * 10_000;
        let mut campaign = Campaign::new(kind, first..first + kills * 25);
        campaign.kill_at_random(&gate, kills, 500, 110);
        campaign.judge(&gate);
        killed += campaign.kills;
    }
    assert!(killed > kills, "{killed} runs were killed");
}

/// The slow rate keeps it from sending more than one; most die before the first.
#[test]
#[ignore = "tests/prove crash"]
fn killed_while_a_file_is_taken_in_nothing_is_lost() {
    let (kills, rows, most) = quick_or_long((12, 6_000, 300), (100, 60_000, 2_000));
    let (gate, mut campaign) = (Gate::start(&[]), Campaign::new(SMS, 0..rows));
    campaign.kill_at_random(&gate, kills, 1, most);
    campaign.judge(&gate);
    assert!(campaign.kills > kills / 2, "{} were killed", campaign.kills);
}

#[test]
#[ignore = "tests/prove crash"]
fn killed_at_every_named_point_nobody_is_asked_twice_and_nobody_is_lost() {
    let gate = Gate::start(&["--faults", FAULTS]);
    let mut random = fastrand::Rng::with_seed(34);
    let rows = quick_or_long(6, 12);
    let mut done: Vec<(Campaign, _)> = Vec::new();
    for (calls, what) in POINTS {
        let (mut nth, mut kills, mut killed) = (1, 0, true);
        while killed {
            let first = done.len() * rows;
            let mut campaign = Campaign::new(KINDS[done.len() % KINDS.len()], first..first + rows);
            killed = campaign.kill_at(&gate, calls, nth);
            if killed {
                // The run that goes on is killed as well, somewhere.
                let (calls, _) = POINTS[random.usize(..POINTS.len())];
                campaign.kill_at(&gate, calls, random.usize(1..30));
            }
            kills += campaign.kills;
            let ran = campaign.command(&gate).run();
            done.push((campaign, ran));
            nth += quick_or_long(1 + nth / 2 + random.usize(..=nth / 2), 1);
        }
        assert!(kills > 0, "no run was killed where {what}");
        println!("{kills} runs killed around where {what}");
    }
    let seen = by_number(&gate.stop());
    let unknown = |(campaign, ran): &(Campaign, _)| campaign.judge_result(ran, &seen);
    let unknown: usize = done.iter().map(unknown).sum();
    println!(
        "{} campaigns: none twice, none lost, {unknown} unknown",
        done.len()
    );
}

/// What a run does after the last request is out of reach above, where another thread makes the
/// same calls earlier: here there is nothing left to send.
#[test]
#[ignore = "tests/prove crash"]
fn killed_with_nothing_to_send_the_files_stay_whole_and_as_they_were() {
    const ROWS: usize = 1_000;
    let (gate, mut random) = (Gate::start(&[]), fastrand::Rng::with_seed(33));
    let mut campaign = Campaign::new(SMS, 0..ROWS);
    campaign.judge(&gate);
    let old = campaign.dir.results();
    let is_whole = |campaign: &Campaign, at: &str| {
        assert_eq!(campaign.dir.results(), old, "killed {at}");
        assert_eq!(campaign.dir.report()["counts"]["sent"], ROWS, "killed {at}");
    };
    let begun = Instant::now();
    campaign.command(&gate).run();
    let whole = u64::try_from(begun.elapsed().as_micros()).unwrap();
    let kills = quick_or_long(15, 150);
    for _ in 0..kills {
        let time = Duration::from_micros(random.u64(0..whole));
        campaign.kill_after(time, campaign.command(&gate));
        is_whole(&campaign, "at random");
    }
    let at_random = campaign.kills;
    assert!(at_random > kills / 5, "{at_random} runs were killed");
    for (calls, what) in POINTS {
        let mut nth = 1;
        while campaign.kill_at(&gate, calls, nth) {
            is_whole(&campaign, what);
            nth += quick_or_long(1 + nth / 2, 1);
        }
    }
    let at_points = std::mem::take(&mut campaign.kills) - at_random;
    assert!(at_points > 0);
    assert_eq!(campaign.judge(&gate), 0);
    let files = campaign.dir.names_in("list-results");
    assert_eq!(files, ["report.html", "report.json", "results.csv"]);
    println!("nothing to send: {at_random} kills at random, {at_points} at named points");
}
