"""What a request shows besides its events: who sent it, from about where, and whether that person wants to be followed.

Owns the reading of the headers and the question whose they are: what a shop's server sends is not from the person's own
device, so neither its User-Agent nor its address says anything about the person. The address is never stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any

import msgspec

from agents.tools.places import Place, make_location
from schemas.headers import CITY, COORDINATES, COUNTRY, REGION
from schemas.rows import Interaction, Location

ADDRESS_CHARACTERS = 45  # the longest text of an IPv6 address
# Segment's and RudderStack's libraries that run on servers, as they name themselves in context.library.
SERVER_LIBRARIES = frozenset(
    [
        *(f"analytics-{language}" for language in ("python", "node", "ruby", "go", "java", "php", "rust", "clojure")),
        *(f"rudder-analytics-{language}" for language in ("python", "node", "ruby", "go", "java", "php")),
        "@segment/analytics-node",
        "@rudderstack/rudder-sdk-node",
        "Analytics.NET",
    ]
)


class Clues(msgspec.Struct, frozen=True, kw_only=True):
    """One request. `location` is the load balancer's, `address` the client's; without a request there is nothing."""

    user_agent: str | None = None
    location: Location | None = None
    address: str | None = None
    do_not_track: bool = False
    global_privacy_control: bool = False


NO_CLUES = Clues()


def read_clues(headers: Mapping[str, str], *, behind_load_balancer: bool) -> Clues:
    """The clues of a request; header names are lower case.

    Only behind a load balancer are its headers and its entries of X-Forwarded-For believed: anybody can send such a
    header, and it is the load balancer that takes theirs away.
    """
    return Clues(
        user_agent=headers.get("user-agent") or None,
        location=_read_location(headers) if behind_load_balancer else None,
        address=_read_address(headers.get("x-forwarded-for", "")) if behind_load_balancer else None,
        do_not_track=headers.get("dnt", "").strip() == "1",
        global_privacy_control=headers.get("sec-gpc", "").strip() == "1",
    )


def attribute_clues(row: Interaction, raw: object, clues: Clues) -> Clues:
    """The clues that are about the person of this event, and not about a server that speaks for them."""
    address = _find_address(raw)
    if row.library and row.library.rpartition(" ")[0] in SERVER_LIBRARIES:
        return Clues(address=address) if address else NO_CLUES
    if address is not None and address != clues.address:
        return msgspec.structs.replace(
            clues, address=address, location=None
        )  # the person is elsewhere than the request
    return clues


class _Context(msgspec.Struct):
    ip: str | None = None


class _Event(msgspec.Struct):
    context: _Context | None = None
    data: Any = None


def _find_address(raw: object) -> str | None:
    """context.ip, which a server that speaks for a person may give (Segment's common fields)."""
    if isinstance(raw, msgspec.Raw) and b'"ip"' not in bytes(raw):  # nearly always
        return None
    try:
        event = msgspec.json.decode(raw, type=_Event) if isinstance(raw, msgspec.Raw) else msgspec.convert(raw, _Event)
        context = event.context or msgspec.convert(event.data, _Event).context
    except (msgspec.MsgspecError, RecursionError):  # of another shape: there is no address to find
        return None
    address = context.ip if context else None
    return address if address and len(address) <= ADDRESS_CHARACTERS else None


def _read_location(headers: Mapping[str, str]) -> Location | None:
    return _make_location(*(headers.get(name, "") for name in (COUNTRY, REGION, CITY, COORDINATES)))


@lru_cache(maxsize=4096)
def _make_location(country: str, region: str, city: str, coordinates: str) -> Location | None:
    latitude, _, longitude = coordinates.partition(",")
    place: Place | None = None
    with suppress(ValueError):  # the load balancer writes nothing where it knows nothing
        place = float(latitude), float(longitude)
    return make_location(country, region, _decode(city), place)


def _decode(text: str) -> str:
    return text.encode("latin-1", "replace").decode("utf-8", "replace")  # latin-1 is how ASGI servers hand it over


def _read_address(forwarded: str) -> str | None:
    """The client of `X-Forwarded-For: <whatever the client sent>,<client>,<load balancer>`.

    Source: https://cloud.google.com/load-balancing/docs/https#x-forwarded-for_header.
    """
    entries = [entry.strip() for entry in forwarded.split(",")]
    address = entries[-2] if len(entries) > 1 else entries[0]
    return address if 0 < len(address) <= ADDRESS_CHARACTERS else None
