//! HTTP/1.1 by hand, as far as a gateway for GET requests needs it: one connection's conversation.
//!
//! Everything a peer sends is bounded and untrusted. Bodies are not read, chunked coding is not
//! spoken; requests may come in pieces or several at once.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::answers::Gateway;

/// The longest head of a request.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a stalled connection says nothing, at most.
pub(super) const STALL_MAX: Duration = Duration::from_mins(2);
/// A buffer of the usual size; more is given back after use.
const BUFFER_BYTES: usize = 2 * 1024;

/// What happens to the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// The next request may come.
    GoOn,
    Close,
    Reset,
    Stall,
}

/// How an answer, whose bytes are in the buffer, is to be given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Delivery {
    pub(super) after: Duration,
    pub(super) then: Then,
}

/// The parts of a request's head that matter here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) path: &'a [u8],
    pub(super) query: &'a [u8],
    /// The client wants the connection closed after the answer.
    pub(super) close: bool,
}

/// The HTTP status with which a request that is not even looked at is refused.
type Refusal = u16;

const BAD_REQUEST: Refusal = 400;
const METHOD_NOT_ALLOWED: Refusal = 405;
const HEAD_TOO_LARGE: Refusal = 431;
const VERSION_NOT_SUPPORTED: Refusal = 505;

impl<'a> Head<'a> {
    /// Reads a head that ends with its empty line.
    pub(super) fn parse(head: &'a [u8]) -> Result<Self, Refusal> {
        let (line, mut headers) = split_at_line_end(head).ok_or(BAD_REQUEST)?;
        let mut words = line.split(|byte| *byte == b' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(BAD_REQUEST);
        };
        let mut close = match version {
            b"HTTP/1.1" => false,
            b"HTTP/1.0" => true,
            _ if version.starts_with(b"HTTP/") => return Err(VERSION_NOT_SUPPORTED),
            _ => return Err(BAD_REQUEST),
        };
        if method != b"GET" {
            return Err(METHOD_NOT_ALLOWED);
        }
        while let Some((header, rest)) = split_at_line_end(headers) {
            headers = rest;
            if header.is_empty() {
                break;
            }
            let colon = header.iter().position(|byte| *byte == b':');
            let (name, value) = header.split_at(colon.ok_or(BAD_REQUEST)?);
            let value = value[1..].trim_ascii();
            if name.eq_ignore_ascii_case(b"connection") {
                let mut options = value.split(|byte| *byte == b',');
                close |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
            } else if name.eq_ignore_ascii_case(b"transfer-encoding")
                || name.eq_ignore_ascii_case(b"content-length") && value != b"0"
            {
                return Err(BAD_REQUEST);
            }
        }
        let mark = target.iter().position(|byte| *byte == b'?');
        let (path, query) = mark.map_or((target, &[][..]), |at| (&target[..at], &target[at + 1..]));
        Ok(Self { path, query, close })
    }
}

fn split_at_line_end(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = text.windows(2).position(|two| two == b"\r\n")?;
    Some((&text[..end], &text[end + 2..]))
}

/// Answers requests until one side closes the connection; an error means that the client did.
pub(super) async fn converse(mut stream: TcpStream, gateway: &Gateway) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut inbox = Vec::with_capacity(BUFFER_BYTES);
    let mut outbox = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let parsed = match next_head(&mut stream, &mut inbox).await? {
            Arrived::Nothing => return Ok(()),
            Arrived::TooMuch => Err(HEAD_TOO_LARGE),
            Arrived::Head(length) => Head::parse(&inbox[..length])
                .map(|head| (length, gateway.answer(&head, &mut outbox))),
        };
        let (length, delivery) = match parsed {
            Ok(answered) => answered,
            Err(refusal) => return refuse(stream, refusal, outbox).await,
        };
        inbox.drain(..length);
        if !delivery.after.is_zero() {
            sleep(delivery.after).await;
        }
        if !outbox.is_empty() {
            stream.write_all(&outbox).await?;
        }
        outbox.clear();
        outbox.shrink_to(BUFFER_BYTES);
        match delivery.then {
            Then::GoOn => {}
            Then::Close => return Ok(()),
            Then::Reset => return stream.set_zero_linger(),
            Then::Stall => {
                let mut ears = tokio::io::sink();
                let listening = tokio::io::copy(&mut stream, &mut ears);
                return timeout(STALL_MAX, listening).await?.map(drop);
            }
        }
    }
}

/// What came in.
enum Arrived {
    /// A head of this length stands at the beginning of the buffer.
    Head(usize),
    /// More than a head may be, and it does not end.
    TooMuch,
    /// The client is done.
    Nothing,
}

async fn next_head(stream: &mut TcpStream, inbox: &mut Vec<u8>) -> io::Result<Arrived> {
    const END: &[u8] = b"\r\n\r\n";
    let mut searched = 0;
    loop {
        let from = usize::saturating_sub(searched, END.len() - 1);
        if let Some(at) = inbox[from..]
            .windows(END.len())
            .position(|four| four == END)
        {
            return Ok(Arrived::Head(from + at + END.len()));
        }
        searched = inbox.len();
        if searched >= HEAD_BYTES_MAX {
            return Ok(Arrived::TooMuch);
        }
        if stream.read_buf(inbox).await? == 0 {
            return Ok(Arrived::Nothing);
        }
    }
}

/// Says why, and closes: first the writing side, or bytes of the client that are still unread
/// would reset the connection before the answer.
async fn refuse(mut stream: TcpStream, refusal: Refusal, mut outbox: Vec<u8>) -> io::Result<()> {
    super::answers::write_status(&mut outbox, refusal, 0, true);
    stream.write_all(&outbox).await?;
    stream.shutdown().await
}

/// Decodes a value of a query: `%2B` is a plus, a plus is a space, any other byte is itself.
pub(super) fn decoded(value: &[u8]) -> impl Iterator<Item = u8> + Clone + '_ {
    let mut rest = value;
    std::iter::from_fn(move || {
        let (byte, used) = match rest {
            [] => return None,
            [b'%', high, low, ..] => match (hex_digit(*high), hex_digit(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [b'+', ..] => (b' ', 1),
            [byte, ..] => (*byte, 1),
        };
        rest = &rest[used..];
        Some(byte)
    })
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}
