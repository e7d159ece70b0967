//! Over real sockets, with a client that knows nothing but bytes; time is paused.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;
use crate::job::Lane;
use crate::number::Number;
use crate::status::Status;

const SENT: &str = r#"200 application/json {"status":"success","message":"SM8XXXXXXXX"}"#;
const THROTTLED: &str = r#"200 application/json {"status":"Error","message":"Already request is in progress, please try again."}"#;
const MISSING: &str =
    r#"200 application/json {"status":"Error","message":"API key or Phone Number Missing"}"#;
const REFUSED: &str = r#"200 application/json {"status":"Error","message":"Authentication Error"}"#;
const INVALID: &str = r#"200 application/json {"status":"Error","message":"Invalid phone number"}"#;
const REJECTED: &str =
    r#"200 application/json {"status":"Error","message":"This number cannot be reached"}"#;
const VERIFIED: &str = r#"200 application/json {"status":"success","message":"Your Mobile Number OTP code is verified!"}"#;
const WRONG: &str = r#"200 application/json {"status":"Error","message":"Your Mobile Number OTP code verification failed"}"#;

/// How long the client of these tests waits for an answer.
const PATIENCE: Duration = Duration::from_secs(30);

struct Running {
    address: SocketAddr,
    log: PathBuf,
    /// Holds the log, when the test named none.
    _dir: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), SandboxError>>,
}

async fn start(options: Options) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let log = options.log.clone();
    let log = log.unwrap_or_else(|| dir.path().join("requests.jsonl"));
    let sandbox = Sandbox::bind(Options {
        log: Some(log.clone()),
        ..options
    })
    .await
    .unwrap();
    let (stop, stopped) = oneshot::channel();
    Running {
        address: sandbox.address,
        log,
        _dir: dir,
        stop,
        ended: tokio::spawn(sandbox.run(async {
            let _ = stopped.await;
        })),
    }
}

async fn honest() -> Running {
    start(Options::default()).await
}

async fn with_faults(faults: &str) -> Running {
    let faults = faults.parse().unwrap();
    start(Options {
        faults,
        ..Options::default()
    })
    .await
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// One request on a connection of its own.
    async fn ask(&self, target: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(get(target).as_bytes()).await.unwrap();
        answer(&mut stream).await
    }

    /// The lines of the log.
    fn noted(&self) -> Vec<Value> {
        lines(&self.log)
    }

    fn accepted(&self) -> Vec<bool> {
        let noted = self.noted().into_iter();
        noted.map(|line| line["accepted"] == true).collect()
    }

    async fn stop(self) -> Result<(), SandboxError> {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap()
    }
}

fn get(target: &str) -> String {
    format!("GET {BASE}/{target} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n")
}

fn sms(digits: u64) -> String {
    format!("smsotp?phone_no=%2B{digits}&api_key=KK1&sender_id=OZONTL")
}

fn call(national: u64) -> String {
    format!("callotp?api_key=KK1&caller_id=9140000000&phone_no={national}")
}

fn verify(digits: u64, code: &str) -> String {
    format!("verifyotp?phone_no=%2B{digits}&otp={code}&api_key=KK1")
}

/// What came over the wire, in a line: the status, headers that matter, and the body, references
/// crossed out. Or how the connection ended.
async fn answer(stream: &mut TcpStream) -> String {
    match timeout(PATIENCE, read_answer(stream)).await {
        Ok(answer) => answer,
        Err(_) => "silence".to_owned(),
    }
}

