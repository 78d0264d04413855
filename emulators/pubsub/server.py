"""Puts the services on a gRPC port: method tables, statuses, and an orderly stop.

The tables are built from the official message types; there is no generated stub.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
from google.protobuf import empty_pb2
from google.pubsub_v1 import types

from emulators.pubsub import wire
from emulators.pubsub.publisher import Publisher
from emulators.pubsub.push import Pusher
from emulators.pubsub.registry import Registry
from emulators.pubsub.streaming import Stream
from emulators.pubsub.subscriber import Subscriber
from emulators.statuses import StatusError, invalid

# Larger than the largest publish (10 MB), so that Pub/Sub's own refusal is what the client sees.
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_EXPIRY_SECONDS = 30.0
_STOP_SECONDS = 0.5

_PUBLISHER_REQUESTS: dict[str, type[Any]] = {
    "CreateTopic": types.Topic,
    "GetTopic": types.GetTopicRequest,
    "UpdateTopic": types.UpdateTopicRequest,
    "ListTopics": types.ListTopicsRequest,
    "ListTopicSubscriptions": types.ListTopicSubscriptionsRequest,
    "ListTopicSnapshots": types.ListTopicSnapshotsRequest,
    "DeleteTopic": types.DeleteTopicRequest,
    "Publish": types.PublishRequest,
    "DetachSubscription": types.DetachSubscriptionRequest,
}
_SUBSCRIBER_REQUESTS: dict[str, type[Any]] = {
    "CreateSubscription": types.Subscription,
    "GetSubscription": types.GetSubscriptionRequest,
    "UpdateSubscription": types.UpdateSubscriptionRequest,
    "ListSubscriptions": types.ListSubscriptionsRequest,
    "DeleteSubscription": types.DeleteSubscriptionRequest,
    "ModifyPushConfig": types.ModifyPushConfigRequest,
    "Acknowledge": types.AcknowledgeRequest,
    "ModifyAckDeadline": types.ModifyAckDeadlineRequest,
    "Pull": types.PullRequest,
    "Seek": types.SeekRequest,
    "CreateSnapshot": types.CreateSnapshotRequest,
    "GetSnapshot": types.GetSnapshotRequest,
    "UpdateSnapshot": types.UpdateSnapshotRequest,
    "ListSnapshots": types.ListSnapshotsRequest,
    "DeleteSnapshot": types.DeleteSnapshotRequest,
}

MethodTable: TypeAlias = "dict[str, grpc.RpcMethodHandler[Any, Any]]"
Handler = Callable[..., Awaitable[object]]


class PubsubServer:
    """The whole server in one object: state, services, pushes, port."""

    def __init__(self, host: str, port: int) -> None:
        self._registry = Registry()
        self._pusher = Pusher(self._registry)
        size = _MAX_MESSAGE_BYTES
        options = [
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", size),
            ("grpc.so_reuseport", 0),  # a taken port is an error, not a second server behind it
            ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ]
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers(_handlers_of(self._registry))
        self.port = self._server.add_insecure_port(f"{host}:{port}")
        self._expiry: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to answer."""
        await self._server.start()
        self._expiry = asyncio.create_task(self._expire())

    async def stop(self) -> None:
        """Ends open calls and pushes, within a second or so."""
        if self._expiry is not None:
            self._expiry.cancel()
            with suppress(asyncio.CancelledError):
                await self._expiry
        await self._pusher.close()
        self._registry.close()
        await self._server.stop(_STOP_SECONDS)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRY_SECONDS)
            self._registry.expire()


def _handlers_of(registry: Registry) -> tuple[grpc.GenericRpcHandler, ...]:
    publisher = _method_table(Publisher(registry), _PUBLISHER_REQUESTS)
    subscriber = _method_table(Subscriber(registry), _SUBSCRIBER_REQUESTS)
    subscriber["StreamingPull"] = grpc.stream_stream_rpc_method_handler(
        _streaming_pull(registry),
        request_deserializer=wire.parser_of(types.StreamingPullRequest),
        response_serializer=wire.to_bytes,
    )
    return (
        grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", publisher),
        grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", subscriber),
    )


def _method_table(service: object, requests: dict[str, type[Any]]) -> MethodTable:
    table: MethodTable = {}
    for method, request in requests.items():
        handler = getattr(service, re.sub(r"(?<!^)(?=[A-Z])", "_", method).lower())
        table[method] = grpc.unary_unary_rpc_method_handler(
            _answer(handler, takes_context=method == "Pull"),
            request_deserializer=wire.parser_of(request),
            response_serializer=wire.to_bytes,
        )
    return table


def _answer(handler: Handler, *, takes_context: bool) -> Handler:
    """Wraps a service's method: refusals become statuses, None becomes Empty."""

    async def answer(request: object, context: "grpc.aio.ServicerContext[Any, Any]") -> object:
        try:
            response = await (handler(request, context) if takes_context else handler(request))
        except StatusError as refusal:
            await context.abort(refusal.code, refusal.message)
        else:
            return empty_pb2.Empty() if response is None else response

    return answer


def _streaming_pull(registry: Registry) -> Callable[..., AsyncIterator[object]]:
    async def streaming_pull(
        requests: AsyncIterator[types.StreamingPullRequest], context: "grpc.aio.ServicerContext[Any, Any]"
    ) -> AsyncIterator[types.StreamingPullResponse]:
        try:
            first = await anext(aiter(requests), None)
            if first is None:
                raise invalid("A streaming pull begins with a request that names its subscription")
            async for response in Stream(registry, first).run(requests):
                yield response
        except StatusError as refusal:
            await context.abort(refusal.code, refusal.message)

    return cast("Callable[..., AsyncIterator[object]]", streaming_pull)
