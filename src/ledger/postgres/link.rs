//! A connection that is made again when it is lost, for what is asked during a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error, Row};

use super::fleet::LEASE;
use super::{Address, Driver, describe, schema, server};
use crate::ledger::LedgerError;

/// The first wait before a connection is made again, and the longest.
pub const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// A server that does not come back for so long ends a run.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// A connection to the ledger's server.
pub struct Link {
    driver: Arc<Driver>,
    address: Address,
    path: PathBuf,
    client: Mutex<Option<Client>>,
}

impl Link {
    /// One that is made when it is first asked.
    pub fn new(driver: &Arc<Driver>, address: &Address, path: PathBuf) -> Self {
        Self {
            driver: Arc::clone(driver),
            address: address.clone(),
            path,
            client: Mutex::new(None),
        }
    }

    /// Asks something that may be asked twice: when the connection is lost meanwhile it is not known
    /// whether it was heard, and it is asked again. `what` it is for is said when it fails.
    ///
    /// # Errors
    /// What the server said, or that it does not come back.
    pub async fn ask(
        &self,
        what: &'static str,
        sql: &str,
        values: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Heard, LedgerError> {
        let mut client = self.client.lock().await;
        let (mut wait, mut lost_since) = (FIRST_WAIT, None);
        loop {
            let mut advice = "";
            let why = match client.take() {
                Some(open) if !open.is_closed() => {
                    let asked = Instant::now();
                    match open.query_typed(sql, values).await {
                        Ok(rows) => {
                            self.driver.heard();
                            let took = asked.elapsed();
                            *client = Some(open);
                            return Ok(Heard { rows, asked, took });
                        }
                        Err(error) if may_pass(&error) => {
                            advice = server::advice(&error);
                            describe(&error)
                        }
                        Err(error) => {
                            *client = Some(open);
                            return Err(self.failed(what, server::words(&error)));
                        }
                    }
                }
                _ => match self.driver.connect(&self.address, |_| {}).await {
                    Ok(new) => match self.changed(&new).await {
                        Ok(None) => {
                            *client = Some(new);
                            continue;
                        }
                        Ok(Some(why)) => {
                            let path = self.path.clone();
                            return Err(LedgerError::ServerChanged { path, why });
                        }
                        Err(error) => describe(&error),
                    },
                    Err(error) => error.to_string(),
                },
            };
            let since: &mut Instant = lost_since.get_or_insert_with(Instant::now);
            if self.driver.gave_up() {
                return Err(self.failed(what, "the server stands still".to_owned()));
            }
            let away = since.elapsed();
            if away > self.patience() {
                let why = format!("{why}, for {} s by now{advice}", away.as_secs());
                return Err(self.failed(what, why));
            }
            tracing::warn!(name: "ledger_away", "the ledger does not answer ({why}): nothing leaves until it does");
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }

    /// How long it is asked again: who ends does not wait for long, for one thing after the other.
    fn patience(&self) -> Duration {
        match self.driver.gives_up_since() {
            Some(since) if since.elapsed() > LEASE => LONGEST_WAIT,
            _ => PATIENCE,
        }
    }

    /// Is it another server, or another history of it, than the one on which all was written?
    async fn changed(&self, client: &Client) -> Result<Option<String>, Error> {
        let sql = self.in_schema(schema::CHANGED);
        let rows = client.query_typed(&sql, &[]).await?;
        rows.first().map_or(Ok(None), schema::change)
    }

    /// What was heard cannot be read.
    pub fn unreadable(&self, what: &'static str) -> impl Fn(Error) -> LedgerError {
        move |error| self.failed(what, describe(&error))
    }

    /// A statement whose tables are `{schema}.name`.
    pub fn in_schema(&self, sql: &str) -> String {
        sql.replace("{schema}", self.address.schema())
    }

    fn failed(&self, what: &'static str, why: String) -> LedgerError {
        LedgerError::Database {
            path: self.path.clone(),
            what,
            why,
        }
    }
}

/// What a server answered.
pub struct Heard {
    /// What it found.
    pub rows: Vec<Row>,
    /// When it was asked.
    pub asked: Instant,
    /// How long it took.
    pub took: Duration,
}

/// Numbers as values of a statement.
pub fn numbers<const N: usize>(numbers: &[i64; N]) -> [(&(dyn ToSql + Sync), Type); N] {
    numbers
        .each_ref()
        .map(|number| (number as &(dyn ToSql + Sync), Type::INT8))
}

/// May it go well when it is asked again, on a new connection?
fn may_pass(error: &Error) -> bool {
    let Some(code) = error.code() else {
        return true;
    };
    let passing = [
        SqlState::T_R_DEADLOCK_DETECTED,
        SqlState::T_R_SERIALIZATION_FAILURE,
        SqlState::DISK_FULL,
        SqlState::OUT_OF_MEMORY,
        SqlState::TOO_MANY_CONNECTIONS,
        SqlState::LOCK_NOT_AVAILABLE,
        SqlState::QUERY_CANCELED,
    ];
    passing.contains(code) || code.code().starts_with("08") || code.code().starts_with("57P0")
}
