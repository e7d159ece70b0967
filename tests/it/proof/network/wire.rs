//! A server that speaks bytes, not HTTP: what is said on each connection, and how it ends, is up to
//! the test.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;

use crate::support::SOON;

/// A request that arrived in full.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Ten digits, whatever the form on the wire.
    pub phone: String,
    /// The whole head, as it arrived.
    pub head: String,
}

#[derive(Default)]
struct State {
    closed: AtomicBool,
    connections: AtomicUsize,
    log: Mutex<Vec<Asked>>,
}

/// The server; it ends when it is dropped.
pub struct Wire {
    listener: TcpListener,
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
    pub fn at(address: &str, play: impl Fn(&mut Line) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let state = Arc::new(State::default());
        let acceptor = {
            let listener = listener.try_clone().unwrap();
            let state = Arc::clone(&state);
            let play = Arc::new(play);
            std::thread::spawn(move || {
                for socket in listener.incoming() {
                    if state.closed.load(Ordering::SeqCst) {
                        return;
                    }
                    let mut line = Line::new(socket.unwrap(), Arc::clone(&state));
                    let play = Arc::clone(&play);
                    std::thread::spawn(move || play(&mut line));
                }
            })
        };
        Self {
            listener,
            state,
            acceptor: Some(acceptor),
        }
    }

    fn base(&self, scheme: &str, host: &str) -> String {
        let port = self.listener.local_addr().unwrap().port();
        format!("{scheme}://{host}:{port}/api/v1/TwoFactor")
    }

    pub fn http(&self) -> String {
        let ip = self.listener.local_addr().unwrap().ip();
        let host = if ip.is_ipv6() {
            format!("[{ip}]")
        } else {
            ip.to_string()
        };
        self.base("http", &host)
    }

    pub fn https(&self) -> String {
        self.base("https", "localhost")
    }

    /// All requests so far.
    pub fn log(&self) -> Vec<Asked> {
        self.state.log.lock().unwrap().clone()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many requests for this number.
    pub fn count_for(&self, phone: &str) -> usize {
        self.log().iter().filter(|a| a.phone == phone).count()
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        self.state.log.lock().unwrap().clear();
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.state.closed.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then sees that it is over.
        let _ = TcpStream::connect(self.listener.local_addr().unwrap());
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// One connection, from the server's side.
pub struct Line {
    /// 0 is the first one accepted.
    pub connection: usize,
    pub socket: TcpStream,
    tls: Option<ServerConnection>,
    /// Read and not yet used.
    heard: Vec<u8>,
    state: Arc<State>,
}

impl Line {
    fn new(socket: TcpStream, state: Arc<State>) -> Self {
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(SOON)).unwrap();
        socket.set_write_timeout(Some(SOON)).unwrap();
        Self {
            connection: state.connections.fetch_add(1, Ordering::SeqCst),
            socket,
            tls: None,
            heard: Vec::new(),
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

    /// Ends TLS in good order; the connection stays open.
    pub fn close_notify(&mut self) {
        self.tls().send_close_notify();
        self.say("");
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            Some(tls) => rustls::Stream::new(tls, &mut self.socket).read(bytes),
            None => self.socket.read(bytes),
        }
    }

    /// The next request; `None` when there is none.
    pub fn ask(&mut self) -> Option<Asked> {
        let end = loop {
            if let Some(at) = self.heard.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            let mut bytes = [0; 4_096];
            match self.read(&mut bytes) {
                Ok(0) | Err(_) => return None,
                Ok(length) => self.heard.extend_from_slice(&bytes[..length]),
            }
        };
        let head: Vec<u8> = self.heard.drain(..end).collect();
        Some(self.note(&String::from_utf8(head).unwrap()))
    }

    /// Whatever comes first.
    pub fn hear(&mut self) -> Vec<u8> {
        let mut bytes = [0; 4_096];
        let length = self.read(&mut bytes).unwrap_or(0);
        bytes[..length].to_vec()
    }

    /// The next request, seen but not taken off the socket: to close it now is to reset it.
    pub fn glimpse(&mut self) -> Option<Asked> {
        let mut bytes = [0; 4_096];
        loop {
            let length = self.socket.peek(&mut bytes).ok().filter(|n| *n > 0)?;
            let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
            if text.ends_with("\r\n\r\n") {
                return Some(self.note(&text));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Takes off the socket what was glimpsed.
    pub fn take(&mut self) {
        let mut bytes = [0; 4_096];
        let mut taken = Vec::new();
        while !taken.ends_with(b"\r\n\r\n") {
            match self.socket.read(&mut bytes) {
                Ok(0) | Err(_) => return,
                Ok(length) => taken.extend_from_slice(&bytes[..length]),
            }
        }
    }

    fn note(&self, head: &str) -> Asked {
        let (_, rest) = head.split_once("phone_no=").unwrap();
        let digits = rest.split(['&', ' ']).next().unwrap();
        let asked = Asked {
            phone: digits.trim_start_matches("%2B91").to_owned(),
            head: head.to_owned(),
        };
        self.state.log.lock().unwrap().push(asked.clone());
        asked
    }

    /// Waits for more, and leaves it there.
    pub fn wait_for_more(&self) {
        // An end is as good.
        let _ = self.socket.peek(&mut [0]);
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

    /// Says this below TLS.
    pub fn say_plainly(&mut self, bytes: impl AsRef<[u8]>) {
        // Whether the other side is still there is its business.
        let _ = self.socket.write_all(bytes.as_ref());
    }

    /// Makes the close a reset.
    pub fn reset(&mut self) {
        SockRef::from(&self.socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// Waits until the other side has closed; what it still says is read and dropped.
    pub fn wait_for_close(&mut self) {
        while self.read(&mut [0; 4_096]).is_ok_and(|n| n > 0) {}
    }
}

/// An answer of this status with a length.
pub fn answer(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The same, as the last on its connection.
pub fn last(answer: &str) -> String {
    answer.replacen("\r\n", "\r\nconnection: close\r\n", 1)
}

/// The API's acceptance, with a reference that tells whose it is.
pub fn accepted(phone: &str) -> String {
    format!(r#"{{"status":"success","message":"SM{phone}"}}"#)
}

/// Answers everything as the API would.
pub fn serve(line: &mut Line) {
    while let Some(asked) = line.ask() {
        line.say(answer("200 OK", &accepted(&asked.phone)));
    }
}
