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
