"""At least 100,000 events through a schedule of real faults, and what became of each: `make bench NAME=faults`.

Clients that behave as SDKs do (tests/faults/sdk.py) send events with ids while processes are killed and stopped and
Pub/Sub fails behind a proxy. Then everything is left to recover by itself, and BigQuery is asked. Lost is an event that
was answered 200 without a rejection and is not in the view; no replay is run before it is counted.
Writes build/bench/faults.json; exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.cloud import bigquery, pubsub_v1, storage

from emulators.environment import PROJECT
from schemas.topology import bucket_id
from tests.benchmarks.load import percentile
from tests.benchmarks.reports import say, write_report
from tests.faults.faulty_cloud import FaultyCloud, start_faulty_cloud
from tests.faults.pubsub_proxy import Mode
from tests.faults.sdk import Answered, Ledger, Sdk, run_clients

REPORT = Path("build/bench/faults.json")
CLIENTS = 12
BATCHES = (1, 20, 50, 100, 5)  # events a request, in turn
KNOWN_SHARE = 20  # one event of so many is of a known person and goes to the profiles, too
STILL_SECONDS = 60.0  # without another event in BigQuery, and what is not there is lost
POISON = {
    "user-interactions": (b"not JSON", b'{"event_id":"poison","colour":"red"}', b"\xff\x00"),
    "user-profile-updates": (b'{"userId":7}', b"[]"),
    "landing-objects": (b"{}",),  # without the attributes of a notification it is none, and done
}


@dataclass(kw_only=True)
class Phase:
    """One fault: what is done, and when it was."""

    name: str
    run: Callable[[FaultyCloud, float], None]
    seconds: float
    began: float = 0.0
    ended: float = 0.0


@dataclass(kw_only=True)
class Producer:
    """Gives clients their batches at a rate of events a second, until told to stop and enough were given."""

    prefix: str
    per_second: float
    at_least: int
    began: float = field(default_factory=time.monotonic)
    given: int = 0
    stopping: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _sizes: Any = field(default_factory=lambda: itertools.cycle(BATCHES))

    def take(self) -> list[dict[str, Any]] | None:
        """The next batch at its time, or None when all is given."""
        with self._lock:
            if self.stopping and self.given >= self.at_least:
                return None
            first, size = self.given, next(self._sizes)
            self.given += size
        time.sleep(max(0.0, self.began + first / self.per_second - time.monotonic()))
        return [self._make_event(number) for number in range(first, first + size)]

    def _make_event(self, number: int) -> dict[str, Any]:
        who = {"userId": f"{self.prefix}-u{number % 50}"} if number % KNOWN_SHARE == 0 else {}
        return {
            "type": "track",
            "event": "Product Viewed",
            "messageId": f"{self.prefix}-{number:07d}",
            "anonymousId": f"{self.prefix}-a{number % 500}",
            "properties": {"product_id": f"p{number % 200}", "price": 2.55},
            **who,
        }


def kill_in_turn(*names: str) -> Callable[[FaultyCloud, float], None]:
    """SIGKILL of one process after the other, about every two seconds."""

    def run(faulty: FaultyCloud, seconds: float) -> None:
        end = time.monotonic() + seconds
        for name in itertools.cycle(names):
            faulty.kill(name)
            time.sleep(2.0)
            if time.monotonic() > end:
                return

    return run


def fail_pubsub(mode: Mode) -> Callable[[FaultyCloud, float], None]:
    """Pub/Sub answers, but as the proxy's mode says."""

    def run(faulty: FaultyCloud, seconds: float) -> None:
        with faulty.failing_pubsub(mode):
            time.sleep(seconds)

    return run


def stall_pubsub(faulty: FaultyCloud, seconds: float) -> None:
    """Pub/Sub's process gets no processor."""
    with faulty.stopped("pubsub"):
        time.sleep(seconds)


def stop_both(faulty: FaultyCloud, seconds: float) -> None:
    """Pub/Sub refuses and Cloud Storage hangs: nothing can be promised."""
    with faulty.failing_pubsub(Mode.REFUSE), faulty.stopped("storage"):
        time.sleep(seconds)


def keep_stores_down(faulty: FaultyCloud, seconds: float) -> None:
    """BigQuery and the graph are dead, and a job that needs both is run into it."""
    failed: list[int] = []
    job = threading.Timer(seconds / 2, lambda: failed.append(faulty.cloud.run_job("sync_graph").returncode))
    job.start()
    faulty.keep_down("bigquery", "graph", seconds=seconds)
    job.join()


def publish_poison(faulty: FaultyCloud, seconds: float) -> None:
    """Messages that no subscriber can ever take, between the good ones."""
    del faulty
    client = pubsub_v1.PublisherClient()
    for topic, bodies in POISON.items():
        for body in bodies:
            client.publish(f"projects/{PROJECT}/topics/{topic}", body).result(20)
    time.sleep(seconds)


