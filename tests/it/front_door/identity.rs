//! The ledger is the file, not its name: under a second name it is recognised, a copy of it is told
//! from it, and nothing that lies beside it is taken for ours.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Ran, Workdir};
use crate::support::{contacts, e164};

const ROWS: usize = 10;

/// `send` with this ledger, three at once.
fn with(dir: &Workdir, stub: &Stub, ledger: &str) -> Otpdrive {
    dir.send(stub)
        .args(&["--ledger", ledger, "--concurrency", "3"])
}

/// A folder with a ledger whose run was killed with three requests in flight.
fn killed(stub: &Stub) -> Workdir {
    let dir = Workdir::with(contacts(0..ROWS));
    stub.hold();
    let run = with(&dir, stub, "otpdrive.db").start();
    stub.wait_for(3);
    run.kill();
    stub.release();
    dir
}

/// Ends with 2, asks nothing more of the gateway, and says this.
#[track_caller]
fn refuses(stub: &Stub, command: Otpdrive, words: &str) -> Ran {
    let before = stub.count();
    let ran = command.start().end_soon();
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(
        ran.stderr.contains(words),
        "no {words:?} in: {}",
        ran.stderr
    );
    assert_eq!(stub.count(), before);
    ran
}

#[track_caller]
fn nobody_was_asked_twice(stub: &Stub) {
    for n in 0..ROWS {
        assert!(stub.count_for(&e164(n)) <= 1, "{n}");
    }
}

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

#[test]
fn a_ledger_with_two_names_is_refused_under_both() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    with(&dir, &stub, "one.db").args(&["--limit", "2"]).ends(3);
    fs::hard_link(dir.path("one.db"), dir.path("two.db")).unwrap();
    for name in ["one.db", "two.db"] {
        refuses(&stub, with(&dir, &stub, name), "2 names");
        for command in [&["check", "list.csv"][..], &["report"], &["status"]] {
            let command = dir.otpdrive(command).args(&["--ledger", name]);
            refuses(&stub, command, "2 names");
        }
    }
    fs::remove_file(dir.path("one.db")).unwrap();
    with(&dir, &stub, "two.db").ends(0);
    assert_eq!(stub.count(), ROWS);
    nobody_was_asked_twice(&stub);
}

#[test]
fn a_second_name_made_during_a_run_meets_the_lock_and_after_a_kill_is_refused() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..ROWS));
    let run = with(&dir, &stub, "one.db").start();
    stub.wait_for(3);
    fs::hard_link(dir.path("one.db"), dir.path("two.db")).unwrap();
    with(&dir, &stub, "two.db").ends(5);
    run.kill();
    stub.release();
    refuses(&stub, with(&dir, &stub, "two.db"), "2 names");
    fs::remove_file(dir.path("one.db")).unwrap();
    refuses(&stub, with(&dir, &stub, "two.db"), "log of that run");
    fs::rename(dir.path("two.db"), dir.path("one.db")).unwrap();
    with(&dir, &stub, "one.db").ends(1);
    assert_eq!(stub.count(), ROWS);
    nobody_was_asked_twice(&stub);
}

#[test]
fn a_bind_mount_is_the_same_ledger() {
    let may_mount = Command::new("unshare").args(["-m", "true"]).output();
    if !may_mount.is_ok_and(|tried| tried.status.success()) {
        println!("skipped: this user may not mount");
        return;
    }
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..ROWS));
    let run = with(&dir, &stub, "one.db").start();
    stub.wait_for(3);
    dir.write("two.db", "");
    let mounted = || {
        with(&dir, &stub, "two.db")
            .under(&["unshare", "-m"])
            .env("PATH", &std::env::var("PATH").unwrap())
            .in_shell("mount --bind one.db two.db && exec \"$@\"")
    };
    mounted().ends(5);
    run.kill();
    stub.release();
    refuses(&stub, mounted(), "log of that run");
    with(&dir, &stub, "one.db").ends(1);
    mounted().ends(1);
    assert_eq!(stub.count(), ROWS);
    nobody_was_asked_twice(&stub);
}

