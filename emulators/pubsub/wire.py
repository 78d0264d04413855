"""The protobuf classes of google.pubsub.v1, and the few operations on them that their stubs do not type.

The official package wraps every class with proto-plus, which costs several microseconds a field. The server
works on the raw classes underneath; to the type checker they keep the wrapped classes' (identical) fields.
Owns no behaviour of Pub/Sub.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from google.protobuf import field_mask_pb2
from google.pubsub_v1 import types

Message = TypeVar("Message")


def _raw(wrapper: type[Message]) -> type[Message]:
    # proto-plus adds `pb` to its classes through an untyped metaclass.
    return cast("type[Message]", cast(Any, wrapper).pb())


PubsubMessage = _raw(types.PubsubMessage)
Topic = _raw(types.Topic)
Subscription = _raw(types.Subscription)
Snapshot = _raw(types.Snapshot)
PublishResponse = _raw(types.PublishResponse)
ListTopicsResponse = _raw(types.ListTopicsResponse)
ListTopicSubscriptionsResponse = _raw(types.ListTopicSubscriptionsResponse)
ListTopicSnapshotsResponse = _raw(types.ListTopicSnapshotsResponse)
ListSubscriptionsResponse = _raw(types.ListSubscriptionsResponse)
ListSnapshotsResponse = _raw(types.ListSnapshotsResponse)
DetachSubscriptionResponse = _raw(types.DetachSubscriptionResponse)
PullResponse = _raw(types.PullResponse)
StreamingPullResponse = _raw(types.StreamingPullResponse)
SeekResponse = _raw(types.SeekResponse)


def parser_of(wrapper: type[Message]) -> Any:
    """Returns the function that turns bytes into the raw message behind a proto-plus class."""
    return cast(Any, _raw(wrapper)).FromString


def to_bytes(message: object) -> bytes:
    """Serializes a raw message."""
    return cast(bytes, cast(Any, message).SerializeToString())


def copy_of(message: Message) -> Message:
    """Returns an independent copy of a raw message."""
    copied = cast(Any, type(message))()
    copied.CopyFrom(message)
    return cast(Message, copied)


def is_set(message: object, field: str) -> bool:
    """Says whether a message-typed field is present."""
    return cast(bool, cast(Any, message).HasField(field))


def size_of(message: object) -> int:
    """Returns the bytes of a message on the wire."""
    return cast(int, cast(Any, message).ByteSize())


def has_field(message: object, field: str) -> bool:
    """Says whether the message's type has a field of that name."""
    return field in cast(Any, message).DESCRIPTOR.fields_by_name


def merge_fields(mask: field_mask_pb2.FieldMask, source: object, target: object) -> None:
    """Replaces in `target` each field that the mask names by that of `source`, unset ones included."""
    mask.MergeMessage(cast(Any, source), cast(Any, target), True, True)


def seconds_of(duration: object) -> float:
    """Returns a Duration or a Timestamp in seconds."""
    value = cast(Any, duration)
    return cast(float, value.seconds + value.nanos / 1e9)


def set_seconds(target: object, seconds: float) -> None:
    """Sets a Duration or a Timestamp, to the microsecond."""
    value = cast(Any, target)
    value.seconds, micros = divmod(round(seconds * 1_000_000), 1_000_000)
    value.nanos = micros * 1000
    value.SetInParent()


def now_seconds() -> float:
    """Returns the wall clock, for publish times."""
    return time.time()


def format_time(seconds: float) -> str:
    """Formats a publish time as Pub/Sub does in JSON, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def replace_message(target: object, source: object) -> None:
    """Overwrites a message, an empty one included."""
    cast(Any, target).CopyFrom(source)
    cast(Any, target).SetInParent()


def adder_of(repeated: object) -> Callable[..., object]:
    """Returns the function that appends a message, built from keyword arguments, to a repeated field."""
    return cast("Callable[..., object]", cast(Any, repeated).add)
