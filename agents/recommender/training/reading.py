"""Turns the table `touches`, as Arrow columns, into `Events`: ids become numbers column by column, without a row in Python.

And the catalogue into what each item is said to be, and into items that nobody has touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import msgspec
import numpy as np
import pyarrow as pa
from pyarrow import compute

from agents.recommender.content import list_words
from agents.recommender.training.collecting import KIND_OF_TYPE, SECONDS_PER_DAY
from agents.recommender.training.events import Events, Ints

pc: Any = compute  # its functions are made at import; pyarrow ships no types


def read_events(touches: Any) -> Events:
    """Columns user_id, product_id, kind, touched_at, quantity, session_id, category; as `collect_events`, but all at once."""
    columns = cast("dict[str, Any]", {name: touches.column(name).combine_chunks() for name in touches.column_names})
    seconds = np.asarray(pc.cast(columns["touched_at"], pa.int64())).astype(np.float64) / 1e6
    order = np.argsort(seconds, kind="stable")
    users, user_ids = _number(columns["user_id"])
    items, item_ids = _number(columns["product_id"])
    kinds, kind_names = _number(columns["kind"])
    kind_codes = np.array([KIND_OF_TYPE[name] for name in kind_names], dtype=np.int8)
    days = seconds / SECONDS_PER_DAY
    named = [_text(users), _text(days.astype(np.int64))]
    visits, _ = _number(pc.binary_join_element_wise(named[0], pc.coalesce(columns["session_id"], named[1]), "|"))
    quantities = np.asarray(columns["quantity"]).astype(np.float32)
    return Events(
        user_ids=user_ids,
        item_ids=item_ids,
        users=users[order],
        items=items[order],
        kinds=kind_codes[kinds[order]] if len(order) else np.empty(0, np.int8),
        quantities=np.maximum(quantities[order], 1),
        days=(days - days.min(initial=np.inf))[order],
        sessions=visits[order],
        categories=_latest_categories(items[order], columns["category"].take(pa.array(order)), len(item_ids)),
    )


class CatalogueEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What the catalogue says of one product."""

    product_id: str
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    in_stock: bool | None = None


def add_catalogue(events: Events, catalogue: Sequence[CatalogueEntry]) -> Events:
    """The events over their items and those of the catalogue that are for sale, each with its words."""
    touched = set(events.item_ids)
    new = [one.product_id for one in catalogue if one.product_id not in touched and one.in_stock is not False]
    said = {one.product_id: list_words(one.name, one.category, one.brand) for one in catalogue}
    items = events.item_ids + new
    unknown = np.full(len(new), -1, dtype=np.int32)  # nobody wants them yet: a category's favourites they are not
    return replace(
        events,
        item_ids=items,
        words=[said.get(item, []) for item in items],
        categories=np.concatenate([events.categories, unknown]),
    )


def _number(column: Any) -> tuple[Ints, list[str]]:
    coded = column.dictionary_encode()
    return np.asarray(coded.indices).astype(np.int32), cast("list[str]", coded.dictionary.to_pylist())


def _text(numbers: Any) -> Any:
    return pc.cast(pa.array(numbers), pa.string())


def _latest_categories(items: Ints, categories: Any, count: int) -> Ints:
    """The number of each item's latest known category, -1 without one."""
    coded = categories.dictionary_encode()
    numbers = np.asarray(pc.fill_null(coded.indices, -1)).astype(np.int32)
    found = np.full(count, -1, dtype=np.int32)
    known = numbers >= 0
    found[items[known]] = numbers[known]  # in the order of time: the latest stays
    return found
