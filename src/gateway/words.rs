//! All that is KooKoo's own: where its API is, the names it uses, and what its answers mean.
//!
//! The API is documented by three requests, their answers and three errors; the rest of the table
//! is written for safety: a word that is not known is not success, and what cannot be understood
//! may have been sent.

use std::time::{Duration, SystemTime};

use serde::Deserialize;

use crate::job::{Lane, UnixMicros, Verdict, VerdictKind};
use crate::mistake::{Mistake, is_made};
use crate::text::is_hidden;

/// Where the API is.
pub const ENDPOINT: &str = "https://kookoo.in/api/v1/TwoFactor";

/// The longest text kept of an answer, in characters.
const TEXT_MAX: usize = 200;

/// The longest `Retry-After` that is believed.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// The words by which the API says "not now" in an error, whatever the HTTP status.
const THROTTLE_WORDS: [&str; 4] = ["try again", "in progress", "too many", "limit"];

/// The name of a lane's request, at the end of its path.
#[must_use]
pub fn request_name(lane: Lane) -> &'static str {
    match lane {
        Lane::Sms => "smsotp",
        Lane::Call => "callotp",
        Lane::Verify => "verifyotp",
    }
}

/// Has it the form of a sender id as they are registered? The regulator's own texts disagree on the
/// form, so others are worth a warning and not an error.
#[must_use]
pub fn is_usual_sender_id(id: &str) -> bool {
    (3..=11).contains(&id.len()) && id.chars().all(|c| c.is_ascii_alphanumeric())
}

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
    let kind = match &said {
        Some(said) => kind_in_words(lane, reply.status, said),
        None => kind_without_words(reply.status),
    };
    let retry_at = (kind == VerdictKind::Throttled)
        .then(|| retry_at(reply, now))
        .flatten();
    Verdict {
        kind,
        text: describe(reply, said.as_ref(), kind),
        retry_at,
    }
}

/// What a body says: a JSON object, for serde would take the array `["success"]` for one as well.
fn said(body: &[u8]) -> Option<Said> {
    let body = body.trim_ascii();
    let said = body.starts_with(b"{").then(|| serde_json::from_slice(body));
    said?.ok()
}

/// The kind of an answer that is JSON of the known shape: whoever answers in the API's own words is
/// the API.
fn kind_in_words(lane: Lane, status: u16, said: &Said) -> VerdictKind {
    let ok = is_success(status);
    if said.is_error() {
        if said.says(&["authentication error"]) {
            return VerdictKind::KeyRefused;
        }
        if said.says(&THROTTLE_WORDS) {
            return VerdictKind::Throttled;
        }
        let kind = kind_without_words(status);
        return match kind {
            _ if !ok && kind != VerdictKind::Misdirected => kind,
            _ if lane == Lane::Verify && said.says(&["verification failed"]) => {
                VerdictKind::NotVerified
            }
            _ => VerdictKind::Rejected,
        };
    }
    if ok && said.is_success(lane) {
        return VerdictKind::Accepted;
    }
    if ok || said.is("success") || said.is("queued") {
        // A word that is not known, or one that contradicts the HTTP status: nothing it says can be
        // relied on.
        return VerdictKind::Ambiguous;
    }
    kind_without_words(status)
}

/// The kind of an answer of which only the HTTP status can be relied on.
fn kind_without_words(status: u16) -> VerdictKind {
    match status {
        401 if is_made(Mistake::KeyRejected) => VerdictKind::Rejected,
        401 | 403 => VerdictKind::KeyRefused,
        402 => VerdictKind::AccountRefused,
        408 | 429 | 503 => VerdictKind::Throttled,
        500 | 502 => VerdictKind::ServerError,
        504 if is_made(Mistake::GatewayTimeoutNotSent) => VerdictKind::ServerError,
        300..500 => VerdictKind::Misdirected,
        _ if is_made(Mistake::UnclearRefused) => VerdictKind::Rejected,
        _ => VerdictKind::Ambiguous,
    }
}

