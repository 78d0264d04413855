"""Object notifications: what a notificationConfig is, the messages it yields, and their way to Pub/Sub.

Owns validation, the message format of https://cloud.google.com/storage/docs/pubsub-notifications and the retry until
Pub/Sub has the message. Deliberately not here: which changes happen, and keeping messages beyond the process's life.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Any

_TOPIC_HOST = "//pubsub.googleapis.com/"
_TOPIC = re.compile(re.escape(_TOPIC_HOST) + "projects/[^/]+/topics/[^/]+")
_BATCH = 100  # messages; about 100 KB of object resources
_PUBLISH_SECONDS = 5.0
_FIRST_DELAY_SECONDS = 0.1
_LAST_DELAY_SECONDS = 2.0


class EventType(StrEnum):
    """What can happen to an object."""

    FINALIZE = "OBJECT_FINALIZE"
    DELETE = "OBJECT_DELETE"
    METADATA_UPDATE = "OBJECT_METADATA_UPDATE"
    ARCHIVE = "OBJECT_ARCHIVE"  # accepted in a config; without object versioning it never happens


class InvalidConfigError(ValueError):
    """A notificationConfig that Cloud Storage would refuse."""


class UnpublishedError(Exception):
    """Pub/Sub did not take the messages; they are to be sent again."""


@dataclass(frozen=True)
class Message:
    """One Pub/Sub message on its way to `topic` (projects/*/topics/*)."""

    topic: str
    data: bytes
    attributes: dict[str, str]


def read_config(body: object, bucket: str, config_id: str) -> dict[str, Any]:
    """Returns the notificationConfig resource that a POST body asks for."""
    if not isinstance(body, dict):
        raise InvalidConfigError("the body must be a JSON object")
    wanted: dict[str, Any] = body
    if not _TOPIC.fullmatch(str(wanted.get("topic"))):
        raise InvalidConfigError(f"topic {wanted.get('topic')!r} must match {_TOPIC.pattern}")
    if wanted.get("payload_format") not in {"JSON_API_V1", "NONE"}:
        raise InvalidConfigError("payload_format must be JSON_API_V1 or NONE")
    unknown = set(wanted.get("event_types") or []) - set(EventType)
    if unknown:
        raise InvalidConfigError(f"event_types has unknown names: {sorted(unknown)}")
    kept = ("topic", "payload_format", "event_types", "custom_attributes", "object_name_prefix")
    return {
        **{name: wanted[name] for name in kept if wanted.get(name)},
        "kind": "storage#notification",
        "id": config_id,
        "etag": config_id,
        "selfLink": f"https://www.googleapis.com/storage/v1/b/{bucket}/notificationConfigs/{config_id}",
    }


def build_messages(
    configs: Iterable[dict[str, Any]], event_type: EventType, resource: dict[str, Any], extra: dict[str, str]
) -> list[Message]:
    """Returns one message for each config that wants this event of this object."""
    name = str(resource["name"])
    return [
        _build_message(config, event_type, resource, extra)
        for config in configs
        if event_type in (config.get("event_types") or [event_type])
        and name.startswith(config.get("object_name_prefix", ""))
    ]


def _build_message(
    config: dict[str, Any], event_type: EventType, resource: dict[str, Any], extra: dict[str, str]
) -> Message:
    bucket = str(resource["bucket"])
    attributes = {
        **config.get("custom_attributes", {}),
        "notificationConfig": f"projects/_/buckets/{bucket}/notificationConfigs/{config['id']}",
        "eventType": event_type.value,
        "payloadFormat": str(config["payload_format"]),
        "bucketId": bucket,
        "objectId": str(resource["name"]),
        "objectGeneration": str(resource["generation"]),
        "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        **extra,
    }
    shown = {key: value for key, value in resource.items() if key != "acl"}  # projection noAcl, as the cloud
    shown["size"] = str(shown.get("size"))
    data = json.dumps(shown).encode() if config["payload_format"] == "JSON_API_V1" else b""
    return Message(str(config["topic"]).removeprefix(_TOPIC_HOST), data, attributes)


class Notifier:
    """Sends messages in the background, each topic in order, again and again until Pub/Sub has them."""

    def __init__(self, publish: Callable[[str, Sequence[Message]], None]) -> None:
        self._publish = publish
        self._waiting: dict[str, deque[Message]] = {}
        self._delay_seconds: dict[str, float] = {}
        self._due: dict[str, float] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="notifier", daemon=True)
        self._thread.start()

    def post(self, messages: Iterable[Message]) -> None:
        """Takes messages over; returns at once."""
        with self._changed:
            for message in messages:
                self._waiting.setdefault(message.topic, deque()).append(message)
            self._changed.notify()

    def close(self, seconds: float) -> None:
        """Waits at most so long for what is still to be sent, and says what was lost."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(seconds)
        lost = sum(len(queue) for queue in self._waiting.values())
        if lost:
            _log(f"storage ends with {lost} notifications that Pub/Sub did not take")

    def _run(self) -> None:
        while True:
            with self._changed:
                topic = self._pick_topic()
                while topic is None:
                    if self._closing and not any(self._waiting.values()):
                        return
                    self._changed.wait(self._seconds_to_next())
                    topic = self._pick_topic()
                batch = list(islice(self._waiting[topic], _BATCH))
            self._send(topic, batch)

    def _send(self, topic: str, batch: Sequence[Message]) -> None:
        try:
            self._publish(topic, batch)
        except UnpublishedError as error:
            if topic not in self._delay_seconds:
                _log(f"storage cannot notify {topic} and goes on trying: {error}")
            delay_seconds = min(self._delay_seconds.get(topic, _FIRST_DELAY_SECONDS / 2) * 2, _LAST_DELAY_SECONDS)
            self._delay_seconds[topic] = delay_seconds
            self._due[topic] = time.monotonic() + delay_seconds
            return
        if self._delay_seconds.pop(topic, None):
            _log(f"storage notifies {topic} again")
        with self._changed:
            for _ in batch:
                self._waiting[topic].popleft()

    def _pick_topic(self) -> str | None:
        now = time.monotonic()
        ready = (name for name, queue in self._waiting.items() if queue and self._due.get(name, 0.0) <= now)
        return min(ready, key=lambda name: self._due.get(name, 0.0), default=None)

    def _seconds_to_next(self) -> float | None:
        due = [self._due.get(name, 0.0) for name, queue in self._waiting.items() if queue]
        return max(min(due) - time.monotonic(), 0.0) if due else None


def connect(endpoint: str) -> Callable[[str, Sequence[Message]], None]:
    """Returns the function that publishes to the Pub/Sub at `endpoint`; its client is built on first use."""
    client: Any = None

    def publish(topic: str, messages: Sequence[Message]) -> None:
        nonlocal client
        # 0.65 s of CPU that a store without notifications never pays.
        from google.api_core.exceptions import GoogleAPICallError
        from google.pubsub_v1 import PubsubMessage

        client = client or _build_client(endpoint)
        request = [PubsubMessage(data=message.data, attributes=message.attributes) for message in messages]
        try:
            client.publish(topic=topic, messages=request, retry=None, timeout=_PUBLISH_SECONDS)
        except GoogleAPICallError as error:
            first_line = str(error.message).partition("\n")[0]
            raise UnpublishedError(f"{type(error).__name__}: {first_line}") from error

    return publish


def _build_client(endpoint: str) -> Any:
    import grpc
    from google.pubsub_v1 import PublisherClient
    from google.pubsub_v1.services.publisher.transports import PublisherGrpcTransport

    # gRPC's own backoff grows to two minutes, which would be the delay after Pub/Sub has come back.
    longest_ms = int(_LAST_DELAY_SECONDS * 1000)
    options = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", longest_ms)]
    channel = grpc.insecure_channel(endpoint, options=options)
    return PublisherClient(transport=PublisherGrpcTransport(channel=channel))


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
