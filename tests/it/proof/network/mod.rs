//! Every fault on a real socket, from the first packet to the last, and what it makes of a number.
//!
//! `faults` is the table of bad answers; `reuse` is about whose answer an answer is; `connect` is
//! what happens before a request can leave, `tls` the same with certificates made on the spot.

#![allow(clippy::print_stdout, reason = "a proof prints its figures")]

mod connect;
mod faults;
mod reuse;
mod tls;
mod wire;

use std::fs;
use std::path::Path;

use crate::support::KEY;
use crate::support::workdir::{Ran, Row, Workdir};

/// Files below the folder that hold these bytes.
fn holding(folder: &Path, needle: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, needle));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        if bytes.windows(needle.len()).any(|w| w == needle.as_bytes()) {
            found.push(path.display().to_string());
        }
    }
    found
}

/// The key is in nothing that was said or written.
#[track_caller]
fn the_key_is_nowhere(dir: &Workdir, ran: &Ran) {
    assert!(!ran.stdout.contains(KEY), "{}", ran.stdout);
    assert!(!ran.stderr.contains(KEY), "{}", ran.stderr);
    assert_eq!(holding(&dir.path("."), KEY), Vec::<String>::new());
}

/// Whoever was accepted has an answer of its own, not another number's.
#[track_caller]
fn answers_are_everybodys_own(rows: &[Row]) {
    for row in rows {
        if ["sent", "verified"].contains(&row["otp_status"].as_str()) {
            let own = format!("SM{}", row["phone"]);
            assert!(row["otp_reference"].starts_with(&own), "{row:?}");
        }
    }
}
