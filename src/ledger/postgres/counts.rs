//! What all who work on a run count together, for the ceilings that it was given: numbers started,
//! requests that are billed, OTPs of a day.
//!
//! The statement that writes intents down counts them, in the same commit: so nothing is ever begun
//! beyond a ceiling, and whoever dies leaves nothing that would have to be counted again. A run
//! without ceilings does none of this.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use tokio_postgres::types::{ToSql, Type};

use super::link::Link;
use super::server::Server;
use crate::clock::Clock;
use crate::job::{Attempt, Channel, Lane, UnixMicros};
use crate::ledger::group::{Answered, Intent};
use crate::ledger::tables::error::Result;
use crate::ledger::{Ceiling, Ceilings, Elsewhere, LedgerError, NewRun, PerLane};
use crate::money::Amount;
use crate::run::{Policy, RunFacts, RunId, Runs};

/// Ceilings as they stand in the tables: those who work together have the same.
pub fn told(ceilings: Option<&Ceilings>) -> Option<String> {
    let ceilings = ceilings?;
    let prices = Channel::ALL.map(|channel| ceilings.prices.of(channel.into()));
    let told = json!({
        "limit": ceilings.limit,
        "daily_cap": ceilings.calendar.all.daily_cap,
        "call_daily_cap": ceilings.calendar.calls.daily_cap,
        "zone": zone(ceilings),
        "budget": ceilings.budget.map(|budget| budget.to_string()),
        "prices": prices.map(|price| price.map(|price| price.to_string())),
    });
    Some(told.to_string())
}

/// Where days are counted; nowhere if there is no cap.
fn zone(ceilings: &Ceilings) -> &str {
    if ceilings.calendar.has_caps() {
        ceilings.calendar.zone.iana_name().unwrap_or("UTC")
    } else {
        ""
    }
}

/// The ceilings that a run was given.
pub fn ceilings_of(server: &Server, run: RunId) -> Result<Option<String>> {
    let sql = "SELECT ceilings FROM run_count WHERE run = ?1";
    let found = server.query(sql, &[run.0.into()])?;
    let told = found.first().map(|row| row.try_get(0));
    Ok(told.transpose()?)
}

/// The runs whose requests of a day are counted along with those of one with these ceilings.
pub fn along(server: &Server, ceilings: Option<&Ceilings>) -> Result<Vec<RunId>> {
    let Some(zone) = ceilings.map(zone).filter(|zone| !zone.is_empty()) else {
        return Ok(Vec::new());
    };
    let found = server.query("SELECT run FROM run_count WHERE zone = ?1", &[zone.into()])?;
    let runs = found.iter().map(|row| Ok(RunId(row.try_get(0)?)));
    runs.collect()
}

/// Begins to count for a new run.
pub fn begin(server: &Server, run: RunId, new: &NewRun<'_>) -> Result<()> {
    let (Some(ceilings), Some(told)) = (new.ceilings, told(new.ceilings)) else {
        return Ok(());
    };
    let billed = |lane: Lane| i64::try_from(new.billed[lane.index()]).unwrap_or(i64::MAX);
    let sql = "INSERT INTO run_count (run, ceilings, zone, started, sms, calls)
               VALUES (?1, ?2, ?3, 0, ?4, ?5)";
    let values = [
        run.0.into(),
        (&told).into(),
        zone(ceilings).into(),
        billed(Lane::Sms).into(),
        billed(Lane::Call).into(),
    ];
    server.execute(sql, &values).map(drop)
}

/// The OTPs of a day, as far as they are not this process' own.
#[derive(Default)]
struct Day {
    start: i64,
    /// Of runs that do not count along, once that was read.
    alone: Option<PerLane>,
    /// Of those that do.
    others: PerLane,
}

/// The OTPs of the day, for both sides.
#[derive(Clone, Default)]
pub struct Today(Arc<Mutex<Day>>);

