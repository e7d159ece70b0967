//! Who works on a run: processes that begin it, join it, leave it or are lost.
//!
//! Each has a lease, which it renews every second. One whose lease has run out may be declared lost,
//! by somebody who was never late himself: then others go on with its rows. What it has begun stays
//! as it is, and is `unknown` where there is no answer; so nobody has to be sure that it is dead.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::counts;
use super::server::Server;
use crate::clock::Clock;
use crate::job::{Lane, Operation, UnixMicros};
use crate::ledger::tables::db::{Db, Value};
use crate::ledger::tables::error::{Fault, Result};
use crate::ledger::tables::history;
use crate::ledger::tables::intake::conclude;
use crate::ledger::{Campaign, NewRun, Share, Working};
use crate::pace::Rate;
use crate::record::CampaignId;
use crate::run::{End, Policy, RunId};

/// How long a worker is believed to be there after it was last heard of.
pub const LEASE: Duration = Duration::from_secs(15);

/// Names a process that works on a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Worker(pub i64);

/// How often the clocks are compared at the start.
const PINGS: usize = 9;

/// The run of this campaign on which somebody works right now, and what it may do.
pub fn open_run(server: &Server, campaign: CampaignId) -> Result<Option<(RunId, Policy)>> {
    let sql = "SELECT id, policy FROM run r WHERE campaign = ?1 AND finished_at IS NULL
                  AND EXISTS (SELECT 1 FROM worker_on w WHERE w.run = r.id)
                ORDER BY id DESC LIMIT 1";
    let found = server.query(sql, &[campaign.0.into()])?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let policy: &str = row.try_get(1)?;
    let policy = serde_json::from_str(policy).map_err(|_| Fault::Unreadable(1))?;
    Ok(Some((RunId(row.try_get(0)?), policy)))
}

/// Begins a run of a campaign, or joins the one that is open; within a step that nobody else takes at
/// the same time.
pub fn begin(
    server: &Server,
    campaign: &Campaign,
    now: UnixMicros,
    new: &NewRun<'_>,
) -> Result<RunId> {
    let record = &campaign.record;
    let run = match open_run(server, record.id)? {
        Some((run, policy)) => {
            if let Some(settings) = other_settings(server, run, policy, new)? {
                return Err(Fault::Refused(format!(
                    "other machines work on campaign {} with other settings of {settings}: name the same ones to join them, or wait until they have ended",
                    record.name
                )));
            }
            run
        }
        None => begin_anew(server, campaign, now, new)?,
    };
    let intervals = new.rates.map(|rate| rate.map_or(0, micros_between));
    enter(server, run, record.sandbox, intervals)?;
    Ok(run)
}

/// The settings in which a run that is open is another one than what is to begin, if there are any.
fn other_settings(
    server: &Server,
    run: RunId,
    policy: Policy,
    new: &NewRun<'_>,
) -> Result<Option<&'static str>> {
    if policy != new.policy {
        return Ok(Some(
            "--max-attempts, --fallback, --on-unknown or --on-server-error",
        ));
    }
    // All count together.
    if counts::ceilings_of(server, run)? != counts::told(new.ceilings) {
        return Ok(Some(
            "--limit, --budget, --price, --daily-cap, --call-daily-cap or --timezone",
        ));
    }
    // Who has none would not keep that of the others.
    let sql = "SELECT 1 FROM worker_on WHERE run = ?1 AND calls_us > 0";
    let calls_are_bound = !server.query(sql, &[run.0.into()])?.is_empty();
    let is_other = calls_are_bound != new.rates[Share::Calls.index()].is_some();
    Ok(is_other.then_some("--call-rate"))
}

fn begin_anew(
    server: &Server,
    campaign: &Campaign,
    now: UnixMicros,
    new: &NewRun<'_>,
) -> Result<RunId> {
    let record = &campaign.record;
    let run = history::begin(Db::Postgres(server), record.id, now, new)?;
    counts::begin(server, run, new)?;
    let lanes = match record.operation {
        Operation::Send => &[Lane::Sms, Lane::Call][..],
        Operation::Verify => &[Lane::Verify],
    };
    for lane in lanes {
        let sql = "INSERT INTO ahead (run, lane, next, past) VALUES (?1, ?2, ?3, ?4)";
        let (first, end) = campaign.bounds();
        let values = [run.0, *lane as i64, first, end].map(Value::from);
        server.execute(sql, &values)?;
    }
    Ok(run)
}

