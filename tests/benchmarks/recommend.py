"""How fast `recommend` answers, and what becomes of it when a store stops: `make bench NAME=recommend`.

On the laptop cloud with 10,000 people, 5,000 products and 200,000 events (tests/benchmarks/recommend_shop.py):
- the graph's question alone, one after another; then answers without the model at 50 a second on one worker;
- from a product view posted to `collect` to another answer in the same visit;
- with Neo4j, Redis, BigQuery and the gateway killed, one after another: every answer, its latency, what it says is missing.
Writes build/bench/recommend.json; exits with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from neo4j import GraphDatabase

from agents.recommender.items import ProductName
from agents.recommender.learned import RECENT_PRODUCTS
from agents.recommender.paths import find_paths
from emulators.cloud import LaptopCloud
from emulators.identity import make_person_token
from emulators.state import log_path
from tests.benchmarks.driver_graph import DriverGraph
from tests.benchmarks.load import Outcome, percentile, run_paced
from tests.benchmarks.recommend_shop import WRITER, Shop, Size, fill, make_shop
from tests.benchmarks.reports import say, write_report
from tests.benchmarks.worker import paused
from tests.emulator.standins import wait_until

REPORT = Path("build/bench/recommend.json")
TARGETS = {"graph_p95_ms": 30.0, "answer_p95_ms": 60.0, "per_second": 50.0, "change_p95_seconds": 2.0}
# What an answer may take when a source has just stopped: its bound once (agents/recommender/service.py), then none of it.
STOPPED = {"graph": "graph", "llm": "model", "bigquery": "", "redis": "serving"}
STOPPED_SECONDS = 10.0
LAST = "redis"  # it loses its data


def measure_graph(cloud: LaptopCloud, shop: Shop, count: int) -> dict[str, float]:
    """Stage 2's question by ten recent products each, one after another, through the driver."""
    draw, seconds, found = random.Random(1), list[float](), 0
    login = (cloud.env["NEO4J_USERNAME"], cloud.env["NEO4J_PASSWORD"])
    with GraphDatabase.driver(cloud.env["NEO4J_URI"], auth=login, notifications_min_severity="OFF") as driver:
        graph = DriverGraph(driver, cloud.env["NEO4J_DATABASE"])
        for number in range(count + 50):
            visit = shop.sample(draw, RECENT_PRODUCTS)
            recent = [ProductName(product_id=one, name=one) for one in visit]
            begun = time.perf_counter()
            paths = find_paths(graph, recent)
            if number >= 50:
                seconds.append(time.perf_counter() - begun)
                found += len(paths)
    return {**describe_ms(seconds), "products_found": round(found / count, 1)}


def measure_answers(cloud: LaptopCloud, shop: Shop, seconds: float, per_second: float) -> dict[str, Any]:
    """Answers without the model at a fixed rate, each for somebody else; the first seconds warm up and do not count."""
    draw = random.Random(2)
    port = int(cloud.endpoint("recommend").rpartition(":")[2])
    asked = [make_get(cloud, port, shop.person(draw.randrange(shop.size.people))) for _ in range(2_000)]
    choose: Callable[[], bytes] = lambda: draw.choice(asked)  # noqa: E731 -- what run_paced takes
    asyncio.run(run_paced(port, choose, min(10.0, seconds), per_second / 2))
    before = count_degraded(cloud)
    outcome: Outcome = asyncio.run(run_paced(port, choose, seconds, per_second))
    return {
        **describe_ms(outcome.latencies_seconds),
        "asked_per_second": per_second,
        "answered_per_second": round(outcome.per_second, 1),
        "failures": dict(Counter(outcome.failures)),
        "degraded": count_degraded(cloud) - before,
    }


def count_degraded(cloud: LaptopCloud) -> int:
    """How often an answer had to do without a source so far, by the function's log."""
    return log_path(cloud.directory, "recommend").read_text(encoding="utf-8").count("degraded: no ")


def measure_change(cloud: LaptopCloud, shop: Shop, count: int) -> dict[str, float]:
    """Seconds from a view that was posted to an answer that rests on it, for people who just came."""
    draw, seconds = random.Random(3), list[float]()
    with httpx.Client(timeout=30, trust_env=False) as http:
        for number in range(count):
            person, product = f"newcomer{number}", shop.sample(draw, 1)[0]
            event: dict[str, Any] = {
                "type": "track",
                "event": "Product Viewed",
                "userId": person,
                "messageId": f"n{number}",
            }
            event["properties"] = {"product_id": product}
            body = {"batch": [event], "writeKey": cloud.env["ARGO_WRITE_KEY"]}
            begun = time.perf_counter()
            http.post(f"{cloud.endpoint('collect')}/v1/batch", json=body).raise_for_status()
            while product not in _find_starts(ask(http, cloud, person, model="false", explain="true")):
                if time.perf_counter() - begun > 30:
                    raise RuntimeError(f"{person}'s answer does not rest on {product} after 30 s")
                time.sleep(0.02)
            seconds.append(time.perf_counter() - begun)
    return {f"p{p}_seconds": round(percentile(seconds, p), 3) for p in (50, 95, 99)} | {"count": count}


