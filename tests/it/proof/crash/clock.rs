//! The machine's clock jumps: between runs and in the middle of one (libfaketime).

use std::path::PathBuf;
use std::time::Duration;

use super::pace::{most, peak};
use super::{Campaign, FAULTS, Kind};
use crate::proof::quick_or_long;
use crate::support::contacts;
use crate::support::gate::Gate;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Workdir};

/// Where Debian's package puts the library.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap();
    let places = folders.map(|folder| folder.unwrap().path().join("faketime/libfaketime.so.1"));
    let mut there = places.filter(|path| path.exists());
    there.next().expect("Debian's package libfaketime")
}

/// Runs a command under a clock that the file `clock` in the folder sets off by what it says:
/// `+5h`. Only the wall clock; no machine's monotonic clock jumps.
fn under_a_wrong_clock(dir: &Workdir, command: Otpdrive) -> Otpdrive {
    command
        .env("LD_PRELOAD", &library().to_string_lossy())
        .env(
            "FAKETIME_TIMESTAMP_FILE",
            &dir.path("clock").to_string_lossy(),
        )
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
}

/// Removes what the library shares between processes, which one that was killed leaves in memory.
fn sweep(process: u32) {
    for what in ["faketime_shm", "sem.faketime_sem"] {
        // One that was killed very early has not made it.
        let _ = std::fs::remove_file(format!("/dev/shm/{what}_{process}"));
    }
}

/// Sets the clock off.
fn set(dir: &Workdir, offset: &str) {
    dir.write("clock.new", offset);
    std::fs::rename(dir.path("clock.new"), dir.path("clock")).unwrap();
}

fn seconds(time: &str) -> f64 {
    let time: jiff::Timestamp = time.parse().unwrap();
    time.duration_since(jiff::Timestamp::UNIX_EPOCH)
        .as_secs_f64()
}

#[test]
#[ignore = "tests/prove crash"]
fn a_clock_that_jumps_during_a_run_moves_nothing() {
    const RATE: usize = 20;
    let gate = Gate::start(&["--latency", "1ms..30ms"]);
    let rows = quick_or_long(40, 1_000);
    let dir = Workdir::with(contacts(0..rows));
    set(&dir, "+0h");
    let command = dir
        .send_to(gate.url())
        .args(&["--rate", &format!("{RATE}/s")]);
    let mut run = under_a_wrong_clock(&dir, command).start();
    let mut random = fastrand::Rng::with_seed(38);
    let mut jumps = 0;
    while !run.has_ended() {
        std::thread::sleep(Duration::from_millis(60));
        set(&dir, &format!("{:+}h", random.i32(-30..30)));
        jumps += 1;
    }
    let ran = run.end();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let log = gate.settled_log();
    assert_eq!(log.len(), rows);
    let peak = peak(log.iter().map(|request| request.t).collect());
    assert!(peak <= most(RATE), "{peak} in a second at {RATE}/s");
    let report = dir.report();
    let time = |key: &str| seconds(report[key].as_str().unwrap());
    let (started, finished) = (time("started_at"), time("finished_at"));
    let long_enough = quick_or_long(1.8, 45.0);
    let duration = report["duration_s"].as_f64().unwrap();
    for length in [duration, finished - started] {
        assert!(
            (long_enough..long_enough + 30.0).contains(&length),
            "{length} s: {report:#}"
        );
    }
    for row in dir.results() {
        let (first, settled) = (
            seconds(&row["otp_first_sent_at"]),
            seconds(&row["otp_settled_at"]),
        );
        assert!(
            started - 1.0 <= first && first <= settled && settled <= finished + 1.0,
            "{row:?}"
        );
    }
    println!(
        "{jumps} jumps of up to 30 h during {rows} requests at {RATE}/s: at most {peak} in any second, times in order"
    );
}

#[test]
#[ignore = "tests/prove crash"]
fn killed_while_the_clock_jumps_between_runs_nobody_is_asked_twice() {
    let kills = quick_or_long(10, 100);
    let gate = Gate::start(&["--faults", FAULTS, "--latency", "1ms..20ms"]);
    let mut random = fastrand::Rng::with_seed(39);
    let mut campaign = Campaign::new(Kind::Fallback, 0..kills * 25);
    for _ in 0..kills {
        set(&campaign.dir, &format!("{:+}h", random.i32(-30..30)));
        let command = campaign.command(&gate).args(&["--rate", "500/s"]);
        let command = under_a_wrong_clock(&campaign.dir, command);
        let time = Duration::from_millis(random.u64(20..130));
        sweep(campaign.kill_after(time, command));
    }
    let unknown = campaign.judge(&gate);
    println!("{kills} kills, each run with another clock: nobody asked twice, {unknown} unknown");
}

/// 429 with a `Retry-After` of an hour, noted under one clock; the next run has another.
#[test]
#[ignore = "tests/prove crash"]
fn what_a_wrong_clock_noted_holds_nothing_back_for_long() {
    // Ahead, then right: the note is from the future. Right, then behind: so it is.
    for (first, second) in [
        ("+6h", "+0h"),
        ("+0h", "-6h"),
        ("-6h", "+0h"),
        ("+400d", "+0h"),
    ] {
        let stub = Stub::start();
        stub.always(Reply::new(429, "").header("Retry-After", "3600"));
        let dir = Workdir::with(contacts(0..3));
        let send = || {
            under_a_wrong_clock(
                &dir,
                dir.send(&stub)
                    .args(&["--concurrency", "1", "--rate", "5/s"]),
            )
        };
        set(&dir, first);
        let run = send().start();
        stub.wait_for_answers(1);
        run.signal("INT");
        assert_eq!(run.end_soon().code, 130);
        stub.always(Reply::success());
        set(&dir, second);
        let ran = send().start().end_soon();
        assert_eq!(ran.code, 0, "{first} then {second}: {}", ran.stderr);
        assert_eq!(stub.count(), 4);
    }
    // And it is kept by a clock that is right, or wrong in the same way.
    for clock in ["+0h", "+6h"] {
        let stub = Stub::start();
        stub.always(Reply::new(429, "").header("Retry-After", "3600"));
        let dir = Workdir::with(contacts(0..3));
        set(&dir, clock);
        let send = || under_a_wrong_clock(&dir, dir.send(&stub).args(&["--concurrency", "1"]));
        let run = send().start();
        stub.wait_for_answers(1);
        run.signal("INT");
        run.end_soon();
        stub.always(Reply::success());
        let run = send().start();
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(stub.count(), 1, "the lane is held");
        run.signal("INT");
        assert_eq!(run.end_soon().code, 130);
    }
    println!(
        "an hour of Retry-After: kept by one clock, not believed from the future, never for ever"
    );
}
