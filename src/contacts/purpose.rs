//! What a file seems to be for: a list to send to, or codes to check.
//!
//! `code` may name anything, so its cells have to be codes; and what `send` wrote is a list,
//! whatever else stands in it.

use super::ReadOptions;
use super::cell::is_blank;
use super::codes::{self, Code};
use super::content::Content;
use super::delimiter;
use super::earlier::Results;
use super::error::Fault;
use super::names::OTP;
use super::survey::dialect;
use super::table::Table;
use crate::job::Operation;
use secrecy::ExposeSecret as _;

/// What a file seems to be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Sending, although this column, if any, has the name of one of codes.
    Send {
        /// Its name.
        aside: Option<String>,
    },
    /// Checking the codes in this column.
    Verify {
        /// Its name.
        codes: String,
    },
}

/// Looks at the header and the first rows.
pub(super) fn purpose(content: &Content, options: &ReadOptions) -> Result<Purpose, Fault> {
    let mut table = Table::open(content, dialect(content, options)?)?;
    let names = table.latest().cells.clone();
    let asked = options.otp_column.as_deref();
    // Of several columns none is the one of codes, unless it was said which.
    let Ok(Some(column)) = OTP.find(&names, asked, true) else {
        return Ok(Purpose::Send { aside: None });
    };
    let results = Results::find(&names);
    let (mut filled, mut like, mut by_send) = (0, 0, false);
    for (_, row) in delimiter::sample(&mut table) {
        by_send |= results.written_by(&row) == Some(Operation::Send);
        let cell = row.get(column).unwrap_or_default();
        filled += usize::from(!is_blank(cell));
        like += usize::from(is_like_a_code(cell));
    }
    let name = names[column].to_owned();
    Ok(if by_send || like == 0 || 2 * like < filled {
        let aside = Some(name).filter(|_| !by_send);
        Purpose::Send { aside }
    } else {
        Purpose::Verify { codes: name }
    })
}

/// Is this a code as gateways make them: four to eight digits? Or one that was hidden.
fn is_like_a_code(cell: &str) -> bool {
    match codes::read(cell, None) {
        Ok(Code::Masked) => true,
        Ok(Code::Plain(code)) => {
            let code = code.expose_secret();
            (4..=8).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_digit())
        }
        Err(_) => false,
    }
}
