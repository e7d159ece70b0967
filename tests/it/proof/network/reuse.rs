//! Whose answer is it? On a connection that is kept alive an answer is told from another only by its
//! place, so one too many must never be taken for the next number's.

use super::wire::{Line, Wire, accepted, answer};
use super::{answers_are_everybodys_own, the_key_is_nowhere};
use crate::proof::quick_or_long;
use crate::support::workdir::Workdir;
use crate::support::{contacts, phone};

/// Sends to so many numbers, one after the other at this rate, while this is played on each
/// connection after every answer: go on with it? How many numbers are held.
#[track_caller]
fn afterwards(
    numbers: usize,
    rate: &str,
    then: impl Fn(&mut Line) -> bool + Send + Sync + 'static,
) -> usize {
    let wire = Wire::start(move |line| {
        while let Some(asked) = line.ask() {
            line.say(answer("200 OK", &accepted(&asked.phone)));
            if !then(line) {
                return;
            }
        }
    });
    let dir = Workdir::with(contacts(0..numbers));
    let command = || {
        dir.send_to(&wire.http())
            .args(&["--concurrency", "1", "--rate", rate, "-vvv"])
            .args(&["--max-outage", "3s"])
    };
    let ran = command().run();
    the_key_is_nowhere(&dir, &ran);
    let rows = dir.results();
    answers_are_everybodys_own(&rows);
    for (n, row) in rows.iter().enumerate() {
        let asked = wire.count_for(&phone(n));
        match row["otp_status"].as_str() {
            "sent" => assert_eq!(asked, 1, "{row:?}"),
            "unknown" => assert!(asked <= 1, "{row:?}"),
            _ => panic!("{row:?}"),
        }
    }
    wire.forget();
    command().run();
    assert!(wire.log().is_empty(), "all are settled or held");
    dir.statuses().iter().filter(|s| *s == "unknown").count()
}

#[test]
#[ignore = "tests/prove network"]
fn a_surplus_answer_on_an_idle_connection_settles_nobody() {
    for surplus in [
        answer("200 OK", &accepted("of nobody")),
        answer("200 OK", r#"{"status":"Error","message":"no"}"#),
        answer("408 Too late", ""),
        "x".to_owned(),
    ] {
        let held = afterwards(quick_or_long(10, 100), "20/s", move |line| {
            line.say(&surplus);
            line.wait_for_close();
            false
        });
        assert_eq!(held, 0);
    }
}

#[test]
#[ignore = "tests/prove network"]
fn an_idle_connection_that_ends_costs_nobody_anything() {
    let numbers = quick_or_long(20, 200);
    assert_eq!(afterwards(numbers, "20/s", |_| false), 0, "closed");
    let reset = |line: &mut Line| {
        line.reset();
        false
    };
    assert_eq!(afterwards(numbers, "20/s", reset), 0, "reset");
}

#[test]
#[ignore = "tests/prove network"]
fn a_connection_that_ends_as_the_next_request_leaves_asks_nobody_twice() {
    let numbers = quick_or_long(200, 5_000);
    let held = afterwards(numbers, "unlimited", |_| false);
    println!("closed after each answer: {held} of {numbers} requests met the end, and are held");
    // The worst moment: the next request has arrived and will not be read.
    let met = |line: &mut Line| {
        line.wait_for_more();
        line.reset();
        false
    };
    let held = afterwards(numbers, "unlimited", met);
    println!("reset under the next request: {held} of {numbers} are held");
    assert!(held > 0);
}
