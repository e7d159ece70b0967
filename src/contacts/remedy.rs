//! What to do about rows that cannot be used, by what is wrong with them.

use super::codes::{CODE_DAMAGED, NO_CODE, SEVERAL_CODES, WORDS, WRONG_LENGTH};
use super::columns::SHIFTED;
use super::digits::{DECIMAL, EMPTY, EXTENSION, LETTERS, NEGATIVE, SCIENTIFIC, SEVERAL, STRANGE};
use super::numbers::{
    AMBIGUOUS, CONTRADICTION, DIGIT_LOST, FIXED_LINE, IMPOSSIBLE, NO_COUNTRY, NOT_ONE, SERVICE,
    TOO_LONG, TOO_SHORT,
};
use super::row::{NO_OTP_CELL, NO_PHONE_CELL};
use crate::job::Problem;

const AS_NUMBER: &str = "format the column as Number with no decimals and export again";
const AS_TEXT: &str = "format the column as Text, enter it again and export again";
const FROM_SOURCE: &str = "look it up where the list comes from";
const ONE_OF_BOTH: &str = "correct one of the two cells";
const FILL: &str = "fill it in, or take the row out";

/// What says itself what to do is not among them.
const REMEDIES: [(Problem, &str); 26] = [
    (EMPTY, FILL),
    (SCIENTIFIC, AS_NUMBER),
    (DECIMAL, AS_NUMBER),
    (NEGATIVE, AS_TEXT),
    (
        SEVERAL,
        "leave one in the cell, and give the others rows of their own",
    ),
    (
        EXTENSION,
        "an OTP reaches no extension: give a number of the person's own",
    ),
    (LETTERS, "write digits alone; an O may be meant as a 0"),
    (STRANGE, "write digits, and a + in front where it is meant"),
    (TOO_SHORT, FROM_SOURCE),
    (TOO_LONG, FROM_SOURCE),
    (DIGIT_LOST, FROM_SOURCE),
    (NO_COUNTRY, FROM_SOURCE),
    (
        IMPOSSIBLE,
        "write numbers of another country with + and its code, or say --region",
    ),
    (SERVICE, "give the number of a person"),
    (
        FIXED_LINE,
        "call it: --channel call, or a channel column with call in this row",
    ),
    (CONTRADICTION, ONE_OF_BOTH),
    (NOT_ONE, ONE_OF_BOTH),
    (AMBIGUOUS, "write the number with + and its country code"),
    (SHIFTED, "put the cell with the separator in it in quotes"),
    (NO_PHONE_CELL, FILL),
    (NO_OTP_CELL, FILL),
    (NO_CODE, FILL),
    (CODE_DAMAGED, "format the column as Text and export again"),
    (SEVERAL_CODES, "leave the latest one"),
    (WORDS, "ask for the code again"),
    (
        WRONG_LENGTH,
        "a spreadsheet may have taken zeros in front away: format the column as Text",
    ),
];

/// What to do about rows with this problem, where it does not say so itself.
#[must_use]
pub fn remedy(problem: &str) -> Option<&'static str> {
    let known = REMEDIES.iter().find(|(known, _)| known.0 == problem);
    known.map(|(_, remedy)| *remedy)
}
