//! The first reading of a file: what it is, what is wrong with it as a whole, and what its columns
//! turn out to hold.

use csv::StringRecord;
use secrecy::ExposeSecret as _;

use super::cell::is_blank;
use super::codes::{self, CHARS_MAX, Code};
use super::columns::Columns;
use super::content::Content;
use super::delimiter;
use super::earlier::campaign_name;
use super::encoding::Encoding;
use super::error::{Fault, show, show_campaign};
use super::names::phone_by_name;
use super::note::Note;
use super::swallow::Swallowed;
use super::table::{Dialect, Row, Table};
use super::{ReadOptions, numbers, row};
use crate::job::{Lane, Operation};
use crate::number::{mask_digits, mask_numbers};
use crate::text::visible;

/// Cells of a row: no spreadsheet has more columns.
pub(super) const CELLS_MAX: usize = 16_384;

/// Numbers that are shown as read.
const NUMBERS_SHOWN: usize = 3;

/// What a file holds, as a whole.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The file's name, without directories, or `stdin`.
    pub name: String,
    /// The SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
    /// How many rows there are, blank lines not counted.
    pub rows: u64,
    /// The kept columns' names, as a CSV fragment like [`Contact::record`] and as wide.
    ///
    /// [`Contact::record`]: crate::job::Contact::record
    pub header: String,
    /// The line on which the header is.
    pub header_line: u64,
    /// The names of all columns.
    pub columns_named: Vec<String>,
    /// The name of the phone column.
    pub phone_column: String,
    /// The name of the column of country codes, when there is one.
    pub country_code_column: Option<String>,
    /// The name of the column of codes, when codes are checked.
    pub otp_column: Option<String>,
    /// The name of the column of channels, when there is one, it is used and OTPs are sent.
    pub channel_column: Option<String>,
    /// What separates cells.
    pub delimiter: char,
    /// `UTF-8`, `UTF-16` or `Windows-1252`.
    pub encoding: &'static str,
    /// What the file is, in words: `gzip, UTF-8, commas`.
    pub format: String,
    /// The campaign that the rows of a result file belong to, unless it was said otherwise.
    pub campaign: Option<String>,
    /// This program wrote the file.
    pub is_result: bool,
    /// Rows whose number is not one that such a file tells (`otp_phone`): how it is read matters.
    pub read_anew: u64,
    /// The command that did, if that shows.
    pub written_by: Option<Operation>,
    /// What was guessed, or is odd.
    pub notes: Vec<Note>,
    /// The first cells that hold a number, and the numbers, masked unless it was said otherwise.
    pub first_numbers: Vec<(String, String)>,
    /// All that decides how the file's bytes become rows: the same bytes and the same reading are
    /// the same rows.
    pub reading: String,
    pub(super) columns: Columns,
    pub(super) width: usize,
    dialect: Dialect,
}

impl Survey {
    /// The file once more, from its header on.
    pub(super) fn open(&self, content: &Content) -> Result<Table, Fault> {
        open(content, self.dialect, &self.columns)
    }
}

fn open(content: &Content, dialect: Dialect, columns: &Columns) -> Result<Table, Fault> {
    let mut table = Table::open(content, dialect)?;
    if columns.results.ours {
        table.is_result();
    }
    Ok(table)
}

/// Finds out how the bytes of a file become cells.
pub(super) fn dialect(content: &Content, options: &ReadOptions) -> Result<Dialect, Fault> {
    let dialect = Dialect {
        encoding: Encoding::of(content)?,
        delimiter: b',',
        long_cells: options.accept_multiline_cells,
        header_line: options.header_line,
    };
    let delimiter = delimiter::find(content, dialect, options)?;
    Ok(Dialect {
        delimiter,
        ..dialect
    })
}

