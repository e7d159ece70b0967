//! What KooKoo's answers mean. The API is documented by three requests, their answers and three
//! errors; the rest of the table is written for safety: a word that is not known is not success,
//! and what cannot be understood may have been sent.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::outcome::{Lane, UnixMicros, Verdict};
use crate::text::is_hidden;

/// The longest text kept of an answer, in characters.
const TEXT_MAX: usize = 200;

/// The longest `Retry-After` that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// The words by which the API says "not now" in an error, whatever the HTTP status.
const THROTTLE_WORDS: [&str; 4] = ["try again", "in progress", "too many", "limit"];

/// An answer as it came back.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The `Retry-After` header, when there is one.
    pub retry_after: Option<&'a str>,
    /// The body, or what went wrong while it was read.
    pub body: Result<&'a [u8], &'a str>,
}

/// The JSON that all three endpoints answer with, whatever its content type.
#[derive(Deserialize)]
struct Said {
    status: String,
    #[serde(default)]
    message: serde_json::Value,
}

impl Said {
    fn is(&self, word: &str) -> bool {
        self.status.eq_ignore_ascii_case(word)
    }

    fn is_error(&self) -> bool {
        self.is("error") || self.is("failure")
    }

    fn is_success(&self, lane: Lane) -> bool {
        self.is("success") || (lane == Lane::Call && self.is("queued"))
    }

    fn message(&self) -> String {
        match &self.message {
            serde_json::Value::String(text) => tidy(text),
            serde_json::Value::Null => String::new(),
            other => tidy(&other.to_string()),
        }
    }

    fn says(&self, words: &[&str]) -> bool {
        let message = self.message().to_lowercase();
        words.iter().any(|word| message.contains(word))
    }
}

/// What this answer to a request on `lane` means.
#[must_use]
pub fn verdict(lane: Lane, reply: &Reply<'_>, now: UnixMicros) -> Verdict {
    let said = reply.body.ok().and_then(said);
    let text = describe(reply, said.as_ref());
    let ok = (200..300).contains(&reply.status);
    if let Some(said) = &said {
        if said.is_error() && said.says(&["authentication error"]) {
            return Verdict::KeyRefused(text);
        }
        if said.is_error() && said.says(&THROTTLE_WORDS) {
            return throttled(text, reply, now);
        }
        if !ok && (said.is("success") || said.is("queued")) {
            // It contradicts itself, so nothing it says can be relied on.
            return Verdict::Ambiguous(text);
        }
    }
    match reply.status {
        401 | 403 => Verdict::KeyRefused(text),
        408 | 429 | 503 => throttled(text, reply, now),
        500 | 502 => Verdict::ServerError(text),
        300..500 => match &said {
            // Whoever answers in the API's own words is the API: the number is refused.
            Some(said) if said.is_error() => Verdict::Rejected(text),
            _ => Verdict::Misdirected(text),
        },
        _ if ok => said.map_or(Verdict::Ambiguous(text), |said| in_words(lane, &said)),
        _ => Verdict::Ambiguous(text),
    }
}

/// What a body says: a JSON object, for serde would take the array `["success"]` for one as well.
fn said(body: &[u8]) -> Option<Said> {
    let body = body.trim_ascii();
    let said = body.starts_with(b"{").then(|| serde_json::from_slice(body));
    said?.ok()
}

/// What it means that no answer came: whatever may have left may have been delivered.
#[must_use]
pub fn no_answer(surely_not_sent: bool, why: String) -> Verdict {
    if surely_not_sent {
        Verdict::Unreachable(why)
    } else {
        Verdict::Ambiguous(why)
    }
}

/// A 2xx answer that is JSON of the known shape.
fn in_words(lane: Lane, said: &Said) -> Verdict {
    if said.is_success(lane) {
        return Verdict::Accepted(said.message());
    }
    if said.is_error() {
        if lane == Lane::Verify && said.says(&["verification failed"]) {
            return Verdict::NotVerified(said.message());
        }
        return Verdict::Rejected(said.message());
    }
    Verdict::Ambiguous(format!("unknown status \"{}\"", tidy(&said.status)))
}

