//! TLS, with certificates made on the spot: what ends before the handshake is over has surely not
//! been sent; from there on it may have been.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, ServerConfig, ServerConnection};

use super::connect::{is_an_outage, sends_nothing};
use super::{accepted, answer, last, results, serve};
use crate::support::authority::{Authority, Config, Version, localhost, trusting};
use crate::support::wire::{Line, Wire};
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, wait_until};

/// How a connection ends.
type End = fn(&mut Line);

impl Authority {
    fn is_an_outage(&self, play: impl Fn(&mut Line) + Send + Sync + 'static, why: &str) {
        let wire = Wire::start(play);
        is_an_outage(&wire.https(), "", Some(self), why);
        assert_eq!(wire.count(), 0, "{why}");
    }

    fn is_refused(&self, config: Config, why: &str) {
        let wire = Wire::start(behind(config, serve));
        let why = format!("the certificate of localhost {why}");
        sends_nothing((&wire.https(), ""), Some(self), (4, "certificate"), &why);
        assert_eq!(wire.count(), 0, "{why}");
    }

    fn send(&self, dir: &Workdir, url: &str) -> Otpdrive {
        let command = trusting(dir.send_to(url), Some(self));
        command.flags("-vvv --max-outage 3s --concurrency 1")
    }
}

/// Plays this after the handshake.
fn behind(config: Arc<ServerConfig>, play: impl Fn(&mut Line)) -> impl Fn(&mut Line) {
    move |line| {
        if line.secure(&config).is_ok() {
            play(line);
        }
    }
}

#[test]
#[ignore = "tests/prove network"]
fn a_certificate_that_is_not_to_be_trusted_ends_the_run() {
    let [authority, impostor, stranger] =
        ["authority", "authority", "stranger"].map(Authority::new);
    let mut alone = Authority::new("alone");
    alone.issuer = CertifiedIssuer::self_signed(localhost(), KeyPair::generate().unwrap()).unwrap();
    let other = CertificateParams::new(["example.com".to_owned()]).unwrap();
    let (mut expired, mut future) = (localhost(), localhost());
    expired.not_after = date_time_ymd(2020, 1, 1);
    future.not_before = date_time_ymd(2100, 1, 1);
    for version in [&TLS12, &TLS13] {
        for (issuer, params, why) in [
            (&authority, &expired, "has expired"),
            (&authority, &future, "is not valid yet"),
            (&authority, &other, "is for another name"),
            (&stranger, &localhost(), "is not trusted: nobody"),
            (&impostor, &localhost(), "is not trusted"),
            (&alone, &localhost(), "is not trusted"),
        ] {
            let config = issuer.server(version, params, false);
            authority.is_refused(config, why);
        }
    }
}

#[test]
#[ignore = "tests/prove network"]
fn a_handshake_that_is_never_over_is_an_outage() {
    let authority = Authority::new("authority");
    // Said in answer to the client's hello, and how it ends.
    let faults: [(&[u8], End); 4] = [
        (b"", |_| ()),
        (b"", Line::reset),
        (b"", Line::wait_for_close),
        (b"\x15\x03\x03\0\x02\x02\x28", |_| ()),
    ];
    let says = |said: &'static [u8], end: End| {
        move |line: &mut Line| {
            line.hear();
            line.say(said);
            end(line);
        }
    };
    for (said, end) in faults {
        authority.is_an_outage(says(said, end), "no connection");
    }
    // What speaks no TLS never will.
    for said in [
        &b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n"[..],
        b"\x16\x03\x03\xff\xff",
        &[0x55; 2_000],
    ] {
        let wire = Wire::start(says(said, |_| ()));
        let (ends, why) = ((4, "wrong_endpoint"), "does not speak TLS");
        sends_nothing((&wire.https(), ""), Some(&authority), ends, why);
    }
    let config = authority.good(&TLS13);
    let half_a_handshake = move |line: &mut Line| {
        let mut flight = Vec::new();
        hello(line, &config, &mut flight);
        line.say(&flight[..flight.len() / 2]);
    };
    authority.is_an_outage(|_| (), "no connection");
    authority.is_an_outage(Line::reset, "no connection");
    authority.is_an_outage(half_a_handshake, "no connection");
}

