//! Is a ledger as it was written? What must hold of its tables, beyond what the database itself
//! checks. What is wrong is said by row and job, never by number or code.

use secrecy::ExposeSecret;

use super::campaigns::{SELECT_CAMPAIGN, campaign};
use super::db::Db;
use super::error::{Result, is_damage, words};
use super::scan::Facts;
use super::seal::Seals;
use super::{former, history, purge};
use crate::job::JobId;
use crate::ledger::rules::CodePrint;
use crate::ledger::{Campaign, Records, Verified};
use crate::number::Number;

/// Looks at everything; `damage` is what the database itself finds.
pub fn verify(db: Db<'_>, damage: impl FnOnce() -> Result<Vec<String>>) -> Result<Verified> {
    let mut verified = Verified::default();
    let count = |what| {
        let sql = format!("SELECT coalesce(({what}), 0)");
        db.one(&sql, &[], |row| row.get(0).map(i64::cast_unsigned))
    };
    let mut counted = || {
        verified.campaigns = count("SELECT count(*) FROM campaign")?;
        verified.rows = count("SELECT CAST(sum(rows) AS BIGINT) FROM campaign")?;
        verified.attempts = count("SELECT count(*) FROM intent")?;
        Ok(Vec::new())
    };
    // What cannot be read because it is damaged is a finding, not a failure.
    let purged = purge::all(db).map(|_| Vec::new());
    let mut findings = vec![damage(), counted(), inputs(db), codes(db), purged];
    let places = match db {
        Db::Sqlite(_) => ANSWERS_OF_FILE,
        Db::Postgres(_) => ANSWERS_OF_SERVER,
    };
    let accounts = ACCOUNTS.iter().chain([&places]);
    findings.extend(accounts.map(|(says, sql)| audit(db, says, sql)));
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
            SELECT first_row + rows AS id FROM campaign UNION ALL SELECT job + 1 FROM known) t
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
        // Not `NOT IN`: what does not fit into its memory a server reads once for each row.
        "SELECT count(*), min(job) FROM (
            SELECT k.job FROM known k JOIN intent i ON i.id = k.job << 20 | 1
             WHERE NOT EXISTS (SELECT 1 FROM former f WHERE f.job = k.job
                                  AND f.campaign = k.campaign AND f.number = k.number)
            EXCEPT SELECT coalesce(job, id) FROM contact WHERE kind = 0) t",
    ),
    (
        "things looked up about attempts that were never made",
        "SELECT count(*), min(attempt >> 20) FROM lookup
          WHERE NOT EXISTS (SELECT 1 FROM intent i WHERE i.id = lookup.attempt)",
    ),
    (
        "numbers of campaigns that were purged",
        "SELECT count(*), min(job) FROM (SELECT campaign, job FROM known
           UNION ALL SELECT campaign, job FROM former UNION ALL SELECT campaign, job FROM stood
           UNION ALL SELECT campaign, job FROM suppressed) t
          WHERE campaign IN (SELECT campaign FROM purged)",
    ),
    (
        "jobs with a gap in their attempts",
        "SELECT count(*), min(job) FROM (SELECT id >> 20 AS job FROM intent GROUP BY id >> 20
         HAVING min(id & 1048575) <> 1 OR max(id & 1048575) <> count(*)) t",
    ),
    (
        "attempts of a job that nobody knows, or that another campaign made",
        "SELECT count(*), min(i.id >> 20) FROM intent i LEFT JOIN run r ON r.id = i.run
           LEFT JOIN campaign c ON c.id = r.campaign LEFT JOIN known k ON k.job = i.id >> 20
          WHERE (k.campaign IS DISTINCT FROM r.campaign
                 AND (k.job IS NOT NULL OR r.campaign NOT IN (SELECT campaign FROM purged)))
             OR c.id IS NULL OR (i.lane = 2) <> (c.operation = 'verify')",
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

/// The same of answers: in a file those of a run lie together.
const ANSWERS_OF_FILE: (&str, &str) = (
    "answers without an attempt, or in another run's place",
    "SELECT count(*), min(a.id >> 20) FROM answer a
       LEFT JOIN intent i ON i.id = a.id LEFT JOIN run r ON r.id = i.run
      WHERE (a.seq >= r.first_answer) IS NOT 1
         OR a.seq >= (SELECT first_answer FROM run WHERE id > r.id ORDER BY id LIMIT 1)",
);
const ANSWERS_OF_SERVER: (&str, &str) = (
    "answers without an attempt",
    "SELECT count(*), min(id >> 20) FROM answer
      WHERE NOT EXISTS (SELECT 1 FROM intent i WHERE i.id = answer.id)",
);

fn audit(db: Db<'_>, says: &str, sql: &str) -> Result<Vec<String>> {
    let (count, first): (i64, Option<i64>) =
        db.one(sql, &[], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let said = || format!("{count} {says} (the first: {})", first.unwrap_or(0));
    Ok((count != 0).then(said).into_iter().collect())
}

/// Every row of every campaign's input is there and as it was written, with its attempts.
fn inputs(db: Db<'_>) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let sql = format!("{SELECT_CAMPAIGN} ORDER BY id");
    let all = db.all(&sql, &[], |row| {
        Ok((row.get::<String>(1)?, campaign(row)?.0))
    })?;
    for (operation, Campaign { record, span, .. }) in all {
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
fn codes(db: Db<'_>) -> Result<Vec<String>> {
    if !db.can_open_codes() {
        return Ok(Vec::new());
    }
    let seals = Seals::of(db)?;
    let sql = "SELECT k.number, c.code, k.code_print, c.job FROM code c LEFT JOIN known k ON k.job = c.job";
    let mut wrong = 0;
    db.each(sql, &[], |row| {
        let digits: Option<i64> = row.get(0)?;
        let number = digits.and_then(|digits| Number::new(digits.cast_unsigned()));
        let code = db.open(JobId(row.get(3)?), row.get(1)?)?;
        let print: Option<i64> = row.get(2)?;
        let expected = number.map(|number| seals.code(number, code.expose_secret()));
        wrong += i32::from(expected != print.map(CodePrint) || print.is_none());
        Ok(true)
    })?;
    let says = || format!("{wrong} codes that are not the ones that were given");
    Ok((wrong > 0).then(says).into_iter().collect())
}
