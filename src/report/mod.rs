//! The result files: pure renderings of what the ledger knows, made when a run ends and again at
//! any time, from a killed run too.

pub mod pace;
pub mod results;
#[cfg(test)]
mod samples;
pub mod write;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use crate::outcome::UnixMicros;

/// Adds a time as RFC 3339, UTC, with milliseconds; nothing when it lies beyond the year 9999.
fn push_time(out: &mut Vec<u8>, at: UnixMicros) {
    const PRINTER: DateTimePrinter = DateTimePrinter::new().precision(Some(3));
    if let Ok(time) = Timestamp::from_microsecond(at.0) {
        PRINTER
            .print_timestamp(&time, out)
            .expect("a Vec takes everything");
    }
}
