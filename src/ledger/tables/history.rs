//! What is noted of runs: their facts, their ends, their departures, and what they leave to a later
//! one.

use std::ops::Range;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::db::{Columns, Db, Table};
use super::error::{Result, damaged};
use super::rows::{job_of, kind, lane};
use super::sorter::{Sorted, Sorter};
use crate::job::{Lane, UnixMicros};
use crate::ledger::rules::{Departure, LastAnswer, hold, wave_begun};
use crate::ledger::{NewRun, PerLane};
use crate::mistake::{Mistake, is_made};
use crate::record::{CampaignId, RunRecord};
use crate::run::{End, RunFact, RunFacts, RunId, Runs};

/// A fact of a run, with its place among them.
pub struct Noted {
    pub seq: i64,
    pub fact: RunFact,
}

/// Writes facts of a run down.
pub fn note(db: Db<'_>, run: RunId, facts: &[Noted]) -> Result<()> {
    let into = Table {
        name: "run_fact",
        columns: ["run", "seq", "fact"],
    };
    let values = |Noted { seq, fact }: &Noted| [run.0.into(), (*seq).into(), json(fact).into()];
    db.insert_or(&into, "ON CONFLICT DO NOTHING", facts, values)
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What is written in a column. A fact that this version does not know may change what attempts
/// mean, so it is not passed over.
fn from_json<T: DeserializeOwned>(row: &Columns<'_>, column: usize) -> Result<T> {
    let text: &str = row.get(column)?;
    serde_json::from_str(text).map_err(|_| {
        damaged(
            "what is noted of a run cannot be read; if a newer version has written it, use that"
                .to_owned(),
        )
    })
}

/// The runs of a campaign with their facts.
pub fn runs(db: Db<'_>, campaign: CampaignId) -> Result<Runs> {
    let mut runs = Runs::default();
    let sql = "SELECT id, policy, fact FROM run LEFT JOIN run_fact ON run = id
          WHERE campaign = ?1 ORDER BY id, seq";
    db.all(sql, &[campaign.0.into()], |row| {
        let run = RunId(row.get(0)?);
        if runs.get(run).is_none() {
            runs.insert(run, RunFacts::new(from_json(row, 1)?));
        }
        if row.get::<Option<&str>>(2)?.is_some() {
            runs.add(run, &from_json(row, 2)?);
        }
        Ok(())
    })?;
    Ok(runs)
}

/// Has an endpoint proved right in any earlier run? Rehearsals prove nothing for real runs.
pub fn is_proven(db: Db<'_>, campaign: CampaignId, endpoint: &str) -> Result<bool> {
    if is_made(Mistake::EndpointForgotten) {
        return Ok(false);
    }
    let sql = "SELECT EXISTS (SELECT 1 FROM run_fact f JOIN run r ON r.id = f.run
                          JOIN campaign c ON c.id = r.campaign
                         WHERE f.fact = ?3 AND r.endpoint = ?1
                           AND c.sandbox = (SELECT sandbox FROM campaign WHERE id = ?2))";
    let proven = json(&RunFact::EndpointProven);
    let values = [endpoint.into(), campaign.0.into(), proven.into()];
    db.one(sql, &values, |row| row.get(0))
}

/// Notes that a run begins.
pub fn begin(db: Db<'_>, campaign: CampaignId, now: UnixMicros, new: &NewRun<'_>) -> Result<RunId> {
    let proven = is_proven(db, campaign, new.endpoint)?;
    let first_answer = match db {
        Db::Sqlite(_) => "(SELECT coalesce(max(seq), 0) + 1 FROM answer)",
        // Each answer names its attempt, and that its run.
        Db::Postgres(_) => "0",
    };
    let sql = format!(
        "INSERT INTO run (id, campaign, started_at, first_answer, endpoint, policy, settings, version)
         VALUES ((SELECT coalesce(max(id), 0) + 1 FROM run), ?1, ?2, {first_answer}, ?3, ?4, ?5, ?6)
         RETURNING id"
    );
    let values = [
        campaign.0.into(),
        now.0.into(),
        new.endpoint.into(),
        json(&new.policy).into(),
        new.settings.to_string().into(),
        env!("CARGO_PKG_VERSION").into(),
    ];
    let run = RunId(db.one(&sql, &values, |row| row.get(0))?);
    if proven {
        let fact = RunFact::EndpointProven;
        note(db, run, &[Noted { seq: 0, fact }])?;
    }
    Ok(run)
}

