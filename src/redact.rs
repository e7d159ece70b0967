//! Takes keys and codes out of texts before they leave the program: what the gateway said, and what
//! is logged.
//!
//! This is a second line of defence: secrets are never put into such texts on purpose.

use std::borrow::Cow;
use std::ops::Range;

use secrecy::{ExposeSecret, SecretString};

use crate::decode::{Seen, layers};
use crate::text::percent_encoded;

/// What stands where a key stood.
const GONE: &str = "[key]";

/// What stands where a code stood.
const CODE_GONE: &str = "******";

/// Shorter keys are placeholders, as in a rehearsal: taking them out would only spoil words.
const KEY_LENGTH_MIN: usize = 6;

/// So many characters of a key in a row are taken out also without the rest of it; as many bytes
/// where it stands in digits.
const PIECE_LENGTH_MIN: usize = 8;

/// What the keys of a provider look like: a prefix, and hexadecimal digits.
#[derive(Clone, Copy)]
pub struct KeyShape {
    /// In lower case.
    pub prefix: &'static str,
    /// How many digits follow.
    pub hex_digits: usize,
}

/// Knows a key, and what other keys look like.
#[derive(Clone)]
pub struct Redactor {
    needles: Vec<Needle>,
    shape: KeyShape,
    glance: Glance,
}

/// Shows of most texts at first sight that no key is in them.
#[derive(Clone)]
struct Glance {
    /// Which characters stand together in a form of the key, as a Bloom filter; `None`: it cannot be
    /// told, for not all forms have as many.
    windows: Option<Box<[u64; Self::BITS / 64]>>,
    /// The last characters of what other keys begin with, and the bits that they take.
    prefix: (u64, u64),
    /// Characters of ASCII, as bits, that only a closer look can judge: parts of the key beside
    /// letters and digits, and what escapes and tags begin with.
    signs: u128,
}

/// A form of the key.
#[derive(Clone)]
struct Needle {
    /// In lower case.
    text: SecretString,
    /// So much of it in a row is taken out.
    piece_min: usize,
    /// Where its pieces may begin.
    beginnings: Beginnings,
}

/// With which characters the pieces of a form begin, as bits of a hash of them: at most places of a
/// text they show that no piece begins there.
#[derive(Clone)]
struct Beginnings([u64; Self::BITS / 64]);

impl Redactor {
    /// Takes this key out, and whatever has the shape of a key: in any case, percent-encoded,
    /// escaped as in JSON or HTML, in groups, and this key also in hexadecimal, octal and base64,
    /// and cut short.
    #[must_use]
    pub fn new(key: &SecretString, shape: KeyShape) -> Self {
        let key = key.expose_secret();
        let mut needles = Vec::new();
        if key.len() >= KEY_LENGTH_MIN {
            // The second as it stands in an address: where that begins in the middle of another
            // escape, or the key is not in ASCII, decoding would miss it.
            needles = vec![
                Needle::new(key, PIECE_LENGTH_MIN),
                Needle::new(&percent_encoded(key), PIECE_LENGTH_MIN),
                Needle::new(
                    &digits(key, |byte| format!("{byte:02x}")),
                    2 * PIECE_LENGTH_MIN,
                ),
                Needle::new(
                    &digits(key, |byte| format!("{byte:03o}")),
                    3 * PIECE_LENGTH_MIN,
                ),
            ];
            let in_base64 = (0..3).map(|before| base64(key, before));
            let in_base64 = in_base64.filter(|form| form.len() >= PIECE_LENGTH_MIN);
            needles.extend(in_base64.map(|form| Needle::new(&form, 4 * PIECE_LENGTH_MIN / 3 + 1)));
        }
        Self {
            glance: Glance::new(&needles, shape),
            needles,
            shape,
        }
    }