impl Today {
    fn with<T>(&self, look: impl FnOnce(&mut Day) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// So many were sent by runs that do not count along, on the day that begins then. Gives those of
    /// all others.
    pub fn read(
        &self,
        server: &Server,
        sandbox: bool,
        ceilings: &Ceilings,
        start: UnixMicros,
        alone: PerLane,
    ) -> Result<PerLane> {
        let known = self.with(|day| (day.start == start.0).then_some(day.others));
        let others = if let Some(others) = known {
            others
        } else {
            let sql = "SELECT sms, calls FROM day_count
                            WHERE sandbox = ?1 AND zone = ?2 AND day = ?3";
            let day = [sandbox.into(), zone(ceilings).into(), start.0.into()];
            match server.query(sql, &day)?.first() {
                Some(row) => per_lane([row.try_get(0)?, row.try_get(1)?]),
                None => PerLane::default(),
            }
        };
        self.with(|day| {
            if day.start != start.0 {
                day.start = start.0;
                day.others = others;
            }
            day.alone = Some(alone);
            Ok(sum(day.others, alone))
        })
    }
}

/// What of this run is counted, with what this process has a part in.
pub struct Counting {
    ceilings: Ceilings,
    zone: String,
    /// Says which requests are billed.
    runs: Runs,
    run: RunId,
    sandbox: i64,
    clock: Clock,
    today: Today,
    /// The day that is counted, of which there is a row.
    day: Range<UnixMicros>,
    /// Requests of this process that are not answered.
    open: HashMap<i64, Open>,
    /// Its part of what is counted.
    started: i64,
    billed: [i64; 2],
    on_days: HashMap<i64, [i64; 2]>,
}

/// A request that is not answered.
#[derive(Clone, Copy)]
struct Open {
    lane: Lane,
    day: i64,
}

/// What the statement is given besides.
pub struct Given {
    day: i64,
    limit: Option<i64>,
    daily_cap: Option<i64>,
    call_daily_cap: Option<i64>,
    budget: Option<i64>,
    prices: [i64; 2],
    starts: Vec<i64>,
    lanes: Vec<i64>,
    days: Vec<Option<i64>>,
    unbilled: Vec<i64>,
}

/// What the reply says besides.
pub struct Heard {
    /// Intents that were not written down, each with what is the matter.
    pub beyond: Vec<i64>,
    /// The run's numbers started, and requests billed.
    pub of_run: Vec<i64>,
    /// The day's OTPs.
    pub of_day: Vec<i64>,
}

impl Counting {
    /// Counts for a run of this policy.
    pub fn new(
        ceilings: &Ceilings,
        (run, policy): (RunId, Policy),
        sandbox: bool,
        clock: Clock,
        today: Today,
    ) -> Self {
        let mut runs = Runs::default();
        runs.insert(run, RunFacts::new(policy));
        Self {
            ceilings: ceilings.clone(),
            zone: zone(ceilings).to_owned(),
            runs,
            run,
            sandbox: sandbox.into(),
            clock,
            today,
            day: UnixMicros(0)..UnixMicros(0),
            open: HashMap::new(),
            started: 0,
            billed: [0; 2],
            on_days: HashMap::new(),
        }
    }

    /// Sees to it that there is a row for the day that it is.
    pub async fn ready(&mut self, link: &Link) -> std::result::Result<(), LedgerError> {
        let now = self.clock.now();
        if self.day.contains(&now) || self.zone.is_empty() {
            return Ok(());
        }
        let day = self.ceilings.calendar.day(now);
        let sql = link.in_schema(NEW_DAY);
        let values: [(&(dyn ToSql + Sync), Type); 3] = [
            (&self.sandbox, Type::INT8),
            (&self.zone, Type::TEXT),
            (&day.start.0, Type::INT8),
        ];
        link.ask("count the day", &sql, &values).await?;
        self.day = day;
        Ok(())
    }

    /// What the statement is given for these intents, in their order, and answers.
    pub fn given(&self, intents: &[&Intent], answers: &[Answered]) -> Given {
        let day = self.day.start.0;
        let alone = self
            .today
            .with(|today| today.alone.filter(|_| today.start == day));
        let calendar = &self.ceilings.calendar;
        let left = |cap: Option<NonZeroU64>, lanes: &[Lane]| {
            let cap = cap?.get();
            // Of a day on which others were not counted yet nothing is left.
            let used = alone.map_or(u64::MAX, |alone| {
                lanes.iter().map(|lane| alone[lane.index()]).sum()
            });
            Some(i64::try_from(cap.saturating_sub(used)).unwrap_or(i64::MAX))
        };
        let price = |lane| self.ceilings.prices.of(lane).unwrap_or_default().parts();
        let mut given = Given {
            day,
            limit: self.ceilings.limit.and_then(|limit| limit.try_into().ok()),
            daily_cap: left(calendar.all.daily_cap, &[Lane::Sms, Lane::Call]),
            call_daily_cap: left(calendar.calls.daily_cap, &[Lane::Call]),
            budget: self.ceilings.budget.map(Amount::parts),
            prices: [price(Lane::Sms), price(Lane::Call)],
            starts: intents
                .iter()
                .map(|intent| i64::from(intent.starts))
                .collect(),
            lanes: Vec::with_capacity(answers.len()),
            days: Vec::with_capacity(answers.len()),
            unbilled: Vec::with_capacity(answers.len()),
        };
        for answered in answers {
            let open = self.open.get(&answered.attempt);
            given
                .lanes
                .push(open.map_or(Lane::Verify, |open| open.lane) as i64);
            let stays = answered.answer.left_at.is_some();
            given
                .days
                .push(open.map(|open| open.day).filter(|_| !stays));
            let unbilled = open.is_some_and(|open| !self.is_billed(open.lane, answered));
            given.unbilled.push(unbilled.into());
        }
        given
    }

