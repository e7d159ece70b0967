//! The other channel, for a number that the first surely did not reach.

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Workdir, column};
use crate::support::{contacts, e164, phone};

fn endpoints(stub: &Stub, number: &str) -> Vec<String> {
    let log = stub.log().into_iter();
    log.filter(|request| request.number == number)
        .map(|request| request.endpoint)
        .collect()
}

#[test]
fn the_other_channel_follows_after_rejected_and_failed_and_never_after_unknown() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(1), [Reply::error("barred")]);
    stub.script(
        "smsotp",
        &e164(2),
        [Reply::new(503, ""), Reply::new(503, "")],
    );
    stub.script("smsotp", &e164(3), [Reply::dropped()]);
    stub.script("smsotp", &e164(4), [Reply::new(504, "")]);
    let dir = Workdir::with(contacts(0..5));
    let args = ["--fallback", "call", "--max-attempts", "2"];
    dir.send(&stub).args(&args).ends(1);
    assert_eq!(
        dir.statuses(),
        ["sent", "sent", "sent", "unknown", "unknown"]
    );
    assert_eq!(
        column(&dir.results(), "otp_channel"),
        ["sms", "call", "call", "sms", "sms"]
    );
    assert_eq!(endpoints(&stub, &e164(0)), ["smsotp"]);
    assert_eq!(endpoints(&stub, &e164(1)), ["smsotp", "callotp"]);
    assert_eq!(endpoints(&stub, &e164(2)), ["smsotp", "smsotp", "callotp"]);
    assert_eq!(endpoints(&stub, &e164(3)), ["smsotp"]);
    assert_eq!(endpoints(&stub, &e164(4)), ["smsotp"]);
    assert_eq!(
        dir.report()["attempts"]["retries"],
        1,
        "a fallback is no retry"
    );
    dir.send(&stub).args(&args).ends(1);
    assert_eq!(stub.count(), 8, "all are settled or held");
}

#[test]
fn after_an_unknown_that_was_retried_on_demand_no_other_channel_follows() {
    let stub = Stub::start();
    stub.script(
        "smsotp",
        &e164(0),
        [Reply::dropped(), Reply::error("barred")],
    );
    let dir = Workdir::with(contacts(0..2));
    let args = ["--fallback", "call", "--on-unknown", "retry"];
    dir.send(&stub).args(&args).ends(1);
    assert_eq!(dir.statuses(), ["unknown", "sent"]);
    assert_eq!(endpoints(&stub, &e164(0)), ["smsotp", "smsotp"]);
}

#[test]
fn the_channel_of_a_row_wins_and_its_fallback_is_the_other_one() {
    let stub = Stub::start();
    stub.default(|_, request| {
        if request.number.ends_with('0') {
            Reply::success()
        } else {
            Reply::error("barred")
        }
    });
    let dir = Workdir::with(format!(
        "phone,channel\n{},call\n{},sms\n{},call\n",
        phone(0),
        phone(1),
        phone(2)
    ));
    dir.send(&stub).args(&["--fallback", "call"]).ends(1);
    assert_eq!(dir.statuses(), ["sent", "rejected", "rejected"]);
    assert_eq!(endpoints(&stub, &e164(0)), ["callotp"]);
    assert_eq!(endpoints(&stub, &e164(1)), ["smsotp", "callotp"]);
    assert_eq!(endpoints(&stub, &e164(2)), ["callotp"]);
}

#[test]
fn a_number_rejected_on_both_channels_is_rejected_for_good() {
    let stub = Stub::start();
    stub.always(Reply::error("barred"));
    let dir = Workdir::with(contacts(0..1));
    for _ in 0..2 {
        dir.send(&stub).args(&["--fallback", "call"]).ends(1);
        assert_eq!(dir.statuses(), ["rejected"]);
    }
    assert_eq!(stub.count(), 2);
}

/// A run that ends between the rejected text message and the call.
fn interrupted() -> (Workdir, Stub) {
    let stub = Stub::start();
    stub.script("smsotp", &e164(0), [Reply::error("barred")]);
    let dir = Workdir::with(contacts(0..1));
    let run = dir
        .send(&stub)
        .args(&["--fallback", "call", "--rate", "6/m"]);
    let run = run.start();
    stub.wait_for_answers(1);
    run.signal("TERM");
    assert_eq!(run.end_soon().code, 143);
    assert_eq!(stub.count(), 1);
    (dir, stub)
}

#[test]
fn a_fallback_that_was_cut_off_is_pending_and_the_next_run_calls() {
    let (dir, stub) = interrupted();
    assert_eq!(dir.statuses(), ["pending"]);
    dir.send(&stub).args(&["--fallback", "call"]).ends(0);
    assert_eq!(dir.statuses(), ["sent"]);
    assert_eq!(endpoints(&stub, &e164(0)), ["smsotp", "callotp"]);
}

#[test]
fn a_fallback_that_is_not_wanted_any_more_settles_the_row() {
    let (dir, stub) = interrupted();
    for _ in 0..2 {
        dir.send(&stub).ends(1);
        assert_eq!(dir.statuses(), ["rejected"]);
        assert_eq!(dir.report()["state"], "complete");
    }
    assert_eq!(stub.count(), 1);
}

#[test]
fn a_limited_run_leaves_no_number_halfway() {
    let stub = Stub::start();
    stub.default(|_, request| match request.endpoint.as_str() {
        "smsotp" => Reply::error("barred"),
        _ => Reply::said(200, "queued", "x"),
    });
    let dir = Workdir::with(contacts(0..4));
    let args = ["--fallback", "call", "--limit", "2"];
    dir.send(&stub).args(&args).ends(3);
    assert_eq!(dir.statuses(), ["sent", "sent", "pending", "pending"]);
    dir.send(&stub).args(&args).ends(0);
    assert_eq!(stub.count(), 8);
    assert!((0..4).all(|n| endpoints(&stub, &e164(n)) == ["smsotp", "callotp"]));
}

#[test]
fn calls_held_back_by_the_gateway_do_not_make_a_fallback_leave_twice() {
    let stub = Stub::start();
    // More calls than are read ahead at once, and behind them text messages that are rejected and
    // wait for the calls to be let go again.
    let calls = (0..1_100).map(|n| format!("{},call\n", phone(n)));
    let texts = (1_100..1_700).map(|n| format!("{},sms\n", phone(n)));
    let lines: String = calls.chain(texts).collect();
    stub.script(
        "callotp",
        &e164(0),
        [Reply::new(429, "").header("Retry-After", "1")],
    );
    stub.default(|_, request| match request.endpoint.as_str() {
        "smsotp" => Reply::error("barred"),
        _ => Reply::said(200, "queued", "x"),
    });
    let dir = Workdir::with(format!("phone,channel\n{lines}"));
    dir.send(&stub)
        .flags("--fallback call --concurrency 2 --refused-alike off")
        .ends(0);
    for n in 1_100..1_700 {
        assert_eq!(endpoints(&stub, &e164(n)), ["smsotp", "callotp"]);
    }
    assert_eq!(stub.count(), 1_100 + 1 + 1_200);
}
