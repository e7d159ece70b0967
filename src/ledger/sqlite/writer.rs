//! The one that writes during a run: group commit.
//!
//! What arrives while a commit is on its way to the disk goes into the next one, so durability
//! costs one `fdatasync` per group, not one per request. Order is kept: a group is a run of the
//! queue. What a commit costs is itself and the pages it touches, so facts are appended, many per
//! statement.

use std::pin::pin;
use std::time::Duration;

use rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::lock::Locked;
use super::run::work;
use crate::job::{Answer, JobId, Lane, UnixMicros};
use crate::ledger::tables::db::{Db, Table};
use crate::ledger::tables::error::{Fault, words};
use crate::ledger::tables::history::{self, Noted};
use crate::ledger::tables::intake::forget_code;
use crate::ledger::tables::rows::kind_index;
use crate::ledger::{Begun, Execution};
use crate::run::RunId;

/// Most entries in one commit.
const GROUP_MAX: usize = 1_024;

/// Commits start at least this far apart, unless enough intents wait: under load this makes groups
/// large enough to be cheap, and an idle ledger still writes at once.
const GROUP_GAP: Duration = Duration::from_millis(4);

/// So many intents for each attempt that is under way are enough: with few requests in flight, most
/// of them may be waiting for the commit.
const ENOUGH_FOR_EACH: usize = 3;

/// What can be written during a run.
pub enum Entry {
    /// An intent; `done` hears when it is durable, or why it is not.
    Begin {
        intent: Intent,
        done: oneshot::Sender<Result<Begun, String>>,
    },
    /// What came of an attempt.
    Answer(Answered),
    /// What turned up in the run.
    Note(Noted),
    /// A code of which there is no more use.
    Forget(JobId),
    /// `done` hears when all entries before it are durable, or why they are not.
    Flush {
        done: oneshot::Sender<Result<(), String>>,
    },
}

/// An attempt that is about to leave.
#[derive(Clone, Copy)]
pub struct Intent {
    pub id: i64,
    pub lane: Lane,
    pub begun_at: UnixMicros,
}

/// What came of an attempt.
pub struct Answered {
    /// Its place among all answers: given before it is written, so that it is the same one when it
    /// has to be written again.
    pub seq: i64,
    pub attempt: i64,
    pub answer: Answer,
}

