//! How a ledger comes to be, where it cannot be, and what is never taken for a new one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use crate::proof::quick_or_long;
use crate::support::stub::Stub;
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164};

const ROWS: usize = 5;

#[test]
#[ignore = "tests/prove disk"]
fn killed_at_any_moment_of_the_making_the_same_command_goes_on() {
    let stub = Stub::start();
    let mut kills = 0;
    for call in [
        "openat",
        "pwrite64",
        "fsync",
        "renameat2",
        "unlink",
        "ftruncate",
    ] {
        for n in (1..).step_by(quick_or_long(3, 1)) {
            let dir = Workdir::with(contacts(0..ROWS));
            stub.forget();
            // Only what touches the ledger being made.
            let inject = format!("inject={call}:signal=KILL:when={n}");
            let trace = format!("trace={call}");
            let mut strace = vec!["-e", &trace, "-e", &inject];
            let paths = ["", "-wal", "-shm", "-journal", ".otpdrive-lock"].map(|end| {
                dir.path(&format!("otpdrive.db{end}"))
                    .to_str()
                    .unwrap()
                    .to_owned()
            });
            for path in &paths {
                strace.extend(["-P", path]);
            }
            let killed = dir.send(&stub).args(&["-q"]).strace("/dev/null", &strace);
            let ran = killed.start().end_soon();
            if ran.code == 0 {
                break;
            }
            kills += 1;
            dir.send(&stub).args(&["-q"]).start().end_soon();
            let counts = super::requests(&stub);
            assert!(
                counts.values().all(|count| *count == 1),
                "{call} {n}: {counts:?}"
            );
            assert_eq!(dir.results().len(), ROWS, "{call} {n}");
            dir.otpdrive(&["status", "--verify"]).ends(0);
        }
    }
    println!("killed {kills} times while the ledger was made or first opened");
    assert!(kills > 10);
}

#[test]
#[ignore = "tests/prove disk"]
fn what_lies_in_the_place_of_a_ledger_is_refused_and_left_alone() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    let refused = |words: &str| {
        for args in [
            &["send", "list.csv"][..],
            &["check", "list.csv"],
            &["report"],
            &["status"],
            &["status", "--verify"],
        ] {
            let send = dir.otpdrive(args);
            let send = if args.len() == 2 && args[0] != "status" {
                send.default("--endpoint", &stub.url())
                    .default("--sender-id", "OTPDRV")
            } else {
                send
            };
            let ran = send.start().end_soon();
            assert_eq!(ran.code, 2, "{args:?}: {ran:?}");
            assert!(ran.stderr.contains(words), "{args:?}: {}", ran.stderr);
            assert!(
                ran.stderr.contains("otpdrive.db"),
                "{args:?}: {}",
                ran.stderr
            );
        }
        assert_eq!(stub.count(), 0);
    };
    let place = dir.path("otpdrive.db");
    fs::create_dir(&place).unwrap();
    refused("is a directory");
    fs::remove_dir(&place).unwrap();
    for (bytes, words) in [
        (Vec::new(), "the file is empty"),
        (b"x".to_vec(), "not a ledger"),
        (vec![0; 4096], "not a ledger"),
        (contacts(0..1000).into_bytes(), "not a ledger"),
    ] {
        fs::write(&place, &bytes).unwrap();
        refused(words);
        assert_eq!(fs::read(&place).unwrap(), bytes);
    }
    fs::remove_file(&place).unwrap();
    let log = dir.path("otpdrive.db-wal");
    fs::write(&log, "the log of a ledger that was deleted").unwrap();
    refused("its log");
    assert!(!place.exists());
    fs::remove_file(&log).unwrap();
    dir.send(&stub).ends(0);
}

