//! A turn is redeemed where the bytes leave: a gateway that keeps connections waiting, and then
//! lets all of them in at once, still sees no second with more than the rate.

use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustls::version::TLS13;
use socket2::{Domain, Socket, Type};

use crate::support::authority::{Authority, trusting};
use crate::support::wire::{Line, Request, Wire, url};
use crate::support::workdir::{Otpdrive, Running, Workdir};
use crate::support::{contacts, e164};

const RATE: usize = 20;

const ROWS: usize = 80;

/// For so long nobody is let in.
const STALL: Duration = Duration::from_secs(2);

/// Answers one request after the other, or one per connection.
fn serve(line: &mut Line, closes: bool) {
    const BODY: &str = r#"{"status":"success","message":"SM1"}"#;
    let connection = if closes { "connection: close\r\n" } else { "" };
    while line.ask().is_some() {
        let length = BODY.len();
        let head = format!("HTTP/1.1 200 X\r\ncontent-length: {length}\r\n{connection}\r\n");
        if !line.say(head + BODY) || closes {
            return line.close_notify();
        }
    }
}

/// The most requests that arrived in any second.
fn peak(log: &[Request]) -> usize {
    let within = |from: &Request| {
        let same_second =
            |asked: &&Request| asked.at >= from.at && asked.at - from.at < Duration::from_secs(1);
        log.iter().filter(same_second).count()
    };
    log.iter().map(within).max().unwrap_or(0)
}

/// Sends to everybody, at the rate.
fn start(send: Otpdrive) -> Running {
    send.flags(format!("--rate {RATE}/s")).start()
}

/// In the end everybody was asked once, at the rate.
#[track_caller]
fn keeps_its_rate(dir: &Workdir, wire: &Wire, run: Running) {
    let ran = run.end_soon();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!((0..ROWS).all(|n| wire.count_for(&e164(n)) == 1));
    let peak = peak(&wire.log());
    assert!(peak <= RATE + 1, "{peak} in a second at {RATE}/s");
    let reported = &dir.report()["rate"]["peak_1s"];
    assert!(reported.as_u64() <= Some(RATE as u64 + 1), "{reported}");
}

#[test]
fn handshakes_that_all_end_at_once_let_no_more_leave_than_the_rate() {
    let authority = Authority::new("authority");
    for closes in [false, true] {
        let config = authority.good(&TLS13);
        let first = OnceLock::new();
        let wire = Wire::start(move |line| {
            let open_at = *first.get_or_init(|| Instant::now() + STALL);
            std::thread::sleep(open_at.saturating_duration_since(Instant::now()));
            if line.secure(&config).is_ok() {
                serve(line, closes);
            }
        });
        let dir = Workdir::with(contacts(0..ROWS));
        let send = trusting(dir.send_to(&wire.https()), Some(&authority));
        keeps_its_rate(&dir, &wire, start(send));
    }
}

#[test]
fn connections_that_are_accepted_late_let_no_more_leave_than_the_rate() {
    // A queue that is full, so that whoever else knocks has to knock again.
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(1).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let knock = || TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok();
    let full: Vec<_> = std::iter::from_fn(knock).collect();
    let dir = Workdir::with(contacts(0..ROWS));
    let run = start(dir.send_to(&url(address)));
    std::thread::sleep(STALL);
    listener.listen(128).unwrap();
    drop(full);
    let wire = Wire::on(listener.into(), |line| serve(line, false));
    keeps_its_rate(&dir, &wire, run);
}
