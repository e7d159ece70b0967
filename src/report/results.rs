//! `results.csv`: every row of the input as it was, and what became of it.
//!
//! The same lines are what `report --only` prints. Rows go out as they come in; nothing is kept
//! but one buffer.

use std::borrow::Cow;
use std::io::{self, Write};

use crate::job::Channel;
use crate::record::{CampaignRecord, MASKED_CODE, Row, result_column};
use crate::status::Outcome;
use crate::summary;
use crate::text::{is_formula, is_hidden};

/// Lines are handed on once there are this many bytes of them.
const CHUNK_BYTES: usize = 64 * 1024;

/// How cells are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Plain,
    /// So that a spreadsheet keeps them: in UTF-8 that says so, and what it would take for a number,
    /// and spoil, as text.
    Excel,
}

/// Writes the lines of `results.csv`.
pub struct Results<W> {
    out: W,
    /// The campaign's name, as a cell.
    campaign: Vec<u8>,
    lines: Vec<u8>,
    rows: u64,
    form: Form,
}

impl<W: Write> Results<W> {
    /// Starts with the header: the input's own, as a CSV fragment, and our columns.
    pub fn new(out: W, of: &CampaignRecord, form: Form) -> Self {
        let mut lines = Vec::with_capacity(CHUNK_BYTES * 2);
        if form == Form::Excel {
            lines.extend_from_slice("\u{feff}".as_bytes());
        }
        lines.extend_from_slice(of.input.header.as_bytes());
        for ours in result_column::ALL {
            lines.push(b',');
            lines.extend_from_slice(ours.as_bytes());
        }
        lines.push(b'\n');
        let mut campaign = Vec::new();
        push_text(&mut campaign, &of.name);
        Self {
            out,
            campaign,
            lines,
            rows: 0,
            form,
        }
    }

    /// Adds a row.
    ///
    /// # Errors
    ///
    /// When what has gathered cannot be written.
    pub fn row(&mut self, row: &Row, outcome: &Outcome<'_>) -> io::Result<()> {
        push_row(&mut self.lines, &self.campaign, self.form, row, outcome)?;
        self.rows += 1;
        if self.lines.len() >= CHUNK_BYTES {
            self.out.write_all(&self.lines)?;
            self.lines.clear();
        }
        Ok(())
    }

    /// Writes what is left; says how many rows there were.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<u64> {
        self.out.write_all(&self.lines)?;
        self.out.flush()?;
        Ok(self.rows)
    }
}

/// A row of an earlier input in the columns of `header`: each cell below its own name, as far as
/// there is one, and a masked code in the column of `codes`. `of` is the header of the row's record;
/// both are empty if they were not kept.
#[must_use]
pub fn fitted(row: &Row, of: &str, header: &str, codes: Option<&str>) -> Row {
    let mut row = row.clone();
    if of != header {
        let (names, own) = (cells(of), cells(&row.record));
        let masked = own.iter().find(|cell| *cell == MASKED_CODE);
        let cell = |wanted: &str| match names.iter().position(|name| name == wanted) {
            None if Some(wanted) == codes => masked,
            place => own.get(place?),
        };
        let wanted = cells(header);
        let fitted = wanted
            .iter()
            .map(|name| cell(name).map_or("", String::as_str));
        row.record = as_fragment(fitted);
    }
    row
}

/// Cells as a CSV fragment.
fn as_fragment<'c>(cells: impl Iterator<Item = &'c str>) -> String {
    let mut line = csv::Writer::from_writer(Vec::new());
    // Writing into memory cannot fail.
    let _ = line.write_record(cells);
    let mut line = String::from_utf8(line.into_inner().unwrap_or_default()).unwrap_or_default();
    line.truncate(line.trim_end_matches('\n').len());
    line
}

/// The cells of a CSV fragment.
#[must_use]
pub fn cells(fragment: &str) -> Vec<String> {
    let mut reader = csv::ReaderBuilder::new();
    let reader = reader
        .has_headers(false)
        .buffer_capacity(fragment.len() + 1);
    let mut reader = reader.from_reader(fragment.as_bytes());
    let first = reader.records().next().and_then(Result::ok);
    let cells = first.iter().flatten();
    cells.map(str::to_owned).collect()
}

