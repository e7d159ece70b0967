//! An outage costs time, never rows; and the gateway's `Retry-After` is kept, restart or not.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use crate::support::stub::{self, Reply, Stub};
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164};

#[test]
fn a_gateway_that_is_down_and_comes_back_gets_every_number_once() {
    let address = Stub::nowhere();
    let dir = Workdir::with(contacts(0..50));
    let run = dir.send_to(&stub::url(address));
    let run = run.args(&["--max-attempts", "1"]).start();
    // Long enough for it to find out; when it does not, the test still holds.
    std::thread::sleep(Duration::from_millis(500));
    let stub = Stub::at(address);
    let ran = run.end_soon();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!((0..50).all(|n| stub.count_for(&e164(n)) == 1));
}

#[test]
fn a_gateway_that_goes_down_in_the_middle_costs_no_row() {
    let stub = Stub::start();
    let address = stub.url();
    let dir = Workdir::with(contacts(0..100));
    let run = dir
        .send(&stub)
        .args(&["--rate", "100/s", "--max-attempts", "1"]);
    let run = run.start();
    stub.wait_for(30);
    let before = {
        // The last answers go out before it closes.
        let log = stub.log();
        drop(stub);
        log
    };
    std::thread::sleep(Duration::from_millis(300));
    let host = address.split('/').nth(2).unwrap();
    let stub = Stub::at(host.parse().unwrap());
    let ran = run.end_soon();
    assert!(ran.code == 0 || ran.code == 1, "{}", ran.stderr);
    let counts = &dir.report()["counts"];
    assert_eq!(counts["failed"], 0);
    assert_eq!(counts["pending"], 0);
    // One that had left when it closed may be unknown; all others are sent.
    assert!(counts["unknown"].as_u64().unwrap() <= 2, "{counts}");
    for n in 0..100 {
        let first = before.iter().filter(|r| r.number == e164(n)).count();
        assert!(first + stub.count_for(&e164(n)) <= 2);
    }
}

#[test]
fn a_gateway_that_stays_down_stops_the_run_and_the_next_one_sends_all() {
    let address = Stub::nowhere();
    let dir = Workdir::with(contacts(0..50));
    let ran = dir
        .send_to(&stub::url(address))
        .args(&["--max-outage", "1s", "--max-attempts", "1"])
        .ends(3);
    assert!(ran.stderr.contains("down"), "{}", ran.stderr);
    assert!(dir.statuses().iter().all(|status| status == "pending"));
    assert_eq!(dir.report()["stop_reason"]["kind"], "outage");
    let stub = Stub::start();
    dir.send(&stub).ends(0);
    assert!((0..50).all(|n| stub.count_for(&e164(n)) == 1));
}

#[test]
fn a_gateway_that_refuses_everybody_for_a_while_uses_up_nobodys_tries() {
    for (status, tries) in [(503, 1), (429, 1), (500, 1), (503, 2), (429, 3), (500, 5)] {
        let stub = Stub::start();
        let mut failed: HashMap<String, u32> = HashMap::new();
        stub.default(move |index, request| {
            // Behind the outage some need all the tries that they may have.
            let failed = failed.entry(request.number.clone()).or_default();
            let again = request.number.ends_with('7') && *failed + 1 < tries;
            if index < 40 || again {
                *failed += u32::from(index >= 40);
                Reply::new(status, "")
            } else {
                Reply::success()
            }
        });
        let dir = Workdir::with(contacts(0..60));
        // The probes would take their time; a concurrency of 39 uses the refusals up.
        let flags = format!("--max-attempts {tries} --concurrency 39");
        let ran = dir.send(&stub).flags(flags).run();
        assert_eq!(ran.code, 0, "{status}, {tries} tries: {}", ran.stderr);
        assert_eq!(dir.count("sent"), 60);
        is_sound(&dir);
    }
}

