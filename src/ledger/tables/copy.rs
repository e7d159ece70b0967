//! All of a ledger, into one that is empty: the tables are the same in a file and on a server.
//!
//! What differs: a file numbers its answers, those of a run beside each other, and notes of each run
//! where they begin; on a server each attempt names its worker, and codes are sealed.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::db::{CHUNK, Columns, Db, Table, Value};
use super::error::Result;
use super::history;
use super::rows::ANSWERS_OF_FILE;
use crate::job::JobId;
use crate::run::RunId;
use Column::{Number, Text};

/// The tables that are copied, but for the one row of `ledger`.
const TABLES: [&str; 15] = [
    "campaign",
    "known",
    "run",
    "run_fact",
    "contact",
    "special",
    "block",
    "code",
    "intent",
    "answer",
    "suppressed",
    "former",
    "stood",
    "lookup",
    "purged",
];

/// A column, and what stands in it.
#[derive(Clone, Copy)]
enum Column {
    Number(&'static str),
    Text(&'static str),
}

impl Column {
    fn name(self) -> &'static str {
        match self {
            Number(name) | Text(name) => name,
        }
    }
}

/// How many rows each of the tables has, and the next id.
pub fn counts(db: Db<'_>) -> Result<Vec<i64>> {
    let mut counts = vec![db.one("SELECT next_id FROM ledger", &[], |row| row.get(0))?];
    for table in TABLES {
        let sql = format!("SELECT count(*) FROM {table}");
        counts.push(db.one(&sql, &[], |row| row.get(0))?);
    }
    Ok(counts)
}

/// Has nothing been written into it yet?
pub fn is_empty(db: Db<'_>) -> Result<bool> {
    let mut counts = counts(db)?.into_iter();
    Ok(counts.next() == Some(1) && counts.all(|count| count == 0))
}

/// Does it hold codes? The first of them is opened, so that a wrong key shows before anything is
/// written.
pub fn has_codes(db: Db<'_>) -> Result<bool> {
    let first = db.first("SELECT job, code FROM code LIMIT 1", &[], |row| {
        let (job, code) = (JobId(row.get(0)?), row.get(1)?);
        if db.can_open_codes() {
            db.open(job, code)?;
        }
        Ok(())
    })?;
    Ok(first.is_some())
}

/// Copies everything; within a step of the target, which is empty, and from one moment of the source.
pub fn all(from: Db<'_>, to: Db<'_>) -> Result<()> {
    let next = from.one("SELECT next_id FROM ledger", &[], |row| row.get(0))?;
    to.become_copy(next, &from.salt()?)?;
    inputs(from, to)?;
    runs(from, to)?;
    attempts(from, to)?;
    beyond(from, to)
}

/// On a server several runs can have been on at once, and been killed. In a file only the latest is
/// looked at later, so the waves of the others are noted now.
pub fn note_waves(db: Db<'_>) -> Result<()> {
    if let Db::Postgres(_) = db {
        return Ok(());
    }
    let sql = "SELECT id FROM run r WHERE finished_at IS NULL
                  AND id = (SELECT max(id) FROM run WHERE campaign = r.campaign)
                  AND id < (SELECT max(id) FROM run)";
    for run in db.all(sql, &[], |row| Ok(RunId(row.get(0)?)))? {
        history::note_waves_of(db, run)?;
    }
    Ok(())
}

fn inputs(from: Db<'_>, to: Db<'_>) -> Result<()> {
    let campaign = [
        Number("id"),
        Text("operation"),
        Text("name"),
        Number("sandbox"),
        Text("input_name"),
        Text("input_sha256"),
        Text("reading"),
        Text("header"),
        Number("rows"),
        Number("first_row"),
    ];
    same(from, to, "campaign", campaign)?;
    let contact = [
        Number("id"),
        Number("line"),
        Number("lane"),
        Number("kind"),
        Number("assumed"),
        Number("number"),
        Number("job"),
        Number("seal"),
    ];
    same(from, to, "contact", contact)?;
    let known = ["number", "campaign", "code_print", "job"].map(Number);
    same(from, to, "known", known)?;
    same(from, to, "special", [Number("row"), Text("text")])?;
    let block = [Number("first"), Number("sum"), Text("records")];
    same(from, to, "block", block)?;
    codes(from, to)
}

/// Each side seals its codes in its own way.
fn codes(from: Db<'_>, to: Db<'_>) -> Result<()> {
    let into = Table {
        name: "code",
        columns: ["job", "code"],
    };
    let sql = "SELECT job, code FROM code ORDER BY job";
    let read = |row: &Columns<'_>| -> Result<(JobId, SecretString)> {
        let job = JobId(row.get(0)?);
        Ok((job, from.open(job, row.get(1)?)?))
    };
    rows(from, sql, read, to, &into, |(job, code)| {
        [job.0.into(), to.seal(*job, code.expose_secret())]
    })
}

fn runs(from: Db<'_>, to: Db<'_>) -> Result<()> {
    let sql = "SELECT i.run, count(*) FROM answer a JOIN intent i ON i.id = a.id GROUP BY i.run";
    let answers = from.all(sql, &[], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let answers: BTreeMap<i64, i64> = answers.into_iter().collect();
    let columns = [
        Number("id"),
        Number("campaign"),
        Number("started_at"),
        Number("first_answer"),
        Text("endpoint"),
        Text("policy"),
        Text("settings"),
        Text("version"),
        Number("finished_at"),
        Text("\"end\""),
        Number("last_left_at"),
    ];
    let mut next = 1;
    let numbered = |row: &Columns<'_>| {
        let mut run = read(row, &columns)?;
        let first = match to {
            Db::Sqlite(_) => next,
            Db::Postgres(_) => 0,
        };
        run[3] = Value::from(first);
        next += answers.get(&row.get(0)?).copied().unwrap_or(0);
        Ok(run)
    };
    let (into, sql) = table("run", &columns);
    rows(from, &sql, numbered, to, &into, each_borrowed)?;
    let fact = [Number("run"), Number("seq"), Text("fact")];
    same(from, to, "run_fact", fact)
}

