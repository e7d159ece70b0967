//! The one that writes to the server during a run: one statement for a group of intents and answers,
//! one on its way at a time. Its reply says which intents are ours, and what others ran into.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_postgres::types::{ToSql, Type};

use super::counts::{self, Counting, Given};
use super::fleet::{LEASE, Worker};
use super::link::{FIRST_WAIT, Link};
use crate::job::{Lane, UnixMicros, VerdictKind};
use crate::ledger::group::{Committed, Failure, Group, Intent, Room};
use crate::ledger::tables::rows::kind_index;
use crate::ledger::{Begun, Ceiling, LedgerError, News};
use crate::number::mask_numbers;
use crate::run::{RunFact, RunId, Stop, StopKind};

/// What is asked, for people.
const BEGIN: &str = "note that a request is about to leave";

/// Groups start at least this far apart.
pub const GROUP_GAP: Duration = Duration::from_millis(10);

/// A request has to leave so long before the lease is over: others may go on then.
const MARGIN: Duration = Duration::from_secs(2);

/// Writes to the server.
pub struct Writer {
    pub link: Link,
    pub run: RunId,
    pub worker: Worker,
    pub sandbox: bool,
    pub news: mpsc::UnboundedSender<News>,
    /// How long writing took of late.
    pub took: Arc<Took>,
    /// Until when each lane has been said to be held.
    pub held: [Option<i64>; Lane::ALL.len()],
    /// What all count together, if the run has ceilings.
    pub counting: Option<Counting>,
    /// The statement that it writes with.
    pub sql: String,
}

/// How long it took of late to write, for both sides.
#[derive(Default)]
pub struct Took(AtomicU64);

impl Took {
    /// The longest of late, in which each is forgotten little by little.
    pub fn longest(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }

    fn add(&self, took: Duration) {
        let before = self.longest() * 63 / 64;
        let longest = u64::try_from(took.max(before).as_micros()).unwrap_or(u64::MAX);
        self.0.store(longest, Ordering::Relaxed);
    }
}

/// What a reply tells.
struct Reply {
    granted: Vec<i64>,
    /// For how long its lease is good, by the server, if it still is; `None`: it was given up.
    lease: Option<i64>,
    stop: Option<String>,
    holds: Vec<(i64, i64)>,
    counted: Option<counts::Heard>,
}

/// What answers there are, by column: with them the statement is built.
#[derive(Default)]
struct Arrays {
    intents: Vec<i64>,
    lanes: Vec<i64>,
    begun: Vec<i64>,
    answered: Vec<i64>,
    left_at: Vec<Option<i64>>,
    answered_at: Vec<i64>,
    verdicts: Vec<i64>,
    texts: Vec<String>,
    retry_at: Vec<Option<i64>>,
    codes: Vec<i64>,
    seqs: Vec<i64>,
    facts: Vec<String>,
    stop: Option<String>,
}

impl Room for Writer {
    async fn commit(mut self, group: Group) -> (Self, Group, Result<Committed, Failure>) {
        let result = self.write(&group).await;
        (self, group, result)
    }
}

impl Writer {
    async fn write(&mut self, group: &Group) -> Result<Committed, Failure> {
        if group.is_empty() {
            return Ok(Committed::default());
        }
        self.commit_group(group).await.map_err(|error| Failure {
            why: match error {
                LedgerError::Database { why, .. } => why,
                other => other.to_string(),
            },
            sick_disk: false,
        })
    }

