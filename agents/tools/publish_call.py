"""Pub/Sub's Publish call, on bytes: a message is encoded once, in its own request, and a call only joins what is there.

Owns the few lines of protobuf that this takes, and the call's retries. The channel, its credentials and the emulator
variable are the official client's. Why not its message types: building and serialising them cost collect as much as
reading the events (`make bench`; docs/decisions/2026-11-20-collect-publishes-in-calls.md). Which messages share a call is
publishing.py's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TYPE_CHECKING

from agents.tools import trace
from agents.tools.bus import Outgoing

if TYPE_CHECKING:
    import grpc

METHOD = "/google.pubsub.v1.Publisher/Publish"
# Tags of google/pubsub/v1/pubsub.proto: field number << 3 | 2, which says "a length and as many bytes".
_TOPIC, _MESSAGES = b"\x0a", b"\x12"  # PublishRequest
_DATA, _ATTRIBUTES = b"\x0a", b"\x12"  # PubsubMessage
_KEY, _VALUE = b"\x0a", b"\x12"  # an entry of a map


def encode_request(path: str, messages: Iterable[bytes]) -> bytes:
    """A PublishRequest to the topic `projects/P/topics/T` of messages that `encode_messages` made."""
    return _encode_field(_TOPIC, path.encode()) + b"".join(messages)


def encode_messages(messages: Sequence[Outgoing]) -> list[bytes]:
    """Each message as the field of a PublishRequest. Events of one kind share their attributes' object: encoded once."""
    encoded: list[bytes] = []
    known: dict[int, bytes] = {}  # by identity, which holds while `messages` does
    for message in messages:
        data = message.data
        attributes = known.get(id(message.attributes))
        if attributes is None:
            entries = trace.stamp(message.attributes).items()
            attributes = known[id(message.attributes)] = b"".join([_encode_attribute(*entry) for entry in entries])
        length = _encode_length(len(data))
        size = len(_DATA) + len(length) + len(data) + len(attributes)
        encoded.append(b"".join((_MESSAGES, _encode_length(size), _DATA, length, data, attributes)))
    return encoded


@lru_cache(4096)
def _encode_attribute(key: str, value: str) -> bytes:
    return _encode_field(_ATTRIBUTES, _encode_field(_KEY, key.encode()) + _encode_field(_VALUE, value.encode()))


def _encode_field(tag: bytes, content: bytes) -> bytes:
    return tag + _encode_length(len(content)) + content


@lru_cache(4096)
def _encode_length(length: int) -> bytes:
    """A varint: seven bits a byte, the lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded)


class PublishCall:
    """The call on one channel. It blocks a thread while it lasts: gRPC's own futures start a thread for each."""

    def __init__(self, channel: grpc.Channel, calls_at_once: int) -> None:
        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)  # no serializers: bytes
        self._threads = ThreadPoolExecutor(calls_at_once, thread_name_prefix="publish")

    async def __call__(self, path: str, request: bytes, timeout_seconds: float) -> None:
        """Return once Pub/Sub has every message of the request; transient failures are tried again within the time.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: Pub/Sub refused, could not be reached, or did not answer in time.
        """
        await asyncio.wrap_future(self.start(path, request, timeout_seconds))

    def start(self, path: str, request: bytes, timeout_seconds: float) -> Future[None]:
        """The same call for who has no event loop; the future ends as the call does."""
        return self._threads.submit(self._call_until, path, request, time.monotonic() + timeout_seconds)

    def _call_until(self, path: str, request: bytes, deadline: float) -> None:
        from google.api_core.exceptions import RetryError
        from google.api_core.retry import Retry

        left_seconds = deadline - time.monotonic()  # less, when the thread has been waited for
        try:
            Retry(initial=0.1, maximum=2.0, timeout=left_seconds)(self._call_once)(path, request, deadline)
        except RetryError as error:
            raise error.cause or error from None

    def _call_once(self, path: str, request: bytes, deadline: float) -> None:
        import grpc
        from google.api_core import exceptions, gapic_v1

        metadata = (gapic_v1.routing_header.to_grpc_metadata((("topic", path),)),)
        try:
            self._call(request, timeout=max(0.0, deadline - time.monotonic()), metadata=metadata)
        except grpc.RpcError as error:
            raise exceptions.from_grpc_error(error) from error
