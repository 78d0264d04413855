"""How fast and how full the swarm runs on the laptop cloud: `make bench NAME=swarm`. Writes build/bench/swarm.json.

- a hop: publish to the start of an agent's action, beside an empty push function on the same Pub/Sub;
- a playbook of three levels and eight steps with an agent that answers at once (tests/benchmarks/team.py);
- many such tasks at once: how many were in flight, how many a second, each decided exactly once;
- a moment to the email in the mailbox: the playbook win_back with its real agents and the scripted model.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.message import Message

from agents.tools.seals import GoogleSeals
from emulators.cloud import LaptopCloud
from emulators.environment import PROJECT
from schemas import rows
from schemas.messages import AgentMessage, Kind, ProfileUpdate, derive_id
from tests.benchmarks.load import percentile
from tests.benchmarks.reports import say, write_report
from tests.benchmarks.team import make_suite, read_seen

REPORT = Path("build/bench/swarm.json")
TARGETS = {"hop_ratio": 1.5, "levels_p95_seconds": 1.0, "in_flight": 200, "email_p95_seconds": 5.0}
WAIT_SECONDS = 120.0


@dataclass
class Ends:
    """The ends of tasks as they were told on the bus: by task, each telling with its arrival; and answers, likewise."""

    answers: dict[str, list[tuple[str, float]]] = field(default_factory=lambda: defaultdict(list))
    told: dict[str, list[tuple[AgentMessage, float]]] = field(default_factory=lambda: defaultdict(list))

    def wait_for(self, task_ids: list[str], seconds: float = WAIT_SECONDS) -> list[str]:
        """The tasks that have not ended in time."""
        until = time.monotonic() + seconds
        while (left := [task_id for task_id in task_ids if task_id not in self.told]) and time.monotonic() < until:
            time.sleep(0.01)
        return left


@contextmanager
def watch_ends(*, answers: bool = False) -> Generator[Ends]:
    """Hear every end of a task from now on, by a subscription of one's own; with `answers` every agent's answer, too."""
    subscriber, ends = pubsub_v1.SubscriberClient(), Ends()
    path = subscriber.subscription_path(PROJECT, f"bench-{uuid4().hex[:8]}")
    topic = f"projects/{PROJECT}/topics/agent-results"
    wanted = 'attributes.action = "task_completed" OR attributes.action = "task_failed"'
    wanted += ' OR attributes.kind = "response"' if answers else ""
    subscriber.create_subscription(request={"name": path, "topic": topic, "filter": wanted})

    def take(message: Message) -> None:
        at = time.time()
        told = msgspec.json.decode(message.data, type=AgentMessage)
        if told.kind is Kind.RESPONSE:
            ends.answers[told.parent_task_id or ""].append((told.action, at))
        else:
            ends.told[told.task_id].append((told, at))
        message.ack()

    stream = subscriber.subscribe(path, callback=take)
    try:
        yield ends
    finally:
        stream.cancel()
        stream.result()
        subscriber.close()


class Sender:
    """Publishes to topics at once, without waiting for a batch."""

    def __init__(self) -> None:
        self._client = pubsub_v1.PublisherClient(pubsub_v1.types.BatchSettings(max_messages=1))

    def send(self, topic: str, data: bytes, attributes: dict[str, str] | None = None) -> float:
        """Publish; when it was sent (seconds since 1970)."""
        at = time.time()
        self._client.publish(f"projects/{PROJECT}/topics/{topic}", data, **(attributes or {})).result(30)
        return at

    def send_moment(self, kind: str, user_id: str, **data: Any) -> tuple[str, float]:
        """Publish a moment; its id, and when it was sent."""
        moment = make_moment(kind, user_id, **data)
        return moment.moment_id, self.send("moments", rows.encode(moment))


def make_moment(kind: str, user_id: str, **data: Any) -> rows.Moment:
    """A moment of its own."""
    return rows.Moment(
        moment_id=derive_id("bench", uuid4().hex),
        kind=kind,
        user_id=user_id,
        detected_at=datetime.now(UTC),
        data=json.dumps({"user_id": user_id, **data}),
    )


def measure_hops(folder: Path, sender: Sender, count: int, per_second: float) -> dict[str, Any]:
    """Publish to start: commands to an agent and messages to the empty function, in turn, at a fixed rate.

    `handler` is where the agent's handler begins, `action` where its own code does: after the seal and the allow-list are
    checked and Redis was asked whether the request is answered already.
    """
    seals, sent = GoogleSeals(), dict[str, dict[str, float]](handler={}, empty={})
    began = time.perf_counter()
    for number in range(count + 40):  # the first ones warm both up
        time.sleep(max(0.0, began + number / per_second - time.perf_counter()))
        message = _write_command()
        data = msgspec.json.encode(message)
        attributes = message.attributes() | seals.seal(data)
        for name, topic in (("handler", "agent-tasks"), ("empty", "nothing")):
            at = sender.send(topic, data, attributes)
            if number >= 40:
                sent[name][message.task_id] = at
    found: dict[str, Any] = {}
    for name, times in {**sent, "action": sent["handler"]}.items():
        _wait_until(lambda name=name, times=times: times.keys() <= read_seen(folder / f"{name}.seen").keys(), name)
        seen = read_seen(folder / f"{name}.seen")
        found[name] = describe([seen[task_id] - at for task_id, at in times.items()])
    least = found["empty"]["p95_seconds"]
    return {
        **found,
        "ratio": round(found["handler"]["p95_seconds"] / least, 3),
        "ratio_to_action": round(found["action"]["p95_seconds"] / least, 3),
    }


def _write_command() -> AgentMessage:
    return AgentMessage(
        task_id=uuid4().hex,
        correlation_id="bench",
        source_agent="MasterOrchestratorAgent",
        target_agent="InstantAgent",
        action="note",
        kind=Kind.COMMAND,
        payload={"userId": "bench", "moment": {"momentId": "bench", "kind": "bench"}},
        timestamp=datetime.now(UTC),
        deadline=datetime.now(UTC) + timedelta(seconds=60),
    )


def measure_levels(sender: Sender, ends: Ends, count: int) -> dict[str, Any]:
    """One task after the other: from the moment's publish to the word of its end."""
    latencies: list[float] = []
    for number in range(count + 5):
        moment_id, sent_at = sender.send_moment("levels", f"bench-{number}")
        task_id = derive_id(moment_id, "levels")
        if ends.wait_for([task_id]):
            raise RuntimeError(f"task {task_id} has not ended")
        if number >= 5:
            latencies.append(ends.told[task_id][0][1] - sent_at)
    return describe(latencies)


