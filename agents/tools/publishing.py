"""Publishing for collect: many requests' rows in few calls, each request answered when its own rows are acknowledged.

The rows of requests that come while a call is under way go out together in the next one, so batches grow with the load
and an idle service waits for no timer. `agents.tools.bus` publishes message by message, with a thread hop for each, which
cost more than everything else that collect does (`make bench`).
A call that fails opens a circuit breaker for its topic: until a single further call has gone through, every publish
fails at once, so that an outage costs one request its wait and not all of them. Of a failed call nothing is known: Pub/Sub
may have some of its messages. Deliberately no spill: that is storing.py's. The call itself is publish_call.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from agents.tools.bus import Outgoing
from agents.tools.once import once
from agents.tools.publish_call import PublishCall, encode_messages, encode_request
from agents.tools.settings import settings
from schemas import topology

# With the spill's own 5 seconds, an answer within the 10 after which the quickest SDK gives up (@segment/analytics-node).
ACK_SECONDS = 4.0
PAUSE_SECONDS = 1.0  # from a failed call to the next one
CALL_MESSAGES = 1000  # Pub/Sub's limits are 1,000 messages and 10 MB: https://cloud.google.com/pubsub/quotas
CALL_BYTES = 4_000_000
CALLS_UNDER_WAY = 4  # at most, of a topic
# A further call starts only for so many messages: a call costs as much as publishing dozens of them. With 200 requests
# under way 30 carried 12 % more than 100 did (measured): fewer requests wait at the same time for one answer.
FURTHER_CALL_MESSAGES = 30
LEAST_CALL_SECONDS = 0.5  # for a call whose messages have waited behind a slow one


class NotTaken(Exception):
    """Pub/Sub has just failed for this topic; it was not asked again."""


class Publisher(Protocol):
    """Where a request's messages go."""

    def publish(self, topic: str, messages: list[Outgoing]) -> Coroutine[Any, Any, None]:
        """Return once Pub/Sub has every message; raise when it may not have them all."""
        ...


class Call(Protocol):
    """One Publish of the messages that `encode_messages` made; `publish_call.PublishCall`, or a test's."""

    def __call__(self, path: str, request: bytes, timeout_seconds: float) -> Coroutine[Any, Any, None]:
        """Return once Pub/Sub has every message of the request."""
        ...


@dataclass(kw_only=True, slots=True)
class _Waiting:
    messages: list[bytes]
    done: asyncio.Future[None]
    size: int
    since: float  # of the loop's clock


@dataclass(kw_only=True)
class _Topic:
    path: str
    waiting: list[_Waiting] = field(default_factory=list[_Waiting])
    waiting_messages: int = 0
    under_way: int = 0
    is_due: bool = False
    is_failing: bool = False  # from a failed call to the next that succeeds
    next_try: float = 0.0  # of the loop's clock

    def is_open(self, now: float) -> bool:
        """Whether the breaker lets nothing through: it waits, or one publish is on trial already."""
        return self.is_failing and (now < self.next_try or self.under_way > 0 or bool(self.waiting))

    def may_call(self) -> bool:
        """Whether what waits is worth a call of its own now."""
        return self.under_way == 0 or (
            self.under_way < CALLS_UNDER_WAY and self.waiting_messages >= FURTHER_CALL_MESSAGES
        )

    def keep_waiting(self, waiting: list[_Waiting]) -> None:
        """Let these wait and no others."""
        self.waiting = waiting
        self.waiting_messages = sum(len(one.messages) for one in waiting)


