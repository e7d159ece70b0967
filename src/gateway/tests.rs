//! What leaves when, seen by a server that speaks bytes: which connections are made, what is
//! written on them, and what is said of a request that did not leave, or may have.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use rcgen::{CertificateParams, KeyPair};
use rustls::crypto::ring::default_provider as ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, advance, pause, sleep, timeout};

use super::connection::{Connections, Warm};
use super::http::{KooKoo, Settings, Waiting};
use super::{Gateway as _, Ready};
use crate::clock::Clock;
use crate::job::{Job, JobId, Lane, RowId, Verdict, VerdictKind};
use crate::number::Number;

const BODY: &str = r#"{"status":"success","message":"SM1"}"#;

/// Long enough for what one side did to be known to the other.
const A_MOMENT: Duration = Duration::from_millis(30);

/// What a server saw.
#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    ended: AtomicUsize,
    requests: Mutex<Vec<String>>,
}

impl Seen {
    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Waits until the server has ended all connections, and the client knows.
    async fn all_ended(&self) {
        while self.connections() == 0 || self.ended.load(Ordering::SeqCst) < self.connections() {
            sleep(Duration::from_millis(5)).await;
        }
        sleep(Duration::from_millis(10)).await;
    }
}

/// One connection, from the server's side.
struct Line {
    stream: TcpStream,
    seen: Arc<Seen>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.seen.ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Line {
    /// The next request, which counts as soon as one byte of it is there; `None` at the end.
    async fn ask(&mut self) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = self.stream.read_u8().await.ok()?;
            if head.is_empty() {
                self.seen.requests.lock().unwrap().push(String::new());
            }
            head.push(byte);
        }
        let head = String::from_utf8(head).unwrap();
        *self.seen.requests.lock().unwrap().last_mut().unwrap() = head.clone();
        Some(head)
    }

    async fn say(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
    }
}

/// A server that plays this on every connection.
async fn server<F>(play: impl Fn(Line) -> F + Send + 'static) -> (SocketAddr, Arc<Seen>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::<Seen>::default();
    let server_seen = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            stream.set_nodelay(true).unwrap();
            server_seen.connections.fetch_add(1, Ordering::SeqCst);
            let seen = Arc::clone(&server_seen);
            tokio::spawn(play(Line { stream, seen }));
        }
    });
    (address, seen)
}

/// The answer to a request that is accepted.
fn accepted() -> String {
    answer("HTTP/1.1 200 OK")
}

/// The same with this head.
fn answer(head: &str) -> String {
    format!("{head}\r\ncontent-length: {}\r\n\r\n{BODY}", BODY.len())
}

/// A server that gives this answer to every request.
async fn answering(answer: impl Into<String>) -> (SocketAddr, Arc<Seen>) {
    let answer = Arc::new(answer.into());
    server(move |mut line| {
        let answer = Arc::clone(&answer);
        async move {
            while line.ask().await.is_some() {
                line.say(&answer).await;
            }
        }
    })
    .await
}

fn settings(endpoint: &str) -> Settings {
    Settings {
        endpoint: endpoint.parse().unwrap(),
        key: SecretString::from("KK0123456789abcdef0123456789abcdef"),
        sender_id: "OZNTEL".to_owned(),
        caller_id: "914012345678".to_owned(),
        timeout: Duration::from_millis(250),
        connect_timeout: Duration::from_millis(150),
        proxy: None,
    }
}

fn kookoo(address: SocketAddr) -> KooKoo {
    KooKoo::new(&settings(&format!("http://{address}/api")), Clock::start()).unwrap()
}

fn job() -> Job {
    Job {
        id: JobId(1),
        row: RowId(1),
        line: 2,
        number: Number::new(919_876_543_210).unwrap(),
        code: None,
        lane: Lane::Sms,
        attempts: Vec::new(),
    }
}

/// Long enough for an idle connection to be trusted before any was.
const SETTLED: Duration = Duration::from_millis(3);

async fn connected(kookoo: &KooKoo) -> Waiting<'_> {
    sleep(SETTLED).await;
    at_once(kookoo).await
}

