//! What a database error means for whoever reads it: damage, or something to mend, and how.

use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::ledger::LedgerError;

/// Turns a database error into one that says what was tried, on which file.
pub fn failed_to(what: &'static str, path: &Path) -> impl Fn(Error) -> LedgerError {
    let path = path.to_owned();
    move |error| {
        let (path, why) = (path.clone(), words(&error));
        if is_damage(&error) {
            LedgerError::Damaged { path, why }
        } else {
            LedgerError::Database { path, what, why }
        }
    }
}

/// Does the error say that the file is not as it was written? Our SQL fits our tables and our
/// types, so where it does not, the tables have changed.
pub fn is_damage(error: &Error) -> bool {
    match error {
        Error::SqlInputError { .. }
        | Error::FromSqlConversionFailure(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::InvalidColumnType(..)
        | Error::Utf8Error(..)
        | Error::QueryReturnedNoRows => true,
        other => matches!(
            other.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
    }
}

/// What the database said, and what to do about it. Values are left out: in a damaged file any of
/// them may be a number or a code.
pub fn words(error: &Error) -> String {
    let advice = match error {
        Error::FromSqlConversionFailure(column, ..)
        | Error::IntegralValueOutOfRange(column, _)
        | Error::InvalidColumnType(column, ..)
        | Error::Utf8Error(column, _) => {
            return format!("what it holds cannot be read (column {column})");
        }
        Error::QueryReturnedNoRows => return "a row that every ledger has is missing".to_owned(),
        Error::SqlInputError { msg, .. } => {
            let msg = msg.replace(char::is_control, " ");
            return format!("its tables are not as made: {msg}");
        }
        other => match other.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => ". Make room on its disk, then run the same command again",
            // After a sync that failed SQLite may say "locked", of a table that nobody else can hold.
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseLocked) => {
                ". Its disk fails or is full, or a limit on the size of files is reached (ulimit -f): mend it or make room, then run the same command again"
            }
            Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
                ". It needs a folder that exists and that this user may write to"
            }
            _ => "",
        },
    };
    // Of a damaged file SQLite quotes anything, control characters too.
    let said = error.to_string().replace(char::is_control, " ");
    format!("{said}{advice}")
}

/// What was read cannot have been written so.
pub fn damaged(why: String) -> Error {
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Error::SqliteFailure(corrupt, Some(why))
}
