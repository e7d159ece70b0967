//! The provider's two-factor API: what a request asks for, what is done about it, and in which words.

use std::borrow::Cow;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::Options;
use super::action::Action;
use super::faults::dice;
use super::http::{Delivery, Head, Then, decoded};
use super::log::{Log, Request, lock};
use super::magic;
use super::memory::Memory;
use crate::outcome::{Lane, Number};

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
    pub(super) log: Arc<Log>,
    memory: Mutex<Memory>,
    /// How many answers there were, and how many references were given.
    answers: AtomicU64,
    references: AtomicU64,
}

/// What a query says, still encoded; empty where it says nothing.
#[derive(Default)]
struct Query<'a> {
    key: &'a [u8],
    phone: &'a [u8],
    code: &'a [u8],
}

/// What is done about a request.
#[derive(Debug)]
struct Decision {
    lane: Option<Lane>,
    number: Option<Number>,
    n: u32,
    action: Action,
    accepted: bool,
}

impl Decision {
    fn refused(lane: Option<Lane>, number: Option<Number>, action: Action) -> Self {
        Self {
            lane,
            number,
            n: 0,
            action,
            accepted: false,
        }
    }
}

impl Gateway {
    pub(super) fn new(options: Options, log: Log) -> Self {
        Self {
            options,
            log: Arc::new(log),
            memory: Mutex::default(),
            answers: AtomicU64::new(0),
            references: AtomicU64::new(1),
        }
    }

    /// Does what the request asks for, or what goes wrong instead, and writes the answer.
    pub(super) fn answer(&self, head: &Head<'_>, out: &mut Vec<u8>) -> Delivery {
        let decision = self.decide(head);
        if self.log.is_on() {
            self.log.note(Request {
                at: self.log.now(),
                lane: decision.lane,
                number: decision.number,
                n: decision.n,
                action: decision.action,
                accepted: decision.accepted,
                status: decision.action.status(),
            });
        }
        self.write(&decision, head.close, out);
        let slow = if decision.action == Action::Slow {
            SLOW
        } else {
            Duration::ZERO
        };
        Delivery {
            after: self.latency() + slow,
            then: match decision.action {
                Action::Drop | Action::Half => Then::Close,
                Action::Reset => Then::Reset,
                Action::Stall => Then::Stall,
                _ if head.close => Then::Close,
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
        let Some(lane) = lane(head.path) else {
            return Decision::refused(None, None, Action::http(404));
        };
        let query = Query::read(head.query);
        let number = number(lane, query.phone);
        let refused = |action| Decision::refused(Some(lane), number, action);
        if query.key.is_empty() || query.phone.is_empty() {
            return refused(Action::Missing);
        }
        let right_key = |key: &SecretString| decoded(query.key).eq(key.expose_secret().bytes());
        if !self.options.key.as_ref().is_none_or(right_key) {
            return refused(Action::KeyRefused);
        }
        match number {
            Some(number) => self.decide_for(lane, number, query.code),
            None => refused(Action::InvalidPhone),
        }
    }

    fn decide_for(&self, lane: Lane, number: Number, code: &[u8]) -> Decision {
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
            accepted = accepted && decoded(code).eq(code_of(number)) && !memory.is_used(number);
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
        let said = self.words(decision);
        let (content_type, body) = match decision.action {
            Action::Drop | Action::Reset | Action::Stall => return,
            Action::Http {
                status,
                retry_after_s,
            } => return write_status(out, status, retry_after_s, close),
            Action::Garbage => (JSON, b"\xff\xfe\x00\x9cok?\x80".to_vec()),
            Action::Html => (HTML, b"<html><body>Welcome</body></html>".to_vec()),
            Action::Huge => (JSON, said.huge()),
            Action::Xml => ("text/xml", said.xml()),
            Action::Capitals => (JSON, said.json_in_capitals()),
            Action::TextHtml => ("text/html; charset=UTF-8", said.json()),
            _ => (JSON, said.json()),
        };
        write_head(out, 200, content_type, body.len(), "", close);
        let sent = if decision.action == Action::Half {
            body.len() / 2
        } else {
            body.len()
        };
        out.extend_from_slice(&body[..sent]);
    }

    fn words(&self, decision: &Decision) -> Words {
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
                return Words("success", format!("SM8{nth:08}").into());
            }
            (_, Some(Lane::Call)) => {
                let digits = decision.number.map_or(0, Number::digits);
                return Words("queued", digits.to_string().into());
            }
            _ if decision.accepted => ("success", "Your Mobile Number OTP code is verified!"),
            _ => ("Error", "Your Mobile Number OTP code verification failed"),
        };
        Words(status, message.into())
    }
}

