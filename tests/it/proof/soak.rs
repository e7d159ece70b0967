//! A long run under faults: memory, file handles and ledger over time. A long list: memory.

use std::fs;
use std::time::{Duration, Instant};

use crate::proof::quick_or_long;
use crate::support::gate::{Gate, Logged, by_number};
use crate::support::workdir::Workdir;

const RATE: usize = 500;
const CONCURRENCY: u64 = 128;

/// Every kind of fault, seldom enough that nobody fails five times in a row.
const FAULTS: &str = "500=1%,503=1%,throttle=0.5%,drop=0.2%,reset=0.1%,half=0.1%,\
                      garbage=0.1%,504=0.1%,slow=0.2%,rejected=0.5%,huge=0.01%,stall=0.01%";

/// Faults after which nobody knows whether it was delivered.
const DOUBTFUL: [&str; 7] = ["504", "drop", "reset", "half", "garbage", "huge", "stall"];

/// What the process holds at one moment: memory in KiB, file handles, bytes of the ledger and of its
/// log.
type Sample = [u64; 4];

/// The line of a list of this row.
type Row = fn(usize) -> String;

/// What the process holds of memory, or has held at most, in KiB.
fn memory(process: u32, which: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let (_, memory) = status.split_once(which)?;
    memory.split_whitespace().next()?.parse().ok()
}

fn sample(dir: &Workdir, process: u32) -> Option<Sample> {
    let memory = memory(process, "VmRSS:")?;
    let handles = fs::read_dir(format!("/proc/{process}/fd")).ok()?.count();
    let bytes = |name| fs::metadata(dir.path(name)).map_or(0, |file| file.len());
    let (ledger, log) = (bytes("otpdrive.db"), bytes("otpdrive.db-wal"));
    Some([memory, handles as u64, ledger, log])
}

#[test]
#[ignore = "tests/prove soak"]
fn a_long_run_under_faults_grows_in_nothing_but_its_ledger() {
    let seconds = quick_or_long(15, 3_600);
    let (rows, time) = (RATE * seconds, Duration::from_secs(seconds as u64));
    let gate = Gate::start(&["--latency", "20ms..80ms", "--faults", FAULTS]);
    // Enough numbers for hours.
    let phones = (0..rows).map(|n| format!("{}\n", 9_000_000_000 + n));
    let dir = Workdir::with("phone\n".to_owned() + &phones.collect::<String>());
    let flags = format!("--rate {RATE}/s --concurrency {CONCURRENCY} --progress never");
    let send = dir.send_to(gate.url()).flags(&flags);
    let start = Instant::now();
    let mut run = send.flags("--timeout 5s --connect-timeout 2s").start();
    let mut samples = Vec::new();
    let mut next = time / 30;
    while !run.has_ended() {
        let since = start.elapsed();
        if since >= next {
            samples.extend(sample(&dir, run.id()));
            next += time / 30;
        }
        assert!(since < time * 2 + Duration::from_mins(1), "it does not end");
        std::thread::sleep(Duration::from_millis(20));
    }
    let ran = run.end();
    assert_eq!(ran.code, 1, "some rejected, some unknown: {}", ran.stderr);
    println!("KiB of memory, handles, bytes of ledger and log: {samples:?}");
    // In memory, handles and log it is later what it was in its first third.
    let (early, late) = samples.split_at(samples.len() / 3);
    let most = |samples: &[Sample], of: usize| samples.iter().map(|it| it[of]).max().unwrap();
    for (of, room) in [(0, 8 * 1_024), (1, CONCURRENCY)] {
        let (before, after) = (most(early, of), most(late, of));
        assert!(after <= before + room, "{of}: {before}, later {after}");
    }
    assert!(most(late, 1) <= 2 * CONCURRENCY + 40, "handles");
    assert!(most(late, 3) <= 64_000_000, "bytes of log");

    // The gateway's log is the judge here too.
    let log = gate.stop();
    for (number, requests) in by_number(&log) {
        let perhaps = |it: &&Logged| it.accepted || DOUBTFUL.contains(&it.action.as_str());
        let once = requests.iter().filter(perhaps);
        assert!(once.count() <= 1, "{number}: {requests:?}");
    }
    let report = dir.report();
    assert_eq!(report["rows"], rows);
    let results = dir.read("list-results/results.csv");
    assert_eq!(results.lines().count(), rows + 1);
    let most = report["rate"]["peak_1s"].as_u64().unwrap();
    assert!(most <= (RATE + RATE / 100) as u64, "{most} in a second");
    let (achieved, requests) = (&report["rate"]["achieved_per_s"], log.len());
    println!("{requests} requests, {achieved}/s, at most {most} in a second");
}

#[test]
#[ignore = "tests/prove soak"]
fn a_list_ten_times_as_long_takes_the_same_memory() {
    let taken = |header: &str, row: Row, rows: usize| {
        let text: String = (0..rows).map(row).collect();
        let dir = Workdir::with(format!("{header}\n{text}"));
        let mut plan = dir.line("check list.csv --sender-id OTPDRV").start();
        let mut most = 0;
        while !plan.has_ended() {
            most = most.max(memory(plan.id(), "VmHWM:").unwrap_or(0));
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(plan.end().code, i32::from(row(0).len() < 9));
        most
    };
    let rows = quick_or_long(400_000, 10_000_000);
    let kinds: [(&str, Row); 3] = [
        ("phone", |n| format!("{}\n", 9_000_000_000 + n)),
        ("phone", |n| format!("{}\n", n % 2 * (9_000_000_000 + n))),
        ("phone,code", |n| format!("{},{n:06}\n", 9_000_000_000 + n)),
    ];
    for (header, row) in kinds {
        let (short, long) = (taken(header, row, rows / 10), taken(header, row, rows));
        println!("{header}: {short} KiB, ten times as many rows {long}");
        assert!(long <= short + 24 * 1_024, "{header}: {short}, {long}");
    }
}
