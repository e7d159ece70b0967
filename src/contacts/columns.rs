//! Which columns hold what, found by name, and which are kept for the result file.

use csv::StringRecord;

use super::cell::{is_blank, unwrap};
use super::delimiter::separated;
use super::error::{Fault, list, list_places, show};
use super::table::Row;
use super::{ReadOptions, numbers};
use crate::job::{Channel, Lane, Operation, Problem, UnixMicros};
use crate::number::Number;
use crate::status::Status;
use crate::text::without_neutralisers;

/// A column that is looked for by its name.
struct Wanted {
    /// What messages call it.
    what: &'static str,
    /// The flag that names it.
    flag: &'static str,
    /// The names that are known, without spaces.
    names: &'static str,
    /// Words that may stand behind a name, as other names may then: `Mobile Phone No.`
    behind: &'static str,
}

/// `number`, `whatsapp` or `phone 2` are not among the names: they may be something else, or stand
/// beside the right one. Of other languages there are Hindi and Marathi, Bengali, Tamil, Telugu,
/// Gujarati, Kannada, Malayalam, Punjabi and Odia: mobile, phone, contact, then number.
const PHONE: Wanted = Wanted {
    what: "phone",
    flag: "--phone-column",
    names: "cell contact mob mobile msisdn phno phone tel telephone \
        मोबाइल मोबाईल फोन \u{95e}ोन टेलीफोन दूरभाष दूरध्वनी भ्रमणध्वनी संपर्क सम्पर्क \
        মোবাইল ফোন মুঠোফোন টেলিফোন দূরভাষ যোগাযোগ যোগাযোগের \
        மொபைல் கைபேசி கைப்பேசி அலைபேசி செல்பேசி தொலைபேசி போன் ஃபோன் தொடர்பு \
        మొబైల్ ఫోన్ ఫోను సెల్ చరవాణి దూరవాణి సంప్రదింపు \
        મોબાઇલ મોબાઈલ ફોન સંપર્ક ಮೊಬೈಲ್ ಫೋನ್ ದೂರವಾಣಿ ಸಂಪರ್ಕ \
        മൊബൈൽ ഫോൺ ਮੋਬਾਈਲ ਮੋਬਾਇਲ ਫੋਨ ਫ਼ੋਨ ମୋବାଇଲ ଫୋନ",
    behind: "no nos num number numbers नंबर नम्बर नं न क्रमांक क्र संख्या নম্বর নাম্বার নং \
        எண் நம்பர் నంబర్ నంబరు నెంబర్ నెంబరు సంఖ్య નંબર ಸಂಖ್ಯೆ ನಂಬರ್ നമ്പർ ਨੰਬਰ ନମ୍ବର",
};

/// `country` and `code` alone are mostly something else. Where no column has such a name, one that
/// has these words in it is taken, if it holds a country code: `ISD/Country Code`.
const COUNTRY_CODE: Wanted = Wanted {
    what: "country code",
    flag: "--country-code-column",
    names: "callingcode countrycallingcode countrycode countrydialcode countrydialingcode \
        countrydiallingcode countryphonecode dialcode dialingcode diallingcode isd isdcode \
        mobilecountrycode phonecode phonecountrycode",
    behind: "",
};

/// Words of a column that holds country codes, or a number with one.
const COUNTRY_CODE_WORDS: [&str; 8] = [
    "country code",
    "isd",
    "dial code",
    "dialing code",
    "dialling code",
    "calling code",
    "phone code",
    "international code",
];

/// Words of columns that may hold country codes or something else.
const COUNTRY_WORDS: [&str; 5] = ["country", "cc", "prefix", "iso", "intl"];

const OTP: Wanted = Wanted {
    what: "otp",
    flag: "--otp-column",
    names: "code onetimecode onetimepasscode onetimepassword otp otpcode otpno otpnumber passcode \
        verificationcode verifycode",
    behind: "",
};

