//! The first sheet of an Excel workbook as text: rows of cells as they are stored, each row a line.
//!
//! The text is made once, in a temporary file, and is read from there like that of any other list.
//! What separates its cells cannot be in a cell, so nothing is quoted.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Seek, Write as _};

use calamine::{DataRef, ExcelDateTime, Reader as _, SheetType, SheetVisible, Xlsx};
use zip::ZipArchive;

use super::error::Fault;
use super::source::{Raw, holds, nameless};
use crate::number::mask_digits;

/// What separates the cells of a row, and what ends it: XML has neither of these characters.
pub(super) const CELL_END: u8 = 0x1f;
pub(super) const ROW_END: u8 = 0x1e;

/// Bytes of a workbook when it is unpacked, and of the text of its sheet. What all cells share, such
/// as their texts, is kept in memory while the sheet is read.
const WORKBOOK_BYTES_MAX: u64 = 1024 * 1024 * 1024;
const TOO_LARGE: Fault = Fault::WorkbookSize {
    max_mb: WORKBOOK_BYTES_MAX / 1024 / 1024,
};

/// The sheet of a workbook that was read.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub(super) name: String,
    /// How many sheets with cells there are besides, hidden ones not counted.
    pub(super) others: usize,
    /// The SHA-256 of the workbook's bytes.
    pub(super) sha256: String,
}

/// Is this the start of a zip file?
pub(super) fn is_zip(start: &[u8]) -> bool {
    start.starts_with(b"PK\x03\x04") || start.starts_with(b"PK\x05\x06")
}

/// Makes text of the first sheet that can be seen.
pub(super) fn read(workbook: &File) -> Result<(File, Sheet), Fault> {
    let sha256 = digest(workbook)?;
    let mut zip = ZipArchive::new(reader(workbook)?).map_err(damaged)?;
    is_workbook(&zip)?;
    let has_formulas = look_through(&mut zip)?;
    let mut xlsx = Xlsx::new(reader(workbook)?).map_err(damaged)?;
    let sheets = xlsx.sheets_metadata().iter();
    let mut sheets = sheets
        .filter(|sheet| sheet.typ == SheetType::WorkSheet && sheet.visible == SheetVisible::Visible)
        .map(|sheet| sheet.name.clone());
    let name = sheets.next().ok_or_else(|| damaged("it has no sheet"))?;
    let others = sheets.count();
    let without_value = if has_formulas {
        without_value(&mut xlsx, &name)?
    } else {
        BTreeSet::new()
    };
    let text = write(&mut xlsx, &name, &without_value)?;
    // It was read from several places, so only this tells whether somebody wrote to it.
    if digest(workbook)? != sha256 {
        return Err(Fault::Changed);
    }
    let sheet = Sheet {
        name,
        others,
        sha256,
    };
    Ok((text, sheet))
}

fn reader(file: &File) -> Result<BufReader<File>, Fault> {
    file.try_clone().map(BufReader::new).map_err(Fault::Read)
}

fn digest(file: &File) -> Result<String, Fault> {
    let mut raw = Raw::new(file)?;
    io::copy(&mut raw, &mut io::sink()).map_err(Fault::Read)?;
    Ok(raw.sha256())
}

/// Messages of the reader may repeat what is in a cell.
fn damaged(why: impl Display) -> Fault {
    Fault::Workbook {
        why: mask_digits(&why.to_string()),
    }
}

/// Refuses other zip files by name.
fn is_workbook<R: Read + Seek>(zip: &ZipArchive<R>) -> Result<(), Fault> {
    /// Parts, and what has them.
    const OTHERS: [(&str, &str, &str); 5] = [
        ("xl/workbook.bin", "an Excel binary workbook (.xlsb)", SAVE),
        ("content.xml", "an OpenDocument file (.ods)", SAVE),
        ("Index/", "an Apple Numbers file", SAVE),
        ("word/", "a Word document", SAVE),
        ("", "a zip file", "unpack it, and name the list in it"),
    ];
    const SAVE: &str = "save it as .xlsx or \"CSV UTF-8\"";
    let names: Vec<_> = zip.file_names().filter_map(Result::ok).collect();
    let has = |start: &str| names.iter().any(|name| name.starts_with(start));
    if has("[Content_Types].xml") && has("xl/") && !has("xl/workbook.bin") {
        return Ok(());
    }
    let other = OTHERS.iter().find(|(part, ..)| has(part));
    let (_, what, advice) = other.unwrap_or(&OTHERS[OTHERS.len() - 1]);
    Err(Fault::Format { what, advice })
}

/// Refuses a workbook that is too large when it is unpacked, whatever it says of itself. Are there
/// formulas in it?
fn look_through<R: Read + Seek>(zip: &mut ZipArchive<R>) -> Result<bool, Fault> {
    let (mut room, mut has_formulas) = (WORKBOOK_BYTES_MAX, false);
    for part in 0..zip.len() {
        let part = zip.by_index(part).map_err(damaged)?;
        let is_sheet = part.name().map_err(damaged)?.contains("worksheets/");
        let mut part = BufReader::new(part.take(room + 1));
        let start = String::from_utf8_lossy(part.fill_buf().map_err(damaged)?);
        let texts = start.split_once("uniqueCount=\"");
        let texts = texts.and_then(|(_, count)| count.split('"').next()?.parse().ok());
        if is_sheet {
            has_formulas |= holds(&mut part, b"<f").map_err(damaged)?;
        }
        io::copy(&mut part, &mut io::sink()).map_err(damaged)?;
        let left = part.get_ref().limit();
        // For so many texts room is made before any is read.
        if texts > Some(room + 1 - left) {
            return Err(damaged("it says that it has more texts than it can have"));
        }
        room = left.checked_sub(1).ok_or(TOO_LARGE)?;
    }
    Ok(has_formulas)
}

