"""Owns field paths: parsing them, and reading, setting and deleting the field they point at."""

import re
from collections.abc import Iterable
from functools import lru_cache

from emulators.firestore.messages import (
    Document,
    DocumentMask,
    FieldMap,
    Value,
    new_document,
    new_value,
)
from emulators.statuses import invalid

FieldPath = tuple[str, ...]

NAME_FIELD: FieldPath = ("__name__",)

_SEGMENT = re.compile(r"([a-zA-Z_][a-zA-Z_0-9]*)|`((?:[^`\\]|\\.)+)`", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@lru_cache(maxsize=4096)
def parse_field_path(text: str) -> FieldPath:
    """Splits ``a.`b.c`.d`` into its segments; raises INVALID_ARGUMENT for anything else."""
    segments: list[str] = []
    position = 0
    while True:
        found = _SEGMENT.match(text, position)
        if found is None:
            raise invalid(f'Invalid property path "{text}".')
        segments.append(found[1] if found[1] is not None else _ESCAPE.sub(r"\1", found[2]))
        position = found.end()
        if position == len(text):
            return tuple(segments)
        if text[position] != ".":
            raise invalid(f'Invalid property path "{text}".')
        position += 1


def parse_mask(mask: DocumentMask) -> list[FieldPath]:
    """Parses every path of a mask."""
    return [parse_field_path(path) for path in mask.field_paths]


def get_field(fields: FieldMap, path: FieldPath) -> Value | None:
    """Returns the value at a path, or None when a part of the path is absent or not a map."""
    value = fields.get(path[0])
    for segment in path[1:]:
        if value is None or value.WhichOneof("value_type") != "map_value":
            return None
        value = value.map_value.fields.get(segment)
    return value


def set_field(fields: FieldMap, path: FieldPath, value: Value) -> None:
    """Puts a copy of the value at a path; what stands in the way and is not a map becomes one."""
    for segment in path[:-1]:
        parent = fields[segment]
        if parent.WhichOneof("value_type") != "map_value":
            # A message of its own first: setting map_value drops whatever else the value held.
            parent.CopyFrom(new_value(map_value={}))
        fields = parent.map_value.fields
    fields[path[-1]].CopyFrom(value)


def delete_field(fields: FieldMap, path: FieldPath) -> None:
    """Removes the field at a path, if it is there."""
    for segment in path[:-1]:
        parent = fields.get(segment)
        if parent is None or parent.WhichOneof("value_type") != "map_value":
            return
        fields = parent.map_value.fields
    if path[-1] in fields:
        del fields[path[-1]]


def project_document(document: Document, paths: Iterable[FieldPath] | None) -> Document:
    """Returns the document with the fields at the paths only; None means all of them."""
    if paths is None:
        return document
    projected = new_document(name=document.name)
    if document.HasField("create_time"):  # a missing document in a list has no times
        times = new_document(create_time=document.create_time, update_time=document.update_time)
        projected.MergeFrom(times)
    for path in paths:
        value = get_field(document.fields, path)
        if value is not None:
            set_field(projected.fields, path, value)
    return projected
