//! What other users of the machine can see: arguments, environment, modes of files; and panics.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::needles::{KEY, Needles};
use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, phone};

/// With the key in a file and nothing in the environment.
fn with_key_file(dir: &Workdir, stub: &Stub) -> Otpdrive {
    dir.write("list.key", KEY);
    let run = dir
        .send(stub)
        .no_key()
        .args(&["-vvv", "--api-key-file", "list.key"]);
    run.env("RUST_BACKTRACE", "full")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
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
        assert!(!bytes.is_empty() || file == "environ");
        needles.are_not_in(file, &bytes, false);
    }
    stub.release();
    let ran = running.end_soon();
    super::hunt("key file", &dir, Some(&ran), &needles);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
}

#[test]
#[ignore = "tests/prove secrets"]
fn the_program_starts_no_other() {
    let stub = Stub::start();
    let calls = ["-e", "trace=execve,execveat,fork,vfork,clone,clone3"];
    let traced = |command: Otpdrive| command.strace("trace", &calls).ends(0);
    let dir = Workdir::with(contacts(0..8));
    traced(with_key_file(&dir, &stub));
    let mut trace = dir.read("trace");
    for args in [&["report"][..], &["status"], &["check", "list.csv"]] {
        traced(dir.otpdrive(args));
        trace += &dir.read("trace");
    }
    let rehearsal = dir.otpdrive(&["send", "list.csv", "--sandbox", "--rate", "unlimited"]);
    traced(rehearsal);
    trace += &dir.read("trace");
    let calls: Vec<&str> = trace.lines().filter(|line| line.contains('(')).collect();
    let of = |name: &str| calls.iter().filter(|call| call.contains(name)).count();
    assert_eq!(
        of("execve("),
        5,
        "one for each of the five programs\n{trace}"
    );
    assert_eq!(of("fork(") + of("execveat("), 0, "{trace}");
    let threads: Vec<_> = calls.iter().filter(|call| call.contains("clone")).collect();
    assert!(threads.len() > 5, "{trace}");
    for thread in &threads {
        assert!(
            thread.contains("CLONE_THREAD") || thread.contains("resumed"),
            "{thread}"
        );
    }
    println!("{} threads, no process", threads.len());
}

#[test]
#[ignore = "tests/prove secrets"]
fn files_are_for_their_user_alone_whatever_the_umask() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..8));
    let run = with_key_file(&dir, &stub).args(&["--out", "a/b"]);
    let running = making_files(run).start();
    stub.wait_for(2);
    let ledger = [
        "otpdrive.db",
        "otpdrive.db-wal",
        "otpdrive.db-shm",
        "otpdrive.db.otpdrive-lock",
    ];
    for name in ledger {
        assert_eq!(mode(&dir.path(name)), 0o600, "{name} while it runs");
    }
    stub.release();
    assert_eq!(running.end_soon().code, 0);
    for name in ["otpdrive.db", "a/b/results.csv", "a/b/report.json"] {
        assert_eq!(mode(&dir.path(name)), 0o600, "{name}");
    }
    for name in ["a", "a/b"] {
        assert_eq!(mode(&dir.path(name)), 0o700, "{name}");
    }
    // Nothing was wider for a moment either: drafts, temporary files.
    let trace = dir.read("trace");
    let made = made_for_one_user(&trace);
    assert!(made >= 7, "{trace}");
    assert!(
        !trace.contains("chmod(") || !trace.contains("066"),
        "{trace}"
    );

    // Standard input is kept in a temporary file.
    let check = dir.otpdrive(&["check"]).stdin(contacts(0..3));
    making_files(check).ends(0);
    assert!(made_for_one_user(&dir.read("trace")) > 0);
    println!("{made} files and folders made under umask 000: 0600 and 0700");
}

/// Under a umask that forbids nothing; whatever makes a file or changes its mode is in `trace`.
fn making_files(command: Otpdrive) -> Otpdrive {
    let calls = "trace=open,openat,creat,mkdir,mkdirat,chmod,fchmod,fchmodat";
    command
        .in_shell("umask 000; exec \"$@\"")
        .strace("trace", &["-e", calls])
}

/// How many files and folders were made, each with the rights that it has to have.
#[track_caller]
fn made_for_one_user(trace: &str) -> usize {
    let making = ["O_CREAT", "O_TMPFILE", "mkdir"];
    let made: BTreeSet<&str> = trace
        .lines()
        .filter(|line| making.iter().any(|word| line.contains(word)) && !line.contains("= -1"))
        .collect();
    for line in &made {
        let folder = line.contains("mkdir");
        let rights = if folder { ", 0700)" } else { ", 0600)" };
        assert!(line.contains(rights), "{line}");
    }
    made.len()
}

