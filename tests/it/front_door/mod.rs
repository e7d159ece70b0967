//! Through the binary, against a scripted gateway: what leaves, what the rows say, what a second
//! run does.

mod again;
mod bad_input;
mod campaign;
mod config;
mod consent;
mod crash;
mod endpoint;
mod fallback;
mod help;
mod hours;
mod identity;
mod lanes;
mod limits;
mod messages;
mod outage;
mod outputs;
mod report;
mod rows;
mod secrets;
mod signals;
mod stalls;
mod terminal;
pub mod ugly;
mod verdicts;
mod verify;
mod wave;
