//! File bytes to contacts: packing, encoding, dialect, columns, numbers, codes.
//!
//! A file is text, which may be packed, or a workbook, of whose first sheet text is made; what it is
//! shows in its first bytes. From there on all lists are the same: lines, rows, cells.
//!
//! A file is read twice. [`Input::survey`] goes over all of it and finds what is wrong with the
//! file as a whole before anything is done; [`Input::contacts`] then goes over its rows in constant
//! memory, one [`Contact`] for each, and says at the end if the file changed in between. A row
//! that cannot be used is a contact too, with its [`Problem`]: no row is lost.
//!
//! This room knows no ledger, no network, no command line, and tells nobody what a cell holds.

mod cell;
mod codes;
mod columns;
mod content;
mod delimiter;
mod digits;
mod earlier;
mod encoding;
mod error;
mod lines;
mod names;
mod note;
mod numbers;
mod packed;
mod phone_column;
mod purpose;
mod remedy;
mod row;
mod sheet;
mod source;
mod survey;
mod swallow;
mod table;

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;

use crate::job::{Channel, Contact, GivenCode, Lane, Operation, Problem, Request, Told};
use crate::number::Number;
pub use codes::CHARS_MAX as OTP_LENGTH_MAX;
use content::Content;
use csv::StringRecord;
use earlier::Own;
pub use error::ContactsError;
use error::Fault;
use names::{BY, CHANNEL, COUNTRY_CODE, COUNTRY_CODE_WORDS, OTP, PHONE, Wanted, has_words};
pub use note::Note;
pub use numbers::{Region, UnknownRegion};
pub use purpose::Purpose;
pub use remedy::remedy;
use source::STDIN;
pub use survey::Survey;
use table::Table;

/// How to read a file; `None` is found out. A column is given by its name, by its place (`#2`), or
/// as `none`, which only the phone column cannot be.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, and none rules out another"
)]
pub struct ReadOptions {
    /// What the rows are for: codes are read only to verify, channels only to send.
    pub operation: Operation,
    /// The channel of rows that name none.
    pub channel: Channel,
    /// Did somebody say that? Then it counts before what a result file says of its rows.
    pub channel_is_given: bool,
    /// Only the numbers count, of whatever kind: neither codes nor channels are read.
    pub numbers_only: bool,
    /// The phone column.
    pub phone_column: Option<String>,
    /// The column of country codes.
    pub country_code_column: Option<String>,
    /// The columns that are named, the delimiter and the line of the header are those of another file:
    /// this one need not have them.
    pub columns_are_optional: bool,
    /// The column of codes.
    pub otp_column: Option<String>,
    /// The column of channels.
    pub channel_column: Option<String>,
    /// How long codes are.
    pub otp_length: Option<NonZeroUsize>,
    /// What separates cells: an ASCII character.
    pub delimiter: Option<u8>,
    /// The line on which the header is.
    pub header_line: Option<NonZeroU64>,
    /// The country whose national numbers the file holds.
    pub region: Region,
    /// Did somebody say that?
    pub region_is_given: bool,
    /// Cells over several lines are taken as they stand, whatever they look like.
    pub accept_multiline_cells: bool,
    /// The campaign, if that is said: then it does not matter what the file says of it.
    pub campaign: Option<String>,
    /// Whole numbers in [`Survey::first_numbers`].
    pub show_numbers: bool,
}

impl ReadOptions {
    /// Finds out everything by itself, in a file of Indian numbers.
    #[must_use]
    pub fn new(operation: Operation, channel: Channel) -> Self {
        Self {
            operation,
            channel,
            channel_is_given: false,
            numbers_only: false,
            phone_column: None,
            country_code_column: None,
            columns_are_optional: false,
            otp_column: None,
            channel_column: None,
            otp_length: None,
            delimiter: None,
            header_line: None,
            region: Region::IN,
            region_is_given: false,
            accept_multiline_cells: false,
            campaign: None,
            show_numbers: false,
        }
    }

    /// Reads a list of numbers of any kind, such as one of people who are to be left alone; a
    /// list of none is one too.
    #[must_use]
    pub fn numbers_only(region: Region) -> Self {
        Self {
            numbers_only: true,
            region,
            ..Self::new(Operation::Send, Channel::Sms)
        }
    }

    fn lane(&self) -> Lane {
        match self.operation {
            // The lane on which every number may be used.
            _ if self.numbers_only => Lane::Verify,
            Operation::Send => self.channel.into(),
            Operation::Verify => Lane::Verify,
        }
    }
}

