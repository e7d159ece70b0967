//! The provider: one request, one verdict. The provider's words and HTTP stop here.
//!
//! `words` says what an answer means, `http` makes the requests, `connection` holds a new
//! connection until its request may leave. Nothing of these retries, waits out anything or remembers.
//! `post` has a report posted, which is nothing of the provider's.

mod connection;
pub mod http;
pub mod post;
pub mod words;

use std::time::Duration;

use secrecy::SecretString;

use crate::job::{Job, Lane, Verdict};
use crate::redact::{KeyShape, Redactor};

/// The shape of KooKoo's keys.
const KEY_SHAPE: KeyShape = KeyShape {
    prefix: "kk",
    hex_digits: 32,
};

/// Takes this key out of texts, and whatever looks like a key of another account.
#[must_use]
pub fn redactor(key: &SecretString) -> Redactor {
    Redactor::new(key, KEY_SHAPE)
}

/// Something that OTPs can be sent through.
///
/// A request is made in two steps, so that its turn is taken where its bytes leave and not where it
/// is asked for: first a connection is there, then the request goes.
pub trait Gateway {
    /// A request that has its connection.
    type Ready<'g>: Ready
    where
        Self: 'g;

    /// Gets a connection, warm or new, for one request for the job on this lane.
    ///
    /// # Errors
    /// Why there is none: surely not sent.
    fn connect(
        &self,
        job: &Job,
        lane: Lane,
    ) -> impl Future<Output = Result<Self::Ready<'_>, NoConnection>>;

    /// How long before its turn a request should ask for its connection, going by the latest ones.
    fn lead(&self) -> Duration;
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoConnection {
    /// In words for people; no key, no code.
    pub why: String,
    /// Who has to do something about it.
    pub cause: Cause,
}

/// What keeps a connection from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The gateway, or the way to it: it may come back.
    Gateway,
    /// The proxy: it may come back.
    Proxy,
    /// This machine lacks something: it may get it.
    Machine,
    /// There is no host of that name.
    NoSuchHost,
    /// What answers there speaks no TLS that is spoken here.
    NoTls,
    /// The proxy asks for credentials, or for others.
    ProxyCredentials,
    /// The certificate is not trusted, or not for that name.
    Certificate,
}

impl From<Verdict> for NoConnection {
    /// What is said of a gateway that may come back.
    fn from(verdict: Verdict) -> Self {
        Self {
            why: verdict.text,
            cause: Cause::Gateway,
        }
    }
}

/// A request that has its connection, and waits for its turn. Dropped, it surely has not left.
pub trait Ready {
    /// Lets it go: the next thing to happen is its first byte. Never fails: that nothing came back
    /// is a verdict too, and so is that it did not leave after all (`Unreachable` where the gateway
    /// is to blame, `Withdrawn` where a warm connection was gone).
    fn go(self) -> impl Future<Output = Verdict>;
}

#[cfg(test)]
mod tests;
