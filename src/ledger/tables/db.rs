//! One way to speak to both databases. The tables and nearly all statements are the same; what a
//! statement needs to be understood by both is told here, and nowhere else.
//!
//! Statements are written with `?1`, `?2`, …; values are whole numbers of 64 bits (also for yes and
//! no) and texts.

use std::borrow::Cow;
use std::path::PathBuf;

use rusqlite::Connection;
use rusqlite::types::{ToSql, ToSqlOutput, ValueRef};
use secrecy::SecretString;

use super::error::{Fault, Result, out_of_range};
use crate::job::JobId;
use crate::ledger::Span;
use crate::ledger::postgres::server::{self, Server};
use crate::text::hex;

/// Rows that are gathered to be written together.
pub const CHUNK: usize = 4_096;

/// Most rows in one statement of `SQLite`: most of what an insert costs is the statement, not the
/// row. Fewer go as the powers of two that they are made of, so that there are few texts to prepare.
const ROWS_MAX: usize = 64;

/// Numbers that are no further apart are looked for together in a file: to pass over what lies between
/// costs less than to look twice.
const NEAR: i64 = 8;

/// A connection to a database with the tables of a ledger.
#[derive(Clone, Copy)]
pub enum Db<'a> {
    /// The file.
    Sqlite(&'a Connection),
    /// The server.
    Postgres(&'a Server),
}

impl<'a> From<&'a Connection> for Db<'a> {
    fn from(connection: &'a Connection) -> Self {
        Self::Sqlite(connection)
    }
}

/// Changes that become durable together, or not at all: dropped, they are undone.
pub enum Step<'a> {
    /// Of the file.
    Sqlite(rusqlite::Transaction<'a>),
    /// Of the server.
    Postgres(server::Step<'a>),
}

impl Step<'_> {
    /// To read and write within it.
    pub fn db(&self) -> Db<'_> {
        match self {
            Self::Sqlite(step) => Db::Sqlite(step),
            Self::Postgres(step) => Db::Postgres(step.server()),
        }
    }

    /// Makes it durable.
    pub fn commit(self) -> Result<()> {
        match self {
            Self::Sqlite(step) => Ok(step.commit()?),
            Self::Postgres(step) => step.commit(),
        }
    }
}

/// A value of a statement, or none.
#[derive(Clone, Debug)]
pub enum Value<'v> {
    /// A number.
    Number(Option<i64>),
    /// A text.
    Text(Option<Cow<'v, str>>),
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(is: bool) -> Self {
        Self::Number(Some(is.into()))
    }
}

impl From<u8> for Value<'_> {
    fn from(number: u8) -> Self {
        Self::Number(Some(number.into()))
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(Some(Cow::Borrowed(text)))
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Some(Cow::Owned(text)))
    }
}

impl ToSql for Value<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Number(None) | Self::Text(None) => ValueRef::Null,
            Self::Number(Some(number)) => ValueRef::Integer(*number),
            Self::Text(Some(text)) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// One row of what a statement finds.
pub enum Columns<'r> {
    /// Of the file.
    Sqlite(&'r rusqlite::Row<'r>),
    /// Of the server.
    Postgres(&'r tokio_postgres::Row),
}

impl<'r> Columns<'r> {
    /// What stands in a column.
    pub fn get<T: FromColumn<'r>>(&self, column: usize) -> Result<T> {
        T::from_column(self, column)
    }
}

/// What can be read from a column.
pub trait FromColumn<'r>: Sized {
    /// Reads it.
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self>;
}

impl<'r> FromColumn<'r> for Option<i64> {
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self> {
        Ok(match row {
            Columns::Sqlite(row) => match row.get_ref(column)? {
                ValueRef::Integer(number) => Some(number),
                ValueRef::Null => None,
                _ => return Err(out_of_range(column)),
            },
            Columns::Postgres(row) => row.try_get(column)?,
        })
    }
}

impl<'r> FromColumn<'r> for Option<&'r str> {
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self> {
        match row {
            Columns::Sqlite(row) => {
                let text = row.get_ref(column)?.as_str_or_null();
                Ok(text.map_err(rusqlite::Error::from)?)
            }
            Columns::Postgres(row) => Ok(row.try_get(column)?),
        }
    }
}

