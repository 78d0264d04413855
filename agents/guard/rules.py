"""Everything that leaves, held against every rule: an email in all its parts, or whatever a webhook would be told.

Owns which rule looks where, and the shape of an email. A violation names its place and its rule and never repeats what
it found, because it becomes a row in the warehouse. Pure.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from agents.guard.evidence import Evidence
from agents.guard.links import Hosts, check_link, find_unsafe_links, leave_out_links
from agents.guard.numbers import find_wrong_numbers
from agents.guard.page import Page, read_page
from agents.guard.personal import find_personal
from agents.guard.reading import find_encoded, find_hidden, read_plain
from agents.guard.words import find_forbidden_words, find_strange_names, leave_out_names
from agents.swarm.outputs import PRODUCT_LINK, UNSUBSCRIBE, ChosenProduct, Email

MAX_SUBJECT = 150
MAX_TEXT = 5_000
MAX_HTML = 20_000
MAX_IMAGE_PROMPT = 2_000
MAX_DATA = 50_000  # characters of all texts that a webhook is told
SHARED_WORDS = 0.6  # of the words of text and html, which say the same thing in other clothes
_FEW_WORDS = 12
_FOR_PROGRAMS = frozenset({"data or a statement of a program", "an internal id", "the person's id"})


def find_violations(email: Email, product: ChosenProduct, evidence: Evidence, hosts: Hosts) -> list[str]:
    """Every rule that an email breaks; empty means that the rules have nothing against it."""
    page = read_page(email.html)
    found = [
        *_check_shape(email, product),
        *(f"html: {problem}" for problem in page.problems),
        *_check_places(email, page),
    ]
    seen = [
        ("subject", email.subject),
        ("text", _fill_places(email.text)),
        *([] if page.shown.split() == email.text.split() else [("html", _fill_places(page.shown))]),
        *(("html", words) for words in page.hidden),
        ("imagePrompt", email.image_prompt),
    ]
    for where, text in seen:
        found += [f"{where}: {problem}" for problem in check_words(text, email.language, evidence, hosts)]
        found += [
            f"{where}: markup in plain words" for _ in re.findall(r"<\s*/?\s*[a-z!?]", read_plain(text), re.I)[:1]
        ]
    for link in page.links:
        found += [
            f"html: {problem}"
            for problem in [*check_link(link, hosts), *find_personal(read_plain(link), evidence.user_id)]
        ]
    return list(dict.fromkeys(found))


def find_violations_in_data(data: Any, evidence: Evidence, hosts: Hosts) -> list[str]:
    """Every rule that the data of a webhook break, in whatever key or value of it."""
    texts = list(_list_texts(data))
    # Ids and names of programs are what a webhook is for.
    problems = [problem for text in texts for problem in check_words(text, "en", evidence, hosts)]
    found = [f"data: {problem}" for problem in problems if problem not in _FOR_PROGRAMS]
    if sum(map(len, texts)) > MAX_DATA:
        found.append(f"data: more than {MAX_DATA} characters")
    return list(dict.fromkeys(found))


def check_words(text: str, language: str, evidence: Evidence, hosts: Hosts) -> Iterator[str]:
    """The names of the rules that words break, wherever they stand."""
    yield from find_hidden(text, language)
    plain = read_plain(text)
    yield from find_unsafe_links(plain, hosts)
    yield from find_personal(plain, evidence.user_id)
    words = leave_out_links(plain)
    yield from find_encoded(words)
    yield from find_forbidden_words(words, evidence)
    yield from find_strange_names(words, evidence)
    yield from find_wrong_numbers(leave_out_names(words, evidence), evidence)


def _check_shape(email: Email, product: ChosenProduct) -> Iterator[str]:
    if email.product_id != product.product_id:
        yield f"it is about product {email.product_id!r:.80}, not the recommended one"
    for where, text, least, most in (
        ("subject", email.subject, 1, MAX_SUBJECT),
        ("text", email.text, 1, MAX_TEXT),
        ("html", email.html, 1, MAX_HTML),
        ("imagePrompt", email.image_prompt, 0, MAX_IMAGE_PROMPT),
    ):
        if not least <= len(text.strip()) or len(text) > most:
            yield f"{where}: must have {least} to {most} characters, has {len(text)}"
    if any(unicodedata.category(letter) in {"Cc", "Zl", "Zp"} for letter in email.subject):
        yield "subject: a line break or control character"


def _check_places(email: Email, page: Page) -> Iterator[str]:
    """The places that act fills: the way out exactly once, the product's link at most once, both in plain sight."""
    for where, text in (("text", email.text), ("html", email.html)):
        if text.count(UNSUBSCRIBE) != 1:
            yield f"{where}: {UNSUBSCRIBE} must be there exactly once"
        if text.count(PRODUCT_LINK) > 1:
            yield f"{where}: {PRODUCT_LINK} may be there once"
    if UNSUBSCRIBE not in page.shown:
        yield f"html: {UNSUBSCRIBE} is not visible"
    if PRODUCT_LINK in email.html and PRODUCT_LINK not in page.shown:
        yield f"html: {PRODUCT_LINK} is not visible"
    if UNSUBSCRIBE in page.linked or PRODUCT_LINK in page.linked:
        yield "html: a place for a link is inside a link"
    if not _say_the_same(_fill_places(email.text), _fill_places(page.shown)):
        yield "html: it says something else than the text"


def _fill_places(text: str) -> str:
    """The text without the places that act fills with links of its own."""
    return text.replace(UNSUBSCRIBE, " ").replace(PRODUCT_LINK, " ")


def _say_the_same(text: str, shown: str) -> bool:
    first, second = (set(re.findall(r"\w+", read_plain(words).lower())) for words in (text, shown))
    if max(len(first), len(second)) < _FEW_WORDS:
        return True
    return len(first & second) >= SHARED_WORDS * max(len(first), len(second))


def _list_texts(data: Any) -> Iterator[str]:
    """Every text in JSON, keys as well, and numbers as they would be written."""
    if isinstance(data, dict):
        for key, value in data.items():  # pyright: ignore[reportUnknownVariableType]  # JSON
            yield str(key)  # pyright: ignore[reportUnknownArgumentType]  # JSON
            yield from _list_texts(value)
    elif isinstance(data, list):
        for value in data:  # pyright: ignore[reportUnknownVariableType]  # JSON
            yield from _list_texts(value)
    elif data is not None and not isinstance(data, bool):
        yield str(data)
