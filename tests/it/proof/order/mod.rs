//! The order of durability, told from the system calls: for every request the disk holds its intent
//! before the first byte of it leaves. See [`disk`] for what is taken for "on the disk".

mod disk;
mod trace;

use crate::proof::quick_or_long;
use crate::support::gate::{Gate, by_number};
use crate::support::workdir::{Otpdrive, Ran, Workdir};
use crate::support::{code, contacts, phone};
use disk::{Cut, Files, Finding, cuts, judge, ledger_files};
use trace::hex;

/// A run that was watched.
struct Watched {
    ran: Ran,
    trace: String,
    before: Files,
}

impl Watched {
    fn judge(&self) -> Finding {
        judge(&self.trace, &self.before)
    }
}

/// Runs it under strace; `more` are further arguments for it.
fn watch(dir: &Workdir, command: Otpdrive, more: &[&str]) -> Watched {
    let whole = ["-y", "-xx", "-s", "1000000", "--seccomp-bpf"];
    let args = [&whole[..], more, &["-e", trace::CALLS]].concat();
    let before = ledger_files(&dir.path("."));
    let ran = command.strace("trace.txt", &args).run();
    let trace = dir.read("trace.txt");
    Watched { ran, trace, before }
}

/// Watches a run to its end: every request the gateway saw is in the trace, and none left too early.
#[track_caller]
fn holds(dir: &Workdir, command: Otpdrive, gate: &Gate, what: &str) -> Finding {
    let earlier = gate.settled_log().len();
    let watched = watch(dir, command, &[]);
    let finding = watched.judge();
    let arrived = gate.settled_log().len() - earlier;
    assert!(
        [0, 1, 3].contains(&watched.ran.code),
        "{}",
        watched.ran.stderr
    );
    assert!(
        finding.violations.is_empty(),
        "{what}: {:#?}",
        finding.violations
    );
    assert_eq!(
        finding.requests, arrived,
        "{what}: requests in the trace, and at the gateway"
    );
    assert_eq!(finding.published, 2, "{what}");
    println!("{what}: {arrived} requests, each with its intent on the disk before its first byte");
    finding
}

#[test]
#[ignore = "tests/prove order"]
fn one_by_one_each_intent_is_durable_before_its_request_leaves() {
    let gate = Gate::start(&[]);
    let rows = quick_or_long(30, 1_000);
    let dir = Workdir::with(contacts(0..rows));
    let send = || dir.send_to(gate.url()).args(&["--concurrency", "1"]);
    let limit = (rows / 3).to_string();
    let first = holds(
        &dir,
        send().args(&["--limit", &limit]),
        &gate,
        "a new ledger",
    );
    let second = holds(&dir, send(), &gate, "the run after it");
    assert_eq!(first.requests + second.requests, rows);
}

#[test]
#[ignore = "tests/prove order"]
fn with_many_at_once_retries_and_fallback_each_intent_is_durable_before_its_request_leaves() {
    let gate = Gate::start(&[
        "--faults",
        "500=20%,rejected=20%,throttle=10%,drop=5%,408=10%",
    ]);
    let rows = quick_or_long(100, 3_000);
    let dir = Workdir::with(contacts(0..rows));
    let send = dir.send_to(gate.url()).args(&["--fallback", "call"]);
    let finding = holds(&dir, send, &gate, "32 at once, retries and fallback");
    assert!(
        finding.requests > rows * 5 / 4,
        "there were retries: {}",
        finding.requests
    );
    // At a pace, intents are written ahead.
    let dir = Workdir::with(contacts(rows..2 * rows));
    let send = dir.send_to(gate.url()).args(&["--rate", "200/s"]);
    holds(&dir, send, &gate, "at 200/s");
}

