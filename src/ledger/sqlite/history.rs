//! What is noted of runs: their facts, their ends, their departures, and what they leave to a later
//! one.

use std::ops::Range;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension, Row as DbRow, params};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::bulk::insert_all;
use super::error::damaged;
use super::rows::{job_of, kind, lane};
use crate::job::{Lane, UnixMicros};
use crate::ledger::NewRun;
use crate::ledger::rules::{Departure, LastAnswer, hold, wave_begun};
use crate::mistake::{Mistake, is_made};
use crate::record::{CampaignId, RunRecord};
use crate::run::{End, RunFact, RunFacts, RunId, Runs};

/// A fact of a run, with its place among them.
pub struct Noted {
    pub seq: i64,
    pub fact: RunFact,
}

/// Writes facts of a run down.
pub fn note(db: &Connection, run: RunId, facts: &[Noted]) -> rusqlite::Result<()> {
    let into = "INSERT OR IGNORE INTO run_fact (run, seq, fact)";
    insert_all(db, into, facts, |Noted { seq, fact }| {
        [run.0.into(), (*seq).into(), json(fact).into()]
    })
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What is written in a column. A fact that this version does not know may change what attempts
/// mean, so it is not passed over.
fn from_json<T: DeserializeOwned>(row: &DbRow<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|_| {
        damaged(
            "what is noted of a run cannot be read; if a newer version has written it, use that"
                .to_owned(),
        )
    })
}

/// The runs of a campaign with their facts.
pub fn runs(db: &Connection, campaign: CampaignId) -> rusqlite::Result<Runs> {
    let mut runs = Runs::default();
    let mut select = db.prepare(
        "SELECT id, policy, fact FROM run LEFT JOIN run_fact ON run = id
          WHERE campaign = ?1 ORDER BY id, seq",
    )?;
    let mut found = select.query([campaign.0])?;
    while let Some(row) = found.next()? {
        let run = RunId(row.get(0)?);
        if runs.get(run).is_none() {
            runs.insert(run, RunFacts::new(from_json(row, 1)?));
        }
        if row.get_ref(2)? != ValueRef::Null {
            runs.add(run, &from_json(row, 2)?);
        }
    }
    Ok(runs)
}

/// Has an endpoint proved right in any earlier run? Rehearsals prove nothing for real runs.
pub fn is_proven(db: &Connection, campaign: CampaignId, endpoint: &str) -> rusqlite::Result<bool> {
    if is_made(Mistake::EndpointForgotten) {
        return Ok(false);
    }
    db.query_row(
        "SELECT EXISTS (SELECT 1 FROM run_fact f JOIN run r ON r.id = f.run
                          JOIN campaign c ON c.id = r.campaign
                         WHERE f.fact = ?3 AND r.endpoint = ?1
                           AND c.sandbox = (SELECT sandbox FROM campaign WHERE id = ?2))",
        params![endpoint, campaign.0, json(&RunFact::EndpointProven)],
        |row| row.get(0),
    )
}

/// Notes that a run begins.
pub fn begin(
    db: &Connection,
    campaign: CampaignId,
    now: UnixMicros,
    new: &NewRun<'_>,
) -> rusqlite::Result<RunId> {
    let proven = is_proven(db, campaign, new.endpoint)?;
    db.execute(
        "INSERT INTO run (campaign, started_at, first_answer, endpoint, policy, settings, version)
         VALUES (?1, ?2, (SELECT coalesce(max(seq), 0) + 1 FROM answer), ?3, ?4, ?5, ?6)",
        params![
            campaign.0,
            now.0,
            new.endpoint,
            json(&new.policy),
            new.settings.to_string(),
            env!("CARGO_PKG_VERSION")
        ],
    )?;
    let run = RunId(db.last_insert_rowid());
    if proven {
        let fact = RunFact::EndpointProven;
        note(db, run, &[Noted { seq: 0, fact }])?;
    }
    Ok(run)
}

