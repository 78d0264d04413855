"""Owns field transforms: what a field becomes, and the transform result that the client is told.

Follows the comments of `google.firestore.v1.DocumentTransform`.
"""

import math
from collections.abc import Iterable

from emulators.firestore.fields import get_field, parse_field_path, set_field
from emulators.firestore.messages import (
    FieldMap,
    FieldTransform,
    Repeated,
    Value,
    new_array,
    new_value,
    timestamp_of,
)
from emulators.firestore.values import encode_number, encode_value
from emulators.statuses import invalid

_MIN_INT64, _MAX_INT64 = -(1 << 63), (1 << 63) - 1
_NULL = new_value(null_value=0)


def apply_transforms(fields: FieldMap, transforms: Iterable[FieldTransform], commit_us: int) -> list[Value]:
    """Changes the fields in place, in order, and returns one result for each transform."""
    results: list[Value] = []
    for transform in transforms:
        path = parse_field_path(transform.field_path)
        new, result = _transform_value(get_field(fields, path), transform, commit_us)
        set_field(fields, path, new)
        results.append(result)
    return results


def _transform_value(old: Value | None, transform: FieldTransform, commit_us: int) -> tuple[Value, Value]:
    match transform.WhichOneof("transform_type"):
        case "set_to_server_value":
            # Milliseconds, says the API, and one value for the whole commit.
            new = new_value(timestamp_value=timestamp_of(commit_us - commit_us % 1000))
        case "increment":
            new = _add(old, transform.increment)
        case "maximum":
            new = _extreme(old, transform.maximum, sign=1)
        case "minimum":
            new = _extreme(old, transform.minimum, sign=-1)
        case "append_missing_elements":
            return _unite(old, transform.append_missing_elements.values), _NULL
        case "remove_all_from_array":
            return _subtract(old, transform.remove_all_from_array.values), _NULL
        case _:
            raise invalid("empty field transform")
    return new, new


def _number_of(value: Value | None) -> int | float | None:
    kind = value.WhichOneof("value_type") if value is not None else None
    if value is None or kind not in {"integer_value", "double_value"}:
        return None
    return value.integer_value if kind == "integer_value" else value.double_value


def _operand_of(value: Value) -> int | float:
    number = _number_of(value)
    if number is None:
        raise invalid("The operand of a numeric transform is not a number.")
    return number


def _add(old: Value | None, operand: Value) -> Value:
    left, right = _number_of(old), _operand_of(operand)
    if left is None:
        return operand
    if isinstance(left, int) and isinstance(right, int):
        # Firestore saturates instead of wrapping round.
        return new_value(integer_value=max(_MIN_INT64, min(_MAX_INT64, left + right)))
    return new_value(double_value=float(left) + float(right))


def _extreme(old: Value | None, operand: Value, *, sign: int) -> Value:
    left, right = _number_of(old), _operand_of(operand)
    if old is None or left is None:
        return operand
    if math.isnan(left) or math.isnan(right):
        return new_value(double_value=math.nan)
    left_key, right_key = encode_number(left), encode_number(right)
    # Equal numbers of different types (3 and 3.0) leave the field as it is.
    is_beaten = right_key > left_key if sign > 0 else right_key < left_key
    return operand if is_beaten else old


def _items_of(old: Value | None) -> list[Value]:
    if old is None or old.WhichOneof("value_type") != "array_value":
        return []
    return list(old.array_value.values)


def _unite(old: Value | None, added: Repeated[Value]) -> Value:
    items = _items_of(old)
    seen = {encode_value(item) for item in items}
    for item in added:
        key = encode_value(item)
        if key not in seen:
            seen.add(key)
            items.append(item)
    return new_value(array_value=new_array(values=items))


def _subtract(old: Value | None, removed: Repeated[Value]) -> Value:
    gone = {encode_value(item) for item in removed}
    return new_value(array_value=new_array(values=[i for i in _items_of(old) if encode_value(i) not in gone]))
