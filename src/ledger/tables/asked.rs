//! What of an input waits outside memory, in numbers that sort as they are needed: what rows ask for,
//! by number, and what is known of them, by row.

use std::collections::HashSet;

use secrecy::ExposeSecret;

use super::error::{Result, damaged};
use super::former;
use super::rows;
use super::seal::{Sealed, Seals};
use crate::job::{GivenCode, JobId, Request, Told, UnixMicros};
use crate::ledger::rules::{Claim, Claimed, CodePrint, KnownJob, may_be_of};
use crate::number::Number;

/// What one row asks for.
pub struct Asked {
    pub claim: Claim,
    pub told: Told,
    /// Of a masked code: the line of the row that it means ...
    pub masked_line: Option<u64>,
    /// ... and when that was settled.
    settled_at: Option<UnixMicros>,
}

impl Asked {
    pub fn of(row: &Sealed, told: Told, request: &Request, seals: &Seals) -> Self {
        let (mut masked_line, mut settled_at) = (None, None);
        let print = match &request.code {
            None => CodePrint::NONE,
            Some(GivenCode::Plain(code)) => seals.code(request.number, code.expose_secret()),
            Some(GivenCode::Masked {
                line,
                settled_at: at,
            }) => {
                (masked_line, settled_at) = (*line, *at);
                CodePrint::MASKED
            }
        };
        Self {
            claim: Claim {
                number: request.number,
                print,
                row: row.row,
                line: row.line,
            },
            told,
            masked_line,
            settled_at,
        }
    }

    /// May its masked code be this job's? `stood` are the jobs whose codes stood on its line.
    pub fn may_mean(&self, known: &KnownJob, stood: &HashSet<JobId>) -> bool {
        // One that could not be told was never settled, and is no better told now.
        let not_told = former::not_told(self.claim.number);
        stood.contains(&known.job)
            && may_be_of(self.settled_at, known)
            && (self.settled_at.is_some() || !stood.contains(&not_told))
    }

    /// Does it say that its code was settled, when none of these was?
    pub fn is_settled_elsewhere(&self, known: &[KnownJob]) -> bool {
        let mut known = known.iter();
        self.settled_at.is_some()
            && !known.any(|known| known.settled_at.is_some() && may_be_of(self.settled_at, known))
    }

    /// Sorts by number, then print, then row.
    pub fn to_numbers(&self) -> [u64; 6] {
        let told = match self.told {
            Told::Nothing => 0,
            Told::Known => 1,
            Told::Tried => 2,
        };
        [
            self.claim.number.digits(),
            (self.claim.print.0 ^ i64::MIN).cast_unsigned(),
            self.claim.row.cast_unsigned(),
            self.claim.line << 2 | told,
            self.masked_line.unwrap_or(0),
            self.settled_at.map_or(0, |at| at.0.cast_unsigned()),
        ]
    }

    pub fn from_numbers(numbers: [u64; 6]) -> Result<Self> {
        let [number, print, row, line, masked_line, settled_at] = numbers;
        let number =
            Number::new(number).ok_or_else(|| damaged("a number has changed".to_owned()))?;
        Ok(Self {
            claim: Claim {
                number,
                print: CodePrint(print.cast_signed() ^ i64::MIN),
                row: row.cast_signed(),
                line: line >> 2,
            },
            told: match line & 3 {
                0 => Told::Nothing,
                1 => Told::Known,
                _ => Told::Tried,
            },
            masked_line: (masked_line > 0).then_some(masked_line),
            settled_at: (settled_at > 0).then_some(UnixMicros(settled_at.cast_signed())),
        })
    }
}

/// What is known of a row.
pub enum Fact {
    /// It was read. If nothing else is known of it, it is invalid or its job is a new one.
    Read(Sealed),
    /// It asks for a job that the campaign has; is its code needed, for it is not settled, and it is not
    /// there?
    Known {
        row: i64,
        job: JobId,
        needs_code: bool,
    },
    /// It asks for the same as an earlier line.
    Duplicate { row: i64, job: JobId, line: u64 },
    /// Its code is masked, and cannot be told.
    NoKnownCode { row: i64 },
}

impl Fact {
    const KNOWN: u64 = 1 << 8;
    const DUPLICATE: u64 = 2 << 8;
    const NO_KNOWN_CODE: u64 = 3 << 8;

    /// What a claim came to; `None`: a new job.
    pub fn of(row: i64, claimed: Claimed) -> Option<Self> {
        match claimed {
            Claimed::New => None,
            Claimed::Known(known) => Some(Self::Known {
                row,
                job: known.job,
                needs_code: known.settled_at.is_none() && !known.has_code,
            }),
            Claimed::Duplicate {
                first_line: line,
                job,
            } => Some(Self::Duplicate { row, job, line }),
            Claimed::NoKnownCode => Some(Self::NoKnownCode { row }),
        }
    }

    /// Sorts by row, and what was read of one before the rest.
    pub fn to_numbers(&self) -> [u64; 4] {
        let (row, what, one, other) = match self {
            Self::Read(row) => {
                let flags =
                    u64::from(row.kind) << 4 | (row.lane as u64) << 1 | u64::from(row.assumed);
                let number = row.number.map_or(0, Number::digits);
                (row.row, flags, number, row.line)
            }
            Self::Known {
                row,
                job,
                needs_code,
            } => (
                *row,
                Self::KNOWN,
                job.0.cast_unsigned(),
                u64::from(*needs_code),
            ),
            Self::Duplicate { row, job, line } => {
                (*row, Self::DUPLICATE, job.0.cast_unsigned(), *line)
            }
            Self::NoKnownCode { row } => (*row, Self::NO_KNOWN_CODE, 0, 0),
        };
        [row.cast_unsigned(), what, one, other]
    }

    pub fn from_numbers([row, what, one, other]: [u64; 4]) -> Result<Self> {
        let row = row.cast_signed();
        let job = JobId(one.cast_signed());
        Ok(match what {
            Self::KNOWN => Self::Known {
                row,
                job,
                needs_code: other > 0,
            },
            Self::DUPLICATE => Self::Duplicate {
                row,
                job,
                line: other,
            },
            Self::NO_KNOWN_CODE => Self::NoKnownCode { row },
            flags => Self::Read(Sealed {
                row,
                line: other,
                lane: rows::lane((flags >> 1 & 7).cast_signed(), 0)?,
                kind: (flags >> 4 & 15) as u8,
                assumed: flags & 1 > 0,
                number: Number::new(one),
                job: JobId(row),
            }),
        })
    }
}
