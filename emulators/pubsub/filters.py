"""Pub/Sub's subscription filter language: text in, a predicate over a message's attributes out.

Pure: knows neither messages nor subscriptions. Grammar from
https://cloud.google.com/pubsub/docs/subscription-message-filter (2026-11-20):

    expression := term (AND term)* | term (OR term)*      AND and OR mix only through parentheses
    term       := (NOT | "-") term | "(" expression ")" | hasPrefix "(" attributes.KEY "," STRING ")"
                | attributes ":" KEY | attributes.KEY ("=" | "!=") STRING
    KEY        := letters, digits, "-", "_", "/" and "."; anything else as a STRING
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Predicate = Callable[[Mapping[str, str]], bool]

MAX_FILTER_BYTES = 256

_TOKEN = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\\n]|\\.)*")
      | (?P<word>[A-Za-z0-9_][A-Za-z0-9_/\-]*(?:\.[A-Za-z0-9_/\-]+)*\.?)
      | (?P<symbol>!=|[=:(),\-])
    )""",
    re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)")
_SIMPLE_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_QUOTABLE = "\"'\\`?"
_RESERVED = {"AND", "OR", "NOT"}


class FilterError(ValueError):
    """The text is not an expression of the filter language."""


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def parse_filter(text: str) -> Predicate:
    """Returns the predicate for a filter; raises FilterError, naming the offending part, when it is none."""
    if len(text.encode()) > MAX_FILTER_BYTES:
        raise FilterError(f"a filter has at most {MAX_FILTER_BYTES} bytes")
    parser = _Parser(_tokens_of(text))
    predicate = parser.parse_expression()
    parser.expect_end()
    return predicate


def _tokens_of(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise FilterError(f"unexpected {text[position:].lstrip()[:20]!r}")
        tokens.append(_Token(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


def _unquote(literal: str) -> str:
    def replace(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU" and len(code) > 1:
            return _character(int(code[1:], 16))
        if len(code) == 3:
            return _character(int(code, 8))
        if code in _SIMPLE_ESCAPES:
            return _SIMPLE_ESCAPES[code]
        if code in _QUOTABLE:
            return code
        raise FilterError(f"unknown escape \\{code}")

    return _ESCAPE.sub(replace, literal[1:-1])


def _character(number: int) -> str:
    try:
        return chr(number)
    except (ValueError, OverflowError) as error:
        raise FilterError(f"no character has the number {number:#x}") from error


class _Parser:
    """Recursive descent; every method consumes what it names or raises FilterError."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._next = 0

    def parse_expression(self) -> Predicate:
        terms = [self._parse_term()]
        joiner = ""
        while (token := self._peek()).text in ("AND", "OR") and token.kind == "word":
            if joiner not in ("", token.text):
                raise FilterError("AND and OR can be mixed only with parentheses")
            joiner = token.text
            self._take()
            terms.append(self._parse_term())
        if joiner == "":
            return terms[0]
        combine = all if joiner == "AND" else any
        return lambda attributes: combine(term(attributes) for term in terms)

    def expect_end(self) -> None:
        token = self._peek()
        if token.kind != "end":
            raise FilterError(f"unexpected {token.text!r}")

    def _parse_term(self) -> Predicate:
        token = self._take()
        if token in (_Token("word", "NOT"), _Token("symbol", "-")):
            negated = self._parse_term()
            return lambda attributes: not negated(attributes)
        if token == _Token("symbol", "("):
            inner = self.parse_expression()
            self._expect(")")
            return inner
        if token == _Token("word", "hasPrefix"):
            return self._parse_has_prefix()
        if token == _Token("word", "attributes") and self._peek().text == ":":
            self._take()
            key = self._parse_key()
            return lambda attributes: key in attributes
        return self._parse_comparison(self._parse_attribute(token))

    def _parse_has_prefix(self) -> Predicate:
        self._expect("(")
        key = self._parse_attribute(self._take())
        self._expect(",")
        prefix = self._parse_string()
        self._expect(")")
        return lambda attributes: attributes[key].startswith(prefix) if key in attributes else False

    def _parse_comparison(self, key: str) -> Predicate:
        operator = self._take()
        if operator.kind != "symbol" or operator.text not in ("=", "!="):
            raise FilterError(f"expected = or != after attributes.{key}, not {operator.text!r}")
        value = self._parse_string()
        if operator.text == "=":
            return lambda attributes: attributes.get(key) == value
        return lambda attributes: attributes.get(key) != value

    def _parse_attribute(self, token: _Token) -> str:
        prefix = "attributes."
        if token.kind != "word" or not token.text.startswith(prefix):
            raise FilterError(f"expected attributes.KEY, not {token.text!r}")
        if token.text == prefix:  # the key follows as a quoted string
            return self._parse_string()
        return token.text[len(prefix) :]

    def _parse_key(self) -> str:
        token = self._peek()
        if token.kind == "string":
            return self._parse_string()
        if token.kind != "word" or token.text in _RESERVED:
            raise FilterError(f"expected an attribute's key, not {token.text!r}")
        return self._take().text

    def _parse_string(self) -> str:
        token = self._take()
        if token.kind != "string":
            raise FilterError(f'expected a "string", not {token.text!r}')
        return _unquote(token.text)

    def _expect(self, symbol: str) -> None:
        token = self._take()
        if token != _Token("symbol", symbol):
            raise FilterError(f"expected {symbol!r}, not {token.text!r}")

    def _peek(self) -> _Token:
        if self._next < len(self._tokens):
            return self._tokens[self._next]
        return _Token("end", "the end")

    def _take(self) -> _Token:
        token = self._peek()
        self._next += 1
        return token
