//! Reads a telephone number without guessing. The one place that knows `rlibphonenumber`.
//!
//! What a cell says must have one reading only; whatever has none, or two, is a [`Problem`]. The
//! library is asked about digits alone, never about the cell ([`super::digits`] takes them out): it
//! would turn letters into digits, drop an extension and take the first of two numbers.
//!
//! Indian numbers are taken apart here, by their length: ten digits are the number (`91` may be
//! its beginning), eleven have a trunk `0`, twelve have the `91`; after `+` or `00` the country
//! code is certain. A number that starts with 6-9 is a mobile whatever the plan's data says: plans
//! lag behind reality. (Of random numbers they call 31 % of those with 6 a fixed line, 18 % with
//! 7, 12 % with 8, none with 9, and none of them impossible.)

use std::fmt;
use std::str::FromStr;

use rlibphonenumber::{
    NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumber, PhoneNumberType, ValidationError,
};

use super::cell::{unwrap, western};
pub(super) use super::digits::SEVERAL;
use super::digits::{
    DECIMAL, DIGITS_MAX, DIGITS_MIN, LETTERS, SCIENTIFIC, STRANGE, is_digits, written,
};
use crate::job::{Lane, Problem};
use crate::number::Number;

pub(super) const TOO_SHORT: Problem = Problem("too few digits for a phone number");
pub(super) const TOO_LONG: Problem = Problem("too many digits for a phone number");
const TOO_LONG_INDIAN: Problem = Problem(
    "too many digits for an Indian number; a number of another country starts with + or 00",
);
pub(super) const DIGIT_LOST: Problem =
    Problem("eleven digits starting with 91: one digit is missing");
pub(super) const NO_COUNTRY: Problem = Problem("a country code that does not exist");
pub(super) const IMPOSSIBLE: Problem =
    Problem("an impossible number: the numbering plan has none like it");
pub(super) const SERVICE: Problem = Problem("a service number, not that of a person");
pub(super) const FIXED_LINE: Problem =
    Problem("a fixed line: it cannot receive an SMS, but may be called");
const NO_CODE: Problem = Problem(
    "a country code that cannot be read: write it as 91, +91 or IN, or leave it empty where the number has its own",
);
pub(super) const CONTRADICTION: Problem =
    Problem("the phone number has another country code than its row");
pub(super) const NOT_ONE: Problem =
    Problem("the phone number and its country code do not make one number");
pub(super) const AMBIGUOUS: Problem =
    Problem("the phone number may or may not begin with its country code: both would be numbers");

/// The country code of India.
const INDIA: i32 = 91;

/// The country code of India before ten digits.
const INDIA_DIGITS: u64 = 910_000_000_000;

/// Digits of an Indian number without its country code.
const INDIAN_DIGITS: usize = 10;

/// The country whose national numbers a file holds: `IN`, unless said otherwise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Region(rlibphonenumber::Region);

impl Region {
    /// India.
    pub const IN: Self = Self(rlibphonenumber::Region::IN);
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_region_str().as_str())
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A region that no numbering plan knows.
#[derive(Debug, thiserror::Error)]
#[error("no such region; give the two letters of a country, such as IN or GB")]
pub struct UnknownRegion;

impl FromStr for Region {
    type Err = UnknownRegion;

    fn from_str(name: &str) -> Result<Self, UnknownRegion> {
        let mut regions = PHONE_NUMBER_UTIL.get_supported_regions();
        regions
            .find(|region| region.as_region_str().as_str().eq_ignore_ascii_case(name))
            .map(Self)
            .ok_or(UnknownRegion)
    }
}

/// A number as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phone {
    pub(super) number: Number,
    /// See [`crate::job::Request::assumed_mobile`].
    pub(super) assumed_mobile: bool,
}

/// The number in a cell, or why there is none that can be used on this lane.
pub(super) fn read(cell: &str, lane: Lane, region: Region) -> Result<Phone, Problem> {
    read_by(cell, |digits, plus| {
        if plus {
            international(digits, lane)
        } else {
            national(digits, lane, region)
        }
    })
}

/// Is this a number, or one that was spoilt or lacks its `+`? A date has fewer digits.
pub(super) fn looks_like_one(cell: &str, region: Region) -> bool {
    const DIGITS_LIKELY: usize = 9;
    match read(cell, Lane::Call, region) {
        Ok(_) | Err(SCIENTIFIC | SEVERAL) => true,
        Err(LETTERS) => false,
        Err(_) => {
            let belongs = |c: char| c.is_ascii_digit() || " +-.,()".contains(c);
            let value: String = unwrap(cell).chars().map(western).collect();
            value.chars().all(belongs)
                && value.bytes().filter(u8::is_ascii_digit).count() >= DIGITS_LIKELY
        }
    }
}

