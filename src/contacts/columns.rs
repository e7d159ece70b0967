//! Which columns hold what, found by name, and which are kept for the result file.

use csv::StringRecord;

use super::cell::unwrap;
use super::error::{Fault, list, show};
use super::table::Row;
use super::{ReadOptions, numbers};
use crate::job::{Lane, Operation};

/// A column that is looked for by its name.
struct Wanted {
    /// What messages call it.
    what: &'static str,
    /// The flag that names it.
    flag: &'static str,
    /// The names that are known, as [`normal`] makes them.
    names: &'static str,
}

/// `number`, `whatsapp` or `phone 2` are not among the names: they may be something else, or stand
/// beside the right one.
const PHONE: Wanted = Wanted {
    what: "phone",
    flag: "--phone-column",
    names: "cell cellno cellnumber cellphone cellphonenumber contact contactno contactnum \
        contactnumber contactphone mob mobile mobileno mobilenum mobilenumber mobilephone \
        mobilephoneno mobilephonenumber mobno msisdn phone phoneno phonenum phonenumber tel \
        telephone telephoneno telephonenumber telno",
};

const OTP: Wanted = Wanted {
    what: "otp",
    flag: "--otp-column",
    names: "code onetimecode onetimepasscode onetimepassword otp otpcode otpno otpnumber passcode \
        verificationcode verifycode",
};

const CHANNEL: Wanted = Wanted {
    what: "channel",
    flag: "--channel-column",
    names: "channel",
};

/// The columns of a result file: those of an earlier one are not kept.
const RESULTS: &str = "otp_phone otp_channel otp_status otp_reference otp_detail otp_attempts otp_first_sent_at \
    otp_settled_at otp_latency_ms";

/// What stands for a code in the result file.
const HIDDEN: &str = "******";

/// Where in a row things are.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    pub(super) phone: usize,
    /// Only when codes are checked.
    pub(super) otp: Option<usize>,
    /// Only when OTPs are sent.
    pub(super) channel: Option<usize>,
    /// For each column of the header: does it stay out of the result file?
    dropped: Vec<bool>,
}

impl Columns {
    /// Finds the columns in the header.
    pub(super) fn find(
        header: &Row<'_>,
        delimiter: char,
        options: &ReadOptions,
    ) -> Result<Self, Fault> {
        let (line, names) = (header.line, header.cells);
        let is_number = |cell| numbers::read(cell, Lane::Call, options.region).is_ok();
        if names.iter().any(is_number) {
            return Err(Fault::NoHeader { line });
        }
        let verify = options.operation == Operation::Verify;
        let find = |wanted: &Wanted, asked: &Option<String>| wanted.find(names, asked.as_deref());
        let phone =
            find(&PHONE, &options.phone_column)?.ok_or_else(|| PHONE.missing(names, delimiter))?;
        let (mut otp, mut channel) = (None, None);
        if verify {
            otp = find(&OTP, &options.otp_column)?;
            otp.ok_or_else(|| OTP.missing(names, delimiter))?;
        } else {
            channel = find(&CHANNEL, &options.channel_column)?;
        }
        if otp == Some(phone) {
            let name = show(&names[phone]);
            return Err(Fault::SameColumn { name });
        }
        let is_result = |name| RESULTS.split(' ').any(|known| known == unwrap(name));
        Ok(Self {
            phone,
            otp,
            channel,
            dropped: names.iter().map(is_result).collect(),
        })
    }

    /// The kept cells of the header, as CSV, as wide as the widest row.
    pub(super) fn header(&self, header: &StringRecord, width: usize) -> String {
        self.fragment(header, width, None)
    }

    /// The kept cells of a row, as CSV, as wide as the widest row, its code hidden.
    pub(super) fn record(&self, cells: &StringRecord, width: usize) -> String {
        self.fragment(cells, width, self.otp)
    }

