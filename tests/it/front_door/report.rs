//! Reports, status, rehearsals.

use serde_json::Value;

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Workdir, column, rows};
use crate::support::{contacts, e164, phone};

#[test]
fn rows_of_some_statuses_are_printed_as_a_valid_next_input() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(1), [Reply::error("barred")]);
    stub.script("smsotp", &e164(2), [Reply::dropped()]);
    let dir = Workdir::with(contacts(0..4));
    dir.send(&stub).ends(1);
    let only = dir
        .otpdrive(&["report", "--only", "rejected,unknown"])
        .ends(0);
    let only = only.stdout;
    assert_eq!(column(&rows(&only), "otp_status"), ["rejected", "unknown"]);
    assert_eq!(column(&rows(&only), "phone"), [phone(1), phone(2)]);
    dir.write("next.csv", only);
    dir.send(&stub)
        .input("next.csv")
        .args(&["--campaign", "list", "--on-unknown", "retry"])
        .ends(1);
    assert_eq!(dir.statuses(), ["rejected", "sent"]);
    assert_eq!(stub.count_for(&e164(1)), 1);
    assert_eq!(stub.count_for(&e164(2)), 2);
}

#[test]
fn the_report_is_as_its_schema_says() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(1), [Reply::new(500, "")]);
    let dir = Workdir::with(contacts(0..4) + "A\n");
    dir.send(&stub).args(&["--limit", "3"]).ends(3);
    let schema = dir.otpdrive(&["report", "--schema"]).ends(0);
    let schema: Value = serde_json::from_str(&schema.stdout).unwrap();
    let report = dir.report();
    let mut checked = 0;
    has_what_is_required(&schema, &schema, &report, "report", &mut checked);
    assert!(checked > 30, "only {checked} required keys");
    for key in [
        "schema",
        "operation",
        "campaign",
        "state",
        "stop_reason",
        "rows",
        "counts",
        "channels",
        "attempts",
        "rate",
        "latency_ms",
        "errors",
        "started_at",
        "finished_at",
        "duration_s",
        "input",
        "settings",
        "version",
    ] {
        assert!(report.get(key).is_some(), "no {key}");
    }
    assert_eq!(report["schema"], "otpdrive.report/1");
    let counts = report["counts"].as_object().unwrap();
    assert_eq!(counts.len(), 10);
    let sum: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(sum, 5);
    assert_eq!(report["rows"], 5);
}

/// Are all required keys there, at every depth?
fn has_what_is_required(
    root: &Value,
    schema: &Value,
    value: &Value,
    at: &str,
    checked: &mut usize,
) {
    let schema = match schema.get("$ref").and_then(Value::as_str) {
        Some(to) => root.pointer(to.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    for key in schema["required"].as_array().into_iter().flatten() {
        let key = key.as_str().unwrap();
        assert!(value.get(key).is_some(), "{at} has no {key}");
        *checked += 1;
    }
    let properties = schema["properties"].as_object();
    for (key, schema) in properties.into_iter().flatten() {
        if let Some(value) = value.get(key).filter(|value| value.is_object()) {
            has_what_is_required(root, schema, value, &format!("{at}.{key}"), checked);
        }
    }
}

#[test]
fn the_status_is_seen_while_a_run_is_on() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..9));
    dir.send(&stub).args(&["--limit", "3"]).ends(3);
    stub.hold();
    let run = dir.send(&stub).args(&["--concurrency", "2"]).start();
    stub.wait_for(5);
    let status = dir.otpdrive(&["status"]).ends(0).stdout;
    assert!(status.contains("running: process"), "{status}");
    assert!(status.contains("  9     sent 3, pending 6"), "{status}");
    stub.release();
    assert_eq!(run.end_soon().code, 0);
    let status = dir.otpdrive(&["status"]).ends(0).stdout;
    assert!(status.contains("list      complete  send"), "{status}");
}

#[test]
fn a_report_made_again_is_the_same() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(1), [Reply::error("=1+1")]);
    let dir = Workdir::with(contacts(0..4));
    dir.send(&stub).ends(1);
    let [results, report] =
        ["results.csv", "report.json"].map(|name| format!("list-results/{name}"));
    let before = [dir.read(&results), dir.read(&report)];
    std::fs::remove_dir_all(dir.path("list-results")).unwrap();
    dir.otpdrive(&["report"]).ends(0);
    assert_eq!([dir.read(&results), dir.read(&report)], before);
    assert_eq!(dir.results()[1]["otp_detail"], "'=1+1");
}

#[test]
fn the_report_holds_the_plan_against_what_was_done() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(1), [Reply::error("barred")]);
    stub.script("smsotp", &e164(2), [Reply::new(500, "")]);
    let dir = Workdir::with(contacts(0..6) + "A\n");
    dir.send(&stub)
        .flags("--limit 5 --rate 20/s --price sms=0.5,call=2 --fallback call --daily-cap 900")
        .ends(3);
    let report = dir.report();
    assert_eq!(report["plan"]["numbers"], 5);
    assert_eq!(report["plan"]["cost_at_most"], 10.0);
    assert!(report["plan"]["time_s"].as_f64() < Some(1.0));
    let actual = &report["actual"];
    let asked = ["numbers", "retries", "fallbacks"].map(|key| actual[key].as_u64().unwrap());
    assert_eq!(asked, [5, 1, 1]);
    assert_eq!(actual["cost"], 4.0);
    // The plan is told once; another run knows what went before.
    assert!(report["settings"].get("plan").is_none());
    dir.send(&stub).flags("--daily-cap 900").ends(1);
    assert_eq!(dir.report()["plan"]["numbers"], 1);
    assert_eq!(dir.report()["plan"]["sms_before"], 6);
}

#[test]
fn the_page_names_lines_while_they_are_few_and_else_the_most_frequent_reasons() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(1), [Reply::error("barred")]);
    let lost = "9.19877E+11\n".repeat(7);
    let dir = Workdir::with(contacts(0..3) + &lost + "98765O3211\n");
    dir.send(&stub).flags("--max-invalid 100%").ends(1);
    let page = dir.read("list-results/report.html");
    assert!(page.contains("Line 3: barred. Refused by"), "{page}");
    assert!(
        page.contains("7: a number in scientific notation"),
        "{page}"
    );
    assert!(!page.contains("Lines 5, 6"), "{page}");
}

#[test]
fn result_files_and_ledger_are_for_the_user_only() {
    use std::os::unix::fs::PermissionsExt;
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..1));
    dir.send(&stub).ends(0);
    for name in [
        "otpdrive.db",
        "list-results/results.csv",
        "list-results/report.json",
    ] {
        let mode = std::fs::metadata(dir.path(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_rehearsal_is_apart_from_the_real_thing() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    let rehearse = ["send", "list.csv", "--sandbox", "--rate", "unlimited"];
    dir.otpdrive(&rehearse).no_key().ends(0);
    let names: Vec<_> = dir.names();
    assert!(
        names.contains(&"otpdrive-sandbox.db".to_owned()),
        "{names:?}"
    );
    assert!(!names.contains(&"otpdrive.db".to_owned()), "{names:?}");
    assert_eq!(
        column(&dir.results_of("list-sandbox-results"), "otp_status"),
        ["sent"; 3]
    );
    // In one ledger, too.
    dir.otpdrive(&rehearse)
        .args(&["--ledger", "otpdrive.db", "--out", "elsewhere"])
        .no_key()
        .ends(0);
    dir.send(&stub).ends(0);
    assert_eq!(stub.count(), 3);
    assert_eq!(dir.statuses(), ["sent"; 3]);
}
