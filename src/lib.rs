//! otpdrive: bulk phone verification that never sends twice unknowingly.

pub mod outcome;
pub mod sandbox;
