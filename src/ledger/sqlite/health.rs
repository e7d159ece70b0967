//! Is the ledger as it was written? `SQLite`'s own check, and what must hold beyond it.
//!
//! A page that was damaged looks to `SQLite` like rows that are not there, and to a campaign like
//! people nobody has sent to. What is wrong is said by row and job, never by number or code.

use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::error::{is_damage, words};
use super::file::with;
use super::log::{self, has_lost_commits};
use super::rows::Facts;
use super::seal::Seals;
use super::{SELECT_CAMPAIGN, campaign, former, history, purge, schema};
use crate::ledger::rules::CodePrint;
use crate::ledger::{Campaign, Records, Verified};
use crate::number::Number;

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

/// Looks at everything.
pub fn verify(db: &Connection, file: &Path) -> rusqlite::Result<Verified> {
    let mut verified = Verified::default();
    let count = |what| {
        let sql = format!("SELECT coalesce(({what}), 0)");
        db.query_row(&sql, [], |row| row.get(0).map(i64::cast_unsigned))
    };
    let mut counted = || {
        verified.campaigns = count("SELECT count(*) FROM campaign")?;
        verified.rows = count("SELECT sum(rows) FROM campaign")?;
        verified.attempts = count("SELECT count(*) FROM intent")?;
        Ok(Vec::new())
    };
    // What cannot be read because it is damaged is a finding, not a failure.
    let purged = purge::all(db).map(|_| Vec::new());
    let mut findings = vec![damage(db, file), counted(), inputs(db), codes(db), purged];
    findings.extend(ACCOUNTS.iter().map(|(says, sql)| audit(db, says, sql)));
    for found in findings {
        verified.wrong.extend(match found {
            Err(error) if is_damage(&error) => vec![words(&error)],
            found => found?,
        });
    }
    verified.wrong.dedup();
    Ok(verified)
}

/// Rows that must not be there, with what is said of them; the query gives how many and one of them.
const ACCOUNTS: &[(&str, &str)] = &[
    (
        "rows with ids that were never given",
        "SELECT count(*), min(id) FROM (
            SELECT first_row + rows AS id FROM campaign UNION ALL SELECT job + 1 FROM known)
          WHERE id > (SELECT max(next_id) FROM ledger)",
    ),
    (
        "rows that belong to no campaign",
        "SELECT count(*), min(id) FROM contact WHERE NOT EXISTS (SELECT 1 FROM campaign c
          WHERE contact.id >= c.first_row AND contact.id < c.first_row + c.rows)",
    ),
    (
        "rows whose number is not in the list of known numbers",
        "SELECT count(*), min(c.id) FROM campaign p
           JOIN contact c ON c.id >= p.first_row AND c.id < p.first_row + p.rows
          WHERE c.kind = 0 AND NOT EXISTS (SELECT 1 FROM known k WHERE k.number = c.number
                AND k.campaign = p.id AND k.job = coalesce(c.job, c.id))",
    ),
    (
        "numbers that were attempted and that no row asks for, unaccounted for",
        "SELECT count(*), min(k.job) FROM known k JOIN intent i ON i.id = k.job << 20 | 1
          WHERE k.job NOT IN (SELECT coalesce(job, id) FROM contact WHERE kind = 0)
            AND NOT EXISTS (SELECT 1 FROM former f WHERE f.job = k.job
                               AND f.campaign = k.campaign AND f.number = k.number)",
    ),
    (
        "things looked up about attempts that were never made",
        "SELECT count(*), min(attempt >> 20) FROM lookup
          WHERE attempt NOT IN (SELECT id FROM intent)",
    ),
    (
        "numbers of campaigns that were purged",
        "SELECT count(*), min(job) FROM (SELECT campaign, job FROM known
           UNION ALL SELECT campaign, job FROM former UNION ALL SELECT campaign, job FROM stood
           UNION ALL SELECT campaign, job FROM suppressed)
          WHERE campaign IN (SELECT campaign FROM purged)",
    ),
    (
        "jobs with a gap in their attempts",
        "SELECT count(*), min(job) FROM (SELECT id >> 20 AS job FROM intent GROUP BY job
         HAVING min(id & 1048575) <> 1 OR max(id & 1048575) <> count(*))",
    ),
    (
        "attempts of a job that nobody knows, or that another campaign made",
        "SELECT count(*), min(i.id >> 20) FROM intent i LEFT JOIN run r ON r.id = i.run
           LEFT JOIN campaign c ON c.id = r.campaign LEFT JOIN known k ON k.job = i.id >> 20
          WHERE (k.campaign IS NOT r.campaign
                 AND (k.job IS NOT NULL OR r.campaign NOT IN (SELECT campaign FROM purged)))
             OR c.id IS NULL OR (i.lane = 2) <> (c.operation = 'verify')",
    ),
    (
        "answers without an attempt, or in another run's place",
        "SELECT count(*), min(a.id >> 20) FROM answer a
           LEFT JOIN intent i ON i.id = a.id LEFT JOIN run r ON r.id = i.run
          WHERE (a.seq >= r.first_answer) IS NOT 1
             OR a.seq >= (SELECT first_answer FROM run WHERE id > r.id ORDER BY id LIMIT 1)",
    ),
    (
        "attempts that contradict themselves",
        "SELECT count(*), min(i.id >> 20) FROM intent i LEFT JOIN answer a ON a.id = i.id
          WHERE i.lane NOT IN (0, 1, 2) OR i.begun_at <= 0 OR a.left_at < i.begun_at
             OR a.answered_at < coalesce(a.left_at, i.begun_at) OR a.verdict NOT BETWEEN 1 AND 12
             OR (a.left_at IS NOT NULL) = (a.verdict IN (6, 12))
             OR (a.verdict = 2 AND i.lane <> 2) OR (a.retry_at IS NOT NULL AND a.verdict <> 4)",
    ),
];

