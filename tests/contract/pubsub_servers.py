"""The Pub/Sub servers under test, and a thin hold on the official client for each.

`argo` is the suite's own server; `google` is Google's emulator, when gcloud has it. The fixtures start each
once a session. Owns no expectation: those are in the tests.
"""

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile

import pytest
from google.api_core.exceptions import DeadlineExceeded
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient as PublisherApi
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage, Subscription

from emulators.google import pubsub_command
from tests.emulator.cloud import GOOGLE
from tests.ports import find_free_port

ROOT = Path(__file__).parents[2]
SERVER_NAMES = ["argo", "google"] if GOOGLE and pubsub_command("127.0.0.1", 0) else ["argo"]
PROJECT = "projects/contract"


class Pubsub:
    """One running server, seen through the official client."""

    def __init__(self, name: str, address: str) -> None:
        self.name = name
        self.address = address
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PUBSUB_EMULATOR_HOST", address)
            options = pubsub_v1.types.PublisherOptions(enable_message_ordering=True)
            self.publisher = pubsub_v1.PublisherClient(publisher_options=options)
            self.subscriber = pubsub_v1.SubscriberClient()

    def topic(self) -> str:
        """Creates a topic with a name of its own."""
        return self.publisher.create_topic(request={"name": new_name("topics")}).name

    def subscription(self, topic: str, **settings: object) -> str:
        """Creates a subscription with a name of its own."""
        return self.create_subscription(topic, **settings).name

    def create_subscription(self, topic: str, **settings: object) -> Subscription:
        """Creates a subscription and returns what the server made of it."""
        request = {"name": new_name("subscriptions"), "topic": topic, **settings}
        return self.subscriber.create_subscription(request=request)

    def publish(self, topic: str, data: bytes, ordering_key: str = "", **attributes: str) -> str:
        """Publishes one message and returns its id."""
        future = self.publisher.publish(topic, data, ordering_key=ordering_key, **attributes)
        return future.result(timeout=10)

    def publish_raw(self, topic: str, *messages: PubsubMessage) -> list[str]:
        """Publishes exactly this request, unchecked by the client's batching."""
        api = PublisherApi(transport=self.publisher.transport)
        return list(api.publish(request={"topic": topic, "messages": list(messages)}).message_ids)

    def pull(self, subscription: str, limit: int = 100, wait_seconds: float = 2.0) -> list[ReceivedMessage]:
        """Pulls once; nothing within the wait is an empty list, whichever way the server says so."""
        request = {"subscription": subscription, "max_messages": limit}
        try:
            return list(self.subscriber.pull(request=request, timeout=wait_seconds, retry=None).received_messages)
        except DeadlineExceeded:
            return []

    def pull_all(self, subscription: str, count: int, wait_seconds: float = 5.0) -> list[ReceivedMessage]:
        """Pulls, without acknowledging, until `count` messages are there or the time is over."""
        found: list[ReceivedMessage] = []
        end = time.monotonic() + wait_seconds
        while len(found) < count and (left := end - time.monotonic()) > 0:
            found += self.pull(subscription, wait_seconds=left)
        return found

    def ack(self, subscription: str, *received: ReceivedMessage) -> None:
        """Acknowledges."""
        ack_ids = [message.ack_id for message in received]
        self.subscriber.acknowledge(request={"subscription": subscription, "ack_ids": ack_ids})

    def extend(self, subscription: str, seconds: int, *received: ReceivedMessage) -> None:
        """Moves ack deadlines; 0 is a nack."""
        request = {
            "subscription": subscription,
            "ack_ids": [message.ack_id for message in received],
            "ack_deadline_seconds": seconds,
        }
        self.subscriber.modify_ack_deadline(request=request)

    def close(self) -> None:
        """Closes both clients."""
        self.publisher.stop()
        self.publisher.transport.close()
        self.subscriber.close()


def new_name(collection: str) -> str:
    """Returns a resource name that no other test uses."""
    return f"{PROJECT}/{collection}/t-{uuid.uuid4().hex[:12]}"


def data_of(received: list[ReceivedMessage]) -> list[bytes]:
    """Returns the messages' data, in order of arrival."""
    return [message.message.data for message in received]


def own_command(port: int) -> list[str]:
    """Returns the command line of the suite's own server."""
    return [sys.executable, "-m", "emulators.pubsub", "--host", "127.0.0.1", "--port", str(port)]


def _start(name: str) -> tuple["subprocess.Popen[bytes]", str]:
    port = find_free_port()
    command = own_command(port) if name == "argo" else pubsub_command("127.0.0.1", port)
    assert command is not None
    with TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)
        end = time.monotonic() + 20
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > end:
                process.kill()
                log.seek(0)
                pytest.fail(f"the {name} Pub/Sub server did not start: {log.read().decode()[-2000:]}")
            time.sleep(0.05)
    return process, f"127.0.0.1:{port}"


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="session")
def pubsub_servers() -> Iterator[dict[str, Pubsub]]:
    """Starts every server that there is, once."""
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # tests start processes while channels are open
    running = {name: _start(name) for name in SERVER_NAMES}
    servers = {name: Pubsub(name, address) for name, (_, address) in running.items()}
    yield servers
    for server in servers.values():
        server.close()
    for process, _ in running.values():
        process.terminate()
    for process, _ in running.values():
        process.wait(timeout=10)


@pytest.fixture(params=SERVER_NAMES)
def pubsub(request: pytest.FixtureRequest, pubsub_servers: dict[str, Pubsub]) -> Pubsub:
    """Each server in turn; a known difference of Google's is a strict expected failure there."""
    name = str(request.param)
    difference = request.node.get_closest_marker("google_differs")
    if difference is not None and name == "google":
        is_steady = not difference.kwargs.get("sometimes", False)
        request.applymarker(pytest.mark.xfail(reason=difference.args[0], strict=is_steady))
    return pubsub_servers[name]
