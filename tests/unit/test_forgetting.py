"""A regulation is carried out in every store, whatever fails on the way, and its report names nobody."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from google.api_core.exceptions import BadRequest

from agents.privacy.forgetting import SETTLE, Desk, accept, carry_out
from agents.privacy.person import digest
from agents.privacy.regulations import Invalid, read_request, shape
from agents.privacy.stores import Stores
from agents.tools.documents import FakeDocuments
from agents.tools.graph import FakeGraph, GraphUnavailable
from agents.tools.held import FakeHeld, HeldMessage
from agents.tools.keys import FakeKeys
from agents.tools.objects import FakeObjects
from agents.tools.regulations import FakeRegulations
from agents.tools.suppressions import FakeSuppressions
from agents.tools.warehouse import FakeWarehouse, Parameter, Record
from schemas import people
from schemas.regulations import Regulation, RegulationType, Status

NOW = datetime(2026, 11, 20, 8, tzinfo=UTC)
LATE = NOW + SETTLE


class Tables(FakeWarehouse):
    """Tables of texts: a DELETE takes what has one of the ids. `refused` raise as BigQuery does."""

    def __init__(self) -> None:
        event = {"source": "web", "producer": "", "event_id": "e1"}
        super().__init__({"argo.identities": [{"id": "phone", "person_id": "ada"}], "event_id": [event]})
        self.rows = {table.name: ["ada", "phone", "bob"] for table in people.tables()}
        self.refused: dict[str, str] = {}

    def execute(self, sql: str, parameters: Any = None) -> int:
        name = sql.split("argo.")[1].split(maxsplit=1)[0]
        if name in self.refused:
            raise BadRequest(self.refused[name])
        ids: list[str] = (parameters or {}).get("ids") or [
            one for one in self.rows[name] if one in parameters["pattern"]
        ]
        before = self.rows[name]
        self.rows[name] = [one for one in before if one not in ids]
        return len(before) - len(self.rows[name])

    def query(self, sql: str, parameters: Any = None) -> list[Record]:
        asked: dict[str, Parameter] = parameters or {}
        if "argo.identities" in sql and "ada" not in self.rows["user_interactions"]:
            return []  # the view reads what is not there any more
        return super().query(sql, asked)


class World:
    """Every store with ada in it, and bob."""

    def __init__(self) -> None:
        self.warehouse = Tables()
        self.graph = FakeGraph({"RETURN session": [{"id": "s1"}], "RETURN count": [{"count": 0}]})
        self.documents = FakeDocuments(("users", "ada"), ("users", "bob"), ("outbox", "phone"))
        self.keys = FakeKeys({"user:ada:context": "{}", "user:bob:context": "{}", "x": '{"userId": "phone"}'})
        lines = b'{"user_id":"ada"}\n{"user_id":"bob","properties":"{\\"userId\\":\\"ada\\"}"}\n'
        self.archive = FakeObjects({"a.ndjson": lines})
        self.held = FakeHeld(
            HeldMessage(ack_id="1", message_id="1", published_at=NOW, data=b'{"userId":"ada"}'),
            HeldMessage(ack_id="2", message_id="2", published_at=NOW, data=b'{"userId":"bob"}'),
        )
        self.regulations = FakeRegulations()
        self.desk = Desk(regulations=self.regulations, suppressions=FakeSuppressions())

    def ask(self, kind: RegulationType, *subjects: str) -> str:
        body = {"regulationType": kind, "subjectType": "USER_ID", "subjectIds": list(subjects)}
        accept(read_request(msgspec.json.encode(body), "r1", NOW), self.desk)
        return "r1"

    def run(self, now: datetime) -> Regulation:
        stores = Stores(
            warehouse=self.warehouse,
            graph=self.graph,
            documents=self.documents,
            keys=self.keys,
            buckets={"archive": self.archive},
            held={"letters": self.held},
        )
        (regulation,) = carry_out(self.desk, stores, now)
        return regulation


@pytest.fixture
def world() -> World:
    return World()


def test_every_store_loses_the_person_and_keeps_the_others(world: World) -> None:
    """Prevents: a store that is left out, or one that loses more than it should."""
    world.ask(RegulationType.SUPPRESS_AND_DELETE, "ada")
    regulation = world.run(NOW)
    assert all(rows == ["bob"] for rows in world.warehouse.rows.values())
    assert world.documents.documents == {("users", "bob")}
    assert world.keys.values == {"user:bob:context": "{}"}
    assert world.archive.contents["a.ndjson"].splitlines()[0] == b"", "the other line keeps its number"
    assert b'"bob"' in world.archive.contents["a.ndjson"]
    assert [message.message_id for message in world.held.waiting] == ["2"]
    statements = " ".join(sql for sql, _ in world.graph.asked)
    assert all(label in statements for label in ("(user:User)", "(session:Session)", "(event:Event)"))
    assert regulation.overall_status is Status.RUNNING, "what collect took a moment ago may still come"


def test_it_is_finished_by_the_run_that_finds_nothing_and_then_names_nobody(world: World) -> None:
    """Prevents: a record of a deletion that is itself a record of the person."""
    world.ask(RegulationType.DELETE_ONLY, "ada")
    first = world.run(NOW)
    assert "ada" not in str(shape(first))
    assert first.found_ids == ["ada", "phone"]
    assert world.run(LATE).overall_status is Status.FINISHED
    kept = world.desk.regulations.read("r1")
    assert kept
    assert "ada" not in str(kept)
    assert "phone" not in str(kept)
    assert kept.report["warehouse.user_interactions"].deleted == 2
    assert (kept.runs, kept.subjects) == (2, 1)


def test_what_fails_is_tried_again_and_the_rest_goes_on(world: World) -> None:
    """Prevents: one store's outage that stops a deletion, or that lets it be called finished."""
    world.ask(RegulationType.DELETE_ONLY, "ada")
    world.graph.error = GraphUnavailable("ada is in this text")
    regulation = world.run(NOW)
    assert regulation.overall_status is Status.FAILED
    assert regulation.report["graph"].reason == "GraphUnavailable; tried again", "an error's text may quote the person"
    assert ("users", "ada") not in world.documents.documents
    assert "ada" in world.warehouse.rows["user_interactions"], "the graph's part has to ask for their events first"
    world.graph.error = None
    assert world.run(LATE).overall_status is Status.RUNNING
    assert world.run(LATE).overall_status is Status.FINISHED
    assert "graph" not in world.regulations.regulations["r1"].report


