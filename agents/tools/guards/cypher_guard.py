"""Cypher that a model wrote: a small language that can only walk outwards from one person.

A statement is `MATCH ... [OPTIONAL MATCH ...] [WHERE ...] RETURN ... [ORDER BY ...] LIMIT n`. Its first pattern begins at
`(u:User {userId: $userId})`, every other at a variable that is bound already; a step goes forwards along one named edge
(STARTED, CONTAINS, ON, IN). No edge leads from there to another person, so nobody else's data can be reached: not by a
filter that is looked for, but by construction. Whatever this module does not know is refused. Deliberately runs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from agents.tools.guards import Refused

MAX_CHARACTERS = 2000
MAX_MATCHES = 4
MAX_STEPS = 4  # of one pattern: User, Session, Event, Product, Category
MAX_ROWS = 200
LABELS = frozenset({"User", "Session", "Event", "Product", "Category"})
EDGES = frozenset({"STARTED", "CONTAINS", "ON", "IN"})
FUNCTIONS = frozenset(
    {"abs", "avg", "ceil", "coalesce", "collect", "count", "floor", "head", "last"}
    | {"max", "min", "round", "size", "sum", "tolower", "tostring", "toupper"}
)
WORDS = frozenset(
    {"and", "case", "contains", "else", "end", "ends", "false", "in", "is", "not", "null", "or"}
    | {"starts", "then", "true", "when", "with", "xor"}
)
RETURN_WORDS = frozenset({"as", "asc", "ascending", "by", "desc", "descending", "distinct", "order"})
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<number>\d+(?:\.\d+)?)|(?P<text>'[^'\\\n]*'|\"[^\"\\\n]*\")"
    r"|(?P<parameter>\$[A-Za-z]+)|(?P<sign>->|<-|<>|<=|>=|\.\.|[-(){}\[\]:,.<>=+*/%]))"
)
_CLAUSE = {"match", "optional", "where", "return", "limit"}


@dataclass
class _Reader:
    """The tokens and where the reading is; the variables that are bound."""

    tokens: list[tuple[str, str]]
    at: int = 0
    bound: set[str] = field(default_factory=set[str])

    def peek(self, ahead: int = 0) -> str:
        """A token, words in lower case; empty at the end."""
        index = self.at + ahead
        if index >= len(self.tokens):
            return ""
        kind, text = self.tokens[index]
        return text.lower() if kind == "name" else text

    def take(self, expected: str = "") -> str:
        """The next token as it is written."""
        if expected and self.peek() != expected:
            raise Refused(f"expected {expected.upper()!r} but found {self.peek() or 'the end'!r}")
        if self.at >= len(self.tokens):
            raise Refused("the statement ends too early")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def take_name(self) -> str:
        """The next token, which must be a name."""
        if self.at >= len(self.tokens) or self.tokens[self.at][0] != "name":
            raise Refused(f"expected a name but found {self.peek() or 'the end'!r}")
        return self.take()


def check(cypher: str) -> str:
    """The statement, as it may run with the parameter `userId` (the person) and in a reading transaction.

    Raises:
        Refused: it is not of this language; says where and why.
    """
    reader = _Reader(_tokenise(cypher))
    matches = 0
    while reader.peek() in {"match", "optional"}:
        matches += 1
        if matches > MAX_MATCHES:
            raise Refused(f"more than {MAX_MATCHES} MATCH clauses")
        if reader.peek() == "optional":
            reader.take()
        reader.take("match")
        _read_patterns(reader)
        if reader.peek() == "where":
            reader.take()
            _read_expression(reader)
    if not matches:
        raise Refused("begin with MATCH (u:User {userId: $userId})")
    reader.take("return")
    _read_expression(reader, aliases=True)
    reader.take("limit")
    rows = reader.take()
    if not rows.isdigit() or not 1 <= int(rows) <= MAX_ROWS:
        raise Refused(f"LIMIT is {rows}; write 1 to {MAX_ROWS}")
    if reader.peek():
        raise Refused(f"nothing may follow LIMIT, but {reader.peek()!r} does")
    return cypher.strip()


def _tokenise(cypher: str) -> list[tuple[str, str]]:
    if not cypher.strip() or len(cypher) > MAX_CHARACTERS:
        raise Refused(f"the statement has {len(cypher)} characters; write 1 to {MAX_CHARACTERS}")
    text, at, tokens = cypher.strip(), 0, list[tuple[str, str]]()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None or not found.lastgroup:
            raise Refused(f"{text[at : at + 12]!r} is not allowed here")
        tokens.append((found.lastgroup, found[found.lastgroup]))
        at = found.end()
    if "//" in text or "/*" in text:  # what a server takes for a comment must not be read as something else here
        raise Refused("comments are not allowed")
    return tokens


def _read_patterns(reader: _Reader) -> None:
    _read_pattern(reader)
    while reader.peek() == ",":
        reader.take()
        _read_pattern(reader)


def _read_pattern(reader: _Reader) -> None:
    _read_start(reader)
    steps = 0
    while reader.peek() in {"-", "<-"}:
        steps += 1
        if steps > MAX_STEPS:
            raise Refused(f"a pattern has more than {MAX_STEPS} steps")
        _read_step(reader)


def _read_start(reader: _Reader) -> None:
    """`(u:User {userId: $userId})` the first time, else a variable that is bound."""
    reader.take("(")
    name = reader.take_name()
    if name in reader.bound:
        _read_label(reader)
        reader.take(")")
        return
    if reader.bound:
        raise Refused(f"the pattern begins at {name}, which is not bound by an earlier one")
    if _read_label(reader) != "User":
        raise Refused("the first pattern must begin at (u:User {userId: $userId})")
    for expected in ("{", "userid", ":", "$userId", "}", ")"):
        reader.take(expected)
    if reader.tokens[reader.at - 5][1] != "userId":
        raise Refused("the first pattern must begin at (u:User {userId: $userId})")
    reader.bound.add(name)


def _read_step(reader: _Reader) -> None:
    if reader.peek() == "<-":
        raise Refused("steps go forwards only: -[:STARTED]-> -[:CONTAINS]-> -[:ON]-> -[:IN]->")
    reader.take("-")
    reader.take("[")
    if reader.peek() != ":":
        reader.bound.add(_new_name(reader))
    reader.take(":")
    if (edge := reader.take_name()) not in EDGES:
        raise Refused(f"no edge {edge}; the edges are {', '.join(sorted(EDGES))}")
    reader.take("]")
    reader.take("->")
    reader.take("(")
    if reader.peek() not in {":", ")"}:
        name = reader.take_name()
        _refuse_word(name)
        reader.bound.add(name)
    label = _read_label(reader)
    if label == "User":
        raise Refused("no step leads to a User")
    reader.take(")")


def _new_name(reader: _Reader) -> str:
    name = reader.take_name()
    _refuse_word(name)
    return name


def _refuse_word(name: str) -> None:
    if name.lower() in WORDS | RETURN_WORDS | _CLAUSE | FUNCTIONS:
        raise Refused(f"{name} is a word of the language; choose another name")


def _read_label(reader: _Reader) -> str:
    if reader.peek() != ":":
        return ""
    reader.take()
    if (label := reader.take_name()) not in LABELS:
        raise Refused(f"no label {label}; the labels are {', '.join(sorted(LABELS))}")
    return label


def _read_expression(reader: _Reader, *, aliases: bool = False) -> None:
    """Everything up to the next clause: values of bound variables, texts, numbers, known words and functions."""
    begun, depth = reader.at, 0
    named: set[str] = set()
    while reader.peek() and not (depth == 0 and reader.peek() in _CLAUSE):
        kind, text = reader.tokens[reader.at]
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text, 0)
        if depth < 0:
            raise Refused(f"{text!r} closes nothing")
        if kind == "name":
            _read_word(reader, named, aliases=aliases)
        elif kind == "parameter" and text != "$userId":
            raise Refused(f"no parameter {text}; there is $userId")
        elif text == "." and (reader.peek(-1) not in {name.lower() for name in reader.bound} or reader.peek(-2) == "."):
            raise Refused("a property is written <variable>.<name>")
        elif kind == "sign":
            _check_sign(reader)
        reader.at += 1
    if depth or reader.at == begun:
        raise Refused("an expression is missing, or a bracket is not closed")


def _read_word(reader: _Reader, named: set[str], *, aliases: bool) -> None:
    _, text = reader.tokens[reader.at]
    word, before, after = text.lower(), reader.peek(-1) if reader.at else "", reader.peek(1)
    if before == ".":
        return  # a property of what stands before it
    if before == "as" and aliases:
        _refuse_word(text)
        named.add(text)
        return
    if after == "(" and word not in WORDS | RETURN_WORDS:
        if word not in FUNCTIONS:
            raise Refused(f"no function {text}; the functions are {', '.join(sorted(FUNCTIONS))}")
        return
    if word == "with" and before not in {"starts", "ends"}:
        raise Refused("the clause WITH is not allowed; it would unbind variables")
    if text in reader.bound or text in named or word in (WORDS | RETURN_WORDS if aliases else WORDS):
        return
    raise Refused(f"{text} is not bound; only variables of the MATCH clauses and known words may be used")


def _check_sign(reader: _Reader) -> None:
    """No pattern may hide in an expression: it would walk to other people."""
    sign, before, after = reader.peek(), reader.peek(-1), reader.peek(1)
    if sign in {"{", "}", ":", "->", "<-", ".."}:
        raise Refused(f"{sign!r} is not allowed in an expression")
    if sign == "-" and (after in {"-", "[", ">", "(", "->"} or before in {")", "<", "]"}):
        raise Refused("a pattern is not allowed in an expression; for a difference write a.x - b.y without brackets")
    if sign == "[" and before not in {"in", "("}:
        raise Refused("a list may only follow IN")
    if sign == "(" and after == ")":
        raise Refused("'()' is not allowed")
