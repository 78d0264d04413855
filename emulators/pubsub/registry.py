"""Every topic, subscription and snapshot of the process, and what connects them.

Creating, changing and deleting; seeks; dead letters. Finds things by full name and refuses names it does not
know. Knows no gRPC method and starts no delivery.
"""

from collections.abc import Callable, Iterable

import grpc
from google.pubsub_v1 import types

from emulators.pubsub import wire
from emulators.pubsub.backlog import Stored
from emulators.pubsub.refusals import check_name
from emulators.pubsub.subscriptions import SubscriptionState, complete_settings
from emulators.pubsub.topics import DELETED_TOPIC, TopicState, read_messages
from emulators.statuses import StatusError, already_exists, failed_precondition, invalid, not_found

_SNAPSHOT_SECONDS = 7 * 24 * 3600


class SnapshotState:
    """What was unacknowledged when it was made, and everything published to its topic since."""

    def __init__(self, proto: types.Snapshot, unacked: Iterable[Stored]) -> None:
        self.proto = proto
        self.name = proto.name
        self._messages = {stored.sequence: stored for stored in unacked}

    def receive(self, messages: Iterable[Stored]) -> None:
        """Keeps messages published after the snapshot was made."""
        self._messages.update((stored.sequence, stored) for stored in messages)

    def messages(self) -> list[Stored]:
        """Returns all that the snapshot holds."""
        return list(self._messages.values())