/// Reads all of a file.
pub(super) fn survey(
    content: &Content,
    name: String,
    options: &ReadOptions,
) -> Result<Survey, Fault> {
    let dialect = dialect(content, options)?;
    let delimiter = char::from(dialect.delimiter);
    let sample = delimiter::sample(&mut Table::open(content, dialect)?);
    let table = Table::open(content, dialect)?;
    let mut columns = Columns::find(&table.latest(), &sample, delimiter, options)?;
    let mut table = open(content, dialect, &columns)?;
    let (header, header_line) = (table.latest().cells.clone(), table.latest().line);

    let found = Found::look(&mut table, &columns, delimiter, options)?;
    if found.rows == 0 && !options.numbers_only {
        return Err(Fault::NoRows);
    }
    found.check_country_codes(&header)?;
    let mut notes = found.notes(&header, &mut columns, options);
    notes.extend(other_sheets(content));
    let column = |i: usize| header[i].to_owned();
    Ok(Survey {
        name,
        sha256: table.sha256(),
        rows: found.rows,
        header: columns.header(&header, found.width),
        header_line,
        columns_named: header.iter().map(str::to_owned).collect(),
        phone_column: column(columns.phone),
        country_code_column: columns.country_code.map(column),
        otp_column: columns.otp.map(column),
        channel_column: columns.channel.map(column),
        delimiter,
        encoding: dialect.encoding.name(),
        format: format(content, dialect),
        campaign: found.campaign,
        is_result: columns.results.ours,
        read_anew: found.rows - found.told,
        written_by: found.written_by,
        notes,
        first_numbers: found.numbers,
        reading: reading(dialect, &columns, options),
        columns,
        width: found.width,
        dialect,
    })
}

/// What a file is, in words.
fn format(content: &Content, dialect: Dialect) -> String {
    if let Some(sheet) = content.sheet() {
        return format!("Excel workbook, sheet {}", show(&sheet.name));
    }
    let packing = content.packing().map(|packing| format!("{packing}, "));
    let encoding = dialect.encoding.name();
    let delimiter = delimiter::delimiter_name(char::from(dialect.delimiter));
    format!("{}{encoding}, {delimiter}", packing.unwrap_or_default())
}

fn other_sheets(content: &Content) -> Option<Note> {
    let sheet = content.sheet().filter(|sheet| sheet.others > 0)?;
    let (name, others) = (sheet.name.clone(), sheet.others);
    Some(Note::OtherSheets { name, others })
}

/// The places of the columns count, for names may be there twice.
fn reading(dialect: Dialect, columns: &Columns, options: &ReadOptions) -> String {
    format!(
        "otpdrive {}, {dialect:?}, {:?}, {:?}, {}, {}, {:?}",
        env!("CARGO_PKG_VERSION"),
        [
            Some(columns.phone),
            columns.country_code,
            columns.otp,
            columns.channel
        ],
        options.operation,
        options.channel.name(),
        options.region,
        options.otp_length,
    )
}

/// What is found out row by row.
struct Found {
    rows: u64,
    /// Cells of the widest row.
    width: usize,
    campaign: Option<String>,
    written_by: Option<Operation>,
    /// Rows whose number the file tells itself.
    told: u64,
    numbers: Vec<(String, String)>,
    /// Cells of the column of channels that hold none, and the first of them.
    no_channels: (u64, String),
    /// Codes by length.
    lengths: [u64; CHARS_MAX + 1],
    /// Columns that hold nothing but country codes so far, and whether numbers would be others
    /// with them.
    country_codes: Vec<(usize, bool)>,
}

impl Found {
    /// Goes over all rows.
    fn look(
        table: &mut Table,
        columns: &Columns,
        delimiter: char,
        options: &ReadOptions,
    ) -> Result<Self, Fault> {
        let header = table.latest();
        let mut found = Self {
            rows: 0,
            width: header.cells.len(),
            campaign: None,
            written_by: None,
            told: 0,
            numbers: Vec::new(),
            no_channels: (0, String::new()),
            lengths: [0; CHARS_MAX + 1],
            country_codes: columns
                .maybe_country_codes
                .iter()
                .map(|i| (*i, false))
                .collect(),
        };
        // What this program wrote is no accident.
        let is_guarded = !options.accept_multiline_cells && !columns.results.ours;
        let mut swallowed = Swallowed::new(&header, columns.phone, delimiter, options.region);
        if is_guarded {
            swallowed.check_header(&header)?;
        }
        while let Some(row) = table.next()? {
            found.add(&row, columns, options)?;
            if is_guarded {
                swallowed.add(&row)?;
            }
        }
        swallowed.end()?;
        Ok(found)
    }

