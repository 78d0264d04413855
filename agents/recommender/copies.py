"""The recommender's serving copy: each person's candidates and history, the catalogue, what is popular, and what somebody
has just touched. Reads and writes it through `agents.tools.serving`.

Owns the keys and their content. A copy is written whole under names of its own, then one pointer is moved to it: a reader
sees the old one or the new one, and a run that breaks off changes nothing. What was just touched has no version: events
write it as they come (functions/profiles.py), and any order and repetition of them gives the same list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import msgspec

from agents.recommender.items import ProductName, Touch
from agents.recommender.learned import UNLEARNED, Weights
from agents.tools.serving import Serving

POINTER = "serving:current"
POPULAR_COUNT = 200
KEPT_TOUCHES = 100
READ_TOUCHES = 30
TOUCHES: Mapping[str, Touch] = {
    "order_completed": Touch.ORDERED,
    "product_added": Touch.ADDED,
    "product_viewed": Touch.VIEWED,
}
"""Event type -> what the person did; other events show no wish for a product."""
_MARK = "\x1f"


class Pointer(msgspec.Struct, frozen=True, kw_only=True):
    """Which copies are current: `people` is the version of the candidates, `trained_at` theirs, `weights` what that run learned
    of paths; `shop` is the catalogue's."""

    people: str
    shop: str
    trained_at: datetime
    weights: Weights = UNLEARNED


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Candidates (id, score) best first; orders (id -> seconds since 1970); latest touches (id, touch, seconds); country."""

    candidates: list[tuple[str, float]] = []
    bought: dict[str, float] = {}
    recent: list[tuple[str, Touch, float]] = []
    country: str = ""


class Product(msgspec.Struct, frozen=True, kw_only=True):
    """One product of the catalogue, with how many people ordered it in 90 days, and what is like it (id, cosine).

    `is_new`: nobody has touched it.
    """

    name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: Decimal | None = None
    cost: Decimal | None = None
    in_stock: bool | None = None
    buyers: int = 0
    is_new: bool = False
    alike: list[tuple[str, float]] = []


class Popular(msgspec.Struct, frozen=True, kw_only=True):
    """Ids, most popular first: of all, of each category, and in each country."""

    everywhere: list[str] = []
    by_category: dict[str, list[str]] = {}
    by_country: dict[str, list[str]] = {}


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What the copy knows for one answer; `recent` newest first, its names still to be looked up."""

    pointer: Pointer
    person: Person
    recent: list[tuple[str, Touch, float, str]]


class NoCopy(Exception):
    """Nothing has been published yet, or Redis was emptied."""


def person_key(version: str, user_id: str) -> str:
    """Where a person is."""
    return f"serving:{version}:person:{user_id}"


def products_key(shop: str) -> str:
    """Where the catalogue is."""
    return f"serving:{shop}:products"


def popular_key(shop: str) -> str:
    """Where what is popular is."""
    return f"serving:{shop}:popular"


def touch_keys(user_id: str | None, anonymous_id: str | None, session_id: str | None) -> list[str]:
    """The lists of touches of a person, of a device, of a visit."""
    owners = {"user": user_id, "device": anonymous_id, "session": session_id}
    return [f"serving:touched:{kind}:{owner}" for kind, owner in owners.items() if owner]


def note_touches(serving: Serving, keys: list[str], products: Iterable[ProductName], at: datetime) -> None:
    """Keep what somebody touched."""
    members = {
        _MARK.join((product.touch.value, product.product_id, product.name)): at.timestamp() for product in products
    }
    if keys and members:
        serving.note(keys, members, KEPT_TOUCHES)


def read_known(serving: Serving, user_id: str, session_id: str) -> Known:
    """What is known of a person and a visit.

    Raises:
        NoCopy: nothing is published.
    """
    pointer = read_pointer(serving)
    if pointer is None:
        raise NoCopy("no serving copy is published; the job publish_serving does that")
    (text,), lists = serving.read(
        [person_key(pointer.people, user_id)], touch_keys(user_id, session_id, session_id), READ_TOUCHES
    )
    person = msgspec.json.decode(text, type=Person) if text else Person()
    return Known(pointer=pointer, person=person, recent=_merge(person, lists))


def read_products(serving: Serving, shop: str, ids: Sequence[str]) -> dict[str, Product]:
    """The products that the catalogue has of these."""
    wanted = list(dict.fromkeys(ids))
    found = serving.pick(products_key(shop), wanted)
    return {
        product_id: msgspec.json.decode(text, type=Product)
        for product_id, text in zip(wanted, found, strict=True)
        if text
    }


def read_popular(serving: Serving, shop: str) -> Popular:
    """What is popular."""
    (text,), _ = serving.read([popular_key(shop)], [], 0)
    return msgspec.json.decode(text, type=Popular) if text else Popular()


def read_pointer(serving: Serving) -> Pointer | None:
    """Which copies are current."""
    (pointed,), _ = serving.read([POINTER], [], 0)
    return msgspec.json.decode(pointed, type=Pointer) if pointed else None


def publish(serving: Serving, pointer: Pointer) -> None:
    """Let readers see what was written under these versions."""
    serving.put({POINTER: msgspec.json.encode(pointer).decode()})


def to_time(seconds: float) -> datetime:
    """A moment from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def _merge(person: Person, lists: list[dict[str, float]]) -> list[tuple[str, Touch, float, str]]:
    """Touches of all sources, newest first, each product once; an order that is as new tells more than a look."""
    touches = [(product_id, touch, at, "") for product_id, touch, at in person.recent]
    for members in lists:
        for member, at in members.items():
            touch, product_id, name = member.split(_MARK, 2)
            touches.append((product_id, Touch(touch), at, name))
    touches.sort(key=lambda entry: (-entry[2], entry[1] is not Touch.ORDERED, entry[0]))
    merged: dict[str, tuple[str, Touch, float, str]] = {}
    for entry in touches:
        merged.setdefault(entry[0], entry)
    return list(merged.values())