fn audit(db: &Connection, says: &str, sql: &str) -> rusqlite::Result<Vec<String>> {
    let (count, first): (i64, Option<i64>) =
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let said = || format!("{count} {says} (the first: {})", first.unwrap_or(0));
    Ok((count != 0).then(said).into_iter().collect())
}

/// Every row of every campaign's input is there and as it was written, with its attempts.
fn inputs(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut select = db.prepare(&format!("{SELECT_CAMPAIGN} ORDER BY id"))?;
    let mut all = select.query([])?;
    while let Some(row) = all.next()? {
        let operation: String = row.get(1)?;
        let (Campaign { record, span }, _) = campaign(row)?;
        let id = record.id;
        if record.operation.name() != operation {
            wrong.push(format!(
                "campaign {} does something that nobody knows",
                id.0
            ));
        }
        let read = || {
            history::runs(db, id)?;
            history::latest(db, id)?;
            former::for_each(db, id, None, |_, _, _| true)?;
            let facts = Facts::of(db, id)?;
            facts.scan(db).for_each(span, Records::Read, |_| Ok(true))
        };
        match read() {
            Err(error) if is_damage(&error) => {
                wrong.push(format!("campaign {}: {}", id.0, words(&error)));
            }
            read => read?,
        }
    }
    Ok(wrong)
}

/// Every code that is still there is the one that was given.
fn codes(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let seals = Seals::of(db)?;
    let mut select = db.prepare(
        "SELECT k.number, c.code, k.code_print FROM code c LEFT JOIN known k ON k.job = c.job",
    )?;
    let mut found = select.query([])?;
    let mut wrong = 0;
    while let Some(row) = found.next()? {
        let digits: Option<i64> = row.get(0)?;
        let number = digits.and_then(|digits| Number::new(digits.cast_unsigned()));
        let (code, print): (String, Option<i64>) = (row.get(1)?, row.get(2)?);
        let expected = number.map(|number| seals.code(number, &code));
        wrong += i32::from(expected != print.map(CodePrint) || print.is_none());
    }
    let says = || format!("{wrong} codes that are not the ones that were given");
    Ok((wrong > 0).then(says).into_iter().collect())
}
