//! Channels do not wait for each other.

use std::time::{Duration, Instant};

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::Workdir;
use crate::support::{contacts, phone};

#[test]
fn calls_that_follow_do_not_wait_for_text_messages_that_are_held_back() {
    let stub = Stub::start();
    // More than the share of retries, which they are, allows before new text messages.
    let words = ["barred", "ported", "unknown", "blocked", "inactive"];
    let mut texts = 0;
    stub.default(move |_, request| {
        if request.endpoint == "callotp" {
            return Reply::said(200, "queued", "x");
        }
        texts += 1;
        match texts {
            ..150 => Reply::error(words[texts % 5]),
            150 => Reply::new(429, "").header("Retry-After", "2"),
            _ => Reply::success(),
        }
    });
    let dir = Workdir::with(contacts(0..300));
    dir.send(&stub)
        .flags("--fallback call --concurrency 1")
        .ends(0);
    let (calls, texts): (Vec<_>, Vec<_>) = stub
        .log()
        .into_iter()
        .partition(|asked| asked.endpoint == "callotp");
    let held = texts[149].at;
    let waited = texts[150].at - held;
    assert!(waited >= Duration::from_millis(1_990), "{waited:?}");
    assert_eq!(calls.len(), 149);
    let late = calls
        .iter()
        .filter(|call| call.at > held + Duration::from_secs(1));
    // The last refusal may be the first of many alike until a text message says something else.
    assert!(late.count() <= 1);
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
    let ran = dir.send(&stub).flags("--rate 100/s --max-attempts 2").run();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(dir.statuses(), ["sent"; 300]);
}