    fn is_billed(&self, lane: Lane, answered: &Answered) -> bool {
        let attempt = Attempt {
            n: 1,
            run: self.run,
            lane,
            begun_at: answered.answer.answered_at,
            answer: Some(answered.answer.clone()),
            lookup: None,
        };
        self.runs.meaning(&attempt).is_billed()
    }

    /// The statement's further values.
    pub fn values<'v>(&'v self, given: &'v Given) -> [(&'v (dyn ToSql + Sync), Type); 12] {
        [
            (&self.zone, Type::TEXT),
            (&given.day, Type::INT8),
            (&given.limit, Type::INT8),
            (&given.daily_cap, Type::INT8),
            (&given.call_daily_cap, Type::INT8),
            (&given.prices[0], Type::INT8),
            (&given.prices[1], Type::INT8),
            (&given.budget, Type::INT8),
            (&given.starts, Type::INT8_ARRAY),
            (&given.lanes, Type::INT8_ARRAY),
            (&given.days, Type::INT8_ARRAY),
            (&given.unbilled, Type::INT8_ARRAY),
        ]
    }

    /// These intents were written down, and these answers: says what others have come to.
    pub fn settled<'i>(
        &mut self,
        given: &Given,
        written: impl Iterator<Item = &'i Intent>,
        answers: &[Answered],
        heard: &Heard,
    ) -> Elsewhere {
        for intent in written {
            let open = Open {
                lane: intent.lane,
                day: given.day,
            };
            if self.open.insert(intent.id, open).is_none() {
                self.started += i64::from(intent.starts);
                self.count(open.lane, Some(open.day), 1, 1);
            }
        }
        for (nth, answered) in answers.iter().enumerate() {
            if let Some(open) = self.open.remove(&answered.attempt) {
                self.count(open.lane, given.days[nth], -1, -given.unbilled[nth]);
            }
        }
        self.elsewhere(given.day, heard)
    }

    /// So many more of this process on a lane and a day, and of those that are billed.
    fn count(&mut self, lane: Lane, day: Option<i64>, more: i64, billed: i64) {
        if let Some(place) = PLACES.iter().position(|counted| *counted == lane) {
            self.billed[place] += billed;
            if let Some(day) = day {
                self.on_days.entry(day).or_default()[place] += more;
            }
        }
    }

    fn elsewhere(&self, day: i64, heard: &Heard) -> Elsewhere {
        let less = |sum: Option<&i64>, own: i64| sum.copied().unwrap_or(0).saturating_sub(own);
        let started = less(heard.of_run.first(), self.started);
        let billed = [0, 1].map(|place| less(heard.of_run.get(place + 1), self.billed[place]));
        let own = self.on_days.get(&day).copied().unwrap_or_default();
        let others = [0, 1].map(|place| less(heard.of_day.get(place), own[place]));
        let of_day = self.today.with(|today| {
            if today.start != day {
                return None;
            }
            today.others = per_lane(others);
            Some(sum(today.others, today.alone?))
        });
        Elsewhere {
            started: started.try_into().unwrap_or(0),
            billed: per_lane(billed),
            day: of_day.map(|left| (UnixMicros(day), left)),
        }
    }
}

/// The lanes that are counted: to check a code costs nothing and is no OTP.
const PLACES: [Lane; 2] = [Lane::Sms, Lane::Call];

fn per_lane(counted: [i64; 2]) -> PerLane {
    let mut all = PerLane::default();
    for (lane, count) in PLACES.into_iter().zip(counted) {
        all[lane.index()] = count.try_into().unwrap_or(0);
    }
    all
}

fn sum(one: PerLane, other: PerLane) -> PerLane {
    Lane::ALL.map(|lane| one[lane.index()] + other[lane.index()])
}

