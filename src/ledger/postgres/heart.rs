//! Shows the others that this process is there, once a second: renews its lease, gives back the slices
//! that have ended, declares those lost that are late, and hears what turned up in the run.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_postgres::types::{ToSql, Type};

use super::fleet::{LEASE, Worker, micros};
use super::link::{Link, numbers};
use super::run::{Outages, follow};
use super::slices::Slices;
use super::writer::lost;
use crate::job::{Lane, UnixMicros};
use crate::ledger::{LedgerError, News};
use crate::run::{RunFact, RunId};

/// What is asked, for people.
const RENEW: &str = "renew the lease";
const HEAR: &str = "hear of the others";

/// How often it beats.
const BEAT: Duration = Duration::from_secs(1);

/// A heart that beats until it is told to end.
pub struct Heart {
    beats: JoinHandle<()>,
    end: oneshot::Sender<()>,
}

impl Heart {
    /// Ends it.
    pub async fn end(self) {
        let _ = self.end.send(());
        // It panicked: that was told then.
        let _ = self.beats.await;
    }
}

struct Beating {
    link: Link,
    run: RunId,
    worker: Worker,
    say: mpsc::UnboundedSender<News>,
    slices: Arc<Mutex<Slices>>,
    outages: Outages,
    /// How many were in each outage together, by its bit.
    probers: [i64; OUTAGES.len()],
    known: BTreeSet<i64>,
}

/// The outages that there can be, each with its bit.
const OUTAGES: [Option<Lane>; 1 + Lane::ALL.len()] =
    [None, Some(Lane::Sms), Some(Lane::Call), Some(Lane::Verify)];

/// Starts to beat.
pub fn start(
    link: Link,
    (run, worker): (RunId, Worker),
    say: mpsc::UnboundedSender<News>,
    slices: Arc<Mutex<Slices>>,
    outages: Outages,
) -> Heart {
    let (end, mut ended) = oneshot::channel();
    let mut beating = Beating {
        link,
        run,
        worker,
        say,
        slices,
        outages,
        probers: [1; OUTAGES.len()],
        known: BTreeSet::new(),
    };
    let beats = tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                _ = &mut ended => return,
                beaten = beating.beat() => {
                    if let Err(error) = beaten {
                        // The writer finds out, too, and says so.
                        tracing::debug!(name: "no_beat", "{error}");
                    }
                }
            }
            tokio::select! {
                _ = &mut ended => return,
                () = sleep(BEAT) => {}
            }
        }
    });
    Heart { beats, end }
}

impl Beating {
    async fn beat(&mut self) -> Result<(), LedgerError> {
        let ended = self.slices().ended();
        let lanes: Vec<i64> = ended.iter().map(|slice| slice.lane as i64).collect();
        let firsts: Vec<i64> = ended.iter().map(|slice| slice.first).collect();
        let (run, worker, lease) = (self.run.0, self.worker.0, micros(LEASE));
        let known = i64::try_from(self.known.len()).unwrap_or(i64::MAX);
        let outages = self.bits();
        let values: [(&(dyn ToSql + Sync), Type); 6] = [
            (&worker, Type::INT8),
            (&run, Type::INT8),
            (&lease, Type::INT8),
            (&lanes, Type::INT8_ARRAY),
            (&firsts, Type::INT8_ARRAY),
            (&outages, Type::INT8),
        ];
        let sql = self.link.in_schema(BEATS);
        let heard = self.link.ask(RENEW, &sql, &values).await?;
        let row = &heard.rows[0];
        let read = || {
            Ok((
                row.try_get(0)?,
                row.try_get(1)?,
                row.try_get(2)?,
                row.try_get(3)?,
                row.try_get(4)?,
            ))
        };
        let read = read().map_err(self.link.unreadable(RENEW))?;
        self.slices().are_gone(&ended);
        let (is_there, facts, late, now, probers): (bool, i64, Vec<i64>, i64, Vec<i64>) = read;
        self.hear_of_outages(outages, &probers);
        for worker in late {
            self.end_outages(worker, UnixMicros(now)).await?;
        }
        if !is_there {
            let _ = self.say.send(News::Stop(lost()));
        }
        if facts != known {
            self.hear().await?;
        }
        Ok(())
    }

    fn slices(&self) -> MutexGuard<'_, Slices> {
        self.slices.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The outages that this process is in, as bits.
    fn bits(&self) -> i64 {
        let outages = self.outages.lock().unwrap_or_else(PoisonError::into_inner);
        let bit = |(bit, outage)| i64::from(outages.contains(&outage)) << bit;
        (0..).zip(OUTAGES).map(bit).sum()
    }

    /// Tells the engine with how many it probes together: with all who work on the run, if they are
    /// in the same outage.
    fn hear_of_outages(&mut self, own: i64, others: &[i64]) {
        for (bit, outage) in OUTAGES.into_iter().enumerate() {
            let others = others.get(bit).copied().unwrap_or_default();
            let probers = if own >> bit & 1 == 1 { 1 + others } else { 1 };
            if std::mem::replace(&mut self.probers[bit], probers) != probers {
                let probers = u32::try_from(probers).unwrap_or(1);
                let _ = self.say.send(News::Probers(outage, probers));
            }
        }
    }