/// The cells of a sheet with a formula that was never calculated, as programs leave them that are no
/// spreadsheets. A row of nothing else would be taken for a blank one.
fn without_value<R: Read + Seek>(
    xlsx: &mut Xlsx<R>,
    name: &str,
) -> Result<BTreeSet<(u32, u32)>, Fault> {
    let mut cells = xlsx.worksheet_cells_reader(name).map_err(damaged)?;
    let mut found = BTreeSet::new();
    while let Some(cell) = cells.next_cell_with_formula_metadata().map_err(damaged)? {
        if cell.formula.is_some() && cell.value == DataRef::Empty {
            found.insert(cell.pos);
        }
    }
    Ok(found)
}

/// Writes a sheet to a temporary file.
fn write<R: Read + Seek>(
    xlsx: &mut Xlsx<R>,
    name: &str,
    without_value: &BTreeSet<(u32, u32)>,
) -> Result<File, Fault> {
    let mut cells = xlsx.worksheet_cells_reader(name).map_err(damaged)?;
    let mut text = Text {
        file: BufWriter::new(nameless()?),
        room: WORKBOOK_BYTES_MAX,
        row: 0,
        column: 0,
        is_blank: true,
        width: 0,
    };
    while let Some((cell, style)) = cells.next_cell_with_style_id().map_err(damaged)? {
        let place = cell.get_position();
        let format = cells.styles().get(style);
        let format = format.and_then(|style| style.number_format.as_ref());
        let shown = if without_value.contains(&place) {
            NO_VALUE.into()
        } else {
            shown(cell.get_value(), format.map(|format| &*format.format_code))
        };
        if !shown.is_empty() {
            text.add_cell(place, &shown)?;
        }
    }
    text.end_row()?;
    let file = text.file.into_inner();
    file.map_err(|error| Fault::Spool(error.into_error()))
}

/// What stands for the value that a formula has not.
const NO_VALUE: &str = "formula without a value";

/// Up to this column rows are filled up.
const WIDTH_MAX: u32 = 255;

/// The text of a sheet.
struct Text {
    file: BufWriter<File>,
    room: u64,
    /// Where the next byte belongs, and is there nothing in this row so far?
    row: u32,
    column: u32,
    is_blank: bool,
    /// The last column of any row so far, if it is not far off. Rows are as wide, or one without its
    /// last cells would be one that is too short.
    width: u32,
}

impl Text {
    fn add_cell(&mut self, (row, column): (u32, u32), text: &str) -> Result<(), Fault> {
        while self.row < row {
            self.end_row()?;
        }
        if (row, column) < (self.row, self.column) {
            return Err(damaged("its cells are not in order"));
        }
        self.go_to(column)?;
        self.is_blank = false;
        self.width = self.width.max(column.min(WIDTH_MAX));
        self.add(text.as_bytes())
    }

    fn go_to(&mut self, column: u32) -> Result<(), Fault> {
        while self.column < column {
            self.add(&[CELL_END])?;
            self.column += 1;
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), Fault> {
        if !self.is_blank {
            self.go_to(self.width)?;
        }
        self.add(&[ROW_END])?;
        (self.row, self.column, self.is_blank) = (self.row + 1, 0, true);
        Ok(())
    }

    fn add(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let room = self.room.checked_sub(bytes.len() as u64);
        self.room = room.ok_or(TOO_LARGE)?;
        self.file.write_all(bytes).map_err(Fault::Spool)
    }
}

/// What a cell holds: a formula its latest value, a number all of its digits.
fn shown<'a>(value: &'a DataRef<'_>, format: Option<&str>) -> Cow<'a, str> {
    let text: Cow<str> = match value {
        DataRef::Empty => "".into(),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => {
            text.into()
        }
        DataRef::SharedString(text) => (*text).into(),
        DataRef::Int(number) => number.to_string().into(),
        DataRef::Float(number) => digits(*number, format).into(),
        DataRef::Bool(is_true) => if *is_true { "TRUE" } else { "FALSE" }.into(),
        DataRef::DateTime(time) => date(time).into(),
        DataRef::Error(error) => error.to_string().into(),
    };
    let is_ours = |c: char| matches!(c, '\0' | '\u{1e}' | '\u{1f}');
    if text.contains(is_ours) {
        text.replace(is_ours, " ").into()
    } else {
        text
    }
}

/// A number without exponent; a format of zeros (`000000`) says how many digits it has at least.
fn digits(number: f64, format: Option<&str>) -> String {
    let width = match format {
        Some(zeros) if zeros.bytes().all(|b| b == b'0') && number.fract() == 0.0 => zeros.len(),
        _ => 0,
    };
    format!("{number:0width$}")
}

/// A date, a time, both, or a number of hours; what is no date is the number that it is.
fn date(time: &ExcelDateTime) -> String {
    /// The days of a year after 9999.
    const DAYS_END: f64 = 2_958_466.0;
    let days = time.as_f64();
    if time.is_duration() || !(0.0..DAYS_END).contains(&days) {
        return digits(days, None);
    }
    let (year, month, day, hour, minute, second, _) = time.to_ymd_hms_milli();
    let date = format!("{year:04}-{month:02}-{day:02}");
    let clock = format!("{hour:02}:{minute:02}:{second:02}");
    if days < 1.0 {
        clock
    } else if days.fract() == 0.0 {
        date
    } else {
        format!("{date} {clock}")
    }
}
