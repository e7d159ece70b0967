//! TLS, with certificates made on the spot: what ends before the handshake is over has surely not
//! been sent; from there on it may have been.

use std::fs;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
    date_time_ymd,
};
use rustls::crypto::ring::default_provider as ring;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion};
use tempfile::NamedTempFile;

use super::connect::is_an_outage;
use super::wire::{Line, Wire, accepted, answer, last, serve};
use super::{answers_are_everybodys_own, the_key_is_nowhere};
use crate::support::workdir::{Otpdrive, Workdir};
use crate::support::{contacts, phone, wait_until};

type Version = &'static SupportedProtocolVersion;

const VERSIONS: [Version; 2] = [&TLS12, &TLS13];

/// How it goes on for this number.
type Play = fn(&mut Line, &str);

/// How a connection ends.
type End = fn(&mut Line);

/// All that happens on a connection.
type Whole = dyn Fn(&mut Line) + Send + Sync;

/// An authority that the program trusts, for the tests that say so.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: NamedTempFile,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = NamedTempFile::new().unwrap();
        fs::write(file.path(), issuer.pem()).unwrap();
        Self { issuer, file }
    }

    /// What makes the program trust it, and nobody else.
    fn trusted(&self) -> (&'static str, &str) {
        ("SSL_CERT_FILE", self.file.path().to_str().unwrap())
    }

    /// A server with a certificate like this from it.
    fn server(&self, params: &CertificateParams, version: Version) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        server(&certificate, &key, version, None)
    }

    /// A server with nothing wrong about it.
    fn good(&self, version: Version) -> ServerConfig {
        self.server(&localhost(), version)
    }
}

fn localhost() -> CertificateParams {
    CertificateParams::new(["localhost".to_owned()]).unwrap()
}

/// A server with this certificate, which may ask its clients for theirs.
fn server(
    certificate: &Certificate,
    key: &KeyPair,
    version: Version,
    asks: Option<Arc<dyn ClientCertVerifier>>,
) -> ServerConfig {
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    ServerConfig::builder_with_provider(ring().into())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(asks.unwrap_or_else(WebPkiClientVerifier::no_client_auth))
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

/// Plays this after the handshake.
fn behind(config: ServerConfig, play: impl Fn(&mut Line) + Send + Sync + 'static) -> Wire {
    let config = Arc::new(config);
    Wire::start(move |line| {
        if line.secure(&config).is_ok() {
            play(line);
        }
    })
}

fn send(dir: &Workdir, wire: &Wire, authority: &Authority) -> Otpdrive {
    let (name, file) = authority.trusted();
    dir.send_to(&wire.https())
        .env(name, file)
        .args(&["-vvv", "--max-outage", "3s"])
}

#[test]
#[ignore = "tests/prove network"]
fn a_valid_certificate_works_from_end_to_end() {
    let authority = Authority::new("authority");
    for version in VERSIONS {
        let wire = behind(authority.good(version), serve);
        let dir = Workdir::with(contacts(0..20));
        let one_by_one = ["--concurrency", "1"];
        let ran = send(&dir, &wire, &authority).args(&one_by_one).ends(0);
        the_key_is_nowhere(&dir, &ran);
        answers_are_everybodys_own(&dir.results());
        assert_eq!(
            (wire.log().len(), wire.connections()),
            (20, 1),
            "{version:?}"
        );
    }
}

#[test]
#[ignore = "tests/prove network"]
fn a_certificate_that_is_not_to_be_trusted_is_an_outage() {
    let authority = Authority::new("authority");
    let stranger = Authority::new("stranger");
    let impostor = Authority::new("authority");
    let with = |change: fn(&mut CertificateParams)| {
        let mut params = localhost();
        change(&mut params);
        params
    };
    let expired = with(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let future = with(|params| params.not_before = date_time_ymd(2100, 1, 1));
    let other = CertificateParams::new(["example.com".to_owned()]).unwrap();
    let key = KeyPair::generate().unwrap();
    let alone = localhost().self_signed(&key).unwrap();
    for version in VERSIONS {
        let bad = [
            (authority.server(&expired, version), "expired"),
            (authority.server(&future, version), "not valid yet"),
            (authority.server(&other, version), "not valid for name"),
            (stranger.good(version), "UnknownIssuer"),
            (impostor.good(version), "BadSignature"),
            (server(&alone, &key, version, None), "UnknownIssuer"),
        ];
        for (config, why) in bad {
            let wire = behind(config, serve);
            is_an_outage(&wire.https(), &[authority.trusted()], why);
            assert!(wire.log().is_empty(), "{why}");
        }
    }
}

#[test]
#[ignore = "tests/prove network"]
fn a_handshake_that_is_never_over_is_an_outage() {
    let authority = Authority::new("authority");
    // Said in answer to the client's hello, and how it ends.
    let faults: [(&str, &[u8], End); 7] = [
        ("closed", b"", |_| ()),
        ("reset", b"", Line::reset),
        ("silence", b"", Line::wait_for_close),
        (
            "plain text",
            b"HTTP/1.1 400 X\r\ncontent-length: 0\r\n\r\n",
            |_| (),
        ),
        ("an alert", b"\x15\x03\x03\0\x02\x02\x28", |_| ()),
        (
            "a record too long",
            b"\x16\x03\x03\xff\xff",
            Line::wait_for_close,
        ),
        ("garbage", &[0x55; 2_000], |_| ()),
    ];
    for (name, said, end) in faults {
        let wire = Wire::start(move |line| {
            line.hear();
            line.say(said);
            end(line);
        });
        is_an_outage(&wire.https(), &[authority.trusted()], "no connection");
        assert!(wire.log().is_empty(), "{name}");
    }
    let config = Arc::new(authority.good(&TLS13));
    let others: [Box<Whole>; 3] = [
        Box::new(|_| ()),
        Box::new(Line::reset),
        Box::new(move |line| half_a_handshake(line, &config)),
    ];
    for play in others {
        let wire = Wire::start(play);
        is_an_outage(&wire.https(), &[authority.trusted()], "no connection");
        assert!(wire.log().is_empty());
    }
}

/// The server's first flight, cut in the middle.
fn half_a_handshake(line: &mut Line, config: &Arc<ServerConfig>) {
    let mut tls = rustls::ServerConnection::new(Arc::clone(config)).unwrap();
    tls.read_tls(&mut line.socket).unwrap();
    tls.process_new_packets().unwrap();
    let mut flight = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut flight).unwrap();
    }
    line.say(&flight[..flight.len() / 2]);
}