#[test]
fn a_ledger_moved_during_a_run_meets_the_lock_and_keeps_what_the_run_did() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..ROWS));
    let run = with(&dir, &stub, "one.db").start();
    stub.wait_for(3);
    fs::rename(dir.path("one.db"), dir.path("two.db")).unwrap();
    with(&dir, &stub, "two.db").ends(5);
    refuses(&stub, with(&dir, &stub, "one.db"), "one.db-wal");
    stub.release();
    let ran = run.end_soon();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("moved or replaced"), "{}", ran.stderr);
    assert_eq!(dir.statuses(), ["sent"; ROWS]);
    with(&dir, &stub, "two.db").ends(0);
    refuses(&stub, with(&dir, &stub, "one.db"), "one.db-wal");
    assert_eq!(stub.count(), ROWS);
}

#[test]
fn a_ledger_moved_without_its_log_is_refused_until_the_log_is_beside_it() {
    let stub = Stub::start();
    let dir = killed(&stub);
    fs::rename(dir.path("otpdrive.db"), dir.path("two.db")).unwrap();
    let ran = refuses(&stub, with(&dir, &stub, "two.db"), "log of that run");
    assert!(ran.stderr.contains("after the copy"), "{}", ran.stderr);
    // Whoever looks into it makes an empty log.
    dir.otpdrive(&["status", "--ledger", "two.db"]).ends(0);
    refuses(&stub, with(&dir, &stub, "two.db"), "log of that run");
    fs::rename(dir.path("otpdrive.db-wal"), dir.path("two.db-wal")).unwrap();
    with(&dir, &stub, "two.db").ends(1);
    assert_eq!(stub.count(), ROWS);
    nobody_was_asked_twice(&stub);
}

#[test]
fn a_copy_made_during_a_run_is_refused_until_it_is_accepted() {
    for with_log in [false, true] {
        let stub = Stub::start();
        stub.hold();
        let dir = Workdir::with(contacts(0..ROWS));
        let run = with(&dir, &stub, "one.db").start();
        stub.wait_for(3);
        fs::copy(dir.path("one.db"), dir.path("two.db")).unwrap();
        if with_log {
            fs::copy(dir.path("one.db-wal"), dir.path("two.db-wal")).unwrap();
        }
        let words = if with_log {
            "is a copy"
        } else {
            "log of that run"
        };
        refuses(&stub, with(&dir, &stub, "two.db"), words);
        stub.release();
        assert_eq!(run.end_soon().code, 0);
        refuses(&stub, with(&dir, &stub, "two.db"), words);
        for command in ["status", "report"] {
            let ran = dir.otpdrive(&[command, "--ledger", "two.db"]).ends(0);
            assert!(ran.stderr.contains(words), "{}", ran.stderr);
        }
        let check = dir.otpdrive(&["check", "list.csv", "--ledger", "two.db"]);
        refuses(&stub, check, "--accept-restored-ledger");
        // A look with the flag shows the plan, and changes nothing for the next command.
        let check = dir.otpdrive(&["check", "list.csv", "--ledger", "two.db"]);
        check.args(&["--accept-restored-ledger"]).ends(0);
        refuses(&stub, with(&dir, &stub, "two.db"), words);
        nobody_was_asked_twice(&stub);
        let accepted = || with(&dir, &stub, "two.db").args(&["--accept-restored-ledger"]);
        accepted().ends(i32::from(with_log));
        let after = stub.count();
        assert_eq!(after, if with_log { 2 * ROWS - 3 } else { 2 * ROWS });
        // From now on it is the ledger.
        with(&dir, &stub, "two.db").ends(i32::from(with_log));
        assert_eq!(stub.count(), after);
    }
}

