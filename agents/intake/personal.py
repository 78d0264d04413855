"""Removes addresses and declared personal fields before anything reaches an error table or a log. Pure."""

from __future__ import annotations

import re
from typing import Any

# Keys that hold personal data by the names that Segment's spec and common clients give them.
PERSONAL_KEYS = frozenset(
    [
        "email",
        "emailaddress",
        "phone",
        "phonenumber",
        "mobile",
        "firstname",
        "lastname",
        "fullname",
        "username",
        "address",
        "street",
        "postalcode",
        "zip",
        "birthday",
        "dateofbirth",
        "age",
        "gender",
        "ip",
        "ipaddress",
        "avatar",
        "password",
        "token",
        "creditcard",
        "cardnumber",
        "iban",
        "advertisingid",
        "idfa",
        "writekey",
    ]
)
# Names that are personal only where a person is described: a product's name is not.
PERSONAL_TRAITS = PERSONAL_KEYS | {"name", "title", "city", "company"}
# Bounded (RFC 5321: 64 and 255), so that a long text without an address costs linear time.
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w.-]{1,255}")
_IPV4 = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b")
REMOVED = "[removed]"
DEPTH = 32  # what is nested deeper is not looked into, so it goes as a whole


def remove_personal(value: Any, keys: frozenset[str] = PERSONAL_KEYS, depth: int = 0) -> Any:
    """A copy of a JSON value in which personal fields are gone and addresses inside texts are blanked."""
    if depth > DEPTH:
        return REMOVED
    if isinstance(value, dict):
        return {key: _clean(key, inner, keys, depth) for key, inner in value.items()}
    if isinstance(value, list):
        return [remove_personal(inner, keys, depth + 1) for inner in value]
    if isinstance(value, str):
        return _IPV4.sub(REMOVED, _EMAIL.sub(REMOVED, value))
    return value


def _clean(key: str, value: Any, keys: frozenset[str], depth: int) -> Any:
    name = re.sub(r"[^a-z]", "", key.lower())
    if name in keys:
        return REMOVED
    return remove_personal(value, PERSONAL_TRAITS if name == "traits" else keys, depth + 1)
