//! The wire, and every row of the table of answers: what the row says and what a second run does.

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::Workdir;
use crate::support::{KEY, contacts, e164, phone};

#[test]
fn the_three_requests_have_the_documented_form() {
    let stub = Stub::start();
    let dir = Workdir::with(format!(
        "phone,channel\n{},sms\n{},call\n+44 7400 123456,call\n",
        phone(1),
        phone(2)
    ));
    dir.send(&stub).args(&["--concurrency", "1"]).ends(0);
    dir.write("list.csv", format!("phone,otp\n{},004512\n", phone(1)));
    dir.verify(&stub).ends(0);
    let log = stub.log();
    let targets: Vec<_> = log.iter().map(|r| r.target.as_str()).collect();
    let base = "/api/v1/TwoFactor";
    let (one, two) = (phone(1), phone(2));
    assert_eq!(
        targets,
        [
            format!("{base}/smsotp?phone_no=%2B91{one}&api_key={KEY}&sender_id=OTPDRV"),
            format!("{base}/callotp?api_key={KEY}&caller_id=914012345678&phone_no={two}"),
            format!("{base}/callotp?api_key={KEY}&caller_id=914012345678&phone_no=%2B447400123456"),
            format!("{base}/verifyotp?phone_no=%2B91{one}&otp=004512&api_key={KEY}"),
        ]
    );
    for request in log {
        assert!(!request.headers.contains("referer"), "{}", request.headers);
    }
}

/// One row of the table: an answer, what it makes of a number, and how many requests that takes in
/// a run with two tries and in the run after it.
struct Case {
    answer: Reply,
    status: &'static str,
    first: usize,
    second: usize,
}

fn case(answer: Reply, status: &'static str, first: usize, second: usize) -> Case {
    Case {
        answer,
        status,
        first,
        second,
    }
}

/// Answers that mean the same on all endpoints; `unknown` is how many requests each of two runs
/// spends on an unknown one.
fn common(unknown: [usize; 2]) -> Vec<Case> {
    let [first, second] = unknown;
    let mut cases = vec![
        case(
            Reply::error("API key or Phone Number Missing"),
            "rejected",
            1,
            0,
        ),
        case(Reply::said(200, "failure", "no"), "rejected", 1, 0),
        case(Reply::said(400, "Error", "Bad id"), "rejected", 1, 0),
        case(Reply::new(404, "<html>"), "rejected", 1, 0),
        case(
            Reply::new(302, "").header("Location", "/api/v1/TwoFactor/else"),
            "rejected",
            1,
            0,
        ),
        case(Reply::new(418, ""), "rejected", 1, 0),
    ];
    for message in [
        "Already request is in progress, please try again.",
        "Too many requests",
        "limit",
    ] {
        cases.push(case(Reply::error(message), "failed", 2, 1));
        cases.push(case(Reply::said(400, "Error", message), "failed", 2, 1));
    }
    for status in [408, 429, 503, 500, 502] {
        cases.push(case(Reply::new(status, ""), "failed", 2, 1));
    }
    for answer in [
        Reply::new(504, ""),
        Reply::new(501, ""),
        Reply::new(200, ""),
        Reply::new(200, "<html>"),
        Reply::said(200, "ok", "x"),
        Reply::new(200, r#"{"status":"success""#),
        Reply::said(500, "success", "x"),
        Reply::success().half_body(),
        Reply::dropped(),
        Reply::reset(),
        Reply::new(200, " ".repeat(70_000) + r#"{"status":"success"}"#),
    ] {
        cases.push(case(answer, "unknown", first, second));
    }
    cases
}

/// Runs all cases at once, twice. A number that is accepted follows each, so that no streak looks
/// like an outage.
fn try_out(endpoint: &'static str, cases: &[Case], args: &[&str]) {
    let stub = Stub::start();
    for (n, case) in cases.iter().enumerate() {
        let twice = [case.answer.clone(), case.answer.clone()];
        let tries = if case.first == 1 { 1 } else { 2 };
        stub.script(endpoint, &e164(2 * n + 1), twice.into_iter().take(tries));
    }
    let verify = endpoint == "verifyotp";
    let lines = (0..=2 * cases.len()).map(|n| phone(n) + if verify { ",1234\n" } else { "\n" });
    let header = if verify { "phone,otp\n" } else { "phone\n" };
    let dir = Workdir::with(header.to_owned() + &lines.collect::<String>());
    let command = || {
        if verify {
            dir.verify(&stub)
        } else {
            dir.send(&stub)
        }
    };
    let args = [args, &["--concurrency", "1", "--max-attempts", "2"]].concat();

    command().args(&args).ends(1);
    let accepted = if verify { "verified" } else { "sent" };
    let results = dir.results();
    for (n, case) in cases.iter().enumerate() {
        let row = &results[2 * n + 1];
        assert_eq!(
            row["otp_status"], case.status,
            "{endpoint} {:?}",
            case.answer
        );
        let count = stub.count_for(&e164(2 * n + 1));
        assert_eq!(count, case.first, "{endpoint} {:?}", case.answer);
        assert_eq!(row["otp_attempts"], count.to_string());
        assert_eq!(results[2 * n]["otp_status"], accepted);
    }

    stub.forget();
    command().args(&args).run();
    for (n, case) in cases.iter().enumerate() {
        let count = stub.count_for(&e164(2 * n + 1));
        assert_eq!(count, case.second, "{endpoint}, again: {:?}", case.answer);
        assert_eq!(stub.count_for(&e164(2 * n)), 0, "settled");
    }
    for (case, after) in cases.iter().zip(dir.statuses().iter().skip(1).step_by(2)) {
        let expected = if case.second == 1 {
            accepted
        } else {
            case.status
        };
        assert_eq!(after, expected, "{endpoint}, again: {:?}", case.answer);
    }
    if !verify {
        stub.forget();
        command()
            .args(&args)
            .args(&["--on-unknown", "retry"])
            .ends(1);
        for (n, case) in cases.iter().enumerate() {
            let expected = usize::from(case.status == "unknown");
            let count = stub.count_for(&e164(2 * n + 1));
            assert_eq!(count, expected, "on demand: {:?}", case.answer);
        }
        assert!(!dir.statuses().contains(&"unknown".to_owned()));
        let after_unknown = &dir.report()["attempts"]["after_unknown"];
        let unknown = cases.iter().filter(|case| case.status == "unknown");
        assert_eq!(after_unknown.as_u64(), Some(unknown.count() as u64));
    }
}

#[test]
fn each_answer_to_an_sms_means_what_the_table_says_and_is_not_repeated_in_vain() {
    let mut cases = common([1, 0]);
    cases.push(case(Reply::said(200, "SUCCESS", "x"), "sent", 1, 0));
    cases.push(case(Reply::said(200, "queued", "x"), "unknown", 1, 0));
    let not_verified = Reply::error("Your Mobile Number OTP code verification failed");
    cases.push(case(not_verified, "rejected", 1, 0));
    try_out("smsotp", &cases, &[]);
}

#[test]
fn each_answer_to_a_call_means_what_the_table_says_and_is_not_repeated_in_vain() {
    let mut cases = common([1, 0]);
    cases.push(case(Reply::said(200, "success", "x"), "sent", 1, 0));
    cases.push(case(Reply::said(200, "Queued", "x"), "sent", 1, 0));
    try_out("callotp", &cases, &["--channel", "call"]);
}

#[test]
fn each_answer_to_a_code_means_what_the_table_says_and_is_not_repeated_in_vain() {
    let mut cases = common([2, 1]);
    let wrong = Reply::error("Your Mobile Number OTP code verification failed");
    cases.push(case(wrong, "not_verified", 1, 0));
    try_out("verifyotp", &cases, &[]);
}

#[test]
fn a_redirect_is_never_followed() {
    let stub = Stub::start();
    let elsewhere = Stub::start();
    let answer = Reply::new(307, "").header("Location", &elsewhere.url());
    stub.script("smsotp", &e164(1), [answer]);
    let dir = Workdir::with(contacts(0..2));
    dir.send(&stub).args(&["--concurrency", "1"]).ends(1);
    assert_eq!(dir.statuses(), ["sent", "rejected"]);
    assert_eq!((stub.count(), elsewhere.count()), (2, 0));
}

#[test]
fn an_answer_that_does_not_come_in_time_is_unknown() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(1), [Reply::silence()]);
    let dir = Workdir::with(contacts(0..3));
    let args = ["--timeout", "300ms", "--connect-timeout", "200ms"];
    dir.send(&stub).args(&args).ends(1);
    assert_eq!(dir.statuses(), ["sent", "unknown", "sent"]);
    assert_eq!(dir.results()[1]["otp_detail"], "no answer in time");
    dir.send(&stub).args(&args).ends(1);
    assert_eq!(stub.count(), 3);
}