    /// The text without keys.
    #[must_use]
    pub fn clean<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if text.len() < self.shortest() || self.glance.is_enough(text) {
            return Cow::Borrowed(text);
        }
        without(text, GONE, |layer| {
            let pieces = self.needles.iter().flat_map(|needle| {
                let may_begin = |seen: &[Seen]| needle.beginnings.contain(seen);
                search_pieces(layer, &needle.text, needle.piece_min, may_begin)
            });
            let mut spans: Vec<_> = pieces.collect();
            spans.extend(search(layer, "", |seen| self.shape.length_in(seen)));
            spans
        })
    }

    /// A text that is shorter holds nothing to be taken out.
    fn shortest(&self) -> usize {
        let needles = self.needles.iter();
        let lengths = needles.map(|needle| needle.text.expose_secret().len());
        lengths.fold(PIECE_LENGTH_MIN, usize::min)
    }
}

impl Glance {
    /// A window has this many characters: no needle, and no piece that is taken out, has fewer.
    const LENGTH: usize = 6;
    const BITS: usize = 1 << 15;
    const WINDOW: u64 = (1 << (8 * Self::LENGTH)) - 1;

    fn new(needles: &[Needle], shape: KeyShape) -> Self {
        let mut windows = Box::new([0; Self::BITS / 64]);
        let mut signs = b"&\\%<".iter().fold(0, |signs, sign| signs | 1 << sign);
        let mut can_tell = shape.prefix.is_ascii();
        for needle in needles {
            let text = needle.text.expose_secret();
            can_tell &= text.is_ascii() && text.len() >= Self::LENGTH;
            for window in text.as_bytes().windows(Self::LENGTH) {
                for bit in Self::bits(window.iter().copied().fold(0, Self::slid)) {
                    windows[bit / 64] |= 1 << (bit % 64);
                }
            }
            let others = text.bytes().filter(|byte| !byte.is_ascii_alphanumeric());
            signs = others
                .filter(u8::is_ascii)
                .fold(signs, |signs, sign| signs | 1 << sign);
        }
        let prefix = shape.prefix.as_bytes();
        Self {
            windows: can_tell.then_some(windows),
            prefix: (
                prefix.iter().copied().fold(0, Self::slid),
                prefix.iter().fold(0, |bits, _| Self::slid(bits, u8::MAX)),
            ),
            signs,
        }
    }

    /// Is there surely no key in this text?
    fn is_enough(&self, text: &str) -> bool {
        let Some(windows) = &self.windows else {
            return false;
        };
        let may_hold = |bit: usize| windows[bit / 64] >> (bit % 64) & 1 == 1;
        let (prefix, bits) = self.prefix;
        let (mut before, mut window) = (0, 0);
        text.bytes().all(|byte| {
            let is_escape = before == b'0' && byte.eq_ignore_ascii_case(&b'x');
            before = byte;
            if is_escape || !byte.is_ascii() || self.signs >> byte & 1 == 1 {
                return false;
            }
            if !byte.is_ascii_alphanumeric() {
                // It may stand between the groups of a key.
                return true;
            }
            window = Self::slid(window, byte.to_ascii_lowercase());
            window & bits != prefix && !Self::bits(window).into_iter().all(may_hold)
        })
    }

    /// The window with one more character, and without its first.
    fn slid(window: u64, next: u8) -> u64 {
        (window << 8 | u64::from(next)) & Self::WINDOW
    }

    /// The places of a window in the filter.
    fn bits(window: u64) -> [usize; 3] {
        let hash = window.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        [0, 2, 4].map(|at| usize::from(u16::from_be_bytes([hash[at], hash[at + 1]])) % Self::BITS)
    }
}

impl Needle {
    fn new(text: &str, piece_min: usize) -> Self {
        let text = folded(text);
        Self {
            beginnings: Beginnings::of(text.expose_secret()),
            text,
            piece_min,
        }
    }
}

impl Beginnings {
    /// Pieces are longer than this many characters.
    const LENGTH: usize = 3;
    const BITS: usize = 4_096;