/// With TLS 1.3 the client is done before the server has looked at it: what is refused then may
/// have been read. With TLS 1.2 it cannot have been.
#[test]
#[ignore = "tests/prove network"]
fn a_refusal_behind_the_handshake_leaves_numbers_unknown() {
    let authority = Authority::new("authority");
    for version in VERSIONS {
        let mut roots = RootCertStore::empty();
        roots.add(authority.issuer.der().clone()).unwrap();
        let asks = WebPkiClientVerifier::builder_with_provider(roots.into(), ring().into());
        let asks = asks.build().unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = localhost().signed_by(&key, &authority.issuer).unwrap();
        let config = server(&certificate, &key, version, Some(asks));
        let config = Arc::new(config);
        let wire = Wire::start(move |line| {
            // The request is on its way before the client's certificate is missed.
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            tls.read_tls(&mut line.socket).unwrap();
            tls.process_new_packets().unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut line.socket).unwrap();
            }
            if version == &TLS13 {
                // More than a certificate that is none and the end of the handshake.
                wait_until("the request is there too", || {
                    line.socket.peek(&mut [0; 1_024]).unwrap() > 200
                });
            }
            assert!(tls.complete_io(&mut line.socket).is_err());
            while tls.wants_write() {
                tls.write_tls(&mut line.socket).unwrap();
            }
        });
        if version == &TLS12 {
            is_an_outage(&wire.https(), &[authority.trusted()], "no connection");
            continue;
        }
        let dir = Workdir::with(contacts(0..3));
        let ran = send(&dir, &wire, &authority).ends(1);
        the_key_is_nowhere(&dir, &ran);
        assert_eq!(dir.statuses(), ["unknown"; 3]);
        let well = behind(authority.good(version), serve);
        send(&dir, &well, &authority).ends(1);
        assert!(well.log().is_empty(), "they are held");
    }
}