fn push_row(
    line: &mut Vec<u8>,
    campaign: &[u8],
    form: Form,
    row: &Row,
    outcome: &Outcome<'_>,
) -> io::Result<()> {
    match form {
        Form::Plain => line.extend_from_slice(row.record.as_bytes()),
        Form::Excel => line.extend_from_slice(kept(&row.record).as_bytes()),
    }
    line.push(b',');
    if row.line > 0 {
        write!(line, "{}", row.line)?;
    }
    line.push(b',');
    line.extend_from_slice(campaign);
    line.push(b',');
    if let Some(number) = row.number {
        let number = number.e164();
        let number = match form {
            Form::Plain => number.into(),
            Form::Excel => kept(&number),
        };
        line.extend_from_slice(number.as_bytes());
    }
    let channel = summary::channel(row, outcome).map_or("", Channel::name);
    write!(line, ",{channel},{},", outcome.status.name())?;
    match form {
        Form::Excel if is_spoiled(outcome.reference) => {
            line.extend_from_slice(kept(outcome.reference).as_bytes());
        }
        _ => push_text(line, outcome.reference),
    }
    line.push(b',');
    push_text(line, &outcome.detail);
    let first_sent_at = outcome
        .first_sent_at
        .map_or(String::new(), |at| at.to_string());
    let settled_at = outcome
        .settled_at
        .map_or(String::new(), |at| at.to_string());
    write!(line, ",{},{first_sent_at},{settled_at},", outcome.attempts)?;
    if let Some(latency) = outcome.latency {
        write!(line, "{}", latency.as_millis())?;
    }
    line.push(b'\n');
    Ok(())
}

/// Cells, as a CSV fragment, so that a spreadsheet keeps those that it would spoil: `="00123"`.
fn kept(fragment: &str) -> Cow<'_, str> {
    let mut cells = cells(fragment);
    if !cells.iter().any(|cell| is_spoiled(cell)) {
        return Cow::Borrowed(fragment);
    }
    for cell in cells.iter_mut().filter(|cell| is_spoiled(cell)) {
        *cell = format!("=\"{cell}\"");
    }
    Cow::Owned(as_fragment(cells.iter().map(String::as_str)))
}

/// Would a spreadsheet take it for a number, and lose a zero, the sign or digits of it?
fn is_spoiled(cell: &str) -> bool {
    const DIGITS_MAX: usize = 9;
    let digits = cell.strip_prefix('+').unwrap_or(cell);
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number
        && (digits.len() > DIGITS_MAX || digits.len() < cell.len() || {
            digits.len() > 1 && digits.starts_with('0')
        })
}

