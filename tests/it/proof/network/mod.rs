//! Every fault on a real socket, from the first packet to the last, and what it makes of a number.
//!
//! `faults` is the table of bad answers; `reuse` is about whose answer an answer is; `connect` is
//! what happens before a request can leave, `tls` the same with certificates made on the spot.

mod connect;
mod faults;
mod reuse;
mod tls;
mod wire;

use crate::support::KEY;
use crate::support::workdir::{Ran, Row, Workdir};

/// The key is in nothing that was said or written.
#[track_caller]
fn the_key_is_nowhere(dir: &Workdir, ran: &Ran) {
    dir.has_nowhere(KEY, ran);
}

/// Whoever was accepted has an answer of its own, not another number's.
#[track_caller]
fn answers_are_everybodys_own(rows: &[Row]) {
    for row in rows {
        if ["sent", "verified"].contains(&row["otp_status"].as_str()) {
            let own = format!("SM{}", row["phone"]);
            assert!(row["otp_reference"].starts_with(&own), "{row:?}");
        }
    }
}
