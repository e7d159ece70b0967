//! The tests from outside: one binary, a module for each concern.

// With all mistakes in it only the engine's tests and the simulation are run: it has no others.
#![cfg_attr(otpdrive_mistakes, allow(dead_code, unused_imports))]
#![allow(clippy::unwrap_used, reason = "in a test it is the right way to fail")]

#[cfg(not(otpdrive_mistakes))]
mod counts;
mod engine;
#[cfg(not(otpdrive_mistakes))]
mod front_door;
#[cfg(not(otpdrive_mistakes))]
mod house;
#[cfg(not(otpdrive_mistakes))]
mod ledger;
mod proof;
mod support;
