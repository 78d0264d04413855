"""Reading a request's parameters: what was meant as text becomes a value, or is nothing."""

from __future__ import annotations


def read_number(text: str, allowed: range) -> int | None:
    """The number that a text of at most three ASCII digits says, if it is allowed."""
    is_number = text.isascii() and text.isdecimal() and len(text) < 4
    return int(text) if is_number and int(text) in allowed else None
