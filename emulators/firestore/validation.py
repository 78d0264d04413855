"""Owns what may be stored: checks a document's fields and cuts timestamps to microseconds, in place.

Limits are those of https://firebase.google.com/docs/firestore/quotas (2026).
"""

import re

from emulators.firestore.messages import Document, FieldMap, LatLng, Value
from emulators.firestore.values import is_vector
from emulators.statuses import invalid

MAX_DOCUMENT_BYTES = 1_048_576
_MAX_FIELD_NAME_BYTES = 1500
_MAX_DEPTH = 20
_MAX_DIMENSIONS = 2048
_RESERVED = re.compile(r"__.*__\Z", re.DOTALL)


def check_document(document: Document) -> None:
    """Raises INVALID_ARGUMENT when a document may not be stored; cuts its timestamps to microseconds."""
    # The wire size stands in for Firestore's storage size; they differ by a few bytes a field.
    if document.ByteSize() > MAX_DOCUMENT_BYTES:
        raise invalid(f"The document is larger than {MAX_DOCUMENT_BYTES} bytes.")
    _check_fields(document.fields, 1)


def check_value(value: Value, *, depth: int = 1, is_in_array: bool = False) -> None:
    """Raises INVALID_ARGUMENT when a value may not be stored; cuts its timestamps to microseconds."""
    match value.WhichOneof("value_type"):
        case None:
            raise invalid("Cannot convert a value with its type unset.")
        case "timestamp_value":
            value.timestamp_value.nanos -= value.timestamp_value.nanos % 1000
        case "geo_point_value":
            _check_point(value.geo_point_value)
        case "array_value":
            if is_in_array:
                raise invalid("Cannot convert an array value in an array value.")
            for item in value.array_value.values:
                check_value(item, depth=depth, is_in_array=True)
        case "map_value":
            if depth >= _MAX_DEPTH:
                raise invalid(f"Maps are nested deeper than {_MAX_DEPTH} levels.")
            if is_vector(value.map_value.fields):
                _check_vector(value.map_value.fields)
            else:
                _check_fields(value.map_value.fields, depth + 1)
        case _:
            pass


def _check_fields(fields: FieldMap, depth: int) -> None:
    for name in fields:
        if not name:
            raise invalid("The property.name is the empty string.")
        if len(name.encode()) > _MAX_FIELD_NAME_BYTES:
            raise invalid(f"The property.name is longer than {_MAX_FIELD_NAME_BYTES} bytes.")
        if _RESERVED.match(name):
            raise invalid(f"field name {name} is reserved")
        check_value(fields[name], depth=depth)


def _check_vector(fields: FieldMap) -> None:
    held = fields.get("value")
    items = held.array_value.values if held is not None else ()
    if not 0 < len(items) <= _MAX_DIMENSIONS or len(fields) != 2:
        raise invalid(f"A vector has 1 to {_MAX_DIMENSIONS} dimensions and nothing else.")
    if any(item.WhichOneof("value_type") not in {"double_value", "integer_value"} for item in items):
        raise invalid("A vector holds numbers only.")


def _check_point(point: LatLng) -> None:
    if not -90 <= point.latitude <= 90:
        raise invalid(f"Geo point latitude '{point.latitude}' outside permitted range -90.0 to 90.0.")
    if not -180 <= point.longitude <= 180:
        raise invalid(f"Geo point longitude '{point.longitude}' outside permitted range -180.0 to 180.0.")
