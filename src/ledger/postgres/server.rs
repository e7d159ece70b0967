//! One connection to a server, for statements that are waited for.
//!
//! A step sets where the tables are, so that nothing depends on the session: statements pass through
//! a pooler that hands out connections by transaction.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::oneshot;
use tokio_postgres::binary_copy::BinaryCopyInWriter;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::codes::Sealing;
use super::fleet::Worker;
use super::{Driver, describe, wait};
use crate::job::JobId;
use crate::ledger::tables::db::{CHUNK, Value};
use crate::ledger::tables::error::{FULL, Fault, Result};
use secrecy::SecretString;

/// A connection, with the schema in which the tables are.
pub struct Server {
    client: Arc<Client>,
    driver: Arc<Driver>,
    schema: String,
    sealing: Sealing,
    /// A step is under way.
    in_step: Cell<bool>,
    /// Cursors that are open.
    cursors: Cell<u32>,
    /// Rows that are on their way into a table. What comes next waits for them, and hears of it if they
    /// did not get there.
    copying: RefCell<Option<Asked<()>>>,
    /// What this process is to the others, once it has begun or joined a run.
    worker: Cell<Option<Worker>>,
}

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// It sees the tables as they are at one moment, whatever others write.
    Read,
    /// It writes.
    Write,
}

impl Server {
    /// Tables in this schema, whose codes are sealed so.
    pub fn new(client: Client, driver: &Arc<Driver>, schema: String, sealing: Sealing) -> Self {
        Self {
            client: Arc::new(client),
            driver: Arc::clone(driver),
            schema,
            sealing,
            in_step: Cell::new(false),
            cursors: Cell::new(0),
            copying: RefCell::new(None),
            worker: Cell::new(None),
        }
    }

    /// What this process is to the others.
    pub fn worker(&self) -> Option<Worker> {
        self.worker.get()
    }

    /// From now on it is this.
    pub fn set_worker(&self, worker: Worker) {
        self.worker.set(Some(worker));
    }

    /// Was the connection lost?
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// The schema in which the tables are.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// From now on codes are sealed so.
    pub fn seal_with(&mut self, sealing: Sealing) {
        self.sealing = sealing;
    }

    /// Sees the tables as they are now, until the next look.
    pub fn look(&self) -> Result<()> {
        if self.in_step.get() {
            self.batch("COMMIT")?;
        }
        self.begin(Purpose::Read)
    }

    /// Several statements of ours, without values.
    pub fn batch(&self, sql: &str) -> Result<()> {
        Ok(wait(self.client()?.batch_execute(sql))?)
    }

