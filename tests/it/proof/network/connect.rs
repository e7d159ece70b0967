//! Before a request can leave: no name, no one there, no room, an end before the beginning.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::wire::{Wire, accepted, answer, last, serve};
use super::{answers_are_everybodys_own, the_key_is_nowhere};
use crate::proof::quick_or_long;
use crate::support::stub::{self, Stub};
use crate::support::workdir::Workdir;
use crate::support::{contacts, phone};

/// Nothing can be reached there: rows stay `pending` with this reason, exit 3, and the same command
/// against a gateway that is well sends each once.
#[track_caller]
pub fn is_an_outage(url: &str, setup: &[(&str, &str)], why: &str) {
    let dir = Workdir::with(contacts(0..3));
    let mut command = dir
        .send_to(url)
        .args(&["-vvv", "--allow-http", "--max-outage", "300ms"])
        .args(&["--connect-timeout", "200ms"]);
    for (name, value) in setup {
        command = command.env(name, value);
    }
    let ran = command.ends(3);
    the_key_is_nowhere(&dir, &ran);
    assert_eq!(dir.statuses(), ["pending"; 3]);
    assert_eq!(dir.report()["stop_reason"]["kind"], "outage");
    let detail = &dir.results()[0]["otp_detail"];
    assert!(detail.contains(why), "{detail}, not {why}");

    let well = Wire::start(serve);
    let ran = dir.send_to(&well.http()).args(&["-vvv"]).ends(0);
    the_key_is_nowhere(&dir, &ran);
    answers_are_everybodys_own(&dir.results());
    assert!((0..3).all(|n| well.count_for(&phone(n)) == 1));
}

#[test]
#[ignore = "tests/prove network"]
fn a_name_that_does_not_exist_is_an_outage() {
    is_an_outage("http://otpdrive.invalid", &[], "no connection");
}

#[test]
#[ignore = "tests/prove network"]
fn a_refused_connection_is_an_outage() {
    is_an_outage(&stub::url(Stub::nowhere()), &[], "refused");
}

/// A server that lets nobody in: its queue is full, so that packets to it are dropped.
#[test]
#[ignore = "tests/prove network"]
fn a_connection_that_is_not_taken_in_time_is_an_outage() {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let short = Duration::from_millis(300);
    let full: Vec<_> =
        std::iter::from_fn(|| TcpStream::connect_timeout(&address, short).ok()).collect();
    assert!(!full.is_empty());
    is_an_outage(&stub::url(address), &[], "no connection in time");
}

#[test]
#[ignore = "tests/prove network"]
fn a_proxy_that_lets_nobody_through_is_an_outage() {
    for said in [
        "HTTP/1.1 502 X\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 407 X\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 2",
        "",
    ] {
        let proxy = Wire::start(move |line| {
            line.hear();
            line.say(said);
        });
        let dir = Workdir::with(contacts(0..3));
        let ran = dir
            .send_to("https://otpdrive.invalid")
            .args(&["--proxy", proxy.http().split_once("/api").unwrap().0])
            .args(&["-vvv", "--max-outage", "300ms"])
            .ends(3);
        the_key_is_nowhere(&dir, &ran);
        assert_eq!(dir.statuses(), ["pending"; 3], "{said:?}");
    }
}

#[test]
#[ignore = "tests/prove network"]
fn ipv6_is_spoken() {
    let wire = Wire::at("[::1]:0", serve);
    let dir = Workdir::with(contacts(0..3));
    dir.send_to(&wire.http()).ends(0);
    answers_are_everybodys_own(&dir.results());
    assert!((0..3).all(|n| wire.count_for(&phone(n)) == 1));
}

/// Whether the request was already on its way when the connection ended is a matter of luck; what
/// is claimed about it is not. Every other connection ends at once, the others are good for one
/// request.
#[test]
#[ignore = "tests/prove network"]
fn a_connection_that_ends_at_once_never_makes_a_number_accepted_or_asked_twice() {
    let numbers = quick_or_long(50, 2_000);
    for manner in ["closed", "reset", "full"] {
        let wire = Wire::start(move |line| {
            if line.connection % 2 == 0 {
                match manner {
                    "closed" => {}
                    "reset" => line.reset(),
                    _ => {
                        line.say(last(&answer("503 Full", "")));
                        line.wait_for_close();
                    }
                }
            } else if let Some(asked) = line.ask() {
                line.say(last(&answer("200 OK", &accepted(&asked.phone))));
            }
        });
        let dir = Workdir::with(contacts(0..numbers));
        let ran = dir
            .send_to(&wire.http())
            .args(&["--concurrency", "1", "--max-outage", "3s", "-vvv"])
            .run();
        the_key_is_nowhere(&dir, &ran);
        let rows = dir.results();
        answers_are_everybodys_own(&rows);
        let held = rows.iter().filter(|row| row["otp_status"] == "unknown");
        let held = held.count();
        for (n, row) in rows.iter().enumerate() {
            let status = row["otp_status"].as_str();
            // Several in a row may have been told that there is no room.
            let known = ["sent", "unknown", "failed"].contains(&status);
            assert!(known, "{manner}: {row:?}");
            let asked = usize::from(status == "sent");
            assert_eq!(wire.count_for(&phone(n)), asked, "{manner}: {row:?}");
        }
        wire.forget();
        dir.send_to(&wire.http())
            .args(&["--concurrency", "1", "--max-outage", "3s"])
            .run();
        for (n, row) in rows.iter().enumerate() {
            let again = usize::from(row["otp_status"] == "failed");
            assert!(wire.count_for(&phone(n)) <= again, "{manner}: {row:?}");
        }
        println!("{manner} at once: {numbers} numbers, {held} held as unknown, none asked twice");
    }
}