/// Joins the run of a campaign on which others work right now, if it is still this one, at their
/// rates, which it gives; within a step that nobody else takes at the same time.
pub fn join(
    server: &Server,
    campaign: &Campaign,
    run: RunId,
) -> Result<[Option<Rate>; Share::ALL.len()]> {
    let record = &campaign.record;
    if open_run(server, record.id)?.is_none_or(|(open, _)| open != run) {
        return Err(Fault::Refused(format!(
            "the run of campaign {} has just ended",
            record.name
        )));
    }
    // Who is slower than the others does not say so in vain.
    let sql = "SELECT max(interval_us), max(calls_us) FROM worker_on WHERE run = ?1";
    let found = server.query(sql, &[run.0.into()])?;
    let row = found.first().ok_or(Fault::NoRow)?;
    let intervals = [row.try_get(0)?, row.try_get(1)?];
    enter(server, run, record.sandbox, intervals)?;
    Ok(intervals.map(rate_of))
}

/// From now on this process works on a run.
fn enter(
    server: &Server,
    run: RunId,
    sandbox: bool,
    intervals: [i64; Share::ALL.len()],
) -> Result<()> {
    let sql = "INSERT INTO worker (id, run, sandbox, host, version, started_at, lease_until,
                       steady_since, interval_us, calls_us)
               VALUES ((SELECT coalesce(max(id), 0) + 1 FROM worker), ?1, ?2, ?3, ?4, now_micros(),
                       now_micros() + ?5, now_micros(), ?6, ?7) RETURNING id";
    let values = [
        run.0.into(),
        sandbox.into(),
        host().into(),
        env!("CARGO_PKG_VERSION").into(),
        micros(LEASE).into(),
        intervals[0].into(),
        intervals[1].into(),
    ];
    let worker = server.query(sql, &values)?;
    server.set_worker(Worker(worker.first().ok_or(Fault::NoRow)?.try_get(0)?));
    for share in Share::ALL {
        let (index, interval) = (share as i64, intervals[share.index()]);
        let sql = "INSERT INTO pace (sandbox, share, tat) VALUES (?1, ?2, now_micros())
                   ON CONFLICT DO NOTHING";
        if server.execute(sql, &[sandbox.into(), index.into()])? > 0 {
            keep_pace(server, i64::from(sandbox), run, index, interval)?;
        }
    }
    Ok(())
}

/// Begins a line of slots behind the latest request of a ledger that was copied here.
fn keep_pace(server: &Server, sandbox: i64, run: RunId, share: i64, interval: i64) -> Result<()> {
    let Some(left) = history::last_departure(Db::Postgres(server), sandbox > 0, run)? else {
        return Ok(());
    };
    // A clock that was set back must not make this a long wait.
    let sql = "UPDATE pace SET tat = greatest(tat, least(?3, now_micros()) + ?4)
                WHERE sandbox = ?1 AND share = ?2";
    let values = [sandbox, share, left.0, interval];
    server.execute(sql, &values.map(Value::from)).map(drop)
}

/// The runs on which somebody works right now.
pub fn on(server: &Server) -> Result<Vec<RunId>> {
    let found = server.query("SELECT DISTINCT run FROM worker_on ORDER BY run", &[])?;
    let runs = found.iter().map(|row| Ok(RunId(row.try_get(0)?)));
    runs.collect()
}

/// Was this process declared lost?
pub fn is_given_up(server: &Server) -> Result<bool> {
    let Some(worker) = server.worker() else {
        return Ok(false);
    };
    let sql = "SELECT 1 FROM worker WHERE id = ?1 AND lost_at IS NOT NULL";
    Ok(!server.query(sql, &[worker.0.into()])?.is_empty())
}

/// Who works right now, in words.
pub fn holder(server: &Server) -> Result<Option<String>> {
    let sql = "SELECT host, count(*) FROM worker_on GROUP BY host ORDER BY host";
    let found = server.query(sql, &[])?;
    let mut hosts = Vec::new();
    for row in &found {
        let (host, count): (&str, i64) = (row.try_get(0)?, row.try_get(1)?);
        hosts.push(match count {
            1 => host.to_owned(),
            count => format!("{host} ({count} processes)"),
        });
    }
    Ok((!hosts.is_empty()).then(|| hosts.join(", ")))
}

/// A clock that shows the server's time, as the fastest of some answers told it.
pub fn clock(server: &Server) -> Result<Clock> {
    let mut best: Option<(Duration, Clock)> = None;
    for _ in 0..PINGS {
        let asked = Instant::now();
        let found = server.query("SELECT now_micros()", &[])?;
        let took = asked.elapsed();
        let shown = UnixMicros(found.first().ok_or(Fault::NoRow)?.try_get(0)?);
        if best.as_ref().is_none_or(|(fastest, _)| took < *fastest) {
            best = Some((took, Clock::at(shown + took / 2)));
        }
    }
    best.map(|(_, clock)| clock).ok_or(Fault::NoRow)
}