    async fn commit_group(&mut self, group: &Group) -> Result<Committed, LedgerError> {
        if let Some(counting) = &mut self.counting {
            counting.ready(&self.link).await?;
        }
        // In one order, or two machines with the same rows could wait for each other.
        let mut intents: Vec<_> = group.intents.iter().collect();
        intents.sort_unstable_by_key(|intent| intent.id);
        let arrays = self.arrays(group, &intents);
        let counting = self.counting.as_ref();
        let given = counting.map(|counting| counting.given(&intents, &group.answers));
        let (asked, mut reply) = self.ask_in_time(&arrays, given.as_ref()).await?;
        self.took.add(asked.elapsed());
        let beyond = self.beyond(&mut reply).await?;
        self.tell(&reply);
        if let (Some(counting), Some(given), Some(heard)) =
            (&mut self.counting, &given, &reply.counted)
        {
            let written = intents.into_iter();
            let written = written.filter(|intent| reply.granted.contains(&intent.id));
            let elsewhere = counting.settled(given, written, &group.answers, heard);
            let _ = self.news.send(News::Counted(elsewhere));
        }
        let places = group.intents.iter().enumerate();
        let refused = places.filter(|(_, intent)| !reply.granted.contains(&intent.id));
        let refused = refused.map(|(place, intent)| {
            let beyond = beyond.get(&intent.id).copied();
            (place, beyond.map_or(Begun::Taken, Begun::Beyond))
        });
        let lease = u64::try_from(reply.lease.unwrap_or(0)).unwrap_or(0);
        let lease = Duration::from_micros(lease).min(LEASE);
        Ok(Committed {
            refused: refused.collect(),
            // What the way took counts against it.
            leave_by: Some(asked + lease.saturating_sub(MARGIN)),
        })
    }

    /// The intents that would be beyond a ceiling. Those that an earlier try of the same statement
    /// has written down are not: they are granted.
    async fn beyond(&self, reply: &mut Reply) -> Result<HashMap<i64, Ceiling>, LedgerError> {
        let Some(heard) = &reply.counted else {
            return Ok(HashMap::new());
        };
        let (pairs, _) = heard.beyond.as_chunks::<2>();
        let pairs = pairs.iter();
        let beyond: HashMap<_, _> = pairs
            .map(|[id, code]| (*id, counts::ceiling(*code)))
            .collect();
        if !beyond.is_empty() {
            let ids: Vec<i64> = beyond.keys().copied().collect();
            let values: [(&(dyn ToSql + Sync), Type); 2] =
                [(&ids, Type::INT8_ARRAY), (&self.worker.0, Type::INT8)];
            let sql = self.link.in_schema(counts::OURS);
            let ours = self.link.ask(BEGIN, &sql, &values).await?;
            let ours = ours.rows.iter().map(|row| row.try_get(0));
            let ours: Result<Vec<i64>, _> = ours.collect();
            reply
                .granted
                .extend(ours.map_err(self.link.unreadable(BEGIN))?);
        }
        Ok(beyond)
    }

    fn arrays(&self, group: &Group, intents: &[&Intent]) -> Arrays {
        let mut arrays = Arrays::default();
        for intent in intents {
            arrays.intents.push(intent.id);
            arrays.lanes.push(intent.lane as i64);
            arrays.begun.push(intent.begun_at.0);
        }
        for answered in &group.answers {
            let verdict = &answered.answer.verdict;
            arrays.answered.push(answered.attempt);
            arrays.left_at.push(answered.answer.left_at.map(|at| at.0));
            arrays.answered_at.push(answered.answer.answered_at.0);
            arrays.verdicts.push(kind_index(verdict.kind));
            arrays.texts.push(verdict.text.replace('\0', " "));
            arrays.retry_at.push(verdict.retry_at.map(|at| at.0));
            if let Some(stop) = stop(verdict.kind, &verdict.text) {
                arrays.stop = serde_json::to_string(&stop).ok();
            }
        }
        arrays.codes = group.codes.iter().map(|job| job.0).collect();
        for noted in &group.facts {
            // Of one worker they stand together, in their order.
            arrays.seqs.push(self.worker.0 << 32 | noted.seq);
            let fact = serde_json::to_string(&noted.fact).unwrap_or_default();
            arrays.facts.push(fact.replace("\\u0000", " "));
            if let RunFact::Wave { words, .. } = &noted.fact {
                let stop = account_refused(words);
                arrays.stop = serde_json::to_string(&stop).ok();
            }
        }
        arrays
    }

