//! What strace wrote down, as events in the order in which the kernel saw them.
//!
//! With `-f`, a call that is still under way when another thread does something is split into two
//! lines, so the lines are in the order of the events: a call that stands on one line has begun
//! and returned with nothing in between.

use std::collections::HashMap;
use std::path::PathBuf;

/// The calls that can change what is on the disk, or let a request leave.
pub const CALLS: &str = "trace=openat,open,creat,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,\
     sendmmsg,sendfile,splice,copy_file_range,fallocate,fsync,fdatasync,ftruncate,rename,renameat,\
     renameat2,unlink,unlinkat,io_uring_enter";

/// Half of a call.
#[derive(Clone, Debug)]
pub struct Event {
    /// It has returned; otherwise it begins.
    pub returned: bool,
    pub call: String,
    /// As strace writes them; of a call that returns, all of them.
    pub args: String,
    /// Below zero for a failure; 0 while it is not known.
    pub result: i64,
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
    pub fn number(&self, from_end: usize) -> Option<usize> {
        self.args.rsplit(", ").nth(from_end)?.parse().ok()
    }
}

/// Bytes as strace writes them with `-xx`: `\x47\x45`.
pub fn hex(text: &str) -> String {
    let bytes = text.bytes().map(|byte| format!("\\x{byte:02x}"));
    bytes.collect::<Vec<_>>().concat()
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
        let Some((thread, what)) = line.split_once(' ') else {
            continue;
        };
        let what = what.trim_start();
        if what.starts_with(['+', '-']) {
            continue;
        }
        if let Some((begun, _)) = what.split_once(" <unfinished ...>") {
            let (call, args) = begun.split_once('(').unwrap();
            events.push(event(false, call, args, 0));
            under_way.insert(thread, args.to_owned());
            continue;
        }
        if let Some(resumed) = what.strip_prefix("<... ") {
            let (call, rest) = resumed.split_once(" resumed>").unwrap();
            // It began before the trace, or was taken out of it.
            let Some(begun) = under_way.remove(thread) else {
                continue;
            };
            if let Some((args, result)) = returned(&(begun + rest)) {
                events.push(event(true, call, args, result));
            }
            continue;
        }
        let Some((call, rest)) = what.split_once('(') else {
            panic!("strace wrote {line:.200}");
        };
        match returned(rest) {
            Some((args, result)) => {
                events.push(event(false, call, args, 0));
                events.push(event(true, call, args, result));
            }
            // The process was killed in it.
            None => events.push(event(false, call, rest, 0)),
        }
    }
    events
}

fn event(returned: bool, call: &str, args: &str, result: i64) -> Event {
    Event {
        returned,
        call: call.to_owned(),
        args: args.to_owned(),
        result,
    }
}

/// The arguments and the result of a call that has returned. What strace only pretended was done
/// was not done.
fn returned(rest: &str) -> Option<(&str, i64)> {
    let (args, result) = rest.rsplit_once(") ")?;
    let (args, result) = match result.trim_start().strip_prefix("= ") {
        Some(result) => (args, result),
        // `) = -1 EIO (Input/output error) (INJECTED)`: the last bracket was not the call's.
        None => rest
            .split_once(") ")
            .and_then(|(args, more)| Some((args, more.trim_start().strip_prefix("= ")?)))?,
    };
    let digits = result.split(|c: char| c != '-' && !c.is_ascii_digit());
    let value: i64 = digits.into_iter().next()?.parse().ok()?;
    let pretended = result.contains("(INJECTED)") && value >= 0;
    Some((args, if pretended { -1 } else { value }))
}