async fn read_answer(stream: &mut TcpStream) -> String {
    let mut raw = Vec::new();
    let head = loop {
        if let Some(end) = raw.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        match stream.read_u8().await {
            Ok(byte) => raw.push(byte),
            Err(error) if raw.is_empty() => return format!("{:?}", error.kind()),
            Err(error) => panic!("half a head, then {error}"),
        }
    };
    let text = String::from_utf8(raw[..head].to_vec()).unwrap();
    let (status, headers) = text.split_once("\r\n").unwrap();
    let header = |name: &str| {
        let line = headers.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::to_owned)
    };
    let length: usize = header("Content-Length: ").unwrap().parse().unwrap();
    let mut body = vec![0; length];
    let mut got = 0;
    while got < length {
        match stream.read(&mut body[got..]).await.unwrap() {
            0 => break,
            n => got += n,
        }
    }
    let mut line = status.split(' ').nth(1).unwrap().to_owned();
    for name in ["Retry-After: ", "Location: ", "Connection: "] {
        line.extend(header(name).map(|value| format!(" {name}{value}")));
    }
    line.extend([" ", &header("Content-Type: ").unwrap(), " "]);
    if got < length {
        return format!("{line}{got} of {length} bytes");
    }
    if length > 1024 {
        serde_json::from_slice::<Value>(&body).unwrap();
        return format!("{line}{length} bytes");
    }
    match String::from_utf8(body) {
        Ok(body) => line + &crossed_out(&body),
        Err(_) => line + "no text",
    }
}

/// `SM800000001` becomes `SM8XXXXXXXX`.
fn crossed_out(body: &str) -> String {
    let Some((before, after)) = body.split_once("SM8") else {
        return body.to_owned();
    };
    let (digits, rest) = after.split_at(8);
    assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{body}");
    format!("{before}SM8XXXXXXXX{rest}")
}

fn page(status: u16) -> String {
    format!("{status} text/html <html><body><h1>{status}</h1></body></html>")
}

/// What an SMS request gets, for a name of a fault.
fn wire(name: &str) -> String {
    let text = match name {
        "ok" | "slow" | "wrong_code" | "expired" => SENT,
        "rejected" => REJECTED,
        "missing" => MISSING,
        "key_refused" => REFUSED,
        "invalid_phone" => INVALID,
        "throttle" => THROTTLED,
        "failure" => {
            r#"200 application/json {"status":"failure","message":"This number cannot be reached"}"#
        }
        "drop" => "UnexpectedEof",
        "reset" => "ConnectionReset",
        "stall" => "silence",
        "half" => "200 application/json 22 of 44 bytes",
        "garbage" => "200 application/json no text",
        "html" => "200 text/html <html><body>Welcome</body></html>",
        "huge" => "200 application/json 1048576 bytes",
        "xml" => {
            "200 text/xml <response><status>success</status><message>SM8XXXXXXXX</message></response>"
        }
        "capitals" => r#"200 application/json {"message":"SM8XXXXXXXX","status":"SUCCESS"}"#,
        "text_html" => {
            r#"200 text/html; charset=UTF-8 {"status":"success","message":"SM8XXXXXXXX"}"#
        }
        "302" => "302 Location: /elsewhere text/html ",
        "429" => "429 Retry-After: 1 text/html <html><body><h1>429</h1></body></html>",
        "429 after 2" => "429 Retry-After: 2 text/html <html><body><h1>429</h1></body></html>",
        status => return page(status.parse().unwrap()),
    };
    text.to_owned()
}

/// Is an OTP on its way, going by the documentation?
fn accepts(name: &str) -> bool {
    [
        "ok",
        "slow",
        "wrong_code",
        "expired",
        "drop",
        "reset",
        "stall",
        "half",
        "garbage",
        "html",
        "huge",
        "xml",
        "capitals",
        "text_html",
        "504",
    ]
    .contains(&name)
}