def measure_load(sender: Sender, ends: Ends, count: int) -> dict[str, Any]:
    """Many tasks at once: how many were open together, how many ended a second, and how often each."""
    client = pubsub_v1.PublisherClient()
    moments = [make_moment("levels", f"load-{number}") for number in range(count)]
    began = time.time()
    for future in [client.publish(f"projects/{PROJECT}/topics/moments", rows.encode(moment)) for moment in moments]:
        future.result(30)
    del sender
    task_ids = [derive_id(moment.moment_id, "levels") for moment in moments]
    lost = ends.wait_for(task_ids, 300)
    time.sleep(3)  # for ends that are told twice
    told = {task_id: ends.told[task_id] for task_id in task_ids if task_id in ends.told}
    spans = [(datetime.fromisoformat(one[0][0].payload["startedAt"]).timestamp(), one[0][1]) for one in told.values()]
    results = [{json.dumps(message.payload, sort_keys=True) for message, _ in one} for one in told.values()]
    return {
        "tasks": count,
        "lost": len(lost),
        "decided_differently_twice": sum(len(one) > 1 for one in results),
        "failed": sum(one[0][0].action != "task_completed" for one in told.values()),
        "most_in_flight": count_overlap(spans),
        "tasks_per_second": round(count / (max(end for _, end in spans) - began), 1),
    }


def count_overlap(spans: list[tuple[float, float]]) -> int:
    """How many spans were open at once at most."""
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    most = now = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def measure_emails(cloud: LaptopCloud, sender: Sender, count: int) -> dict[str, Any]:
    """A moment of win_back to the email in the mailbox, one after the other."""
    latencies: list[float] = []
    steps: dict[str, list[float]] = defaultdict(list)
    with httpx.Client(trust_env=False, timeout=30) as http, watch_ends(answers=True) as ends:
        _make_popular(cloud, http)
        for number in range(count + 3):
            person = f"bench-{uuid4().hex[:10]}"
            address = f"{person}@shop.example"
            update = ProfileUpdate(
                user_id=person,
                event_id=person,
                at=datetime.now(UTC),
                fields={"email": address, "language": "en", "marketingConsent": True},
            )
            sender.send("user-profile-updates", msgspec.json.encode(update))
            time.sleep(0.5)
            moment_id, sent_at = sender.send_moment("lapsed_buyer", person, case_id=person, orders=5)
            _wait_until(lambda address=address: has_mail(cloud, http, address), f"the mail to {address}", 0.02)
            if number >= 3:
                latencies.append(time.time() - sent_at)
                for action, at in ends.answers[derive_id(moment_id, "win_back")]:
                    steps[action].append(at - sent_at)
    reached = {action: round(percentile(times, 50), 3) for action, times in steps.items()}
    return {**describe(latencies), "answered_after_p50_seconds": reached}


