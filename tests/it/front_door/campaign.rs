//! What "never twice" refers to: limits, resumed runs, edited files, results as input.

use std::time::Duration;

use crate::support::stub::{Reply, Stub};
use crate::support::workdir::{Workdir, column};
use crate::support::{contacts, e164, phone};

fn each_once(stub: &Stub, numbers: impl IntoIterator<Item = usize>) {
    for n in numbers {
        assert_eq!(stub.count_for(&e164(n)), 1, "number {n}");
    }
}

#[test]
fn running_it_again_sends_nothing() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..20));
    for _ in 0..2 {
        dir.send(&stub).ends(0);
        assert_eq!(dir.report()["counts"]["sent"], 20);
    }
    assert_eq!(stub.count(), 20);
}

#[test]
fn another_campaign_sends_again_on_purpose() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..3));
    dir.send(&stub).ends(0);
    dir.send(&stub)
        .flags("--campaign second --cooldown 0s")
        .ends(0);
    assert_eq!(stub.count(), 6);
}

#[test]
fn a_limit_leaves_the_rest_pending_for_the_next_run() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..10));
    for (run, code) in [(1, 3), (2, 3), (3, 0)] {
        dir.send(&stub).args(&["--limit", "4"]).ends(code);
        assert_eq!(stub.count(), 10.min(4 * run));
        let counts = &dir.report()["counts"];
        assert_eq!(counts["pending"], 10 - 10.min(4 * run));
    }
    each_once(&stub, 0..10);
}

#[test]
fn a_limit_of_exactly_all_rows_is_complete() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..4));
    dir.send(&stub).args(&["--limit", "4"]).ends(0);
    assert_eq!(dir.report()["state"], "complete");
}

#[test]
fn a_run_out_of_time_leaves_the_rest_pending_for_the_next_run() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..200));
    dir.send(&stub)
        .args(&["--max-duration", "500ms", "--rate", "50/s"])
        .ends(3);
    assert_eq!(dir.report()["stop_reason"]["kind"], "max_duration");
    let first = stub.count();
    assert!((2..=40).contains(&first), "{first} requests");
    dir.send(&stub).ends(0);
    each_once(&stub, 0..200);
}

#[test]
fn rows_moved_added_and_removed_are_the_same_numbers() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(3), [Reply::error("barred")]);
    let dir = Workdir::with(format!("phone,name\n{}", lines([0, 1, 2, 3, 4])));
    dir.send(&stub)
        .args(&["--concurrency", "1"])
        .args(&["--limit", "4"])
        .ends(3);
    assert_eq!(
        dir.statuses(),
        ["sent", "sent", "sent", "rejected", "pending"]
    );
    dir.write(
        "list.csv",
        format!("phone,name\n{}", lines([9, 3, 1, 4, 0])),
    );
    dir.send(&stub).ends(1);
    assert_eq!(dir.statuses(), ["sent", "rejected", "sent", "sent", "sent"]);
    assert_eq!(
        column(&dir.results(), "name"),
        ["name 9", "name 3", "name 1", "name 4", "name 0"]
    );
    each_once(&stub, [0, 1, 2, 3, 4, 9]);
    dir.write("list.csv", format!("phone,name\n{}", lines([2, 0])));
    dir.send(&stub).ends(0);
    assert_eq!(
        dir.statuses(),
        ["sent", "sent"],
        "2 was removed and is back"
    );
    each_once(&stub, [0, 1, 2, 3, 4, 9]);
}

fn lines(numbers: impl IntoIterator<Item = usize>) -> String {
    let line = |n| format!("{},name {n}\n", phone(n));
    numbers.into_iter().map(line).collect()
}

#[test]
fn a_number_written_in_another_way_is_the_same_number() {
    let stub = Stub::start();
    let dir = Workdir::with(format!("phone\n{}\n", phone(1)));
    dir.send(&stub).ends(0);
    let n = phone(1);
    dir.write(
        "list.csv",
        format!(
            "name,Mobile No.\nA,+91 {n}\nB,0{n}\nC,=\"{n}\"\nD,{}\n",
            phone(2)
        ),
    );
    dir.send(&stub).ends(0);
    assert_eq!(dir.statuses(), ["sent", "duplicate", "duplicate", "sent"]);
    each_once(&stub, [1, 2]);
}

#[test]
fn a_number_that_stands_twice_is_sent_once() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts([1, 2, 1, 3, 1]));
    for _ in 0..2 {
        dir.send(&stub).ends(0);
        assert_eq!(
            dir.statuses(),
            ["sent", "sent", "duplicate", "sent", "duplicate"]
        );
        assert_eq!(dir.results()[2]["otp_detail"], "same as line 2");
    }
    each_once(&stub, 1..4);
}