    /// Asks, and when. After a time in which the server was away the lease is over: then it asks again,
    /// until the next beat has renewed it, unless others have given this process up.
    async fn ask_in_time(
        &self,
        arrays: &Arrays,
        given: Option<&Given>,
    ) -> Result<(Instant, Reply), LedgerError> {
        let mut late_since = None;
        loop {
            let asked = Instant::now();
            let mut reply = self.ask(arrays, given).await?;
            let is_late = reply.lease.is_some_and(|lease| lease <= 0) && reply.stop.is_none();
            if !is_late || arrays.intents.is_empty() {
                return Ok((asked, reply));
            }
            let now = Instant::now();
            if now - *late_since.get_or_insert(now) > LEASE {
                reply.lease = None;
                return Ok((asked, reply));
            }
            sleep(FIRST_WAIT).await;
        }
    }

    async fn ask(&self, arrays: &Arrays, given: Option<&Given>) -> Result<Reply, LedgerError> {
        let (worker, run, sandbox) = (self.worker.0, self.run.0, i64::from(self.sandbox));
        let mut values: Vec<(&(dyn ToSql + Sync), Type)> = vec![
            (&worker, Type::INT8),
            (&run, Type::INT8),
            (&sandbox, Type::INT8),
            (&arrays.answered, Type::INT8_ARRAY),
            (&arrays.left_at, Type::INT8_ARRAY),
            (&arrays.answered_at, Type::INT8_ARRAY),
            (&arrays.verdicts, Type::INT8_ARRAY),
            (&arrays.texts, Type::TEXT_ARRAY),
            (&arrays.retry_at, Type::INT8_ARRAY),
            (&arrays.codes, Type::INT8_ARRAY),
            (&arrays.seqs, Type::INT8_ARRAY),
            (&arrays.facts, Type::TEXT_ARRAY),
            (&arrays.stop, Type::TEXT),
            (&arrays.intents, Type::INT8_ARRAY),
            (&arrays.lanes, Type::INT8_ARRAY),
            (&arrays.begun, Type::INT8_ARRAY),
        ];
        if let Some((counting, given)) = self.counting.as_ref().zip(given) {
            values.extend(counting.values(given));
        }
        let heard = self.link.ask(BEGIN, &self.sql, &values).await?;
        let read = || {
            let row = &heard.rows[0];
            let holds: Vec<i64> = row.try_get(3)?;
            let (holds, _) = holds.as_chunks::<2>();
            Ok(Reply {
                granted: row.try_get(0)?,
                lease: row.try_get(1)?,
                stop: row.try_get(2)?,
                holds: holds.iter().map(|[lane, until]| (*lane, *until)).collect(),
                counted: match given {
                    None => None,
                    Some(_) => Some(counts::Heard {
                        beyond: row.try_get(4)?,
                        of_run: row.try_get(5)?,
                        of_day: row.try_get(6)?,
                    }),
                },
            })
        };
        read().map_err(self.link.unreadable(BEGIN))
    }

    /// Tells the engine what others ran into.
    fn tell(&mut self, reply: &Reply) {
        for (lane, until) in &reply.holds {
            let index = usize::try_from(*lane).unwrap_or(usize::MAX);
            let lane = Lane::ALL.get(index);
            if let (Some(lane), Some(held)) = (lane, self.held.get_mut(index))
                && *held < Some(*until)
            {
                *held = Some(*until);
                // Nobody listens any more: the run has ended.
                let _ = self.news.send(News::Hold(*lane, UnixMicros(*until)));
            }
        }
        let stop = reply.stop.as_deref();
        let stop = stop.and_then(|stop| serde_json::from_str(stop).ok());
        let stop = stop.or_else(|| reply.lease.is_none().then(lost));
        if let Some(stop) = stop {
            let _ = self.news.send(News::Stop(stop));
        }
    }
}

/// This process was not heard of for too long.
pub fn lost() -> Stop {
    Stop {
        kind: StopKind::Ledger,
        message: format!(
            "this process did not reach the ledger for longer than {LEASE:?}, and others went on with its rows, which have ended since; run the same command again to go on"
        ),
    }
}

