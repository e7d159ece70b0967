//! Is the ledger as it was written? `SQLite`'s own check, and what must hold beyond it.
//!
//! A page that was damaged looks to `SQLite` like rows that are not there, and to a campaign like
//! people nobody has sent to. What is wrong is said by line, row and job, never by number or code.

use std::io;
use std::path::Path;

use rusqlite::Connection;

use super::error::{is_damage, words};
use super::file::with;
use super::log::has_lost_commits;
use super::rows::{self, for_each};
use super::{SELECT_CAMPAIGN, campaign, code_print, salt, schema};
use crate::outcome::Number;

/// What was looked at, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Campaigns in the ledger.
    pub campaigns: u64,
    /// Rows of their latest inputs.
    pub rows: u64,
    /// Requests begun.
    pub attempts: u64,
    /// What is wrong, in plain words, a sentence each; empty: the ledger is sound.
    pub wrong: Vec<String>,
}

/// At most so many findings of each kind are told.
const FINDINGS_MAX: usize = 20;

/// What `SQLite` finds wrong with its file, and whether the tables are those of a ledger.
///
/// The full check, with indexes: it is what notices a campaign whose name has changed. It takes
/// 0.30 s for a million rows and as many attempts, of which `quick_check` would save 0.03 s.
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
    let page: u64 = db.query_row("PRAGMA page_size", [], |row| {
        row.get::<_, u32>(0).map(u64::from)
    })?;
    // A crash may leave part of a page, but then the whole page is in the log.
    let length = |file: &Path| file.metadata().map_or(0, |found| found.len());
    if length(&with(file, "-wal")) == 0 && !length(file).is_multiple_of(page) {
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

/// What the log has lost, if anything; only while nobody writes to it.
pub fn lost(file: &Path) -> io::Result<Option<String>> {
    let says = || "its log is broken in the middle, and what was written behind is lost".to_owned();
    Ok(has_lost_commits(&with(file, "-wal"))?.then(says))
}

fn tables(db: &Connection) -> rusqlite::Result<Vec<(String, Option<String>)>> {
    let mut select = db.prepare("SELECT type || ' ' || name, sql FROM sqlite_schema")?;
    let found = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    found.collect()
}

/// A table, view, trigger or index that no ledger of this format has. `SQLite`'s own do not count.
pub fn strange(db: &Connection, format: u32) -> rusqlite::Result<Option<String>> {
    let made = tables(&schema::made(format)?)?;
    let is_sqlites = |name: &str| {
        name.split(' ')
            .nth(1)
            .is_some_and(|n| n.starts_with("sqlite_"))
    };
    let mut found = tables(db)?.into_iter().map(|(name, _)| name);
    let strange = found.find(|name| !is_sqlites(name) && made.iter().all(|(made, _)| made != name));
    Ok(strange.map(|name| format!("the {}", name.replace(char::is_control, " "))))
}

/// Looks at everything.
///
/// # Errors
/// When it cannot be read at all.
pub fn verify(db: &Connection, file: &Path) -> rusqlite::Result<Verified> {
    let mut verified = Verified {
        wrong: noted(damage(db, file))?,
        ..Verified::default()
    };
    let count = |table| {
        db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
            row.get::<_, i64>(0).map(i64::cast_unsigned)
        })
    };
    // Where not even this can be read, there is nothing to hold against anything.
    let counts =
        || Ok::<_, rusqlite::Error>((count("campaign")?, count("contact")?, count("attempt")?));
    match counts() {
        Ok((campaigns, rows, attempts)) => {
            (verified.campaigns, verified.rows, verified.attempts) = (campaigns, rows, attempts);
        }
        Err(error) => verified.wrong.extend(noted(Err(error))?),
    }
    verified.wrong.extend(noted(inputs(db))?);
    for account in ACCOUNTS {
        verified.wrong.extend(noted(audit(db, account))?);
    }
    verified.wrong.extend(noted(attempts(db))?);
    verified.wrong.extend(noted(codes(db))?);
    verified.wrong.dedup();
    Ok(verified)
}