/// The number in a cell whose country code stands in a cell of its own, as digits, `+44` or `GB`;
/// where that one is empty, the number is read as if there were none.
pub(super) fn read_with_code(
    cell: &str,
    code: &str,
    lane: Lane,
    region: Region,
) -> Result<Phone, Problem> {
    let Some(code) = country_code(code)? else {
        return read(cell, lane, region);
    };
    read_by(cell, |digits, plus| {
        let whole = digits.strip_prefix("00").filter(|_| !plus);
        match whole.or(plus.then_some(digits)) {
            Some(whole) => agreeing(whole, &code, lane),
            None if code == "91" => national(digits, lane, Region::IN),
            None => joined(digits, &code, lane),
        }
    })
}

/// The digits of a cell, as `read` reads them. Zeros that may be a decimal fraction are no digits,
/// and if they could be there is no telling.
fn read_by(
    cell: &str,
    read: impl Fn(&str, bool) -> Result<Phone, Problem>,
) -> Result<Phone, Problem> {
    let value = unwrap(cell);
    let written = written(&value)?;
    let phone = read(&written.digits, written.plus)?;
    let with_zeros = || format!("{}{}", written.digits, "0".repeat(written.zeros));
    if written.zeros > 0 && read(&with_zeros(), written.plus).is_ok() {
        return Err(DECIMAL);
    }
    Ok(phone)
}

/// The digits of a country code, `91`, `+91`, `0091`, `91.0`, `+91 (India)`, or those of a country's two
/// letters; `None` in an empty cell.
fn country_code(cell: &str) -> Result<Option<String>, Problem> {
    const CODE_DIGITS_MAX: usize = 7;
    let value: String = unwrap(cell).chars().map(western).collect();
    if value.is_empty() {
        return Ok(None);
    }
    if let Some(code) = code_of_country(&value) {
        return Ok(Some(code));
    }
    let mut endings = [".0", ".00", ",0", ",00"].into_iter();
    let text = endings.find_map(|ending| value.strip_suffix(ending));
    let text = code_beside_name(&value).or(text).unwrap_or(&value);
    let digits: String = text.chars().filter(|c| !" -+()".contains(*c)).collect();
    let digits = digits.trim_start_matches('0');
    if is_digits(digits) && digits.len() <= CODE_DIGITS_MAX {
        Ok(Some(digits.to_owned()))
    } else {
        Err(NO_CODE)
    }
}

/// The code of a country that has only one name here: its two letters in ISO 3166, or what people
/// write instead.
fn code_of_country(name: &str) -> Option<String> {
    const NAMES: [(&str, &str); 5] = [
        ("UK", "GB"),
        ("USA", "US"),
        ("UAE", "AE"),
        ("India", "IN"),
        ("IND", "IN"),
    ];
    let known = NAMES
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known));
    let region: Region = known.map_or(name, |(_, region)| region).parse().ok()?;
    let code = PHONE_NUMBER_UTIL.get_country_code_for_region(region.0)?;
    Some(code.to_string())
}

/// The one code in what forms offer to choose from: `+91 (India)`, `India (+91)`, `IN +91`. A name that
/// is known contradicts another country's code.
fn code_beside_name(cell: &str) -> Option<&str> {
    let start = cell.find(|c: char| c.is_ascii_digit())?;
    let (before, rest) = cell.split_at(start);
    let end = rest.find(|c: char| !c.is_ascii_digit());
    let (code, after) = rest.split_at(end.unwrap_or(rest.len()));
    let is_marked = before.trim_end().ends_with(['+', '(']);
    let name = [before, after].concat();
    let is_name = |c: char| c.is_alphabetic() || " +(),.'&-:".contains(c);
    let letters = name.trim_matches(|c: char| !c.is_alphabetic());
    let fits = code_of_country(letters).is_none_or(|known| code.starts_with(&known));
    (is_marked && !letters.is_empty() && name.chars().all(is_name) && fits).then_some(code)
}

/// Is this a country code that exists, whatever the column is called?
pub(super) fn is_country_code(cell: &str) -> bool {
    let exists = |code: i32| {
        let known = PHONE_NUMBER_UTIL.get_region_for_country_code(code);
        known.is_some()
    };
    let code = country_code(cell).ok().flatten();
    code.and_then(|code| code.parse().ok()).is_some_and(exists)
}

