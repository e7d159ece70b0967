//! What is said: once, in plain words, with what was wanted and what to do.

use crate::support::stub::{self, Stub};
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, phone};

#[test]
fn no_error_is_said_twice_and_none_speaks_of_an_end_before_the_start() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.write("file", "");
    let send = |flags: &str| dir.send(&stub).flags(flags);
    for (run, words) in [
        (dir.send(&stub).input("none.csv"), "No such file"),
        (send("--api-key-file none.txt"), "No such file"),
        (send("--out file/results"), "Not a directory"),
        (send("--ledger none/x.db"), "No such file"),
        (dir.line("report --ledger file/x.db"), "Not a directory"),
        (send("--proxy nonsense"), "such as"),
        (send("--endpoint nonsense"), "such as"),
    ] {
        let ran = run.ends(2);
        let told = ran.stderr.matches(words).count();
        assert_eq!(told, 1, "{words}: {}", ran.stderr);
        for words in ["ledger has", "nothing is lost", "relative URL"] {
            assert!(!ran.stderr.contains(words), "{}", ran.stderr);
        }
    }
    let nowhere = dir
        .send_to(&stub::url(Stub::nowhere()))
        .flags("--max-outage 300ms");
    let ran = nowhere.ends(3);
    let stopped = ran
        .stderr
        .lines()
        .filter(|line| line.contains("--max-outage"));
    assert_eq!(stopped.count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("refused"), "{}", ran.stderr);
}

#[test]
fn every_value_that_cannot_be_read_is_answered_with_an_example() {
    let dir = Workdir::with(contacts(0..1));
    for (flags, words) in [
        ("--concurrency 0", "at least 1"),
        ("--max-attempts 0", "at least 1"),
        ("--max-attempts x", "such as 32"),
        ("--limit -1", "such as 32"),
        ("--concurrency 99999999999999999999999", "smaller"),
        ("--rate fast", "such as 10/s"),
        ("--timeout 3", "such as 500ms"),
        ("--backoff 1s", "such as 500ms..30s"),
        ("--max-invalid many", "such as 50%"),
        ("--refused-alike 0", "such as 20"),
        ("--delimiter ab", "such as ,"),
        ("--endpoint kookoo.in", "such as https://"),
        ("--region India", "IN"),
    ] {
        let flags: Vec<&str> = flags.split(' ').collect();
        let flag = format!("{}={}", flags[0], flags[1]);
        let ran = dir.otpdrive(&["send", "list.csv", &flag]).ends(2);
        assert!(ran.stderr.contains(words), "{flag}: {}", ran.stderr);
        assert!(ran.stderr.contains(flags[0]), "{flag}: {}", ran.stderr);
        for jargon in [
            "non-zero",
            "digit found",
            "too large to fit",
            "invalid value",
        ] {
            assert!(!ran.stderr.contains(jargon), "{flag}: {}", ran.stderr);
        }
    }
    let ran = dir.line("sandbox --listen here").ends(2);
    assert!(ran.stderr.contains("such as 127.0.0.1"), "{}", ran.stderr);
}