def test_rows_that_bigquery_will_not_delete_yet_are_deleted_later_and_the_report_says_so(world: World) -> None:
    """Prevents: a deletion that is refused for an hour and forgotten, or called done."""
    world.ask(RegulationType.DELETE_ONLY, "ada")
    world.warehouse.refused["moments"] = "DELETE would affect rows in the streaming buffer, which is not supported"
    regulation = world.run(LATE)
    entry = regulation.report["warehouse.moments"]
    assert (entry.state, entry.deleted) == ("LATER", 0)
    assert "90 minutes" in entry.reason
    assert regulation.report["warehouse.actions"].deleted == 2
    world.run(LATE)
    assert world.regulations.regulations["r1"].overall_status is Status.RUNNING
    world.warehouse.refused.clear()
    world.run(LATE)
    assert world.run(LATE).overall_status is Status.FINISHED
    assert world.regulations.regulations["r1"].report["warehouse.moments"].deleted == 2


def test_another_refusal_of_bigquery_is_a_failure(world: World) -> None:
    """Prevents: a broken statement that waits for ever for a buffer that is empty."""
    world.ask(RegulationType.DELETE_ONLY, "ada")
    world.warehouse.refused["moments"] = "Syntax error"
    assert world.run(NOW).report["warehouse"].state == "FAILED"