    fn of(text: &str) -> Self {
        let mut bits = [0; Self::BITS / 64];
        let chars: Vec<char> = text.chars().collect();
        for three in chars.windows(Self::LENGTH) {
            let bit = Self::bit(three.iter().copied());
            bits[bit / 64] |= 1 << (bit % 64);
        }
        Self(bits)
    }

    /// May a piece begin here?
    fn contain(&self, seen: &[Seen]) -> bool {
        let three = seen.get(..Self::LENGTH);
        let bit = three.map(|three| Self::bit(three.iter().map(|seen| seen.c)));
        bit.is_some_and(|bit| self.0[bit / 64] >> (bit % 64) & 1 == 1)
    }

    fn bit(chars: impl Iterator<Item = char>) -> usize {
        let hash = chars.fold(0, |hash: usize, c| hash * 61 + c as usize);
        hash % Self::BITS
    }
}

/// The bytes of a key one by one.
fn digits(key: &str, form: fn(u8) -> String) -> String {
    key.bytes().map(form).collect()
}

/// A key in base64 where so many bytes stand before it, without what depends on them and on what
/// follows. Two of the digits are signs, and differ between alphabets: they are left out.
fn base64(key: &str, before: usize) -> String {
    /// How many bits of the key share a digit with what stands before it.
    const SHARED: [usize; 3] = [0, 4, 2];
    let bits = key
        .bytes()
        .flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
    let bits: Vec<u8> = bits.skip(SHARED[before]).collect();
    let digit = |six: &[u8]| six.iter().fold(0, |digit, bit| digit << 1 | bit);
    let digits = bits.chunks_exact(6).map(digit);
    let letters = digits.filter_map(|digit| match digit {
        0..26 => Some(b'A' + digit),
        26..52 => Some(b'a' + digit - 26),
        52..62 => Some(b'0' + digit - 52),
        _ => None,
    });
    letters.map(char::from).collect()
}

impl KeyShape {
    /// The length of the key that the text begins with; 0 when there is none.
    fn length_in(self, seen: &[Seen]) -> usize {
        let prefix = self.prefix.chars().count();
        let length = prefix + self.hex_digits;
        let is_key = seen.len() >= length
            && self.prefix.chars().zip(seen).all(|(c, seen)| c == seen.c)
            && seen[prefix..length]
                .iter()
                .all(|seen| seen.c.is_ascii_hexdigit());
        if is_key { length } else { 0 }
    }
}

/// The text without this code.
#[must_use]
pub fn without_code<'t>(text: &'t str, code: &SecretString) -> Cow<'t, str> {
    let code = folded(code.expose_secret());
    without(text, CODE_GONE, |layer| {
        search_pieces(layer, &code, usize::MAX, |_| true)
    })
}

/// A secret as texts are compared with it.
fn folded(secret: &str) -> SecretString {
    SecretString::from(secret.to_ascii_lowercase())
}

/// Parts of a text.
type Spans = Vec<Range<usize>>;

/// The text with a stand-in for each span that `search` finds. It searches the text in lower case,
/// first as it is, then decoded.
fn without<'t>(text: &'t str, stand_in: &str, search: impl Fn(&[Seen]) -> Spans) -> Cow<'t, str> {
    let mut spans: Spans = layers(text)
        .iter()
        .flat_map(|layer| search(layer))
        .collect();
    if spans.is_empty() {
        return Cow::Borrowed(text);
    }
    spans.sort_by_key(|span| span.start);
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for span in spans {
        if span.start >= done {
            out.push_str(&text[done..span.start]);
            out.push_str(stand_in);
        }
        done = done.max(span.end);
    }
    out.push_str(&text[done..]);
    Cow::Owned(out)
}

