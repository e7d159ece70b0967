//! The reader of answers, against the table of the README written a second time.

use std::fmt;
use std::time::Duration;

use otpdrive::gateway::words::{Reply, cut, verdict};
use otpdrive::outcome::{Lane, UnixMicros, Verdict};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::choices::Choices;

/// The kinds of verdicts, for the comparison.
#[derive(Debug, PartialEq)]
enum Kind {
    Accepted,
    NotVerified,
    Rejected,
    Throttled,
    ServerError,
    Misdirected,
    KeyRefused,
    Ambiguous,
    Unreachable,
}

/// An answer as it comes from the network.
#[derive(Debug, Default)]
struct Answer {
    status: u16,
    retry_after: Option<String>,
    body: Vec<u8>,
    broke_off: bool,
}

/// Any answer means what the table says, on each endpoint, in a text that can be shown.
pub fn check(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let answer = Answer {
        status: status(&mut choices),
        retry_after: retry_after(&mut choices),
        broke_off: choices.rarely(16),
        body: body(choices),
    };
    let now = UnixMicros(1_700_000_000_000_000);
    let said = said(&answer);
    for lane in Lane::ALL {
        let reply = Reply {
            status: answer.status,
            retry_after: answer.retry_after.as_deref(),
            body: if answer.broke_off {
                Err("reset\u{7}")
            } else {
                Ok(&answer.body)
            },
        };
        let verdict = verdict(lane, &reply, now);
        let shown = || {
            let body = String::from_utf8_lossy(&answer.body);
            format!("{lane:?} {answer:?}\n{body}\n{verdict:?}")
        };
        assert_eq!(
            kind(&verdict),
            expected(lane, &answer, &said),
            "{}",
            shown()
        );
        assert!(
            super::is_readable(&cut(verdict.text().to_owned()), 201),
            "{}",
            shown()
        );
        if let Verdict::Throttled {
            retry_at: Some(at), ..
        } = verdict
        {
            let wait = at.since(now);
            assert!(at > now && wait <= Duration::from_hours(24), "{}", shown());
        }
    }
}

/// The README's table "What an answer means", without the rows in which no answer came.
fn expected(lane: Lane, answer: &Answer, said: &Said) -> Kind {
    let status = answer.status;
    let ok = status / 100 == 2;
    let error = said.word == "error" || said.word == "failure";
    let success = said.word == "success";
    let has = |words: &[&str]| words.iter().any(|word| said.message.contains(word));
    if error && has(&["authentication error"]) {
        Kind::KeyRefused
    } else if error && has(&["try again", "in progress", "too many", "limit"]) {
        Kind::Throttled
    } else if (success || said.word == "queued") && !ok {
        Kind::Ambiguous
    } else if status == 401 || status == 403 {
        Kind::KeyRefused
    } else if [408, 429, 503].contains(&status) {
        Kind::Throttled
    } else if status == 500 || status == 502 {
        Kind::ServerError
    } else if status / 100 == 3 || status / 100 == 4 {
        if error {
            Kind::Rejected
        } else {
            Kind::Misdirected
        }
    } else if ok && (success || lane == Lane::Call && said.word == "queued") {
        Kind::Accepted
    } else if ok && error && lane == Lane::Verify && has(&["verification failed"]) {
        Kind::NotVerified
    } else if ok && error {
        Kind::Rejected
    } else {
        Kind::Ambiguous
    }
}

fn kind(verdict: &Verdict) -> Kind {
    match verdict {
        Verdict::Accepted(_) => Kind::Accepted,
        Verdict::NotVerified(_) => Kind::NotVerified,
        Verdict::Rejected(_) => Kind::Rejected,
        Verdict::Throttled { .. } => Kind::Throttled,
        Verdict::ServerError(_) => Kind::ServerError,
        Verdict::Misdirected(_) => Kind::Misdirected,
        Verdict::KeyRefused(_) => Kind::KeyRefused,
        Verdict::Ambiguous(_) => Kind::Ambiguous,
        Verdict::Unreachable(_) => Kind::Unreachable,
    }
}

/// Status word and message in small letters; both empty when it is not understood.
#[derive(Default)]
struct Said {
    word: String,
    message: String,
}

