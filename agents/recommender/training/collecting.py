"""Turns touches, one at a time, into the arrays of `Events`. Owns the numbering of people, items, visits, categories."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from agents.recommender.content import list_words
from agents.recommender.training.events import ADDED, ORDERED, VIEWED, Events

SECONDS_PER_DAY = 86_400.0
KIND_OF_TYPE = {
    **dict.fromkeys(("order_completed", "order_updated", "purchase", "transaction", "buy", "order"), ORDERED),
    **dict.fromkeys(("product_added", "product_added_to_wishlist", "cart", "addtocart", "add_to_cart"), ADDED),
    **dict.fromkeys(("product_viewed", "product_clicked", "view", "click", "pv"), VIEWED),
}
"""ARGO's own types, and those of published click streams. Any other type is no touch of a product."""


class Touch(NamedTuple):
    """A person touched a product. `seconds` since the epoch, NaN without a time; empty text: not known."""

    person: str
    product: str
    kind: int
    seconds: float = math.nan
    quantity: float = 1.0
    session: str = ""
    category: str = ""
    name: str = ""
    brand: str = ""
    place: str = ""


def collect_events(touches: Iterable[Touch]) -> Events:
    """All touches as arrays in the order of time; equal times keep their order. Without any time: as they came.

    Where only some have a time the others are left out: nobody can say whether they were before a cut or after it.
    """
    people, products, visits, kinds_of_item, places = (_Numbers() for _ in range(5))
    columns = [array(code) for code in "iibdfi"]
    categories: dict[int, int] = {}
    said: dict[int, tuple[str, str, str]] = {}
    lives: dict[int, int] = {}
    for touch in touches:
        user, item = people.number(touch.person), products.number(touch.product)
        visit = visits.number((user, touch.session or _name_visit(touch.seconds)))
        for column, value in zip(columns, (user, item, touch.kind, touch.seconds, touch.quantity, visit), strict=True):
            column.append(value)
        if touch.category:
            categories[item] = kinds_of_item.number(touch.category)
        if touch.name or touch.category or touch.brand:
            said[item] = (touch.name, touch.category, touch.brand)
        if touch.place:
            lives[user] = places.number(touch.place)
    users, items, kinds, seconds, quantities, sessions = (np.array(column) for column in columns)
    known = ~np.isnan(seconds)
    timed = bool(known.any())
    if timed and not known.all():
        users, items, kinds, seconds, quantities, sessions = (
            column[known] for column in (users, items, kinds, seconds, quantities, sessions)
        )
    order = np.argsort(seconds, kind="stable") if timed else np.arange(len(seconds))
    days = (seconds - seconds.min()) / SECONDS_PER_DAY if timed else np.zeros(len(seconds))
    return Events(
        user_ids=people.names(),
        item_ids=products.names(),
        users=users[order].astype(np.int32),
        items=items[order].astype(np.int32),
        kinds=kinds[order].astype(np.int8),
        quantities=np.maximum(quantities[order], 1).astype(np.float32),
        days=days[order],
        sessions=sessions[order].astype(np.int32),
        categories=np.array([categories.get(item, -1) for item in range(len(products.places))], dtype=np.int32),
        words=[list_words(*said.get(item, ("", "", ""))) for item in range(len(products.places))] if said else [],
        places=np.array([lives.get(user, -1) for user in range(len(people.places))] if lives else [], dtype=np.int32),
        timed=timed,
    )


class _Numbers:
    def __init__(self) -> None:
        self.places: dict[object, int] = {}

    def number(self, name: object) -> int:
        return self.places.setdefault(name, len(self.places))

    def names(self) -> list[str]:
        return [str(name) for name in self.places]


def _name_visit(seconds: float) -> str:
    """The day is the visit of somebody whose client names none."""
    return "" if math.isnan(seconds) else str(int(seconds // SECONDS_PER_DAY))
