"""Where a message leads: only to the shop's own hosts, and from there to nowhere else. Pure.

Owns what counts as a link in words and in markup, written openly or in disguise. Which hosts are the shop's is said in
the contact policy (agents/acting/policy.yaml).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from agents.guard.reading import ROUNDS, decode, read_plain

Hosts = frozenset[str]
MAX_LINK = 500
_WEB = re.compile(r"https?:[\\/]*[^\s<>\"'「」『』|]*", re.IGNORECASE)
_SCHEME = re.compile(
    r"(?<![\w.])(?:[a-z][a-z0-9+.-]{1,20}\s?:\s?[\\/]\s?[\\/]"
    r"|(?:javascript|data|vbscript|mailto|tel|sms|file|blob|intent|market|about|chrome|view-source|ws|wss|ftp|hxxps?|cid|geo"
    r"|skype|whatsapp|tg|kakaotalk|jar|jndi|ldap|feed|livescript|mhtml|res|ms-\w+)\s?:(?=\S))",
    re.IGNORECASE,
)
# Endings that no sentence makes by a missing blank, and those that need a path or www to be told from one.
_ENDINGS = (
    "com|net|org|info|biz|xyz|shop|store|online|site|website|app|dev|link|click|club|live|example|test|tech|cloud|page|buzz"
    "|icu|vip|cyou|fun|space|world|today|agency|co|kr|ru|cn|jp|uk|de|fr|eu|io|ly|gg|cc|tk|ml|ga|cf|gq|ws|gl|gd|su|br|tv|onion"
)
_DOMAIN = re.compile(rf"(?<![\w@.-])(?:[\w-]+\.)+(?:{_ENDINGS}|닷컴|한국|xn--[\w-]+)(?![\w-]|\.\w)", re.IGNORECASE)
_ANY_DOMAIN = re.compile(r"(?<![\w@.-])(?:www\.[\w-]+|(?:[\w-]+\.)+[a-z]{2,}(?=/\w))", re.IGNORECASE)
_DOT = r"\s?(?:\[\.\]|\(\.\)|\{\.\}|[\[({]?\s?(?:\bdot\b|닷|쩜)\s?[\])}]?|\s\.\s|\s\.|\.\s)\s?"
_SPELLED = re.compile(
    rf"(?<![\w])[\w-]+{_DOT}(?:com|net|org|info|biz|xyz|example|컴|kr|ru|cn|io|shop(?=/))(?![\w-])", re.IGNORECASE
)
_REDIRECTS = re.compile(
    r"^(?:url|uri|u|r|to|go|goto|next|nexturl|redir\w*|redirect\w*|return\w*|ret|dest\w*|destination|continue|target|link|callback"
    r"|forward|out|jump|location|checkout_url|image_url|success\w*|back\w*|ref_url|exit|view|page_url|login\w*)$",
    re.IGNORECASE,
)
_LEADS = re.compile(r"//|\\|^\s*[a-z][a-z0-9+.-]*:|@|[\x00-\x1f]", re.IGNORECASE)


def read_hosts(*addresses: str) -> Hosts:
    """The hosts of the shop's own addresses."""
    return frozenset(host for address in addresses if (host := urlsplit(address).hostname))


def find_unsafe_links(plain: str, hosts: Hosts) -> Iterator[str]:
    """What is wrong with the links in a plain text (`reading.read_plain`), written openly or not."""
    for match in _WEB.finditer(plain):
        yield from check_link(match.group().rstrip(".,;:!?)]}’”…、。"), hosts)  # noqa: RUF001  # a quotation mark
    rest = leave_out_links(plain)
    if re.search(r"\bhttps?\s?[;.,|]\s?\S|(?<![\w:/])//+[\w-]+\.", rest, re.IGNORECASE):
        yield "a link that cannot be read"
    if _SCHEME.search(rest):
        yield "a link that is not https"
    for pattern in (_DOMAIN, _ANY_DOMAIN, _SPELLED):
        for match in pattern.finditer(rest):
            if match.group().lower() not in hosts:
                yield "the name of a place elsewhere"


def leave_out_links(plain: str) -> str:
    """The text without its web addresses."""
    return _WEB.sub(" ", plain)


def check_link(link: str, hosts: Hosts) -> Iterator[str]:
    """What is wrong with one link; it may be as it stands in an attribute."""
    # Browsers drop control characters and blanks around and inside a scheme, so `java\tscript:` is one.
    address = re.sub(r"[\x00-\x20]", "", read_plain(link) if "%" not in link else link)
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        yield "a link that cannot be read"
        return
    if parts.scheme != "https" or not host or not re.match(r"https://[^/\\]", address, re.IGNORECASE):
        yield "a link that is not https"
    elif parts.username is not None or "@" in parts.netloc or "\\" in address:
        yield "a link that hides its host"
    elif host not in hosts or port not in (None, 443):
        yield "a link whose host is not the shop's"
    elif len(address) > MAX_LINK or _leads_on(parts):
        yield "a link that leads on to somewhere else"


def _leads_on(parts: SplitResult) -> bool:
    path = _decode_fully(parts.path)
    if path is None or re.search(r"//|\\|(?:^|/)\.\.?(?:/|$)|@|[\x00-\x1f;]|:", path):
        return True
    pairs = parse_qsl(parts.query, keep_blank_values=True) + parse_qsl(parts.fragment, keep_blank_values=True)
    for name, value in [*pairs, ("", parts.fragment)]:
        inner = _decode_fully(value)
        if inner is None or _REDIRECTS.match(name) or _LEADS.search(inner) or _names_place(inner):
            return True
    return False


def _names_place(text: str) -> bool:
    return bool(_DOMAIN.search(text) or _ANY_DOMAIN.search(text))


def _decode_fully(text: str) -> str | None:
    """The text without a layer of encoding left; None when there are too many."""
    for _ in range(ROUNDS):
        inner = decode(unquote(text))
        if inner == text:
            return text
        text = inner
    return None
