//! The reader of answers, against the rules of `src/doc/verdicts.md` written a second time.

use std::time::Duration;

use otpdrive::gateway::words::{Reply, cut, verdict};
use otpdrive::job::{Lane, UnixMicros};
use serde_json::Value;

use super::choices::Choices;

/// Any answer means what the table says, on each endpoint, in a text that can be shown.
pub fn check(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let status = status(&mut choices);
    let retry_after = retry_after(&mut choices);
    let broke_off = choices.rarely(16);
    let body = body(choices);
    let said = said(&body).filter(|_| !broke_off).unwrap_or_default();
    let now = UnixMicros(1_700_000_000_000_000);
    let reply = Reply {
        status,
        retry_after: retry_after.as_deref(),
        body: if broke_off {
            Err("reset\u{7}")
        } else {
            Ok(&body)
        },
    };
    for lane in Lane::ALL {
        let verdict = verdict(lane, &reply, now);
        let text = String::from_utf8_lossy(&body);
        let shown = format!("{lane:?} {reply:?}\n{text}\n{verdict:?}");
        let kind = format!("{:?}", verdict.kind);
        assert_eq!(kind, expected(lane, status, &said), "{shown}");
        let text = cut(verdict.text);
        assert!(super::is_readable(&text, 201), "{shown}");
        if let Some(at) = verdict.retry_at {
            assert_eq!(kind, "Throttled", "{shown}");
            let wait = at.since(now);
            assert!(at > now && wait <= Duration::from_hours(24), "{shown}");
        }
    }
}

/// The rules of `src/doc/verdicts.md`, without those in which no answer came.
fn expected(lane: Lane, status: u16, said: &Said) -> &'static str {
    let ok = status / 100 == 2;
    let error = said.word == "error" || said.word == "failure";
    let (success, queued) = (said.word == "success", said.word == "queued");
    let has = |words: &[&str]| words.iter().any(|word| said.message.contains(word));
    match status {
        _ if error && has(&["authentication error"]) => "KeyRefused",
        _ if error && has(&["try again", "in progress", "too many", "limit"]) => "Throttled",
        _ if !ok && (success || queued) => "Ambiguous",
        401 | 403 => "KeyRefused",
        402 => "AccountRefused",
        408 | 429 | 503 => "Throttled",
        500 | 502 => "ServerError",
        300..=499 if error && lane == Lane::Verify && has(&["verification failed"]) => {
            "NotVerified"
        }
        300..=499 if error => "Rejected",
        300..=499 => "Misdirected",
        _ if !ok => "Ambiguous",
        _ if success || queued && lane == Lane::Call => "Accepted",
        _ if error && lane == Lane::Verify && has(&["verification failed"]) => "NotVerified",
        _ if error => "Rejected",
        _ => "Ambiguous",
    }
}

/// Status word and message in small letters; both empty when it is not understood.
#[derive(Default)]
struct Said {
    word: String,
    message: String,
}

/// One `status`, a text, and one `message` at most: serde refuses a key that is repeated.
#[derive(serde::Deserialize)]
struct Body {
    status: String,
    #[serde(default)]
    message: Value,
}

/// What an answer says, when it is one JSON object.
fn said(body: &[u8]) -> Option<Said> {
    let body = body.trim_ascii();
    // serde would take an array for an object as well.
    let body = body.starts_with(b"{").then_some(body)?;
    let Body { status, message } = serde_json::from_slice(body).ok()?;
    let message = match message {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    };
    // A character that cannot be printed is read as a space.
    let message = message.trim().replace(char::is_control, " ");
    Some(Said {
        word: status.to_ascii_lowercase(),
        message: message.to_lowercase(),
    })
}

fn status(choices: &mut Choices<'_>) -> u16 {
    const TELLING: &str = "200 ¦ 200 ¦ 200 ¦ 200 ¦ 201 ¦ 204 ¦ 299 ¦ 302 ¦ 307 ¦ 400 ¦ 401 ¦ 403 \
        ¦ 404 ¦ 408 ¦ 418 ¦ 429 ¦ 500 ¦ 501 ¦ 502 ¦ 503 ¦ 504 ¦ 100";
    match choices.byte() {
        0..=9 => u16::from(choices.byte()) * 4,
        _ => choices.word(TELLING).parse().expect("a number"),
    }
}

