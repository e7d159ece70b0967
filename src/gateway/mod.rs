//! The provider: one request, one verdict. The provider's words and HTTP stop here.
//!
//! [`words`] says what an answer means, [`http`] makes the requests. Nothing here retries, waits
//! or remembers.

pub mod http;
pub mod words;

use secrecy::SecretString;

use crate::outcome::{Job, Lane, Verdict};
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
pub trait Gateway {
    /// Makes one request for the job on this lane, and says what its answer means. Never fails:
    /// that nothing came back is a verdict too.
    fn request(&self, job: &Job, lane: Lane) -> impl Future<Output = Verdict>;
}