def rest(_: FaultyCloud, seconds: float) -> None:
    """No fault."""
    time.sleep(seconds)


def make_schedule(scale: float) -> list[Phase]:
    """Every fault, with a pause after those that leave something to recover."""
    parts: list[tuple[str, Callable[[FaultyCloud, float], None], float]] = [
        ("calm", rest, 4),
        ("collect killed", kill_in_turn("collect"), 12),
        ("native, ingest, profiles killed", kill_in_turn("native", "ingest", "profiles"), 8),
        ("Pub/Sub stalled", stall_pubsub, 12),
        ("Pub/Sub refuses", fail_pubsub(Mode.REFUSE), 10),
        ("Pub/Sub takes half of each call", fail_pubsub(Mode.PART), 6),
        ("Pub/Sub's acknowledgements lost", fail_pubsub(Mode.MUTE), 6),
        ("poison messages", publish_poison, 4),
        ("Pub/Sub and Cloud Storage down", stop_both, 15),
        ("recovery", rest, 5),
        ("BigQuery and graph down", keep_stores_down, 60),
        ("collect killed while it spills", spill_and_kill, 8),
        ("recovery", rest, 5),
    ]
    return [Phase(name=name, run=run, seconds=seconds * scale) for name, run, seconds in parts]


def spill_and_kill(faulty: FaultyCloud, seconds: float) -> None:
    """Pub/Sub refuses and collect dies in the middle of writing to the landing bucket."""
    with faulty.failing_pubsub(Mode.REFUSE):
        kill_in_turn("collect")(faulty, seconds)


def run_schedule(faulty: FaultyCloud, schedule: list[Phase], producer: Producer) -> None:
    """Every phase in turn, then the rest of the events."""
    try:
        for phase in schedule:
            say(f"{phase.name}: {phase.seconds:.0f} s ({producer.given:,} events so far)")
            phase.began = time.monotonic()
            phase.run(faulty, phase.seconds)
            phase.ended = time.monotonic()
    finally:
        producer.stopping = True


def query(sql: str, prefix: str) -> list[dict[str, Any]]:
    """Rows of a query with the parameter @prefix."""
    parameter = bigquery.ScalarQueryParameter("prefix", "STRING", prefix)
    config = bigquery.QueryJobConfig(query_parameters=[parameter], use_query_cache=False)
    return [dict(row.items()) for row in bigquery.Client().query(sql, job_config=config).result()]


def await_recovery(prefix: str, wanted: int) -> float:
    """How long it took until BigQuery had so many events, or got no more."""
    began = last = time.monotonic()
    found = 0
    sql = "SELECT COUNT(DISTINCT event_id) AS n FROM argo.user_interactions WHERE STARTS_WITH(event_id, @prefix)"
    while time.monotonic() < last + STILL_SECONDS:
        (row,) = query(sql, prefix)
        say(f"recovering: {row['n']:,} of {wanted:,} in BigQuery")
        if row["n"] >= wanted:
            break
        if row["n"] > found:
            found, last = row["n"], time.monotonic()
        time.sleep(2.0)
    return time.monotonic() - began


def read_outcome(prefix: str, ledger: Ledger) -> dict[str, int]:
    """What became of the events, from BigQuery's own answer."""
    rows = query("SELECT event_id FROM argo.interactions WHERE STARTS_WITH(event_id, @prefix)", prefix)
    in_view = Counter(row["event_id"] for row in rows)
    raw = query("SELECT COUNT(*) AS n FROM argo.user_interactions WHERE STARTS_WITH(event_id, @prefix)", prefix)
    dead = query("SELECT COUNT(DISTINCT data) AS n FROM argo.dead_letters WHERE subscription_name != @prefix", prefix)
    bucket = storage.Client().bucket(bucket_id(os.environ["GOOGLE_CLOUD_PROJECT"], "landing"))
    return {
        "sent": ledger.sent,
        "accepted": len(ledger.accepted),
        "rejected": ledger.rejected.total(),
        "given_up_by_client": len(ledger.given_up),
        "in_bigquery": len(in_view),
        "duplicates_in_view": in_view.total() - len(in_view),
        "lost": len(ledger.accepted - in_view.keys()),
        "rows_in_table": raw[0]["n"],
        "client_retries": ledger.retries,
        "spilled_objects": sum(1 for _ in bucket.list_blobs(prefix="spill/")),
        "dead_letters": dead[0]["n"],
    }


def read_graph(faulty: FaultyCloud, prefix: str) -> dict[str, Any]:
    """The job that fills the graph, after the outage that it met."""
    from neo4j import GraphDatabase

    began = time.monotonic()
    code = faulty.cloud.run_job("sync_graph").returncode
    auth = (os.environ["NEO4J_USERNAME"], os.environ["NEO4J_PASSWORD"])
    with GraphDatabase.driver(os.environ["NEO4J_URI"], auth=auth) as driver:
        cypher = "MATCH (e:Event) WHERE e.eventId STARTS WITH $prefix RETURN count(e) AS n"
        records, _, _ = driver.execute_query(cypher, prefix=prefix, database_=os.environ["NEO4J_DATABASE"])
    return {"exit_code": code, "events": records[0]["n"], "seconds": round(time.monotonic() - began, 1)}


