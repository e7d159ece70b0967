//! What must hold of each reader for any bytes: one `check` a reader, which panics when it does not.
//!
//! Shared by the quick form (`tests/it/proof/fuzz`, with proptest) and the long one (`tests/fuzz`,
//! with libFuzzer), so it names nothing of the tests around it.

pub mod answers;
pub mod choices;
pub mod files;
pub mod ledger;
pub mod numbers;
pub mod texts;

use std::path::Path;

use otpdrive::contacts::{ContactsError, ReadOptions, Survey, open};
use otpdrive::job::Lane;

/// A row as read: where it stands, what it holds, and the number it asks for, as digits, with the
/// way and whether it is only assumed to be a mobile's; or why it asks for none.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub line: u64,
    pub record: String,
    pub asks: Result<(u64, Lane, bool), &'static str>,
}

/// Reads a file of contacts, or says why not.
fn read(path: &Path, options: &ReadOptions) -> Result<(Survey, Vec<Seen>), String> {
    let read = || -> Result<_, ContactsError> {
        let mut input = open(path, options.clone())?;
        let survey = input.survey()?;
        let mut rows = Vec::new();
        for contact in input.contacts(&survey)? {
            let contact = contact?;
            let asks = contact.request.map_err(|problem| problem.0);
            rows.push(Seen {
                line: contact.line,
                record: contact.record,
                asks: asks.map(|asks| (asks.number.digits(), asks.lane, asks.assumed_mobile)),
            });
        }
        Ok((survey, rows))
    };
    read().map_err(|error| error.to_string())
}

/// A folder in memory where the system has one: the fuzzers make thousands a second.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .expect("a folder")
}

/// Nothing that a terminal would obey, and no more than a person would read.
fn is_readable(text: &str, max: usize) -> bool {
    text.chars().count() <= max && !text.contains(char::is_control)
}
