//! A ledger on a server, opened: by whoever runs, or reads.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use secrecy::SecretString;

use super::codes::Sealing;
use super::fleet;
use super::schema::{self, Found};
use super::server::{Purpose, Server, Step};
use super::{Address, Driver, wait};
use crate::clock::Clock;
use crate::job::UnixMicros;
use crate::ledger::tables::db::Db;
use crate::ledger::tables::error::{Result, failed_to};
use crate::ledger::{LedgerError, Working};
use crate::run::{End, RunId};

/// A ledger on a server, open.
pub struct PostgresLedger {
    pub(super) server: Server,
    pub(super) driver: Arc<Driver>,
    pub(super) address: Address,
    pub(super) key: Option<SecretString>,
    /// Its address, as it is told to people.
    path: PathBuf,
}

/// What to do with a server whose history is not the one in which all was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeline {
    /// Leave it.
    Refuse,
    /// Go on with it: whoever was sent to in the last seconds may be sent to again.
    Accept,
}

impl PostgresLedger {
    /// Opens the ledger for a run, and makes its tables where there are none. Codes are sealed with a
    /// key made from `key`.
    ///
    /// # Errors
    /// When the server cannot be reached or used, when the tables are too new, when it is not the
    /// server on which all was written.
    pub fn open(
        address: &Address,
        key: Option<&SecretString>,
        timeline: Timeline,
    ) -> Result<Self, LedgerError> {
        let mut ledger = Self::connect(address, key)?;
        let fault = failed_to("open the ledger", &ledger.path);
        if schema::find(&ledger.server).map_err(fault)? == Found::Nothing {
            schema::make(&ledger.server).map_err(failed_to("make the ledger", &ledger.path))?;
        }
        ledger.recognise()?;
        schema::migrate(&ledger.server)
            .map_err(failed_to("bring the ledger up to date", &ledger.path))?;
        match timeline {
            Timeline::Refuse => ledger.ensure_unchanged()?,
            Timeline::Accept => schema::accept(&ledger.server)
                .map_err(failed_to("note which server it is", &ledger.path))?,
        }
        ledger.unseal()?;
        Ok(ledger)
    }

    /// Opens the ledger to read beside runs.
    ///
    /// # Errors
    /// When there is none, when the server cannot be reached, when the tables are too new.
    pub fn open_to_read(address: &Address) -> Result<Self, LedgerError> {
        let ledger = Self::connect(address, None)?;
        ledger.look()?;
        ledger.recognise()?;
        Ok(ledger)
    }

    /// Opens the ledger to read all of it, codes too.
    ///
    /// # Errors
    /// As [`open_to_read`](Self::open_to_read).
    pub fn open_to_copy(
        address: &Address,
        key: Option<&SecretString>,
    ) -> Result<Self, LedgerError> {
        let mut ledger = Self::connect(address, key)?;
        ledger.look()?;
        ledger.recognise()?;
        ledger.unseal()?;
        Ok(ledger)
    }

