//! The tests from outside: one binary, a module for each concern.

mod engine;
mod front_door;
mod house;
mod support;