/// Hears the client's hello, and writes the server's first flight.
fn hello(line: &mut Line, config: &Arc<ServerConfig>, flight: &mut Vec<u8>) -> ServerConnection {
    let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
    tls.read_tls(&mut line.socket).unwrap();
    tls.process_new_packets().unwrap();
    while tls.wants_write() {
        tls.write_tls(flight).unwrap();
    }
    tls
}

/// With TLS 1.3 the client is done before the server has looked at it: what is refused then may
/// have been read. With TLS 1.2 it cannot have been.
#[test]
#[ignore = "tests/prove network"]
fn a_refusal_of_what_may_have_been_read_leaves_numbers_unknown() {
    let authority = Authority::new("authority");
    let refuse = |version: Version| {
        let config = authority.server(version, &localhost(), true);
        // The request is on its way before the client's certificate is missed.
        move |line: &mut Line| {
            let mut flight = Vec::new();
            let mut tls = hello(line, &config, &mut flight);
            line.say(flight);
            if version == &TLS13 {
                // More than a certificate that is none and the end of the handshake.
                let peek = || line.socket.peek(&mut [0; 1_024]).unwrap();
                wait_until("the request is there too", || peek() > 200);
            }
            assert!(tls.complete_io(&mut line.socket).is_err());
            while tls.wants_write() {
                tls.write_tls(&mut line.socket).unwrap();
            }
        }
    };
    authority.is_an_outage(refuse(&TLS12), "no connection");
    let wire = Wire::start(refuse(&TLS13));
    are_unknown(&authority, &wire.https());
    // And a request in plain text.
    let wire = Wire::start(behind(authority.good(&TLS13), serve));
    are_unknown(&authority, &wire.url());
}

/// Numbers that are sent to there are `unknown`, and held from then on.
#[track_caller]
fn are_unknown(authority: &Authority, url: &str) {
    let dir = Workdir::with(contacts(0..3));
    results(&dir, &authority.send(&dir, url).ends(1));
    assert_eq!(dir.statuses(), ["unknown"; 3]);
    let well = Wire::start(behind(authority.good(&TLS13), serve));
    authority.send(&dir, &well.https()).ends(1);
    assert_eq!(well.count(), 0, "they are held");
}

/// Early data can be replayed by whoever is on the line: a second OTP. It is never used.
#[test]
#[ignore = "tests/prove network"]
fn no_request_leaves_as_early_data() {
    static RESUMED: AtomicUsize = AtomicUsize::new(0);
    static EARLY: AtomicUsize = AtomicUsize::new(0);
    let authority = Authority::new("authority");
    let mut config = Arc::unwrap_or_clone(authority.good(&TLS13));
    config.max_early_data_size = 16_384;
    let wire = Wire::start(behind(config.into(), |line| {
        let is_resumed = line.tls().handshake_kind() == Some(HandshakeKind::Resumed);
        RESUMED.fetch_add(usize::from(is_resumed), Ordering::SeqCst);
        if let Some(mut data) = line.tls().early_data() {
            let mut bytes = Vec::new();
            // Whatever of it has arrived.
            let _ = data.read_to_end(&mut bytes);
            EARLY.fetch_add(bytes.len(), Ordering::SeqCst);
        }
        if let Some(asked) = line.ask() {
            line.say(last(&answer("200 OK", &accepted(&asked.number))));
            line.close_notify();
        }
    }));
    let dir = Workdir::with(contacts(0..10));
    authority.send(&dir, &wire.https()).ends(0);
    assert!(RESUMED.load(Ordering::SeqCst) > 5, "sessions are resumed");
    assert_eq!(EARLY.load(Ordering::SeqCst), 0, "bytes of early data");
}