impl<'r> FromColumn<'r> for bool {
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self> {
        match row {
            Columns::Sqlite(_) => Ok(row.get::<i64>(column)? != 0),
            // What is asked, and not stored, is a truth value there.
            Columns::Postgres(row) => match row.try_get(column) {
                Ok(is) => Ok(is),
                Err(_) => Ok(row.try_get::<_, i64>(column)? != 0),
            },
        }
    }
}

/// What must be there.
fn there<T>(value: Option<T>, column: usize) -> Result<T> {
    value.ok_or_else(|| Fault::Unreadable(column))
}

impl<'r> FromColumn<'r> for i64 {
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self> {
        there(row.get(column)?, column)
    }
}

impl<'r> FromColumn<'r> for u8 {
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self> {
        Self::try_from(row.get::<i64>(column)?).map_err(|_| out_of_range(column))
    }
}

impl<'r> FromColumn<'r> for u32 {
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self> {
        Self::try_from(row.get::<i64>(column)?).map_err(|_| out_of_range(column))
    }
}

impl<'r> FromColumn<'r> for &'r str {
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self> {
        there(row.get(column)?, column)
    }
}

impl<'r> FromColumn<'r> for String {
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self> {
        row.get::<&str>(column).map(Into::into)
    }
}

impl<'r> FromColumn<'r> for Option<String> {
    fn from_column(row: &Columns<'r>, column: usize) -> Result<Self> {
        Ok(row.get::<Option<&str>>(column)?.map(Into::into))
    }
}