/// Each number's request is read; then this is how it goes on.
#[test]
#[ignore = "tests/prove network"]
fn what_goes_wrong_behind_the_handshake_leaves_numbers_unknown() {
    let authority = Authority::new("authority");
    let faults: &[(&str, &str, Play)] = &[
        ("ended in good order", "unknown", |line, _| {
            line.close_notify();
        }),
        ("closed", "unknown", |_, _| ()),
        ("reset", "unknown", |line, _| line.reset()),
        ("plain text", "unknown", |line, phone| {
            line.say_plainly(answer("200 OK", &accepted(phone)));
        }),
        ("an alert that is not encrypted", "unknown", |line, _| {
            line.say_plainly(b"\x15\x03\x03\0\x02\x02\x28");
        }),
        ("half a record", "unknown", |line, _| {
            line.say_plainly(b"\x17\x03\x03\x01\0abc");
        }),
        (
            "half a body, ended in good order",
            "unknown",
            |line, phone| {
                let said = answer("200 OK", &accepted(phone));
                line.say(&said[..said.len() - 9]);
                line.close_notify();
            },
        ),
        ("half a body, closed", "unknown", |line, phone| {
            let said = answer("200 OK", &accepted(phone));
            line.say(&said[..said.len() - 9]);
        }),
        ("no length, ended in good order", "sent", |line, phone| {
            line.say(format!("HTTP/1.1 200 OK\r\n\r\n{}", accepted(phone)));
            line.close_notify();
        }),
        // Whoever sits on the line could have cut it there.
        ("no length, closed", "unknown", |line, phone| {
            line.say(format!("HTTP/1.1 200 OK\r\n\r\n{}", accepted(phone)));
        }),
        ("the answer, closed", "sent", |line, phone| {
            line.say(last(&answer("200 OK", &accepted(phone))));
        }),
        ("the answer and one too many", "sent", |line, phone| {
            line.say(answer("200 OK", &accepted(phone)).repeat(2));
            line.wait_for_close();
        }),
        ("503, closed", "failed", |line, _| {
            line.say("HTTP/1.1 503 X\r\ncontent-length: 9\r\n\r\n");
        }),
    ];
    for version in VERSIONS {
        // A number that is answered well follows each.
        let plays: Vec<Play> = faults.iter().map(|(_, _, play)| *play).collect();
        let wire = behind(authority.good(version), move |line| {
            while let Some(asked) = line.ask() {
                let n: usize = asked.phone[5..].parse().unwrap();
                if n % 2 == 1 {
                    plays[n / 2](line, &asked.phone);
                    return;
                }
                line.say(answer("200 OK", &accepted(&asked.phone)));
            }
        });
        let dir = Workdir::with(contacts(0..2 * faults.len()));
        let command = || {
            let args = ["--concurrency", "1", "--max-attempts", "1"];
            send(&dir, &wire, &authority).args(&args)
        };
        let ran = command().ends(1);
        the_key_is_nowhere(&dir, &ran);
        let rows = dir.results();
        answers_are_everybodys_own(&rows);
        for (n, (name, status, _)) in faults.iter().enumerate() {
            assert_eq!(rows[2 * n]["otp_status"], "sent", "before {name}");
            let row = &rows[2 * n + 1];
            assert_eq!(row["otp_status"], *status, "{name}: {}", row["otp_detail"]);
            assert_eq!(wire.count_for(&phone(2 * n + 1)), 1, "{name}");
        }
        wire.forget();
        let ran = command().ends(1);
        the_key_is_nowhere(&dir, &ran);
        for (n, (name, status, _)) in faults.iter().enumerate() {
            let again = usize::from(*status == "failed");
            assert_eq!(wire.count_for(&phone(2 * n + 1)), again, "{name}, again");
            assert_eq!(wire.count_for(&phone(2 * n)), 0);
        }
        println!("{version:?}: {} faults behind the handshake", faults.len());
    }
}

/// Early data can be replayed by whoever is on the line: a second OTP. It is never used.
#[test]
#[ignore = "tests/prove network"]
fn no_request_leaves_as_early_data() {
    let authority = Authority::new("authority");
    let mut config = authority.good(&TLS13);
    config.max_early_data_size = 16_384;
    let resumed = Arc::new(AtomicUsize::new(0));
    let early = Arc::new(AtomicUsize::new(0));
    let counts = (Arc::clone(&resumed), Arc::clone(&early));
    let wire = behind(config, move |line| {
        if line.tls().handshake_kind() == Some(HandshakeKind::Resumed) {
            counts.0.fetch_add(1, Ordering::SeqCst);
        }
        if let Some(mut data) = line.tls().early_data() {
            let mut bytes = Vec::new();
            // Whatever of it has arrived.
            let _ = data.read_to_end(&mut bytes);
            counts.1.fetch_add(bytes.len(), Ordering::SeqCst);
        }
        if let Some(asked) = line.ask() {
            line.say(last(&answer("200 OK", &accepted(&asked.phone))));
            line.close_notify();
        }
    });
    let dir = Workdir::with(contacts(0..10));
    send(&dir, &wire, &authority)
        .args(&["--concurrency", "1"])
        .ends(0);
    assert!(resumed.load(Ordering::SeqCst) > 5, "sessions are resumed");
    assert_eq!(early.load(Ordering::SeqCst), 0, "bytes of early data");
}

#[test]
#[ignore = "tests/prove network"]
fn a_request_in_plain_text_to_a_tls_port_is_unknown() {
    let authority = Authority::new("authority");
    let wire = behind(authority.good(&TLS13), serve);
    let dir = Workdir::with(contacts(0..3));
    let ran = dir.send_to(&wire.http()).args(&["-vvv"]).ends(1);
    the_key_is_nowhere(&dir, &ran);
    assert_eq!(dir.statuses(), ["unknown"; 3]);
    send(&dir, &wire, &authority).ends(1);
    assert!(wire.log().is_empty(), "they are held");
}
