//! The result files: pure renderings of what the ledger knows, made when a run ends and again at
//! any time, from a killed run too.

pub mod pace;
pub mod write;
