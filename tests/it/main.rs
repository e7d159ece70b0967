//! What the program promises, from outside (`front_door`) and of its engine (`engine`).

#![allow(missing_docs, clippy::unwrap_used)]

mod engine;
mod front_door;
mod support;
