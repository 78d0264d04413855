"""Topics and subscriptions as resources: names, statuses, settings, lists, masks, and what deletion leaves."""

from collections.abc import Callable

import pytest
from google.api_core.exceptions import (
    AlreadyExists,
    BadRequest,
    FailedPrecondition,
    GoogleAPICallError,
    InvalidArgument,
    NotFound,
)
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.pubsub_v1.types import Subscription

from tests.contract.pubsub_servers import PROJECT, Pubsub, new_name
from tests.contract.push_endpoint import Endpoint

MISSING_TOPIC = f"{PROJECT}/topics/no-such-topic"
MISSING_SUBSCRIPTION = f"{PROJECT}/subscriptions/no-such-subscription"
DELETED_TOPIC = "_deleted-topic_"


@pytest.mark.parametrize("topic_id", ["ab", "1abc", "google-x", "a$bc", "a" * 256, "a/b/c", ""])
def test_a_bad_topic_id_is_an_invalid_argument(pubsub: Pubsub, topic_id: str) -> None:
    # A laptop that takes a name the cloud refuses moves the failure to the deployment.
    with pytest.raises(InvalidArgument):
        pubsub.publisher.create_topic(request={"name": f"{PROJECT}/topics/{topic_id}"})


@pytest.mark.parametrize("topic_id", ["abc", "A-._~+%9", "a" * 255])
def test_a_good_topic_id_is_accepted(pubsub: Pubsub, topic_id: str) -> None:
    name = f"projects/{new_name('x').rsplit('/', 1)[1]}/topics/{topic_id}"
    assert pubsub.publisher.create_topic(request={"name": name}).name == name


def test_creating_twice_says_already_exists(pubsub: Pubsub) -> None:
    # Set-up code counts "already exists" as success; any other status would stop a second run.
    topic = pubsub.topic()
    subscription = pubsub.subscription(topic)
    with pytest.raises(AlreadyExists):
        pubsub.publisher.create_topic(request={"name": topic})
    with pytest.raises(AlreadyExists):
        pubsub.subscriber.create_subscription(request={"name": subscription, "topic": topic})


def _stream_from(pubsub: Pubsub, name: str) -> None:
    pubsub.subscriber.subscribe(name, callback=print).result(timeout=10)


CALLS_ON_MISSING: dict[str, Callable[[Pubsub], object]] = {
    "get topic": lambda p: p.publisher.get_topic(request={"topic": MISSING_TOPIC}),
    "delete topic": lambda p: p.publisher.delete_topic(request={"topic": MISSING_TOPIC}),
    "publish": lambda p: p.publish(MISSING_TOPIC, b"x"),
    "subscribe": lambda p: p.subscription(MISSING_TOPIC),
    "get subscription": lambda p: p.subscriber.get_subscription(request={"subscription": MISSING_SUBSCRIPTION}),
    "pull": lambda p: p.pull(MISSING_SUBSCRIPTION),
    "delete subscription": lambda p: p.subscriber.delete_subscription(request={"subscription": MISSING_SUBSCRIPTION}),
    "streaming pull": lambda p: _stream_from(p, MISSING_SUBSCRIPTION),
}


@pytest.mark.parametrize("call", CALLS_ON_MISSING.values(), ids=CALLS_ON_MISSING.keys())
def test_what_does_not_exist_is_not_found(pubsub: Pubsub, call: Callable[[Pubsub], object]) -> None:
    with pytest.raises(NotFound):
        call(pubsub)


BAD_SETTINGS: dict[str, dict[str, object]] = {
    "ack deadline above 600 s": {"ack_deadline_seconds": 601},
    "retention under 10 minutes": {"message_retention_duration": Duration(seconds=60)},
    "backoff above 600 s": {"retry_policy": {"minimum_backoff": Duration(seconds=601)}},
    "minimum above maximum": {
        "retry_policy": {"minimum_backoff": Duration(seconds=20), "maximum_backoff": Duration(seconds=10)}
    },
    "an endpoint that is no URL": {"push_config": {"push_endpoint": "nonsense"}},
}


