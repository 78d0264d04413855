"""Signed links in messages: a click that is measured and then leads to the shop, and a way out that always works.

Owns the tokens, an approver's among them, and where their keys are. A token holds ids and nothing about the person; it is
signed, so that nobody can make a link of ours lead elsewhere or unsubscribe somebody else. A click's target is not in the
token at all: it is worked out anew from the contact policy, so that no link can ever be an open redirect.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from itsdangerous import BadData, SignatureExpired, URLSafeTimedSerializer

from agents.tools.secrets import read_json, secret_manager

KEYS = "link-signing-keys"

CLICK_SECONDS = 90 * 24 * 3600  # an older click still leads to the shop, and counts for nothing
CLICK, UNSUBSCRIBE, APPROVAL = "click", "unsubscribe", "approval"  # a token of one kind is none of another


class Link(msgspec.Struct, frozen=True, kw_only=True, rename={"action_id": "a", "user_id": "u", "product_id": "p"}):
    """What a link in a message is about."""

    action_id: str
    user_id: str
    product_id: str = ""


class Request(msgspec.Struct, frozen=True, kw_only=True, rename={"action_id": "a", "digest": "d"}):
    """What a link for an approver is about: exactly these bytes of an action."""

    action_id: str
    digest: str


Token = TypeVar("Token", Link, Request)


class Expired(Exception):
    """A genuine token that is too old."""


def read_keys() -> list[str]:
    """The keys of this deployment, newest last. Raises as Secret Manager does, and ValueError when the secret is malformed."""
    return list(read_json(secret_manager(), KEYS).values())


def sign(about: Link | Request, kind: str, keys: list[str]) -> str:
    """A token of a kind, signed with the newest key, which is the last."""
    return _serializer(kind, keys).dumps(msgspec.to_builtins(about))


def read(token: str, kind: str, keys: list[str], about: type[Token], max_age_seconds: int | None) -> Token | None:
    """What a token says, or None when no key of ours signed it for this kind.

    Raises:
        Expired: it is genuine, and older than `max_age_seconds`.
    """
    try:
        return msgspec.convert(_serializer(kind, keys).loads(token, max_age=max_age_seconds), about)
    except SignatureExpired:
        raise Expired from None
    except (BadData, msgspec.ValidationError):
        return None


def _serializer(kind: str, keys: list[str]) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(keys, salt=f"argo.{kind}")