    /// Begins a step.
    pub fn step(&self, purpose: Purpose) -> Result<Step<'_>> {
        self.begin(purpose)?;
        Ok(Step {
            server: self,
            is_over: false,
        })
    }

    fn begin(&self, purpose: Purpose) -> Result<()> {
        let how = match purpose {
            Purpose::Read => "ISOLATION LEVEL REPEATABLE READ READ ONLY",
            Purpose::Write => "ISOLATION LEVEL READ COMMITTED READ WRITE",
        };
        self.batch(&format!(
            "BEGIN {how}; SET LOCAL search_path TO {}; SET LOCAL idle_in_transaction_session_timeout TO 0; SET LOCAL statement_timeout TO 0; SET LOCAL jit TO off",
            self.schema
        ))?;
        self.in_step.set(true);
        Ok(())
    }

    /// Within the step that is under way, or one of its own.
    fn within<T>(&self, purpose: Purpose, work: impl FnOnce() -> Result<T>) -> Result<T> {
        if self.in_step.get() {
            return work();
        }
        let step = self.step(purpose)?;
        let done = work()?;
        step.commit()?;
        Ok(done)
    }

    /// Reads several things as they are at one moment.
    pub fn reading<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        self.within(Purpose::Read, read)
    }

    /// Within it tables are read along their keys, row by row, whatever the server's statistics make
    /// of their lengths: those are old while a run is on.
    pub fn along_keys<T>(&self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        self.within(Purpose::Read, || {
            let set = |to| {
                let of = ["seqscan", "bitmapscan", "material", "sort"];
                let set = of.map(|way| format!("SET LOCAL enable_{way} TO {to}"));
                self.batch(&set.join("; "))
            };
            set("off")?;
            let found = read()?;
            set("on")?;
            Ok(found)
        })
    }

    /// All rows that a statement finds, which are few.
    pub fn query(&self, sql: &str, values: &[Value<'_>]) -> Result<Vec<Row>> {
        self.within(Purpose::Write, || {
            let values: Vec<(&(dyn ToSql + Sync), Type)> = values.iter().map(typed).collect();
            Ok(wait(self.client()?.query_typed(&placed(sql), &values))?)
        })
    }

    /// Changes something; returns how many rows that were.
    pub fn execute(&self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        self.within(Purpose::Write, || {
            let values: Vec<(&(dyn ToSql + Sync), Type)> = values.iter().map(typed).collect();
            Ok(wait(self.client()?.execute_typed(&placed(sql), &values))?)
        })
    }

    /// Hands each row that a statement finds to `each`, until it says `false`, however many there
    /// are; other statements may be used meanwhile.
    pub fn each(
        &self,
        sql: &str,
        values: &[Value<'_>],
        mut each: impl FnMut(&Row) -> Result<bool>,
    ) -> Result<()> {
        self.within(Purpose::Read, || {
            let cursor = self.cursors.get();
            self.cursors.set(cursor + 1);
            let declare = format!("DECLARE c{cursor} NO SCROLL CURSOR FOR {sql}");
            self.execute(&declare, values)?;
            let fetch = format!("FETCH {CHUNK} FROM c{cursor}");
            let mut walk = || -> Result<()> {
                loop {
                    let rows = self.query(&fetch, &[])?;
                    for row in &rows {
                        if !each(row)? {
                            return Ok(());
                        }
                    }
                    if rows.len() < CHUNK {
                        return Ok(());
                    }
                }
            };
            walk()?;
            self.cursors.set(cursor);
            self.batch(&format!("CLOSE c{cursor}"))
        })
    }

    /// Asks within a step for all rows that a statement finds, and does not wait for them.
    pub fn ask(&self, sql: &str, values: &[Value<'_>]) -> Result<Asked<Vec<Row>>> {
        let (client, sql) = (Arc::clone(self.client()?), placed(sql));
        let values: Vec<Value<'static>> = values.iter().map(Value::owned).collect();
        Ok(Asked::of(&self.driver, async move {
            let values: Vec<(&(dyn ToSql + Sync), Type)> = values.iter().map(typed).collect();
            client.query_typed(&sql, &values).await
        }))
    }

    /// Writes rows into a table, in which none of them may be yet. Within a step they are still on
    /// their way when it returns.
    pub fn copy<'v, const COLUMNS: usize>(
        &self,
        table: &str,
        columns: &[&str; COLUMNS],
        rows: impl Iterator<Item = [Value<'v>; COLUMNS]>,
    ) -> Result<()> {
        let rows = rows.map(|row| row.each_ref().map(Value::owned));
        let rows: Vec<[Value<'static>; COLUMNS]> = rows.collect();
        let Some(first) = rows.first() else {
            return Ok(());
        };
        let types = first.each_ref().map(Value::sql_type);
        let sql = format!(
            "COPY {table} ({}) FROM STDIN (FORMAT binary)",
            columns.join(", ")
        );
        self.within(Purpose::Write, || {
            let client = Arc::clone(self.client()?);
            let copying = Asked::of(&self.driver, async move {
                let sink = client.copy_in(&sql).await?;
                let mut writer = pin!(BinaryCopyInWriter::new(sink, &types));
                for row in &rows {
                    let values = row.each_ref().map(Value::as_sql);
                    writer.as_mut().write(&values).await?;
                }
                writer.finish().await.map(drop)
            });
            self.copying.replace(Some(copying));
            Ok(())
        })
    }

    /// The connection, when the rows that were on their way into a table are there.
    fn client(&self) -> Result<&Arc<Client>> {
        self.copying.take().map_or(Ok(()), Asked::answer)?;
        Ok(&self.client)
    }

    /// All rows that a statement finds for each of these numbers, which stand for its `?1`. Each is
    /// looked for by itself.
    pub fn query_of(&self, sql: &str, numbers: &[i64], values: &[Value<'_>]) -> Result<Vec<Row>> {
        let of_each = format!(
            "SELECT q.* FROM unnest($1::int8[]) n(number) CROSS JOIN LATERAL ({} OFFSET 0) q",
            placed(&sql.replace("?1", "n.number"))
        );
        self.along_keys(|| {
            let mut all: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&numbers, Type::INT8_ARRAY)];
            all.extend(values.iter().map(typed));
            Ok(wait(self.client()?.query_typed(&of_each, &all))?)
        })
    }

    /// Changes something for each of these numbers, of which a statement says `= ?1`.
    pub fn execute_of(&self, sql: &str, numbers: &[i64]) -> Result<()> {
        self.within(Purpose::Write, || {
            let values: [(&(dyn ToSql + Sync), Type); 1] = [(&numbers, Type::INT8_ARRAY)];
            let sql = sql.replace("= ?1", "= ANY($1)");
            wait(self.client()?.execute_typed(&sql, &values))?;
            Ok(())
        })
    }

    /// A code as it is stored.
    pub fn seal(&self, job: JobId, code: &str) -> String {
        self.sealing.seal(job, code)
    }

    /// Is there a key to open them?
    pub fn can_open_codes(&self) -> bool {
        matches!(self.sealing, Sealing::Key(_))
    }

    /// A stored code.
    pub fn open(&self, job: JobId, sealed: &str) -> Result<SecretString> {
        self.sealing.open(job, sealed)
    }
}

/// Something that was asked and is not waited for yet.
pub struct Asked<T>(oneshot::Receiver<std::result::Result<T, Error>>);

impl<T: Send + 'static> Asked<T> {
    /// It is on its way when this returns, and the driver's thread takes in what comes back.
    fn of(
        driver: &Driver,
        ask: impl Future<Output = std::result::Result<T, Error>> + Send + 'static,
    ) -> Self {
        let (answered, answer) = oneshot::channel();
        let mut ask = ask.boxed();
        // Nobody may wait for it any more.
        match (&mut ask).now_or_never() {
            Some(came) => drop(answered.send(came)),
            None => driver.spawn(ask.map(|came| drop(answered.send(came)))),
        }
        Self(answer)
    }

    /// Waits for what came of it.
    pub fn answer(self) -> Result<T> {
        match wait(self.0) {
            Ok(came) => Ok(came?),
            Err(_) => Err(Fault::Refused(
                "the server is not waited for any more".to_owned(),
            )),
        }
    }
}

/// Changes that become durable together, or not at all: dropped, they are undone.
pub struct Step<'a> {
    server: &'a Server,
    is_over: bool,
}

