//! Connections: when a request leaves is decided here and not in the HTTP library's pool.
//!
//! reqwest makes them (names, proxies, TLS), with all that this takes; a layer around its connector
//! then takes the new connection out of its hands, before anything is written. Requests are hyper's,
//! one at a time on a connection, which moves only while something is awaited from it: so a request
//! has surely not left while it waits for its turn. Idle connections are kept in a list here, the
//! latest first.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body as _, Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper::{Request, Response, Version, header};
use reqwest::{Client, ClientBuilder, Method, Proxy, Url, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until, timeout};
use tower::layer::layer_fn;
use tower::{BoxError, Service};

/// Connections idle for longer are closed by us: most servers close theirs after 5 s or more, and
/// a request that meets a closing connection has an unknown fate.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// A connection may be closed a moment after an answer without a word. Until connections have been
/// used again and were answered, they have to be idle for so long before they are: then it is seen.
const SETTLE: Duration = Duration::from_millis(2);

/// The share of that time which is left after each answer on a connection that was used again; and
/// once one of them was closed so soon.
const SETTLED: f64 = 0.75;
const SETTLED_DOUBTING: f64 = 1.0 - 1.0 / 64.0;

/// How much longer than it may be idle a connection may have waited for its turn.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Each connection that is not tried, because others were found closed at its age, makes the age
/// from which they are not tried longer by this share: what closed them may have been a restart.
const REGAIN: f64 = 1.0 / 64.0;

/// How long before its turn a request on a warm connection gets ready.
const LEAD_WARM: Duration = Duration::from_millis(2);

/// How much earlier than the mean time to connect a request on a new connection gets ready.
const LEAD_NEW: Duration = Duration::from_millis(20);

/// The weight of the latest value in a moving mean.
const WEIGHT: f64 = 1.0 / 8.0;

/// Name, connection and TLS took too long.
#[derive(Debug, Error)]
#[error("no connection in time")]
pub struct TimedOut;

/// Makes connections, and keeps those that can be used again.
pub struct Connections {
    /// Where to.
    to: Url,
    tls: ClientConfig,
    proxy: Option<Proxy>,
    connect_timeout: Duration,
    state: RefCell<State>,
}

struct State {
    idle: VecDeque<Idle>,
    /// From this age on, idle connections have been found closed.
    open_for: Duration,
    /// Before this age it is not known yet whether they are kept; see [`SETTLE`].
    settle: Duration,
    /// The share of it that an answer leaves.
    settled: f64,
    /// The moving mean of the time to connect, in seconds.
    connect_s: f64,
    /// The moving mean of "this connection is not used again", 0 to 1.
    renewal: f64,
}

/// A connection that no request uses.
struct Idle {
    connection: Connection,
    since: Instant,
    /// How long it may be idle at most.
    max: Duration,
}

impl Idle {
    fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.since)
    }
}

/// What TLS needs: the roots of the platform, loaded once, for each copy of it shares them; none where
/// all is plain.
///
/// # Errors
/// When the platform has no roots.
pub fn tls(is_plain: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let tls =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let tls = if is_plain {
        tls.with_root_certificates(RootCertStore::empty())
    } else {
        tls.with_platform_verifier()?
    };
    let mut tls = tls.with_no_client_auth();
    tls.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(tls)
}

/// What asks, as a server sees it.
pub const USER_AGENT: &str = concat!("otpdrive/", env!("CARGO_PKG_VERSION"));

/// A client that follows nothing, tells nobody where it was, repeats nothing by itself, and uses no
/// proxy that was not named.
pub fn builder(tls: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(USER_AGENT)
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
}

impl Connections {
    /// No connection is made yet.
    pub fn new(
        to: Url,
        tls: ClientConfig,
        proxy: Option<Proxy>,
        connect_timeout: Duration,
    ) -> Self {
        Self {
            to,
            tls,
            proxy,
            connect_timeout,
            state: RefCell::new(State {
                idle: VecDeque::new(),
                open_for: IDLE_MAX,
                settle: SETTLE,
                settled: SETTLED,
                connect_s: 0.0,
                renewal: 1.0,
            }),
        }
    }

