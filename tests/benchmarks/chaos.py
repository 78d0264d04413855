"""Many tasks while everything goes wrong for real, and what became of each: `make bench NAME=chaos` (build/bench/chaos.json).

Agents and the orchestrator are killed (SIGKILL) and stopped (SIGSTOP: their messages are late), acknowledgements of
publishes are lost behind a proxy (so messages are doubled), Redis is emptied (FLUSHALL) twice, and of the gateway's model
calls every tenth fails. Nobody helps: no job is run by hand but the sweep, each minute, as Cloud Scheduler would.
Counted are tasks that ended, that were completed, and people who got two emails. Exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import redis
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore, pubsub_v1

from agents.swarm.progress import Outcome
from emulators.environment import PROJECT
from schemas import rows
from schemas.messages import ProfileUpdate, Status, derive_id
from tests.benchmarks.reports import say, write_report
from tests.benchmarks.swarm import Ends, make_moment, watch_ends
from tests.benchmarks.team import make_suite
from tests.faults.faulty_cloud import FaultyCloud, start_faulty_cloud
from tests.faults.pubsub_proxy import Mode

REPORT = Path("build/bench/chaos.json")
TARGETS = {"ended": 1.0, "doubled": 0, "completed": 0.95, "completed_without_mail": 0}
VICTIMS = ("orchestrate", "agent-instant", "agent-creative-content", "agent-security-guardian", "act")
PAUSE_SECONDS = 1.0  # between two faults
SWEEP_SECONDS = 60.0


@dataclass
class Chaos:
    """Faults, one after another, until told to stop; what was done."""

    faulty: FaultyCloud
    victims: tuple[str, ...] = VICTIMS
    seed: int = 0
    done: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._stop = threading.Event()

    @contextmanager
    def running(self) -> Generator[None]:
        """Faults all the while; everything goes again at the end."""
        workers = [threading.Thread(target=work) for work in (self._break_things, self._sweep)]
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self.stop()
            for worker in workers:
                worker.join()

    def stop(self) -> None:
        """No more faults; the sweep goes on until the end of `running`."""
        self._stop.set()

    def flush(self) -> None:
        """Empty Redis."""
        with redis.Redis.from_url(self.faulty.env["REDIS_URL"]) as client:
            client.flushall()
        self.done["redis emptied"] += 1

    def _break_things(self) -> None:
        faults: list[Callable[[], None]] = [self._kill, self._kill, self._delay, self._double]
        while not self._stop.wait(PAUSE_SECONDS):
            self._chance.choice(faults)()

    def _kill(self) -> None:
        self.faulty.kill(self._chance.choice(self.victims))
        self.done["killed"] += 1

    def _delay(self) -> None:
        with self.faulty.stopped(self._chance.choice(self.victims)):
            time.sleep(self._chance.uniform(0.5, 3.0))
        self.done["stopped for a while"] += 1

    def _double(self) -> None:
        with self.faulty.failing_pubsub(Mode.MUTE):
            time.sleep(self._chance.uniform(0.2, 0.6))
        self.done["acknowledgements lost for a while"] += 1

    def _sweep(self) -> None:
        while not self._stop.wait(SWEEP_SECONDS):
            self.faulty.cloud.run_job("sweep_tasks")
            self.done["swept"] += 1


@contextmanager
def failing_gateway(faulty: FaultyCloud, every: int) -> Generator[None]:
    """Every n-th call of a model fails for good, so that the gateway answers 502 to it."""
    url = f"{faulty.env['GOOGLE_GEMINI_BASE_URL']}/_faults"
    with httpx.Client(trust_env=False, timeout=30) as http:
        http.post(url, json={"every": every, "status": 400}).raise_for_status()
        try:
            yield
        finally:
            http.delete(url).raise_for_status()


def publish_moments(kind: str, count: int, per_second: float, halt: Callable[[int], None]) -> dict[str, str]:
    """A person and a moment each, at a rate; task id -> address. `halt` is called with each number before it goes out."""
    client = pubsub_v1.PublisherClient()
    addresses: dict[str, str] = {}
    began = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        halt(number)
        person = f"chaos-{uuid4().hex[:12]}"
        address = f"{person}@shop.example"
        fields = {"email": address, "marketingConsent": True}  # or nobody is written to, and nothing can be doubled
        update = ProfileUpdate(user_id=person, event_id=person, at=datetime.now(UTC), fields=fields)
        moment = make_moment(kind, person, case_id=person, orders=5)
        for topic, data in (("user-profile-updates", msgspec.json.encode(update)), ("moments", rows.encode(moment))):
            client.publish(f"projects/{PROJECT}/topics/{topic}", data).result(60)
        addresses[derive_id(moment.moment_id, kind)] = address
    return addresses


def list_mails(faulty: FaultyCloud) -> dict[str, list[str]]:
    """The Message-IDs of what each address has got."""
    with httpx.Client(trust_env=False, timeout=60) as http:
        found = http.get(f"{faulty.env['ARGO_MAILBOX_URL']}/messages").json()
    mails: dict[str, list[str]] = {}
    for mail in found if isinstance(found, list) else found["messages"]:
        for address in mail["to"]:
            mails.setdefault(address, []).append(mail["headers"]["Message-ID"])
    return mails


def wait_for_mails(faulty: FaultyCloud, addresses: set[str], seconds: float) -> dict[str, list[str]]:
    """The emails, once everybody has one or the time is over."""
    until = time.monotonic() + seconds
    while not addresses <= (mails := list_mails(faulty)).keys() and time.monotonic() < until:
        time.sleep(1)
    return mails


def wait_for_outcomes(task_ids: set[str], seconds: float) -> dict[str, Outcome]:
    """Each closed task's outcome by the durable record, once all are closed or the time is over."""
    client = firestore.Client(project=PROJECT, credentials=AnonymousCredentials())
    until = time.monotonic() + seconds
    closed: set[str] = set()
    while not task_ids <= closed and time.monotonic() < until:
        time.sleep(2)
        is_closed = firestore.FieldFilter("open", "==", False)
        closed = {task.id for task in client.collection("tasks").where(filter=is_closed).select([]).stream()}
    outcomes: dict[str, Outcome] = {}
    for fact in client.collection_group("facts").stream():
        if fact.id == "outcome":
            outcomes[fact.reference.path.split("/")[1]] = msgspec.json.decode(fact.get("text"), type=Outcome)
    return {task_id: outcomes[task_id] for task_id in task_ids & closed}


