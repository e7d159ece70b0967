//! The one that writes during a run: group commit.
//!
//! What arrives while a commit is on its way to the disk goes into the next one, so durability
//! costs one `fdatasync` a group, not one a request. Order is kept: a group is a run of the queue.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode, params};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::error::words;
use super::lock::Locked;
use super::rows::{channel_index, encode, lane_index};
use super::run::Place;
use crate::outcome::{Attempt, JobId, Lane, RowId, UnixMicros, Verdict};

/// Most entries in one commit.
const GROUP_MAX: usize = 1_024;

/// Commits start at least this far apart: under load this makes groups large enough to be cheap,
/// and an idle ledger still writes at once.
const GROUP_GAP: Duration = Duration::from_millis(1);

/// What can be written during a run.
pub enum Entry {
    /// An intent; `done` hears when it is durable, or why it is not.
    Begin {
        job: JobId,
        attempt: Attempt,
        done: oneshot::Sender<Result<(), String>>,
    },
    /// An intent whose request never left is taken back.
    Withdraw { job: JobId, n: u32 },
    /// What came of an attempt; `forget` names the row whose code is to be deleted with it.
    Answer {
        job: JobId,
        attempt: Attempt,
        forget: Option<RowId>,
    },
    /// `done` hears when all entries before it are durable, or why they are not.
    Flush {
        done: oneshot::Sender<Result<(), String>>,
    },
}

impl Entry {
    /// The answer to a job's last attempt. A code is deleted with the answer that settles it.
    pub fn answer(job: JobId, row: RowId, attempt: Attempt) -> Self {
        let verdict = attempt.answer.as_ref().map(|answer| &answer.verdict);
        let settled = verdict.is_some_and(Verdict::is_final);
        let forget = (settled && attempt.lane == Lane::Verify).then_some(row);
        Self::Answer {
            job,
            attempt,
            forget,
        }
    }
}

/// Writes what arrives on `queue` until all senders are gone, then gives the connection back, and
/// how many answers could not be written.
pub async fn write_all(
    mut db: Locked,
    mut queue: mpsc::Receiver<Entry>,
    place: Place,
) -> (Locked, usize) {
    let mut group = Vec::with_capacity(GROUP_MAX);
    let mut next_commit = Instant::now();
    let mut sick: Option<String> = None;
    while queue.recv_many(&mut group, GROUP_MAX).await > 0 {
        if Instant::now() < next_commit {
            sleep_until(next_commit).await;
            let room = GROUP_MAX.saturating_sub(group.len());
            if room > 0 && !queue.is_empty() {
                queue.recv_many(&mut group, room).await;
            }
        }
        next_commit = Instant::now() + GROUP_GAP;
        if let Some(why) = &sick {
            group = without_intents(group, why);
        }
        let result;
        (db, group, result) = place
            .work(move || {
                let result = commit(&mut db, &group);
                (db, group, result)
            })
            .await;
        if let Err(Failure {
            sick_disk: true,
            why,
        }) = &result
        {
            sick = Some(why.clone());
        }
        group = settle(group, &result.map_err(|failure| failure.why));
    }
    let lost = group.len();
    (db, lost)
}

/// Why a commit failed.
struct Failure {
    why: String,
    /// The system could not write or sync: it may have dropped what it was given, and say "done"
    /// the next time. Nothing more may leave on its word.
    sick_disk: bool,
}

/// Refuses the intents in the group; answers are still worth a try.
fn without_intents(group: Vec<Entry>, why: &str) -> Vec<Entry> {
    let mut kept = Vec::with_capacity(GROUP_MAX);
    for entry in group {
        match entry {
            Entry::Begin { done, .. } => {
                // Nobody waits any more: the run was dropped.
                let _ = done.send(Err(why.to_owned()));
            }
            other => kept.push(other),
        }
    }
    kept
}

/// Tells those who wait, and keeps what has to be written again: a failed intent is its owner's
/// matter, an answer must not get lost.
fn settle(group: Vec<Entry>, result: &Result<(), String>) -> Vec<Entry> {
    let mut kept = Vec::with_capacity(GROUP_MAX);
    for entry in group {
        match entry {
            Entry::Begin { done, .. } | Entry::Flush { done } => {
                // Nobody waits any more: the run was dropped.
                let _ = done.send(result.clone());
            }
            Entry::Answer { .. } | Entry::Withdraw { .. } if result.is_err() => kept.push(entry),
            Entry::Answer { .. } | Entry::Withdraw { .. } => {}
        }
    }
    kept
}

fn commit(db: &mut Connection, group: &[Entry]) -> Result<(), Failure> {
    let only_flush = group
        .iter()
        .all(|entry| matches!(entry, Entry::Flush { .. }));
    if only_flush {
        return Ok(());
    }
    (|| {
        let step = db.transaction()?;
        for entry in group {
            match entry {
                Entry::Begin { job, attempt, .. } => begin(&step, *job, attempt)?,
                Entry::Withdraw { job, n } => withdraw(&step, *job, *n)?,
                Entry::Answer {
                    job,
                    attempt,
                    forget,
                } => answer(&step, *job, attempt, *forget)?,
                Entry::Flush { .. } => {}
            }
        }
        step.commit()
    })()
    .map_err(|error: rusqlite::Error| Failure {
        sick_disk: error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure),
        why: words(&error),
    })
}

fn begin(db: &Connection, job: JobId, attempt: &Attempt) -> rusqlite::Result<()> {
    db.prepare_cached(
        "INSERT INTO attempt (job, n, run, lane, try_number, tries_max, fallback, begun_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        job.0,
        attempt.n,
        attempt.run.0,
        lane_index(attempt.lane),
        attempt.try_number,
        attempt.tries_max,
        attempt.fallback.map(channel_index),
        attempt.begun_at.0,
    ])?;
    Ok(())
}

fn withdraw(db: &Connection, job: JobId, n: u32) -> rusqlite::Result<()> {
    db.prepare_cached("DELETE FROM attempt WHERE job = ?1 AND n = ?2 AND left_at IS NULL")?
        .execute(params![job.0, n])?;
    Ok(())
}

fn answer(
    db: &Connection,
    job: JobId,
    attempt: &Attempt,
    forget: Option<RowId>,
) -> rusqlite::Result<()> {
    let Some(answer) = &attempt.answer else {
        return Ok(());
    };
    let retry_at = match answer.verdict {
        Verdict::Throttled { retry_at, .. } => retry_at,
        _ => None,
    };
    db.prepare_cached(
        "UPDATE attempt SET left_at = ?3, answered_at = ?4, verdict = ?5, text = ?6, retry_at = ?7,
                fallback = ?8, try_number = ?9
          WHERE job = ?1 AND n = ?2",
    )?
    .execute(params![
        job.0,
        attempt.n,
        answer.left_at.0,
        answer.answered_at.0,
        encode(&answer.verdict),
        answer.verdict.text(),
        retry_at.map(|UnixMicros(at)| at),
        attempt.fallback.map(channel_index),
        attempt.try_number,
    ])?;
    if let Some(RowId(row)) = forget {
        db.prepare_cached("UPDATE contact SET code = NULL WHERE id = ?1")?
            .execute([row])?;
    }
    Ok(())
}