/// Notes the waves that may have begun when the latest run was killed: what it would have noted
/// itself, had it come to its end. Nothing is read unless there is such a run.
pub fn note_waves_of_killed(db: &Connection) -> rusqlite::Result<()> {
    let of_killed = "SELECT id, first_answer FROM run
          WHERE id = (SELECT max(id) FROM run) AND finished_at IS NULL
            AND json_type(settings, '$.refused_alike') IS NOT 'null'";
    let killed = db.query_row(of_killed, [], |row| Ok((row.get(0)?, row.get(1)?)));
    let Some((run, first_answer)) = killed.optional()? else {
        return Ok(());
    };
    let mut select = db.prepare("SELECT fact FROM run_fact WHERE run = ?1")?;
    let facts = select.query_map([run], |row| from_json(row, 0))?;
    let facts: Vec<RunFact> = facts.collect::<Result<_, _>>()?;
    let is_noted = |on: Lane| {
        let mut facts = facts.iter();
        facts.any(|fact| matches!(fact, RunFact::Wave { lane, .. } if *lane == on))
    };
    let answers = last_answers(db, first_answer)?;
    let lanes = Lane::ALL.into_iter().filter(|lane| !is_noted(*lane));
    let waves = lanes.filter_map(|lane| wave_begun(lane, &answers));
    let next = "SELECT coalesce(max(seq), 0) + 1 FROM run_fact WHERE run = ?1";
    let next: i64 = db.query_row(next, [run], |row| row.get(0))?;
    let waves: Vec<Noted> = (next..)
        .zip(waves)
        .map(|(seq, fact)| Noted { seq, fact })
        .collect();
    note(db, RunId(run), &waves)
}

/// The last answers from this one on, oldest first; no wave is longer. Those of other lanes than
/// `verify` were acted on when another attempt was begun.
fn last_answers(db: &Connection, first: i64) -> rusqlite::Result<Vec<LastAnswer>> {
    let mut select = db.prepare(
        "SELECT i.lane, a.id, a.left_at, a.answered_at, a.verdict, a.text,
                iif(i.lane = ?2, NOT EXISTS (SELECT 1 FROM code WHERE job = a.id >> 20),
                    EXISTS (SELECT 1 FROM intent WHERE id > a.id AND id < ((a.id >> 20) + 1) << 20))
           FROM (SELECT * FROM answer WHERE seq >= ?1 ORDER BY seq DESC LIMIT 1000) a
           JOIN intent i ON i.id = a.id
          WHERE a.left_at IS NOT NULL ORDER BY a.answered_at, a.seq",
    )?;
    let verify = i64::try_from(Lane::Verify.index()).unwrap_or(0);
    let found = select.query_map([first, verify], |row| {
        Ok(LastAnswer {
            lane: lane(row.get(0)?, 0)?,
            job: job_of(row.get(1)?),
            left_at: UnixMicros(row.get(2)?),
            answered_at: UnixMicros(row.get(3)?),
            kind: kind(row.get(4)?, 4)?,
            text: row.get(5)?,
            acted_on: row.get(6)?,
        })
    })?;
    found.collect()
}

/// Takes back that a run began.
pub fn take_back(db: &Connection, run: RunId) -> rusqlite::Result<()> {
    db.execute_batch(&format!(
        "BEGIN; DELETE FROM run_fact WHERE run = {0}; DELETE FROM run WHERE id = {0}; COMMIT",
        run.0
    ))
}

/// The ledger's latest run, if that has not come to its end, and when it began.
pub fn unfinished(db: &Connection) -> rusqlite::Result<Option<(RunId, UnixMicros)>> {
    let sql = "SELECT id, started_at FROM run
                WHERE id = (SELECT max(id) FROM run) AND finished_at IS NULL";
    let read = |row: &rusqlite::Row<'_>| Ok((RunId(row.get(0)?), UnixMicros(row.get(1)?)));
    db.query_row(sql, [], read).optional()
}

/// The campaign's latest run.
pub fn latest(db: &Connection, campaign: CampaignId) -> rusqlite::Result<Option<RunRecord>> {
    latest_that(db, campaign, "true")
}

