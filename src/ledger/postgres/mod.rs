//! The ledger on a `PostgreSQL` server, which several machines share.

mod codes;
pub(crate) mod server;