/// A text that came from elsewhere, as one cell: on one line, and never a formula to a spreadsheet
/// (CWE-1236), nor one behind a semicolon, which separates cells for half of the world.
fn push_text(line: &mut Vec<u8>, text: &str) {
    let start = line.len();
    if is_formula(text) {
        line.push(b'\'');
    }
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if is_hidden(c) => line.push(b' '),
            '"' => {
                quoted = true;
                line.extend_from_slice(b"\"\"");
            }
            ';' if is_formula(&text[at + 1..]) => line.extend_from_slice(b";'"),
            _ => {
                quoted |= c == ',';
                line.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    if quoted {
        line.insert(start, b'"');
        line.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::samples;

    fn rendered(header: &str, rows: &[Row]) -> String {
        let mut out = Vec::new();
        let mut campaign = samples::campaign();
        header.clone_into(&mut campaign.input.header);
        let mut results = Results::new(&mut out, &campaign, Form::Plain);
        for row in rows {
            results.row(row, &row.outcome(&samples::runs())).unwrap();
        }
        assert_eq!(results.finish().unwrap(), rows.len() as u64);
        String::from_utf8(out).unwrap()
    }

    fn cell(text: &str) -> String {
        let mut line = Vec::new();
        push_text(&mut line, text);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn each_row_stands_as_it_was_with_what_became_of_it_behind() {
        let expected = "\
phone,name,otp_line,otp_campaign,otp_phone,otp_channel,otp_status,otp_reference,otp_detail,otp_attempts,otp_first_sent_at,otp_settled_at,otp_latency_ms
098765 43210,\"Rao, A\",2,diwali,+919876543210,sms,sent,SM1,,2,2026-11-20T09:00:01.000Z,2026-11-20T09:00:01.123Z,123
98765O3211,B,3,diwali,,,invalid,,a letter among the digits,0,,,
9876543212,C,4,diwali,+919876543212,call,unknown,,the answer was not recorded: it may have been delivered,1,2026-11-20T09:00:02.500Z,,
9876543210,D,5,diwali,+919876543210,,duplicate,,same as line 2,0,,,
9876543213,,6,diwali,+919876543213,sms,pending,,,0,,,
9876543214,E,7,diwali,+919876543214,sms,rejected,,\"'=HYPERLINK(\"\"x\"\") , barred\",1,,2026-11-20T09:00:03.050Z,50
";
        assert_eq!(rendered("phone,name", &samples::rows()), expected);
    }

    #[test]
    fn a_code_to_verify_has_no_channel() {
        let row = samples::verified();
        let line = rendered("phone,otp", &[row]);
        let line = line.lines().nth(1).unwrap();
        assert!(line.starts_with("9876543210,******,2,diwali,+919876543210,,verified,"));
    }

    #[test]
    fn every_line_has_the_same_number_of_cells_for_a_csv_reader() {
        let csv = rendered("phone,name", &samples::rows());
        let mut reader = csv::Reader::from_reader(csv.as_bytes());
        assert_eq!(reader.headers().unwrap().len(), 13);
        assert_eq!(reader.records().map(Result::unwrap).count(), 6);
    }

    #[test]
    fn rows_beyond_one_chunk_come_out_whole_and_in_order() {
        let mut row = samples::pending();
        let rows: Vec<Row> = (0..5_000)
            .map(|n| {
                row.record = format!("row {n}");
                row.clone()
            })
            .collect();
        let csv = rendered("phone", &rows);
        assert!(csv.len() > 2 * CHUNK_BYTES);
        for (n, line) in csv.lines().skip(1).enumerate() {
            assert!(line.starts_with(&format!("row {n},")), "{line}");
        }
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_neutralised() {
        for text in ["=1+1", "+91", "-1", "@SUM(A1)", " =1", "\u{a0}=1", "\n=1"] {
            assert!(cell(text).starts_with('\''), "{text:?}");
        }
        for text in [
            "＝1",
            "\u{ff0b}1",
            "－1",
            "＠x",
            "\"=1",
            "'=1",
            "\u{200b}=1",
            "\u{feff}@x",
            "\u{202e}=1",
            "\"\"+1",
        ] {
            let cell = cell(text);
            assert!(cell.trim_start_matches('"').starts_with('\''), "{text:?}");
        }
        assert_eq!(cell("x;=1"), "x;'=1");
        assert_eq!(cell("x; \"@1;y"), "\"x;' \"\"@1;y\"");
        assert_eq!(cell("\tx"), "' x");
        assert_eq!(cell("\rx"), "' x");
        assert_eq!(cell("=A1,B1"), "\"'=A1,B1\"");
    }

    #[test]
    fn an_ordinary_text_is_left_as_it_is() {
        for text in ["", "SM123", "busy: a-b = c; d", "*", "नमस्ते", "it's"] {
            assert_eq!(cell(text), text);
        }
    }

    #[test]
    fn control_characters_never_appear() {
        assert_eq!(cell("a\r\nb\0c\u{1b}[31m\u{85}"), "a  b c [31m ");
    }

    #[test]
    fn commas_and_quotes_stay_within_the_cell() {
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("say \"hi\""), "\"say \"\"hi\"\"\"");
    }

    #[test]
    fn a_writer_that_fails_is_reported() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let results = Results::new(Full, &samples::campaign(), Form::Plain);
        let error = results.finish().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