/// The campaign's latest run that made requests, or else its latest; and when its first began.
pub fn latest_at_work(
    db: &Connection,
    campaign: CampaignId,
) -> rusqlite::Result<Option<(RunRecord, UnixMicros)>> {
    let made_some = "(last_left_at IS NOT NULL OR finished_at IS NULL
          AND EXISTS (SELECT 1 FROM intent WHERE intent.run = run.id))";
    let found = match latest_that(db, campaign, made_some)? {
        None => latest(db, campaign)?,
        some => some,
    };
    let Some(run) = found else { return Ok(None) };
    let sql = "SELECT min(started_at) FROM run WHERE campaign = ?1";
    let first = db.query_row(sql, [campaign.0], |row| row.get(0).map(UnixMicros))?;
    Ok(Some((run, first)))
}

/// When the campaign's latest run ended that came to its end.
pub fn last_complete(
    db: &Connection,
    campaign: CampaignId,
) -> rusqlite::Result<Option<UnixMicros>> {
    let complete = serde_json::to_string(&End::Complete).unwrap_or_default();
    let run = latest_that(db, campaign, &format!("end = '{complete}'"))?;
    Ok(run.and_then(|run| run.finished_at))
}

fn latest_that(
    db: &Connection,
    campaign: CampaignId,
    is_meant: &str,
) -> rusqlite::Result<Option<RunRecord>> {
    let sql = format!(
        "SELECT id, started_at, finished_at, end, settings, version FROM run
          WHERE campaign = ?1 AND {is_meant} ORDER BY id DESC LIMIT 1"
    );
    db.query_row(&sql, [campaign.0], |row| {
        let end: Option<String> = row.get(3)?;
        let settings: String = row.get(4)?;
        Ok(RunRecord {
            id: RunId(row.get(0)?),
            started_at: UnixMicros(row.get(1)?),
            finished_at: row.get::<_, Option<i64>>(2)?.map(UnixMicros),
            end: end.and_then(|end| serde_json::from_str(&end).ok()),
            settings: serde_json::from_str(&settings).unwrap_or_default(),
            version: row.get(5)?,
        })
    })
    .optional()
}

