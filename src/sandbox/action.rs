//! What the sandbox can do with a request, each behaviour with its one name.

use std::fmt;

/// What the sandbox does with one request: the behaviour of a magic number, of a fault, and what
/// the request log calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Does what was asked and says so.
    Ok,
    /// Answers with this HTTP status and a page of HTML.
    Http {
        /// 300 to 599.
        status: u16,
        /// The header `Retry-After`, in seconds; 0: none.
        retry_after_s: u8,
    },
    /// A 200 that says "try again".
    Throttle,
    /// A 200 that says that the key is wrong.
    KeyRefused,
    /// A 200 that says that the key or the number is missing.
    Missing,
    /// A 200 that says that the number cannot be read.
    InvalidPhone,
    /// A 200 that says that the gateway will not do it for this number.
    Rejected,
    /// The same with the word `failure` instead of `Error`.
    Failure,
    /// The code is wrong, or used up.
    WrongCode,
    /// The code was right once.
    Expired,
    /// Does it, and closes without a byte.
    Drop,
    /// Does it, and resets the connection.
    Reset,
    /// Does it, and closes after half the answer.
    Half,
    /// Does it, and says nothing until the client gives up.
    Stall,
    /// Does it, and answers after [`SLOW`](super::SLOW).
    Slow,
    /// Does it, and answers with bytes that are no text.
    Garbage,
    /// Does it, and answers with a page of HTML.
    Html,
    /// Does it, and answers with a body of [`HUGE_BYTES`](super::HUGE_BYTES).
    Huge,
    /// Does it, and says so in XML.
    Xml,
    /// Does it, and says so with the status word in capitals.
    Capitals,
    /// Does it, and says so in JSON that is announced as `text/html`.
    TextHtml,
}

/// Every action that has a name; the rest are HTTP statuses.
const NAMES: [(&str, Action); 20] = [
    ("ok", Action::Ok),
    ("throttle", Action::Throttle),
    ("drop", Action::Drop),
    ("reset", Action::Reset),
    ("half", Action::Half),
    ("stall", Action::Stall),
    ("slow", Action::Slow),
    ("garbage", Action::Garbage),
    ("html", Action::Html),
    ("huge", Action::Huge),
    ("xml", Action::Xml),
    ("capitals", Action::Capitals),
    ("text_html", Action::TextHtml),
    ("rejected", Action::Rejected),
    ("failure", Action::Failure),
    ("missing", Action::Missing),
    ("key_refused", Action::KeyRefused),
    ("invalid_phone", Action::InvalidPhone),
    ("wrong_code", Action::WrongCode),
    ("expired", Action::Expired),
];

impl Action {
    /// An answer with this HTTP status; a 429 says `Retry-After: 1`.
    #[must_use]
    pub const fn http(status: u16) -> Self {
        let retry_after_s = if status == 429 { 1 } else { 0 };
        Self::Http {
            status,
            retry_after_s,
        }
    }

    /// The action that [`names`](Self::names) lists under this name, or that an HTTP status names.
    /// (`ok` is no fault, and has no name here.)
    #[must_use]
    pub fn fault(name: &str) -> Option<Self> {
        if let Ok(status @ 300..=599) = name.parse() {
            return Some(Self::http(status));
        }
        let (_, action) = NAMES[1..].iter().find(|(known, _)| *known == name)?;
        Some(*action)
    }

    /// What a fault may be called, for messages and help.
    #[must_use]
    pub fn names() -> String {
        let named: Vec<_> = NAMES[1..].iter().map(|(name, _)| *name).collect();
        format!("an HTTP status from 300 to 599, {}", named.join(", "))
    }

    /// Does the gateway do what was asked, whatever it then says? A 504 counts: of all that may
    /// have happened, a client has to expect the worst.
    #[must_use]
    pub fn accepts(self) -> bool {
        match self {
            Self::Http { status, .. } => status == 504,
            Self::Throttle
            | Self::KeyRefused
            | Self::Missing
            | Self::InvalidPhone
            | Self::Rejected
            | Self::Failure
            | Self::WrongCode
            | Self::Expired => false,
            _ => true,
        }
    }

    /// The HTTP status that goes over the wire; 0 when none does.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Http { status, .. } => status,
            Self::Drop | Self::Reset | Self::Stall => 0,
            _ => 200,
        }
    }
}

/// The name, as in faults and in the log.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Http { status, .. } = self {
            return write!(f, "{status}");
        }
        let name = NAMES.iter().find(|(_, action)| action == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}
