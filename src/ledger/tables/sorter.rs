//! Sorting more than memory is to hold: sorted stretches in a file without a name, which are merged
//! as they are read back.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::vec;

use super::error::{Fault, Result};

/// What a sorter holds in memory, in bytes; what is more lies in its file.
const HELD: usize = 4 << 20;
/// What is read of a stretch at once, in bytes.
const READ: usize = 16 << 10;

/// Sorts records of `N` numbers, by the first number first.
pub struct Sorter<const N: usize> {
    folder: PathBuf,
    held: Vec<[u64; N]>,
    held_most: usize,
    file: Option<BufWriter<File>>,
    /// Where each stretch ends in the file, in bytes.
    ends: Vec<u64>,
}

impl<const N: usize> Sorter<N> {
    /// One whose file, if it needs any, lies beside this other one: on a disk with room for what is
    /// in it.
    pub fn beside(path: &Path) -> Self {
        Self::holding(HELD / (N * size_of::<u64>()), path)
    }

    pub(super) fn holding(held_most: usize, path: &Path) -> Self {
        Self {
            folder: folder_of(path).to_owned(),
            held: Vec::new(),
            held_most,
            file: None,
            ends: Vec::new(),
        }
    }

    /// Adds a record.
    pub fn push(&mut self, record: [u64; N]) -> Result<()> {
        if self.held.len() == self.held_most {
            self.write_stretch().map_err(Fault::Temporary)?;
        }
        self.held.push(record);
        Ok(())
    }

    fn write_stretch(&mut self) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(BufWriter::new(file_in(&self.folder)?)),
        };
        self.held.sort_unstable();
        for number in self.held.iter().flatten() {
            file.write_all(&number.to_le_bytes())?;
        }
        let bytes = self.held.len() * N * size_of::<u64>();
        let start = self.ends.last().copied().unwrap_or(0);
        self.ends.push(start + bytes as u64);
        self.held.clear();
        Ok(())
    }

    /// All records, the least first.
    pub fn sorted(mut self) -> Result<Sorted<N>> {
        if self.file.is_some() {
            self.write_stretch().map_err(Fault::Temporary)?;
            self.held = Vec::new();
        }
        let Some(file) = self.file else {
            self.held.sort_unstable();
            return Ok(Sorted::Held(self.held.into_iter()));
        };
        let file = file
            .into_inner()
            .map_err(|error| Fault::Temporary(error.into_error()))?;
        let file = Rc::new(file);
        let mut merged = Merged {
            stretches: Vec::with_capacity(self.ends.len()),
            next: BinaryHeap::with_capacity(self.ends.len()),
        };
        let mut start = 0;
        for (place, end) in self.ends.into_iter().enumerate() {
            let file = Rc::clone(&file);
            let mut stretch = BufReader::with_capacity(READ, Stretch { file, start, end });
            let first = read_record(&mut stretch).map_err(Fault::Temporary)?;
            merged
                .next
                .extend(first.map(|first| Reverse((first, place))));
            merged.stretches.push(stretch);
            start = end;
        }
        Ok(Sorted::Merged(merged))
    }
}

fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    folder.unwrap_or(Path::new("."))
}

/// A file without a name. Who may only read there has it elsewhere.
fn file_in(folder: &Path) -> io::Result<File> {
    match tempfile::tempfile_in(folder) {
        Err(error)
            if let ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem = error.kind() =>
        {
            tempfile::tempfile()
        }
        made => made,
    }
}

/// A file without a name, beside this one if that is possible.
pub(super) fn file_beside(path: &Path) -> io::Result<File> {
    file_in(folder_of(path))
}

/// The records of a [`Sorter`], in their order.
pub enum Sorted<const N: usize> {
    /// All of them fit into memory.
    Held(vec::IntoIter<[u64; N]>),
    /// They lie in a file.
    Merged(Merged<N>),
}

/// Stretches of a file, with the next record of each.
pub struct Merged<const N: usize> {
    stretches: Vec<BufReader<Stretch>>,
    next: BinaryHeap<Reverse<([u64; N], usize)>>,
}

impl<const N: usize> Iterator for Sorted<N> {
    type Item = Result<[u64; N]>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Held(held) => held.next().map(Ok),
            Self::Merged(merged) => merged.next().transpose(),
        }
    }
}

impl<const N: usize> Merged<N> {
    fn next(&mut self) -> Result<Option<[u64; N]>> {
        let Some(mut least) = self.next.peek_mut() else {
            return Ok(None);
        };
        let Reverse((record, place)) = *least;
        match read_record(&mut self.stretches[place]).map_err(Fault::Temporary)? {
            Some(following) => *least = Reverse((following, place)),
            None => drop(PeekMut::pop(least)),
        }
        Ok(Some(record))
    }
}

/// A part of a file, which other parts are read of as well.
pub struct Stretch {
    file: Rc<File>,
    start: u64,
    end: u64,
}

impl Read for Stretch {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.start).unwrap_or(usize::MAX);
        let wanted = left.min(buffer.len());
        let read = self.file.read_at(&mut buffer[..wanted], self.start)?;
        if read == 0 && wanted > 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        self.start += read as u64;
        Ok(read)
    }
}

fn read_record<const N: usize>(from: &mut BufReader<Stretch>) -> io::Result<Option<[u64; N]>> {
    if from.buffer().is_empty() && from.get_ref().start == from.get_ref().end {
        return Ok(None);
    }
    let mut record = [0; N];
    for number in &mut record {
        let mut bytes = [0; size_of::<u64>()];
        from.read_exact(&mut bytes)?;
        *number = u64::from_le_bytes(bytes);
    }
    Ok(Some(record))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(records: &[[u64; 2]], held_most: usize, folder: &Path) -> Vec<[u64; 2]> {
        let mut sorter = Sorter::holding(held_most, &folder.join("otpdrive.db"));
        for record in records {
            sorter.push(*record).unwrap();
        }
        sorter.sorted().unwrap().map(Result::unwrap).collect()
    }

    #[test]
    fn records_come_back_in_their_order_however_few_of_them_are_held() {
        let folder = tempfile::tempdir().unwrap();
        for len in [0, 1, 2, 3, 4, 5, 9_000] {
            let mut random = fastrand::Rng::with_seed(len);
            let records: Vec<[u64; 2]> = (0..len)
                .map(|_| [random.u64(..3), random.u64(..)])
                .collect();
            let mut expected = records.clone();
            expected.sort_unstable();
            for held_most in [1, 2, 3, 4_000, usize::MAX] {
                assert_eq!(sorted(&records, held_most, folder.path()), expected);
            }
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "no name");
    }

    #[test]
    fn a_folder_that_is_not_there_is_an_error_that_says_so() {
        let mut sorter = Sorter::holding(1, Path::new("/nowhere/otpdrive.db"));
        sorter.push([1]).unwrap();
        let error = super::super::error::words(&sorter.push([2]).unwrap_err());
        assert!(error.contains("a temporary file beside it"), "{error}");
    }
}
