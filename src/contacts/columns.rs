//! Which columns hold what, and which are kept for the result file.

use csv::StringRecord;

use super::cell::{is_blank, unwrap};
use super::earlier::{Results, is_result};
use super::error::{Fault, show};
use super::names::{
    CHANNEL, COUNTRY_CODE, COUNTRY_CODE_WORDS, COUNTRY_WORDS, OTP, Wanted, has_words,
};
use super::phone_column::{TAKE_OUT, find_phone, header_below, no_phone};
use super::table::Row;
use super::{ReadOptions, numbers};
use crate::job::{Lane, Operation, Problem};
use crate::record::{MASKED_CODE, result_column};

pub(super) const SHIFTED: Problem = Problem(
    "more cells than the header: a separator that is not in quotes has shifted the row, most likely",
);

/// Where in a row things are.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) phone: usize,
    pub(super) country_code: Option<usize>,
    /// Columns that nobody named and that may hold country codes, if there is none that does.
    pub(super) maybe_country_codes: Vec<usize>,
    /// Only when codes are checked.
    pub(super) otp: Option<usize>,
    /// Only when OTPs are sent.
    pub(super) channel: Option<usize>,
    pub(super) results: Results,
    /// For each column of the header: does it stay out of the result file?
    dropped: Vec<bool>,
    /// For each column of the header: is a row shifted that has something there? Such a column has
    /// no name, nor has one behind it.
    beyond: Vec<bool>,
}

/// What of a row's record is hidden.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hidden {
    Nothing,
    /// Its code.
    Code,
    /// All cells from that of the code on: in a row that is shifted, it is in one of them.
    FromCodeOn,
}

impl Columns {
    /// Finds the columns in the header; the first rows below it help.
    pub(super) fn find(
        header: &Row<'_>,
        sample: &[(u64, StringRecord)],
        delimiter: char,
        options: &ReadOptions,
    ) -> Result<Self, Fault> {
        let (line, names) = (header.line, header.cells);
        if let Some(header) = header_below(names, sample, options) {
            let advice = if options.columns_are_optional {
                TAKE_OUT.to_owned()
            } else {
                format!("if so, say --header-line {header}")
            };
            return Err(Fault::HeaderBelow {
                line,
                header,
                advice,
            });
        }
        let is_number = |cell| numbers::read(cell, Lane::Call, options.region).is_ok();
        if names.iter().any(is_number) {
            return Err(Fault::NoHeader { line });
        }
        let results = Results::find(names);
        let phone = find_phone(names, sample, &results, options)?;
        let phone = phone.ok_or_else(|| no_phone(header, sample, delimiter, options))?;
        let find = |wanted: &Wanted, asked: &Option<String>| {
            wanted.find(names, asked.as_deref(), options.columns_are_optional)
        };
        let (mut otp, mut channel) = (None, None);
        if options.operation == Operation::Verify {
            otp = find(&OTP, &options.otp_column)?;
            otp.ok_or_else(|| OTP.missing(names, delimiter))?;
        } else if !options.numbers_only {
            channel = find(&CHANNEL, &options.channel_column)?;
        }
        let mut country_code = find(&COUNTRY_CODE, &options.country_code_column)?;
        let mut maybe_country_codes = Vec::new();
        if country_code.is_none() && options.country_code_column.is_none() {
            let has = |i: usize, words: &[&str]| i != phone && has_words(&names[i], words);
            let holds_one = |i: usize| {
                let mut cells = sample.iter().filter_map(|(_, row)| row.get(i));
                cells.any(numbers::is_country_code)
            };
            let all = || 0..names.len();
            let likely = all().filter(|i| has(*i, &COUNTRY_CODE_WORDS) && holds_one(*i));
            country_code = COUNTRY_CODE.only(names, &likely.collect::<Vec<_>>())?;
            if country_code.is_none() {
                maybe_country_codes = all().filter(|i| has(*i, &COUNTRY_WORDS)).collect();
            }
        }
        for (found, wanted) in [(otp, OTP), (country_code, COUNTRY_CODE), (channel, CHANNEL)] {
            if found == Some(phone) {
                let (what, name) = (wanted.what, show(&names[phone]));
                return Err(Fault::SameColumn { what, name });
            }
        }
        let dropped: Vec<bool> = names.iter().map(is_result).collect();
        Ok(Self {
            phone,
            country_code,
            maybe_country_codes,
            otp,
            channel,
            results,
            beyond: beyond(names, &dropped),
            dropped,
        })
    }

