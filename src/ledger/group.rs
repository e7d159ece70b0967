//! What is written during a run, in groups: what arrives while a group is on its way to the disk goes
//! into the next one, so durability costs one wait per group, not one per request. Order is kept: a
//! group is a run of the queue.

use std::cell::Cell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::tables::history::Noted;
use super::tables::rows::attempt_id;
use super::{Begun, LedgerError, Rest};
use crate::job::{Answer, Attempt, Job, JobId, Lane, UnixMicros};
use crate::mistake::{Mistake, is_made};
use crate::run::RunFact;

/// Most entries in one group.
const GROUP_MAX: usize = 1_024;

/// So many intents for each attempt that is under way are enough: with few requests in flight, most
/// of them may be waiting for the commit.
const ENOUGH_FOR_EACH: usize = 3;

/// Entries that may wait for the writer; the engine waits when there are more.
const QUEUE_MAX: usize = 4_096;

/// The engine's end of the queue to the writer.
pub struct Queue {
    entries: mpsc::Sender<Entry>,
    path: PathBuf,
    next_answer: Cell<i64>,
    next_fact: Cell<i64>,
}

impl Queue {
    /// One of the ledger at this path, whose next answer has this place; and its other end.
    pub fn new(path: PathBuf, next_answer: i64) -> (Self, mpsc::Receiver<Entry>) {
        let (entries, others) = mpsc::channel(QUEUE_MAX);
        let queue = Self {
            entries,
            path,
            next_answer: Cell::new(next_answer),
            // The first place is that of what is known when a run begins.
            next_fact: Cell::new(1),
        };
        (queue, others)
    }

    /// The ledger, as it was named.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// See [`Ledger::begin`](super::Ledger::begin).
    pub async fn begin(&self, job: &Job, attempt: &Attempt) -> Result<Begun, LedgerError> {
        const WHAT: &str = "note that a request is about to leave";
        let Some(id) = attempt_id(job.id, attempt.n) else {
            return Err(self.failed(WHAT, "there were too many before it".to_owned()));
        };
        let intent = Intent {
            id,
            lane: attempt.lane,
            begun_at: attempt.begun_at,
            starts: job.attempts.iter().all(|made| made.run != attempt.run),
        };
        let (done, heard) = oneshot::channel();
        self.put(Entry::Begin { intent, done }).await;
        if is_made(Mistake::NotDurable) {
            return Ok(Begun::GO);
        }
        self.heard(heard, WHAT).await
    }

    /// See [`Ledger::answer`](super::Ledger::answer).
    pub async fn answer(&self, job: JobId, n: u32, answer: &Answer) {
        // One that was not begun has no id, and no answer.
        if let Some(attempt) = attempt_id(job, n) {
            let answered = Answered {
                seq: self.next_answer.replace(self.next_answer.get() + 1),
                attempt,
                answer: answer.clone(),
            };
            self.put(Entry::Answer(answered)).await;
        }
    }

    /// See [`Ledger::note`](super::Ledger::note).
    pub async fn note(&self, fact: &RunFact) {
        let noted = Noted {
            seq: self.next_fact.replace(self.next_fact.get() + 1),
            fact: fact.clone(),
        };
        self.put(Entry::Note(noted)).await;
    }

    /// See [`Ledger::rest`](super::Ledger::rest).
    pub async fn rest(&self, job: &Job, how: Rest) {
        if how == Rest::Settled && job.lane == Lane::Verify {
            self.put(Entry::Forget(job.id)).await;
        }
    }

    /// See [`Ledger::flush`](super::Ledger::flush).
    pub async fn flush(&self) -> Result<(), LedgerError> {
        let (done, heard) = oneshot::channel();
        self.put(Entry::Flush { done }).await;
        self.heard(heard, "write the last answers down").await
    }

    async fn put(&self, entry: Entry) {
        // The writer ends only when this sender is dropped.
        let _ = self.entries.send(entry).await;
    }

    async fn heard<T>(
        &self,
        done: oneshot::Receiver<Result<T, String>>,
        what: &'static str,
    ) -> Result<T, LedgerError> {
        let result = done.await;
        result
            .unwrap_or_else(|_| Err("its writer has ended".to_owned()))
            .map_err(|why| self.failed(what, why))
    }

    fn failed(&self, what: &'static str, why: String) -> LedgerError {
        LedgerError::Database {
            path: self.path.clone(),
            what,
            why,
        }
    }
}

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
    /// The attempt.
    pub id: i64,
    /// On this lane.
    pub lane: Lane,
    /// When it was begun.
    pub begun_at: UnixMicros,
    /// Its job has no other in this run.
    pub starts: bool,
}

/// What came of an attempt.
pub struct Answered {
    /// Its place among all answers: given before it is written, so that it is the same one when it
    /// has to be written again.
    pub seq: i64,
    /// Its attempt.
    pub attempt: i64,
    /// What came.
    pub answer: Answer,
}

/// Writes groups down.
pub trait Room: Sized {
    /// Writes all of a group, or nothing.
    fn commit(
        self,
        group: Group,
    ) -> impl Future<Output = (Self, Group, Result<Committed, Failure>)>;
}

/// A group is durable.
#[derive(Debug, Default)]
pub struct Committed {
    /// The places of those intents that are not, and why.
    pub refused: HashMap<usize, Begun>,
    /// The others must not leave after this.
    pub leave_by: Option<Instant>,
}

/// Writes what arrives on `queue` until all senders are gone, in groups that start at least `gap`
/// apart, unless enough intents wait: under load this makes groups large enough to be cheap, and an
/// idle ledger still writes at once. Then gives the room back, and how many answers could not be
/// written.
pub async fn write_all<R: Room>(
    mut room: R,
    mut queue: mpsc::Receiver<Entry>,
    gap: Duration,
) -> (R, usize) {
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
        next_commit = Instant::now() + gap;
        if let Some(why) = &sick {
            group.refuse_intents(why);
        }
        let result;
        (room, group, result) = room.commit(group).await;
        if let Err(Failure {
            sick_disk: true,
            why,
        }) = &result
        {
            sick = Some(why.clone());
        }
        group.settle(&result.map_err(|failure| failure.why));
    }
    (room, group.answers.len())
}

/// Why a commit failed.
pub struct Failure {
    /// In words.
    pub why: String,
    /// The system could not write or sync: it may have dropped what it was given, and say "done"
    /// the next time. Nothing more may leave on its word.
    pub sick_disk: bool,
}

/// What goes into one commit.
#[derive(Default)]
pub struct Group {
    /// Attempts that are about to leave.
    pub intents: Vec<Intent>,
    /// Who waits for each of them.
    begun: Vec<oneshot::Sender<Result<Begun, String>>>,
    /// What came of others.
    pub answers: Vec<Answered>,
    /// What turned up.
    pub facts: Vec<Noted>,
    /// Jobs whose codes are of no more use.
    pub codes: Vec<JobId>,
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

    /// Is there nothing to write?
    pub fn is_empty(&self) -> bool {
        let nothing = self.intents.is_empty() && self.answers.is_empty();
        nothing && self.facts.is_empty() && self.codes.is_empty()
    }

    /// Tells those who wait, and keeps what has to be written again: a failed intent is its owner's
    /// matter, an answer must not get lost.
    fn settle(&mut self, result: &Result<Committed, String>) {
        self.intents.clear();
        for (place, done) in self.begun.drain(..).enumerate() {
            let begun = result.as_ref().map(|committed| {
                if let Some(refused) = committed.refused.get(&place) {
                    return *refused;
                }
                self.under_way += 1;
                Begun::Go {
                    leave_by: committed.leave_by,
                }
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
