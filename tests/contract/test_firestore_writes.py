"""Contract: writes, their masks, transforms, preconditions and results."""

import datetime
import math
import time
from typing import Any, cast

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.types import write as write_messages

from tests.contract.firestore_servers import client, list_ids, read_fields, root, server

__all__ = ["client", "root", "server"]  # fixtures


def time_of(result: write_messages.WriteResult) -> datetime.datetime:
    """Returns a write's update time as the datetime that it is; the client annotates it as a Timestamp."""
    return cast("datetime.datetime", result.update_time)


def test_create_twice_conflicts(root: firestore.CollectionReference) -> None:
    """Prevents a second handling of one event from overwriting the first."""
    root.document("a").create({"v": 1})
    with pytest.raises(exceptions.AlreadyExists):
        root.document("a").create({"v": 2})
    assert read_fields(root.document("a").get()) == {"v": 1}


def test_update_needs_a_document(root: firestore.CollectionReference) -> None:
    """Prevents an update from creating half a document."""
    with pytest.raises(exceptions.NotFound):
        root.document("a").update({"v": 1})
    assert not root.document("a").get().exists


def test_update_changes_the_named_fields_only(root: firestore.CollectionReference) -> None:
    """Prevents an update of one field from dropping its neighbours, also under quoted paths."""
    document = root.document("a")
    document.set({"m": {"x.y": 1, "keep": 2, "gone": 3}, "n": 1})
    document.update({"m.`x.y`": 10, "m.gone": firestore.DELETE_FIELD, "p.q.r": True})
    assert read_fields(document.get()) == {"m": {"x.y": 10, "keep": 2}, "n": 1, "p": {"q": {"r": True}}}
    document.update({"n.below": 1})
    assert document.get().get("n") == {"below": 1}


def test_merge_keeps_and_set_replaces(root: firestore.CollectionReference) -> None:
    """Prevents set() from merging, and merge from replacing."""
    document = root.document("a")
    document.set({"m": {"a": 1, "b": 1}, "n": 1}, merge=True)
    document.set({"m": {"b": 2, "`": 3}}, merge=True)
    assert read_fields(document.get()) == {"m": {"a": 1, "b": 2, "`": 3}, "n": 1}
    document.set({"m": {"c": 3}, "n": 5}, merge=["m.c"])  # pyright: ignore[reportArgumentType] - documented, annotated as bool
    assert read_fields(document.get()) == {"m": {"a": 1, "b": 2, "`": 3, "c": 3}, "n": 1}
    document.set({"z": 0})
    assert read_fields(document.get()) == {"z": 0}


def test_times_of_a_document(root: firestore.CollectionReference) -> None:
    """Prevents clients from seeing a stale or unordered update time."""
    document = root.document("a")
    first = document.set({"v": 1})
    second = document.set({"v": 2})
    snapshot = document.get()
    assert snapshot.create_time == first.update_time
    assert snapshot.update_time == second.update_time
    assert time_of(second) > time_of(first)
    same = document.set({"v": 2})
    assert same.update_time == second.update_time, "a write without effect keeps the update time"
    document.delete()
    document.set({"v": 2})
    assert document.get().create_time > time_of(second)


