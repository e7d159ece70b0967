//! Where the bytes come from: a file, or a pipe that is kept so that it can be read twice; what
//! they hash to, and how they become UTF-8 text. Knows nothing of rows.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;

use ring::digest::{Context, SHA256};
use tempfile::NamedTempFile;

use super::error::Fault;

/// How much is read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// The path that means standard input.
pub(super) const STDIN: &str = "-";

/// Opens a file that can be read from the start as often as needed.
pub(super) fn open(path: &Path) -> Result<File, Fault> {
    if path == Path::new(STDIN) {
        return spool(io::stdin().lock());
    }
    let file = File::open(path).map_err(Fault::Open)?;
    let kind = file.metadata().map_err(Fault::Open)?.file_type();
    if kind.is_dir() {
        Err(Fault::Directory)
    } else if kind.is_file() {
        Ok(file)
    } else {
        spool(file)
    }
}

/// Copies a pipe into a temporary file that loses its name at once, so that nothing of it is left
/// behind. One that never has a name would not have mode 0600.
fn spool(mut pipe: impl Read) -> Result<File, Fault> {
    let named = NamedTempFile::new().map_err(Fault::Spool)?;
    let mut file = named.into_file();
    io::copy(&mut pipe, &mut file).map_err(Fault::Spool)?;
    Ok(file)
}

/// The bytes of a file, from the start, hashed as they pass.
pub(super) struct Raw {
    file: File,
    context: Context,
}

impl Raw {
    pub(super) fn new(file: &File) -> Result<Self, Fault> {
        let mut file = file.try_clone().map_err(Fault::Read)?;
        file.rewind().map_err(Fault::Read)?;
        let context = Context::new(&SHA256);
        Ok(Self { file, context })
    }

    /// The SHA-256 of what was read so far, in hexadecimal.
    pub(super) fn sha256(&self) -> String {
        let digest = self.context.clone().finish();
        digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        })
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.context.update(&buffer[..n]);
        Ok(n)
    }
}

/// Text in UTF-8, made of the bytes of a file.
pub(super) type Decoded = BufReader<Raw>;

/// The seam where other encodings and formats come in: today UTF-8 passes, and everything that
/// can be told by its first bytes is refused by name.
///
/// Also returns how many bytes of the file come before the text.
pub(super) fn decode(raw: Raw) -> Result<(Decoded, u64), Fault> {
    const BOM: &[u8] = b"\xef\xbb\xbf";
    let mut source = BufReader::with_capacity(BUFFER_BYTES, raw);
    let start = source.fill_buf().map_err(Fault::Read)?;
    if let Some(&(_, what, advice)) = FORMATS.iter().find(|(magic, ..)| start.starts_with(magic)) {
        return Err(Fault::Format { what, advice });
    }
    // Some programs add one to a file that has one; the CSV parser would take it away unseen.
    let boms = start.chunks(BOM.len()).take_while(|chunk| *chunk == BOM);
    let before = boms.count() * BOM.len();
    source.consume(before);
    Ok((source, before as u64))
}

const SAVE_AS: &str = "save it as \"CSV UTF-8\"";

/// First bytes, what they mean, what to do.
const FORMATS: [(&[u8], &str, &str); 6] = [
    (b"\xff\xfe", "UTF-16 text", SAVE_AS),
    (b"\xfe\xff", "UTF-16 text", SAVE_AS),
    (b"\x1f\x8b", "a gzip file", "unpack it with gunzip"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "unpack it with unzstd"),
    (b"PK\x03\x04", "a zip file or an Excel workbook", SAVE_AS),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", SAVE_AS),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> File {
        spool(bytes).unwrap()
    }

    #[test]
    fn the_digest_is_that_of_the_whole_file_with_its_bom_each_time_it_is_read() {
        let file = file(b"\xef\xbb\xbfabc");
        for _ in 0..2 {
            let (mut text, before) = decode(Raw::new(&file).unwrap()).unwrap();
            let mut read = String::new();
            text.read_to_string(&mut read).unwrap();
            assert_eq!((read.as_str(), before), ("abc", 3));
            assert_eq!(
                text.get_ref().sha256(),
                "1c28dc3f1f804a1ad9c9b4b4cf5e2658d16ad4ed08e3020d04a8d2865018947c"
            );
        }
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        for (bytes, name) in [
            (&b"\xff\xfep\0"[..], "UTF-16"),
            (b"\xfe\xff\0p", "UTF-16"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"\x28\xb5\x2f\xfd\x24", "zstd"),
            (b"PK\x03\x04\x14", "Excel"),
            (b"\xd0\xcf\x11\xe0\xa1", "Excel"),
        ] {
            let fault = decode(Raw::new(&file(bytes)).unwrap()).err().unwrap();
            assert!(fault.to_string().contains(name), "{fault}");
        }
    }

    #[test]
    fn a_directory_and_a_missing_file_are_told_apart() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("none.csv");
        assert!(matches!(open(directory.path()), Err(Fault::Directory)));
        assert!(matches!(open(&missing), Err(Fault::Open(_))));
    }
}
