//! otpdrive: bulk phone verification that never sends twice unknowingly.

pub mod contacts;
pub mod outcome;
