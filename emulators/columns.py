"""Says whether a table takes a row, as a BigQuery subscription with `use_table_schema` would, and why not.

bqemulator takes some rows that BigQuery refuses, answers others with 500, and names the wrong column (tried with 1.4.0,
2026-11-20); so the laptop checks before it inserts. Pure: a schema and a row in, a reason out. Reasons name columns and
types, never values.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

import msgspec

_NUMERIC_DIGITS, _NUMERIC_SCALE = 38, 9
_PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d{1,9})?", re.ASCII)  # as nearly all are, and well inside NUMERIC when short


class Column(Protocol):
    """What is used of `google.cloud.bigquery.SchemaField`."""

    @property
    def name(self) -> str: ...
    @property
    def field_type(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def fields(self) -> Iterable[Column]: ...


@dataclass(frozen=True, slots=True)
class Field:
    """A column, read once: what is asked about it for each value of each row."""

    name: str
    field_type: str
    is_repeated: bool
    is_required: bool
    inside: Table | None
    takes: Callable[[Any], bool] | None


@dataclass(frozen=True, slots=True)
class Table:
    """The columns of a table or a RECORD, by lower-case name: BigQuery's column names know no case."""

    fields: dict[str, Field]
    required: tuple[str, ...]
    has_json: bool


def read_table(columns: Iterable[Column]) -> Table:
    """The columns of a schema, ready for many rows."""
    fields = {column.name.lower(): _read_field(column) for column in columns}
    return Table(
        fields=fields,
        required=tuple(sorted(name for name, field in fields.items() if field.is_required)),
        has_json=any(
            field.field_type == "JSON" or (field.inside and field.inside.has_json) for field in fields.values()
        ),
    )


def _read_field(column: Column) -> Field:
    is_record = column.field_type in ("RECORD", "STRUCT")
    return Field(
        name=column.name,
        field_type=column.field_type,
        is_repeated=column.mode == "REPEATED",
        is_required=column.mode == "REQUIRED",
        inside=read_table(column.fields) if is_record else None,
        takes=None if is_record else _TAKES[column.field_type],
    )


def find_problem(row: object, table: Table, path: str = "") -> str | None:
    """The first reason why these columns do not take this row, or None."""
    if not isinstance(row, dict):
        return f"{path or 'the message'} is {_name_type(row)}, not an object"
    seen: set[str] = set()
    for name, value in row.items():
        key = name if name in table.fields else str(name).lower()
        field = table.fields.get(key)
        if field is None or key in seen:
            return f"the table has no column {_join(path, name)}"
        seen.add(key)
        if field.takes and not field.is_repeated and value is not None and field.takes(value):
            continue  # nearly always
        problem = _find_value_problem(value, field, path)
        if problem:
            return problem
    for key in table.required:
        if key not in seen:
            return f"required column {_join(path, table.fields[key].name)} is missing"
    return None


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def unwrap_json(row: dict[str, Any], table: Table) -> dict[str, Any]:
    """The row as a load job wants it: JSON columns hold JSON itself and not its text. The row has no problem."""
    if not table.has_json:
        return row
    return {name: _unwrap(value, table.fields[name.lower()]) for name, value in row.items()}


def _unwrap(value: Any, field: Field) -> Any:
    if value is None:
        return None
    if field.is_repeated:
        return [_unwrap_single(item, field) for item in value]
    return _unwrap_single(value, field)


def _unwrap_single(value: Any, field: Field) -> Any:
    if field.field_type == "JSON":
        # On one line: a load job's rows are lines.
        return msgspec.json.decode(value) if "\n" in value or "\r" in value else msgspec.Raw(value.encode())
    return unwrap_json(value, field.inside) if field.inside else value


def _find_value_problem(value: Any, field: Field, path: str) -> str | None:
    if not field.is_repeated:
        return _find_single_problem(value, field, path, required=field.is_required)
    if value is None:
        return None
    if not isinstance(value, list):
        return f"column {_join(path, field.name)} is REPEATED, got {_name_type(value)}"
    items: list[Any] = value
    for index, item in enumerate(items):
        problem = _find_single_problem(item, field, path, required=True, index=f"[{index}]")
        if problem:
            return problem
    return None


def _find_single_problem(value: Any, field: Field, path: str, *, required: bool, index: str = "") -> str | None:
    if value is None:
        return f"column {_join(path, field.name)}{index} is required, got null" if required else None
    if field.inside:
        return find_problem(value, field.inside, f"{_join(path, field.name)}{index}")
    if field.takes and field.takes(value):
        return None
    return f"column {_join(path, field.name)}{index} takes {field.field_type}, got {_name_type(value)} of another form"


def _name_type(value: object) -> str:
    names = {"bool": "a boolean", "int": "a number", "float": "a number", "str": "a string", "list": "an array"}
    return names.get(type(value).__name__, "null" if value is None else "an object")


def _is_text_that(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def takes(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            parse(value)
        except (ValueError, binascii.Error, RecursionError):
            return False
        return True

    return takes


def _is_integer(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return isinstance(value, int | str) and -(2**63) <= int(value) < 2**63
    except ValueError:
        return False


def _is_float(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


def _is_numeric(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    text = str(value)
    if len(text) < 20 and _PLAIN_NUMBER.fullmatch(text):
        return True
    try:
        number = Decimal(text)
    except InvalidOperation:
        return False
    if not number.is_finite() or abs(number.adjusted()) > _NUMERIC_DIGITS:
        return False
    whole, _, fraction = format(number.copy_abs(), "f").partition(".")
    return len(fraction.rstrip("0")) <= _NUMERIC_SCALE and len(whole.lstrip("0")) <= _NUMERIC_DIGITS - _NUMERIC_SCALE


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))


_is_time_text = _is_text_that(datetime.fromisoformat)


def _is_timestamp(value: Any) -> bool:
    return _is_time_text(value) or _is_integer(value)  # an integer is microseconds


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


_TAKES: dict[str, Callable[[Any], bool]] = {
    "STRING": _is_string,
    "GEOGRAPHY": _is_string,
    "INTERVAL": _is_string,
    "BYTES": _is_text_that(lambda text: base64.b64decode(text, validate=True)),
    "JSON": _is_text_that(msgspec.json.decode),  # JSON travels as text
    "DATE": _is_text_that(date.fromisoformat),
    "TIME": _is_text_that(time.fromisoformat),
    "DATETIME": _is_text_that(datetime.fromisoformat),
    "TIMESTAMP": _is_timestamp,
    **dict.fromkeys(("INTEGER", "INT64"), _is_integer),
    **dict.fromkeys(("FLOAT", "FLOAT64"), _is_float),
    **dict.fromkeys(("NUMERIC", "BIGNUMERIC"), _is_numeric),
    **dict.fromkeys(("BOOLEAN", "BOOL"), _is_boolean),
}
