//! The proofs behind the README's guarantees, a module for each. They are ignored by a plain
//! `cargo test`: `tests/prove` runs them, by name, after it has seen to what they need.
//!
//! They share nothing with the program but its library's front: what left is judged by the gateway's
//! own log, what is known by the result files.

#![allow(clippy::print_stdout, reason = "figures are what a proof is for")]

// Join as the rooms that they prove are rebuilt.
// mod crash;
// mod disk;
// mod fuzz;
// mod network;
// mod order;
// mod secrets;
mod simulate;
// mod soak;
// mod supply;

/// Is this the long form (`tests/prove NAME --long`)?
fn long() -> bool {
    std::env::var("OTPDRIVE_LONG").is_ok_and(|long| !long.is_empty())
}

/// The figure for the quick form, or the one for the long form.
fn quick_or_long<T>(quick: T, long_form: T) -> T {
    if long() { long_form } else { quick }
}
