"""Owns query filters: turns a filter message into a predicate over documents, and checks Firestore's limits.

Predicates work on the keys of `values.py`, so equality and order are Firestore's everywhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from emulators.firestore.fields import NAME_FIELD, FieldPath, get_field, parse_field_path
from emulators.firestore.messages import Document, Value
from emulators.firestore.requests import CompositeFilter, FieldFilter, Filter, UnaryFilter
from emulators.firestore.values import NAN_KEY, NULL_KEY, encode_name, encode_value
from emulators.statuses import invalid

Predicate = Callable[[Document], bool]

_MAX_IN = 30
_MAX_NOT_IN = 10


class FieldOp(IntEnum):
    """StructuredQuery.FieldFilter.Operator."""

    LESS_THAN = 1
    LESS_THAN_OR_EQUAL = 2
    GREATER_THAN = 3
    GREATER_THAN_OR_EQUAL = 4
    EQUAL = 5
    NOT_EQUAL = 6
    ARRAY_CONTAINS = 7
    IN = 8
    ARRAY_CONTAINS_ANY = 9
    NOT_IN = 10


class UnaryOp(IntEnum):
    """StructuredQuery.UnaryFilter.Operator."""

    IS_NAN = 2
    IS_NULL = 3
    IS_NOT_NAN = 4
    IS_NOT_NULL = 5


class CompositeOp(IntEnum):
    """StructuredQuery.CompositeFilter.Operator."""

    AND = 1
    OR = 2


_RANGES = {FieldOp.LESS_THAN, FieldOp.LESS_THAN_OR_EQUAL, FieldOp.GREATER_THAN, FieldOp.GREATER_THAN_OR_EQUAL}
_LISTS = {FieldOp.IN, FieldOp.NOT_IN, FieldOp.ARRAY_CONTAINS_ANY}
_UNEQUAL = {NULL_KEY, NAN_KEY}


@dataclass(frozen=True, slots=True)
class CompiledFilter:
    """A predicate, and the fields with an inequality, which Firestore orders by."""

    matches: Predicate
    inequalities: frozenset[FieldPath] = frozenset()


def read_key(document: Document, path: FieldPath) -> bytes | None:
    """Returns the key of a document's field, or of its name; None when the field is absent."""
    if path == NAME_FIELD:
        return encode_name(document.name)
    value = get_field(document.fields, path)
    return encode_value(value) if value is not None else None


def compile_filter(message: Filter) -> CompiledFilter:
    """Compiles a filter; raises INVALID_ARGUMENT for one that Firestore refuses."""
    match message.WhichOneof("filter_type"):
        case "composite_filter":
            return _compile_composite(message.composite_filter)
        case "field_filter":
            return _compile_field(message.field_filter)
        case "unary_filter":
            return _compile_unary(message.unary_filter)
        case _:
            raise invalid("Filter is unset.")


def _compile_composite(message: CompositeFilter) -> CompiledFilter:
    parts = [compile_filter(part) for part in message.filters]
    if not parts:
        raise invalid("A composite filter needs at least one filter.")
    inequalities = frozenset[FieldPath]().union(*(part.inequalities for part in parts))
    predicates = [part.matches for part in parts]
    match message.op:
        case CompositeOp.AND:
            return CompiledFilter(lambda document: all(p(document) for p in predicates), inequalities)
        case CompositeOp.OR:
            return CompiledFilter(lambda document: any(p(document) for p in predicates), inequalities)
        case _:
            raise invalid("The operator of a composite filter is unset.")


def _compile_unary(message: UnaryFilter) -> CompiledFilter:
    path = parse_field_path(message.field.field_path)
    match message.op:
        case UnaryOp.IS_NAN:
            return CompiledFilter(lambda document: read_key(document, path) == NAN_KEY)
        case UnaryOp.IS_NULL:
            return CompiledFilter(lambda document: read_key(document, path) == NULL_KEY)
        case UnaryOp.IS_NOT_NAN:
            return _exclude(path, {NAN_KEY})
        case UnaryOp.IS_NOT_NULL:
            return _exclude(path, set())
        case _:
            raise invalid("The operator of a unary filter is unset.")


