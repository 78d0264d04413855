"""The contact policy: who may be contacted, when and how often, and what needs a person's word. A file, and pure rules.

Owns the file's shape, its checks and the decisions that need no store. How often somebody was contacted is counted in
the outbox's transaction (`agents.tools.outbox`), by the caps that stand here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta

from agents.swarm.user_context import read_marketing_consent
from agents.tools.settings import settings
from schemas.places import Problem, read_places

PATH = Path(__file__).with_name("policy.yaml")
NO_ADDRESS = "no usable email address in the profile"
Risk = Annotated[int, Meta(ge=0, le=10)]


class PolicyError(ValueError):
    """The contact policy is not usable; the message names file, line, key, value and fix of every problem."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Cap(_Part, frozen=True, kw_only=True):
    """At most `messages` to one person within `hours`."""

    messages: Annotated[int, Meta(ge=1)]
    hours: Annotated[int, Meta(ge=1, le=24 * 366)]


class QuietHours(_Part, frozen=True, kw_only=True, rename={"start": "from", "end": "until"}):
    """From `start` until `end` by the person's clock; over midnight when `end` is earlier. Equal: never quiet."""

    start: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    end: Annotated[str, Meta(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    time_zone: str


class Approval(_Part, frozen=True, kw_only=True):
    """Actions of a risk above `above` wait for a person, at most `expires_hours`."""

    above: Risk
    expires_hours: Annotated[int, Meta(ge=1, le=24 * 30)]


class Shop(_Part, frozen=True, kw_only=True):
    """Where links lead."""

    name: str
    home: str
    product: str

    def product_url(self, product_id: str) -> str:
        """A product's page."""
        return self.product.replace("{product_id}", quote(product_id, safe=""))


class Webhook(_Part, frozen=True, kw_only=True):
    """One receiver. What signs for it is in the secret `webhook-secrets`, under its name."""

    url: str
    risk: Risk | None = None


class Policy(_Part, frozen=True, kw_only=True):
    """The whole file."""

    consent: Literal["opt_in", "opt_out"]
    caps: Annotated[list[Cap], Meta(min_length=1)]
    quiet_hours: QuietHours
    risk: dict[Literal["email", "webhook"], Risk]
    approval: Approval
    shop: Shop
    webhooks: dict[str, Webhook] = {}

    @property
    def longest_cap(self) -> timedelta:
        """How far back contacts count."""
        return timedelta(hours=max(cap.hours for cap in self.caps))


def read_policy(text: str, where: str) -> Policy:
    """The policy of a file's text.

    Raises:
        PolicyError: naming every problem that can be found at once.
    """
    places = read_places(text, where, PolicyError)
    policy = places.convert(Policy)
    places.refuse(_find_problems(policy))
    return policy


def _find_problems(policy: Policy) -> Iterator[Problem]:
    zone = policy.quiet_hours.time_zone
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield Problem(path=("quiet_hours", "time_zone"), text=f"{zone!r} is none; name one such as Asia/Seoul")
    addresses = {("shop", "home"): policy.shop.home, ("shop", "product"): policy.shop.product}
    addresses |= {("webhooks", name, "url"): hook.url for name, hook in policy.webhooks.items()}
    for path, address in addresses.items():
        if not _is_https(address):
            yield Problem(path=path, text=f"{address!r} must be an https address")
    if "{product_id}" not in policy.shop.product:
        yield Problem(path=("shop", "product"), text=f"{policy.shop.product!r} must hold {{product_id}}")
    for kind in ("email", "webhook"):
        if kind not in policy.risk:
            yield Problem(path=("risk",), text=f"without {kind}; give it 0 to 10")


@cache
def load_policy() -> Policy:
    """The deployment's policy: the setting ARGO_CONTACT_POLICY, else the one beside this module."""
    path = Path(settings().contact_policy) if settings().contact_policy else PATH
    return read_policy(path.read_text(encoding="utf-8"), str(path))


def find_refusal(fields: Mapping[str, Any], policy: Policy) -> str:
    """Why a person must not get mail; empty when they may."""
    email = fields.get("email")
    if not isinstance(email, str) or not is_address(email):
        return NO_ADDRESS
    if fields.get("unsubscribed") is True:
        return "unsubscribed"
    consent = read_marketing_consent(fields)
    if consent is False:
        return "no consent to marketing"
    if consent is None and policy.consent == "opt_in":
        return "never asked for consent to marketing, and the policy is opt_in"
    return ""


def is_address(text: str) -> bool:
    """Whether a text is one plain address; what could smuggle a second header or recipient is not."""
    name, _, host = text.rpartition("@")
    plain = text.isascii() and text.isprintable() and not any(letter in ' ,;:<>()[]\\"' for letter in text)
    return plain and bool(name) and "@" not in name and "." in host.strip(".") and len(text) <= 254


def find_quiet_end(fields: Mapping[str, Any], policy: Policy, now: datetime) -> datetime | None:
    """When the person's quiet hours are over, or None when it is not quiet now."""
    quiet = policy.quiet_hours
    start, end = time.fromisoformat(quiet.start), time.fromisoformat(quiet.end)
    if start == end:
        return None
    local = now.astimezone(_read_zone(fields, quiet.time_zone))
    clock = local.time().replace(tzinfo=None)
    is_quiet = start <= clock < end if start < end else clock >= start or clock < end
    if not is_quiet:
        return None
    day = local.date() if clock < end else local.date() + timedelta(days=1)
    return datetime.combine(day, end, local.tzinfo).astimezone(now.tzinfo)


def find_risk(kind: str, webhook: str, policy: Policy) -> int:
    """How risky an action is; the greatest risk for what the policy does not know."""
    if kind == "webhook" and webhook in policy.webhooks:
        own = policy.webhooks[webhook].risk
        return policy.risk["webhook"] if own is None else own
    return policy.risk.get(kind, 10) if kind == "email" else 10


def _read_zone(fields: Mapping[str, Any], fallback: str) -> ZoneInfo:
    given = fields.get("timezone")
    try:
        return ZoneInfo(given) if isinstance(given, str) and given else ZoneInfo(fallback)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo(fallback)


def _is_https(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme == "https" and bool(parts.hostname) and not parts.username


def main() -> int:
    """Check a policy file: `python -m agents.acting.policy [file]`."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else PATH
    try:
        read_policy(path.read_text(encoding="utf-8"), str(path))
    except (PolicyError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{path} is usable\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
