"""A topic's schema takes every row that our code can publish, as the JSON that it is, and nothing that is no such row.

The committed .proto files are read here and given to Google's own protobuf, which reads JSON as Pub/Sub does.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.message import Message
from msgspec import inspect

import schemas
from schemas import protobuf, rows, topology
from schemas.columns import unwrap
from schemas.tables import TABLES

FOLDER = Path(schemas.__file__).parent
TOPICS = protobuf.find_row_topics(topology.load())
NOW = datetime(2026, 11, 20, 1, 2, 3, 456789, tzinfo=UTC)
_FIELD = re.compile(r"^(required|optional|repeated) (\w+) (\w+) = (\d+);$")
_KINDS = {"string": 9, "bytes": 12, "int64": 3, "double": 1, "bool": 8}
_LABELS = {"optional": 1, "required": 2, "repeated": 3}


def read_proto(topic: str) -> type[Message]:
    """The class that a committed file describes."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{topic}.proto", syntax="proto2")
    stack: list[Any] = []
    for line in (FOLDER / "proto" / f"{topic}.proto").read_text("utf-8").splitlines():
        text = line.strip()
        if match := re.match(r"^message (\w+) \{$", text):
            stack.append((stack[-1].nested_type if stack else file.message_type).add(name=match[1]))
        elif text == "}":
            stack.pop()
        elif match := _FIELD.match(text):
            rule, kind, name, number = match.groups()
            entry = stack[-1].field.add(name=name, number=int(number), label=_LABELS[rule])
            if kind in _KINDS:
                entry.type = _KINDS[kind]
            else:
                entry.type, entry.type_name = 11, kind
        else:
            assert not text or text.startswith(("//", "syntax")), text
    assert not stack
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)  # pyright: ignore[reportUnknownMemberType, reportDeprecated] -- the one way without a compiler
    (message,) = file.message_type  # Pub/Sub wants exactly one at the top
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(message.name))


def take(topic: str, data: bytes) -> Message:
    """What Pub/Sub makes of a message; json_format.ParseError when it refuses it."""
    taken = json_format.Parse(data, read_proto(topic)())
    if not taken.IsInitialized():  # what this library reports separately, others refuse while they parse
        missing: list[str] = taken.FindInitializationErrors()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType] -- its stub leaves it out
        raise json_format.ParseError(f"missing: {missing}")
    return taken


EDGES: dict[type[inspect.Type], Any] = {
    inspect.StrType: '{"q": "안녕 \\"x\\" \\u0000"}',
    inspect.IntType: 2**63 - 1,
    inspect.FloatType: -89.999999999,
    inspect.BoolType: True,
    inspect.DecimalType: Decimal("99999999999999999999999999999.999999999"),
    inspect.DateTimeType: NOW,
}


def make_value(kind: inspect.Type) -> Any:
    """A value of a type, at its edge; every field of a record is set."""
    kind, _, _ = unwrap(kind)
    if isinstance(kind, inspect.StructType):
        return kind.cls(**{field.name: make_value(field.type) for field in kind.fields})
    if isinstance(kind, inspect.ListType):
        return [make_value(kind.item_type), make_value(kind.item_type)]
    return next(iter(kind.cls)) if isinstance(kind, inspect.EnumType) else EDGES[type(kind)]


def make_row(kind: type[rows.Row]) -> rows.Row:
    """A row with every field set."""
    made = make_value(inspect.type_info(kind))
    assert isinstance(made, kind)
    return made


@pytest.mark.parametrize("topic", TOPICS)
def test_a_full_row_passes_unchanged(topic: str) -> None:
    """NUMERIC and times travel as text, JSON as JSON text: none may be refused, and none changed."""
    row = make_row(TABLES[TOPICS[topic]].row)
    taken = take(topic, rows.encode(row))
    back = json_format.MessageToDict(taken, preserving_proto_field_name=True)
    assert _normalise(back) == _normalise(json.loads(rows.encode(row)))


def _normalise(value: Any) -> Any:
    """Protocol Buffers write a 64-bit integer as text."""
    if isinstance(value, dict):
        given: dict[str, Any] = value
        return {name: _normalise(item) for name, item in given.items()}
    if isinstance(value, list):
        items: list[Any] = value
        return [_normalise(item) for item in items]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


@pytest.mark.parametrize("topic", TOPICS)
def test_absent_fields_are_absent(topic: str) -> None:
    """A row sends what it has; Avro's JSON would refuse every such row."""
    kind = TABLES[TOPICS[topic]].row
    full: dict[str, Any] = json.loads(rows.encode(make_row(kind)))
    table = json.loads((FOLDER / "bigquery" / "tables" / f"{TOPICS[topic]}.json").read_text("utf-8"))
    required = {column["name"] for column in table["schema"]["fields"] if column["mode"] == "REQUIRED"}
    take(topic, json.dumps({name: full[name] for name in required}).encode())
    for name in required:
        with pytest.raises(json_format.ParseError, match=name):
            take(topic, json.dumps({other: full[other] for other in required - {name}}).encode())


@pytest.mark.parametrize("topic", TOPICS)
def test_what_the_table_does_not_know_is_refused(topic: str) -> None:
    row: dict[str, Any] = json.loads(rows.encode(make_row(TABLES[TOPICS[topic]].row)))
    with pytest.raises(json_format.ParseError, match="unheard_of"):
        take(topic, json.dumps({**row, "unheard_of": 1}).encode())


@pytest.mark.parametrize("path", sorted((FOLDER / "examples").rglob("*.pass.json")), ids=lambda path: path.name)
def test_the_examples_of_rows_pass(path: Path) -> None:
    """The contract's own examples."""
    topics = {"interaction": "user-interactions", "invalid_event": "invalid-events", "moment": "moments"}
    topics |= {"action": "actions", "recommendation": "recommendations"}
    if path.parent.name in topics:
        take(topics[path.parent.name], path.read_bytes())
    else:
        assert path.parent.name in {"agent_message", "profile_update"}, "messages with free payloads have no schema"


def test_numbers_come_from_names() -> None:
    """A number that depended on the order would change when a column is added, which Pub/Sub refuses."""
    assert protobuf.number_field("event_id") == protobuf.number_field("event_id")
    numbers = [protobuf.number_field(f"field_{index}") for index in range(2000)]
    assert all(1 <= number < 2**29 and number not in range(19_000, 20_000) for number in numbers)


def test_topics_that_take_anything_have_no_schema() -> None:
    named = topology.load()
    dead = {entry.dead_letter.topic for entry in named.subscriptions if entry.dead_letter}
    notified = {entry.topic for bucket in named.buckets for entry in bucket.notifications}
    assert not (dead | notified) & TOPICS.keys()
