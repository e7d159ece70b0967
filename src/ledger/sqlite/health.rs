//! Is the ledger as it was written? `SQLite`'s own check, and what must hold beyond it.
//!
//! A page that was damaged looks to `SQLite` like rows that are not there, and to a campaign like
//! people nobody has sent to. What is wrong is said by row and job, never by number or code.

use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::file::with;
use super::log::{self, has_lost_commits};
use super::schema;

/// At most so many findings of each kind are told.
const FINDINGS_MAX: usize = 20;

/// What `SQLite` finds wrong with its file, and whether the tables are those of a ledger.
///
/// The full check, with indexes: it is what notices a campaign whose name has changed.
pub fn damage(db: &Connection, file: &Path) -> rusqlite::Result<Vec<String>> {
    let sql = format!("PRAGMA integrity_check({FINDINGS_MAX})");
    let mut check = db.prepare(&sql)?;
    let said = check.query_map([], |row| row.get::<_, String>(0))?;
    let mut wrong: Vec<String> = said.collect::<Result<_, _>>()?;
    wrong.retain(|said| said != "ok");
    for said in &mut wrong {
        // SQLite heads some findings with a line of their own.
        let found = said.trim_start_matches("*** in database main ***");
        *said = found.trim().replace(char::is_control, " ");
    }
    let page: u32 = db.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    let length = file.metadata().map_or(0, |found| found.len());
    // A crash may leave part of a page, but then the whole page is in the log.
    let no_log = log::is_empty(&with(file, "-wal")).unwrap_or(false);
    if no_log && !length.is_multiple_of(page.into()) {
        wrong.push("the file ends in the middle of a page".to_owned());
    }
    let ours = tables(db)?;
    // Of its own format: it is brought to the newest one only when it is sound.
    let format = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for expected in tables(&schema::made(format)?)? {
        if !ours.contains(&expected) {
            wrong.push(format!("the {} is not as made", expected.0));
        }
    }
    Ok(wrong)
}

fn tables(db: &Connection) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    let mut select = db.prepare("SELECT type || ' ' || name, sql FROM sqlite_schema")?;
    let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    found.collect()
}

/// A table, view, trigger or index that no ledger of this format has. `SQLite`'s own do not count.
pub fn strange(db: &Connection, format: u32) -> rusqlite::Result<Option<String>> {
    let made = tables(&schema::made(format)?)?;
    let is_sqlites = |name: &str| name.contains(" sqlite_");
    let mut found = tables(db)?.into_iter().map(|(name, _)| name);
    let strange = found.find(|name| !is_sqlites(name) && made.iter().all(|(made, _)| made != name));
    Ok(strange.map(|name| format!("the {}", name.replace(char::is_control, " "))))
}

/// What the log has lost, if anything; only while nobody writes to it.
pub fn lost(file: &Path) -> io::Result<Option<String>> {
    let says = || "its log is broken in the middle, and what was written behind is lost".to_owned();
    Ok(has_lost_commits(&with(file, "-wal"))?.then(says))
}