    /// The latest idle connection, if it can be expected to be open still.
    pub fn warm(&self) -> Option<Warm<'_>> {
        let now = Instant::now();
        let mut state = self.state.borrow_mut();
        while let Some(idle) = state.latest(now) {
            let is_good = state.is_good(&idle, now);
            state.count_renewal(!is_good);
            if is_good {
                return Some(Warm {
                    connections: self,
                    idle: Some(idle),
                });
            }
            if idle.age(now) < idle.max {
                state.open_for = state.open_for.mul_f64(1.0 + REGAIN);
            }
        }
        None
    }

    /// A new connection, on which nothing was written yet.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn open(&self) -> reqwest::Result<Connection> {
        let (taken, is_taken) = oneshot::channel();
        let client = self.client(taken)?;
        let began = Instant::now();
        let opening = client.execute(reqwest::Request::new(Method::GET, self.to.clone()));
        // It gets no connection, so it has no answer.
        let connection = select! { biased;
            Err(error) = opening => return Err(error),
            Ok(connection) = is_taken => connection,
        };
        let took_s = began.elapsed().as_secs_f64();
        let mut state = self.state.borrow_mut();
        state.connect_s += if state.connect_s == 0.0 {
            took_s
        } else {
            WEIGHT * (took_s - state.connect_s)
        };
        Ok(connection)
    }

    /// Takes a connection back that was used; `max`: how long it may be idle, `None` when it is not to
    /// be used again.
    pub fn take_back(&self, connection: Connection, max: Option<Duration>) {
        let since = Instant::now();
        let mut state = self.state.borrow_mut();
        while let Some(oldest) = state.idle.front()
            && oldest.age(since) >= oldest.max
        {
            state.idle.pop_front();
        }
        match max {
            Some(max) => state.idle.push_back(Idle {
                connection,
                since,
                max,
            }),
            None => state.count_renewal(true),
        }
    }

    /// There was an answer on a connection that had been idle.
    pub fn was_kept(&self) {
        let mut state = self.state.borrow_mut();
        state.settle = state.settle.mul_f64(state.settled);
    }

    /// An idle connection of this age turned out to be closed, before or after a request was written.
    pub fn found_closed(&self, age: Duration) {
        let mut state = self.state.borrow_mut();
        if age < SETTLE {
            (state.settle, state.settled) = (SETTLE, SETTLED_DOUBTING);
        } else {
            state.open_for = state.open_for.min(age / 2);
        }
        state.count_renewal(true);
    }

    /// How long before its turn the next request should ask for its connection.
    pub fn lead(&self) -> Duration {
        let (state, now) = (self.state.borrow(), Instant::now());
        if state
            .idle
            .back()
            .is_some_and(|idle| state.is_good(idle, now))
        {
            return LEAD_WARM;
        }
        // Where connections are used again, one that is in use will be back sooner than a new one.
        let new = Duration::from_secs_f64(1.5 * state.connect_s) + LEAD_NEW;
        new.mul_f64(state.renewal).max(LEAD_WARM)
    }

    /// A client for one connection, which it makes and does not keep.
    fn client(&self, taken: oneshot::Sender<Connection>) -> reqwest::Result<Client> {
        let taken = Arc::new(Mutex::new(Some(taken)));
        let connect_timeout = self.connect_timeout;
        let mut builder = builder(self.tls.clone())
            .connector_layer(layer_fn(move |inner| Taking {
                inner,
                taken: Arc::clone(&taken),
                connect_timeout,
            }))
            .tcp_nodelay(true)
            .connection_verbose(false);
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder.build()
    }
}

impl State {
    fn latest(&mut self, now: Instant) -> Option<Idle> {
        let is_old_enough = |idle: &Idle| idle.age(now) >= self.settle;
        let place = self.idle.iter().rposition(is_old_enough)?;
        self.idle.remove(place)
    }

    fn is_good(&self, idle: &Idle, now: Instant) -> bool {
        idle.age(now) < idle.max.min(self.open_for)
    }

    fn count_renewal(&mut self, renewed: bool) {
        self.renewal += WEIGHT * (f64::from(u8::from(renewed)) - self.renewal);
    }
}

/// How long the connection of this answer may be idle; `None` when it is not to be used again.
pub fn idle_max<B>(response: &Response<B>) -> Option<Duration> {
    let words = |name| {
        let values = response.headers().get_all(name).into_iter();
        values
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|word| word.trim().to_ascii_lowercase())
    };
    let ends = response.version() < Version::HTTP_11
        || words(header::CONNECTION).any(|word| word == "close");
    if ends {
        return None;
    }
    let promised = words(header::HeaderName::from_static("keep-alive"))
        .filter_map(|word| word.strip_prefix("timeout=")?.parse().ok())
        .map(Duration::from_secs)
        .min();
    Some(promised.map_or(IDLE_MAX, |promised| (promised / 2).min(IDLE_MAX)))
}

/// A warm connection, taken from the idle ones for a request. Dropped, it goes back to them.
pub struct Warm<'c> {
    connections: &'c Connections,
    idle: Option<Idle>,
}

