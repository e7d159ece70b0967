//! Hours, caps and money, as a user meets them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use otpdrive::job::UnixMicros;

use crate::support::contacts;
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::Workdir;

/// The system's time, and so much.
fn from_now(seconds: i64) -> UnixMicros {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    UnixMicros(i64::try_from(now.as_micros()).unwrap() + seconds * 1_000_000)
}

/// What a clock shows that far from now, in UTC.
fn clock(hours: i64) -> String {
    from_now(hours * 3_600).to_string()[11..16].to_owned()
}

/// A time zone in which the day does not end during a test.
fn zone() -> &'static str {
    if *clock(0) < *"23:55" {
        "UTC"
    } else {
        "Asia/Kolkata"
    }
}

#[test]
fn outside_of_its_hours_it_waits_says_until_when_and_can_be_ended() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    let opens = clock(3);
    let window = format!("--timezone UTC --window {opens}-{}", clock(5));
    for verify in [false, true] {
        let command = if verify {
            dir.write("list.csv", "phone,otp\n9876543210,123456\n");
            dir.verify(&stub)
        } else {
            dir.send(&stub)
        };
        let run = command.flags(&window).start();
        std::thread::sleep(Duration::from_millis(700));
        run.signal("TERM");
        let ran = run.end_soon();
        assert_eq!(ran.code, 143, "{}", ran.stderr);
        let said = ran.stderr.lines().any(|line| {
            line.contains("wait") && line.contains(&opens) && line.contains("--window")
        });
        assert!(said, "{}", ran.stderr);
        assert_eq!(stub.count(), 0);
    }
    let inside = format!("--timezone UTC --window {}-{}", clock(-1), clock(1));
    let dir = Workdir::with(contacts(0..3));
    dir.send(&stub).flags(inside).ends(0);
}

#[test]
fn calls_wait_for_their_hours_while_text_messages_go_on() {
    let stub = Stub::start();
    let list = "phone,channel\n9876543210,sms\n9876543211,call\n9876543212,sms\n";
    let dir = Workdir::with(list);
    let window = format!("--timezone UTC --call-window {}-{}", clock(3), clock(5));
    let run = dir.send(&stub).flags(window).start();
    stub.wait_for_answers(2);
    std::thread::sleep(Duration::from_millis(200));
    run.signal("INT");
    let ran = run.end_soon();
    assert_eq!(ran.code, 130, "{}", ran.stderr);
    assert!(ran.stderr.contains("calls wait"), "{}", ran.stderr);
    assert_eq!(dir.statuses(), ["sent", "pending", "sent"]);
}

#[test]
fn a_cap_is_that_of_the_day_over_all_campaigns_of_the_ledger() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..5));
    let flags = format!("--timezone {} --daily-cap 3", zone());
    let run = dir.send(&stub).flags(&flags).start();
    stub.wait_for_answers(3);
    std::thread::sleep(Duration::from_millis(300));
    run.signal("TERM");
    let ran = run.end_soon();
    assert!(ran.stderr.contains("--daily-cap"), "{}", ran.stderr);
    assert_eq!(stub.count(), 3);
    // Another campaign finds the day used up, and its plan says so before.
    dir.write("more.csv", contacts(10..12));
    let check = |cap: usize| {
        let check = dir.check(&stub).input("more.csv").flags("--json");
        let cap = format!("--timezone {} --daily-cap {cap}", zone());
        check.flags(cap).ends(0).json()["time"].clone()
    };
    let used_up = check(4);
    assert_eq!(used_up["left_today"]["sms"], 3);
    let wait = &used_up["waits"][0];
    assert_eq!(
        (&wait["count"], &wait["because"]),
        (&1.into(), &"--daily-cap".into())
    );
    assert_eq!(check(5)["waits"].as_array().unwrap().len(), 0);
    let send = |flags: &str| dir.send(&stub).input("more.csv").flags(flags);
    let run = send(&flags).start();
    std::thread::sleep(Duration::from_millis(700));
    run.signal("TERM");
    assert_eq!(run.end_soon().code, 143);
    assert_eq!(stub.count(), 3);
    // A rehearsal is apart, and a higher cap has room for two.
    send(&flags)
        .without("--endpoint")
        .flags("--sandbox --ledger otpdrive.db --out rehearsed")
        .ends(0);
    assert_eq!(stub.count(), 3);
    send(&format!("--timezone {} --daily-cap 5", zone())).ends(0);
    assert_eq!(stub.count(), 5);
}

