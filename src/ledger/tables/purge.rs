//! Takes the people out of campaigns that are over: numbers, rows, references and codes. What stays
//! of a campaign is its name, its runs and its counts.
//!
//! All goes in one transaction. Then the file is written anew and the log is emptied, so that no
//! byte of it is left; where that does not come to its end, the next purge does it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::campaigns;
use super::db::Db;
use super::error::{Result, damaged};
use super::scan::Facts;
use super::{former, history};
use crate::job::UnixMicros;
use crate::ledger::{Campaign, Purged, Records};
use crate::record::CampaignId;
use crate::run::{End, RunId, Stop};
use crate::status::Status;
use crate::summary::Counts;

/// The times of requests, with nobody's number to them, are kept so long: a day's cap and a
/// `Retry-After`, which holds for a day at most, are counted by them. A day can have 25 hours.
const TIMES_KEPT: Duration = Duration::from_hours(48);

/// When something last happened in a campaign: a run, or a request of one that was killed, or what a
/// person noted.
const LAST_ACTIVE: &str = "
    SELECT max(at) FROM (
        SELECT started_at AS at FROM run WHERE campaign = ?1
        UNION ALL SELECT finished_at FROM run WHERE campaign = ?1
        UNION ALL SELECT max(i.begun_at) FROM intent i JOIN run r ON r.id = i.run
          WHERE r.campaign = ?1 AND r.finished_at IS NULL
        UNION ALL SELECT l.at FROM lookup l JOIN intent i ON i.id = l.attempt
          JOIN run r ON r.id = i.run WHERE r.campaign = ?1) t";

/// The rows of a campaign, and all that is known of its people.
const FORGET: [&str; 7] = [
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
pub fn all(db: Db<'_>) -> Result<Vec<Purged>> {
    let sql = "SELECT at, last_active, counts FROM purged WHERE campaign = ?1";
    let mut purged = Vec::new();
    for of in campaigns::all(db)? {
        let id = of.record.id;
        let found = db.first(sql, &[id.0.into()], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get::<String>(2)?))
        })?;
        let Some((at, last_active, counts)) = found else {
            continue;
        };
        let accounts: Accounts = serde_json::from_str(&counts)
            .map_err(|_| damaged(format!("campaign {}: its counts cannot be read", id.0)))?;
        purged.push(Purged {
            campaign: of.record,
            at: UnixMicros(at),
            last_active: UnixMicros(last_active),
            counts: accounts.rows.into_iter().collect(),
            earlier: accounts.earlier.into_iter().collect(),
        });
    }
    Ok(purged)
}

/// What would be purged now: campaigns in which nothing has happened for so long, but those whose
/// runs are on.
pub fn due(db: Db<'_>, now: UnixMicros, older_than: Duration, on: &[RunId]) -> Result<Vec<Purged>> {
    let gone: Vec<CampaignId> = all(db)?.iter().map(|purged| purged.campaign.id).collect();
    let mut due = Vec::new();
    for of in campaigns::all(db)? {
        let id = of.record.id;
        let last: Option<i64> = db.one(LAST_ACTIVE, &[id.0.into()], |row| row.get(0))?;
        let Some(last_active) = last.map(UnixMicros).filter(|_| !gone.contains(&id)) else {
            continue;
        };
        let latest = history::latest(db, id)?.map(|run| run.id);
        let is_on = latest.is_some_and(|latest| on.contains(&latest));
        if !is_on && now.since(last_active) >= older_than {
            due.push(account(db, of, now, last_active)?);
        }
    }
    Ok(due)
}

/// What became of the rows of a campaign.
fn account(db: Db<'_>, of: Campaign, at: UnixMicros, last_active: UnixMicros) -> Result<Purged> {
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

/// Takes the people out of these campaigns; within a step.
pub fn purge(db: Db<'_>, gone: &[Purged], now: UnixMicros) -> Result<()> {
    for purged in gone {
        forget(db, purged)?;
    }
    let until = now
        .0
        .saturating_sub(i64::try_from(TIMES_KEPT.as_micros()).unwrap_or(i64::MAX));
    let silent = format!("UPDATE answer SET text = '' WHERE text <> '' AND id IN ({OF_PURGED})");
    db.execute(&silent, &[])?;
    for table in ["answer", "intent"] {
        let sql = format!("DELETE FROM {table} WHERE id IN ({OF_PURGED} WHERE p.last_active < ?1)");
        db.execute(&sql, &[until.into()])?;
    }
    Ok(())
}

fn forget(db: Db<'_>, purged: &Purged) -> Result<()> {
    let id = purged.campaign.id.0;
    let span = "SELECT first_row, first_row + rows FROM campaign WHERE id = ?1";
    let [first, end] = db.one(span, &[id.into()], |row| {
        Ok([row.get::<i64>(0)?, row.get(1)?])
    })?;
    for (table, row) in [("contact", "id"), ("special", "row"), ("block", "first")] {
        let sql = format!("DELETE FROM {table} WHERE {row} >= ?1 AND {row} < ?2");
        db.execute(&sql, &[first.into(), end.into()])?;
    }
    for sql in FORGET {
        db.execute(sql, &[id.into()])?;
    }
    forget_words(db, id)?;
    let empty = "UPDATE campaign
            SET input_name = '', input_sha256 = '', reading = '', header = '', rows = 0
          WHERE id = ?1";
    db.execute(empty, &[id.into()])?;
    let some = |counts: &Counts| counts.iter().filter(|(_, count)| *count > 0).collect();
    let accounts = Accounts {
        rows: some(&purged.counts),
        earlier: some(&purged.earlier),
    };
    let accounts = serde_json::to_string(&accounts).unwrap_or_default();
    let note =
        "INSERT INTO purged (campaign, at, last_active, counts, swept) VALUES (?1, ?2, ?3, ?4, 0)";
    let values = [
        id.into(),
        purged.at.0.into(),
        purged.last_active.0.into(),
        accounts.into(),
    ];
    db.execute(note, &values).map(drop)
}

/// Takes the words with which runs were stopped out of their ends: they may be the gateway's.
fn forget_words(db: Db<'_>, campaign: i64) -> Result<()> {
    let sql = "SELECT id, \"end\" FROM run WHERE campaign = ?1 AND \"end\" IS NOT NULL";
    let ends = db.all(sql, &[campaign.into()], |row| {
        Ok((row.get::<i64>(0)?, row.get::<String>(1)?))
    })?;
    for (run, end) in ends {
        if let Ok(End::Stopped(stop)) = serde_json::from_str(&end) {
            let message = String::new();
            let end = serde_json::to_string(&End::Stopped(Stop { message, ..stop }));
            let values = [run.into(), end.unwrap_or_default().into()];
            db.execute("UPDATE run SET \"end\" = ?2 WHERE id = ?1", &values)?;
        }
    }
    Ok(())
}