impl Warm<'_> {
    /// The connection and how long it was idle; `None` when it has waited too long for its turn.
    pub fn redeem(mut self) -> Option<(Connection, Duration)> {
        let idle = self.idle.take()?;
        let age = idle.since.elapsed();
        (age < idle.max + WAIT_MAX).then_some((idle.connection, age))
    }
}

impl Drop for Warm<'_> {
    fn drop(&mut self) {
        if let Some(idle) = self.idle.take() {
            self.connections.state.borrow_mut().idle.push_back(idle);
        }
    }
}

/// A connection for one request at a time.
pub struct Connection {
    requests: SendRequest<String>,
    /// What reads and writes, until that has ended.
    wire: Option<Wire>,
    alarm: Option<Alarm>,
}

/// Goes off when an answer takes too long. A connection keeps its own: to put one off costs nothing,
/// but a new one for each request wakes the runtime each time.
pub type Alarm = Pin<Box<Sleep>>;

impl Connection {
    /// An alarm at this time, to be given back when it is not needed any more.
    pub fn alarm(&mut self, at: Instant) -> Alarm {
        let Some(mut alarm) = self.alarm.take() else {
            return Box::pin(sleep_until(at));
        };
        alarm.as_mut().reset(at);
        alarm
    }

    /// The alarm did not go off.
    pub fn keep(&mut self, alarm: Alarm) {
        self.alarm = Some(alarm);
    }

    /// Lets a request go, and waits for the head of its answer. A connection that the peer has closed
    /// meanwhile, or on which it has spoken, gives the request back unwritten: the error then
    /// [is](hyper::Error::is_canceled) "canceled".
    ///
    /// # Errors
    /// When nothing came back, or nothing that could be read.
    pub async fn send(&mut self, request: Request<String>) -> hyper::Result<Response<Incoming>> {
        let answer = pin!(self.requests.send_request(request));
        driven(&mut self.wire, answer).await
    }

    /// The next piece of a body; `None` at its end.
    ///
    /// # Errors
    /// When it broke off.
    pub async fn next_of(&mut self, body: &mut Incoming) -> Option<hyper::Result<Bytes>> {
        let frame = pin!(poll_fn(|context| Pin::new(&mut *body).poll_frame(context)));
        let frame = driven(&mut self.wire, frame).await?;
        // Trailers say nothing here.
        Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }

    /// Is it open, and was all of the last answer read?
    pub fn is_ready(&self) -> bool {
        self.wire.is_some() && self.requests.is_ready()
    }
}

impl Drop for Connection {
    /// Ends it in order: TLS says goodbye.
    fn drop(&mut self) {
        if let (Some(wire), Ok(runtime)) = (self.wire.take(), Handle::try_current()) {
            runtime.spawn(wire);
        }
    }
}

/// Waits for what comes through a connection, which moves only here.
async fn driven<T>(wire: &mut Option<Wire>, mut awaited: Pin<&mut impl Future<Output = T>>) -> T {
    poll_fn(|context| {
        if let Poll::Ready(came) = awaited.as_mut().poll(context) {
            return Poll::Ready(came);
        }
        // Why it has ended is told to those who wait for something of it.
        if let Some(open) = wire
            && Pin::new(open).poll(context).is_ready()
        {
            *wire = None;
        }
        awaited.as_mut().poll(context)
    })
    .await
}

/// It is handed from one to the next with its connection, so it is kept in one place.
type Wire = Box<http1::Connection<Stream, String>>;

/// What bytes go through.
type Stream = Box<dyn ReadWrite + Send>;

trait ReadWrite: Read + Write + Unpin {}

impl<S: Read + Write + Unpin> ReadWrite for S {}

/// A connector that makes a connection and gives it away, so that its client never has one.
#[derive(Clone)]
struct Taking<S> {
    inner: S,
    taken: Arc<Mutex<Option<oneshot::Sender<Connection>>>>,
    connect_timeout: Duration,
}

impl<S, To> Service<To> for Taking<S>
where
    S: Service<To, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Read + Write + Unpin + Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, to: To) -> Self::Future {
        let connecting = timeout(self.connect_timeout, self.inner.call(to));
        let taken = Arc::clone(&self.taken);
        Box::pin(async move {
            let stream: Stream = Box::new(connecting.await.map_err(|_| TimedOut)??);
            // A request is one piece: it has no body.
            let mut http = http1::Builder::new();
            let (requests, wire) = http.writev(false).handshake(stream).await?;
            let taken = taken.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(taken) = taken {
                let connection = Connection {
                    requests,
                    wire: Some(Box::new(wire)),
                    alarm: None,
                };
                // Nobody waits for it only where it is not wanted any more.
                let _ = taken.send(connection);
            }
            std::future::pending().await
        })
    }
}
