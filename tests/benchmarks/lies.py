"""Is every reason that is served true? 1,000 answers while the model lies in a third of its own: `make bench NAME=lies`.

On the laptop cloud, over HTTP, through the gateway, from a model that speaks Gemini's wire (tests/benchmarks/lying_model.py);
every fifth person reads Korean, every seventh is a stranger. The judge is not the recommender's own check: a served reason
must be, word by word, a sentence that the relations in the warehouse make true. Then 20 answers while the model is silent.
Writes build/bench/lies.json; exits with 1 when a reason is not founded, or an answer failed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from google.cloud import bigquery

from emulators.cloud import LaptopCloud
from tests.benchmarks.load import percentile
from tests.benchmarks.recommend import get
from tests.benchmarks.recommend_shop import WRITER, Shop, Size, fill, make_shop
from tests.benchmarks.reports import say, write_report
from tests.emulator.standins import accepts, wait_until

REPORT = Path("build/bench/lies.json")
SIZE = Size(people=400, products=400, events=12_000, category_products=20)
SILENT_SECONDS = 12.0  # the model's bound and what comes before it
KINDS = {"bought_with": "bought", "viewed_with": "viewed", "then": "then"}
TEMPLATES = {
    "en": {
        "bought": "Others bought it together with {start}.",
        "viewed": "Others looked at it together with {start}.",
        "then": "Others turned to it after {start}.",
        "alike": "It is similar to {start}.",
        "taste": "Chosen by people whose taste is like yours.",
        "popular": "Popular right now: bought by {count} people in 90 days.",
        "listed": "Popular right now: one of the 100 most popular in 90 days.",
    },
    "ko": {
        "bought": "다른 고객님들이 {start}와(과) 함께 구매한 상품입니다.",
        "viewed": "다른 고객님들이 {start}와(과) 함께 살펴본 상품입니다.",
        "then": "다른 고객님들이 {start} 다음으로 선택한 상품입니다.",
        "alike": "{start}와(과) 유사한 상품입니다.",
        "taste": "취향이 비슷한 분들이 선택한 상품입니다.",
        "popular": "지금 인기 있는 상품입니다. 90일 동안 {count}명이 구매했습니다.",
        "listed": "지금 인기 있는 상품입니다.",
    },
}
HONEST = {
    "en": ("{name} goes well with {start}.", "{name} is our best match for you right now."),
    "ko": (
        "\u2018{start}\u2019 상품과 잘 어울리는 \u2018{name}\u2019 상품입니다.",
        "지금 추천해 드리는 \u2018{name}\u2019 상품입니다.",
    ),
}


# What walks over visits may say where nothing is significant.
TOGETHER = {
    "bought": "SELECT ARRAY_AGG(item.product_id) AS ids FROM argo.interactions, UNNEST(products) AS item "
    "WHERE event_type = 'order_completed' GROUP BY event_id",
    "viewed": "SELECT ARRAY_AGG(item.product_id) AS ids FROM argo.interactions, UNNEST(products) AS item GROUP BY session_id",
}


class Truth:
    """What is true in the shop, by the warehouse: names, relations, what was in one order or visit, buyers, candidates."""

    def __init__(self, client: bigquery.Client, shop: Shop) -> None:
        products = [shop.product(number) for number in range(shop.size.products)]
        self._names = {one.product_id: one.name or "" for one in products}
        self._ranges = {one.product_id: one.category for one in products}
        rows = client.query("SELECT kind, product_id, related_id FROM argo.product_relations").result()
        self.relations = {(KINDS[row["kind"]], row["product_id"], row["related_id"]) for row in rows}
        self.relations |= {(kind, *pair) for kind, sql in TOGETHER.items() for pair in _find_pairs(client, sql)}
        found = client.query(
            "SELECT product_id, buyers FROM argo.popular_products ORDER BY people DESC LIMIT 100"
        ).result()
        self._buyers = {row["product_id"]: row["buyers"] for row in found}
        listed = client.query("SELECT user_id, product_id FROM argo.current_candidates").result()
        self._listed = {(row["user_id"], row["product_id"]) for row in listed}

    def sentences(self, person: str, product: str, language: str) -> set[str]:
        """Every sentence that may be said to a person about a product."""
        name, words, (linked, plain) = self._names[product], TEMPLATES[language], HONEST[language]
        said = {plain.format(name=name)}
        for kind, start, related in self.relations:
            if related == product:
                said.add(words[kind].format(start=self._names[start]))
                said.add(linked.format(name=name, start=self._names[start]))
        alike = [other for other, found in self._ranges.items() if found == self._ranges[product] and other != product]
        said |= {words["alike"].format(start=self._names[other]) for other in alike}
        if (person, product) in self._listed:
            said.add(words["taste"])
        if product in self._buyers:
            said.add(words["popular"].format(count=self._buyers[product]) if self._buyers[product] else words["listed"])
        return said


def _find_pairs(client: bigquery.Client, sql: str) -> set[tuple[str, str]]:
    baskets = [set(row["ids"]) for row in client.query(sql).result()]
    return {(one, other) for basket in baskets for one in basket for other in basket if one != other}


@contextmanager
def replace_model(cloud: LaptopCloud, *flags: str) -> Generator[int]:
    """Kill what answers as Gemini, and let the lying one answer at its address."""
    port = int(cloud.endpoint("gemini").rpartition(":")[2])
    if accepts(port):
        cloud.kill("gemini")
        wait_until(lambda: not accepts(port))
    command = [sys.executable, "-m", "tests.benchmarks.lying_model", "--port", str(port), *flags]
    process = subprocess.Popen(command)
    try:
        wait_until(lambda: accepts(port), seconds=30)
        yield port
    finally:
        process.kill()
        process.wait()


def ask_everybody(cloud: LaptopCloud, shop: Shop, truth: Truth, count: int) -> dict[str, Any]:
    """So many answers, each judged."""
    chosen, unfounded, failed = Counter[str](), list[str](), Counter[int]()
    with httpx.Client(timeout=60, trust_env=False) as http:
        for number in range(count):
            language = "ko" if number % 5 == 0 else "en"
            person = f"stranger{number}" if number % 7 == 0 else shop.person(number % shop.size.people)
            answer = get(http, cloud, person, language=language, explain="true")
            if answer.status_code != 200:
                failed[answer.status_code] += 1
                continue
            choice = answer.json()["choice"]
            chosen[choice["chosen_by"]] += 1
            if choice["reason"] not in truth.sentences(person, choice["product_id"], language):
                unfounded.append(f"{person} {choice['product_id']} {choice['chosen_by']}: {choice['reason']}")
    return {"answers": count, "chosen_by": dict(chosen), "unfounded": unfounded, "failed": dict(failed)}


def ask_silence(cloud: LaptopCloud, shop: Shop, count: int) -> dict[str, Any]:
    """Answers while the model says nothing at all: how long the first takes, and the others."""
    seconds, statuses, degraded = list[float](), Counter[int](), Counter[str]()
    with httpx.Client(timeout=60, trust_env=False) as http:
        for number in range(count):
            begun = time.perf_counter()
            answer = get(http, cloud, shop.person(number))
            seconds.append(time.perf_counter() - begun)
            statuses[answer.status_code] += 1
            degraded.update(answer.json().get("degraded", []))
    return {
        "first_seconds": round(seconds[0], 2),
        "others_p95_ms": round(percentile(seconds[1:], 95) * 1000, 1),
        "statuses": dict(statuses),
        "said_missing": dict(degraded),
    }


def run_benchmark(count: int) -> dict[str, Any]:
    """The whole run as a report."""
    with tempfile.TemporaryDirectory() as directory, LaptopCloud(Path(directory)) as cloud:
        os.environ.update(cloud.env, CLOUD_RUN_JOB=WRITER)
        shop = make_shop(SIZE)
        fill(cloud, shop, say)
        with bigquery.Client(project=cloud.env["GOOGLE_CLOUD_PROJECT"]) as client:
            truth = Truth(client, shop)
        say(f"{len(truth.relations)} relations are true")
        with replace_model(cloud) as port:
            report = ask_everybody(cloud, shop, truth, count)
            report["said"] = httpx.get(f"http://127.0.0.1:{port}/_lies", trust_env=False).json()
        say(f"lies: {report}")
        with replace_model(cloud, "--silent"):
            report["silent"] = ask_silence(cloud, shop, 20)
    return report


def judge(report: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    lies = sum(count for kind, count in report["said"].items() if kind != "honest")
    silent, missed = report["silent"], list[str]()
    if report["unfounded"] or report["failed"]:
        missed.append(f"{len(report['unfounded'])} reasons are unfounded; failed: {report['failed']}")
    if lies < report["answers"] / 3:
        missed.append(f"only {lies} lies were told")
    if set(silent["statuses"]) != {200} or silent["first_seconds"] > SILENT_SECONDS or not silent["said_missing"]:
        missed.append(f"silence: {silent}")
    return missed


def main() -> int:
    """Ask, write, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.lies", description=__doc__)
    parser.add_argument("--answers", type=int, default=1_000)
    report = run_benchmark(parser.parse_args().answers)
    report["missed"] = judge(report)
    write_report(REPORT, report)
    print(json.dumps(report, indent=2, ensure_ascii=False))
    return 1 if report["missed"] else 0


if __name__ == "__main__":
    sys.exit(main())
