//! Numbers by their keys, more than memory is to hold: where answers lie in a file, by attempt.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::error::{Fault, Result};
use super::sorter::{self, Sorted};

type Entry = [u64; 2];

/// What is read of the file at once, in entries.
const BLOCK: usize = 512;

/// Numbers that are looked up by their keys, mostly in the order of these.
pub enum Places {
    /// All of them fit into memory.
    Held(Vec<Entry>),
    /// They lie in a file.
    Filed(Filed),
}

/// Blocks of a file without a name.
pub struct Filed {
    file: File,
    entries: usize,
    /// The first key of each block.
    firsts: Vec<u64>,
    /// The block that was read last, and which it is.
    latest: RefCell<(usize, Vec<Entry>)>,
}

impl Default for Places {
    fn default() -> Self {
        Self::Held(Vec::new())
    }
}

impl Places {
    /// Of keys that are different; else of one that is there twice. A file lies beside this other one.
    pub fn of(sorted: Sorted<2>, beside: &Path) -> Result<std::result::Result<Self, u64>> {
        let mut last = None;
        let mut twice = |key| last.replace(key) == Some(key);
        let merged = match sorted {
            Sorted::Held(held) => {
                let all: Vec<Entry> = held.collect();
                let again = all.iter().map(|[key, _]| *key).find(|key| twice(*key));
                return Ok(again.map_or(Ok(Self::Held(all)), Err));
            }
            merged @ Sorted::Merged(_) => merged,
        };
        let mut file = BufWriter::new(sorter::file_beside(beside).map_err(Fault::Temporary)?);
        let (mut entries, mut firsts) = (0, Vec::new());
        for entry in merged {
            let entry = entry?;
            if twice(entry[0]) {
                return Ok(Err(entry[0]));
            }
            if entries % BLOCK == 0 {
                firsts.push(entry[0]);
            }
            entries += 1;
            for number in entry {
                let written = file.write_all(&number.to_le_bytes());
                written.map_err(Fault::Temporary)?;
            }
        }
        let file = file.into_inner();
        let file = file.map_err(|error| Fault::Temporary(error.into_error()))?;
        Ok(Ok(Self::Filed(Filed {
            file,
            entries,
            firsts,
            latest: RefCell::new((usize::MAX, Vec::new())),
        })))
    }

    /// The number of this key, if there is one.
    pub fn get(&self, key: u64) -> Result<Option<u64>> {
        match self {
            Self::Held(all) => Ok(find(all, key)),
            Self::Filed(filed) => filed.get(key).map_err(Fault::Temporary),
        }
    }
}

impl Filed {
    fn get(&self, key: u64) -> io::Result<Option<u64>> {
        let behind = self.firsts.partition_point(|first| *first <= key);
        let Some(block) = behind.checked_sub(1) else {
            return Ok(None);
        };
        let mut latest = self.latest.borrow_mut();
        let (read, entries) = &mut *latest;
        if *read != block {
            *read = usize::MAX;
            self.read(block, entries)?;
            *read = block;
        }
        Ok(find(entries, key))
    }

    fn read(&self, block: usize, entries: &mut Vec<Entry>) -> io::Result<()> {
        let first = block * BLOCK;
        let count = BLOCK.min(self.entries - first);
        let mut bytes = vec![0; count * size_of::<Entry>()];
        let start = first * size_of::<Entry>();
        self.file.read_exact_at(&mut bytes, start as u64)?;
        let (numbers, _) = bytes.as_chunks();
        let numbers = numbers.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let numbers: Vec<u64> = numbers.collect();
        let (pairs, _) = numbers.as_chunks();
        entries.clear();
        entries.extend_from_slice(pairs);
        Ok(())
    }
}

fn find(entries: &[Entry], key: u64) -> Option<u64> {
    let place = entries.binary_search_by_key(&key, |[key, _]| *key);
    place.ok().map(|place| entries[place][1])
}

#[cfg(test)]
mod tests {
    use super::super::sorter::Sorter;
    use super::*;

    fn places(keys: impl Iterator<Item = u64>, held: usize) -> std::result::Result<Places, u64> {
        let folder = tempfile::tempdir().unwrap();
        let beside = folder.path().join("otpdrive.db");
        let mut sorter = Sorter::holding(held, &beside);
        for key in keys {
            sorter.push([key, key * 3]).unwrap();
        }
        Places::of(sorter.sorted().unwrap(), &beside).unwrap()
    }

    #[test]
    fn each_number_is_found_by_its_key_in_memory_and_in_a_file() {
        for count in [0, 1, 511, 512, 513, 5_000] {
            for held in [100, 10_000] {
                // Even ones, the last first.
                let keys = (1..=count).rev().map(|n| n * 2);
                let places = places(keys, held).unwrap();
                assert_eq!(matches!(places, Places::Filed(_)), count > held as u64);
                for key in (0..=count * 2 + 1).chain([u64::MAX, 2, count * 2, 2]) {
                    let there = key > 0 && key <= count * 2 && key.is_multiple_of(2);
                    let found = places.get(key).unwrap();
                    assert_eq!(found, there.then(|| key * 3), "{key} of {count}");
                }
            }
        }
    }

    #[test]
    fn a_key_that_is_there_twice_is_told() {
        for held in [100, 10_000] {
            let keys = (1..=5_000).chain([4_321]);
            assert_eq!(places(keys, held).err(), Some(4_321));
        }
    }
}