#[test]
#[ignore = "tests/prove order"]
fn checking_codes_each_intent_is_durable_before_its_request_leaves() {
    let gate = Gate::start(&["--faults", "500=10%,drop=10%,504=10%,429=2%"]);
    let rows = quick_or_long(60, 2_000);
    let line = |n| format!("{},{}\n", phone(n), code(n));
    let list = (0..rows).map(line).collect::<Vec<_>>().concat();
    let dir = Workdir::with(format!("phone,otp\n{list}"));
    let finding = holds(&dir, dir.verify_at(gate.url()), &gate, "verify");
    assert!(
        finding.requests > rows,
        "there were retries: {}",
        finding.requests
    );
}

#[test]
#[ignore = "tests/prove order"]
fn when_the_disk_refuses_to_sync_nothing_leaves_without_its_intent() {
    let gate = Gate::start(&[]);
    let (mut stopped, mut asked) = (0, 0);
    // The run that made the ledger is over: the main thread's syncs up to the start are few, so
    // the same count meets the thread that writes intents in the middle of its work.
    for nth in quick_or_long(vec![3, 11, 16, 23], (1..70).collect()) {
        let dir = Workdir::with(contacts(0..20));
        let send = || dir.send_to(gate.url()).args(&["--concurrency", "1"]);
        send().args(&["--limit", "1"]).ends(3);
        let fault = format!("inject=fsync,fdatasync:error=EIO:when={nth}+");
        let earlier = gate.settled_log().len();
        let watched = watch(&dir, send(), &["-e", &fault]);
        let finding = watched.judge();
        let arrived = gate.settled_log().len() - earlier;
        let told: Vec<_> = finding
            .violations
            .iter()
            .filter(|v| v.starts_with("request"))
            .collect();
        assert!(told.is_empty(), "from sync {nth} on: {told:#?}");
        assert_eq!(finding.requests, arrived);
        assert!(
            [0, 2, 3].contains(&watched.ran.code),
            "{}",
            watched.ran.stderr
        );
        stopped += usize::from(watched.ran.code != 0);
        asked += arrived;
    }
    assert!(stopped > 0 && asked > 0);
    println!(
        "EIO from a sync on: {stopped} runs stopped, {asked} requests, each with its intent on the disk"
    );
}

/// The power fails at random moments of a run, and with it goes a random part of what was not
/// synced; what is left is gone on with.
#[test]
#[ignore = "tests/prove order"]
fn after_a_power_cut_nobody_is_asked_twice_and_nobody_is_lost() {
    const CONCURRENCY: usize = 4;
    // Some ten moments a row.
    let rows = quick_or_long(30, 100);
    let gate = Gate::start(&["--latency", "1ms..4ms"]);
    let list = contacts(0..rows);
    let send = |dir: &Workdir, gate: &Gate| {
        let send = dir.send_to(gate.url());
        send.args(&["--concurrency", &CONCURRENCY.to_string()])
    };
    let dir = Workdir::with(&list);
    let watched = watch(&dir, send(&dir, &gate), &[]);
    assert_eq!(watched.ran.code, 0, "{}", watched.ran.stderr);
    let mut random = fastrand::Rng::with_seed(41);
    let cuts = cuts(&watched.trace, quick_or_long(60, 1_000), &mut random);
    let (mut unknown, mut in_the_middle) = (0, 0);
    for Cut { files, asked } in &cuts {
        let dir = Workdir::with(&list);
        for (path, content) in files {
            dir.write(path.file_name().unwrap().to_str().unwrap(), content);
        }
        let gate = Gate::start(&[]);
        // It is a copy: nothing else may be found wrong with it.
        let checked = dir.otpdrive(&["check", "list.csv"]).run();
        let said = &checked.stderr;
        assert!(checked.code == 0 || said.contains("it is a copy"), "{said}");
        let accepted = send(&dir, &gate).args(&["--accept-restored-ledger"]);
        let ran = accepted.run();
        assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
        let later = by_number(&gate.stop());
        let results = dir.results();
        assert_eq!(results.len(), rows);
        let mut open = 0;
        for row in &results {
            let was_asked = asked.contains(&row["otp_phone"][1..].parse().unwrap());
            let again = later.get(&row["otp_phone"]).map_or(0, Vec::len);
            match row["otp_status"].as_str() {
                "sent" => assert_eq!(again, usize::from(!was_asked), "{row:?}"),
                "unknown" => assert_eq!(again, 0, "{row:?}"),
                other => panic!("{other}: {row:?}"),
            }
            open += usize::from(row["otp_status"] == "unknown");
        }
        assert!(open <= CONCURRENCY, "{open} unknown");
        unknown += open;
        in_the_middle += usize::from((1..rows).contains(&asked.len()));
    }
    assert!(
        in_the_middle > cuts.len() / 4,
        "{in_the_middle} in the middle"
    );
    println!(
        "{} power cuts, {in_the_middle} of them in the middle of the sending: nobody asked twice, \
         nobody lost, {unknown} unknown",
        cuts.len()
    );
}

