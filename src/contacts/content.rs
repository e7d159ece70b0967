//! What a file is, found by what is in it and not by its name, and the bytes of its text.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt as _;

use super::error::Fault;
use super::packed::{Packing, Unpacked};
use super::sheet::{self, Sheet};
use super::source::{Raw, holds};

/// A file whose text can be read from the start as often as needed.
#[derive(Debug)]
pub(super) struct Content {
    file: File,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Text,
    Packed(Packing),
    /// The file is one of text that was made of a workbook.
    Sheet(Sheet),
}

impl Content {
    pub(super) fn of(file: File) -> Result<Self, Fault> {
        let mut start = [0; 4];
        let n = file.read_at(&mut start, 0).map_err(Fault::Read)?;
        if sheet::is_zip(&start[..n]) {
            let (file, sheet) = sheet::read(&file)?;
            let form = Form::Sheet(sheet);
            return Ok(Self { file, form });
        }
        let packing = Packing::of(&start[..n]);
        let form = packing.map_or(Form::Text, Form::Packed);
        Ok(Self { file, form })
    }

    /// How the file is packed.
    pub(super) fn packing(&self) -> Option<&'static str> {
        match &self.form {
            Form::Packed(packing) => Some(packing.name()),
            _ => None,
        }
    }

    /// The sheet of which its text was made.
    pub(super) fn sheet(&self) -> Option<&Sheet> {
        match &self.form {
            Form::Sheet(sheet) => Some(sheet),
            _ => None,
        }
    }

    /// The bytes of its text, from the start. Several may read them at once.
    pub(super) fn bytes(&self) -> Result<Bytes, Fault> {
        let raw = Raw::new(&self.file)?;
        Ok(match &self.form {
            Form::Text => Bytes::Text(raw),
            Form::Packed(packing) => Bytes::Packed(Unpacked::new(raw, *packing)),
            Form::Sheet(sheet) => Bytes::Sheet(raw, sheet.sha256.clone()),
        })
    }
}

/// The bytes of a text.
pub(super) enum Bytes {
    Text(Raw),
    Packed(Unpacked),
    /// With the SHA-256 of the workbook.
    Sheet(Raw, String),
}

impl Bytes {
    /// The SHA-256 of the file: of what was read of it so far, in hexadecimal.
    pub(super) fn sha256(&self) -> String {
        match self {
            Self::Text(raw) => raw.sha256(),
            Self::Packed(unpacked) => unpacked.raw().sha256(),
            Self::Sheet(_, sha256) => sha256.clone(),
        }
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Text(raw) | Self::Sheet(raw, _) => raw.read(buffer),
            Self::Packed(unpacked) => unpacked.read(buffer),
        }
    }
}

/// Refuses by name what is no text.
pub(super) fn check_is_text(text: &mut impl BufRead) -> Result<(), Fault> {
    let start = text.fill_buf().map_err(Fault::of_reading)?;
    let words = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    let words = words.trim_ascii_start();
    let is = |magic: &[u8]| {
        let begins = |text: &[u8]| {
            text.get(..magic.len())
                .is_some_and(|s| s.eq_ignore_ascii_case(magic))
        };
        start.starts_with(magic) || magic.is_ascii() && begins(words)
    };
    if start.starts_with(OLE) {
        return Err(old_office(text)?);
    }
    match FORMATS.iter().find(|(magic, ..)| is(magic)) {
        Some(&(_, what, advice)) => Err(Fault::Format { what, advice }),
        None => Ok(()),
    }
}

/// Old Office files, and new ones with a password.
const OLE: &[u8] = b"\xd0\xcf\x11\xe0";

const SAVE_AS: &str = "open it in a spreadsheet program and save it as .xlsx or \"CSV UTF-8\"";
const UNPACK: &str = "unpack it first";

/// How files start, what they are then, what to do. Words stand for themselves in any case, behind
/// white space, too.
const FORMATS: [(&[u8], &str, &str); 15] = [
    (
        b"PK\x03\x04",
        "a workbook or zip file inside a packed file",
        UNPACK,
    ),
    (b"\x1f\x8b", "packed more than once", UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed more than once", UNPACK),
    (b"BZh91AY&SY", "a bzip2 file", UNPACK),
    (b"\xfd7zXZ\0", "an xz file", UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip file", UNPACK),
    (b"Rar!\x1a", "a RAR file", UNPACK),
    (
        b"%PDF-",
        "a PDF document",
        "ask for the list as .xlsx or CSV",
    ),
    (b"<!doctype", WEB_PAGE, SAVE_AS),
    (b"<html", WEB_PAGE, SAVE_AS),
    (b"<head", WEB_PAGE, SAVE_AS),
    (b"<table", WEB_PAGE, SAVE_AS),
    (b"<?xml", "an XML file", SAVE_AS),
    (b"{\\rtf", "a rich text document", SAVE_AS),
    (
        b"BEGIN:VCARD",
        "a file of contact cards (vCard)",
        "export the contacts as CSV",
    ),
];
const WEB_PAGE: &str = "a web page (HTML), whatever its name";

/// What an old Office file is.
fn old_office(file: &mut impl BufRead) -> Result<Fault, Fault> {
    // That is what the part is named which is locked.
    let locked: Vec<u8> = "EncryptedPackage"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let (what, advice) = if holds(file, &locked).map_err(Fault::of_reading)? {
        (
            "a workbook with a password",
            "open it, take the password away and save it as .xlsx",
        )
    } else {
        (
            "an old Excel workbook (.xls), or another old Office file",
            SAVE_AS,
        )
    };
    Ok(Fault::Format { what, advice })
}
