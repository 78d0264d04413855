"""The Subscriber service, except for StreamingPull, which has its own module.

Each method takes a request message (pull also its call's context) and returns a response message.
"""

import asyncio
import uuid
from collections.abc import Iterable
from typing import Protocol

from google.pubsub_v1 import types

from emulators.pubsub import wire
from emulators.pubsub.backlog import Delivery
from emulators.pubsub.publisher import check_mask
from emulators.pubsub.refusals import page_of, project_of
from emulators.pubsub.registry import Registry
from emulators.pubsub.subscriptions import MUTABLE_FIELDS, SubscriptionState
from emulators.statuses import invalid

_MAX_ACK_DEADLINE_SECONDS = 600
_MAX_PULL = 1000
# A pull without messages answers after this long, and always a little before its caller gives up: an empty
# answer is an answer, a deadline is an error.
_PULL_WAIT_SECONDS = 20.0
_PULL_MARGIN_SECONDS = 0.25


class CallContext(Protocol):
    """The part of gRPC's context that a unary call uses here."""

    def time_remaining(self) -> float | None: ...


class Subscriber:
    """google.pubsub.v1.Subscriber."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def create_subscription(self, request: types.Subscription) -> types.Subscription:
        """Creates a subscription."""
        return self._registry.create_subscription(request).proto

    async def get_subscription(self, request: types.GetSubscriptionRequest) -> types.Subscription:
        """Returns a subscription."""
        return self._registry.subscription(request.subscription).proto

    async def update_subscription(self, request: types.UpdateSubscriptionRequest) -> types.Subscription:
        """Changes the fields that the mask names."""
        state = self._registry.subscription(request.subscription.name)
        check_mask(list(request.update_mask.paths), MUTABLE_FIELDS, wire.Subscription)
        changed = wire.copy_of(state.proto)
        wire.merge_fields(request.update_mask, request.subscription, changed)
        return self._registry.change_subscription(changed).proto

    async def list_subscriptions(self, request: types.ListSubscriptionsRequest) -> types.ListSubscriptionsResponse:
        """Lists a project's subscriptions by name."""
        names = sorted(n for n in self._registry.subscriptions if project_of(n) == request.project)
        page, token = page_of(names, request.page_size, request.page_token)
        found = [self._registry.subscriptions[name].proto for name in page]
        return wire.ListSubscriptionsResponse(subscriptions=found, next_page_token=token)

    async def delete_subscription(self, request: types.DeleteSubscriptionRequest) -> None:
        """Deletes a subscription."""
        self._registry.delete_subscription(request.subscription)

    async def modify_push_config(self, request: types.ModifyPushConfigRequest) -> None:
        """Changes where messages are pushed to; an empty endpoint makes it a pull subscription."""
        changed = wire.copy_of(self._registry.subscription(request.subscription).proto)
        wire.replace_message(changed.push_config, request.push_config)
        self._registry.change_subscription(changed)

    async def acknowledge(self, request: types.AcknowledgeRequest) -> None:
        """Acknowledges messages."""
        state = self._registry.subscription(request.subscription)
        check_ack_ids(state, request.ack_ids)
        state.backlog.acknowledge(request.ack_ids)

    async def modify_ack_deadline(self, request: types.ModifyAckDeadlineRequest) -> None:
        """Moves the deadlines of messages; 0 gives them back."""
        state = self._registry.subscription(request.subscription)
        check_deadline(request.ack_deadline_seconds)
        check_ack_ids(state, request.ack_ids)
        state.backlog.extend(request.ack_ids, request.ack_deadline_seconds)

    async def pull(self, request: types.PullRequest, context: CallContext) -> types.PullResponse:
        """Returns messages as soon as there are any, or nothing after a while."""
        state = self._registry.attached(request.subscription)
        if request.max_messages <= 0:
            raise invalid("No max_messages specified")
        if not state.is_push and not request.return_immediately:
            await self._wait_for_messages(state, context)
        response = wire.PullResponse()
        if state.is_push:
            return response
        limit = min(request.max_messages, _MAX_PULL)
        deliveries = state.backlog.take(limit, state.proto.ack_deadline_seconds)
        fill_received(response, state, deliveries)
        return response

    async def seek(self, request: types.SeekRequest) -> types.SeekResponse:
        """Moves a subscription to a time or to a snapshot."""
        if wire.is_set(request, "time"):
            self._registry.seek_to_time(request.subscription, wire.seconds_of(request.time))
        elif request.snapshot:
            self._registry.seek_to_snapshot(request.subscription, request.snapshot)
        else:
            raise invalid("A seek needs a time or a snapshot")
        return wire.SeekResponse()

    async def create_snapshot(self, request: types.CreateSnapshotRequest) -> types.Snapshot:
        """Creates a snapshot; without a name it gets a random one."""
        name = request.name or f"{project_of(request.subscription)}/snapshots/s{uuid.uuid4().hex}"
        proto = wire.Snapshot(name=name, labels=request.labels)
        return self._registry.create_snapshot(proto, request.subscription).proto

    async def get_snapshot(self, request: types.GetSnapshotRequest) -> types.Snapshot:
        """Returns a snapshot."""
        return self._registry.snapshot(request.snapshot).proto

    async def update_snapshot(self, request: types.UpdateSnapshotRequest) -> types.Snapshot:
        """Changes a snapshot's labels or expiry."""
        state = self._registry.snapshot(request.snapshot.name)
        check_mask(list(request.update_mask.paths), frozenset({"labels", "expire_time"}), wire.Snapshot)
        wire.merge_fields(request.update_mask, request.snapshot, state.proto)
        return state.proto

    async def list_snapshots(self, request: types.ListSnapshotsRequest) -> types.ListSnapshotsResponse:
        """Lists a project's snapshots by name."""
        names = sorted(n for n in self._registry.snapshots if project_of(n) == request.project)
        page, token = page_of(names, request.page_size, request.page_token)
        found = [self._registry.snapshots[name].proto for name in page]
        return wire.ListSnapshotsResponse(snapshots=found, next_page_token=token)

    async def delete_snapshot(self, request: types.DeleteSnapshotRequest) -> None:
        """Deletes a snapshot."""
        self._registry.delete_snapshot(request.snapshot)

    async def _wait_for_messages(self, state: SubscriptionState, context: CallContext) -> None:
        remaining = context.time_remaining()
        seconds = _PULL_WAIT_SECONDS
        if remaining is not None:
            seconds = min(seconds, max(remaining - _PULL_MARGIN_SECONDS, 0))
        wake = asyncio.Event()
        state.backlog.listeners.add(wake)
        try:
            async with asyncio.timeout(seconds):
                while state.backlog.ready_count() == 0:
                    await wake.wait()
                    wake.clear()
                    self._registry.check_same(state)
        except TimeoutError:
            return
        finally:
            state.backlog.listeners.discard(wake)


def check_deadline(seconds: int) -> None:
    """Refuses a new ack deadline outside 0 to 600 seconds."""
    if not 0 <= seconds <= _MAX_ACK_DEADLINE_SECONDS:
        raise invalid(f"An ack deadline must be between 0 and {_MAX_ACK_DEADLINE_SECONDS} seconds: {seconds}")


def check_ack_ids(state: SubscriptionState, ack_ids: Iterable[str]) -> None:
    """Refuses an empty list, and ids that this subscription cannot have given."""
    is_empty = True
    for ack_id in ack_ids:
        is_empty = False
        if not state.backlog.check_ack_id(ack_id):
            raise invalid(f"Invalid ack id (ack_id={ack_id})")
    if is_empty:
        raise invalid("No ack ids specified")


def fill_received(
    response: types.PullResponse | types.StreamingPullResponse,
    state: SubscriptionState,
    deliveries: Iterable[Delivery],
) -> None:
    """Appends leased messages to a response."""
    add = wire.adder_of(response.received_messages)
    for delivery in deliveries:
        attempt = state.attempt_of(delivery.attempts)
        add(ack_id=delivery.ack_id, message=delivery.stored.message, delivery_attempt=attempt)
