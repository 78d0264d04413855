"""Contract: listeners see the first state, every change and the last one; streams, their targets and tokens."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.firestore_v1.types import firestore as messages
from google.cloud.firestore_v1.types import write as write_messages

from tests.contract.firestore_servers import FirestoreServer, client, root, server

__all__ = ["client", "root", "server"]  # fixtures

WAIT_SECONDS = 30
Kind = messages.TargetChange.TargetChangeType


@dataclass
class Recorder:
    """Collects what on_snapshot reports: the state by id, and the kinds of changes in order."""

    state: dict[str, dict[str, object]] = field(default_factory=dict[str, dict[str, object]])
    changes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    snapshots: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __call__(self, documents: Any, changes: Any, read_time: object) -> None:
        """Is called by the client, in its own thread; the client does not type its arguments."""
        assert read_time is not None
        with self._changed:
            self.snapshots += 1
            self.state = {document.id: document.to_dict() for document in documents}
            self.changes.extend((change.type.name, change.document.id) for change in changes)
            self._changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Waits until the condition holds after a snapshot."""
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_SECONDS), (self.state, self.changes)


@contextmanager
def listening(
    target: firestore.DocumentReference | firestore.Query | firestore.CollectionReference,
) -> Generator[Recorder]:
    """Listens to a target and waits for its first snapshot."""
    recorder = Recorder()
    watch = target.on_snapshot(recorder)
    try:
        recorder.wait_for(lambda: recorder.snapshots > 0)
        yield recorder
    finally:
        watch.unsubscribe()


def test_document_listener(root: firestore.CollectionReference) -> None:
    """Prevents a profile on screen from staying stale, missing or undeleted."""
    document = root.document("a")
    with listening(document) as seen:
        assert seen.state == {}
        document.set({"n": 1})
        seen.wait_for(lambda: seen.state == {"a": {"n": 1}})
        document.update({"n": 2})
        seen.wait_for(lambda: seen.state == {"a": {"n": 2}})
        document.delete()
        seen.wait_for(lambda: seen.state == {})
        root.document("b").set({})
        document.set({"n": 3})
        seen.wait_for(lambda: seen.state == {"a": {"n": 3}})
    assert seen.changes == [("ADDED", "a"), ("MODIFIED", "a"), ("REMOVED", "a"), ("ADDED", "a")]


