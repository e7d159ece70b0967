//! File bytes to contacts: encoding, dialect, columns, numbers, codes.
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
mod error;
mod lines;
mod numbers;
mod source;
mod table;

use std::fs::File;
use std::path::Path;

use crate::job::{Channel, Contact, GivenCode, Lane, Operation, Problem, Request};
use crate::number::Number;
use columns::Columns;
pub use error::ContactsError;
use error::Fault;
pub use numbers::{Region, UnknownRegion};
use source::STDIN;
use table::{LINE_ENDS, Row, Table};

/// Cells of a row: no spreadsheet has more columns.
const CELLS_MAX: usize = 16_384;

/// How to read a file; `None` is found out.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// What the rows are for: codes are read only to verify, channels only to send.
    pub operation: Operation,
    /// The channel of rows that name none.
    pub channel: Channel,
    /// The name of the phone column.
    pub phone_column: Option<String>,
    /// The name of the column of codes.
    pub otp_column: Option<String>,
    /// The name of the column of channels.
    pub channel_column: Option<String>,
    /// What separates cells: an ASCII character.
    pub delimiter: Option<u8>,
    /// The country whose national numbers the file holds.
    pub region: Region,
}

impl ReadOptions {
    /// Finds out everything by itself, in a file of Indian numbers.
    #[must_use]
    pub fn new(operation: Operation, channel: Channel) -> Self {
        Self {
            operation,
            channel,
            phone_column: None,
            otp_column: None,
            channel_column: None,
            delimiter: None,
            region: Region::IN,
        }
    }

    /// Reads numbers alone, whatever they are good for.
    #[must_use]
    pub fn numbers_only(region: Region) -> Self {
        Self {
            region,
            ..Self::new(Operation::Send, Channel::Call)
        }
    }