    /// Has a row something beyond the header? Then a separator too many stands in it somewhere. Empty
    /// cells there are none.
    pub(super) fn is_shifted(&self, cells: &StringRecord) -> bool {
        // Most rows are no wider than what has a name.
        let first = self.beyond.iter().position(|beyond| *beyond);
        let first = first.unwrap_or(self.beyond.len());
        (first..cells.len())
            .any(|i| self.beyond.get(i).is_none_or(|beyond| *beyond) && !is_blank(&cells[i]))
    }

    /// How many columns are not kept.
    pub(super) fn dropped(&self) -> usize {
        self.dropped.iter().filter(|dropped| **dropped).count()
    }

    /// The kept cells of the header, as CSV, as wide as the widest row.
    pub(super) fn header(&self, header: &StringRecord, width: usize) -> String {
        self.record(header, width, Hidden::Nothing)
    }

    /// The kept cells of a row, as CSV, as wide as the widest row.
    pub(super) fn record(&self, cells: &StringRecord, width: usize, hidden: Hidden) -> String {
        let hides = |i: usize| match hidden {
            Hidden::Nothing => false,
            Hidden::Code => self.otp == Some(i),
            Hidden::FromCodeOn => self.otp.is_some_and(|otp| i >= otp),
        };
        let mut fragment = String::with_capacity(cells.as_slice().len() + 2 * width);
        let kept = (0..width).filter(|i| !self.dropped.get(*i).is_some_and(|dropped| *dropped));
        for (n, i) in kept.enumerate() {
            if n > 0 {
                fragment.push(',');
            }
            match cells.get(i).unwrap_or_default() {
                // An empty cell hides nothing, and stars would claim that there was a code.
                cell if hides(i) && !unwrap(cell).is_empty() => fragment.push_str(MASKED_CODE),
                cell => push_cell(&mut fragment, cell),
            }
        }
        fragment
    }
}

/// Which unnamed columns have no named one of the list's own behind them? In a result file those
/// of the list end where ours begin.
fn beyond(names: &StringRecord, dropped: &[bool]) -> Vec<bool> {
    let mut beyond = vec![false; names.len()];
    let mut at_end = true;
    for i in (0..names.len()).rev() {
        let unnamed = is_blank(&names[i]);
        beyond[i] = unnamed && at_end;
        at_end = at_end && (unnamed || dropped[i]) || unwrap(&names[i]) == result_column::LINE;
    }
    beyond
}

