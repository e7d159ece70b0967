//! Why a file cannot be used: what is wrong, where, and what to do about it.
//!
//! No message repeats the content of a cell. Names of columns are shown, for they are what the
//! user has to choose from, but without digits: a file without a header would show its first row.

use std::io;
use std::num::NonZeroU64;

use crate::number::mask_numbers;
use crate::text::visible;

/// A file that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {fault}")]
pub struct ContactsError {
    /// The path as it was given, or `standard input`.
    pub(super) file: String,
    pub(super) fault: Fault,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No such file, no permission.
    #[error("cannot be opened: {0}")]
    Open(io::Error),
    /// The medium failed.
    #[error("cannot be read: {0}")]
    Read(io::Error),
    /// A pipe is read twice, so it is kept in a temporary file, and that failed.
    #[error("cannot be kept in a temporary file: {0}; TMPDIR names the directory to use")]
    Spool(io::Error),
    /// The path names a directory.
    #[error("is a directory; name the CSV file in it")]
    Directory,
    /// No bytes, or only blank lines.
    #[error("is empty; a header line with a phone column is needed")]
    Empty,
    /// Nothing below the header.
    #[error("has no rows, only a header")]
    NoRows,
    /// The first bytes are those of another format.
    #[error("is {what}, not a list in CSV or .xlsx; {advice}")]
    Format {
        what: &'static str,
        advice: &'static str,
    },
    /// A packed file that cannot be unpacked.
    #[error(
        "is a {what} file that is cut short or damaged, at byte {byte}: {why}; get it once more"
    )]
    Packed {
        what: &'static str,
        byte: u64,
        why: String,
    },
    /// A workbook that cannot be read.
    #[error(
        "is an Excel workbook that cannot be read: {why}; save it once more, or as \"CSV UTF-8\""
    )]
    Workbook { why: String },
    /// A workbook of more than what is kept in memory.
    #[error(
        "is an Excel workbook of more than {max_mb} MB when it is unpacked; save it as \"CSV UTF-8\", which may be of any size"
    )]
    WorkbookSize { max_mb: u64 },
    /// Not the text that its byte order mark says, or no text at all.
    #[error("line {line}, byte {byte}: not UTF-8; save the file as \"CSV UTF-8\"")]
    NotUtf8 { line: u64, byte: u64 },
    /// Not the text that its byte order mark says.
    #[error("is not the UTF-16 text that its first bytes say; save it as \"CSV UTF-8\"")]
    NotUtf16,
    /// A zero byte: no text at all.
    #[error(
        "line {line}, byte {byte}: a zero byte, so this is not text; save the file as \"CSV UTF-8\""
    )]
    Nul { line: u64, byte: u64 },
    /// The file ends inside a quoted cell.
    #[error(
        "line {line}: a quote opens a cell and is never closed, so the rows after it would be lost; close or remove it"
    )]
    UnclosedQuote { line: u64 },
    /// A quoted cell over several lines ends in the middle of something else.
    #[error(
        "line {line}: a quote opens a cell that ends in the middle of line {end}, so rows between them would be lost; close or remove it"
    )]
    StrayQuote { line: u64, end: u64 },
    /// A line inside a quoted cell is a row.
    #[error(
        "line {line}: a quoted cell goes on over the next lines and holds what look like rows of their own, which would be lost; close or remove the quote, or, when it is one cell, say so with --accept-multiline-cells"
    )]
    SwallowedRow { line: u64 },
    /// A quoted cell over too many lines.
    #[error(
        "line {line}: a quote opens a cell that goes on for more than {max} lines; close or remove it, or, when it is one cell, say so with --accept-multiline-cells"
    )]
    LongCell { line: u64, max: usize },
    /// A row that is too long to be one.
    #[error(
        "line {line}: a row of more than {max} bytes: a quote is never closed, or this is not a CSV file of contacts"
    )]
    LongRow { line: u64, max: usize },
    /// A row with more cells than any program makes; every other row would be filled up to it.
    #[error("line {line}: a row of more than {max} cells; this is not a CSV file of contacts")]
    WideRow { line: u64, max: usize },
    /// The first row holds a phone number.
    #[error(
        "line {line}: the first row holds a phone number, so there is no header; add one, such as \"phone\""
    )]
    NoHeader { line: u64 },
    /// No column has a name that is known.
    #[error("no {what} column among {columns}{separated}; name it with {flag} NAME")]
    NoColumn {
        what: &'static str,
        columns: String,
        separated: String,
        flag: &'static str,
    },
    /// No column has a name that is known, but some hold numbers.
    #[error(
        "no phone column has a name that is known. Phone numbers seem to be in {likely}: choose with --phone-column NAME. All columns are {columns}{separated}"
    )]
    UnknownPhoneColumn {
        likely: String,
        columns: String,
        separated: String,
    },
    /// One cell, and rows of more below.
    #[error(
        "line {line}: this looks like a title and not like a header, for it has one cell and the rows below have more; {advice}"
    )]
    Title { line: u64, advice: &'static str },
    /// The names of the columns are in a row below.
    #[error(
        "line {line}: this looks like a title, and the names of the columns seem to be on line {header}; {advice}"
    )]
    HeaderBelow {
        line: u64,
        header: u64,
        advice: String,
    },
    /// Where the header was said to be is none.
    #[error("--header-line {line}: no row begins on this line, or it is blank")]
    HeaderLine { line: NonZeroU64 },
    /// More than one delimiter makes sense.
    #[error("cells could be separated by {one} or by {other}; choose with --delimiter")]
    ManyDelimiters {
        one: &'static str,
        other: &'static str,
    },
    /// More than one column has a name that is known, or that was asked for.
    #[error("several columns could be the {what} column: {columns}; choose with {flag} '#N'")]
    ManyColumns {
        what: &'static str,
        columns: String,
        flag: &'static str,
    },
    /// A column that was asked for is not there.
    #[error("{flag}: there is no column {name} among {columns}")]
    MissingColumn {
        flag: &'static str,
        name: String,
        columns: String,
    },
    /// A column that holds country codes, as it seems, and nobody said so.
    #[error(
        "the column {name} seems to hold country codes, with which numbers would be others: use it with --country-code-column {name}, or leave it aside with --country-code-column none"
    )]
    MaybeCountryCodes { name: String },
    /// Two things from one column.
    #[error("the phone column and the {what} column are the same, {name}")]
    SameColumn { what: &'static str, name: String },
    /// Rows of two campaigns.
    #[error(
        "line {line}: the file holds rows of two campaigns, {first} and {second}; split it by its otp_campaign column, or say with --campaign which one all of it belongs to"
    )]
    ManyCampaigns {
        line: u64,
        first: String,
        second: String,
    },
    /// Cells of a workbook are not separated by anything.
    #[error("is an Excel workbook, whose cells have no delimiter; leave --delimiter out")]
    DelimiterOfWorkbook,
    /// A character that cannot separate cells.
    #[error("--delimiter: cells cannot be separated by this character; use , ; | or a tab")]
    Delimiter,
    /// The second reading does not match the first.
    #[error("changed while it was being read; run the command again")]
    Changed,
}

