"""Owns the order of Firestore values: every value becomes bytes that compare as Firestore compares the values.

Two values are equal for Firestore exactly when their keys are equal (3 and 3.0 are). No key is a prefix of
another, so keys can be joined for a composite order and inverted byte by byte for a descending one. The order
is that of https://firebase.google.com/docs/firestore/manage-data/data-types#value_type_ordering. Checking what
may be stored is `validation.py`'s work.
"""

import math
import re
import struct
from functools import lru_cache

from emulators.firestore.messages import FieldMap, LatLng, Value, micros_of
from emulators.statuses import invalid

# First byte of every key. Zero is kept free: it ends arrays and maps.
NULL, BOOLEAN, NUMBER, TIMESTAMP, STRING, BYTES, REFERENCE, GEO_POINT, ARRAY, VECTOR, MAP = range(1, 12)

NULL_KEY = bytes([NULL])
NAN_KEY = bytes([NUMBER, 0])

_END = b"\x00"
_ITEM = b"\x01"
_SIGN_BIT = 1 << 63
_ALL_BITS = (1 << 64) - 1
_NUMERIC_ID = re.compile(r"__id(-?\d{1,19})__\Z")
_INVERTED = bytes(255 - byte for byte in range(256))


def encode_value(value: Value) -> bytes:
    """Returns the key of a value; raises INVALID_ARGUMENT when the value is unset."""
    kind = value.WhichOneof("value_type")
    if kind == "string_value":
        return bytes([STRING]) + _encode_text(value.string_value.encode())
    if kind == "integer_value":
        return encode_number(value.integer_value)
    if kind == "double_value":
        return encode_number(value.double_value)
    if kind == "map_value":
        return _encode_map(value.map_value.fields)
    if kind == "array_value":
        return bytes([ARRAY]) + b"".join(encode_value(item) for item in value.array_value.values) + _END
    return _encode_rare(value, kind)


def encode_number(number: int | float) -> bytes:
    """Returns the key of a number: the nearest double, then what an integer differs from it by."""
    if isinstance(number, float):
        if math.isnan(number):
            return NAN_KEY
        nearest, rest = number, 0
    else:
        nearest = float(number)
        rest = number - int(nearest)
    return bytes([NUMBER, 1]) + _encode_double(nearest) + struct.pack(">H", rest + 0x8000)


@lru_cache(maxsize=65_536)
def encode_name(name: str) -> bytes:
    """Returns the key of a reference or document name: segment by segment, numeric ids before text."""
    return bytes([REFERENCE]) + b"".join(_encode_segment(part) for part in name.split("/")) + _END


def invert_key(key: bytes) -> bytes:
    """Returns a key that sorts the other way round."""
    return key.translate(_INVERTED)


def is_vector(fields: FieldMap) -> bool:
    """Tells whether a map is how the wire carries a vector."""
    kind = fields.get("__type__")
    return kind is not None and kind.string_value == "__vector__"


def _encode_rare(value: Value, kind: str | None) -> bytes:
    match kind:
        case "null_value":
            return NULL_KEY
        case "boolean_value":
            return bytes([BOOLEAN, int(value.boolean_value)])
        case "timestamp_value":
            return bytes([TIMESTAMP]) + struct.pack(">Q", micros_of(value.timestamp_value) + _SIGN_BIT)
        case "bytes_value":
            return bytes([BYTES]) + _encode_text(value.bytes_value)
        case "reference_value":
            return encode_name(value.reference_value)
        case "geo_point_value":
            return bytes([GEO_POINT]) + _encode_point(value.geo_point_value)
        case _:
            raise invalid("Cannot convert a value with its type unset.")


def _encode_map(fields: FieldMap) -> bytes:
    if is_vector(fields):
        held = fields.get("value")  # an index would create it
        items = held.array_value.values if held is not None else ()
        return bytes([VECTOR]) + struct.pack(">I", len(items)) + b"".join(encode_value(item) for item in items)
    # Firestore compares UTF-8 bytes; Python's order of code points is the same order.
    parts = [_ITEM + _encode_text(name.encode()) + encode_value(fields[name]) for name in sorted(fields)]
    return bytes([MAP]) + b"".join(parts) + _END


def _encode_text(text: bytes) -> bytes:
    return text.replace(b"\x00", b"\x00\xff") + b"\x00\x01"


def _encode_segment(segment: str) -> bytes:
    numeric = _NUMERIC_ID.match(segment)
    if numeric:
        return b"\x01" + struct.pack(">Q", (int(numeric[1]) + _SIGN_BIT) & _ALL_BITS)
    return b"\x02" + _encode_text(segment.encode())


def _encode_point(point: LatLng) -> bytes:
    return _encode_double(point.latitude) + _encode_double(point.longitude)


def _encode_double(number: float) -> bytes:
    # Adding zero turns -0.0 into 0.0: Firestore holds them equal.
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))
    return struct.pack(">Q", bits ^ _ALL_BITS if bits & _SIGN_BIT else bits | _SIGN_BIT)