/// Notes the waves that may have begun when this run, its campaign's latest, was killed or left by
/// the last of those who shared it: what one alone would have noted when it came to its end.
pub fn note_waves_of(db: Db<'_>, run: RunId) -> Result<()> {
    let sql = "SELECT settings, first_answer FROM run WHERE id = ?1";
    let (settings, first_answer) = db.one(sql, &[run.0.into()], |row| {
        Ok((from_json::<serde_json::Value>(row, 0)?, row.get(1)?))
    })?;
    if settings.get("refused_alike") != Some(&serde_json::Value::Null) {
        note_waves(db, run, first_answer)?;
    }
    Ok(())
}

/// A run that did not come to its end and is not on any more.
pub struct Killed {
    /// The run.
    pub run: RunId,
    /// Its campaign.
    pub campaign: CampaignId,
}

/// The runs that were killed of which a later one has not taken note yet.
pub fn killed(db: Db<'_>) -> Result<Vec<Killed>> {
    let sql = match db {
        // Whoever asks holds the file, so its latest run is not on.
        Db::Sqlite(_) => {
            "SELECT id, campaign FROM run
              WHERE id = (SELECT max(id) FROM run) AND finished_at IS NULL"
        }
        Db::Postgres(_) => {
            "SELECT id, campaign FROM run r
              WHERE finished_at IS NULL AND id = (SELECT max(id) FROM run WHERE campaign = r.campaign)
                AND NOT EXISTS (SELECT 1 FROM worker_on w WHERE w.run = r.id)"
        }
    };
    db.all(sql, &[], |row| {
        Ok(Killed {
            run: RunId(row.get(0)?),
            campaign: CampaignId(row.get(1)?),
        })
    })
}

fn note_waves(db: Db<'_>, run: RunId, first_answer: i64) -> Result<()> {
    let facts = "SELECT fact FROM run_fact WHERE run = ?1";
    let facts: Vec<RunFact> = db.all(facts, &[run.0.into()], |row| from_json(row, 0))?;
    let is_noted = |on: Lane| {
        let mut facts = facts.iter();
        facts.any(|fact| matches!(fact, RunFact::Wave { lane, .. } if *lane == on))
    };
    let answers = last_answers(db, run, first_answer)?;
    let lanes = Lane::ALL.into_iter().filter(|lane| !is_noted(*lane));
    let waves = lanes.filter_map(|lane| wave_begun(lane, &answers));
    let next = "SELECT coalesce(max(seq), 0) + 1 FROM run_fact WHERE run = ?1";
    let next: i64 = db.one(next, &[run.0.into()], |row| row.get(0))?;
    let waves: Vec<Noted> = (next..)
        .zip(waves)
        .map(|(seq, fact)| Noted { seq, fact })
        .collect();
    note(db, run, &waves)
}

/// The last answers of a run, oldest first; no wave is longer. Those of other lanes than `verify` were acted on when another attempt was begun.
fn last_answers(db: Db<'_>, run: RunId, first: i64) -> Result<Vec<LastAnswer>> {
    let (answers, value) = match db {
        Db::Sqlite(_) => (
            "SELECT * FROM answer WHERE seq >= ?1
                AND seq < coalesce((SELECT min(first_answer) FROM run WHERE first_answer > ?1),
                                   9223372036854775807)
              ORDER BY seq DESC LIMIT 1000",
            first,
        ),
        Db::Postgres(_) => (
            "SELECT a.*, a.id AS seq FROM answer a JOIN intent i ON i.id = a.id
              WHERE i.run = ?1 ORDER BY a.answered_at DESC LIMIT 1000",
            run.0,
        ),
    };
    let sql = format!(
        "SELECT i.lane, a.id, a.left_at, a.answered_at, a.verdict, a.text,
                CASE WHEN i.lane = ?2 THEN NOT EXISTS (SELECT 1 FROM code WHERE job = a.id >> 20)
                     ELSE EXISTS (SELECT 1 FROM intent
                                   WHERE id > a.id AND id < ((a.id >> 20) + 1) << 20) END
           FROM ({answers}) a JOIN intent i ON i.id = a.id
          WHERE a.left_at IS NOT NULL ORDER BY a.answered_at, a.seq"
    );
    let verify = i64::try_from(Lane::Verify.index()).unwrap_or(0);
    db.all(&sql, &[value.into(), verify.into()], |row| {
        Ok(LastAnswer {
            lane: lane(row.get(0)?, 0)?,
            job: job_of(row.get(1)?),
            left_at: UnixMicros(row.get(2)?),
            answered_at: UnixMicros(row.get(3)?),
            kind: kind(row.get(4)?, 4)?,
            text: row.get(5)?,
            acted_on: row.get(6)?,
        })
    })
}

