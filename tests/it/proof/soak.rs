//! A long run under faults: memory, file handles and ledger over time.

use std::fs;
use std::time::{Duration, Instant};

use crate::proof::quick_or_long;
use crate::support::gate::{Gate, Logged, by_number};
use crate::support::workdir::Workdir;

const RATE: usize = 500;
const CONCURRENCY: usize = 128;

/// Enough numbers for hours.
fn phone(n: usize) -> String {
    (9_000_000_000 + n).to_string()
}

/// Every kind of fault, seldom enough that nobody fails five times in a row.
const FAULTS: &str = "500=1%,503=1%,throttle=0.5%,drop=0.2%,reset=0.1%,half=0.1%,\
                      garbage=0.1%,504=0.1%,slow=0.2%,rejected=0.5%,huge=0.01%,stall=0.01%";

/// What the process holds at one moment.
#[derive(Clone, Copy, Default)]
struct Sample {
    after: Duration,
    memory_kib: u64,
    handles: usize,
    ledger_bytes: u64,
    log_bytes: u64,
}

impl Sample {
    fn take(dir: &Workdir, process: u32, start: Instant) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        let bytes = |name: &str| fs::metadata(dir.path(name)).map_or(0, |file| file.len());
        Some(Self {
            after: start.elapsed(),
            memory_kib: resident.trim().trim_end_matches(" kB").parse().ok()?,
            handles: fs::read_dir(format!("/proc/{process}/fd")).ok()?.count(),
            ledger_bytes: bytes("otpdrive.db"),
            log_bytes: bytes("otpdrive.db-wal"),
        })
    }

    fn print(&self) {
        println!(
            "{:>6} s  {:>6.1} MB  {:>4} handles  ledger {:>6.1} MB, its log {:>5.1} MB",
            self.after.as_secs(),
            mb(self.memory_kib * 1_024),
            self.handles,
            mb(self.ledger_bytes),
            mb(self.log_bytes)
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[test]
#[ignore = "tests/prove soak"]
fn a_long_run_under_faults_grows_in_nothing_but_its_ledger() {
    let time = Duration::from_secs(quick_or_long(15, 3_600));
    let rows = RATE * usize::try_from(time.as_secs()).unwrap();
    let gate = Gate::start(&["--latency", "20ms..80ms", "--faults", FAULTS]);
    let file = (0..rows).fold("phone\n".to_owned(), |file, n| file + &phone(n) + "\n");
    let dir = Workdir::with(file);
    let start = Instant::now();
    let mut run = dir
        .send_to(gate.url())
        .args(&[
            "--rate",
            &format!("{RATE}/s"),
            "--concurrency",
            &CONCURRENCY.to_string(),
        ])
        .args(&[
            "--timeout",
            "5s",
            "--connect-timeout",
            "2s",
            "--progress",
            "never",
        ])
        .start();
    let mut samples = Vec::new();
    let mut next = time / 30;
    while !run.has_ended() {
        if start.elapsed() >= next {
            samples.extend(Sample::take(&dir, run.id(), start));
            next += time / 30;
        }
        assert!(
            start.elapsed() < time * 2 + Duration::from_mins(1),
            "it does not end"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let ran = run.end();
    assert_eq!(
        ran.code, 1,
        "some are rejected, some unknown: {}",
        ran.stderr
    );
    for sample in samples.iter().step_by(3) {
        sample.print();
    }
    println!("{}", ran.stderr.lines().rev().take(2).last().unwrap_or(""));

    grew_in_nothing_else(&samples);

    let log = gate.stop();
    nobody_twice(&log);
    let report = dir.report();
    assert_eq!(report["rows"], rows);
    let peak = report["rate"]["peak_1s"].as_u64().unwrap();
    let achieved = &report["rate"]["achieved_per_s"];
    println!(
        "{} requests, {achieved}/s, at most {peak} in a second",
        log.len()
    );
    assert!(peak <= (RATE + RATE / 100) as u64);
    assert!(
        dir.read("list-results/results.csv")
            .contains(&phone(rows - 1))
    );
}

/// In memory, handles and log a run is later what it was in its first third.
fn grew_in_nothing_else(samples: &[Sample]) {
    let (early, late) = samples.split_at(samples.len() / 3);
    let most = |samples: &[Sample], of: fn(&Sample) -> u64| samples.iter().map(of).max().unwrap();
    let grown = |of: fn(&Sample) -> u64, room: u64| {
        let (before, after) = (most(early, of), most(late, of));
        assert!(
            after <= before + room,
            "{before} in the first third, {after} later"
        );
    };
    grown(|sample| sample.memory_kib, 8 * 1_024);
    grown(|sample| sample.handles as u64, CONCURRENCY as u64);
    assert!(most(samples, |sample| sample.handles as u64) <= 2 * CONCURRENCY as u64 + 40);
    assert!(most(samples, |sample| sample.log_bytes) <= 64_000_000);
}

/// The gateway's log is the judge here too.
fn nobody_twice(log: &[Logged]) {
    let perhaps = ["504", "drop", "reset", "half", "garbage", "huge", "stall"];
    for (number, requests) in by_number(log) {
        let once = |logged: &&Logged| logged.accepted || perhaps.contains(&logged.action.as_str());
        let times = requests.iter().filter(once).count();
        assert!(times <= 1, "{number}: {requests:?}");
    }
}