const CHANNEL: Wanted = Wanted {
    what: "channel",
    flag: "--channel-column",
    names: "channel",
    behind: "",
};

/// The columns of a result file: those of an earlier one are not kept.
const RESULTS: [&str; 11] = [
    "otp_line",
    OTP_CAMPAIGN,
    OTP_PHONE,
    OTP_CHANNEL,
    OTP_STATUS,
    "otp_reference",
    OTP_DETAIL,
    OTP_ATTEMPTS,
    "otp_first_sent_at",
    OTP_SETTLED_AT,
    "otp_latency_ms",
];
const OTP_LINE: &str = RESULTS[0];
const OTP_CAMPAIGN: &str = "otp_campaign";
const OTP_PHONE: &str = "otp_phone";
const OTP_CHANNEL: &str = "otp_channel";
const OTP_STATUS: &str = "otp_status";
const OTP_DETAIL: &str = "otp_detail";
const OTP_ATTEMPTS: &str = "otp_attempts";
const OTP_SETTLED_AT: &str = "otp_settled_at";

/// What stands for a code in the result file.
const HIDDEN: &str = "******";

/// What means that there is no such column.
const NONE: &str = "none";

pub(super) const SHIFTED: Problem = Problem(
    "more cells than the header: a separator that is not in quotes has shifted the row, most likely (once it is mended here, empty this cell too)",
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

/// Where an earlier result file has what it says of a row.
#[derive(Clone, Debug)]
pub(super) struct Results {
    /// Did this program write the file?
    pub(super) ours: bool,
    line: Option<usize>,
    pub(super) campaign: Option<usize>,
    pub(super) phone: Option<usize>,
    channel: Option<usize>,
    status: Option<usize>,
    detail: Option<usize>,
    attempts: Option<usize>,
    settled_at: Option<usize>,
}

/// What an earlier result file says of a row, if it is one of the campaign in hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// The line of the row that it was made from; none if that could not be used.
    pub(super) line: Option<u64>,
    /// When that got its answer.
    pub(super) settled_at: Option<UnixMicros>,
    /// What was done for it, if the same is to be done now: was a request made?
    pub(super) tried: Option<bool>,
    /// For this number, if that can still be read.
    pub(super) number: Option<Number>,
    /// On this channel.
    pub(super) channel: Option<Channel>,
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
            return Err(Fault::HeaderBelow { line, header });
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
    /// cells there are none. In a result file the row says so itself.
    pub(super) fn is_shifted(&self, cells: &StringRecord) -> bool {
        let detail = self.results.detail.and_then(|i| cells.get(i));
        if self.results.ours && detail.is_some_and(|detail| unwrap(detail) == SHIFTED.0) {
            return true;
        }
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
                cell if hides(i) && !unwrap(cell).is_empty() => fragment.push_str(HIDDEN),
                cell => push_cell(&mut fragment, cell),
            }
        }
        fragment
    }
}

impl Results {
    fn find(names: &StringRecord) -> Self {
        let place = |wanted: &str| names.iter().position(|name| unwrap(name) == wanted);
        Self {
            ours: is_ours(names),
            line: place(OTP_LINE),
            campaign: place(OTP_CAMPAIGN),
            phone: place(OTP_PHONE),
            channel: place(OTP_CHANNEL),
            status: place(OTP_STATUS),
            detail: place(OTP_DETAIL),
            attempts: place(OTP_ATTEMPTS),
            settled_at: place(OTP_SETTLED_AT),
        }
    }