/// Writes what arrives on `queue` until all senders are gone, then gives the connection back, and
/// how many answers could not be written.
pub async fn write_all(
    mut db: Locked,
    run: RunId,
    mut queue: mpsc::Receiver<Entry>,
    execution: Execution,
) -> (Locked, usize) {
    let mut group = Group::default();
    let mut arrived = Vec::with_capacity(GROUP_MAX);
    let mut next_commit = Instant::now();
    let mut sick: Option<String> = None;
    while queue.recv_many(&mut arrived, GROUP_MAX).await > 0 {
        group.sort_in(&mut arrived);
        if Instant::now() < next_commit {
            let mut gap = pin!(sleep_until(next_commit));
            while !group.is_enough() {
                tokio::select! {
                    biased;
                    1.. = queue.recv_many(&mut arrived, GROUP_MAX) => group.sort_in(&mut arrived),
                    () = &mut gap => break,
                }
            }
        }
        next_commit = Instant::now() + GROUP_GAP;
        if let Some(why) = &sick {
            group.refuse_intents(why);
        }
        let result;
        (db, group, result) = work(execution, move || {
            let result = group.commit(&mut db, run);
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
        group.settle(&result.map_err(|failure| failure.why));
    }
    (db, group.answers.len())
}

/// Why a commit failed.
struct Failure {
    why: String,
    /// The system could not write or sync: it may have dropped what it was given, and say "done"
    /// the next time. Nothing more may leave on its word.
    sick_disk: bool,
}

/// What goes into one commit.
#[derive(Default)]
struct Group {
    intents: Vec<Intent>,
    /// Who waits for each of them.
    begun: Vec<oneshot::Sender<Result<Begun, String>>>,
    answers: Vec<Answered>,
    facts: Vec<Noted>,
    codes: Vec<JobId>,
    flushed: Vec<oneshot::Sender<Result<(), String>>>,
    /// Attempts that were begun and have no answer yet.
    under_way: usize,
}

impl Group {
    /// Is it not worth waiting for more?
    fn is_enough(&self) -> bool {
        self.begun.len() >= ENOUGH_FOR_EACH * self.under_way
            || self.begun.len() + self.answers.len() >= GROUP_MAX
    }

    fn sort_in(&mut self, arrived: &mut Vec<Entry>) {
        for entry in arrived.drain(..) {
            match entry {
                Entry::Begin { intent, done } => {
                    self.intents.push(intent);
                    self.begun.push(done);
                }
                Entry::Answer(answered) => {
                    self.under_way = self.under_way.saturating_sub(1);
                    self.answers.push(answered);
                }
                Entry::Note(noted) => self.facts.push(noted),
                Entry::Forget(job) => self.codes.push(job),
                Entry::Flush { done } => self.flushed.push(done),
            }
        }
    }

    /// Refuses the intents; the rest is still worth a try.
    fn refuse_intents(&mut self, why: &str) {
        self.intents.clear();
        for done in self.begun.drain(..) {
            // Nobody waits any more: the run was dropped.
            let _ = done.send(Err(why.to_owned()));
        }
    }

    /// Writes all of it, or nothing; says which intents there were already.
    fn commit(&self, db: &mut Connection, run: RunId) -> Result<Vec<usize>, Failure> {
        let nothing = self.intents.is_empty() && self.answers.is_empty();
        if nothing && self.facts.is_empty() && self.codes.is_empty() {
            return Ok(Vec::new());
        }
        let written = self.write(db, run, insert_intents).map(|()| Vec::new());
        let written = match written {
            Err(error) if is_taken(&error) => {
                let mut taken = Vec::new();
                let one_by_one = |db: Db<'_>, run, intents: &[Intent]| {
                    for (place, intent) in intents.iter().enumerate() {
                        match insert_intents(db, run, std::slice::from_ref(intent)) {
                            Err(error) if is_taken(&error) => taken.push(place),
                            written => written?,
                        }
                    }
                    Ok(())
                };
                self.write(db, run, one_by_one).map(|()| taken)
            }
            written => written,
        };
        written.map_err(|error| Failure {
            sick_disk: sqlite_code(&error) == Some(ErrorCode::SystemIoFailure),
            why: words(&error),
        })
    }

    fn write(
        &self,
        db: &mut Connection,
        run: RunId,
        intents: impl FnOnce(Db<'_>, RunId, &[Intent]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let step = db.transaction()?;
        let db = Db::Sqlite(&step);
        intents(db, run, &self.intents)?;
        insert_answers(db, &self.answers)?;
        history::note(db, run, &self.facts)?;
        for job in &self.codes {
            forget_code(db, *job)?;
        }
        Ok(step.commit()?)
    }

    /// Tells those who wait, and keeps what has to be written again: a failed intent is its owner's
    /// matter, an answer must not get lost.
    fn settle(&mut self, result: &Result<Vec<usize>, String>) {
        self.intents.clear();
        for (place, done) in self.begun.drain(..).enumerate() {
            let begun = result.as_ref().map(|taken| {
                if taken.contains(&place) {
                    return Begun::Taken;
                }
                self.under_way += 1;
                Begun::GO
            });
            // Nobody waits any more: the run was dropped.
            let _ = done.send(begun.map_err(String::clone));
        }
        for done in self.flushed.drain(..) {
            let _ = done.send(result.as_ref().map(|_| ()).map_err(String::clone));
        }
        if result.is_ok() {
            self.answers.clear();
            self.facts.clear();
            self.codes.clear();
        }
    }
}

fn sqlite_code(error: &Fault) -> Option<ErrorCode> {
    match error {
        Fault::Sqlite(error) => error.sqlite_error_code(),
        _ => None,
    }
}

fn is_taken(error: &Fault) -> bool {
    let Fault::Sqlite(error) = error else {
        return false;
    };
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(SQLITE_CONSTRAINT_PRIMARYKEY)
}

fn insert_intents(db: Db<'_>, run: RunId, intents: &[Intent]) -> Result<(), Fault> {
    let into = Table {
        name: "intent",
        columns: ["id", "run", "lane", "begun_at"],
    };
    db.insert_all(&into, intents, |intent| {
        [
            intent.id.into(),
            run.0.into(),
            (intent.lane as i64).into(),
            intent.begun_at.0.into(),
        ]
    })
}

/// One that is there already was written by a commit that said it had failed.
fn insert_answers(db: Db<'_>, answers: &[Answered]) -> Result<(), Fault> {
    let into = Table {
        name: "answer",
        columns: [
            "seq",
            "id",
            "left_at",
            "answered_at",
            "verdict",
            "text",
            "retry_at",
        ],
    };
    db.insert_or(&into, "ON CONFLICT DO NOTHING", answers, |answered| {
        let Answer {
            left_at,
            answered_at,
            verdict,
        } = &answered.answer;
        [
            answered.seq.into(),
            answered.attempt.into(),
            left_at.map(|at| at.0).into(),
            answered_at.0.into(),
            kind_index(verdict.kind).into(),
            (&verdict.text).into(),
            verdict.retry_at.map(|at| at.0).into(),
        ]
    })
}
