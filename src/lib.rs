//! otpdrive: bulk phone verification that never sends twice unknowingly.

pub mod campaign;
pub mod cli;
pub mod clock;
pub mod contacts;
pub mod gateway;
pub mod ledger;
pub mod outage;
pub mod outcome;
pub mod pace;
pub mod record;
pub mod redact;
pub mod report;
pub mod retry;
pub mod sandbox;
pub mod summary;