/// Adds a cell to a CSV fragment, in quotes where it needs them.
fn push_cell(fragment: &mut String, cell: &str) {
    if cell.contains([',', '"', '\r', '\n']) {
        fragment.push('"');
        fragment.push_str(&cell.replace('"', "\"\""));
        fragment.push('"');
    } else {
        fragment.push_str(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Channel;

    fn find(names: &[&str], change: impl FnOnce(&mut ReadOptions)) -> Result<Columns, Fault> {
        let mut options = ReadOptions::new(Operation::Send, Channel::Sms);
        change(&mut options);
        let cells = names.to_vec().into();
        let header = Row {
            line: 1,
            cells: &cells,
            text: "",
            spans_lines: false,
        };
        Columns::find(&header, &[], ',', &options)
    }

    fn phone(names: &[&str]) -> usize {
        find(names, |_| {}).unwrap().phone
    }

    fn refusal(names: &[&str], change: impl FnOnce(&mut ReadOptions)) -> String {
        find(names, change).unwrap_err().to_string()
    }

    fn verify(options: &mut ReadOptions) {
        options.operation = Operation::Verify;
    }

    #[test]
    fn the_phone_column_is_found_whatever_its_case_spaces_and_punctuation() {
        for name in [
            "phone",
            "Phone",
            " PHONE_NO ",
            "phone number",
            "Mobile No.",
            "mobile-number",
            "MSISDN",
            "Contact Number",
            "\u{feff}phone",
            "Cell\u{200b}Phone",
            "Tel.",
            "Phone #",
        ] {
            assert_eq!(phone(&["name", name, "number", "whatsapp"]), 1, "{name:?}");
        }
    }

    #[test]
    fn the_phone_column_is_found_by_the_words_of_indian_languages() {
        for name in [
            "मोबाइल नंबर",
            "मोबाइल नं.",
            "मोबाइल संख्या",
            "फ़ोन नम्बर",
            "\u{95e}ोन",
            "संपर्क नंबर",
            "मोबाईल क्रमांक",
            "भ्रमणध्वनी क्र.",
            "दूरध्वनी क्रमांक",
            "মোবাইল নম্বর",
            "মোবাইল নাম্বার",
            "ফোন নং",
            "கைபேசி எண்",
            "கைப்பேசி எண்",
            "மொபைல் எண்",
            "தொலைபேசி எண்",
            "మొబైల్ నంబర్",
            "ఫోన్ నెంబర్",
            "చరవాణి సంఖ్య",
            "મોબાઇલ નંબર",
            "મોબાઈલ નં.",
            "સંપર્ક નંબર",
            "ಮೊಬೈಲ್ ಸಂಖ್ಯೆ",
            "ದೂರವಾಣಿ ಸಂಖ್ಯೆ",
            "ಫೋನ್ ನಂಬರ್",
            "മൊബൈൽ നമ്പർ",
            "ഫോൺ നമ്പർ",
            "ਮੋਬਾਈਲ ਨੰਬਰ",
            "ਫ਼ੋਨ ਨੰਬਰ",
            "ਸੰਪਰਕ ਨੰਬਰ",
            "ମୋବାଇଲ ନମ୍ବର",
            "ଫୋନ୍ ନମ୍ଵର୍",
            "ম'বাইল নম্বৰ",
            "ফ’ন নম্বৰ",
            "फोन नम्बर",
            "موبائل نمبر",
            "فون نمبر",
            "رابطہ نمبر",
            "Mobile No. / मोबाइल नंबर",
            "मोबाइल नंबर (10 अंक)",
            "Phone/Mobile",
            "Ph. No.",
        ] {
            assert_eq!(phone(&["नाम", name, "संख्या", "number"]), 1, "{name:?}");
        }
    }

    #[test]
    fn a_name_is_the_same_in_whatever_form_its_characters_are_written() {
        for name in [
            // Vowels in their parts (NFD).
            "ম\u{9c7}\u{9be}বাইল নম্বর",
            "ম\u{9c1}ঠ\u{9c7}\u{9be}ফ\u{9c7}\u{9be}ন",
            "ம\u{bc6}\u{bbe}பைல் எண்",
            "ஃப\u{bc7}\u{bbe}ன்",
            "ಮ\u{cc6}\u{cc2}ಬ\u{cc6}\u{cd6}ಲ್ ಸಂಖ್ಯ\u{cc6}",
            "ಫ\u{cc6}\u{cc2}\u{cd5}ನ್ ಸಂಖ್ಯೆ",
            "മ\u{d46}\u{d3e}ബൈൽ നമ്പർ",
            "ഫ\u{d47}\u{d3e}ൺ",
            "ମ\u{b47}\u{b3e}ବାଇଲ ନମ୍ବର",
            "م\u{648}با\u{64a}\u{654}ل نمبر",
            // Letters with a dot, whole and in parts.
            "\u{95e}ोन नंबर",
            "फ\u{93c}ोन नंबर",
            "\u{a5e}ੋਨ ਨੰਬਰ",
            "ਫ\u{a3c}ੋਨ ਨੰਬਰ",
            // A consonant without its vowel, before and after Unicode 5.1.
            "മൊബൈല\u{d4d}\u{200d} നമ്പര\u{d4d}\u{200d}",
            "ഫോണ\u{d4d}\u{200d} നമ്പര\u{d4d}\u{200d}",
            // What only joins and parts.
            "ಮೊಬೈಲ್\u{200c} ಸಂಖ್ಯೆ",
            "ମୋବାଇଲ୍\u{200c} ନମ୍ବର୍\u{200d}",
            "मोबा\u{200d}इल नंबर",
        ] {
            assert_eq!(phone(&["नाम", name, "संख्या"]), 1, "{name:?}");
        }
    }

    #[test]
    fn a_name_with_other_words_is_not_the_phone_column() {
        for name in [
            "number",
            "phone 2",
            "phone type",
            "no phone",
            "mobile app",
            "contact name",
        ] {
            let refused = refusal(&["name", name], |_| {});
            assert!(refused.contains("no phone column"), "{name:?}: {refused}");
        }
    }

    #[test]
    fn the_columns_of_an_earlier_result_are_no_candidates_and_are_not_kept() {
        let names = [
            "a",
            "otp_phone",
            "phone",
            "otp_status",
            "otp_note",
            "Otp_Phone",
        ];
        let columns = find(&names, |_| {}).unwrap();
        assert_eq!((columns.phone, columns.channel), (2, None));
        let header = columns.header(&names.to_vec().into(), 7);
        assert_eq!(header, "a,phone,otp_note,Otp_Phone,");
    }

    #[test]
    fn two_candidates_or_none_are_refused_by_name() {
        let text = refusal(&["phone", "x", "Mobile"], |_| {});
        assert!(text.contains("\"phone\" (#1), \"Mobile\" (#3)"), "{text}");
        assert!(text.contains("--phone-column"), "{text}");
        let text = refusal(&["name", "mobile 2"], |_| {});
        assert!(text.contains("\"name\", \"mobile 2\""), "{text}");
        assert!(
            text.contains("commas") && text.contains("--phone-column"),
            "{text}"
        );
        let text = refusal(&["phone"], verify);
        assert!(
            text.contains("no otp column") && text.contains("--otp-column"),
            "{text}"
        );
        let text = refusal(&["phone", "otp", "Code"], verify);
        assert!(text.contains("\"otp\" (#2), \"Code\" (#3)"), "{text}");
    }

    #[test]
    fn a_column_that_is_asked_for_is_taken() {
        let ask = |name: &str| {
            let name = Some(name.to_owned());
            find(&["phone", "Alt Phone", "alt phone", "otp_phone"], |o| {
                o.phone_column = name;
            })
        };
        assert_eq!(ask("Alt Phone").unwrap().phone, 1);
        assert_eq!(ask("alt phone").unwrap().phone, 2);
        assert_eq!(ask("Phone").unwrap().phone, 0);
        assert_eq!(ask("otp_phone").unwrap().phone, 3);
        assert_eq!(ask("#1").unwrap().phone, 0);
        assert_eq!(ask("#3").unwrap().phone, 2);
        let text = ask("alt_phone").unwrap_err().to_string();
        let both = "\"Alt Phone\" (#2), \"alt phone\" (#3)";
        assert!(text.contains(both) && text.contains("'#N'"), "{text}");
        let text = ask("fax").unwrap_err().to_string();
        assert!(
            text.contains("no column \"fax\" among \"phone\", \"Alt Phone\""),
            "{text}"
        );
        for name in ["#0", "#5", "none"] {
            let text = ask(name).unwrap_err().to_string();
            assert!(text.contains("there is no column"), "{text}");
        }
    }

    #[test]
    fn two_columns_of_one_name_are_named_with_their_places() {
        let names = ["S.No", "Mobile No.", "Mobile No."];
        let both = "\"Mobile No.\" (#2), \"Mobile No.\" (#3)";
        let text = refusal(&names, |_| {});
        assert!(
            text.contains(both) && text.contains("--phone-column"),
            "{text}"
        );
        let ask = |column: &str| {
            let column = Some(column.to_owned());
            find(&names, |options| options.phone_column = column)
        };
        let text = ask("Mobile No.").unwrap_err().to_string();
        assert!(text.contains(both), "{text}");
        assert_eq!(ask("#3").unwrap().phone, 2);
    }

    #[test]
    fn columns_that_need_not_be_there_can_be_left_aside() {
        let names = ["phone", "otp", "channel", "isd"];
        let none = |options: &mut ReadOptions| {
            let none = Some("none".to_owned());
            options.channel_column.clone_from(&none);
            options.country_code_column = none;
        };
        let columns = find(&names, none).unwrap();
        assert_eq!((columns.channel, columns.country_code), (None, None));
        let columns = find(&names, |_| {}).unwrap();
        assert_eq!((columns.channel, columns.country_code), (Some(2), Some(3)));
        let text = refusal(&names, |options| {
            verify(options);
            options.otp_column = Some("none".to_owned());
        });
        assert!(text.contains("no otp column"), "{text}");
    }

    #[test]
    fn the_country_code_column_is_found_by_its_common_names_and_by_no_other() {
        for name in [
            "country code",
            "Country_Code",
            "ISD",
            "isd code",
            "Dial Code",
            "dialling code",
            "Dialing-Code",
            "Calling Code",
            "phone code",
        ] {
            assert_eq!(
                find(&[name, "phone"], |_| {}).unwrap().country_code,
                Some(0),
                "{name}"
            );
        }
        for name in ["country", "code", "std", "std code", "pin code"] {
            assert_eq!(
                find(&[name, "phone"], |_| {}).unwrap().country_code,
                None,
                "{name}"
            );
        }
    }

    #[test]
    fn what_stands_in_brackets_behind_a_name_counts_only_where_no_name_does_without() {
        assert_eq!(phone(&["Name", "Mobile (home, office)"]), 1);
        assert_eq!(phone(&["Phone (old)", "phone"]), 1);
        let text = refusal(&["Phone (old)", "Phone (new)"], |_| {});
        assert!(text.contains("several columns"), "{text}");
    }

    #[test]
    fn without_a_phone_column_those_with_numbers_are_named_first() {
        let cells = |row: [&str; 4]| row.to_vec().into();
        let names = ["First Name", "Value", "Fon", "Age"];
        let sample = [
            (2, cells(["A", "", "9876543210", "31"])),
            (
                3,
                cells(["B", "9876543211 ::: 9876543212", "9876543213", ""]),
            ),
        ];
        let names: StringRecord = cells(names);
        let header = Row {
            line: 1,
            cells: &names,
            text: "",
            spans_lines: false,
        };
        let options = ReadOptions::new(Operation::Send, Channel::Sms);
        let fault = Columns::find(&header, &sample, ',', &options).unwrap_err();
        let text = fault.to_string();
        assert!(
            text.contains("in \"Fon\" (#3), \"Value\" (#2): choose"),
            "{text}"
        );
        assert!(
            text.contains("--phone-column") && text.contains("--delimiter"),
            "{text}"
        );
    }

    #[test]
    fn a_row_is_shifted_by_what_stands_beyond_the_names_of_the_list_itself() {
        let shifted = |names: &[&str], cells: &[&str]| {
            find(names, |_| {})
                .unwrap()
                .is_shifted(&cells.to_vec().into())
        };
        let names = ["phone", "a", ""];
        for (cells, expected) in [
            (&["1", "2"][..], false),
            (&["1", "2", "", " ", "\u{200b}"], false),
            (&["1", "2", "3"], true),
            (&["1", "2", "", "4"], true),
        ] {
            assert_eq!(shifted(&names, cells), expected, "{cells:?}");
        }
        let names = ["", "phone", "", "a", "", "otp_line", "otp_phone", "mine"];
        assert!(!shifted(&names, &["1", "2", "3", "4", "", "6", "7", "8"]));
        assert!(shifted(&names, &["1", "2", "3", "4", "5", "6", "7", "8"]));
    }

    #[test]
    fn number_and_code_cannot_be_one_column() {
        let text = refusal(&["phone", "otp"], |options| {
            verify(options);
            options.otp_column = Some("phone".to_owned());
        });
        assert!(text.contains("the same, \"phone\""), "{text}");
    }

    #[test]
    fn channels_are_read_only_to_send_and_codes_only_to_verify() {
        let names = ["phone", "otp", "Channel"];
        let send = find(&names, |_| {}).unwrap();
        assert_eq!((send.otp, send.channel), (None, Some(2)));
        let verify = find(&names, verify).unwrap();
        assert_eq!((verify.otp, verify.channel), (Some(1), None));
    }

    #[test]
    fn a_first_row_with_a_number_is_no_header_and_is_not_shown() {
        let text = refusal(&["Asha", "98765 43210"], |_| {});
        assert!(
            text.contains("no header") && !text.contains("98765"),
            "{text}"
        );
    }

    #[test]
    fn a_record_keeps_cells_as_they_are_and_hides_the_code() {
        let columns = find(&["phone", "otp", "note"], verify).unwrap();
        let hidden = |cells: &[&str], hidden| columns.record(&cells.to_vec().into(), 4, hidden);
        let record = |cells: &[&str]| hidden(cells, Hidden::Code);
        assert_eq!(
            record(&[" 098", "004512", "a\"b"]),
            " 098,******,\"a\"\"b\","
        );
        assert_eq!(record(&["1", " ", "x,y\nz"]), "1, ,\"x,y\nz\",");
        assert_eq!(record(&["1", "\u{200b}"]), "1,\u{200b},,");
        assert_eq!(record(&["1"]), "1,,,");
        assert_eq!(hidden(&["1", "2"], Hidden::Nothing), "1,2,,");
        let shifted = hidden(&["1", "2", "3", "4"], Hidden::FromCodeOn);
        assert_eq!(shifted, "1,******,******,******");
    }
}