/// Which of its ceilings an intent would exceed, as the statement says it.
pub fn ceiling(code: i64) -> Ceiling {
    match code {
        1 => Ceiling::Limit,
        2 => Ceiling::DailyCap,
        _ => Ceiling::Budget,
    }
}

const NEW_DAY: &str = "INSERT INTO {schema}.day_count (sandbox, zone, day, sms, calls)
    VALUES ($1, $2, $3, 0, 0) ON CONFLICT DO NOTHING";

/// The intents that are written down where nothing is counted,
pub const ALL: &str = "unnest($14::int8[], $15::int8[], $16::int8[]) i(id, lane, begun_at)";

/// and where something is.
pub const THOSE_WITHIN: &str = "(SELECT * FROM asked WHERE beyond = 0) i";

/// One after the other counts: the rows of the run and of the day are held until all is written.
pub const ASKED: &str = "
 of_run AS (SELECT * FROM {schema}.run_count WHERE run = $2 FOR UPDATE),
 of_day AS (SELECT d.* FROM of_run, {schema}.day_count d
             WHERE d.sandbox = $3 AND d.zone = $17 AND d.day = $18 FOR UPDATE OF d),
 asked AS (SELECT i.id, i.lane, i.begun_at, i.starts,
       CASE WHEN i.starts = 1 AND r.started + sum(i.starts) OVER so_far > $19 THEN 1
            WHEN i.lane = 1
             AND d.calls + count(*) FILTER (WHERE i.lane = 1) OVER so_far > $21 THEN 2
            WHEN i.lane < 2
             AND d.sms + d.calls + count(*) FILTER (WHERE i.lane < 2) OVER so_far > $20 THEN 2
            WHEN i.lane < 2
             AND r.sms * $22 + r.calls * $23
               + sum(CASE i.lane WHEN 0 THEN $22 WHEN 1 THEN $23 ELSE 0 END) OVER so_far > $24 THEN 3
            ELSE 0 END AS beyond
     FROM of_run r LEFT JOIN of_day d ON true,
          unnest($14::int8[], $15::int8[], $16::int8[], $25::int8[])
            WITH ORDINALITY i(id, lane, begun_at, starts, place)
   WINDOW so_far AS (ORDER BY i.place)),";

/// What was written down counts, and what did not leave, or is not billed, does no more: each once,
/// however often the statement is repeated.
pub const COUNT: &str = ",
 more AS (SELECT coalesce(sum(a.starts), 0) AS started, count(*) FILTER (WHERE i.lane = 0) AS sms,
                 count(*) FILTER (WHERE i.lane = 1) AS calls
            FROM intents i JOIN asked a USING (id) WHERE i.is_new),
 less AS (SELECT l.* FROM answers a
            JOIN unnest($4::int8[], $26::int8[], $27::int8[], $28::int8[]) l(id, lane, day, unbilled)
           USING (id)),
 run_counted AS (UPDATE {schema}.run_count r
      SET started = r.started + m.started, sms = r.sms + m.sms - l.sms,
          calls = r.calls + m.calls - l.calls
     FROM more m, (SELECT count(*) FILTER (WHERE lane = 0) AS sms,
                          count(*) FILTER (WHERE lane = 1) AS calls FROM less WHERE unbilled = 1) l
    WHERE r.run = $2 RETURNING r.started, r.sms, r.calls),
 day_counted AS (UPDATE {schema}.day_count d SET sms = d.sms + m.sms, calls = d.calls + m.calls
     FROM (SELECT day, sum(sms) AS sms, sum(calls) AS calls
             FROM (SELECT $18 AS day, sms, calls FROM more
                   UNION ALL
                   SELECT day, -count(*) FILTER (WHERE lane = 0), -count(*) FILTER (WHERE lane = 1)
                     FROM less WHERE day IS NOT NULL GROUP BY day) c GROUP BY day) m
    WHERE d.sandbox = $3 AND d.zone = $17 AND d.day = m.day
   RETURNING d.day, d.sms, d.calls)";

/// What the reply says besides.
pub const TELL: &str = ",
       coalesce((SELECT array_agg(v ORDER BY id, n) FROM asked,
                        unnest(ARRAY[id, beyond]) WITH ORDINALITY u(v, n) WHERE beyond > 0), '{}'),
       coalesce((SELECT ARRAY[started, sms, calls] FROM run_counted), '{}'),
       coalesce((SELECT ARRAY[sms, calls] FROM day_counted WHERE day = $18), '{}')";

/// Intents that a statement has written down whose reply was lost.
pub const OURS: &str = "SELECT id FROM {schema}.intent WHERE id = ANY($1) AND worker = $2";
