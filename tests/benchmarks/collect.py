"""What collect carries beside an empty function on the same worker setup: `make bench`. Ratios, because machines differ.

One run: the laptop cloud and an empty function; the empty function, collect with one event a request, and collect with
batches take turns, so that a noisy moment of the machine hits all three; the median of the turns counts. The worker under
test has one core for itself and the other core carries the rest: this client and the Pub/Sub server. What is behind Pub/Sub
(the native sinks) is paused while a turn lasts, because in the cloud it runs on nobody's machine, and catches up between
turns. Then all run freely on all cores: the most events a second, one a request, that the laptop carries all the way (until
the last row is in BigQuery), half of that at a fixed rate, and how long each event takes to its row.
Writes build/bench/collect.json.
"""

import argparse
import asyncio
import os
import statistics
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from emulators.cloud import LaptopCloud
from tests.benchmarks.arrival import Watcher, await_rows, measure_latency
from tests.benchmarks.load import CONNECTIONS, Outcome, run_closed, run_paced
from tests.benchmarks.reports import say, write_report
from tests.benchmarks.requests import Maker
from tests.benchmarks.worker import cpu_seconds, paused, pin_all, run_empty_function

REPORT = Path("build/bench/collect.json")
BATCH = 100
TARGETS = {"one_to_empty": 0.5, "batch_to_one": 15.0, "p95_seconds": 2.0}
DRAIN_SECONDS = 60.0  # between runs, at most, for BigQuery to have what collect took


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One run of one kind of request; `busy` is the share of one core that the answering process used."""

    requests_per_second: float
    events_per_second: float
    events_per_core_second: float
    busy: float
    latency_ms: dict[str, float]
    failures: int
    events: int


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where requests go, and the process that answers."""

    port: int
    pid: int
    write_key: str
    batch: int


def measure(target: Target, seconds: float) -> Turn:
    """One closed-loop run."""
    make = Maker(target.port, target.write_key, f"bench-{uuid.uuid4().hex[:8]}", target.batch)
    before = cpu_seconds(target.pid)
    outcome: Outcome = uvloop.run(run_closed(target.port, make, seconds))
    used = max(cpu_seconds(target.pid) - before, 0.001)
    events = len(outcome.latencies_seconds) * target.batch
    return Turn(
        requests_per_second=round(outcome.per_second, 1),
        events_per_second=round(outcome.per_second * target.batch, 1),
        events_per_core_second=round(events / used, 1),
        busy=round(used / outcome.seconds, 2),
        latency_ms={f"p{percent}": round(outcome.percentile_ms(percent), 2) for percent in (50, 95, 99)},
        failures=len(outcome.failures),
        events=events,
    )


def measure_turns(targets: dict[str, Target], sinks: int, turns: int, seconds: float) -> tuple[dict[str, Turn], int]:
    """Every target in turn, several times, with the process of the sinks paused; the turn with the median rate of each.

    And how many events collect has taken in all.
    """
    runs: dict[str, list[Turn]] = {name: [] for name in targets}
    taken = sum(
        measure(target, 1.0).events for name, target in targets.items() if name != "empty"
    )  # warm: imports, caches
    for _ in range(turns):
        for name, target in targets.items():
            await_rows(taken, DRAIN_SECONDS)
            with paused(sinks):
                runs[name].append(measure(target, seconds))
            taken += runs[name][-1].events if name != "empty" else 0
            say(f"{name}: {runs[name][-1].requests_per_second:,.0f} requests/s")
    await_rows(taken, DRAIN_SECONDS)
    middle = {name: statistics.median_low(t.requests_per_second for t in done) for name, done in runs.items()}
    found = {name: next(t for t in done if t.requests_per_second == middle[name]) for name, done in runs.items()}
    return found, taken


