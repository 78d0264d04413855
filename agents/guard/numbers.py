"""Prices, percentages and last days in words, and whether the evidence holds each. Pure.

Owns how people write them in English and Korean. A number that is no price, share or last day is nobody's business here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation

from agents.guard.evidence import Evidence

_NUMBER = r"\d[\d.,']*(?:\s\d{3})*"
_WORD_NUMBER = (
    r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|twenty|thirty|forty|fifty|sixty|seventy|eighty"
    r"|ninety|hundred|thousand|a few|some)"
)
_CURRENCY = (
    r"(?:us\$|[$€£¥₩]|usd|eur|gbp|krw|jpy|won|dollars?|euros?|pounds?(?! in)|bucks|cents?|quid|달러|유로|엔|파운드)"
)
_MONEY = re.compile(rf"(?<![\w]){_CURRENCY}\s?({_NUMBER})|(?<![\w.,])({_NUMBER})\s?{_CURRENCY}(?!\w)", re.IGNORECASE)
_WON_END = r"(?=입니다|이|에|으로|을|짜리|부터|까지|대|은|만|도|의|$|[^\w가-힣]|\s)"
_WON_NUMBER = r"[\d,.일이삼사오육칠팔구십백천만]"
_WON = re.compile(rf"(?<![\w.,])({_WON_NUMBER}(?:[\s]?{_WON_NUMBER})*)\s?원{_WON_END}")
_BARE = re.compile(
    r"(?:\b(?:for|at|only|just|now|costs?|priced?|prices?|was|is|from|to|pay|of|than|instead|yours)\b\s?:?\s|[(:]\s?)"
    r"(\d[\d,]*[.,]\d{2})"
    r"(?![\d.,]*\d|\s?(?:p\.?m|a\.?m|cm|mm|m\b|km|kg|g\b|ml|l\b|inch|ft|h\b|o'?clock|%))",
    re.IGNORECASE,
)
_WORD_MONEY = re.compile(
    rf"\b{_WORD_NUMBER}(?:[\s-]{_WORD_NUMBER})*\s(?:dollars?|euros?|bucks|pounds? off|won|quid)\b", re.IGNORECASE
)
_SHARE = re.compile(
    r"(\S*?)\s?(?:%|\bpercent\b|\bper cent\b|\bpct\b|퍼센트|프로(?= ?(?:할인|세일|저렴|인하)))", re.IGNORECASE
)
_WORD_SHARE = re.compile(
    rf"\b{_WORD_NUMBER}[\s-](?:per ?cent|percent)\b|[일이삼사오육칠팔구십]+\s?(?:퍼센트|프로)", re.IGNORECASE
)
_MATERIAL = re.compile(
    r"(?<!\d)100\s?%\s(?:\w+\s)?(?:cotton|wool|linen|silk|oak|wood|leather|bamboo|paper|wax|beeswax|steel|jute|hemp|cashmere)\b"
    r"|(?<!\d)100\s?%\s?(?:면|린넨|울|실크|원목|가죽|대나무|밀랍)",
    re.IGNORECASE,
)
_OFFER = re.compile(
    r"\b(?:off|discount\w*|price[ds]?|offer|sale|deal|save|reduced|cheaper|voucher|stays?|at \d|costs?)\b"
    r"|%|할인|특가|가격|혜택|세일|원에"
    r"|행사|이벤트", re.IGNORECASE,
)  # fmt: skip
_LAST = re.compile(
    r"\b(?:until|till|til|through|ends?|ending|expires?|last day|valid|only on)\b"
    r"|\b(?:by|before) (?:the |this |next )?(?:\d|mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug"
    r"|sep|oct|nov|dec|end|noon"
    r"|midnight|week|tomorrow|tonight)|까지|마감|종료",
    re.IGNORECASE,
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = rf"({'|'.join(_MONTHS)})[a-z]*\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_DATES = (
    (re.compile(rf"\b{_DAY}\s?(?:of\s)?{_MONTH}(?![a-z])", re.IGNORECASE), (2, 1)),
    (re.compile(rf"\b{_MONTH}\s{_DAY}(?!\d)", re.IGNORECASE), (1, 2)),
    (re.compile(r"(\d{1,2})\s?월\s?(\d{1,2})\s?일"), (1, 2)),
    (re.compile(r"\b\d{4}[-./](\d{1,2})[-./](\d{1,2})\b"), (1, 2)),
)
_WON_WORDS = {"일": 1, "이": 2, "삼": 3, "사": 4, "오": 5, "육": 6, "칠": 7, "팔": 8, "구": 9}
_WON_UNITS = {"십": 10, "백": 100, "천": 1000}


def find_wrong_numbers(plain: str, evidence: Evidence) -> Iterator[str]:
    """Prices, percentages and last days that the evidence does not hold. Products' names must be left out before."""
    if any(not _holds(amount, evidence) for amount in _find_amounts(plain)) or _WORD_MONEY.search(plain):
        yield "a price that is not in the evidence"
    shares = [match.group(1) for match in _SHARE.finditer(_MATERIAL.sub(" ", plain))]
    if any(not _read_all(share) & evidence.percents for share in shares) or _WORD_SHARE.search(plain):
        yield "a percentage that is not in the evidence"
    for sentence in re.split(r"(?<=[a-z가-힣)])[.!?](?=\s|$)|\n", plain):
        if _LAST.search(sentence) and _OFFER.search(sentence) and not _ends_as_known(sentence, evidence):
            yield "a last day that is not in the evidence"


