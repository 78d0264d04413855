"""Starts the Firestore servers that the contract suite runs against, and makes official clients for them.

"argo" is the suite's own server; "google" is Google's emulator, generated only where it is found. Test modules
import the fixtures plainly. A server starts at its first use and stops at the end of the session.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from google.cloud import firestore
from google.cloud.firestore_v1.base_document import DocumentSnapshot
from google.cloud.firestore_v1.types import firestore as messages
from google.cloud.firestore_v1.types import query as query_messages

from emulators.google import firestore_command
from tests.emulator.cloud import GOOGLE
from tests.ports import find_free_port

PROJECT = "argo-contract"
_START_SECONDS = 30.0


@dataclass
class FirestoreServer:
    """One server process and how to reach it."""

    name: str
    port: int
    log: Path
    process: "subprocess.Popen[bytes]" = field(init=False)

    def __post_init__(self) -> None:
        self.start()

    @property
    def host(self) -> str:
        """Returns what FIRESTORE_EMULATOR_HOST is set to."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the process and waits until its port answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(_command_of(self.name, self.port), stdout=log, stderr=log)
        deadline = time.monotonic() + _START_SECONDS
        while not _is_listening(self.port):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"{self.name} did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> float:
        """Sends SIGTERM, waits, and returns how many seconds that took."""
        started = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
        return time.monotonic() - started

    def client(self, project: str = PROJECT, database: str | None = None) -> firestore.Client:
        """Makes an official client, pointed here as any user would."""
        with mock.patch.dict(os.environ, FIRESTORE_EMULATOR_HOST=self.host):
            return firestore.Client(project=project, database=database)

    def async_client(self) -> firestore.AsyncClient:
        """Makes an official asynchronous client."""
        with mock.patch.dict(os.environ, FIRESTORE_EMULATOR_HOST=self.host):
            return firestore.AsyncClient(project=PROJECT)


_RUNNING = pytest.StashKey[dict[str, FirestoreServer]]()


def list_servers() -> list[str]:
    """Names the servers there are on this machine."""
    return ["argo", "google"] if GOOGLE and firestore_command("127.0.0.1", 1) is not None else ["argo"]


@pytest.fixture(params=list_servers())
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FirestoreServer:
    """A running server, shared by the whole session."""
    running = request.config.stash.setdefault(_RUNNING, {})
    name = str(request.param)
    if name not in running:
        log = tmp_path_factory.mktemp("firestore") / f"{name}.log"
        running[name] = FirestoreServer(name, find_free_port(), log)
        request.config.add_cleanup(partial(_stop_quietly, running[name]))
    return running[name]


@pytest.fixture
def client(server: FirestoreServer) -> Iterator[firestore.Client]:
    """An official client of the server."""
    made = server.client()
    yield made
    made.close()


@pytest.fixture
def root(client: firestore.Client, request: pytest.FixtureRequest) -> firestore.CollectionReference:
    """A collection that no other test uses."""
    test = re.sub(r"\W+", "_", request.node.name)
    return client.collection(f"{test}_{uuid.uuid4().hex[:8]}")


def read_fields(snapshot: DocumentSnapshot[Any]) -> dict[str, object]:
    """Returns the fields of a document that must exist."""
    fields = snapshot.to_dict()
    assert fields is not None, f"{snapshot.id} does not exist"
    return fields


def list_ids(query: firestore.Query | firestore.CollectionReference) -> list[str]:
    """Runs a query and returns the ids of its documents in order."""
    return [snapshot.id for snapshot in query.stream()]


def run_raw(client: firestore.Client, query: query_messages.StructuredQuery) -> list[str]:
    """Runs a query that the client's own builder would refuse, and returns the ids in order."""
    parent = f"projects/{client.project}/databases/(default)/documents"
    request = messages.RunQueryRequest(parent=parent, structured_query=query)
    responses = client._firestore_api.run_query(request=request, retry=None)  # pyright: ignore[reportPrivateUsage] - the only way to the generated client below
    return [response.document.name.rpartition("/")[2] for response in responses if response.document.name]


def _stop_quietly(running: FirestoreServer) -> None:
    running.stop()


def _command_of(name: str, port: int) -> list[str]:
    if name == "argo":
        return [sys.executable, "-m", "emulators.firestore", "--host", "127.0.0.1", "--port", str(port)]
    command = firestore_command("127.0.0.1", port)
    assert command is not None, "Google's emulator was there when the tests were collected"
    return command


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0