def test_collection_listener(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents a commit from being shown in parts, and other collections from being shown at all."""
    root.document("a").set({"n": 1})
    with listening(root) as seen:
        assert seen.state == {"a": {"n": 1}}
        batch = client.batch()
        batch.set(root.document("b"), {"n": 2})
        batch.set(root.document("c"), {"n": 3})
        batch.delete(root.document("a"))
        batch.set(root.document("b").collection("below").document("x"), {})
        batch.commit()
        seen.wait_for(lambda: "a" not in seen.state)
        assert seen.state == {"b": {"n": 2}, "c": {"n": 3}}
        assert seen.snapshots == 2


def test_query_listener(root: firestore.CollectionReference) -> None:
    """Prevents documents from staying in a result that they no longer match, or entering it late."""
    query = root.where(filter=FieldFilter("n", ">", 1)).order_by("n")
    root.document("low").set({"n": 1})
    root.document("high").set({"n": 5})
    with listening(query) as seen:
        assert list(seen.state) == ["high"]
        root.document("low").set({"n": 2})
        seen.wait_for(lambda: list(seen.state) == ["low", "high"])
        root.document("high").set({"n": 0})
        seen.wait_for(lambda: list(seen.state) == ["low"])
        root.document("low").update({"n": 3})
        seen.wait_for(lambda: seen.state == {"low": {"n": 3}})
    assert seen.changes == [("ADDED", "high"), ("ADDED", "low"), ("REMOVED", "high"), ("MODIFIED", "low")]


def test_limited_query_listener(root: firestore.CollectionReference) -> None:
    """Prevents the next document from staying out when one leaves a "first two"."""
    for name, number in [("a", 1), ("b", 2), ("c", 3)]:
        root.document(name).set({"n": number})
    with listening(root.order_by("n").limit(2)) as seen:
        assert list(seen.state) == ["a", "b"]
        root.document("a").delete()
        seen.wait_for(lambda: list(seen.state) == ["b", "c"])
        root.document("d").set({"n": 0})
        seen.wait_for(lambda: list(seen.state) == ["d", "b"])


def test_unsubscribed_listener_is_silent(root: firestore.CollectionReference) -> None:
    """Prevents callbacks after a screen is closed."""
    with listening(root) as seen:
        pass
    with listening(root) as later:
        root.document("a").set({})
        later.wait_for(lambda: "a" in later.state)
    assert seen.state == {}


def test_last_state_of_rapid_changes(root: firestore.CollectionReference) -> None:
    """Prevents a slow listener from missing the last of 200 rapid changes."""
    with listening(root.document("a")) as one, listening(root) as all_of_them:
        for number in range(200):
            root.document("b" if number % 10 == 0 else "a").set({"n": number})
        one.wait_for(lambda: one.state == {"a": {"n": 199}})
        all_of_them.wait_for(lambda: all_of_them.state == {"a": {"n": 199}, "b": {"n": 190}})


class Stream:
    """A raw Listen stream, for what the client's watch does not use."""

    def __init__(self, client: firestore.Client) -> None:
        self.database = f"projects/{client.project}/databases/(default)"
        self._requests: queue.Queue[messages.ListenRequest | None] = queue.Queue()
        self._api = client._firestore_api  # pyright: ignore[reportPrivateUsage] - the client offers no raw stream
        self._metadata = client._rpc_metadata  # pyright: ignore[reportPrivateUsage] - what the client sends with it

    @cached_property
    def responses(self) -> Iterable[messages.ListenResponse]:
        """Opens the stream at the first read: the generated client waits for the first response at once."""
        return self._api.listen(requests=iter(self._requests.get, None), metadata=self._metadata)

    def add(self, target: messages.Target) -> None:
        """Adds a target."""
        self._requests.put(messages.ListenRequest(database=self.database, add_target=target))

    def remove(self, target_id: int) -> None:
        """Removes a target."""
        self._requests.put(messages.ListenRequest(database=self.database, remove_target=target_id))

    def read_until(self, kind: Kind, target_ids: list[int]) -> list[messages.ListenResponse]:
        """Reads up to a target change of this kind for these targets."""
        read: list[messages.ListenResponse] = []
        for response in self.responses:
            read.append(response)
            change = response.target_change
            if (
                "target_change" in response
                and change.target_change_type == kind
                and list(change.target_ids) == target_ids
            ):
                break
        return read

    def read_snapshot(self) -> list[messages.ListenResponse]:
        """Reads up to the next consistent snapshot of the whole stream."""
        while True:
            read = self.read_until(Kind.NO_CHANGE, [])
            if read[-1].target_change.resume_token:
                return read

    def close(self) -> None:
        """Ends the stream."""
        self._requests.put(None)


@pytest.fixture
def stream(client: firestore.Client) -> Iterator[Stream]:
    """A raw stream."""
    opened = Stream(client)
    yield opened
    opened.close()


def target_of(document: firestore.DocumentReference, target_id: int, token: bytes = b"") -> messages.Target:
    """Builds a target for one document."""
    names = messages.Target.DocumentsTarget(documents=[document._document_path])  # pyright: ignore[reportPrivateUsage] - the full name
    target = messages.Target(documents=names, target_id=target_id)
    if token:
        target.resume_token = token
    return target


def shown(responses: list[messages.ListenResponse]) -> list[tuple[str, list[int]]]:
    """Returns the changed documents and their targets."""
    changes = [r.document_change for r in responses if "document_change" in r]
    return [(change.document.name.rpartition("/")[2], list(change.target_ids)) for change in changes]


def test_several_targets_on_one_stream(stream: Stream, root: firestore.CollectionReference) -> None:
    """Prevents a target from getting another's documents, or changes after it was removed."""
    first, second = root.document("a"), root.document("b")
    first.set({})
    second.set({})
    stream.add(target_of(first, 1))
    assert shown(stream.read_until(Kind.CURRENT, [1])) == [("a", [1])]
    stream.add(target_of(second, 2))
    assert shown(stream.read_until(Kind.CURRENT, [2])) == [("b", [2])]
    stream.remove(1)
    stream.read_until(Kind.REMOVE, [1])
    first.set({"n": 1})
    second.set({"n": 1})
    seen: list[tuple[str, list[int]]] = []
    while not seen:
        seen = shown(stream.read_snapshot())
    assert seen == [("b", [2])]


def test_resume_skips_what_is_known(
    server: FirestoreServer, client: firestore.Client, root: firestore.CollectionReference
) -> None:
    """Prevents a reconnecting client from missing a deletion, or loading everything anew."""
    known, changed, gone = (root.document(name) for name in ["known", "changed", "gone"])
    for document in [known, changed, gone]:
        document.set({"n": 1})
    documents = [known, changed, gone]
    before = Stream(client)
    for number, document in enumerate(documents, start=1):
        before.add(target_of(document, number))
        before.read_until(Kind.CURRENT, [number])
    token = before.read_snapshot()[-1].target_change.resume_token
    before.close()
    changed.set({"n": 2})
    gone.delete()
    after = Stream(client)
    read: list[messages.ListenResponse] = []
    for number, document in enumerate(documents, start=1):
        after.add(target_of(document, number, token))
        read += after.read_until(Kind.CURRENT, [number])
    after.close()
    # DIFFERENCE, see the README: Google's emulator forgets every token and resets the target; the cloud resumes.
    is_reset = any(response.target_change.target_change_type == Kind.RESET for response in read)
    assert is_reset == (server.name == "google")
    assert shown(read) == ([("known", [1])] if is_reset else []) + [("changed", [2])]
    deleted = [r.document_delete.document for r in read if "document_delete" in r]
    assert [name.rpartition("/")[2] for name in deleted] == ["gone"]


def test_bad_target_ends_alone(stream: Stream, root: firestore.CollectionReference) -> None:
    """Prevents one bad target from silently hanging its listener."""
    stream.add(target_of(root.document("a"), 1))
    stream.read_until(Kind.CURRENT, [1])
    bad = messages.Target(documents=messages.Target.DocumentsTarget(documents=["nonsense"]), target_id=2)
    stream.add(bad)
    cause = stream.read_until(Kind.REMOVE, [2])[-1].target_change.cause
    assert cause.code == 3


def test_write_stream(client: firestore.Client, root: firestore.CollectionReference) -> None:
    """Prevents clients that write through a stream (the mobile ones) from losing order or results."""
    database = f"projects/{client.project}/databases/(default)"
    requests: queue.Queue[messages.WriteRequest | None] = queue.Queue()
    api = client._firestore_api  # pyright: ignore[reportPrivateUsage] - the client offers no write stream
    metadata = client._rpc_metadata  # pyright: ignore[reportPrivateUsage] - what the client sends with it
    requests.put(messages.WriteRequest(database=database))
    responses = api.write(requests=iter(requests.get, None), metadata=metadata)
    token = next(iter(responses)).stream_token
    for number in range(3):
        fields = {"n": {"integer_value": number}}
        name = root.document("a")._document_path  # pyright: ignore[reportPrivateUsage] - the full name
        write = write_messages.Write(update={"name": name, "fields": fields})
        requests.put(messages.WriteRequest(writes=[write], stream_token=token))
        response = next(iter(responses))
        token = response.stream_token
        assert len(response.write_results) == 1
    requests.put(None)
    assert root.document("a").get().get("n") == 2
