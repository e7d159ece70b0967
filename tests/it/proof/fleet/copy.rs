//! A ledger that is copied to a server and back is the same, and sends to the same people.

use std::collections::BTreeSet;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::Value;

use crate::support::postgres::{Cluster, Rows};
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Ran, Workdir};
use crate::support::{contacts, phone, wait_until};

/// The tables. What stays behind: in a file an answer's place, and where a run's answers begin.
const TABLES: [(&str, &str); 16] = [
    ("ledger", "next_id, lower(hex(salt))"),
    (
        "campaign",
        "id, operation, name, sandbox, input_name, input_sha256, reading, header, rows, first_row",
    ),
    ("known", "number, campaign, code_print, job"),
    (
        "run",
        "id, campaign, started_at, endpoint, policy, settings, version, finished_at, \"end\", last_left_at",
    ),
    ("run_fact", "run, seq, fact"),
    (
        "contact",
        "id, line, lane, kind, assumed, number, job, seal",
    ),
    ("special", "row, text"),
    ("block", "first, sum, records"),
    ("code", "job, code"),
    ("intent", "id, run, lane, begun_at"),
    (
        "answer",
        "id, left_at, answered_at, verdict, text, retry_at",
    ),
    ("suppressed", "job, campaign, by, at"),
    (
        "former",
        "job, campaign, line, lane, number, header, record",
    ),
    ("stood", "campaign, line, job"),
    ("lookup", "attempt, at, sent"),
    ("purged", "campaign, at, last_active, counts, swept"),
];

