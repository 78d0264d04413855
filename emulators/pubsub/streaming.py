"""StreamingPull: one reader of acknowledgements and one writer of messages for each open stream.

A stream that ends leaves its leases as they are: what it did not acknowledge comes back when its deadlines
pass, to whoever is connected then.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from google.pubsub_v1 import types

from emulators.pubsub import wire
from emulators.pubsub.backlog import Holder
from emulators.pubsub.registry import Registry
from emulators.pubsub.subscriber import check_ack_ids, check_deadline, fill_received
from emulators.statuses import invalid

_MAX_BATCH = 1000
_UNLIMITED = 2**62
_STREAM_DEADLINES = range(10, 601)


class Stream:
    """One streaming pull, from its first request to its end."""

    def __init__(self, registry: Registry, first: types.StreamingPullRequest) -> None:
        self._registry = registry
        self._state = registry.attached(first.subscription)
        self._holder = Holder()
        self._max_messages = _limit_of(first.max_outstanding_messages)
        self._max_bytes = _limit_of(first.max_outstanding_bytes)
        self._lease_seconds = 0
        self._answers: deque[types.StreamingPullResponse] = deque()
        if first.stream_ack_deadline_seconds == 0:
            raise invalid("stream_ack_deadline_seconds must be set in the first request")
        self._handle(first)

    async def run(
        self, requests: AsyncIterator[types.StreamingPullRequest]
    ) -> AsyncIterator[types.StreamingPullResponse]:
        """Yields responses until the client closes the stream or the subscription goes away."""
        wake = self._holder.wake
        reader = asyncio.create_task(self._read(requests))
        reader.add_done_callback(lambda _: wake.set())
        self._state.backlog.listeners.add(wake)
        self._state.streams += 1
        try:
            yield self._new_response()
            while not reader.done():
                wake.clear()
                self._registry.check_same(self._state)
                response = self._answers.popleft() if self._answers else self._take()
                if response is not None:
                    yield response
                else:
                    await wake.wait()
            reader.result()
        finally:
            self._state.streams -= 1
            self._state.backlog.listeners.discard(wake)
            reader.cancel()

    async def _read(self, requests: AsyncIterator[types.StreamingPullRequest]) -> None:
        async for request in requests:
            if request.subscription:
                raise invalid("subscription must be set in the first request only")
            self._handle(request)

    def _handle(self, request: types.StreamingPullRequest) -> None:
        self._set_lease(request.stream_ack_deadline_seconds)
        backlog = self._state.backlog
        seconds = request.modify_deadline_seconds
        if len(seconds) != len(request.modify_deadline_ack_ids):
            raise invalid("modify_deadline_seconds and modify_deadline_ack_ids differ in length")
        if request.modify_deadline_ack_ids:
            check_ack_ids(self._state, request.modify_deadline_ack_ids)
            for ack_id, value in zip(request.modify_deadline_ack_ids, seconds, strict=True):
                check_deadline(value)
                backlog.extend([ack_id], value)
        if request.ack_ids:
            check_ack_ids(self._state, request.ack_ids)
            backlog.acknowledge(request.ack_ids)
        self._confirm(request)

    def _confirm(self, request: types.StreamingPullRequest) -> None:
        if not self._state.proto.enable_exactly_once_delivery:
            return
        response = self._new_response()
        if request.ack_ids:
            response.acknowledge_confirmation.ack_ids.extend(request.ack_ids)
        if request.modify_deadline_ack_ids:
            response.modify_ack_deadline_confirmation.ack_ids.extend(request.modify_deadline_ack_ids)
        if request.ack_ids or request.modify_deadline_ack_ids:
            self._answers.append(response)
            self._holder.wake.set()

    def _set_lease(self, seconds: int) -> None:
        if seconds == 0:
            return
        if seconds not in _STREAM_DEADLINES:
            raise invalid("stream_ack_deadline_seconds must be between 10 and 600")
        self._lease_seconds = seconds

    def _take(self) -> types.StreamingPullResponse | None:
        room = min(self._max_messages - self._holder.messages, _MAX_BATCH)
        if self._state.is_push or room <= 0 or self._holder.bytes >= self._max_bytes:
            return None
        if self._state.streams > 1:  # leave the others their share
            room = min(room, self._state.backlog.ready_count() // self._state.streams + 1)
        deliveries = self._state.backlog.take(room, self._lease_seconds, self._holder)
        if not deliveries:
            return None
        response = self._new_response()
        fill_received(response, self._state, deliveries)
        return response

    def _new_response(self) -> types.StreamingPullResponse:
        response = wire.StreamingPullResponse()
        response.subscription_properties.exactly_once_delivery_enabled = self._state.proto.enable_exactly_once_delivery
        response.subscription_properties.message_ordering_enabled = self._state.proto.enable_message_ordering
        return response


def _limit_of(value: int) -> int:
    return value if value > 0 else _UNLIMITED
