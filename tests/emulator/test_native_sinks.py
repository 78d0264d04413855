"""What BigQuery and Cloud Storage subscriptions promise: every message is written or dead-lettered with its reason."""

from __future__ import annotations

import json
import os
import signal
import time
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, pubsub_v1, storage

from emulators.cloud import LaptopCloud
from emulators.native import ERROR_ATTRIBUTE
from tests.emulator.cloud import stub_cloud

__all__ = ["stub_cloud"]
PROJECT = "argo-local"
TOPIC = f"projects/{PROJECT}/topics/user-interactions"
REPLAY = f"projects/{PROJECT}/subscriptions/dead-letters-replay"


@pytest.fixture(autouse=True)
def _clients_find_the_cloud(stub_cloud: LaptopCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "STORAGE_EMULATOR_HOST"):
        monkeypatch.setenv(name, stub_cloud.env[name])


def make_row(event_id: str, **fields: object) -> dict[str, object]:
    now = "2026-11-20T08:00:00Z"
    required = {"event_id": event_id, "event_type": "page", "event_timestamp": now, "received_at": now, "source": "t"}
    return {**required, **fields}


def publish(bodies: list[bytes]) -> list[str]:
    publisher = pubsub_v1.PublisherClient()
    return [future.result(20) for future in [publisher.publish(TOPIC, body) for body in bodies]]


def select(sql: str) -> list[dict[str, Any]]:
    client = bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())
    return [dict(row) for row in client.query(sql).result()]


def count_rows(run: str) -> tuple[int, int]:
    """Rows and distinct events of one test."""
    sql = f"SELECT COUNT(*) AS n, COUNT(DISTINCT event_id) AS d FROM argo.user_interactions WHERE session_id = '{run}'"
    found = select(sql)[0]
    return found["n"], found["d"]


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def test_a_row_reaches_its_columns_within_seconds() -> None:
    """Prevents: events that only appear in BigQuery in the cloud, or in other columns."""
    run = uuid.uuid4().hex
    row = make_row(f"{run}-1", session_id=run, revenue="12.345678901", properties='{"colour":"red"}')
    row |= {"products": [{"product_id": "p1", "price": "9.99", "quantity": 2}], "location": {"latitude": 37.5}}
    publish([json.dumps(row).encode()])
    wait_for(lambda: count_rows(run)[0], 5, "the row is in BigQuery")
    sql = "SELECT event_id, revenue, JSON_VALUE(properties, '$.colour') AS colour, products, location.latitude AS lat"
    found = select(f"{sql} FROM argo.user_interactions WHERE session_id = '{run}'")[0]
    assert (found["event_id"], str(found["revenue"]), found["colour"]) == (f"{run}-1", "12.345678901", "red")
    assert (found["products"][0]["product_id"], found["products"][0]["quantity"], found["lat"]) == ("p1", 2, 37.5)


def test_a_bad_message_is_dead_lettered_with_its_reason_and_does_not_sink_its_batch() -> None:
    """Prevents: one bad event that blocks or drops the good ones, or vanishes without a reason."""
    run = uuid.uuid4().hex
    good = [json.dumps(make_row(f"{run}-{n}", session_id=run)).encode() for n in range(50)]
    bad = {
        json.dumps(make_row(f"{run}-a", session_id=run, colour="red")): "the table has no column colour",
        json.dumps(make_row(f"{run}-b", session_id=run, products=[{"product_id": "p", "quantity": "many"}])): (
            "column products[0].quantity takes INTEGER"
        ),
        json.dumps({"event_id": f"{run}-c", "session_id": run}): "required column event_timestamp is missing",
        f"not JSON {run}": "the message is not JSON",
    }
    ids = publish([*good[:25], *(body.encode() for body in bad), *good[25:]])
    assert len(ids) == len(good) + len(bad)
    wait_for(lambda: count_rows(run) == (50, 50), 10, "the good rows are in BigQuery, and no other")

    reasons: dict[str, str] = {}
    subscriber = pubsub_v1.SubscriberClient()

    def has_reasons() -> bool:
        answer = subscriber.pull(subscription=REPLAY, max_messages=100, timeout=3)
        for received in answer.received_messages:
            reasons[received.message.data.decode()] = received.message.attributes[ERROR_ATTRIBUTE]
        return bad.keys() <= reasons.keys()

    wait_for(has_reasons, 10, "every bad message is among the dead letters")
    for body, reason in bad.items():
        assert reasons[body].startswith(reason)


