//! The reader of numbers, through a file of one column as everybody else reaches it.

use std::fmt::Write as _;
use std::path::Path;

use otpdrive::contacts::{ReadOptions, Region};
use otpdrive::job::{Channel, Operation};

use super::choices::Choices;

/// The digits of the number that a cell is read as and whether it is only assumed to be a mobile's,
/// or why it is none.
pub type Reading = Result<(u64, bool), &'static str>;

/// What is accepted has all its digits from the cell, nothing but a number in the cell, and reads
/// back as itself.
pub fn check(bytes: &[u8]) {
    let folder = super::folder();
    let path = folder.path().join("list.csv");
    let cells = match bytes.split_first() {
        Some((0..=63, rest)) => {
            let text = String::from_utf8_lossy(rest);
            text.split(['\n', '\0']).map(str::to_owned).collect()
        }
        _ => cells(&mut Choices::new(bytes), 64),
    };
    let readings = read(&path, &cells, Channel::Call, Region::IN);
    let by_sms = read(&path, &cells, Channel::Sms, Region::IN);
    let mut numbers = Vec::new();
    for ((cell, reading), by_sms) in cells.iter().zip(&readings).zip(&by_sms) {
        assert!(by_sms.is_err() || reading == by_sms, "{cell:?}");
        if let Ok((number, _)) = reading {
            is_in_the_cell(cell, *number);
            numbers.push(*number);
        }
    }
    let again: Vec<String> = numbers.iter().map(|number| format!("+{number}")).collect();
    let back = read(&path, &again, Channel::Call, Region::IN);
    let back = back.into_iter().map(|reading| reading.map(|read| read.0));
    assert_eq!(back.collect::<Result<Vec<u64>, _>>(), Ok(numbers));
}

/// Reads these cells as the phone column of a file.
pub fn read(path: &Path, cells: &[String], channel: Channel, region: Region) -> Vec<Reading> {
    if cells.is_empty() {
        return Vec::new();
    }
    let mut text = String::from("phone,n\n");
    for cell in cells {
        let cell = cell.replace(['\n', '\r', '\0'], " ").replace('"', "\"\"");
        let _ = writeln!(text, "\"{cell}\",x");
    }
    std::fs::write(path, text).expect("a file");
    let mut options = ReadOptions::new(Operation::Send, channel);
    options.region = region;
    let (_, rows) = super::read(path, &options).expect("it is CSV");
    assert_eq!(rows.len(), cells.len());
    let readings = rows.into_iter().map(|row| row.asks);
    let readings = readings.map(|asks| asks.map(|(number, _, assumed)| (number, assumed)));
    readings.collect()
}

/// No letter but those of `tel:` and the like, and of an Indian number exactly the digits that stand there.
fn is_in_the_cell(cell: &str, number: u64) {
    let shown = format!("{cell:?} was read as {number}");
    let text: String = cell.chars().map(western).collect();
    let letters: String = text.chars().filter(|c| c.is_alphabetic()).collect();
    let schemes = ["", "tel", "p", "whatsapp", "sms", "callto"];
    let is_scheme = schemes
        .iter()
        .any(|scheme| letters.eq_ignore_ascii_case(scheme));
    assert!(is_scheme, "{shown}");
    let digits = |text: &str| -> String { text.chars().filter(char::is_ascii_digit).collect() };
    let all = digits(&text);
    let whole = text
        .trim_end_matches(|c: char| !c.is_ascii_digit())
        .rsplit_once(['.', ','])
        .map_or(String::new(), |(whole, _)| digits(whole));
    let fits = |digits: &str| {
        let e164 = number.to_string();
        let digits = digits.strip_prefix("00").unwrap_or(digits);
        match e164.strip_prefix("91") {
            Some(national) => ["", "0", "91", "910"]
                .iter()
                .any(|before| digits.strip_prefix(before) == Some(national)),
            // The trunk prefix of another country may be left out; nothing else may.
            None => digits.len() >= e164.len() - 1 && digits.len() <= e164.len() + 3,
        }
    };
    assert!(fits(&all) || all.ends_with('0') && fits(&whole), "{shown}");
}

/// A digit of any script as an ASCII one.
fn western(c: char) -> char {
    let mut zeros = "0٠۰߀०০੦૦୦௦౦೦൦๐０".chars().map(u32::from);
    let digit = zeros.find_map(|zero| u32::from(c).checked_sub(zero).filter(|n| *n < 10));
    digit.and_then(|n| char::from_digit(n, 10)).unwrap_or(c)
}

