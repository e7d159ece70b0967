//! What is looked for, and in which disguises a gateway may repeat it.

/// A key in which everything has to be encoded somewhere. No two of its pieces are alike.
pub const KEY: &str = "kEy+Q7/z=9x&Wv~3-pL%2\"u\\8;J";

/// A key of the shape that KooKoo's have.
pub const KOOKOO_KEY: &str = "KK7d1e9c03a5b2f8467d1e9c03a5b2f846";

/// This many characters of a key in a row are a leak.
const PIECE: usize = 8;

/// All that must not be seen.
pub struct Needles {
    /// In lower case, without white space.
    pieces: Vec<Vec<u8>>,
    codes: Vec<Vec<u8>>,
    numbers: Vec<Vec<u8>>,
}

impl Needles {
    /// These numbers, of ten digits, and codes; and both keys.
    pub fn new(numbers: &[String], codes: &[String]) -> Self {
        let forms = [KEY, KOOKOO_KEY].into_iter().flat_map(forms);
        let pieces = forms.flat_map(|form| {
            let form: String = form.to_lowercase().split_whitespace().collect();
            let form = form.into_bytes();
            let pieces: Vec<_> = form.windows(PIECE).map(<[u8]>::to_vec).collect();
            pieces
        });
        let mut pieces: Vec<_> = pieces.collect();
        pieces.sort();
        pieces.dedup();
        let bytes = |texts: &[String]| texts.iter().map(|t| t.to_lowercase().into()).collect();
        Self {
            pieces,
            codes: bytes(codes),
            numbers: bytes(numbers),
        }
    }

    /// Fails when one of them is there, in any case, in pieces or not.
    #[track_caller]
    pub fn are_not_in(&self, place: &str, bytes: &[u8], numbers_forbidden: bool) {
        if let Some(found) = self.find(bytes, numbers_forbidden) {
            let text = String::from_utf8_lossy(bytes);
            let text: String = text.chars().take(20_000).collect();
            panic!("{place}: {found}\n{text}");
        }
    }

    /// What is there that must not be.
    pub fn find(&self, bytes: &[u8], numbers_forbidden: bool) -> Option<String> {
        let said =
            |what: &str, needle: &[u8]| format!("{what} {}", String::from_utf8_lossy(needle));
        let keep = |b: &&u8| !b.is_ascii_whitespace() && **b != 0;
        let tight = bytes.iter().filter(keep).map(u8::to_ascii_lowercase);
        let tight: Vec<u8> = tight.collect();
        if let Some(piece) = any_of(&tight, &self.pieces) {
            return Some(said("a piece of a key:", piece));
        }
        if let Some(code) = any_of(&tight, &self.codes) {
            return Some(said("a code:", code));
        }
        let joined = tight.into_iter().filter(|b| !b"-.()/".contains(b));
        let joined: Vec<u8> = joined.filter(|_| numbers_forbidden).collect();
        any_of(&joined, &self.numbers).map(|number| said("a number:", number))
    }
}

/// The first of the needles, all of one length, that is in the bytes.
fn any_of<'n>(bytes: &[u8], needles: &'n [Vec<u8>]) -> Option<&'n [u8]> {
    let length = needles.first()?.len();
    assert!(needles.iter().all(|needle| needle.len() == length));
    let set: std::collections::HashSet<&[u8]> = needles.iter().map(Vec::as_slice).collect();
    let found = bytes.windows(length).find(|window| set.contains(window))?;
    needles.iter().map(Vec::as_slice).find(|n| *n == found)
}

/// All of a secret in every form in which a gateway, a proxy or a page may repeat it.
pub fn whole_forms(secret: &str) -> Vec<String> {
    let bytes = secret.as_bytes();
    let percent = |upper: bool, all: bool| -> String {
        let one = |b: &u8| match (all || !b.is_ascii_alphanumeric(), upper) {
            (false, _) => char::from(*b).to_string(),
            (true, true) => format!("%{b:02X}"),
            (true, false) => format!("%{b:02x}"),
        };
        bytes.iter().map(one).collect()
    };
    let each = |form: fn(char) -> String| -> String {
        let one = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.into()
            } else {
                form(c)
            }
        };
        secret.chars().map(one).collect()
    };
    let json = serde_json::to_string(secret).unwrap();
    let (front, back) = secret.split_at(secret.len() / 2);
    vec![
        secret.to_owned(),
        secret.to_uppercase(),
        secret.to_lowercase(),
        percent(true, false),
        percent(false, false),
        percent(true, true),
        percent(true, false).replace('%', "%25"),
        json[1..json.len() - 1].to_owned(),
        json[1..json.len() - 1].replace('/', "\\/"),
        each(|c| format!("\\u{:04x}", u32::from(c))),
        each(|c| format!("&#{};", u32::from(c))),
        each(|c| format!("&#x{:X};", u32::from(c))),
        secret.replace('&', "&amp;").replace('"', "&quot;"),
        format!("{front}\n{back}"),
        format!("{front}\r\n \t{back}"),
        secret.split("").collect::<Vec<_>>().join(" "),
        grouped(secret, 4, "\u{200b} "),
        grouped(secret, 2, ":"),
        format!("&#{}", each_byte(bytes).join("&#")),
    ]
}

/// A secret in every form in which a gateway, a proxy or a page may repeat it, or much of it.
pub fn forms(secret: &str) -> Vec<String> {
    let much = secret.len() * 3 / 4;
    let mut forms = whole_forms(secret);
    forms.extend([
        secret[..much].to_owned() + "…",
        secret[secret.len() - much..].to_owned(),
        grouped(&secret[..much], 2, "."),
    ]);
    forms
}

fn each_byte(bytes: &[u8]) -> Vec<String> {
    bytes.iter().map(u8::to_string).collect()
}

fn grouped(secret: &str, length: usize, between: &str) -> String {
    let groups = secret
        .as_bytes()
        .chunks(length)
        .map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(between)
}

/// A number in the forms that people and programs write it in.
pub fn number_forms(national: &str) -> Vec<String> {
    let (front, back) = national.split_at(5);
    vec![
        national.to_owned(),
        format!("+91{national}"),
        format!("%2B91{national}"),
        format!("%2b91{national}"),
        format!("91{national}"),
        format!("0{national}"),
        format!("+91 {front} {back}"),
        format!("+91-{front}-{back}"),
        format!("(+91) ({front}) {back}"),
        format!("{front}/{back}"),
        format!("{front}\u{a0}{back}"),
        format!("%2B91%20{front}%20{back}"),
        format!("&#43;91{national}"),
    ]
}
