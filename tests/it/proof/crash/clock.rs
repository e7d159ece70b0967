//! The machine's clock jumps: between runs and in the middle of one (libfaketime).

use std::path::PathBuf;
use std::time::Duration;

use super::pace::peak;
use super::{Campaign, FALLBACK, FAULTS};
use crate::proof::quick_or_long;
use crate::support::contacts;
use crate::support::gate::Gate;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Workdir};

/// Where Debian's package puts the library.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let mut places = folders.map(|folder| folder.unwrap().path().join("faketime/libfaketime.so.1"));
    let place = places.find(|path| path.exists());
    place.expect("Debian's package libfaketime")
}

/// Runs a command under a clock that the file `clock` in the folder sets off by what it says:
/// `+5h`. Only the wall clock; no machine's monotonic clock jumps.
fn under_a_wrong_clock(dir: &Workdir, command: Otpdrive) -> Otpdrive {
    let clock = dir.path("clock");
    command
        .env("LD_PRELOAD", library().to_str().unwrap())
        .env("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// Sets the clock off.
fn set(dir: &Workdir, offset: &str) {
    dir.write("clock.new", offset);
    std::fs::rename(dir.path("clock.new"), dir.path("clock")).unwrap();
}

#[test]
#[ignore = "tests/prove crash"]
fn a_clock_that_jumps_during_a_run_moves_nothing() {
    const RATE: usize = 20;
    let gate = Gate::start(&["--latency", "1ms..30ms"]);
    let rows = quick_or_long(40, 1_000);
    let dir = Workdir::with(contacts(0..rows));
    set(&dir, "+0h");
    let command = dir.send_to(gate.url()).flags(format!("--rate {RATE}/s"));
    let mut run = under_a_wrong_clock(&dir, command).start();
    let mut random = fastrand::Rng::with_seed(38);
    let mut jumps = 0;
    while !run.has_ended() {
        std::thread::sleep(Duration::from_millis(60));
        set(&dir, &format!("{:+}h", random.i32(-30..30)));
        jumps += 1;
    }
    assert_eq!(run.end().code, 0);
    let log = gate.settled_log();
    assert_eq!(log.len(), rows);
    let peak = peak(RATE, log.iter().map(|request| request.t));
    let report = dir.report();
    let seconds = |time: &str| {
        let time: jiff::Timestamp = time.parse().unwrap();
        time.as_duration().as_secs_f64()
    };
    let time = |key: &str| seconds(report[key].as_str().unwrap());
    let (started, finished) = (time("started_at"), time("finished_at"));
    let least = quick_or_long(1.8, 45.0);
    for length in [report["duration_s"].as_f64().unwrap(), finished - started] {
        assert!((least..least + 30.0).contains(&length), "{report:#}");
    }
    for row in dir.results() {
        let [first, settled] =
            ["first_sent", "settled"].map(|of| seconds(&row[&format!("otp_{of}_at")]));
        let times = [started - 1.0, first, settled, finished + 1.0];
        assert!(times.is_sorted(), "{row:?}");
    }
    println!("{jumps} jumps, {rows} requests at {RATE}/s: at most {peak} in a second");
}

#[test]
#[ignore = "tests/prove crash"]
fn killed_while_the_clock_jumps_between_runs_nobody_is_asked_twice() {
    let kills = quick_or_long(10, 100);
    let gate = Gate::start(&["--faults", FAULTS, "--latency", "1ms..20ms"]);
    let mut random = fastrand::Rng::with_seed(39);
    let mut campaign = Campaign::new(FALLBACK, 0..kills * 25);
    for _ in 0..kills {
        set(&campaign.dir, &format!("{:+}h", random.i32(-30..30)));
        let command = campaign.command(&gate).flags("--rate 500/s");
        let command = under_a_wrong_clock(&campaign.dir, command);
        let time = Duration::from_millis(random.u64(20..130));
        let process = campaign.kill_after(time, command);
        // What the library shares between processes; one that was killed early has not made it.
        for what in ["faketime_shm", "sem.faketime_sem"] {
            let _ = std::fs::remove_file(format!("/dev/shm/{what}_{process}"));
        }
    }
    let unknown = campaign.judge(&gate);
    println!("{kills} kills, each run with another clock: nobody asked twice, {unknown} unknown");
}

/// 429 with a `Retry-After` of an hour, noted under one clock; the next run has another.
#[test]
#[ignore = "tests/prove crash"]
fn what_a_wrong_clock_noted_holds_nothing_back_for_long() {
    for (first, second, is_kept) in [
        // Ahead, then right: the note is from the future. Right, then behind: so it is.
        ("+6h", "+0h", false),
        ("+0h", "-6h", false),
        ("-6h", "+0h", false),
        ("+400d", "+0h", false),
        // A clock that is right, or wrong in the same way.
        ("+0h", "+0h", true),
        ("+6h", "+6h", true),
    ] {
        let stub = Stub::start();
        stub.always(Reply::new(429, "").header("Retry-After", "3600"));
        let dir = Workdir::with(contacts(0..3));
        let start = |clock| {
            set(&dir, clock);
            let send = dir.send(&stub).flags("--concurrency 1 --rate 5/s");
            under_a_wrong_clock(&dir, send).start()
        };
        let run = start(first);
        stub.wait_for_answers(1);
        run.signal("INT");
        assert_eq!(run.end_soon().code, 130);
        stub.always(Reply::success());
        let run = start(second);
        if is_kept {
            std::thread::sleep(Duration::from_millis(500));
            run.signal("INT");
        }
        let ran = run.end_soon();
        let (code, requests) = if is_kept { (130, 1) } else { (0, 4) };
        assert_eq!(ran.code, code, "{first} then {second}: {}", ran.stderr);
        assert_eq!(stub.count(), requests, "{first} then {second}");
    }
    println!("Retry-After: kept by one clock, not believed from the future");
}