/// When the next request may leave, as far as the answer says so.
fn retry_at(reply: &Reply<'_>, now: UnixMicros) -> Option<UnixMicros> {
    let wait = retry_after(reply.retry_after?, now)?;
    (!wait.is_zero()).then(|| now + wait)
}

/// `Retry-After` in both of its forms (RFC 9110, 10.2.3): seconds, or a date.
fn retry_after(value: &str, now: UnixMicros) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        let wait = if is_made(Mistake::Milliseconds) {
            Duration::from_millis
        } else {
            Duration::from_secs
        };
        value.parse().map_or(RETRY_AFTER_MAX, wait)
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

/// The answer in words for a person: what the API said, and the HTTP status if it is not a success.
fn describe(reply: &Reply<'_>, said: Option<&Said>, kind: VerdictKind) -> String {
    let message = match (said, reply.body) {
        (Some(said), _) if is_success(reply.status) => {
            return match kind {
                VerdictKind::Ambiguous => format!("unknown status \"{}\"", tidy(&said.status)),
                _ => said.message(),
            };
        }
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

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// A text from outside, without what a terminal would obey or nobody would see.
#[must_use]
pub fn tidy(text: &str) -> String {
    // Nearly every text is fine as it is.
    text.trim().replace(is_hidden, " ")
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
    use VerdictKind::*;

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

    #[test]
    fn each_answer_means_what_the_table_says_on_each_endpoint() {
        let failed =
            r#"{"status":"Error","message":"Your Mobile Number OTP code verification failed"}"#;
        let auth = r#"{"status":"Error","message":"Authentication Error"}"#;
        let missing = r#"{"status":"Error","message":"API key or Phone Number Missing"}"#;
        let busy =
            r#"{"status":"Error","message":"Already request is in progress, please try again."}"#;
        let table: &[(u16, &str, [VerdictKind; 3])] = &[
            (
                200,
                r#"{"status":"success","message":"SM81"}"#,
                [Accepted; 3],
            ),
            (
                200,
                r#"{"status":"SUCCESS","message":"SM81"}"#,
                [Accepted; 3],
            ),
            (
                200,
                r#"{"status":"queued","message":"91"}"#,
                [Ambiguous, Accepted, Ambiguous],
            ),
            (200, r#"{"status":"ok","message":"x"}"#, [Ambiguous; 3]),
            (200, failed, [Rejected, Rejected, NotVerified]),
            (400, failed, [Rejected, Rejected, NotVerified]),
            (500, failed, [ServerError; 3]),
            (200, auth, [KeyRefused; 3]),
            (400, auth, [KeyRefused; 3]),
            (200, missing, [Rejected; 3]),
            (400, missing, [Rejected; 3]),
            (200, r#"{"status":"failure","message":"no"}"#, [Rejected; 3]),
            (200, r#"{"status":"error"}"#, [Rejected; 3]),
            (200, busy, [Throttled; 3]),
            (
                403,
                r#"{"status":"Error","message":"Too many requests"}"#,
                [Throttled; 3],
            ),
            (
                500,
                r#"{"status":"Error","message":"Limit reached"}"#,
                [Throttled; 3],
            ),
            (401, "", [KeyRefused; 3]),
            (402, "", [AccountRefused; 3]),
            (402, missing, [AccountRefused; 3]),
            (402, busy, [Throttled; 3]),
            (402, r#"{"status":"success"}"#, [Ambiguous; 3]),
            (403, "<html>", [KeyRefused; 3]),
            (408, "", [Throttled; 3]),
            (429, "", [Throttled; 3]),
            (503, "", [Throttled; 3]),
            (500, "", [ServerError; 3]),
            (502, "", [ServerError; 3]),
            (500, r#"{"status":"success","message":"x"}"#, [Ambiguous; 3]),
            (503, r#"{"status":"queued","message":"x"}"#, [Ambiguous; 3]),
            (404, r#"{"status":"success","message":"x"}"#, [Ambiguous; 3]),
            (504, "", [Ambiguous; 3]),
            (504, missing, [Ambiguous; 3]),
            (501, "", [Ambiguous; 3]),
            (302, "", [Misdirected; 3]),
            (307, "", [Misdirected; 3]),
            (404, "<html>", [Misdirected; 3]),
            (418, "", [Misdirected; 3]),
            (200, "", [Ambiguous; 3]),
            (204, "", [Ambiguous; 3]),
            (200, "<html>", [Ambiguous; 3]),
            (200, r#"["success","SM81"]"#, [Ambiguous; 3]),
            (200, r#"{"status":"success""#, [Ambiguous; 3]),
            (
                200,
                r#"{"status":"Error","status":"success","message":"x"}"#,
                [Ambiguous; 3],
            ),
            (
                200,
                "<response><status>success</status></response>",
                [Ambiguous; 3],
            ),
        ];
        for (status, body, expected) in table {
            for (lane, expected) in Lane::ALL.into_iter().zip(expected) {
                let verdict = judge(lane, *status, body);
                assert_eq!(verdict.kind, *expected, "{lane:?} {status} {body}");
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
        assert_eq!(verdict, Verdict::new(Accepted, "SM8 1"));
        let verdict = judge(Lane::Sms, 400, r#"{"status":"Error","message":"Bad id"}"#);
        assert_eq!(verdict, Verdict::new(Rejected, "HTTP 400: Bad id"));
        let verdict = judge(
            Lane::Call,
            201,
            r#"{"message":919876543210,"status":"queued"}"#,
        );
        assert_eq!(verdict, Verdict::new(Accepted, "919876543210"));
    }

    #[test]
    fn a_known_status_survives_a_body_that_breaks_off() {
        let judge = |status| {
            let reply = Reply {
                status,
                retry_after: None,
                body: Err("connection reset"),
            };
            verdict(Lane::Sms, &reply, NOW).kind
        };
        assert_eq!(judge(503), Throttled);
        assert_eq!(judge(401), KeyRefused);
        assert_eq!(judge(200), Ambiguous);
    }

    #[test]
    fn retry_after_is_read_in_both_forms_and_bounded() {
        let judge = |value| {
            let reply = Reply {
                status: 429,
                retry_after: Some(value),
                body: Ok(b""),
            };
            let verdict = verdict(Lane::Sms, &reply, NOW);
            assert_eq!(verdict.kind, Throttled);
            verdict.retry_at.map(|at| at.since(NOW).as_secs())
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
    fn only_an_answer_that_says_not_now_tells_until_when() {
        let judge = |status, body: &str| {
            let reply = Reply {
                status,
                retry_after: Some("7"),
                body: Ok(body.as_bytes()),
            };
            verdict(Lane::Sms, &reply, NOW).retry_at
        };
        let later = Some(NOW + Duration::from_secs(7));
        assert_eq!(judge(503, "<html>"), later);
        assert_eq!(
            judge(400, r#"{"status":"Error","message":"Too many"}"#),
            later
        );
        assert_eq!(judge(500, ""), None);
        assert_eq!(judge(302, ""), None);
    }

    #[test]
    fn sender_ids_of_an_unusual_form_are_told() {
        assert!(is_usual_sender_id("OZNTEL") && is_usual_sender_id("56767"));
        for odd in ["", "OZ", "OZ NTL", "OZ-NTL", "ÖZNTEL", "ABCDEFGHIJKL"] {
            assert!(!is_usual_sender_id(odd), "{odd}");
        }
    }

    #[test]
    fn long_texts_are_cut() {
        let long = "é".repeat(500);
        assert_eq!(cut(long).chars().count(), TEXT_MAX + 1);
        assert_eq!(cut("short".to_owned()), "short");
    }
}
