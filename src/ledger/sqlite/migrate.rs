//! From format 1: an attempt was one row that was changed until it was right, and what a run was
//! allowed to do, or ran into, stood in its attempts.
//!
//! Every row keeps its status. A try that had been given back, because it was part of an outage,
//! stays uncounted: an outage is noted around just that attempt.

use rusqlite::Connection;

use crate::job::JobId;
use crate::ledger::tables::campaigns;
use crate::ledger::tables::db::CHUNK;
use crate::ledger::tables::error::{Result, damaged};
use crate::ledger::tables::rows::{self, BlockWriter};
use crate::ledger::tables::seal::{Sealed, Seals};
use crate::ledger::{Campaign, Span};
use crate::number::Number;

/// Brings a file of format 1 to format 2, whose tables are given; within a transaction.
pub fn from_format_1(db: &Connection, tables: &str) -> Result<()> {
    db.execute_batch(PUT_ASIDE)?;
    db.execute_batch(tables)?;
    db.execute_batch(RUNS)?;
    db.execute_batch(ATTEMPTS)?;
    let seals = Seals::of(db.into())?;
    for campaign in campaigns::all(db.into())? {
        bring_rows(db, &seals, &campaign)?;
    }
    Ok(db.execute_batch(FINISH)?)
}

const PUT_ASIDE: &str = "
DROP INDEX run_campaign;
DROP INDEX attempt_retry_at;
ALTER TABLE run RENAME TO old_run;
ALTER TABLE contact RENAME TO old_contact;
ALTER TABLE attempt RENAME TO old_attempt;";

