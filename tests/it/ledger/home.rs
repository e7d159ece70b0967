//! Where a ledger is while a test works with it.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use otpdrive::job::{Contact, Operation};
use otpdrive::ledger::{At, Campaign, NewRun, Opening, Run, Store};
use otpdrive::record::RowState;
use otpdrive::run::RunId;
use rusqlite::Connection;
use secrecy::SecretString;
use tempfile::TempDir;

use super::{RUN, input, key, now, rows, start};
use crate::support::postgres::Cluster;
use crate::support::{KEY, wait_until};

/// Where ledgers can be made.
#[derive(Clone)]
pub enum Room {
    /// In files in this folder.
    File(PathBuf),
    /// On this server.
    Server(Arc<Cluster>),
}

impl Room {
    /// In files on a disk.
    pub fn disk() -> Self {
        Self::File(std::env::temp_dir())
    }

    /// In files for which nobody waits, if there is such a place: for what would be written a hundred
    /// times.
    pub fn memory() -> Self {
        let memory = Path::new("/dev/shm");
        match tempfile::tempdir_in(memory) {
            Ok(_) => Self::File(memory.to_owned()),
            Err(_) => Self::disk(),
        }
    }

    /// A place for a ledger, where there is none yet.
    pub fn home(&self) -> Home {
        static HOMES: AtomicUsize = AtomicUsize::new(0);
        let name = format!("home{}", HOMES.fetch_add(1, Ordering::Relaxed));
        let folder = match self {
            Self::File(folder) => tempfile::tempdir_in(folder),
            Self::Server(_) => tempfile::tempdir(),
        };
        Home {
            room: self.clone(),
            folder: folder.unwrap(),
            name,
        }
    }

    /// A figure for files, or a smaller one for a server, which takes its time.
    pub fn in_file_or_on_server<T>(&self, file: T, server: T) -> T {
        match self {
            Self::File(_) => file,
            Self::Server(_) => server,
        }
    }
}

/// A ledger's own file, or its own schema on a server.
pub struct Home {
    room: Room,
    folder: TempDir,
    name: String,
}

impl Home {
    /// The file of it, if it is one.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("otpdrive.db")
    }

    /// The folder of its file.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where it is.
    pub fn at(&self) -> At {
        match &self.room {
            Room::File(_) => At::File(self.path()),
            Room::Server(server) => {
                // In through the socket, which asks for no password: to check one takes its time.
                let (socket, port, name) = (server.socket().display(), server.port(), &self.name);
                let address = format!(
                    "postgres://postgres@/postgres?host={socket}&port={port}&schema={name}&application_name={name}"
                );
                At::parse(&address, |_| None).unwrap()
            }
        }
    }

    /// Opens it for a run. Whoever worked with it before is gone.
    pub fn open(&self) -> Store {
        if let Room::Server(server) = &self.room {
            let name = &self.name;
            // Its lease would be over in a while.
            server.sql(&format!(
                "DO $$ BEGIN IF to_regclass('{name}.worker') IS NOT NULL THEN
                    UPDATE {name}.worker SET lease_until = 0; END IF; END $$"
            ));
        }
        let key = SecretString::from(KEY);
        let how = Opening {
            key: Some(&key),
            ..Opening::default()
        };
        Store::open_as(self.at(), &how).unwrap()
    }

    /// Opens it to read.
    pub fn look(&self) -> Store {
        Store::open_to_read(self.at()).unwrap()
    }

    /// Takes in these rows and begins a run.
    pub fn begin(&self, operation: Operation, rows: &[Contact]) -> (Store, Campaign, RunId) {
        self.begin_as(operation, rows, &RUN)
    }

    /// The same, with a run like this.
    pub fn begin_as(
        &self,
        operation: Operation,
        rows: &[Contact],
        new: &NewRun<'_>,
    ) -> (Store, Campaign, RunId) {
        let mut ledger = self.open();
        let rows_in = rows.iter().cloned().map(Ok::<_, Infallible>);
        let (key, input) = (key(operation), input(rows));
        let intake = ledger.take_in(&key, &input, "reading", rows_in).unwrap();
        let (campaign, run) = intake.unwrap().begin_run(now(), new).unwrap();
        (ledger, campaign, run)
    }

    /// Takes in these rows, begins a run and starts it.
    pub fn start(&self, operation: Operation, rows: &[Contact]) -> (Run, RunId) {
        let (ledger, campaign, run) = self.begin(operation, rows);
        (start(ledger, &campaign, run), run)
    }

    /// What is known of the rows of the first campaign.
    pub fn states(&self) -> Vec<RowState> {
        let ledger = self.look();
        let campaign = ledger.campaigns().unwrap().remove(0);
        let rows = rows(&ledger, &campaign);
        rows.into_iter().map(|row| row.state).collect()
    }

    /// What `status --verify` finds.
    pub fn wrong(&self) -> Vec<String> {
        self.look().verify().unwrap().wrong
    }

    /// Changes something behind the ledger's back.
    pub fn change(&self, sql: &str) {
        match &self.room {
            Room::File(_) => {
                let db = Connection::open(self.path()).unwrap();
                db.execute_batch(sql).unwrap();
            }
            Room::Server(server) => {
                server.sql(&format!("SET search_path TO {}; {sql}", self.name));
            }
        }
    }

    /// As if a run had never begun.
    pub fn take_back(&self, run: RunId) {
        let tables = match self.room {
            Room::File(_) => &["run_fact"][..],
            Room::Server(_) => &["run_fact", "worker", "ahead"],
        };
        for table in tables {
            self.change(&format!("DELETE FROM {table} WHERE run = {}", run.0));
        }
        self.change(&format!("DELETE FROM run WHERE id = {}", run.0));
    }

    /// Waits until nothing is under way any more of what a process had asked for that was killed.
    pub fn wait_for_the_dead(&self) {
        if let Room::Server(server) = &self.room {
            let name = &self.name;
            let sql = format!("SELECT 1 FROM pg_stat_activity WHERE application_name = '{name}'");
            wait_until("its connections are gone", || server.sql(&sql).is_empty());
        }
    }
}
