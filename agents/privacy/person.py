"""Who is to be forgotten: every id of a person, and how to tell that a text or a record names them. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import msgspec

from schemas.people import PERSON_KEYS

# What a line of ours or a client's message is wrapped in: a spill, a CloudEvent, a refused event.
WRAPPERS = ("interaction", "invalid", "data", "payload", "message")
_KEYS = frozenset(key.lower() for key in (*PERSON_KEYS, *(key.replace("_", "") for key in PERSON_KEYS)))


class Person(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """Somebody's ids (user and anonymous ones), and the work that was done about them (moments, tasks, actions)."""

    ids: tuple[str, ...]
    work: tuple[str, ...] = ()

    @cached_property
    def pattern(self) -> str:
        """An RE2 pattern that finds, in JSON or in JSON inside of JSON, one of the ids where a key says that it is one."""
        keys = "|".join(
            re.escape(key) for key in sorted({*PERSON_KEYS, *(key.replace("_", "") for key in PERSON_KEYS)})
        )
        ids = "|".join(_escape(one) for one in sorted(self.ids))
        return rf'(?i:\\*"(?:{keys})\\*"\s*:\s*)\\*"(?:{ids})\\*"'

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        """The pattern, ready for Python."""
        return re.compile(self.pattern)

    @cached_property
    def known(self) -> frozenset[str]:
        """The ids as a set."""
        return frozenset(self.ids)

    def is_in_text(self, text: str) -> bool:
        """Whether a text of JSON names the person."""
        return self.compiled.search(text) is not None

    def is_subject(self, record: Any) -> bool:
        """Whether a record is about the person: by an id of its own, not by one that it happens to mention."""
        if not isinstance(record, dict):
            return False
        fields: dict[str, Any] = record
        for key, value in fields.items():
            if key.lower() in _KEYS and str(value) in self.known:
                return True
            if key in WRAPPERS and self.is_subject(_unwrap(value)):
                return True
        return False


def digest(one: str) -> str:
    """What is kept of an id that must be recognised and not be known: its SHA-256 in hexadecimal."""
    return hashlib.sha256(one.encode("utf-8", "surrogatepass")).hexdigest()


def join(*groups: Iterable[str | None]) -> tuple[str, ...]:
    """Every text of the groups once, in order."""
    return tuple(sorted({one for group in groups for one in group if one}))


def _escape(one: str) -> str:
    """An id as JSON writes it, ready for RE2 and Python alike."""
    return re.sub(
        r"([^A-Za-z0-9_])", lambda found: _escape_character(found[1]), msgspec.json.encode(one).decode()[1:-1]
    )


def _escape_character(character: str) -> str:
    return f"\\{character}" if character.isascii() else character


def _unwrap(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return msgspec.json.decode(value)
    except (msgspec.DecodeError, RecursionError):
        return None