#[test]
#[ignore = "tests/prove disk"]
fn a_ledger_that_was_deleted_or_emptied_with_its_log_left_is_not_begun_afresh() {
    for empty in [false, true] {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..ROWS));
        stub.hold();
        let run = dir.send(&stub).start();
        stub.wait_for(ROWS);
        run.kill();
        stub.release();
        let kept = fs::read(dir.path("otpdrive.db")).unwrap();
        let log = fs::read(dir.path("otpdrive.db-wal")).unwrap();
        if empty {
            fs::write(dir.path("otpdrive.db"), "").unwrap();
        } else {
            fs::remove_file(dir.path("otpdrive.db")).unwrap();
        }
        dir.send(&stub).ends(2);
        assert_eq!(stub.count(), ROWS);
        assert_eq!(
            fs::read(dir.path("otpdrive.db-wal")).unwrap(),
            log,
            "left as it was"
        );
        // Brought back, nothing is lost, which only a person can know.
        fs::write(dir.path("otpdrive.db"), kept).unwrap();
        let accepted = dir.send(&stub).args(&["--accept-restored-ledger"]);
        accepted.ends(1);
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
    stub.hold();
    let by = |name: &str| {
        dir.send(&stub)
            .args(&["--ledger", name, "--concurrency", "1"])
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
    assert_eq!(names.len(), 3, "the ledger, its note, the link: {names:?}");
    symlink("loop.db", dir.path("loop.db")).unwrap();
    let ran = by("loop.db").ends(2);
    assert!(ran.stderr.contains("loop.db"), "{}", ran.stderr);
}

#[test]
#[ignore = "tests/prove disk"]
fn two_that_want_to_make_the_same_ledger_do_not_send_twice() {
    let stub = Stub::start();
    for _ in 0..quick_or_long(5, 50) {
        let dir = Workdir::with(contacts(0..ROWS));
        stub.forget();
        let runs = [0; 4].map(|_| dir.send(&stub).args(&["-q"]).start());
        let codes = runs.map(|run| run.end_soon().code);
        assert!(codes.iter().all(|code| matches!(code, 0 | 5)), "{codes:?}");
        for n in 0..ROWS {
            assert_eq!(stub.count_for(&e164(n)), 1, "{codes:?}");
        }
    }
}

#[test]
#[ignore = "tests/prove disk"]
fn a_place_that_may_not_be_written_to_is_told_before_anything_is_sent() {
    let root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    // Where no permission binds root, another user tries.
    let other = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let by_other =
        |run: crate::support::workdir::Otpdrive| if root { run.under(&other) } else { run };
    let mode = |name: &str, mode| {
        fs::set_permissions(dir.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let refused = || {
        let ran = by_other(
            dir.send(&stub)
                .args(&["--ledger", "home/otpdrive.db", "--out", "out"]),
        )
        .run();
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.stderr.contains("home/otpdrive.db"), "{}", ran.stderr);
        assert!(
            ran.stderr.contains("this user may write to"),
            "{}",
            ran.stderr
        );
        assert_eq!(stub.count(), 0);
    };
    fs::create_dir(dir.path("home")).unwrap();
    fs::create_dir(dir.path("out")).unwrap();
    mode("out", 0o777);
    mode("", 0o755);
    mode("home", 0o555);
    refused();
    mode("home", 0o000);
    refused();
    // There is a ledger, and it may only be read.
    mode("home", 0o777);
    by_other(
        dir.send(&stub)
            .args(&["--ledger", "home/otpdrive.db", "--out", "out"]),
    )
    .ends(0);
    stub.forget();
    mode("home/otpdrive.db", 0o444);
    refused();
    mode("home/otpdrive.db", 0o000);
    refused();
    let ran = by_other(dir.otpdrive(&["status", "--ledger", "home/otpdrive.db"])).run();
    assert_eq!(ran.code, 2, "{ran:?}");
    mode("home/otpdrive.db", 0o600);
    mode("home", 0o555);
    let ran = by_other(dir.otpdrive(&["status", "--ledger", "home/otpdrive.db"])).run();
    assert!(
        ran.code == 0 || ran.stderr.contains("may write to"),
        "{ran:?}"
    );
    mode("home", 0o755);
}
