"""Says whether a table takes a row, as a BigQuery subscription with `use_table_schema` would, and why not.

bqemulator takes some rows that BigQuery refuses, answers others with 500, and names the wrong column (tried with 1.4.0,
2026-11-20); so the laptop checks before it inserts. Pure: a schema and a row in, a reason out. Reasons name columns and
types, never values.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Iterable
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any, Protocol

_NUMERIC_DIGITS, _NUMERIC_SCALE = 38, 9


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


def find_problem(row: object, columns: Iterable[Column], path: str = "") -> str | None:
    """The first reason why these columns do not take this row, or None."""
    if not isinstance(row, dict):
        return f"{path or 'the message'} is {_name_type(row)}, not an object"
    known = {column.name.lower(): column for column in columns}  # BigQuery's column names know no case
    for name, value in row.items():
        column = known.pop(str(name).lower(), None)
        where = f"{path}.{name}" if path else str(name)
        if column is None:
            return f"the table has no column {where}"
        problem = _find_value_problem(value, column, where)
        if problem:
            return problem
    missing = sorted(column.name for column in known.values() if column.mode == "REQUIRED")
    if missing:
        return f"required column {f'{path}.' if path else ''}{missing[0]} is missing"
    return None


def _find_value_problem(value: Any, column: Column, where: str) -> str | None:
    if column.mode == "REPEATED":
        if value is None:
            return None
        if not isinstance(value, list):
            return f"column {where} is REPEATED, got {_name_type(value)}"
        for index, item in enumerate(value):
            problem = _find_single_problem(item, column, f"{where}[{index}]", required=True)
            if problem:
                return problem
        return None
    return _find_single_problem(value, column, where, required=column.mode == "REQUIRED")


def _find_single_problem(value: Any, column: Column, where: str, *, required: bool) -> str | None:
    if value is None:
        return f"column {where} is required, got null" if required else None
    if column.field_type in ("RECORD", "STRUCT"):
        return find_problem(value, column.fields, where)
    if _TAKES[column.field_type](value):
        return None
    return f"column {where} takes {column.field_type}, got {_name_type(value)} of another form"


def _name_type(value: object) -> str:
    names = {"bool": "a boolean", "int": "a number", "float": "a number", "str": "a string", "list": "an array"}
    return names.get(type(value).__name__, "null" if value is None else "an object")


def _is_text_that(parse: Callable[[str], object]) -> Callable[[Any], bool]:
    def takes(value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            parse(value)
        except (ValueError, binascii.Error):
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
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return False
    if not number.is_finite() or abs(number.adjusted()) > _NUMERIC_DIGITS:
        return False
    whole, _, fraction = format(number.copy_abs(), "f").partition(".")
    return len(fraction.rstrip("0")) <= _NUMERIC_SCALE and len(whole.lstrip("0")) <= _NUMERIC_DIGITS - _NUMERIC_SCALE


def _is_boolean(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, str) and value.lower() in ("true", "false"))


def _is_timestamp(value: Any) -> bool:
    return _is_text_that(datetime.fromisoformat)(value) or _is_integer(value)  # an integer is microseconds


def _is_string(value: Any) -> bool:
    return isinstance(value, str)


_TAKES: dict[str, Callable[[Any], bool]] = {
    "STRING": _is_string,
    "GEOGRAPHY": _is_string,
    "INTERVAL": _is_string,
    "BYTES": _is_text_that(lambda text: base64.b64decode(text, validate=True)),
    "JSON": _is_text_that(json.loads),  # JSON travels as text
    "DATE": _is_text_that(date.fromisoformat),
    "TIME": _is_text_that(time.fromisoformat),
    "DATETIME": _is_text_that(datetime.fromisoformat),
    "TIMESTAMP": _is_timestamp,
    **dict.fromkeys(("INTEGER", "INT64"), _is_integer),
    **dict.fromkeys(("FLOAT", "FLOAT64"), _is_float),
    **dict.fromkeys(("NUMERIC", "BIGNUMERIC"), _is_numeric),
    **dict.fromkeys(("BOOLEAN", "BOOL"), _is_boolean),
}