/// The ledger holds nothing that cannot be.
#[track_caller]
fn is_sound(dir: &Workdir) {
    dir.line("status --verify").ends(0);
}

#[test]
fn an_outage_that_ends_a_run_leaves_everybody_all_tries_for_the_next() {
    for tries in [1, 2, 3, 5] {
        let stub = Stub::start();
        stub.always(Reply::new(503, ""));
        let dir = Workdir::with(contacts(0..60));
        let flags = format!("--max-attempts {tries} --max-outage 600ms");
        dir.send(&stub).flags(&flags).ends(3);
        assert_eq!(dir.statuses(), ["pending"; 60], "{tries} tries");
        is_sound(&dir);
        let again = Stub::start();
        for n in (0..60).step_by(7) {
            let busy = vec![Reply::new(503, ""); tries - 1];
            again.script("smsotp", &e164(n), busy);
        }
        dir.send(&again).flags(&flags).ends(0);
        assert_eq!(again.count(), 60 + 9 * (tries - 1));
        is_sound(&dir);
    }
}

/// Answers everything with this until the time is over.
fn down_for(time: Duration, reply: Reply) -> Stub {
    let stub = Stub::start();
    let start = Instant::now();
    stub.default(move |_, _| {
        if start.elapsed() < time {
            reply.clone()
        } else {
            Reply::success()
        }
    });
    stub
}

#[test]
fn a_gateway_that_is_down_politely_fails_nobody() {
    let busy = Reply::new(503, "").header("Retry-After", "1");
    for rows in [12, 300] {
        let stub = down_for(Duration::from_secs(2), busy.clone());
        let dir = Workdir::with(contacts(0..rows));
        let ran = dir.send(&stub).flags("--max-attempts 1").run();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        assert_eq!(dir.count("sent"), rows);
    }
}

#[test]
fn an_outage_fails_nobody_in_a_short_list_either() {
    for (rows, tries) in [(12, 1), (12, 5), (2, 2)] {
        let stub = down_for(Duration::from_secs(2), Reply::new(503, ""));
        let dir = Workdir::with(contacts(0..rows));
        let flags = format!("--max-attempts {tries}");
        let ran = dir.send(&stub).flags(flags).run();
        assert_eq!(ran.code, 0, "{rows} rows, {tries} tries: {}", ran.stderr);
        assert_eq!(dir.count("sent"), rows);
    }
}

#[test]
fn a_wait_that_was_asked_for_is_no_part_of_an_outage() {
    let stub = Stub::start();
    let mut start = None;
    stub.default(move |_, _| {
        let Some(start) = start else {
            start = Some(Instant::now());
            return Reply::new(429, "").header("Retry-After", "2");
        };
        if start.elapsed() < Duration::from_millis(2_400) {
            Reply::new(503, "")
        } else {
            Reply::success()
        }
    });
    let dir = Workdir::with(contacts(0..60));
    let flags = "--concurrency 1 --max-attempts 1 --max-outage 1500ms";
    let ran = dir.send(&stub).flags(flags).run();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(dir.count("sent"), 60);
}

#[test]
fn what_never_left_has_no_time_no_latency_and_is_no_request() {
    let dir = Workdir::with(contacts(0..50));
    dir.send_to(&stub::url(Stub::nowhere()))
        .flags("--max-outage 700ms")
        .ends(3);
    for row in dir.results() {
        let said = ["otp_attempts", "otp_first_sent_at", "otp_latency_ms"].map(|name| &*row[name]);
        assert_eq!(said, ["0", "", ""], "{row:?}");
    }
    let report = dir.report();
    assert_eq!(report["attempts"]["total"], 0);
    assert_eq!(report["latency_ms"], serde_json::Value::Null);
    assert_eq!(report["rate"]["peak_1s"], 0);
    is_sound(&dir);
}

