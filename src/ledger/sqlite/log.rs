//! Has the write-ahead log lost something that was durable?
//!
//! `SQLite` reads the log up to the first frame that does not add up, and takes the rest for the
//! torn end of a transaction that was under way in a crash. A byte that was damaged in the middle
//! looks the same to it, and everything behind would be forgotten: intents, above all. But every
//! commit is synced before the next one begins, so at most one can be torn. Where two commits stand
//! behind the break, it is damage.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::Path;

/// Sizes and places in the log's format: <https://sqlite.org/fileformat2.html#walformat>
const HEADER: usize = 32;
const FRAME: usize = 24;
const MAGIC: u32 = 0x377f_0682;

/// Commits behind the first frame of the log that does not add up.
///
/// # Errors
/// When the log cannot be read.
pub fn commits_behind_a_break(log: &Path) -> io::Result<u64> {
    let mut log = match File::open(log) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER];
    if !fill(&mut log, &mut header)? {
        return Ok(0);
    }
    let (magic, page) = (word(&header, 0), word(&header, 8));
    let mut sum = Sum {
        big_endian: magic & 1 == 1,
        state: (0, 0),
    };
    sum.add(&header[..24]);
    let mut adds_up = magic & !1 == MAGIC && sum.is_at(&header, 24);
    // With a damaged header, the frames say themselves what belongs together.
    let mut salts = adds_up.then(|| header[16..24].to_vec());
    let page = if adds_up { page } else { 4096 };
    let mut frame = vec![0; FRAME + page as usize];
    let mut commits = 0;
    while fill(&mut log, &mut frame)? {
        let salts = salts.get_or_insert_with(|| frame[8..16].to_vec());
        let of_this_log = frame[8..16] == salts[..];
        if adds_up {
            sum.add(&frame[..8]);
            sum.add(&frame[FRAME..]);
            adds_up = of_this_log && sum.is_at(&frame, 16);
        }
        let is_commit = word(&frame, 0) != 0 && word(&frame, 4) != 0;
        commits += u64::from(!adds_up && of_this_log && is_commit);
    }
    Ok(commits)
}

/// Reads the buffer full; `false` when there is less.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match from.read_exact(buffer) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| true),
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The log's running checksum.
struct Sum {
    big_endian: bool,
    state: (u32, u32),
}

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        for pair in bytes.chunks_exact(8) {
            let word = |at| {
                let word = word(pair, at);
                if self.big_endian {
                    word
                } else {
                    word.swap_bytes()
                }
            };
            let (one, two) = (word(0), word(4));
            let (a, b) = &mut self.state;
            *a = a.wrapping_add(one).wrapping_add(*b);
            *b = b.wrapping_add(two).wrapping_add(*a);
        }
    }

    fn is_at(&self, bytes: &[u8], at: usize) -> bool {
        self.state == (word(bytes, at), word(bytes, at + 4))
    }
}
