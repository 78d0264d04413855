"""The suite's own Firestore process under faults: stopped, restarted, port taken, garbage on the wire.

Google's emulator has the same contract in the other modules; these tests are about our process, which they start
for themselves.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.firestore import Client, DocumentReference
from google.cloud.firestore_v1.types import ListenRequest, ListenResponse, Target

from tests.contract.firestore_servers import FirestoreServer
from tests.ports import find_free_port

STOP_SECONDS = 2.0
METHODS = "/google.firestore.v1.Firestore/"


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[FirestoreServer]:
    """A server process of this test alone."""
    started = FirestoreServer("argo", find_free_port(), tmp_path / "firestore.log")
    yield started
    started.stop()


def test_listener_survives_a_restart(own_server: FirestoreServer) -> None:
    """Prevents a restarted server from crashing on an old token, or a listener from showing what is gone."""
    client = own_server.client()
    states: list[dict[str, int]] = []
    changed = threading.Condition()

    def record(documents: Any, _changes: Any, _read_time: object) -> None:
        with changed:
            states.append({document.id: document.get("n") for document in documents})
            changed.notify_all()

    def wait_for(state: dict[str, int]) -> None:
        with changed:
            assert changed.wait_for(lambda: bool(states) and states[-1] == state, 30), states

    watch = client.collection("c").on_snapshot(record)
    client.document("c/a").set({"n": 1})
    wait_for({"a": 1})
    own_server.stop()
    own_server.start()
    # A client of its own: gRPC lets a channel whose server was gone wait before it tries again.
    other = own_server.client()
    other.document("c/b").set({"n": 2})
    wait_for({"b": 2})
    other.document("c/b").set({"n": 3})
    wait_for({"b": 3})
    watch.unsubscribe()
    assert own_server.process.poll() is None
    assert own_server.log.read_text().splitlines() == [f"firestore listening on {own_server.host}"] * 2
    client.close()
    other.close()


def open_listener(client: Client, document: DocumentReference, over: threading.Event) -> Iterator[ListenResponse]:
    """Opens a listener that, unlike the client's own, does not come back for ever once its server is gone."""

    def make_requests() -> Iterator[ListenRequest]:
        target = Target(documents=Target.DocumentsTarget(documents=[document._document_path]), target_id=1)  # pyright: ignore[reportPrivateUsage] - the path on the wire
        yield ListenRequest(database=client._database_string, add_target=target)  # pyright: ignore[reportPrivateUsage] - likewise
        over.wait(30)

    stream = iter(client._firestore_api.listen(make_requests(), metadata=client._rpc_metadata))  # pyright: ignore[reportPrivateUsage] - the client has no plain listen
    next(stream)
    return stream


def test_stops_quickly_with_open_calls(own_server: FirestoreServer) -> None:
    """Prevents `make down` from hanging on open listeners, transactions and waiting writers."""
    client = own_server.client()
    document = client.document("c/a")
    document.set({"n": 1})
    over = threading.Event()
    streams = [open_listener(client, document, over) for _ in range(5)]
    transaction = client.transaction()
    transaction._begin()  # pyright: ignore[reportPrivateUsage] - to leave it open
    document.get(transaction=transaction)
    refused = threading.Event()

    def write_late() -> None:
        try:
            document.set({"n": 2}, retry=None)
        except exceptions.GoogleAPICallError:
            refused.set()

    waiting = threading.Thread(target=write_late)
    waiting.start()
    time.sleep(0.3)
    assert own_server.stop() < STOP_SECONDS
    assert own_server.process.returncode == 0
    waiting.join(10)
    assert refused.is_set()
    over.set()
    for stream in streams:
        with pytest.raises(exceptions.GoogleAPICallError):
            list(stream)
    client.close()


def test_taken_port_is_an_error(own_server: FirestoreServer) -> None:
    """Prevents two servers from sharing a port, each with half of the data."""
    command = [sys.executable, "-m", "emulators.firestore", "--port", str(own_server.port)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert second.returncode == 1
    assert f"{own_server.port}" in second.stderr
    assert "Traceback" not in second.stderr


def test_garbage_is_refused(own_server: FirestoreServer) -> None:
    """Prevents one broken client from taking the server down for all."""
    client = own_server.client()
    client.document("c/a").set({"n": 1})
    with grpc.insecure_channel(own_server.host) as channel:
        for method, code in [
            ("Commit", grpc.StatusCode.UNKNOWN),
            ("ExecutePipeline", grpc.StatusCode.UNIMPLEMENTED),
            ("NoSuchMethod", grpc.StatusCode.UNIMPLEMENTED),
        ]:
            call = channel.unary_unary(METHODS + method)
            with pytest.raises(grpc.RpcError) as caught:
                call(b"\xff\xff\xff", timeout=5)
            assert caught.value.code() == code
        # An empty message is well formed, and names no database.
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(METHODS + "Commit")(b"", timeout=5)
        assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert client.document("c/a").get().get("n") == 1
    client.close()


def test_abandoned_transaction_lets_others_go_on(own_server: FirestoreServer) -> None:
    """Prevents the locks of a crashed client from being reported as anything but contention."""
    client = own_server.client()
    document = client.document("c/a")
    document.set({"n": 1})
    transaction = client.transaction()
    transaction._begin()  # pyright: ignore[reportPrivateUsage] - to leave it open
    document.get(transaction=transaction)
    with pytest.raises(exceptions.Aborted):
        document.set({"n": 2}, retry=None)
    client.document("c/b").set({"n": 1})
    transaction._rollback()  # pyright: ignore[reportPrivateUsage] - see above
    document.set({"n": 3})
    assert document.get().get("n") == 3
    client.close()
