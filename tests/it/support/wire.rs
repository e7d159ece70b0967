//! A server that speaks bytes: what is said on each connection, and how it ends, is up to the test.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;

use super::{Counts, SOON};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// So many were logged before it.
    pub nth: usize,
    pub at: Instant,
    /// When its answer was sent, if the gateway notes that.
    pub answered_at: Option<Instant>,
    /// `smsotp`, `callotp`, `verifyotp`.
    pub endpoint: String,
    /// The request line's target, as it stood there.
    pub target: String,
    /// The whole head, as it arrived.
    pub head: String,
    /// The head without the request line, in lower case.
    pub headers: String,
    /// `+919876500001`, whatever the form on the wire.
    pub number: String,
    pub otp: String,
}

#[derive(Default)]
struct State {
    closed: AtomicBool,
    connections: AtomicUsize,
    /// The connections that are open.
    open: Mutex<HashMap<usize, TcpStream>>,
    log: Mutex<Vec<Request>>,
    arrived: Condvar,
}

impl State {
    fn log(&self) -> MutexGuard<'_, Vec<Request>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server; it ends, with its connections, when it is dropped.
pub struct Wire {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

impl Wire {
    /// Plays this on every connection, each on a thread of its own. When it returns, the
    /// connection is closed.
    pub fn start(play: impl Fn(&mut Line) + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", play)
    }

    /// The same on this address.
    pub fn at(
        address: impl ToSocketAddrs,
        play: impl Fn(&mut Line) + Send + Sync + 'static,
    ) -> Self {
        Self::on(TcpListener::bind(address).unwrap(), play)
    }

    /// The same for those who knock here.
    pub fn on(listener: TcpListener, play: impl Fn(&mut Line) + Send + Sync + 'static) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        let play = Arc::new(play);
        let acceptor = std::thread::spawn(move || {
            for socket in listener.incoming() {
                if shared.closed.load(Ordering::SeqCst) {
                    return;
                }
                let (state, play) = (Arc::clone(&shared), Arc::clone(&play));
                let mut line = Line::new(socket.unwrap(), state);
                std::thread::spawn(move || {
                    play(&mut line);
                    line.state.open.lock().unwrap().remove(&line.connection);
                });
            }
        });
        Self {
            address,
            state,
            acceptor: Some(acceptor),
        }
    }

    /// What a client takes for `--endpoint`.
    pub fn url(&self) -> String {
        url(self.address)
    }

    /// The same for a server that speaks TLS.
    pub fn https(&self) -> String {
        format!("https://localhost:{}/api/v1/TwoFactor", self.address.port())
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Request> {
        self.state.log().clone()
    }

    /// How many requests so far.
    pub fn count(&self) -> usize {
        self.state.log().len()
    }

    /// How many requests for this number.
    pub fn count_for(&self, number: &str) -> usize {
        self.state
            .log()
            .iter()
            .filter(|r| r.number == number)
            .count()
    }

    /// How many requests for each number.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::new();
        for request in self.state.log().iter() {
            *counts.entry(request.number.clone()).or_default() += 1;
        }
        counts
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state.log().clear();
    }

    /// Waits until so many requests have arrived in all.
    pub fn wait_for(&self, requests: usize) {
        let log = self.state.log();
        let too_few = |log: &mut Vec<Request>| log.len() < requests;
        let waited = self.state.arrived.wait_timeout_while(log, SOON, too_few);
        let (log, timeout) = waited.unwrap();
        assert!(
            !timeout.timed_out(),
            "{} requests, not {requests}",
            log.len()
        );
    }
}

pub fn url(address: SocketAddr) -> String {
    format!("http://{address}/api/v1/TwoFactor")
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for socket in self.state.open.lock().unwrap().values() {
            // It may have ended by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// One connection, from the server's side.
pub struct Line {
    /// 0 is the first one accepted.
    pub connection: usize,
    pub socket: TcpStream,
    tls: Option<ServerConnection>,
    /// So many bytes of the request that was glimpsed are still on the socket.
    untaken: usize,
    state: Arc<State>,
}

impl Line {
    fn new(socket: TcpStream, state: Arc<State>) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
        let connection = state.connections.fetch_add(1, Ordering::SeqCst);
        let open = socket.try_clone().unwrap();
        state.open.lock().unwrap().insert(connection, open);
        Self {
            connection,
            socket,
            tls: None,
            untaken: 0,
            state,
        }
    }

    /// The TLS handshake; all that follows goes through it.
    pub fn secure(&mut self, config: &Arc<ServerConfig>) -> io::Result<()> {
        let mut tls = ServerConnection::new(Arc::clone(config)).unwrap();
        let shaken = tls.complete_io(&mut self.socket);
        if shaken.is_err() {
            // The alert that says why.
            let _ = tls.write_tls(&mut self.socket);
        }
        self.tls = Some(tls);
        shaken.map(drop)
    }

    /// The TLS connection, once it is one.
    pub fn tls(&mut self) -> &mut ServerConnection {
        self.tls.as_mut().unwrap()
    }

    /// Ends TLS, if it is spoken, in good order; the connection stays open.
    pub fn close_notify(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            self.say("");
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).read(bytes),
            None => self.socket.read(bytes),
        }
    }