/// Notes that a worker has ended, what it leaves to others, and, if it was the last one, that its run
/// has.
pub fn leave(
    server: &Server,
    run: RunId,
    end: &End,
    last_left_at: Option<UnixMicros>,
) -> Result<()> {
    let is_complete = *end == End::Complete;
    let end = serde_json::to_string(end).unwrap_or_default();
    let left_at = last_left_at.map(|at| at.0);
    let note = "UPDATE run SET last_left_at = greatest(last_left_at, ?2) WHERE id = ?1";
    server.execute(note, &[run.0.into(), left_at.into()])?;
    let last = "UPDATE run SET finished_at = now_micros(), \"end\" = ?2
                 WHERE id = ?1 AND finished_at IS NULL
                   AND NOT EXISTS (SELECT 1 FROM worker_on w WHERE w.run = ?1)
                RETURNING campaign";
    let gave_back = "UPDATE run SET \"end\" = ?2 WHERE id = ?1 AND finished_at IS NOT NULL
                   AND EXISTS (SELECT 1 FROM worker w WHERE w.id = ?3 AND w.lost_at IS NOT NULL)";
    // What it gives back late is not done: the run did not come to its end.
    if let Some(worker) = server.worker() {
        let values = [run.0.into(), (&end).into(), worker.0.into()];
        server.execute(gave_back, &values)?;
    }
    if let Some(row) = server.query(last, &[run.0.into(), end.into()])?.first() {
        for table in ["slice", "ahead"] {
            let sql = format!("DELETE FROM {table} WHERE run = ?1");
            server.execute(&sql, &[run.0.into()])?;
        }
        if !is_complete {
            // What all have left in doubt.
            let campaign = CampaignId(row.try_get(0)?);
            conclude(Db::Postgres(server), run, campaign)?;
        }
    }
    Ok(())
}

/// The processes that work right now, with how many requests each has begun.
pub fn workers(server: &Server) -> Result<Vec<Working>> {
    let sql = "SELECT w.run, w.host, w.started_at, coalesce(i.begun, 0) FROM worker_on w
                 LEFT JOIN (SELECT worker, count(*) AS begun FROM intent
                             WHERE run IN (SELECT run FROM worker_on) GROUP BY worker) i
                   ON i.worker = w.id
                ORDER BY w.id";
    let found = server.query(sql, &[])?;
    let workers = found.iter().map(|row| {
        Ok(Working {
            run: RunId(row.try_get(0)?),
            host: row.try_get(1)?,
            since: UnixMicros(row.try_get(2)?),
            begun: row.try_get::<_, i64>(3)?.cast_unsigned(),
        })
    });
    workers.collect()
}

fn micros_between(rate: Rate) -> i64 {
    micros(rate.interval()).max(1)
}

/// The rate with so many microseconds between two requests, as people would say it; 0: any.
fn rate_of(interval: i64) -> Option<Rate> {
    let between = Duration::from_micros(u64::try_from(interval).ok().filter(|us| *us > 0)?);
    let units = [1, 60, 3600].map(Duration::from_secs);
    let said = units.into_iter().find_map(|per| {
        let requests = (per + between / 2).as_micros() / between.as_micros();
        let requests = NonZeroU32::new(u32::try_from(requests).ok()?)?;
        Some(Rate { requests, per }).filter(|rate| micros_between(*rate) == interval)
    });
    Some(said.unwrap_or(Rate {
        requests: NonZeroU32::MIN,
        per: between,
    }))
}

/// As a ledger counts time.
pub fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

/// This machine's name, for people.
fn host() -> String {
    let name = rustix::system::uname();
    let node = name.nodename().to_string_lossy().into_owned();
    format!("{node}, process {}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_said_as_it_was_given() {
        for (requests, per) in [(10, 1), (3, 1), (1_000_000, 1), (7, 60), (500, 3600)] {
            let rate = Rate {
                requests: NonZeroU32::new(requests).unwrap(),
                per: Duration::from_secs(per),
            };
            let said = rate_of(micros_between(rate)).unwrap();
            assert_eq!(micros_between(said), micros_between(rate));
            assert_eq!(said.to_string(), rate.to_string());
        }
        assert_eq!(rate_of(0), None);
        let odd = rate_of(7_000_001).unwrap();
        assert_eq!(micros_between(odd), 7_000_001);
    }
}
