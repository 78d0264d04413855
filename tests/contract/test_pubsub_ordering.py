"""Ordering keys: what a subscriber may see of one key, before and after something fails."""

import threading

import pytest
from google.cloud.pubsub_v1.subscriber.message import Message

from tests.contract.pubsub_servers import Pubsub, data_of
from tests.contract.push_endpoint import Endpoint, wait_until


def _publish_keys(pubsub: Pubsub, topic: str, keys: int, each: int) -> dict[str, list[bytes]]:
    expected: dict[str, list[bytes]] = {f"key-{k}": [] for k in range(keys)}
    for number in range(each):
        for key, sent in expected.items():
            sent.append(b"%d" % number)
            pubsub.publisher.publish(topic, sent[-1], ordering_key=key)
    pubsub.publish(topic, b"last", ordering_key="key-0")
    expected["key-0"].append(b"last")
    return expected


def test_each_key_arrives_in_the_order_it_was_published(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, enable_message_ordering=True)
    seen: dict[str, list[bytes]] = {}
    lock = threading.Lock()

    def collect(message: Message) -> None:
        with lock:
            seen.setdefault(message.ordering_key, []).append(message.data)
        message.ack()

    stream = pubsub.subscriber.subscribe(name, callback=collect)
    expected = _publish_keys(pubsub, topic, keys=10, each=40)
    wait_until(lambda: sum(map(len, seen.values())) >= 401, 15, f"401 messages, got {sum(map(len, seen.values()))}")
    stream.cancel()
    stream.result(timeout=10)
    assert seen == expected


def test_nothing_of_a_key_goes_to_another_pull_while_an_earlier_message_is_out(pubsub: Pubsub) -> None:
    # Two workers on one key at once would see its events in either order.
    topic = pubsub.topic()
    name = pubsub.subscription(topic, enable_message_ordering=True)
    for number in range(4):
        pubsub.publish(topic, b"%d" % number, ordering_key="k")
    first = pubsub.pull(name, limit=2)
    assert data_of(first) == [b"0", b"1"][: len(first)]
    assert pubsub.pull(name, limit=2, wait_seconds=0.5) == []
    pubsub.ack(name, *first)
    assert data_of(pubsub.pull(name, limit=1)) == [b"%d" % len(first)]


def test_keys_do_not_wait_for_each_other(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, enable_message_ordering=True)
    pubsub.publish(topic, b"stuck", ordering_key="a")
    assert data_of(pubsub.pull(name)) == [b"stuck"]
    pubsub.publish(topic, b"free", ordering_key="b")
    pubsub.publish(topic, b"plain")
    assert sorted(data_of(pubsub.pull_all(name, 2))) == [b"free", b"plain"]


@pytest.mark.google_differs("redelivers a nacked message alone, after its successors")
def test_after_a_nack_the_key_goes_on_from_the_nacked_message(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, enable_message_ordering=True)
    for number in range(4):
        pubsub.publish(topic, b"%d" % number, ordering_key="k")
    zero, one, _two = pubsub.pull(name, limit=3)
    pubsub.ack(name, zero)
    pubsub.extend(name, 0, one)
    assert data_of(pubsub.pull_all(name, 3, wait_seconds=1.5)) == [b"1", b"2", b"3"]


@pytest.mark.google_differs("does not redeliver acknowledged successors")
def test_a_redelivered_message_brings_even_acknowledged_successors_with_it(pubsub: Pubsub) -> None:
    # https://cloud.google.com/pubsub/docs/ordering: the price of order. Handlers must be idempotent.
    topic = pubsub.topic()
    name = pubsub.subscription(topic, enable_message_ordering=True)
    for number in range(3):
        pubsub.publish(topic, b"%d" % number, ordering_key="k")
    zero, *successors = pubsub.pull(name, limit=3)
    pubsub.ack(name, *successors)
    pubsub.extend(name, 0, zero)
    assert data_of(pubsub.pull_all(name, 3, wait_seconds=1.5)) == [b"0", b"1", b"2"]


@pytest.mark.google_differs("delivers a nacked message after its successors")
def test_a_stream_sees_a_key_in_order_after_a_nack(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, enable_message_ordering=True)
    seen: list[bytes] = []
    handled: list[bytes] = []

    def fail_once(message: Message) -> None:
        seen.append(message.data)
        if message.data == b"1" and seen.count(b"1") == 1:
            message.nack()
        else:
            handled.append(message.data)
            message.ack()

    stream = pubsub.subscriber.subscribe(name, callback=fail_once)
    for number in range(4):
        pubsub.publish(topic, b"%d" % number, ordering_key="k")
    wait_until(lambda: len(set(handled)) >= 4, 10, "all four handled")
    stream.cancel()
    stream.result(timeout=10)
    first_times = list(dict.fromkeys(handled))
    assert first_times == [b"0", b"1", b"2", b"3"]


def test_push_keeps_a_keys_order_when_the_endpoint_fails(pubsub: Pubsub, endpoint: Endpoint) -> None:
    endpoint.statuses = [204, 500, 500, 204]
    topic = pubsub.topic()
    pubsub.subscription(topic, enable_message_ordering=True, push_config={"push_endpoint": endpoint.url})
    ids = [pubsub.publish(topic, b"%d" % number, ordering_key="k") for number in range(4)]
    pushes = endpoint.wait_for(6)
    order = [push.envelope["message"]["messageId"] for push in pushes]
    assert order == [ids[0], ids[1], ids[1], ids[1], ids[2], ids[3]]
    assert endpoint.most_busy == 1


def test_without_ordering_on_the_subscription_a_key_is_only_carried(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publish(topic, b"0", ordering_key="k")
    pubsub.publish(topic, b"1", ordering_key="k")
    first = pubsub.pull(name, limit=1)
    second = pubsub.pull_all(name, 1)
    assert sorted(data_of(first + second)) == [b"0", b"1"]
    assert {r.message.ordering_key for r in first + second} == {"k"}
