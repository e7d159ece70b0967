//! Connections: when a request leaves is decided here and not in the HTTP library's pool.
//!
//! A reqwest `Client` is used as one connection, and never opens a second one. A layer around its
//! connector holds a new connection at the threshold until its request may go. So a request has
//! surely not left while it waits, and a client whose connection is gone says so instead of making
//! another, unseen. Idle connections are kept in a list here, the latest first.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBuf};
use reqwest::{Client, ClientBuilder, Proxy, Request, Response, Version, header, redirect};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use thiserror::Error;
use tokio::select;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tower::layer::layer_fn;
use tower::{BoxError, Service};

/// Connections idle for longer are closed by us: most servers close theirs after 5 s or more, and
/// a request that meets a closing connection has an unknown fate.
const IDLE_MAX: Duration = Duration::from_secs(4);

/// Idle connections younger than this are always tried.
const IDLE_MIN: Duration = Duration::from_millis(1);

/// How much longer than it may be idle a connection may have waited for its turn.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Each connection that is not tried, because others were found closed at its age, makes the age
/// from which they are not tried longer by this share: what closed them may have been a restart.
const REGAIN: f64 = 1.0 / 64.0;

/// How long a connection takes that may just be on its way back to its client.
const ON_ITS_WAY: Duration = Duration::from_millis(1);

/// How long before its turn a request on a warm connection gets ready.
const LEAD_WARM: Duration = Duration::from_millis(2);

/// How much earlier than the mean time to connect a request on a new connection gets ready.
const LEAD_NEW: Duration = Duration::from_millis(20);

/// The weight of the latest value in a moving mean.
const WEIGHT: f64 = 1.0 / 8.0;

/// Why a request surely was not sent, where the reason lies here.
#[derive(Debug, Error)]
pub enum NotSent {
    /// Name, connection and TLS took too long.
    #[error("no connection in time")]
    TimedOut,
    /// The peer closed the connection, or spoke, before it was asked anything.
    #[error("the connection was closed before the request left")]
    NotSilent,
    /// There was a connection, and it is no more.
    #[error("the connection was gone before the request left")]
    NoConnectionLeft,
}

/// Makes connections, and keeps those that can be used again.
pub struct Connections {
    tls: ClientConfig,
    proxy: Option<Proxy>,
    connect_timeout: Duration,
    state: RefCell<State>,
}

struct State {
    idle: VecDeque<Idle>,
    /// From this age on, idle connections have been found closed.
    open_for: Duration,
    /// The moving mean of the time to connect, in seconds.
    connect_s: f64,
    /// The moving mean of "this connection is not used again", 0 to 1.
    renewal: f64,
}

/// A connection that no request uses.
struct Idle {
    client: Client,
    since: Instant,
    /// How long it may be idle at most.
    max: Duration,
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

/// A client that follows nothing, tells nobody where it was, repeats nothing by itself, and uses no
/// proxy that was not named.
pub fn builder(tls: ClientConfig) -> ClientBuilder {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("otpdrive/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .redirect(redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .no_proxy()
}

impl Connections {
    /// No connection is made yet.
    pub fn new(tls: ClientConfig, proxy: Option<Proxy>, connect_timeout: Duration) -> Self {
        Self {
            tls,
            proxy,
            connect_timeout,
            state: RefCell::new(State {
                idle: VecDeque::new(),
                open_for: IDLE_MAX,
                connect_s: 0.0,
                renewal: 1.0,
            }),
        }
    }

    /// The latest idle connection, if it can be expected to be open still.
    pub fn warm(&self) -> Option<Warm<'_>> {
        let mut state = self.state.borrow_mut();
        while let Some(idle) = state.idle.pop_back() {
            let is_good = state.is_good(&idle);
            state.count_renewal(!is_good);
            if is_good {
                return Some(Warm {
                    connections: self,
                    idle: Some(idle),
                });
            }
            if idle.since.elapsed() < idle.max {
                state.open_for = state.open_for.mul_f64(1.0 + REGAIN);
            }
        }
        None
    }

    /// A new connection for this request, which is held until it may go.
    ///
    /// # Errors
    /// Why there is none: the request surely did not leave.
    pub async fn open(&self, request: Request) -> reqwest::Result<New> {
        let (ready, is_ready) = oneshot::channel();
        let (go, may_go) = oneshot::channel();
        let client = self.client(Gate { ready, may_go })?;
        let began = Instant::now();
        let mut sent: Sent = Box::pin(client.execute(request));
        // An answer before `go` there cannot be.
        select! { biased;
            Err(error) = &mut sent => return Err(error),
            Ok(()) = is_ready => {}
        }
        let took_s = began.elapsed().as_secs_f64();
        let mut state = self.state.borrow_mut();
        state.connect_s += if state.connect_s == 0.0 {
            took_s
        } else {
            WEIGHT * (took_s - state.connect_s)
        };
        Ok(New { client, go, sent })
    }

    /// Takes a connection back whose answer was read to its end; `max` is what [`idle_max`] said.
    pub fn take_back(&self, client: Client, max: Option<Duration>) {
        let mut state = self.state.borrow_mut();
        while let Some(oldest) = state.idle.front()
            && oldest.since.elapsed() >= oldest.max
        {
            state.idle.pop_front();
        }
        match max {
            Some(max) => state.idle.push_back(Idle {
                client,
                since: Instant::now(),
                max,
            }),
            None => state.count_renewal(true),
        }
    }

    /// An idle connection of this age turned out to be closed.
    pub fn found_closed(&self, age: Duration) {
        let mut state = self.state.borrow_mut();
        state.open_for = state.open_for.min(age / 2).max(IDLE_MIN);
        state.count_renewal(true);
    }

    /// How long before its turn the next request should ask for its connection.
    pub fn lead(&self) -> Duration {
        let state = self.state.borrow();
        if state.idle.back().is_some_and(|idle| state.is_good(idle)) {
            return LEAD_WARM;
        }
        // Where connections are used again, one that is in use will be back sooner than a new one.
        let new = Duration::from_secs_f64(1.5 * state.connect_s) + LEAD_NEW;
        new.mul_f64(state.renewal).max(LEAD_WARM)
    }

    /// Everything explicit, in one place. Neither `connect_timeout` nor `timeout`, for both would
    /// run while the request waits for its turn.
    fn client(&self, gate: Gate) -> reqwest::Result<Client> {
        let gate = Arc::new(Mutex::new(Some(gate)));
        let connect_timeout = self.connect_timeout;
        let mut builder = builder(self.tls.clone())
            .connector_layer(layer_fn(move |inner| AtThreshold {
                inner: Arc::new(Mutex::new(inner)),
                gate: Arc::clone(&gate),
                connect_timeout,
            }))
            .pool_idle_timeout(None)
            .pool_max_idle_per_host(1)
            .tcp_nodelay(true)
            .connection_verbose(false);
        if let Some(proxy) = &self.proxy {
            builder = builder.proxy(proxy.clone());
        }
        builder.build()
    }
}

impl State {
    fn is_good(&self, idle: &Idle) -> bool {
        idle.since.elapsed() < idle.max.min(self.open_for)
    }