    fn add(
        &mut self,
        row: &Row<'_>,
        columns: &Columns,
        options: &ReadOptions,
    ) -> Result<(), Fault> {
        let (line, cells) = (row.line, row.cells);
        self.rows += 1;
        self.width = self.width.max(cells.len());
        if self.width > CELLS_MAX + columns.dropped() {
            let max = CELLS_MAX;
            return Err(Fault::WideRow { line, max });
        }
        if options.campaign.is_none() {
            self.add_campaign(line, columns.results.campaign.and_then(|i| cells.get(i)))?;
        }
        let is_told = row::told(cells, columns, options).is_some();
        self.told += u64::from(is_told);
        self.written_by = self
            .written_by
            .or_else(|| columns.results.written_by(cells));
        if columns.is_shifted(cells) {
            return Ok(());
        }
        if !is_told {
            self.add_country_codes(cells, columns, options);
        }
        if let Some(channel) = columns.channel.and_then(|i| cells.get(i))
            && row::is_no_channel(channel, options)
        {
            self.no_channels.0 += 1;
            if self.no_channels.0 == 1 {
                self.no_channels.1 = mask_numbers(channel);
            }
        }
        if let Some(Ok(Code::Plain(code))) = columns
            .otp
            .and_then(|i| cells.get(i))
            .map(|cell| codes::read(cell, None))
        {
            self.lengths[code.expose_secret().len()] += 1;
        }
        if self.numbers.len() < NUMBERS_SHOWN {
            self.numbers.extend(shown(cells, columns, options));
        }
        Ok(())
    }

    /// A column that holds something else is none of country codes.
    fn add_country_codes(
        &mut self,
        cells: &StringRecord,
        columns: &Columns,
        options: &ReadOptions,
    ) {
        let phone = cells.get(columns.phone).unwrap_or_default();
        self.country_codes.retain_mut(|(i, matters)| {
            let code = cells.get(*i).unwrap_or_default();
            if is_blank(code) {
                return true;
            }
            let read = |code| numbers::read_with_code(phone, code, Lane::Verify, options.region);
            let alone = read("");
            *matters = *matters || alone.is_ok() && alone != read(code);
            numbers::is_country_code(code)
        });
    }

    /// Refuses to guess whether a column holds country codes.
    fn check_country_codes(&self, header: &StringRecord) -> Result<(), Fault> {
        match self.country_codes.iter().find(|(_, matters)| *matters) {
            Some((i, _)) => Err(Fault::MaybeCountryCodes {
                name: show(&header[*i]),
            }),
            None => Ok(()),
        }
    }

    fn add_campaign(&mut self, line: u64, cell: Option<&str>) -> Result<(), Fault> {
        let Some(campaign) = cell.map(campaign_name).filter(|name| !name.is_empty()) else {
            return Ok(());
        };
        match &self.campaign {
            None => self.campaign = Some(campaign),
            Some(known) if *known != campaign => {
                return Err(Fault::ManyCampaigns {
                    line,
                    first: show_campaign(known),
                    second: show_campaign(&campaign),
                });
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// What there is to say. A column of channels that holds other things is left aside, unless it
    /// was asked for.
    fn notes(
        &self,
        header: &StringRecord,
        columns: &mut Columns,
        options: &ReadOptions,
    ) -> Vec<Note> {
        let mut notes = Vec::new();
        let by_name = phone_by_name(header, options);
        if columns.results.ours && !matches!(by_name, Ok(Some(i)) if i == columns.phone) {
            let column = header[columns.phone].to_owned();
            notes.push(Note::PhoneColumnOfResults { column });
        }
        let (cells, first) = self.no_channels.clone();
        if let Some(i) = columns.channel.filter(|_| cells > 0) {
            let column = header[i].to_owned();
            notes.push(if options.channel_column.is_none() {
                columns.channel = None;
                Note::ChannelLeftAside { column, cells }
            } else {
                Note::BadChannels {
                    column,
                    cells,
                    first,
                }
            });
        }
        let lengths = self.lengths.iter().enumerate();
        let most = lengths.max_by_key(|(_, codes)| **codes);
        let length = most.map_or(0, |(length, _)| length);
        let codes = self.lengths[..length].iter().sum();
        if codes > 0 && options.otp_length.is_none() {
            notes.push(Note::ShortCodes { codes, length });
        }
        notes
    }
}

/// A row's cell and the number in it, if there is one.
fn shown(
    cells: &StringRecord,
    columns: &Columns,
    options: &ReadOptions,
) -> Option<(String, String)> {
    const CHARS_SHOWN: usize = 40;
    let phone = row::phone(cells, columns, Lane::Verify, options).ok()?;
    let code = columns.country_code.and_then(|i| cells.get(i));
    let parts = [code, cells.get(columns.phone)].into_iter().flatten();
    let parts = parts.filter(|part| !is_blank(part)).map(str::trim);
    let cell = parts.collect::<Vec<_>>().join(" ");
    let cell: String = visible(&cell).chars().take(CHARS_SHOWN).collect();
    Some(if options.show_numbers {
        (cell, phone.number.e164())
    } else {
        (mask_digits(&cell), phone.number.masked())
    })
}
