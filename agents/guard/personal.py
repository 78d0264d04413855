"""Personal data and identifiers in words: addresses, numbers, places, our own ids. Pure.

Owns patterns with a check digit or a shape; phrases are in words.yaml. A finding never repeats what it found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_EMAIL = re.compile(
    r"[\w.%+-]+\s?(?:@|\(at\)|\[at\]|\{at\}|\bat\b(?=\s?[\w-]+\s?(?:\[?\(?\bdot\b|\.\s?(?:com|net|org)\b))|골뱅이)\s?"
    r"[\w-]+(?:\s?(?:\.|\[\.\]|\(\.\)|[\[(]?\bdot\b[\])]?|닷|점)\s?[\w-]+)+",
    re.IGNORECASE,
)
_HANDLE = re.compile(r"(?<!\w)@[a-z_]\w{2,}|\w골뱅이\w|\w\s?@\s?[a-z][\w-]*\s?\.\s?[a-z]", re.IGNORECASE)
# A plus and a country, a Korean number (area or mobile code first), or a bracketed area code; a bare number is not one.
_PHONE = re.compile(
    r"\+\s?\d[\d\s().-]{7,}\d|(?<![\d.,])0\d{1,2}[-.\s)]\s?\d{3,4}[-.\s]\d{4}(?!\d)|\(\d{3}\)\s?\d{3}[-.\s]\d{4}"
    r"|(?<![\d.,-])01[016789]\d{7,8}(?!\d)|(?<![\d.,-])1[5-9]\d{2}[- ]\d{4}(?!\d)|(?<![\d.,-])\d{3}[-.]\d{3}[-.]\d{4}(?!\d)"
    r"|(?:[공영일이삼사오육륙칠팔구]{3,4}[\s-]?){2}[공영일이삼사오육륙칠팔구]{4}"
    r"|(?:\b(?:zero|oh|one|two|three|four|five|six|seven|eight|nine)\b[\s,-]*){7,}",
    re.IGNORECASE,
)
_LONG_NUMBER = re.compile(r"\d(?:[ .-]?\d){12,18}")
_RESIDENT = re.compile(
    r"(?<!\d)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])-?[1-8]\d{6}(?!\d)"
)  # Korean resident number
_US_SOCIAL = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_ACCOUNT = re.compile(r"(?<![\d-])\d{3,6}-\d{2,6}-\d{4,7}(?:-\d{1,3})?(?![\d-])")  # Korean bank account
_STREET = re.compile(
    r"\b\d{1,5}[A-Z]?,? (?:[A-Z][\w'.]+ ){1,3}(?:Street|St\.|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Boulevard|Blvd|Parkway|Pkwy"
    r"|Court|Square|Terrace|Crescent|Close|Way|Place)\b"
    r"|[가-힣]{1,8}(?:시|도|구|군)\s(?:[가-힣]{1,8}(?:시|구|군|읍|면)\s)?[가-힣\d]{1,12}(?:로|길|동|리)\s?\d"
)
_NETWORK = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.])|\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", re.IGNORECASE)
_PLACE = re.compile(r"-?\d{1,3}\.\d{4,}\s*[,;/]\s*-?\d{1,3}\.\d{4,}")
_UUID = re.compile(r"\b[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}\b", re.IGNORECASE)
_PATTERNS = (
    (_EMAIL, "an email address"),
    (_HANDLE, "an email address or an account"),
    (_PHONE, "a telephone number"),
    (_RESIDENT, "a national identity number"),
    (_US_SOCIAL, "a national identity number"),
    (_IBAN, "a bank account number"),
    (_ACCOUNT, "a bank account number"),
    (_STREET, "a postal address"),
    (_NETWORK, "a network address"),
    (_PLACE, "a place on the map"),
    (_UUID, "an internal id"),
)


_CALLED_ID = r"(?:\b(?:id|user(?:name)?|account|customer|login|number)\b|아이디|계정|회원)[^.\n]{0,15}"


def find_personal(plain: str, user_id: str) -> Iterator[str]:
    """The kinds of personal data in a plain text; `user_id` is the person's own, which no mail repeats."""
    tight = _tighten(plain)
    for pattern, name in _PATTERNS:
        if pattern.search(plain) or (pattern is _RESIDENT and pattern.search(tight)):
            yield name
    if any(_is_card(match.group()) for match in _LONG_NUMBER.finditer(plain)):
        yield "a card number"
    if names_person(plain, user_id):
        yield "the person's id"


def names_person(plain: str, user_id: str) -> bool:
    """Whether an id stands in a text; one with letters also when it is set apart. One that is a word, such as `season`, only
    where it is called an id: a mail may use the word."""
    if len(user_id) < 4:
        return False
    if user_id.isdigit():
        return re.search(rf"(?<![\d.,]){user_id}(?![\d]|[.,]\d)", plain) is not None
    if user_id.isalpha():
        return re.search(rf"{_CALLED_ID}(?<!\w){re.escape(user_id)}(?!\w)", plain, re.IGNORECASE) is not None
    parts = [re.escape(letter) for letter in user_id if letter.isalnum()]
    return re.search(r"(?<!\w)" + r"[\W_]*".join(parts) + r"(?!\w)", plain, re.IGNORECASE) is not None


def _tighten(plain: str) -> str:
    """Digits that were set apart one by one, together again."""
    return re.sub(r"(?<![\d])(?:\d[ \-]{1,3}){6,}\d(?!\d)", lambda match: re.sub(r"[ \-]", "", match.group()), plain)


def _is_card(digits: str) -> bool:
    numbers = [int(letter) for letter in digits if letter.isdigit()][::-1]
    doubled = [sum(divmod(2 * number, 10)) for number in numbers[1::2]]
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0 and len(set(numbers)) > 1