/// An answered 5xx was only written down as one when it was believed.
const RUNS: &str = "
INSERT INTO run
SELECT r.id, r.campaign, r.started_at,
       1 + coalesce(sum(a.answers) OVER (ORDER BY r.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0),
       coalesce(r.settings ->> '$.endpoint', ''),
       json_object(
           'max_attempts', coalesce(r.settings ->> '$.max_attempts', a.tries_max, 5),
           'fallback', r.settings ->> '$.fallback',
           'on_unknown', coalesce(r.settings ->> '$.on_unknown', iif(c.operation = 'verify', 'retry', 'hold')),
           'on_server_error', iif(a.believed, 'retry', coalesce(r.settings ->> '$.on_server_error', 'retry'))),
       r.settings, r.version, r.finished_at, r.end, r.last_left_at, NULL
  FROM old_run r
  LEFT JOIN campaign c ON c.id = r.campaign
  LEFT JOIN (SELECT run, count(verdict) AS answers, max(tries_max) AS tries_max,
                    max(verdict IS 5) AS believed FROM old_attempt GROUP BY run) a ON a.run = r.id;

INSERT INTO run_fact (run, seq, fact)
SELECT DISTINCT run, 0, '\"endpoint_proven\"' FROM old_attempt WHERE verdict IN (1, 2, 3);";

/// What never left has no departure. A `Retry-After` that is over is dropped: with it, a try would
/// no longer count. A run that answered with `try_number` less than there were tries has given the
/// first ones back; and an answer as from a wrong endpoint was still in doubt.
const ATTEMPTS: &str = "
INSERT INTO intent SELECT job << 20 | n, run, lane, begun_at FROM old_attempt ORDER BY job, n;

INSERT INTO answer (id, left_at, answered_at, verdict, text, retry_at)
SELECT job << 20 | n, iif(verdict = 6, NULL, left_at), answered_at, verdict, text,
       iif(retry_at > unixepoch() * 1000000, retry_at, NULL)
  FROM old_attempt WHERE verdict IS NOT NULL ORDER BY run, answered_at, job, n;

INSERT INTO run_fact (run, seq, fact)
WITH failed AS (
    SELECT run, lane, left_at, answered_at, row_number() OVER tries AS place,
           count(*) OVER tries_of_all AS tries, last_value(try_number) OVER tries_of_all AS counted
      FROM old_attempt WHERE verdict IN (4, 5)
    WINDOW tries AS (PARTITION BY job, run, lane ORDER BY n),
           tries_of_all AS (tries ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)),
uncounted AS (
    SELECT run, lane, left_at, answered_at FROM failed WHERE place <= tries - counted
    UNION SELECT run, lane, left_at, answered_at FROM old_attempt WHERE verdict = 7
             AND run IN (SELECT run FROM run_fact)),
numbered AS (
    SELECT run, answered_at, left_at, row_number() OVER (PARTITION BY run ORDER BY answered_at, left_at, lane) AS place,
           CASE lane WHEN 0 THEN 'sms' WHEN 1 THEN 'call' ELSE 'verify' END AS lane FROM uncounted)
SELECT run, 2 * place - 1, json_object('outage_began',
           json_object('lane', lane, 'from', answered_at, 'why', 'an outage in an earlier version'))
  FROM numbered
UNION ALL
SELECT run, 2 * place, json_object('outage_ended', json_object('lane', lane, 'at', left_at + 1))
  FROM numbered;";

const FINISH: &str = "
INSERT INTO code SELECT coalesce(job, id), code FROM old_contact
 WHERE code IS NOT NULL AND first_line IS NULL AND problem IS NULL;
DROP TABLE old_contact;
DROP TABLE old_attempt;
DROP TABLE old_run;";

/// Seals the rows of a campaign's input, if they are sound, and packs their records.
fn bring_rows(db: &Connection, seals: &Seals, campaign: &Campaign) -> Result<()> {
    let Span { first, end } = campaign.span;
    let mut select = db.prepare(
        "SELECT c.id, c.line, c.lane, c.assumed, c.number, coalesce(c.job, c.id), c.problem, c.first_line,
                c.problem IS NULL AND NOT EXISTS (SELECT 1 FROM known k WHERE k.number = c.number
                      AND k.campaign = ?3 AND k.job = coalesce(c.job, c.id)), c.record
           FROM old_contact c WHERE c.id >= ?1 AND c.id < ?2 ORDER BY c.id",
    )?;
    let mut found = select.query([first, end, campaign.record.id.0])?;
    let mut records = BlockWriter::new(db.into(), seals, first);
    let (mut chunk, mut special) = (Vec::with_capacity(CHUNK), Vec::new());
    let mut next = first;
    while let Some(row) = found.next()? {
        let id: i64 = row.get(0)?;
        if id != next {
            break;
        }
        next += 1;
        let digits: Option<i64> = row.get(4)?;
        let number = digits.and_then(|digits| Number::new(digits.cast_unsigned()));
        if row.get(8)? || number.is_some() != digits.is_some() {
            return Err(damaged(format!("row {id}: its number is not a known one")));
        }
        let (problem, first_line): (Option<String>, Option<i64>) = (row.get(6)?, row.get(7)?);
        chunk.push(Sealed {
            row: id,
            line: row.get::<_, i64>(1)?.cast_unsigned(),
            lane: rows::lane(row.get(2)?, 2)?,
            kind: match (&problem, first_line) {
                (Some(_), _) => rows::INVALID,
                (None, Some(_)) => rows::DUPLICATE,
                (None, None) => rows::JOB,
            },
            assumed: row.get(3)?,
            number,
            job: JobId(row.get(5)?),
        });
        if let Some(text) = problem.or(first_line.map(|line| line.to_string())) {
            special.push((id, text));
        }
        records.add(row.get(9)?)?;
        if chunk.len() == CHUNK {
            rows::write(db.into(), seals, campaign.record.id, &chunk)?;
            chunk.clear();
        }
    }
    if next != end {
        return Err(damaged(format!("row {next} is missing")));
    }
    records.end()?;
    rows::write(db.into(), seals, campaign.record.id, &chunk)?;
    rows::write_special(db.into(), &special)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use secrecy::ExposeSecret;
    use serde_json::Value;
    use tempfile::TempDir;

    use super::*;
    use crate::clock::Clock;
    use crate::job::{Attempt, Job, Lane, UnixMicros};
    use crate::ledger::Opening;
    use crate::ledger::sqlite::Restored;
    use crate::ledger::tables::history;
    use crate::ledger::{Execution, Ledger, LedgerError, NewRun, Records, Store, Then};
    use crate::record::{Row, RowState};
    use crate::run::{Policy, RunId, WhenUncertain};
    use crate::status::Status;

    /// Ledgers as the first version left them, with the status that it gave each row: one of a run
    /// that came to its end, one of a killed run, one of a run that was interrupted before its
    /// fallback, one of an outage, one of codes that were masked in the second input.
    const LEDGERS: [(&str, &str); 5] = [
        ("finished", include_str!("format_1/finished.sql")),
        ("killed", include_str!("format_1/killed.sql")),
        ("fallback", include_str!("format_1/fallback.sql")),
        ("outage", include_str!("format_1/outage.sql")),
        ("verify", include_str!("format_1/verify.sql")),
    ];

    fn ledger(sql: &str) -> (TempDir, PathBuf, Vec<&str>) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("otpdrive.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(sql).unwrap();
        let statuses = sql.lines().nth(1).unwrap().strip_prefix("-- ").unwrap();
        (folder, path, statuses.split(' ').collect())
    }

    /// Opens one for a run; some of them lack the log of a killed run.
    fn open(path: &Path) -> Result<Store, LedgerError> {
        Store::open_as(
            path,
            &Opening {
                restored: Restored::Accept,
                ..Opening::default()
            },
        )
    }

    fn statuses(ledger: &Store) -> Vec<&'static str> {
        let campaign = ledger.campaigns().unwrap().remove(0);
        let runs = ledger.runs(campaign.record.id).unwrap();
        let mut statuses = Vec::new();
        let mut each = |row: &Row| {
            statuses.push(row.outcome(&runs).status.name());
            ControlFlow::Continue(())
        };
        ledger
            .for_each_row(&campaign, Records::Read, &mut each)
            .unwrap();
        statuses
    }

    /// What a run with this policy would do.
    async fn due(ledger: Store, policy: Policy) -> Vec<(Lane, Job)> {
        let campaign = ledger.campaigns().unwrap().remove(0);
        let new = NewRun {
            rates: [None; 2],
            ceilings: None,
            billed: [0; 3],
            policy,
            endpoint: "",
            settings: &Value::Null,
        };
        let now = UnixMicros(1_800_000_000_000_000);
        let run = history::begin(ledger.db(), campaign.record.id, now, &new).unwrap();
        let clock = Clock::at(now);
        let ledger = ledger
            .start(&campaign, run, clock, Execution::Inline, None)
            .unwrap();
        let mut jobs = Vec::new();
        for lane in Lane::ALL {
            let due = ledger.due(lane, 100).await.unwrap();
            assert_eq!(due.then, Then::Done);
            jobs.extend(due.jobs.into_iter().map(|job| (lane, job)));
        }
        Store::close(ledger).await;
        jobs
    }

    #[tokio::test]
    async fn a_ledger_of_the_first_version_keeps_all_that_it_promises() {
        for (name, sql) in LEDGERS {
            let (_folder, path, expected) = ledger(sql);
            let bytes = std::fs::read(&path).unwrap();
            let to_read = Store::open_to_read(&path).unwrap();
            assert_eq!(statuses(&to_read), expected, "{name}, read only");
            assert_eq!(to_read.verify().unwrap().wrong, Vec::<String>::new());
            drop(to_read);
            assert_eq!(
                std::fs::read(&path).unwrap(),
                bytes,
                "{name} was written to"
            );

            drop(open(&path).unwrap());
            let migrated = Store::open(&path).unwrap();
            assert_eq!(statuses(&migrated), expected, "{name}");
            assert_eq!(migrated.verify().unwrap().wrong, Vec::<String>::new());

            let policy = Policy {
                max_attempts: 2,
                fallback: None,
                on_unknown: WhenUncertain::Hold,
                on_server_error: WhenUncertain::Retry,
            };
            let first = migrated.campaigns().unwrap()[0].span.first;
            let due = due(migrated, policy).await;
            let rows = due.iter().map(|(_, job)| {
                let place = usize::try_from(job.row.0 - first).unwrap();
                expected[place]
            });
            let goes_on = |status: &&&str| ["pending", "failed"].contains(status);
            let pending = expected.iter().filter(goes_on).count();
            // Without the fallback the rejected ones are rejected.
            let refused = if name == "fallback" { 3 } else { 0 };
            assert_eq!(due.len(), pending - refused, "{name}");
            assert!(rows.clone().all(|status| goes_on(&&status)), "{name}");
            for (lane, job) in &due {
                let code = job.code.as_ref().map(ExposeSecret::expose_secret);
                let number = job.number.digits().to_string();
                let reversed: String = number[6..].chars().rev().collect();
                let expected = (*lane == Lane::Verify).then_some(reversed);
                assert_eq!(code, expected.as_deref(), "the sandbox's code");
            }
        }
    }

    #[tokio::test]
    async fn a_fallback_that_was_to_follow_follows() {
        let (_folder, path, _) = ledger(LEDGERS[2].1);
        let ledger = Store::open(&path).unwrap();
        let campaign = ledger.campaigns().unwrap()[0].record.id;
        let policy = ledger.runs(campaign).unwrap().policy();
        assert_eq!(policy.max_attempts, 5);
        let due = due(ledger, policy).await;
        let calls = due.iter().filter(|(lane, _)| *lane == Lane::Call);
        assert_eq!((calls.count(), due.len()), (3, 15));
    }

    /// Job 1 of the killed run after these tries, of three that were allowed: each with its place
    /// and its verdict.
    fn after(tries: &[(i64, i64)]) -> (Vec<Attempt>, Status) {
        let (_folder, path, _) = ledger(LEDGERS[1].1);
        let db = Connection::open(&path).unwrap();
        db.execute_batch("DELETE FROM attempt WHERE job = 1")
            .unwrap();
        for ((try_number, verdict), n) in tries.iter().zip(1..) {
            let at = 1_700_000_000_000_000 + n * 1_000_000;
            db.execute(
                "INSERT INTO attempt VALUES (1, ?1, 1, 0, ?2, 3, NULL, ?3, ?3, ?3 + 9, ?4, 'said', iif(?4 = 4, ?3, NULL))",
                [n, *try_number, at, *verdict],
            )
            .unwrap();
        }
        drop(db);
        let ledger = open(&path).unwrap();
        assert_eq!(ledger.verify().unwrap().wrong, Vec::<String>::new());
        let campaign = ledger.campaigns().unwrap().remove(0);
        let runs = ledger.runs(campaign.record.id).unwrap();
        let mut first = None;
        let mut each = |row: &Row| {
            first = Some(row.clone());
            ControlFlow::Break(())
        };
        ledger
            .for_each_row(&campaign, Records::Skip, &mut each)
            .unwrap();
        let row = first.unwrap();
        let status = row.outcome(&runs).status;
        let RowState::Job(attempts) = row.state else {
            panic!("a job");
        };
        (attempts, status)
    }

    #[test]
    fn tries_that_were_given_back_stay_so() {
        for (tries, expected) in [
            (vec![(1, 5), (2, 5), (3, 5)], Status::Failed),
            (vec![(1, 5), (2, 5), (2, 5)], Status::Pending),
            (vec![(1, 5), (1, 5), (2, 5), (3, 5)], Status::Failed),
            (vec![(0, 5)], Status::Pending),
            (vec![(1, 4), (2, 4), (3, 4)], Status::Failed),
            (vec![(1, 6), (1, 5), (2, 5)], Status::Pending),
            (vec![(1, 7)], Status::Pending),
            (vec![(1, 7), (1, 7), (1, 3)], Status::Rejected),
            (vec![(1, 8)], Status::Pending),
            (vec![(1, 9)], Status::Unknown),
        ] {
            let (attempts, status) = after(&tries);
            assert_eq!(status, expected, "{tries:?}");
            assert_eq!(attempts.len(), tries.len());
        }
    }

    #[test]
    fn what_never_left_has_no_departure() {
        let (attempts, status) = after(&[(1, 6)]);
        assert!(attempts[0].never_left());
        assert_eq!(attempts[0].left_at(), None);
        assert_eq!(status, Status::Pending);
    }

    #[tokio::test]
    async fn a_retry_after_that_still_holds_is_kept() {
        let (_folder, path, _) = ledger(LEDGERS[0].1);
        let now = Clock::start().now();
        let until = now + Duration::from_hours(1);
        let db = Connection::open(&path).unwrap();
        let change =
            "UPDATE attempt SET retry_at = ?1, answered_at = ?2 WHERE verdict = 4 AND n = 2";
        db.execute(change, [until.0, now.0]).unwrap();
        drop(db);
        let ledger = open(&path).unwrap();
        let holds = history::holds(ledger.db(), false, now).unwrap();
        assert_eq!(holds, [Some(until), None, None]);
    }

    #[test]
    fn a_killed_run_of_the_first_version_has_its_log_beside_it() {
        let (_folder, path, _) = ledger(LEDGERS[1].1);
        let reader = Store::open_to_read(&path).unwrap();
        assert!(reader.doubt().is_some_and(|why| why.contains("log")));
        drop(reader);
        let refused = Store::open(&path).err();
        assert!(matches!(refused, Some(LedgerError::Restored { .. })));
        drop(open(&path).unwrap());
        drop(Store::open(&path).unwrap());
        let reader = Store::open_to_read(&path).unwrap();
        assert_eq!(reader.doubt(), None);
    }

    #[test]
    fn an_endpoint_that_has_proved_right_has_for_good() {
        for (name, sql) in LEDGERS {
            let (_folder, path, statuses) = ledger(sql);
            let ledger = open(&path).unwrap();
            let endpoint = "http://127.0.0.1:8901/api/v1/TwoFactor";
            let campaign = ledger.campaigns().unwrap()[0].record.id;
            let proven = history::is_proven(ledger.db(), campaign, endpoint).unwrap();
            assert_eq!(proven, name != "outage", "{statuses:?}");
            assert_eq!(ledger.runs(campaign).unwrap().get(RunId(9)), None);
        }
    }

    #[test]
    fn a_damaged_ledger_of_the_first_version_is_not_migrated() {
        for damage in [
            "UPDATE contact SET number = number + 9 WHERE id = 3",
            "DELETE FROM contact WHERE id = 3",
            "DELETE FROM known WHERE job = 3",
            "DROP INDEX run_campaign",
        ] {
            let (_folder, path, _) = ledger(LEDGERS[1].1);
            let db = Connection::open(&path).unwrap();
            db.execute_batch(damage).unwrap();
            drop(db);
            let bytes = std::fs::read(&path).unwrap();
            let to_read: fn(&Path) -> _ = |path| Store::open_to_read(path);
            for open in [open, to_read] {
                let error = open(&path).err().map(|error| error.to_string());
                assert!(error.unwrap().contains("is damaged"), "{damage}");
            }
            assert!(open(&path).is_err(), "{damage}");
            let format: u32 = Connection::open(&path)
                .unwrap()
                .pragma_query_value(None, "user_version", |row| row.get(0))
                .unwrap();
            assert_eq!(format, 1);
            assert_eq!(std::fs::read(&path).unwrap().len(), bytes.len());
        }
    }
}
