//! The proofs behind the guarantees, a module for each. They are ignored by a plain
//! `cargo test`: `tests/prove` runs them, by name, after it has seen to what they need.
//!
//! They share nothing with the program but its library's front: what left is judged by the gateway's
//! own log, what is known by the result files.

#![allow(clippy::print_stdout, reason = "figures are what a proof is for")]

#[cfg(not(otpdrive_mistakes))]
mod crash;
#[cfg(not(otpdrive_mistakes))]
mod disk;
#[cfg(not(otpdrive_mistakes))]
mod fleet;
#[cfg(not(otpdrive_mistakes))]
mod fuzz;
#[cfg(not(otpdrive_mistakes))]
mod network;
#[cfg(not(otpdrive_mistakes))]
mod order;
#[cfg(not(otpdrive_mistakes))]
mod page;
#[cfg(not(otpdrive_mistakes))]
mod secrets;
mod simulate;
#[cfg(not(otpdrive_mistakes))]
mod soak;
#[cfg(not(otpdrive_mistakes))]
mod supply;
#[cfg(not(otpdrive_mistakes))]
mod tools;

use crate::support::Counts;
use crate::support::workdir::{Row, Workdir};

/// Is this the long form (`tests/prove NAME --long`)?
fn long() -> bool {
    std::env::var("OTPDRIVE_LONG").is_ok_and(|long| !long.is_empty())
}

/// The figure for the quick form, or the one for the long form.
fn quick_or_long<T>(quick: T, long_form: T) -> T {
    if long() { long_form } else { quick }
}

/// Holds the results of a campaign that went on after a fault against a gateway that accepts
/// everything, and that was asked so often for a number before the fault and after it. Who is `sent`
/// was asked once, who is `unknown` once at most and not again; nobody is anything else. Gives how
/// many are `unknown`.
#[track_caller]
fn nobody_twice_nobody_lost(dir: &Workdir, rows: usize, before: &Counts, later: &Counts) -> usize {
    let results = dir.results();
    assert_eq!(results.len(), rows);
    let of = |asked: &Counts, row: &Row| asked.get(&row["otp_phone"]).copied().unwrap_or(0);
    for row in &results {
        let (before, later) = (of(before, row), of(later, row));
        let is_right = match row["otp_status"].as_str() {
            "sent" => before + later == 1,
            "unknown" => before <= 1 && later == 0,
            _ => false,
        };
        assert!(is_right, "asked {before} + {later}: {row:?}");
    }
    dir.count("unknown")
}