#[test]
fn a_failed_answer_is_held_when_it_is_not_to_be_believed() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(0), [Reply::new(500, "")]);
    stub.script("smsotp", &e164(1), [Reply::new(502, "")]);
    let dir = Workdir::with(contacts(0..3));
    dir.send(&stub).args(&["--on-server-error", "hold"]).ends(1);
    assert_eq!(dir.statuses(), ["unknown", "unknown", "sent"]);
    dir.send(&stub).ends(1);
    assert_eq!(stub.count(), 3, "a held one is not sent again");
}

#[test]
fn a_retry_that_works_is_recovered_and_counted() {
    let stub = Stub::start();
    stub.script(
        "smsotp",
        &e164(1),
        [Reply::new(503, ""), Reply::new(500, "")],
    );
    let dir = Workdir::with(contacts(0..3));
    dir.send(&stub).ends(0);
    assert_eq!(dir.results()[1]["otp_attempts"], "3");
    let attempts = &dir.report()["attempts"];
    assert_eq!(attempts["total"], 5);
    assert_eq!(attempts["retries"], 2);
    assert_eq!(attempts["recovered"], 1);
}

#[test]
fn tries_are_never_more_than_allowed() {
    let stub = Stub::start();
    stub.default(|_, request| {
        if request.number == e164(1) {
            Reply::new(503, "")
        } else {
            Reply::success()
        }
    });
    let dir = Workdir::with(contacts(0..3));
    for run in 1..=3 {
        dir.send(&stub).args(&["--max-attempts", "3"]).ends(1);
        assert_eq!(dir.statuses(), ["sent", "failed", "sent"]);
        assert_eq!(stub.count_for(&e164(1)), 3 * run);
    }
}

#[test]
fn a_refused_key_stops_everything_and_the_next_run_sends_each_once() {
    for refusal in [
        Reply::error("Authentication Error"),
        Reply::new(401, ""),
        Reply::new(403, "<html>"),
    ] {
        let stub = Stub::start();
        stub.always(refusal);
        let dir = Workdir::with(contacts(0..100));
        let ran = dir.send(&stub).args(&["--concurrency", "4"]).ends(4);
        assert!(ran.stderr.contains("refused the API key"), "{}", ran.stderr);
        assert!(stub.count() <= 5, "{} requests", stub.count());
        assert!(dir.statuses().iter().all(|status| status == "pending"));
        assert_eq!(dir.report()["stop_reason"]["kind"], "key_refused");
        let again = Stub::start();
        dir.send(&again).ends(0);
        assert_eq!(again.count(), 100);
        assert!((0..100).all(|n| again.count_for(&e164(n)) == 1));
    }
}
