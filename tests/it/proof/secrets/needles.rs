//! What is looked for, and in which disguises a gateway may repeat it.

use std::collections::HashSet;

/// A key in which everything has to be encoded somewhere. No two of its pieces are alike.
pub const KEY: &str = "kEy+Q7/z=9x&Wv~3-pL%2\"u\\8;J";

/// A key of the shape that KooKoo's have.
pub const KOOKOO_KEY: &str = "KK7d1e9c03a5b2f8467d1e9c03a5b2f846";

/// This many characters of a key in a row are a leak.
const PIECE: usize = 8;

/// All that must not be seen, in lower case and without white space.
pub struct Needles {
    pieces: HashSet<Vec<u8>>,
    codes: HashSet<Vec<u8>>,
    numbers: HashSet<Vec<u8>>,
}

/// What may be in a place all the same.
#[derive(Clone, Copy, PartialEq)]
pub enum Allowed {
    Nothing,
    Numbers,
    NumbersAndCodes,
}

impl Needles {
    /// These numbers, of ten digits, and codes, all of one length; and both keys.
    pub fn new(numbers: &[String], codes: &[String]) -> Self {
        let forms = [KEY, KOOKOO_KEY].into_iter().flat_map(forms);
        let pieces = forms.flat_map(|form| {
            let form: String = form.to_lowercase().split_whitespace().collect();
            let form = form.into_bytes();
            let pieces: Vec<_> = form.windows(PIECE).map(<[u8]>::to_vec).collect();
            pieces
        });
        let bytes = |texts: &[String]| texts.iter().map(|t| t.to_lowercase().into()).collect();
        Self {
            pieces: pieces.collect(),
            codes: bytes(codes),
            numbers: bytes(numbers),
        }
    }

    /// Fails when one of them is there, in any case, in pieces or not.
    #[track_caller]
    pub fn are_not_in(&self, place: &str, bytes: &[u8], allowed: Allowed) {
        if let Some(found) = self.find(bytes, allowed) {
            let text = String::from_utf8_lossy(bytes);
            let text: String = text.chars().take(20_000).collect();
            panic!("{place}: {found}\n{text}");
        }
    }

    /// What is there that must not be.
    pub fn find(&self, bytes: &[u8], allowed: Allowed) -> Option<String> {
        let keep = |b: &&u8| !b.is_ascii_whitespace() && **b != 0;
        let tight = bytes.iter().filter(keep).map(u8::to_ascii_lowercase);
        let tight: Vec<u8> = tight.collect();
        let joined = tight.iter().copied().filter(|b| !b"-.()/,_".contains(b));
        let joined: Vec<u8> = joined.collect();
        let mut found = any_of(&tight, &self.pieces);
        if allowed != Allowed::NumbersAndCodes {
            found = found.or_else(|| any_of(&tight, &self.codes));
        }
        if allowed == Allowed::Nothing {
            found = found.or_else(|| any_of(&joined, &self.numbers));
        }
        found.map(|found| String::from_utf8_lossy(found).into_owned())
    }
}

/// The first of the needles, all of one length, that is in the bytes.
fn any_of<'b>(bytes: &'b [u8], needles: &HashSet<Vec<u8>>) -> Option<&'b [u8]> {
    let length = needles.iter().next()?.len();
    assert!(needles.iter().all(|needle| needle.len() == length));
    bytes
        .windows(length)
        .find(|window| needles.contains(*window))
}

/// All of a secret in every form in which a gateway, a proxy or a page may repeat it.
pub fn whole_forms(secret: &str) -> Vec<String> {
    let each = |plain: fn(char) -> bool, form: fn(u32) -> String| -> String {
        let one = |c: char| if plain(c) { c.into() } else { form(c.into()) };
        secret.chars().map(one).collect()
    };
    let plain = |c: char| c.is_ascii_alphanumeric();
    let upper = each(plain, |c| format!("%{c:02X}"));
    let json = serde_json::json!(secret).to_string();
    let json = &json[1..json.len() - 1];
    let (front, back) = secret.split_at(secret.len() / 2);
    vec![
        secret.to_owned(),
        secret.to_uppercase(),
        secret.to_lowercase(),
        each(plain, |c| format!("%{c:02x}")),
        each(|_| false, |c| format!("%{c:02X}")),
        upper.replace('%', "%25"),
        upper,
        json.to_owned(),
        json.replace('/', "\\/"),
        each(plain, |c| format!("\\u{c:04x}")),
        each(plain, |c| format!("&#{c};")),
        each(plain, |c| format!("&#x{c:X};")),
        each(|_| false, |c| format!("&#{c}")),
        secret.replace('&', "&amp;").replace('"', "&quot;"),
        format!("{front}\n{back}"),
        format!("{front}\r\n \t{back}"),
        in_groups(secret, 1, " "),
        in_groups(secret, 2, ":"),
        in_groups(secret, 4, "\u{200b} "),
        in_groups(secret, 4, "&nbsp;"),
        in_groups(secret, 4, "<br/>"),
        each(|_| false, |c| format!("%u{c:04x}")),
        each(|_| false, |c| format!("\\u{{{c:x}}}")),
        each(|_| false, |c| format!("\\{c:03o}")),
    ]
}

/// A secret in every form in which a gateway, a proxy or a page may repeat it, or much of it.
pub fn forms(secret: &str) -> Vec<String> {
    let much = secret.len() * 3 / 4;
    let mut forms = whole_forms(secret);
    forms.extend([
        secret[..much].to_owned() + "…",
        secret[secret.len() - much..].to_owned(),
        in_groups(&secret[..much], 2, "."),
        in_groups(&secret[..8], 2, "%20"),
        secret[secret.len() - 8..].to_owned(),
    ]);
    forms
}

fn in_groups(secret: &str, length: usize, between: &str) -> String {
    let groups = secret.as_bytes().chunks(length);
    let groups: Vec<_> = groups.map(String::from_utf8_lossy).collect();
    groups.join(between)
}

/// A number in the forms that people and programs write it in.
pub fn number_forms(national: &str) -> Vec<String> {
    let (front, back) = national.split_at(5);
    let forms = "<> +91<> %2B91<> %2b91<> 91<> 0<> +91_<_> +91-<-> (+91)_(<)_> </> <\u{a0}> \
                 %2B91%20<%20> &#43;91<> <,> +91,_<,_> <_>";
    let forms = forms.split(' ').map(|form| form.replace('_', " "));
    forms
        .map(|form| form.replace('<', front).replace('>', back))
        .collect()
}