def test_update_time_precondition(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents the second of two writers from overwriting what it has not seen."""
    document = root.document("a")
    seen = document.set({"v": 1}).update_time
    document.update({"v": 2}, option=client.write_option(last_update_time=seen))
    with pytest.raises(exceptions.FailedPrecondition):
        document.update({"v": 3}, option=client.write_option(last_update_time=seen))
    with pytest.raises(exceptions.FailedPrecondition):
        document.delete(option=client.write_option(last_update_time=seen))
    assert document.get().get("v") == 2


def test_delete(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents deleting twice from failing, unless the writer asks for it."""
    root.document("a").set({})
    root.document("a").delete()
    root.document("a").delete()
    assert not root.document("a").get().exists
    with pytest.raises(exceptions.NotFound):
        root.document("a").delete(option=client.write_option(exists=True))


def test_batch_is_all_or_nothing(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents half a batch from being stored."""
    batch = client.batch()
    batch.set(root.document("a"), {"v": 1})
    batch.update(root.document("missing"), {"v": 1})
    with pytest.raises(exceptions.NotFound):
        batch.commit()
    assert list_ids(root) == []
    batch = client.batch()
    batch.set(root.document("a"), {"v": 1})
    batch.update(root.document("a"), {"v": firestore.Increment(2)})
    batch.delete(root.document("b"))
    results = batch.commit()
    assert len(results) == 3
    assert root.document("a").get().get("v") == 3
    assert root.document("a").get().update_time == batch.commit_time


def test_server_timestamp(root: firestore.CollectionReference) -> None:
    """Prevents a client's clock, or two different times in one commit, from reaching the store."""
    before = datetime.datetime.now(datetime.UTC)
    result = root.document("a").set({"at": firestore.SERVER_TIMESTAMP, "m": {"at": firestore.SERVER_TIMESTAMP}})
    snapshot = root.document("a").get()
    assert snapshot.get("at") == snapshot.get("m.at")
    assert snapshot.get("at").microsecond % 1000 == 0, "the API promises milliseconds"
    assert abs(snapshot.get("at") - before) < datetime.timedelta(seconds=60)
    assert len(result.transform_results) == 2


Case = tuple[object, object, object]
ABSENT = object()
NUMERIC: dict[str, Case] = {
    "add": (1, firestore.Increment(2), 3),
    "add double": (1, firestore.Increment(1.5), 2.5),
    "add to text": ("a", firestore.Increment(2), 2),
    "add to nothing": (ABSENT, firestore.Increment(2), 2),
    "add saturates": (2**63 - 1, firestore.Increment(1), 2**63 - 1),
    "subtract saturates": (-(2**63), firestore.Increment(-1), -(2**63)),
    "maximum wins": (3, firestore.Maximum(4.0), 4.0),
    "maximum loses": (3, firestore.Maximum(2), 3),
    "maximum equal keeps": (3, firestore.Maximum(3.0), 3),
    "maximum of nothing": (ABSENT, firestore.Maximum(-1), -1),
    "maximum of text": ("s", firestore.Maximum(1), 1),
    "maximum beyond doubles": (2**62 + 1, firestore.Maximum(float(2**62)), 2**62 + 1),
    "minimum wins": (3, firestore.Minimum(2.5), 2.5),
    "minimum equal keeps": (3.0, firestore.Minimum(3), 3.0),
}
ARRAYS: dict[str, Case] = {
    "union": ([1, 2], firestore.ArrayUnion([2.0, 3, 3, None]), [1, 2, 3, None]),
    "union on text": ("a", firestore.ArrayUnion([1, 1]), [1]),
    "union on nothing": (ABSENT, firestore.ArrayUnion(["a"]), ["a"]),
    "remove": ([1, 1.0, 2, None, 1], firestore.ArrayRemove([1, None]), [2]),
    "remove from number": (5, firestore.ArrayRemove([1]), []),
}


@pytest.mark.parametrize("name", NUMERIC | ARRAYS)
def test_transform(root: firestore.CollectionReference, name: str) -> None:
    """Prevents counters and sets that come out differently in the cloud."""
    before, transform, after = (NUMERIC | ARRAYS)[name]
    document = root.document("a")
    document.set({} if before is ABSENT else {"v": before})
    result = document.update({"v": transform})
    stored = document.get().get("v")
    assert stored == after
    assert type(stored) is type(after)
    kind = "null_value" if name in ARRAYS else "integer_value" if isinstance(after, int) else "double_value"
    assert kind in result.transform_results[0]


@pytest.mark.parametrize("transform", [firestore.Maximum(math.nan), firestore.Minimum(math.nan)])
def test_nan_swallows_extremes(root: firestore.CollectionReference, transform: object) -> None:
    """Prevents NaN from being compared as if it were a number."""
    root.document("a").set({"v": 1})
    root.document("a").update({"v": transform})
    assert math.isnan(root.document("a").get().get("v"))


def test_get_all_and_masks(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents a missing document from vanishing from an answer, and fields from leaking past a mask."""
    root.document("a").set({"v": 1, "m": {"x": 1, "y": 2}})
    found = {s.id: s for s in client.get_all([root.document("a"), root.document("b"), root.document("a")])}
    assert {name: snapshot.exists for name, snapshot in found.items()} == {"a": True, "b": False}
    assert read_fields(root.document("a").get(["m.y", "nothing"])) == {"m": {"y": 2}}


def test_read_at_an_earlier_time(root: firestore.CollectionReference) -> None:
    """Prevents reads at a time from showing what was written later."""
    first = time_of(root.document("a").set({"v": 1}))
    time.sleep(0.01)
    root.document("a").set({"v": 2})
    root.document("b").set({"v": 2})
    assert root.document("a").get(read_time=first).get("v") == 1
    assert [s.id for s in root.stream(read_time=first)] == ["a"]


def test_automatic_ids(root: firestore.CollectionReference) -> None:
    """Prevents added documents from colliding."""
    ids = {root.add({"n": number})[1].id for number in range(20)}
    assert len(ids) == 20
    assert set(list_ids(root)) == ids


def test_bulk_writer_and_recursive_delete(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents bulk loads from losing documents, and a recursive delete from leaving orphans."""
    with_bulk = client.bulk_writer()
    for number in range(60):
        with_bulk.create(root.document(f"{number:03}"), {"n": number})
        if number % 10 == 0:
            with_bulk.set(root.document(f"{number:03}").collection("sub").document("x"), {"n": number})
    with_bulk.flush()
    with_bulk.close()
    assert len(list_ids(root)) == 60
    neighbour = client.collection(f"{root.id}x").document("stays")
    neighbour.set({})
    assert client.recursive_delete(root) == 66
    assert list_ids(root) == []
    assert [document.id for document in root.list_documents()] == []
    assert neighbour.get().exists


def test_bulk_writer_reports_each_failure(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents one refused write from sinking, or hiding in, its batch."""
    root.document("taken").set({"v": 0})
    failed: list[str] = []
    bulk = client.bulk_writer()

    def note_failure(error: Any, _: object) -> bool:
        failed.append(error.operation.reference.id)  # the client types this less than it is
        return False

    bulk.on_write_error(note_failure)
    bulk.create(root.document("taken"), {"v": 1})
    bulk.create(root.document("new"), {"v": 1})
    bulk.flush()
    bulk.close()
    assert failed == ["taken"]
    assert {s.id: s.get("v") for s in root.stream()} == {"new": 1, "taken": 0}
