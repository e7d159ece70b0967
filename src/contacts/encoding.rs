//! How the bytes of a file are text: which encoding it is, and UTF-8 made of it as it is read.
//!
//! A byte order mark says what follows it. Without one it is UTF-8, or, when some of its bytes are
//! not, Windows-1252: what Excel's "CSV" is.

use std::io::{self, BufRead, BufReader, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::content::{Bytes, Content, check_is_text};
use super::error::Fault;

/// How much is read at once.
const BUFFER_BYTES: usize = 64 * 1024;

/// An encoding of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    /// Little-endian, as Excel's "Unicode text" is.
    Utf16Le,
    Utf16Be,
    Windows1252,
}

impl Encoding {
    /// The encoding of a file; all of it is looked through unless it says so itself.
    pub(super) fn of(content: &Content) -> Result<Self, Fault> {
        let mut source = BufReader::with_capacity(BUFFER_BYTES, content.bytes()?);
        check_is_text(&mut source)?;
        let start = source.fill_buf().map_err(Fault::of_reading)?;
        let marked = [Self::Utf8, Self::Utf16Le, Self::Utf16Be];
        if let Some(marked) = marked.into_iter().find(|e| start.starts_with(e.mark())) {
            return Ok(marked);
        }
        if is_utf16(start) {
            let what = "UTF-16 text without the byte order mark that says so";
            let advice = "save it as \"CSV UTF-8\"";
            return Err(Fault::Format { what, advice });
        }
        // Bytes that are no text at all are refused by the reader of lines, with their place.
        let is_windows = !is_utf8(source).map_err(Fault::of_reading)?;
        Ok(if is_windows {
            Self::Windows1252
        } else {
            Self::Utf8
        })
    }

    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le | Self::Utf16Be => "UTF-16",
            Self::Windows1252 => "Windows-1252",
        }
    }

    /// Its byte order mark.
    fn mark(self) -> &'static [u8] {
        match self {
            Self::Utf8 => b"\xef\xbb\xbf",
            Self::Utf16Le => b"\xff\xfe",
            Self::Utf16Be => b"\xfe\xff",
            Self::Windows1252 => b"",
        }
    }

    fn decoder(self) -> Option<Decoder> {
        let encoding = match self {
            Self::Utf8 => return None,
            Self::Utf16Le => UTF_16LE,
            Self::Utf16Be => UTF_16BE,
            Self::Windows1252 => WINDOWS_1252,
        };
        Some(encoding.new_decoder_without_bom_handling())
    }
}

/// Are these the first bytes of UTF-16: is each second one zero, most often?
fn is_utf16(start: &[u8]) -> bool {
    let start = &start[..start.len().min(1024)];
    let zeros = |at: usize| {
        start
            .iter()
            .skip(at)
            .step_by(2)
            .filter(|b| **b == 0)
            .count()
    };
    let (even, odd) = (zeros(0), zeros(1));
    even.min(odd) == 0 && even.max(odd) * 4 > start.len()
}

/// Is all of it UTF-8? A text with a zero byte is taken to be, for it is nothing better.
fn is_utf8(mut source: impl BufRead) -> io::Result<bool> {
    /// Bytes of the longest character but its last.
    const CUT_MAX: usize = 3;
    let (mut valid, mut rest) = (true, Vec::new());
    loop {
        let chunk = source.fill_buf()?;
        if chunk.contains(&0) {
            return Ok(true);
        }
        if chunk.is_empty() {
            return Ok(valid && rest.is_empty());
        }
        let used = chunk.len();
        if valid {
            rest.extend_from_slice(chunk);
            if let Err(error) = str::from_utf8(&rest) {
                valid = error.error_len().is_none();
                rest.drain(..error.valid_up_to());
                debug_assert!(!valid || rest.len() <= CUT_MAX);
            } else {
                rest.clear();
            }
        }
        source.consume(used);
    }
}

/// The bytes of a file as UTF-8 text.
pub(super) struct Text {
    raw: BufReader<Bytes>,
    /// What makes UTF-8 of it; UTF-8 passes.
    decoder: Option<Decoder>,
    /// What was decoded, and how much of it is used up.
    decoded: Vec<u8>,
    used: usize,
    ended: bool,
}

impl Text {
    /// Also returns how many bytes of the file come before the text.
    pub(super) fn open(content: &Content, encoding: Encoding) -> Result<(Self, u64), Fault> {
        let mut raw = BufReader::with_capacity(BUFFER_BYTES, content.bytes()?);
        let start = raw.fill_buf().map_err(Fault::of_reading)?;
        let mark = encoding.mark();
        // Some programs add a mark to a file that has one; the CSV parser would take it away unseen.
        let marks = start.chunks(mark.len().max(1));
        let before = marks.take_while(|chunk| *chunk == mark).count() * mark.len();
        raw.consume(before);
        let text = Self {
            raw,
            decoder: encoding.decoder(),
            decoded: Vec::new(),
            used: 0,
            ended: false,
        };
        Ok((text, before as u64))
    }

    /// The SHA-256 of what was read of the file so far.
    pub(super) fn sha256(&self) -> String {
        self.raw.get_ref().sha256()
    }
}