#[test]
#[ignore = "tests/prove secrets"]
fn files_in_a_folder_that_is_open_to_all_are_still_for_their_user_alone() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    let out = dir.path("list-results");
    fs::create_dir(&out).unwrap();
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).unwrap();
    dir.write("victim", "untouched");
    std::os::unix::fs::symlink(dir.path("victim"), out.join("report.json")).unwrap();
    fs::write(out.join("results.csv"), "old").unwrap();
    fs::set_permissions(out.join("results.csv"), fs::Permissions::from_mode(0o666)).unwrap();
    let before = fs::File::open(out.join("results.csv")).unwrap();
    dir.send(&stub).ends(0);
    assert_eq!(mode(&out.join("results.csv")), 0o600);
    assert!(!out.join("report.json").is_symlink());
    assert_eq!(mode(&out.join("report.json")), 0o600);
    assert_eq!(dir.read("victim"), "untouched");
    // Whoever had the old file open does not see the new one.
    assert_eq!(std::io::read_to_string(before).unwrap(), "old");
    assert_eq!(mode(&out), 0o777, "the folder is its owner's business");
    assert!(dir.results()[0]["otp_phone"].ends_with(&phone(0)));
}

#[test]
#[ignore = "tests/prove secrets"]
fn a_panic_says_one_line_without_secrets_and_exits_with_70() {
    // No thread can be made: the standard library panics then.
    let no_threads = ["-e", "inject=clone,clone3:error=EAGAIN"];
    for (backtrace, lines) in [("0", 1), ("full", 2)] {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..3));
        let run = with_key_file(&dir, &stub).args(&["--progress", "always"]);
        let ran = run
            .env("RUST_BACKTRACE", backtrace)
            .strace("/dev/null", &no_threads)
            .run();
        assert_eq!(ran.code, 70, "{}", ran.stderr);
        let about: Vec<&str> = ran
            .stderr
            .lines()
            .skip_while(|line| !line.contains("a bug"))
            .collect();
        assert!(about[0].starts_with("otpdrive: a bug"), "{}", ran.stderr);
        assert!(
            about[0].contains("failed to spawn thread"),
            "{}",
            ran.stderr
        );
        assert!(
            about.len() >= lines && (lines > 1 || about.len() == 1),
            "{}",
            ran.stderr
        );
        let numbers: Vec<String> = (0..3).map(phone).collect();
        super::hunt("panic", &dir, Some(&ran), &Needles::new(&numbers, &[]));
        // And nothing is lost: the same command goes on.
        with_key_file(&dir, &stub).ends(0);
        assert_eq!(dir.statuses(), ["sent"; 3]);
    }
}

/// What holds a key or a code must not be printable by `{:?}` as it is, for that is how panics and
/// logs print.
#[test]
#[ignore = "tests/prove secrets"]
fn no_type_that_prints_itself_keeps_a_secret_as_plain_text() {
    const NAMES: [&str; 7] = [
        "key", "api_key", "code", "codes", "otp", "password", "secret",
    ];
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut kept = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let (mut derives_debug, mut prints_itself) = (false, false);
            for line in text.lines() {
                if line.starts_with("#[derive(") {
                    derives_debug = line.contains("Debug");
                } else if line.contains("struct ") || line.contains("enum ") {
                    prints_itself = std::mem::take(&mut derives_debug);
                } else if line == "}" {
                    prints_itself = false;
                }
                let field = line.trim().trim_start_matches("pub(super) ");
                let field = field.trim_start_matches("pub ");
                let Some((name, kind)) = field.split_once(": ") else {
                    continue;
                };
                let plain = ["String", "str", "u8", "Cow"]
                    .iter()
                    .any(|t| kind.contains(t));
                if NAMES.contains(&name) && kind.contains("SecretString") {
                    kept += 1;
                } else if NAMES.contains(&name) && plain {
                    assert!(!prints_itself, "{}: {line}", path.display());
                }
            }
        }
    }
    assert!(kept >= 6, "{kept}");
    let number = otpdrive::outcome::Number::new(919_876_543_210).unwrap();
    assert_eq!(format!("{:?}", Some(number)), "Some(+9198******10)");
}
