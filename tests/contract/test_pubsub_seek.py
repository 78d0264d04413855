"""Seek and snapshots: what comes back, what stays away, and what a void lease can still do."""

import time
from datetime import UTC, datetime

import pytest
from google.api_core.exceptions import AlreadyExists, NotFound

from tests.contract.pubsub_servers import Pubsub, data_of, new_name


def _now() -> datetime:
    time.sleep(0.05)  # publish times have milliseconds; keep well apart from them
    moment = datetime.now(UTC)
    time.sleep(0.05)
    return moment


def _seek(pubsub: Pubsub, name: str, **target: object) -> None:
    pubsub.subscriber.seek(request={"subscription": name, **target})


def test_seeking_back_replays_acknowledged_messages_that_were_retained(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, retain_acked_messages=True)
    pubsub.publish(topic, b"early")
    moment = _now()
    pubsub.publish(topic, b"late")
    pubsub.ack(name, *pubsub.pull_all(name, 2))
    _seek(pubsub, name, time=moment)
    assert data_of(pubsub.pull_all(name, 1)) == [b"late"]
    assert pubsub.pull(name, wait_seconds=0.4) == []


def test_without_retention_an_acknowledged_message_is_gone(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    moment = _now()
    pubsub.publish(topic, b"x")
    pubsub.ack(name, *pubsub.pull(name))
    _seek(pubsub, name, time=moment)
    assert pubsub.pull(name, wait_seconds=0.5) == []


def test_seeking_forward_drops_the_backlog_and_only_that(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic)
    pubsub.publish(topic, b"old")
    (leased,) = pubsub.pull(name)
    pubsub.publish(topic, b"old too")
    _seek(pubsub, name, time=_now())
    pubsub.extend(name, 0, leased)
    pubsub.publish(topic, b"new")
    assert data_of(pubsub.pull_all(name, 1)) == [b"new"]
    assert pubsub.pull(name, wait_seconds=0.4) == []


def test_a_snapshot_brings_back_its_backlog_and_all_that_came_after(pubsub: Pubsub) -> None:
    topic = pubsub.topic()
    name = pubsub.subscription(topic, retain_acked_messages=True)
    pubsub.publish(topic, b"done before")
    pubsub.ack(name, *pubsub.pull(name))
    pubsub.publish(topic, b"pending")
    snapshot = pubsub.subscriber.create_snapshot(request={"name": new_name("snapshots"), "subscription": name})
    assert snapshot.topic == topic
    pubsub.publish(topic, b"after")
    pubsub.ack(name, *pubsub.pull_all(name, 2))
    _seek(pubsub, name, snapshot=snapshot.name)
    assert sorted(data_of(pubsub.pull_all(name, 2))) == [b"after", b"pending"]
    assert pubsub.pull(name, wait_seconds=0.4) == []


def test_snapshots_are_found_listed_and_deleted(pubsub: Pubsub) -> None:
    name = pubsub.subscription(pubsub.topic())
    request = {"name": new_name("snapshots"), "subscription": name}
    snapshot = pubsub.subscriber.create_snapshot(request=request).name
    with pytest.raises(AlreadyExists):
        pubsub.subscriber.create_snapshot(request=request)
    assert pubsub.subscriber.get_snapshot(request={"snapshot": snapshot}).name == snapshot
    listed = pubsub.subscriber.list_snapshots(request={"project": snapshot.rsplit("/", 2)[0]})
    assert snapshot in {found.name for found in listed}
    pubsub.subscriber.delete_snapshot(request={"snapshot": snapshot})
    with pytest.raises(NotFound):
        pubsub.subscriber.get_snapshot(request={"snapshot": snapshot})
    with pytest.raises(NotFound):
        _seek(pubsub, name, snapshot=snapshot)
