"""Jobs: found by name, refusing plainly, and going on where they stopped."""

from __future__ import annotations

import importlib
from datetime import UTC, datetime, timedelta

import pytest

from agents.tools.graph import FakeGraph
from agents.tools.warehouse import FakeWarehouse, Record
from functions.jobs.__main__ import main
from functions.jobs.sync_graph import BATCH_ROWS, OVERLAP, sync
from functions.jobs.train_candidates import NothingToLearn, train
from schemas import topology
from schemas.messages import derive_id

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def make_event(number: int, **fields: object) -> Record:
    return {
        "event_id": f"e{number:05}",
        "event_type": "order_completed",
        "event_timestamp": NOW,
        "received_at": NOW + timedelta(seconds=number),
        "person_id": "u1",
        "products": [],
        **fields,
    }


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
        train(warehouse, NOW)
    assert len(warehouse.asked) == 1


def test_training_is_one_statement_with_its_version() -> None:
    """Prevents: half a version, or two runs that share one."""
    warehouse = FakeWarehouse({"INSERT INTO argo.candidates": [{}, {}], "COUNT(*)": [{"orders": 1}]})
    assert train(warehouse, NOW) == 2
    assert warehouse.asked[1][1] == {"version": NOW.isoformat(), "trained_at": NOW}


def test_a_batch_is_marked_with_its_last_arrival() -> None:
    """Prevents: a restart that skips a batch which was never written."""
    graph = FakeGraph()
    events = [make_event(number) for number in range(BATCH_ROWS + 1)]
    assert sync(FakeWarehouse({"argo.interactions": events}), graph) == BATCH_ROWS + 1
    marks = [parameters["at"] for _, parameters in graph.asked if "at" in parameters]
    assert marks == [events[number]["received_at"].isoformat() for number in (BATCH_ROWS - 1, BATCH_ROWS)]


def test_it_goes_on_from_its_watermark_less_the_overlap() -> None:
    """Prevents: reading everything again every five minutes, and missing what reached the warehouse late."""
    warehouse = FakeWarehouse()
    sync(warehouse, FakeGraph({"Watermark {name: $name}) RETURN": [{"at": NOW.isoformat()}]}))
    assert warehouse.asked[0][1]["received_at"] == NOW - OVERLAP


def test_an_event_without_a_session_gets_its_day_whoever_logs_in_later() -> None:
    """Prevents: an event in two sessions, once as a stranger's and once as the person's."""
    graph = FakeGraph()
    rows = [
        make_event(1, person_id="a1", anonymous_id="a1"),
        make_event(1, person_id="u1", anonymous_id="a1"),
        make_event(2, person_id="u1", user_id="u1"),
        make_event(3, session_id="s1"),
    ]
    sync(FakeWarehouse({"argo.interactions": rows}), graph)
    first, again, known, given = (event["sessionId"] for event in written(graph, "events"))
    assert first == again == derive_id("session", "a1", "2026-03-01")
    assert (known, given) == (derive_id("session", "u1", "2026-03-01"), "s1")


def test_a_login_moves_what_was_done_before_it() -> None:
    """Prevents: a graph in which a person's first visit belongs to a stranger for ever."""
    graph = FakeGraph()
    rows = [
        make_event(1, event_type="identify", user_id="u1", anonymous_id="a1"),
        make_event(2, event_type="alias", user_id="u1", previous_id="a2"),
        make_event(3, event_type="identify", user_id="u1", anonymous_id="u1"),
        make_event(4, event_type="page", user_id="u9", anonymous_id="a9"),
    ]
    sync(FakeWarehouse({"argo.interactions": rows}), graph)
    assert written(graph, "links") == [{"fromId": "a1", "userId": "u1"}, {"fromId": "a2", "userId": "u1"}]


def test_a_product_is_what_its_latest_named_event_says() -> None:
    """Prevents: a name lost to an event that carries only ids."""
    graph = FakeGraph()
    rows = [
        make_event(1, products=[{"product_id": "p", "name": "New", "price": 2.5, "category": "toys"}]),
        make_event(2, products=[{"product_id": "p"}], event_timestamp=NOW + timedelta(hours=1)),
        make_event(3, products=[{"product_id": "p", "name": "Old"}], event_timestamp=NOW - timedelta(hours=1)),
    ]
    sync(FakeWarehouse({"argo.interactions": rows}), graph)
    assert written(graph, "products") == [{"productId": "p", "name": "New", "price": 2.5, "categories": ["toys"]}]


def test_a_refusal_is_one_line_and_an_exit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: a stack trace where an operator needs a reason."""
    monkeypatch.setattr("functions.jobs.train_candidates.bigquery", FakeWarehouse)
    with pytest.raises(SystemExit, match=r"train_candidates: .*order_completed"):
        main(["train_candidates"])
