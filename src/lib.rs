//! otpdrive: bulk phone verification that never sends twice unknowingly.

pub mod outcome;
pub mod record;
pub mod report;
pub mod summary;
