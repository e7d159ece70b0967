//! Killed at random moments.

use std::time::{Duration, Instant};

use super::{Campaign, FAULTS, Kind};
use crate::proof::quick_or_long;
use crate::support::gate::Gate;

/// Lets a run live for up to `most` milliseconds, then kills it.
fn kill_soon(
    campaign: &mut Campaign,
    gate: &Gate,
    rate: &str,
    most: u64,
    random: &mut fastrand::Rng,
) {
    let command = campaign.command(gate).args(&["--rate", rate]);
    campaign.kill_after(Duration::from_micros(random.u64(0..most * 1_000)), command);
}

#[test]
#[ignore = "tests/prove crash"]
fn killed_at_random_moments_nobody_is_asked_twice_and_nobody_is_lost() {
    let kills = quick_or_long(7, 60);
    let gate = Gate::start(&["--faults", FAULTS, "--latency", "1ms..20ms"]);
    let mut random = fastrand::Rng::with_seed(31);
    let (mut killed, mut unknown, mut rows) = (0, 0, 0);
    for (nth, kind) in Kind::ALL.into_iter().enumerate() {
        let first = nth * 10_000;
        let mut campaign = Campaign::new(kind, first..first + kills * 25);
        for nth in 0..kills {
            kill_soon(&mut campaign, &gate, "500/s", 110, &mut random);
            if nth % 5 == 4 {
                // What is known in between adds up as well.
                let report = campaign.dir.otpdrive(&["report"]).run();
                assert_ne!(report.code, 70, "{}", report.stderr);
            }
        }
        unknown += campaign.judge(&gate);
        killed += campaign.kills;
        rows += campaign.numbers.len();
    }
    assert!(killed > kills, "{killed} runs were killed");
    println!(
        "{killed} runs killed at random, {rows} rows: nobody asked twice, nobody lost, {unknown} unknown"
    );
}

#[test]
#[ignore = "tests/prove crash"]
fn killed_while_a_file_is_taken_in_nothing_is_lost() {
    let kills = quick_or_long(12, 100);
    let gate = Gate::start(&[]);
    let mut random = fastrand::Rng::with_seed(32);
    let mut campaign = Campaign::new(Kind::Sms, 0..quick_or_long(6_000, 60_000));
    for _ in 0..kills {
        // The slow rate keeps it from sending more than one; most die before the first.
        kill_soon(
            &mut campaign,
            &gate,
            "1/s",
            quick_or_long(300, 2_000),
            &mut random,
        );
    }
    let killed = campaign.kills;
    let unknown = campaign.judge(&gate);
    assert!(killed > kills / 2, "{killed} runs were killed");
    println!("{killed} runs killed while a file was taken in: nothing lost, {unknown} unknown");
}

#[test]
#[ignore = "tests/prove crash"]
fn killed_while_results_are_written_the_old_files_or_the_new_ones_are_there() {
    let kills = quick_or_long(15, 150);
    let gate = Gate::start(&[]);
    let mut random = fastrand::Rng::with_seed(33);
    let mut campaign = Campaign::new(Kind::Sms, 0..3_000);
    campaign.judge(&gate);
    let old = campaign.dir.results();
    let begun = Instant::now();
    campaign.command(&gate).args(&["--rate", "500/s"]).run();
    let whole = u64::try_from(begun.elapsed().as_millis()).unwrap();
    for _ in 0..kills {
        // A run with nothing to send: it reads, plans and writes the files.
        kill_soon(&mut campaign, &gate, "500/s", whole, &mut random);
        assert_eq!(campaign.dir.results(), old);
        assert_eq!(campaign.dir.report()["counts"]["sent"], 3_000);
    }
    let killed = campaign.kills;
    assert!(killed > kills / 5, "{killed} runs were killed");
    campaign.judge(&gate);
    assert_eq!(
        campaign.dir.names_in("list-results"),
        ["report.json", "results.csv"]
    );
    println!("{killed} runs killed that only write results: the files were whole each time");
}
