//! The ledger on a `PostgreSQL` server, which several machines share.
//!
//! `address` says where it is and how sure its server has to be, `tls` what that asks of a
//! certificate; `connect` makes one connection, and says in plain words why there is none; `driver`
//! keeps connections moving on a thread of their own, so that any code can wait for what comes
//! through them.

mod address;
pub(super) mod codes;
mod connect;
mod counts;
mod driver;
pub(super) mod fleet;
mod heart;
mod ledger;
mod line;
mod link;
mod run;
mod schema;
pub(crate) mod server;
mod slices;
mod tls;
mod writer;

pub use address::{Address, AddressError, SslMode};
pub use connect::{Cause, NoConnection, connect, describe};
pub use driver::{Driver, wait};
pub use ledger::{PostgresLedger, Timeline};
pub use run::PostgresRun;
