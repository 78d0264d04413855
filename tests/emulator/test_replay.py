"""`replay` on the laptop cloud: a dead letter reaches its store after all, or is held again, whatever kills the run."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, firestore, pubsub_v1
from google.pubsub_v1.types import PubsubMessage

from agents.replay import SOURCE
from emulators import scheduler
from emulators.cloud import LaptopCloud, job_environment
from emulators.environment import PROJECT
from emulators.native import ERROR_ATTRIBUTE
from schemas.topology import Job
from tests.emulator.cloud import cloud

__all__ = ["cloud"]
HELD = f"projects/{PROJECT}/subscriptions/dead-letters-replay"
NOW = "2026-11-20T08:00:00Z"
# The worst moment: everything is published, nothing is let go.
KILLED = """
import os, signal
from agents.tools.held import PubSubHeld
from functions.jobs.replay import run
PubSubHeld.acknowledge = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
run()
"""


@pytest.fixture(autouse=True)
def _clients_find_the_cloud(cloud: LaptopCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PUBSUB_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
        monkeypatch.setenv(name, cloud.env[name])


def publish(topic: str, content: object, **attributes: str) -> str:
    path = f"projects/{PROJECT}/topics/{topic}"
    return pubsub_v1.PublisherClient().publish(path, json.dumps(content).encode(), **attributes).result(20)


def select(sql: str) -> list[dict[str, Any]]:
    client = bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())
    return [dict(row.items()) for row in client.query_and_wait(sql)]


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def return_leases() -> None:
    """Ends every lease now, as their deadlines would in a minute."""
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    pubsub_v1.SubscriberClient().seek(request={"subscription": HELD, "time": hour_ago})


def find_held(wanted: set[str]) -> dict[str, PubsubMessage]:
    """The held messages whose bodies have one of these texts, by that text; waits for all of them."""
    found: dict[str, PubsubMessage] = {}
    subscriber = pubsub_v1.SubscriberClient()

    def has_all() -> bool:
        for received in subscriber.pull(subscription=HELD, max_messages=100, timeout=3).received_messages:
            body = received.message.data.decode(errors="replace")
            found.update({text: received.message for text in wanted if text in body})
        return found.keys() == wanted

    return_leases()
    wait_for(has_all, 20, f"{wanted} are held")
    return_leases()
    return found


def replay(cloud: LaptopCloud) -> str:
    """The summary line of a run that succeeds."""
    done = cloud.run_job("replay")
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "replay: " in line]
    return line


def count_sent(line: str, topic: str) -> int:
    found = re.search(rf"[( ]{topic} (\d+)", line)
    return int(found[1]) if found else 0


def make_signal(signal_id: str, **fields: object) -> dict[str, object]:
    return {"signal_id": signal_id, "kind": "trend", "observed_at": NOW, **fields}


def test_a_repaired_message_reaches_its_table_and_a_poisoned_one_is_held_again(cloud: LaptopCloud) -> None:
    """Prevents: dead letters that stay dead, that lose what they were, or that go round for ever."""
    run = uuid.uuid4().hex
    good, bad, lost = f"good-{run}", f"bad-{run}", f"lost-{run}"
    publish("market-signals", make_signal(bad, colour="red"), mark="own")
    publish("dead-letters", make_signal(good), **{SOURCE: "market-signals-warehouse", ERROR_ATTRIBUTE: "was away"})
    lost_id = publish("dead-letters", make_signal(lost), **{SOURCE: "gone-warehouse"})
    first = find_held({good, bad, lost})

    line = replay(cloud)
    assert count_sent(line, "market-signals") >= 2, line
    assert "of unknown source still held" in line

    wait_for(lambda: select(f"SELECT 1 AS n FROM argo.market_signals WHERE signal_id = '{good}'"), 10, "the good row")
    second = find_held({bad, lost})
    assert second[bad].message_id != first[bad].message_id, "the poisoned message was not sent at all"
    assert second[lost].message_id == lost_id
    assert second[bad].attributes["mark"] == "own"
    assert second[bad].attributes[ERROR_ATTRIBUTE] == "the table has no column colour"
    sql = f"SELECT 1 AS n FROM argo.dead_letters WHERE CONTAINS_SUBSTR(SAFE_CONVERT_BYTES_TO_STRING(data), '{bad}')"
    assert len(select(sql)) == 2, "one run sends a message once, however often it comes back"


def test_a_replay_killed_before_it_lets_go_and_the_next_change_nothing_twice(cloud: LaptopCloud) -> None:
    """Prevents: an event counted twice or lost, or a profile that says something else, because a replay was killed."""
    run = uuid.uuid4().hex
    rows = [
        {"event_id": f"{run}-{number}", "event_type": "page", "event_timestamp": NOW, "received_at": NOW, "source": "t"}
        for number in range(5)
    ]
    for row in rows:
        publish("dead-letters", {**row, "session_id": run}, **{SOURCE: "user-interactions-warehouse"})
    update = {"userId": run, "eventId": f"{run}-0", "at": NOW, "fields": {"language": "ko"}}
    publish("dead-letters", update, **{SOURCE: "user-profile-updates-profiles"})
    find_held({*(str(row["event_id"]) for row in rows), run})
    profile = firestore.Client(project=PROJECT, credentials=AnonymousCredentials()).collection("users").document(run)

    environment = job_environment(cloud.state.environment, "replay")
    command = [sys.executable, "-c", KILLED]
    killed = subprocess.run(command, env=environment, cwd=Path(cloud.state.root), check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    wait_for(lambda: count_rows(run)[0] == 5 and profile.get().exists, 15, "what the killed run had published")
    before = profile.get().to_dict()

    return_leases()
    line = replay(cloud)
    assert count_sent(line, "user-interactions") >= 5, line
    wait_for(lambda: count_rows(run)[0] == 10, 15, "the second copy of each row")
    assert count_rows(run) == (10, 5)
    assert profile.get().to_dict() == before
    assert count_sent(replay(cloud), "user-interactions") == 0, "what was let go was still held"


def count_rows(run: str) -> tuple[int, int]:
    """Rows of one test as they arrived, and events as everybody reads them."""
    raw = select(f"SELECT COUNT(*) AS n FROM argo.user_interactions WHERE session_id = '{run}'")[0]["n"]
    return raw, select(f"SELECT COUNT(*) AS n FROM argo.interactions WHERE session_id = '{run}'")[0]["n"]


def test_the_scheduler_follows_no_job_without_a_schedule(tmp_path: Path) -> None:
    """Prevents: a laptop that ends its scheduler, or replays by itself, because of a job that a person runs."""

    async def serve_a_while() -> None:
        async with asyncio.timeout(0.5):
            await scheduler.serve([Job(name="replay", description="stub")], tmp_path)

    with pytest.raises(TimeoutError):  # it ended by itself only if it had followed the job
        asyncio.run(serve_a_while())
