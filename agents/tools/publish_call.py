"""Pub/Sub's Publish call, on bytes: a message is encoded once, in its own request, and a call only joins what is there.

Owns the few lines of protobuf that this takes, and the call's retries. The channel, its credentials and the emulator
variable are the official client's. Why not its message types: building and serialising them cost collect as much as
reading the events (`make bench`; docs/decisions/2026-11-20-collect-publishes-in-calls.md). Which messages share a call is
publishing.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from agents.tools.bus import Outgoing

if TYPE_CHECKING:
    import grpc

METHOD = "/google.pubsub.v1.Publisher/Publish"
# Tags of google/pubsub/v1/pubsub.proto: field number << 3 | 2, which says "a length and as many bytes".
_TOPIC, _MESSAGES = b"\x0a", b"\x12"  # PublishRequest
_DATA, _ATTRIBUTES = b"\x0a", b"\x12"  # PubsubMessage
_KEY, _VALUE = b"\x0a", b"\x12"  # an entry of a map


def encode_request(path: str, messages: Iterable[bytes]) -> bytes:
    """A PublishRequest to the topic `projects/P/topics/T` of messages that `encode_message` made."""
    return _encode_field(_TOPIC, path.encode()) + b"".join(messages)


def encode_message(message: Outgoing) -> bytes:
    """One message as the field of a PublishRequest."""
    data = message.data
    attributes = b"".join([_encode_attribute(*entry) for entry in message.attributes.items()])
    head = _DATA + _encode_length(len(data))
    size = len(head) + len(data) + len(attributes)
    return b"".join((_MESSAGES, _encode_length(size), head, data, attributes))


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
    """The call on one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        from google.api_core.retry import AsyncRetry

        self._call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)  # no serializers: bytes
        # The caller's time is the limit. Any: the decorator's own type asks for its function's arguments.
        self._retry: Any = AsyncRetry(initial=0.1, maximum=2.0, timeout=None)

    async def __call__(self, path: str, request: bytes, timeout_seconds: float) -> None:
        """Return once Pub/Sub has every message of the request; transient failures are tried again within the time.

        Raises:
            TimeoutError: no acknowledgement in time.
            google.api_core.exceptions.GoogleAPICallError: Pub/Sub refused, or could not be reached.
        """
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        async with asyncio.timeout_at(deadline):
            await self._retry(partial(self._call_once, path, request, deadline))()

    async def _call_once(self, path: str, request: bytes, deadline: float) -> None:
        import grpc
        from google.api_core import exceptions, gapic_v1

        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def tell_end(_: object) -> None:  # in gRPC's thread
            loop.call_soon_threadsafe(_end, ended)

        metadata = (gapic_v1.routing_header.to_grpc_metadata((("topic", path),)),)
        call = self._call.future(request, timeout=max(0.0, deadline - loop.time()), metadata=metadata)
        call.add_done_callback(tell_end)
        try:
            await ended
        finally:
            call.cancel()  # nothing, unless this was given up
        try:
            call.result()
        except grpc.RpcError as error:
            raise exceptions.from_grpc_error(error) from error


def _end(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
