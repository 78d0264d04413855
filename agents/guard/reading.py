"""Reads words as a person, or a program that is asked nicely, would read them. Pure.

Owns normalisation and disguises: what is decoded, which letters are made plain, and what no honest mail holds at all
(invisible characters, letters that only look like others). Deliberately knows no rule about what words say.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from html import unescape
from urllib.parse import unquote

ROUNDS = 5  # of decoding; what is wrapped deeper is refused as encoded
_PERCENT = re.compile(r"(?:%[0-9a-f]{2})+", re.IGNORECASE)
_ESCAPE = re.compile(r"\\u\{?([0-9a-f]{4,6})\}?|\\x([0-9a-f]{2})", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9+/_=-]{12,}")
_BLOB = re.compile(r"(?=[A-Za-z_+/]*\d)(?=[\d_+/]*[A-Za-z])[A-Za-z0-9+/_]{16,}=*")
_SPELLED = re.compile(r"(?:(?<!\w)\w[ \t.\-_*·|/]{1,3}){4,}\w(?!\w)")
_SCRAMBLED = (
    "ignore",
    "disregard",
    "forget",
    "override",
    "bypass",
    "previous",
    "instructions",
    "instruction",
    "system",
    "prompt",
)
_LEET = str.maketrans("013457@$!|", "oieastasil")
_INVISIBLE = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
)  # by their category they are letters or marks
_SYMBOLS = frozenset({"So", "Sk", "Mn", "Me"})
# Letters of these scripts pass for Latin ones. A word of theirs belongs in a mail in one of their languages only.
_LOOKALIKES = frozenset({"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU", "DESERET", "GEORGIAN"})
_LANGUAGES = frozenset({"ru", "uk", "be", "bg", "sr", "mk", "kk", "ky", "mn", "tg", "el", "hy", "ka"})
_UNITS = frozenset("µμΩπ")
_PLAIN = {"’": "'", "‘": "'", "ı": "i", "ø": "o", "ł": "l", "đ": "d"}  # noqa: RUF001  # what they stand for


def read_plain(text: str) -> str:
    """The text as it is meant: every layer of encoding gone, invisible characters gone, compatible letters made plain."""
    decoded = decode(text)
    if decoded.isascii() and (decoded.isprintable() or decoded.replace("\n", "").isprintable()):
        return decoded
    normal = unicodedata.normalize("NFKC", decoded)
    return "".join(letter for letter in normal if not _is_invisible(letter) or letter in "\n\t")


def fold(text: str) -> str:
    """The plain text without the accents of Latin letters, for looking words up."""
    if text.isascii():
        return text
    return "".join(letter if letter.isascii() else _fold_letter(letter) for letter in text)


def decode(text: str) -> str:
    """HTML entities, percent and backslash escapes decoded until nothing changes."""
    for _ in range(ROUNDS):
        decoded = _PERCENT.sub(lambda match: unquote(match.group()), unescape(text))
        decoded = _ESCAPE.sub(_read_escape, decoded)
        if decoded == text:
            break
        text = decoded
    return text


def list_disguises(plain: str) -> list[str]:
    """The other texts that a plain one may hide: letters for digits, spelled out, backwards, rotated, encoded."""
    leet = re.sub(r"\S*[A-Za-z]\S*", lambda match: match.group().translate(_LEET), plain)
    views = [leet, _unscramble(plain), _join_spelled(plain), plain[::-1], codecs.encode(plain, "rot13")]
    return [*views, *(read_plain(inner) for inner in _list_encoded(plain))]


def squeeze(text: str) -> str:
    """Letters and digits only, for words whose letters were set apart."""
    return "".join(letter for letter in text if letter.isalnum()).lower()


def find_hidden(text: str, language: str) -> Iterator[str]:
    """What a person cannot see, or would take for something else. The text is looked at before anything is dropped."""
    decoded = decode(text)
    if any(_is_invisible(letter) and not _is_fine(decoded, place) for place, letter in enumerate(decoded)):
        yield "an invisible or turning character"
    if re.search(r"\n{8}|[ \t\u00a0]{24}", decoded):
        yield "a long blank"
    normal = unicodedata.normalize("NFKC", decoded)
    if _has_stacked_marks(normal) or any(_is_lookalike(word, language) for word in re.findall(r"[^\W\d_]+", normal)):
        yield "letters that look like others"
    if text != decoded and _PERCENT.search(text.replace("100%", "")) and len(_PERCENT.findall(text)[0]) >= 6:
        yield "encoded text"


def find_encoded(plain: str) -> Iterator[str]:
    """A key or a text that nobody can read; links must be left out before."""
    is_blob = any(_is_blob(match.group()) for match in _BLOB.finditer(plain))
    if (
        is_blob
        or _list_encoded(plain)
        or re.search(r"\b[a-zA-Z]*(?:[a-z][A-Z][a-zA-Z]*){4,}\b|\b[0-9a-f]{24,}\b", plain)
    ):
        yield "encoded text or a key"


@cache
def _fold_letter(letter: str) -> str:
    if "\uac00" <= letter <= "\ud7a3":  # Hangul would fall apart
        return letter
    parts = unicodedata.normalize("NFKD", _PLAIN.get(letter, letter))
    return "".join(part for part in parts if not unicodedata.combining(part))


def _is_blob(token: str) -> bool:
    words = [word for word in re.split(r"[/_+]", token) if word]
    return max(len(word) for word in words) >= 12 or token.endswith("=")


def _read_escape(match: re.Match[str]) -> str:
    code = int(match.group(1) or match.group(2), 16)
    return chr(code) if code <= 0x10FFFF else ""


def _list_encoded(plain: str) -> list[str]:
    """What tokens in base64, base32 or hexadecimal say, where they say anything readable."""
    found: list[str] = []
    for token in _TOKEN.findall(plain):
        padded = token.rstrip("=") + "=" * (-len(token.rstrip("=")) % 4)
        for reader in (base64.urlsafe_b64decode, base64.b64decode, _read_base32, bytes.fromhex):
            try:
                inner = reader(padded if reader is not bytes.fromhex else token).decode("utf-8")
            except (ValueError, binascii.Error):
                continue
            if len(inner) >= 6 and all(letter.isprintable() or letter in "\n\t\r" for letter in inner):
                found.append(inner)
    return found


def _read_base32(token: str) -> bytes:
    bare = token.rstrip("=")
    return base64.b32decode(bare + "=" * (-len(bare) % 8))


def _unscramble(plain: str) -> str:
    """Words whose inner letters are in disorder, which people and models read all the same."""
    return re.sub(r"[A-Za-z]{6,12}", lambda match: _ORDERED.get(_order(match.group()), match.group()), plain)


def _order(word: str) -> str:
    small = word.lower()
    return small[0] + "".join(sorted(small[1:-1])) + small[-1]


_ORDERED = {_order(word): word for word in _SCRAMBLED}


def _join_spelled(plain: str) -> str:
    return _SPELLED.sub(lambda match: re.sub(r"[ \t.\-_*·|/]+", "", match.group()), plain)


def _is_invisible(letter: str) -> bool:
    category = unicodedata.category(letter)
    return (category in {"Cf", "Cc", "Co", "Cn", "Cs", "Zl", "Zp"} and letter not in "\n\t\r") or letter in _INVISIBLE


def _is_fine(text: str, place: int) -> bool:
    """Whether a joiner stands between two parts of one emoji."""
    if text[place] != "\u200d" or not 0 < place < len(text) - 1:
        return False
    before, after = text[place - 1], text[place + 1]
    return unicodedata.category(before) in _SYMBOLS and unicodedata.category(after) in _SYMBOLS


def _has_stacked_marks(normal: str) -> bool:
    """More marks on a letter than a language has, or a run of variation selectors, which can carry a text."""
    return bool(
        re.search(r"[\u0300-\u036f\u1ab0-\u1aff\u20d0-\u20ff]{3}|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2}", normal)
    )


def _is_lookalike(word: str, language: str) -> bool:
    scripts = {unicodedata.name(letter, "NONE").partition(" ")[0] for letter in word if letter not in _UNITS}
    foreign = scripts & _LOOKALIKES
    if foreign and ("LATIN" in scripts or language not in _LANGUAGES):
        return True
    return any("\u0250" <= letter <= "\u02af" or "\u1d00" <= letter <= "\u1dbf" for letter in word)