    /// What the file says of a row of this campaign. A cell that a spreadsheet has spoilt, or a column
    /// that is gone, takes nothing back of what the others say.
    pub(super) fn own(
        &self,
        cells: &StringRecord,
        campaign: Option<&str>,
        operation: Operation,
    ) -> Own {
        let cell = |place: Option<usize>| place.and_then(|i| cells.get(i)).map(unwrap);
        let own = self.campaign.and_then(|i| cells.get(i)).map(campaign_name);
        let is_own = own.is_some_and(|own| Some(&*own) == campaign);
        let status = cell(self.status);
        let is = |of: &[Status]| {
            let status = status.as_deref().unwrap_or_default();
            of.iter().any(|of| of.name() == status)
        };
        if !is_own || is(&[Status::Invalid]) {
            return Own::default();
        }
        let settled = is(&[Status::Verified, Status::NotVerified, Status::Rejected]);
        let attempts = cell(self.attempts).and_then(|cell| cell.parse::<u64>().ok());
        let may_be = attempts.is_none_or(|attempts| attempts > 0);
        let number = cell(self.phone).and_then(|cell| cell.strip_prefix('+')?.parse().ok());
        let by = self.written_by(cells).unwrap_or(operation);
        Own {
            line: cell(self.line).and_then(|cell| cell.parse().ok()),
            settled_at: cell(self.settled_at)
                .filter(|_| settled)
                .and_then(|cell| cell.parse().ok()),
            tried: (by == operation).then_some(
                attempts > Some(0)
                    || may_be && (settled || is(&[Status::Sent, Status::Failed, Status::Unknown])),
            ),
            number: number.and_then(Number::new),
            channel: cell(self.channel).and_then(|cell| {
                let mut channels = Channel::ALL.into_iter();
                channels.find(|channel| channel.name() == cell)
            }),
        }
    }

    /// What wrote this row, if that shows: what `verify` writes names no channel.
    pub(super) fn written_by(&self, cells: &StringRecord) -> Option<Operation> {
        let cell = |place: Option<usize>| place.and_then(|i| cells.get(i)).map(unwrap);
        let channel = cell(self.channel)?;
        let status = cell(self.status)?;
        let asks_for_none = [Status::Invalid, Status::Duplicate].map(Status::name);
        if status.is_empty() || asks_for_none.contains(&&*status) {
            return None;
        }
        Some(if channel.is_empty() {
            Operation::Verify
        } else {
            Operation::Send
        })
    }
}

/// The campaign in a cell of a result file: its name may have blanks and quotes of its own.
pub(super) fn campaign_name(cell: &str) -> String {
    if is_blank(cell) {
        String::new()
    } else {
        without_neutralisers(cell)
    }
}

/// Is this the header of a file that the program wrote?
pub(super) fn is_ours(names: &StringRecord) -> bool {
    let has = |wanted: &str| names.iter().any(|name| unwrap(name) == wanted);
    has(OTP_PHONE) && has(OTP_STATUS)
}

fn is_result(name: &str) -> bool {
    RESULTS.contains(&&*unwrap(name))
}

/// The phone column of a header, and how sure that is: its place, or an error when there are
/// several.
pub(super) fn phone_by_name(
    names: &StringRecord,
    options: &ReadOptions,
) -> Result<Option<usize>, Fault> {
    let asked = options.phone_column.as_deref();
    PHONE.find(names, asked, options.columns_are_optional)
}