def test_a_killed_run_has_kept_what_the_next_one_needs(world: World) -> None:
    """Prevents: a second run that no longer knows the devices of a person whose events are gone."""
    world.ask(RegulationType.DELETE_ONLY, "ada")
    world.documents.error = KeyboardInterrupt()  # type: ignore[assignment] # pyright: ignore[reportAttributeAccessIssue] -- as a kill would
    with pytest.raises(KeyboardInterrupt):
        world.run(NOW)
    world.documents.error = None
    world.warehouse.rows["user_interactions"] = []  # as if the first run had come that far
    assert world.run(NOW).found_ids == ["ada", "phone"]
    assert world.documents.documents == {("users", "bob")}


def test_an_unknown_person_is_nobodys_problem(world: World) -> None:
    """Prevents: a regulation about an id that never came, which fails or never ends."""
    world.ask(RegulationType.DELETE_ONLY, "stranger")
    world.warehouse.answers = {}
    assert world.run(LATE).overall_status is Status.FINISHED


def test_suppression_reaches_collect_with_the_persons_devices_and_outlives_the_data(world: World) -> None:
    """Prevents: a person who is deleted and followed on by the device that nobody had linked yet."""
    world.ask(RegulationType.SUPPRESS_AND_DELETE, "ada")
    listed = world.desk.regulations.list_suppressed()
    assert listed == {digest("ada")}
    world.run(NOW)
    world.run(LATE)
    assert world.desk.regulations.list_suppressed() == {digest("ada"), digest("phone")}
    copy = world.desk.suppressions.read("")
    assert copy
    assert copy[1] == {digest("ada"), digest("phone")}
    world.ask(RegulationType.UNSUPPRESS, "ada")
    assert world.desk.regulations.list_suppressed() == set()
    assert world.desk.suppressions.read(copy[0])


@pytest.mark.parametrize("kind", [RegulationType.SUPPRESS_ONLY, RegulationType.UNSUPPRESS])
def test_what_deletes_nothing_is_finished_at_once(world: World, kind: RegulationType) -> None:
    """Prevents: a list of open regulations that grows by what nobody has to do."""
    world.ask(kind, "ada")
    kept = world.regulations.regulations["r1"]
    assert (kept.overall_status, kept.subject_ids, kept.subjects) == (Status.FINISHED, [], 1)
    assert world.desk.regulations.list_open() == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"regulationType": "FORGET"}, "SUPPRESS_AND_DELETE"),
        ({"regulationType": None}, "regulationType"),
        ({"subjectType": "OBJECT_ID"}, "USER_ID"),
        ({"subjectIds": []}, "subjectIds"),
        ({"subjectIds": [""]}, "subjectIds"),
        ({"subjectIds": ["x" * 257]}, "subjectIds"),
        ({"subjectIds": [f"u{number}" for number in range(5001)]}, "5000"),
        ({"subjectIds": ["x" * 250 + str(number) for number in range(1000)]}, "several requests"),
    ],
)
def test_a_bad_request_says_what_to_fix(change: dict[str, Any], word: str) -> None:
    """Prevents: a deletion that somebody believes in and that was never asked for."""
    body = {"regulationType": "DELETE_ONLY", "subjectType": "USER_ID", "subjectIds": ["u"], **change}
    with pytest.raises(Invalid, match=word):
        read_request(msgspec.json.encode(body), "r1", NOW)


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_a_body_that_is_none_is_refused(body: bytes) -> None:
    """Prevents: a crash where a sentence would do."""
    with pytest.raises(Invalid):
        read_request(body, "r1", NOW)


def test_segments_other_names_mean_the_same() -> None:
    """Prevents: a client of Segment's older API that is told that it cannot delete."""
    body = b'{"regulationType":"SUPPRESS_WITH_DELETE","subjectType":"USER_ID","subjectIds":["u","u"]}'
    regulation = read_request(body, "r1", NOW + timedelta(0))
    assert (regulation.regulation_type, regulation.subject_ids) == (RegulationType.SUPPRESS_AND_DELETE, ["u"])
