//! The tests from outside: one binary, a module for each concern.

mod house;
