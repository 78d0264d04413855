"""Any function process may be killed in mid-replay: no event is lost, and none is twice in the de-duplicated view."""

import json
import os
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
from google.cloud import bigquery, firestore

from tests.system.test_clients import wait_for_events

BATCHES, BATCH = 60, 25


def kill_service(directory: Path, name: str) -> None:
    """SIGKILL one process of the cloud, found in the state that the supervisor writes."""
    services = json.loads((directory / "state.json").read_text())["services"]
    os.kill(services[name]["pid"], signal.SIGKILL)


def post_until_accepted(url: str, body: dict[str, object]) -> None:
    """What an SDK does: send the same batch again until it hears 200."""
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = httpx.post(f"{url}/v1/batch", json=body, timeout=10, trust_env=False)
            if answer.status_code == 200:
                return
            assert answer.status_code >= 500, answer.text
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, "collect did not come back"
        time.sleep(0.2)


def test_killed_functions_lose_nothing_and_double_nothing(env: dict[str, str], cloud_directory: Path) -> None:
    prefix = f"kill-{uuid.uuid4()}"

    def make_batch(number: int) -> dict[str, object]:
        events = [
            {
                "type": "track",
                "event": "Product Viewed",
                "userId": f"{prefix}-u{n}",
                "messageId": f"{prefix}-{number}-{n}",
            }
            for n in range(BATCH)
        ]
        return {"batch": events, "writeKey": env["ARGO_WRITE_KEY"]}

    def kill_in_turn() -> None:
        for name in ("collect", "native", "profiles", "orchestrate", "ingest", "act", "collect", "native"):
            time.sleep(0.4)
            kill_service(cloud_directory, name)

    killer = threading.Thread(target=kill_in_turn)
    killer.start()
    with ThreadPoolExecutor(4) as pool:
        posts = [
            pool.submit(post_until_accepted, env["ARGO_COLLECT_URL"], make_batch(number)) for number in range(BATCHES)
        ]
        killer.join()
        for post in posts:
            post.result()
    found = wait_for_events(bigquery.Client(), prefix, BATCHES * BATCH, seconds=60)
    assert len(set(found)) == BATCHES * BATCH, "events that got 200 are lost"
    assert len(found) == len(set(found)), "an event is twice in the view"
    assert_profiles_arrive(prefix)


def assert_profiles_arrive(prefix: str) -> None:
    """Every person's profile is there although `profiles` was killed: Pub/Sub redelivers."""
    users = firestore.Client().collection("users")
    wanted = {f"{prefix}-u{n}" for n in range(BATCH)}
    deadline = time.monotonic() + 60
    while missing := {name for name in wanted if not users.document(name).get().exists}:
        assert time.monotonic() < deadline, f"{len(missing)} profiles did not arrive"
        time.sleep(0.5)
