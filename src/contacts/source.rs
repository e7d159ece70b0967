//! Where the bytes come from: a file, or a pipe that is kept so that it can be read twice; what
//! they hash to. Knows nothing of what they hold.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use ring::digest::{Context, SHA256};
use tempfile::NamedTempFile;

use super::error::Fault;
use crate::text::hex;

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

/// Copies a pipe into a temporary file.
fn spool(mut pipe: impl Read) -> Result<File, Fault> {
    let mut file = nameless()?;
    io::copy(&mut pipe, &mut file).map_err(Fault::Spool)?;
    Ok(file)
}

/// A temporary file that has lost its name, so that nothing of it is left behind. One that never has
/// a name would not have mode 0600.
pub(super) fn nameless() -> Result<File, Fault> {
    let named = NamedTempFile::new().map_err(Fault::Spool)?;
    Ok(named.into_file())
}

/// The bytes of a file, from the start, hashed as they pass. Several may read one file at once.
pub(super) struct Raw {
    file: File,
    offset: u64,
    context: Context,
}

impl Raw {
    pub(super) fn new(file: &File) -> Result<Self, Fault> {
        let file = file.try_clone().map_err(Fault::Read)?;
        let context = Context::new(&SHA256);
        Ok(Self {
            file,
            offset: 0,
            context,
        })
    }

    /// How many bytes were read so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// The SHA-256 of what was read so far, in hexadecimal.
    pub(super) fn sha256(&self) -> String {
        hex(self.context.clone().finish().as_ref())
    }
}

impl Read for Raw {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The offset of the file itself is shared with its clones.
        let n = self.file.read_at(buffer, self.offset)?;
        self.offset += n as u64;
        self.context.update(&buffer[..n]);
        Ok(n)
    }
}

/// Are these bytes among those that are read? Reads on up to where they are.
pub(super) fn holds(source: &mut impl BufRead, wanted: &[u8]) -> io::Result<bool> {
    let mut window = Vec::new();
    loop {
        let chunk = source.fill_buf()?;
        let used = chunk.len();
        window.extend_from_slice(chunk);
        source.consume(used);
        if window.windows(wanted.len()).any(|bytes| bytes == wanted) {
            return Ok(true);
        }
        if used == 0 {
            return Ok(false);
        }
        window.drain(..(window.len() + 1).saturating_sub(wanted.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_can_be_read_by_several_at_once() {
        let file = spool(&b"abc"[..]).unwrap();
        let (mut one, mut other) = (Raw::new(&file).unwrap(), Raw::new(&file).unwrap());
        let mut buffer = [0; 2];
        one.read_exact(&mut buffer).unwrap();
        other.read_exact(&mut buffer).unwrap();
        let mut rest = String::new();
        one.read_to_string(&mut rest).unwrap();
        assert_eq!((buffer, rest.as_str()), (*b"ab", "c"));
    }

    #[test]
    fn bytes_are_found_wherever_they_are_cut() {
        let within = |text: &[u8], size| {
            holds(&mut io::BufReader::with_capacity(size, text), b"abcd").unwrap()
        };
        for size in 1..9 {
            assert!(within(b"xxabcabcdx", size) && within(b"abcd", size));
            assert!(!within(b"xabcxdabc", size) && !within(b"", size));
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
