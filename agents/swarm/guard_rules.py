"""What can be said about an email by rule: links, personal data, markup, leftovers, injected instructions. Pure.

Owns the rules that need no judgement. They look at what a reader would see: entities decoded, invisible characters
gone, full-width and other compatible letters made plain.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from urllib.parse import urlsplit

from agents.swarm.outputs import PRODUCT_LINK, UNSUBSCRIBE, ChosenProduct, Email

MAX_SUBJECT = 150
MAX_TEXT = 5_000
MAX_HTML = 20_000
# No picture (it could track), no title or style (they could hide words), no attribute that runs or hides anything.
_TAGS = frozenset(
    {
        "html", "head", "body", "p", "br", "hr", "div", "span", "strong", "b", "em", "i", "u", "ul", "ol", "li", "a",
        "h1", "h2", "h3", "h4", "table", "thead", "tbody", "tr", "td", "th",
    }
)  # fmt: skip
_ATTRIBUTES = frozenset({"href", "title", "lang", "dir", "align"})

_EMAIL = re.compile(r"[\w.%+-]+\s?(?:@|\(at\)|\[at\])\s?[\w-]+(?:\.[\w-]+)+", re.IGNORECASE)
# A plus and a country, a Korean number (area or mobile code first), or a bracketed area code; a bare number is not one.
_PHONE = re.compile(r"\+\d[\d\s().-]{7,}\d|\b0\d{1,2}[-.\s)]\s?\d{3,4}[-.\s]\d{4}\b|\(\d{3}\)\s?\d{3}[-.\s]\d{4}")
_LONG_NUMBER = re.compile(r"\d(?:[ -]?\d){12,18}")
_RESIDENT = re.compile(r"\b\d{6}-?[1-8]\d{6}\b")  # Korean resident registration number
_US_SOCIAL = re.compile(r"\b\d{3}-\d{2}-\d{4}\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b")
_SCHEME = re.compile(
    r"\b([a-z][a-z0-9+.-]*)\s*:\s*/\s*/|\b(javascript|data|vbscript|mailto|tel|sms|file)\s*:(?=\S)", re.I
)
_LINK = re.compile(r"https://[^\s<>\"']+", re.IGNORECASE)
_LEFTOVER = re.compile(
    r"\{\{|\}\}|\{%|%\}|<%|%>|\$\{|```|</?data\b|\blorem ipsum\b|\bas an ai\b|\blanguage model\b"
    r"|\[(?:your|insert|customer|user|product|company|shop|first|last|name|recipient)[^\]]{0,40}\]"
    r"|\{(?:name|first_?name|product|price|customer|user|subject)\}|\bundefined\b|\bprompt:\s|\bsystem prompt\b",
    re.IGNORECASE,
)
_INJECTION = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,40}\b(?:instruction|prompt|guideline|polic(?:y|ies)|rules\b)"
    r"|\b(?:ignore|disregard|forget)\b (?:all|everything|anything)[^.\n]{0,20}\b(?:above|before|previous|prior)\b"
    r"|\byou are now (?:an? (?:\w+ )?(?:ai|assistant|bot|model|system|admin\w*)|dan|in \w+ mode)\b"
    r"|\bnew instructions?:|\bdeveloper mode\b|\bjailbreak|\bact as (?:an?|the) (?:ai|assistant|system)\b"
    r"|\b(?:reveal|print|repeat|show|output)\b[^.\n]{0,30}\b(?:(?:system|hidden|your) (?:prompt|instruction)|api key)"
    r"|<\|?(?:im_start|im_end|system|assistant)\|?>|\[/?INST\]|\bapproved?\W{0,3}[:=]\s*true\b"
    r"|(?:이전|위의?|모든|앞의?)[^.\n]{0,15}(?:지시|명령|지침|규칙)[^.\n]{0,15}(?:무시|잊)|시스템 ?프롬프트",
    re.IGNORECASE,
)
_WORDS = (
    (_EMAIL, "an email address"),
    (_PHONE, "a telephone number"),
    (_RESIDENT, "a national identity number"),
    (_US_SOCIAL, "a national identity number"),
    (_IBAN, "a bank account number"),
    (re.compile(r"<\s*/?\s*[a-z!]", re.IGNORECASE), "markup in plain words"),
    (_LEFTOVER, "a leftover of a template or a prompt"),
    (_INJECTION, "an instruction to a program"),
)


def find_violations(email: Email, product: ChosenProduct) -> list[str]:
    """Every rule that an email breaks; empty means that the rules have nothing against it."""
    page = _read_page(email.html)
    seen = [
        ("subject", email.subject),
        ("text", email.text),
        ("html", " ".join(page.texts)),
        ("html", page.visible),  # a word may be cut in pieces by tags
        ("imagePrompt", email.image_prompt),
    ]
    found = [*_check_shape(email, page, product), *page.problems]
    for where, text in seen:
        found += [f"{where}: {problem}" for problem in _check_words(_hide_places(_plain(text)))]
    found += [f"html: {problem}" for link in page.links for problem in check_link(link)]
    return list(dict.fromkeys(found))


def _hide_places(text: str) -> str:
    """The text without the places that act fills with links of its own."""
    return text.replace(UNSUBSCRIBE, " ").replace(PRODUCT_LINK, " ")


def check_link(link: str) -> Iterator[str]:
    """What is wrong with one link."""
    # Browsers drop control characters and blanks inside a scheme, so `java\tscript:` is one.
    address = re.sub(r"[\x00-\x20]", "", _plain(link))
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        yield "a link that cannot be read"
        return
    if parts.scheme != "https" or not host:
        yield "a link that is not https"
    elif parts.username or "@" in parts.netloc or "\\" in address:
        yield "a link that hides its host"
    elif re.fullmatch(r"[\d.]+|0x[\da-f]+|.*:.*", host) or "xn--" in host or "." not in host or not host.isascii():
        yield "a link whose host is a number, a local name or a look-alike"


def _check_shape(email: Email, page: _Page, product: ChosenProduct) -> Iterator[str]:
    if email.product_id != product.product_id:
        yield f"it is about product {email.product_id!r:.80}, not the recommended one"
    for where, text, limit in (
        ("subject", email.subject, MAX_SUBJECT),
        ("text", email.text, MAX_TEXT),
        ("html", email.html, MAX_HTML),
    ):
        if not text.strip() or len(text) > limit:
            yield f"{where}: must have 1 to {limit} characters, has {len(text)}"
    if any(unicodedata.category(letter) == "Cc" for letter in email.subject):
        yield "subject: a line break or control character"
    for where, text in (("text", email.text), ("html", email.html)):
        if text.count(UNSUBSCRIBE) != 1:
            yield f"{where}: {UNSUBSCRIBE} must be there exactly once"
    if UNSUBSCRIBE not in page.visible:
        yield f"html: {UNSUBSCRIBE} is not visible"


def _check_words(text: str) -> Iterator[str]:
    """The names of the rules that a text breaks, never the words that broke them."""
    for pattern, name in _WORDS:
        if pattern.search(text):
            yield name
    if any(_is_card(match.group()) for match in _LONG_NUMBER.finditer(text)):
        yield "a card number"
    if any((match.group(1) or match.group(2)).lower() != "https" for match in _SCHEME.finditer(text)):
        yield "a link that is not https"
    for match in _LINK.finditer(text):
        yield from check_link(match.group())


def _is_card(digits: str) -> bool:
    numbers = [int(letter) for letter in digits if letter.isdigit()][::-1]
    doubled = [sum(divmod(2 * number, 10)) for number in numbers[1::2]]
    return (sum(numbers[::2]) + sum(doubled)) % 10 == 0 and len(set(numbers)) > 1


def _plain(text: str) -> str:
    """The text as a reader sees it: entities decoded, compatible letters made plain, invisible ones gone."""
    normal = unicodedata.normalize("NFKC", unescape(unescape(text)))
    return "".join(letter for letter in normal if unicodedata.category(letter) not in {"Cf", "Cc"} or letter in "\n\t")


class _Page(HTMLParser):
    """Collects what an HTML mail shows and links to, and what it must not hold."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[str] = []
        self.links: list[str] = []
        self.problems: list[str] = []

    @property
    def visible(self) -> str:
        return "".join(self.texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            self.problems.append(f"html: <{tag[:20]}> is not allowed")
        for name, value in attrs:
            if name not in _ATTRIBUTES:
                self.problems.append(f"html: the attribute {name[:20]} is not allowed")
            elif name == "href":
                self.links.append(value or "")
            elif value:
                self.texts.append(f" {value} ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_comment(self, data: str) -> None:  # noqa: ARG002  # the parser's signature
        self.problems.append("html: a comment")

    def handle_pi(self, data: str) -> None:  # noqa: ARG002  # the parser's signature
        self.problems.append("html: a processing instruction")

    def unknown_decl(self, data: str) -> None:  # noqa: ARG002  # the parser's signature
        self.problems.append("html: a declaration")


def _read_page(html: str) -> _Page:
    page = _Page()
    page.feed(html)
    page.close()
    return page
