//! The ledger opened from any bytes, and from a real one that was damaged: read or refused.

use std::ops::ControlFlow;
use std::path::Path;

use otpdrive::ledger::{LedgerError, Records, Store};
use rusqlite::Connection;

use super::choices::Choices;

/// A real ledger, with campaigns of both kinds and each answer: `tests/prove fuzz` makes it.
pub const REAL: &str = "target/fuzz/real.db";

/// How much a ledger may grow by being opened.
const GROWTH_MAX: u64 = 1 << 20;

/// Every reader of a ledger ends, with what it found or with an error, and what was there is never
/// taken for nothing.
pub fn check(bytes: &[u8]) {
    let folder = super::folder();
    let path = folder.path().join("ledger.db");
    lay(&path, bytes);
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    let before = size(&path);
    let begins = std::fs::read(&path).expect("it is there");
    let opens: [fn(&Path) -> _; 2] = [|path| Store::open_to_read(path), |path| Store::open(path)];
    for open in opens {
        let found = open(&path).and_then(|ledger| look(&ledger));
        if let Err(error) = &found {
            let text = error.to_string();
            assert!(super::is_readable(&text, 2_000), "{text:?}");
            let emptied = before > 0 && text.contains("it is empty");
            assert!(!emptied, "it is not empty: {text}");
        }
        let ours = begins.starts_with(b"SQLite format 3\0");
        assert!(ours || found.is_err(), "taken for a ledger: {begins:?}");
    }
    let after = size(&path) + size(&path.with_extension("db-wal"));
    let grown = after.saturating_sub(before);
    assert!(grown <= GROWTH_MAX, "{before} bytes became {after}");
}

/// Reads all that it holds.
fn look(ledger: &Store) -> Result<(), LedgerError> {
    for campaign in ledger.campaigns()? {
        let runs = ledger.runs(campaign.record.id)?;
        ledger.for_each_row(&campaign, Records::Read, &mut |row| {
            let _ = row.outcome(&runs);
            ControlFlow::Continue(())
        })?;
    }
    Ok(())
}

/// Makes a ledger there: any bytes, a real one with damage, or one with values that nobody wrote.
pub fn lay(path: &Path, bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let way = choices.below(3);
    if way == 0 {
        std::fs::write(path, choices.rest()).expect("a file");
        return;
    }
    let mut real = std::fs::read(REAL).expect("tests/prove fuzz makes it");
    if way == 1 {
        damage(&mut real, &mut choices);
    }
    std::fs::write(path, &real).expect("a file");
    if way == 2 {
        twist(path, &mut choices).expect("it takes any value");
    } else if choices.rarely(8) {
        std::fs::write(path.with_extension("db-wal"), choices.rest()).expect("a file");
    }
}

/// Some bytes changed, the end cut off, or a page put in another's place.
fn damage(bytes: &mut Vec<u8>, choices: &mut Choices<'_>) {
    const PAGE: usize = 4096;
    let pages = bytes.len() / PAGE;
    match choices.below(8) {
        0 => bytes.truncate(choices.size(bytes.len())),
        1 => {
            let (from, to) = (choices.size(pages) * PAGE, choices.size(pages) * PAGE);
            bytes.copy_within(from..from + PAGE, to);
        }
        2 => {
            let page = choices.size(pages) * PAGE;
            bytes[page..page + PAGE].fill(choices.of(&[0, 0xff]));
        }
        _ => {}
    }
    for _ in 0..=choices.below(8) {
        // The beginning of a file and of a page say what the rest is.
        let page = choices.size(bytes.len() / PAGE + 1) * PAGE;
        let at = match choices.below(4) {
            0 => choices.size(100),
            1 => page + choices.size(12),
            2 => page + choices.size(128),
            _ => page + choices.size(PAGE),
        };
        if let Some(byte) = bytes.get_mut(at) {
            *byte = choices.byte();
        }
    }
}

const VALUES: &str = "NULL ¦ 0 ¦ 1 ¦ -1 ¦ 2 ¦ 3 ¦ 10 ¦ 4294967296 ¦ 9223372036854775807 \
    ¦ -9223372036854775808 ¦ 1000000000000000 ¦ '' ¦ 'x' ¦ CAST(X'ff' AS TEXT) \
    ¦ CAST(X'00' AS TEXT) ¦ X'' ¦ '{\"stopped\":{\"kind\":\"limit\",\"message\":\"\u{7}\"}}'";

/// Values that nobody wrote, in any column that takes them; sometimes a table is emptied or gone.
fn twist(path: &Path, choices: &mut Choices<'_>) -> rusqlite::Result<()> {
    let db = Connection::open(path)?;
    let mut columns = db.prepare(
        "SELECT t.name, c.name FROM sqlite_master t, pragma_table_info(t.name) c
         WHERE t.type = 'table' ORDER BY 1, 2",
    )?;
    let columns = columns.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let columns: Vec<(String, String)> = columns.collect::<Result<_, _>>()?;
    for _ in 0..=choices.below(4) {
        let (table, column) = &columns[choices.size(columns.len())];
        let value = choices.word(VALUES);
        let some = choices.of(&["", " WHERE rowid % 2 = 0", " WHERE rowid = 1"]);
        // Values of the wrong type are refused by the tables themselves; some have no row ids.
        let set = format!("UPDATE OR IGNORE {table} SET {column} = {value}");
        let _ = db
            .execute(&[&set, some].concat(), [])
            .or_else(|_| db.execute(&set, []));
    }
    if choices.rarely(8) {
        let (table, _) = &columns[choices.size(columns.len())];
        let how = choices.of(&["DELETE FROM ", "DROP TABLE "]);
        let _ = db.execute(&[how, table].concat(), []);
    }
    db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
