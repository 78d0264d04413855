"""What a pull subscription holds: taken for a while, acknowledged, or given back; only where the topology grants `pulls`.

Owns the synchronous pull and its leases. Deliberately knows neither why a message is held nor where it goes next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology

if TYPE_CHECKING:
    from google.cloud.pubsub_v1 import SubscriberClient

PULL_SECONDS = 5.0  # how long a pull waits for a first message
CALL_SECONDS = 10.0
# An acknowledgement may have 512 KiB (https://cloud.google.com/pubsub/quotas#resource_limits), an ack id about 200 bytes.
MAX_ACK_IDS = 1000


@dataclass(frozen=True, kw_only=True)
class HeldMessage:
    """One message, taken until the subscription's deadline. `published_at` is when it came to be held."""

    ack_id: str
    message_id: str
    published_at: datetime
    data: bytes = b""
    attributes: dict[str, str] = field(default_factory=dict[str, str])


class Held(Protocol):
    """Where messages are held."""

    def pull(self, limit: int) -> list[HeldMessage]:
        """Take up to so many; empty when none came in time, which does not prove that none is there."""
        ...

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Let go of messages for ever."""
        ...

    def release(self, ack_ids: Sequence[str]) -> None:
        """Give messages back, for a later pull."""
        ...


class PubSubHeld:
    """A Google Pub/Sub subscription."""

    def __init__(self, subscription: str) -> None:
        """`subscription` is a name of the topology.

        Raises:
            PermissionError: the topology does not let this service pull from it.
        """
        if subscription not in topology.load().access(settings().service).pulls:
            raise PermissionError(f"{settings().service} may not pull {subscription!r}; topology.yaml grants it")
        self._path = f"projects/{settings().project}/subscriptions/{subscription}"

    def pull(self, limit: int) -> list[HeldMessage]:
        """Take up to so many; empty when none came in time.

        Raises:
            google.api_core.exceptions.GoogleAPIError: Pub/Sub refuses, or does not answer.
        """
        from google.api_core.exceptions import DeadlineExceeded

        try:
            answer = _subscriber().pull(subscription=self._path, max_messages=limit, timeout=PULL_SECONDS)
        except DeadlineExceeded:  # how Pub/Sub may say that there is nothing
            return []
        return [
            HeldMessage(
                ack_id=received.ack_id,
                message_id=received.message.message_id,
                published_at=received.message.publish_time,  # pyright: ignore[reportArgumentType] -- proto-plus gives a datetime
                data=received.message.data,
                attributes=dict(received.message.attributes),
            )
            for received in answer.received_messages
        ]

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Let go of messages for ever. Raises as `pull` does."""
        for part in _split(ack_ids):
            _subscriber().acknowledge(subscription=self._path, ack_ids=part, timeout=CALL_SECONDS)

    def release(self, ack_ids: Sequence[str]) -> None:
        """Give messages back; they come again after the subscription's backoff. Raises as `pull` does."""
        for part in _split(ack_ids):
            _subscriber().modify_ack_deadline(
                subscription=self._path, ack_ids=part, ack_deadline_seconds=0, timeout=CALL_SECONDS
            )


class FakeHeld:
    """Holds a list; `errors` are raised one after another by `acknowledge`, as a crash would, before it lets go."""

    def __init__(self, *messages: HeldMessage, errors: Sequence[Exception] = ()) -> None:
        self.waiting: list[HeldMessage] = list(messages)
        self.taken: dict[str, HeldMessage] = {}
        self.acknowledged: list[str] = []
        self.pulls = 0
        self.errors: list[Exception] = list(errors)

    def pull(self, limit: int) -> list[HeldMessage]:
        """Take the first ones that wait."""
        self.pulls += 1
        found, self.waiting = self.waiting[:limit], self.waiting[limit:]
        self.taken |= {message.ack_id: message for message in found}
        return found

    def acknowledge(self, ack_ids: Sequence[str]) -> None:
        """Let go, or raise the next error."""
        if self.errors:
            raise self.errors.pop(0)
        self.acknowledged += [self.taken.pop(ack_id).message_id for ack_id in ack_ids]

    def release(self, ack_ids: Sequence[str]) -> None:
        """Give back."""
        self.waiting += [self.taken.pop(ack_id) for ack_id in ack_ids]

    def expire(self) -> None:
        """Everything that was taken comes back, as when its taker has died."""
        self.release(list(self.taken))


@once
def pubsub_held(subscription: str) -> PubSubHeld:
    """The process's one view of a subscription."""
    return PubSubHeld(subscription)


@once
def _subscriber() -> SubscriberClient:
    from google.cloud import pubsub_v1

    return pubsub_v1.SubscriberClient()


def _split(ack_ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(ack_ids), MAX_ACK_IDS):
        yield list(ack_ids[start : start + MAX_ACK_IDS])
