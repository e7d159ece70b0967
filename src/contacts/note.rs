//! What was guessed about a file, or is odd about it, for the user to see before anything is sent.

use std::fmt;

use super::error::show;
use crate::figures::counted;

/// One thing to know about a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A column that nobody named holds other things than channels.
    ChannelLeftAside {
        /// Its name.
        column: String,
        /// How many cells are neither sms, call nor empty.
        cells: u64,
    },
    /// A column that was named holds other things than channels.
    BadChannels {
        /// Its name.
        column: String,
        /// How many cells are neither sms, call nor empty.
        cells: u64,
        /// The first of them, numbers masked.
        first: String,
    },
    /// A spreadsheet has taken zeros away, most likely.
    ShortCodes {
        /// How many codes are shorter.
        codes: u64,
        /// The length of most.
        length: usize,
    },
    /// A workbook has more sheets than the one that is read.
    OtherSheets {
        /// The name of that one.
        name: String,
        /// How many there are besides.
        others: usize,
    },
    /// The file was written by this program, and its phone column is not found by its name.
    PhoneColumnOfResults {
        /// Its name.
        column: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ChannelLeftAside { column, cells } => write!(
                f,
                "the column {} is left aside, for {} neither sms, call nor empty; --channel-column {0} uses it all the same, and such rows are invalid then",
                show(column),
                counted(*cells, "of its cells is", "of its cells are"),
            ),
            Self::BadChannels {
                column,
                cells,
                first,
            } => write!(
                f,
                "in the column {} {} neither sms, call nor empty, the first is {}; --channel-column none leaves the column aside",
                show(column),
                counted(*cells, "cell is", "cells are"),
                show(first),
            ),
            Self::ShortCodes { codes, length } => write!(
                f,
                "{} shorter than most, which have {length} characters: a spreadsheet may have taken zeros away; --otp-length {length} makes such rows invalid",
                counted(*codes, "code is", "codes are"),
            ),
            Self::OtherSheets { name, others } => write!(
                f,
                "only the first sheet is read, {}; {} not",
                show(name),
                counted(*others as u64, "other is", "others are"),
            ),
            Self::PhoneColumnOfResults { column } => write!(
                f,
                "the phone column is {}, in which the numbers of otp_phone were read before",
                show(column)
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_says_how_many_and_which_flag() {
        let channel = |cells| {
            let column = "Channel".to_owned();
            Note::ChannelLeftAside { column, cells }.to_string()
        };
        assert!(
            channel(2).contains("2 of its cells are neither"),
            "{}",
            channel(2)
        );
        assert!(
            channel(1).contains("1 of its cells is neither"),
            "{}",
            channel(1)
        );
        assert!(
            channel(1).contains("--channel-column \"Channel\" uses"),
            "{}",
            channel(1)
        );
        let (codes, length) = (12_345, 6);
        let text = Note::ShortCodes { codes, length }.to_string();
        assert!(text.starts_with("12,345 codes are shorter"), "{text}");
        assert!(text.contains("--otp-length 6"), "{text}");
    }
}
