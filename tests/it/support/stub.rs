//! A gateway that answers by a script and remembers every request. It shares no code with the
//! program's own sandbox, so that a mistake there cannot hide one here.

use std::collections::{HashMap, VecDeque};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::SOON;

/// What is sent back, and how.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: String,
    body: String,
    manner: Manner,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Whole,
    /// The head and half of the body, then the end.
    HalfBody,
    /// The request is read, then the connection ends.
    Drop,
    /// The connection is reset.
    Reset,
    /// Nothing is ever said.
    Silent,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            headers: String::new(),
            body: body.into(),
            manner: Manner::Whole,
        }
    }

    pub fn said(status: u16, word: &str, message: &str) -> Self {
        Self::new(
            status,
            format!(r#"{{"status":"{word}","message":"{message}"}}"#),
        )
    }

    pub fn success() -> Self {
        Self::said(200, "success", "SM81")
    }

    pub fn error(message: &str) -> Self {
        Self::said(200, "Error", message)
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers = format!("{}{name}: {value}\r\n", self.headers);
        self
    }

    pub fn half_body(mut self) -> Self {
        self.manner = Manner::HalfBody;
        self
    }

    pub fn dropped() -> Self {
        Self {
            manner: Manner::Drop,
            ..Self::new(200, "")
        }
    }

    pub fn reset() -> Self {
        Self {
            manner: Manner::Reset,
            ..Self::new(200, "")
        }
    }

    pub fn silence() -> Self {
        Self {
            manner: Manner::Silent,
            ..Self::new(200, "")
        }
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    pub at: Instant,
    /// When its answer was sent.
    pub answered_at: Option<Instant>,
    /// `smsotp`, `callotp`, `verifyotp`.
    pub endpoint: String,
    /// The request line's target, as it stood there.
    pub target: String,
    /// The head without the request line, in lower case.
    pub headers: String,
    /// `+919876500001`, whatever the form on the wire.
    pub number: String,
    pub otp: String,
}

type Default = Box<dyn FnMut(usize, &Request) -> Reply + Send>;

struct State {
    scripts: HashMap<(String, String), VecDeque<Reply>>,
    default: Default,
    log: Vec<Request>,
    held: bool,
    in_flight: usize,
    in_flight_max: usize,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    closed: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gateway; it ends when it is dropped.
pub struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Stub {
    /// A gateway that accepts everything.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    /// The same on an address that was reserved.
    pub fn at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                scripts: HashMap::new(),
                default: Box::new(|_, request| match request.endpoint.as_str() {
                    "callotp" => Reply::said(200, "queued", "CA7"),
                    _ => Reply::success(),
                }),
                log: Vec::new(),
                held: false,
                in_flight: 0,
                in_flight_max: 0,
            }),
            changed: Condvar::new(),
            closed: AtomicBool::new(false),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if shared.closed.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    std::thread::spawn(move || serve(&shared, stream.unwrap()));
                }
            })
        };
        Self {
            address,
            shared,
            acceptor: Some(acceptor),
        }
    }

    /// An address at which nothing listens, for now.
    pub fn nowhere() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    }

    pub fn url(&self) -> String {
        url(self.address)
    }

    /// These answers, in turn, to requests for this number on this endpoint; after them the
    /// default's.
    pub fn script(&self, endpoint: &str, number: &str, replies: impl IntoIterator<Item = Reply>) {
        let key = (endpoint.to_owned(), number.to_owned());
        let replies = replies.into_iter().collect();
        self.shared.state().scripts.insert(key, replies);
    }

    /// Answers everything without a script; it is told how many requests there were before.
    pub fn default(&self, reply: impl FnMut(usize, &Request) -> Reply + Send + 'static) {
        self.shared.state().default = Box::new(reply);
    }

    /// Answers everything without a script in the same way.
    pub fn always(&self, reply: Reply) {
        self.default(move |_, _| reply.clone());
    }

    /// Keeps all answers back until [`Stub::release`].
    pub fn hold(&self) {
        self.shared.state().held = true;
    }

    pub fn release(&self) {
        self.shared.state().held = false;
        self.shared.changed.notify_all();
    }

    /// Waits until so many requests have arrived in all.
    pub fn wait_for(&self, requests: usize) {
        let state = self.shared.state();
        let (state, timeout) = self
            .shared
            .changed
            .wait_timeout_while(state, SOON, |state| state.log.len() < requests)
            .unwrap();
        assert!(
            !timeout.timed_out(),
            "{} requests, not {requests}",
            state.log.len()
        );
    }

    /// Waits until so many requests have been answered in all.
    pub fn wait_for_answers(&self, answers: usize) {
        super::wait_until("the answers were sent", || {
            let log = self.log();
            log.iter().filter(|r| r.answered_at.is_some()).count() >= answers
        });
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.shared.state().log.clone()
    }

    /// How many requests so far.
    pub fn count(&self) -> usize {
        self.shared.state().log.len()
    }

    /// How many requests for this number.
    pub fn count_for(&self, number: &str) -> usize {
        self.log().iter().filter(|r| r.number == number).count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.shared.state().log.clear();
    }

    /// The most requests that were waiting for an answer at once.
    pub fn in_flight_max(&self) -> usize {
        self.shared.state().in_flight_max
    }
}

