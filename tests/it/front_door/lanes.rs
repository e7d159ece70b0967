//! Channels do not wait for each other.

use std::time::{Duration, Instant};

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164, phone};

#[test]
fn a_call_that_follows_does_not_wait_for_text_messages_that_are_held_back() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(0), [Reply::error("barred")]);
    let held = Reply::new(429, "").header("Retry-After", "2");
    stub.script("smsotp", &e164(2), [held]);
    let dir = Workdir::with(contacts(0..30));
    dir.send(&stub)
        .flags("--fallback call --concurrency 1")
        .ends(0);
    let log = stub.log();
    let held = log.iter().find(|asked| asked.number == e164(2)).unwrap();
    let call = log
        .iter()
        .find(|asked| asked.endpoint == "callotp")
        .unwrap();
    assert_eq!(call.number, e164(0));
    let waited = call.at.saturating_duration_since(held.at);
    assert!(waited < Duration::from_secs(1), "{waited:?}");
    let texts = log
        .iter()
        .filter(|asked| asked.nth > held.nth && asked.endpoint == "smsotp");
    let earliest = texts.map(|asked| asked.at - held.at).min().unwrap();
    assert!(earliest >= Duration::from_millis(1_990), "{earliest:?}");
}

#[test]
fn text_messages_that_are_down_cost_no_row_while_calls_work() {
    let stub = Stub::start();
    let start = Instant::now();
    stub.default(move |_, request| match request.endpoint.as_str() {
        "smsotp" if start.elapsed() < Duration::from_secs(2) => Reply::new(503, ""),
        "smsotp" => Reply::success(),
        _ => Reply::said(200, "queued", "x"),
    });
    let lines = (0..300).map(|n| format!("{},{}\n", phone(n), ["sms", "call"][n % 2]));
    let dir = Workdir::with("phone,channel\n".to_owned() + &lines.collect::<String>());
    let ran = dir.send(&stub).run();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(dir.statuses(), ["sent"; 300]);
}
