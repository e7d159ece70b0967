//! What stands on stderr: every line for machines is JSON with names that stay, every line of text in
//! a file has its time.

use std::fs;
use std::path::Path;

use serde_json::Value as Json;

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Ran, Workdir};
use crate::support::{KEY, contacts, e164, phone};

/// Every line as what it is: an object with what all have.
#[track_caller]
fn lines(ran: &Ran) -> Vec<Json> {
    let parse = |line: &str| -> Json {
        let json: Json = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        for name in ["timestamp", "level", "event", "message"] {
            assert!(json[name].is_string(), "no {name}: {line}");
        }
        json
    };
    ran.stderr.lines().map(parse).collect()
}

fn events(lines: &[Json]) -> Vec<&str> {
    lines
        .iter()
        .filter_map(|line| line["event"].as_str())
        .collect()
}

#[track_caller]
fn the<'l>(lines: &'l [Json], event: &str) -> &'l Json {
    let mut found = lines.iter().filter(|line| line["event"] == event);
    let one = found
        .next()
        .unwrap_or_else(|| panic!("no {event}: {lines:#?}"));
    assert!(found.next().is_none(), "more than one {event}: {lines:#?}");
    one
}

fn json(run: Otpdrive) -> Otpdrive {
    run.flags("--log-format json")
}

#[test]
fn every_line_of_a_good_run_is_json_and_tells_each_request() {
    const REFERENCE: &str = "SM8198760001112223334";
    let stub = Stub::start();
    stub.script("smsotp", &e164(0), [Reply::said(200, "success", REFERENCE)]);
    let told = format!("ref {}", e164(1));
    stub.script("smsotp", &e164(1), [Reply::said(200, "success", &told)]);
    let barred = format!("{} barred, key {KEY}", phone(2));
    stub.script("smsotp", &e164(2), [Reply::error(&barred)]);
    let dir = Workdir::with(contacts(0..3));
    let ran = json(dir.send(&stub)).flags("-vv --concurrency 1").ends(1);
    let lines = lines(&ran);
    let answered = |n: usize| {
        let of: Vec<_> = lines
            .iter()
            .filter(|line| line["event"] == "answered")
            .collect();
        of[n].clone()
    };
    let first = answered(0);
    assert_eq!(first["reference"], REFERENCE, "support needs it whole");
    for (name, is) in [
        ("campaign", "list"),
        ("operation", "send"),
        ("level", "debug"),
        ("lane", "sms"),
        ("verdict", "accepted"),
        ("number", "+9198******00"),
    ] {
        assert_eq!(first[name], is, "{first}");
    }
    assert!(first["run"].is_u64() && first["attempt"] == 1 && first["latency_ms"].is_f64());
    assert_eq!([0, 1, 2].map(|n| answered(n)["line"].clone()), [2, 3, 4]);
    assert_eq!(answered(1)["reference"], "ref +9198******01");
    assert_eq!(answered(2)["verdict"], "rejected");
    assert_eq!(answered(2)["text"], "+98******02 barred, key [key]");
    assert_eq!(the(&lines, "plan")["requests"], 3);
    assert_eq!(the(&lines, "summary")["counts"]["sent"], 2);
    assert_eq!(lines.last().unwrap()["event"], "exit");
    assert_eq!(lines.last().unwrap()["code"], 1);
    for hidden in [&phone(0), &phone(1), &phone(2), KEY] {
        assert!(!ran.stderr.contains(hidden), "{}", ran.stderr);
    }
}

#[test]
fn every_line_of_a_run_that_goes_wrong_is_json() {
    let stub = Stub::start();
    stub.always(Reply::error("Authentication Error"));
    let dir = Workdir::with(contacts(0..3));
    let refused = lines(&json(dir.send(&stub)).ends(4));
    assert_eq!(the(&refused, "stopped")["kind"], "key_refused");
    assert_eq!(the(&refused, "stopped")["level"], "error");
    assert_eq!(the(&refused, "exit")["code"], 4);
    // A warning, an error, and what clap says, in both forms of the flag.
    let odd = lines(
        &json(dir.send(&stub))
            .flags("--sender-id X --limit 1")
            .ends(4),
    );
    assert!(events(&odd).contains(&"warning"), "{odd:#?}");
    let missing = lines(&json(dir.send(&stub).input("none.csv")).ends(2));
    assert_eq!(the(&missing, "error")["level"], "error");
    for flags in [
        "--log-format json --nonsense",
        "--nonsense --log-format=json",
    ] {
        let usage = lines(&dir.line("send list.csv").flags(flags).ends(2));
        assert_eq!(the(&usage, "usage")["code"], 2);
    }
    dir.write("o.toml", "log_format = \"json\"\nrate = \"10\"\n");
    lines(
        &dir.send(&stub)
            .without("--rate")
            .flags("--config o.toml")
            .ends(2),
    );
}

#[test]
fn every_line_of_an_interrupted_run_is_json() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..9));
    let run = json(dir.send(&stub)).flags("--concurrency 2 --progress always");
    let run = run.start();
    stub.wait_for(2);
    run.signal("TERM");
    std::thread::sleep(std::time::Duration::from_millis(200));
    stub.release();
    let ran = run.end_soon();
    assert_eq!(ran.code, 143);
    let lines = lines(&ran);
    assert_eq!(the(&lines, "waiting")["in_flight"], 2);
    assert_eq!(the(&lines, "interrupted")["signal"], "SIGTERM");
}

#[test]
fn what_a_terminal_obeys_is_escaped_in_json_too() {
    const NAME: &str = "no\u{1b}[2J\u{202e}\"list\".csv";
    let stub = Stub::start();
    let dir = Workdir::new();
    let ran = json(dir.send(&stub).input(NAME)).ends(2);
    let lines = lines(&ran);
    let message = the(&lines, "error")["message"].as_str().unwrap();
    assert!(message.contains("\"list\".csv"), "{message}");
    assert!(
        !ran.stderr.contains(['\u{202e}', '\u{1b}']),
        "{}",
        ran.stderr
    );
}

#[test]
fn lines_of_text_in_a_file_have_their_time() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..1));
    let ran = dir.send(&stub).ends(0);
    let dated = ran.stderr.lines().filter(|line| line.starts_with("20"));
    assert_eq!(dated.count(), 2, "its begin and its end: {}", ran.stderr);
    let quiet = dir.send(&stub).input("none.csv").flags("-q").ends(2);
    let (time, text) = quiet.stderr.split_once(' ').unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z'), "{time}");
    assert!(text.starts_with("otpdrive: "), "{text}");
}

/// The page lists them, so they stay.
#[test]
fn the_page_of_logs_has_every_event_and_key() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("src/doc/logs.md")).unwrap();
    let stub = Stub::start();
    stub.script(
        "smsotp",
        &e164(0),
        [Reply::new(429, "").header("Retry-After", "1")],
    );
    let dir = Workdir::with(contacts(0..2));
    let ran = json(dir.send(&stub)).flags("-vv --sender-id X").ends(0);
    for line in lines(&ran) {
        for name in line.as_object().unwrap().keys() {
            assert!(
                page.contains(&format!("`{name}`")),
                "{name} is not in the page"
            );
        }
        let event = line["event"].as_str().unwrap();
        assert!(
            page.contains(&format!("- `{event}`: ")),
            "{event} is not in the page"
        );
    }
}
