"""The contracts are what their published files and examples say."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import jsonschema
import msgspec
import pytest

from schemas import graph, messages, render, rows, topology, warehouse
from schemas.tables import TABLES

EXAMPLES = Path(warehouse.__file__).with_name("examples")
TYPES = {
    "interaction": rows.Interaction,
    "invalid_event": rows.InvalidEvent,
    "moment": rows.Moment,
    "action": rows.Action,
    "recommendation": rows.Recommendation,
    "agent_message": messages.AgentMessage,
    "profile_update": messages.ProfileUpdate,
}
CASES = sorted(path for kind in TYPES for path in (EXAMPLES / kind).glob("*.json"))


def test_every_rendered_file_is_what_the_types_say() -> None:
    stale = [path.name for path, text in render.render_all().items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run: .venv/bin/python -m schemas.render"


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_example_is_judged_the_same_by_type_and_schema(path: Path) -> None:
    kind = TYPES[path.parent.name]
    data = path.read_bytes()
    if path.stem.endswith(".pass"):
        decoded = msgspec.json.decode(data, type=kind)
        assert msgspec.json.decode(msgspec.json.encode(decoded), type=kind) == decoded
        schema = json.loads((EXAMPLES.parent / "json" / f"{path.parent.name}.schema.json").read_text())
        jsonschema.validate(json.loads(data), schema)
    else:
        assert path.stem.endswith(".fail"), "an example is named *.pass.json or *.fail.json"
        with pytest.raises(msgspec.ValidationError):
            msgspec.json.decode(data, type=kind)


@pytest.mark.parametrize("kind", TYPES)
def test_every_contract_has_examples_of_both_verdicts(kind: str) -> None:
    names = [path.stem for path in (EXAMPLES / kind).glob("*.json")]
    assert any(name.endswith(".pass") for name in names)
    assert any(name.endswith(".fail") for name in names)


def test_tables_on_file_and_in_code_are_the_same_set() -> None:
    assert {table.name for table in warehouse.tables()} == set(TABLES)


def test_the_wide_table_has_the_columns_that_the_design_promises() -> None:
    (table,) = (table for table in warehouse.tables() if table.name == "user_interactions")
    columns = {column["name"]: column for column in table.resource["schema"]["fields"]}
    assert columns["event_id"]["mode"] == "REQUIRED"
    assert columns["properties"]["type"] == "JSON"
    products = {column["name"]: column for column in columns["products"]["fields"]}
    assert columns["products"]["mode"] == "REPEATED"
    assert products["price"]["type"] == "NUMERIC"
    location = {column["name"]: column["type"] for column in columns["location"]["fields"]}
    assert (location["latitude"], location["longitude"]) == ("FLOAT", "FLOAT")
    assert table.resource["timePartitioning"] == {"type": "DAY", "field": "event_timestamp"}
    assert table.resource["clustering"] == {"fields": ["user_id", "event_type"]}


def test_every_table_that_a_subscription_fills_exists() -> None:
    sinks = {entry.bigquery.table for entry in topology.load().subscriptions if entry.bigquery}
    assert sinks <= set(TABLES)


def test_money_and_times_stay_exact_on_the_wire() -> None:
    at = datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)
    row = rows.Interaction(
        event_id="e", event_type="t", event_timestamp=at, received_at=at, source="s", revenue=Decimal("0.10")
    )
    wire = json.loads(rows.encode(row))
    assert wire["revenue"] == "0.10"
    assert wire["event_timestamp"] == "2026-11-20T08:00:00.123456Z"
    assert "products" not in wire, "an absent field must not be sent"


def test_ids_derive_from_their_parts_and_only_from_them() -> None:
    assert messages.derive_id("a", "b") == messages.derive_id("a", "b")
    assert messages.derive_id("ab", "c") != messages.derive_id("a", "bc"), "parts must not run into each other"


def test_blackboard_keys_are_the_designs() -> None:
    assert messages.status_key("t") == "task:t:status"
    assert messages.result_key("t", "UserContextAgent") == "task:t:results:UserContextAgent"
    assert messages.context_key("u") == "user:u:context_summary"


def test_the_graph_has_a_unique_key_for_every_label() -> None:
    labels = {statement.split("(n:")[1].split(")")[0] for statement in graph.constraints()}
    assert labels == {"User", "Session", "Event", "Product", "Category", "Watermark"}
    assert all("IS UNIQUE" in statement for statement in graph.constraints())
