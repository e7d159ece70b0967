//! What a ledger says, read as the database that it is: the one place where tests know its tables.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};

/// A request that a ledger knows of.
#[derive(Debug)]
pub struct Fact {
    /// 0 for SMS, 1 for calls, 2 for codes.
    pub lane: i64,
    pub is_answered: bool,
}

/// The requests for each number, in their order.
pub type Facts = HashMap<u64, Vec<Fact>>;

/// All requests that the ledger in this file, which may have its log beside it, knows of; one that
/// never left is none.
pub fn ledger_facts(path: &Path) -> rusqlite::Result<Facts> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut select = db.prepare(
        "SELECT c.number, a.lane, a.answered_at IS NOT NULL
           FROM attempt a JOIN contact c ON c.id = a.job
          WHERE a.answered_at IS NULL OR a.left_at IS NOT NULL ORDER BY a.job, a.n",
    )?;
    let mut rows = select.query([])?;
    let mut facts = Facts::new();
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        let (lane, is_answered) = (row.get(1)?, row.get(2)?);
        let of_number = facts.entry(number.cast_unsigned()).or_default();
        of_number.push(Fact { lane, is_answered });
    }
    Ok(facts)
}
