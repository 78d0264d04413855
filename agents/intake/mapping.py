"""Applies a feed's mapping to records of its files: what each row of ours is made of. Pure.

Owns reading a column as its target's type, patterns, totals, and gathering consecutive rows into one. Deliberately builds
no row: feeds.py does. The contract is `schemas.feed`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fnmatch import translate
from string import Formatter
from typing import Any, cast
from zoneinfo import ZoneInfo

from agents.intake.files import Record
from agents.intake.personal import REMOVED
from agents.intake.reading import NotJson, decode_json
from agents.intake.refusal import Refusal
from agents.intake.segment import read_money
from agents.intake.unpacking import Broken
from schemas.feed import LINE, Feed, Field, Patterns, Type, list_fields
from schemas.rows import Failure

GROUP_ROWS = 5_000  # of one event; BigQuery takes 10 MB a row
GROUP_BYTES = 4_000_000
_TRUE, _FALSE = ("true", "1", "yes", "y", "t"), ("false", "0", "no", "n", "f")
_INT64 = 2**63
Json = dict[str, Any]
Row = Mapping[str, Any]
Read = Callable[[Row], Any]
PRODUCT_TYPES: dict[str, Type] = {"price": "decimal", "quantity": "integer"}


class Mapper:
    """One feed, made ready for many records."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        types = list_fields(feed.kind)
        self._skip = _make_condition(feed.skip)
        self._fields = [
            (key, _make_reader(key, field, types.get(key) or field.type or "any"))
            for key, field in feed.fields.items()
            if not field.total
        ]
        self._totals = [key for key, field in feed.fields.items() if field.total]
        products = feed.products.fields if feed.products else {}
        self._products = [
            (key, _make_reader(f"products.{key}", field, PRODUCT_TYPES.get(key, "text")))
            for key, field in products.items()
        ]

    def is_skipped(self, row: Row) -> bool:
        """Whether the feed leaves the row out."""
        return bool(self.feed.skip) and self._skip(row)

    def read_row(self, row: Row, line: int, *, is_further: bool = False) -> Json:
        """The values of a row of ours by their dotted names; `products` is a list. Raises Refusal.

        `is_further`: the row is gathered behind another, whose values count, so that only its products are read.
        """
        row = {**row, LINE: line}
        values: Json = {}
        if not is_further:
            values = {key: value for key, read in self._fields if (value := read(row)) is not None}
        if self._products:
            values["products"] = list(self._read_products(row))
        return values

    def join_rows(self, parts: list[Json]) -> Json:
        """One row of those that were gathered: values of the first, products of all, totals over them."""
        values = parts[0]
        if self._products:
            values["products"] = [product for part in parts for product in part["products"]]
        for key in self._totals:
            values[key] = _sum_products(values["products"])
        return values

    def remove_declared(self, row: object) -> object:
        """The record without the columns that the feed declares personal."""
        if not isinstance(row, dict) or not self.feed.personal:
            return row
        given = cast("Json", row)
        return {key: REMOVED if key in self.feed.personal else value for key, value in given.items()}

    def _read_products(self, row: Row) -> Iterator[Json]:
        each = self.feed.products.each if self.feed.products else None
        if each is None:
            yield self._read_product(row)
            return
        items = find_value(row, each)
        if items is not None and not isinstance(items, list):
            raise Refusal(Failure.WRONG_TYPE, f"column {each} must be a list, not {type(items).__name__}")
        for item in cast("list[Any]", items or []):
            if not isinstance(item, dict):
                raise Refusal(Failure.WRONG_TYPE, f"an element of column {each} must be an object")
            yield self._read_product({**cast("Json", item), LINE: row[LINE]})

    def _read_product(self, row: Row) -> Json:
        product = {key: value for key, read in self._products if (value := read(row)) is not None}
        if not product.get("product_id"):
            raise Refusal(Failure.MISSING_FIELD, "the product has no product_id")
        return product


def gather(records: Iterable[Record], mapper: Mapper) -> Iterator[list[Record]]:
    """Records that belong together: consecutive ones with the same value in `group_by`, else each alone.

    A record that could not be read, or is left out, stands alone, and does not part what is around it.
    """
    column, group, key, begin = mapper.feed.group_by, list[Record](), None, 0
    try:
        for record in records:
            own = _read_key(record, column, mapper) if column else None
            is_full = len(group) >= GROUP_ROWS or record.end.offset - begin > GROUP_BYTES
            if group and (is_full or own not in (None, key)):
                yield group
                group = []
            if own is not None and not group:
                key, begin = own, record.end.offset
            if own is not None or group:
                group.append(record)
            else:
                yield [record]
    except Broken:  # what came before the damage is good
        if group:
            yield group
        raise
    if group:
        yield group


def _read_key(record: Record, column: str, mapper: Mapper) -> Any:
    if record.refusal or not isinstance(record.value, dict):
        return None
    row = cast("Json", record.value)
    return None if mapper.is_skipped(row) else find_value(row, column)


def find_value(row: Row, column: str) -> Any:
    """A column's value; a dotted one that is no key of its own is a path into nested objects."""
    if column in row or "." not in column:
        return row.get(column)
    value: Any = row
    for part in column.split("."):
        if not isinstance(value, Mapping):
            return None
        value = cast("Row", value).get(part)
    return value


def _make_condition(patterns: Patterns) -> Callable[[Row], bool]:
    """Whether every column fits one of its patterns; an empty pattern fits an empty or absent cell."""
    wanted = [
        (column, re.compile("|".join(translate(one) for one in ([ones] if isinstance(ones, str) else ones))))
        for column, ones in patterns.items()
    ]
    return lambda row: all(fits.match(_to_text(find_value(row, column)).strip()) for column, fits in wanted)


