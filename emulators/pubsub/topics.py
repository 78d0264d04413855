"""Topics: what is published, checked against Pub/Sub's limits, and handed to every subscription.

A publish is complete, and safe against everything but the end of the process, when `publish` returns.
"""

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from google.pubsub_v1 import types

from emulators.pubsub import wire
from emulators.pubsub.backlog import Stored
from emulators.statuses import invalid

DELETED_TOPIC = "_deleted-topic_"

# https://cloud.google.com/pubsub/quotas#resource_limits, read 2026-11-20.
_MAX_REQUEST_BYTES = 10_000_000
_MAX_MESSAGES = 1000
_MAX_ATTRIBUTES = 100
_MAX_ATTRIBUTE_KEY_BYTES = 256
_MAX_ATTRIBUTE_VALUE_BYTES = 1024
_MAX_ORDERING_KEY_BYTES = 1024

_sequences = itertools.count(1)


class Subscriber(Protocol):
    """What a topic hands messages to: subscriptions, and snapshots, which keep what comes after them."""

    name: str

    def receive(self, messages: Sequence[Stored]) -> None: ...


class Draft(NamedTuple):
    """A message to publish, what it says read once: its attributes, and its size in bytes."""

    message: types.PubsubMessage
    attributes: dict[str, str]
    size: int


class TopicState:
    """One topic, its subscribers, and (with a retention duration) its past messages."""

    def __init__(self, proto: types.Topic) -> None:
        self.proto = proto
        self.subscribers: dict[str, Subscriber] = {}
        self.retained: dict[int, Stored] = {}

    @property
    def retention_seconds(self) -> float:
        """How long the topic itself keeps messages for seeks; 0 for not at all."""
        return wire.seconds_of(self.proto.message_retention_duration)

    def publish(self, drafts: Sequence[Draft]) -> list[str]:
        """Stores messages and returns their ids; sets the id and the publish time on each, in place."""
        now = wire.now_seconds()
        published = [_store(draft, now) for draft in drafts]
        if self.retention_seconds > 0:
            self.retained.update((stored.sequence, stored) for stored in published)
        for subscriber in self.subscribers.values():
            subscriber.receive(published)
        return [str(stored.sequence) for stored in published]

    def drop_before(self, seconds: float) -> None:
        """Forgets messages retained since before that wall-clock time."""
        for sequence in [s for s, stored in self.retained.items() if stored.published_seconds < seconds]:
            del self.retained[sequence]


def _store(draft: Draft, now: float) -> Stored:
    sequence = next(_sequences)
    message, attributes, size = draft
    message.message_id = str(sequence)
    wire.set_seconds(message.publish_time, now)
    return Stored(sequence, message, attributes, now, size)


def read_messages(messages: Iterable[types.PubsubMessage]) -> list[Draft]:
    """Messages to publish."""
    return [Draft(message, dict(message.attributes), wire.size_of(message)) for message in messages]


def check_messages(drafts: Sequence[Draft]) -> None:
    """Refuses a publish request that Pub/Sub would refuse; nothing of it is published then."""
    if not drafts:
        raise invalid("No messages to publish")
    if len(drafts) > _MAX_MESSAGES:
        raise invalid(f"Too many messages to publish: {len(drafts)}, the limit is {_MAX_MESSAGES}")
    if sum(draft.size for draft in drafts) > _MAX_REQUEST_BYTES:
        raise invalid(f"The request is larger than {_MAX_REQUEST_BYTES} bytes")
    for message, attributes, _ in drafts:
        if not message.data and not attributes:
            raise invalid("Some messages are empty: a message needs data or at least one attribute")
        if len(message.ordering_key.encode()) > _MAX_ORDERING_KEY_BYTES:
            raise invalid(f"An ordering key is longer than {_MAX_ORDERING_KEY_BYTES} bytes")
        _check_attributes(attributes)


def _check_attributes(attributes: dict[str, str]) -> None:
    if len(attributes) > _MAX_ATTRIBUTES:
        raise invalid(f"A message has more than {_MAX_ATTRIBUTES} attributes")
    for key, value in attributes.items():
        if not key or len(key.encode()) > _MAX_ATTRIBUTE_KEY_BYTES:
            raise invalid(f"An attribute's key must have 1 to {_MAX_ATTRIBUTE_KEY_BYTES} bytes: {key[:80]!r}")
        if key.startswith("goog"):
            raise invalid(f"Attribute keys that start with goog are reserved: {key[:80]!r}")
        if len(value.encode()) > _MAX_ATTRIBUTE_VALUE_BYTES:
            raise invalid(f"The value of {key!r} is longer than {_MAX_ATTRIBUTE_VALUE_BYTES} bytes")