class Registry:
    """The state of the server. `on_change` is told of each subscription created, changed or gone."""

    def __init__(self) -> None:
        self.topics: dict[str, TopicState] = {}
        self.subscriptions: dict[str, SubscriptionState] = {}
        self.snapshots: dict[str, SnapshotState] = {}
        self._is_closing = False
        self.on_change: Callable[[str], None] = lambda _: None

    def topic(self, name: str) -> TopicState:
        """Returns a topic; NOT_FOUND when there is none."""
        check_name(name, "topics")
        if name not in self.topics:
            raise not_found(f"Topic not found (resource={name})")
        return self.topics[name]

    def subscription(self, name: str) -> SubscriptionState:
        """Returns a subscription; NOT_FOUND when there is none."""
        check_name(name, "subscriptions")
        if name not in self.subscriptions:
            raise not_found(f"Subscription does not exist (resource={name})")
        return self.subscriptions[name]

    def attached(self, name: str) -> SubscriptionState:
        """Returns a subscription that can deliver; FAILED_PRECONDITION when it is detached."""
        state = self.subscription(name)
        if state.proto.detached:
            raise failed_precondition(f"The subscription is detached (resource={name})")
        return state

    def check_same(self, state: SubscriptionState) -> None:
        """Refuses when a subscription was deleted (perhaps created anew) or detached since it was found.

        Also when the server stops: whoever waits for messages asks here each time that it is woken.
        """
        if self._is_closing:
            raise StatusError(grpc.StatusCode.UNAVAILABLE, "The server is stopping")
        if self.attached(state.name) is not state:
            raise not_found(f"Subscription does not exist (resource={state.name})")

    def snapshot(self, name: str) -> SnapshotState:
        """Returns a snapshot; NOT_FOUND when there is none."""
        check_name(name, "snapshots")
        if name not in self.snapshots:
            raise not_found(f"Snapshot does not exist (resource={name})")
        return self.snapshots[name]

    def create_topic(self, proto: types.Topic) -> TopicState:
        """Adds a topic."""
        check_name(proto.name, "topics")
        if proto.name in self.topics:
            raise already_exists(f"Topic already exists (resource={proto.name})")
        proto.state = types.Topic.State.ACTIVE
        self.topics[proto.name] = TopicState(proto)
        return self.topics[proto.name]

    def delete_topic(self, name: str) -> None:
        """Removes a topic; its subscriptions stay, and keep what they have."""
        self.topic(name)
        del self.topics[name]
        for proto in [s.proto for s in (*self.subscriptions.values(), *self.snapshots.values())]:
            if proto.topic == name:
                proto.topic = DELETED_TOPIC

    def create_subscription(self, proto: types.Subscription) -> SubscriptionState:
        """Adds a subscription, which receives what is published from now on."""
        check_name(proto.name, "subscriptions")
        if proto.name in self.subscriptions:
            raise already_exists(f"Subscription already exists (resource={proto.name})")
        topic = self.topic(proto.topic)
        proto.detached = False
        complete_settings(proto)
        self._check_dead_letter_topic(proto)
        state = SubscriptionState(proto, self._bury)
        self.subscriptions[proto.name] = state
        topic.subscribers[proto.name] = state
        self.on_change(proto.name)
        return state

    def change_subscription(self, proto: types.Subscription) -> SubscriptionState:
        """Puts a subscription's changed settings in force."""
        state = self.subscription(proto.name)
        complete_settings(proto)
        self._check_dead_letter_topic(proto)
        state.change(proto)
        self.on_change(proto.name)
        return state

    def delete_subscription(self, name: str) -> None:
        """Removes a subscription and what it holds."""
        state = self.subscription(name)
        del self.subscriptions[name]
        self._disconnect(state)

    def detach_subscription(self, name: str) -> None:
        """Cuts a subscription from its topic for good; its messages are dropped."""
        state = self.subscription(name)
        state.proto.detached = True
        self._disconnect(state)

    def create_snapshot(self, proto: types.Snapshot, subscription: str) -> SnapshotState:
        """Keeps a subscription's backlog, and what is published from now on."""
        check_name(proto.name, "snapshots")
        if proto.name in self.snapshots:
            raise already_exists(f"Snapshot already exists (resource={proto.name})")
        state = self.attached(subscription)
        topic = self.topics.get(state.proto.topic)
        if topic is None:
            raise failed_precondition("The subscription's topic is deleted")
        proto.topic = state.proto.topic
        unacked = state.backlog.unacked()
        oldest = min((s.published_seconds for s in unacked), default=wire.now_seconds())
        wire.set_seconds(proto.expire_time, oldest + _SNAPSHOT_SECONDS)
        snapshot = SnapshotState(proto, unacked)
        self.snapshots[proto.name] = snapshot
        topic.subscribers[proto.name] = snapshot
        return snapshot

    def delete_snapshot(self, name: str) -> None:
        """Removes a snapshot; the messages only it held are gone."""
        topic = self.topics.get(self.snapshot(name).proto.topic)
        del self.snapshots[name]
        if topic is not None:
            topic.subscribers.pop(name, None)

    def seek_to_time(self, name: str, seconds: float) -> None:
        """Acknowledges what was published before a time, and brings back what is retained since."""
        state = self.attached(name)
        found = {stored.sequence: stored for stored in state.backlog.unacked()} | state.backlog.acked
        topic = self.topics.get(state.proto.topic)
        if topic is not None:
            found |= {s: stored for s, stored in topic.retained.items() if state.accepts(stored)}
        state.backlog.replace(s for s in found.values() if s.published_seconds >= seconds)

    def seek_to_snapshot(self, name: str, snapshot_name: str) -> None:
        """Makes a snapshot's messages the subscription's backlog."""
        state = self.attached(name)
        snapshot = self.snapshot(snapshot_name)
        if snapshot.proto.topic != state.proto.topic:
            raise invalid("The snapshot is of another topic than the subscription")
        state.backlog.replace(stored for stored in snapshot.messages() if state.accepts(stored))

    def close(self) -> None:
        """Ends every waiting pull and open stream; nothing is delivered from now on."""
        self._is_closing = True
        for state in self.subscriptions.values():
            state.backlog.wake()

    def expire(self) -> None:
        """Drops what is older than its retention; to be called now and then."""
        now = wire.now_seconds()
        for topic in self.topics.values():
            topic.drop_before(now - topic.retention_seconds)
        for state in self.subscriptions.values():
            state.backlog.drop_before(now - state.retention_seconds)
        for name in [n for n, s in self.snapshots.items() if wire.seconds_of(s.proto.expire_time) < now]:
            self.delete_snapshot(name)

    def _disconnect(self, state: SubscriptionState) -> None:
        topic = self.topics.get(state.proto.topic)
        if topic is not None:
            topic.subscribers.pop(state.name, None)
        state.backlog.close()
        self.on_change(state.name)

    def _check_dead_letter_topic(self, proto: types.Subscription) -> None:
        if wire.is_set(proto, "dead_letter_policy"):
            name = proto.dead_letter_policy.dead_letter_topic
            check_name(name, "topics")
            if name not in self.topics:
                raise not_found(f"Dead letter topic not found (resource={name})")

    def _bury(self, state: SubscriptionState, stored: Stored, attempts: int) -> bool:
        topic = self.topics.get(state.proto.dead_letter_policy.dead_letter_topic)
        if topic is None:  # deleted since: the message stays with its subscription, as in the real service
            return False
        _, project, _, subscription_id = state.name.split("/")
        letter = wire.copy_of(stored.message)
        prefix = "CloudPubSubDeadLetterSource"
        letter.attributes[f"{prefix}Subscription"] = subscription_id
        letter.attributes[f"{prefix}SubscriptionProject"] = project
        letter.attributes[f"{prefix}DeliveryCount"] = str(attempts)
        letter.attributes[f"{prefix}TopicPublishTime"] = wire.format_time(stored.published_seconds)
        topic.publish(read_messages([letter]))
        return True
