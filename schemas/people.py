"""Which columns of the warehouse name a person, derived from the row contracts, so that no new table is forgotten.

A column names a person by its name (PERSON_COLUMNS). A column that holds somebody else's message whole (`holds: message` in
`schemas.rows`) may name anybody inside. Talks to no store.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from msgspec import inspect

from schemas.rows import Row
from schemas.tables import TABLES

PERSON_COLUMNS = frozenset(["user_id", "anonymous_id", "previous_id", "person_id"])
# How clients, rows and agents name a person in JSON; without case, as CloudEvents' attributes are written.
PERSON_KEYS = (
    "userId",
    "user_id",
    "anonymousId",
    "anonymous_id",
    "previousId",
    "previous_id",
    "person_id",
    "subject",
)
NAMES_NOBODY = {
    "product_updates": "products",
    "market_signals": "markets; its data is the feed's own",
    "weather_observations": "places and hours",
    "model_runs": "trainings and their figures",
    "product_features": "products",
    "product_relations": "products",
    "llm_usage": "model calls: costs and counts, never a prompt",
}
"""Tables that are left alone, each with what it is about."""


@dataclass(frozen=True, kw_only=True)
class PersonTable:
    """One table to look into. `messages` are its columns with whole messages; those of `as_bytes` are BYTES."""

    name: str
    columns: tuple[str, ...]
    messages: tuple[str, ...]
    as_bytes: tuple[str, ...]


def tables() -> list[PersonTable]:
    """Every table in which a person can be, by name."""
    found = (_describe(name, table.row) for name, table in sorted(TABLES.items()))
    return [table for table in found if table.columns or table.messages]


def _describe(name: str, row: type[Row]) -> PersonTable:
    struct = cast("inspect.StructType", inspect.type_info(row))
    messages = {field.name: _is_bytes(field.type) for field in struct.fields if _holds_message(field.type)}
    return PersonTable(
        name=name,
        columns=tuple(field.name for field in struct.fields if field.name in PERSON_COLUMNS),
        messages=tuple(messages),
        as_bytes=tuple(column for column, is_bytes in messages.items() if is_bytes),
    )


def _holds_message(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(_holds_message(option) for option in kind.types)
    if isinstance(kind, inspect.Metadata):
        return (kind.extra or {}).get("holds") == "message" or _holds_message(kind.type)
    return False


def _is_bytes(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(_is_bytes(option) for option in kind.types)
    return _is_bytes(kind.type) if isinstance(kind, inspect.Metadata) else isinstance(kind, inspect.BytesType)