async fn at_once(kookoo: &KooKoo) -> Waiting<'_> {
    kookoo.connect(&job(), Lane::Sms).await.ok().unwrap()
}

async fn refused(kookoo: &KooKoo) -> Verdict {
    let none = kookoo.connect(&job(), Lane::Sms).await.err().unwrap();
    Verdict::new(VerdictKind::Unreachable, none.why)
}

async fn request(kookoo: &KooKoo) -> Verdict {
    connected(kookoo).await.go().await
}

#[track_caller]
fn is(verdict: &Verdict, kind: VerdictKind, text: &str) {
    assert_eq!(verdict.kind, kind, "{verdict:?}");
    assert!(verdict.text.contains(text), "{verdict:?}");
}

#[tokio::test]
async fn each_go_is_one_request_on_a_connection_that_is_kept() {
    let (address, seen) = answering(accepted()).await;
    let kookoo = kookoo(address);
    for n in 1..=5 {
        let waiting = connected(&kookoo).await;
        sleep(A_MOMENT).await;
        assert_eq!(seen.requests(), n - 1, "before its turn");
        is(&waiting.go().await, VerdictKind::Accepted, "SM1");
        assert_eq!((seen.requests(), seen.connections()), (n, 1));
    }
    let head = seen.requests.lock().unwrap()[0].clone();
    assert!(head.starts_with("GET /api/smsotp?phone_no=%2B919876543210&"));
    assert!(head.contains("user-agent: otpdrive/"));
}

#[tokio::test]
async fn connections_that_have_proved_to_be_kept_are_used_again_at_once() {
    let (address, seen) = answering(accepted()).await;
    let kookoo = kookoo(address);
    for _ in 0..40 {
        is(&request(&kookoo).await, VerdictKind::Accepted, "");
    }
    for _ in 0..160 {
        let verdict = at_once(&kookoo).await.go().await;
        is(&verdict, VerdictKind::Accepted, "");
    }
    assert_eq!((seen.requests(), seen.connections()), (200, 1));
}