/// The phone column: by its name, but in a result file that which was read before.
fn find_phone(
    names: &StringRecord,
    sample: &[(u64, StringRecord)],
    results: &Results,
    options: &ReadOptions,
) -> Result<Option<usize>, Fault> {
    let by_name = phone_by_name(names, options);
    let Some(ours) = results.phone.filter(|_| results.ours) else {
        return by_name;
    };
    if options.phone_column.is_some() {
        return by_name;
    }
    let known: Vec<(&StringRecord, String)> = sample
        .iter()
        .filter_map(|(_, row)| Some((row, numbers::written_by_us(row.get(ours)?)?)))
        .collect();
    let fits = |i: usize| {
        let fits = |(row, number): &&(&StringRecord, String)| {
            row.get(i)
                .is_some_and(|cell| numbers::resembles(cell, number))
        };
        known.iter().filter(fits).count()
    };
    let own = || (0..names.len()).filter(|i| !is_result(&names[*i]));
    let fitting: Vec<(usize, usize)> = own().map(|i| (i, fits(i))).collect();
    let most = fitting.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let best = fitting
        .into_iter()
        .filter(|(_, count)| *count == most && most > 0);
    let best: Vec<usize> = best.map(|(i, _)| i).collect();
    // Numbers that are none of those that were read are somebody's word against them.
    let is_number = |cell: &str| numbers::looks_like_one(cell, options.region);
    let holds_numbers = |row: &StringRecord| own().any(|i| row.get(i).is_some_and(is_number));
    match (by_name, &best[..]) {
        (Ok(Some(i)), best) if best.is_empty() || best.contains(&i) => Ok(Some(i)),
        (_, [only]) => Ok(Some(*only)),
        (by_name, []) if known.iter().any(|(row, _)| holds_numbers(row)) => by_name,
        // What was read is in a column of its own in any case.
        _ => Ok(Some(ours)),
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
        at_end = at_end && (unnamed || dropped[i]) || unwrap(&names[i]) == OTP_LINE;
    }
    beyond
}

/// The line of the header, when that is plainly a row below what was taken for one: a row with a
/// phone column and without numbers, of more cells than this one has.
pub(super) fn header_below(
    names: &StringRecord,
    sample: &[(u64, StringRecord)],
    options: &ReadOptions,
) -> Option<u64> {
    let is_number = |cell: &str| numbers::read(cell, Lane::Call, options.region).is_ok();
    let is_header = |row: &StringRecord| {
        filled(row) > filled(names)
            && matches!(phone_by_name(row, options), Ok(Some(_)))
            && !row.iter().any(is_number)
    };
    if !matches!(
        phone_by_name(names, options),
        Ok(None) | Err(Fault::MissingColumn { .. })
    ) {
        return None;
    }
    let header = sample.iter().find(|(_, row)| is_header(row));
    header.map(|(line, _)| *line)
}

/// Cells that hold something.
fn filled(cells: &StringRecord) -> usize {
    cells.iter().filter(|cell| !is_blank(cell)).count()
}

