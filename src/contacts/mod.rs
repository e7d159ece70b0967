//! File bytes to contacts: encoding, dialect, columns, numbers, codes.

#![expect(dead_code, reason = "the readings of a file come next")]

mod cell;
mod codes;
mod error;
mod numbers;
mod rows;
mod source;
mod table;

pub use error::ContactsError;
pub use numbers::{Region, UnknownRegion};
