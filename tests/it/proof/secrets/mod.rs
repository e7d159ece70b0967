//! Keys, codes and numbers appear nowhere, whatever happens.

mod battery;
mod codes;
mod needles;
mod process;
mod refusals;
mod screen;

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::workdir::{Otpdrive, Ran, Workdir};
use needles::{Allowed, KEY, Needles};

/// As loud as it can be, with the key in the environment and temporary files in the folder.
fn loud(command: Otpdrive, dir: &Workdir) -> Otpdrive {
    let _ = std::fs::create_dir(dir.path("tmp"));
    command
        .args(&["-vvv"])
        .env("KOOKOO_API_KEY", KEY)
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .env("TMPDIR", dir.path("tmp").to_str().unwrap())
}

/// Looks for secrets in what was said and in all files; says how many bytes that were. `list*` is
/// the user's own. Numbers are at home in a ledger and in `results.csv`; codes in a ledger, until
/// they are settled.
#[track_caller]
fn hunt(what: &str, dir: &Workdir, ran: &Ran, needles: &Needles, settled: bool) -> usize {
    let mut places = dir.files();
    places.retain(|(name, _)| name.contains('/') || !name.starts_with("list"));
    places.push(("stdout".to_owned(), ran.stdout.clone().into_bytes()));
    places.push(("stderr".to_owned(), ran.stderr.clone().into_bytes()));
    for (name, bytes) in &places {
        let allowed = match name.as_str() {
            "otpdrive.db" | "otpdrive.db-wal" | "otpdrive.db-shm" if settled => Allowed::Numbers,
            "otpdrive.db" | "otpdrive.db-wal" | "otpdrive.db-shm" => Allowed::NumbersAndCodes,
            name if name.contains("results.csv") => Allowed::Numbers,
            _ => Allowed::Nothing,
        };
        needles.are_not_in(&format!("{what}: {name}"), bytes, allowed);
    }
    places.iter().map(|(_, bytes)| bytes.len()).sum()
}

/// Works through the numbers below `count` on a few threads; adds up what comes of it.
fn in_parallel(count: usize, each: impl Fn(usize) -> usize + Sync) -> usize {
    let (next, sum) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let work = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                break;
            }
            sum.fetch_add(each(n), Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    sum.into_inner()
}
