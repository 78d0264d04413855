"""200 means durable, whatever fails: each fault for real, behind collect, and every accepted event in BigQuery once."""

import time
import uuid
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import httpx
import pytest
from google.cloud import bigquery, storage

from tests.faults.faulty_cloud import FaultyCloud, start_faulty_cloud
from tests.faults.pubsub_proxy import Mode

COUNT = 30


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Generator[FaultyCloud]:
    with start_faulty_cloud(tmp_path_factory.mktemp("faulty")) as faulty:
        yield faulty


def post(faulty: FaultyCloud, prefix: str) -> httpx.Response:
    events = [
        {"type": "page", "anonymousId": "a", "messageId": f"{prefix}-{number}", "userId": "u" if number == 0 else None}
        for number in range(COUNT)
    ]
    body = {"batch": events, "writeKey": faulty.env["ARGO_WRITE_KEY"]}
    return httpx.post(f"{faulty.env['ARGO_COLLECT_URL']}/v1/batch", json=body, timeout=20, trust_env=False)


def wait_for_all(prefix: str) -> tuple[int, int]:
    """Rows and distinct events in the view, once all are there or time is up."""
    sql = f"SELECT event_id FROM argo.interactions WHERE STARTS_WITH(event_id, '{prefix}-')"
    deadline = time.monotonic() + 40
    while True:
        found = [row["event_id"] for row in bigquery.Client().query(sql).result()]
        if len(set(found)) == COUNT or time.monotonic() > deadline:
            return len(found), len(set(found))
        time.sleep(0.3)


def list_spilled() -> set[str]:
    client = storage.Client()
    return {blob.name for blob in client.list_blobs(f"{client.project}-landing", prefix="spill/")}


@contextmanager
def bigquery_down(faulty: FaultyCloud) -> Generator[None]:
    pid = faulty.kill("bigquery")
    yield
    faulty.cloud.wait_until_back("bigquery", pid)


@pytest.mark.parametrize("fault", ["none", "refuse", "part", "mute", "pubsub", "bigquery"])
def test_what_was_answered_200_is_in_bigquery_once(faulty: FaultyCloud, fault: str) -> None:
    """Prevents: an event that a client was told is safe, lost or doubled by a fault behind collect."""
    faults: dict[str, AbstractContextManager[None]] = {
        "none": nullcontext(),
        "refuse": faulty.failing_pubsub(Mode.REFUSE),
        "part": faulty.failing_pubsub(Mode.PART),
        "mute": faulty.failing_pubsub(Mode.MUTE),
        "pubsub": faulty.stopped("pubsub"),
        "bigquery": bigquery_down(faulty),
    }
    prefix, before = f"{fault}-{uuid.uuid4().hex[:8]}", list_spilled()
    with faults[fault]:
        begun = time.monotonic()
        answer = post(faulty, prefix)
        took_seconds = time.monotonic() - begun
    assert (answer.status_code, answer.json()["accepted"]) == (200, COUNT)
    assert took_seconds < 10, "the quickest SDK gives up after 10 seconds"
    # The others may spill as well, while the breaker of a former fault pauses.
    if fault in ("refuse", "part", "mute", "pubsub"):
        assert list_spilled() - before
    assert wait_for_all(prefix) == (COUNT, COUNT)


def test_when_nothing_takes_it_the_client_is_told_when_to_come_back(faulty: FaultyCloud) -> None:
    """Prevents: a 200 for events that are nowhere, or a client left hanging."""
    prefix = f"both-{uuid.uuid4().hex[:8]}"
    with faulty.failing_pubsub(Mode.REFUSE), faulty.stopped("storage"):
        begun = time.monotonic()
        answer = post(faulty, prefix)
        took_seconds = time.monotonic() - begun
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert took_seconds < 10
    time.sleep(1.1)  # the breaker's pause
    assert post(faulty, prefix).status_code == 200
    assert wait_for_all(prefix) == (COUNT, COUNT)
