//! What one process hears and all have to heed, and the rate of all of them.

use std::time::Duration;

use super::{Fleet, holds_the_rate, server, share_held};
use crate::proof::{nobody_twice_nobody_lost, quick_or_long};
use crate::support::gate::{Gate, Logged, counts};
use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Otpdrive, Running, Workdir};
use crate::support::{Counts, KEY, contacts, phone};

#[test]
#[ignore = "tests/prove fleet"]
fn a_key_that_one_is_refused_stops_all() {
    const ROWS: usize = 400;
    let (_server, address) = server();
    let keys = Workdir::new();
    keys.write("key", KEY);
    let key = keys.path("key");
    let fleet = Fleet {
        gate: Gate::start(&["--latency", "20ms", "--api-key-file", key.to_str().unwrap()]),
        ..Fleet::new(ROWS, &address)
    };
    let rated = |out: &str| fleet.send(out).flags("--rate 50/s");
    let workers: Vec<Running> = ["one", "two"].map(|out| rated(out).start()).into();
    fleet.wait_for(30);
    let wrong = rated("wrong").env("KOOKOO_API_KEY", "KKwrong").start();
    let ran = wrong.end_soon();
    assert_eq!(ran.code, 4, "{}", ran.stderr);
    let then = fleet.gate.log().len();
    for worker in workers {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 4, "{}", ran.stderr);
        ran.says("refused the API key of a machine of this run");
    }
    let log = fleet.gate.settled_log();
    assert!(log.len() < then + 30, "{} more", log.len() - then);
    // A number whose key was refused has not been sent to, and is asked again; nobody else is.
    let refused = log.iter().filter(|request| !request.accepted).count();
    assert!((1..=super::CONCURRENCY).contains(&refused), "{refused}");
    fleet.send("list-results").ends(0);
    let log = fleet.gate.settled_log();
    let accepted: Vec<_> = log.into_iter().filter(|request| request.accepted).collect();
    let unknown = nobody_twice_nobody_lost(&fleet.dir, ROWS, &counts(&accepted), &Counts::new());
    assert_eq!(unknown, 0);
    assert_eq!(accepted.len(), ROWS);
    println!("a wrong key: all of 3 processes stopped, {refused} requests with it");
}