/// The places of the needle, and of its pieces that are not shorter than `least`. It looks closer
/// only where one may begin.
fn search_pieces(
    layer: &[Seen],
    needle: &SecretString,
    least: usize,
    may_begin: impl Fn(&[Seen]) -> bool,
) -> Spans {
    let needle = needle.expose_secret();
    let least = least.min(needle.chars().count());
    search(layer, needle, |seen| {
        if !may_begin(seen) {
            return 0;
        }
        let alike = |from: usize| {
            let piece = needle[from..].chars().zip(seen);
            piece.take_while(|(c, seen)| *c == seen.c).count()
        };
        let longest = needle.char_indices().map(|(from, _)| alike(from)).max();
        longest.filter(|length| *length >= least).unwrap_or(0)
    })
}

/// The places that `length_in` knows the length of. It is shown the letters and digits of ASCII, and
/// the characters in `signs`: all others may stand between the groups of a key.
fn search(layer: &[Seen], signs: &str, length_in: impl Fn(&[Seen]) -> usize) -> Spans {
    let counts = |seen: &&Seen| seen.c.is_ascii_alphanumeric() || signs.contains(seen.c);
    let mut seen = Vec::with_capacity(layer.len());
    seen.extend(layer.iter().filter(counts));
    let (mut spans, mut at) = (Spans::new(), 0);
    while at < seen.len() {
        let length = length_in(&seen[at..]);
        if length > 0 {
            spans.push(seen[at].start..seen[at + length - 1].end);
        }
        at += length.max(1);
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: KeyShape = KeyShape {
        prefix: "kk",
        hex_digits: 32,
    };

    fn redactor(key: &str) -> Redactor {
        Redactor::new(&SecretString::from(key), SHAPE)
    }

    #[test]
    fn a_key_is_taken_out_plain_and_encoded() {
        assert_eq!(
            redactor("a+b/cd").clean("x a+b/cd y a%2Bb%2Fcd z"),
            "x [key] y [key] z"
        );
    }

    #[test]
    fn a_key_is_taken_out_in_every_disguise() {
        let redactor = redactor("Ab+c/\"d&=9");
        for form in [
            "aB+C/\"D&=9",
            "Ab%2bc%2f%22d%26%3d9",
            "Ab%252Bc%252F%2522d%2526%253D9",
            "%41%62%2B%63%2F%22%64%26%3D%39",
            "Ab+c\\/\\\"d&=9",
            "Ab\\u002bc\\u002F\\u0022d\\u0026\\u003d9",
            "Ab&#43;c&#x2F;&quot;d&amp;=9",
            "&#65&#98&#43&#99&#47&#34&#100&#38&#61&#57",
            "Ab+c\r\n  /\"d\u{200b}&=9",
            "Ab+c\\n/\\\"d&=9",
        ] {
            let text = format!("<{form}> ok");
            let clean = redactor.clean(&text).replace("[key]", "");
            assert_eq!(clean, "<> ok", "{form}");
        }
    }

    #[test]
    fn a_key_is_taken_out_in_groups_and_cut_short() {
        let ours = redactor("KK0123456789abcdef0123456789abcdef");
        for form in [
            "KK01 2345 6789 abcd ef01 2345 6789 abcd ef",
            "KK-0123-4567-89AB-CDEF-0123-4567-89AB-CDEF",
            "KK:01:23:45:67:89:ab:cd:ef:01:23:45:67:89:ab:cd:ef",
            "KK0123456789",
            "cdef0123456789abcdef",
            "KK012345",
            "89abcdef",
            "KK01 23%2045",
            "KK\u{2013}01.23\u{2013}45",
            "kk%30%31%32%33%34%35",
            "&#75&#75&#48&#49&#50&#51&#52&#53",
            "&#x4b&#X4B;01&#x32;345",
            "4b 4b 30 31 32 33 34 35",
            "0x4b,0x4b,0x30,0x31,0x32,0x33,0x34,0x35",
            "4B4B303132333435",
            "KK01&nbsp;2345&NBSP;6789",
            "KK01&shy;2345&shy6789",
            "KK01&ZeroWidthSpace;23<br/>45",
            "K<b>K01</b>2345 <!-- - -->6789",
            "K&lt;b&gt;K01&lt;/b&gt;2345",
            "%u004b%u004B%u00301%u0032345",
            "\\u{4b}\\u{4B}\\u{30}12345",
            "KK01%E2%80%8B2345%C2%A06789",
            "ＫＫ０１２３４５",
            "KK01é2345",
            "\\113\\113\\060\\061\\062\\063\\064\\065",
            "113 113 060 061 062 063 064 065",
        ] {
            let text = format!("no: {form}… .");
            assert_eq!(ours.clean(&text), "no: [key]… .", "{form}");
        }
        assert_eq!(ours.clean("KK01234"), "KK01234");
        let other = "of another account: kk-FEDC ba98 7654 3210 fedc ba98 7654 3210.";
        assert_eq!(ours.clean(other), "of another account: [key].");
    }

    #[test]
    fn a_key_is_taken_out_in_base64_wherever_it_stands() {
        let redactor = redactor("KK>>?~0123456789abcdef");
        for (form, left) in [
            ("S0s+Pj9+MDEyMzQ1Njc4OWFiY2RlZg==", "[key]g=="),
            ("S0s-Pj9-MDEyMzQ1Njc4OWFiY2RlZg", "[key]g"),
            ("PUtLPj4/fjAxMjM0NTY3ODlhYmNkZWY=", "PU[key]Y="),
            ("eT1LSz4+P34wMTIzNDU2Nzg5YWJjZGVmJno9", "eT1[key]Jno9"),
        ] {
            assert_eq!(redactor.clean(form), left);
        }
    }

    #[test]
    fn a_code_is_taken_out_in_pieces_and_encoded() {
        let code = SecretString::from("00a512");
        for form in [
            "00a512",
            "00A 512",
            "%30%30%61512",
            "0&#48;a512",
            "00a\n512",
            "00a-512",
            "00a<b>512",
            "00a&nbsp;512",
            "００ａ５１２",
        ] {
            assert_eq!(without_code(&format!("x{form}y"), &code), "x******y");
        }
        assert_eq!(without_code("00b512 00a51", &code), "00b512 00a51");
    }

    #[test]
    fn what_looks_like_a_key_is_taken_out_unknown() {
        let text = format!("KKK{}é", "0aF1".repeat(8));
        assert_eq!(redactor("").clean(&text), "K[key]é");
        let short = format!("KK{}", "0".repeat(31));
        assert_eq!(redactor("").clean(&short), short);
    }

    #[test]
    fn what_is_judged_at_first_sight_is_judged_as_by_a_closer_look() {
        let mut random = fastrand::Rng::with_seed(1);
        for key in [
            "KK0123456789abcdef0123456789abcdef",
            "a+b/cd",
            "schl\u{fc}ssel",
            "",
        ] {
            let glancing = redactor(key);
            let mut looking = glancing.clone();
            looking.glance.windows = None;
            let parts = [
                "KK", "kk", "0", "x", "SM81", "-", " ", "\u{e9}", "<b>", "%30", "1f", "=",
            ];
            let mut judged = 0;
            for _ in 0..20_000 {
                let mut text = String::new();
                for _ in 0..random.usize(2..8) {
                    let from = random.usize(..=key.len());
                    let until = random.usize(from..=key.len());
                    text += parts[random.usize(..parts.len())];
                    text += key
                        .get(from..until)
                        .filter(|_| random.bool())
                        .unwrap_or("7");
                    text += ["0", "1f", "a7", "4b4b", "81x"][random.usize(..5)];
                }
                assert_eq!(glancing.clean(&text), looking.clean(&text), "{text}");
                judged += usize::from(glancing.glance.is_enough(&text));
            }
            let is_ascii = key.is_ascii();
            assert_eq!(judged > 100, is_ascii, "{judged} of {key}");
        }
    }

    #[test]
    fn a_placeholder_spoils_no_words() {
        assert_eq!(redactor("any").clean("many.csv"), "many.csv");
    }
}
