//! The rate holds across crashes.

use std::time::Duration;

use crate::proof::quick_or_long;
use crate::support::contacts;
use crate::support::gate::Gate;
use crate::support::stub::Stub;
use crate::support::workdir::Workdir;

/// The most in any sliding second.
pub fn peak(mut seconds: Vec<f64>) -> usize {
    seconds.sort_by(f64::total_cmp);
    let within = |(nth, from): (usize, &f64)| {
        seconds[nth..]
            .iter()
            .take_while(|at| **at < from + 1.0)
            .count()
    };
    seconds.iter().enumerate().map(within).max().unwrap_or(0)
}

/// What any sliding second may see.
pub fn most(rate: usize) -> usize {
    rate + (rate / 100).max(1)
}

/// The hardest moment: a request has just left, and nothing says so but its intent, which was
/// written a little earlier.
#[test]
#[ignore = "tests/prove crash"]
fn killed_right_after_each_request_the_next_run_keeps_its_distance() {
    const RATE: usize = 5;
    let kills = quick_or_long(15, 200);
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..=kills));
    let rate = format!("{RATE}/s");
    for nth in 1..=kills {
        let run = dir.send(&stub).args(&["--rate", &rate]).start();
        stub.wait_for(nth);
        run.kill();
    }
    let log = stub.log();
    let pairs = log.windows(2);
    let mut apart: Vec<_> = pairs.map(|pair| pair[1].at - pair[0].at).collect();
    apart.sort();
    // Half of them, because a busy machine may see a request late.
    let half = apart[apart.len() / 2].as_millis();
    let times = log
        .iter()
        .map(|request| (request.at - log[0].at).as_secs_f64());
    let peak = peak(times.collect());
    println!(
        "{RATE}/s, killed after each of {kills} requests: {half} ms apart, at most {peak} in any second"
    );
    assert!(half >= 195, "{half} ms apart at {RATE}/s");
    assert!(peak <= most(RATE), "{peak} in a second at {RATE}/s");
}

#[test]
#[ignore = "tests/prove crash"]
fn killed_at_random_moments_no_second_sees_more_than_the_rate() {
    let mut random = fastrand::Rng::with_seed(35);
    for rate in quick_or_long(vec![20], vec![5, 20, 50]) {
        let gate = Gate::start(&["--latency", "0ms..60ms"]);
        let kills = quick_or_long(30, 200);
        let dir = Workdir::with(contacts(0..kills * 10));
        let rate_flag = format!("{rate}/s");
        let interval = 1_000 / rate as u64;
        for _ in 0..kills {
            let send = dir.send_to(gate.url());
            let run = send.args(&["--rate", &rate_flag]).start();
            // Some never come to send: a run keeps its distance from what may have left last.
            let time = random.u64(20..100 + 4 * interval);
            std::thread::sleep(Duration::from_millis(time));
            run.kill();
        }
        let log = gate.settled_log();
        let peak = peak(log.iter().map(|request| request.t).collect());
        let requests = log.len();
        println!("{rate}/s, {kills} kills, {requests} requests: at most {peak} in any second");
        assert!(peak <= most(rate), "{peak} in a second at {rate}/s");
        assert!(requests > kills / 6, "it went on");
    }
}
