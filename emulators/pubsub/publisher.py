"""The Publisher service: each method takes a request message and returns a response message."""

from google.pubsub_v1 import types

from emulators.pubsub import wire
from emulators.pubsub.refusals import check_name, page_of, project_of
from emulators.pubsub.registry import Registry
from emulators.pubsub.subscriptions import SubscriptionState
from emulators.pubsub.topics import check_messages, read_messages
from emulators.statuses import invalid

_MUTABLE_TOPIC_FIELDS = frozenset(
    {
        "ingestion_data_source_settings",
        "kms_key_name",
        "labels",
        "message_retention_duration",
        "message_storage_policy",
        "message_transforms",
        "schema_settings",
    }
)


class Publisher:
    """google.pubsub.v1.Publisher, without the message schemas."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def create_topic(self, request: types.Topic) -> types.Topic:
        """Creates a topic."""
        return self._registry.create_topic(request).proto

    async def get_topic(self, request: types.GetTopicRequest) -> types.Topic:
        """Returns a topic."""
        return self._registry.topic(request.topic).proto

    async def update_topic(self, request: types.UpdateTopicRequest) -> types.Topic:
        """Changes the fields that the mask names."""
        state = self._registry.topic(request.topic.name)
        check_mask(list(request.update_mask.paths), _MUTABLE_TOPIC_FIELDS, wire.Topic)
        wire.merge_fields(request.update_mask, request.topic, state.proto)
        return state.proto

    async def list_topics(self, request: types.ListTopicsRequest) -> types.ListTopicsResponse:
        """Lists a project's topics by name."""
        names = sorted(n for n in self._registry.topics if project_of(n) == request.project)
        page, token = page_of(names, request.page_size, request.page_token)
        topics = [self._registry.topics[name].proto for name in page]
        return wire.ListTopicsResponse(topics=topics, next_page_token=token)

    async def list_topic_subscriptions(
        self, request: types.ListTopicSubscriptionsRequest
    ) -> types.ListTopicSubscriptionsResponse:
        """Lists the subscriptions attached to a topic."""
        subscribers = self._registry.topic(request.topic).subscribers
        names = sorted(n for n, s in subscribers.items() if isinstance(s, SubscriptionState))
        page, token = page_of(names, request.page_size, request.page_token)
        return wire.ListTopicSubscriptionsResponse(subscriptions=page, next_page_token=token)

    async def list_topic_snapshots(self, request: types.ListTopicSnapshotsRequest) -> types.ListTopicSnapshotsResponse:
        """Lists the snapshots of a topic."""
        check_name(request.topic, "topics")
        snapshots = self._registry.snapshots
        names = sorted(n for n, s in snapshots.items() if s.proto.topic == request.topic)
        page, token = page_of(names, request.page_size, request.page_token)
        return wire.ListTopicSnapshotsResponse(snapshots=page, next_page_token=token)

    async def delete_topic(self, request: types.DeleteTopicRequest) -> None:
        """Deletes a topic."""
        self._registry.delete_topic(request.topic)

    async def publish(self, request: types.PublishRequest) -> types.PublishResponse:
        """Publishes all of the messages or none."""
        topic = self._registry.topic(request.topic)
        drafts = read_messages(request.messages)
        check_messages(drafts)
        return wire.PublishResponse(message_ids=topic.publish(drafts))

    async def detach_subscription(self, request: types.DetachSubscriptionRequest) -> types.DetachSubscriptionResponse:
        """Detaches a subscription from its topic."""
        self._registry.detach_subscription(request.subscription)
        return wire.DetachSubscriptionResponse()


def check_mask(paths: list[str], mutable: frozenset[str], message: type[object]) -> None:
    """Refuses an update mask that is empty, names an unknown field, or one that cannot change."""
    if not paths:
        raise invalid("The update_mask must be set, and must contain a non-empty paths list")
    for path in paths:
        field = path.split(".", 1)[0]
        if not wire.has_field(message, field):
            raise invalid(f"Invalid update_mask: {path} is not a known field")
        if field not in mutable:
            raise invalid(f"Invalid update_mask: the {path} field is not mutable")