fn attempts(from: Db<'_>, to: Db<'_>) -> Result<()> {
    let intent = ["id", "run", "lane", "begun_at"].map(Number);
    match to {
        Db::Sqlite(_) => same(from, to, "intent", intent)?,
        Db::Postgres(_) => {
            let into = Table {
                name: "intent",
                columns: ["id", "run", "lane", "begun_at", "worker"],
            };
            let (_, sql) = table("intent", &intent);
            let read = |row: &Columns<'_>| read(row, &intent);
            rows(from, &sql, read, to, &into, |intent| {
                let [id, run, lane, begun_at] = each_borrowed(intent);
                [id, run, lane, begun_at, 0_i64.into()]
            })?;
        }
    }
    let answer = [
        Number("id"),
        Number("left_at"),
        Number("answered_at"),
        Number("verdict"),
        Text("text"),
        Number("retry_at"),
    ];
    match to {
        Db::Sqlite(_) => numbered_answers(from, to, answer),
        Db::Postgres(_) => same(from, to, "answer", answer),
    }
}

/// Those of a run beside each other, in the order in which they came.
fn numbered_answers(from: Db<'_>, to: Db<'_>, answer: [Column; 6]) -> Result<()> {
    let columns = answer.map(|column| format!("a.{}", column.name()));
    let sql = format!(
        "SELECT {} FROM answer a JOIN intent i ON i.id = a.id ORDER BY i.run, a.answered_at, a.id",
        columns.join(", ")
    );
    let mut seq = 0_i64;
    let numbered = |row: &Columns<'_>| {
        seq += 1;
        Ok((read(row, &answer)?, seq))
    };
    rows(
        from,
        &sql,
        numbered,
        to,
        &ANSWERS_OF_FILE,
        |(answer, seq)| {
            let [id, left_at, answered_at, verdict, text, retry_at] = each_borrowed(answer);
            let seq = Value::from(*seq);
            [seq, id, left_at, answered_at, verdict, text, retry_at]
        },
    )
}

/// What is known beyond the inputs and the requests.
fn beyond(from: Db<'_>, to: Db<'_>) -> Result<()> {
    let suppressed = [Number("job"), Number("campaign"), Text("by"), Number("at")];
    same(from, to, "suppressed", suppressed)?;
    let former = [
        Number("job"),
        Number("campaign"),
        Number("line"),
        Number("lane"),
        Number("number"),
        Text("header"),
        Text("record"),
    ];
    same(from, to, "former", former)?;
    same(from, to, "stood", ["campaign", "line", "job"].map(Number))?;
    same(from, to, "lookup", ["attempt", "at", "sent"].map(Number))?;
    let purged = [
        Number("campaign"),
        Number("at"),
        Number("last_active"),
        Text("counts"),
        Number("swept"),
    ];
    same(from, to, "purged", purged)
}

/// Copies a table as it is.
fn same<const COLUMNS: usize>(
    from: Db<'_>,
    to: Db<'_>,
    name: &'static str,
    columns: [Column; COLUMNS],
) -> Result<()> {
    let (into, sql) = table(name, &columns);
    let read = |row: &Columns<'_>| read(row, &columns);
    rows(from, &sql, read, to, &into, each_borrowed)
}

/// Where these columns go, and how they are read, in their order.
fn table<const COLUMNS: usize>(
    name: &'static str,
    columns: &[Column; COLUMNS],
) -> (Table<COLUMNS>, String) {
    let columns = columns.map(Column::name);
    let sql = format!("SELECT {} FROM {name} ORDER BY 1", columns.join(", "));
    (Table { name, columns }, sql)
}

/// Copies what a statement finds, a chunk at a time.
fn rows<T, const COLUMNS: usize>(
    from: Db<'_>,
    sql: &str,
    mut read: impl FnMut(&Columns<'_>) -> Result<T>,
    to: Db<'_>,
    into: &Table<COLUMNS>,
    values: impl for<'r> Fn(&'r T) -> [Value<'r>; COLUMNS],
) -> Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK);
    from.each(sql, &[], |row| {
        chunk.push(read(row)?);
        if chunk.len() == CHUNK {
            to.insert_all(into, &chunk, &values)?;
            chunk.clear();
        }
        Ok(true)
    })?;
    to.insert_all(into, &chunk, &values)
}

fn read<const COLUMNS: usize>(
    row: &Columns<'_>,
    columns: &[Column; COLUMNS],
) -> Result<[Value<'static>; COLUMNS]> {
    let mut values = [const { Value::Number(None) }; COLUMNS];
    for ((value, column), place) in values.iter_mut().zip(columns).zip(0..) {
        *value = match column {
            Number(_) => row.get::<Option<i64>>(place)?.into(),
            Text(_) => Value::Text(row.get::<Option<String>>(place)?.map(Into::into)),
        };
    }
    Ok(values)
}

fn each_borrowed<'r, const COLUMNS: usize>(
    values: &'r [Value<'static>; COLUMNS],
) -> [Value<'r>; COLUMNS] {
    values.each_ref().map(borrowed)
}

fn borrowed<'r>(value: &'r Value<'_>) -> Value<'r> {
    match value {
        Value::Number(number) => Value::Number(*number),
        Value::Text(text) => Value::Text(text.as_deref().map(Into::into)),
    }
}