/// Takes back that a run began.
pub fn take_back(db: Db<'_>, run: RunId) -> Result<()> {
    db.execute("DELETE FROM run_fact WHERE run = ?1", &[run.0.into()])?;
    db.execute("DELETE FROM run WHERE id = ?1", &[run.0.into()])
        .map(drop)
}

/// The ledger's latest run, if that has not come to its end, and when it began.
pub fn unfinished(db: Db<'_>) -> Result<Option<(RunId, UnixMicros)>> {
    let sql = "SELECT id, started_at FROM run
                WHERE id = (SELECT max(id) FROM run) AND finished_at IS NULL";
    db.first(sql, &[], |row| {
        Ok((RunId(row.get(0)?), UnixMicros(row.get(1)?)))
    })
}

/// The campaign's latest run.
pub fn latest(db: Db<'_>, campaign: CampaignId) -> Result<Option<RunRecord>> {
    latest_that(db, campaign, "true")
}

/// The campaign's latest run that made requests, or else its latest; and when its first began.
pub fn latest_at_work(db: Db<'_>, campaign: CampaignId) -> Result<Option<(RunRecord, UnixMicros)>> {
    let made_some = "(last_left_at IS NOT NULL OR finished_at IS NULL
          AND EXISTS (SELECT 1 FROM intent WHERE intent.run = run.id))";
    let found = match latest_that(db, campaign, made_some)? {
        None => latest(db, campaign)?,
        some => some,
    };
    let Some(run) = found else { return Ok(None) };
    let sql = "SELECT min(started_at) FROM run WHERE campaign = ?1";
    let first = db.one(sql, &[campaign.0.into()], |row| row.get(0).map(UnixMicros))?;
    Ok(Some((run, first)))
}

/// When the campaign's latest run ended that came to its end.
pub fn last_complete(db: Db<'_>, campaign: CampaignId) -> Result<Option<UnixMicros>> {
    let complete = serde_json::to_string(&End::Complete).unwrap_or_default();
    let run = latest_that(db, campaign, &format!("\"end\" = '{complete}'"))?;
    Ok(run.and_then(|run| run.finished_at))
}

fn latest_that(db: Db<'_>, campaign: CampaignId, is_meant: &str) -> Result<Option<RunRecord>> {
    let sql = format!(
        "SELECT id, started_at, finished_at, \"end\", settings, version FROM run
          WHERE campaign = ?1 AND {is_meant} ORDER BY id DESC LIMIT 1"
    );
    db.first(&sql, &[campaign.0.into()], |row| {
        let end: Option<&str> = row.get(3)?;
        let settings: &str = row.get(4)?;
        Ok(RunRecord {
            id: RunId(row.get(0)?),
            started_at: UnixMicros(row.get(1)?),
            finished_at: row.get::<Option<i64>>(2)?.map(UnixMicros),
            end: end.and_then(|end| serde_json::from_str(end).ok()),
            settings: serde_json::from_str(settings).unwrap_or_default(),
            version: row.get(5)?,
        })
    })
}

