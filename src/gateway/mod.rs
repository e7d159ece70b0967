//! The provider: one request, one verdict. The provider's words and HTTP stop here.
//!
//! [`words`] says what an answer means, [`http`] makes the requests. Nothing here retries, waits
//! or remembers.

pub mod http;
pub mod words;

use crate::outcome::{Job, Lane, Verdict};

/// Something that OTPs can be sent through.
pub trait Gateway {
    /// Makes one request for the job on this lane, and says what its answer means. Never fails:
    /// that nothing came back is a verdict too.
    fn request(&self, job: &Job, lane: Lane) -> impl Future<Output = Verdict>;
}