/// The judge must be able to find fault: with traces that were tampered with, and with a disk that
/// only says that it has synced.
#[test]
#[ignore = "tests/prove order"]
fn the_judge_sees_a_sync_that_is_missing_late_or_a_lie() {
    let gate = Gate::start(&[]);
    let rows = 12;
    let run = |more: &[&str]| {
        let dir = Workdir::with(contacts(0..rows));
        let send = dir.send_to(gate.url()).args(&["--concurrency", "1"]);
        let watched = watch(&dir, send, more);
        assert_eq!(watched.ran.code, 0, "{}", watched.ran.stderr);
        watched
    };
    let honest = run(&[]);
    assert!(honest.judge().violations.is_empty());
    let tampered = |lines: Vec<&str>| judge(&lines.join("\n"), &honest.before).violations;
    let about = |violations: &[String], what: &str| {
        violations
            .iter()
            .filter(|violation| violation.contains(what))
            .count()
    };
    let lines = || honest.trace.lines();
    let is_sync = |line: &str, of: &str| line.contains("sync(") && line.contains(&(hex(of) + ">"));

    let missing = tampered(
        lines()
            .filter(|line| !is_sync(line, "otpdrive.db-wal"))
            .collect(),
    );
    assert_eq!(about(&missing, "request "), rows, "{missing:#?}");

    let one = lines().filter(|l| is_sync(l, "otpdrive.db-wal")).count() / 2;
    let mut seen = 0;
    let one_missing = tampered(
        lines()
            .filter(|line| {
                seen += usize::from(is_sync(line, "otpdrive.db-wal"));
                !(is_sync(line, "otpdrive.db-wal") && (one..one + 2).contains(&seen))
            })
            .collect(),
    );
    assert!(about(&one_missing, "request ") >= 1, "{one_missing:#?}");

    let mut late: Vec<&str> = Vec::new();
    for line in lines() {
        let last = late
            .iter()
            .rposition(|earlier| earlier.contains("sync") && earlier.contains(") "));
        let at = last.filter(|_| line.contains(&format!("\"{}", hex("GET /"))));
        late.insert(at.unwrap_or(late.len()), line);
    }
    let late = tampered(late);
    assert!(about(&late, "request ") >= rows / 2, "{late:#?}");

    let unsafe_files = tampered(lines().filter(|line| !is_sync(line, "-draft")).collect());
    assert_eq!(
        about(&unsafe_files, "before it was durable"),
        2,
        "{unsafe_files:#?}"
    );
    let unsafe_names = tampered(
        lines()
            .filter(|line| !is_sync(line, "list-results"))
            .collect(),
    );
    assert_eq!(
        about(&unsafe_names, "not synced after"),
        2,
        "{unsafe_names:#?}"
    );

    let lied = run(&["-e", "inject=fsync,fdatasync:retval=0"])
        .judge()
        .violations;
    assert_eq!(about(&lied, "request "), rows, "{lied:#?}");
    println!("seen: syncs that were missing, that came too late, that did nothing");
}
