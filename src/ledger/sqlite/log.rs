//! Has the write-ahead log lost something that was durable?
//!
//! `SQLite` reads the log up to the first frame that does not add up, and takes the rest for the
//! torn end of a transaction that was under way in a crash. A byte that was damaged in the middle
//! looks the same to it, and everything behind would be forgotten: intents, above all. But every
//! commit is synced before anything is written behind it. So where the log went on behind a commit,
//! with sums that follow from it, that commit was durable: when it stands behind the break, it is
//! lost. Other commits there are what never came to be: torn in a crash, or not synced.
//!
//! Behind the frames may stand zeros, or nothing but zeros: room for the log, see [`fill`].

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::file::with;

/// Sizes and places in the log's format: <https://sqlite.org/fileformat2.html#walformat>
const HEADER: usize = 32;
const FRAME: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// Room that the log has from the start of a run, as much as it takes until it is moved into the
/// file. A commit into a log that grows costs twice as much: the file system notes each new length.
const ROOM: usize = 8 * 1_024 * 1_024;

/// It is written in pieces of this size. What is written at once may become one piece of the system's
/// cache, and a large piece makes each page that is written into it later twice as dear.
const PIECE: usize = 256 * 1_024;

/// Makes room in the log: zeros behind what is in it, which `SQLite` takes for its end.
pub fn fill(db: &mut Connection) -> rusqlite::Result<()> {
    // Nobody else, a viewer for instance, writes to the log meanwhile.
    let alone = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let log = with(Path::new(alone.path().unwrap_or_default()), "-wal");
    let fill = || {
        let mut log = OpenOptions::new().append(true).open(log)?;
        let length = log.metadata()?.len();
        let room = ROOM.saturating_sub(usize::try_from(length).unwrap_or(ROOM));
        let zeros = vec![0; room];
        let filled = zeros
            .chunks(PIECE)
            .try_for_each(|piece| log.write_all(piece))
            .and_then(|()| log.sync_all());
        filled.or_else(|_| log.set_len(length))
    };
    let filled: io::Result<()> = fill();
    if let Err(error) = filled {
        // It is a matter of speed alone. Whether there is room for what counts will show.
        tracing::debug!("no room was made in the log: {error}");
    }
    alone.rollback()
}

