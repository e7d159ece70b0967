//! The tables of a ledger, and how they are read and written, the same in a file and on a server.
//! What differs between the two databases is told by [`db`].

pub mod accounts;
mod answers;
mod asked;
pub mod campaigns;
mod codes;
pub mod copy;
pub mod db;
pub mod error;
pub mod former;
pub mod history;
pub mod intake;
pub mod journey;
pub mod lookup;
mod new_input;
pub mod places;
pub mod purge;
pub mod rows;
pub mod scan;
pub mod seal;
mod sorter;
pub mod suppress;