/// Hands each request of a run that left, or may have, to `each`: on which lane, and when. In no order.
pub fn for_each_departure(
    db: Db<'_>,
    run: RunId,
    mut each: impl FnMut(Lane, Departure) -> Result<()>,
) -> Result<()> {
    let mut each = |lane, answer: Option<Option<i64>>, begun_at| match answer {
        Some(Some(left_at)) => each(lane, Departure::Left(UnixMicros(left_at))),
        Some(None) => Ok(()),
        None => each(lane, Departure::Begun(UnixMicros(begun_at))),
    };
    let Db::Sqlite(_) = db else {
        let sql = "SELECT i.lane, i.begun_at, a.answered_at, a.left_at
                     FROM intent i LEFT JOIN answer a ON a.id = i.id WHERE i.run = ?1";
        return db.each(sql, &[run.0.into()], |row| {
            let answered_at: Option<i64> = row.get(2)?;
            let answer = answered_at.map(|_| row.get(3)).transpose()?;
            each(lane(row.get(0)?, 0)?, answer, row.get(1)?)?;
            Ok(true)
        });
    };
    let mut answered = answered(db, run)?;
    let mut next = answered.next().transpose()?;
    let sql = "SELECT id, lane, begun_at FROM intent WHERE run = ?1 ORDER BY id";
    db.each(sql, &[run.0.into()], |row| {
        let attempt = row.get::<i64>(0)?.cast_unsigned();
        while next.is_some_and(|[of, _]| of < attempt) {
            next = answered.next().transpose()?;
        }
        let answer = next.filter(|[of, _]| *of == attempt);
        let left_at = answer.map(|[_, at]| Some(at.cast_signed()).filter(|at| *at != NEVER));
        each(lane(row.get(1)?, 1)?, left_at, row.get(2)?)?;
        Ok(true)
    })
}

/// Stands for the time at which what never left did.
const NEVER: i64 = i64::MIN;

/// The attempts of a run that were answered, in their order, and when they left: in a file answers
/// lie in the order in which they came.
fn answered(db: Db<'_>, run: RunId) -> Result<Sorted<2>> {
    let sql = "SELECT id, left_at FROM answer
          WHERE seq >= (SELECT first_answer FROM run WHERE id = ?1)
            AND seq < coalesce((SELECT min(first_answer) FROM run WHERE id > ?1), 9223372036854775807)";
    let mut answered = Sorter::beside(&db.beside());
    db.each(sql, &[run.0.into()], |row| {
        let (id, left_at): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        let left_at = left_at.unwrap_or(NEVER);
        answered.push([id.cast_unsigned(), left_at.cast_unsigned()])?;
        Ok(true)
    })?;
    answered.sorted()
}

/// When the requests of a run left.
pub struct Departures {
    /// The last of them.
    pub last: Option<UnixMicros>,
    times: Sorted<1>,
}

impl Departures {
    /// Those of a run; of requests without an answer, when they were begun.
    pub fn of(db: Db<'_>, run: RunId) -> Result<Self> {
        let mut times = Sorter::beside(&db.beside());
        let mut last = None;
        for_each_departure(db, run, |_, departure| {
            last = last.max(Some(departure.at()));
            times.push([departure.at().0.cast_unsigned()])
        })?;
        let times = times.sorted()?;
        Ok(Self { last, times })
    }

    /// Hands them to `each`, the earliest first.
    pub fn for_each(self, mut each: impl FnMut(UnixMicros)) -> Result<()> {
        for time in self.times {
            let [at] = time?;
            each(UnixMicros(at.cast_signed()));
        }
        Ok(())
    }
}

/// How many requests of other runs than these left on each lane, or may have, while a clock on the
/// wall was within `day`; rehearsals are apart.
pub fn left_on(
    db: Db<'_>,
    sandbox: bool,
    but: &[RunId],
    day: &Range<UnixMicros>,
) -> Result<PerLane> {
    let mut left = PerLane::default();
    let sql =
        "SELECT r.id, r.started_at, coalesce(r.last_left_at, r.finished_at, 9223372036854775807)
           FROM run r JOIN campaign c ON c.id = r.campaign WHERE c.sandbox = ?1";
    let runs = db.all(sql, &[sandbox.into()], |row| {
        let (from, until) = (UnixMicros(row.get(1)?), UnixMicros(row.get(2)?));
        Ok((RunId(row.get(0)?), from, until))
    })?;
    for (run, from, until) in runs {
        if but.contains(&run) {
            continue;
        }
        let moves = moves(db, run)?;
        if moves.is_empty() && (until < day.start || from >= day.end) {
            continue;
        }
        for_each_departure(db, run, |lane, departure| {
            left[lane.index()] += u64::from(departure.is_within(day, &moves));
            Ok(())
        })?;
    }
    Ok(left)
}

/// The answers whose time counts as "of late".
const LATE_ANSWERS: i64 = 1_000;