    /// The next request; `None` when there is none.
    pub fn ask(&mut self) -> Option<Request> {
        let request = self.glimpse();
        self.take();
        request
    }

    /// The next request, seen but, without TLS, not taken off the socket: to close it now is to
    /// reset it.
    pub fn glimpse(&mut self) -> Option<Request> {
        let mut head = Vec::new();
        if self.tls.is_some() {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(0);
                let last = head.len() - 1;
                self.read(&mut head[last..]).ok().filter(|read| *read > 0)?;
            }
        } else {
            head.resize(16 * 1024, 0);
            let end = loop {
                let seen = self.socket.peek(&mut head).ok().filter(|seen| *seen > 0)?;
                if let Some(end) = head[..seen].windows(4).position(|w| w == b"\r\n\r\n") {
                    break end + 4;
                }
                std::thread::sleep(Duration::from_millis(1));
            };
            head.truncate(end);
            self.untaken = end;
        }
        let mut log = self.state.log();
        let request = parse(log.len(), String::from_utf8(head).unwrap());
        log.push(request.clone());
        self.state.arrived.notify_all();
        Some(request)
    }

    /// Takes off the socket what was glimpsed.
    pub fn take(&mut self) {
        let mut taken = vec![0; std::mem::take(&mut self.untaken)];
        // The client may be gone.
        let _ = self.socket.read_exact(&mut taken);
    }

    /// Whatever comes first.
    pub fn hear(&mut self) -> Vec<u8> {
        let mut bytes = vec![0; 4_096];
        let length = self.read(&mut bytes).unwrap_or(0);
        bytes.truncate(length);
        bytes
    }

    /// Says this; is the other side still there?
    pub fn say(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        match &mut self.tls {
            Some(tls) => {
                let mut stream = rustls::Stream::new(tls, &mut self.socket);
                stream.write_all(bytes).and_then(|()| stream.flush())
            }
            None => self.socket.write_all(bytes),
        }
        .is_ok()
    }

    /// Notes that this request was answered.
    pub fn note_answer(&self, request: &Request) {
        if let Some(logged) = self.state.log().get_mut(request.nth) {
            logged.answered_at = Some(Instant::now());
        }
    }

    /// Makes the close a reset.
    pub fn reset(&mut self) {
        let socket = SockRef::from(&self.socket);
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }

    /// Waits until the other side has closed; what it still says is read and dropped.
    pub fn wait_for_close(&mut self) {
        while self.read(&mut [0; 4_096]).is_ok_and(|n| n > 0) {}
    }
}

fn parse(nth: usize, head: String) -> Request {
    let (line, headers) = head.split_once("\r\n").unwrap_or((&head, ""));
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("GET"), "{line}");
    let target = words.next().unwrap_or_default().to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let value = |name: &str| {
        let mut pairs = query.split('&');
        let found = pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default().replace("%2B", "+")
    };
    let number = match value("phone_no") {
        national if !national.starts_with('+') => format!("+91{national}"),
        international => international,
    };
    Request {
        nth,
        at: Instant::now(),
        answered_at: None,
        endpoint: path.rsplit('/').next().unwrap_or_default().to_owned(),
        headers: headers.to_lowercase(),
        otp: value("otp"),
        number,
        target,
        head,
    }
}