/// All that is in a file, table by table.
fn of_file(dir: &Workdir, name: &str) -> Vec<(&'static str, Rows)> {
    // Whoever may write moves the log into the file when he leaves.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = Connection::open_with_flags(dir.path(name), flags).unwrap();
    let tables = TABLES.iter().map(|(table, columns)| {
        let sql = format!("SELECT {columns} FROM {table}");
        let mut select = db.prepare(&sql).unwrap();
        let count = select.column_count();
        let rows = select.query_map([], |row| {
            let cell = |n| match row.get_ref(n).unwrap() {
                ValueRef::Null => None,
                ValueRef::Integer(number) => Some(number.to_string()),
                ValueRef::Text(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
                other => panic!("{other:?}"),
            };
            Ok((0..count).map(cell).collect())
        });
        let mut rows: Rows = rows.unwrap().map(Result::unwrap).collect();
        rows.sort();
        (*table, rows)
    });
    tables.collect()
}

/// The same on a server; codes are sealed there.
fn of_server(server: &Cluster) -> Vec<(&'static str, Rows)> {
    let tables = TABLES.iter().map(|(table, columns)| {
        let columns = columns.replace("lower(hex(salt))", "encode(salt, 'hex')");
        let mut rows = server.sql(&format!("SELECT {columns} FROM otpdrive.{table}"));
        rows.sort();
        (*table, rows)
    });
    tables.collect()
}

/// Numbers whose last digit is 2 stay without an answer, 3 get none, 4 are refused, 5 fail.
fn gateway() -> Stub {
    let stub = Stub::start();
    stub.default(|_, request| {
        let n: usize = request.number[8..].parse().unwrap();
        match n % 10 {
            3 => Reply::dropped(),
            4 => Reply::error("barred"),
            5 => Reply::new(500, ""),
            6 if request.endpoint == "verifyotp" => Reply::error("OTP mismatch"),
            _ => Reply::success(),
        }
    });
    stub
}

fn codes(numbers: std::ops::Range<usize>) -> String {
    let lines = numbers.map(|n| format!("{},77{n:04}\n", phone(n)));
    "phone,otp\n".to_owned() + &lines.collect::<String>()
}

/// A campaign that was purged, one that was cut short, whose list was replaced and of which some was
/// looked up, one of codes that wait, and one that was killed.
fn history(stub: &Stub) -> Workdir {
    let dir = Workdir::new();
    let send = |list: &str, numbers: std::ops::Range<usize>| {
        dir.write(list, contacts(numbers));
        let sends = dir.send(stub).input(list);
        sends.flags("--refused-alike off --max-attempts 2 --max-outage 1h")
    };
    send("old.csv", 0..30).ends(1);
    dir.line("purge --older-than 0s").ends(0);
    send("list.csv", 100..160).ends(1);
    send("list.csv", 120..180).flags("--limit 30").run();
    dir.write("unsent.csv", contacts([123, 133]));
    dir.line("settle unsent.csv --as unsent").run();
    dir.write("sent.csv", contacts([143]));
    dir.line("settle sent.csv --as sent").run();
    send("suppressed.csv", 150..190).flags("--limit 4").run();
    for numbers in [120..160, 125..165] {
        dir.write("codes.csv", codes(numbers) + "abc,1234\n");
        let verify = dir.verify(stub).input("codes.csv");
        verify
            .flags("--limit 12 --refused-alike off --max-attempts 1")
            .run();
    }
    stub.hold();
    let before = stub.count();
    let killed = send("killed.csv", 200..240)
        .flags("--concurrency 5")
        .start();
    wait_until("requests are on their way", || stub.count() > before + 3);
    assert!(killed.kill());
    stub.release();
    dir
}

/// What commands say of a ledger, and the results of all that is in it.
fn said(dir: &Workdir, ledger: &str) -> Vec<String> {
    let at = |line: String| dir.line(&line).args(&["--ledger", ledger]);
    let mut said = vec![at("status --verify".to_owned()).ends(0).stdout];
    for n in [105, 123, 133, 143, 154, 125, 205] {
        said.push(at(format!("who {}", phone(n))).ends(0).stdout);
    }
    let status = at("status --json".to_owned()).ends(0).stdout;
    for line in status.lines() {
        let mut facts: Value = serde_json::from_str(line).unwrap();
        let name = facts["campaign"].as_str().unwrap().to_owned();
        facts["ledger"] = Value::Null;
        said.push(facts.to_string());
        if facts["purged_at"].is_null() {
            at(format!("report --campaign {name} --out out")).run();
            said.push(dir.read("out/results.csv"));
            let report: Value = serde_json::from_str(&dir.read("out/report.json")).unwrap();
            said.push(report["counts"].to_string());
        }
    }
    said.iter()
        .map(|text| text.replace(ledger, "LEDGER"))
        .collect()
}

fn copy(dir: &Workdir, from: &str, to: &str) -> Ran {
    dir.otpdrive(&["ledger", "copy", "--from", from, "--to", to])
        .run()
}

/// To whom the requests from here on went.
fn asked_since(stub: &Stub, before: usize) -> BTreeSet<(String, String)> {
    let requests = stub.log();
    let requests = requests.iter().skip(before);
    requests
        .map(|it| (it.endpoint.clone(), it.number.clone()))
        .collect()
}

/// Whom the next commands send to.
fn go_on(dir: &Workdir, stub: &Stub, ledger: &str) -> BTreeSet<(String, String)> {
    let before = stub.count();
    for list in ["list.csv", "killed.csv", "suppressed.csv"] {
        let flags = "--refused-alike off --max-attempts 2 --max-outage 1h";
        let sends = dir.send(stub).input(list).flags(flags);
        sends.args(&["--ledger", ledger]).run();
    }
    let verify = dir
        .verify(stub)
        .input("codes.csv")
        .args(&["--ledger", ledger]);
    verify.flags("--refused-alike off --max-attempts 1").run();
    dir.line("status --verify")
        .args(&["--ledger", ledger])
        .ends(0);
    asked_since(stub, before)
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_ledger_copied_to_a_server_and_back_is_the_same_and_sends_to_the_same_people() {
    let (stub, server) = (gateway(), Cluster::start());
    let dir = history(&stub);
    let at = server.address();
    let original = (of_file(&dir, "otpdrive.db"), said(&dir, "otpdrive.db"));
    for (table, rows) in &original.0 {
        assert!(!rows.is_empty(), "nothing in {table}");
    }
    let before = std::fs::read(dir.path("otpdrive.db")).unwrap();
    let ran = copy(&dir, "otpdrive.db", &at);
    assert_eq!(ran.code, 0, "{ran:?}");
    for words in ["campaigns: 5", "send with one of them only"] {
        assert!(ran.stdout.contains(words), "{ran:?}");
    }
    assert_eq!(std::fs::read(dir.path("otpdrive.db")).unwrap(), before);
    for ((table, file), (_, server)) in original.0.iter().zip(of_server(&server)) {
        match *table {
            "code" => assert_eq!(file.len(), server.len()),
            _ => assert_eq!(*file, server, "{table}"),
        }
    }
    let sealed = server.sql("SELECT code FROM otpdrive.code");
    assert!(
        sealed
            .iter()
            .flatten()
            .flatten()
            .all(|code| !code.contains("77") || code.len() > 20)
    );
    assert_eq!(said(&dir, &at), original.1);

    let ran = copy(&dir, &at, "back.db");
    assert_eq!(ran.code, 0, "{ran:?}");
    let back = of_file(&dir, "back.db");
    for ((table, was), (_, is)) in original.0.iter().zip(back) {
        assert_eq!(*was, is, "{table}");
    }
    assert_eq!(said(&dir, "back.db"), original.1);

    let expected = go_on(&dir, &stub, "otpdrive.db");
    assert!(expected.len() > 40, "{expected:?}");
    assert_eq!(go_on(&dir, &stub, "back.db"), expected);
    assert_eq!(go_on(&dir, &stub, &at), expected);
}

#[test]
#[ignore = "tests/prove fleet"]
fn nothing_is_copied_that_would_be_incomplete_or_on_top_of_something() {
    let (stub, server) = (gateway(), Cluster::start());
    let dir = Workdir::with(codes(0..10));
    let at = server.address();
    let refused = |from: &str, to: &str, code: i32, words: &str| {
        let ran = copy(&dir, from, to);
        assert_eq!(ran.code, code, "{ran:?}");
        ran.says(words);
    };
    refused("none.db", &at, 2, "there is no ledger none.db");
    dir.verify(&stub)
        .flags("--limit 2 --refused-alike off --max-attempts 1")
        .run();
    let no_key = dir.otpdrive(&["ledger", "copy", "--from", "otpdrive.db", "--to", &at]);
    let ran = no_key.no_key().ends(2);
    ran.says("sealed with a key made from the API key");
    assert_eq!(
        server
            .sql("SELECT 1 FROM pg_tables WHERE tablename = 'ledger'")
            .len(),
        0
    );
    stub.hold();
    let before = stub.count();
    let run = dir.verify(&stub).start();
    wait_until("it is at work", || stub.count() > before);
    refused(
        "otpdrive.db",
        &at,
        5,
        "another run holds the ledger otpdrive.db",
    );
    assert!(run.kill());
    stub.release();
    assert_eq!(copy(&dir, "otpdrive.db", &at).code, 0);
    refused("otpdrive.db", &at, 2, "there are campaigns in the ledger");
    refused(
        &at,
        "otpdrive.db",
        2,
        "there are campaigns in the ledger otpdrive.db",
    );
    let other = dir.otpdrive(&["ledger", "copy", "--from", &at, "--to", "back.db"]);
    let ran = other
        .env("KOOKOO_API_KEY", "KKffffffffffffffffffffffffffffffff")
        .ends(2);
    ran.says("its codes were sealed with another API key");
    assert!(!dir.path("back.db").exists());
    std::fs::copy(dir.path("otpdrive.db"), dir.path("part.db")).unwrap();
    server.sql("DROP SCHEMA otpdrive CASCADE");
    refused("part.db", &at, 2, "may lack requests that were made");
    assert_eq!(
        server
            .sql("SELECT 1 FROM pg_tables WHERE tablename = 'ledger'")
            .len(),
        0
    );
}