impl<'a> Step<'a> {
    /// To read and write within it.
    pub fn server(&self) -> &'a Server {
        self.server
    }

    /// Makes it durable.
    pub fn commit(mut self) -> Result<()> {
        // Rows that did not get there undo the step.
        self.server.client()?;
        self.is_over = true;
        self.server.in_step.set(false);
        self.server.batch("COMMIT")
    }
}

impl Drop for Step<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.server.in_step.set(false);
            self.server.cursors.set(0);
            let _ = self.server.client();
            // Where the connection is gone, so is the step.
            let _ = self.server.batch("ROLLBACK");
        }
    }
}

impl Value<'_> {
    fn owned(&self) -> Value<'static> {
        match self {
            Self::Number(number) => Value::Number(*number),
            Self::Text(text) => Value::Text(text.clone().map(|text| Cow::Owned(text.into_owned()))),
        }
    }

    fn sql_type(&self) -> Type {
        match self {
            Self::Number(_) => Type::INT8,
            Self::Text(_) => Type::TEXT,
        }
    }

    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Number(number) => number,
            Self::Text(text) => text,
        }
    }
}

fn typed<'v>(value: &'v Value<'_>) -> (&'v (dyn ToSql + Sync), Type) {
    (value.as_sql(), value.sql_type())
}

/// A statement with the server's form of the places for values. No text of ours has a `?` elsewhere.
fn placed(sql: &str) -> String {
    sql.replace('?', "$")
}

/// Does the error say that the tables are not as they were made?
pub fn is_damage(error: &Error) -> bool {
    let of_ours = [
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::DATATYPE_MISMATCH,
        SqlState::DATA_CORRUPTED,
        SqlState::INDEX_CORRUPTED,
    ];
    error.code().is_some_and(|code| of_ours.contains(code))
}

/// What the server said, and what to do about it; never what it quotes, which may be numbers.
pub fn words(error: &Error) -> String {
    if error.is_closed() && error.as_db_error().is_none() {
        return "the connection to the server was lost".to_owned();
    }
    format!("{}{}", describe(error), advice(error))
}

/// What to do about what the server said; it fits behind that.
pub fn advice(error: &Error) -> &'static str {
    match error.code() {
        Some(&SqlState::DISK_FULL) => FULL,
        Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            ". Its role needs more rights: see `otpdrive help fleet`"
        }
        _ => "",
    }
}