#[test]
#[ignore = "tests/prove fleet"]
fn a_wait_that_one_is_asked_for_holds_all() {
    const ROWS: usize = 200;
    const ASKED: usize = 60;
    const WAIT: Duration = Duration::from_secs(2);
    let (_server, address) = server();
    let (stub, dir) = (Stub::start(), Workdir::with(contacts(0..ROWS)));
    stub.default(|nth, _| match nth {
        ASKED => Reply::said(429, "Error", "slow down").header("Retry-After", "2"),
        _ => Reply::success(),
    });
    let workers = ["OTPONE", "OTPTWO"].map(|sender| {
        let send = dir
            .send(&stub)
            .args(&["--ledger", &address, "--sender-id", sender]);
        send.flags(format!("--rate 50/s --out {sender}")).start()
    });
    for worker in workers {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let log = stub.log();
    let asked_at = log[ASKED].at;
    let of = |sender: &str, log: &[crate::support::stub::Request]| {
        log.iter().filter(|it| it.target.contains(sender)).count()
    };
    for sender in ["OTPONE", "OTPTWO"] {
        assert!(of(sender, &log[..ASKED]) > 5, "both were at work");
    }
    // What was on its way may still arrive.
    let within = log.iter().filter(|request| {
        request.at > asked_at + Duration::from_millis(200) && request.at < asked_at + WAIT
    });
    assert_eq!(within.count(), 0);
    let late = log[ASKED + 1..]
        .iter()
        .filter(|it| it.at < asked_at + WAIT)
        .count();
    dir.send(&stub).args(&["--ledger", &address]).ends(0);
    assert_eq!(dir.count("sent"), ROWS);
    assert_eq!(
        stub.count(),
        ROWS + 1,
        "one was asked again, after a clear no"
    );
    println!("a Retry-After: held for both of 2 processes, {late} requests were on their way");
}

#[test]
#[ignore = "tests/prove fleet"]
fn what_may_have_been_a_wave_when_all_were_told_to_stop_stays_pending() {
    const EACH: usize = 8;
    const ALL: usize = 2 * EACH;
    let (_server, address) = server();
    let stub = Stub::start();
    let on_server = |run: Otpdrive| {
        let run = run
            .args(&["--ledger", &address])
            .flags("--refused-alike 100");
        run.flags("--concurrency 8 --max-attempts 1")
    };
    let codes = (0..3 * ALL).map(|n| format!("{},7351{n:04}9\n", phone(n)));
    let dir = Workdir::with("phone,otp\n".to_owned() + &codes.collect::<String>());
    // What one alone is refused is not yet a wave, and what both are refused is.
    stub.default(move |index, _| match index {
        0..ALL => Reply::error(&format!("No balance, ticket {index}")),
        _ => Reply::silence(),
    });
    let workers = ["one", "two"].map(|out| {
        let run = on_server(dir.verify(&stub))
            .flags("--timeout 2s")
            .default("--out", out);
        run.flags("--rate 20/s").start()
    });
    stub.wait_for(ALL + 2);
    for worker in &workers {
        worker.signal("INT");
    }
    for worker in workers {
        let ran = worker.end_soon();
        assert_eq!(ran.code, 130, "{}", ran.stderr);
    }
    stub.forget();
    stub.always(Reply::success());
    on_server(dir.verify(&stub)).ends(0);
    assert_eq!(dir.statuses(), ["verified"; 3 * ALL]);
}

#[test]
#[ignore = "tests/prove fleet"]
fn the_rate_of_all_is_that_of_one_while_processes_come_and_go() {
    const RATE: usize = 200;
    let seconds = quick_or_long(6, 60);
    let (_server, address) = server();
    let fleet = Fleet::new(RATE * seconds, &address);
    let start = |out: &str| {
        let send = fleet.send(out).flags(format!("--rate {RATE}/s"));
        send.args(&["--concurrency", "16"]).start()
    };
    let first = start("first");
    fleet.wait_for(RATE);
    let others = ["second", "third"].map(start);
    fleet.wait_for(RATE * seconds / 2);
    first.signal("TERM");
    let ran = first.end_soon();
    assert_eq!(ran.code, 143, "{}", ran.stderr);
    for other in others {
        let ran = other.end_soon();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let log = fleet.gate.settled_log();
    let most = holds_the_rate(RATE, &log);
    let held = share_held(RATE, &log);
    // Other proofs are at work beside the short form.
    let least = f64::from(quick_or_long(90, 97)) / 100.0;
    assert!(held >= least, "{held:.3} of {RATE}/s");
    assert_eq!(fleet.judge(0), 0);
    println!(
        "3 processes that come and go: {:.1} % of {RATE}/s, at most {most} in a second",
        held * 100.0
    );
}

#[test]
#[ignore = "tests/prove fleet"]
fn calls_of_all_keep_their_rate_among_text_messages() {
    const RATE: usize = 200;
    const CALLS: usize = 40;
    let seconds = quick_or_long(6, 60);
    let (_server, address) = server();
    let rows = RATE * seconds;
    let fleet = Fleet::new(rows, &address);
    // One in five is a call: as many as may leave.
    let row = |n: usize| {
        let channel = if n.is_multiple_of(RATE / CALLS) {
            "call"
        } else {
            "sms"
        };
        format!("{},{channel}\n", phone(n))
    };
    let rows: String = (0..rows).map(row).collect();
    fleet
        .dir
        .write("list.csv", format!("phone,channel\n{rows}"));
    let rated = |out: &str| {
        let send = fleet
            .send(out)
            .flags(format!("--rate {RATE}/s --call-rate {CALLS}/s"));
        send.args(&["--concurrency", "16"]).start()
    };
    for worker in ["one", "two", "three"].map(rated) {
        let ran = worker.end();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let log = fleet.gate.settled_log();
    let most = holds_the_rate(RATE, &log);
    let is_call = |request: &Logged| request.path == "callotp";
    let calls: Vec<Logged> = log.into_iter().filter(is_call).collect();
    assert_eq!(calls.len(), CALLS * seconds);
    let most_calls = holds_the_rate(CALLS, &calls);
    let took = calls[calls.len() - 1].t - calls[0].t;
    println!(
        "3 processes, calls at {CALLS}/s among {RATE}/s: at most {most_calls} and {most} in a second, {} calls in {took:.1} s",
        calls.len()
    );
    // A second for those who join one after the other, and for the last ones' slots without calls.
    let seconds = u32::try_from(seconds).unwrap();
    assert!(took < f64::from(seconds) / 0.97 + 1.0, "the rate is used");
}
