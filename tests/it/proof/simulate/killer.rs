//! The end of a process at any point, and what its disk then holds.

use std::cell::{Cell, RefCell};
use std::fs::{self, OpenOptions};
use std::future::pending;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use fastrand::Rng;
use tokio::sync::Notify;

/// The ledger in a folder.
pub const LEDGER: &str = "otpdrive.db";
const WAL: &str = "otpdrive.db-wal";

/// A page in the log, with its head.
const WAL_FRAME: u64 = 4_096 + 24;

/// Ends a process: at its n-th point, or when it is told to.
pub struct Killer {
    folder: PathBuf,
    image: PathBuf,
    /// Points to go.
    left: Cell<Option<u64>>,
    dead: Cell<Option<&'static str>>,
    died: Notify,
    /// How much of the write-ahead log must survive: it was there when the ledger said so.
    durable: Cell<u64>,
    random: RefCell<Rng>,
}

impl Killer {
    /// For the process that works in `folder`; what its disk holds at its end is put into `image`.
    pub fn new(folder: &Path, image: &Path, at_point: Option<u64>, random: Rng) -> Self {
        let killer = Self {
            folder: folder.to_owned(),
            image: image.to_owned(),
            left: Cell::new(at_point),
            dead: Cell::new(None),
            died: Notify::new(),
            durable: Cell::new(0),
            random: RefCell::new(random),
        };
        // What is there at the start has survived already.
        killer.is_durable();
        killer
    }

    /// A place at which the process may end. After its end nobody gets past one.
    pub async fn point(&self, name: &'static str) {
        if let Some(left) = self.left.get() {
            if left == 0 {
                self.kill(name);
            }
            self.left.set(left.checked_sub(1));
        }
        if self.dead.get().is_some() {
            pending::<()>().await;
        }
    }

    /// Ends the process now.
    pub fn kill(&self, name: &'static str) {
        if self.dead.get().is_none() {
            self.take_image();
            self.dead.set(Some(name));
            self.died.notify_one();
        }
    }

    /// Returns when the process is dead; says where it died.
    pub async fn died(&self) -> &'static str {
        self.died.notified().await;
        self.dead.get().unwrap_or("nowhere")
    }

    /// The ledger has just said that all it was told is durable.
    pub fn is_durable(&self) {
        self.durable.set(self.wal_bytes());
    }

    fn wal_bytes(&self) -> u64 {
        fs::metadata(self.folder.join(WAL)).map_or(0, |wal| wal.len())
    }

    /// What a power cut leaves: the file, and of the log all that is durable. Of what was written
    /// after that, any part; and what is left of it may be garbled.
    fn take_image(&self) {
        fs::create_dir_all(&self.image).unwrap();
        for name in [LEDGER, WAL] {
            if self.folder.join(name).exists() {
                fs::copy(self.folder.join(name), self.image.join(name)).unwrap();
            }
        }
        let (durable, written) = (self.durable.get(), self.wal_bytes());
        if written <= durable {
            return;
        }
        let mut random = self.random.borrow_mut();
        let wal = OpenOptions::new().write(true).open(self.image.join(WAL));
        let mut wal = wal.unwrap();
        match random.u32(0..4) {
            // Everything came through.
            0 => {}
            // Only the last commit can be torn, for each is synced before the next; the ledger
            // refuses a log that is broken further up.
            1 => {
                let last = written.saturating_sub(WAL_FRAME);
                let at = random.u64(durable.max(last)..written);
                wal.seek(SeekFrom::Start(at)).unwrap();
                let garbled = [random.u8(..), random.u8(..), random.u8(..)];
                let most = usize::try_from(written - at).unwrap_or(3).min(3);
                wal.write_all(&garbled[..most]).unwrap();
            }
            _ => wal.set_len(random.u64(durable..written)).unwrap(),
        }
    }
}