#[test]
fn a_gateway_that_refuses_everybody_for_too_long_leaves_all_rows_pending() {
    let stub = Stub::start();
    stub.always(Reply::new(503, ""));
    let dir = Workdir::with(contacts(0..60));
    dir.send(&stub)
        .args(&["--max-attempts", "1", "--max-outage", "1s"])
        .ends(3);
    let counts = &dir.report()["counts"];
    assert_eq!(counts["pending"], 60, "{counts}");
    let again = Stub::start();
    dir.send(&again).ends(0);
    assert!((0..60).all(|n| again.count_for(&e164(n)) == 1));
}

#[test]
fn one_bad_number_is_no_outage() {
    let stub = Stub::start();
    stub.always(Reply::new(503, ""));
    let dir = Workdir::with(contacts(0..1));
    dir.send(&stub).args(&["--max-attempts", "4"]).ends(1);
    assert_eq!(dir.statuses(), ["failed"]);
    assert_eq!(stub.count(), 4);
}

fn retry_after_holds_across_a_restart(value: &str, least: Duration) {
    let stub = Stub::start();
    let answer = Reply::new(429, "").header("Retry-After", value);
    stub.script("smsotp", &e164(0), [answer]);
    let dir = Workdir::with(contacts(0..3));
    let run = dir.send(&stub).args(&["--concurrency", "1"]).start();
    stub.wait_for_answers(1);
    std::thread::sleep(Duration::from_millis(50));
    run.signal("TERM");
    assert_eq!(run.end_soon().code, 143);
    dir.send(&stub).ends(0);
    let log = stub.log();
    assert_eq!(log.len(), 4);
    let waited = log[1].at - log[0].answered_at.unwrap();
    assert!(waited >= least, "{waited:?} instead of {least:?}");
    assert!(waited < least + Duration::from_secs(5), "{waited:?}");
}

#[test]
fn retry_after_in_seconds_is_kept_across_a_restart() {
    retry_after_holds_across_a_restart("2", Duration::from_secs(2));
}

#[test]
fn retry_after_as_a_date_is_kept_across_a_restart() {
    let until = SystemTime::now() + Duration::from_secs(3);
    let asked = Instant::now();
    let value = httpdate::fmt_http_date(until);
    // A date has whole seconds, and the test may have started late.
    let least = Duration::from_secs(1).saturating_sub(asked.elapsed());
    retry_after_holds_across_a_restart(&value, least);
}

#[test]
fn retry_after_of_an_earlier_run_is_ignored_when_told_to() {
    let stub = Stub::start();
    let answer = Reply::new(429, "").header("Retry-After", "3600");
    stub.script("smsotp", &e164(0), [answer]);
    let dir = Workdir::with(contacts(0..3));
    let run = dir.send(&stub).args(&["--concurrency", "1"]).start();
    stub.wait_for_answers(1);
    run.signal("TERM");
    assert_eq!(run.end_soon().code, 143);
    dir.send(&stub).args(&["--ignore-retry-after"]).ends(0);
    assert_eq!(stub.count(), 4);
}

#[test]
fn retry_after_holds_back_its_channel_only() {
    let stub = Stub::start();
    let answer = Reply::new(429, "").header("Retry-After", "1");
    stub.script("smsotp", &e164(0), [answer]);
    let numbers = (0..10).map(crate::support::phone);
    let lines = numbers.zip(["sms", "call"].into_iter().cycle());
    let lines: Vec<_> = lines.map(|(n, channel)| format!("{n},{channel}")).collect();
    let lines = lines.join("\n");
    let dir = Workdir::with(format!("phone,channel\n{lines}"));
    dir.send(&stub).args(&["--concurrency", "1"]).ends(0);
    let log = stub.log();
    let held = log[0].answered_at.unwrap() + Duration::from_secs(1);
    for request in &log[1..] {
        assert_eq!(
            request.at >= held,
            request.endpoint == "smsotp",
            "{} at {:?}",
            request.endpoint,
            request.at - log[0].at
        );
    }
}
