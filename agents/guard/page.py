"""What an HTML mail shows and where it leads, and the markup that no honest one needs. Pure.

Owns the allow-list of tags and attributes. Beside the parser stands a plain grammar: markup that mail programs could
read in another way than this parser is refused, whatever it says.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser

# No picture (it could track), no title or style (they could hide words), no attribute that runs, turns or hides anything.
TAGS = frozenset(
    {
        "html", "head", "body", "p", "br", "hr", "div", "span", "strong", "b", "em", "i", "u", "ul", "ol", "li", "a",
        "h1", "h2", "h3", "h4", "table", "thead", "tbody", "tr", "td", "th",
    }
)  # fmt: skip
ATTRIBUTES = frozenset({"href", "title", "lang"})
MAX_TAGS = 500
_BREAKS = frozenset({"p", "br", "hr", "div", "li", "h1", "h2", "h3", "h4", "tr", "td", "th", "table", "ul", "ol"})
_TAG = re.compile(
    r"<(?:/[a-z][a-z0-9]*\s*|[a-z][a-z0-9]*(?:\s+[a-z-]+\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'))*\s*/?)>", re.IGNORECASE
)


class Page(HTMLParser):
    """Collects what a page shows, hides and links to."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.links: list[str] = []
        self.hidden: list[str] = []  # words of attributes
        self._shown: list[str] = []
        self._linked: list[str] = []
        self._anchors = 0

    @property
    def shown(self) -> str:
        """The words as they stand, cut by paragraphs and not by tags within one."""
        return "".join(self._shown)

    @property
    def linked(self) -> str:
        """The words inside links."""
        return "".join(self._linked)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS:
            self.problems.append(f"<{re.sub('[^a-z0-9]', '?', tag[:20])}> is not allowed")
        self._anchors += tag == "a"
        if tag in _BREAKS:
            self._shown.append("\n")
        for name, value in attrs:
            if name not in ATTRIBUTES:
                self.problems.append(f"the attribute {re.sub('[^a-z-]', '?', name[:20])} is not allowed")
            elif name == "href":
                self.links.append(value or "")
            elif value:
                self.hidden.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._anchors = max(0, self._anchors - 1)
        if tag in _BREAKS:
            self._shown.append("\n")

    def handle_data(self, data: str) -> None:
        self._shown.append(data)
        if self._anchors:
            self._linked.append(data)

    def handle_comment(self, data: str) -> None:  # noqa: ARG002  # the parser's signature
        self.problems.append("a comment")

    def handle_decl(self, decl: str) -> None:
        if decl.strip().lower() != "doctype html":
            self.problems.append("a declaration")

    def handle_pi(self, data: str) -> None:  # noqa: ARG002  # the parser's signature
        self.problems.append("a processing instruction")

    def unknown_decl(self, data: str) -> None:  # noqa: ARG002  # the parser's signature
        self.problems.append("a declaration")


def read_page(html: str) -> Page:
    """The page of an HTML text."""
    page = Page()
    page.feed(html)
    page.close()
    without = re.sub(r"^\s*<!doctype html>", "", html, flags=re.IGNORECASE)
    rest, count = _TAG.subn("", without)
    if "<" in rest or ">" in rest:
        page.problems.append("markup that programs read in different ways")
    if count > MAX_TAGS:
        page.problems.append(f"more than {MAX_TAGS} tags")
    return page