/// What cannot be read because it is damaged is a finding, not a failure.
fn noted(found: rusqlite::Result<Vec<String>>) -> rusqlite::Result<Vec<String>> {
    match found {
        Err(error) if is_damage(&error) => Ok(vec![words(&error)]),
        found => found,
    }
}

/// Rows that must not be there: the query gives how many and one of them.
struct Account {
    sql: &'static str,
    /// What is said of them: "3 … (the first: 17)".
    says: &'static str,
}

const ACCOUNTS: &[Account] = &[
    Account {
        sql: "SELECT abs(count(*) - 1), 1 FROM ledger WHERE length(salt) = 32 AND next_id >= 1",
        says: "rows too many or too few in the table ledger",
    },
    Account {
        sql: "SELECT count(*), min(id) FROM contact
               WHERE NOT EXISTS (SELECT 1 FROM campaign c WHERE contact.id >= c.first_row
                                    AND contact.id < c.first_row + c.rows)",
        says: "rows that belong to no campaign",
    },
    Account {
        sql: "SELECT count(*), min(b.id) FROM campaign a JOIN campaign b ON a.id <> b.id AND b.rows > 0
                AND b.first_row >= a.first_row AND b.first_row < a.first_row + a.rows",
        says: "campaigns whose rows are another's too",
    },
    Account {
        sql: "SELECT count(*), min(id) FROM (
                SELECT first_row + rows AS id FROM campaign UNION ALL SELECT job + 1 FROM known)
               WHERE id > (SELECT max(next_id) FROM ledger)",
        says: "rows with ids that were never given",
    },
    Account {
        sql: "SELECT count(*), min(c.id) FROM campaign p
                JOIN contact c ON c.id >= p.first_row AND c.id < p.first_row + p.rows
               WHERE c.number IS NOT NULL AND c.problem IS NULL
                 AND NOT EXISTS (SELECT 1 FROM known k WHERE k.number = c.number
                       AND k.campaign = p.id AND k.job = coalesce(c.job, c.id)
                       AND (c.code_print IS NULL OR k.code_print = c.code_print))",
        says: "rows whose number is not in the list of known numbers",
    },
    Account {
        sql: "SELECT count(*), min(id) FROM contact WHERE (number IS NULL AND problem IS NULL)
                  OR assumed NOT IN (0, 1) OR line < 1 OR first_line < 1 OR first_line = line",
        says: "rows that contradict themselves",
    },
    Account {
        sql: "SELECT count(*), min(job) FROM known
               WHERE campaign NOT IN (SELECT id FROM campaign)",
        says: "known numbers of a campaign that is not there",
    },
    Account {
        sql: "SELECT count(*), min(job) FROM (SELECT job FROM known GROUP BY job HAVING count(*) > 1)",
        says: "jobs that two numbers share",
    },
    Account {
        sql: "SELECT count(*), min(job) FROM (SELECT job FROM attempt GROUP BY job
                HAVING min(n) <> 1 OR max(n) <> count(*))",
        says: "jobs with a gap in their attempts",
    },
    Account {
        sql: "SELECT count(*), min(job) FROM attempt WHERE run NOT IN (SELECT id FROM run)",
        says: "attempts of a run that is not there",
    },
    Account {
        sql: "SELECT count(*), min(job) FROM attempt
               WHERE lane NOT IN (0, 1, 2) OR fallback NOT IN (0, 1) OR try_number < 1
                  OR tries_max < 1 OR begun_at <= 0 OR left_at < begun_at OR answered_at < left_at
                  OR (left_at IS NULL) <> (verdict IS NULL)
                  OR (left_at IS NULL) <> (answered_at IS NULL)
                  OR (left_at IS NULL) <> (text IS NULL)
                  OR verdict NOT BETWEEN 1 AND 9 OR (verdict = 2 AND lane <> 2)
                  OR (retry_at IS NOT NULL AND verdict IS NOT 4)",
        says: "attempts that contradict themselves",
    },
    Account {
        sql: "SELECT count(*), min(id) FROM run
               WHERE campaign NOT IN (SELECT id FROM campaign)
                  OR (finished_at IS NULL) <> (end IS NULL) OR started_at <= 0",
        says: "runs that contradict themselves",
    },
];