def _make_reader(key: str, field: Field, type_: str) -> Read:
    if field.constant is not None:
        constant = _CONVERTERS[type_](field)(field.constant, key)
        read: Read = lambda row: constant  # noqa: E731, ARG005
    else:
        read = _make_source_reader(key, field, type_)
    if not field.when:
        return read
    fits = _make_condition(field.when)
    return lambda row: read(row) if fits(row) else None


def _make_source_reader(key: str, field: Field, type_: str) -> Read:
    take = _make_template(field.template) if field.template else _make_column(field.column or "")
    name = f"{key} (column {field.column})" if field.column else f"{key} (template)"
    replace = _make_replacement(name, field.map) if field.map else None
    convert = _CONVERTERS[type_](field)

    def read(row: Row) -> Any:
        value = take(row)
        if replace:
            value = replace(value)
        if isinstance(value, str):
            value = value.strip()
        return None if value is None or value == "" else convert(value, name)

    return read


def _make_column(column: str) -> Read:
    return lambda row: find_value(row, column)


def _make_template(template: str) -> Read:
    """The text with its columns put in; absent when one of them is empty."""
    parts = [(text, column) for text, column, _, _ in Formatter().parse(template)]

    def fill(row: Row) -> str | None:
        result = ""
        for text, column in parts:
            value = _to_text(find_value(row, column)).strip() if column else ""
            if column and not value:
                return None
            result += text + value
        return result

    return fill


def _make_replacement(name: str, table: Mapping[str, Any]) -> Callable[[Any], Any]:
    exact = {key: value for key, value in table.items() if not re.search(r"[*?\[]", key)}
    patterns = [(re.compile(translate(key)), value) for key, value in table.items() if key not in exact]

    def replace(value: Any) -> Any:
        text = _to_text(value).strip()
        if text in exact:
            return exact[text]
        for pattern, result in patterns:
            if pattern.match(text):
                return result
        raise Refusal(Failure.WRONG_TYPE, f"{name} is {text!r:.60}; the map has {', '.join(table)}")

    return replace


def _to_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _as_text(field: Field) -> Callable[[Any, str], str]:
    del field

    def convert(value: Any, name: str) -> str:
        if isinstance(value, dict | list):
            raise Refusal(Failure.WRONG_TYPE, f"{name} must be a text, not {type(value).__name__}")  # pyright: ignore[reportUnknownArgumentType]
        return _to_text(value)

    return convert


def _as_decimal(field: Field) -> Callable[[Any, str], Decimal]:
    def convert(value: Any, name: str) -> Decimal:
        if field.decimal_comma and isinstance(value, str):
            value = value.replace(".", "").replace(",", ".")
        number = read_money({name: value}, name)
        if number is None:
            raise Refusal(Failure.WRONG_TYPE, f"{name} must be a number")
        return abs(number) if field.absolute else number

    return convert


def _as_integer(field: Field) -> Callable[[Any, str], int]:
    decimal = _as_decimal(field)

    def convert(value: Any, name: str) -> int:
        number = decimal(value, name)
        if number != number.to_integral_value() or abs(number) >= _INT64:
            raise Refusal(Failure.WRONG_TYPE, f"{name} must be a whole number of 64 bits")
        return int(number)

    return convert


def _as_number(field: Field) -> Callable[[Any, str], float]:
    decimal = _as_decimal(field)
    return lambda value, name: float(decimal(value, name))


def _as_boolean(field: Field) -> Callable[[Any, str], bool]:
    del field

    def convert(value: Any, name: str) -> bool:
        text = _to_text(value).lower()
        if text not in _TRUE + _FALSE:
            raise Refusal(Failure.WRONG_TYPE, f"{name} must be one of {', '.join(_TRUE + _FALSE)}")
        return text in _TRUE

    return convert


def _as_timestamp(field: Field) -> Callable[[Any, str], datetime]:
    zone, shift = ZoneInfo(field.zone), timedelta(days=field.shift_days)

    def parse(value: Any) -> datetime:
        if field.format.startswith("epoch"):
            divisor = 1000 if field.format == "epoch_milliseconds" else 1
            return datetime.fromtimestamp(float(value) / divisor, UTC)
        if field.format == "iso":
            return datetime.fromisoformat(value)
        return datetime.strptime(value, field.format)  # the zone follows

    def convert(value: Any, name: str) -> datetime:
        try:
            time = parse(value)
            return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC) + shift
        except (ValueError, TypeError, OverflowError, OSError):
            raise Refusal(
                Failure.WRONG_TYPE, f"{name} is {value!r:.60}; the mapping's format is {field.format}"
            ) from None

    return convert


def _as_json(field: Field) -> Callable[[Any, str], Any]:
    del field

    def convert(value: Any, name: str) -> Any:
        try:
            return decode_json(value.encode()) if isinstance(value, str) else value
        except NotJson as error:
            raise Refusal(Failure.WRONG_TYPE, f"{name} is {error}") from None

    return convert


def _as_it_is(field: Field) -> Callable[[Any, str], Any]:
    del field
    return lambda value, name: value  # noqa: ARG005


def _sum_products(products: list[Json]) -> Decimal:
    total = sum((p.get("price", Decimal(0)) * p.get("quantity", 1) for p in products), Decimal(0))
    return Decimal(f"{total.normalize():f}")


_CONVERTERS: dict[str, Callable[[Field], Callable[[Any, str], Any]]] = {
    "text": _as_text,
    "integer": _as_integer,
    "decimal": _as_decimal,
    "number": _as_number,
    "boolean": _as_boolean,
    "timestamp": _as_timestamp,
    "json": _as_json,
    "any": _as_it_is,
}