    fn lane(&self) -> Lane {
        match self.operation {
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
/// When it cannot be opened, is a directory, or the delimiter cannot be one.
pub fn open(path: &Path, options: ReadOptions) -> Result<Input, ContactsError> {
    let stdin = path == Path::new(STDIN);
    let shown = if stdin {
        "standard input".to_owned()
    } else {
        path.display().to_string()
    };
    let file = match options.delimiter {
        Some(delimiter) if !table::can_delimit(delimiter) => Err(Fault::Delimiter),
        _ => source::open(path),
    };
    let name = path.file_name().filter(|_| !stdin);
    Ok(Input {
        file: file.map_err(|fault| fault.of(&shown))?,
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
    numbers::read(text, Lane::Call, region).map(|phone| phone.number)
}

/// An open file of contacts.
#[derive(Debug)]
pub struct Input {
    file: File,
    /// Its name alone.
    name: String,
    /// Its name in messages.
    shown: String,
    options: ReadOptions,
}

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
    pub header: String,
    /// The name of the phone column.
    pub phone_column: String,
    /// The name of the column of codes, when codes are checked.
    pub otp_column: Option<String>,
    /// The name of the column of channels, when there is one and OTPs are sent.
    pub channel_column: Option<String>,
    /// The campaign that the file says it belongs to.
    pub campaign: Option<String>,
    /// What separates cells.
    pub delimiter: char,
    columns: Columns,
    width: usize,
}

impl Input {
    /// The first reading: all of the file, for what is wrong with it as a whole.
    ///
    /// # Errors
    /// When it is no CSV file in UTF-8, has no column to go by, or rows would be lost.
    pub fn survey(&mut self) -> Result<Survey, ContactsError> {
        self.survey_file().map_err(|fault| fault.of(&self.shown))
    }

    fn survey_file(&self) -> Result<Survey, Fault> {
        let mut table = Table::open(&self.file, self.options.delimiter)?;
        let delimiter = char::from(table.delimiter);
        let first = table.latest();
        let header = first.cells.clone();
        let columns = Columns::find(&first, delimiter, &self.options)?;
        if first.spans_lines && self.holds_a_number(first.text, delimiter) {
            return Err(Fault::SwallowedRow { line: first.line });
        }
        let (mut rows, mut width) = (0, header.len());
        while let Some(row) = table.next()? {
            rows += 1;
            width = width.max(row.cells.len());
            if width > CELLS_MAX {
                let (line, max) = (row.line, CELLS_MAX);
                return Err(Fault::WideRow { line, max });
            }
            if row.spans_lines && self.swallows_a_row(&row, columns.phone, header.len(), delimiter)
            {
                return Err(Fault::SwallowedRow { line: row.line });
            }
        }
        let column = |i: usize| header[i].to_owned();
        Ok(Survey {
            name: self.name.clone(),
            sha256: table.sha256(),
            rows,
            header: columns.header(&header, width),
            phone_column: column(columns.phone),
            otp_column: columns.otp.map(column),
            channel_column: columns.channel.map(column),
            campaign: None,
            delimiter,
            columns,
            width,
        })
    }

    fn is_number(&self, cell: &str) -> bool {
        numbers::read(cell.trim_matches('"'), Lane::Call, self.options.region).is_ok()
    }

    /// Does a header over several lines hold a number? No name does: a stray quote has made one of
    /// the header and rows.
    fn holds_a_number(&self, header: &str, delimiter: char) -> bool {
        let mut cells = header.split(['\r', '\n', delimiter]);
        cells.any(|cell| self.is_number(cell))
    }

    /// Does a line of a row over several lines look like a row of its own, with another number where
    /// the phone column would be?
    ///
    /// Two stray quotes, rows apart, make valid CSV of one cell with all between them in it. Of a
    /// line after the first, only what is in the cell counts, unless the row has too many cells.
    fn swallows_a_row(&self, row: &Row<'_>, phone: usize, width: usize, delimiter: char) -> bool {
        let own = row.cells.get(phone).unwrap_or_default();
        let text = row.text.replace("\"\"", "");
        let lines: Vec<&str> = text.trim_matches(LINE_ENDS).split(LINE_ENDS).collect();
        lines.iter().enumerate().any(|(n, line)| {
            let in_cell = n > 0 && row.cells.len() <= width;
            let line = if in_cell {
                line.split('"').next()
            } else {
                Some(*line)
            };
            let cells: Vec<&str> = line.unwrap_or_default().split(delimiter).collect();
            let cell = cells.get(phone).map_or("", |cell| cell.trim_matches('"'));
            let may_be_own = n == 0 || n + 1 == lines.len();
            let is_own = may_be_own && own.split(LINE_ENDS).any(|line| line == cell);
            cells.len() >= width.min(2) && !is_own && self.is_number(cell)
        })
    }

    /// The second reading: one contact for each row that `survey` counted, in order.
    ///
    /// Nothing may be done for any of them before the last has come without an error.
    ///
    /// # Errors
    /// When the file cannot be read any more.
    pub fn contacts(self, survey: &Survey) -> Result<Contacts, ContactsError> {
        let table = Table::open(&self.file, Some(survey.delimiter as u8));
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
        let Survey { columns, width, .. } = &self.survey;
        if let Some(row) = self.table.next()? {
            if row.cells.len() > *width {
                return Err(Fault::Changed);
            }
            self.rows += 1;
            return Ok(Some(Contact {
                line: row.line,
                record: columns.record(row.cells, *width),
                request: request(&row, columns, &self.options),
            }));
        }
        if self.rows == self.survey.rows && self.table.sha256() == self.survey.sha256 {
            Ok(None)
        } else {
            Err(Fault::Changed)
        }
    }
}

/// What a row asks for: its number first, for that is what most rows lack.
fn request(row: &Row<'_>, columns: &Columns, options: &ReadOptions) -> Result<Request, Problem> {
    let phone = row.cells.get(columns.phone);
    let phone = phone.ok_or(Problem("the row is too short: it has no phone cell"))?;
    let lane = match columns.channel.and_then(|i| row.cells.get(i)) {
        Some(cell) => lane(cell, options)?,
        None => options.lane(),
    };
    let phone = numbers::read(phone, lane, options.region)?;
    let code = columns.otp.map(|i| code(row.cells.get(i))).transpose()?;
    Ok(Request {
        number: phone.number,
        lane,
        code,
        assumed_mobile: phone.assumed_mobile,
    })
}

fn lane(cell: &str, options: &ReadOptions) -> Result<Lane, Problem> {
    match cell::unwrap(cell).to_ascii_lowercase().as_str() {
        "" => Ok(options.lane()),
        "sms" => Ok(Lane::Sms),
        "call" => Ok(Lane::Call),
        _ => Err(Problem("a channel other than sms or call")),
    }
}

fn code(cell: Option<&str>) -> Result<GivenCode, Problem> {
    codes::read(cell.ok_or(Problem("the row is too short: it has no otp cell"))?)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::Write as _;

    use secrecy::ExposeSecret as _;
    use tempfile::NamedTempFile;

    use super::*;

    fn file(bytes: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::with_suffix(".csv").unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn send() -> ReadOptions {
        ReadOptions::new(Operation::Send, Channel::Sms)
    }

    fn verify() -> ReadOptions {
        ReadOptions::new(Operation::Verify, Channel::Sms)
    }

    fn read(bytes: &[u8], options: ReadOptions) -> Result<(Survey, Vec<Contact>), ContactsError> {
        let mut input = open(file(bytes).path(), options)?;
        let survey = input.survey()?;
        let contacts = input.contacts(&survey)?.collect::<Result<_, _>>()?;
        Ok((survey, contacts))
    }

    fn fault(bytes: &[u8]) -> Fault {
        read(bytes, send()).unwrap_err().fault
    }

    /// `919876543210 sms`, or why not.
    fn word(contact: &Contact) -> String {
        match &contact.request {
            Ok(request) => format!("{} {}", request.number.digits(), request.lane.name()),
            Err(Problem(why)) => (*why).to_owned(),
        }
    }

    #[test]
    fn a_file_is_read_as_it_stands() {
        let text = "\u{feff}sep=;\r\n\r\nName;Mobile No.;otp_status;Channel\r\n\
            \"Rao, \"\"R\"\"\";9876543210;sent;\r\n;;;\r\n\
            Das;+91 98765 43211;;CALL \r\nshort\r\n\"two\r\nlines\";0;x;fax;more\r\n";
        let (survey, contacts) = read(text.as_bytes(), send()).unwrap();
        assert_eq!((survey.rows, survey.delimiter), (4, ';'));
        assert_eq!(survey.phone_column, "Mobile No.");
        assert_eq!(survey.channel_column.as_deref(), Some("Channel"));
        assert_eq!(survey.header, "Name,Mobile No.,Channel,");
        assert_eq!(survey.sha256.len(), 64);
        let rows: Vec<_> = contacts
            .iter()
            .map(|c| (c.line, c.record.as_str(), word(c)))
            .collect();
        let row = |line, record, word: &str| (line, record, word.to_owned());
        assert_eq!(
            rows,
            [
                row(4, "\"Rao, \"\"R\"\"\",9876543210,,", "919876543210 sms"),
                row(6, "Das,+91 98765 43211,CALL ,", "919876543211 call"),
                row(7, "short,,,", "the row is too short: it has no phone cell"),
                row(
                    8,
                    "\"two\r\nlines\",0,fax,more",
                    "a channel other than sms or call"
                ),
            ]
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pipe_is_read_twice() {
        use std::os::fd::AsRawFd as _;
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"phone\n9876543210\n").unwrap();
        drop(writer);
        let path = format!("/proc/self/fd/{}", reader.as_raw_fd());
        let mut input = open(Path::new(&path), send()).unwrap();
        let survey = input.survey().unwrap();
        let contacts = input.contacts(&survey).unwrap().map(Result::unwrap);
        assert_eq!(
            contacts.map(|c| word(&c)).collect::<Vec<_>>(),
            ["919876543210 sms"]
        );
    }

    #[test]
    fn codes_are_read_to_verify_and_never_kept() {
        let text = "phone,OTP Code,channel\n9876543210,004512,fax\n9876543210,******,\n\
            9876543210,,\n9876543210\n0,1234,\n9876543210,4512.0,";
        let (survey, contacts) = read(text.as_bytes(), verify()).unwrap();
        assert_eq!(survey.otp_column.as_deref(), Some("OTP Code"));
        assert_eq!(survey.channel_column, None);
        let codes: Vec<_> = contacts
            .iter()
            .map(
                |contact| match contact.request.as_ref().map(|request| &request.code) {
                    Ok(Some(GivenCode::Plain(code))) => code.expose_secret().to_owned(),
                    Ok(Some(GivenCode::Masked { .. })) => "masked".to_owned(),
                    _ => word(contact),
                },
            )
            .collect();
        assert_eq!(codes[..2], ["004512", "masked"]);
        assert_eq!(codes[2], "no code");
        assert_eq!(codes[3], "the row is too short: it has no otp cell");
        assert!(codes[4].contains("too few digits"), "{}", codes[4]);
        assert!(codes[5].contains("damaged"), "{}", codes[5]);
        assert_eq!(contacts[0].record, "9876543210,******,fax");
        assert_eq!(contacts[2].record, "9876543210,,");
        let all = format!("{contacts:?}");
        assert!(!all.contains("4512") && !all.contains("1234"), "{all}");
    }

    #[test]
    fn a_row_to_verify_is_for_the_verify_lane_and_a_channel_is_the_default_when_empty() {
        let text = b"phone,otp,channel\n02223456789,1,\n";
        let (_, contacts) = read(text, verify()).unwrap();
        assert_eq!(word(&contacts[0]), "912223456789 verify");
        let mut options = send();
        options.channel = Channel::Call;
        let (_, contacts) = read(text, options).unwrap();
        assert_eq!(word(&contacts[0]), "912223456789 call");
        let (_, contacts) = read(text, send()).unwrap();
        assert!(
            word(&contacts[0]).contains("fixed line"),
            "{}",
            word(&contacts[0])
        );
    }

    #[test]
    fn a_header_alone_is_a_file_of_no_rows() {
        let (survey, contacts) = read(b"phone\n\n", send()).unwrap();
        assert_eq!((survey.rows, contacts.len()), (0, 0));
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_path() {
        let file = file(b"name\nx\n");
        let error = open(file.path(), send()).unwrap().survey().unwrap_err();
        let text = error.to_string();
        assert!(
            text.starts_with(&file.path().display().to_string()),
            "{text}"
        );
        assert!(text.contains("no phone column among \"name\""), "{text}");
        let mut options = send();
        options.delimiter = Some(b'"');
        let error = open(file.path(), options).unwrap_err();
        assert!(matches!(error.fault, Fault::Delimiter), "{error}");
    }

    #[test]
    fn faults_of_the_guard_come_through_the_parser() {
        assert!(matches!(
            fault(b"phone\n1\n\"2\n3\n"),
            Fault::UnclosedQuote { line: 3 }
        ));
        assert!(matches!(
            fault(b"phone\n\xff\n"),
            Fault::NotUtf8 { line: 2, byte: 6 }
        ));
        assert!(matches!(
            fault(b"phone\n1\0\n"),
            Fault::Nul { line: 2, byte: 7 }
        ));
        assert!(matches!(
            fault(b"9876543210\n9876543211\n"),
            Fault::NoHeader { line: 1 }
        ));
    }

    #[test]
    fn two_stray_quotes_cannot_swallow_the_rows_between_them() {
        for text in [
            "id,phone,note\n1,9876543210,\"\n2,9876543211,x\n3,9876543212,\"\n4,9876543213,\n",
            "id,phone,note\n1,9876543210,\"\n2,9876543211,\"\n",
            "name,phone\n\"A,9876543210\nB\",9876543211\n",
            "name,phone\n\"A,9876543210\n\"\n",
            "id,name,phone\n1,\"A,9876543210\nB\",9876543211\n",
            "phone,name\n\"9876543210,A\r\n9876543211,B\"\r\n",
            "phone\n\"9876543210\n9876543211\n9876543212\"\n",
            "name,phone\nA,\"1\nB\",9876543211\n",
            "phone,a\n9876543210,\"x\n9876543211\",y\n",
            "a,b,phone\nA,B,9876543210,\"\nx,\",9876543211\n",
        ] {
            let fault = fault(text.as_bytes());
            assert!(matches!(fault, Fault::SwallowedRow { line: 2 }), "{fault}");
        }
    }

    #[test]
    fn a_quote_in_the_header_cannot_swallow_rows() {
        let fault_of = |text: &str| fault(text.as_bytes());
        for text in [
            "\"name\nA,9876543210\n\",phone\nB,9876543211\n",
            "phone,\"\n9876543210\n9876543211\n\"\n",
            "phone,\"note\n9876543210\"\n9876543211,x\n",
        ] {
            let fault = fault_of(text);
            assert!(matches!(fault, Fault::SwallowedRow { line: 1 }), "{fault}");
        }
        // Between semicolons the header would end on the second line.
        let fault = fault_of("phone,a,b,;\"x\n,\",y\n9876543210\n9876543211\n");
        assert!(matches!(fault, Fault::UnclosedQuote { line: 2 }), "{fault}");
        // A byte order mark in the middle is text, so the quote behind it opens nothing.
        let text = "\n\u{feff}\"x,phone\nA,9876543210\nB,9876543211\n\"\",\n";
        let (survey, _) = read(text.as_bytes(), send()).unwrap();
        assert_eq!(survey.rows, 2);
        let text = "\u{feff}\u{feff}\"a\",phone\nA,9876543210\n";
        let (survey, _) = read(text.as_bytes(), send()).unwrap();
        assert_eq!(survey.header, "a,phone");
    }

    #[test]
    fn one_wide_row_does_not_fill_the_memory_with_cells_of_the_others() {
        let row = |cells| format!("phone\n9876543210\n{}x\n", ",".repeat(cells - 1));
        let fault = fault(row(CELLS_MAX + 1).as_bytes());
        assert!(matches!(fault, Fault::WideRow { line: 3, .. }), "{fault}");
        assert!(read(row(CELLS_MAX).as_bytes(), send()).is_ok());
    }

    #[test]
    fn cells_over_several_lines_are_kept() {
        let text = "phone,address\n9876543210,\"12, MG Road\nPIN 560001, KA\n\"\n\
            \"9876543211\n\",\"a, b\n\nc\"\n\"9876543212\n9876543213\",x\n";
        let (survey, contacts) = read(text.as_bytes(), send()).unwrap();
        assert_eq!(survey.rows, 3);
        let words: Vec<_> = contacts.iter().map(|c| (c.line, word(c))).collect();
        assert_eq!(words[0], (2, "919876543210 sms".to_owned()));
        assert_eq!(words[1], (5, "919876543211 sms".to_owned()));
        assert_eq!(
            words[2],
            (9, "more than one phone number in the cell".to_owned())
        );
        assert!(
            contacts[0]
                .record
                .ends_with("\"12, MG Road\nPIN 560001, KA\n\"")
        );
    }

    #[test]
    fn a_file_that_changes_between_the_readings_is_refused_at_the_latest_at_its_end() {
        for (change, before) in [("9876543211\n", 2), ("\n", 1), ("a,b,c\n", 1)] {
            let mut file = file(b"phone\n9876543210\n");
            let mut input = open(file.path(), send()).unwrap();
            let survey = input.survey().unwrap();
            file.write_all(change.as_bytes()).unwrap();
            let mut contacts = input.contacts(&survey).unwrap();
            assert_eq!(contacts.by_ref().take_while(Result::is_ok).count(), before);
            assert!(contacts.next().is_none());
        }
        let mut file = file(b"phone\n9876543210\n");
        let mut input = open(file.path(), send()).unwrap();
        let survey = input.survey().unwrap();
        file.write_all(b"\n").unwrap();
        let last = input.contacts(&survey).unwrap().last().unwrap();
        assert!(matches!(last.unwrap_err().fault, Fault::Changed));
    }

    #[test]
    fn no_row_is_lost_and_no_cell_changes_whatever_the_cells_hold() {
        const CELLS: [&str; 12] = [
            "9876543210",
            "+91 98765 43211",
            "",
            " a ",
            "x\"y",
            "a;b",
            "a,b",
            "\"q\"",
            "l1\nl2",
            "r\r\nn",
            "é\u{200b}",
            "'0012",
        ];
        let mut random = fastrand::Rng::with_seed(12);
        for _ in 0..500 {
            let delimiter = random.choice([',', ';', '\t', '|']).unwrap();
            let end = random.choice(["\n", "\r\n", "\r"]).unwrap();
            let mut text = ["phone", "b", "c"].join(&delimiter.to_string());
            let mut expected = Vec::new();
            for _ in 0..random.usize(0..9) {
                let cells: Vec<_> = (0..random.usize(1..5))
                    .map(|_| random.choice(CELLS).unwrap())
                    .collect();
                text.push_str(end);
                for (i, cell) in cells.iter().enumerate() {
                    let separator = if i > 0 {
                        delimiter.to_string()
                    } else {
                        String::new()
                    };
                    write!(text, "{separator}\"{}\"", cell.replace('"', "\"\"")).unwrap();
                }
                if cells.iter().any(|cell| !cell.is_empty()) {
                    expected.push(cells);
                }
            }
            let (survey, contacts) = read(text.as_bytes(), send()).unwrap();
            let width = expected.iter().map(Vec::len).max().unwrap_or(0).max(3);
            assert_eq!(survey.rows, expected.len() as u64, "{text:?}");
            assert_eq!(contacts.len(), expected.len(), "{text:?}");
            for (contact, mut cells) in contacts.iter().zip(expected) {
                cells.resize(width, "");
                let mut csv = csv::ReaderBuilder::new()
                    .has_headers(false)
                    .from_reader(contact.record.as_bytes());
                let record = csv.records().next().unwrap().unwrap();
                assert_eq!(record, cells, "{text:?}");
            }
        }
    }

    #[test]
    fn random_bytes_never_panic_and_the_guard_changes_nothing_of_what_the_parser_reads() {
        let mut random = fastrand::Rng::with_seed(13);
        let mut accepted = 0;
        for _ in 0..3_000 {
            let mut text = b"phone,x\n".to_vec();
            let alphabet = if random.bool() {
                "9887,,\"\r\n\n a"
            } else {
                "98,;\"\r\n\u{e9}\0"
            };
            for _ in 0..random.usize(0..40) {
                text.push(*random.choice(alphabet.as_bytes()).unwrap());
            }
            let Ok((survey, contacts)) = read(&text, send()) else {
                continue;
            };
            let mut plain = csv::ReaderBuilder::new()
                .flexible(true)
                .from_reader(&text[..]);
            let rows = plain.records().map(Result::unwrap);
            let rows = rows.filter(|row| row.iter().any(|cell| !cell.trim().is_empty()));
            let records: Vec<_> = rows
                .map(|row| survey.columns.record(&row, survey.width))
                .collect();
            let read: Vec<_> = contacts.into_iter().map(|contact| contact.record).collect();
            assert_eq!(read, records, "{text:?}");
            assert_eq!(survey.rows, records.len() as u64);
            accepted += 1;
        }
        assert!(accepted > 300, "{accepted}");
    }
}