fn throttled(message: String, reply: &Reply<'_>, now: UnixMicros) -> Verdict {
    let wait = reply
        .retry_after
        .and_then(|value| retry_after(value, now))
        .filter(|wait| !wait.is_zero());
    Verdict::Throttled {
        message,
        retry_at: wait.map(|wait| now + wait),
    }
}

/// `Retry-After` in both of its forms (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(value: &str, now: UnixMicros) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        value.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        let at = UnixMicros(0)
            + date
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default();
        at.since(now)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The answer in words for a person: what the API said, and the HTTP status if it is not 200.
fn describe(reply: &Reply<'_>, said: Option<&Said>) -> String {
    let message = match (said, reply.body) {
        (Some(said), _) => said.message(),
        (None, Err(why)) => format!("the answer broke off: {}", tidy(why)),
        (None, Ok(_)) if reply.status == 200 => "the answer is not what the API sends".to_owned(),
        (None, Ok(_)) => String::new(),
    };
    match (reply.status, message.as_str()) {
        (200, _) => message,
        (status, "") => format!("HTTP {status}"),
        (status, _) => format!("HTTP {status}: {message}"),
    }
}

/// A text from outside, without what a terminal would obey or nobody would see.
#[must_use]
pub fn tidy(text: &str) -> String {
    let printable = |c: char| if is_hidden(c) { ' ' } else { c };
    text.trim().chars().map(printable).collect()
}