/// The last two digits of each magic number, what its first request meets, and its second.
const MAGIC: [(u64, &str, &str); 34] = [
    (1, "rejected", "rejected"),
    (2, "missing", "missing"),
    (3, "failure", "failure"),
    (4, "404", "404"),
    (5, "302", "302"),
    (6, "key_refused", "key_refused"),
    (7, "401", "401"),
    (8, "403", "403"),
    (10, "throttle", "ok"),
    (11, "408", "ok"),
    (12, "429 after 2", "ok"),
    (13, "503", "ok"),
    (14, "500", "ok"),
    (15, "502", "ok"),
    (20, "429", "429"),
    (21, "503", "503"),
    (22, "500", "500"),
    (23, "502", "502"),
    (24, "throttle", "throttle"),
    (30, "504", "504"),
    (31, "drop", "drop"),
    (32, "reset", "reset"),
    (33, "half", "half"),
    (34, "stall", "stall"),
    (35, "garbage", "garbage"),
    (36, "html", "html"),
    (37, "huge", "huge"),
    (38, "xml", "xml"),
    (40, "slow", "slow"),
    (41, "capitals", "capitals"),
    (42, "text_html", "text_html"),
    (50, "expired", "expired"),
    (51, "wrong_code", "wrong_code"),
    (99, "ok", "ok"),
];

#[tokio::test(start_paused = true)]
async fn every_magic_number_does_on_the_wire_what_the_table_says() {
    // The faults must not touch magic numbers.
    let sandbox = with_faults("418=100%").await;
    assert_eq!(magic_numbers().len(), MAGIC.len());
    for (magic, (nn, first, second)) in magic_numbers().iter().zip(MAGIC) {
        assert_eq!(magic.digits, 919_999_900_000 + nn);
        for (n, name) in [(1, first), (2, second), (3, second)] {
            let began = Instant::now();
            let answer = sandbox.ask(&sms(magic.digits)).await;
            assert_eq!(answer, wire(name), "{} the {n}th time", magic.e164());
            let slow = began.elapsed() >= SLOW;
            assert_eq!(slow, ["slow", "stall"].contains(&name), "{name}");
            let noted = sandbox.noted().pop().unwrap();
            assert_eq!(noted["phone"], magic.e164());
            assert_eq!((&noted["path"], &noted["n"]), (&"smsotp".into(), &n.into()));
            assert_eq!(noted["accepted"], accepts(name), "{name}");
        }
        // The table's promise about the row fits what was accepted.
        let accepted = accepts(first) || accepts(second);
        let may_be_sent = matches!(magic.sends, Status::Sent | Status::Unknown);
        assert_eq!(accepted, may_be_sent, "{}", magic.e164());
    }
}

#[tokio::test(start_paused = true)]
async fn magic_numbers_count_each_endpoint_apart() {
    let sandbox = honest().await;
    let called = r#"200 application/json {"status":"queued","message":"919999900013"}"#;
    assert_eq!(sandbox.ask(&sms(919_999_900_013)).await, page(503));
    assert_eq!(sandbox.ask(&call(9_999_900_013)).await, page(503));
    assert_eq!(sandbox.ask(&call(9_999_900_013)).await, called);
    assert_eq!(sandbox.ask(&sms(919_999_900_013)).await, SENT);
    let code = verify(919_999_900_013, "310009");
    assert_eq!(sandbox.ask(&code).await, page(503));
    assert_eq!(sandbox.ask(&code).await, VERIFIED);
}

#[tokio::test(start_paused = true)]
async fn an_expired_and_a_wrong_code_are_told_apart() {
    let sandbox = honest().await;
    let expired = r#"200 application/json {"status":"Error","message":"Your Mobile Number OTP code has expired"}"#;
    let asked = sandbox.ask(&verify(919_999_900_050, "050009")).await;
    assert_eq!(asked, expired);
    let asked = sandbox.ask(&verify(919_999_900_051, "150009")).await;
    assert_eq!(asked, WRONG);
}

