//! The rate holds across crashes.

use super::{Campaign, SMS};
use crate::proof::quick_or_long;
use crate::support::contacts;
use crate::support::gate::Gate;
use crate::support::stub::Stub;
use crate::support::workdir::Workdir;

/// The most in any sliding second, which must not be more than the rate allows.
#[track_caller]
pub fn peak(rate: usize, times: impl IntoIterator<Item = f64>) -> usize {
    let mut times: Vec<f64> = times.into_iter().collect();
    times.sort_by(f64::total_cmp);
    let end = |from: &f64| times.partition_point(|at| *at < from + 1.0);
    let within = times.iter().enumerate().map(|(nth, from)| end(from) - nth);
    let peak = within.max().unwrap_or(0);
    let most = rate + (rate / 100).max(1);
    assert!(peak <= most, "{peak} in a second at {rate}/s");
    peak
}

/// The hardest moment: a request has just left, and nothing says so but its intent, which was
/// written a little earlier.
#[test]
#[ignore = "tests/prove crash"]
fn killed_right_after_each_request_the_next_run_keeps_its_distance() {
    let kills = quick_or_long(15, 200);
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..=kills));
    for nth in 1..=kills {
        let run = dir.send(&stub).flags("--rate 5/s").start();
        stub.wait_for(nth);
        run.kill();
    }
    let log = stub.log();
    let times = log.iter().map(|request| request.at - log[0].at);
    let times: Vec<f64> = times.map(|time| time.as_secs_f64()).collect();
    let mut apart: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    apart.sort_by(f64::total_cmp);
    // Half of them, because a busy machine may see a request late.
    let half = apart[apart.len() / 2];
    assert!(half >= 0.195, "{half} s apart at 5/s");
    let peak = peak(5, times);
    println!("5/s, killed {kills} times: {half:.3} s apart, at most {peak} in a second");
}

#[test]
#[ignore = "tests/prove crash"]
fn killed_at_random_moments_no_second_sees_more_than_the_rate() {
    for rate in quick_or_long(vec![20], vec![5, 20, 50]) {
        let gate = Gate::start(&["--latency", "0ms..60ms"]);
        let kills = quick_or_long(30, 200);
        let mut campaign = Campaign::new(SMS, 0..kills * 10);
        // Some never come to send: a run keeps its distance from what may have left last.
        let requests = campaign.kill_at_random(&gate, kills, rate, 100 + 4_000 / rate);
        assert!(requests > kills / 6, "it went on");
    }
}