/// Decodes what comes next into an empty buffer. Is it the end?
fn decode(
    raw: &mut BufReader<Bytes>,
    decoder: &mut Decoder,
    text: &mut Vec<u8>,
) -> io::Result<bool> {
    let chunk = raw.fill_buf()?;
    let last = chunk.is_empty();
    text.resize(BUFFER_BYTES, 0);
    let (result, read, written) = decoder.decode_to_utf8_without_replacement(chunk, text, last);
    text.truncate(written);
    raw.consume(read);
    match result {
        DecoderResult::Malformed(..) => Err(io::Error::other(Fault::NotUtf16)),
        DecoderResult::InputEmpty => Ok(last),
        DecoderResult::OutputFull => Ok(false),
    }
}

impl BufRead for Text {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let Some(decoder) = &mut self.decoder else {
            return self.raw.fill_buf();
        };
        while self.used == self.decoded.len() && !self.ended {
            self.used = 0;
            self.ended = decode(&mut self.raw, decoder, &mut self.decoded)?;
        }
        Ok(&self.decoded[self.used..])
    }

    fn consume(&mut self, n: usize) {
        if self.decoder.is_some() {
            self.used += n;
        } else {
            self.raw.consume(n);
        }
    }
}

impl Read for Text {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.fill_buf()?.read(buffer)?;
        self.consume(n);
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn file(bytes: &[u8]) -> Content {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Content::of(file).unwrap()
    }

    /// The encoding of these bytes, and their text.
    fn read(bytes: &[u8]) -> (Encoding, String) {
        let file = file(bytes);
        let encoding = Encoding::of(&file).unwrap();
        let mut text = String::new();
        let mut source = Text::open(&file, encoding).unwrap().0;
        source.read_to_string(&mut text).unwrap();
        (encoding, text)
    }

    fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn the_digest_is_that_of_the_whole_file_with_its_mark_each_time_it_is_read() {
        let file = file(b"\xef\xbb\xbfabc");
        for _ in 0..2 {
            let (mut text, before) = Text::open(&file, Encoding::Utf8).unwrap();
            let mut read = String::new();
            text.read_to_string(&mut read).unwrap();
            assert_eq!((read.as_str(), before), ("abc", 3));
            assert_eq!(
                text.sha256(),
                "1c28dc3f1f804a1ad9c9b4b4cf5e2658d16ad4ed08e3020d04a8d2865018947c"
            );
        }
    }

    #[test]
    fn text_is_read_in_each_encoding_also_when_it_is_longer_than_a_buffer() {
        // Surrogates and characters of several bytes stand at every boundary.
        let text = "a\u{1f600}é९".repeat(50_000);
        for mark in ["\u{feff}", "\u{feff}\u{feff}"] {
            let marked = mark.to_owned() + &text;
            let little = utf16(&marked, u16::to_le_bytes);
            assert!(read(&little) == (Encoding::Utf16Le, text.clone()));
            let big = utf16(&marked, u16::to_be_bytes);
            assert!(read(&big) == (Encoding::Utf16Be, text.clone()));
            assert!(read(marked.as_bytes()) == (Encoding::Utf8, text.clone()));
        }
        assert!(read(text.as_bytes()) == (Encoding::Utf8, text.clone()));
        let late = ["x".repeat(200_000).as_bytes(), b"caf\xe9 \x80"].concat();
        let expected = "x".repeat(200_000) + "café €";
        assert!(read(&late) == (Encoding::Windows1252, expected));
        assert_eq!(read(b"caf\xc3").0, Encoding::Windows1252);
    }

    #[test]
    fn a_text_with_a_zero_byte_or_with_a_mark_is_not_taken_for_windows_1252() {
        assert_eq!(Encoding::of(&file(b"caf\xe9\0")).unwrap(), Encoding::Utf8);
        let marked = file(b"\xef\xbb\xbfcaf\xe9");
        assert_eq!(Encoding::of(&marked).unwrap(), Encoding::Utf8);
    }

    #[test]
    fn utf16_that_is_cut_or_broken_is_refused() {
        for bytes in [&b"\xff\xfea\0b"[..], b"\xff\xfea\0\0\xd8b\0"] {
            let (mut text, _) = Text::open(&file(bytes), Encoding::Utf16Le).unwrap();
            let error = text.read_to_end(&mut Vec::new()).unwrap_err();
            assert!(matches!(error.downcast(), Ok(Fault::NotUtf16)));
        }
    }

    #[test]
    fn other_formats_are_refused_by_name() {
        for (bytes, name) in [
            (&b"p\0h\0o\0n\0e\0\n\0"[..], "UTF-16 text without"),
            (b"\0p\0h\0o\0n\0e\0\n", "UTF-16 text without"),
            (b"\xd0\xcf\x11\xe0\xa1", "old Excel"),
            (
                b"\xd0\xcf\x11\xe0 E\0n\0c\0r\0y\0p\0t\0e\0d\0P\0a\0c\0k\0a\0g\0e\0",
                "password",
            ),
            (b"%PDF-1.7\n", "PDF"),
            (b"\xef\xbb\xbf\r\n<HTML xmlns:x=\"x\">", "HTML"),
        ] {
            let fault = Encoding::of(&file(bytes)).unwrap_err();
            assert!(fault.to_string().contains(name), "{fault}");
        }
    }
}