/// Is nothing in the log, or no log there?
pub fn is_empty(log: &Path) -> io::Result<bool> {
    let mut header = [0; HEADER];
    match File::open(log) {
        Ok(mut log) => Ok(!fill_up(&mut log, &mut header)? || header == [0; HEADER]),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

/// Was anything durable behind the first frame of the log that does not add up?
///
/// # Errors
/// When the log cannot be read.
pub fn has_lost_commits(log: &Path) -> io::Result<bool> {
    let mut log = match File::open(log) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER];
    if !fill_up(&mut log, &mut header)? {
        return Ok(false);
    }
    let (magic, page) = (word(&header, 0), word(&header, 8));
    let of_header = Sum::default().and(&header[..24], magic & 1 == 1);
    let mut before = [of_header, Sum::stored(&header, 24)];
    let mut adds_up = magic & !1 == MAGIC && before[0] == before[1];
    // With a damaged header, the frames say themselves what belongs together.
    let mut salts = adds_up.then(|| header[16..24].to_vec());
    let (page, big_endian) = if adds_up {
        (page, magic & 1 == 1)
    } else {
        (4096, cfg!(target_endian = "big"))
    };
    let mut frame = vec![0; FRAME + page as usize];
    let mut behind_commit = false;
    while fill_up(&mut log, &mut frame)? {
        if frame.iter().all(|byte| *byte == 0) {
            // Room that was never used, or was damaged.
            adds_up = false;
            before = [Sum::default(); 2];
            continue;
        }
        let salts = salts.get_or_insert_with(|| frame[8..16].to_vec());
        let stored = Sum::stored(&frame, 16);
        let sum_from = |sum: Sum| {
            sum.and(&frame[..8], big_endian)
                .and(&frame[FRAME..], big_endian)
        };
        let mut sum = stored;
        let mut follows = frame[8..16] == salts[..];
        if follows {
            sum = sum_from(before[0]);
            // In the frame before, what was summed up may be damaged, or the sum.
            follows = sum == stored || (before[0] != before[1] && sum_from(before[1]) == stored);
        }
        adds_up &= follows;
        if follows && behind_commit {
            return Ok(true);
        }
        let is_commit = word(&frame, 0) != 0 && word(&frame, 4) != 0;
        behind_commit = !adds_up && is_commit;
        before = [sum, stored];
    }
    Ok(false)
}

/// Reads the buffer full; `false` when there is less.
fn fill_up(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The log's running checksum.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Sum(u32, u32);

impl Sum {
    fn stored(bytes: &[u8], at: usize) -> Self {
        Self(word(bytes, at), word(bytes, at + 4))
    }

    fn and(self, bytes: &[u8], big_endian: bool) -> Self {
        let Self(mut a, mut b) = self;
        for pair in bytes.chunks_exact(8) {
            let word = |at| {
                let word = word(pair, at);
                if big_endian { word } else { word.swap_bytes() }
            };
            a = a.wrapping_add(word(0)).wrapping_add(b);
            b = b.wrapping_add(word(4)).wrapping_add(a);
        }
        Self(a, b)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use rusqlite::Connection;
    use tempfile::TempDir;

    use super::*;

    const PAGE: usize = 4096;

    /// A log that goes on behind `log` with commits of so many pages each.
    fn go_on(db: &[u8], log: &[u8], commits: &[usize]) -> Vec<u8> {
        let (folder, path) = put(db, log);
        let file = Connection::open(folder.path().join("db")).unwrap();
        for pages in commits {
            let change = format!("UPDATE page SET text = randomblob(9) WHERE id <= {pages}");
            file.execute_batch(&change).unwrap();
        }
        fs::read(path).unwrap()
    }

    fn put(db: &[u8], log: &[u8]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("db"), db).unwrap();
        let path = folder.path().join("db-wal");
        fs::write(&path, log).unwrap();
        (folder, path)
    }

    /// A database and its log, which holds a commit.
    fn begun() -> (Vec<u8>, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let file = Connection::open(folder.path().join("db")).unwrap();
        file.execute_batch(&format!(
            "PRAGMA page_size = {PAGE}; PRAGMA journal_mode = WAL;
             CREATE TABLE page (id INTEGER PRIMARY KEY, text BLOB, filler BLOB);
             WITH RECURSIVE n (id) AS (VALUES (1) UNION ALL SELECT id + 1 FROM n WHERE id < 20)
             INSERT INTO page SELECT id, '', zeroblob({PAGE} - 99) FROM n;
             PRAGMA wal_checkpoint(TRUNCATE);
             UPDATE page SET text = 1 WHERE id = 1"
        ))
        .unwrap();
        let read = |name| fs::read(folder.path().join(name)).unwrap();
        (read("db"), read("db-wal"))
    }

    fn lost(log: &[u8]) -> bool {
        let (_folder, path) = put(&[], log);
        has_lost_commits(&path).unwrap()
    }

    #[test]
    fn commits_that_never_came_to_be_are_not_lost() {
        let (db, log) = begun();
        // Three that failed or were torn, each written over the one before, and a part of a fourth.
        let mut layers = [2, 5, 9, 14]
            .map(|pages| go_on(&db, &log, &[pages]))
            .into_iter();
        let short = layers.next().unwrap();
        let mut left = short.clone();
        for failed in layers {
            left.extend_from_slice(&failed[left.len()..]);
        }
        assert!(!lost(&left));
        left[log.len() + 100] ^= 1;
        assert!(!lost(&left), "the last commit is torn, too");
        for end in (0..left.len()).step_by(777) {
            assert!(!lost(&left[..end]), "cut at {end}");
        }
        // And an older log behind this one.
        let (_, older) = begun();
        let older = go_on(&db, &older, &[2, 2, 2, 2]);
        left.truncate(short.len());
        left.extend_from_slice(&older[short.len()..]);
        assert!(!lost(&left));
        left[log.len() + 100] ^= 1;
        assert!(!lost(&left));
    }

    #[test]
    fn damage_in_front_of_the_last_commit_is_seen() {
        let (db, log) = begun();
        let durable = go_on(&db, &log, &[3, 1, 2]);
        // Of what was under way in a crash, a part is there.
        let mut whole = go_on(&db, &durable, &[2]);
        whole.truncate(durable.len() + FRAME + PAGE);
        assert!(!lost(&whole));
        for at in (0..durable.len()).filter(|at| at % 501 == 0 || at % (FRAME + PAGE) < 60) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x80;
            assert!(lost(&damaged), "byte {at}");
        }
    }

    /// A log as it lies in the room made for it.
    fn in_room(log: &[u8]) -> Vec<u8> {
        let mut room = log.to_vec();
        room.resize(log.len() + 5 * PAGE, 0);
        room
    }

    #[test]
    fn room_for_the_log_is_an_empty_log_and_hides_no_loss() {
        assert!(!lost(&in_room(&[])));
        let (db, log) = begun();
        let durable = go_on(&db, &log, &[3, 1, 2]);
        assert!(!lost(&in_room(&durable)));
        let mut whole = go_on(&db, &durable, &[2]);
        whole.truncate(durable.len() + FRAME + PAGE);
        for at in (0..durable.len()).step_by(501) {
            let mut damaged = in_room(&whole);
            damaged[at] ^= 0x80;
            assert!(lost(&damaged), "byte {at}");
        }
        // A whole block of the disk reads as zeros.
        for block in (0..4).map(|block| block * PAGE) {
            let mut damaged = in_room(&whole);
            damaged[block..block + PAGE].fill(0);
            assert!(lost(&damaged), "block at {block}");
        }
        let mut torn = in_room(&durable);
        torn[durable.len() - 2 * PAGE..durable.len() - PAGE].fill(0);
        assert!(!lost(&torn), "the last commit is torn");
    }

    #[test]
    fn room_is_made_behind_what_is_in_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let (file, log) = (folder.path().join("db"), folder.path().join("db-wal"));
        let mut db = Connection::open(&file).unwrap();
        let id = |db: &Connection| -> i64 {
            db.query_row("SELECT max(id) FROM page", [], |row| row.get(0))
                .unwrap()
        };
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE page (id)")
            .unwrap();
        for (truncate, expected) in [("", 1), ("PRAGMA wal_checkpoint(TRUNCATE)", 2), ("", 3)] {
            db.execute_batch(truncate).unwrap();
            let before = fs::read(&log).unwrap();
            fill(&mut db).unwrap();
            let filled = fs::read(&log).unwrap();
            assert_eq!((&filled[..before.len()], filled.len()), (&before[..], ROOM));
            assert!(filled[before.len()..].iter().all(|byte| *byte == 0));
            assert_eq!(is_empty(&log).unwrap(), expected == 2);
            assert!(!has_lost_commits(&log).unwrap());
            db.execute("INSERT INTO page VALUES (?1)", [expected])
                .unwrap();
            assert_eq!(log.metadata().unwrap().len(), ROOM as u64);
            assert!(!is_empty(&log).unwrap() && !has_lost_commits(&log).unwrap());
            // As a crash leaves them.
            let copy = tempfile::tempdir().unwrap();
            for (from, to) in [(&file, "db"), (&log, "db-wal")] {
                fs::copy(from, copy.path().join(to)).unwrap();
            }
            let after = Connection::open(copy.path().join("db")).unwrap();
            assert_eq!(id(&after), expected);
        }
        assert_eq!(id(&db), 3);
    }
}
