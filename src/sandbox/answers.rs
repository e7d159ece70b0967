//! The provider's two-factor API: what a request asks for, what is done about it, and in which words.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::action::Action;
use super::faults::dice;
use super::http::{Delivery, Head, Then};
use super::log::Log;
use super::memory::Memory;
use super::{Options, lock, magic};
use crate::job::Lane;
use crate::number::Number;

/// Where the API lives on the server.
pub(super) const BASE: &str = "/api/v1/TwoFactor";
/// How long a slow answer takes.
pub const SLOW: Duration = Duration::from_secs(3);
/// How long a huge body is.
pub const HUGE_BYTES: usize = 1024 * 1024;

const JSON: &str = "application/json";
const HTML: &str = "text/html";

/// The last part of the path of a request.
pub(super) fn path(lane: Lane) -> &'static str {
    match lane {
        Lane::Sms => "smsotp",
        Lane::Call => "callotp",
        Lane::Verify => "verifyotp",
    }
}

/// The gateway behind all connections.
#[derive(Debug)]
pub(super) struct Gateway {
    options: Options,
    pub(super) log: Log,
    memory: Mutex<Memory>,
    /// How many answers there were, and how many references were given.
    answers: AtomicU64,
    references: AtomicU64,
}

/// What is done about a request.
#[derive(Debug)]
pub(super) struct Decision {
    /// Which request; `None` for a path that the API does not have.
    pub(super) lane: Option<Lane>,
    /// Whom it is about, when that could be read.
    pub(super) number: Option<Number>,
    /// 1 for the first for this number on this endpoint; 0 when it was not counted.
    pub(super) n: u32,
    pub(super) action: Action,
    /// Was the OTP taken for sending, or the code right and used up?
    pub(super) accepted: bool,
}

impl Gateway {
    pub(super) fn new(options: Options, log: Log) -> Self {
        Self {
            options,
            log,
            memory: Mutex::default(),
            answers: AtomicU64::new(0),
            references: AtomicU64::new(1),
        }
    }

    /// Does what the request asks for, or what goes wrong instead, and writes the answer.
    pub(super) fn answer(&self, head: &Head<'_>, out: &mut Vec<u8>) -> Delivery {
        let decision = self.decide(head);
        let action = decision.action;
        let noted = self.log.note(&decision, action.status());
        self.write(&decision, head.close, out);
        let slow = if action == Action::Slow {
            SLOW
        } else {
            Duration::ZERO
        };
        Delivery {
            after: self.latency() + slow,
            then: match action {
                Action::Drop | Action::Half => Then::Close,
                Action::Reset => Then::Reset,
                Action::Stall => Then::Stall,
                _ if head.close || !noted => Then::Close,
                _ => Then::GoOn,
            },
        }
    }

    fn latency(&self) -> Duration {
        let (least, most) = (*self.options.latency.start(), *self.options.latency.end());
        let range = most.saturating_sub(least);
        if range.is_zero() {
            return least;
        }
        let nth = self.answers.fetch_add(1, Ordering::Relaxed);
        least + range.mul_f64(dice(self.options.seed, nth).f64())
    }

    fn decide(&self, head: &Head<'_>) -> Decision {
        let lane = lane(head.path);
        let (key, phone) = (value(head.query, "api_key"), value(head.query, "phone_no"));
        let number = lane.and_then(|lane| number(lane, &phone));
        let right_key = |right: &SecretString| key == right.expose_secret();
        let action = if lane.is_none() {
            Action::http(404)
        } else if key.is_empty() || phone.is_empty() {
            Action::Missing
        } else if !self.options.key.as_ref().is_none_or(right_key) {
            Action::KeyRefused
        } else if let (Some(lane), Some(number)) = (lane, number) {
            return self.decide_for(lane, number, &value(head.query, "otp"));
        } else {
            Action::InvalidPhone
        };
        Decision {
            lane,
            number,
            n: 0,
            action,
            accepted: false,
        }
    }

    fn decide_for(&self, lane: Lane, number: Number, code: &str) -> Decision {
        let magic = magic::find(number);
        let counted = magic.is_some() || self.log.is_on() || !self.options.faults.is_empty();
        let mut memory = lock(&self.memory);
        let n = if counted {
            memory.count(lane, number)
        } else {
            0
        };
        let action = match magic {
            Some(magic) => magic.action(n),
            None => self.options.faults.draw(self.options.seed, lane, number, n),
        };
        let action = match (action, lane) {
            (Action::WrongCode | Action::Expired, Lane::Sms | Lane::Call) => Action::Ok,
            _ => action,
        };
        let mut accepted = action.accepts();
        if lane == Lane::Verify {
            accepted = accepted && code == code_of(number) && !memory.is_used(number);
            if accepted {
                memory.use_code(number);
            }
        } else if accepted {
            memory.renew_code(number);
        }
        drop(memory);
        Decision {
            lane: Some(lane),
            number: Some(number),
            n,
            action: if action == Action::Ok && !accepted {
                Action::WrongCode
            } else {
                action
            },
            accepted,
        }
    }

