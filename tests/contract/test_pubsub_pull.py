"""Publishing and pulling: nothing lost, nothing altered, leases, redelivery, dead letters, filters, limits."""

import subprocess
import sys
import threading
import time

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud.pubsub_v1.subscriber.exceptions import AcknowledgeStatus
from google.cloud.pubsub_v1.subscriber.message import Message
from google.protobuf.duration_pb2 import Duration
from google.pubsub_v1.types import PubsubMessage, ReceivedMessage

from tests.contract.pubsub_servers import ROOT, Pubsub, data_of

_PULL_AND_HANG = """
import sys, time
from google.cloud import pubsub_v1
subscriber = pubsub_v1.SubscriberClient()
received = subscriber.pull(subscription=sys.argv[1], max_messages=10, timeout=10).received_messages
subscriber.modify_ack_deadline(subscription=sys.argv[1], ack_ids=[r.ack_id for r in received], ack_deadline_seconds=2)
print(len(received), flush=True)
time.sleep(60)
"""


def test_a_message_arrives_as_it_was_published(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    data = bytes(range(256)) * 10
    message_id = pubsub.publish(topic, data, kind="order", empty="", uni="é✓")
    (received,) = pubsub.pull(name)
    assert received.message.data == data
    assert dict(received.message.attributes) == {"kind": "order", "empty": "", "uni": "é✓"}
    assert received.message.message_id == message_id
    published = ReceivedMessage.pb(received).message.publish_time.seconds
    assert abs(published - time.time()) < 30
    assert received.delivery_attempt == 0  # counted only where a dead letter policy is set


def test_every_subscription_gets_every_message_and_only_later_ones(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    pubsub.publish(topic, b"before")
    names = [pubsub.subscription(topic) for _ in range(3)]
    pubsub.publish(topic, b"after")
    assert [data_of(pubsub.pull(name)) for name in names] == [[b"after"]] * 3


def test_message_ids_are_unique_and_in_request_order(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    ids = pubsub.publish_raw(topic, *(PubsubMessage(data=b"%d" % i) for i in range(1000)))
    assert len(set(ids)) == 1000
    received = pubsub.pull_all(name, 1000)
    assert {r.message.message_id: r.message.data for r in received} == {
        message_id: b"%d" % i for i, message_id in enumerate(ids)
    }


def test_an_acknowledged_message_never_comes_back(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publish(topic, b"x")
    (received,) = pubsub.pull(name)
    pubsub.extend(name, 1, received)
    pubsub.ack(name, received)
    assert pubsub.pull(name, wait_seconds=1.4) == []


def test_a_leased_message_is_nobody_elses_until_its_deadline(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publish(topic, b"x")
    (first,) = pubsub.pull(name)
    assert pubsub.pull(name, wait_seconds=0.5) == []
    pubsub.extend(name, 1, first)
    (second,) = pubsub.pull_all(name, 1)
    assert second.message == first.message
    assert second.ack_id != first.ack_id


def test_a_nack_brings_a_message_back_at_once(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publish(topic, b"x")
    started = time.monotonic()
    pubsub.extend(name, 0, *pubsub.pull(name))
    assert data_of(pubsub.pull(name)) == [b"x"]
    assert time.monotonic() - started < 2


def test_a_killed_subscriber_loses_nothing(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    for i in range(3):
        pubsub.publish(topic, b"%d" % i)
    command = [sys.executable, "-c", _PULL_AND_HANG, name]
    environment = {"PUBSUB_EMULATOR_HOST": pubsub.address, "PATH": ""}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, env=environment) as victim:
        assert victim.stdout is not None
        taken = int(victim.stdout.readline())
        victim.kill()
    assert taken > 0
    assert sorted(data_of(pubsub.pull_all(name, 3, wait_seconds=8))) == [b"0", b"1", b"2"]


def test_a_pull_waits_for_a_message_that_comes_later(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    later = threading.Timer(0.3, pubsub.publish, (topic, b"late"))
    later.start()
    assert data_of(pubsub.pull(name, wait_seconds=10)) == [b"late"]
    later.join()


@pytest.mark.google_differs("the first nack of a message is not delayed, and the rest is in steps of 2 s")
def test_a_retry_policy_delays_redelivery_more_each_time(pubsub: Pubsub) -> None:
    # Without it a failing handler is called in a tight loop.
    topic = pubsub.topic()
    name = pubsub.subscription(
        topic, retry_policy={"minimum_backoff": Duration(nanos=300_000_000), "maximum_backoff": Duration(seconds=1)}
    )
    pubsub.publish(topic, b"x")
    (received,) = pubsub.pull_all(name, 1)
    for expected_seconds in (0.3, 0.6, 1.0, 1.0):
        pubsub.extend(name, 0, received)
        nacked = time.monotonic()
        (received,) = pubsub.pull_all(name, 1)
        assert time.monotonic() - nacked >= expected_seconds - 0.05


def test_a_dead_letter_goes_out_after_the_last_attempt_with_its_history(pubsub: Pubsub) -> None:
    dead = pubsub.topic()
    dead_name = pubsub.subscription(dead)
    topic = pubsub.topic()
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    name = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.publish(topic, b"poison", kind="order")
    attempts: list[int] = []
    for _ in range(5):
        (received,) = pubsub.pull_all(name, 1)
        attempts.append(received.delivery_attempt)
        pubsub.extend(name, 0, received)
    assert attempts == [1, 2, 3, 4, 5]
    assert pubsub.pull(name, wait_seconds=0.5) == []  # Google's emulator forwards when the next attempt would be due
    (letter,) = pubsub.pull_all(dead_name, 1)
    attributes = dict(letter.message.attributes)
    published = attributes.pop("CloudPubSubDeadLetterSourceTopicPublishTime")
    assert published.endswith("Z")
    assert "T" in published
    assert attributes == {
        "kind": "order",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": name.rsplit("/", 1)[1],
        "CloudPubSubDeadLetterSourceSubscriptionProject": name.split("/")[1],
    }
    assert letter.message.data == b"poison"


def test_expired_leases_count_as_attempts_too(pubsub: Pubsub) -> None:
    # A handler that crashes never nacks; its message must reach the dead letter topic all the same.
    dead = pubsub.topic()
    dead_name = pubsub.subscription(dead)
    topic = pubsub.topic()
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    name = pubsub.subscription(topic, dead_letter_policy=policy)
    pubsub.publish(topic, b"crash")
    for attempt in range(5):
        (received,) = pubsub.pull_all(name, 1)
        pubsub.extend(name, 1 if attempt == 4 else 0, received)
    time.sleep(1.3)
    assert pubsub.pull(name, wait_seconds=0.5) == []
    assert data_of(pubsub.pull_all(dead_name, 1)) == [b"crash"]


@pytest.mark.google_differs("ignores filters: every subscription gets every message")
def test_a_filter_delivers_what_matches_and_acknowledges_the_rest(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    names = {
        "orders": pubsub.subscription(topic, filter='attributes.kind = "order"'),
        "other": pubsub.subscription(topic, filter='attributes:kind AND NOT attributes.kind = "order"'),
        "big": pubsub.subscription(topic, filter='hasPrefix(attributes.size, "x")'),
        "all": pubsub.subscription(topic),
    }
    pubsub.publish(topic, b"1", kind="order", size="xl")
    pubsub.publish(topic, b"2", kind="view", size="s")
    pubsub.publish(topic, b"3")
    found = {key: sorted(data_of(pubsub.pull(name, wait_seconds=1))) for key, name in names.items()}
    assert found == {"orders": [b"1"], "other": [b"2"], "big": [b"1"], "all": [b"1", b"2", b"3"]}


def test_exactly_once_acknowledgements_are_confirmed(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, enable_exactly_once_delivery=True)
    pubsub.publish(topic, b"x")
    results: list[object] = []
    done = threading.Event()

    def confirm(message: Message) -> None:
        results.append(message.ack_with_response().result(timeout=10))
        done.set()

    stream = pubsub.subscriber.subscribe(name, callback=confirm)
    assert done.wait(10)
    stream.cancel()
    stream.result(timeout=10)
    assert results == [AcknowledgeStatus.SUCCESS]


def test_large_messages_come_in_responses_that_the_client_takes(pubsub: Pubsub) -> None:
    # In emulator mode the client's channel has gRPC's 4 MiB limit; a larger batch would never arrive.
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    sent = [bytes([65 + i]) * 1_500_000 for i in range(5)] + [b"z" * 4_000_000]
    for data in sent:
        pubsub.publish_raw(topic, PubsubMessage(data=data))
    received: list[ReceivedMessage] = []
    while len(received) < len(sent):
        batch = pubsub.pull(name, limit=1 if pubsub.name == "google" else 100, wait_seconds=5)
        assert batch, f"{len(received)} of {len(sent)} arrived"
        received += batch
    assert sorted(data_of(received)) == sorted(sent)


BAD_PUBLISHES: dict[str, list[PubsubMessage]] = {
    "no message": [],
    "an empty message": [PubsubMessage()],
    "an ordering key alone": [PubsubMessage(ordering_key="k")],
    "1,001 messages": [PubsubMessage(data=b"x")] * 1001,
}


@pytest.mark.parametrize("messages", BAD_PUBLISHES.values(), ids=BAD_PUBLISHES.keys())
def test_a_bad_publish_is_invalid(pubsub: Pubsub, messages: list[PubsubMessage]) -> None:
    with pytest.raises(InvalidArgument):
        pubsub.publish_raw(pubsub.topic(), *messages)


OVER_THE_LIMIT: dict[str, PubsubMessage] = {
    "over 10 MB": PubsubMessage(data=b"x" * 10_000_001),
    "an attribute without a key": PubsubMessage(attributes={"": "x"}),
    "a reserved attribute": PubsubMessage(attributes={"goog-x": "x"}),
    "an attribute value over 1,024 bytes": PubsubMessage(attributes={"a": "x" * 1025}),
    "101 attributes": PubsubMessage(attributes={f"a{i}": "x" for i in range(101)}),
    "an ordering key over 1,024 bytes": PubsubMessage(data=b"x", ordering_key="k" * 1025),
}


@pytest.mark.google_differs("checks no limits of size or attributes")
@pytest.mark.parametrize("message", OVER_THE_LIMIT.values(), ids=OVER_THE_LIMIT.keys())
def test_a_message_over_a_documented_limit_is_invalid_and_nothing_is_published(
    pubsub: Pubsub, message: PubsubMessage
) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    with pytest.raises(InvalidArgument):
        pubsub.publish_raw(topic, PubsubMessage(data=b"good"), message)
    assert pubsub.pull(name, wait_seconds=0.3) == []


def test_a_bad_ack_id_or_deadline_is_invalid(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publish(topic, b"x")
    (received,) = pubsub.pull(name)
    with pytest.raises(InvalidArgument):
        pubsub.subscriber.acknowledge(request={"subscription": name, "ack_ids": ["nonsense"]})
    with pytest.raises(InvalidArgument):
        pubsub.ack(name)
    with pytest.raises(InvalidArgument):
        pubsub.extend(name, -1, received)


@pytest.mark.google_differs("accepts an extension beyond 600 s")
def test_an_extension_beyond_600_seconds_is_invalid(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publish(topic, b"x")
    with pytest.raises(InvalidArgument):
        pubsub.extend(name, 601, *pubsub.pull(name))


def test_a_late_acknowledgement_is_no_error(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publish(topic, b"x")
    (received,) = pubsub.pull(name)
    pubsub.extend(name, 0, received)
    (again,) = pubsub.pull_all(name, 1)
    pubsub.ack(name, received)
    pubsub.ack(name, again)
    pubsub.ack(name, again)
