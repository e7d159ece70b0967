//! `--metrics-file`: what `node_exporter` collects, while a run is on and after it.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164, phone, wait_until};

/// Series, by name and labels as they stand there.
type Series = BTreeMap<String, f64>;

/// Reads the text format as strictly as `node_exporter` does: each family has its help and type once,
/// before its series; no series comes twice, and none has a time.
#[track_caller]
fn parse(text: &str) -> Series {
    assert!(text.ends_with('\n'), "a last line that is cut");
    let (mut series, mut families) = (Series::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            help.split_once(' ').unwrap().0.clone_into(&mut family);
            assert!(families.insert(family.clone()), "twice: {line}");
            continue;
        }
        if let Some(of) = line.strip_prefix("# TYPE ") {
            let (name, of) = of.split_once(' ').unwrap();
            assert_eq!(name, family);
            of.clone_into(&mut kind);
            continue;
        }
        let (name, rest) = line.split_once('{').unwrap();
        let of_histogram = ["_bucket", "_sum", "_count"].map(|end| format!("{family}{end}"));
        match kind.as_str() {
            "histogram" => assert!(of_histogram.iter().any(|known| known == name), "{line}"),
            "counter" => assert!(name == family && name.ends_with("_total"), "{line}"),
            _ => assert_eq!((name, kind.as_str()), (family.as_str(), "gauge")),
        }
        assert!(name.starts_with("otpdrive_"), "{line}");
        let (labels, value) = rest.rsplit_once("} ").unwrap();
        let mut rest = labels;
        let mut names = BTreeSet::new();
        loop {
            let (label, quoted) = rest.split_once("=\"").unwrap();
            let is_name = label.chars().all(|c| c.is_ascii_lowercase() || c == '_');
            assert!(is_name && names.insert(label), "{line}");
            let mut escaped = false;
            let end = quoted.find(|c| {
                let ends = c == '"' && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            rest = &quoted[end.unwrap() + 1..];
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break assert_eq!(rest, "", "{line}"),
            }
        }
        let value = match value {
            "+Inf" => f64::INFINITY,
            number => number.parse().unwrap(),
        };
        let known = series.insert(format!("{name}{{{labels}}}"), value);
        assert_eq!(known, None, "twice: {line}");
    }
    series
}

/// The one value of the series with this name and these labels besides the campaign's.
#[track_caller]
fn value(series: &Series, name: &str, labels: &str) -> f64 {
    let of = "campaign=\"list\",operation=\"send\",sandbox=\"false\"";
    let name = format!("otpdrive_{name}{{{of}{labels}}}");
    *series
        .get(&name)
        .unwrap_or_else(|| panic!("no {name} in {series:#?}"))
}

#[track_caller]
#[expect(clippy::float_cmp, reason = "counts, which are whole")]
fn has(series: &Series, name: &str, labels: &str, wanted: f64) {
    assert_eq!(value(series, name, labels), wanted, "{name} {labels}");
}