def test_a_dead_letter_is_a_row_with_its_metadata() -> None:
    """Prevents: dead letters that cannot be queried by their reason."""
    run = uuid.uuid4().hex
    (message_id,) = publish([json.dumps(make_row(f"{run}-x", colour=run)).encode()])
    assert message_id
    row = wait_for_dead_letter(f"CONTAINS_SUBSTR(SAFE_CONVERT_BYTES_TO_STRING(data), '{run}')")
    attributes = row["attributes"] if isinstance(row["attributes"], dict) else json.loads(row["attributes"])
    assert attributes[ERROR_ATTRIBUTE] == "the table has no column colour"
    assert attributes["CloudPubSubDeadLetterSourceSubscription"] == "user-interactions-warehouse"
    assert row["subscription_name"] == f"projects/{PROJECT}/subscriptions/dead-letters-warehouse"


def test_a_dead_letter_that_is_no_text_is_a_row_too() -> None:
    """Prevents: poison that is refused by the very table that keeps poison."""
    body = b"\xff\x00" + uuid.uuid4().bytes
    publish([body])
    row = wait_for_dead_letter(f"TO_HEX(data) = '{body.hex()}'")
    assert row["data"] == body


def wait_for_dead_letter(condition: str) -> dict[str, Any]:
    """The row of argo.dead_letters that fulfils a condition, once it is there."""
    sql = f"SELECT * FROM argo.dead_letters WHERE {condition}"
    wait_for(lambda: select(sql), 10, "the dead letter is a row")
    return select(sql)[0]


def test_the_archive_holds_every_body_as_a_line() -> None:
    """Prevents: a raw archive from which nothing can be replayed."""
    run = uuid.uuid4().hex
    bodies = {json.dumps(make_row(f"{run}-{n}", session_id=run)) for n in range(30)}
    publish([body.encode() for body in bodies])
    client = storage.Client(project=PROJECT, credentials=AnonymousCredentials())

    def read_lines() -> list[str]:
        blobs = list(client.list_blobs(f"{PROJECT}-archive", prefix="events/"))
        assert all(blob.name.endswith(".ndjson") for blob in blobs)
        return [line for blob in blobs for line in blob.download_as_bytes().decode(errors="replace").splitlines()]

    wait_for(lambda: bodies <= set(read_lines()), 15, "every body is a line of an object")


def test_a_stalled_bigquery_loses_nothing(stub_cloud: LaptopCloud) -> None:
    """Prevents: messages acknowledged that no table has."""
    run, pid = uuid.uuid4().hex, stub_cloud.health("bigquery").pid
    os.kill(pid, signal.SIGSTOP)
    try:
        publish([json.dumps(make_row(f"{run}-{n}", session_id=run)).encode() for n in range(100)])
        time.sleep(7)  # longer than one attempt
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: count_rows(run)[1] == 100, 20, "every event is in BigQuery after all")
    assert "messages wait" in stub_cloud.log_tail("native")


def test_a_killed_native_process_loses_nothing(stub_cloud: LaptopCloud) -> None:
    """Prevents: messages lost in the memory of a process that died."""
    run = uuid.uuid4().hex
    bodies = [json.dumps(make_row(f"{run}-{n}", session_id=run)).encode() for n in range(2000)]
    publish(bodies[:1000])
    pid = stub_cloud.kill("native")
    publish(bodies[1000:])
    stub_cloud.wait_until_back("native", pid)
    wait_for(lambda: count_rows(run)[1] == 2000, 30, "every event is in BigQuery")