#[tokio::test]
async fn where_connections_are_closed_after_their_answers_without_a_word_each_has_one_request() {
    let (address, seen) = server(|mut line| async move {
        line.ask().await;
        line.say(&accepted()).await;
    })
    .await;
    let kookoo = kookoo(address);
    for _ in 0..100 {
        let verdict = at_once(&kookoo).await.go().await;
        is(&verdict, VerdictKind::Accepted, "");
    }
    assert_eq!((seen.requests(), seen.connections()), (100, 100));
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each() {
    let (address, seen) = answering(accepted()).await;
    let kookoo = kookoo(address);
    for _ in 0..3 {
        let waiting = join_all((0..64).map(|_| connected(&kookoo))).await;
        let verdicts = join_all(waiting.into_iter().map(Ready::go)).await;
        assert!(verdicts.iter().all(|v| v.kind == VerdictKind::Accepted));
    }
    assert_eq!((seen.requests(), seen.connections()), (192, 64));
}

#[tokio::test]
async fn a_request_that_is_dropped_before_its_turn_writes_nothing() {
    let (address, seen) = answering(accepted()).await;
    let kookoo = kookoo(address);
    drop(connected(&kookoo).await);
    sleep(A_MOMENT).await;
    assert_eq!((seen.requests(), seen.connections()), (0, 1), "new");

    request(&kookoo).await;
    drop(connected(&kookoo).await);
    sleep(A_MOMENT).await;
    assert_eq!((seen.requests(), seen.connections()), (1, 2), "warm");
    is(&request(&kookoo).await, VerdictKind::Accepted, "");
    assert_eq!(seen.connections(), 2, "the warm one was kept");
}

#[tokio::test]
async fn a_connection_that_ends_or_speaks_before_its_turn_carries_no_request() {
    for unasked in ["", "HTTP/1.1 408 Too late\r\ncontent-length: 0\r\n\r\n"] {
        let (address, seen) = server(move |mut line| async move {
            line.say(unasked).await;
            line.seen.ended.fetch_add(1, Ordering::SeqCst);
            if !unasked.is_empty() {
                line.ask().await;
            }
        })
        .await;
        let kookoo = kookoo(address);
        let waiting = connected(&kookoo).await;
        seen.all_ended().await;
        let verdict = waiting.go().await;
        is(&verdict, VerdictKind::Unreachable, "closed before");
        sleep(A_MOMENT).await;
        assert_eq!(seen.requests(), 0);
    }
}

/// The server closes each connection so long after its answer.
async fn closing_after(idle: Duration) -> (SocketAddr, Arc<Seen>) {
    server(move |mut line| async move {
        while let Ok(Some(_)) = timeout(idle, line.ask()).await {
            line.say(&accepted()).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_warm_connection_that_is_gone_withdraws_the_request_and_the_next_one_is_new() {
    let (address, seen) = closing_after(Duration::from_millis(10)).await;
    let kookoo = kookoo(address);
    request(&kookoo).await;
    let waiting = connected(&kookoo).await;
    seen.all_ended().await;
    is(&waiting.go().await, VerdictKind::Withdrawn, "gone");
    assert_eq!((seen.requests(), seen.connections()), (1, 1));
    is(&request(&kookoo).await, VerdictKind::Accepted, "");
    assert_eq!(seen.connections(), 2);
}

#[tokio::test]
async fn where_idle_connections_are_closed_soon_few_requests_are_withdrawn() {
    let (address, seen) = closing_after(Duration::from_millis(5)).await;
    let kookoo = kookoo(address);
    let (mut accepted, mut withdrawn) = (0, 0);
    for _ in 0..40 {
        match request(&kookoo).await.kind {
            VerdictKind::Accepted => accepted += 1,
            VerdictKind::Withdrawn => withdrawn += 1,
            other => panic!("{other:?}"),
        }
        seen.all_ended().await;
    }
    assert_eq!(seen.requests(), accepted);
    assert!((1..=4).contains(&withdrawn), "{withdrawn} of 40");
}

#[tokio::test]
async fn a_connection_that_the_answer_ends_is_not_used_again() {
    for head in [
        "HTTP/1.1 200 OK\r\nConnection: Foo, Close",
        "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=0, max=9",
        "HTTP/1.0 200 OK",
    ] {
        let (address, seen) = answering(answer(head)).await;
        let kookoo = kookoo(address);
        for _ in 0..3 {
            is(&request(&kookoo).await, VerdictKind::Accepted, "SM1");
        }
        assert_eq!((seen.requests(), seen.connections()), (3, 3), "{head}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_asked_in_the_plain_is_told_to_whom_and_by_whom() {
    let (address, seen) = answering(accepted()).await;
    let proxy = format!("http://me:a%20word@{address}").parse().unwrap();
    let mut settings = settings("http://gateway.test:81/api/");
    settings.proxy = Some(proxy);
    let kookoo = KooKoo::new(&settings, Clock::start()).unwrap();
    for _ in 0..2 {
        is(&request(&kookoo).await, VerdictKind::Accepted, "SM1");
    }
    let head = seen.requests.lock().unwrap()[1].clone();
    assert!(head.starts_with("GET http://gateway.test:81/api/smsotp?phone_no="));
    assert!(head.contains("\r\nproxy-authorization: Basic bWU6YSB3b3Jk\r\n"));
    assert!(head.contains("\r\nhost: gateway.test:81\r\n"));
    assert!(!head.contains("content-length"), "{head}");
    assert_eq!((seen.requests(), seen.connections()), (2, 1));
}

#[tokio::test]
async fn a_refused_connection_is_told_before_the_turn() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let verdict = refused(&kookoo(address)).await;
    is(&verdict, VerdictKind::Unreachable, "no connection: ");
    is(&verdict, VerdictKind::Unreachable, "refused");
}

#[tokio::test]
async fn a_handshake_that_never_begins_ends_in_time() {
    let (address, seen) = server(|mut line| async move {
        let mut hello = [0; 1_024];
        while line.stream.read(&mut hello).await.is_ok_and(|n| n > 0) {}
    })
    .await;
    let endpoint = format!("https://localhost:{}/api", address.port());
    let kookoo = KooKoo::new(&settings(&endpoint), Clock::start()).unwrap();
    let began = Instant::now();
    let verdict = refused(&kookoo).await;
    assert_eq!(verdict.text, "no connection in time");
    assert_eq!(verdict.kind, VerdictKind::Unreachable);
    assert!(began.elapsed() < Duration::from_millis(600));
    assert_eq!(seen.connections(), 1);
}

/// A TLS server that waits so long before its handshake, and its certificate.
fn tls_server(wait: Duration) -> (SocketAddr, Arc<Seen>, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = certificate.self_signed(&key).unwrap().der().clone();
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(ring().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::<Seen>::default();
    let server_seen = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            server_seen.connections.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(wait);
            let tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut line = StreamOwned::new(tls, stream.unwrap());
            let mut head = [0; 1_024];
            while line.read(&mut head).is_ok_and(|n| n > 0) {
                server_seen.requests.lock().unwrap().push(String::new());
                line.write_all(accepted().as_bytes()).unwrap();
            }
        }
    });
    (address, seen, certificate)
}

/// Trusts this certificate and no other.
fn trusting(certificate: Option<CertificateDer<'static>>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificate);
    ClientConfig::builder_with_provider(ring().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

fn kookoo_over_tls(address: SocketAddr, trusted: Option<CertificateDer<'static>>) -> KooKoo {
    let settings = settings(&format!("https://localhost:{}/api", address.port()));
    KooKoo::with_tls(&settings, Clock::start(), trusting(trusted)).unwrap()
}

#[tokio::test]
async fn a_slow_handshake_is_over_before_the_turn_and_nothing_leaves_until_then() {
    let slow = Duration::from_millis(80);
    let (address, seen, certificate) = tls_server(slow);
    let kookoo = kookoo_over_tls(address, Some(certificate));
    assert_eq!(kookoo.lead(), Duration::from_millis(20), "nothing is known");
    let began = Instant::now();
    let waiting = connected(&kookoo).await;
    assert!(began.elapsed() >= slow);
    sleep(A_MOMENT).await;
    assert_eq!(seen.requests(), 0);
    assert!(kookoo.lead() >= slow.mul_f64(1.5), "{:?}", kookoo.lead());
    is(&waiting.go().await, VerdictKind::Accepted, "SM1");
    assert_eq!(kookoo.lead(), Duration::from_millis(2), "one is warm");
    is(&request(&kookoo).await, VerdictKind::Accepted, "SM1");
    assert_eq!((seen.requests(), seen.connections()), (2, 1));
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_before_the_turn() {
    let (address, seen, _) = tls_server(Duration::ZERO);
    let verdict = refused(&kookoo_over_tls(address, None)).await;
    is(&verdict, VerdictKind::Unreachable, "is not trusted");
    assert_eq!(seen.requests(), 0);
}

#[tokio::test]
async fn the_time_to_answer_counts_from_the_turn() {
    let (address, seen) = server(|mut line| async move {
        while line.ask().await.is_some() {
            if line.seen.requests() == 1 {
                line.say(&accepted()).await;
            }
        }
    })
    .await;
    let kookoo = kookoo(address);
    let waiting = connected(&kookoo).await;
    sleep(Duration::from_millis(300)).await;
    is(&waiting.go().await, VerdictKind::Accepted, "");
    let verdict = request(&kookoo).await;
    is(&verdict, VerdictKind::NoAnswer, "no answer in time");
    assert_eq!(seen.requests(), 2);
    drop(connected(&kookoo).await);
    sleep(A_MOMENT).await;
    assert_eq!(seen.connections(), 2, "its connection is not used again");
}

#[tokio::test]
async fn each_request_on_a_connection_has_all_of_its_time() {
    let (address, seen) = server(|mut line| async move {
        while line.ask().await.is_some() {
            sleep(Duration::from_millis(150)).await;
            line.say(&accepted()).await;
        }
    })
    .await;
    let kookoo = kookoo(address);
    for _ in 0..3 {
        is(&request(&kookoo).await, VerdictKind::Accepted, "SM1");
    }
    assert_eq!((seen.requests(), seen.connections()), (3, 1));
}

#[tokio::test]
async fn what_may_have_left_is_never_said_not_to_have() {
    let cases = [
        ("", VerdictKind::NoAnswer),
        ("not http at all\r\n\r\n", VerdictKind::Ambiguous),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{\"status\":\"success\"",
            VerdictKind::Ambiguous,
        ),
        (
            "HTTP/1.1 503 No\r\ncontent-length: 99\r\n\r\n",
            VerdictKind::Throttled,
        ),
    ];
    for (said, kind) in cases {
        let (address, seen) = server(move |mut line| async move {
            line.ask().await;
            line.say(said).await;
        })
        .await;
        let verdict = request(&kookoo(address)).await;
        is(&verdict, kind, "");
        assert!(!verdict.text.contains("127.0.0.1"), "{verdict:?}");
        assert_eq!(seen.requests(), 1);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (address, seen) =
        answering("HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n").await;
    let verdict = request(&kookoo(address)).await;
    is(&verdict, VerdictKind::Misdirected, "HTTP 302");
    sleep(A_MOMENT).await;
    assert_eq!(seen.requests(), 1);
}

#[tokio::test]
async fn a_retry_after_is_told() {
    let (address, _) =
        answering("HTTP/1.1 429 No\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n").await;
    let verdict = request(&kookoo(address)).await;
    is(&verdict, VerdictKind::Throttled, "HTTP 429");
    assert!(verdict.retry_at.is_some());
}

#[tokio::test]
async fn a_body_that_is_too_long_is_not_read_on() {
    let limit = 64 * 1_024;
    for (length, head) in [
        (limit, format!("content-length: {limit}")),
        (limit + 1, format!("content-length: {}", limit + 1)),
        (limit + 1, "connection: close".to_owned()),
    ] {
        let body = format!("{BODY}{}", " ".repeat(length - BODY.len()));
        let answer = format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
        let (address, _) = server(move |mut line| {
            let answer = answer.clone();
            async move {
                line.ask().await;
                line.say(&answer).await;
            }
        })
        .await;
        let verdict = request(&kookoo(address)).await;
        if length == limit {
            is(&verdict, VerdictKind::Accepted, "SM1");
        } else {
            is(&verdict, VerdictKind::Ambiguous, "longer than 65536 bytes");
        }
    }
}

#[tokio::test]
async fn without_a_code_nothing_is_checked() {
    let (address, seen) = answering(accepted()).await;
    let kookoo = kookoo(address);
    let verdict = kookoo.connect(&job(), Lane::Verify).await;
    assert!(verdict.err().unwrap().why.contains("no code"));
    assert_eq!(seen.connections(), 0);
}

#[tokio::test]
async fn an_idle_connection_is_used_until_the_age_at_which_others_were_found_closed() {
    let (address, _) = answering(accepted()).await;
    let to = format!("http://{address}").parse().unwrap();
    let connections = Connections::new(to, trusting(None), None, Duration::from_secs(1));
    let opened = join_all((0..60).map(|_| connections.open())).await;
    let mut opened = opened.into_iter().map(Result::unwrap);
    let four_s = Duration::from_secs(4);
    pause();
    let mut is_warm_after = async |idle| {
        connections.take_back(opened.next().unwrap(), Some(four_s));
        advance(idle).await;
        connections.warm().and_then(Warm::redeem).is_some()
    };
    assert!(is_warm_after(Duration::from_millis(3_999)).await);
    assert!(!is_warm_after(four_s).await, "too old");
    connections.found_closed(Duration::from_secs(2));
    assert!(!is_warm_after(Duration::from_millis(1_500)).await);
    assert!(is_warm_after(Duration::from_millis(900)).await);
    let mut renewed = 0;
    while !is_warm_after(Duration::from_millis(1_500)).await {
        renewed += 1;
    }
    assert!((10..50).contains(&renewed), "tried again after {renewed}");
    assert_eq!(connections.warm().map(|_| ()), None, "nothing is left");

    connections.take_back(opened.next().unwrap(), Some(four_s));
    advance(SETTLED).await;
    let warm = connections.warm().unwrap();
    advance(four_s + Duration::from_millis(100)).await;
    assert!(warm.redeem().is_none(), "waited too long for its turn");
}