#[test]
fn the_metrics_tell_the_whole_campaign_after_each_run() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(0), [Reply::error("barred")]);
    stub.script("smsotp", &e164(1), [Reply::new(503, "")]);
    let dir = Workdir::with(contacts(0..4) + "no number\n");
    let send = || {
        dir.send(&stub)
            .flags("--metrics-file otp.prom --rate 600/m")
    };
    send().flags("--limit 2 --concurrency 1").ends(3);
    let first = parse(&dir.read("otp.prom"));
    has(&first, "run_state", ",state=\"stopped\"", 1.0);
    has(&first, "exit_code", "", 3.0);
    assert!(!dir.read("otp.prom").contains("last_success"));
    send().ends(1);
    let second = parse(&dir.read("otp.prom"));
    for (labels, count) in [
        (",status=\"sent\"", 3.0),
        (",status=\"rejected\"", 1.0),
        (",status=\"invalid\"", 1.0),
        (",status=\"pending\"", 0.0),
    ] {
        has(&second, "rows", labels, count);
    }
    for (labels, count) in [
        (",lane=\"sms\",verdict=\"accepted\"", 3.0),
        (",lane=\"sms\",verdict=\"rejected\"", 1.0),
        (",lane=\"sms\",verdict=\"throttled\"", 1.0),
        (",lane=\"call\",verdict=\"accepted\"", 0.0),
    ] {
        has(&second, "requests_total", labels, count);
    }
    let duration = "request_duration_seconds";
    has(&second, &format!("{duration}_count"), ",lane=\"sms\"", 5.0);
    let all = ",lane=\"sms\",le=\"+Inf\"";
    has(&second, &format!("{duration}_bucket"), all, 5.0);
    has(&second, "in_flight", "", 0.0);
    has(&second, "rate_limit", "", 10.0);
    has(&second, "exit_code", "", 1.0);
    let ended = value(&second, "run_end_timestamp_seconds", "");
    has(&second, "last_success_timestamp_seconds", "", ended);
    let mode = dir.path("otp.prom").metadata().unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o644, "the collector is another user");
    // Nothing to do: the counts stay, the times move on.
    send().ends(1);
    let third = parse(&dir.read("otp.prom"));
    has(
        &third,
        "requests_total",
        ",lane=\"sms\",verdict=\"accepted\"",
        3.0,
    );
    assert!(value(&third, "last_success_timestamp_seconds", "") > ended);
}

#[test]
fn a_run_that_is_on_or_was_killed_is_running_in_its_metrics() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..2));
    let send = || dir.send(&stub).flags("--metrics-file otp.prom");
    let run = send().start();
    wait_until("it is written", || dir.path("otp.prom").exists());
    let text = dir.read("otp.prom");
    has(&parse(&text), "run_state", ",state=\"running\"", 1.0);
    assert!(!text.contains("exit_code"), "{text}");
    stub.wait_for(2);
    assert!(run.kill());
    stub.release();
    send().ends(1);
    let unrecorded = ",lane=\"sms\",verdict=\"unrecorded\"";
    has(
        &parse(&dir.read("otp.prom")),
        "requests_total",
        unrecorded,
        2.0,
    );
}

#[test]
fn metrics_that_cannot_be_written_cost_a_warning_and_nothing_else() {
    for file in ["nowhere/otp.prom", "/dev/null", "folder"] {
        let stub = Stub::start();
        let dir = Workdir::with(contacts(0..3));
        std::fs::create_dir(dir.path("folder")).unwrap();
        let ran = dir.send(&stub).args(&["--metrics-file", file]).ends(0);
        let said = ran.stderr.matches("the metrics are not written").count();
        assert_eq!(said, 1, "{file}: {}", ran.stderr);
        assert_eq!(stub.count(), 3);
    }
}

#[test]
fn metrics_never_replace_what_a_run_needs() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    dir.write("key", "KK12");
    dir.write("o.toml", "limit = 1\n");
    for file in [
        "list.csv",
        "./otpdrive.db",
        "otpdrive.db-wal",
        "key",
        "o.toml",
        "list-results/results.csv",
    ] {
        std::fs::create_dir_all(dir.path("list-results")).unwrap();
        let ran = dir
            .send(&stub)
            .flags(format!(
                "--metrics-file {file} --api-key-file key --config o.toml"
            ))
            .ends(2);
        assert!(ran.stderr.contains("--metrics-file"), "{}", ran.stderr);
    }
    assert_eq!(stub.count(), 0);
    assert_eq!(dir.read("key"), "KK12");
}

#[test]
fn metrics_show_neither_key_nor_number() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    let name = format!("for {} \"x\\y\"", phone(7));
    let run = dir.send(&stub).args(&["--campaign", &name]);
    run.flags("--metrics-file otp.prom").ends(0);
    let text = dir.read("otp.prom");
    parse(&text);
    assert!(!text.contains(&phone(7)), "{text}");
    assert!(
        text.contains("campaign=\"for +98******07 \\\"x\\\\y\\\"\""),
        "{text}"
    );
}
