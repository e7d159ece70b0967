//! Takes the people out of campaigns that are over: numbers, rows, references and codes. What stays
//! of a campaign is its name, its runs and its counts.
//!
//! All goes in one transaction. Then the file is written anew and the log is emptied, so that no
//! byte of it is left; where that does not come to its end, the next purge does it.

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

use super::error::damaged;
use super::rows::Facts;
use super::{SELECT_CAMPAIGN, campaign, empty_the_log, former, history};
use crate::job::UnixMicros;
use crate::ledger::{Campaign, Purged, Records};
use crate::record::CampaignId;
use crate::run::RunId;
use crate::status::Status;
use crate::summary::Counts;

/// The times of requests, with nobody's number to them, are kept so long: a day's cap and a
/// `Retry-After`, which holds for a day at most, are counted by them. A day can have 25 hours.
const TIMES_KEPT: Duration = Duration::from_hours(48);

/// When something last happened in a campaign: a run, or a request of one that was killed, or what a
/// person noted.
const LAST_ACTIVE: &str = "
    SELECT max(at) FROM (
        SELECT max(r.started_at, coalesce(r.finished_at, 0), CASE WHEN r.finished_at IS NULL
                   THEN (SELECT coalesce(max(begun_at), 0) FROM intent WHERE run = r.id) ELSE 0 END) AS at
          FROM run r WHERE r.campaign = ?1
        UNION ALL SELECT l.at FROM lookup l JOIN intent i ON i.id = l.attempt
          JOIN run r ON r.id = i.run WHERE r.campaign = ?1)";

/// The rows of a campaign, and all that is known of its people.
const FORGET: [&str; 8] = [
    "DELETE FROM code WHERE job IN (SELECT job FROM known WHERE campaign = ?1)",
    "DELETE FROM lookup WHERE attempt IN
        (SELECT i.id FROM intent i JOIN run r ON r.id = i.run WHERE r.campaign = ?1)",
    "DELETE FROM former WHERE campaign = ?1",
    "DELETE FROM stood WHERE campaign = ?1",
    "DELETE FROM suppressed WHERE campaign = ?1",
    "DELETE FROM known WHERE campaign = ?1",
    // Words of the gateway; what else is noted of a run counts for others, too.
    "DELETE FROM run_fact WHERE run IN (SELECT id FROM run WHERE campaign = ?1)
        AND fact <> '\"endpoint_proven\"' AND fact NOT LIKE '{\"clock_moved\"%'",
    "UPDATE run SET end = json_set(end, '$.stopped.message', '')
      WHERE campaign = ?1 AND end LIKE '{\"stopped\"%'",
];

/// The requests of all campaigns that were purged.
const OF_PURGED: &str = "SELECT i.id FROM intent i JOIN run r ON r.id = i.run
    JOIN purged p ON p.campaign = r.campaign";

#[derive(Serialize, Deserialize)]
struct Accounts {
    rows: BTreeMap<Status, u64>,
    earlier: BTreeMap<Status, u64>,
}

/// The campaigns that were purged.
pub fn all(db: &Connection) -> rusqlite::Result<Vec<Purged>> {
    let sql = "SELECT at, last_active, counts FROM purged WHERE campaign = ?1";
    let mut select = db.prepare(sql)?;
    let mut purged = Vec::new();
    for of in campaigns(db)? {
        let id = of.record.id;
        let mut found = select.query([id.0])?;
        let Some(row) = found.next()? else { continue };
        let accounts: Accounts = serde_json::from_str(row.get_ref(2)?.as_str()?)
            .map_err(|_| damaged(format!("campaign {}: its counts cannot be read", id.0)))?;
        purged.push(Purged {
            campaign: of.record,
            at: UnixMicros(row.get(0)?),
            last_active: UnixMicros(row.get(1)?),
            counts: accounts.rows.into_iter().collect(),
            earlier: accounts.earlier.into_iter().collect(),
        });
    }
    Ok(purged)
}

fn campaigns(db: &Connection) -> rusqlite::Result<Vec<Campaign>> {
    let mut select = db.prepare(&format!("{SELECT_CAMPAIGN} ORDER BY id"))?;
    let found = select.query_map([], |row| Ok(campaign(row)?.0))?;
    found.collect()
}

