//! The names of columns: those that are known, and those that are asked for.

use csv::StringRecord;

use super::ReadOptions;
use super::delimiter::separated;
use super::error::{Fault, list, list_places, show};

/// A column that is looked for by its name.
pub(super) struct Wanted {
    /// What messages call it.
    pub(super) what: &'static str,
    /// The flag that names it.
    flag: &'static str,
    /// The names that are known, without spaces.
    names: &'static str,
    /// Words that may stand behind a name, as other names may then: `Mobile Phone No.`
    behind: &'static str,
}

/// `number`, `whatsapp` or `phone 2` are not among the names: they may be something else, or stand
/// beside the right one. Of other languages there are Hindi and Marathi, Bengali and Assamese, Tamil,
/// Telugu, Gujarati, Kannada, Malayalam, Punjabi, Odia and Urdu: mobile, phone, contact, then number,
/// as Android's contacts and forms of authorities spell them.
pub(super) const PHONE: Wanted = Wanted {
    what: "phone",
    flag: "--phone-column",
    names: "cell contact mob mobile msisdn phno phone tel telephone \
        मोबाइल मोबाईल फोन टेलीफोन दूरभाष दूरध्वनी भ्रमणध्वनी संपर्क सम्पर्क \
        মোবাইল ফোন মুঠোফোন টেলিফোন দূরভাষ যোগাযোগ যোগাযোগের \
        மொபைல் கைபேசி கைப்பேசி அலைபேசி செல்பேசி தொலைபேசி போன் ஃபோன் தொடர்பு \
        మొబైల్ ఫోన్ ఫోను సెల్ చరవాణి దూరవాణి సంప్రదింపు \
        মবাইল ফন મોબાઇલ મોબાઈલ ફોન સંપર્ક ಮೊಬೈಲ್ ಫೋನ್ ದೂರವಾಣಿ ಸಂಪರ್ಕ \
        മൊബൈൽ ഫോൺ ਮੋਬਾਈਲ ਮੋਬਾਇਲ ਫੋਨ ਸੰਪਰਕ ମୋବାଇଲ ଫୋନ ଯୋଗାଯୋଗ موبائل فون رابطہ",
    behind: "no nos num number numbers नंबर नम्बर नं न क्रमांक क्र संख्या নম্বর নাম্বার নং নম্বৰ \
        எண் நம்பர் నంబర్ నంబరు నెంబర్ నెంబరు సంఖ్య નંબર નં ಸಂಖ್ಯೆ ನಂಬರ್ നമ്പർ ਨੰਬਰ \
        ନମ୍ବର ନମ୍ଵର نمبر",
};

/// `country` and `code` alone are mostly something else. Where no column has such a name, one that
/// has these words in it is taken, if it holds a country code: `ISD/Country Code`.
pub(super) const COUNTRY_CODE: Wanted = Wanted {
    what: "country code",
    flag: "--country-code-column",
    names: "callingcode countrycallingcode countrycode countrydialcode countrydialingcode \
        countrydiallingcode countryphonecode dialcode dialingcode diallingcode isd isdcode \
        mobilecountrycode phonecode phonecountrycode",
    behind: "",
};

/// Words of a column that holds country codes, or a number with one.
pub(super) const COUNTRY_CODE_WORDS: [&str; 8] = [
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
pub(super) const COUNTRY_WORDS: [&str; 5] = ["country", "cc", "prefix", "iso", "intl"];

pub(super) const OTP: Wanted = Wanted {
    what: "otp",
    flag: "--otp-column",
    names: "code onetimecode onetimepasscode onetimepassword otp otpcode otpno otpnumber passcode \
        verificationcode verifycode",
    behind: "",
};

pub(super) const CHANNEL: Wanted = Wanted {
    what: "channel",
    flag: "--channel-column",
    names: "channel",
    behind: "",
};

/// A column that numbers are told apart by.
pub(super) const BY: Wanted = Wanted {
    what: "by",
    flag: "--by",
    names: "",
    behind: "",
};

/// What means that there is no such column.
const NONE: &str = "none";

/// Characters of Indian languages that are also written as several: vowels of two parts, letters with
/// a dot, a consonant without its vowel, which has a sign of its own or `U+200D` behind it. Marks that
/// are no letters count in neither form.
const PARTS: [(char, &str); 18] = [
    ('\u{95e}', "फ"),
    ('\u{9cb}', "\u{9c7}\u{9be}"),
    ('\u{a5e}', "ਫ"),
    ('\u{b4b}', "\u{b47}\u{b3e}"),
    ('\u{bca}', "\u{bc6}\u{bbe}"),
    ('\u{bcb}', "\u{bc7}\u{bbe}"),
    ('\u{cc7}', "\u{cc6}\u{cd5}"),
    ('\u{cc8}', "\u{cc6}\u{cd6}"),
    ('\u{cca}', "\u{cc6}\u{cc2}"),
    ('\u{ccb}', "\u{cc6}\u{cc2}\u{cd5}"),
    ('\u{d4a}', "\u{d46}\u{d3e}"),
    ('\u{d4b}', "\u{d47}\u{d3e}"),
    ('\u{d7a}', "ണ"),
    ('\u{d7b}', "ന"),
    ('\u{d7c}', "ര"),
    ('\u{d7d}', "ല"),
    ('\u{d7e}', "ള"),
    ('\u{626}', "\u{64a}\u{654}"),
];

/// A name without case, spaces, punctuation and what cannot be seen: `Mobile No.` is `mobileno`.
fn normal(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        match PARTS.iter().find(|(whole, _)| *whole == c) {
            Some((_, parts)) => normal.push_str(parts),
            None => normal.extend(c.to_lowercase()),
        }
    }
    normal.retain(char::is_alphanumeric);
    normal
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
pub(super) fn has_words(name: &str, wanted: &[&str]) -> bool {
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
    pub(super) fn find(
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

    pub(super) fn only(
        &self,
        header: &StringRecord,
        found: &[usize],
    ) -> Result<Option<usize>, Fault> {
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

    pub(super) fn missing(&self, header: &StringRecord, delimiter: char) -> Fault {
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

/// The phone column of a header, and how sure that is: its place, or an error when there are
/// several.
pub(super) fn phone_by_name(
    names: &StringRecord,
    options: &ReadOptions,
) -> Result<Option<usize>, Fault> {
    let asked = options.phone_column.as_deref();
    PHONE.find(names, asked, options.columns_are_optional)
}
