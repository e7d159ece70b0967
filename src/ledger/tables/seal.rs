//! Keyed checksums, with a key of the ledger's own: of a code, to know it again when it is deleted;
//! of a row and of the records, to notice when they are not as they were written. A number that has
//! changed would be somebody else's.

use ring::hmac;

use super::db::Db;
use super::error::{Result, damaged};
use crate::job::{JobId, Lane};
use crate::ledger::rules::CodePrint;
use crate::number::Number;
use crate::record::{CampaignId, Row, RowState};

/// The key of a ledger.
#[derive(Clone)]
pub struct Seals(hmac::Key);

/// What a row is sealed over, with its campaign: all of it but its record.
#[derive(Clone, Copy)]
pub struct Sealed {
    pub row: i64,
    pub line: u64,
    pub lane: Lane,
    pub kind: u8,
    pub assumed: bool,
    pub number: Option<Number>,
    pub job: JobId,
}

impl Sealed {
    /// The row, without its record.
    pub fn to_row(self, state: RowState) -> Row {
        Row {
            line: self.line,
            record: String::new(),
            number: self.number,
            lane: self.lane,
            state,
        }
    }
}

impl Seals {
    /// Reads the key of this ledger.
    pub fn of(db: Db<'_>) -> Result<Self> {
        let salt = db.salt()?;
        if salt.len() != 32 {
            return Err(damaged("its key is gone".to_owned()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &salt)))
    }

    /// By what a code is recognised: an odd number, so never one of the constants of
    /// [`CodePrint`].
    pub fn code(&self, number: Number, code: &str) -> CodePrint {
        let text = format!("{} {code}", number.digits());
        CodePrint(self.sum(text.as_bytes()) | 1)
    }

    pub fn row(&self, campaign: CampaignId, row: &Sealed) -> i64 {
        // So that a row is never taken for a code.
        let kind = i64::from(u32::from_be_bytes(*b"row ")) << 32
            | (row.lane as i64) << 16
            | i64::from(row.kind) << 8;
        let fields = [
            kind | i64::from(row.assumed),
            campaign.0,
            row.row,
            row.line.cast_signed(),
            row.number.map_or(0, |number| number.digits().cast_signed()),
            row.job.0,
        ];
        let mut bytes = [0; 6 * 8];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        self.sum(&bytes)
    }

    /// Of the records of rows `first` and following.
    pub fn records(&self, first: i64, records: &str) -> i64 {
        let mut sum = hmac::Context::with_key(&self.0);
        sum.update(b"records ");
        sum.update(&first.to_le_bytes());
        sum.update(records.as_bytes());
        shorten(&sum.sign())
    }

    fn sum(&self, bytes: &[u8]) -> i64 {
        shorten(&hmac::sign(&self.0, bytes))
    }
}

fn shorten(tag: &hmac::Tag) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&tag.as_ref()[..8]);
    i64::from_le_bytes(first)
}
