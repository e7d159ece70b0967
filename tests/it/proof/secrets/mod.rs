//! Keys, codes and numbers appear nowhere, whatever happens.

mod battery;
mod codes;
mod needles;
mod process;
mod screen;

use std::fs;

use crate::support::workdir::{Otpdrive, Ran, Workdir};
use needles::{KEY, Needles};

/// As loud as it can be, with the key in the environment and temporary files in the folder.
fn loud(command: Otpdrive, dir: &Workdir) -> Otpdrive {
    let _ = fs::create_dir(dir.path("tmp"));
    command
        .args(&["-vvv"])
        .env("KOOKOO_API_KEY", KEY)
        .env("RUST_LOG", "trace")
        .env("RUST_BACKTRACE", "full")
        .env("TMPDIR", dir.path("tmp").to_str().unwrap())
}

/// Looks for secrets in what was said and in all files; says how many bytes that were. `list*` is
/// the user's own, and numbers are at home in a ledger and in `results.csv`.
#[track_caller]
fn hunt(what: &str, dir: &Workdir, ran: Option<&Ran>, needles: &Needles) -> usize {
    let mut looked_at = 0;
    let said = ran.map(|ran| [("stdout", &ran.stdout), ("stderr", &ran.stderr)]);
    for (name, text) in said.into_iter().flatten() {
        needles.are_not_in(&format!("{what}: {name}"), text.as_bytes(), true);
        looked_at += text.len();
    }
    for (name, bytes) in dir.files() {
        if name.starts_with("list") && !name.contains('/') {
            continue;
        }
        let ledger = ["otpdrive.db", "otpdrive.db-wal", "otpdrive.db-shm"].contains(&&*name);
        let numbers_forbidden = !ledger && !name.contains("results.csv");
        needles.are_not_in(&format!("{what}: {name}"), &bytes, numbers_forbidden);
        looked_at += bytes.len();
    }
    looked_at
}
