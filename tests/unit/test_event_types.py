"""What clients send, type by type: one file of schemas/events each, read by the same code as a client's own event.

To add an event type, add its file. A type without one is taken and kept all the same.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from agents.intake.refusal import Refusal
from agents.intake.segment import Received, read_message
from schemas import rows

FOLDER = Path(rows.__file__).with_name("events")
RECEIVED = Received(source="shop", received_at=datetime(2026, 11, 20, 8, 0, tzinfo=UTC))


class _Accepted(msgspec.Struct, forbid_unknown_fields=True):
    sent: dict[str, Any]
    row: dict[str, Any]


class _Refused(msgspec.Struct, forbid_unknown_fields=True):
    sent: dict[str, Any]
    failure: rows.Failure


class _EventType(msgspec.Struct, forbid_unknown_fields=True):
    about: str
    accepts: list[_Accepted]
    refuses: list[_Refused]


def _read(path: Path) -> _EventType:
    return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), _EventType)


TYPES = {path.stem: _read(path) for path in sorted(FOLDER.glob("*.yaml"))}
ACCEPTED = [(name, example) for name, kind in TYPES.items() for example in kind.accepts]
REFUSED = [(name, example) for name, kind in TYPES.items() for example in kind.refuses]


@pytest.mark.parametrize(("name", "example"), ACCEPTED, ids=[name for name, _ in ACCEPTED])
def test_what_a_client_sends_becomes_the_promised_row(name: str, example: _Accepted) -> None:
    """Prevents: a schema or a reader that changes under a client that did not."""
    row = read_message(example.sent, RECEIVED)
    wire = json.loads(rows.encode(row))
    assert row.event_type == name
    assert {key: wire.get(key) for key in example.row} == example.row
    assert rows.encode(msgspec.json.decode(rows.encode(row), type=rows.Interaction)) == rows.encode(row)


@pytest.mark.parametrize(("name", "example"), REFUSED, ids=[name for name, _ in REFUSED])
def test_what_cannot_be_right_is_refused_with_its_failure(name: str, example: _Refused) -> None:
    with pytest.raises(Refusal) as caught:
        read_message(example.sent, RECEIVED)
    assert caught.value.failure is example.failure, name


@pytest.mark.parametrize("name", TYPES)
def test_every_type_has_examples_of_both_verdicts(name: str) -> None:
    assert TYPES[name].accepts
    assert TYPES[name].refuses
    assert TYPES[name].about


def test_a_type_that_nobody_described_is_kept_whole() -> None:
    """Prevents: schema drift that loses data silently."""
    sent = {
        "type": "track",
        "event": "Loyalty Tier Changed",
        "userId": "u1",
        "properties": {"tier": {"from": 1, "to": 2}},
    }
    assert "loyalty_tier_changed" not in TYPES
    row = read_message(sent, RECEIVED)
    assert (row.event_type, row.event_name) == ("loyalty_tier_changed", "Loyalty Tier Changed")
    assert json.loads(row.properties or "") == sent["properties"]
