//! Where results go, and where they must not: onto the input or the ledger, by whatever name.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, phone};

fn codes() -> String {
    format!("phone,otp\n{},004512\n", phone(0))
}

#[test]
fn send_and_verify_of_one_list_have_results_of_their_own() {
    let stub = Stub::start();
    let dir = Workdir::with(codes());
    dir.send(&stub).ends(0);
    let sent = dir.read("list-results/results.csv");
    dir.verify(&stub).without("--out").ends(0);
    assert_eq!(dir.read("list-results/results.csv"), sent);
    let verified = dir.read("list-verify-results/results.csv");
    assert!(verified.contains(",verified,"), "{verified}");
    fs::remove_dir_all(dir.path("list-verify-results")).unwrap();
    dir.otpdrive(&["report", "--operation", "verify"]).ends(0);
    assert_eq!(dir.read("list-verify-results/results.csv"), verified);
    for command in ["send", "verify"] {
        dir.line(&format!("{command} list.csv --sandbox")).run();
    }
    for folder in ["list-sandbox-results", "list-verify-sandbox-results"] {
        assert_eq!(
            dir.names_in(folder),
            ["report.html", "report.json", "results.csv"]
        );
    }
}

/// Refused before anything is made or sent, with the remedy; the file is as it was.
#[track_caller]
fn refuses(dir: &Workdir, stub: &Stub, run: Otpdrive, remedy: &str) {
    let before = dir.files();
    let ran = run.ends(2);
    assert!(ran.stderr.contains("itself"), "{}", ran.stderr);
    assert!(ran.stderr.contains(remedy), "{}", ran.stderr);
    assert_eq!(stub.count(), 0);
    assert_eq!(dir.files(), before);
}

#[test]
fn an_output_that_is_the_input_is_refused_by_whatever_name() {
    let stub = Stub::start();
    let dir = Workdir::new();
    dir.write("results.csv", codes());
    fs::create_dir(dir.path("out")).unwrap();
    for (name, out) in [("results.csv", "."), ("./results.csv", "./out/..")] {
        for run in [dir.send(&stub), dir.verify(&stub)] {
            let run = run.input(name).args(&["--out", out]);
            refuses(&dir, &stub, run, "--out");
        }
    }
    let results = dir.path("results.csv");
    let from_stdin = dir.send(&stub).input("-").flags("--out . --campaign x");
    refuses(
        &dir,
        &stub,
        from_stdin.in_shell("exec \"$@\" < results.csv"),
        "--out",
    );
    for name in ["results.csv", "report.json"] {
        let link = dir.path("out").join(name);
        for symbolic in [true, false] {
            if symbolic {
                symlink(&results, &link).unwrap();
            } else {
                fs::hard_link(&results, &link).unwrap();
            }
            let run = dir.verify(&stub).input("results.csv");
            refuses(&dir, &stub, run.args(&["--out", "out"]), "--out");
            fs::remove_file(&link).unwrap();
        }
    }
    dir.send(&stub)
        .input("results.csv")
        .flags("--out out")
        .ends(0);
}

#[test]
fn a_ledger_that_is_the_input_or_an_output_is_refused() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    let run = dir.send(&stub).flags("--ledger list.csv");
    refuses(&dir, &stub, run, "--ledger");
    // Not there yet, and with the case that some file systems do not see.
    for name in ["results.csv", "Report.JSON"] {
        let run = dir.send(&stub).flags(format!("--out . --ledger {name}"));
        refuses(&dir, &stub, run, "--out");
    }
}

#[test]
fn a_key_file_is_not_replaced_and_a_folder_has_a_name() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    fs::create_dir(dir.path("out")).unwrap();
    dir.write("out/results.csv", "KK12");
    let run = dir
        .send(&stub)
        .flags("--api-key-file out/results.csv --out out");
    refuses(&dir, &stub, run, "--out");
    let ran = dir.send(&stub).args(&["--out", ""]).ends(2);
    assert!(
        ran.stderr.contains("--out: wanted a folder"),
        "{}",
        ran.stderr
    );
    assert_eq!(stub.count(), 0);
}

#[test]
fn a_folder_in_which_nothing_can_be_written_is_refused_before_the_first_request() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    let ran = dir.send(&stub).flags("--out /sys").ends(2);
    assert!(
        ran.stderr.contains("/sys") && ran.stderr.contains("--out"),
        "{}",
        ran.stderr
    );
    assert_eq!(stub.count(), 0);
}

#[test]
fn a_ledger_or_key_file_that_others_can_read_is_named() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.write("key.txt", "KKfile\n");
    let open = |name: &str, mode| {
        fs::set_permissions(dir.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("key.txt", 0o600);
    let send = || dir.send(&stub).flags("--api-key-file key.txt");
    let ran = send().ends(0);
    assert!(!ran.stderr.contains("chmod"), "{}", ran.stderr);
    open("otpdrive.db", 0o640);
    open("key.txt", 0o604);
    let ran = send().ends(0);
    for words in ["`chmod 600 ./otpdrive.db`", "`chmod 600 key.txt`"] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
}
