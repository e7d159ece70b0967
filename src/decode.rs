//! Texts as a gateway, a proxy or a page may have encoded them: what each escape stands for, and
//! where in the text it stands.

use std::iter;

/// How often a text is decoded: what was encoded by a proxy and again by a page is twice.
const LAYERS: usize = 4;

/// A character as it is compared, in lower case and of plain width, and its place in the text.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// The character.
    pub c: char,
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends.
    pub end: usize,
}

/// The text as it is, then decoded once, twice … as long as anything in it is encoded, and last
/// without tags: before that what looks like one may be a text in angle brackets.
#[must_use]
pub fn layers(text: &str) -> Vec<Vec<Seen>> {
    let chars = text.char_indices();
    let plain = chars.map(|(start, c)| Seen {
        c: folded(c),
        start,
        end: start + c.len_utf8(),
    });
    let next = |layer: &Vec<Seen>| shorter(layer, escape);
    let mut layers: Vec<_> = iter::successors(Some(plain.collect()), next)
        .take(LAYERS)
        .collect();
    let without_tags = layers.last().and_then(|layer| shorter(layer, tag));
    layers.extend(without_tags);
    layers
}

/// In lower case, and not of full width.
fn folded(c: char) -> char {
    const TO_FULL_WIDTH: u32 = 0xfee0;
    let plain = match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - TO_FULL_WIDTH),
        _ => None,
    };
    plain.unwrap_or(c).to_ascii_lowercase()
}

/// Everything that `read` knows replaced by what it stands for; `None` when there is no such thing.
fn shorter(layer: &[Seen], read: fn(&[Seen]) -> Option<(char, usize)>) -> Option<Vec<Seen>> {
    let mut out = Vec::with_capacity(layer.len());
    let mut rest = layer;
    while let Some(first) = rest.first() {
        let (c, length) = read(rest).unwrap_or((first.c, 1));
        out.push(Seen {
            c: folded(c),
            start: first.start,
            end: rest[length - 1].end,
        });
        rest = &rest[length..];
    }
    (out.len() < layer.len()).then_some(out)
}

/// What an escape at the beginning stands for, and its length. What only separates is a blank.
fn escape(seen: &[Seen]) -> Option<(char, usize)> {
    match seen.first()?.c {
        '&' => coded(seen).or_else(|| entity(seen)),
        '\\' => coded(seen).or_else(|| escaped(seen)),
        '%' | '0' => coded(seen),
        _ => None,
    }
}

/// `<br/>`, `</b>`, `<!-- -->`
fn tag(seen: &[Seen]) -> Option<(char, usize)> {
    let opens = |seen: &&Seen| seen.c.is_ascii_alphabetic() || "/!?".contains(seen.c);
    seen.first().filter(|seen| seen.c == '<')?;
    seen.get(1).filter(opens)?;
    let inside = seen[1..].iter().position(|seen| "<>".contains(seen.c))?;
    (seen[1 + inside].c == '>').then_some((' ', inside + 2))
}

/// A character by its number: `%2b`, `\u002b`, `&#43;`. One that is not in ASCII may be several
/// bytes of UTF-8: `%c2%a0`.
fn coded(seen: &[Seen]) -> Option<(char, usize)> {
    let (code, length, is_byte) = code(seen)?;
    let whole = match u8::try_from(code) {
        Ok(0xc0..) if is_byte => in_utf8(seen),
        _ => None,
    };
    whole.or_else(|| Some((char::from_u32(code).unwrap_or(' '), length)))
}

fn in_utf8(seen: &[Seen]) -> Option<(char, usize)> {
    const LONGEST: usize = 4;
    let (mut bytes, mut length) = (Vec::new(), 0);
    while bytes.len() < LONGEST {
        let (byte, digits, _) = code(&seen[length..])?;
        bytes.push(u8::try_from(byte).ok()?);
        length += digits;
        if let Ok(text) = str::from_utf8(&bytes) {
            return Some((text.chars().next()?, length));
        }
    }
    None
}