/// How long the latest answers took on each lane: half of them no longer; rehearsals are apart.
pub fn latencies(db: Db<'_>, sandbox: bool) -> Result<[Option<Duration>; Lane::ALL.len()]> {
    let latest = match db {
        Db::Sqlite(_) => "seq",
        // Those of the newest campaign: nothing else is sorted there.
        Db::Postgres(_) => "id",
    };
    let sql = format!(
        "SELECT i.lane, a.answered_at - a.left_at
           FROM (SELECT * FROM answer ORDER BY {latest} DESC LIMIT ?2) a
           JOIN intent i ON i.id = a.id JOIN run r ON r.id = i.run
           JOIN campaign c ON c.id = r.campaign
          WHERE a.left_at IS NOT NULL AND c.sandbox = ?1"
    );
    let mut times: [Vec<u64>; Lane::ALL.len()] = Default::default();
    db.all(&sql, &[sandbox.into(), LATE_ANSWERS.into()], |row| {
        // A clock that was set back between the two says nothing.
        let time = u64::try_from(row.get::<i64>(1)?).ok();
        times[lane(row.get(0)?, 0)?.index()].extend(time);
        Ok(())
    })?;
    Ok(times.map(|mut times| {
        times.sort_unstable();
        times
            .get(times.len() / 2)
            .copied()
            .map(Duration::from_micros)
    }))
}

/// How the clock moved during a run.
fn moves(db: Db<'_>, run: RunId) -> Result<Vec<(UnixMicros, i64)>> {
    let sql = "SELECT fact FROM run_fact WHERE run = ?1 ORDER BY seq";
    let facts = db.all(sql, &[run.0.into()], |row| from_json(row, 0))?;
    let moves = facts.into_iter().filter_map(|fact| match fact {
        RunFact::ClockMoved { at, ahead } => Some((at, ahead)),
        _ => None,
    });
    Ok(moves.collect())
}

/// When the account's latest request left, over all campaigns (rehearsals are apart): in the latest
/// run that made any, or in one that went on beside it, as runs of a server do. One that was killed
/// left no note of it: then its attempts are looked through, unless its campaign went on.
pub fn last_departure(db: Db<'_>, sandbox: bool, this_run: RunId) -> Result<Option<UnixMicros>> {
    let sql = "SELECT r.id, r.last_left_at, r.started_at, r.finished_at,
                NOT EXISTS (SELECT 1 FROM run l WHERE l.campaign = r.campaign
                               AND l.id > r.id AND l.id < ?2 AND l.last_left_at IS NOT NULL)
           FROM run r JOIN campaign c ON c.id = r.campaign
          WHERE c.sandbox = ?1 AND r.id < ?2 ORDER BY r.id DESC";
    let mut latest: Option<UnixMicros> = None;
    let mut since = UnixMicros(i64::MIN);
    db.each(sql, &[sandbox.into(), this_run.0.into()], |row| {
        let finished_at: Option<i64> = row.get(3)?;
        if finished_at.is_some_and(|at| UnixMicros(at) < since) {
            return Ok(true);
        }
        let mut last: Option<UnixMicros> = row.get::<Option<i64>>(1)?.map(UnixMicros);
        if finished_at.is_none() && row.get(4)? {
            last = None;
            for_each_departure(db, RunId(row.get(0)?), |_, left| {
                last = last.max(Some(left.latest()));
                Ok(())
            })?;
        }
        if latest.is_none() && last.is_some() {
            since = UnixMicros(row.get(2)?);
        }
        latest = latest.max(last);
        Ok(true)
    })?;
    Ok(latest)
}

/// The latest `Retry-After` of each lane, as far as it still holds.
pub fn holds(
    db: Db<'_>,
    sandbox: bool,
    now: UnixMicros,
) -> Result<[Option<UnixMicros>; Lane::ALL.len()]> {
    let sql = "SELECT i.lane, a.answered_at, a.retry_at FROM answer a JOIN intent i ON i.id = a.id
           JOIN run r ON r.id = i.run JOIN campaign c ON c.id = r.campaign
          WHERE a.retry_at IS NOT NULL AND c.sandbox = ?1";
    let mut holds = [None; Lane::ALL.len()];
    db.each(sql, &[sandbox.into()], |row| {
        let held = &mut holds[lane(row.get(0)?, 0)?.index()];
        let (answered_at, retry_at) = (UnixMicros(row.get(1)?), UnixMicros(row.get(2)?));
        if !is_made(Mistake::HoldForgotten) {
            *held = (*held).max(hold(answered_at, retry_at, now));
        }
        Ok(true)
    })?;
    Ok(holds)
}
