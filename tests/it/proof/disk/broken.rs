//! System calls that fail, or in which the program is killed: the N-th one, for every N there is,
//! by strace.

use super::{CLEAR, Tally, gist, judge, met};
use crate::proof::quick_or_long;
use crate::support::contacts;
use crate::support::stub::Stub;
use crate::support::workdir::Workdir;

const ROWS: usize = 24;

/// How SQLite is built decides which of them it calls.
const SYNCS: &str = "fsync,fdatasync";

/// All files, or only these.
const ALL: &[&str] = &[];
const LOG: &[&str] = &["otpdrive.db-wal"];
const RESULTS: &[&str] = &["list-results"];

/// Before the first request, and among them.
const BOTH: &[&str] = &["exit 2", "exit 3: stopped"];

/// Does this to each call of a kind about these files (`#` is N), with every so many N in the quick
/// form, until there is none left; how it ended, how often. Some ends have to be met.
fn walk(call: &str, what: &str, files: &[&str], step: usize, ends: &[&str]) -> Tally {
    let stub = Stub::start();
    let mut tally = Tally::new();
    for n in (1..).step_by(quick_or_long(step, 1)) {
        let dir = Workdir::with(contacts(0..ROWS));
        let send = || dir.send(&stub).flags("-q --concurrency 1");
        let faulty = send().inject("strace", call, &what.replace('#', &n.to_string()), files);
        let kills = what.contains("KILL");
        let may_end = if kills { &[0, -1][..] } else { &CLEAR };
        let ran = judge(&dir, &stub, (ROWS, 1), may_end, faulty, send);
        let log = dir.read("strace");
        if !log.contains("(INJECTED)") && !log.contains("killed by SIGKILL") {
            assert_eq!(ran.code, 0, "no fault, no error: {ran:?}");
            assert!(n > 1, "{call} is never called");
            break;
        }
        if kills {
            dir.line("status --verify").ends(0);
        }
        *tally.entry(gist(&ran)).or_default() += 1;
    }
    println!("{call} {what} {files:?}: {tally:#?}");
    for end in ends {
        assert!(met(&tally, end), "{call} {what} {files:?}: never {end}");
    }
    tally
}

#[test]
#[ignore = "tests/prove disk"]
fn a_sync_that_fails_stops_the_run_before_the_request_leaves() {
    walk(SYNCS, "error=EIO:when=#", ALL, 1, &["exit 2"]);
    // Of all syncs, that of the results is hidden where the ledger has as many.
    walk(SYNCS, "error=EIO:when=#", RESULTS, 1, &["exit 3: cannot"]);
    let tally = walk(SYNCS, "error=EIO:when=#", LOG, 1, BOTH);
    // Whatever it was that could not be synced, the run stops: unless it was over.
    let went_on = tally.get("exit 0: nothing").copied().unwrap_or(0);
    assert!(went_on <= 2, "it went on {went_on} times");
}

#[test]
#[ignore = "tests/prove disk"]
fn a_disk_that_fails_from_some_moment_on_is_told() {
    walk(SYNCS, "error=EIO:when=#+", ALL, 3, &["exit 2"]);
    walk(SYNCS, "error=EIO:when=#+", RESULTS, 1, &["exit 3: cannot"]);
    walk(SYNCS, "error=EIO:when=#+", LOG, 1, BOTH);
    walk("pwrite64", "error=ENOSPC:when=#+", ALL, 13, &["exit 2"]);
    walk("pwrite64", "error=ENOSPC:when=#+", LOG, 4, BOTH);
}

#[test]
#[ignore = "tests/prove disk"]
fn a_write_a_name_or_a_cut_that_fails_is_told() {
    walk("pwrite64", "error=EIO:when=#", LOG, 3, BOTH);
    walk("renameat2", "error=EIO:when=#", ALL, 1, &["exit 2"]);
    walk("renameat", "error=EIO:when=#", ALL, 1, &["exit 3"]);
    walk("ftruncate", "error=EIO:when=#", ALL, 1, &[]);
}

#[test]
#[ignore = "tests/prove disk"]
fn killed_at_any_moment_the_same_command_goes_on() {
    let calls = [("openat", 9), ("write", 9), ("pwrite64", 13), ("fsync", 2)];
    let others = ["renameat2", "unlink", "ftruncate"].map(|call| (call, 1));
    let kill = |(call, step)| walk(call, "signal=KILL:when=#", ALL, step, &[]);
    let kills = calls
        .into_iter()
        .chain(others)
        .flat_map(|of| kill(of).into_values());
    let kills: usize = kills.sum();
    println!("killed {kills} times, from the making of the ledger to the end");
    assert!(kills > 10);
}