/// The text cut to a sensible length. To be done after secrets are taken out: half a key would not
/// be recognised.
#[must_use]
pub fn cut(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(TEXT_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);

    fn judge(lane: Lane, status: u16, body: &str) -> Verdict {
        let reply = Reply {
            status,
            retry_after: None,
            body: Ok(body.as_bytes()),
        };
        verdict(lane, &reply, NOW)
    }

    fn kind(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Accepted(_) => "accepted",
            Verdict::NotVerified(_) => "not_verified",
            Verdict::Rejected(_) => "rejected",
            Verdict::Throttled { .. } => "throttled",
            Verdict::ServerError(_) => "server_error",
            Verdict::Unreachable(_) => "unreachable",
            Verdict::Misdirected(_) => "misdirected",
            Verdict::KeyRefused(_) => "key_refused",
            Verdict::Ambiguous(_) => "ambiguous",
        }
    }

    #[test]
    fn each_answer_means_what_the_table_says_on_each_endpoint() {
        let failed =
            r#"{"status":"Error","message":"Your Mobile Number OTP code verification failed"}"#;
        let auth = r#"{"status":"Error","message":"Authentication Error"}"#;
        let missing = r#"{"status":"Error","message":"API key or Phone Number Missing"}"#;
        let busy =
            r#"{"status":"Error","message":"Already request is in progress, please try again."}"#;
        let table: &[(u16, &str, [&str; 3])] = &[
            (
                200,
                r#"{"status":"success","message":"SM81"}"#,
                ["accepted"; 3],
            ),
            (
                200,
                r#"{"status":"SUCCESS","message":"SM81"}"#,
                ["accepted"; 3],
            ),
            (
                200,
                r#"{"status":"queued","message":"91"}"#,
                ["ambiguous", "accepted", "ambiguous"],
            ),
            (200, r#"{"status":"ok","message":"x"}"#, ["ambiguous"; 3]),
            (200, failed, ["rejected", "rejected", "not_verified"]),
            (200, auth, ["key_refused"; 3]),
            (400, auth, ["key_refused"; 3]),
            (200, missing, ["rejected"; 3]),
            (400, missing, ["rejected"; 3]),
            (
                200,
                r#"{"status":"failure","message":"no"}"#,
                ["rejected"; 3],
            ),
            (200, r#"{"status":"error"}"#, ["rejected"; 3]),
            (200, busy, ["throttled"; 3]),
            (
                403,
                r#"{"status":"Error","message":"Too many requests"}"#,
                ["throttled"; 3],
            ),
            (
                500,
                r#"{"status":"Error","message":"Limit reached"}"#,
                ["throttled"; 3],
            ),
            (401, "", ["key_refused"; 3]),
            (403, "<html>", ["key_refused"; 3]),
            (408, "", ["throttled"; 3]),
            (429, "", ["throttled"; 3]),
            (503, "", ["throttled"; 3]),
            (500, "", ["server_error"; 3]),
            (502, "", ["server_error"; 3]),
            (
                500,
                r#"{"status":"success","message":"x"}"#,
                ["ambiguous"; 3],
            ),
            (
                503,
                r#"{"status":"queued","message":"x"}"#,
                ["ambiguous"; 3],
            ),
            (
                404,
                r#"{"status":"success","message":"x"}"#,
                ["ambiguous"; 3],
            ),
            (504, "", ["ambiguous"; 3]),
            (504, missing, ["ambiguous"; 3]),
            (501, "", ["ambiguous"; 3]),
            (302, "", ["misdirected"; 3]),
            (307, "", ["misdirected"; 3]),
            (404, "<html>", ["misdirected"; 3]),
            (418, "", ["misdirected"; 3]),
            (200, "", ["ambiguous"; 3]),
            (204, "", ["ambiguous"; 3]),
            (200, "<html>", ["ambiguous"; 3]),
            (200, r#"["success","SM81"]"#, ["ambiguous"; 3]),
            (200, r#"{"status":"success""#, ["ambiguous"; 3]),
            (
                200,
                r#"{"status":"Error","status":"success","message":"x"}"#,
                ["ambiguous"; 3],
            ),
            (
                200,
                "<response><status>success</status></response>",
                ["ambiguous"; 3],
            ),
        ];
        for (status, body, expected) in table {
            for (lane, expected) in Lane::ALL.into_iter().zip(expected) {
                let verdict = judge(lane, *status, body);
                assert_eq!(kind(&verdict), *expected, "{lane:?} {status} {body}");
            }
        }
    }

    #[test]
    fn the_reference_and_the_message_are_kept() {
        let verdict = judge(
            Lane::Sms,
            200,
            r#"{"status":"success","message":"SM8\u001b1"}"#,
        );
        assert_eq!(verdict, Verdict::Accepted("SM8 1".to_owned()));
        let verdict = judge(Lane::Sms, 400, r#"{"status":"Error","message":"Bad id"}"#);
        assert_eq!(verdict, Verdict::Rejected("HTTP 400: Bad id".to_owned()));
        let verdict = judge(
            Lane::Call,
            200,
            r#"{"message":919876543210,"status":"queued"}"#,
        );
        assert_eq!(verdict, Verdict::Accepted("919876543210".to_owned()));
    }

    #[test]
    fn a_known_status_survives_a_body_that_breaks_off() {
        let judge = |status| {
            let reply = Reply {
                status,
                retry_after: None,
                body: Err("connection reset"),
            };
            kind(&verdict(Lane::Sms, &reply, NOW))
        };
        assert_eq!(judge(503), "throttled");
        assert_eq!(judge(401), "key_refused");
        assert_eq!(judge(200), "ambiguous");
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let judge = |value| {
            let reply = Reply {
                status: 429,
                retry_after: Some(value),
                body: Ok(b""),
            };
            match verdict(Lane::Sms, &reply, NOW) {
                Verdict::Throttled { retry_at, .. } => retry_at.map(|at| at.since(NOW).as_secs()),
                _ => None,
            }
        };
        assert_eq!(judge("7"), Some(7));
        assert_eq!(judge(" 120 "), Some(120));
        assert_eq!(judge("0"), None);
        assert_eq!(judge("Tue, 14 Nov 2023 22:14:20 GMT"), Some(60));
        assert_eq!(judge("Tue, 14 Nov 2023 22:13:00 GMT"), None);
        assert_eq!(judge("99999999999999999999999"), Some(86_400));
        assert_eq!(judge("soon"), None);
        assert_eq!(judge("-5"), None);
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "é".repeat(500);
        assert_eq!(cut(long).chars().count(), TEXT_MAX + 1);
        assert_eq!(cut("short".to_owned()), "short");
    }
}
