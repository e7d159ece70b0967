//! The order of durability, told from the system calls: for every request the disk holds its intent
//! before the first byte of it leaves. See [`disk`] for what is taken for "on the disk".

mod disk;
mod trace;

use crate::proof::crash::{Campaign, KINDS};
use crate::proof::{nobody_twice_nobody_lost, quick_or_long};
use crate::support::contacts;
use crate::support::gate::{Gate, counts};
use crate::support::workdir::{Otpdrive, Ran, Workdir};
use disk::{Files, Finding, cut, judge, ledger_files, write};
use trace::hex;

/// A run that was watched.
struct Watched {
    ran: Ran,
    trace: String,
    finding: Finding,
}

/// Runs it under strace, which is given this for `inject` too; every request that the gateway sees
/// is in the trace.
#[track_caller]
fn watch(dir: &Workdir, command: Otpdrive, gate: &Gate, fault: Option<&str>) -> Watched {
    let fault = fault.map_or(String::new(), |fault| format!("-e inject={fault}"));
    let args = format!(
        "-y -xx -s 1000000 --seccomp-bpf -e trace={} {fault}",
        trace::CALLS
    );
    let args: Vec<_> = args.split_whitespace().collect();
    let (before, earlier) = (ledger_files(&dir.path(".")), gate.settled_log().len());
    let ran = command.strace("trace.txt", &args).run();
    let arrived = gate.settled_log().len() - earlier;
    let trace = dir.read("trace.txt");
    let finding = judge(&trace, &before);
    assert!((0..=3).contains(&ran.code), "{}", ran.stderr);
    assert_eq!(finding.requests, arrived, "as the gateway saw");
    Watched {
        ran,
        trace,
        finding,
    }
}

/// Two requests in five are tried again; who is refused may get a call.
const FAULTS: &str = "500=20%,rejected=20%,throttle=10%,drop=5%,408=10%";

/// One by one; many at once; at a pace, where intents are written ahead.
const PACES: [&str; 3] = ["--concurrency 1", "--concurrency 32", "--rate 200/s"];

#[test]
#[ignore = "tests/prove order"]
fn each_intent_is_durable_before_its_request_leaves() {
    let rows = quick_or_long(50, 1_500);
    let gate = Gate::start(&["--faults", FAULTS]);
    for (nth, kind) in KINDS.into_iter().enumerate() {
        let campaign = Campaign::new(kind, nth * rows..(nth + 1) * rows);
        let (pace, what) = (PACES[nth % 3], kind.command);
        let mut requests = 0;
        // A new ledger, and the run after it.
        for limit in [rows / 3, rows] {
            let limit = format!("--limit {limit}");
            let command = campaign.command(&gate).flags(pace).flags(&limit);
            let finding = watch(&campaign.dir, command, &gate, None).finding;
            assert_eq!(finding.violations, [""; 0], "{what}");
            requests += finding.requests;
        }
        assert!(requests > rows * 5 / 4, "there were retries: {requests}");
        println!("{what} {pace}: {requests} requests, each with its intent on the disk");
    }
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
        let send = || dir.send_to(gate.url()).flags("--concurrency 1");
        send().flags("--limit 1").ends(3);
        let fault = format!("fsync,fdatasync:error=EIO:when={nth}+");
        let watched = watch(&dir, send(), &gate, Some(&fault));
        let mut told = watched.finding.violations;
        told.retain(|violation| violation.starts_with("request"));
        assert!(told.is_empty(), "from sync {nth} on: {told:#?}");
        stopped += usize::from(watched.ran.code != 0);
        asked += watched.finding.requests;
    }
    assert!(stopped > 0 && asked > 0);
    println!("EIO from a sync on: {stopped} runs stopped, {asked} requests, each with its intent");
}