impl Fault {
    /// What was wrong with the text, if that is why it could not be read.
    pub(super) fn of_reading(error: io::Error) -> Self {
        error.downcast().unwrap_or_else(Self::Read)
    }

    pub(super) fn of(self, file: &str) -> ContactsError {
        let file = file.to_owned();
        ContactsError { file, fault: self }
    }
}

/// Columns in a message: so many are named.
const SHOWN_MAX: usize = 20;

/// Names of columns for a message: quoted, shortened, and without digits that might be data.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    first(names.into_iter().map(show))
}

/// The same with the places of the columns.
pub(super) fn list_places<'a>(columns: impl IntoIterator<Item = (usize, &'a str)>) -> String {
    let columns = columns.into_iter();
    first(columns.map(|(i, name)| format!("{} (#{})", show(name), i + 1)))
}

fn first(mut columns: impl Iterator<Item = String>) -> String {
    let shown: Vec<String> = columns.by_ref().take(SHOWN_MAX).collect();
    match columns.count() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A name of a campaign for a message; some are numbers.
pub(super) fn show_campaign(name: &str) -> String {
    /// A date has 8, and a time 6 more.
    const DIGITS_MIN: usize = 10;
    let name = if name.chars().filter(|c| c.is_numeric()).count() < DIGITS_MIN {
        name.to_owned()
    } else {
        mask_numbers(name)
    };
    format!("\"{}\"", visible(&name))
}

/// One name of a column for a message.
pub(super) fn show(name: &str) -> String {
    const CHARS_MAX: usize = 40;
    const DIGITS_MAX: usize = 3;
    let data = name.chars().filter(|c| c.is_numeric()).count() > DIGITS_MAX;
    let plain = name.trim().chars().filter(|c| !c.is_control());
    let plain = plain.map(|c| if data && c.is_numeric() { '*' } else { c });
    format!("\"{}\"", plain.take(CHARS_MAX).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_are_listed_without_what_may_be_data() {
        assert_eq!(list(["phone", " phone 2 "]), "\"phone\", \"phone 2\"");
        assert_eq!(
            list(["98765-43210", "004512"]),
            "\"*****-*****\", \"******\""
        );
        assert_eq!(list(["९८७६५"]), "\"*****\"");
        assert_eq!(show(&"x".repeat(99)).len(), 42);
        assert_eq!(show("a\u{1b}[1m"), "\"a[1m\"");
        assert!(list(["a"; 23]).ends_with("\"a\" and 3 more"));
    }

    #[test]
    fn a_message_says_which_file_where_and_what_to_do() {
        let error = ContactsError {
            file: "list.csv".to_owned(),
            fault: Fault::NotUtf8 { line: 7, byte: 140 },
        };
        assert_eq!(
            error.to_string(),
            "list.csv: line 7, byte 140: not UTF-8; save the file as \"CSV UTF-8\""
        );
    }
}
