//! The codes of a list, outside the ledger until it is known which of them are still to be checked:
//! sealed with a key that only this process has, for they may wait in a temporary file.

use std::iter::Peekable;
use std::path::Path;

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use secrecy::{ExposeSecret, SecretString};

use super::error::{Result, damaged};
use super::sorter::{Sorted, Sorter};

/// Most bytes of a code; a list has none that is longer.
const CODE_MAX: usize = 32;

/// A row's id and its code, which is filled up with zeros, with what proves that it is as it was.
type Record = [u64; NUMBERS];
const NUMBERS: usize = 1 + SEALED / size_of::<u64>();
const SEALED: usize = CODE_MAX + 16;

/// Codes, each with its row, on their way in.
pub struct Codes {
    key: LessSafeKey,
    sorter: Sorter<NUMBERS>,
}

impl Codes {
    /// None yet. What does not fit into memory lies beside this other file.
    pub fn beside(path: &Path) -> Result<Self> {
        let mut key = [0; 32];
        let made = SystemRandom::new().fill(&mut key);
        let key = made.and_then(|()| UnboundKey::new(&CHACHA20_POLY1305, &key));
        let key = key.map_err(|_| damaged("there are no random numbers".to_owned()))?;
        Ok(Self {
            key: LessSafeKey::new(key),
            sorter: Sorter::beside(path),
        })
    }

    /// Adds the code of a row.
    pub fn push(&mut self, row: i64, code: &SecretString) -> Result<()> {
        let code = code.expose_secret().as_bytes();
        let mut bytes = [0; SEALED];
        let (text, tag) = bytes.split_at_mut(CODE_MAX);
        let room = text.get_mut(..code.len());
        room.ok_or_else(|| damaged(format!("row {row}: its code is too long")))?
            .copy_from_slice(code);
        let sealed = (self.key).seal_in_place_separate_tag(nonce(row), Aad::empty(), text);
        let sealed = sealed.map_err(|_| damaged(format!("row {row}: its code")))?;
        tag.copy_from_slice(sealed.as_ref());
        let mut record: Record = [0; _];
        record[0] = row.cast_unsigned();
        for (number, bytes) in record[1..].iter_mut().zip(bytes.chunks_exact(8)) {
            *number = bytes
                .iter()
                .fold(0, |all, byte| all << 8 | u64::from(*byte));
        }
        self.sorter.push(record)
    }

    /// All of them, by row.
    pub fn sorted(self) -> Result<SortedCodes> {
        Ok(SortedCodes {
            key: self.key,
            records: self.sorter.sorted()?.peekable(),
        })
    }
}

/// See [`Codes::sorted`].
pub struct SortedCodes {
    key: LessSafeKey,
    records: Peekable<Sorted<NUMBERS>>,
}

impl SortedCodes {
    /// The code of this row, if it has one; rows have to be asked for in their order.
    pub fn of(&mut self, row: i64) -> Result<Option<SecretString>> {
        let is_other = |record: &Record| record[0] != row.cast_unsigned();
        let record = (self.records).next_if(|record| !record.as_ref().is_ok_and(is_other));
        let Some(record) = record.transpose()? else {
            return Ok(None);
        };
        let mut bytes = [0; SEALED];
        let (numbers, _) = bytes.as_chunks_mut();
        for (bytes, number) in numbers.iter_mut().zip(&record[1..]) {
            *bytes = number.to_be_bytes();
        }
        let opened = self.key.open_in_place(nonce(row), Aad::empty(), &mut bytes);
        let code = opened.ok().and_then(|code| std::str::from_utf8(code).ok());
        let code = code.map(|code| SecretString::from(code.trim_end_matches('\0')));
        bytes.fill(0);
        code.map(Some)
            .ok_or_else(|| damaged(format!("row {row}: its code has changed meanwhile")))
    }
}

/// Each row has one code at most, so no nonce is used twice.
fn nonce(row: i64) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[..8].copy_from_slice(&row.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_by_their_rows_and_wait_unreadable() {
        let folder = tempfile::tempdir().unwrap();
        let mut codes = Codes::beside(&folder.path().join("otpdrive.db")).unwrap();
        let long = "0123456789abcdefghijklmnopqrstuv";
        for (row, code) in [(7, "004512"), (8, long), (10, "12")] {
            codes.push(row, &SecretString::from(code)).unwrap();
        }
        let too_long = SecretString::from(format!("{long}1"));
        assert!(codes.push(11, &too_long).is_err());
        let mut codes = codes.sorted().unwrap();
        let record = codes.records.peek().unwrap().as_ref().unwrap();
        let bytes: Vec<u8> = record.iter().flat_map(|it| it.to_be_bytes()).collect();
        assert!(!bytes.windows(4).any(|four| four == b"0045"));
        let mut read = |row| {
            let code = codes.of(row).unwrap();
            code.map(|code| code.expose_secret().to_owned())
        };
        let read: Vec<Option<String>> = (7..12).map(&mut read).collect();
        let some = |code: &str| Some(code.to_owned());
        assert_eq!(read, [some("004512"), some(long), None, some("12"), None]);
    }
}