/// Does an answer say that nobody needs to go on?
fn stop(kind: VerdictKind, text: &str) -> Option<Stop> {
    let text = mask_numbers(text);
    match kind {
        VerdictKind::KeyRefused => Some(Stop {
            kind: StopKind::KeyRefused,
            message: format!(
                "the gateway refused the API key of a machine of this run ({text}); nothing more was sent. Check the key, then run the same command again"
            ),
        }),
        VerdictKind::AccountRefused => Some(account_refused(&text)),
        _ => None,
    }
}

fn account_refused(text: &str) -> Stop {
    Stop {
        kind: StopKind::AccountRefused,
        message: format!(
            "the gateway refused the account of a machine of this run ({text}); nothing more was sent. Check its credit with the provider, then run the same command again"
        ),
    }
}

/// An intent is written by a worker whose lease is good, unless all have to stop: whoever inserts its
/// key may send. An answer is a fact, whoever tells it, and the first one counts.
const WRITE: &str = "
WITH there AS (SELECT lease_until - {schema}.now_micros() AS lease FROM {schema}.worker
                WHERE id = $1 AND lost_at IS NULL AND finished_at IS NULL),
 stopped AS (SELECT why FROM {schema}.stop WHERE run = $2),
 answers AS (INSERT INTO {schema}.answer (id, left_at, answered_at, verdict, text, retry_at)
     SELECT * FROM unnest($4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::text[], $9::int8[])
     ON CONFLICT (id) DO NOTHING RETURNING id),
 codes AS (DELETE FROM {schema}.code WHERE job = ANY($10)),
 facts AS (INSERT INTO {schema}.run_fact (run, seq, fact)
     SELECT $2, * FROM unnest($11::int8[], $12::text[]) ON CONFLICT DO NOTHING),
 holds AS (INSERT INTO {schema}.hold (sandbox, lane, until)
     SELECT $3, i.lane, max(a.until) FROM unnest($4::int8[], $9::int8[]) a(id, until)
       JOIN {schema}.intent i ON i.id = a.id WHERE a.until IS NOT NULL GROUP BY i.lane
     ON CONFLICT (sandbox, lane) DO UPDATE SET until = greatest(hold.until, excluded.until)),
 stops AS (INSERT INTO {schema}.stop (run, why) SELECT $2, $13 WHERE $13 IS NOT NULL
     ON CONFLICT DO NOTHING),{asked}
 intents AS (INSERT INTO {schema}.intent (id, run, lane, begun_at, worker)
     SELECT i.id, $2, i.lane, i.begun_at, $1 FROM there, {intents}
      WHERE there.lease > 0 AND NOT EXISTS (SELECT 1 FROM stopped)
     ON CONFLICT (id) DO UPDATE SET lane = intent.lane WHERE intent.worker = excluded.worker
     RETURNING id, lane, xmax = 0 AS is_new){count}
SELECT coalesce((SELECT array_agg(id) FROM intents), '{}'), (SELECT lease FROM there),
       (SELECT why FROM stopped),
       coalesce((SELECT array_agg(v ORDER BY h.lane, n) FROM {schema}.hold h,
                        unnest(ARRAY[h.lane, h.until]) WITH ORDINALITY u(v, n)
                  WHERE h.sandbox = $3 AND h.until > {schema}.now_micros()), '{}'){told}";

/// The statement of a run that has ceilings, or has none.
pub fn statement(counting: Option<&Counting>) -> String {
    let parts = match counting {
        None => ["", counts::ALL, "", ""],
        Some(_) => [
            counts::ASKED,
            counts::THOSE_WITHIN,
            counts::COUNT,
            counts::TELL,
        ],
    };
    let places = ["{asked}", "{intents}", "{count}", "{told}"];
    let parts = places.into_iter().zip(parts);
    parts.fold(WRITE.to_owned(), |sql, (place, part)| {
        sql.replace(place, part)
    })
}