@pytest.mark.parametrize("settings", BAD_SETTINGS.values(), ids=BAD_SETTINGS.keys())
def test_settings_out_of_bounds_are_invalid(pubsub: Pubsub, settings: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.subscription(pubsub.topic(), **settings)


def test_too_few_delivery_attempts_are_invalid(pubsub: Pubsub) -> None:
    policy = {"dead_letter_topic": pubsub.topic(), "max_delivery_attempts": 4}
    with pytest.raises(BadRequest):  # Google's emulator says OUT_OF_RANGE; both are 400 over HTTP
        pubsub.subscription(pubsub.topic(), dead_letter_policy=policy)


@pytest.mark.google_differs("accepts an ack deadline under 10 s")
def test_an_ack_deadline_under_10_seconds_is_invalid(pubsub: Pubsub) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.subscription(pubsub.topic(), ack_deadline_seconds=9)


@pytest.mark.google_differs("accepts any text as a filter")
def test_a_bad_filter_is_invalid(pubsub: Pubsub) -> None:
    # A typo in a filter must stop the deployment, not starve a subscriber.
    with pytest.raises(InvalidArgument):
        pubsub.subscription(pubsub.topic(), filter="attributes.kind = order")


def test_defaults_are_filled_in(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    made = pubsub.create_subscription(topic, retry_policy={})
    assert (made.topic, made.ack_deadline_seconds) == (topic, 10)
    found = pubsub.subscriber.get_subscription(request={"subscription": made.name})
    raw = Subscription.pb(found)
    assert raw.message_retention_duration.seconds == 7 * 24 * 3600
    assert (raw.retry_policy.minimum_backoff.seconds, raw.retry_policy.maximum_backoff.seconds) == (10, 600)


def test_settings_are_kept_as_given(pubsub: Pubsub, endpoint: Endpoint) -> None:
    dead = pubsub.topic()
    made = pubsub.subscription(
        pubsub.topic(),
        ack_deadline_seconds=33,
        enable_message_ordering=True,
        enable_exactly_once_delivery=True,
        retain_acked_messages=True,
        filter='attributes.a = "1"',
        labels={"team": "a"},
        push_config={"push_endpoint": endpoint.url},
        dead_letter_policy={"dead_letter_topic": dead, "max_delivery_attempts": 7},
    )
    found = pubsub.subscriber.get_subscription(request={"subscription": made})
    assert (found.ack_deadline_seconds, found.filter) == (33, 'attributes.a = "1"')
    assert found.enable_message_ordering
    assert found.retain_acked_messages
    assert found.enable_exactly_once_delivery
    assert found.push_config.push_endpoint == endpoint.url
    policy = found.dead_letter_policy
    assert (policy.dead_letter_topic, policy.max_delivery_attempts) == (dead, 7)


@pytest.mark.google_differs("lets an export subscription be pulled")
@pytest.mark.parametrize(
    "export",
    [{"bigquery_config": {"table": "p.d.t"}}, {"cloud_storage_config": {"bucket": "bucket"}}],
    ids=["BigQuery", "Cloud Storage"],
)
def test_an_export_subscription_is_accepted_and_delivers_nothing(
    pubsub: Pubsub, export: dict[str, dict[str, str]]
) -> None:
    # The supervisor plays the export with a subscription of its own; this one must not fail, nor compete.
    topic = pubsub.topic()
    made = pubsub.create_subscription(topic, **export)
    assert made.bigquery_config.table or made.cloud_storage_config.bucket
    pubsub.publish(topic, b"x")
    assert pubsub.pull(made.name, wait_seconds=0.5) == []


def _update(pubsub: Pubsub, name: str, path: str, **settings: object) -> Subscription:
    request = {"subscription": {"name": name, **settings}, "update_mask": FieldMask(paths=[path])}
    return pubsub.subscriber.update_subscription(request=request)


def test_an_update_changes_what_its_mask_names_and_nothing_else(pubsub: Pubsub) -> None:
    name = pubsub.subscription(pubsub.topic(), ack_deadline_seconds=20)
    _update(pubsub, name, "ack_deadline_seconds", ack_deadline_seconds=44, retain_acked_messages=True)
    found = pubsub.subscriber.get_subscription(request={"subscription": name})
    assert (found.ack_deadline_seconds, found.retain_acked_messages) == (44, False)


@pytest.mark.parametrize("path", ["topic", "filter", "enable_message_ordering", "no_such_field"])
def test_an_update_of_a_fixed_or_unknown_field_is_invalid(pubsub: Pubsub, path: str) -> None:
    name = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument):
        _update(pubsub, name, path)


def test_an_update_without_a_mask_is_invalid(pubsub: Pubsub) -> None:
    name = pubsub.subscription(pubsub.topic())
    with pytest.raises(InvalidArgument):
        pubsub.subscriber.update_subscription(request={"subscription": {"name": name}, "update_mask": FieldMask()})


@pytest.mark.google_differs("knows no labels in an update mask")
def test_labels_can_be_updated(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, labels={"old": "1"})
    mask = FieldMask(paths=["labels"])
    pubsub.publisher.update_topic(request={"topic": {"name": topic, "labels": {"a": "b"}}, "update_mask": mask})
    _update(pubsub, name, "labels", labels={"c": "d"})
    assert dict(pubsub.publisher.get_topic(request={"topic": topic}).labels) == {"a": "b"}
    assert dict(pubsub.subscriber.get_subscription(request={"subscription": name}).labels) == {"c": "d"}


def test_lists_come_in_pages_and_lose_nothing(pubsub: Pubsub) -> None:
    project = f"projects/{new_name('x').rsplit('/', 1)[1]}"
    topics = {f"{project}/topics/topic-{i}" for i in range(5)}
    for name in topics:
        pubsub.publisher.create_topic(request={"name": name})
    request = {"project": project, "page_size": 2}
    pages = [[topic.name for topic in page.topics] for page in pubsub.publisher.list_topics(request=request).pages]
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {name for page in pages for name in page} == topics


def test_a_topics_subscriptions_and_a_projects_subscriptions_are_listed(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    names = {pubsub.subscription(topic) for _ in range(3)}
    assert set(pubsub.publisher.list_topic_subscriptions(request={"topic": topic})) == names
    listed = {found.name for found in pubsub.subscriber.list_subscriptions(request={"project": PROJECT})}
    assert names <= listed


@pytest.mark.google_differs("lists from the start when a page token is not one of its own")
def test_a_foreign_page_token_is_invalid(pubsub: Pubsub) -> None:
    with pytest.raises(InvalidArgument):
        list(pubsub.publisher.list_topics(request={"project": PROJECT, "page_token": "nonsense"}))


def test_a_deleted_topic_leaves_its_subscriptions_and_their_messages(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publish(topic, b"kept")
    pubsub.publisher.delete_topic(request={"topic": topic})
    assert pubsub.subscriber.get_subscription(request={"subscription": name}).topic == DELETED_TOPIC
    pubsub.publisher.create_topic(request={"name": topic})  # a new topic of that name is another topic
    pubsub.publish(topic, b"not for it")
    assert [r.message.data for r in pubsub.pull(name)] == [b"kept"]


def test_a_deleted_subscription_ends_its_streams(pubsub: Pubsub) -> None:
    # A worker whose subscription is gone must hear of it, not wait for ever.
    name = pubsub.subscription(pubsub.topic())
    stream = pubsub.subscriber.subscribe(name, callback=print)
    pubsub.subscriber.delete_subscription(request={"subscription": name})
    with pytest.raises(NotFound):
        stream.result(timeout=10)


@pytest.mark.google_differs("does not implement DetachSubscription")
def test_a_detached_subscription_receives_nothing_more_and_refuses_pulls(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publisher.detach_subscription(request={"subscription": name})
    assert pubsub.subscriber.get_subscription(request={"subscription": name}).detached
    assert name not in list(pubsub.publisher.list_topic_subscriptions(request={"topic": topic}))
    with pytest.raises(FailedPrecondition):
        pubsub.pull(name)


def test_every_refusal_says_why(pubsub: Pubsub) -> None:
    with pytest.raises(GoogleAPICallError) as refusal:
        pubsub.publisher.get_topic(request={"topic": MISSING_TOPIC})
    assert "Topic not found" in refusal.value.message
