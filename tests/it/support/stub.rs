//! A gateway that answers by a script and remembers every request. It shares no code with the
//! program's own sandbox, so that a mistake there cannot hide one here.

use std::collections::{HashMap, VecDeque};
use std::net::{SocketAddr, TcpListener};
use std::ops::Deref;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::wire::{Line, Wire};
pub use super::wire::{Request, url};

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

type Default = Box<dyn FnMut(usize, &Request) -> Reply + Send>;

struct State {
    scripts: HashMap<(String, String), VecDeque<Reply>>,
    default: Default,
    held: bool,
    in_flight: usize,
    in_flight_max: usize,
}

struct Shared {
    state: Mutex<State>,
    released: Condvar,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gateway; it ends when it is dropped.
pub struct Stub {
    wire: Wire,
    shared: Arc<Shared>,
}

/// Its log is the wire's.
impl Deref for Stub {
    type Target = Wire;

    fn deref(&self) -> &Wire {
        &self.wire
    }
}

impl Stub {
    /// A gateway that accepts everything.
    pub fn start() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    /// The same on an address that was reserved.
    pub fn at(address: SocketAddr) -> Self {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                scripts: HashMap::new(),
                default: Box::new(|_, request| match request.endpoint.as_str() {
                    "callotp" => Reply::said(200, "queued", "CA7"),
                    _ => Reply::success(),
                }),
                held: false,
                in_flight: 0,
                in_flight_max: 0,
            }),
            released: Condvar::new(),
        });
        let served = Arc::clone(&shared);
        let wire = Wire::at(address, move |line| serve(&served, line));
        Self { wire, shared }
    }

    /// An address at which nothing listens, for now.
    pub fn nowhere() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
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
        self.shared.released.notify_all();
    }

    /// Waits until so many requests have been answered in all.
    pub fn wait_for_answers(&self, answers: usize) {
        super::wait_until("the answers were sent", || {
            let log = self.log();
            log.iter().filter(|r| r.answered_at.is_some()).count() >= answers
        });
    }

    /// The most requests that were waiting for an answer at once.
    pub fn in_flight_max(&self) -> usize {
        self.shared.state().in_flight_max
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.release();
    }
}

/// One connection, request after request.
fn serve(shared: &Shared, line: &mut Line) {
    while let Some(request) = line.glimpse() {
        let reply = {
            let mut state = shared.state();
            state.in_flight += 1;
            state.in_flight_max = state.in_flight_max.max(state.in_flight);
            let key = (request.endpoint.clone(), request.number.clone());
            let scripted = state.scripts.get_mut(&key).and_then(VecDeque::pop_front);
            let reply = match scripted {
                Some(reply) => reply,
                None => (state.default)(request.nth, &request),
            };
            let is_held = |state: &mut State| state.held;
            let mut state = shared.released.wait_while(state, is_held).unwrap();
            state.in_flight -= 1;
            reply
        };
        if reply.manner == Manner::Reset {
            // What was received and not read makes the system reset the connection.
            return;
        }
        line.take();
        match reply.manner {
            Manner::Drop => return,
            Manner::Silent => return line.wait_for_close(),
            Manner::Whole | Manner::HalfBody | Manner::Reset => {}
        }
        let (status, length) = (reply.status, reply.body.len());
        let headers = format!("content-length: {length}\r\n{}", reply.headers);
        let is_whole = reply.manner == Manner::Whole;
        let said = &reply.body[..if is_whole { length } else { length / 2 }];
        line.note_answer(&request);
        if !line.say(format!("HTTP/1.1 {status} X\r\n{headers}\r\n{said}")) || !is_whole {
            return;
        }
    }
}