/// Opens a file, or standard input when the path is `-`.
///
/// What is no regular file is copied into a temporary file without a name, to be read twice.
///
/// # Errors
/// When it cannot be opened, is a directory or a workbook that cannot be read, or the delimiter
/// cannot be one.
pub fn open(path: &Path, options: ReadOptions) -> Result<Input, ContactsError> {
    let stdin = path == Path::new(STDIN);
    let shown = if stdin {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let content = match options.delimiter {
        Some(delimiter) if !table::can_delimit(delimiter) => Err(Fault::Delimiter),
        _ => source::open(path).and_then(Content::of),
    };
    let name = path.file_name().filter(|_| !stdin);
    Ok(Input {
        content: content.map_err(|fault| fault.of(&shown))?,
        name: name.map_or("stdin".into(), |name| name.to_string_lossy().into_owned()),
        shown,
        options,
    })
}

/// Reads one number, whatever it is good for.
///
/// # Errors
/// Why it is none, in plain words.
pub fn read_number(text: &str, region: Region) -> Result<Number, Problem> {
    numbers::read(text, Lane::Verify, region).map(|phone| phone.number)
}

/// Where a list has the column that is asked for, by its name or its place (`#2`).
#[must_use]
pub fn place_of(asked: &str, names: &[String]) -> Option<usize> {
    let names = StringRecord::from(names);
    BY.find(&names, Some(asked), false).ok().flatten()
}

/// Is a column of this name taken for one of phone numbers?
#[must_use]
pub fn is_phone(name: &str) -> bool {
    is_taken_for(&PHONE, name)
}

/// Is a column of this name taken for one of channels?
#[must_use]
pub fn is_channel(name: &str) -> bool {
    is_taken_for(&CHANNEL, name)
}

/// Is a column of this name taken for one of phone numbers, of codes or of country codes?
#[must_use]
pub fn is_phone_or_code(name: &str) -> bool {
    let mut kinds = [&PHONE, &OTP, &COUNTRY_CODE].into_iter();
    kinds.any(|wanted| is_taken_for(wanted, name))
}

/// May a column of this name be read, for its name or for its cells: as one of phone numbers, codes,
/// country codes or channels?
#[must_use]
pub fn is_read(name: &str) -> bool {
    is_phone_or_code(name) || is_channel(name) || has_words(name, &COUNTRY_CODE_WORDS)
}

fn is_taken_for(wanted: &Wanted, name: &str) -> bool {
    let found = wanted.find(&StringRecord::from(vec![name]), None, false);
    matches!(found, Ok(Some(_)))
}

/// An open file of contacts.
#[derive(Debug)]
pub struct Input {
    content: Content,
    /// Its name alone.
    name: String,
    /// Its name in messages.
    shown: String,
    options: ReadOptions,
}

impl Input {
    /// The first reading: all of the file, for what is wrong with it as a whole.
    ///
    /// # Errors
    /// When it is no CSV file, has no column to go by or no rows, or rows would be lost.
    pub fn survey(&mut self) -> Result<Survey, ContactsError> {
        survey::survey(&self.content, self.name.clone(), &self.options)
            .map_err(|fault| fault.of(&self.shown))
    }

    /// What the file seems to be for, by its header and its first rows.
    ///
    /// # Errors
    /// When it is no CSV file, or has no header.
    pub fn purpose(&self) -> Result<Purpose, ContactsError> {
        purpose::purpose(&self.content, &self.options).map_err(|fault| fault.of(&self.shown))
    }

    /// The same file, to be read in another way.
    #[must_use]
    pub fn with(self, options: ReadOptions) -> Self {
        Self { options, ..self }
    }

    /// The second reading: one contact for each row that `survey` counted, in order.
    ///
    /// Nothing may be done for any of them before the last has come without an error.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn contacts(self, survey: &Survey) -> Result<Contacts, ContactsError> {
        let table = survey.open(&self.content);
        Ok(Contacts {
            table: table.map_err(|fault| fault.of(&self.shown))?,
            options: self.options,
            shown: self.shown,
            survey: survey.clone(),
            rows: 0,
            ended: false,
        })
    }
}

/// The contacts of a file, read row by row; after an error there are no more.
pub struct Contacts {
    table: Table,
    options: ReadOptions,
    shown: String,
    survey: Survey,
    rows: u64,
    ended: bool,
}

impl Iterator for Contacts {
    type Item = Result<Contact, ContactsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next.map(|contact| contact.map_err(|fault| fault.of(&self.shown)))
    }
}

impl Contacts {
    fn read(&mut self) -> Result<Option<Contact>, Fault> {
        let Survey {
            columns,
            width,
            campaign,
            ..
        } = &self.survey;
        if let Some(row) = self.table.next()? {
            if row.cells.len() > *width {
                return Err(Fault::Changed);
            }
            self.rows += 1;
            let campaign = self.options.campaign.as_ref().or(campaign.as_ref());
            let own = columns.results.own(
                row.cells,
                campaign.map(String::as_str),
                self.options.operation,
            );
            let (request, hidden) = row::read(row.cells, &own, columns, &self.options);
            return Ok(Some(Contact {
                line: row.line,
                record: columns.record(row.cells, *width, hidden),
                told: told(&own, &request),
                request,
            }));
        }
        if self.rows == self.survey.rows && self.table.sha256() == self.survey.sha256 {
            Ok(None)
        } else {
            Err(Fault::Changed)
        }
    }
}

/// What a row says of itself. One that was repaired asks for another number than it did.
fn told(own: &Own, request: &Result<Request, Problem>) -> Told {
    let (Some(tried), Ok(request)) = (own.tried, request) else {
        return Told::Nothing;
    };
    let same_code = !matches!(request.code, Some(GivenCode::Plain(_)));
    match own.number {
        Some(number) if number != request.number => Told::Nothing,
        _ if tried && same_code => Told::Tried,
        _ => Told::Known,
    }
}

#[cfg(test)]
mod tests;