#[test]
fn a_flag_is_not_taken_for_a_mistake_of_another_kind() {
    let stub = Stub::start();
    let dir = Workdir::with("phone,otp\n9876500000,123456\n");
    dir.verify(&stub).flags("--yes").run();
    assert_eq!(stub.count(), 1);
    for (flags, words) in [
        ("--limit -1", "--limit: wanted a whole number"),
        ("--phone-column none", "--phone-column: it is needed"),
        ("--otp-column none", "--otp-column: it is needed"),
    ] {
        let ran = dir.verify(&stub).flags(flags).ends(2);
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    dir.write("a\u{1}b.csv", contacts(0..1));
    let ran = dir.send(&stub).input("a\u{1}b.csv").ends(2);
    assert!(
        ran.stderr.contains("character that cannot be seen"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_remedy_can_be_pasted() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..1));
    dir.write("my leads.csv", contacts(0..1));
    dir.send(&stub).input("my leads.csv").ends(0);
    let ran = dir.send(&stub).ends(0);
    let is_whole = |line: &str| line.contains("--campaign 'my leads';");
    assert!(ran.stderr.lines().any(is_whole), "{}", ran.stderr);
}

#[test]
fn a_limit_that_was_asked_for_is_neither_warning_nor_error() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    let ran = dir.send(&stub).flags("--limit 1").ends(3);
    assert_eq!(
        ran.stderr.matches("--limit was reached").count(),
        1,
        "{}",
        ran.stderr
    );
    assert!(
        !ran.stderr.contains("WARN") && !ran.stderr.contains("stopped"),
        "{}",
        ran.stderr
    );
    let ran = dir.send(&stub).flags("--limit 1 -q").ends(3);
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_share_that_is_above_another_looks_so() {
    let stub = Stub::start();
    let dir = Workdir::with(format!("phone\n{}\n{}\nA\n", phone(1), phone(2)));
    let ran = dir.send(&stub).flags("--max-invalid 33%").ends(2);
    assert!(ran.stderr.contains("(33.3 %)"), "{}", ran.stderr);
    assert!(ran.stderr.contains("(33 %)"), "{}", ran.stderr);
}

#[test]
fn a_short_timeout_alone_is_enough() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.send(&stub).flags("--timeout 3s").ends(0);
}

#[test]
fn ids_are_trimmed_and_odd_ones_refused_by_their_names() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    let send = |flag: &str, id: &str| dir.send(&stub).args(&[flag, id, "--channel", "call"]);
    for flag in ["--sender-id", "--caller-id"] {
        for (id, words) in [
            ("OZ ONTL", "a space"),
            ("\"OZONTL\"", "a quote"),
            ("OZ\u{2019}NTL", "a quote"),
            ("OZ\tNTL", "cannot be seen"),
            ("OZ\u{200b}NTL", "cannot be seen"),
        ] {
            let ran = send(flag, id).ends(2);
            for words in [flag, words, "such as"] {
                assert!(ran.stderr.contains(words), "{id:?}: {}", ran.stderr);
            }
        }
    }
    for (id, shown) in [
        ("\"OZONTL\"", "\"\"OZONTL\"\""),
        ("OZ\u{1}", "\"OZ\\u0001\""),
    ] {
        let run = dir.send(&stub).without("--sender-id");
        let ran = run.env("KOOKOO_SENDER_ID", id).ends(2);
        assert!(ran.stderr.contains("KOOKOO_SENDER_ID"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("--sender-id"), "{}", ran.stderr);
        assert!(ran.stderr.contains(shown), "{}", ran.stderr);
    }
    assert_eq!(stub.count(), 0);
    let trimmed = dir.send(&stub).without("--sender-id");
    trimmed.env("KOOKOO_SENDER_ID", " OZONTL\r\n").ends(0);
    assert!(stub.log()[0].target.ends_with("&sender_id=OZONTL"));
}

#[test]
fn a_key_file_is_looked_at_by_check_too_and_says_what_is_wrong_with_it() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..1));
    dir.write("latin", b"KK\xe9");
    for (name, text, words) in [
        ("empty", "\u{feff} \r\n", "is empty"),
        ("quoted", "\"KK12\"\n", "quotes"),
        ("odd", "KK 12", "odd character"),
        ("named", "KOOKOO_API_KEY=KK12", "behind its name"),
        ("long", &"K".repeat(300), "300 characters"),
        ("none", "", "cannot be read"),
        ("latin", "", "UTF-8"),
    ] {
        if !text.is_empty() {
            dir.write(name, text);
        }
        let runs: [Otpdrive; 2] = [dir.send(&stub), dir.line("check list.csv")];
        for run in runs {
            let ran = run.args(&["--api-key-file", name]).ends(2);
            for words in [words, "--api-key-file"] {
                assert!(ran.stderr.contains(words), "{name}: {}", ran.stderr);
            }
            assert!(!ran.stderr.contains("no API key"), "{}", ran.stderr);
        }
    }
    dir.line("check list.csv").no_key().ends(0);
}