def judge(faulty: FaultyCloud, addresses: dict[str, str], ends: Ends) -> dict[str, Any]:
    """What became of each task.

    An email that came twice with one Message-ID is one message, which mailboxes show once: between a mail server's yes and
    the note of it nobody can do better.
    """
    outcomes = wait_for_outcomes(set(addresses), 240)
    told = [{message.action for message, _ in ends.told[task_id]} for task_id in addresses if task_id in ends.told]
    completed = {task_id for task_id, outcome in outcomes.items() if outcome.status is Status.COMPLETED}
    mails = wait_for_mails(faulty, {addresses[task_id] for task_id in completed}, 120)
    ours = {address: mails.get(address, []) for address in addresses.values()}
    return {
        "tasks": len(addresses),
        "ended": round(len(outcomes) / len(addresses), 4),
        "completed": round(len(completed) / len(addresses), 4),
        "ended_both_ways": sum(len(said) > 1 for said in told),
        "doubled": sum(len(set(ids)) > 1 for ids in ours.values()),
        "same_message_delivered_twice": sum(len(ids) > len(set(ids)) for ids in ours.values()),
        "completed_without_mail": sum(not ours[addresses[task_id]] for task_id in completed),
        "reasons": Counter(outcome.reason for outcome in outcomes.values() if outcome.reason),
    }


def run_benchmark(count: int, per_second: float) -> dict[str, Any]:
    """The whole run as a report."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        root = make_suite(folder)
        flags = ("--root", str(root), "--topology", str(root / "schemas" / "topology.yaml"))
        with start_faulty_cloud(folder / "cloud", flags) as faulty, watch_ends() as ends, failing_gateway(faulty, 10):
            chaos = Chaos(faulty)

            def halt(number: int) -> None:
                if number in (count // 3, 2 * count // 3):
                    chaos.flush()
                if number % 50 == 0:
                    say(f"{number} moments, {len(ends.told)} ends, {dict(chaos.done)}")

            began = time.monotonic()
            with chaos.running():
                addresses = publish_moments("letter", count, per_second, halt)
            say(f"all moments are out; {len(ends.told)} ends")
            report = judge(faulty, addresses, ends)
            return {**report, "seconds": round(time.monotonic() - began), "faults": chaos.done, "targets": TARGETS}


def main() -> int:
    """Run, show, write."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.chaos", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000)
    parser.add_argument("--per-second", type=float, default=5.0)
    options = parser.parse_args()
    report = run_benchmark(options.tasks, options.per_second)
    report["machine"] = {"cores": os.cpu_count(), "load": os.getloadavg()}
    write_report(REPORT, report)
    print(json.dumps(report, indent=2))
    none = ("doubled", "ended_both_ways", "completed_without_mail")
    good = all(report[name] >= TARGETS[name] for name in ("ended", "completed"))
    return 0 if good and not any(report[name] for name in none) else 1


if __name__ == "__main__":
    sys.exit(main())