def measure_arrival(target: Target, per_second: float, seconds: float) -> dict[str, float]:
    """Client to BigQuery at a fixed rate of single events."""
    prefix = f"arrival-{uuid.uuid4().hex[:8]}"
    make, watcher = Maker(target.port, target.write_key, prefix, 1), Watcher(prefix)
    watcher.start()
    outcome = asyncio.run(run_paced(target.port, make, seconds, per_second))
    watcher.wait_for(len(make.sent_at) // 10, 20)
    watcher.stop()
    return {
        "events_per_second": round(outcome.per_second, 1),
        "wanted_per_second": round(per_second, 1),
        **measure_latency(make.sent_at, watcher.seen_at),
    }


def run_benchmark(turns: int, seconds: float) -> dict[str, Any]:
    """The whole run as a report."""
    with (
        tempfile.TemporaryDirectory() as directory,
        LaptopCloud(Path(directory)) as cloud,
        run_empty_function() as idle,
    ):
        os.environ.update(cloud.env)
        port = int(cloud.env["ARGO_COLLECT_URL"].rpartition(":")[2])
        key, pid = cloud.env["ARGO_WRITE_KEY"], cloud.health("collect").pid
        one = Target(port=port, pid=pid, write_key=key, batch=1)
        targets = {
            "empty": Target(port=idle[0], pid=idle[1], write_key=key, batch=1),
            "one": one,
            "batch": Target(port=port, pid=pid, write_key=key, batch=BATCH),
        }
        pin_all({pid, idle[1]})
        found, taken = measure_turns(targets, cloud.health("native").pid, turns, seconds)
        pin_all(set())
        begun = time.monotonic()
        found["free"] = measure(one, 2 * seconds)
        await_rows(taken + found["free"].events, DRAIN_SECONDS)
        carried = found["free"].events / (time.monotonic() - begun)
        say(f"one, everything running: {carried:,.0f} events/s to BigQuery")
        arrival = measure_arrival(one, carried / 2, 2 * seconds)
    ratios = {
        "one_to_empty": found["one"].requests_per_second / found["empty"].requests_per_second,
        "batch_to_one": found["batch"].events_per_second / found["one"].events_per_second,
        "one_to_empty_per_core": found["one"].events_per_core_second / found["empty"].events_per_core_second,
        "batch_to_one_per_core": found["batch"].events_per_core_second / found["one"].events_per_core_second,
    }
    return {
        "ratios": {name: round(value, 3) for name, value in ratios.items()},
        "targets": TARGETS,
        "runs": {name: vars(turn) for name, turn in found.items()},
        "client_to_bigquery": {"most_per_second": round(carried, 1), **arrival},
        "machine": {"cores": os.cpu_count(), "load": os.getloadavg()},
        "setup": {"connections": CONNECTIONS, "batch": BATCH, "worker_cores": 1 if os.cpu_count() != 1 else "shared"},
    }


def show(report: dict[str, Any]) -> None:
    """The report for people."""
    for name, run in report["runs"].items():
        latency = ", ".join(f"{key} {value} ms" for key, value in run["latency_ms"].items())
        print(
            f"{name:6} {run['requests_per_second']:>9,.0f} requests/s {run['events_per_second']:>9,.0f} events/s"
            f" {run['events_per_core_second']:>9,.0f} per core ({run['busy']:.0%} busy); {latency}; {run['failures']} failed"
        )
    arrival, ratios = report["client_to_bigquery"], report["ratios"]
    print(f"one event a request / empty function: {ratios['one_to_empty']} (target {TARGETS['one_to_empty']})")
    print(f"batches of {BATCH} / one at a time, events/s: {ratios['batch_to_one']} (target {TARGETS['batch_to_one']})")
    print(f"the same per second of collect's processor: {ratios['one_to_empty_per_core']}, ", end="")
    print(ratios["batch_to_one_per_core"])
    print(
        f"client to BigQuery at {arrival['events_per_second']:,.0f} of {arrival['most_per_second']:,.0f} events/s:"
        f" p50 {arrival['p50_seconds']} s,"
        f" p95 {arrival['p95_seconds']} s (target {TARGETS['p95_seconds']}), missing {arrival['missing']}"
    )


def main() -> None:
    """Run, show, write."""
    parser = argparse.ArgumentParser(prog="tests.benchmarks.collect", description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    report = run_benchmark(options.turns, options.seconds)
    write_report(REPORT, report)
    show(report)
    print(f"written to {REPORT}")


if __name__ == "__main__":
    main()