def _compile_field(message: FieldFilter) -> CompiledFilter:
    path = parse_field_path(message.field.field_path)
    if message.op not in {op.value for op in FieldOp}:
        raise invalid("The operator of a field filter is unset.")
    op = FieldOp(message.op)
    if op in _LISTS:
        return _compile_list(path, op, message.value)
    _check_name_value(path, message.value)
    return _compile_comparison(path, op, encode_value(message.value))


def _compile_comparison(path: FieldPath, op: FieldOp, wanted: bytes) -> CompiledFilter:
    # As in SQL nothing equals null or NaN, and nothing differs from null; the unary filters ask for them.
    is_defined = wanted not in _UNEQUAL
    if op in _RANGES:
        return CompiledFilter(_make_range(path, op, wanted) if is_defined else _match_none, frozenset({path}))
    if op is FieldOp.NOT_EQUAL:
        return (
            CompiledFilter(_match_none, frozenset({path}))
            if wanted == NULL_KEY
            else _exclude(path, {wanted} - _UNEQUAL)
        )
    if not is_defined:
        return CompiledFilter(_match_none)
    if op is FieldOp.ARRAY_CONTAINS:
        return CompiledFilter(lambda document: wanted in _element_keys(document, path))
    return CompiledFilter(lambda document: read_key(document, path) == wanted)


def _compile_list(path: FieldPath, op: FieldOp, value: Value) -> CompiledFilter:
    items = value.array_value.values
    limit = _MAX_NOT_IN if op is FieldOp.NOT_IN else _MAX_IN
    if value.WhichOneof("value_type") != "array_value" or not 0 < len(items) <= limit:
        raise invalid(f"'{op.name}' requires an array of 1 to {limit} values.")
    for item in items:
        _check_name_value(path, item)
    keys = {encode_value(item) for item in items}
    if op is FieldOp.IN:
        equal_keys = keys - _UNEQUAL
        return CompiledFilter(lambda document: read_key(document, path) in equal_keys)
    if op is FieldOp.ARRAY_CONTAINS_ANY:
        equal_keys = keys - _UNEQUAL
        return CompiledFilter(lambda document: not equal_keys.isdisjoint(_element_keys(document, path)))
    if NULL_KEY in keys:
        # `x NOT IN (..., null)` is undefined for every x, as in SQL.
        return CompiledFilter(_match_none, frozenset({path}))
    return _exclude(path, keys - _UNEQUAL)


def _exclude(path: FieldPath, keys: set[bytes]) -> CompiledFilter:
    def matches(document: Document) -> bool:
        key = read_key(document, path)
        return key is not None and key != NULL_KEY and key not in keys

    return CompiledFilter(matches, frozenset({path}))


def _make_range(path: FieldPath, op: FieldOp, wanted: bytes) -> Predicate:
    is_upper = op in {FieldOp.LESS_THAN, FieldOp.LESS_THAN_OR_EQUAL}
    is_inclusive = op in {FieldOp.LESS_THAN_OR_EQUAL, FieldOp.GREATER_THAN_OR_EQUAL}

    def matches(document: Document) -> bool:
        key = read_key(document, path)
        # Ranges stay within the type of their bound, and NaN is in none.
        if key is None or key[0] != wanted[0] or key == NAN_KEY:
            return False
        if key == wanted:
            return is_inclusive
        return (key < wanted) == is_upper

    return matches


def _match_none(_: Document) -> bool:
    return False


def _element_keys(document: Document, path: FieldPath) -> set[bytes]:
    value = get_field(document.fields, path)
    if value is None or value.WhichOneof("value_type") != "array_value":
        return set()
    return {encode_value(item) for item in value.array_value.values}


def _check_name_value(path: FieldPath, value: Value) -> None:
    if path == NAME_FIELD and value.WhichOneof("value_type") != "reference_value":
        raise invalid("__name__ is compared with references only.")
