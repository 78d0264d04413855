"""A CloudEvent that carries a row is checked like any other event; its id is unique only with its producer."""

from datetime import UTC, datetime
from typing import Any

import pytest

from agents.intake.cloudevents import read_event
from agents.intake.limits import CLOUDEVENTS
from agents.intake.segment import Received, read_message
from schemas.rows import Failure
from tests.unit.judging import judge

RECEIVED = Received(source="web", received_at=datetime(2026, 11, 20, 8, tzinfo=UTC))
EVENT: dict[str, Any] = {"specversion": "1.0", "id": "42", "source": "/shop", "type": "viewed"}
ROW: dict[str, Any] = {"event_type": "identify", "user_id": "u"}


@pytest.mark.parametrize("text", ["[1]", "not json", '"x"', 7, {"a": 1}])
@pytest.mark.parametrize("column", ["traits", "properties"])
def test_a_json_column_must_be_the_text_of_an_object(column: str, text: object) -> None:
    raws: list[object] = [{**EVENT, "data": {**ROW, column: text}}, {**EVENT, "data": ROW}]
    batch = judge(raws, RECEIVED, read_event, CLOUDEVENTS)
    assert batch.failures == {0: Failure.WRONG_TYPE}


def test_the_same_id_of_two_producers_is_two_events() -> None:
    rows = [
        read_event({**EVENT, "source": source, "data": data}, RECEIVED)
        for source in ("/shop", "/app")
        for data in ({"userId": "u"}, ROW)
    ]
    assert [(row.event_id, row.producer) for row in rows] == [("42", "/shop")] * 2 + [("42", "/app")] * 2


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("key", ["timestamp", "sentAt", "originalTimestamp"])
def test_an_impossible_time_is_refused_alone(key: str, time: str) -> None:
    good = {"type": "page", "userId": "u", "messageId": "m"}
    raws: list[object] = [{**good, "timestamp": "2026-11-20T07:00:00Z", key: time}, good]
    batch = judge(raws, RECEIVED)
    assert batch.failures == {0: Failure.WRONG_TYPE}


@pytest.mark.parametrize("clock", ["1970-01-01T00:00:00Z", "2026-11-22T08:00:00Z", "2038-01-19T03:14:07Z"])
def test_a_clock_that_cannot_be_right_gives_the_time_of_arrival(clock: str) -> None:
    """Prevents: an accepted event that BigQuery refuses, because its partition is too far off."""
    by_segment = read_message({"type": "page", "userId": "u", "timestamp": clock}, RECEIVED)
    by_row = read_event({**EVENT, "time": clock, "data": ROW}, RECEIVED)
    assert by_segment.event_timestamp == by_row.event_timestamp == RECEIVED.received_at
    assert by_segment.client_timestamp == datetime.fromisoformat(clock), "what the client said is kept"
