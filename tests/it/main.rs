//! The tests from outside: one binary, a module for each concern.

#![allow(clippy::unwrap_used, reason = "in a test it is the right way to fail")]

mod engine;
mod front_door;
mod house;
mod proof;
mod support;
