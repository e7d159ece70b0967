//! What other users of the machine can see: arguments, environment, modes of files; and panics.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::needles::{Allowed, KEY, Needles};
use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, phone};

/// With the key in a file and nothing in the environment.
fn with_key_file(dir: &Workdir, stub: &Stub) -> Otpdrive {
    dir.write("list.key", KEY);
    let run = dir.send(stub).no_key();
    run.args(&["-vvv", "--api-key-file", "list.key"])
        .env("RUST_BACKTRACE", "full")
}

/// Fails when one of these files, named in a line, has another mode.
#[track_caller]
fn have_mode(dir: &Workdir, names: &str, mode: u32) {
    for name in names.split(' ') {
        let metadata = fs::symlink_metadata(dir.path(name)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, mode, "{name}");
    }
}

fn set_mode(dir: &Workdir, name: &str, mode: u32) {
    fs::set_permissions(dir.path(name), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
#[ignore = "tests/prove secrets"]
fn the_running_program_shows_no_key_in_its_arguments_and_environment() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..8));
    let running = with_key_file(&dir, &stub).start();
    stub.wait_for(2);
    let needles = Needles::new(&[], &[]);
    for file in ["cmdline", "environ", "comm", "status"] {
        let bytes = fs::read(format!("/proc/{}/{file}", running.id())).unwrap();
        assert!(!bytes.is_empty());
        needles.are_not_in(file, &bytes, Allowed::Nothing);
    }
    stub.release();
    let ran = running.end_soon();
    super::hunt("key file", &dir, &ran, &needles, true);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
#[ignore = "tests/prove secrets"]
fn the_program_starts_no_other() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..8));
    let others = [
        "report",
        "status",
        "check list.csv",
        "send list.csv --sandbox --rate 99/s",
    ];
    let others = others.map(|line| dir.otpdrive(&[]).flags(line));
    let mut threads = 0;
    for command in [with_key_file(&dir, &stub)].into_iter().chain(others) {
        let calls = ["-e", "trace=execve,execveat,fork,vfork,clone,clone3"];
        command.strace("trace", &calls).ends(0);
        let trace = dir.read("trace");
        let calls: Vec<&str> = trace.lines().filter(|line| line.contains('(')).collect();
        let (own, others) = calls.split_first().unwrap();
        assert!(own.contains("execve("), "{trace}");
        let thread = ["CLONE_THREAD", "clone resumed", "clone3 resumed"];
        let is_thread = |call: &&str| thread.iter().any(|word| call.contains(word));
        assert!(others.iter().all(is_thread), "{trace}");
        threads += others.len();
    }
    assert!(threads > 5);
    println!("{threads} threads, no process");
}

/// Under a umask that forbids nothing; whatever makes a file or changes its mode is in `trace`.
fn making_files(command: Otpdrive) -> Otpdrive {
    let calls = "trace=open,openat,creat,mkdir,mkdirat,chmod,fchmod,fchmodat";
    let command = command.in_shell("umask 000; exec \"$@\"");
    command.strace("trace", &["-e", calls])
}

/// How many files and folders were made, drafts and temporary files too, each with the rights that
/// it has to have, from the first moment.
#[track_caller]
fn made_for_one_user(trace: &str) -> usize {
    let mut made = BTreeSet::new();
    for line in trace.lines().filter(|line| !line.contains("= -1")) {
        let of = |calls: &[&str]| calls.iter().any(|call| line.contains(call));
        if of(&["O_CREAT", "O_TMPFILE", "mkdir", "chmod"]) {
            let folder = line.contains("mkdir");
            let rights = if folder { ", 0700)" } else { ", 0600)" };
            assert!(line.contains(rights), "{line}");
            made.insert(line);
        }
    }
    made.len()
}

#[test]
#[ignore = "tests/prove secrets"]
fn files_are_for_their_user_alone_whatever_the_umask() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..8));
    let running = making_files(with_key_file(&dir, &stub).args(&["--out", "a/b"])).start();
    stub.wait_for(2);
    let ledger = "otpdrive.db otpdrive.db.otpdrive-lock";
    have_mode(&dir, ledger, 0o600);
    have_mode(&dir, "otpdrive.db-wal otpdrive.db-shm", 0o600);
    stub.release();
    assert_eq!(running.end_soon().code, 0);
    have_mode(&dir, ledger, 0o600);
    have_mode(&dir, "a/b/results.csv a/b/report.json", 0o600);
    have_mode(&dir, "a a/b", 0o700);
    let made = made_for_one_user(&dir.read("trace"));
    assert!(made >= 7, "{made}");

    // Standard input is kept in a temporary file.
    let check = dir.line("check --campaign x").stdin(contacts(0..3));
    making_files(check).ends(0);
    assert!(made_for_one_user(&dir.read("trace")) > 0);
    println!("{made} files and folders made under umask 000: 0600 and 0700");
}

#[test]
#[ignore = "tests/prove secrets"]
fn files_in_a_folder_that_is_open_to_all_are_still_for_their_user_alone() {
    let (results, report) = ("list-results/results.csv", "list-results/report.json");
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    fs::create_dir(dir.path("list-results")).unwrap();
    set_mode(&dir, "list-results", 0o777);
    dir.write("victim", "untouched");
    symlink(dir.path("victim"), dir.path(report)).unwrap();
    dir.write(results, "old");
    set_mode(&dir, results, 0o666);
    let before = fs::File::open(dir.path(results)).unwrap();
    dir.send(&stub).ends(0);
    // The link is none any more.
    have_mode(&dir, results, 0o600);
    have_mode(&dir, report, 0o600);
    assert_eq!(dir.read("victim"), "untouched");
    // Whoever had the old file open does not see the new one.
    assert_eq!(std::io::read_to_string(before).unwrap(), "old");
    // The folder is its owner's business.
    have_mode(&dir, "list-results", 0o777);
    assert!(dir.results()[0]["otp_phone"].ends_with(&phone(0)));
}

#[test]
#[ignore = "tests/prove secrets"]
fn a_panic_says_one_line_without_secrets_and_exits_with_70() {
    let numbers: Vec<String> = (0..3).map(phone).collect();
    let needles = Needles::new(&numbers, &[]);
    // No thread can be made: the standard library panics then.
    let no_threads = ["-e", "inject=clone,clone3:error=EAGAIN"];
    for backtrace in ["0", "full"] {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..3));
        let run = with_key_file(&dir, &stub).args(&["--progress", "always"]);
        let run = run.env("RUST_BACKTRACE", backtrace);
        let ran = run.strace("/dev/null", &no_threads).run();
        assert_eq!(ran.code, 70, "{}", ran.stderr);
        let (_, about) = ran.stderr.split_once("otpdrive: a bug").unwrap();
        let (line, trace) = about.split_once('\n').unwrap();
        assert!(line.contains("failed to spawn thread"), "{}", ran.stderr);
        assert_eq!(trace.is_empty(), backtrace == "0", "{}", ran.stderr);
        super::hunt("panic", &dir, &ran, &needles, true);
        // And nothing is lost: the same command goes on.
        with_key_file(&dir, &stub).ends(0);
        assert_eq!(dir.statuses(), ["sent"; 3]);
    }
}
