"""The Pub/Sub schemas of the topics that carry rows: Protocol Buffers, written from the row types.

`python -m schemas.render` writes `schemas/proto/<topic>.proto`; a topic checks each message against its schema before it
takes it. Messages stay the JSON that they are (encoding JSON); why not Avro: docs/decisions/2026-11-20-topic-schemas.md.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from msgspec import inspect

from schemas import rows
from schemas.columns import unwrap
from schemas.topology import Topology

_LAST_NUMBER = 2**29 - 1  # https://protobuf.dev/programming-guides/proto2/#assigning
_RESERVED = range(19_000, 20_000)
_SCALARS: dict[type[inspect.Type], str] = {
    inspect.StrType: "string",
    inspect.BytesType: "bytes",
    inspect.IntType: "int64",
    inspect.FloatType: "double",
    inspect.BoolType: "bool",
    inspect.DecimalType: "string",  # NUMERIC as text, so that it stays exact
    inspect.DateTimeType: "string",  # RFC 3339
    inspect.EnumType: "string",
}


def find_row_topics(topology: Topology) -> dict[str, str]:
    """Topic -> table, of each topic whose message is the row of a table."""
    return {
        entry.topic: entry.bigquery.table
        for entry in topology.subscriptions
        if entry.bigquery and not entry.bigquery.write_metadata
    }


def write_proto(row: type[rows.Row]) -> str:
    """The schema of a row type: one message, with a message inside for each record; Pub/Sub knows no imports.

    Raises:
        ValueError: two fields of a message have the same number; rename one.
    """
    head = '// Rewritten by `python -m schemas.render`.\nsyntax = "proto2";\n\n'
    return head + "\n".join(_write_message(row.__name__, _struct(inspect.type_info(row)), "")) + "\n"


def number_field(name: str) -> int:
    """A field's number, from its name: a column that is added anywhere renumbers nothing, and JSON never shows it."""
    number = zlib.crc32(name.encode()) % _LAST_NUMBER + 1
    return number + len(_RESERVED) if number in _RESERVED else number


def _write_message(name: str, struct: inspect.StructType, indent: str) -> Iterator[str]:
    numbers = {number_field(field.encode_name) for field in struct.fields}
    if len(numbers) != len(struct.fields):
        raise ValueError(f"two fields of {name} have the same number in Protocol Buffers: rename one")
    yield f"{indent}message {name} {{"
    seen: set[str] = set()
    for field in struct.fields:
        kind, repeated = _strip(field.type)
        rule = "repeated" if repeated else "required" if field.required else "optional"
        if isinstance(kind, inspect.StructType):
            written = kind.cls.__name__
            if written not in seen:
                seen.add(written)
                yield from _write_message(written, kind, indent + "  ")
        else:
            written = _SCALARS[type(kind)]
        yield f"{indent}  {rule} {written} {field.encode_name} = {number_field(field.encode_name)};"
    yield f"{indent}}}"


def _strip(kind: inspect.Type) -> tuple[inspect.Type, bool]:
    """The type itself, and whether there may be many."""
    kind, _, _ = unwrap(kind)
    return (unwrap(kind.item_type)[0], True) if isinstance(kind, inspect.ListType) else (kind, False)


def _struct(kind: inspect.Type) -> inspect.StructType:
    if not isinstance(kind, inspect.StructType):
        raise TypeError(f"{kind} is not a struct")
    return kind