/// Cells with numbers in every way to write them, and with everything that is nearly a number.
pub fn cells(choices: &mut Choices<'_>, max: usize) -> Vec<String> {
    let mut cells = Vec::new();
    while !choices.is_empty() && cells.len() < max {
        cells.push(cell(choices));
    }
    cells
}

fn cell(choices: &mut Choices<'_>) -> String {
    // Country codes with the digits of a number there.
    const ABROAD: &str = "44-7400123456 ¦ 1-2125552368 ¦ 971-501234567 ¦ 39-3123456789 \
        ¦ 65-81234567 ¦ 880-1812345678 ¦ 977-9841234567 ¦ 54-91123456789 ¦ 52-5512345678 \
        ¦ 7-9123456789 ¦ 36-201234567 ¦ 49-15123456789 ¦ 856-2023123456 ¦ 800-12345678";
    const SPECIAL: &str = "112 ¦ 1800123456 ¦ 18001234567 ¦ 1600123456 ¦ 140 ¦ 02223456789 \
        ¦ 5012345678 ¦ 9E+11 ¦ 9.19877E+11";
    const AROUND: &str = "tel:@ ¦ '@ ¦ =\"@\" ¦ @.0 ¦ \u{a0}@\u{200b} ¦ \u{feff} @\t \
        ¦ \u{202a}@\u{202c} ¦ @ ext 12 ¦ @/123456 ¦ @, @ ¦ @E+05 ¦ \"@\" ¦ TEL: @ ¦ @, \
        ¦ p:@ ¦ WhatsApp: @ ¦ callto://@ ¦ @ ::: ¦ @ ::: @ ¦ @,0 ¦ @.5 ¦ @-11";
    const ODD: &str = "019OlIe.+- ()/;,'\"=#*\u{a0}\u{200b}\u{2011}\u{ff0b}९ｅ٫";
    let mut cell = match choices.below(8) {
        0 => {
            let abroad = choices.word(ABROAD);
            let (country, national) = abroad.split_once('-').expect("both");
            let mut national = national.to_owned();
            for _ in 0..choices.below(4) {
                let at = choices.size(national.len());
                let digit = choices.below(10).to_string();
                national.replace_range(at..=at, &digit);
            }
            let before = choices.of(&["+", "00", "", "+0", "0", "tel:+"]);
            let between = choices.of(&["", " ", "-", " (0) ", "0", "."]);
            format!("{before}{country}{between}{}", grouped(choices, &national))
        }
        1 => choices.word(SPECIAL).to_owned(),
        _ => {
            let first = choices.of(&['9', '8', '7', '6', '9', '8', '2', '1']);
            let rest = choices.below(1_000_000_000);
            let before = choices.of(&[
                "", "0", "91", "+91", "0091", "+91 ", "+91-", "(+91) ", "+91 (0)", "91 ", "0 ",
                "+", "00", "091", "+0", "+91 91",
            ]);
            before.to_owned() + &grouped(choices, &format!("{first}{rest:09}"))
        }
    };
    if choices.rarely(6) {
        let zero = choices.of(&[0x966, 0xff10, 0x660, 0x6f0, 0xbe6, 0xe50, 0x1d7ce]);
        let foreign = |c: char| c.to_digit(10).and_then(|n| char::from_u32(zero + n));
        cell = cell.chars().map(|c| foreign(c).unwrap_or(c)).collect();
    }
    // One in two is left alone.
    if choices.rarely(2) {
        cell = choices.word(AROUND).replace('@', &cell);
    }
    for _ in 0..choices.below(9).saturating_sub(5) {
        let at = cell.floor_char_boundary(choices.size(cell.len() + 1));
        let odd = choices.of(&ODD.chars().collect::<Vec<_>>());
        if choices.rarely(2) && at < cell.len() {
            cell.remove(at);
        } else {
            cell.insert(at, odd);
        }
    }
    cell
}

/// The digits in groups, or not.
fn grouped(choices: &mut Choices<'_>, digits: &str) -> String {
    let between = choices.of(&["", "", "", " ", "-", ".", "\u{a0}", "\u{2011}", ") "]);
    let at = choices.size(digits.len()).max(1);
    let middle = digits.len() / 2;
    let (front, back) = digits.split_at(if choices.rarely(2) { at } else { middle });
    format!("{front}{between}{back}")
}
