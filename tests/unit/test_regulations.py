"""The function `regulations` speaks Segment's words: what is answered to whom, and what is asked of nobody."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import functions_framework.aio
import pytest
from starlette.testclient import TestClient

from agents.tools import regulations, suppressions
from agents.tools.regulations import FakeRegulations
from agents.tools.suppressions import FakeSuppressions

ASKED = {"regulationType": "SUPPRESS_AND_DELETE", "subjectType": "USER_ID", "subjectIds": ["ada"]}


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeRegulations:
    store = FakeRegulations()
    monkeypatch.setattr(regulations, "firestore_regulations", lambda: store)
    monkeypatch.setattr(suppressions, "redis_suppressions", FakeSuppressions)
    return store


@pytest.fixture
def client(store: FakeRegulations) -> Iterator[TestClient]:
    del store
    app = functions_framework.aio.create_asgi_app("regulations", "functions/regulations.py")
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


def test_what_is_asked_is_recorded_and_found_again_without_the_person(
    client: TestClient, store: FakeRegulations
) -> None:
    """Prevents: a request that is answered and lost; an answer that tells who is to be forgotten."""
    created = client.post("/regulations", json=ASKED)
    assert created.status_code == 200
    one = created.json()["data"]["regulateId"]
    found = client.get(f"/regulations/{one}").json()["data"]["regulation"]
    assert (found["id"], found["overallStatus"], found["subjects"]) == (one, "INITIALIZED", 1)
    listed = client.get("/regulations?pagination[count]=5")
    assert [entry["id"] for entry in listed.json()["data"]["regulations"]] == [one]
    assert "ada" not in listed.text
    assert client.get("/suppressions").json() == {"data": {"suppressed": 1}}
    assert store.regulations[one].subject_ids == ["ada"]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (("POST", "/regulations", {**ASKED, "regulationType": "FORGET"}), 422),
        (("POST", "/regulations", {"subjectIds": ["ada"]}), 422),
        (("POST", "/regulations", {**ASKED, "subjectIds": ["x" * 256] * 9000}), 413),
        (("GET", "/regulations?count=0", None), 422),
        (("GET", "/regulations?count=many", None), 422),
        (("GET", "/regulations/none", None), 404),
        (("GET", "/", None), 404),
        (("POST", "/suppressions", None), 404),
        (("DELETE", "/regulations/none", None), 405),
    ],
)
def test_what_cannot_be_done_is_said(
    client: TestClient, store: FakeRegulations, asked: tuple[str, str, Any], status: int
) -> None:
    """Prevents: a silent no to somebody who has a right to a yes."""
    method, path, body = asked
    answer = client.request(method, path, json=body)
    assert answer.status_code == status
    (error,) = answer.json()["errors"]
    assert error["message"]
    assert store.regulations == {}