/// When the requests of a run left, and on which lane, in no order; nothing of those that did not.
pub fn departures(db: &Connection, run: RunId) -> rusqlite::Result<Vec<(Lane, Departure)>> {
    let mut select = db.prepare(
        "SELECT id, left_at FROM answer
          WHERE seq >= (SELECT first_answer FROM run WHERE id = ?1)
            AND seq < coalesce((SELECT min(first_answer) FROM run WHERE id > ?1), 9223372036854775807)",
    )?;
    let answered = select.query_map([run.0], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut answered: Vec<(i64, Option<i64>)> = answered.collect::<Result<_, _>>()?;
    answered.sort_unstable();
    let mut departures = Vec::new();
    let mut select = db.prepare("SELECT id, lane, begun_at FROM intent WHERE run = ?1")?;
    let mut found = select.query([run.0])?;
    while let Some(row) = found.next()? {
        let id = row.get(0)?;
        let departure = match answered.binary_search_by_key(&id, |(id, _)| *id) {
            Ok(place) => answered[place].1.map(|at| Departure::Left(UnixMicros(at))),
            Err(_) => Some(Departure::Begun(UnixMicros(row.get(2)?))),
        };
        let lane = lane(row.get(1)?, 1)?;
        departures.extend(departure.map(|departure| (lane, departure)));
    }
    Ok(departures)
}

/// How many requests of other runs than this one left on each lane, or may have, while a clock on
/// the wall was within `day`; rehearsals are apart.
pub fn left_on(
    db: &Connection,
    sandbox: bool,
    this_run: RunId,
    day: &Range<UnixMicros>,
) -> rusqlite::Result<[u64; Lane::ALL.len()]> {
    let mut left = [0; Lane::ALL.len()];
    let mut select = db.prepare(
        "SELECT r.id, r.started_at, coalesce(r.last_left_at, r.finished_at, 9223372036854775807)
           FROM run r JOIN campaign c ON c.id = r.campaign WHERE c.sandbox = ?1 AND r.id <> ?2",
    )?;
    let mut found = select.query(params![sandbox, this_run.0])?;
    while let Some(row) = found.next()? {
        let run = RunId(row.get(0)?);
        let moves = moves(db, run)?;
        let (from, until) = (UnixMicros(row.get(1)?), UnixMicros(row.get(2)?));
        if moves.is_empty() && (until < day.start || from >= day.end) {
            continue;
        }
        for (lane, departure) in departures(db, run)? {
            left[lane.index()] += u64::from(departure.is_within(day, &moves));
        }
    }
    Ok(left)
}

/// The answers whose time counts as "of late".
const LATE_ANSWERS: u32 = 1_000;

/// How long the latest answers took on each lane: half of them no longer; rehearsals are apart.
pub fn latencies(
    db: &Connection,
    sandbox: bool,
) -> rusqlite::Result<[Option<Duration>; Lane::ALL.len()]> {
    let mut select = db.prepare(
        "SELECT i.lane, a.answered_at - a.left_at
           FROM (SELECT * FROM answer ORDER BY seq DESC LIMIT ?2) a
           JOIN intent i ON i.id = a.id JOIN run r ON r.id = i.run
           JOIN campaign c ON c.id = r.campaign
          WHERE a.left_at IS NOT NULL AND c.sandbox = ?1",
    )?;
    let mut found = select.query(params![sandbox, LATE_ANSWERS])?;
    let mut times: [Vec<u64>; Lane::ALL.len()] = Default::default();
    while let Some(row) = found.next()? {
        // A clock that was set back between the two says nothing.
        let time = u64::try_from(row.get::<_, i64>(1)?).ok();
        times[lane(row.get(0)?, 0)?.index()].extend(time);
    }
    Ok(times.map(|mut times| {
        times.sort_unstable();
        times
            .get(times.len() / 2)
            .copied()
            .map(Duration::from_micros)
    }))
}

/// How the clock moved during a run.
fn moves(db: &Connection, run: RunId) -> rusqlite::Result<Vec<(UnixMicros, i64)>> {
    let mut select = db.prepare_cached("SELECT fact FROM run_fact WHERE run = ?1 ORDER BY seq")?;
    let facts = select.query_map([run.0], |row| from_json(row, 0))?;
    let moves = facts.filter_map(|fact| match fact {
        Ok(RunFact::ClockMoved { at, ahead }) => Some(Ok((at, ahead))),
        Ok(_) => None,
        Err(error) => Some(Err(error)),
    });
    moves.collect()
}

/// When the account's latest request left, over all campaigns (rehearsals are apart): in the latest
/// run that made any. One that was killed left no note of it: then its attempts are looked through.
pub fn last_departure(
    db: &Connection,
    sandbox: bool,
    this_run: RunId,
) -> rusqlite::Result<Option<UnixMicros>> {
    let mut select = db.prepare(
        "SELECT r.id, r.finished_at IS NULL, r.last_left_at FROM run r
           JOIN campaign c ON c.id = r.campaign
          WHERE c.sandbox = ?1 AND r.id < ?2 ORDER BY r.id DESC",
    )?;
    let mut found = select.query(params![sandbox, this_run.0])?;
    while let Some(row) = found.next()? {
        let mut latest = row.get::<_, Option<i64>>(2)?.map(UnixMicros);
        if row.get(1)? {
            let of_killed = departures(db, RunId(row.get(0)?))?;
            latest = of_killed.into_iter().map(|(_, left)| left.latest()).max();
        }
        if latest.is_some() {
            return Ok(latest);
        }
    }
    Ok(None)
}

/// The latest `Retry-After` of each lane, as far as it still holds.
pub fn holds(
    db: &Connection,
    sandbox: bool,
    now: UnixMicros,
) -> rusqlite::Result<[Option<UnixMicros>; Lane::ALL.len()]> {
    let mut select = db.prepare(
        "SELECT i.lane, a.answered_at, a.retry_at FROM answer a JOIN intent i ON i.id = a.id
           JOIN run r ON r.id = i.run JOIN campaign c ON c.id = r.campaign
          WHERE a.retry_at IS NOT NULL AND c.sandbox = ?1",
    )?;
    let mut found = select.query([sandbox])?;
    let mut holds = [None; Lane::ALL.len()];
    while let Some(row) = found.next()? {
        let held = &mut holds[lane(row.get(0)?, 0)?.index()];
        let (answered_at, retry_at) = (UnixMicros(row.get(1)?), UnixMicros(row.get(2)?));
        if !is_made(Mistake::HoldForgotten) {
            *held = (*held).max(hold(answered_at, retry_at, now));
        }
    }
    Ok(holds)
}