def _find_amounts(plain: str) -> Iterator[set[Decimal]]:
    for match in _MONEY.finditer(plain):
        yield _read_all(match.group(1) or match.group(2))
    for match in _BARE.finditer(plain):
        yield _read_all(match.group(1))
    for match in _WON.finditer(plain):
        yield _read_won(match.group(1))


def _holds(amounts: set[Decimal], evidence: Evidence) -> bool:
    return bool(amounts & evidence.amounts)


def _read_all(text: str) -> set[Decimal]:
    """Every number that a written one can be: a comma or a point may part thousands or decimals."""
    bare = re.sub(r"[\s']", "", text).strip(".,")
    found: set[Decimal] = set()
    for thousands, point in ((",", "."), (".", ",")):
        try:
            found.add(Decimal(bare.replace(thousands, "").replace(point, ".")))
        except InvalidOperation:
            continue
    return found


def _read_won(text: str) -> set[Decimal]:
    """An amount in won: 32,000, 3만 2천, 만, 오천."""
    compact = re.sub(r"[\s,]", "", text)
    high, many, low = compact.rpartition("만")
    try:
        total = (_read_part(high) if high else Decimal(1)) * 10_000 if many else Decimal(0)
        return {total + (_read_part(low) if low else Decimal(0))}
    except (InvalidOperation, KeyError):
        return set()


def _read_part(text: str) -> Decimal:
    total, number = Decimal(0), ""
    for letter in text:
        if letter in _WON_UNITS:
            total += (Decimal(number) if number else Decimal(1)) * _WON_UNITS[letter]
            number = ""
        else:
            number += letter if letter.isdigit() or letter == "." else str(_WON_WORDS[letter])
    return total + (Decimal(number) if number else Decimal(0))


def _ends_as_known(sentence: str, evidence: Evidence) -> bool:
    """Whether every day that a sentence about the end of an offer names is the known one, and it names one."""
    days = set(_find_days(sentence))
    return bool(days) and days <= evidence.dates


def _find_days(sentence: str) -> Iterator[tuple[int, int]]:
    for pattern, (month, day) in _DATES:
        for match in pattern.finditer(sentence):
            name = match.group(month)
            yield (int(name) if name.isdigit() else _MONTHS.index(name[:3].lower()) + 1), int(match.group(day))