class BatchingPublisher:
    """Google Pub/Sub. Belongs to one event loop."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._topics: dict[str, _Topic] = {}
        self._calls: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references

    async def publish(self, topic: str, messages: list[Outgoing]) -> None:
        """Return once Pub/Sub has every message.

        Raises:
            PermissionError: the topology does not let this service publish to the topic.
            NotTaken: Pub/Sub fails just now, for others too.
            google.api_core.exceptions.GoogleAPICallError: Pub/Sub refused, could not be reached, or did not answer in time.
        """
        state = self._topics.get(topic) or self._open_topic(topic)
        loop = asyncio.get_running_loop()
        now = loop.time()
        if state.is_open(now):
            raise NotTaken(f"Pub/Sub fails for {topic}")
        parts = [
            _Waiting(messages=part, done=loop.create_future(), size=size, since=now)
            for part, size in cut_calls(encode_messages(messages))
        ]
        state.waiting += parts
        state.waiting_messages += len(messages)
        if not state.is_due and state.may_call():
            state.is_due = True
            loop.call_soon(self._start_calls, state)  # after the other requests of this turn
        try:
            for part in parts:
                await part.done
        finally:
            for part in parts:  # what nobody waits for any more is not sent after all: it is spilled, or sent again
                part.done.cancel()

    def _open_topic(self, topic: str) -> _Topic:
        if topic not in topology.load().access(settings().service).publishes:
            raise PermissionError(f"{settings().service} may not publish to {topic!r}; topology.yaml grants it")
        return self._topics.setdefault(topic, _Topic(path=f"projects/{settings().project}/topics/{topic}"))

    def _start_calls(self, state: _Topic) -> None:
        state.is_due = False
        state.keep_waiting([one for one in state.waiting if not one.done.done()])
        while state.waiting and state.may_call():
            count = _count_fitting(state.waiting)
            taken = state.waiting[:count]
            state.keep_waiting(state.waiting[count:])
            state.under_way += 1
            task = asyncio.get_running_loop().create_task(self._run_call(state, taken))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _run_call(self, state: _Topic, taken: list[_Waiting]) -> None:
        """One call, as long as the one that has waited longest may wait."""
        left_seconds = taken[0].since + ACK_SECONDS - asyncio.get_running_loop().time()
        request = encode_request(state.path, [message for one in taken for message in one.messages])
        error: Exception | None = None
        try:
            await self._call(state.path, request, max(left_seconds, LEAST_CALL_SECONDS))
        except Exception as caught:  # noqa: BLE001  # whatever it is, it is the answer to every request in the call
            error = caught
        state.under_way -= 1
        if error is None:
            state.is_failing = False
        elif not _is_about_messages(error):
            state.is_failing, state.next_try = True, asyncio.get_running_loop().time() + PAUSE_SECONDS
            taken = taken + state.waiting
            state.keep_waiting([])
        for waiting in taken:
            if waiting.done.done():  # its request went away
                continue
            if error:
                waiting.done.set_exception(error)
            else:
                waiting.done.set_result(None)
        self._start_calls(state)


class FakePublisher:
    """Keeps what was published; with `error` every call fails with it."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[tuple[str, Outgoing]] = []
        self.error = error

    async def publish(self, topic: str, messages: list[Outgoing]) -> None:
        """Record the messages as if Pub/Sub had acknowledged them."""
        if self.error:
            raise self.error
        self.sent += [(topic, message) for message in messages]

    def on(self, topic: str) -> list[Outgoing]:
        """What was published to a topic."""
        return [message for name, message in self.sent if name == topic]


def cut_calls(messages: list[bytes]) -> Iterable[tuple[list[bytes], int]]:
    """Lists that each fit one call, with their sizes in bytes."""
    size = sum(map(len, messages))
    if len(messages) <= CALL_MESSAGES and size <= CALL_BYTES:
        return [(messages, size)] if messages else []
    parts: list[tuple[list[bytes], int]] = []
    part: list[bytes] = []
    size = 0
    for message in messages:
        if part and (len(part) == CALL_MESSAGES or size + len(message) > CALL_BYTES):
            parts.append((part, size))
            part, size = [], 0
        part.append(message)
        size += len(message)
    return [*parts, (part, size)]


def _count_fitting(waiting: list[_Waiting]) -> int:
    """How many of the waiting, from the first, fit one call together."""
    count, messages, size = 0, 0, 0
    for one in waiting:
        messages, size = messages + len(one.messages), size + one.size
        if count and (messages > CALL_MESSAGES or size > CALL_BYTES):
            break
        count += 1
    return count


def _is_about_messages(error: Exception) -> bool:
    """Whether Pub/Sub works and only refuses what it was sent."""
    from google.api_core.exceptions import InvalidArgument

    return isinstance(error, InvalidArgument)


@once
def publisher() -> Publisher:
    """The process's one publisher."""
    from google.cloud import pubsub_v1

    transport: Any = pubsub_v1.PublisherClient().transport  # gRPC's, which its base class's type does not say
    return BatchingPublisher(PublishCall(transport.grpc_channel, 2 * CALLS_UNDER_WAY))