impl<'a> Query<'a> {
    /// Of a name that stands there twice, the last counts.
    fn read(query: &'a [u8]) -> Self {
        let mut read = Self::default();
        for pair in query.split(|byte| *byte == b'&') {
            let at = pair.iter().position(|byte| *byte == b'=');
            let (name, value) = at.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
            match name {
                b"api_key" => read.key = value,
                b"phone_no" => read.phone = value,
                b"otp" => read.code = value,
                _ => {}
            }
        }
        read
    }
}

fn lane(path_given: &[u8]) -> Option<Lane> {
    let name = path_given
        .strip_prefix(BASE.as_bytes())?
        .strip_prefix(b"/")?;
    Lane::ALL
        .into_iter()
        .find(|lane| name == path(*lane).as_bytes())
}

/// `+` and the digits with the country code; a call wants the bare ten digits of an Indian number.
fn number(lane: Lane, phone: &[u8]) -> Option<Number> {
    const TEN_DIGITS: std::ops::RangeInclusive<u64> = 1_000_000_000..=9_999_999_999;
    const INDIA: u64 = 910_000_000_000;
    const DIGITS_MAX: usize = 15;
    let mut chars = decoded(phone).peekable();
    let international = chars.next_if_eq(&b'+').is_some();
    let mut digits = 0;
    for (at, byte) in chars.enumerate() {
        let leads = at == 0 && byte == b'0';
        if !byte.is_ascii_digit() || leads || at >= DIGITS_MAX {
            return None;
        }
        digits = digits * 10 + u64::from(byte - b'0');
    }
    match lane {
        Lane::Call if !international => TEN_DIGITS
            .contains(&digits)
            .then(|| Number::new(INDIA + digits))?,
        Lane::Call => Number::new(digits).filter(|number| number.indian_national().is_none()),
        Lane::Sms | Lane::Verify => Number::new(digits).filter(|_| international),
    }
}

/// The code that is sent to a number: its last six digits, read backwards.
fn code_of(number: Number) -> impl Iterator<Item = u8> {
    const CODE_DIGITS: usize = 6;
    std::iter::successors(Some(number.digits()), |rest| Some(rest / 10))
        .map(|rest| b'0' + u8::try_from(rest % 10).unwrap_or_default())
        .take(CODE_DIGITS)
}

/// What the gateway says, in whatever form: the status word and the message.
struct Words(&'static str, Cow<'static, str>);

impl Words {
    fn json(&self) -> Vec<u8> {
        let Self(status, message) = self;
        format!(r#"{{"status":"{status}","message":"{message}"}}"#).into()
    }

    fn json_in_capitals(&self) -> Vec<u8> {
        let status = self.0.to_ascii_uppercase();
        format!(r#"{{"message":"{}","status":"{status}"}}"#, self.1).into()
    }

    fn xml(&self) -> Vec<u8> {
        let Self(status, message) = self;
        format!("<response><status>{status}</status><message>{message}</message></response>").into()
    }

    /// The answer, but its words come last.
    fn huge(&self) -> Vec<u8> {
        let words = self.json();
        let mut body = vec![b' '; HUGE_BYTES - words.len()];
        body.extend_from_slice(&words);
        body
    }
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