def measure_stops(cloud: LaptopCloud, shop: Shop, count: int) -> dict[str, Any]:
    """Every store killed, one after another, and not brought back meanwhile: how fast answers are, and what they say."""
    draw, report = random.Random(4), dict[str, Any]()
    with httpx.Client(timeout=60, trust_env=False) as http:
        for name in STOPPED:
            wait_until(lambda: not ask(http, cloud, shop.person(0))["degraded"], seconds=60)
            seconds, said, statuses = list[float](), Counter[str](), Counter[int]()
            with paused(cloud.state.pid):  # the supervisor
                killed = cloud.kill(name)
                for _ in range(count):
                    begun = time.perf_counter()
                    answer = get(http, cloud, shop.person(draw.randrange(shop.size.people)), explain="true")
                    seconds.append(time.perf_counter() - begun)
                    statuses[answer.status_code] += 1
                    said.update(answer.json().get("degraded", []))
            if name != LAST:
                cloud.wait_until_back(name, killed, 60.0)
            report[name] = {
                "first_seconds": round(seconds[0], 3),
                **describe_ms(seconds[1:]),
                "statuses": dict(statuses),
                "said_missing": dict(said),
            }
    return report


def ask(http: httpx.Client, cloud: LaptopCloud, person: str, **asked: str) -> dict[str, Any]:
    """One answer."""
    return get(http, cloud, person, **asked).raise_for_status().json()


def get(http: httpx.Client, cloud: LaptopCloud, person: str, **asked: str) -> httpx.Response:
    """One response, whatever it is."""
    token = make_person_token(cloud.env["GOOGLE_CLOUD_PROJECT"], person)
    url = f"{cloud.endpoint('recommend')}/v1/recommend"
    return http.get(url, params=asked, headers={"Authorization": f"Bearer {token}"})


def make_get(cloud: LaptopCloud, port: int, person: str) -> bytes:
    """The bytes of a signed-in person's request without the model."""
    token = make_person_token(cloud.env["GOOGLE_CLOUD_PROJECT"], person)
    path = f"/v1/recommend?model=false&user_id={quote(person)}"
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def describe_ms(seconds: list[float]) -> dict[str, float]:
    """Percentiles in milliseconds."""
    return {f"p{p}_ms": round(percentile(seconds, p) * 1000, 1) for p in (50, 95, 99)} | {"count": len(seconds)}


def judge(report: dict[str, Any]) -> list[str]:
    """The targets that were missed."""
    answers, missed = report["answers"], list[str]()
    found = {
        "graph_p95_ms": report["graph"]["p95_ms"],
        "answer_p95_ms": answers["p95_ms"],
        "change_p95_seconds": report["change"]["p95_seconds"],
    }
    missed += [f"{name} is {value}, target {TARGETS[name]}" for name, value in found.items() if value > TARGETS[name]]
    if answers["failures"] or answers["degraded"] or answers["answered_per_second"] < TARGETS["per_second"] * 0.98:
        missed.append(f"answers: {answers}")
    for name, source in STOPPED.items():
        stopped = report["stopped"][name]
        if set(stopped["statuses"]) != {200} or stopped["first_seconds"] > STOPPED_SECONDS:
            missed.append(f"without {name}: {stopped}")
        if source and not stopped["said_missing"].get(source):
            missed.append(f"without {name} no answer says that {source} is missing")
    return missed


def run_benchmark(size: Size, seconds: float) -> dict[str, Any]:
    """The whole run as a report."""
    with tempfile.TemporaryDirectory() as directory, LaptopCloud(Path(directory)) as cloud:
        os.environ.update(cloud.env, CLOUD_RUN_JOB=WRITER)
        shop = make_shop(size)
        fill(cloud, shop, say)
        report: dict[str, Any] = {"people": size.people, "products": size.products, "events": size.events}
        report["graph"] = measure_graph(cloud, shop, 500)
        say(f"graph: {report['graph']}")
        report["answers"] = measure_answers(cloud, shop, seconds, TARGETS["per_second"])
        say(f"answers: {report['answers']}")
        report["change"] = measure_change(cloud, shop, 20)
        say(f"change: {report['change']}")
        report["stopped"] = measure_stops(cloud, shop, 20)
        say(f"stopped: {report['stopped']}")
    return {**report, "targets": TARGETS, "machine": {"cores": os.cpu_count(), "load": os.getloadavg()}}


def _find_starts(answer: dict[str, Any]) -> set[str]:
    return {link.get("from_id", "") for item in answer["items"] for link in item["links"]}


def main() -> int:
    """Measure, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.recommend", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="a share of the people and events; targets are for 1")
    parser.add_argument("--seconds", type=float, default=60.0, help="of answers at 50 a second")
    arguments = parser.parse_args()
    size = Size(people=round(10_000 * arguments.scale), events=round(200_000 * arguments.scale))
    report = run_benchmark(size, arguments.seconds)
    report["missed"] = judge(report)
    write_report(REPORT, report)
    print(json.dumps(report, indent=2))
    return 1 if report["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