/// The power fails at random moments of a run, and with it goes a random part of what was not
/// synced; what is left is gone on with.
#[test]
#[ignore = "tests/prove order"]
fn after_a_power_cut_nobody_is_asked_twice_and_nobody_is_lost() {
    // Some ten moments a row.
    let (rows, times) = quick_or_long((30, 60), (100, 1_000));
    let gate = Gate::start(&["--latency", "1ms..4ms"]);
    let send = |dir: &Workdir, gate: &Gate| dir.send_to(gate.url()).flags("--concurrency 4");
    let dir = Workdir::with(contacts(0..rows));
    let watched = watch(&dir, send(&dir, &gate), &gate, None);
    assert_eq!(watched.ran.code, 0, "{}", watched.ran.stderr);
    let (mut cuts, mut unknown, mut in_the_middle) = (0, 0, 0);
    cut(&watched.trace, times, |files, asked| {
        let dir = Workdir::with(contacts(0..rows));
        write(&files, &dir.path("."));
        let gate = Gate::start(&[]);
        // It is a copy: nothing else may be found wrong with it.
        let checked = dir.otpdrive(&["check", "list.csv"]).run();
        let said = &checked.stderr;
        assert!(checked.code == 0 || said.contains("it is a copy"), "{said}");
        let accepted = send(&dir, &gate).args(&["--accept-restored-ledger"]);
        let ran = accepted.run();
        assert!([0, 1].contains(&ran.code), "{}", ran.stderr);
        let held = nobody_twice_nobody_lost(&dir, rows, asked, &counts(&gate.stop()));
        assert!(held <= 4, "{held} unknown");
        cuts += 1;
        unknown += held;
        in_the_middle += usize::from((1..rows).contains(&asked.len()));
    });
    assert!(in_the_middle > cuts / 4, "{in_the_middle} in the middle");
    println!("{cuts} power cuts, {in_the_middle} among requests: none twice, {unknown} unknown");
}

/// The judge must be able to find fault: with traces that were tampered with, and with a disk that
/// only says that it has synced.
#[test]
#[ignore = "tests/prove order"]
fn the_judge_sees_a_sync_that_is_missing_late_or_a_lie() {
    const ROWS: usize = 12;
    const LOG: &str = "otpdrive.db-wal";
    let gate = Gate::start(&[]);
    let run = |fault| {
        let dir = Workdir::with(contacts(0..ROWS));
        let send = dir.send_to(gate.url()).flags("--concurrency 1");
        let watched = watch(&dir, send, &gate, fault);
        assert_eq!(watched.ran.code, 0, "{}", watched.ran.stderr);
        watched
    };
    let about = |finding: Finding, what: &str| {
        let is_about = |violation: &&String| violation.contains(what);
        finding.violations.iter().filter(is_about).count()
    };
    let honest = run(None);
    assert!(honest.finding.violations.is_empty());
    let is_sync = |line: &str, of: &str| line.contains("sync(") && line.contains(&(hex(of) + ">"));
    // Without these of the syncs of a file.
    let without = |of: &str, which: &[usize]| {
        let mut seen = 0;
        let mut left = String::new();
        for line in honest.trace.lines() {
            seen += usize::from(is_sync(line, of));
            if !is_sync(line, of) || !which.is_empty() && !which.contains(&seen) {
                left = left + line + "\n";
            }
        }
        judge(&left, &Files::new())
    };
    assert_eq!(about(without(LOG, &[]), "request "), ROWS);
    // Of a dozen, each with an intent or more, some that lie in the middle.
    assert!(about(without(LOG, &[9, 10]), "request ") >= 1);
    assert_eq!(
        about(without(".otpdrive-draft", &[]), "got its name before"),
        2
    );
    assert_eq!(about(without("list-results", &[]), "not synced after"), 2);

    // Each request before the sync that it waited for.
    let mut late: Vec<&str> = Vec::new();
    for line in honest.trace.lines() {
        let is_request = line.contains(&format!("\"{}", hex("GET /")));
        let mut earlier = late.iter();
        let sync = earlier.rposition(|line| line.contains("sync") && line.contains(") "));
        let at = sync.filter(|_| is_request).unwrap_or(late.len());
        late.insert(at, line);
    }
    let late = judge(&late.join("\n"), &Files::new());
    assert!(about(late, "request ") >= ROWS / 2);
    let lied = run(Some("fsync,fdatasync:retval=0"));
    assert_eq!(about(lied.finding, "request "), ROWS);
    println!("seen: syncs that were missing, that came too late, that did nothing");
}
