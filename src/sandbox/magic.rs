//! The magic numbers: one table, which the program, its help and the tests share.

use super::action::Action;
use crate::number::Number;
use crate::status::Status;

/// All magic numbers are `+91 99999 000NN`.
const FIRST: u64 = 919_999_900_000;

/// A number with which the sandbox always does the same.
#[derive(Clone, Copy, Debug)]
pub struct Magic {
    /// The E.164 digits: `919999900001`.
    pub digits: u64,
    /// What happens to its first request on an endpoint, to its second, and so on; the last goes
    /// on for ever.
    pub script: &'static [Action],
    /// The same in words.
    pub does: &'static str,
    /// What becomes of its row in `send` with default settings.
    pub sends: Status,
    /// What becomes of its row in `verify` with default settings and the right code.
    pub verifies: Status,
}

impl Magic {
    /// `+919999900001`
    #[must_use]
    pub fn e164(&self) -> String {
        format!("+{}", self.digits)
    }

    /// What happens to its `n`th request on an endpoint.
    pub(super) fn action(&self, n: u32) -> Action {
        let nth = usize::try_from(n.saturating_sub(1)).unwrap_or(usize::MAX);
        let last = self.script.last().copied().unwrap_or(Action::Ok);
        self.script.get(nth).copied().unwrap_or(last)
    }
}

const fn http(status: u16) -> Action {
    Action::http(status)
}

/// A row of the table: the number's last two digits, and so on.
const fn row(
    nn: u64,
    script: &'static [Action],
    sends: Status,
    verifies: Status,
    does: &'static str,
) -> Magic {
    Magic {
        digits: FIRST + nn,
        script,
        does,
        sends,
        verifies,
    }
}

/// A row for each verdict that a client has to know. Where a status stops the campaign (`pending`)
/// or may mean a wrong endpoint (404, 302: `pending` too while nothing else has come back), it is
/// the row of this number alone that the table speaks of.
#[rustfmt::skip]
static MAGIC: [Magic; 34] = {
    use Action::{
        Capitals, Drop, Expired, Failure, Garbage, Half, Html, Http, Huge, KeyRefused, Missing, Ok,
        Reset, Slow, Stall, TextHtml, Throttle, WrongCode, Xml,
    };
    use Status::{Failed, NotVerified, Pending, Rejected, Sent, Unknown, Verified};
    [
        row(1, &[Action::Rejected], Rejected, Rejected, "an Error the API does not document"),
        row(2, &[Missing], Rejected, Rejected, "Error, \"API key or Phone Number Missing\""),
        row(3, &[Failure], Rejected, Rejected, "the status word failure instead of Error"),
        row(4, &[http(404)], Rejected, Rejected, "HTTP 404"),
        row(5, &[http(302)], Rejected, Rejected, "HTTP 302 to another path"),
        row(6, &[KeyRefused], Pending, Pending, "Error, \"Authentication Error\": the campaign stops"),
        row(7, &[http(401)], Pending, Pending, "HTTP 401: the campaign stops"),
        row(8, &[http(403)], Pending, Pending, "HTTP 403: the campaign stops"),
        row(10, &[Throttle, Ok], Sent, Verified, "\"please try again\" in a 200, once"),
        row(11, &[http(408), Ok], Sent, Verified, "HTTP 408 once"),
        row(12, &[Http { status: 429, retry_after_s: 2 }, Ok], Sent, Verified, "HTTP 429 with Retry-After: 2, once"),
        row(13, &[http(503), Ok], Sent, Verified, "HTTP 503 once"),
        row(14, &[http(500), Ok], Sent, Verified, "HTTP 500 once"),
        row(15, &[http(502), Ok], Sent, Verified, "HTTP 502 once"),
        row(20, &[http(429)], Failed, Failed, "HTTP 429 with Retry-After: 1, always"),
        row(21, &[http(503)], Failed, Failed, "HTTP 503 always"),
        row(22, &[http(500)], Failed, Failed, "HTTP 500 always"),
        row(23, &[http(502)], Failed, Failed, "HTTP 502 always"),
        row(24, &[Throttle], Failed, Failed, "\"please try again\" in a 200, always"),
        row(30, &[http(504)], Unknown, Unknown, "accepted, and HTTP 504"),
        row(31, &[Drop], Unknown, Unknown, "accepted, and the connection closed without a byte"),
        row(32, &[Reset], Unknown, Unknown, "accepted, and the connection reset"),
        row(33, &[Half], Unknown, Unknown, "accepted, and half an answer"),
        row(34, &[Stall], Unknown, Unknown, "accepted, and silence until the client gives up"),
        row(35, &[Garbage], Unknown, Unknown, "accepted, and bytes that are no text"),
        row(36, &[Html], Unknown, Unknown, "accepted, and a 200 with a page of HTML"),
        row(37, &[Huge], Unknown, Unknown, "accepted, and a body of 1 MiB"),
        row(38, &[Xml], Unknown, Unknown, "accepted, and an answer in XML"),
        row(40, &[Slow], Sent, Verified, "the right answer after 3 s"),
        row(41, &[Capitals], Sent, Verified, "the right answer, its status word in capitals"),
        row(42, &[TextHtml], Sent, Verified, "the right answer as text/html"),
        row(50, &[Expired], Sent, Rejected, "the OTP is sent; to verify, its code has expired"),
        row(51, &[WrongCode], Sent, NotVerified, "the OTP is sent; to verify, any code is wrong"),
        row(99, &[Ok], Sent, Verified, "nothing unusual, whatever the faults"),
    ]
};

/// The magic numbers, in ascending order.
#[must_use]
pub fn magic_numbers() -> &'static [Magic] {
    &MAGIC
}

/// The magic number with these digits.
pub(super) fn find(number: Number) -> Option<&'static Magic> {
    let digits = number.digits();
    MAGIC.iter().find(|magic| magic.digits == digits)
}