/// What was asked for: a server works on it meanwhile, in a file it is looked for when it is read.
pub enum Found<'a> {
    /// In the file.
    InFile(Db<'a>, &'static str, [Value<'static>; 2]),
    /// On the server.
    OnServer(server::Asked<Vec<tokio_postgres::Row>>),
}

impl Found<'_> {
    /// Hands each row that is found to `each`.
    pub fn each(self, mut each: impl FnMut(&Columns<'_>) -> Result<()>) -> Result<()> {
        match self {
            Self::InFile(db, sql, bounds) => db.each(sql, &bounds, |row| each(row).map(|()| true)),
            Self::OnServer(asked) => {
                let mut found = asked.answer()?.into_iter();
                found.try_for_each(|row| each(&Columns::Postgres(&row)))
            }
        }
    }
}

/// A statement that is used again and again.
pub enum Statement<'a> {
    /// Of the file: it is prepared.
    Sqlite(rusqlite::CachedStatement<'a>),
    /// Of the server: prepared ones do not pass through a pooler.
    Postgres(&'a Server, String),
}

impl Statement<'_> {
    /// Hands each row that is found to `each`, until it says `false`. Nothing else may be asked of
    /// the statement meanwhile.
    pub fn each(
        &mut self,
        values: &[Value<'_>],
        mut each: impl FnMut(&Columns<'_>) -> Result<bool>,
    ) -> Result<()> {
        match self {
            Self::Sqlite(select) => {
                let mut found = select.query(rusqlite::params_from_iter(values))?;
                while let Some(row) = found.next()? {
                    if !each(&Columns::Sqlite(row))? {
                        break;
                    }
                }
                Ok(())
            }
            Self::Postgres(server, sql) => {
                server.each(sql, values, |row| each(&Columns::Postgres(row)))
            }
        }
    }

    /// All rows that are found, which are few.
    pub fn all<T>(
        &mut self,
        values: &[Value<'_>],
        mut read: impl FnMut(&Columns<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        if let Self::Postgres(server, sql) = self {
            for row in server.query(sql, values)? {
                all.push(read(&Columns::Postgres(&row))?);
            }
            return Ok(all);
        }
        self.each(values, |row| {
            all.push(read(row)?);
            Ok(true)
        })?;
        Ok(all)
    }

    /// The first row that is found, if there is one.
    pub fn first<T>(
        &mut self,
        values: &[Value<'_>],
        mut read: impl FnMut(&Columns<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let mut first = None;
        if let Self::Postgres(server, sql) = self {
            let found = server.query(sql, values)?;
            let row = found.first();
            return row.map(|row| read(&Columns::Postgres(row))).transpose();
        }
        self.each(values, |row| {
            first = Some(read(row)?);
            Ok(false)
        })?;
        Ok(first)
    }

    /// The row that has to be there.
    pub fn one<T>(
        &mut self,
        values: &[Value<'_>],
        read: impl FnMut(&Columns<'_>) -> Result<T>,
    ) -> Result<T> {
        self.first(values, read)?.ok_or_else(|| Fault::NoRow)
    }

    /// Changes something; returns how many rows that were.
    pub fn execute(&mut self, values: &[Value<'_>]) -> Result<u64> {
        match self {
            Self::Sqlite(statement) => {
                let changed = statement.execute(rusqlite::params_from_iter(values))?;
                Ok(changed as u64)
            }
            Self::Postgres(server, sql) => server.execute(sql, values),
        }
    }
}

impl<'a> Db<'a> {
    /// A statement that is used again and again.
    pub fn prepare(self, sql: &str) -> Result<Statement<'a>> {
        Ok(match self {
            Self::Sqlite(db) => Statement::Sqlite(db.prepare_cached(sql)?),
            Self::Postgres(server) => Statement::Postgres(server, sql.to_owned()),
        })
    }

    /// See [`Statement::each`].
    pub fn each(
        self,
        sql: &str,
        values: &[Value<'_>],
        each: impl FnMut(&Columns<'_>) -> Result<bool>,
    ) -> Result<()> {
        self.prepare(sql)?.each(values, each)
    }

    /// See [`Statement::all`].
    pub fn all<T>(
        self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnMut(&Columns<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.prepare(sql)?.all(values, read)
    }

    /// See [`Statement::first`].
    pub fn first<T>(
        self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnMut(&Columns<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        self.prepare(sql)?.first(values, read)
    }

    /// See [`Statement::one`].
    pub fn one<T>(
        self,
        sql: &str,
        values: &[Value<'_>],
        read: impl FnMut(&Columns<'_>) -> Result<T>,
    ) -> Result<T> {
        self.prepare(sql)?.one(values, read)
    }

    /// See [`Statement::execute`].
    pub fn execute(self, sql: &str, values: &[Value<'_>]) -> Result<u64> {
        self.prepare(sql)?.execute(values)
    }

    /// What a statement finds for each of these numbers, which stand for its `?1`; the other values
    /// follow. In no order; of a server all of it is asked for at once.
    pub fn all_of<T>(
        self,
        sql: &str,
        numbers: &[i64],
        values: &[Value<'_>],
        mut read: impl FnMut(&Columns<'_>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut all = Vec::new();
        match self {
            Self::Sqlite(_) => {
                let mut select = self.prepare(sql)?;
                for number in numbers {
                    let of_it = [(*number).into()];
                    let values: Vec<Value<'_>> = of_it.iter().chain(values).cloned().collect();
                    select.each(&values, |row| {
                        all.push(read(row)?);
                        Ok(true)
                    })?;
                }
            }
            Self::Postgres(server) => {
                for numbers in numbers.chunks(CHUNK) {
                    for row in server.query_of(sql, numbers, values)? {
                        all.push(read(&Columns::Postgres(&row))?);
                    }
                }
            }
        }
        Ok(all)
    }

    /// Asks for what a statement finds from `?1` up to, not including, `?2`.
    pub(in crate::ledger) fn ask(self, sql: &'static str, range: Span) -> Result<Found<'a>> {
        let bounds = [range.first.into(), range.end.into()];
        Ok(match self {
            Self::Sqlite(_) => Found::InFile(self, sql, bounds),
            Self::Postgres(server) => Found::OnServer(server.ask(sql, &bounds)?),
        })
    }

    /// Reads several things as they are at one moment: on a server others write meanwhile.
    pub fn reading<T>(self, read: impl FnOnce() -> Result<T>) -> Result<T> {
        match self {
            Self::Sqlite(_) => read(),
            Self::Postgres(server) => server.reading(read),
        }
    }

    /// Hands what is found of these numbers, which ascend, to `each`, with the place beside its
    /// number. A statement finds it for numbers from `?1` up to, not including, `?2`, in their
    /// order, and names the number first. Of a server it is asked for at once; numbers come in no
    /// order, what is found of one of them in that of the statement.
    pub fn each_near(
        self,
        sql: &str,
        numbers: &[(i64, usize)],
        mut each: impl FnMut(usize, &Columns<'_>) -> Result<()>,
    ) -> Result<()> {
        if numbers.is_empty() {
            return Ok(());
        }
        if let Self::Postgres(_) = self {
            let sql = sql.replace("?2", "(?1 + 1)");
            let only: Vec<i64> = numbers.iter().map(|(number, _)| *number).collect();
            let found = self.all_of(&sql, &only, &[], |row| {
                let place = numbers.binary_search_by_key(&row.get(0)?, |(number, _)| *number);
                place.map_or(Ok(()), |found| each(numbers[found].1, row))
            });
            return found.map(drop);
        }
        let mut select = self.prepare(sql)?;
        for near in numbers.chunk_by(|(one, _), (next, _)| next - one <= NEAR) {
            let end = near.last().map_or(0, |(last, _)| last + 1);
            let mut ahead = near.iter().peekable();
            select.each(&[near[0].0.into(), end.into()], |row| {
                let number: i64 = row.get(0)?;
                while ahead.next_if(|(wanted, _)| *wanted < number).is_some() {}
                match ahead.peek() {
                    Some((wanted, place)) if *wanted == number => each(*place, row)?,
                    _ => {}
                }
                Ok(true)
            })?;
        }
        Ok(())
    }

    /// Changes something for each of these numbers, of which a statement says `= ?1`.
    pub fn execute_of(self, sql: &str, numbers: &[i64]) -> Result<()> {
        match self {
            Self::Sqlite(_) => {
                let mut statement = self.prepare(sql)?;
                for number in numbers {
                    statement.execute(&[(*number).into()])?;
                }
                Ok(())
            }
            Self::Postgres(server) => server.execute_of(sql, numbers),
        }
    }

    /// Inserts rows in their order. None of them may be there yet.
    pub fn insert_all<'r, T, const COLUMNS: usize>(
        self,
        into: &Table<COLUMNS>,
        rows: &'r [T],
        values: impl Fn(&'r T) -> [Value<'r>; COLUMNS],
    ) -> Result<()> {
        match self {
            Self::Sqlite(db) => into.insert(db, "", rows, values),
            Self::Postgres(server) => {
                server.copy(into.name, &into.columns, rows.iter().map(values))
            }
        }
    }

    /// Inserts rows in their order; `otherwise` says what happens to those that are there already,
    /// as in `ON CONFLICT (id) DO NOTHING`.
    pub fn insert_or<'r, T, const COLUMNS: usize>(
        self,
        into: &Table<COLUMNS>,
        otherwise: &str,
        rows: &'r [T],
        values: impl Fn(&'r T) -> [Value<'r>; COLUMNS],
    ) -> Result<()> {
        match self {
            Self::Sqlite(db) => into.insert(db, otherwise, rows, values),
            Self::Postgres(server) => {
                for rows in rows.chunks(ROWS_MAX) {
                    let places = Table::<COLUMNS>::numbered(rows.len());
                    let sql = into.statement(otherwise, &places);
                    let values: Vec<Value<'_>> = rows.iter().flat_map(&values).collect();
                    server.execute(&sql, &values)?;
                }
                Ok(())
            }
        }
    }
}

/// Memory for pages, in KiB (negative: `SQLite`'s way to say so): where numbers lie in another order
/// than their rows, each page is wanted many times.
const LOOKUP_CACHE_KIB: i64 = -32 * 1_024;

impl Db<'_> {
    /// The key of a ledger's checksums.
    pub fn salt(self) -> Result<Vec<u8>> {
        const SQL: &str = "SELECT salt FROM ledger";
        match self {
            Self::Sqlite(db) => Ok(db.query_row(SQL, [], |row| row.get(0))?),
            Self::Postgres(server) => {
                let found = server.query(SQL, &[])?;
                Ok(found.first().ok_or(Fault::NoRow)?.try_get(0)?)
            }
        }
    }

    /// A path beside which a file may lie that takes what does not fit into memory: for a server one
    /// of this machine.
    pub fn beside(self) -> PathBuf {
        match self {
            Self::Sqlite(db) => PathBuf::from(db.path().unwrap_or_default()),
            Self::Postgres(_) => std::env::temp_dir().join("otpdrive"),
        }
    }

    /// Goes on where another ledger is: with its next id, and the key of its checksums.
    pub fn become_copy(self, next_id: i64, salt: &[u8]) -> Result<()> {
        let from_hex = match self {
            Self::Sqlite(_) => "unhex(?2)",
            Self::Postgres(_) => "decode(?2, 'hex')",
        };
        let salt = hex(salt);
        let sql = format!("UPDATE ledger SET next_id = ?1, salt = {from_hex}");
        self.execute(&sql, &[next_id.into(), salt.into()]).map(drop)
    }

    /// Has the database look at its tables after much was written: a server plans by what it saw.
    pub fn look_at_tables(self) -> Result<()> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(server) => server.batch(
                "ANALYZE campaign, known, run, run_fact, contact, special, block, code, intent,
                         answer, suppressed, former, stood, lookup, purged",
            ),
        }
    }

    /// Numbers are going to be looked up in any order.
    pub fn expect_lookups(self) -> Result<()> {
        match self {
            Self::Sqlite(db) => Ok(db.pragma_update(None, "cache_size", LOOKUP_CACHE_KIB)?),
            Self::Postgres(_) => Ok(()),
        }
    }

    /// A code as it is stored: a server never sees it.
    pub fn seal(self, job: JobId, code: &str) -> Value<'_> {
        match self {
            Self::Sqlite(_) => code.into(),
            Self::Postgres(server) => server.seal(job, code).into(),
        }
    }

    /// Can codes be read here? On a server it takes the API key.
    pub fn can_open_codes(self) -> bool {
        match self {
            Self::Sqlite(_) => true,
            Self::Postgres(server) => server.can_open_codes(),
        }
    }

    /// A stored code.
    pub fn open(self, job: JobId, code: &str) -> Result<SecretString> {
        match self {
            Self::Sqlite(_) => Ok(SecretString::from(code)),
            Self::Postgres(server) => server.open(job, code),
        }
    }
}

/// Where rows are inserted: a table and its columns.
pub struct Table<const COLUMNS: usize> {
    pub name: &'static str,
    pub columns: [&'static str; COLUMNS],
}

impl<const COLUMNS: usize> Table<COLUMNS> {
    fn insert<'r, T>(
        &self,
        db: &Connection,
        otherwise: &str,
        mut rows: &'r [T],
        values: impl Fn(&'r T) -> [Value<'r>; COLUMNS],
    ) -> Result<()> {
        let row = format!("({})", ["?"; COLUMNS].join(","));
        while !rows.is_empty() {
            let (now, later) = rows.split_at(1 << rows.len().min(ROWS_MAX).ilog2());
            let places = vec![row.as_str(); now.len()].join(",");
            let mut insert = db.prepare_cached(&self.statement(otherwise, &places))?;
            for (row, first) in now.iter().zip((1..).step_by(COLUMNS)) {
                for (value, place) in values(row).into_iter().zip(first..) {
                    insert.raw_bind_parameter(place, value)?;
                }
            }
            insert.raw_execute()?;
            rows = later;
        }
        Ok(())
    }

    /// The places of the values of so many rows, by number, as a server wants them. In a file they
    /// have none: to write them all took longer than the insert.
    fn numbered(rows: usize) -> String {
        let place = |row: usize, column: usize| format!("?{}", row * COLUMNS + column + 1);
        let values: Vec<String> = (0..rows)
            .map(|row| {
                let places: Vec<String> = (0..COLUMNS).map(|column| place(row, column)).collect();
                format!("({})", places.join(","))
            })
            .collect();
        values.join(",")
    }

    fn statement(&self, otherwise: &str, places: &str) -> String {
        let (table, columns) = (self.name, self.columns.join(", "));
        format!("INSERT INTO {table} ({columns}) VALUES {places} {otherwise}")
    }
}