/// Why there is no phone column, and what may be it.
fn no_phone(
    header: &Row<'_>,
    sample: &[(u64, StringRecord)],
    delimiter: char,
    options: &ReadOptions,
) -> Fault {
    let (line, names) = (header.line, header.cells);
    if filled(names) == 1 && sample.iter().any(|(_, row)| filled(row) > 1) {
        return Fault::Title { line };
    }
    let looks_like_one = |cell: &str| match numbers::read(cell, Lane::Call, options.region) {
        Ok(_) => true,
        Err(problem) => problem == numbers::SEVERAL,
    };
    let count = |i: usize| {
        let cells = sample.iter().filter_map(|(_, row)| row.get(i));
        cells.filter(|cell| looks_like_one(cell)).count()
    };
    let counted = (0..names.len()).map(|i| (count(i), i));
    let mut likely: Vec<(usize, usize)> = counted.filter(|(count, _)| *count > 0).collect();
    if likely.is_empty() {
        return PHONE.missing(names, delimiter);
    }
    likely.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    Fault::UnknownPhoneColumn {
        likely: list_places(likely.into_iter().map(|(_, i)| (i, &names[i]))),
        columns: list(names),
        separated: separated(delimiter),
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

/// Is a text nothing but these words?
fn is_made_of(text: &str, words: &[String]) -> bool {
    // Behind the place where a word ends another may begin.
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    for at in 0..text.len() {
        if ends[at] {
            let fitting = words.iter().filter(|word| text[at..].starts_with(&***word));
            fitting.for_each(|word| ends[at + word.len()] = true);
        }
    }
    ends[text.len()]
}

/// Does a name have these words in a row?
fn has_words(name: &str, wanted: &[&str]) -> bool {
    let words = name.split(|c: char| !c.is_alphanumeric());
    let words: Vec<String> = words
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    let name = format!(" {} ", words.join(" "));
    let mut wanted = wanted.iter();
    wanted.any(|wanted| name.contains(&format!(" {wanted} ")))
}

/// A name without what it has in brackets: `Mobile (home, office)`.
fn without_brackets(name: &str) -> &str {
    match name
        .trim()
        .strip_suffix(')')
        .and_then(|name| name.split_once('('))
    {
        Some((before, _)) => before,
        None => name,
    }
}

impl Wanted {
    /// The column that is asked for, or else the one with a name that is known.
    fn find(
        &self,
        header: &StringRecord,
        asked: Option<&str>,
        is_optional: bool,
    ) -> Result<Option<usize>, Fault> {
        match asked {
            None => self.known(header),
            Some(NONE) if self.flag != PHONE.flag => Ok(None),
            Some(asked) => match self.asked(header, asked) {
                Err(Fault::MissingColumn { .. }) if is_optional => self.known(header),
                found => found.map(Some),
            },
        }
    }

    fn known(&self, header: &StringRecord) -> Result<Option<usize>, Fault> {
        let words = |words: &str| -> Vec<String> { words.split_whitespace().map(normal).collect() };
        let (names, mut behind) = (words(self.names), words(self.behind));
        if !behind.is_empty() {
            behind.extend_from_slice(&names);
        }
        let is_known = |name: &str| {
            let name = normal(name);
            let mut rests = names.iter().filter_map(|known| name.strip_prefix(&**known));
            rests.any(|rest| is_made_of(rest, &behind))
        };
        let mut found = all(header, is_known);
        if found.is_empty() {
            found = all(header, |name| is_known(without_brackets(name)));
        }
        self.only(header, &found)
    }

    /// `#2` is the second column.
    fn asked(&self, header: &StringRecord, asked: &str) -> Result<usize, Fault> {
        let place = asked
            .strip_prefix('#')
            .and_then(|n| n.parse::<usize>().ok());
        let mut found = match place {
            Some(n) => all(header, |_| true)
                .into_iter()
                .filter(|i| i + 1 == n)
                .collect(),
            None => all(header, |name| name == asked),
        };
        if found.is_empty() && place.is_none() && !normal(asked).is_empty() {
            // One that differs in case and punctuation only.
            let asked = normal(asked);
            found = all(header, |name| normal(name) == asked);
        }
        self.only(header, &found)?
            .ok_or_else(|| Fault::MissingColumn {
                flag: self.flag,
                name: show(asked),
                columns: list(header),
            })
    }

    fn only(&self, header: &StringRecord, found: &[usize]) -> Result<Option<usize>, Fault> {
        match found {
            [] => Ok(None),
            [only] => Ok(Some(*only)),
            several => Err(Fault::ManyColumns {
                what: self.what,
                columns: list_places(several.iter().map(|i| (*i, &header[*i]))),
                flag: self.flag,
            }),
        }
    }

    fn missing(&self, header: &StringRecord, delimiter: char) -> Fault {
        Fault::NoColumn {
            what: self.what,
            columns: list(header),
            separated: separated(delimiter),
            flag: self.flag,
        }
    }
}

/// The columns whose name is one of these.
fn all(header: &StringRecord, is_it: impl Fn(&str) -> bool) -> Vec<usize> {
    (0..header.len()).filter(|i| is_it(&header[*i])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
            "ಮೊಬೈಲ್ ಸಂಖ್ಯೆ",
            "മൊബൈൽ നമ്പർ",
            "ਮੋਬਾਈਲ ਨੰਬਰ",
            "ମୋବାଇଲ ନମ୍ବର",
            "Mobile No. / मोबाइल नंबर",
            "मोबाइल नंबर (10 अंक)",
            "Phone/Mobile",
            "Ph. No.",
        ] {
            assert_eq!(phone(&["नाम", name, "संख्या", "number"]), 1, "{name:?}");
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