    /// Why requests that were made may be missing on it, if so.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn doubt(&self) -> Result<Option<String>, LedgerError> {
        let look = failed_to("find out which server it is", &self.path);
        if schema::is_standby(&self.server).map_err(&look)? {
            return Ok(Some("it is a standby, which may lag behind".to_owned()));
        }
        schema::changed(&self.server).map_err(look)
    }

    /// From now on codes are sealed as in a ledger with this salt.
    pub fn seal_as(&mut self, salt: &[u8]) {
        if let Some(key) = &self.key {
            self.server.seal_with(Sealing::with(key, salt));
        }
    }

    /// Is there a ledger?
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn exists(address: &Address) -> Result<bool, LedgerError> {
        let ledger = Self::connect(address, None)?;
        let found = schema::find(&ledger.server);
        let found = found.map_err(failed_to("look for the ledger", &ledger.path))?;
        Ok(found != Found::Nothing)
    }

    fn connect(address: &Address, key: Option<&SecretString>) -> Result<Self, LedgerError> {
        let path = PathBuf::from(address.public());
        let why = |why: String| LedgerError::Server {
            path: path.clone(),
            why,
        };
        let driver = Driver::start().map_err(|error| why(error.to_string()))?;
        let client = wait(driver.connect(address, |_| {}));
        let client = client.map_err(|error| why(error.to_string()))?;
        let driver = Arc::new(driver);
        let schema = address.schema().to_owned();
        Ok(Self {
            server: Server::new(client, &driver, schema, Sealing::None),
            driver,
            address: address.clone(),
            key: key.cloned(),
            path,
        })
    }

    /// Makes the connection anew, if it was lost.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn reconnect(&mut self) -> Result<(), LedgerError> {
        if self.server.is_closed() {
            let worker = self.server.worker();
            let client = wait(self.driver.connect(&self.address, |_| {}));
            let client = client.map_err(|error| LedgerError::Server {
                path: self.path.clone(),
                why: error.to_string(),
            })?;
            let schema = self.address.schema().to_owned();
            self.server = Server::new(client, &self.driver, schema, Sealing::None);
            if let Some(worker) = worker {
                self.server.set_worker(worker);
            }
            self.unseal()?;
            self.ensure_unchanged()?;
        }
        Ok(())
    }

    /// Refuses a server that is not the one on which all was written.
    fn ensure_unchanged(&self) -> Result<(), LedgerError> {
        let look = failed_to("find out which server it is", &self.path);
        match schema::changed(&self.server).map_err(look)? {
            None => Ok(()),
            Some(why) => Err(LedgerError::ServerChanged {
                path: self.path.clone(),
                why,
            }),
        }
    }

    /// Refuses what is not there, and what is too new.
    fn recognise(&self) -> Result<(), LedgerError> {
        let path = self.path.clone();
        let found = schema::find(&self.server);
        match found.map_err(failed_to("read the ledger's format", &path))? {
            Found::Format(format) if format > schema::NEWEST => Err(LedgerError::TooNew {
                path,
                found: u32::try_from(format).unwrap_or(u32::MAX),
                known: u32::try_from(schema::NEWEST).unwrap_or(u32::MAX),
            }),
            Found::Format(_) => Ok(()),
            Found::Nothing => Err(LedgerError::Missing(path)),
        }
    }

    /// Makes the key with which codes are sealed.
    fn unseal(&mut self) -> Result<(), LedgerError> {
        if let Some(key) = &self.key {
            let salt = Db::Postgres(&self.server).salt();
            let salt = salt.map_err(failed_to("read the ledger's salt", &self.path))?;
            self.server.seal_with(Sealing::with(key, &salt));
        }
        Ok(())
    }

    /// Its address, as it is told to people.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// To read and write.
    pub fn db(&self) -> Db<'_> {
        Db::Postgres(&self.server)
    }

    /// Begins a step that writes; one at a time, of all processes.
    ///
    /// # Errors
    /// When the server cannot.
    pub fn step(&self) -> Result<Step<'_>> {
        let step = self.server.step(Purpose::Write)?;
        schema::lock(&self.server)?;
        Ok(step)
    }

    /// Looks at the tables anew.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn look(&self) -> Result<(), LedgerError> {
        let look = self.server.look();
        look.map_err(failed_to("read the ledger", &self.path))
    }

    /// The runs on which somebody works right now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn on(&self) -> Result<Vec<RunId>, LedgerError> {
        fleet::on(&self.server).map_err(failed_to("read who works", &self.path))
    }

    /// The processes that work with the ledger right now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn workers(&self) -> Result<Vec<Working>, LedgerError> {
        fleet::workers(&self.server).map_err(failed_to("read who works", &self.path))
    }

    /// Who works with the ledger right now, in words.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn holder(&self) -> Result<Option<String>, LedgerError> {
        fleet::holder(&self.server).map_err(failed_to("read who works", &self.path))
    }

    /// Have others given this process up?
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn is_given_up(&self) -> Result<bool, LedgerError> {
        let found = fleet::is_given_up(&self.server);
        found.map_err(failed_to("read who works", &self.path))
    }

    /// A clock that shows the server's time.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn clock(&self) -> Result<Clock, LedgerError> {
        fleet::clock(&self.server).map_err(failed_to("read the server's clock", &self.path))
    }

    /// Notes that this process has ended its part of a run, and how; the last one ends the run.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish_run(
        &self,
        run: RunId,
        end: &End,
        last_left_at: Option<UnixMicros>,
    ) -> Result<(), LedgerError> {
        let finish = || {
            let step = self.step()?;
            fleet::leave(step.server(), run, end, last_left_at)?;
            step.commit()
        };
        finish().map_err(failed_to("note the end of the run", &self.path))
    }
}