/// What an answer says: one JSON object with one `status`, a text, and one `message` at most.
fn said(answer: &Answer) -> Said {
    let mut reader = serde_json::Deserializer::from_slice(answer.body.trim_ascii());
    let pairs = reader.deserialize_any(Pairs);
    let (Ok(pairs), Ok(()), false) = (pairs, reader.end(), answer.broke_off) else {
        return Said::default();
    };
    let all = |name: &str| -> Vec<&Value> {
        let found = pairs.iter().filter(|(key, _)| key == name);
        found.map(|(_, value)| value).collect()
    };
    let message = match all("message")[..] {
        [] | [Value::Null] => String::new(),
        [Value::String(text)] => text.clone(),
        [other] => other.to_string(),
        _ => return Said::default(),
    };
    let [Value::String(word)] = all("status")[..] else {
        return Said::default();
    };
    // A character that cannot be printed is read as a space.
    let message = message.trim().replace(char::is_control, " ");
    Said {
        word: word.to_ascii_lowercase(),
        message: message.to_lowercase(),
    }
}

/// Reads an object and nothing else, repeated keys and all.
struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Vec<(String, Value)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key == "status" || key == "message" {
                pairs.push((key, map.next_value()?));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(pairs)
    }
}

fn status(choices: &mut Choices<'_>) -> u16 {
    const TELLING: [u16; 22] = [
        200, 200, 200, 200, 201, 204, 299, 302, 307, 400, 401, 403, 404, 408, 418, 429, 500, 501,
        502, 503, 504, 100,
    ];
    match choices.byte() {
        0..=9 => u16::from(choices.byte()) * 4,
        _ => choices.of(&TELLING),
    }
}

fn retry_after(choices: &mut Choices<'_>) -> Option<String> {
    const TELLING: [&str; 12] = [
        "",
        "0",
        "7",
        " 120 ",
        "86401",
        "18446744073709551616",
        "-5",
        "1.5",
        "soon",
        "+1",
        "Tue, 14 Nov 2023 22:14:20 GMT",
        "Fri, 31 Dec 9999 23:59:59 GMT",
    ];
    choices.rarely(4).then(|| choices.of(&TELLING).to_owned())
}

/// JSON as the API sends it, and everything that is nearly so; or any bytes.
fn body(mut choices: Choices<'_>) -> Vec<u8> {
    const KEYS: [&str; 10] = [
        r#""status""#,
        r#""status""#,
        r#""status""#,
        r#""message""#,
        r#""message""#,
        r#""Status""#,
        r#""st\u0061tus""#,
        r#""error""#,
        r#""status ""#,
        "status",
    ];
    const VALUES: [&str; 36] = [
        r#""success""#,
        r#""SUCCESS""#,
        r#""queued""#,
        r#""Queued""#,
        r#""Error""#,
        r#""failure""#,
        r#""s\u0075ccess""#,
        r#""ſuccess""#,
        r#"" success""#,
        r#""success\u0000""#,
        r#""successful""#,
        r#""ok""#,
        r#""""#,
        "true",
        "200",
        "null",
        "1e999",
        "-0",
        r#"["success"]"#,
        r#"{"status":"success"}"#,
        r#""Authentication Error""#,
        r#""authentication  error""#,
        r#""please TRY AGAIN""#,
        r#""in\u0020progress""#,
        r#""Too many""#,
        r#""LIMIT reached""#,
        r#""unlimited""#,
        r#""Your Mobile Number OTP code verification failed""#,
        r#""API key or Phone Number Missing""#,
        r#""\ud800""#,
        r#""try\nagain""#,
        r#"["try again"]"#,
        "\"\u{202e}\u{7f}\u{9b}\"",
        "919876543210",
        r#"{"a":{"limit":[1,2]}}"#,
        r#""SM8\u001b1""#,
    ];
    match choices.byte() {
        0..=24 => return choices.rest().to_vec(),
        25..=34 => {
            let depth = 1 << choices.below(17);
            let nested = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            return format!(r#"{{"status":"success","message":{nested}}}"#).into_bytes();
        }
        35..=44 => {
            let mut values = || choices.of(&VALUES);
            return format!("[{},{}]", values(), values()).into_bytes();
        }
        _ => {}
    }
    let mut body = choices
        .of(&[
            "", "", "", "", "", "\u{feff}", " \r\n", "\u{c}", "\u{a0}", "x",
        ])
        .to_owned();
    body.push('{');
    for n in 0..choices.below(5) {
        let comma = if n > 0 { "," } else { "" };
        let (key, value) = match n {
            0 => (choices.of(&KEYS[..4]), choices.of(&VALUES[..12])),
            _ => (choices.of(&KEYS), choices.of(&VALUES)),
        };
        body += &[comma, key, ":", value].concat();
    }
    body += choices.of(&[
        "}", "}", "}", "}", "}", "} \n", "}}", "", ",}", "}\0", "} x", "}{}",
    ]);
    if choices.rarely(16) {
        body.truncate(body.floor_char_boundary(choices.size(body.len())));
    }
    body.into_bytes()
}
