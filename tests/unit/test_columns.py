"""The laptop refuses the rows that BigQuery would refuse, and only those."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from google.cloud.bigquery import SchemaField

from emulators.columns import find_problem, read_table, unwrap_json
from emulators.sinks import split_lines
from schemas import warehouse

SCHEMA = [
    SchemaField("id", "STRING", "REQUIRED"),
    SchemaField("at", "TIMESTAMP"),
    SchemaField("price", "NUMERIC"),
    SchemaField("score", "FLOAT"),
    SchemaField("count", "INTEGER"),
    SchemaField("flag", "BOOLEAN"),
    SchemaField("data", "JSON"),
    SchemaField("day", "DATE"),
    SchemaField("raw", "BYTES"),
    SchemaField("items", "RECORD", "REPEATED", fields=[SchemaField("n", "INTEGER", "REQUIRED")]),
    SchemaField("page", "RECORD", fields=[SchemaField("url", "STRING")]),
]
TABLE = read_table(SCHEMA)
GOOD: dict[str, list[Any]] = {
    "at": ["2026-11-20T08:00:00Z", "2026-11-20T08:00:00.123456+09:00", 1_700_000_000_000_000, None],
    "price": ["12.345678901", 12, 0.5, "-1e3", "99999999999999999999999999999"],
    "score": [1, 0.5, "1e-3"],
    "count": [0, -5, "12"],
    "flag": [True, "false"],
    "data": ['{"a": 1}', "null", '"text"'],
    "day": ["2026-02-28"],
    "raw": ["aGk="],
    "items": [[], [{"n": 1}], None],
    "page": [{}, {"url": None}, {"URL": "x"}],
}
BAD: dict[str, list[Any]] = {
    "id": [5, None, {"a": 1}, True],
    "at": ["yesterday", {}, True],
    "price": ["x", "NaN", "1.1234567891", True, "1" + "0" * 29],
    "score": ["x", False],
    "count": [0.5, "many", True, 2**63],
    "flag": [1, "yes"],
    "data": ["{", {"a": 1}, 1],
    "day": ["2026-02-30", 5],
    "raw": ["%"],
    "items": [{"n": 1}, [{"n": "x"}], [{}], [None], [5], [{"n": 1, "m": 2}]],
    "page": ["x", {"url": 1}, {"title": "x"}, []],
    "unknown": [1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in GOOD.items() for value in values])
def test_takes_what_bigquery_takes(name: str, value: object) -> None:
    """Prevents: good events among the dead letters of a laptop."""
    assert find_problem({"id": "x", name: value}, TABLE) is None


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_refuses_what_bigquery_refuses_and_names_the_column(name: str, value: object) -> None:
    """Prevents: rows that a laptop takes and the cloud refuses; reasons that do not say where."""
    problem = find_problem({"id": "x", name: value}, TABLE)
    assert problem is not None
    assert name in problem


def test_names_a_missing_required_column_also_inside_records() -> None:
    """Prevents: a reason that leaves the reader to guess."""
    assert find_problem({}, TABLE) == "required column id is missing"
    assert find_problem({"id": "x", "items": [{"n": 1}, {}]}, TABLE) == "required column items[1].n is missing"
    assert find_problem([1], TABLE) == "the message is an array, not an object"


def test_a_load_job_gets_json_itself_on_one_line_at_any_depth() -> None:
    """Prevents: properties that are a text in BigQuery when they came in a large batch; a row cut at a line's end."""
    inner = [SchemaField("data", "JSON"), SchemaField("n", "INTEGER")]
    table = read_table([*SCHEMA, SchemaField("box", "RECORD", fields=inner), SchemaField("many", "JSON", "REPEATED")])
    row = {"id": "x", "data": '{"a":\n1}', "box": {"data": '{"b":2.50}', "n": 1}, "many": ["1", '"t"'], "page": None}
    line = msgspec.json.encode(unwrap_json(row, table))
    assert line == b'{"id":"x","data":{"a":1},"box":{"data":{"b":2.50},"n":1},"many":[1,"t"],"page":null}'
    assert unwrap_json({"n": 1}, read_table(inner[1:])) == {"n": 1}


def test_never_repeats_a_value() -> None:
    """Prevents: an address or a name in the reason of a dead letter."""
    problem = find_problem({"id": "x", "count": "jane@example.com"}, TABLE)
    assert problem is not None
    assert "jane" not in problem


def test_knows_every_type_that_our_tables_use() -> None:
    """Prevents: a column type added to a table that stops its sink."""
    for table in warehouse.tables():
        fields = [SchemaField.from_api_repr(field) for field in table.resource["schema"]["fields"]]
        columns = read_table(fields)
        assert find_problem({field.name: None for field in fields if field.mode != "REQUIRED"}, columns) is not None
        for field in fields:
            find_problem({field.name: "x"}, columns)


def test_lines_are_split_between_messages_never_inside_one() -> None:
    """Prevents: an archive object cut in the middle of an event, or a body that is lost at the limit."""
    bodies = [b"a" * size for size in (3, 5, 9, 1, 1)]
    texts = split_lines(bodies, 10)
    assert b"".join(texts).splitlines() == bodies
    assert [len(text) for text in texts] == [10, 10, 4]
    assert split_lines([b"long" * 10], 10) == [b"long" * 10 + b"\n"]
    assert split_lines([], 10) == []