    fn fragment(&self, cells: &StringRecord, width: usize, hidden: Option<usize>) -> String {
        let mut fragment = String::with_capacity(cells.as_slice().len() + 2 * width);
        let kept = (0..width).filter(|i| !self.dropped.get(*i).is_some_and(|dropped| *dropped));
        for (n, i) in kept.enumerate() {
            if n > 0 {
                fragment.push(',');
            }
            match cells.get(i).unwrap_or_default() {
                // An empty cell hides nothing, and stars would claim that there was a code.
                cell if hidden == Some(i) && !unwrap(cell).is_empty() => fragment.push_str(HIDDEN),
                cell => push_cell(&mut fragment, cell),
            }
        }
        fragment
    }
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

/// A name without case, spaces, punctuation and what cannot be seen: `Mobile No.` is `mobileno`.
fn normal(name: &str) -> String {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    letters.flat_map(char::to_lowercase).collect()
}

impl Wanted {
    /// The column with the name that is asked for, or else with one that is known.
    fn find(&self, header: &StringRecord, asked: Option<&str>) -> Result<Option<usize>, Fault> {
        let flag = self.flag;
        let Some(asked) = asked else {
            let found = all(header, |name| {
                self.names.split(' ').any(|n| n == normal(name))
            });
            return match found[..] {
                [] => Ok(None),
                [only] => Ok(Some(only)),
                _ => Err(Fault::ManyColumns {
                    what: self.what,
                    columns: list(found.iter().map(|i| &header[*i])),
                    flag,
                }),
            };
        };
        let mut found = all(header, |name| name == asked);
        if found.is_empty() && !normal(asked).is_empty() {
            // One that differs in case and punctuation only.
            found = all(header, |name| normal(name) == normal(asked));
        }
        let name = show(asked);
        match found[..] {
            [only] => Ok(Some(only)),
            [] => Err(Fault::MissingColumn {
                flag,
                name,
                columns: list(header),
            }),
            _ => Err(Fault::RepeatedColumn { flag, name }),
        }
    }

    fn missing(&self, header: &StringRecord, delimiter: char) -> Fault {
        Fault::NoColumn {
            what: self.what,
            columns: list(header),
            delimiter: delimiter_name(delimiter),
            flag: self.flag,
        }
    }
}

/// The columns whose name is one of these.
fn all(header: &StringRecord, is_it: impl Fn(&str) -> bool) -> Vec<usize> {
    (0..header.len()).filter(|i| is_it(&header[*i])).collect()
}

fn delimiter_name(delimiter: char) -> &'static str {
    match delimiter {
        ',' => "commas",
        ';' => "semicolons",
        '\t' => "tabs",
        '|' => "bars",
        _ => "the given delimiter",
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
        Columns::find(&header, ',', &options)
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
    fn known_names_are_in_the_form_they_are_compared_in() {
        for name in [PHONE, OTP, CHANNEL]
            .iter()
            .flat_map(|wanted| wanted.names.split(' '))
        {
            assert_eq!(normal(name), name);
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
        assert!(text.contains("\"phone\", \"Mobile\""), "{text}");
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
        assert!(text.contains("\"otp\", \"Code\""), "{text}");
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
        let text = ask("alt_phone").unwrap_err().to_string();
        assert!(text.contains("several columns \"alt_phone\""), "{text}");
        let text = ask("fax").unwrap_err().to_string();
        assert!(
            text.contains("no column \"fax\" among \"phone\", \"Alt Phone\""),
            "{text}"
        );
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
        let record = |cells: &[&str]| columns.record(&cells.to_vec().into(), 4);
        assert_eq!(
            record(&[" 098", "004512", "a\"b"]),
            " 098,******,\"a\"\"b\","
        );
        assert_eq!(record(&["1", " ", "x,y\nz"]), "1, ,\"x,y\nz\",");
        assert_eq!(record(&["1", "\u{200b}"]), "1,\u{200b},,");
        assert_eq!(record(&["1"]), "1,,,");
    }
}
