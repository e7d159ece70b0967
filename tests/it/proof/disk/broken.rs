//! System calls that fail: the N-th one, for every N there is, by strace.

use super::{Tally, gist, judge};
use crate::proof::quick_or_long;
use crate::support::contacts;
use crate::support::stub::Stub;
use crate::support::workdir::Workdir;

const ROWS: usize = 24;
const IN_FLIGHT: usize = 1;

/// How SQLite is built decides which of them it calls.
const SYNCS: &str = "fsync,fdatasync";

/// All files, or only the one with this name.
const ALL: &str = "";
const LOG: &str = "otpdrive.db-wal";
const RESULTS: &str = "list-results";

/// Lets each call of a kind fail in turn (`when=N`, or from then on with `when=N+`), until there is
/// none left to fail; how it ended, how often.
fn walk(call: &str, error: &str, onward: &str, file: &str, step: usize) -> Tally {
    let stub = Stub::start();
    let mut tally = Tally::new();
    for n in (1..).step_by(step) {
        let dir = Workdir::with(contacts(0..ROWS));
        let inject = format!("inject={call}:error={error}:when={n}{onward}");
        let trace = format!("trace={call}");
        let mut strace = vec!["-e", &trace, "-e", &inject];
        let file_path = dir.path(file);
        if file != ALL {
            strace.extend(["-P", file_path.to_str().unwrap()]);
        }
        let send = || {
            let few = IN_FLIGHT.to_string();
            dir.send(&stub).args(&["-q", "--concurrency", &few])
        };
        let faulty = send().strace("strace", &strace);
        let ran = judge(&dir, &stub, ROWS, IN_FLIGHT, faulty, send);
        let log = dir.read("strace");
        if !log.contains("(INJECTED)") {
            assert_eq!(ran.code, 0, "no fault, no error: {ran:?}");
            assert!(n > 1, "{call} is never called");
            break;
        }
        *tally.entry(gist(&ran)).or_default() += 1;
    }
    println!("{call} {error} {onward} {file}: {tally:#?}");
    tally
}

fn met(tally: &Tally, code: &str) -> bool {
    tally.keys().any(|gist| gist.starts_with(code))
}

#[test]
#[ignore = "tests/prove disk"]
fn a_sync_that_fails_stops_the_run_before_the_request_leaves() {
    assert!(met(&walk(SYNCS, "EIO", "", ALL, 1), "exit 2"));
    // Of all syncs, that of the results is hidden where the ledger has as many.
    let tally = walk(SYNCS, "EIO", "", RESULTS, 1);
    assert!(met(&tally, "exit 3: cannot"));
    let tally = walk(SYNCS, "EIO", "", LOG, 1);
    assert!(met(&tally, "exit 2") && met(&tally, "exit 3: stopped"));
    // Whatever it was that could not be synced, the run stops: unless it was over.
    let went_on = tally.get("exit 0: nothing").copied().unwrap_or(0);
    assert!(went_on <= 2, "it went on {went_on} times");
}

#[test]
#[ignore = "tests/prove disk"]
fn a_disk_whose_syncs_fail_from_some_moment_on_is_told() {
    let tally = walk(SYNCS, "EIO", "+", ALL, quick_or_long(3, 1));
    assert!(met(&tally, "exit 2"));
    let tally = walk(SYNCS, "EIO", "+", RESULTS, 1);
    assert!(met(&tally, "exit 3: cannot"));
    let tally = walk(SYNCS, "EIO", "+", LOG, 1);
    assert!(met(&tally, "exit 2") && met(&tally, "exit 3: stopped"));
}

#[test]
#[ignore = "tests/prove disk"]
fn writes_that_find_no_room_from_some_moment_on_are_told() {
    let tally = walk("pwrite64", "ENOSPC", "+", ALL, quick_or_long(13, 1));
    assert!(met(&tally, "exit 2"));
    let tally = walk("pwrite64", "ENOSPC", "+", LOG, quick_or_long(4, 1));
    assert!(met(&tally, "exit 2") && met(&tally, "exit 3: stopped"));
    let tally = walk("pwrite64", "EIO", "", LOG, quick_or_long(3, 1));
    assert!(met(&tally, "exit 2") && met(&tally, "exit 3: stopped"));
}

#[test]
#[ignore = "tests/prove disk"]
fn a_name_that_cannot_be_given_and_a_file_that_cannot_be_cut_are_told() {
    assert!(met(&walk("renameat2", "EIO", "", ALL, 1), "exit 2"));
    assert!(met(&walk("renameat", "EIO", "", ALL, 1), "exit 3"));
    walk("ftruncate", "EIO", "", ALL, 1);
}