#[test]
fn a_copy_put_in_the_place_of_a_ledger_during_its_run_is_told_from_it() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..ROWS));
    let run = with(&dir, &stub, "one.db").start();
    stub.wait_for(3);
    fs::rename(dir.path("one.db"), dir.path("two.db")).unwrap();
    fs::copy(dir.path("two.db"), dir.path("one.db")).unwrap();
    refuses(&stub, with(&dir, &stub, "one.db"), "is a copy");
    stub.release();
    let ran = run.end_soon();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("moved or replaced"), "{}", ran.stderr);
    assert_eq!(dir.statuses(), ["sent"; ROWS]);
    with(&dir, &stub, "two.db").ends(0);
    assert_eq!(stub.count(), ROWS);
}

#[test]
fn a_killed_runs_own_file_needs_no_flag_whatever_was_done_with_it_since() {
    let stub = Stub::start();
    let dir = killed(&stub);
    for command in [
        &["status"][..],
        &["status", "--verify"],
        &["report"],
        &["check", "list.csv"],
        &["check", "list.csv"],
        &["report", "--only", "pending"],
    ] {
        let ran = dir.otpdrive(command).ends(0);
        assert!(!ran.stderr.contains("may lack"), "{}", ran.stderr);
    }
    // A run that ends before its first request, and one that was told to stop.
    refuses(&stub, dir.send(&stub).without("--sender-id"), "--sender-id");
    let other = dir
        .send(&stub)
        .args(&["--campaign", "other", "--limit", "1", "--cooldown", "0s"]);
    other.ends(3);
    dir.send(&stub).ends(1);
    assert_eq!(stub.count(), ROWS + 1);
    assert_eq!(dir.report()["counts"]["unknown"], 3);
}

#[test]
fn a_copy_made_when_no_run_was_on_is_a_ledger() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    dir.send(&stub).args(&["--limit", "2"]).ends(3);
    fs::copy(dir.path("otpdrive.db"), dir.path("two.db")).unwrap();
    with(&dir, &stub, "two.db").ends(0);
    assert_eq!(stub.count(), ROWS);
}

#[test]
fn a_ledgers_name_is_a_path_whatever_it_looks_like() {
    for name in [
        "file:real.db",
        "file:x?mode=ro",
        "file:///tmp/x?vfs=none",
        ":memory:",
        "what?#50%41 off.db",
        "-wal",
    ] {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..ROWS));
        fs::create_dir_all(dir.path(name).parent().unwrap()).unwrap();
        let ledger = format!("--ledger={name}");
        let run = || dir.send(&stub).args(&[&ledger, "--concurrency", "3"]);
        stub.hold();
        let first = run().start();
        stub.wait_for(3);
        assert_eq!(run().run().code, 5, "{name}");
        first.kill();
        stub.release();
        run().ends(1);
        run().ends(1);
        dir.otpdrive(&["status", &ledger]).ends(0);
        assert_eq!(stub.count(), ROWS, "{name}");
        nobody_was_asked_twice(&stub);
        assert!(dir.path(name).is_file(), "{name}: {:?}", dir.names());
        assert!(!dir.path("real.db").exists());
    }
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    refuses(&stub, with(&dir, &stub, ""), "--ledger");
}

#[test]
fn nothing_that_has_the_name_of_a_lock_is_emptied_followed_or_waited_for() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    dir.write("Cargo.lock", "somebody else's");
    with(&dir, &stub, "Cargo").ends(0);
    assert_eq!(dir.read("Cargo.lock"), "somebody else's");

    for (n, kind) in ["link", "dangling", "pipe", "folder", "file"]
        .into_iter()
        .enumerate()
    {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..ROWS));
        dir.write("victim", "somebody else's");
        for name in ["otpdrive.db.lock", "otpdrive.db.otpdrive-lock"] {
            let path = dir.path(name);
            match n {
                0 => symlink("victim", path).unwrap(),
                1 => symlink("nowhere", path).unwrap(),
                2 => make_fifo(&path),
                3 => fs::create_dir(path).unwrap(),
                _ => fs::write(path, "somebody else's").unwrap(),
            }
        }
        stub.hold();
        let run = with(&dir, &stub, "otpdrive.db").start();
        stub.wait_for(3);
        let held = dir.send(&stub).start().end_soon();
        assert_eq!(held.code, 5, "{kind}: {}", held.stderr);
        let status = dir.otpdrive(&["status"]).start().end_soon();
        assert!(status.stdout.contains("running"), "{kind}: {status:?}");
        stub.release();
        assert_eq!(run.end_soon().code, 0, "{kind}");
        assert_eq!(dir.read("victim"), "somebody else's", "{kind}");
        assert!(!dir.path("nowhere").exists());
        let names = dir.names();
        assert!(
            names.contains(&"otpdrive.db.otpdrive-lock".to_owned()),
            "{kind}: {names:?}"
        );
    }
}

