//! What strace wrote down, as events in the order in which the kernel saw them.
//!
//! With `-f`, a call that is still under way when another thread does something is split into two
//! lines, so the lines are in the order of the events: a call that stands on one line has begun
//! and returned with nothing in between.

use std::collections::HashMap;
use std::path::PathBuf;

/// The calls that can change what is on the disk, or let a request leave.
pub const CALLS: &str = "openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,\
     sendmmsg,sendfile,splice,copy_file_range,fallocate,fsync,fdatasync,ftruncate,rename,renameat,\
     renameat2,unlink,unlinkat,io_uring_enter";

/// Half of a call.
#[derive(Clone, Debug)]
pub struct Event {
    pub call: String,
    /// As strace writes them; of a call that returns, all of them.
    pub args: String,
    /// What it returned, below zero for a failure; `None` where it begins.
    pub returned: Option<i64>,
}

impl Event {
    /// The file behind the first argument: `6</tmp/otpdrive.db-wal>`.
    pub fn path(&self) -> Option<PathBuf> {
        let (_, rest) = self.args.split_once('<')?;
        let (path, _) = rest.split_once('>')?;
        Some(PathBuf::from(String::from_utf8(bytes(path)).ok()?))
    }

    /// The strings among the arguments.
    pub fn strings(&self) -> Vec<Vec<u8>> {
        let parts = self.args.split('"').skip(1).step_by(2);
        parts.map(bytes).collect()
    }

    /// An argument that is a number, counted from the end: 0 is the last one.
    pub fn number(&self, from_end: usize) -> usize {
        let argument = self.args.rsplit(", ").nth(from_end).unwrap();
        argument.parse().unwrap()
    }
}

/// Bytes as strace writes them with `-xx`: `\x47\x45`.
pub fn hex(text: &str) -> String {
    let bytes: Vec<_> = text.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
    bytes.concat()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.split("\\x").skip(1);
    digits.map(|d| u8::from_str_radix(d, 16).unwrap()).collect()
}

/// Reads the output of `strace -f -y -xx`.
pub fn events(trace: &str) -> Vec<Event> {
    let mut events = Vec::new();
    let mut under_way: HashMap<&str, String> = HashMap::new();
    for line in trace.lines() {
        let (thread, what) = line.split_once(' ').unwrap_or_default();
        let what = what.trim_start();
        let text = if let Some(resumed) = what.strip_prefix("<... ") {
            let (_, rest) = resumed.split_once(" resumed>").unwrap();
            // It may have begun before the trace.
            let Some(begun) = under_way.remove(thread) else {
                continue;
            };
            begun + rest
        } else if let Some(begins) = event(what, false) {
            events.push(begins);
            what.to_owned()
        } else {
            continue;
        };
        match text.strip_suffix(" <unfinished ...>") {
            Some(begun) => {
                under_way.insert(thread, begun.to_owned());
            }
            None => events.extend(event(&text, true)),
        }
    }
    events
}

/// A call that begins, or has returned; `None` for one in which the process was killed. What strace
/// only pretended was done was not done.
fn event(text: &str, has_returned: bool) -> Option<Event> {
    let (call, rest) = text.split_once('(')?;
    // Strings and paths are in hexadecimal: the first bracket is the call's.
    let (args, result) = rest.split_once(')').unwrap_or((rest, ""));
    let (call, args) = (call.to_owned(), args.to_owned());
    let returned = if has_returned {
        let value = result.trim_start().strip_prefix("= ")?;
        let is_digit = |c: char| c == '-' || c.is_ascii_digit();
        let value = value.split(|c| !is_digit(c)).next()?.parse().ok()?;
        Some(if result.contains("(INJECTED)") {
            -1
        } else {
            value
        })
    } else {
        None
    };
    Some(Event {
        call,
        args,
        returned,
    })
}
