//! What comes out of a file that is packed with gzip or zstd, in one member or in several: such
//! files may be put one behind the other.

use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Read};

use flate2::{Decompress, FlushDecompress, Status};
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::error::Fault;
use super::source::Raw;

/// What zstd may keep in memory to look back at: as much as all of its levels need, but not what
/// `--long` asks for.
const WINDOW_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// How a file is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// The packing of a file that starts like this, if it is packed.
    pub(super) fn of(start: &[u8]) -> Option<Self> {
        let starts = |magic: &[u8]| start.starts_with(magic);
        // A file of zstd may start with a frame that is to be skipped.
        let skipped = (0x50..=0x5f).any(|first| starts(&[first, 0x2a, 0x4d, 0x18]));
        if starts(b"\x1f\x8b") {
            Some(Self::Gzip)
        } else if starts(b"\x28\xb5\x2f\xfd") || skipped {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The unpacked bytes of a file, in memory that does not grow with it.
pub(super) struct Unpacked {
    raw: BufReader<Raw>,
    packing: Packing,
    member: Option<Member>,
}

/// A member that is being unpacked.
enum Member {
    Gzip(Decompress),
    Zstd(Box<FrameDecoder>),
}

impl Unpacked {
    pub(super) fn new(raw: Raw, packing: Packing) -> Self {
        Self {
            raw: BufReader::new(raw),
            packing,
            member: None,
        }
    }

    /// The file as it is.
    pub(super) fn raw(&self) -> &Raw {
        self.raw.get_ref()
    }

    fn damaged(&self, why: impl Display) -> io::Error {
        io::Error::other(Fault::Packed {
            what: self.packing.name(),
            byte: self.raw.get_ref().offset() - self.raw.buffer().len() as u64,
            why: why.to_string(),
        })
    }

    /// Why a frame could not be read; the decoder says at length that there is no more of it.
    fn failed(&mut self, error: impl Display) -> io::Error {
        match self.raw.fill_buf() {
            Ok([]) => self.damaged(CUT),
            Ok(_) => self.damaged(error),
            Err(error) => error,
        }
    }

    /// Begins the next member. None when the file ends here.
    fn begin(&mut self) -> io::Result<Option<Member>> {
        const WINDOW_BITS_MAX: u8 = 15;
        if self.packing == Packing::Gzip {
            let is_end = self.raw.fill_buf()?.is_empty();
            let member = || Member::Gzip(Decompress::new_gzip(WINDOW_BITS_MAX));
            return Ok((!is_end).then(member));
        }
        while !self.raw.fill_buf()?.is_empty() {
            let mut frame = FrameDecoder::new();
            frame.set_max_window_size(WINDOW_BYTES_MAX);
            match frame.init(&mut self.raw) {
                Ok(()) => return Ok(Some(Member::Zstd(Box::new(frame)))),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped = (&mut self.raw).take(length.into());
                    let skipped = io::copy(&mut { skipped }, &mut io::sink())?;
                    if skipped < length.into() {
                        return Err(self.damaged(CUT));
                    }
                }
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(None)
    }

    /// Unpacks some of a member. None when it has ended.
    fn unpack(&mut self, member: &mut Member, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match member {
            Member::Gzip(inflate) => self.inflate(inflate, buffer),
            Member::Zstd(frame) => {
                while frame.can_collect() == 0 && !frame.is_finished() {
                    let one = BlockDecodingStrategy::UptoBlocks(1);
                    let decoded = frame.decode_blocks(&mut self.raw, one);
                    decoded.map_err(|error| self.failed(error))?;
                }
                if frame.can_collect() > 0 {
                    return frame.read(buffer).map(Some);
                }
                let said = frame.get_checksum_from_data();
                if said.is_some() && said != frame.get_calculated_checksum() {
                    return Err(self.damaged("its checksum is another"));
                }
                Ok(None)
            }
        }
    }

    fn inflate(
        &mut self,
        inflate: &mut Decompress,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        loop {
            let packed = self.raw.fill_buf()?;
            let is_cut = packed.is_empty();
            let (read, written) = (inflate.total_in(), inflate.total_out());
            let status = inflate.decompress(packed, buffer, FlushDecompress::None);
            let read = inflate.total_in() - read;
            let written = inflate.total_out() - written;
            // Neither is more than there was.
            self.raw
                .consume(usize::try_from(read).unwrap_or(usize::MAX));
            match status.map_err(|error| self.damaged(error))? {
                _ if written > 0 => return Ok(usize::try_from(written).ok()),
                Status::StreamEnd => return Ok(None),
                _ if is_cut => return Err(self.damaged(CUT)),
                _ => {}
            }
        }
    }
}

const CUT: &str = "it ends too early";

impl Read for Unpacked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let member = match self.member.take() {
                None => self.begin()?,
                member => member,
            };
            let Some(mut member) = member else {
                return Ok(0);
            };
            if let Some(n) = self.unpack(&mut member, buffer)? {
                self.member = Some(member);
                return Ok(n);
            }
        }
    }
}
