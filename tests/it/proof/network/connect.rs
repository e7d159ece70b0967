//! Before a request can leave: no name, no one there, no room, an end before the beginning.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::{accepted, answer, last, results, serve};
use crate::proof::quick_or_long;
use crate::support::authority::{Authority, trusting};
use crate::support::stub::{self, Stub};
use crate::support::wire::Wire;
use crate::support::workdir::Workdir;
use crate::support::{contacts, e164};

/// Nothing can be reached there: exit 3 for this reason.
#[track_caller]
pub fn is_an_outage(url: &str, flags: &str, trusted: Option<&Authority>, why: &str) {
    sends_nothing((url, flags), trusted, (3, "outage"), why);
}

/// Rows stay `pending`, it ends so and for this reason, and the same command against a gateway that
/// is well sends each once.
#[track_caller]
pub fn sends_nothing(
    (url, flags): (&str, &str),
    trusted: Option<&Authority>,
    (code, kind): (i32, &str),
    why: &str,
) {
    let dir = Workdir::with(contacts(0..3));
    let short = "-vvv --allow-http --max-outage 300ms --connect-timeout 200ms";
    let command = dir.send_to(url).flags(short).flags(flags);
    let rows = results(&dir, &trusting(command, trusted).ends(code));
    for row in rows {
        assert_eq!(
            (&*row["otp_status"], &*row["otp_attempts"]),
            ("pending", "0")
        );
    }
    let report = dir.report();
    assert_eq!(report["stop_reason"]["kind"], kind);
    let said = report["stop_reason"]["message"].as_str().unwrap();
    assert!(said.contains(why), "{said}, not {why}");
    well(&dir, &Wire::start(serve));
}

/// Three numbers at a gateway that is well: each is asked once.
#[track_caller]
fn well(dir: &Workdir, wire: &Wire) {
    results(dir, &dir.send_to(&wire.url()).flags("-vvv").ends(0));
    assert!((0..3).all(|n| wire.count_for(&e164(n)) == 1));
}

#[test]
#[ignore = "tests/prove network"]
fn where_nobody_is_there_or_lets_it_in_is_an_outage() {
    is_an_outage(&stub::url(Stub::nowhere()), "", None, "refused");
    // A queue that is full, so that packets to it are dropped.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(300)).ok();
    let full: Vec<_> = std::iter::from_fn(knock).collect();
    assert!(!full.is_empty());
    is_an_outage(&stub::url(address), "", None, "no connection in time");
    // A proxy that lets nobody through; of credentials see `front_door/endpoint.rs`.
    for said in ["HTTP/1.1 502 X\r\n\r\n", "HTTP/1.1 2", ""] {
        let proxy = Wire::start(move |line| {
            line.hear();
            line.say(said);
        });
        let proxy = format!("--proxy {}", proxy.url().replace("/api/v1/TwoFactor", ""));
        is_an_outage("https://otpdrive.invalid", &proxy, None, "");
    }
}

#[test]
#[ignore = "tests/prove network"]
fn ipv6_is_spoken() {
    well(&Workdir::with(contacts(0..3)), &Wire::at("[::1]:0", serve));
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
            if line.connection % 2 == 1 {
                if let Some(asked) = line.ask() {
                    line.say(last(&answer("200 OK", &accepted(&asked.number))));
                }
            } else if manner == "reset" {
                line.reset();
            } else if manner == "full" {
                line.say(last(&answer("503 Full", "")));
                line.wait_for_close();
            }
        });
        let dir = Workdir::with(contacts(0..numbers));
        let flags = "--concurrency 1 --max-outage 3s -vvv";
        let send = || dir.send_to(&wire.url()).flags(flags);
        let rows = results(&dir, &send().run());
        let asked: Vec<_> = (0..numbers).map(|n| wire.count_for(&e164(n))).collect();
        wire.forget();
        send().run();
        for (n, row) in rows.iter().enumerate() {
            let (right, again_most) = match row["otp_status"].as_str() {
                "sent" => (1, 0),
                "unknown" => (0, 0),
                // Several in a row may have been told that there is no room.
                "failed" => (0, 1),
                other => panic!("{manner}: {other}: {row:?}"),
            };
            assert_eq!(asked[n], right, "{manner}: {row:?}");
            assert!(wire.count_for(&e164(n)) <= again_most, "{manner}: {row:?}");
        }
        let held = dir.count("unknown");
        println!("{manner} at once: of {numbers} {held} are held, none asked twice");
    }
}