#[test]
fn nothing_starts_before_its_time_nor_after_its_deadline() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..5));
    let start = Instant::now();
    let times = format!("--start-at {} --deadline {}", from_now(2), from_now(4));
    let ran = dir.send(&stub).flags(times).flags("--rate 4/m").ends(3);
    let took = start.elapsed();
    assert!(took >= Duration::from_secs(1), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(
        ran.stderr.contains("--deadline has passed"),
        "{}",
        ran.stderr
    );
    assert_eq!(dir.report()["stop_reason"]["kind"], "deadline");
    assert_eq!((dir.count("sent"), dir.count("pending")), (1, 4));
}

#[test]
fn a_budget_is_kept_over_all_runs_and_its_use_is_reported() {
    let stub = Stub::start();
    stub.default(|index, _| match index {
        1 => Reply::error("Number is barred"),
        2 => Reply::dropped(),
        _ => Reply::success(),
    });
    let dir = Workdir::with(contacts(0..9));
    let send = |budget: &str| {
        let flags = format!("--concurrency 1 --price sms=0.25 --budget {budget}");
        dir.send(&stub).flags(flags)
    };
    let ran = send("1.10").ends(3);
    ran.says("at most 2.25 (sms 0.25 each)");
    ran.says("budget 1.10, which stops it (exit 3) after 4 or more");
    // One was refused, and one may have been accepted.
    assert_eq!(stub.count(), 5);
    let report = dir.report();
    assert_eq!(report["stop_reason"]["kind"], "budget");
    assert_eq!(report["campaign_totals"]["spent"], 1.0);
    assert_eq!(report["settings"]["budget"], "1.10");
    let ran = send("1.10").ends(3);
    assert!(ran.stderr.contains("1 is spent"), "{}", ran.stderr);
    assert_eq!(stub.count(), 5, "there is nothing left");
    send("2.00").ends(1);
    assert_eq!(dir.report()["campaign_totals"]["spent"], 2.0);
    assert_eq!(stub.count(), 9);
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_read() {
    let stub = Stub::start();
    let dir = Workdir::new();
    for (flags, words) in [
        ("--budget 5", &["--budget", "--price"][..]),
        ("--window 09:00", &["--window", "09:00-21:00"]),
        (
            "--timezone Kolkata",
            &["--timezone", "did you mean Asia/Kolkata"],
        ),
        ("--call-rate 20/s --rate 10/s", &["--call-rate", "--rate"]),
        ("--deadline 2020-01-01T00:00Z", &["--deadline", "passed"]),
    ] {
        let ran = dir.send(&stub).without("--rate").flags(flags).ends(2);
        for word in words {
            assert!(ran.stderr.contains(word), "no {word:?} in: {}", ran.stderr);
        }
        assert!(
            !ran.stderr.contains("list.csv"),
            "it is not there: {}",
            ran.stderr
        );
    }
    let dir = Workdir::with("phone,channel\n9876543210,sms\n9876543211,call\n");
    let flags = "--price sms=0.25 --budget 5";
    for command in [dir.send(&stub), dir.line("check list.csv")] {
        let ran = command.flags(flags).ends(2);
        assert!(ran.stderr.contains("call=AMOUNT"), "{}", ran.stderr);
    }
    let ran = dir.verify(&stub).flags("--call-window 09:00-21:00").ends(2);
    assert!(ran.stderr.contains("--call-window"), "{}", ran.stderr);
    assert_eq!(stub.count(), 0);
}
