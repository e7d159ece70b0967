"""The judge of numbers: libphonenumber's Python port. Reads lines of JSON, [cell, region], and
answers each with one: [E.164, valid, type], or null when the cell cannot be parsed.

What src/doc/formats.md says is wrapped around a number is taken off first, and nothing else."""

import json
import re
import sys

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType

INVISIBLE = re.compile("[\u00ad\u061c\u180e\ufeff\u200b-\u200f\u202a-\u202e\u2060-\u206f]")


def unwrapped(cell):
    text = re.sub(r"\s", " ", INVISIBLE.sub("", cell)).strip()
    text = text.removeprefix("'")
    quoted = re.fullmatch('=?"(.*)"', text)
    text = (quoted[1] if quoted else text).strip()
    text = re.sub("^(tel|p|whatsapp|sms|callto):(//)? *", "", text, flags=re.IGNORECASE)
    parts = [part for part in text.split(":::") if part.strip()]
    text = (parts[0] if len(parts) == 1 else text).strip()
    text = text.rstrip(" ,;/")
    fraction = re.fullmatch(r"(.*\d.*)[.,](\d{1,2})", text)
    return fraction[1] if fraction and int(fraction[2]) == 0 else text


def judged(cell, region):
    try:
        number = phonenumbers.parse(unwrapped(cell), region)
    except phonenumbers.NumberParseException:
        return None
    return [
        phonenumbers.format_number(number, PhoneNumberFormat.E164),
        phonenumbers.is_valid_number(number),
        PhoneNumberType.to_string(phonenumbers.number_type(number)),
    ]


for line in sys.stdin:
    print(json.dumps(judged(*json.loads(line))))
