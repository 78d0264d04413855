"""A task's timeline tells why, from whatever is on record, and nothing on record can break or deceive its reader."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from agents.audit import page, timeline
from agents.tools import warehouse
from agents.tools.warehouse import FakeWarehouse
from functions.trace import trace

START = datetime(2026, 3, 1, 10, tzinfo=UTC)
TASK: dict[str, Any] = {"task_id": "t1", "moment": "lapsed_buyer", "user_id": "u1", "playbook": "win_back"}
_WHEN = {"started": START, "status": "COMPLETED", "seconds": 6.0}


def _fact(second: float, fact: str, **rest: Any) -> dict[str, Any]:
    return {"happened_at": START + timedelta(seconds=second), "fact": fact, "fact_id": f"{fact}{second}", **rest}


FACTS = [
    _fact(0, "moment", actor="detection", target="u1", what="lapsed_buyer", details='{"orders": 4}'),
    _fact(1, "request", step_id="s1", actor="Master", target="RecommendationAgent", what="choose"),
    _fact(2, "request", step_id="s2", actor="Master", target="MarketTrendAgent", what="find"),
    _fact(3, "model_call", actor="RecommendationAgent", target="stand-in", what="choose_product@2", outcome="ok"),
    _fact(
        4,
        "response",
        step_id="s1",
        actor="RecommendationAgent",
        what="choose",
        outcome="COMPLETED",
        details={"output": {"name": "Lamp", "reason": "fits your table", "evidence": ["e1", "e2"]}},
    ),
    _fact(5, "response", step_id="s2", actor="MarketTrendAgent", outcome="FAILED", details={"reason": "no signals"}),
    _fact(6, "outcome", actor="act", target="u1", what="email_sent"),
]


def test_what_belongs_to_a_step_stands_under_its_request() -> None:
    """Prevents: a list of facts from which nobody can tell which model call led to which answer."""
    nodes = timeline.arrange(timeline.read_fact(row) for row in reversed(FACTS))
    assert [node.fact for node in nodes] == ["moment", "request", "request", "outcome"]
    choose, find = nodes[1:3]
    assert [child.fact for child in choose.children] == ["model_call", "response"]
    assert (choose.outcome, find.outcome) == ("COMPLETED", "FAILED")
    assert choose.children[1].note == "name: Lamp, reason: fits your table, evidence: 2"
    assert find.children[0].note == "reason: no signals"
    assert nodes[0].note == "orders: 4"


def test_a_fact_without_its_request_is_still_told() -> None:
    """Prevents: an answer that disappears from the record because its request was lost."""
    assert len(timeline.arrange([timeline.read_fact(FACTS[4])])) == 1


@pytest.mark.parametrize("details", ["{not json", '"<script>"', None, '["a"]', "NaN"])
def test_details_of_any_kind_are_shown(details: str | None) -> None:
    """Prevents: one unreadable payload that hides a whole task."""
    nodes = timeline.arrange([timeline.read_fact(_fact(0, "event", what="said", details=details))])
    assert "said" in page.render_task(timeline.Task(task_id="t1", started=START), nodes)


def test_a_page_shows_words_and_runs_none() -> None:
    """Prevents: a customer's text that becomes a script in an operator's browser."""
    hostile = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'
    row = _fact(0, "response", actor=hostile, what=hostile, outcome=hostile, details={"output": {hostile: hostile}})
    nodes = timeline.arrange([timeline.read_fact(row)])
    task = timeline.Task(task_id=hostile, user_id=hostile, moment=hostile, playbook=hostile, status=hostile)
    for shown in (page.render_task(task, nodes), page.render_list([task])):
        assert "<script" not in shown
        assert "<img" not in shown
        assert "&lt;script" in shown


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> TestClient:
    answers = {"argo.task_timeline": FACTS, "WHERE task_id": [TASK | _WHEN], "LIMIT": [TASK | _WHEN]}
    monkeypatch.setattr(warehouse, "bigquery", lambda: FakeWarehouse(answers))
    routes = [Route("/{path:path}", trace, methods=["GET", "POST"])]
    return TestClient(Starlette(routes=routes))


def test_people_get_a_page_and_programs_get_json(client: TestClient) -> None:
    body = client.get("/v1/tasks/t1", headers={"Accept": "application/json"}).json()
    assert body["task"]["playbook"] == "win_back"
    assert [node["fact"] for node in body["timeline"]] == ["moment", "request", "request", "outcome"]
    shown = client.get("/v1/tasks/t1", headers={"Accept": "text/html"})
    assert shown.headers["content-type"].startswith("text/html")
    assert "fits your table" in shown.text
    assert client.get("/v1/tasks").json()["tasks"][0]["task_id"] == "t1"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/tasks", 405),
        ("GET", "/", 404),
        ("GET", "/v1/tasks?count=0", 400),
        ("GET", "/v1/tasks?count=x", 400),
    ],
)
def test_what_it_cannot_answer_is_said(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_an_unknown_task_is_not_an_empty_one(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: an empty page that looks as if nothing had happened, for a mistyped id."""
    monkeypatch.setattr(warehouse, "bigquery", FakeWarehouse)
    assert client.get("/v1/tasks/nope").status_code == 404
