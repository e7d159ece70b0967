//! Where a ledger cannot be, which names are one, and what is never taken for a new one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::support::contacts;
use crate::support::stub::Stub;
use crate::support::workdir::Workdir;

const ROWS: usize = 5;

#[test]
#[ignore = "tests/prove disk"]
fn a_ledger_that_was_deleted_or_emptied_with_its_log_left_is_not_begun_afresh() {
    for is_emptied in [false, true] {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..ROWS));
        stub.hold();
        let run = dir.send(&stub).start();
        stub.wait_for(ROWS);
        run.kill();
        stub.release();
        let [place, log] = ["otpdrive.db", "otpdrive.db-wal"].map(|name| dir.path(name));
        let kept_log = fs::read(&log).unwrap();
        fs::rename(&place, dir.path("kept")).unwrap();
        if is_emptied {
            fs::write(&place, "").unwrap();
        }
        dir.send(&stub).ends(2);
        assert_eq!(fs::read(&log).unwrap(), kept_log, "left as it was");
        // Brought back, it and no copy, nothing is lost.
        fs::rename(dir.path("kept"), &place).unwrap();
        dir.send(&stub).ends(1);
        assert_eq!(stub.count(), ROWS);
        assert_eq!(dir.statuses(), ["unknown"; ROWS]);
    }
}

#[test]
#[ignore = "tests/prove disk"]
fn two_names_of_a_ledger_that_is_not_there_yet_are_one_ledger() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    fs::create_dir(dir.path("away")).unwrap();
    symlink("away/two.db", dir.path("one.db")).unwrap();
    symlink("../one.db", dir.path("away/three.db")).unwrap();
    symlink("loop.db", dir.path("loop.db")).unwrap();
    stub.hold();
    let by = |name| {
        dir.send(&stub)
            .flags("--concurrency 1 --ledger")
            .flags(name)
    };
    let run = by("away/three.db").start();
    stub.wait_for(1);
    for name in ["one.db", "away/two.db", "away/three.db", "./away/../one.db"] {
        by(name).ends(5);
    }
    stub.release();
    assert_eq!(run.end_soon().code, 0);
    by("one.db").ends(0);
    assert_eq!(stub.count(), ROWS);
    let names = dir.names_in("away");
    assert_eq!(names.len(), 3, "the ledger, its lock, the link: {names:?}");
    let ran = by("loop.db").ends(2);
    assert!(ran.stderr.contains("loop.db"), "{}", ran.stderr);
}

#[test]
#[ignore = "tests/prove disk"]
fn a_place_that_may_not_be_written_to_is_told_before_anything_is_sent() {
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    // Where no permission binds root, another user tries.
    let other = "setpriv --reuid=65534 --regid=65534 --clear-groups";
    let other: Vec<_> = other.split(' ').filter(|_| is_root).collect();
    let place = "--ledger home/otpdrive.db";
    let send = || dir.send(&stub).flags(place).flags("--out out");
    let send = || send().under(&other);
    let status = || dir.line("status").flags(place).under(&other).run();
    let mode = |name, mode| {
        fs::set_permissions(dir.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused_with = |name, bits| {
        mode(name, bits);
        let said = send().ends(2).stderr;
        assert!(said.contains("home/otpdrive.db"), "{said}");
        assert!(said.contains("this user may write to"), "{said}");
        assert_eq!(stub.count(), 0);
    };
    fs::create_dir(dir.path("home")).unwrap();
    fs::create_dir(dir.path("out")).unwrap();
    mode("out", 0o777);
    mode("", 0o755);
    refused_with("home", 0o555);
    refused_with("home", 0o000);
    mode("home", 0o777);
    // A folder lies in its place.
    fs::create_dir(dir.path("home/otpdrive.db")).unwrap();
    assert!(send().ends(2).stderr.contains("is a directory"));
    fs::remove_dir(dir.path("home/otpdrive.db")).unwrap();
    // There is a ledger, and it may only be read.
    send().ends(0);
    stub.forget();
    refused_with("home/otpdrive.db", 0o444);
    refused_with("home/otpdrive.db", 0o000);
    assert_eq!(status().code, 2);
    mode("home/otpdrive.db", 0o600);
    mode("home", 0o555);
    let ran = status();
    let told = ran.stderr.contains("may write to");
    assert!(ran.code == 0 || told, "{ran:?}");
    mode("home", 0o755);
}
