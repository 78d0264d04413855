"""Publishing whole lists, for readers of files: as few calls as the API allows, a bounded number under way.

A file is read on while calls wait for Pub/Sub's acknowledgement. `agents.tools.bus` publishes message by message, which
costs more than reading a line of a file does; the call and its threads are publish_call.py's.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Protocol

from agents.tools.bus import Outgoing
from agents.tools.once import once
from agents.tools.publish_call import PublishCall, encode_messages, encode_request
from agents.tools.publishing import cut_calls
from agents.tools.settings import settings
from schemas import topology

CALLS_UNDER_WAY = 4
CALL_SECONDS = 60.0  # nobody waits at the other end of a file, so a call may be tried for longer than a request's


class Bulk(Protocol):
    """Where lists of messages go."""

    def send(self, topic: str, messages: list[Outgoing]) -> list[Future[None]]:
        """Publish; each future ends once Pub/Sub has its part of the messages, or with the error."""
        ...


class PubSubBulk:
    """Google Pub/Sub."""

    def send(self, topic: str, messages: list[Outgoing]) -> list[Future[None]]:
        """Publish; each future ends once Pub/Sub has its part, or with TimeoutError or a google.api_core exception.

        Raises:
            PermissionError: the topology does not let this service publish to the topic.
        """
        if topic not in topology.load().access(settings().service).publishes:
            raise PermissionError(f"{settings().service} may not publish to {topic!r}; topology.yaml grants it")
        path = f"projects/{settings().project}/topics/{topic}"
        calls = cut_calls(encode_messages(messages))
        return [_call().start(path, encode_request(path, part), CALL_SECONDS) for part, _ in calls]


class FakeBulk:
    """Keeps what was sent; `errors` are raised by the calls, one after another, before anything is kept."""

    def __init__(self, *errors: Exception) -> None:
        self.sent: list[tuple[str, Outgoing]] = []
        self.errors = list(errors)

    def send(self, topic: str, messages: list[Outgoing]) -> list[Future[None]]:
        """Record the messages as if Pub/Sub had acknowledged them."""
        future: Future[None] = Future()
        if self.errors:
            future.set_exception(self.errors.pop(0))
        else:
            self.sent += [(topic, message) for message in messages]
            future.set_result(None)
        return [future]

    def on(self, topic: str) -> list[Outgoing]:
        """What was sent to a topic."""
        return [message for name, message in self.sent if name == topic]


@once
def pubsub_bulk() -> PubSubBulk:
    """The process's one bulk publisher."""
    return PubSubBulk()


@once
def _call() -> PublishCall:
    from google.cloud import pubsub_v1

    transport: Any = pubsub_v1.PublisherClient().transport  # gRPC's, which its base class's type does not say
    return PublishCall(transport.grpc_channel, CALLS_UNDER_WAY)