/// A number in international form that is to have this country code; `1246` is that of Barbados,
/// where the `1` alone is.
fn agreeing(digits: &str, code: &str, lane: Lane) -> Result<Phone, Problem> {
    let parsed = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None).ok();
    let own = parsed.map_or(String::new(), |parsed| parsed.country_code.to_string());
    if code.starts_with(&own) && digits.starts_with(code) {
        international(digits, lane)
    } else {
        Err(CONTRADICTION)
    }
}

/// A national number and its country code, which may already be there, `6591234567` beside `65`.
fn joined(digits: &str, code: &str, lane: Lane) -> Result<Phone, Problem> {
    let joined = format!("{code}{digits}");
    // Which number it is comes before what kind of number it is.
    let read = |digits: &str| international(digits, Lane::Call);
    let (joined_read, whole_read) = (read(&joined), agreeing(digits, code, Lane::Call));
    match (joined_read, whole_read) {
        (Ok(one), Ok(other)) if one != other => Err(AMBIGUOUS),
        (_, Ok(_)) => international(digits, lane),
        (Ok(_), _) => international(&joined, lane),
        (Err(SERVICE), _) => Err(SERVICE),
        _ => Err(NOT_ONE),
    }
}

/// The number in a cell that this program wrote, `+919876543210`; a spreadsheet takes the `+` away.
pub(super) fn written_by_us(cell: &str) -> Option<String> {
    let value = unwrap(cell);
    let digits = value.strip_prefix('+').unwrap_or(&value);
    (is_digits(digits) && digits.len() >= DIGITS_MIN).then(|| format!("+{digits}"))
}

/// Can a cell have been read as this number, `+919876543210`, beside a country code or in a region
/// of which nothing is said now?
pub(super) fn can_mean(cell: &str, number: &str) -> bool {
    const CODE_OF_AMERICA: i32 = 1;
    const AREA_DIGITS: usize = 4;
    let Ok(parsed) = PHONE_NUMBER_UTIL.parse(number, None) else {
        return false;
    };
    let is_it = |read: Result<Phone, Problem>| read.is_ok_and(|it| it.number.e164() == number);
    let beside = |code: &str| is_it(read_with_code(cell, code, Lane::Verify, Region::IN));
    let region = PHONE_NUMBER_UTIL.get_region_for_country_code(parsed.country_code);
    let in_its_region = |region| is_it(read(cell, Lane::Verify, Region(region)));
    beside(&parsed.country_code.to_string())
        // There people also give the area with the country code: `1-246`.
        || parsed.country_code == CODE_OF_AMERICA
            && number.get(1..=AREA_DIGITS).is_some_and(beside)
        || region.is_some_and(in_its_region)
}

/// Are the digits of a cell those that a number, `+919876543210`, ends with?
pub(super) fn resembles(cell: &str, number: &str) -> bool {
    /// `+1246`
    const CODE_MAX: usize = 5;
    let digits: String = unwrap(cell).chars().map(western).collect();
    let digits: String = digits.chars().filter(char::is_ascii_digit).collect();
    let digits = digits.trim_start_matches('0');
    let is_whole = digits.len() >= DIGITS_MIN && digits.len() + CODE_MAX >= number.len();
    is_whole && number.ends_with(digits)
}

/// Digits without a `+` and, unless the region has other habits, without a country code.
fn national(digits: &str, lane: Lane, region: Region) -> Result<Phone, Problem> {
    if region != Region::IN {
        return foreign(PHONE_NUMBER_UTIL.parse(digits, Some(region.0)), lane);
    }
    if let Some(digits) = digits.strip_prefix("00") {
        return international(digits, lane);
    }
    match (digits.len(), digits.as_bytes()) {
        (11, [b'9', b'1', ..]) => Err(DIGIT_LOST),
        (11, [b'0', ..]) => indian(&digits[1..], lane),
        (12, [b'9', b'1', ..]) => indian(&digits[2..], lane),
        (11.., _) => Err(TOO_LONG_INDIAN),
        _ => indian(digits, lane),
    }
}

/// A number that starts with its country code.
fn international(digits: &str, lane: Lane) -> Result<Phone, Problem> {
    match digits.len() {
        ..DIGITS_MIN => return Err(TOO_SHORT),
        DIGITS_MIN..=DIGITS_MAX => {}
        _ => return Err(TOO_LONG),
    }
    match digits.strip_prefix("91") {
        // `+91 (0) 98765 43210`: after a country code a 0 can only be the trunk prefix.
        Some(national) if national.len() == INDIAN_DIGITS + 1 => {
            indian(national.strip_prefix('0').ok_or(TOO_LONG)?, lane)
        }
        Some(national) => indian(national, lane),
        None => {
            let parsed = PHONE_NUMBER_UTIL.parse(format!("+{digits}"), None);
            match &parsed {
                // For some countries the library adds digits that local callers leave out.
                Ok(number) if !digits.ends_with(&number.get_national_significant_number()) => {
                    Err(IMPOSSIBLE)
                }
                _ => foreign(parsed, lane),
            }
        }
    }
}