#[test]
fn results_are_a_valid_next_input() {
    let stub = Stub::start();
    stub.script("smsotp", &e164(1), vec![Reply::new(503, ""); 2]);
    stub.script("smsotp", &e164(2), [Reply::dropped()]);
    let dir = Workdir::with(contacts(0..6));
    dir.send(&stub)
        .args(&["--limit", "4", "--max-attempts", "2"])
        .ends(3);
    assert_eq!(
        dir.statuses(),
        ["sent", "failed", "unknown", "sent", "pending", "pending"]
    );
    dir.write("next.csv", dir.read("list-results/results.csv"));
    dir.send(&stub)
        .input("next.csv")
        .args(&["--campaign", "list"])
        .ends(1);
    assert_eq!(
        dir.statuses(),
        ["sent", "sent", "unknown", "sent", "sent", "sent"]
    );
    assert_eq!(dir.results()[0].len(), 12, "phone and eleven otp columns");
    each_once(&stub, [0, 2, 3, 4, 5]);
}

#[test]
fn ragged_rows_end_no_run_and_none_is_lost() {
    let stub = Stub::start();
    let dir = Workdir::with(format!(
        "name,phone\nA,{},,\nB\n\nC,{}\nD,\n\"E \"\"q\"\" F\",{}\n",
        phone(1),
        phone(2),
        phone(3)
    ));
    dir.send(&stub).ends(1);
    assert_eq!(
        dir.statuses(),
        ["sent", "invalid", "sent", "invalid", "sent"]
    );
    assert_eq!(
        column(&dir.results(), "name"),
        ["A", "B", "C", "D", "E \"q\" F"]
    );
    each_once(&stub, 1..4);
}

#[test]
fn invalid_rows_are_reported_and_the_others_sent() {
    let stub = Stub::start();
    let dir = Workdir::with(format!(
        "phone\n9.19877E+11\n{}\n{} / {}\n12345\n{}\n02212345678\n{}\n{}\n",
        phone(1),
        phone(2),
        phone(3),
        phone(4),
        phone(5),
        phone(6)
    ));
    dir.send(&stub).ends(1);
    assert_eq!(
        dir.statuses(),
        [
            "invalid", "sent", "invalid", "invalid", "sent", "invalid", "sent", "sent"
        ]
    );
    assert!(dir.results()[0]["otp_detail"].contains("scientific notation"));
    each_once(&stub, [1, 4, 5, 6]);
}

#[test]
fn a_resumed_run_keeps_its_distance_from_the_one_before() {
    let stub = Stub::start();
    let dir = Workdir::with(contacts(0..2));
    let args = ["--rate", "1/s", "--limit", "1"];
    dir.send(&stub).args(&args).ends(3);
    dir.send(&stub).args(&args).ends(0);
    let log = stub.log();
    let apart = log[1].at - log[0].at;
    assert!(apart >= Duration::from_millis(980), "{apart:?}");
}

#[test]
fn the_rate_holds_at_the_gateway() {
    let stub = Stub::start();
    stub.default(|index, _| match index % 10 {
        3 => Reply::new(503, ""),
        _ => Reply::success(),
    });
    let dir = Workdir::with(contacts(0..250));
    dir.send(&stub).args(&["--rate", "100/s"]).ends(0);
    let times: Vec<_> = stub.log().iter().map(|request| request.at).collect();
    for (n, start) in times.iter().enumerate() {
        let within = times[n..]
            .iter()
            .filter(|at| **at - *start < Duration::from_secs(1));
        let within = within.count();
        // What the machine adds on the way is not the program's.
        assert!(within <= 104, "{within} in a second");
    }
    let took = (*times.last().unwrap() - times[0]).as_secs_f64();
    let mean = f64::from(u32::try_from(times.len()).unwrap() - 1) / took;
    // A busy machine costs time; that all of the rate is used is seen with paused time.
    assert!(mean > 70.0, "{mean:.1}/s");
}

#[test]
fn no_more_requests_are_in_flight_than_allowed() {
    let stub = Stub::start();
    stub.hold();
    let dir = Workdir::with(contacts(0..30));
    let run = dir.send(&stub).args(&["--concurrency", "7"]).start();
    stub.wait_for(7);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(stub.count(), 7);
    stub.release();
    assert_eq!(run.end_soon().code, 0);
    assert_eq!(stub.in_flight_max(), 7);
}
