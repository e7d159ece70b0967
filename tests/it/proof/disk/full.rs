//! No room: on a small disk of its own (tmpfs), and by a limit on the size of files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Tally, gist, judge};
use crate::proof::quick_or_long;
use crate::support::contacts;
use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Workdir};

/// More than a campaign of these tests ever needs.
const PLENTY: usize = 64 * 1024;

/// A disk of its own; `None` where mounting is not allowed: the tests by a limit show the same.
struct Disk {
    at: PathBuf,
}

impl Disk {
    fn mount(at: PathBuf, kib: usize) -> Option<Self> {
        std::fs::create_dir(&at).unwrap();
        let disk = Self { at };
        if mount(&["-t", "tmpfs", "tmpfs"], kib, &disk.at) {
            return Some(disk);
        }
        println!("no mounts here: only the limit on file sizes is tested");
        None
    }

    fn resize(&self, kib: usize) {
        assert!(mount(&["-o", "remount"], kib, &self.at));
    }
}

fn mount(how: &[&str], kib: usize, at: &Path) -> bool {
    let mut mount = Command::new("mount");
    mount
        .args(how)
        .arg("-o")
        .arg(format!("size={kib}k"))
        .arg(at);
    mount
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|it| it.success())
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where it was not mounted there is nothing to take away.
        let mut umount = Command::new("umount");
        let _ = umount.arg(&self.at).stderr(Stdio::null()).status();
    }
}

/// A send with its ledger on the small disk.
fn on_disk(dir: &Workdir, stub: &Stub) -> Otpdrive {
    let ledger = ["--ledger", "disk/otpdrive.db", "--out", "list-results"];
    dir.send(stub).args(&ledger).args(&["-q"])
}

/// Sizes from nothing to enough, a fifth apart.
fn sizes(from: usize) -> impl Iterator<Item = usize> {
    let step = quick_or_long(6, 24);
    std::iter::successors(Some(from), move |kib| Some(kib + (kib / step).max(4)))
}

#[test]
#[ignore = "tests/prove disk"]
fn a_disk_that_is_full_at_any_moment_costs_nobody_a_second_message() {
    const ROWS: usize = 400;
    let stub = Stub::start();
    let mut tally = Tally::new();
    for kib in sizes(24) {
        let dir = Workdir::with(contacts(0..ROWS));
        let Some(disk) = Disk::mount(dir.path("disk"), kib) else {
            return;
        };
        let faulty = on_disk(&dir, &stub);
        let healthy = || {
            disk.resize(PLENTY);
            on_disk(&dir, &stub)
        };
        let ran = judge(&dir, &stub, ROWS, 32, faulty, healthy);
        assert!(
            ran.code == 0 || ran.stderr.contains("ake room"),
            "what to do? {ran:?}"
        );
        *tally.entry(gist(&ran)).or_default() += 1;
        if ran.code == 0 {
            break;
        }
    }
    println!("a full disk, {ROWS} rows: {tally:#?}");
    let met = |words: &str| tally.keys().any(|gist| gist.contains(words));
    assert!(met("exit 2: failed to make the ledger") || met("exit 2: the ledger"));
    assert!(met("exit 2: failed to store the input"));
    assert!(met("exit 2: failed to start a run"), "the checkpoint");
    assert!(met("exit 3: stopped"));
}

#[test]
#[ignore = "tests/prove disk"]
fn a_limit_on_file_sizes_is_told_and_costs_nobody_a_second_message() {
    const ROWS: usize = 400;
    let stub = Stub::start();
    let mut tally = Tally::new();
    for kib in sizes(24) {
        let dir = Workdir::with(contacts(0..ROWS));
        let limit = format!("ulimit -f {kib}; exec \"$@\"");
        let faulty = dir.send(&stub).args(&["-q"]);
        let faulty = faulty.in_shell(&limit);
        let healthy = || dir.send(&stub).args(&["-q"]);
        let ran = judge(&dir, &stub, ROWS, 32, faulty, healthy);
        *tally.entry(gist(&ran)).or_default() += 1;
        if ran.code == 0 {
            break;
        }
    }
    println!("files of a limited size, {ROWS} rows: {tally:#?}");
    assert!(tally.keys().any(|gist| gist.starts_with("exit 2")));
    assert!(tally.keys().any(|gist| gist.starts_with("exit 3")));
}

#[test]
#[ignore = "tests/prove disk"]
fn results_that_do_not_fit_leave_the_old_ones_and_a_way_to_write_them() {
    const ROWS: usize = 400;
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    let Some(disk) = Disk::mount(dir.path("disk"), 16) else {
        return;
    };
    let send = || dir.send(&stub).args(&["-q", "--out", "disk/out"]);
    let ran = send().ends(3);
    assert!(ran.stderr.contains("Make room"), "{}", ran.stderr);
    assert!(ran.stderr.contains("otpdrive report"), "{}", ran.stderr);
    assert_eq!(stub.count(), ROWS);
    let out = dir.path("disk/out");
    assert_eq!(std::fs::read_dir(&out).unwrap().count(), 0, "no half files");
    let report = || dir.otpdrive(&["report", "--out", "disk/out"]);
    let ran = report().ends(2);
    assert!(ran.stderr.contains("Make room"), "{}", ran.stderr);
    disk.resize(PLENTY);
    report().ends(0);
    let results = dir.results_of("disk/out");
    assert_eq!(results.len(), ROWS);
    assert!(results.iter().all(|row| row["otp_status"] == "sent"));
    // Full again, with good files in place: they stay.
    disk.resize(PLENTY);
    let before = dir.read("disk/out/results.csv");
    std::fs::write(
        dir.path("disk/ballast"),
        vec![1; PLENTY * 1024 - 400 * 1024],
    )
    .unwrap();
    let _ = std::fs::write(dir.path("disk/more"), vec![1; 400 * 1024]);
    report().ends(2);
    assert_eq!(dir.read("disk/out/results.csv"), before);
    send().ends(3);
    assert_eq!(stub.count(), ROWS, "nobody again");
}

#[test]
#[ignore = "tests/prove disk"]
fn rows_and_lists_that_do_not_fit_where_they_are_printed_are_told() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..400));
    dir.send(&stub).args(&["-q"]).ends(0);
    let to_full = "exec \"$@\" > /dev/full";
    for args in [
        &["report", "--only", "sent"][..],
        &["status"],
        &["status", "--verify"],
    ] {
        let ran = dir.otpdrive(args).in_shell(to_full).ends(2);
        assert!(ran.stderr.contains("No space left"), "{args:?}: {ran:?}");
    }
}
