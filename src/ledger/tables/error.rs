//! What a database error means for whoever reads it: damage, or something to mend, and how.

use std::io::{self, ErrorKind};
use std::path::Path;

use rusqlite::{Error, ErrorCode};

use crate::ledger::LedgerError;
use crate::ledger::postgres::server;

/// Why tables could not be read or written.
#[derive(Debug)]
pub enum Fault {
    /// The file says so.
    Sqlite(Error),
    /// The server says so.
    Postgres(tokio_postgres::Error),
    /// A column holds what cannot be there.
    Unreadable(usize),
    /// A row that must be there is not.
    NoRow,
    /// What was read cannot have been written so.
    Damaged(String),
    /// A temporary file.
    Temporary(io::Error),
    /// It cannot be done now; why, and what to do.
    Refused(String),
}

/// What comes of reading or writing tables.
pub type Result<T, E = Fault> = std::result::Result<T, E>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// Turns a database error into one that says what was tried, on which ledger.
pub fn failed_to<E: Into<Fault>>(
    what: &'static str,
    path: &Path,
) -> impl Fn(E) -> LedgerError + use<E> {
    let path = path.to_owned();
    move |error| {
        let error = error.into();
        if let Fault::Refused(why) = error {
            return LedgerError::Refused(why);
        }
        let (path, why) = (path.clone(), words(&error));
        if is_damage(&error) {
            LedgerError::Damaged { path, why }
        } else {
            LedgerError::Database { path, what, why }
        }
    }
}

/// Does the error say that the ledger is not as it was written? Our SQL fits our tables and our
/// types, so where it does not, the tables have changed.
pub fn is_damage(error: &Fault) -> bool {
    match error {
        Fault::Sqlite(error) => is_damaged_file(error),
        Fault::Postgres(error) => server::is_damage(error),
        Fault::Unreadable(_) | Fault::NoRow | Fault::Damaged(_) => true,
        Fault::Temporary(_) | Fault::Refused(_) => false,
    }
}

fn is_damaged_file(error: &Error) -> bool {
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

/// What the database said, and what to do about it. Values are left out: in a damaged one any of
/// them may be a number or a code.
pub fn words(error: &Fault) -> String {
    match error {
        Fault::Sqlite(error) => words_of_file(error),
        Fault::Postgres(error) => server::words(error),
        Fault::Unreadable(column) => format!("what it holds cannot be read (column {column})"),
        Fault::NoRow => "a row that every ledger has is missing".to_owned(),
        Fault::Damaged(why) | Fault::Refused(why) => why.clone(),
        Fault::Temporary(error) => {
            let advice = match error.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FULL,
                _ => FAILS,
            };
            format!("a temporary file beside it: {error}{advice}")
        }
    }
}

/// What to do about a full disk.
pub const FULL: &str = ". Make room on its disk, then run the same command again";
const FAILS: &str = ". Its disk fails or is full, or a limit on the size of files is reached (ulimit -f): mend it or make room, then run the same command again";

fn words_of_file(error: &Error) -> String {
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
            Some(ErrorCode::DiskFull) => FULL,
            // After a sync that failed SQLite may say "locked", of a table that nobody else can hold.
            Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseLocked) => FAILS,
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
pub fn damaged(why: String) -> Fault {
    Fault::Damaged(why)
}

/// A number in this column is none of those that can be there.
pub fn out_of_range(column: usize) -> Fault {
    Fault::Unreadable(column)
}
