"""Jobs: found by name, refusing plainly, and going on where they stopped."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agents.tools.graph import FakeGraph
from agents.tools.warehouse import FakeWarehouse, Parameter, Record
from agents.tools.whole_tables import FakeTables
from functions.jobs.__main__ import main
from functions.jobs.sync_graph import BATCH_ROWS, sync
from functions.jobs.train_candidates import NothingToLearn, train_candidates
from schemas import topology
from schemas.messages import derive_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
FIRST_SLOT = int(NOW.timestamp()) // 900


def make_event(number: int, **fields: object) -> Record:
    return {
        "event_id": f"e{number:05}",
        "source": "shop",
        "place": f"shop@@e{number:05}",
        "event_type": "order_completed",
        "event_timestamp": NOW,
        "received_at": NOW + timedelta(seconds=number),
        "person_id": "u1",
        "products": [],
        **fields,
    }


def bring(events: list[Record], graph: FakeGraph, slots: Mapping[int, int] | None = None) -> FakeWarehouse:
    """Run the job over these events; `slots` are the quarters of an hour after NOW and how many rows each has."""
    counted = [{"slot": FIRST_SLOT + slot, "row_count": rows} for slot, rows in (slots or {0: len(events)}).items()]
    warehouse = FakeWarehouse({"row_count": counted, "argo.interactions": events})
    sync(warehouse, graph)
    return warehouse


def written(graph: FakeGraph, parameter: str) -> list[Record]:
    return [row for _, parameters in graph.asked for row in parameters.get(parameter, [])]


@pytest.mark.parametrize("name", [job.name for job in topology.load().jobs])
def test_every_job_of_the_topology_has_its_module(name: str) -> None:
    """Prevents: a schedule that starts nothing."""
    assert callable(importlib.import_module(f"functions.jobs.{name}").run)


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["sync_graph", "extra"]])
def test_an_unknown_job_is_told_the_known_ones(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Prevents: a typo that imports whatever module has that name."""
    assert main(arguments) == 2
    assert all(job.name in capsys.readouterr().err for job in topology.load().jobs if job.name == "sync_graph")


def test_training_needs_an_order() -> None:
    """Prevents: an empty version of candidates that hides the last good one."""
    warehouse = FakeWarehouse({"COUNT(*)": [{"orders": 0}]})
    with pytest.raises(NothingToLearn, match="order_completed"):
        train_candidates(warehouse, FakeTables(), NOW)
    assert len(warehouse.asked) == 1


def test_a_slot_is_marked_after_its_last_event() -> None:
    """Prevents: a restart that skips a batch which was never written."""
    graph = FakeGraph()
    early = [make_event(number, received_at=NOW) for number in range(BATCH_ROWS)]
    late = make_event(BATCH_ROWS, received_at=NOW + timedelta(minutes=20))
    bring([*early, late], graph, {0: BATCH_ROWS, 1: 1})
    steps = [
        "events" if "events" in parameters else [mark["name"][-6:] for mark in parameters["marks"]]
        for _, parameters in graph.asked
        if parameters.keys() & {"events", "marks"}
    ]
    assert steps == ["events", "events", ["12:00Z"], ["12:15Z"]]


def test_a_slot_is_read_again_when_and_only_when_rows_arrived_in_it() -> None:
    """Prevents: an event that was spilled for an hour and never reaches the graph; and reading everything every time."""
    graph = FakeGraph(
        {
            "STARTS WITH $prefix": [
                {"name": "sync_graph/2026-03-01T12:00Z", "row_count": 5},
                {"name": "sync_graph/2026-03-01T12:15Z", "row_count": 5},
                {"name": "sync_graph/2026-03-01T12:30Z", "row_count": 5},
            ]
        }
    )
    warehouse = bring([], graph, {0: 5, 1: 6, 2: 5, 3: 1, 4: 1})
    read = [(asked["since"], asked["until"]) for _, asked in warehouse.asked if "since" in asked]
    quarter = timedelta(minutes=15)
    assert read == [(NOW + quarter, NOW + 2 * quarter), (NOW + 3 * quarter, NOW + 5 * quarter)]
    assert [mark["rowCount"] for mark in written(graph, "marks")] == [6, 1, 1]


