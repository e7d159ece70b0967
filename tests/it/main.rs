//! The tests from outside: one binary, a module for each concern.

#![allow(
    clippy::unwrap_used,
    reason = "what fails in a test's own helpers fails the test"
)]

mod engine;
mod front_door;
mod house;
mod support;
