//! The sandbox: an imitation of the provider's two-factor API, to rehearse with and to test against.
//!
//! It is a real HTTP server on real sockets, so that a client's encoding, time-outs and handling
//! of lost connections are put to the test. It sends nothing to anybody, keeps nothing but its
//! request log, listens on loopback addresses only, and knows neither the client nor the ledger.
//!
//! What it does with a request is an [`Action`]: a [magic number](magic_numbers) always meets its
//! own, any other number meets the [`Faults`] that were asked for, by chance but reproducibly.
//! Otherwise the request is well answered. The code of a number is its last six digits read
//! backwards (9876543210 has 012345); it is used up by its first success, and sending another OTP
//! renews it.
//!
//! ```text
//! socket ──http──▶ Head ──answers──▶ Decision ──log──▶ one line
//!                         magic · faults · memory
//! ```

mod action;
mod answers;
mod faults;
mod http;
mod log;
mod magic;
mod memory;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

pub use action::Action;
pub use answers::{HUGE_BYTES, SLOW};
pub use faults::{Faults, FaultsError};
pub use magic::{Magic, magic_numbers};

use answers::{BASE, Gateway};
use log::Log;

/// What a sandbox is to be like. By default it is honest and at once, on any free port.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where to listen, on a loopback address; port 0 takes any free one.
    pub listen: SocketAddr,
    /// The only key that is not refused; `None`: any.
    pub key: Option<SecretString>,
    /// How long an answer takes: uniformly distributed between these.
    pub latency: RangeInclusive<Duration>,
    /// What goes wrong, and how often.
    pub faults: Faults,
    /// The same seed gives the same faults to the same numbers.
    pub seed: u64,
    /// A file to which one line of JSON per request is appended.
    pub log: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: (Ipv4Addr::LOCALHOST, 0).into(),
            key: None,
            latency: Duration::ZERO..=Duration::ZERO,
            faults: Faults::default(),
            seed: 0,
            log: None,
        }
    }
}

/// Why there is no sandbox, or not any longer.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A sandbox is nobody else's business.
    #[error("the sandbox listens on loopback addresses only, not on {0}")]
    NotLoopback(SocketAddr),
    /// The address is taken, most likely.
    #[error("failed to listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The log can not be opened or written.
    #[error("failed to write the request log {}", path.display())]
    Log {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A sandbox that listens. Connections wait until it [runs](Self::run).
#[derive(Debug)]
pub struct Sandbox {
    listener: TcpListener,
    address: SocketAddr,
    log_path: PathBuf,
    gateway: Arc<Gateway>,
}

impl Sandbox {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// The address is not a loopback address or cannot be had, or the log cannot be opened.
    pub async fn bind(options: Options) -> Result<Self, SandboxError> {
        if !options.listen.ip().is_loopback() {
            return Err(SandboxError::NotLoopback(options.listen));
        }
        let not_listening = |source| SandboxError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(not_listening)?;
        let address = listener.local_addr().map_err(not_listening)?;
        let log_path = options.log.clone().unwrap_or_default();
        let log = Log::open(options.log.as_deref()).map_err(|source| SandboxError::Log {
            path: log_path.clone(),
            source,
        })?;
        Ok(Self {
            listener,
            address,
            log_path,
            gateway: Arc::new(Gateway::new(options, log)),
        })
    }

    /// What a client takes for `--endpoint`: `http://127.0.0.1:PORT/api/v1/TwoFactor`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}{BASE}", self.address)
    }

    /// Answers until `shutdown` is ready; connections that are open then are closed.
    ///
    /// # Errors
    ///
    /// The log cannot be written.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), SandboxError> {
        tokio::select! {
            source = self.accept() => Err(SandboxError::Log {
                path: self.log_path.clone(),
                source,
            }),
            () = shutdown => Ok(()),
        }
    }

    /// Takes connections until the log cannot be written.
    async fn accept(&self) -> io::Error {
        /// How long to wait when there are too many open files to take one more.
        const BREATH: Duration = Duration::from_millis(10);
        let mut conversations = JoinSet::new();
        loop {
            tokio::select! {
                taken = self.listener.accept() => match taken {
                    Ok((stream, _)) => {
                        let gateway = Arc::clone(&self.gateway);
                        conversations.spawn(async move { http::converse(stream, &gateway).await });
                    }
                    Err(_) => sleep(BREATH).await,
                },
                Some(ended) = conversations.join_next() => {
                    rethrow(ended);
                    if let Some(error) = self.gateway.log.failure() {
                        return error;
                    }
                }
            }
        }
    }
}

/// An error in a conversation means that its client went away; a panic is a bug, and surfaces.
fn rethrow(ended: Result<io::Result<()>, JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

/// A lock whose holder panicked is still good: nothing here is left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