#[tokio::test(start_paused = true)]
async fn every_fault_that_can_be_named_happens_on_the_wire() {
    let listed = Action::names();
    let (range, by_name) = listed.split_once(", ").unwrap();
    assert_eq!(range, "an HTTP status from 300 to 599");
    let statuses = ["302", "401", "408", "429", "500", "503", "504", "599"];
    let names = by_name.split(", ").chain(statuses);
    for name in names {
        let sandbox = with_faults(&format!("{name}=100%")).await;
        assert_eq!(
            sandbox.ask(&sms(919_876_543_210)).await,
            wire(name),
            "{name}"
        );
        let noted = sandbox.noted().pop().unwrap();
        assert_eq!(noted["accepted"], accepts(name), "{name}");
        if !["wrong_code", "expired"].contains(&name) {
            assert_eq!(noted["action"], name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_endpoint_answers_in_its_documented_words() {
    let sandbox = honest().await;
    let called = r#"200 application/json {"status":"queued","message":"919876543210"}"#;
    assert_eq!(sandbox.ask(&sms(919_876_543_210)).await, SENT);
    assert_eq!(sandbox.ask(&call(9_876_543_210)).await, called);
    assert_eq!(
        sandbox.ask(&verify(919_876_543_210, "012345")).await,
        VERIFIED
    );
    assert_eq!(
        sandbox.ask("smsotps?phone_no=1&api_key=KK1").await,
        page(404)
    );
    assert_eq!(sandbox.noted().pop().unwrap()["path"], "other");
}

#[tokio::test(start_paused = true)]
async fn references_are_unique() {
    let sandbox = honest().await;
    let mut stream = sandbox.connect().await;
    let mut references = HashSet::new();
    for _ in 0..20 {
        stream
            .write_all(get(&sms(919_876_543_210)).as_bytes())
            .await
            .unwrap();
        let mut raw = [0; 1024];
        let length = stream.read(&mut raw).await.unwrap();
        let text = String::from_utf8(raw[..length].to_vec()).unwrap();
        let (_, reference) = text.split_once("SM8").unwrap();
        assert!(references.insert(reference.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_plus_that_was_not_encoded_is_no_number() {
    let sandbox = honest().await;
    let cases = [
        ("smsotp?phone_no=+919876543210&api_key=KK1", INVALID),
        ("smsotp?phone_no=%2b919876543210&api_key=KK1", SENT),
        ("smsotp?phone_no=919876543210&api_key=KK1", INVALID),
        ("smsotp?phone_no=%2B9198765%2043210&api_key=KK1", INVALID),
        (
            "smsotp?phone_no=%2B99999999999999999999999&api_key=KK1",
            INVALID,
        ),
        ("smsotp?phone_no=%2B&api_key=KK1", INVALID),
        ("smsotp?phone_no=%2B447400123456&api_key=KK1", SENT),
        ("smsotp?phone_no=%2B91987654321%&api_key=KK1", INVALID),
        (
            "verifyotp?phone_no=+919876543210&otp=012345&api_key=KK1",
            INVALID,
        ),
        ("callotp?phone_no=919876543210&api_key=KK1", INVALID),
        ("callotp?phone_no=%2B919876543210&api_key=KK1", INVALID),
        ("callotp?phone_no=09876543210&api_key=KK1", INVALID),
    ];
    for (target, expected) in cases {
        assert_eq!(sandbox.ask(target).await, expected, "{target}");
    }
    let abroad = sandbox
        .ask("callotp?phone_no=%2B447400123456&api_key=KK1")
        .await;
    assert!(abroad.contains(r#""message":"447400123456""#), "{abroad}");
}

#[tokio::test(start_paused = true)]
async fn a_missing_key_or_number_is_missed_and_a_wrong_key_refused() {
    let sandbox = start(Options {
        key: Some("KK 1+2".into()),
        ..Options::default()
    })
    .await;
    let cases = [
        ("smsotp", MISSING),
        ("smsotp?", MISSING),
        ("smsotp?phone_no=%2B919876543210", MISSING),
        ("smsotp?phone_no=%2B919876543210&api_key=", MISSING),
        ("smsotp?phone_no&api_key=KK+1%2B2", MISSING),
        ("smsotp?phone_no=%2B919876543210&api_key=KK1", REFUSED),
        ("smsotp?phone_no=%2B919876543210&api_key=KK+1%2B", REFUSED),
        ("smsotp?phone_no=%2B919876543210&api_key=KK+1%2B2", SENT),
    ];
    for (target, expected) in cases {
        assert_eq!(sandbox.ask(target).await, expected, "{target}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_code_is_right_once_and_its_zeros_count() {
    let sandbox = honest().await;
    let right = verify(919_876_543_210, "012345");
    for wrong in ["12345", "123456", "", "0123456", "01234"] {
        let asked = sandbox.ask(&verify(919_876_543_210, wrong)).await;
        assert_eq!(asked, WRONG, "{wrong}");
    }
    assert_eq!(sandbox.ask(&right).await, VERIFIED);
    assert_eq!(sandbox.ask(&right).await, WRONG);
    let accepted = sandbox.accepted();
    assert_eq!(accepted, [false, false, false, false, false, true, false]);
    // Another OTP is another code, by the same rule.
    assert_eq!(sandbox.ask(&sms(919_876_543_210)).await, SENT);
    assert_eq!(sandbox.ask(&right).await, VERIFIED);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_uses_the_code_up() {
    let sandbox = honest().await;
    let code = verify(919_999_900_031, "130009");
    assert_eq!(sandbox.ask(&code).await, "UnexpectedEof");
    assert_eq!(sandbox.ask(&code).await, "UnexpectedEof");
    let accepted = sandbox.accepted();
    assert_eq!(accepted, [true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_carries_many_requests_until_the_client_wants_it_closed() {
    let sandbox = honest().await;
    let mut stream = sandbox.connect().await;
    for _ in 0..3 {
        stream
            .write_all(get(&sms(919_876_543_210)).as_bytes())
            .await
            .unwrap();
        assert_eq!(answer(&mut stream).await, SENT);
    }
    let last = get(&sms(919_876_543_210)).replace("Accept: */*", "connection: foo, CLOSE");
    stream.write_all(last.as_bytes()).await.unwrap();
    let closing = SENT.replace("200", "200 Connection: close");
    assert_eq!(answer(&mut stream).await, closing);
    assert_eq!(answer(&mut stream).await, "UnexpectedEof");

    let mut stream = sandbox.connect().await;
    let old = get(&sms(919_876_543_210))
        .replace("1.1", "1.0")
        .replace("Accept: */*", "Connection: keep-alive");
    stream.write_all(old.as_bytes()).await.unwrap();
    assert_eq!(answer(&mut stream).await, closing);
    assert_eq!(answer(&mut stream).await, "UnexpectedEof");
}

#[tokio::test(start_paused = true)]
async fn a_request_may_arrive_byte_by_byte() {
    let sandbox = honest().await;
    let mut stream = sandbox.connect().await;
    stream.set_nodelay(true).unwrap();
    for byte in get(&sms(919_876_543_210)).bytes() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(answer(&mut stream).await, SENT);
}

#[tokio::test(start_paused = true)]
async fn requests_that_arrive_together_are_answered_in_order() {
    let sandbox = honest().await;
    let mut stream = sandbox.connect().await;
    let all = [
        get(&call(9_000_000_001)),
        get(&sms(919_999_900_040)),
        get(&call(9_000_000_003)),
        get(&call(9_000_000_004))[..30].to_owned(),
    ]
    .concat();
    stream.write_all(all.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.contains("919000000001"));
    assert_eq!(answer(&mut stream).await, SENT);
    assert!(answer(&mut stream).await.contains("919000000003"));
    let rest = &get(&call(9_000_000_004))[30..];
    stream.write_all(rest.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.contains("919000000004"));
}

#[tokio::test(start_paused = true)]
async fn what_is_no_plain_request_is_refused_and_the_client_can_read_why() {
    let sandbox = honest().await;
    let padding = "x".repeat(http::HEAD_BYTES_MAX);
    let with = |header: &str| get(&sms(919_876_543_210)).replace("Accept: */*", header);
    let cases = [
        (431, format!("GET /{padding}{padding}{padding}{padding}")),
        (431, with(&format!("X: {padding}"))),
        (405, get("smsotp").replace("GET", "POST")),
        (400, with("Content-Length: 5")),
        (400, with("Transfer-Encoding: chunked")),
        (400, with("no colon")),
        (400, "GET /\r\n\r\n".to_owned()),
        (505, "GET / FTP/1.1\r\n\r\n".to_owned()),
        (505, "GET / HTTP/2.0\r\n\r\n".to_owned()),
    ];
    for (status, request) in cases {
        let mut stream = sandbox.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let refused = page(status).replacen(' ', " Connection: close ", 1);
        assert_eq!(answer(&mut stream).await, refused, "{request}");
        assert_eq!(answer(&mut stream).await, "UnexpectedEof");
    }
    assert!(sandbox.noted().is_empty());
    let just_fits = http::HEAD_BYTES_MAX - with("X: ").len();
    for (length, status) in [(just_fits, "200"), (just_fits + 1, "431")] {
        let mut stream = sandbox.connect().await;
        let request = with(&format!("X: {}", &padding[..length]));
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(answer(&mut stream).await.starts_with(status));
    }
}

#[tokio::test(start_paused = true)]
async fn noise_does_no_harm() {
    let sandbox = honest().await;
    let mut dice = fastrand::Rng::with_seed(1);
    let alphabet = b"GET /apiv1TwoFactorsmsotp?&=%+HTTP/1.1:\r\n\r\n\r\n \x00\xff";
    let request = get(&sms(919_876_543_210)).into_bytes();
    for _ in 0..500 {
        let mut noise = request.clone();
        for _ in 0..dice.usize(1..20) {
            let at = dice.usize(..noise.len());
            noise[at] = *dice.choice(alphabet).unwrap();
        }
        noise.truncate(dice.usize(..=noise.len()));
        noise.extend_from_slice(b"\r\n\r\n");
        let mut stream = sandbox.connect().await;
        stream.write_all(&noise).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.unwrap();
        assert!(said.starts_with(b"HTTP/1.1 "), "{}", noise.escape_ascii());
    }
    assert_eq!(sandbox.ask(&sms(919_876_543_210)).await, SENT);
    assert!(!sandbox.ended.is_finished());
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_as_long_as_was_asked_for() {
    let (least, most) = (Duration::from_millis(20), Duration::from_millis(80));
    let sandbox = start(Options {
        latency: least..=most,
        ..Options::default()
    })
    .await;
    let mut stream = sandbox.connect().await;
    let mut seen = HashSet::new();
    for _ in 0..200 {
        let began = Instant::now();
        stream
            .write_all(get(&sms(919_876_543_210)).as_bytes())
            .await
            .unwrap();
        assert_eq!(answer(&mut stream).await, SENT);
        let tick = Duration::from_millis(1);
        assert!((least..=most + tick).contains(&began.elapsed()));
        seen.insert(began.elapsed().as_millis());
    }
    assert!(seen.len() > 30, "{seen:?}");
}

/// The faults of these numbers, twice each, asked for in this order.
fn drawn(seed: u64, numbers: impl Iterator<Item = u64>) -> Vec<(u64, String)> {
    drawn_on(Lane::Sms, seed, numbers)
}

fn drawn_on(lane: Lane, seed: u64, numbers: impl Iterator<Item = u64>) -> Vec<(u64, String)> {
    let faults: Faults = "500=20%,drop=10%".parse().unwrap();
    let mut all: Vec<_> = numbers
        .flat_map(|digits| [(digits, 1), (digits, 2)])
        .map(|(digits, n)| {
            let number = Number::new(digits).unwrap();
            (
                digits * 10 + u64::from(n),
                faults.draw(seed, lane, number, n).to_string(),
            )
        })
        .collect();
    all.sort();
    all
}

#[test]
fn a_seed_fixes_the_faults_whatever_the_order() {
    let numbers = 919_000_000_000..919_000_002_000_u64;
    let first = drawn(7, numbers.clone());
    assert_eq!(first, drawn(7, numbers.clone().rev()));
    assert_ne!(first, drawn(8, numbers.clone()));
    assert_ne!(first, drawn_on(Lane::Call, 7, numbers));
}

#[test]
fn faults_happen_as_often_as_was_asked_for_first_and_again() {
    let all = drawn(7, 919_000_000_000..919_000_050_000);
    let count = |nth: u64, name: &str| {
        let these = all
            .iter()
            .filter(|(key, action)| key % 10 == nth && action == name);
        these.count()
    };
    for nth in [1, 2] {
        assert!(
            (9_600..10_400).contains(&count(nth, "500")),
            "{}",
            count(nth, "500")
        );
        assert!(
            (4_700..5_300).contains(&count(nth, "drop")),
            "{}",
            count(nth, "drop")
        );
    }
    // Whether a number fails again does not depend on whether it failed.
    let failed: HashSet<_> = all
        .iter()
        .filter(|(_, a)| a == "500")
        .map(|(k, _)| k)
        .collect();
    let twice = failed
        .iter()
        .filter(|key| **key % 10 == 1 && failed.contains(&(**key + 1)));
    assert!((1_800..2_200).contains(&twice.count()));
}

#[tokio::test(start_paused = true)]
async fn two_sandboxes_with_one_seed_tell_one_story() {
    let mut stories = Vec::new();
    for seed in [3, 3, 4] {
        let sandbox = start(Options {
            faults: "500=30%,429=20%".parse().unwrap(),
            seed,
            ..Options::default()
        })
        .await;
        let mut story = Vec::new();
        for digits in 919_800_000_000..919_800_000_050 {
            story.push(sandbox.ask(&sms(digits)).await);
        }
        stories.push(story);
    }
    assert_eq!(stories[0], stories[1]);
    assert_ne!(stories[0], stories[2]);
}

#[test]
fn faults_that_cannot_be_read_say_why() {
    let said = |text: &str| text.parse::<Faults>().unwrap_err().to_string();
    assert!(said("500").contains(r#""500" is not NAME=PERCENT%"#));
    assert!(said("500=2%,").contains(r#""" is not NAME=PERCENT%"#));
    for name in ["explode", "ok", "200", "600", ""] {
        let said = said(&format!("{name}=2%"));
        assert!(said.starts_with(&format!("there is no fault {name:?}")));
        assert!(said.contains("stall, slow, garbage, html"), "{said}");
    }
    for share in ["2", "%", "-1%", "101%", "NaN%", "x%"] {
        assert!(
            said(&format!("drop={share}")).contains("not a percentage"),
            "{share}"
        );
    }
    assert!(said("drop=1%, drop=2%").contains("drop is named twice"));
    assert!(said("drop=60%,500=41%").contains("more than 100%"));
    assert!("".parse::<Faults>().unwrap().is_empty());
    let spaced: Faults = " 500 = 2% , drop=0.5%".parse().unwrap();
    assert_eq!(spaced, "500=2%,drop=0.5%".parse().unwrap());
    assert!("500=10%,502=20%,503=30%,504=40%".parse::<Faults>().is_ok());
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test(start_paused = true)]
async fn each_request_is_a_line_in_the_log_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("requests.jsonl");
    let sandbox = start(Options {
        log: Some(path.clone()),
        ..Options::default()
    })
    .await;
    for target in [
        &sms(919_876_543_210),
        &sms(919_876_543_210),
        &call(9_999_900_031),
        &verify(919_876_543_210, "777777"),
        "smsotp?phone_no=98765&api_key=KKSECRET",
        "../elsewhere?api_key=KKSECRET",
    ] {
        sandbox.ask(target).await;
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let (times, rest): (Vec<_>, Vec<_>) = text
        .lines()
        .map(|line| line.split_once(',').unwrap())
        .unzip();
    assert_eq!(
        rest,
        [
            r#""path":"smsotp","phone":"+919876543210","n":1,"action":"ok","accepted":true,"status":200}"#,
            r#""path":"smsotp","phone":"+919876543210","n":2,"action":"ok","accepted":true,"status":200}"#,
            r#""path":"callotp","phone":"+919999900031","n":1,"action":"drop","accepted":true,"status":0}"#,
            r#""path":"verifyotp","phone":"+919876543210","n":1,"action":"wrong_code","accepted":false,"status":200}"#,
            r#""path":"smsotp","phone":null,"n":0,"action":"invalid_phone","accepted":false,"status":200}"#,
            r#""path":"other","phone":null,"n":0,"action":"404","accepted":false,"status":404}"#,
        ]
    );
    for time in &times {
        let (_, micros) = time
            .strip_prefix(r#"{"t":"#)
            .unwrap()
            .split_once('.')
            .unwrap();
        assert_eq!(micros.len(), 6);
    }
    assert!(times.is_sorted());
    assert!(!text.contains("KK") && !text.contains("777777"));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test(start_paused = true)]
async fn the_log_is_added_to_and_the_end_closes_connections() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("requests.jsonl");
    std::fs::write(&path, "{\"an\":\"earlier life\"}\n").unwrap();
    let sandbox = start(Options {
        log: Some(path.clone()),
        ..Options::default()
    })
    .await;
    let mut stream = sandbox.connect().await;
    stream
        .write_all(get(&sms(919_876_543_210)).as_bytes())
        .await
        .unwrap();
    assert_eq!(answer(&mut stream).await, SENT);
    assert_eq!(lines(&path).len(), 2);
    let address = sandbox.address;
    sandbox.stop().await.unwrap();
    assert_eq!(answer(&mut stream).await, "UnexpectedEof");
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_cannot_be_written_ends_the_sandbox() {
    let full = Some("/dev/full".into());
    let sandbox = start(Options {
        log: full,
        ..Options::default()
    })
    .await;
    sandbox.ask(&sms(919_876_543_210)).await;
    let ended = timeout(PATIENCE, sandbox.ended).await.unwrap().unwrap();
    let said = ended.unwrap_err().to_string();
    assert_eq!(said, "failed to write the request log /dev/full");
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_without_a_log_when_it_matters() {
    let asked = [919_999_900_013; 2]
        .into_iter()
        .chain([919_876_543_210; 20]);
    for (faults, expected) in [("", vec![SENT]), ("500=50%", vec![SENT, &page(500)])] {
        let sandbox = Sandbox::bind(Options {
            faults: faults.parse().unwrap(),
            ..Options::default()
        });
        let sandbox = sandbox.await.unwrap();
        let address = sandbox.address;
        let running = tokio::spawn(sandbox.run(std::future::pending()));
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut answers = Vec::new();
        for digits in asked.clone() {
            stream
                .write_all(get(&sms(digits)).as_bytes())
                .await
                .unwrap();
            answers.push(answer(&mut stream).await);
        }
        assert_eq!(answers[..2], [page(503), SENT.to_owned()]);
        let met: HashSet<_> = answers[2..].iter().map(String::as_str).collect();
        assert_eq!(met, HashSet::from_iter(expected));
        running.abort();
    }
}

#[tokio::test]
async fn a_sandbox_listens_on_loopback_addresses_only() {
    for elsewhere in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let listen = elsewhere.parse().unwrap();
        let refused = Sandbox::bind(Options {
            listen,
            ..Options::default()
        });
        let refused = refused.await.unwrap_err();
        assert!(matches!(refused, SandboxError::NotLoopback(a) if a == listen));
    }
    let sandbox = Sandbox::bind(Options::default()).await.unwrap();
    let port = sandbox.address.port();
    let endpoint = format!("http://127.0.0.1:{port}/api/v1/TwoFactor");
    assert_eq!(sandbox.endpoint(), endpoint);
    let taken = Sandbox::bind(Options {
        listen: sandbox.address,
        ..Options::default()
    });
    let taken = taken.await.unwrap_err();
    assert!(matches!(taken, SandboxError::Listen { .. }));
}
