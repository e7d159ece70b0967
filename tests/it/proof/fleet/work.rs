//! `otpdrive work`: who joins a run without the list, and what is seen of several at work.

use serde_json::Value as Json;

use crate::support::postgres::{Cluster, PASSWORD, PASSWORD_ENCODED};
use crate::support::stub::Stub;
use crate::support::workdir::{Otpdrive, Workdir, column};
use crate::support::{contacts, e164, wait_until};

/// So many rows, more than a second's work at the rate.
const ROWS: usize = 3_000;

/// `send list.csv` with a ledger on this server.
fn send(dir: &Workdir, stub: &Stub, ledger: &str) -> Otpdrive {
    dir.send(stub)
        .args(&["--rate", "500/s", "--ledger", ledger])
}

fn work(dir: &Workdir, ledger: &str) -> Otpdrive {
    dir.otpdrive(&["work", "--ledger", ledger]).args(&[
        "--sender-id",
        "OTPDRV",
        "--out",
        "list-results",
    ])
}

/// What `status --json` says of the only campaign; null before there is one.
fn status(dir: &Workdir, ledger: &str) -> Json {
    let ran = dir.line("status --json").args(&["--ledger", ledger]).run();
    serde_json::from_str(&ran.stdout).unwrap_or_default()
}

#[test]
#[ignore = "tests/prove fleet"]
fn who_waits_for_a_run_joins_it_without_the_list_and_nobody_is_asked_twice() {
    let (server, stub) = (Cluster::start(), Stub::start());
    let (here, there) = (Workdir::with(contacts(0..ROWS)), Workdir::new());
    let ledger = server.address();
    let joins = work(&there, &ledger).args(&["--wait", "30s"]).start();
    let begins = send(&here, &stub, &ledger).start();
    wait_until("both are at work", || {
        let status = status(&here, &ledger);
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        let begun = workers.iter().map(|worker| worker["begun"].as_u64());
        let begun: Vec<_> = begun.map(Option::unwrap).collect();
        let both = begun.len() == 2 && begun.iter().all(|begun| *begun > 0);
        assert!(!both || status["state"] == "running", "{status}");
        both
    });
    // A table for people has a line for each of them.
    let shown = here.line("status").args(&["--ledger", &ledger]).ends(0);
    let lines = shown
        .stdout
        .lines()
        .filter(|line| line.contains(" requests since "));
    assert_eq!(lines.count(), 2, "{}", shown.stdout);
    let (joined, begun) = (joins.end_soon(), begins.end_soon());
    assert_eq!((joined.code, begun.code), (0, 0), "{joined:?} {begun:?}");
    joined.says("waiting for one");
    joined.says("joined the run of 1 process;");
    joined.says("rows are left, together at 500/s");
    let mut asked: Vec<String> = stub.log().iter().map(|one| one.number.clone()).collect();
    asked.sort();
    let mut all: Vec<String> = (0..ROWS).map(e164).collect();
    all.sort();
    assert_eq!(asked, all, "everybody once");
    // The rows of the list are in the results of who never saw it.
    let phones = column(&there.results(), "otp_phone");
    assert_eq!(phones.len(), ROWS);
    assert_eq!(there.count("sent"), ROWS);
    let status = status(&here, &ledger);
    assert_eq!(
        (&status["state"], &status["workers"]),
        (&"complete".into(), &Json::Array(vec![]))
    );
}

#[test]
#[ignore = "tests/prove fleet"]
fn who_joins_goes_by_the_settings_of_the_run() {
    let (server, stub) = (Cluster::start(), Stub::start());
    let (here, there) = (Workdir::with(contacts(0..ROWS)), Workdir::new());
    let ledger = server.address();
    there.line("status").args(&["--ledger", &ledger]).ends(2);
    work(&there, &ledger).ends(2).says("no such run is on");
    // The gateway is the run's, whose hours are over in a moment for new numbers.
    let began = send(&here, &stub, &ledger)
        .flags("--max-duration 4s --fallback call")
        .start();
    wait_until("it is on", || stub.count() > 0);
    let mute = work(&there, &ledger).without("--sender-id");
    let mute = mute.flags("--campaign list --operation send");
    mute.ends(2).says("calls need a caller id");
    work(&there, &ledger)
        .flags("--campaign other")
        .ends(2)
        .says("no such run is on");
    let joined = work(&there, &ledger)
        .args(&["--caller-id", "914012345678"])
        .start()
        .end_soon();
    assert_eq!(joined.code, 3, "{joined:?}");
    joined.says("--max-duration has passed");
    assert_eq!(began.end_soon().code, 3);
    assert!(stub.count() < ROWS);
    // Nor does it bring a limit of its own.
    let before = stub.count();
    let limit = (ROWS - before) / 2;
    let began = send(&here, &stub, &ledger)
        .flags(format!("--limit {limit} --fallback call"))
        .start();
    wait_until("it is on again", || stub.count() > before);
    let joined = work(&there, &ledger).args(&["--caller-id", "914012345678"]);
    for worker in [began, joined.start()] {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 3, "{ran:?}");
        ran.says("--limit was reached");
    }
    assert_eq!(stub.count(), before + limit);
}