    fn count_renewal(&mut self, renewed: bool) {
        self.renewal += WEIGHT * (f64::from(u8::from(renewed)) - self.renewal);
    }
}

/// How long the connection of this answer may be idle; `None` when it is not to be used again.
pub fn idle_max(response: &Response) -> Option<Duration> {
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
    pub fn redeem(mut self) -> Option<(Client, Duration)> {
        let idle = self.idle.take()?;
        let age = idle.since.elapsed();
        (age < idle.max + WAIT_MAX).then_some((idle.client, age))
    }
}

impl Drop for Warm<'_> {
    fn drop(&mut self) {
        if let Some(idle) = self.idle.take() {
            self.connections.state.borrow_mut().idle.push_back(idle);
        }
    }
}

/// What comes of a request.
pub type Sent = Pin<Box<dyn Future<Output = reqwest::Result<Response>>>>;

/// A new connection and the request that waits on it. Dropped, it is closed with nothing written.
pub struct New {
    client: Client,
    go: oneshot::Sender<()>,
    sent: Sent,
}

impl New {
    /// Lets the request go when `Sent` is polled next.
    pub fn go(self) -> (Client, Sent) {
        // Nobody listens any more only where it has failed, which `sent` says.
        let _ = self.go.send(());
        (self.client, self.sent)
    }
}

/// Between the request, which knows when it may go, and its connection.
struct Gate {
    ready: oneshot::Sender<()>,
    may_go: oneshot::Receiver<()>,
}

/// A connector that makes one connection and holds it at the threshold until the gate opens. Shared
/// and not copied, for each request on the connection asks for a clone.
struct AtThreshold<S> {
    inner: Arc<Mutex<S>>,
    gate: Arc<Mutex<Option<Gate>>>,
    connect_timeout: Duration,
}

impl<S> Clone for AtThreshold<S> {
    fn clone(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            gate: Arc::clone(&self.gate),
            connect_timeout: self.connect_timeout,
        }
    }
}

impl<S, To> Service<To> for AtThreshold<S>
where
    S: Service<To, Error = BoxError>,
    S::Future: Send + 'static,
    S::Response: Read + Unpin + Send,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        locked(&self.inner).poll_ready(context)
    }

    fn call(&mut self, to: To) -> Self::Future {
        let Some(gate) = locked(&self.gate).take() else {
            return Box::pin(async {
                sleep(ON_ITS_WAY).await;
                Err(NotSent::NoConnectionLeft.into())
            });
        };
        let connecting = locked(&self.inner).call(to);
        let connect_timeout = self.connect_timeout;
        Box::pin(async move {
            let connected = timeout(connect_timeout, connecting).await;
            let mut connection = connected.map_err(|_| NotSent::TimedOut)??;
            // Nobody waits for it only where the request was dropped.
            let _ = gate.ready.send(());
            select! { biased;
                () = anything_from(&mut connection) => Err(NotSent::NotSilent.into()),
                go = gate.may_go => match go {
                    Ok(()) => Ok(connection),
                    Err(_) => Err(NotSent::NoConnectionLeft.into()),
                },
            }
        })
    }
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends when the peer closes the connection, or says anything.
async fn anything_from(connection: &mut (impl Read + Unpin)) {
    std::future::poll_fn(|context| {
        let mut byte = [0];
        let mut buffer = ReadBuf::new(&mut byte);
        Pin::new(&mut *connection)
            .poll_read(context, buffer.unfilled())
            .map(drop)
    })
    .await;
}