/// What would be purged now: campaigns in which nothing has happened for so long, but the one whose
/// run is on.
pub fn due(
    db: &Connection,
    now: UnixMicros,
    older_than: Duration,
    on: Option<RunId>,
) -> rusqlite::Result<Vec<Purged>> {
    let gone: Vec<CampaignId> = all(db)?.iter().map(|purged| purged.campaign.id).collect();
    let mut due = Vec::new();
    for of in campaigns(db)? {
        let id = of.record.id;
        let last: Option<i64> = db.query_row(LAST_ACTIVE, [id.0], |row| row.get(0))?;
        let Some(last_active) = last.map(UnixMicros).filter(|_| !gone.contains(&id)) else {
            continue;
        };
        let is_on = on.is_some() && history::latest(db, id)?.map(|run| run.id) == on;
        if !is_on && now.since(last_active) >= older_than {
            due.push(account(db, of, now, last_active)?);
        }
    }
    Ok(due)
}

/// What became of the rows of a campaign.
fn account(
    db: &Connection,
    of: Campaign,
    at: UnixMicros,
    last_active: UnixMicros,
) -> rusqlite::Result<Purged> {
    let id = of.record.id;
    let runs = history::runs(db, id)?;
    let (mut counts, mut earlier) = (Counts::default(), Counts::default());
    let facts = Facts::of(db, id)?;
    facts.scan(db).for_each(of.span, Records::Skip, |stored| {
        counts += stored.into_row().outcome(&runs).status;
        Ok(true)
    })?;
    former::for_each(db, id, None, |_, _, row| {
        earlier += row.outcome(&runs).status;
        true
    })?;
    Ok(Purged {
        campaign: of.record,
        at,
        last_active,
        counts,
        earlier,
    })
}

/// Takes the people out of these campaigns, and out of the file's bytes. Returns `false` when a
/// reader beside us keeps the log: the next purge then empties it.
pub fn purge(db: &mut Connection, gone: &[Purged], now: UnixMicros) -> rusqlite::Result<bool> {
    let step = db.transaction()?;
    for purged in gone {
        forget(&step, purged)?;
    }
    let until = now
        .0
        .saturating_sub(i64::try_from(TIMES_KEPT.as_micros()).unwrap_or(i64::MAX));
    let silent = format!("UPDATE answer SET text = '' WHERE text <> '' AND id IN ({OF_PURGED})");
    step.execute(&silent, [])?;
    for table in ["answer", "intent"] {
        let sql = format!("DELETE FROM {table} WHERE id IN ({OF_PURGED} WHERE p.last_active < ?1)");
        step.execute(&sql, [until])?;
    }
    step.commit()?;
    sweep(db)
}

fn forget(db: &Connection, purged: &Purged) -> rusqlite::Result<()> {
    let id = purged.campaign.id.0;
    let span = db.query_row(
        "SELECT first_row, first_row + rows FROM campaign WHERE id = ?1",
        [id],
        |row| Ok([row.get::<_, i64>(0)?, row.get::<_, i64>(1)?]),
    )?;
    for (table, row) in [("contact", "id"), ("special", "row"), ("block", "first")] {
        let sql = format!("DELETE FROM {table} WHERE {row} >= ?1 AND {row} < ?2");
        db.execute(&sql, span)?;
    }
    for sql in FORGET {
        db.execute(sql, [id])?;
    }
    db.execute(
        "UPDATE campaign SET input_name = '', input_sha256 = '', reading = '', header = '', rows = 0
          WHERE id = ?1",
        [id],
    )?;
    let some = |counts: &Counts| counts.iter().filter(|(_, count)| *count > 0).collect();
    let accounts = Accounts {
        rows: some(&purged.counts),
        earlier: some(&purged.earlier),
    };
    let accounts = serde_json::to_string(&accounts).unwrap_or_default();
    db.execute(
        "INSERT INTO purged (campaign, at, last_active, counts, swept) VALUES (?1, ?2, ?3, ?4, 0)",
        params![id, purged.at.0, purged.last_active.0, accounts],
    )
    .map(drop)
}

/// Writes the file anew, without what was deleted from it, and empties the log; unless that was done
/// since the last purge.
fn sweep(db: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM purged WHERE swept = 0)";
    if !db.query_row(sql, [], |row| row.get::<_, bool>(0))? {
        return Ok(true);
    }
    db.execute_batch("VACUUM")?;
    if !empty_the_log(db)? {
        return Ok(false);
    }
    db.execute("UPDATE purged SET swept = 1 WHERE swept = 0", [])?;
    empty_the_log(db)
}
