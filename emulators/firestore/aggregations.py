"""Owns count, sum and avg over the documents that a query returned."""

import math
from collections.abc import Iterable, Sequence

from emulators.firestore.fields import get_field, parse_field_path
from emulators.firestore.messages import Document, Value, new_value
from emulators.firestore.requests import Aggregation
from emulators.statuses import invalid

_MIN_INT64, _MAX_INT64 = -(1 << 63), (1 << 63) - 1
_MAX_AGGREGATIONS = 5


def aggregate_documents(documents: Sequence[Document], aggregations: Sequence[Aggregation]) -> dict[str, Value]:
    """Returns one value for each aggregation, by alias; those without one are field_1, field_2 and so on."""
    if not 0 < len(aggregations) <= _MAX_AGGREGATIONS:
        raise invalid(f"A query has 1 to {_MAX_AGGREGATIONS} aggregations.")
    documents = _with_all_fields(documents, aggregations)
    results: dict[str, Value] = {}
    unnamed = 0
    for aggregation in aggregations:
        alias = aggregation.alias
        if not alias:
            unnamed += 1
            alias = f"field_{unnamed}"
        if alias in results:
            raise invalid(f'The alias "{alias}" is used twice.')
        results[alias] = _aggregate(documents, aggregation)
    return results


def _with_all_fields(documents: Sequence[Document], aggregations: Sequence[Aggregation]) -> Sequence[Document]:
    # Firestore answers from an index of every field that is summed or averaged, so that even a count beside them
    # leaves out the documents that lack one.
    operands = [a.sum if a.WhichOneof("operator") == "sum" else a.avg for a in aggregations]
    named = [operand.field.field_path for operand in operands if operand.field.field_path]
    paths = [parse_field_path(field_path) for field_path in named]
    return [d for d in documents if all(get_field(d.fields, path) is not None for path in paths)]


def _aggregate(documents: Sequence[Document], aggregation: Aggregation) -> Value:
    match aggregation.WhichOneof("operator"):
        case "count":
            return new_value(integer_value=_count(documents, aggregation))
        case "sum":
            total = _sum(_numbers(documents, aggregation.sum.field.field_path))
            return new_value(**{"integer_value" if isinstance(total, int) else "double_value": total})
        case "avg":
            numbers = _numbers(documents, aggregation.avg.field.field_path)
            if not numbers:
                return new_value(null_value=0)
            return new_value(double_value=_sum_doubles(numbers) / len(numbers))
        case _:
            raise invalid("The operator of an aggregation is unset.")


def _count(documents: Sequence[Document], aggregation: Aggregation) -> int:
    if not aggregation.count.HasField("up_to"):
        return len(documents)
    up_to = aggregation.count.up_to.value
    if up_to < 0:
        raise invalid("up_to must not be negative.")
    return min(len(documents), up_to)


def _numbers(documents: Iterable[Document], field_path: str) -> list[int | float]:
    path = parse_field_path(field_path)
    numbers: list[int | float] = []
    for document in documents:
        value = get_field(document.fields, path)
        kind = value.WhichOneof("value_type") if value is not None else None
        if value is not None and kind in {"integer_value", "double_value"}:
            numbers.append(value.integer_value if kind == "integer_value" else value.double_value)
    return numbers


def _sum(numbers: list[int | float]) -> int | float:
    if all(isinstance(number, int) for number in numbers):
        total = sum(numbers)
        # Past 64 bits Firestore goes on in doubles.
        return total if _MIN_INT64 <= total <= _MAX_INT64 else float(total)
    return _sum_doubles(numbers)


def _sum_doubles(numbers: list[int | float]) -> float:
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):
        # Past the largest double, or infinities of both signs: what plain addition makes of it.
        return sum((float(number) for number in numbers), 0.0)