fn retry_after(choices: &mut Choices<'_>) -> Option<String> {
    const TELLING: &str = "¦ 0 ¦ 7 ¦\t120 ¦ 86401 ¦ 18446744073709551616 ¦ -5 ¦ 1.5 ¦ soon ¦ +1 \
        ¦ Tue, 14 Nov 2023 22:14:20 GMT ¦ Fri, 31 Dec 9999 23:59:59 GMT";
    choices.rarely(4).then(|| choices.word(TELLING).to_owned())
}

/// What is nearly the key or the value that it should be; `"odd"` stands for [`ODD`].
const FIRST_KEYS: &str = r#""status" ¦ "status" ¦ "status" ¦ "message""#;
const KEYS: &str = r#""status" ¦ "status" ¦ "status" ¦ "message" ¦ "message" ¦ "Status"
    ¦ "st\u0061tus" ¦ "error" ¦ "status " ¦ status"#;
const WORDS: &str = r#""success" ¦ "SUCCESS" ¦ "queued" ¦ "Queued" ¦ "Error" ¦ "failure"
    ¦ "s\u0075ccess" ¦ "ſuccess" ¦ " success" ¦ "success\u0000" ¦ "successful" ¦ "ok""#;
const VALUES: &str = r#""success" ¦ "SUCCESS" ¦ "queued" ¦ "Queued" ¦ "Error" ¦ "failure"
    ¦ "s\u0075ccess" ¦ "ſuccess" ¦ " success" ¦ "success\u0000" ¦ "successful" ¦ "ok"
    ¦ "" ¦ true ¦ 200 ¦ null ¦ 1e999 ¦ -0 ¦ ["success"] ¦ {"status":"success"}
    ¦ "Authentication Error" ¦ "authentication  error" ¦ "please TRY AGAIN" ¦ "in\u0020progress"
    ¦ "Too many" ¦ "LIMIT reached" ¦ "unlimited"
    ¦ "Your Mobile Number OTP code verification failed" ¦ "API key or Phone Number Missing" ¦ "\ud800" ¦ "try\nagain"
    ¦ ["try again"] ¦ "odd" ¦ 919876543210 ¦ {"a":{"limit":[1,2]}} ¦ "SM8\u001b1""#;
const ODD: &str = "\"\u{202e}\u{7f}\u{9b}\"";

/// JSON as the API sends it, and everything that is nearly so; or any bytes.
fn body(mut choices: Choices<'_>) -> Vec<u8> {
    match choices.byte() {
        0..=24 => return choices.rest().to_vec(),
        25..=34 => {
            let depth = 1 << choices.below(17);
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            return format!(r#"{{"status":"success","message":{nested}}}"#).into_bytes();
        }
        35..=44 => {
            let (first, second) = (choices.word(VALUES), choices.word(VALUES));
            return format!("[{first},{second}]").into_bytes();
        }
        _ => {}
    }
    let before = choices.of(&[
        "", "", "", "", "", "\u{feff}", " \r\n", "\u{c}", "\u{a0}", "x",
    ]);
    let mut body = before.to_owned();
    body.push('{');
    for n in 0..choices.below(5) {
        let comma = if n > 0 { "," } else { "" };
        let (key, value) = match n {
            0 => (choices.word(FIRST_KEYS), choices.word(WORDS)),
            _ => (choices.word(KEYS), choices.word(VALUES)),
        };
        body += &[comma, key, ":", value].concat();
    }
    body += choices.of(&[
        "}", "}", "}", "}", "}", "} \n", "}}", "", ",}", "}\0", "} x", "}{}",
    ]);
    let mut body = body.replace("\"odd\"", ODD);
    if choices.rarely(16) {
        body.truncate(body.floor_char_boundary(choices.size(body.len())));
    }
    body.into_bytes()
}
