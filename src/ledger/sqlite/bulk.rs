//! Many rows per statement: most of what an insert costs is the statement, not the row.

use rusqlite::Connection;
use rusqlite::types::ToSqlOutput;

/// Most rows in one statement. Fewer go as the powers of two that they are made of, so that there
/// are few texts to prepare.
const ROWS_MAX: usize = 64;

/// Rows that are gathered to be written together.
pub const CHUNK: usize = 4_096;

/// Inserts rows in their order; `into` is all of the statement before its `VALUES`.
pub fn insert_all<'r, T, const COLUMNS: usize>(
    db: &Connection,
    into: &str,
    mut rows: &'r [T],
    values: impl Fn(&'r T) -> [ToSqlOutput<'r>; COLUMNS],
) -> rusqlite::Result<()> {
    while !rows.is_empty() {
        let (now, later) = rows.split_at(1 << rows.len().min(ROWS_MAX).ilog2());
        let mut insert = db.prepare_cached(&statement(into, COLUMNS, now.len()))?;
        for (row, first) in now.iter().zip((1..).step_by(COLUMNS)) {
            for (value, place) in values(row).into_iter().zip(first..) {
                insert.raw_bind_parameter(place, value)?;
            }
        }
        insert.raw_execute()?;
        rows = later;
    }
    Ok(())
}

fn statement(into: &str, columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("{into} VALUES {}", vec![row; rows].join(","))
}

/// A number, or a text, that may be missing.
pub fn optional<'r>(value: Option<impl Into<ToSqlOutput<'r>>>) -> ToSqlOutput<'r> {
    value.map_or(ToSqlOutput::Owned(rusqlite::types::Value::Null), Into::into)
}