pub fn url(address: SocketAddr) -> String {
    format!("http://{address}/api/v1/TwoFactor")
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.release();
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// One connection, request after request.
fn serve(shared: &Shared, mut stream: TcpStream) {
    stream
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    stream.set_nodelay(true).unwrap();
    while let Some((head, length)) = next_head(shared, &stream) {
        let request = parse(&head);
        let (index, reply) = {
            let mut state = shared.state();
            let index = state.log.len();
            state.log.push(request.clone());
            state.in_flight += 1;
            state.in_flight_max = state.in_flight_max.max(state.in_flight);
            shared.changed.notify_all();
            let key = (request.endpoint.clone(), request.number.clone());
            let scripted = state.scripts.get_mut(&key).and_then(VecDeque::pop_front);
            let reply = match scripted {
                Some(reply) => reply,
                None => (state.default)(index, &request),
            };
            let mut state = shared
                .changed
                .wait_while(state, |state| state.held)
                .unwrap();
            state.in_flight -= 1;
            (index, reply)
        };
        if reply.manner == Manner::Reset {
            // What was received and not read makes the system reset the connection.
            return;
        }
        stream.read_exact(&mut vec![0; length]).unwrap();
        match reply.manner {
            Manner::Drop => return,
            Manner::Silent => {
                while !shared.closed.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(20));
                }
                return;
            }
            Manner::Whole | Manner::HalfBody | Manner::Reset => {}
        }
        let head = format!(
            "HTTP/1.1 {} X\r\ncontent-length: {}\r\n{}\r\n",
            reply.status,
            reply.body.len(),
            reply.headers
        );
        let whole = reply.manner == Manner::Whole;
        let body = if whole {
            &reply.body[..]
        } else {
            &reply.body[..reply.body.len() / 2]
        };
        if let Some(logged) = shared.state().log.get_mut(index) {
            logged.answered_at = Some(Instant::now());
        }
        let written = stream.write_all((head + body).as_bytes());
        if written.is_err() || !whole {
            let _ = stream.shutdown(Shutdown::Write);
            return;
        }
    }
}

/// Looks at the next request's head without taking it off the connection.
fn next_head(shared: &Shared, stream: &TcpStream) -> Option<(String, usize)> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        match stream.peek(&mut bytes) {
            Ok(0) => return None,
            Ok(length) => {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                if let Some(end) = text.find("\r\n\r\n") {
                    return Some((text[..end].to_owned(), end + 4));
                }
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(_) if shared.closed.load(Ordering::SeqCst) => return None,
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(_) => return None,
        }
    }
}

fn parse(head: &str) -> Request {
    let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("GET"), "{line}");
    let target = words.next().unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let value = |name: &str| {
        let found = query
            .split('&')
            .find_map(|p| p.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().replace("%2B", "+")
    };
    let number = match value("phone_no") {
        national if !national.starts_with('+') => format!("+91{national}"),
        international => international,
    };
    Request {
        at: Instant::now(),
        answered_at: None,
        endpoint: path.rsplit('/').next().unwrap_or_default().to_owned(),
        headers: headers.to_lowercase(),
        number,
        otp: value("otp"),
        target,
    }
}