/// The number in an escape at the beginning, the length of the escape, and whether it is a byte.
fn code(seen: &[Seen]) -> Option<(u32, usize, bool)> {
    const LONGEST: usize = 12;
    /// How it begins and ends, how many digits it has at least and at most, to which base.
    const FORMS: [(&str, &str, usize, usize, u32); 10] = [
        ("%u", "", 4, 4, 16),
        ("%", "", 2, 2, 16),
        ("0x", "", 2, 2, 16),
        ("\\u{", "}", 1, 6, 16),
        ("\\x{", "}", 1, 6, 16),
        ("\\u", "", 4, 4, 16),
        ("\\x", "", 2, 2, 16),
        ("\\", "", 3, 3, 8),
        ("&#x", ";", 1, 7, 16),
        ("&#", ";", 1, 7, 10),
    ];
    let text: String = seen.iter().take(LONGEST).map(|seen| seen.c).collect();
    FORMS.iter().find_map(|&(prefix, end, least, most, base)| {
        let rest = text.strip_prefix(prefix)?;
        let digits = rest.chars().take(most).take_while(|c| c.is_digit(base));
        let digits = digits.count();
        let ends = !end.is_empty() && rest[digits..].starts_with(end);
        // An entity may lack its semicolon.
        let is_whole = digits >= least && (ends || end != "}");
        let code = u32::from_str_radix(&rest[..digits], base).ok()?;
        let length = prefix.len() + digits + usize::from(ends);
        is_whole.then_some((code, length, end.is_empty() && digits < 4))
    })
}

/// `&amp;`, `&nbsp;`, and without a semicolon those that may lack it.
fn entity(seen: &[Seen]) -> Option<(char, usize)> {
    const LONGEST: usize = 32;
    const NAMES: [(&str, char); 12] = [
        ("amp", '&'),
        ("lt", '<'),
        ("gt", '>'),
        ("quot", '"'),
        ("nbsp", ' '),
        ("shy", ' '),
        ("apos", '\''),
        ("plus", '+'),
        ("sol", '/'),
        ("equals", '='),
        ("percnt", '%'),
        ("bsol", '\\'),
    ];
    const MAY_LACK_IT: usize = 6;
    let chars = seen[1..].iter().take(LONGEST).map(|seen| seen.c);
    let name: String = chars.take_while(char::is_ascii_alphanumeric).collect();
    if !name.is_empty() && seen.get(1 + name.len()).is_some_and(|end| end.c == ';') {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        return Some((known.map_or(' ', |(_, c)| *c), name.len() + 2));
    }
    let mut known = NAMES[..MAY_LACK_IT].iter();
    let (known, c) = known.find(|(known, _)| name.starts_with(known))?;
    Some((*c, known.len() + 1))
}

/// `\/`, `\n`
fn escaped(seen: &[Seen]) -> Option<(char, usize)> {
    match seen.get(1)?.c {
        'n' | 'r' | 't' | 'b' | 'f' | 'v' => Some((' ', 2)),
        // In front of a tag or an entity it is a sign of its own.
        c if c.is_ascii_punctuation() && !"<&".contains(c) => Some((c, 2)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The innermost layer.
    fn innermost(text: &str) -> String {
        let layer = layers(text).pop().unwrap();
        layer.iter().map(|seen| seen.c).collect()
    }

    #[test]
    fn an_escape_is_what_it_stands_for_and_knows_its_place() {
        for (text, plain) in [
            ("Plain 5% & <3 \\ 0", "plain 5% & <3 \\ 0"),
            ("%2B %2b %252B %u002b", "+ + + +"),
            (
                "\\u002B \\u{2b} \\x2B \\x{2b} \\053 0x2b \\+",
                "+ + + + + + +",
            ),
            ("&#43; &#x2B; &#43 &plus; &amp;#43;", "+ + + + +"),
            ("a&nbsp;b&shyc&ZeroWidthSpace;d&lte", "a b c d<e"),
            (
                "a<br/>b</B>c<span title=\"x\">d<e f<!-- -->",
                "a b c d<e f ",
            ),
            ("\\<br/>\\&nbsp;", "\\ \\ "),
            ("ＫＫ％３９", "kk9"),
            ("%EF%BC%99 %E2%82%AC %A0", "9 € \u{a0}"),
            ("\\342\\202\\254 \\xc2\\xa0 \\ud83d\\ude00.", "€ \u{a0}   ."),
        ] {
            assert_eq!(innermost(text), plain, "{text}");
        }
        let layer = layers("é&amp;%32x<br>").pop().unwrap();
        let places: Vec<_> = layer.iter().map(|seen| (seen.start, seen.end)).collect();
        assert_eq!(places, [(0, 2), (2, 7), (7, 10), (10, 11), (11, 15)]);
    }
}