fn audit(db: &Connection, account: &Account) -> rusqlite::Result<Vec<String>> {
    let (count, first): (i64, Option<i64>) =
        db.query_row(account.sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let says = || {
        format!(
            "{count} {} (the first: {})",
            account.says,
            first.unwrap_or(0)
        )
    };
    Ok((count != 0).then(says).into_iter().collect())
}

/// Every row of every campaign's input can be read, and none is missing.
fn inputs(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut select = db.prepare(&format!("{SELECT_CAMPAIGN} ORDER BY id"))?;
    let mut all = select.query([])?;
    while let Some(row) = all.next()? {
        let id: i64 = row.get(0)?;
        let operation: String = row.get(1)?;
        let (campaign, _) = campaign(row)?;
        if campaign.record.operation.name() != operation {
            wrong.push(format!("campaign {id} does something that nobody knows"));
        }
        let mut scan = rows::scan(db, true)?;
        let read = for_each(&mut scan, campaign.span, |_| Ok(true));
        let said = noted(read.map(|()| Vec::new()))?;
        wrong.extend(
            said.into_iter()
                .map(|said| format!("campaign {id}: {said}")),
        );
    }
    Ok(wrong)
}

/// Every attempt is one of a job of its run's campaign, on a lane of what that campaign does. Two
/// lists in the order of jobs, so that memory does not grow with them.
fn attempts(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut jobs = db.prepare("SELECT job, number, campaign FROM known ORDER BY job")?;
    let mut jobs = jobs.query([])?;
    let mut attempts = db.prepare(
        "SELECT a.job, r.campaign, (a.lane = 2) = (c.operation = 'verify')
           FROM attempt a LEFT JOIN run r ON r.id = a.run LEFT JOIN campaign c ON c.id = r.campaign
          ORDER BY a.job",
    )?;
    let mut attempts = attempts.query([])?;
    let mut at: Option<(i64, i64)> = None;
    let (mut homeless, mut strayed, mut unreadable) = (0, 0, 0);
    let mut next = |unreadable: &mut i64| -> rusqlite::Result<Option<(i64, i64)>> {
        let Some(row) = jobs.next()? else {
            return Ok(None);
        };
        if Number::new(row.get::<_, i64>(1)?.cast_unsigned()).is_none() {
            *unreadable += 1;
        }
        Ok(Some((row.get(0)?, row.get(2)?)))
    };
    while let Some(attempt) = attempts.next()? {
        let job: i64 = attempt.get(0)?;
        while at.is_none_or(|(known, _)| known < job) {
            at = next(&mut unreadable)?;
            if at.is_none() {
                break;
            }
        }
        match at {
            Some((known, campaign)) if known == job => {
                let of_run: Option<i64> = attempt.get(1)?;
                let fits: Option<bool> = attempt.get(2)?;
                strayed += i64::from(of_run != Some(campaign) || fits != Some(true));
            }
            _ => homeless += 1,
        }
    }
    while next(&mut unreadable)?.is_some() {}
    let mut wrong = Vec::new();
    for (count, says) in [
        (homeless, "attempts of a job that nobody knows"),
        (strayed, "attempts that another campaign made"),
        (unreadable, "known numbers that are none"),
    ] {
        if count > 0 {
            wrong.push(format!("{count} {says}"));
        }
    }
    Ok(wrong)
}

/// Every code still there is the one that its print was made of.
fn codes(db: &Connection) -> rusqlite::Result<Vec<String>> {
    let salt = salt(db)?;
    let mut select = db.prepare(
        "SELECT number, code, code_print FROM contact
          WHERE code IS NOT NULL AND code_print IS NOT NULL AND number IS NOT NULL",
    )?;
    let mut found = select.query([])?;
    let mut wrong = 0;
    while let Some(row) = found.next()? {
        let number = Number::new(row.get::<_, i64>(0)?.cast_unsigned());
        let code: String = row.get(1)?;
        let print: i64 = row.get(2)?;
        wrong += i64::from(number.is_none_or(|number| code_print(&salt, number, &code) != print));
    }
    let says = || format!("{wrong} rows whose code is not the one that was given");
    Ok((wrong > 0).then(says).into_iter().collect())
}
