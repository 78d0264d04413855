"""A refused event keeps every column that could be read; once its rule is mended it is published under its own id."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from agents.intake.segment import Received
from agents.requalify import QUARANTINED, requalify
from agents.tools.bus import FakeBus
from agents.tools.warehouse import FakeWarehouse
from schemas.rows import Failure, Interaction, InvalidEvent
from tests.unit.judging import judge

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
RECEIVED = Received(source="web", received_at=NOW)
EVENT: dict[str, Any] = {
    "type": "track",
    "event": "Order Completed",
    "userId": "u1",
    "messageId": "m1",
    "timestamp": "2026-11-20T07:59:00Z",
    "context": {"locale": "en-GB", "page": {"url": "https://shop.example"}, "ip": "10.1.2.3"},
    "properties": {"revenue": 12.5, "order_id": "o1", "products": [{"product_id": "p1"}], "email": "a@example.com"},
}


def refuse(event: object) -> InvalidEvent:
    (row,) = judge([event], RECEIVED).refused
    return row


def test_the_quarantine_has_every_column_of_the_good_table() -> None:
    assert set(Interaction.__struct_fields__) <= set(InvalidEvent.__struct_fields__)


def test_what_could_be_read_is_kept_and_only_the_invalid_value_is_null() -> None:
    """Prevents: a refused order of which nothing but its reason can be queried."""
    row = refuse({**EVENT, "properties": {**EVENT["properties"], "revenue": {"no": "number"}}})
    assert (row.failure, row.revenue) == (Failure.WRONG_TYPE, None)
    assert (row.order_id, row.event_name, row.user_id) == ("o1", "Order Completed", "u1")
    assert row.client_timestamp == datetime(2026, 11, 20, 7, 59, tzinfo=UTC)
    assert row.products[0].product_id == "p1"
    assert row.page is not None
    assert row.page.url == "https://shop.example"


def test_a_bad_context_does_not_take_the_properties_with_it() -> None:
    row = refuse({**EVENT, "context": {"page": 7, "locale": "en-GB"}})
    assert (row.page, row.device and row.device.locale, row.revenue) == (None, "en-GB", 12.5)


@pytest.mark.parametrize("event", [7, None, [], {}, {"type": "dance", "context": [], "properties": "x"}])
def test_an_event_that_is_none_has_no_columns(event: object) -> None:
    assert refuse(event).properties is None


def test_no_personal_field_reaches_any_column() -> None:
    row = refuse({**EVENT, "traits": {"email": "a@example.com", "plan": "gold"}, "timestamp": "soon"})
    text = str(row)
    assert "example.com" not in text.replace("https://shop.example", "")
    assert "10.1.2.3" not in text
    assert row.traits is not None
    assert "gold" in row.traits


def quarantine(*rows: InvalidEvent) -> FakeWarehouse:
    found = [
        {
            "event_id": row.event_id, "source": row.source, "received_at": row.received_at, "user_id": row.user_id,
            "anonymous_id": row.anonymous_id, "origin": row.origin, "payload": row.payload, "place": row.event_id,
        }
        for row in rows
    ]  # fmt: skip
    return FakeWarehouse({"argo.invalid_events": found})


def test_what_passes_now_is_published_with_its_own_id_and_time() -> None:
    mended = InvalidEvent(
        event_id="m1",
        received_at=NOW,
        source="web",
        failure=Failure.WRONG_TYPE,
        reason="was a rule",
        user_id="a@example.com",
        payload=json.dumps({**EVENT, "userId": "[removed]", "properties": {"email": "[removed]", "revenue": 1}}),
    )
    bus = FakeBus()
    report = requalify(quarantine(mended, refuse({"type": "dance", "userId": "u"})), bus)
    assert (report.published, dict(report.refused)) == (1, {"UNKNOWN_TYPE": 1})
    (sent,) = bus.on("user-interactions")
    row = json.loads(sent.data)
    assert (row["event_id"], row["user_id"], row["received_at"]) == ("m1", "a@example.com", "2026-11-20T08:00:00Z")
    assert "[removed]" not in sent.data.decode(), "what is gone is absent, not a value"


def test_an_event_whose_id_is_in_bigquery_is_done() -> None:
    """Prevents: a second run, or a client's own correction, that makes an event twice."""
    assert "good.event_id IS NULL" in QUARANTINED


def test_the_route_is_part_of_a_refused_event() -> None:
    """Prevents: an event of /v1/page that can never pass again because only its route said what it was."""
    received = Received(source="web", received_at=NOW, call="page")
    batch = judge([{"userId": "u", "context": 7}], received)
    assert json.loads(batch.refused[0].payload or "")["type"] == "page"
