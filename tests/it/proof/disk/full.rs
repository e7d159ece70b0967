//! No room: on a small disk of its own (tmpfs), and by a limit on the size of files.

use super::{CLEAR, Tally, gist, judge, met};
use crate::proof::quick_or_long;
use crate::support::contacts;
use crate::support::disk::Disk;
use crate::support::stub::Stub;
use crate::support::workdir::{Ran, Workdir};

const ROWS: usize = 400;
const IN_FLIGHT: usize = 32;

/// More than a campaign of these tests ever needs.
const PLENTY: usize = 64 * 1024;

/// A disk of its own, in a folder `disk`; `None` where mounting is not allowed: the tests by a limit
/// show the same.
fn mount(dir: &Workdir, kib: usize) -> Option<Disk> {
    Disk::mount(dir.path("disk"), kib)
}

/// A list of which the records take most of the room.
fn wide_rows() -> String {
    contacts(0..ROWS).replace('\n', &format!(",{}\n", "x".repeat(60)))
}

/// Runs a campaign with ever more room, from nothing to enough: how it ended, how often.
fn squeeze(run: impl Fn(&Workdir, &Stub, usize) -> Option<Ran>) -> Tally {
    let (stub, step) = (Stub::start(), quick_or_long(12, 24));
    let mut tally = Tally::new();
    for kib in std::iter::successors(Some(24), |kib| Some(kib + (kib / step).max(4))) {
        let Some(ran) = run(&Workdir::with(wide_rows()), &stub, kib) else {
            break;
        };
        *tally.entry(gist(&ran)).or_default() += 1;
        if ran.code == 0 {
            break;
        }
    }
    println!("{ROWS} rows, ever more room: {tally:#?}");
    tally
}

#[test]
#[ignore = "tests/prove disk"]
fn a_disk_that_is_full_at_any_moment_costs_nobody_a_second_message() {
    let tally = squeeze(|dir, stub, kib| {
        let disk = mount(dir, kib)?;
        let ledger = "-q --ledger disk/otpdrive.db --out list-results";
        let send = || dir.send(stub).flags(ledger);
        let healthy = || {
            disk.resize(PLENTY);
            send()
        };
        let ran = judge(dir, stub, (ROWS, IN_FLIGHT), &CLEAR, send(), healthy);
        assert!(ran.code == 0 || ran.stderr.contains("ake room"), "{ran:?}");
        Some(ran)
    });
    if tally.is_empty() {
        println!("no mounts here: only the limit on file sizes is tested");
        return;
    }
    let met = |gist| assert!(met(&tally, gist), "never {gist}");
    // By its making.
    met("exit 2: the ledger");
    met("exit 2: failed to store the input");
    // By the checkpoint.
    met("exit 2: failed to start a run");
    met("exit 3: stopped");
}

#[test]
#[ignore = "tests/prove disk"]
fn a_limit_on_file_sizes_is_told_and_costs_nobody_a_second_message() {
    let tally = squeeze(|dir, stub, kib| {
        let send = || dir.send(stub).flags("-q");
        let faulty = send().in_shell(&format!("ulimit -f {kib}; exec \"$@\""));
        Some(judge(dir, stub, (ROWS, IN_FLIGHT), &CLEAR, faulty, send))
    });
    assert!(met(&tally, "exit 2") && met(&tally, "exit 3"));
}

#[test]
#[ignore = "tests/prove disk"]
fn results_that_do_not_fit_leave_the_old_ones_and_a_way_to_write_them() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    let Some(disk) = mount(&dir, 16) else {
        return;
    };
    let send = || dir.send(&stub).flags("-q --out disk/out").ends(3).stderr;
    let report = |code| dir.line("report --out disk/out").ends(code).stderr;
    let said = send();
    assert!(said.contains("Make room"), "{said}");
    assert!(said.contains("otpdrive report"), "{said}");
    assert_eq!(dir.names_in("disk/out").len(), 0, "no half files");
    assert!(report(2).contains("Make room"));
    disk.resize(PLENTY);
    report(0);
    let results = dir.results_of("disk/out");
    assert_eq!(results.len(), ROWS);
    assert!(results.iter().all(|row| row["otp_status"] == "sent"));
    // Full again, with good files in place: they stay.
    let before = dir.read("disk/out/results.csv");
    dir.write("disk/ballast", vec![1; (PLENTY - 400) * 1024]);
    let _ = std::fs::write(dir.path("disk/more"), vec![1; 400 * 1024]);
    report(2);
    send();
    assert_eq!(dir.read("disk/out/results.csv"), before);
    assert_eq!(stub.count(), ROWS, "nobody again");
}

#[test]
#[ignore = "tests/prove disk"]
fn rows_and_lists_that_do_not_fit_where_they_are_printed_are_told() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    dir.send(&stub).flags("-q").ends(0);
    for line in ["report --only sent", "status", "status --verify"] {
        let run = dir.line(line).in_shell("exec \"$@\" > /dev/full");
        let said = run.ends(2).stderr;
        assert!(said.contains("No space left"), "{line}: {said}");
    }
}
