"""The bus: publishing to Pub/Sub, only to topics that the topology grants to this service.

Owns batching and the wait for Pub/Sub's acknowledgement. Receiving is push, so it lives in `functions.push`.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Protocol

import msgspec

from agents.tools import trace
from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology

if TYPE_CHECKING:
    from google.cloud.pubsub_v1 import PublisherClient

ACK_SECONDS = 10.0  # how long a publish may wait for Pub/Sub before it counts as failed


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message to publish."""

    data: bytes
    attributes: dict[str, str] = {}


class Bus(Protocol):
    """Where messages go."""

    def send(self, topic: str, message: Outgoing) -> Future[str]:
        """Publish; the future ends with the message id once Pub/Sub has it, or with the error."""
        ...


class PubSub:
    """Google Pub/Sub."""

    def send(self, topic: str, message: Outgoing) -> Future[str]:
        """Publish; the future ends with the message id once Pub/Sub has it.

        Raises:
            PermissionError: the topology does not let this service publish to the topic.
        """
        if topic not in topology.load().access(settings().service).publishes:
            raise PermissionError(f"{settings().service} may not publish to {topic!r}; topology.yaml grants it")
        path = f"projects/{settings().project}/topics/{topic}"
        return _publisher().publish(path, message.data, **trace.stamp(message.attributes))


class FakeBus:
    """Keeps what was sent; with `error` every publish fails with it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[tuple[str, Outgoing]] = []
        self.error = error

    def send(self, topic: str, message: Outgoing) -> Future[str]:
        """Record the message as if Pub/Sub had acknowledged it."""
        future: Future[str] = Future()
        if self.error:
            future.set_exception(self.error)
        else:
            self.sent.append((topic, message))
            future.set_result(str(len(self.sent)))
        return future

    def on(self, topic: str) -> list[Outgoing]:
        """What was sent to a topic."""
        return [message for name, message in self.sent if name == topic]


def send_all(bus: Bus, topic: str, messages: list[Outgoing]) -> None:
    """Publish and wait until Pub/Sub has every one; the first failure is raised, for the caller to be tried again."""
    for future in [bus.send(topic, message) for message in messages]:
        future.result(timeout=ACK_SECONDS)


@once
def pubsub() -> PubSub:
    """The process's one Pub/Sub."""
    return PubSub()


@once
def _publisher() -> PublisherClient:
    from google.api_core.retry import Retry
    from google.cloud import pubsub_v1

    # A short batch wait: collect answers only after the acknowledgement, so the wait is part of every request.
    batching = pubsub_v1.types.BatchSettings(max_messages=500, max_bytes=1_000_000, max_latency=0.005)
    options = pubsub_v1.types.PublisherOptions(
        retry=Retry(initial=0.1, maximum=2.0, timeout=ACK_SECONDS), timeout=ACK_SECONDS
    )
    return pubsub_v1.PublisherClient(batch_settings=batching, publisher_options=options)
