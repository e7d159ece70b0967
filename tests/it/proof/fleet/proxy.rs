//! Stands between the program and a server, and passes on what they say to each other, but when the
//! test has it lose something.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// Ends, with its connections, when it is dropped: nobody listens there any more.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Whoever comes is turned away.
    is_cut: AtomicBool,
    is_over: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
    /// The reply to the next statement with these words gets lost.
    lose: Mutex<Option<String>>,
    lost: AtomicUsize,
}

impl Proxy {
    /// One before the server at this port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let listening = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming() {
                if listening.is_over.load(Ordering::SeqCst) {
                    break;
                }
                if listening.is_cut.load(Ordering::SeqCst) {
                    continue;
                }
                // A server that is away turns away whoever comes.
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port)))
                {
                    pass_on(&listening, client, server);
                }
            }
        });
        Self { port: own, shared }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// How many replies were lost.
    pub fn lost(&self) -> usize {
        self.shared.lost.load(Ordering::SeqCst)
    }

    /// Cuts all connections, and turns away whoever comes for so long.
    pub fn cut(&self, time: Duration) {
        self.shared.is_cut.store(true, Ordering::SeqCst);
        for socket in self.shared.open.lock().unwrap().drain(..) {
            // It may have ended by itself.
            let _ = socket.shutdown(Shutdown::Both);
        }
        thread::sleep(time);
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }

    /// Has the server do the next statement with these words, and cuts the connection at its reply.
    /// Returns when that has happened, or there was none for a while.
    pub fn lose_reply_to(&self, words: &str) {
        *self.shared.lose.lock().unwrap() = Some(words.to_owned());
        let before = self.lost();
        for _ in 0..200 {
            if self.lost() > before {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.shared.lose.lock().unwrap().take();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // It waits for somebody to come.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.cut(Duration::ZERO);
    }
}

/// Both ways, each on a thread.
fn pass_on(shared: &Arc<Shared>, client: TcpStream, server: TcpStream) {
    for socket in [&client, &server] {
        socket.set_nodelay(true).unwrap();
        let open = socket.try_clone().unwrap();
        shared.open.lock().unwrap().push(open);
    }
    let is_doomed = Arc::new(AtomicBool::new(false));
    let (there, back) = (Arc::clone(shared), Arc::clone(shared));
    let (asks, replies) = (Arc::clone(&is_doomed), is_doomed);
    let ways = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        copy(client, server, |said| {
            let mut lose = there.lose.lock().unwrap();
            let is_meant =
                |words: &String| said.windows(words.len()).any(|it| it == words.as_bytes());
            if lose.as_ref().is_some_and(is_meant) {
                lose.take();
                asks.store(true, Ordering::SeqCst);
            }
            true
        });
    });
    thread::spawn(move || {
        copy(ways.1, ways.0, |_| {
            let is_lost = replies.load(Ordering::SeqCst);
            back.lost.fetch_add(usize::from(is_lost), Ordering::SeqCst);
            !is_lost
        });
    });
}

/// Passes on what comes until it is told not to, or one side ends; then both do.
fn copy(mut from: TcpStream, mut to: TcpStream, mut passes: impl FnMut(&[u8]) -> bool) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        if !passes(&bytes[..length]) || to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    for socket in [from, to] {
        // The other thread may have been there first.
        let _ = socket.shutdown(Shutdown::Both);
    }
}