    /// The answer's bytes, if any.
    fn write(&self, decision: &Decision, close: bool, out: &mut Vec<u8>) {
        let (status, message) = self.words(decision);
        let json = format!(r#"{{"status":"{status}","message":"{message}"}}"#);
        let (content_type, body) = match decision.action {
            Action::Drop | Action::Reset | Action::Stall => return,
            Action::Http {
                status,
                retry_after_s,
            } => return write_status(out, status, retry_after_s, close),
            Action::Garbage => (JSON, b"\xff\xfe\x00\x9cok?\x80".to_vec()),
            Action::Html => (HTML, b"<html><body>Welcome</body></html>".to_vec()),
            Action::Huge => (JSON, (" ".repeat(HUGE_BYTES - json.len()) + &json).into()),
            Action::Xml => (
                "text/xml",
                format!(
                    "<response><status>{status}</status><message>{message}</message></response>"
                )
                .into(),
            ),
            Action::Capitals => {
                let status = status.to_ascii_uppercase();
                let json = format!(r#"{{"message":"{message}","status":"{status}"}}"#);
                (JSON, json.into())
            }
            Action::TextHtml => ("text/html; charset=UTF-8", json.into()),
            _ => (JSON, json.into()),
        };
        write_head(out, 200, content_type, body.len(), "", close);
        let half = decision.action == Action::Half;
        let sent = if half { body.len() / 2 } else { body.len() };
        out.extend_from_slice(&body[..sent]);
    }

    /// What the gateway says: the status word and the message.
    fn words(&self, decision: &Decision) -> (&'static str, Cow<'static, str>) {
        let (status, message) = match (decision.action, decision.lane) {
            (Action::Missing, _) => ("Error", "API key or Phone Number Missing"),
            (Action::KeyRefused, _) => ("Error", "Authentication Error"),
            (Action::InvalidPhone, _) => ("Error", "Invalid phone number"),
            (Action::Rejected, _) => ("Error", "This number cannot be reached"),
            (Action::Failure, _) => ("failure", "This number cannot be reached"),
            (Action::Expired, _) => ("Error", "Your Mobile Number OTP code has expired"),
            (Action::Throttle, _) => ("Error", "Already request is in progress, please try again."),
            (_, Some(Lane::Sms)) => {
                let nth = self.references.fetch_add(1, Ordering::Relaxed);
                return ("success", format!("SM8{nth:08}").into());
            }
            (_, Some(Lane::Call)) => {
                let digits = decision.number.map_or(0, Number::digits);
                return ("queued", digits.to_string().into());
            }
            _ if decision.accepted => ("success", "Your Mobile Number OTP code is verified!"),
            _ => ("Error", "Your Mobile Number OTP code verification failed"),
        };
        (status, message.into())
    }
}

/// What a query says under a name, the last time if several; empty where it says nothing.
fn value<'q>(query: &'q str, name: &str) -> Cow<'q, str> {
    let pairs = form_urlencoded::parse(query.as_bytes());
    let values = pairs.filter(|(named, _)| named == name);
    values.last().map(|(_, value)| value).unwrap_or_default()
}

fn lane(path_given: &str) -> Option<Lane> {
    let name = path_given.strip_prefix(BASE)?.strip_prefix('/')?;
    Lane::ALL.into_iter().find(|lane| name == path(*lane))
}

/// `+` and the digits with the country code; a call wants the bare ten digits of an Indian number.
fn number(lane: Lane, phone: &str) -> Option<Number> {
    const TEN_DIGITS: std::ops::RangeInclusive<u64> = 1_000_000_000..=9_999_999_999;
    const INDIA: u64 = 910_000_000_000;
    let international = phone.starts_with('+');
    let digits = phone.strip_prefix('+').unwrap_or(phone);
    if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = digits.parse().ok()?;
    match lane {
        Lane::Call if international => {
            Number::new(digits).filter(|number| number.indian_national().is_none())
        }
        Lane::Call if TEN_DIGITS.contains(&digits) => Number::new(INDIA + digits),
        Lane::Sms | Lane::Verify if international => Number::new(digits),
        _ => None,
    }
}

/// The code that is sent to a number: its last six digits, read backwards.
fn code_of(number: Number) -> String {
    const CODE_DIGITS: usize = 6;
    let digits = number.digits().to_string();
    digits.chars().rev().take(CODE_DIGITS).collect()
}

/// An answer that is all status. A redirect leads to a path that is not there.
pub(super) fn write_status(out: &mut Vec<u8>, status: u16, retry_after_s: u8, close: bool) {
    let mut extra = String::new();
    if retry_after_s > 0 {
        extra = format!("Retry-After: {retry_after_s}\r\n");
    }
    let mut body = format!("<html><body><h1>{status}</h1></body></html>");
    if (300..400).contains(&status) {
        extra.push_str("Location: /elsewhere\r\n");
        body.clear();
    }
    write_head(out, status, HTML, body.len(), &extra, close);
    out.extend_from_slice(body.as_bytes());
}

/// `extra` is empty or whole header lines.
fn write_head(out: &mut Vec<u8>, status: u16, kind: &str, length: usize, extra: &str, close: bool) {
    let connection = if close { "Connection: close\r\n" } else { "" };
    // A write to a Vec cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status} Sandbox\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
         {extra}{connection}\r\n",
    );
}
