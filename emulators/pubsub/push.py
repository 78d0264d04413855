"""Push delivery: takes messages from push subscriptions and POSTs them, with a window that grows by success.

A status that Pub/Sub counts as success acknowledges; anything else, a connection that fails, or no answer
within the ack deadline gives the message back, and the backlog waits as the retry policy says. Sends no
authentication token: the endpoints of a laptop check none.
"""

import asyncio
import base64
import json
import sys
from typing import TypeAlias

from emulators.pubsub import wire
from emulators.pubsub.backlog import Delivery, Holder
from emulators.pubsub.posting import Poster, PostError
from emulators.pubsub.registry import Registry
from emulators.pubsub.subscriptions import SubscriptionState

Json: TypeAlias = str | int | dict[str, "Json"]

# https://cloud.google.com/pubsub/docs/push#receive_push, read 2026-11-20.
_SUCCESS = frozenset({102, 200, 201, 202, 204})
_FIRST_WINDOW = 10
_MAX_WINDOW = 100
_LEASE_SLACK_SECONDS = 5.0  # the POST's own timeout decides, not the lease


class Pusher:
    """Runs one pump for each push subscription, all on one connection pool."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._poster = Poster()
        self._pumps: dict[str, asyncio.Task[None]] = {}
        self._posts: set[asyncio.Task[None]] = set()
        registry.on_change = self.follow

    def follow(self, name: str) -> None:
        """Starts, restarts or stops the pump of a subscription, after it changed."""
        running = self._pumps.pop(name, None)
        if running is not None:
            running.cancel()
        state = self._registry.subscriptions.get(name)
        if state is not None and state.is_push and not state.proto.detached:
            pump = _Pump(state, self._poster, self._posts)
            self._pumps[name] = asyncio.create_task(pump.run(), name=f"push {name}")

    async def close(self) -> None:
        """Stops all pumps; what they had sent and not heard of stays unacknowledged."""
        tasks = [*self._pumps.values(), *self._posts]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._poster.close()


class _Pump:
    """The deliveries of one push subscription."""

    def __init__(self, state: SubscriptionState, poster: Poster, posts: "set[asyncio.Task[None]]") -> None:
        self._state = state
        self._poster = poster
        self._holder = Holder()
        self._window = float(_FIRST_WINDOW)
        self._posts = posts  # of all pumps: they outlive a pump that is restarted
        self._posting = 0
        self._last_failure = ""

    async def run(self) -> None:
        wake = self._holder.wake
        backlog = self._state.backlog
        backlog.listeners.add(wake)
        try:
            while True:
                wake.clear()
                room = int(self._window) - self._posting
                lease_seconds = self._state.proto.ack_deadline_seconds + _LEASE_SLACK_SECONDS
                taken = backlog.take(room, lease_seconds, self._holder) if room > 0 else []
                for delivery in taken:
                    post = asyncio.create_task(self._deliver(delivery, delivery.ack_id))
                    self._posts.add(post)
                    self._posting += 1
                    post.add_done_callback(self._finish)
                if not taken:
                    await wake.wait()
        finally:
            backlog.listeners.discard(wake)

    def _finish(self, post: "asyncio.Task[None]") -> None:
        self._posts.discard(post)
        self._posting -= 1
        self._holder.wake.set()

    async def _deliver(self, delivery: Delivery, ack_id: str) -> None:
        failure = await self._post(delivery)
        if failure:
            self._window = max(1.0, self._window / 2)
            self._state.backlog.extend([ack_id], 0)
        else:
            self._window = min(float(_MAX_WINDOW), self._window + 1)
            self._state.backlog.acknowledge([ack_id])
        if failure != self._last_failure:  # one line for each change, not for each attempt
            self._last_failure = failure
            what = f"fails: {failure}" if failure else "works again"
            print(f"pubsub push {self._state.name} {what}", file=sys.stderr, flush=True)

    async def _post(self, delivery: Delivery) -> str:
        """POSTs one message; returns why it failed, or nothing."""
        headers, body = _request_of(self._state, delivery)
        endpoint = self._state.proto.push_config.push_endpoint
        try:
            async with asyncio.timeout(self._state.proto.ack_deadline_seconds):
                status = await self._poster.post(endpoint, headers, body)
        except TimeoutError:
            return "no answer within the ack deadline"
        except PostError as error:
            return str(error)
        return "" if status in _SUCCESS else f"HTTP {status}"


def _request_of(state: SubscriptionState, delivery: Delivery) -> tuple[dict[str, str], bytes]:
    """Returns the headers and the body of a push."""
    config = state.proto.push_config
    if not wire.is_set(config, "no_wrapper"):
        return {"content-type": "application/json"}, json.dumps(envelope_of(state, delivery)).encode()
    message = delivery.stored.message
    if not config.no_wrapper.write_metadata:
        return {}, message.data
    headers = dict(message.attributes)
    headers["x-goog-pubsub-subscription-name"] = state.name
    headers["x-goog-pubsub-message-id"] = message.message_id
    headers["x-goog-pubsub-publish-time"] = wire.format_time(delivery.stored.published_seconds)
    if message.ordering_key:
        headers["x-goog-ordering-key"] = message.ordering_key
    return headers, message.data


def envelope_of(state: SubscriptionState, delivery: Delivery) -> dict[str, Json]:
    """Returns the wrapped message as Pub/Sub POSTs it, with both spellings of id and publish time."""
    proto = delivery.stored.message
    published = wire.format_time(delivery.stored.published_seconds)
    message: dict[str, Json] = {
        "data": base64.b64encode(proto.data).decode(),
        "messageId": proto.message_id,
        "message_id": proto.message_id,
        "publishTime": published,
        "publish_time": published,
    }
    if proto.attributes:
        message["attributes"] = {key: value for key, value in proto.attributes.items()}
    if proto.ordering_key:
        message["orderingKey"] = proto.ordering_key
    envelope: dict[str, Json] = {"message": message, "subscription": state.name}
    attempt = state.attempt_of(delivery.attempts)
    if attempt:
        envelope["deliveryAttempt"] = attempt
    return envelope