#[test]
fn a_lock_does_not_hang_on_a_file_beside_the_ledger() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..ROWS));
    let run = with(&dir, &stub, "otpdrive.db").start();
    stub.wait_for(3);
    for name in dir.names() {
        if name.contains("lock") {
            fs::remove_file(dir.path(&name)).unwrap();
        }
    }
    with(&dir, &stub, "otpdrive.db").ends(5);
    stub.release();
    assert_eq!(run.end_soon().code, 0);
    nobody_was_asked_twice(&stub);
    assert!(dir.path("otpdrive.db-wal").metadata().is_err());
}

#[test]
fn a_run_does_not_start_while_somebody_reads_from_before_it() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    dir.send(&stub).args(&["--limit", "2"]).ends(3);
    let db = rusqlite::Connection::open(dir.path("otpdrive.db")).unwrap();
    db.execute_batch("BEGIN; SELECT * FROM run;").unwrap();
    refuses(&stub, dir.send(&stub), "somebody reads in it");
    drop(db);
    dir.send(&stub).ends(0);
    assert_eq!(stub.count(), ROWS);
}

#[test]
fn nothing_that_has_the_name_of_a_draft_is_emptied_followed_or_waited_for() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..ROWS));
    dir.write("victim", "somebody else's");
    fs::create_dir(dir.path("list-results")).unwrap();
    for end in ["tmp", "otpdrive-draft"] {
        for file in ["results.csv", "report.json"] {
            let path = |n: usize| dir.path(&format!("list-results/.{file}.{n}abcde.{end}"));
            make_fifo(&path(1));
            symlink(dir.path("victim"), path(2)).unwrap();
            fs::create_dir(path(3)).unwrap();
            if end == "tmp" {
                fs::write(path(4), "somebody else's").unwrap();
            }
        }
    }
    make_fifo(&dir.path("otpdrive.db.half-made"));
    symlink("victim", dir.path("otpdrive.db.half-made-wal")).unwrap();
    let before = dir.names_in("list-results");
    let ran = dir.send(&stub).start().end_soon();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(dir.read("victim"), "somebody else's");
    let mut after = dir.names_in("list-results");
    after.retain(|name| name.starts_with('.'));
    assert_eq!(after, before);
    assert!(dir.path("otpdrive.db.half-made-wal").is_symlink());
}

#[test]
fn a_ledger_into_which_somebody_put_something_is_refused_and_left_alone() {
    for (made, named) in [
        ("CREATE TABLE mine (x)", "the table mine"),
        ("CREATE VIEW mine AS SELECT * FROM run", "the view mine"),
        (
            "CREATE TRIGGER intent AFTER INSERT ON intent BEGIN DELETE FROM intent; END",
            "the trigger intent",
        ),
        ("CREATE INDEX mine ON contact (number)", "the index mine"),
    ] {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..ROWS));
        dir.send(&stub).args(&["--limit", "2"]).ends(3);
        let db = rusqlite::Connection::open(dir.path("otpdrive.db")).unwrap();
        db.execute_batch(made).unwrap();
        db.close().unwrap();
        let bytes = fs::read(dir.path("otpdrive.db")).unwrap();
        refuses(&stub, dir.send(&stub), named);
        for command in [
            &["check", "list.csv"][..],
            &["report"],
            &["status"],
            &["status", "--verify"],
        ] {
            refuses(&stub, dir.otpdrive(command), named);
        }
        assert_eq!(fs::read(dir.path("otpdrive.db")).unwrap(), bytes, "{made}");
    }
}
