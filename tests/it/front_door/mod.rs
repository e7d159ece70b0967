//! Through the binary, against a scripted gateway: what leaves, what the rows say, what a second
//! run does.

mod after;
mod again;
mod bad_input;
mod campaign;
mod config;
mod consent;
mod crash;
mod endpoint;
mod excel;
mod fallback;
mod help;
mod hours;
mod identity;
mod lanes;
mod limits;
mod logs;
mod messages;
mod metrics;
mod notify;
mod outage;
mod outputs;
mod plan;
mod purge;
mod report;
mod rows;
mod samples;
mod secrets;
mod server;
mod signals;
mod stalls;
mod terminal;
pub mod ugly;
mod verdicts;
mod verify;
mod wave;