def has_mail(cloud: LaptopCloud, http: httpx.Client, address: str) -> bool:
    """Whether somebody has mail."""
    found = http.get(f"{cloud.env['ARGO_MAILBOX_URL']}/messages").json()
    mails = found if isinstance(found, list) else found["messages"]
    return any(address in mail["to"] for mail in mails)


def _make_popular(cloud: LaptopCloud, http: httpx.Client) -> None:
    """Orders of other people, so that there is something to recommend."""
    products = [{"product_id": f"p{number}", "name": f"LAMP No. {number}", "price": 2.5} for number in range(5)]
    batch = [
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": uuid4().hex,
            "userId": f"crowd-{number}",
            "properties": {"order_id": f"o{number}", "revenue": 12.5, "products": products},
        }
        for number in range(5)
    ]
    body = {"batch": batch, "writeKey": cloud.env["ARGO_WRITE_KEY"]}
    http.post(f"{cloud.env['ARGO_COLLECT_URL']}/v1/batch", json=body).raise_for_status()
    time.sleep(3)


def describe(values: list[float]) -> dict[str, float]:
    """Percentiles of seconds."""
    return {f"p{percent}_seconds": round(percentile(values, percent), 4) for percent in (50, 95, 99)} | {
        "count": len(values)
    }


def _wait_until(look: Callable[[], bool], what: str, pause_seconds: float = 0.1) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while not look():
        if time.monotonic() > until:
            raise RuntimeError(f"not within {WAIT_SECONDS:.0f} s: {what}")
        time.sleep(pause_seconds)


def run_benchmark(scale: float) -> dict[str, Any]:
    """The whole run as a report."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        root = make_suite(folder)
        flags = ("--root", str(root), "--topology", str(root / "schemas" / "topology.yaml"))
        with LaptopCloud(folder / "cloud", flags=flags) as cloud:
            os.environ.update(cloud.env)
            # The benchmark speaks as the orchestrator, by the orchestrator's own account.
            os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = str(folder / "cloud" / "accounts" / "orchestrate.json")
            os.environ["K_SERVICE"] = "orchestrate"
            sender = Sender()
            with watch_ends() as ends:
                report: dict[str, Any] = {"levels": measure_levels(sender, ends, round(40 * scale))}
                say(f"three levels, eight steps: {report['levels']}")
                report["hops"] = measure_hops(folder, sender, round(400 * scale), 20)
                say(f"hops: {report['hops']}")
                report["emails"] = measure_emails(cloud, sender, round(20 * scale))
                say(f"moment to email: {report['emails']}")
                report["load"] = measure_load(sender, ends, round(400 * scale))
                say(f"load: {report['load']}")
    return {**report, "targets": TARGETS, "machine": {"cores": os.cpu_count(), "load": os.getloadavg()}}


def show(report: dict[str, Any]) -> None:
    """The report for people."""
    hops, load = report["hops"], report["load"]
    print(
        f"hop p95 {hops['handler']['p95_seconds'] * 1000:.1f} ms, empty {hops['empty']['p95_seconds'] * 1000:.1f} ms: ",
        end="",
    )
    print(f"{hops['ratio']} (target {TARGETS['hop_ratio']})")
    print(f"eight steps p95 {report['levels']['p95_seconds']} s (target {TARGETS['levels_p95_seconds']})")
    print(
        f"in flight {load['most_in_flight']} (target {TARGETS['in_flight']}), {load['tasks_per_second']} tasks/s, ",
        end="",
    )
    print(f"lost {load['lost']}, decided twice {load['decided_differently_twice']}, failed {load['failed']}")
    print(f"moment to email p95 {report['emails']['p95_seconds']} s (target {TARGETS['email_p95_seconds']})")


def main() -> None:
    """Run, show, write."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.swarm", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the usual numbers")
    report = run_benchmark(parser.parse_args().scale)
    write_report(REPORT, report)
    show(report)
    print(f"written to {REPORT}")


if __name__ == "__main__":
    main()
