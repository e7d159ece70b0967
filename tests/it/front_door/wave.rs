//! Many refusals in the same words are about the account or the service, not about the numbers.

use std::time::{Duration, Instant};

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, e164, phone, wait_until};

/// The same command at a gateway that is well sends to each of these once.
#[track_caller]
fn goes_on(dir: &Workdir, numbers: std::ops::Range<usize>) {
    let well = Stub::start();
    dir.send(&well).ends(0);
    assert_eq!(well.count(), numbers.len());
    assert!(numbers.into_iter().all(|n| well.count_for(&e164(n)) == 1));
}

#[test]
fn a_wave_of_one_refusal_stops_the_run_makes_no_call_and_costs_no_row() {
    let stub = Stub::start();
    stub.default(|index, request| match request.endpoint.as_str() {
        "smsotp" => Reply::error(&format!("Sender id not approved, ticket {index}")),
        _ => Reply::said(200, "queued", "x"),
    });
    let dir = Workdir::with(contacts(0..100));
    let ran = dir
        .send(&stub)
        .flags("--fallback call --concurrency 8")
        .ends(4);
    assert!(
        ran.stderr.contains("Sender id not approved"),
        "{}",
        ran.stderr
    );
    assert!((20..=28).contains(&stub.count()), "{}", stub.count());
    assert!(stub.log().iter().all(|asked| asked.endpoint == "smsotp"));
    assert_eq!(dir.statuses(), ["pending"; 100]);
    assert_eq!(dir.report()["stop_reason"]["kind"], "account_refused");
    goes_on(&dir, 0..100);
}

#[test]
fn credit_that_runs_out_in_the_middle_leaves_the_rest_pending() {
    let stub = Stub::start();
    stub.default(|index, _| match index {
        0..30 => Reply::success(),
        _ => Reply::error(&format!("Insufficient balance: {}.50", index % 7)),
    });
    let dir = Workdir::with(contacts(0..100));
    dir.send(&stub).flags("--concurrency 1").ends(4);
    assert_eq!((dir.count("sent"), dir.count("pending")), (30, 70));
    goes_on(&dir, 30..100);
}

#[test]
fn an_account_that_is_refused_stops_the_run_at_once() {
    let stub = Stub::start();
    stub.always(Reply::new(402, ""));
    let dir = Workdir::with(contacts(0..100));
    dir.send(&stub).flags("--concurrency 4").ends(4);
    assert!(stub.count() <= 5, "{} requests", stub.count());
    assert_eq!(dir.statuses(), ["pending"; 100]);
    assert_eq!(dir.report()["stop_reason"]["kind"], "account_refused");
    goes_on(&dir, 0..100);
}

#[test]
fn fewer_refusals_alike_are_the_numbers_and_the_other_channel_follows() {
    let stub = Stub::start();
    stub.default(|_, request| match request.endpoint.as_str() {
        "smsotp" => Reply::error("barred"),
        _ => Reply::said(200, "queued", "x"),
    });
    let dir = Workdir::with(contacts(0..19));
    dir.send(&stub).flags("--fallback call").ends(0);
    assert_eq!(stub.count(), 38);
    // How many are many is the user's to say.
    for (limit, code) in [("20", 1), ("5", 4), ("off", 1)] {
        let name = format!("of{limit}");
        let flags = format!("--campaign {name} --out {name} --refused-alike {limit} --cooldown 0s");
        dir.send(&stub).flags(flags).ends(code);
    }
}

/// Kills this run of 16 rows when 12 were refused in the same words and 4 wait for their answer.
fn is_killed_in_doubt(dir: &Workdir, stub: &Stub, run: Otpdrive) {
    stub.default(|index, _| match index {
        0..12 => Reply::error(&format!("No balance, ticket {index}")),
        _ => Reply::silence(),
    });
    let run = run.flags("--concurrency 16").start();
    stub.wait_for(16);
    wait_until("the ledger has the refusals", || {
        dir.line("report --out list-results").run();
        dir.report()["in_flight"] == 4
    });
    assert!(run.kill());
    assert_eq!(stub.count(), 16);
}

#[test]
fn what_may_have_been_a_wave_when_a_run_was_killed_stays_pending_and_is_not_called() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..16));
    let send = || dir.send(&stub).flags("--fallback call");
    is_killed_in_doubt(&dir, &stub, send());
    stub.always(Reply::new(401, ""));
    send().ends(4);
    assert_eq!((dir.count("pending"), dir.count("unknown")), (12, 4));
    stub.always(Reply::success());
    send().ends(1);
    assert_eq!((dir.count("sent"), dir.count("unknown")), (12, 4));
    assert!(stub.log().iter().all(|asked| asked.endpoint == "smsotp"));
}

#[test]
fn codes_refused_in_what_may_have_been_a_wave_are_checked_after_a_kill() {
    let stub = Stub::start();
    let lines = (0..16).map(|n| format!("{},7351{n:04}9\n", phone(n)));
    let dir = Workdir::with("phone,otp\n".to_owned() + &lines.collect::<String>());
    is_killed_in_doubt(&dir, &stub, dir.verify(&stub));
    stub.forget();
    stub.always(Reply::success());
    dir.verify(&stub).ends(0);
    assert_eq!(dir.statuses(), ["verified"; 16]);
    let checked = |n: usize| stub.log().iter().any(|r| r.otp == format!("7351{n:04}9"));
    assert!((0..16).all(checked));
    assert!(!dir.ledger_holds("735100"));
}

#[test]
fn a_refusal_that_was_taken_at_its_word_stays_one_after_a_kill() {
    let stub = Stub::start();
    stub.default(|_, request| match request.endpoint.as_str() {
        "smsotp" => Reply::error("barred"),
        _ => Reply::silence(),
    });
    let dir = Workdir::with(contacts(0..3));
    let run = dir.send(&stub).flags("--fallback call").start();
    stub.wait_for(6);
    run.kill();
    dir.send(&stub).flags("--fallback call").ends(1);
    assert_eq!(dir.statuses(), ["unknown"; 3]);
    assert_eq!(stub.count(), 6);
}

/// A page instead of the API, from an endpoint that has proved right.
fn maintenance(until: impl Fn() -> bool + Send + 'static) -> Stub {
    let stub = Stub::start();
    stub.default(move |index, _| {
        if index < 10 || until() {
            Reply::success()
        } else {
            Reply::new(302, "").header("Location", "/maintenance.html")
        }
    });
    stub
}

#[test]
fn a_maintenance_page_is_waited_out() {
    let start = Instant::now();
    let stub = maintenance(move || start.elapsed() > Duration::from_millis(1_500));
    let dir = Workdir::with(contacts(0..100));
    let ran = dir.send(&stub).flags("--concurrency 4").run();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(dir.statuses(), ["sent"; 100]);
}

#[test]
fn a_maintenance_page_that_stays_leaves_the_rest_pending() {
    let stub = maintenance(|| false);
    let dir = Workdir::with(contacts(0..100));
    dir.send(&stub)
        .flags("--concurrency 1 --max-outage 700ms")
        .ends(3);
    assert_eq!((dir.count("sent"), dir.count("pending")), (10, 90));
    assert_eq!(dir.report()["stop_reason"]["kind"], "outage");
    goes_on(&dir, 10..100);
}
