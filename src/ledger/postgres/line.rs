//! The line of slots that all processes share: places on it are reserved on the server, by its clock.

use std::cell::Cell;
use std::ops::RangeInclusive;
use std::time::Duration;

use tokio::time::Instant;

use super::fleet::{Worker, micros};
use super::link::{Heard, Link, numbers};
use crate::ledger::{LedgerError, Slots, Wanted};
use crate::pace::SLACK;

/// What is asked, for people.
const TAKE_SLOTS: &str = "reserve the rate";

/// The first slot begins at least so long after it was asked for.
const LEAD: Duration = Duration::from_millis(30);
/// What one process reserves at once, at most, in time.
const LOT: Duration = Duration::from_millis(100);

/// The line, as one process sees it.
pub struct Line {
    sandbox: bool,
    worker: Worker,
    /// A moment, and what the server's clock showed then.
    clock: Cell<(Instant, i64)>,
}

impl Line {
    /// The line of real runs, or that of rehearsals; the server's clock showed so much at a moment.
    pub fn new(sandbox: bool, worker: Worker, clock: (Instant, i64)) -> Self {
        Self {
            sandbox,
            worker,
            clock: Cell::new(clock),
        }
    }

    /// Reserves slots, and those of the calls' own rate if there are some wanted.
    pub async fn reserve(
        &self,
        control: &Link,
        wanted: Wanted,
    ) -> Result<(Slots, Option<Slots>), LedgerError> {
        let values = [
            i64::from(self.sandbox),
            self.worker.0,
            i64::from(wanted.slots),
            i64::from(wanted.calls),
            micros(LEAD),
            micros(LOT),
            micros(SLACK),
        ];
        let sql = control.in_schema(RESERVE);
        let values = numbers(&values);
        let Heard { rows, asked, took } = control.ask(TAKE_SLOTS, &sql, &values).await?;
        let read = || {
            let row = &rows[0];
            let now: i64 = row.try_get(0)?;
            let moment = moment(self.clock.get(), now, asked..=asked + took);
            self.clock.set((moment, now));
            let there = |at: i64| {
                let ahead = u64::try_from(at - now).unwrap_or(0);
                moment + Duration::from_micros(ahead)
            };
            let slots = |first: usize, later: usize| -> Result<_, tokio_postgres::Error> {
                let interval: i64 = row.try_get(first + 1)?;
                let count: i64 = row.try_get(first + 2)?;
                Ok(match row.try_get(first)? {
                    Some(start) => Slots::At {
                        first: there(start),
                        interval: Duration::from_micros(interval.unsigned_abs()),
                        count: count.try_into().unwrap_or(0),
                    },
                    None => Slots::Later(there(row.try_get(later)?)),
                })
            };
            let calls = (wanted.calls > 0).then(|| slots(5, 8));
            Ok((slots(1, 4)?, calls.transpose()?))
        };
        read().map_err(control.unreadable(TAKE_SLOTS))
    }
}

/// The moment at which the server's clock showed `now`, which was within this time: as it follows from
/// one that is known, as far as that can be. Slots lie beside those of others, and an answer that took
/// long by itself would say little about where.
fn moment(known: (Instant, i64), now: i64, within: RangeInclusive<Instant>) -> Instant {
    let (moment, shown) = known;
    let passed = Duration::from_micros(now.abs_diff(shown));
    let (first, last) = within.into_inner();
    let told = if now < shown {
        moment.checked_sub(passed).unwrap_or(first)
    } else {
        moment.checked_add(passed).unwrap_or(last)
    };
    told.clamp(first, last)
}

/// Slots follow each other on one line, whoever has them: so the sum of all is exact. The longest
/// interval of those who are there counts. Calls have a line of their own besides; a place on it is
/// given only where there is one of all behind it, or for it, and so that what was late there by no
/// more than the slack is made up for. Each call makes the time of these slots longer by its own one of
/// all, in which there may be another.
const RESERVE: &str = "
WITH now AS (SELECT {schema}.now_micros() AS now),
 rate AS (SELECT max(interval_us) AS interval, max(calls_us) AS calls, count(*) AS workers
            FROM {schema}.worker_on WHERE sandbox = $1),
 step AS (SELECT greatest(r.interval, w.interval_us) AS interval,
                 greatest(r.calls, w.calls_us, 1) AS calls,
                 (greatest(r.workers, 1) + 1) * $6 + 2 * $5 AS horizon
            FROM rate r, {schema}.worker w WHERE w.id = $2),
 line AS (SELECT tat FROM {schema}.pace WHERE sandbox = $1 AND share = 0 FOR UPDATE),
 line_of_calls AS (SELECT p.tat FROM line, {schema}.pace p
                    WHERE p.sandbox = $1 AND p.share = 1 AND $4 > 0 FOR UPDATE OF p),
 plan AS (SELECT l.tat, c.tat AS calls_tat, greatest(l.tat, now.now + $5) AS start,
                 greatest(l.tat, now.now + $5) + $3 * step.interval AS past,
                 l.tat < now.now + step.horizon AS is_open
            FROM now, step, line l LEFT JOIN line_of_calls c ON true),
 calls AS (SELECT greatest(p.calls_tat, p.start - $7) AS first,
                  CASE WHEN p.is_open AND p.calls_tat <= p.past
                       THEN least($4, 1 + (p.past - greatest(p.calls_tat, p.start))
                                          / greatest(step.calls - step.interval, 1))
                       ELSE 0 END AS count
             FROM plan p, step),
 slots AS (UPDATE {schema}.pace l SET tat = p.start + ($3 + c.count) * step.interval
             FROM plan p, step, calls c
            WHERE l.sandbox = $1 AND l.share = 0 AND p.is_open AND $3 + c.count > 0),
 slots_of_calls AS (UPDATE {schema}.pace l SET tat = c.first + c.count * step.calls
             FROM calls c, step
            WHERE l.sandbox = $1 AND l.share = 1 AND c.count > 0)
SELECT now.now, CASE WHEN p.is_open THEN p.start END, step.interval, $3 + c.count,
       p.tat - step.horizon,
       CASE WHEN c.count > 0 THEN c.first END, step.calls, c.count,
       CASE WHEN p.is_open THEN p.calls_tat - $5 ELSE p.tat - step.horizon END
  FROM now, step, plan p, calls c";

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_answer_that_took_long_moves_no_slot() {
        let began = Instant::now();
        let at = |ms: u32| began + MS * ms;
        let known = (at(100), 5_100_000);
        let shown = |ms: i64| 5_000_000 + ms * 1_000;
        // Wherever within the time it was said.
        for (asked, answered) in [(110, 300), (20, 111), (110, 110)] {
            let moment = moment(known, shown(110), at(asked)..=at(answered));
            assert_eq!(moment, at(110));
        }
        // Clocks that drift, or were set, are told by answers that contradict.
        assert_eq!(moment(known, shown(113), at(100)..=at(111)), at(111));
        assert_eq!(moment(known, shown(113), at(115)..=at(120)), at(115));
        assert_eq!(moment(known, shown(-90_000), at(115)..=at(120)), at(115));
        assert_eq!(moment(known, i64::MIN, at(115)..=at(120)), at(115));
        assert_eq!(moment(known, i64::MAX, at(115)..=at(120)), at(120));
    }
}
