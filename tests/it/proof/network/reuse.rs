//! Whose answer is it? On a connection that is kept alive an answer is told from another only by its
//! place, so one too many must never be taken for the next number's.

use super::{accepted, answer, results};
use crate::proof::{nobody_twice_nobody_lost, quick_or_long};
use crate::support::wire::{Line, Wire};
use crate::support::workdir::Workdir;
use crate::support::{Counts, contacts};

/// Sends to so many numbers, one after the other at this rate, while this is played on each
/// connection after every answer, and the connection ends. How many numbers are held.
#[track_caller]
fn afterwards(
    numbers: usize,
    rate: &str,
    then: impl Fn(&mut Line) + Send + Sync + 'static,
) -> usize {
    let wire = Wire::start(move |line| {
        if let Some(asked) = line.ask() {
            line.say(answer("200 OK", &accepted(&asked.number)));
            then(line);
        }
    });
    let dir = Workdir::with(contacts(0..numbers));
    let flags = format!("--concurrency 1 --rate {rate} --max-outage 3s -vvv");
    let command = || dir.send_to(&wire.url()).flags(&flags);
    let ran = command().run();
    results(&dir, &ran);
    let held = nobody_twice_nobody_lost(&dir, numbers, &wire.counts(), &Counts::new());
    wire.forget();
    command().run();
    assert_eq!(wire.count(), 0, "all are settled or held");
    held
}

#[test]
#[ignore = "tests/prove network"]
fn what_comes_on_an_idle_connection_or_ends_it_settles_nobody() {
    for surplus in [
        answer("200 OK", &accepted("of nobody")),
        answer("200 OK", r#"{"status":"Error","message":"no"}"#),
        answer("408 Too late", ""),
        "x".to_owned(),
    ] {
        let held = afterwards(quick_or_long(10, 100), "20/s", move |line| {
            line.say(&surplus);
            line.wait_for_close();
        });
        assert_eq!(held, 0);
    }
    let numbers = quick_or_long(20, 200);
    assert_eq!(afterwards(numbers, "20/s", |_| ()), 0, "closed");
    assert_eq!(afterwards(numbers, "20/s", Line::reset), 0, "reset");
}

#[test]
#[ignore = "tests/prove network"]
fn a_connection_that_ends_as_the_next_request_leaves_asks_nobody_twice() {
    let numbers = quick_or_long(200, 5_000);
    let closed = afterwards(numbers, "unlimited", |_| ());
    // The worst moment: the next request has arrived and will not be read.
    let reset = afterwards(numbers, "unlimited", |line| {
        // An end is as good.
        let _ = line.socket.peek(&mut [0]);
        line.reset();
    });
    assert!(reset > 0);
    println!("of {numbers}, {closed} are held where it closes, {reset} where it is reset");
}
