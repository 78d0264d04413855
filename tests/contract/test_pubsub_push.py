"""Push: the envelope, which answers count, and endpoints that fail, stall, or are not there yet."""

import base64
import time
from collections import Counter
from collections.abc import Iterator

import pytest
from google.pubsub_v1.types import PubsubMessage

from tests.contract.pubsub_servers import Pubsub, data_of
from tests.contract.push_endpoint import Endpoint, wait_until


@pytest.fixture(scope="module", autouse=True)
def stalled(pubsub_servers: dict[str, Pubsub]) -> Iterator[dict[str, Endpoint]]:
    """One stalling endpoint for each server, begun early: the shortest ack deadline is 10 s."""
    endpoints = {name: Endpoint(stall_seconds=25) for name in pubsub_servers}
    for name, pubsub in pubsub_servers.items():
        endpoints[name].open()
        topic = pubsub.topic()
        pubsub.subscription(topic, push_config=_push_to(endpoints[name]), ack_deadline_seconds=10)
        pubsub.publish(topic, b"x")
    yield endpoints
    for endpoint in endpoints.values():
        endpoint.close()


def _push_to(endpoint: Endpoint) -> dict[str, str]:
    return {"push_endpoint": endpoint.url}


def test_the_envelope_is_the_one_that_the_cloud_sends(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, push_config=_push_to(endpoint))
    message_id = pubsub.publish(topic, b"\x00data\xff", kind="order")
    (push,) = endpoint.wait_for(1)
    message = push.envelope["message"]
    assert push.envelope["subscription"] == name
    assert base64.b64decode(message["data"]) == b"\x00data\xff"
    assert message["attributes"] == {"kind": "order"}
    assert message["messageId"] == message["message_id"] == message_id
    assert message["publishTime"] == message["publish_time"]
    assert message["publishTime"].endswith("Z")
    assert "orderingKey" not in message
    assert "deliveryAttempt" not in push.envelope
    assert push.headers["content-type"] == "application/json"


@pytest.mark.google_differs("leaves orderingKey and deliveryAttempt out of the envelope")
def test_the_envelope_has_the_ordering_key_and_the_delivery_attempt(pubsub: Pubsub, endpoint: Endpoint) -> None:
    endpoint.statuses = [500]
    policy = {"dead_letter_topic": pubsub.topic(), "max_delivery_attempts": 5}
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=_push_to(endpoint), dead_letter_policy=policy, enable_message_ordering=True)
    pubsub.publish(topic, b"x", ordering_key="k")
    pushes = endpoint.wait_for(2)
    assert [push.envelope.get("deliveryAttempt") for push in pushes] == [1, 2]
    assert {push.envelope["message"].get("orderingKey") for push in pushes} == {"k"}


def test_a_message_of_nearly_10_megabytes_is_pushed(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=_push_to(endpoint))
    data = b"x" * 9_900_000
    pubsub.publish_raw(topic, PubsubMessage(data=data))
    (push,) = endpoint.wait_for(1)
    assert base64.b64decode(push.envelope["message"]["data"]) == data


def _pushes_by_status(pubsub: Pubsub, endpoint: Endpoint, *statuses: int) -> Counter[str]:
    """Returns how often messages are pushed whose first push is answered with these statuses."""
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=_push_to(endpoint))
    for status in statuses:
        pubsub.publish(topic, b"x", status=str(status))
    endpoint.wait_for(len(statuses))
    time.sleep(1.5 if pubsub.name == "google" else 0.6)  # Google's emulator tries again after a second
    return Counter(push.envelope["message"]["attributes"]["status"] for push in endpoint.pushes)


def test_200_201_and_204_acknowledge(pubsub: Pubsub, endpoint: Endpoint) -> None:
    assert _pushes_by_status(pubsub, endpoint, 200, 201, 204) == {"200": 1, "201": 1, "204": 1}


@pytest.mark.google_differs("does not count 202 as success, although the documentation does")
def test_202_acknowledges(pubsub: Pubsub, endpoint: Endpoint) -> None:
    assert _pushes_by_status(pubsub, endpoint, 202) == {"202": 1}


def test_any_other_answer_is_pushed_again(pubsub: Pubsub, endpoint: Endpoint) -> None:
    statuses = (205, 302, 400, 401, 404, 409, 429, 500, 503)
    assert _pushes_by_status(pubsub, endpoint, *statuses) == {str(status): 2 for status in statuses}


@pytest.mark.google_differs("counts 203 as success, although the documentation does not")
def test_203_is_pushed_again(pubsub: Pubsub, endpoint: Endpoint) -> None:
    assert _pushes_by_status(pubsub, endpoint, 203) == {"203": 2}


def test_an_endpoint_that_fails_for_a_while_gets_everything_in_the_end(pubsub: Pubsub, endpoint: Endpoint) -> None:
    endpoint.statuses = [500] * 12
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=_push_to(endpoint))
    ids = {pubsub.publish(topic, b"%d" % number) for number in range(6)}
    pushes = endpoint.wait_for(18, seconds=15)
    assert {push.envelope["message"]["messageId"] for push in pushes[12:]} == ids
    time.sleep(0.5)
    assert len(endpoint.pushes) == 18


