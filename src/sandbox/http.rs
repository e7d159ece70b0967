//! One connection of a server of HTTP/1.1, as far as a gateway for GET requests needs it.
//!
//! Everything a client sends is bounded and untrusted. Bodies are not read, chunked coding is not
//! spoken; requests may come in pieces or several at once.

use std::io;
use std::time::Duration;

use httparse::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::answers::{Gateway, write_status};

/// The longest head of a request, and the most headers in it.
pub(super) const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// How long a stalled connection is kept open at most.
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
#[derive(Debug)]
pub(super) struct Head<'a> {
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    /// The client wants the connection closed after the answer.
    pub(super) close: bool,
    length: usize,
}

/// The HTTP status with which a request that is not even looked at is refused.
type Refusal = u16;

const BAD_REQUEST: Refusal = 400;
const METHOD_NOT_ALLOWED: Refusal = 405;
const HEAD_TOO_LARGE: Refusal = 431;
const VERSION_NOT_SUPPORTED: Refusal = 505;

impl<'a> Head<'a> {
    /// The head that the text begins with; `None` while it is not complete.
    fn parse(text: &'a [u8]) -> Result<Option<Self>, Refusal> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut headers);
        let length = match request.parse(text) {
            Ok(Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
            Ok(Status::Partial) if text.len() < HEAD_BYTES_MAX => return Ok(None),
            Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(HEAD_TOO_LARGE),
            Err(httparse::Error::Version) => return Err(VERSION_NOT_SUPPORTED),
            Err(_) => return Err(BAD_REQUEST),
        };
        if request.method != Some("GET") {
            return Err(METHOD_NOT_ALLOWED);
        }
        let mut close = request.version == Some(0);
        for header in request.headers {
            let is = |name| header.name.eq_ignore_ascii_case(name);
            if is("connection") {
                let mut options = header.value.split(|byte| *byte == b',');
                close |= options.any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"));
            } else if is("transfer-encoding") || is("content-length") && header.value != b"0" {
                return Err(BAD_REQUEST);
            }
        }
        let target = request.path.unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        Ok(Some(Self {
            path,
            query,
            close,
            length,
        }))
    }
}

/// Answers requests until one side closes the connection; an error means that the client did.
pub(super) async fn converse(mut stream: TcpStream, gateway: &Gateway) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut inbox = Vec::with_capacity(BUFFER_BYTES);
    let mut outbox = Vec::with_capacity(BUFFER_BYTES);
    loop {
        let head = match Head::parse(&inbox) {
            Ok(Some(head)) => head,
            Ok(None) => match stream.read_buf(&mut inbox).await? {
                0 if inbox.is_empty() => return Ok(()),
                0 => return refuse(stream, BAD_REQUEST).await,
                _ => continue,
            },
            Err(refusal) => return refuse(stream, refusal).await,
        };
        let delivery = gateway.answer(&head, &mut outbox);
        let length = head.length;
        inbox.drain(..length);
        if !delivery.after.is_zero() {
            sleep(delivery.after).await;
        }
        stream.write_all(&outbox).await?;
        outbox.clear();
        outbox.shrink_to(BUFFER_BYTES);
        match delivery.then {
            Then::GoOn => {}
            Then::Close => return Ok(()),
            Then::Reset => return stream.set_zero_linger(),
            Then::Stall => {
                let mut ignored = tokio::io::sink();
                let reading = tokio::io::copy(&mut stream, &mut ignored);
                return timeout(STALL_MAX, reading).await?.map(drop);
            }
        }
    }
}

/// Says why, and closes: first the writing side, or bytes of the client that are still unread
/// would reset the connection before the answer.
async fn refuse(mut stream: TcpStream, refusal: Refusal) -> io::Result<()> {
    let mut answer = Vec::new();
    write_status(&mut answer, refusal, 0, true);
    stream.write_all(&answer).await?;
    stream.shutdown().await
}
