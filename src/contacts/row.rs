//! What a row asks for, or why it cannot be used.

use csv::StringRecord;

use super::cell::{is_blank, unwrap};
use super::codes::{self, Code};
use super::columns::{Columns, Hidden, Own};
use super::numbers::{self, Phone};
use super::{ReadOptions, Region};
use crate::job::{GivenCode, Lane, Problem, Request};

const SHIFTED: Problem = Problem(
    "more cells than the header: a separator that is not in quotes has shifted the row, most likely",
);
const NO_PHONE_CELL: Problem = Problem("the row is too short: it has no phone cell");
const NO_OTP_CELL: Problem = Problem("the row is too short: it has no otp cell");
const NO_CHANNEL: Problem =
    Problem("a channel other than sms or call; --channel-column none leaves the column aside");

/// What a row asks for, and what of it must not be kept. A code that could not be read is kept, or
/// nobody could repair it.
pub(super) fn read(
    cells: &StringRecord,
    own: &Own,
    columns: &Columns,
    options: &ReadOptions,
) -> (Result<Request, Problem>, Hidden) {
    if columns.is_shifted(cells) {
        return (Err(SHIFTED), Hidden::FromCodeOn);
    }
    let code = columns.otp.map(|i| code(cells, i, own, options));
    let hidden = match code {
        Some(Ok(_)) => Hidden::Code,
        _ => Hidden::Nothing,
    };
    (request(cells, code, columns, options), hidden)
}

/// The number comes first, for that is what most rows lack.
fn request(
    cells: &StringRecord,
    code: Option<Result<GivenCode, Problem>>,
    columns: &Columns,
    options: &ReadOptions,
) -> Result<Request, Problem> {
    let lane = match columns.channel.and_then(|i| cells.get(i)) {
        Some(cell) => lane(cell, options)?,
        None => options.lane(),
    };
    let phone = phone(cells, columns, lane, options.region)?;
    Ok(Request {
        number: phone.number,
        lane,
        code: code.transpose()?,
        assumed_mobile: phone.assumed_mobile,
    })
}

/// The number of a row: that of its phone cell, with its country code; but what was read before in
/// a result file, unless the cell says something else by now.
pub(super) fn phone(
    cells: &StringRecord,
    columns: &Columns,
    lane: Lane,
    region: Region,
) -> Result<Phone, Problem> {
    let cell = cells.get(columns.phone);
    let before = columns.results.phone.and_then(|i| cells.get(i));
    if let Some(before) = before.and_then(numbers::written_by_us)
        && means(cells, columns, &before)
    {
        return numbers::read(&before, lane, region);
    }
    let cell = cell.ok_or(NO_PHONE_CELL)?;
    let code = columns.country_code.and_then(|i| cells.get(i));
    numbers::read_with_code(cell, code.unwrap_or_default(), lane, region)
}

/// Is the number of a row the one that a result file tells?
pub(super) fn is_told(cells: &StringRecord, columns: &Columns) -> bool {
    let before = columns.results.phone.and_then(|i| cells.get(i));
    let before = before.and_then(numbers::written_by_us);
    before.is_some_and(|before| means(cells, columns, &before))
}

fn means(cells: &StringRecord, columns: &Columns, before: &str) -> bool {
    let cell = cells.get(columns.phone).unwrap_or_default();
    is_blank(cell) || numbers::can_mean(cell, before)
}

/// Is this neither a channel nor empty?
pub(super) fn is_no_channel(cell: &str, options: &ReadOptions) -> bool {
    lane(cell, options).is_err()
}

fn lane(cell: &str, options: &ReadOptions) -> Result<Lane, Problem> {
    match unwrap(cell).to_ascii_lowercase().as_str() {
        "" => Ok(options.lane()),
        "sms" => Ok(Lane::Sms),
        "call" => Ok(Lane::Call),
        _ => Err(NO_CHANNEL),
    }
}

fn code(
    cells: &StringRecord,
    otp: usize,
    own: &Own,
    options: &ReadOptions,
) -> Result<GivenCode, Problem> {
    let cell = cells.get(otp).ok_or(NO_OTP_CELL)?;
    match codes::read(cell, options.otp_length)? {
        Code::Plain(code) => Ok(GivenCode::Plain(code)),
        Code::Masked => Ok(GivenCode::Masked {
            line: own.line,
            settled_at: own.settled_at,
        }),
    }
}