def test_an_endpoint_that_refuses_connections_gets_everything_once_it_is_up(pubsub: Pubsub) -> None:
    # A function that starts after the first event, or restarts, must not lose what came meanwhile.
    endpoint = Endpoint()
    endpoint.open()
    endpoint.close()
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=_push_to(endpoint))
    ids = {pubsub.publish(topic, b"%d" % number) for number in range(5)}
    time.sleep(1.0)
    endpoint.open(endpoint.port)
    pushes = endpoint.wait_for(5)
    endpoint.close()
    assert {push.envelope["message"]["messageId"] for push in pushes} == ids


def test_a_poison_message_is_dead_lettered_and_the_others_go_through(pubsub: Pubsub, endpoint: Endpoint) -> None:
    dead = pubsub.topic()
    dead_name = pubsub.subscription(dead)
    topic = pubsub.topic()
    policy = {"dead_letter_topic": dead, "max_delivery_attempts": 5}
    endpoint.statuses = [500] * 5
    pubsub.subscription(topic, push_config=_push_to(endpoint), dead_letter_policy=policy)
    pubsub.publish(topic, b"poison")
    endpoint.wait_for(5, seconds=15)
    (letter,) = pubsub.pull_all(dead_name, 1)
    assert letter.message.data == b"poison"
    assert letter.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
    pubsub.publish(topic, b"good")
    endpoint.wait_for(6)
    time.sleep(0.3)
    assert len(endpoint.pushes) == 6


def test_a_slow_endpoint_is_pushed_to_in_parallel_but_not_without_bound(pubsub: Pubsub, endpoint: Endpoint) -> None:
    endpoint.stall_seconds = 0.1
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=_push_to(endpoint))
    count = 400 if pubsub.name == "argo" else 20  # Google's emulator pushes two or three at a time
    for number in range(count):
        pubsub.publisher.publish(topic, b"%d" % number)
    endpoint.wait_for(count)
    assert 1 < endpoint.most_busy <= 100


def test_one_stalled_endpoint_does_not_hold_up_another(pubsub: Pubsub, endpoint: Endpoint) -> None:
    stalled = Endpoint(stall_seconds=5)
    stalled.open()
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=_push_to(stalled))
    pubsub.subscription(topic, push_config=_push_to(endpoint))
    for number in range(20):
        pubsub.publish(topic, b"%d" % number)
    endpoint.wait_for(20, seconds=4)
    stalled.close()


def test_a_subscription_changes_between_push_and_pull(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, push_config=_push_to(endpoint))
    pubsub.publish(topic, b"pushed")
    endpoint.wait_for(1)
    pubsub.subscriber.modify_push_config(request={"subscription": name, "push_config": {}})
    pubsub.publish(topic, b"pulled")
    assert data_of(pubsub.pull_all(name, 1)) == [b"pulled"]
    pubsub.subscriber.modify_push_config(request={"subscription": name, "push_config": _push_to(endpoint)})
    pubsub.publish(topic, b"pushed again")
    endpoint.wait_for(2)


def test_an_unwrapped_push_is_the_data_with_its_metadata_in_headers(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    config = {"push_endpoint": endpoint.url, "no_wrapper": {"write_metadata": True}}
    name = pubsub.subscription(topic, push_config=config)
    message_id = pubsub.publish(topic, b"\x00raw", kind="order")
    (push,) = endpoint.wait_for(1)
    assert push.body == b"\x00raw"
    assert push.headers["x-goog-pubsub-message-id"] == message_id
    assert push.headers["x-goog-pubsub-subscription-name"] == name
    assert push.headers["kind"] == "order"


def test_an_attribute_that_cannot_be_a_header_does_not_stop_the_others(pubsub: Pubsub, endpoint: Endpoint) -> None:
    topic = pubsub.topic()
    config = {"push_endpoint": endpoint.url, "no_wrapper": {"write_metadata": True}}
    pubsub.subscription(topic, push_config=config)
    pubsub.publish(topic, b"bad", kind="é\n✓")
    pubsub.publish(topic, b"good")
    wait_until(lambda: b"good" in [push.body for push in endpoint.pushes], 5, "the good message")


def test_an_endpoint_that_closes_its_connections_loses_nothing(pubsub: Pubsub, endpoint: Endpoint) -> None:
    # A function's server restarts between two pushes; the kept connection is dead then.
    topic = pubsub.topic()
    pubsub.subscription(topic, push_config=_push_to(endpoint))
    for number in range(3):
        pubsub.publish(topic, b"%d" % number)
        endpoint.wait_for(number + 1)
        endpoint.close()
        endpoint.open(endpoint.port)


def test_an_endpoint_that_stalls_is_given_up_at_the_ack_deadline(pubsub: Pubsub, stalled: dict[str, Endpoint]) -> None:
    arrivals = stalled[pubsub.name].arrivals
    wait_until(lambda: len(arrivals) >= 2, 14, "a second attempt")
    assert 9.5 < arrivals[1] - arrivals[0] < 12.5
