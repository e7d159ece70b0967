//! What came of attempts, besides what is read with them: their answers, which lie in a file in the
//! order in which they came, and what a person looked up.

use std::collections::HashMap;

use super::db::{Columns, Db};
use super::error::{Result, damaged};
use super::places::Places;
use super::rows::{attempt_id, job_of, kind};
use super::sorter::Sorter;
use crate::job::{Answer, Attempt, Found, JobId, Lookup, UnixMicros, Verdict};
use crate::record::CampaignId;
use crate::run::RunId;

/// What came of the attempts of some runs.
#[derive(Default)]
pub struct Answers {
    /// Where the answers are in a file.
    seqs: Places,
    lookups: HashMap<i64, Lookup>,
}

impl Answers {
    /// Those of the runs of a campaign before run `end`.
    pub fn of(db: Db<'_>, campaign: CampaignId, end: RunId) -> Result<Self> {
        let seqs = match db {
            Db::Sqlite(_) => seqs(db, campaign, end)?,
            Db::Postgres(_) => Places::default(),
        };
        let sql = "SELECT l.attempt, l.sent, l.at FROM lookup l CROSS JOIN intent i
               JOIN run r ON r.id = i.run
              WHERE i.id = l.attempt AND r.campaign = ?1 ORDER BY l.attempt, l.at";
        let found = db.all(sql, &[campaign.0.into()], |row| {
            let found = if row.get(1)? {
                Found::Sent
            } else {
                Found::Unsent
            };
            let at = UnixMicros(row.get(2)?);
            Ok((row.get(0)?, Lookup { found, at }))
        })?;
        Ok(Self {
            seqs,
            lookups: found.into_iter().collect(),
        })
    }

    /// Adds what is not read with the attempts of jobs: in a file their answers, each stretch of
    /// these in one go.
    pub fn complete<'m>(
        &self,
        db: Db<'_>,
        made: impl Iterator<Item = (JobId, &'m mut Attempt)>,
    ) -> Result<()> {
        let mut answered = Vec::new();
        let mut seqs = Vec::new();
        for (job, attempt) in made {
            let Some(id) = attempt_id(job, attempt.n) else {
                continue;
            };
            attempt.lookup = self.lookups.get(&id).copied();
            if let Some(seq) = self.seqs.get(id.cast_unsigned())? {
                seqs.push((seq.cast_signed(), answered.len()));
                answered.push(attempt);
            }
        }
        seqs.sort_unstable();
        let sql = "SELECT seq, left_at, answered_at, verdict, text, retry_at FROM answer
              WHERE seq >= ?1 AND seq < ?2 ORDER BY seq";
        db.each_near(sql, &seqs, |place, row| {
            answered[place].answer = Some(read_answer(row, 1)?);
            Ok(())
        })
    }
}

/// Where the answers to attempts are.
fn seqs(db: Db<'_>, campaign: CampaignId, end: RunId) -> Result<Places> {
    let sql = "SELECT a.id, a.seq FROM (
                SELECT id AS run, campaign, first_answer AS first,
                       lead(first_answer, 1, 9223372036854775807) OVER (ORDER BY id) AS end FROM run
             ) r CROSS JOIN answer a ON a.seq >= r.first AND a.seq < r.end
             WHERE r.campaign = ?1 AND r.run < ?2";
    let values = [campaign.0.into(), end.0.into()];
    let beside = db.beside();
    let mut answers = Sorter::beside(&beside);
    db.each(sql, &values, |row| {
        let [id, seq] = [row.get::<i64>(0)?, row.get(1)?];
        answers.push([id.cast_unsigned(), seq.cast_unsigned()])?;
        Ok(true)
    })?;
    Places::of(answers.sorted()?, &beside)?.map_err(|id| {
        let job = job_of(id.cast_signed()).0;
        damaged(format!("job {job}: an attempt has two answers"))
    })
}

/// The answer that stands in the columns from `column` on.
pub fn read_answer(row: &Columns<'_>, column: usize) -> Result<Answer> {
    Ok(Answer {
        left_at: row.get::<Option<i64>>(column)?.map(UnixMicros),
        answered_at: UnixMicros(row.get(column + 1)?),
        verdict: Verdict {
            kind: kind(row.get(column + 2)?, column + 2)?,
            text: row.get(column + 3)?,
            retry_at: row.get::<Option<i64>>(column + 4)?.map(UnixMicros),
        },
    })
}