/// The digits of an Indian number without country code and trunk prefix.
fn indian(national: &str, lane: Lane) -> Result<Phone, Problem> {
    match national.len() {
        ..INDIAN_DIGITS => return Err(TOO_SHORT),
        INDIAN_DIGITS => {}
        _ => return Err(TOO_LONG),
    }
    let national_number: u64 = national.parse().map_err(|_| STRANGE)?;
    let kind = PhoneNumber {
        country_code: INDIA,
        national_number,
        ..PhoneNumber::default()
    }
    .get_type();
    let assumed_mobile = match national.as_bytes()[0] {
        b'0' => return Err(TOO_SHORT),
        b'6'..=b'9' => !matches!(
            kind,
            PhoneNumberType::Mobile | PhoneNumberType::FixedLineOrMobile
        ),
        // Mobiles start with 6-9: what the plan calls one here are numbers of telemarketers.
        _ if kind == PhoneNumberType::Mobile => return Err(SERVICE),
        _ => usable(kind, lane, IMPOSSIBLE).map(|()| false)?,
    };
    let number = Number::new(INDIA_DIGITS + national_number).ok_or(STRANGE)?;
    Ok(Phone {
        number,
        assumed_mobile,
    })
}

/// A number that the library has taken apart.
fn foreign(parsed: Result<PhoneNumber, ParseError>, lane: Lane) -> Result<Phone, Problem> {
    let parsed = parsed.map_err(|error| match error {
        ParseError::InvalidCountryCode => NO_COUNTRY,
        ParseError::TooShortAfterIdd | ParseError::TooShortNsn => TOO_SHORT,
        ParseError::TooLongNsn => TOO_LONG,
        ParseError::NotANumber(_) => IMPOSSIBLE,
    })?;
    let national = parsed.get_national_significant_number();
    if parsed.country_code == INDIA {
        return indian(&national, lane);
    }
    let why_unknown = match parsed.is_possible_with_reason() {
        Err(ValidationError::TooShort) | Ok(NumberLengthType::IsPossibleLocalOnly) => TOO_SHORT,
        Err(ValidationError::TooLong) => TOO_LONG,
        _ => IMPOSSIBLE,
    };
    usable(parsed.get_type(), lane, why_unknown)?;
    let digits = format!("{}{national}", parsed.country_code).parse().ok();
    Ok(Phone {
        number: digits.and_then(Number::new).ok_or(TOO_LONG)?,
        assumed_mobile: false,
    })
}