def test_a_page_begins_after_the_last_event_of_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: events of one moment (a batch has one received_at) that are lost or endless where a page ends."""
    monkeypatch.setattr("functions.jobs.sync_graph.PAGE_ROWS", 2)
    rows = [make_event(number, received_at=NOW) for number in range(3)]

    class Paged(FakeWarehouse):
        def query(self, sql: str, parameters: Mapping[str, Parameter] = {}) -> list[Record]:
            found = super().query(sql, parameters)
            return [row for row in found if row["place"] > parameters["after"]][:2] if "after" in parameters else found

    graph = FakeGraph()
    warehouse = Paged({"row_count": [{"slot": FIRST_SLOT, "row_count": 3}], "argo.interactions": rows})
    assert sync(warehouse, graph) == 3
    assert [event["eventId"] for event in written(graph, "events")] == [f"e0000{number}" for number in range(3)]
    assert [asked.get("since") for _, asked in warehouse.asked] == [None, NOW, NOW]


def test_nothing_new_asks_for_no_events() -> None:
    """Prevents: a job that costs as much on a quiet night as on the first day."""
    graph = FakeGraph({"STARTS WITH $prefix": [{"name": "sync_graph/2026-03-01T12:00Z", "row_count": 5}]})
    assert len(bring([], graph, {0: 5}).asked) == 1


def test_two_sources_may_use_one_event_id() -> None:
    """Prevents: one shop's event that swallows another's."""
    graph = FakeGraph()
    rows = [
        make_event(1),
        make_event(1, source="app"),
        make_event(1, producer="/till/1"),
        make_event(1, producer="/till/2"),
    ]
    bring(rows, graph)
    events = written(graph, "events")
    assert {event["eventId"] for event in events} == {"e00001"}
    assert len({event["key"] for event in events}) == 4


def test_a_clients_session_is_its_own() -> None:
    """Prevents: two people in one visit because of a common session id or a borrowed id; a visit cut by a login."""
    graph = FakeGraph()
    strangers: list[dict[str, Any]] = [
        {"person_id": "a1", "anonymous_id": "a1"},
        {"person_id": "u1", "user_id": "u1", "anonymous_id": "a1"},
        {"person_id": "a2", "anonymous_id": "a2"},
        {"person_id": "a1", "anonymous_id": "a1", "source": "app"},
        {"person_id": "u3", "user_id": "u3"},
        {"person_id": "u4", "user_id": "u4", "anonymous_id": "u3"},
    ]
    bring([make_event(number, session_id="1700000000", **who) for number, who in enumerate(strangers)], graph)
    before, after, *others = (event["sessionId"] for event in written(graph, "events"))
    assert before == after == derive_id("session", "shop", "device", "a1", "1700000000")
    assert len({before, *others}) == 5


def test_an_event_without_a_session_gets_its_day_whoever_logs_in_later() -> None:
    """Prevents: an event in two sessions, once as a stranger's and once as the person's."""
    graph = FakeGraph()
    rows = [
        make_event(1, person_id="a1", anonymous_id="a1"),
        make_event(1, person_id="u1", anonymous_id="a1"),
        make_event(2, person_id="u1", user_id="u1"),
    ]
    bring(rows, graph)
    first, again, known = (event["sessionId"] for event in written(graph, "events"))
    assert first == again == derive_id("session", "device", "a1", "2026-03-01")
    assert known == derive_id("session", "person", "u1", "2026-03-01")


def test_a_login_moves_what_was_done_before_it() -> None:
    """Prevents: a graph in which a person's first visit belongs to a stranger for ever."""
    graph = FakeGraph()
    rows = [
        make_event(1, event_type="identify", user_id="u1", anonymous_id="a1", claimed_id="a1"),
        make_event(2, event_type="alias", user_id="u1", claimed_previous_id="a2"),
        make_event(3, event_type="identify", user_id="u1", anonymous_id="somebody"),
        make_event(4, event_type="page", user_id="u9", anonymous_id="a9"),
    ]
    bring(rows, graph)
    assert written(graph, "links") == [{"fromId": "a1", "userId": "u1"}, {"fromId": "a2", "userId": "u1"}]


def test_a_product_is_what_its_latest_named_event_says() -> None:
    """Prevents: a name lost to an event that carries only ids."""
    graph = FakeGraph()
    rows = [
        make_event(1, products=[{"product_id": "p", "name": "New", "price": 2.5, "category": "toys"}]),
        make_event(2, products=[{"product_id": "p"}], event_timestamp=NOW + timedelta(hours=1)),
        make_event(3, products=[{"product_id": "p", "name": "Old"}], event_timestamp=NOW - timedelta(hours=1)),
    ]
    bring(rows, graph)
    assert written(graph, "products") == [{"productId": "p", "name": "New", "price": 2.5, "categories": ["toys"]}]


def test_a_refusal_is_one_line_and_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a stack trace where an operator needs a reason."""
    monkeypatch.setattr("functions.jobs.train_candidates.bigquery", FakeWarehouse)
    with pytest.raises(SystemExit, match=r"train_candidates: .*order_completed"):
        main(["train_candidates"])
