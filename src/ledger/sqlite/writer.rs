//! The one that writes to the file during a run. What a commit costs is itself and the pages it
//! touches, so facts are appended, many per statement.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::ffi::SQLITE_CONSTRAINT_PRIMARYKEY;
use rusqlite::{Connection, ErrorCode};

use super::lock::Locked;
use crate::job::Answer;
use crate::ledger::group::{Answered, Committed, Failure, Group, Intent, Room};
use crate::ledger::tables::db::{Db, Table};
use crate::ledger::tables::error::{Fault, words};
use crate::ledger::tables::history;
use crate::ledger::tables::intake::forget_code;
use crate::ledger::tables::rows::{ANSWERS_OF_FILE, kind_index};
use crate::ledger::{Begun, Execution};
use crate::run::RunId;

/// Commits start at least this far apart.
pub const GROUP_GAP: Duration = Duration::from_millis(4);

/// Writes into the file.
pub struct Writer {
    pub db: Locked,
    pub run: RunId,
    pub execution: Execution,
}

impl Room for Writer {
    async fn commit(mut self, group: Group) -> (Self, Group, Result<Committed, Failure>) {
        let execution = self.execution;
        let work = move || {
            let result = commit(&group, &mut self.db, self.run);
            (self, group, result)
        };
        execution.work(work).await
    }
}

/// Writes all of it, or nothing; says which intents there were already.
fn commit(group: &Group, db: &mut Connection, run: RunId) -> Result<Committed, Failure> {
    if group.is_empty() {
        return Ok(Committed::default());
    }
    let written = write(group, db, run, insert_intents).map(|()| HashMap::new());
    let written = match written {
        Err(error) if is_taken(&error) => {
            let mut taken = HashMap::new();
            let one_by_one = |db: Db<'_>, run, intents: &[Intent]| {
                for (place, intent) in intents.iter().enumerate() {
                    match insert_intents(db, run, std::slice::from_ref(intent)) {
                        Err(error) if is_taken(&error) => {
                            taken.insert(place, Begun::Taken);
                        }
                        written => written?,
                    }
                }
                Ok(())
            };
            write(group, db, run, one_by_one).map(|()| taken)
        }
        written => written,
    };
    let committed = |refused| Committed {
        refused,
        leave_by: None,
    };
    written.map(committed).map_err(|error| Failure {
        sick_disk: sqlite_code(&error) == Some(ErrorCode::SystemIoFailure),
        why: words(&error),
    })
}

fn write(
    group: &Group,
    db: &mut Connection,
    run: RunId,
    intents: impl FnOnce(Db<'_>, RunId, &[Intent]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let step = db.transaction()?;
    let db = Db::Sqlite(&step);
    intents(db, run, &group.intents)?;
    insert_answers(db, &group.answers)?;
    history::note(db, run, &group.facts)?;
    for job in &group.codes {
        forget_code(db, *job)?;
    }
    Ok(step.commit()?)
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
    db.insert_or(
        &ANSWERS_OF_FILE,
        "ON CONFLICT DO NOTHING",
        answers,
        |answered| {
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
        },
    )
}