/// May a number of this kind be used on this lane?
fn usable(kind: PhoneNumberType, lane: Lane, why_unknown: Problem) -> Result<(), Problem> {
    use PhoneNumberType as Kind;
    match kind {
        Kind::Unknown => Err(why_unknown),
        Kind::TollFree | Kind::PremiumRate | Kind::SharedCost | Kind::UAN | Kind::VoiceMail => {
            Err(SERVICE)
        }
        Kind::FixedLine if lane == Lane::Sms => Err(FIXED_LINE),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `919876543210`, or the reason, and `?` after a mobile that the plan calls a fixed line.
    fn word_on(lane: Lane, cell: &str) -> String {
        match read(cell, lane, Region::IN) {
            Ok(phone) => {
                let mark = if phone.assumed_mobile { "?" } else { "" };
                format!("{}{mark}", phone.number.digits())
            }
            Err(Problem(why)) => why.to_owned(),
        }
    }

    /// Cells that mean +919876543210.
    const SAME: [&str; 64] = [
        "9876543210",
        "09876543210",
        "919876543210",
        "+919876543210",
        "+91 98765 43210",
        "+91-98765-43210",
        "+91-9876543210",
        "(+91) 98765 43210",
        "+91 (0) 98765 43210",
        "+91 09876543210",
        "0091-98765-43210",
        "00919876543210",
        "00 91 98765 43210",
        "91 98765 43210",
        "0 98765 43210",
        "98765-43210",
        "98765 43210",
        "(98765) 43210",
        "987 654 3210",
        "987.654.3210",
        "+91.9876543210",
        "tel:9876543210",
        "TEL:+91-98765-43210",
        "tel: +919876543210",
        "'9876543210",
        "'+919876543210",
        "=\"9876543210\"",
        "=\"+91 98765 43210\"",
        "\"9876543210\"",
        "  9876543210  ",
        "\u{a0}9876543210\u{a0}",
        "98765\u{a0}43210",
        "\u{feff}9876543210",
        "\u{200b}98765\u{200d}43210",
        "\u{202a}+919876543210\u{202c}",
        "9876543210\n",
        "919876543210.0",
        "9876543210.00",
        "+919876543210.0",
        "९८७६५४३२१०",
        "９８７６５４３２１０",
        "＋91 98765 43210",
        "98765\u{2011}43210",
        "9876543210,",
        "p:+919876543210",
        "P:9876543210",
        "whatsapp:+91 98765 43210",
        "WhatsApp: +919876543210",
        "sms:9876543210",
        "callto:+919876543210",
        "callto://+919876543210",
        "p: 9876543210",
        "98765 43210 ::: ",
        " ::: 9876543210",
        "+91 98765 43210 ::: ::: ",
        "+91-9876543210.0",
        "+91-9876543210.00",
        "0-9876543210.0",
        "91 9876543210.0",
        "(+91) 98765 43210.0",
        "+91-9876543210,0",
        "9876543210,00",
        "p:9876543210.0",
        "+91-98765.43210",
    ];

    #[test]
    fn one_number_is_read_from_all_the_ways_to_write_it() {
        for cell in SAME {
            assert_eq!(word_on(Lane::Sms, cell), "919876543210", "{cell:?}");
        }
    }

    /// Cells with what they are read as when an SMS is to be sent: digits, or part of the reason.
    const GOLDEN: [(&str, &str); 147] = [
        ("9123456789", "919123456789"),
        ("919123456789", "919123456789"),
        ("09123456789", "919123456789"),
        ("9191919191", "919191919191"),
        ("6000000000", "916000000000"),
        ("8023456789", "918023456789?"),
        ("08023456789", "918023456789?"),
        ("+91 80 2345 6789", "918023456789?"),
        ("+44 7911 123456", "447911123456"),
        ("0044 7911 123456", "447911123456"),
        ("+44 (0) 7911 123456", "447911123456"),
        ("+1 212 555 2368", "12125552368"),
        ("+971 50 123 4567", "971501234567"),
        ("+39 312 345 6789", "393123456789"),
        ("+65 8123 4567", "6581234567"),
        ("+54 9 11 2345 6789", "5491123456789"),
        ("+261 2000000", "impossible"),
        ("", "no phone number"),
        ("   ", "no phone number"),
        ("\u{200b}\u{a0}", "no phone number"),
        ("9.19877E+11", "scientific"),
        ("9.19877e+11", "scientific"),
        ("9,19877E+11", "scientific"),
        ("+9.19877E+11", "scientific"),
        ("9E+11", "scientific"),
        ("9.87654321E9", "scientific"),
        ("9.87654321E+09", "scientific"),
        ("9876543210/9876543211", "more than one"),
        ("9876543210 / 9876543211", "more than one"),
        ("9876543210, 9876543211", "more than one"),
        ("9876543210;9876543211", "more than one"),
        ("9876543210 9876543211", "more than one"),
        ("98765 43210 98765 43211", "more than one"),
        ("9876543210\n9876543211", "more than one"),
        ("9876543210-9876543211", "more than one"),
        ("9876543210 or 9876543211", "more than one"),
        ("+919876543210+919876543211", "more than one"),
        ("022-23456789/90", "more than one"),
        ("9876543210/11", "more than one"),
        ("98765 43210/11", "more than one"),
        ("66543210-11", "more than one"),
        ("66543210 - 11", "more than one"),
        ("66543210\u{2013}11", "more than one"),
        ("022-66543210-11", "more than one"),
        ("6654 3210-11", "more than one"),
        ("66543210 (11)", "more than one"),
        ("66543210 11", "more than one"),
        ("66543210-11.", "more than one"),
        ("66543210-12-", "more than one"),
        ("66543211 (11).", "more than one"),
        ("66543210-1-2", "more than one"),
        ("6654 3210-1-2", "more than one"),
        ("987654329-0-", "more than one"),
        ("98765432.1 0", "more than one"),
        ("987654321.0.", "too few"),
        ("987654321.0-", "too few"),
        ("987654321.0 .", "too few"),
        ("987654321.0()", "too few"),
        ("(987654321.0)", "too few"),
        ("+91-987654327.0.", "too few"),
        ("987654321.5.", "decimal"),
        ("987654321.5 -", "decimal"),
        ("98765 43210.", "919876543210"),
        ("+7 912 345-67-89", "79123456789"),
        ("98-76-54-32-10", "919876543210"),
        ("9876543-210", "more than one"),
        ("+91 98765 33007 ::: +91 99999 33008", "more than one"),
        ("p:9876543210,p:9876543211", "more than one"),
        ("skype:9876543210", "letters"),
        ("p:", "no phone number"),
        (" ::: ", "no phone number"),
        ("98765O3210", "letters"),
        ("9876543ABC", "letters"),
        ("1800FLOWERS", "letters"),
        ("n/a", "letters"),
        ("NULL", "letters"),
        ("#N/A", "letters"),
        ("98765x3210", "letters"),
        ("mob: 9876543210", "letters"),
        ("9876543210 (wife)", "letters"),
        ("a@b.in", "letters"),
        ("9876543210 ext 12", "extension"),
        ("9876543210 ext. 12", "extension"),
        ("9876543210x12", "extension"),
        ("9876543210 #12", "extension"),
        ("tel:+919876543210;ext=12", "extension"),
        ("9876543210.5", "decimal"),
        ("98765432.10", "decimal"),
        ("9876543210.000", "decimal"),
        ("+91987654321.5", "decimal"),
        ("987654321.0", "too few"),
        ("+91-987654321.0", "too few"),
        ("0-987654322.0", "too few"),
        ("91 987654323.0", "eleven digits"),
        ("+91-987654321.00", "too few"),
        ("+91-98765432,10", "decimal"),
        ("+91-987654324.5", "decimal"),
        ("+91 98765 4324.5", "decimal"),
        ("+91-98765432.10", "decimal"),
        ("+91-9876543.210", "decimal"),
        ("+91-9876543210.5", "decimal"),
        ("+91-9876543210.0.0", "decimal"),
        ("987654321.5", "decimal"),
        ("987654321,5", "decimal"),
        ("+44 740012345.0", "impossible"),
        ("+44 7400123456.0", "447400123456"),
        ("+44 74001234.56", "decimal"),
        ("+33 6.12.34.56.78", "33612345678"),
        ("+33-6-12-34-56-78", "33612345678"),
        ("+1 212.555.2368", "12125552368"),
        ("+33 6.12.34.56.00", "too few"),
        ("98,76,54,32,10", "do not belong"),
        ("0.0", "too few"),
        (".5", "too few"),
        ("-9876543119", "negative"),
        ("-141884", "negative"),
        ("*", "do not belong"),
        ("-", "do not belong"),
        ("+", "do not belong"),
        ("98******10", "do not belong"),
        ("++919876543210", "do not belong"),
        ("9876543+210", "do not belong"),
        ("98765_43210", "do not belong"),
        ("9,876,543,210", "do not belong"),
        ("=9876543210", "do not belong"),
        ("0", "too few"),
        ("00", "too few"),
        ("112", "too few"),
        ("987654321", "too few"),
        ("0987654321", "too few"),
        ("910987654321", "too few"),
        ("+91 987654321", "too few"),
        ("91987654321", "eleven digits"),
        ("98765432101", "too many digits for an Indian"),
        ("447911123456", "too many digits for an Indian"),
        ("9109876543210", "too many digits for an Indian"),
        ("0919876543210", "too many digits for an Indian"),
        ("+9198765432101", "too many"),
        ("+919876543210123456", "too many"),
        ("+9876543210", "too few"),
        ("0000000000", "country code"),
        ("+999 1234567", "country code"),
        ("02223456789", "fixed line"),
        ("+44 20 7946 0958", "fixed line"),
        ("18001234567", "too many digits for an Indian"),
        ("1600123456", "service number"),
        ("5012345678", "impossible"),
    ];

    #[test]
    fn a_cell_without_end_takes_no_longer_than_it_is_long() {
        for part in ["x", "9", "9 ", "/", "+", ".", "१"] {
            let cell = part.repeat(1_000_000);
            assert!(read(&cell, Lane::Call, Region::IN).is_err(), "{part}");
        }
    }

    #[test]
    fn odd_cells_are_read_without_guessing() {
        for (cell, expected) in GOLDEN {
            let word = word_on(Lane::Sms, cell);
            let ok = if expected.starts_with(|c: char| c.is_ascii_digit()) {
                word == expected
            } else {
                word.contains(expected)
            };
            assert!(ok, "{cell:?}: {word}, not {expected}");
        }
    }

    /// A country code, a number beside it, and what they are.
    const WITH_CODE: [(&str, &str, &str); 59] = [
        ("91", "9876500101", "919876500101"),
        ("+91", "98765 00101", "919876500101"),
        ("0091", "09876500101", "919876500101"),
        ("91.0", "9876500101.0", "919876500101"),
        ("(91)", "919876500101", "919876500101"),
        ("९१", "+91 98765 00101", "919876500101"),
        ("IN", "9876500101", "919876500101"),
        ("91", "9198765001", "919198765001"),
        ("91", "0091 98765 00101", "919876500101"),
        ("", "9876500101", "919876500101"),
        (" ", "+44 7400 123456", "447400123456"),
        ("44", "7400123456", "447400123456"),
        ("44", "07400 123456", "447400123456"),
        ("'+44", "(0)7400-123456", "447400123456"),
        ("0044", "+447400123456", "447400123456"),
        ("44", "00447400123456", "447400123456"),
        ("44", "447400123456", "447400123456"),
        ("gb", "7400123456", "447400123456"),
        ("1", "7025550143", "17025550143"),
        ("+1", "17025550143", "17025550143"),
        ("1", "(702) 555-0143", "17025550143"),
        ("1", "+1 246 250 1234", "12462501234"),
        ("1-246", "2501234", "12462501234"),
        ("1246", "+12462501234", "12462501234"),
        ("971", "501234567", "971501234567"),
        ("+971", "0501234567", "971501234567"),
        ("65", "91234567", "6591234567"),
        ("65", "6591234567", "6591234567"),
        ("65", "65123456", "a fixed line"),
        ("44", "2079460958", "a fixed line"),
        ("44", "8001234567", "service"),
        ("44", "9876500101", "do not make one number"),
        ("1", "9876500101", "do not make one number"),
        ("44", "919876500101", "do not make one number"),
        ("44", "+919876500101", "another country code"),
        ("91", "+447400123456", "another country code"),
        ("91", "00447400123456", "another country code"),
        ("4", "+447400123456", "another country code"),
        ("91", "447400123456", "too many digits"),
        ("91", "987650010", "too few"),
        ("999", "9876500101", "do not make one number"),
        ("India", "9876500101", "919876500101"),
        ("+91 (India)", "9876500101", "919876500101"),
        ("India (+91)", "9876500101", "919876500101"),
        ("IN +91", "9876500101", "919876500101"),
        ("IN (91)", "9876500101", "919876500101"),
        ("Côte d'Ivoire (+225)", "0123456789", "2250123456789"),
        ("United Kingdom: +44", "7400123456", "447400123456"),
        ("91,0", "9876500101", "919876500101"),
        ("44.00", "7400123456", "447400123456"),
        ("UK", "7400123456", "447400123456"),
        ("usa", "7025550143", "17025550143"),
        ("Bharat", "9876500101", "cannot be read"),
        ("US (+91)", "9876500101", "cannot be read"),
        ("+91 / +44 (India)", "9876500101", "cannot be read"),
        ("Zone 91", "9876500101", "cannot be read"),
        ("India (+91)", "+447400123456", "another country code"),
        ("-", "9876500101", "cannot be read"),
        ("44", "7400123456/57", "more than one"),
    ];

    #[test]
    fn a_country_code_beside_a_number_is_joined_or_the_two_are_refused() {
        for (code, cell, expected) in WITH_CODE {
            for region in ["IN", "AE"] {
                // With no code the region decides.
                if code.trim().is_empty() && region == "AE" {
                    continue;
                }
                let read = read_with_code(cell, code, Lane::Sms, region.parse().unwrap());
                let word = match read {
                    Ok(phone) => phone.number.digits().to_string(),
                    Err(Problem(why)) => why.to_owned(),
                };
                assert!(word.contains(expected), "{code:?}, {cell:?}: {word}");
            }
        }
    }

    #[test]
    fn a_number_that_may_or_may_not_begin_with_its_country_code_is_refused() {
        // Austrian and German numbers are of many lengths.
        let both = read_with_code("4355872666", "43", Lane::Call, Region::IN);
        assert_eq!(both, Err(AMBIGUOUS));
        let zeros = read("+49 855622784.0", Lane::Call, Region::IN);
        assert_eq!(zeros, Err(DECIMAL));
    }

    #[test]
    fn a_cell_can_mean_the_number_that_it_was_read_as() {
        for (cell, number, can) in [
            ("7400123456", "+447400123456", true),
            ("07400 123456", "+447400123456", true),
            ("+447400123456", "+447400123456", true),
            ("447400123456", "+447400123456", true),
            ("00447400123456", "+447400123456", true),
            ("7400123457", "+447400123456", false),
            ("123456", "+447400123456", false),
            ("0123456", "+447400123456", false),
            ("6543210", "+919876543210", false),
            ("876543210", "+919876543210", false),
            ("98765432.10", "+919876543210", false),
            ("9876543210 is wrong", "+919876543210", false),
            ("+6591234564", "+916591234564", false),
            ("006591234564", "+916591234564", false),
            ("2501234", "+12462501234", true),
            ("4355872666", "+434355872666", true),
            ("", "+447400123456", false),
        ] {
            assert_eq!(can_mean(cell, number), can, "{cell}");
        }
        assert!(resembles("DO NOT SEND 9876543210", "+919876543210"));
        assert!(!resembles("9876543211", "+919876543210"));
        let written = |cell| written_by_us(cell);
        assert_eq!(written(" 919876543210").as_deref(), Some("+919876543210"));
        assert_eq!(written("+91987").as_deref(), None);
        assert_eq!(written("9.19877E+11").as_deref(), None);
    }

    #[test]
    fn a_fixed_line_may_be_called_and_may_give_a_code_back() {
        for lane in [Lane::Call, Lane::Verify] {
            assert_eq!(word_on(lane, "022 2345 6789"), "912223456789");
            assert_eq!(word_on(lane, "+44 20 7946 0958"), "442079460958");
            assert!(word_on(lane, "1600123456").contains("service"));
            assert!(word_on(lane, "5012345678").contains("impossible"));
        }
    }

    #[test]
    fn another_region_reads_its_own_national_numbers() {
        let gb: Region = "gb".parse().unwrap();
        let number = |cell| read(cell, Lane::Sms, gb).map(|phone| phone.number.digits());
        assert_eq!(number("07911 123456"), Ok(447_911_123_456));
        assert_eq!(number("+91 98765 43210"), Ok(919_876_543_210));
        assert_eq!(number("0091 98765 43210"), Ok(919_876_543_210));
        assert_eq!(number("020 7946 0958"), Err(FIXED_LINE));
        assert_eq!(number("9876543210"), Err(IMPOSSIBLE));
        assert_eq!(number("0800 123 4567"), Err(SERVICE));
    }

    #[test]
    fn regions_are_named_by_two_letters() {
        assert_eq!("in".parse::<Region>().unwrap(), Region::IN);
        assert_eq!("DE".parse::<Region>().unwrap().to_string(), "DE");
        for name in ["", "I", "India", "ZZ", "XX", "91", "001"] {
            assert!(name.parse::<Region>().is_err(), "{name}");
        }
    }

    #[test]
    fn every_indian_number_from_6_on_is_read_in_every_form_as_itself() {
        let mut random = fastrand::Rng::with_seed(9);
        for _ in 0..300 {
            let digits = random.u64(6_000_000_000..10_000_000_000).to_string();
            let (a, b) = digits.split_at(5);
            for cell in [
                digits.clone(),
                format!("0{digits}"),
                format!("91{digits}"),
                format!("+91{digits}"),
                format!("0091 {a}-{b}"),
                format!("(+91) {a} {b}"),
                format!("+91 (0){a}.{b}"),
                format!("=\"{digits}\""),
                format!("{digits}.0"),
                format!("\u{200e}'{a}\u{a0}{b} "),
            ] {
                let word = word_on(Lane::Sms, &cell);
                assert_eq!(
                    word.trim_end_matches('?'),
                    format!("91{digits}"),
                    "{cell:?}"
                );
            }
        }
    }

    #[test]
    fn a_number_with_one_digit_more_or_less_is_never_read() {
        let mut random = fastrand::Rng::with_seed(10);
        for _ in 0..1000 {
            let short = random.u64(600_000_000..1_000_000_000);
            let long = random.u64(60_000_000_000..100_000_000_000);
            for cell in [
                format!("{short}"),
                format!("0{short}"),
                format!("91{short}"),
                format!("+91{short}"),
                format!("{long}"),
                format!("0{long}"),
                format!("91{long}"),
                format!("+91{long}"),
            ] {
                assert!(read(&cell, Lane::Call, Region::IN).is_err(), "{cell}");
            }
        }
    }

    #[test]
    fn random_cells_never_panic_and_give_only_digits_that_stand_in_them() {
        let mut random = fastrand::Rng::with_seed(11);
        let alphabet: Vec<char> = "0123456789998877+-. ()/,;:peExX'=\"#*\u{a0}\u{200b}९Oé"
            .chars()
            .collect();
        for _ in 0..50_000 {
            let length = random.usize(0..24);
            let cell: String = (0..length)
                .map(|_| random.choice(&alphabet).unwrap())
                .collect();
            if let Ok(phone) = read(&cell, Lane::Call, Region::IN) {
                let digits = phone.number.digits().to_string();
                let digits = digits.strip_prefix("91").unwrap_or(&digits);
                let cell: String = cell.chars().map(western).collect();
                let cell: String = cell.chars().filter(char::is_ascii_digit).collect();
                assert!(cell.contains(digits), "{cell}: {digits}");
            }
        }
    }
}