    /// The outages that a worker knew of who is lost end with it: what fails later is in none of them.
    async fn end_outages(&self, worker: i64, at: UnixMicros) -> Result<(), LedgerError> {
        let sql = self.link.in_schema(FACTS_OF_LOST);
        let heard = self.link.ask(HEAR, &sql, &numbers(&[worker])).await?;
        let (mut open, mut run, mut last) = (BTreeSet::new(), 0, worker << 32);
        for row in &heard.rows {
            let read = || Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?));
            let read: Result<(i64, i64, &str), tokio_postgres::Error> = read();
            let fact;
            (run, last, fact) = read.map_err(self.link.unreadable(HEAR))?;
            if let Ok(fact) = serde_json::from_str(fact) {
                follow(&mut open, &fact);
            }
        }
        for (lane, seq) in open.into_iter().zip(last + 1..) {
            let ended = RunFact::OutageEnded { lane, at };
            let ended = serde_json::to_string(&ended).unwrap_or_default();
            let sql = "INSERT INTO {schema}.run_fact (run, seq, fact) VALUES ($1, $2, $3)
                       ON CONFLICT DO NOTHING";
            let values: [(&(dyn ToSql + Sync), Type); 3] =
                [(&run, Type::INT8), (&seq, Type::INT8), (&ended, Type::TEXT)];
            self.link
                .ask(HEAR, &self.link.in_schema(sql), &values)
                .await?;
        }
        Ok(())
    }

    /// Tells the engine what others have noted of the run.
    async fn hear(&mut self) -> Result<(), LedgerError> {
        let sql = "SELECT seq, fact FROM {schema}.run_fact WHERE run = $1 ORDER BY seq";
        let sql = self.link.in_schema(sql);
        let heard = self.link.ask(HEAR, &sql, &numbers(&[self.run.0])).await?;
        let facts = heard.rows.iter();
        let facts = facts.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        let facts = facts.collect::<Result<Vec<(i64, String)>, tokio_postgres::Error>>();
        let facts = facts.map_err(self.link.unreadable(HEAR))?;
        for (seq, fact) in facts {
            let is_ours = seq >> 32 == self.worker.0;
            if self.known.insert(seq)
                && !is_ours
                && let Ok(fact) = serde_json::from_str::<RunFact>(&fact)
            {
                let _ = self.say.send(News::Fact(fact));
            }
        }
        Ok(())
    }
}

/// Only who was never late for the length of a lease may declare others lost: the first one who is
/// back after an outage knows nothing of them. What one has who is not there any more is free,
/// whenever it came by it: it may have taken rows in the moment in which it was declared lost.
const BEATS: &str = "
WITH now AS (SELECT {schema}.now_micros() AS now),
 own AS (UPDATE {schema}.worker w
            SET steady_since = CASE WHEN w.lease_until < now.now THEN now.now ELSE w.steady_since END,
                lease_until = now.now + $3, outages = $6
           FROM now WHERE w.id = $1 AND w.lost_at IS NULL AND w.finished_at IS NULL
         RETURNING w.steady_since),
 late AS (UPDATE {schema}.worker w SET lost_at = now.now FROM now, own
           WHERE w.lease_until < now.now AND w.lost_at IS NULL AND w.finished_at IS NULL
             AND w.id <> $1 AND own.steady_since < now.now - $3
          RETURNING w.id),
 free AS (UPDATE {schema}.slice s SET worker = NULL FROM {schema}.worker w
           WHERE s.run = $2 AND w.id = s.worker
             AND (w.lost_at IS NOT NULL OR w.finished_at IS NOT NULL OR w.id IN (SELECT id FROM late))),
 done AS (DELETE FROM {schema}.slice s USING unnest($4::int8[], $5::int8[]) d(lane, first)
           WHERE s.run = $2 AND s.lane = d.lane AND s.first = d.first AND s.worker = $1)
SELECT EXISTS (SELECT 1 FROM own), (SELECT count(*) FROM {schema}.run_fact WHERE run = $2),
       coalesce((SELECT array_agg(id) FROM late), '{}'), now,
       (SELECT array_agg(n ORDER BY bit)
          FROM (SELECT bit, CASE WHEN bool_and(outages >> bit & 1 = 1) THEN count(*) ELSE 0 END AS n
                  FROM generate_series(0, 3) bit
                  LEFT JOIN {schema}.worker_on ON run = $2 AND id <> $1 GROUP BY bit) b)
  FROM now";

const FACTS_OF_LOST: &str = "
SELECT f.run, f.seq, f.fact FROM {schema}.run_fact f JOIN {schema}.worker w ON w.run = f.run
 WHERE w.id = $1 AND f.seq >> 32 = $1 ORDER BY f.seq";
