//! What a row asks for, or why it cannot be used.

use csv::StringRecord;

use super::ReadOptions;
use super::cell::{is_blank, unwrap};
use super::codes::{self, Code};
use super::columns::{Columns, Hidden, SHIFTED};
use super::earlier::Own;
use super::numbers::{self, Phone};
use crate::job::{GivenCode, Lane, Operation, Problem, Request};

pub(super) const NO_PHONE_CELL: Problem = Problem("the row is too short: it has no phone cell");
pub(super) const NO_OTP_CELL: Problem = Problem("the row is too short: it has no otp cell");
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
    (request(cells, own, code, columns, options), hidden)
}

/// The number comes first, for that is what most rows lack.
fn request(
    cells: &StringRecord,
    own: &Own,
    code: Option<Result<GivenCode, Problem>>,
    columns: &Columns,
    options: &ReadOptions,
) -> Result<Request, Problem> {
    let channel = columns.channel.and_then(|i| cells.get(i));
    let lane = match channel.filter(|cell| !is_blank(cell)) {
        Some(cell) => lane(cell, options)?,
        None => lane_before(own, options).unwrap_or(options.lane()),
    };
    let phone = phone(cells, columns, lane, options)?;
    let code = code.transpose()?;
    if let Some(GivenCode::Plain(code)) = &code
        && codes::is_number(code, phone.number)
    {
        return Err(codes::NUMBER);
    }
    Ok(Request {
        number: phone.number,
        lane,
        code,
        assumed_mobile: phone.assumed_mobile,
    })
}

/// The number of a row: that of its phone cell, with its country code; but what was read before in
/// a result file, unless the cell says something else by now.
pub(super) fn phone(
    cells: &StringRecord,
    columns: &Columns,
    lane: Lane,
    options: &ReadOptions,
) -> Result<Phone, Problem> {
    if let Some(before) = told(cells, columns, options) {
        return numbers::read(&before, lane, options.region);
    }
    let cell = cells.get(columns.phone).ok_or(NO_PHONE_CELL)?;
    numbers::read_with_code(cell, code_beside(cells, columns), lane, options.region)
}

/// The number that a result file tells of a row, unless the row's own cells say something else by
/// now. What they lack may have been said by a flag when they were read: the region, or which
/// column holds country codes.
pub(super) fn told(
    cells: &StringRecord,
    columns: &Columns,
    options: &ReadOptions,
) -> Option<String> {
    let before = columns.results.phone.and_then(|i| cells.get(i));
    let before = before.and_then(numbers::written_by_us)?;
    let cell = cells.get(columns.phone).unwrap_or_default();
    let code = code_beside(cells, columns);
    let is_same = || {
        let now = numbers::read_with_code(cell, code, Lane::Verify, options.region);
        now.is_ok_and(|now| now.number.e164() == before)
    };
    let lacks_a_flag = is_blank(code) && !options.region_is_given;
    let holds = is_blank(cell) || is_same() || lacks_a_flag && numbers::can_mean(cell, &before);
    holds.then_some(before)
}

/// The country code that stands beside the number of a row.
fn code_beside<'a>(cells: &'a StringRecord, columns: &Columns) -> &'a str {
    let code = columns.country_code.and_then(|i| cells.get(i));
    code.unwrap_or_default()
}

/// The lane that a result file says a row was for, unless the channel was said.
fn lane_before(own: &Own, options: &ReadOptions) -> Option<Lane> {
    let sends = options.operation == Operation::Send && !options.numbers_only;
    let channel = own.channel.filter(|_| sends && !options.channel_is_given);
    channel.map(Lane::from)
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