def describe_phase(phase: Phase, answers: list[Answered]) -> dict[str, Any]:
    """What clients met while a fault lasted."""
    own = [one for one in answers if phase.began <= one.at < phase.ended]
    taken = [one.seconds for one in own if one.outcome == "200"]
    return {
        "phase": phase.name,
        "seconds": round(phase.ended - phase.began, 1),
        "outcomes": dict(Counter(one.outcome for one in own).most_common()),
        "503_without_retry_after": sum(one.outcome == "503" and not one.retry_after for one in own),
        "p50_ms": round(percentile(taken, 50) * 1000) if taken else None,
        "p95_ms": round(percentile(taken, 95) * 1000) if taken else None,
        "slowest_ms": round(max((one.seconds for one in own), default=0) * 1000),
    }


def run_benchmark(events: int, per_second: float, scale: float) -> dict[str, Any]:
    """The whole run as a report."""
    schedule, ledger = make_schedule(scale), Ledger()
    with tempfile.TemporaryDirectory() as directory, start_faulty_cloud(Path(directory)) as faulty:
        producer = Producer(prefix=f"fault-{uuid.uuid4().hex[:8]}", per_second=per_second, at_least=events)
        faults = threading.Thread(target=run_schedule, args=(faulty, schedule, producer))
        faults.start()
        url, key = faulty.env["ARGO_COLLECT_URL"], faulty.env["ARGO_WRITE_KEY"]
        run_clients(CLIENTS, lambda: Sdk(url, key, ledger), producer.take)
        faults.join()
        say(f"{ledger.sent:,} events sent; waiting for what is still on its way")
        recovery_seconds = await_recovery(producer.prefix, len(ledger.accepted))
        outcome = read_outcome(producer.prefix, ledger)
        graph = read_graph(faulty, producer.prefix)
        restarts = {name: health.restarts for name, health in faulty.cloud.state.services.items() if health.restarts}
    return {
        "outcome": outcome,
        "recovery_seconds": round(recovery_seconds, 1),
        "graph_after_the_outage": graph,
        "phases": [describe_phase(phase, ledger.answers) for phase in schedule],
        "restarts": restarts,
        "replay": "not run: nothing that was accepted was dead-lettered",
    }


def find_misses(report: dict[str, Any], events: int) -> list[str]:
    """Every target that the run missed."""
    outcome = report["outcome"]
    wanted = {
        f"at least {events:,} events sent": outcome["sent"] >= events,
        "nothing lost": outcome["lost"] == 0,
        "no duplicate in the view": outcome["duplicates_in_view"] == 0,
        "no good event rejected": outcome["rejected"] == 0,
        "every 503 has Retry-After": not any(phase["503_without_retry_after"] for phase in report["phases"]),
        "503 when both are down": any("503" in phase["outcomes"] for phase in report["phases"]),
        "the spill was used": outcome["spilled_objects"] > 0,
        "every poison message kept": outcome["dead_letters"] == sum(map(len, POISON.values())) - 1,
        "the graph has every event": report["graph_after_the_outage"]["events"] == outcome["in_bigquery"],
    }
    return [name for name, met in wanted.items() if not met]


def show(report: dict[str, Any], misses: list[str]) -> None:
    """The report for people."""
    print(f"{'fault':34} {'s':>5} {'p50 ms':>7} {'p95 ms':>7} {'max ms':>7}  answers")
    for phase in report["phases"]:
        counts = ", ".join(f"{name} {count}" for name, count in phase["outcomes"].items())
        times = [phase[name] if phase[name] is not None else "-" for name in ("p50_ms", "p95_ms", "slowest_ms")]
        print(f"{phase['phase']:34} {phase['seconds']:>5} {times[0]:>7} {times[1]:>7} {times[2]:>7}  {counts}")
    for name, count in report["outcome"].items():
        print(f"{name.replace('_', ' '):20} {count:>9,}")
    print(
        f"recovered within {report['recovery_seconds']} s of the last event; graph: {report['graph_after_the_outage']}"
    )
    print(f"restarts: {report['restarts']}; replay: {report['replay']}")
    print("targets missed: " + "; ".join(misses) if misses else "every target met")


def main() -> int:
    """Run, show, write; 1 when a target was missed."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.faults", description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--per-second", type=float, default=750.0)
    parser.add_argument("--scale", type=float, default=1.0, help="of every fault's length")
    options = parser.parse_args()
    report = run_benchmark(options.events, options.per_second, options.scale)
    misses = report["missed"] = find_misses(report, options.events)
    write_report(REPORT, report)
    show(report, misses)
    print(f"written to {REPORT}")
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