/// Nor what it was made from, in whatever it says or leaves behind.
#[test]
#[ignore = "tests/prove fleet"]
fn a_password_is_neither_said_nor_kept() {
    let (server, stub) = (Cluster::start(), Stub::start());
    let dir = Workdir::with(contacts(0..3));
    let ledger = server.address();
    let public = ledger.replace(&format!(":{PASSWORD_ENCODED}"), "");
    let sent = send(&dir, &stub, &ledger)
        .flags("-vvv --log-format json --metrics-file otp.prom")
        .ends(0);
    let plan = dir.check(&stub).args(&["--ledger", &ledger]).ends(0);
    plan.says(&format!("ledger {public} (1 campaign"));
    let report = dir
        .line("report --campaign list")
        .args(&["--ledger", &ledger])
        .ends(0);
    for ran in [&sent, &plan, &report] {
        for form in [PASSWORD, PASSWORD_ENCODED, "0123456789"] {
            dir.has_nowhere(form, ran);
        }
    }
    let report = dir.read("list-results/report.json");
    assert!(report.contains(&public), "the command has it: {report}");
    let kept = server.sql("SELECT string_agg(r::text, '') FROM otpdrive.run r");
    let kept = kept[0][0].as_ref().unwrap();
    assert!(
        kept.contains("rate_per_s") && !kept.contains("0123456789"),
        "{kept}"
    );
}

/// As `otpdrive help fleet` says: who works needs no more than to read and write.
#[test]
#[ignore = "tests/prove fleet"]
fn a_role_that_only_reads_and_writes_is_enough_to_work() {
    let (server, stub) = (Cluster::start(), Stub::start());
    let (here, there) = (Workdir::with(contacts(0..ROWS)), Workdir::new());
    server.sql(&format!(
        "CREATE ROLE otp_owner LOGIN PASSWORD '{PASSWORD}';
         CREATE ROLE otp_work LOGIN PASSWORD '{PASSWORD}';
         CREATE SCHEMA otpdrive AUTHORIZATION otp_owner;
         ALTER DEFAULT PRIVILEGES FOR ROLE otp_owner IN SCHEMA otpdrive
             GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO otp_work;
         GRANT USAGE ON SCHEMA otpdrive TO otp_work;
         ALTER ROLE otp_work SET statement_timeout = '15s'; ALTER ROLE otp_work SET jit = off;"
    ));
    let of = |role: &str| {
        server
            .address()
            .replace("//postgres:", &format!("//{role}:"))
    };
    let (owner, worker) = (of("otp_owner"), of("otp_work"));
    // Nobody else makes the tables.
    let refused = send(&here, &stub, &worker).ends(2);
    refused.says("see `otpdrive help fleet`");
    send(&here, &stub, &owner).flags("--limit 1").ends(3);
    let began = send(&here, &stub, &worker).start();
    wait_until("it is on", || stub.count() > 1);
    let joined = work(&there, &worker).start();
    let processes = "SELECT count(*), count(DISTINCT worker) FROM pg_stat_activity, otpdrive.worker_on w(worker)
                      WHERE application_name = 'otpdrive' AND usename = 'otp_work'";
    let mut connections = 0;
    wait_until("both are connected", || {
        let seen = server.sql(processes)[0].clone();
        let of = |n: usize| seen[n].as_ref().unwrap().parse::<u32>().unwrap();
        connections = of(0) / of(1).max(1);
        of(1) == 2
    });
    println!("{connections} connections of two processes");
    assert!((2..=8).contains(&connections), "{connections}");
    assert_eq!((joined.end_soon().code, began.end_soon().code), (0, 0));
    assert_eq!(stub.count(), ROWS);
}
