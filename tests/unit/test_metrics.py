"""Counts reach the log, listed ones only; a log line tells its event ids and its trace."""

import io
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.arrival import Timing, measure_arrival
from agents.tools import trace
from agents.tools.metrics import Metrics
from agents.tools.settings import settings
from agents.tools.warehouse import FakeWarehouse
from emulators.measures import read_measures
from functions.logs import JsonFormatter
from schemas import metrics

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "argo-test")
    monkeypatch.setenv("K_SERVICE", "collect")
    settings.cache_clear()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.addHandler(handler)
    level, root.level = root.level, logging.INFO
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)
    settings.cache_clear()
    trace.follow(None)


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_counts_are_added_up_and_written_once(lines: io.StringIO) -> None:
    counted = Metrics()
    for _ in range(5):
        counted.count("events_accepted", 20)
    counted.count("events_rejected", 1, "TOO_LARGE")
    assert lines.getvalue() == "", "a line an event would cost more than the event"
    counted.flush()
    counted.flush()
    found = [(line["metric"], line["label"], line["value"]) for line in read(lines)]
    assert found == [("events_accepted", "", 100), ("events_rejected", "TOO_LARGE", 1)]


def test_after_the_end_is_announced_nothing_waits(lines: io.StringIO) -> None:
    """Prevents: the counts of the requests that a stopping instance still answers, lost."""
    counted = Metrics()
    counted.count("events_accepted", 1)
    counted.end()
    counted.count("events_accepted", 2)
    assert [line["value"] for line in read(lines)] == [1, 2]


@pytest.mark.parametrize(
    ("name", "label"),
    [("events_dropped", ""), ("events_rejected", ""), ("events_accepted", "x"), ("arrival_p95_seconds", "")],
)
def test_what_is_not_listed_raises(name: str, label: str) -> None:
    """Prevents: a metric that nobody watches because nobody knows of it."""
    with pytest.raises(KeyError, match=name):
        Metrics().count(name, 1, label)


def test_every_listed_metric_is_described() -> None:
    assert all(metric.description for metric in metrics.load().values())


def test_a_line_tells_its_trace_and_its_events(lines: io.StringIO) -> None:
    trace.follow(PARENT)
    logging.getLogger("t").warning("spilled", extra={"event_ids": ["e1", "e2"]})
    (line,) = read(lines)
    assert line["event_ids"] == ["e1", "e2"]
    assert line["logging.googleapis.com/trace"] == f"projects/argo-test/traces/{TRACE}"
    assert line["logging.googleapis.com/trace_sampled"] is True


@pytest.mark.parametrize("given", [None, "", "00-zz", "x" * 5000, f"00-{'0' * 32}-b7ad6b7169203331-01", PARENT + "\n"])
def test_what_is_no_traceparent_is_none(given: str | None) -> None:
    trace.follow(given)
    assert trace.stamp({"a": "b"}) == {"a": "b"}
    assert trace.describe("p") == {}


def test_a_message_carries_the_trace_it_was_published_in() -> None:
    trace.follow(PARENT)
    try:
        assert trace.stamp({"a": "b"}) == {"a": "b", trace.ATTRIBUTE: PARENT}
        assert trace.stamp({trace.ATTRIBUTE: "own"}) == {trace.ATTRIBUTE: "own"}
    finally:
        trace.follow(None)


def test_a_process_that_is_told_to_end_writes_what_it_has_counted_and_ends() -> None:
    """Prevents: the last counts of every instance lost, or an instance that no longer ends."""
    program = (
        "import os, signal; from functions import logs; from agents.tools import metrics; logs.configure();"
        "metrics.count('events_accepted', 7); os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == -signal.SIGTERM
    assert json.loads(done.stderr)["value"] == 7


def test_a_laptop_adds_up_totals_and_keeps_the_latest_reading(tmp_path: Path) -> None:
    """Prevents: metrics that can only be seen in the cloud."""
    entries = [
        ("events_rejected", 2, "TOO_LARGE"),
        ("events_rejected", 3, "TOO_LARGE"),
        ("arrival_p95_seconds", 9.0, ""),
    ]
    entries += [("arrival_p95_seconds", 1.5, ""), ("unknown", 1, "")]
    lines = [json.dumps({"metric": name, "value": value, "label": label}) for name, value, label in entries]
    (tmp_path / "collect.log").write_text("\n".join([*lines, 'not "metric": JSON']))
    assert read_measures(tmp_path) == {"events_rejected{TOO_LARGE}": 5, "arrival_p95_seconds": 1.5}


def test_arrival_counts_what_comes_while_it_looks() -> None:
    at = datetime(2026, 11, 20, 8, tzinfo=UTC)
    warehouse, clock = FakeWarehouse({"INTERVAL 1 MINUTE": [{"events": 3}]}), iter(range(100))
    warehouse.answers["FARM_FINGERPRINT"] = [{"event_id": "old", "received_at": at}]

    def sleep(_: float) -> None:
        warehouse.answers["FARM_FINGERPRINT"] = [
            {"event_id": "old", "received_at": at},
            {"event_id": "new", "received_at": at},
        ]

    timing = Timing(seconds=3, now=lambda: at + timedelta(seconds=next(clock)), sleep=sleep)
    sample = measure_arrival(warehouse, timing)
    assert sample.seconds == [2.0]
    assert (sample.percentile(50), sample.percentile(95)) == (2.0, 2.0)
"""The figures of `make evaluate`: cases worked out by hand, and a library (pytrec_eval) on random lists."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import pytrec_eval

from agents.recommender.training import metrics

HITS = np.array([[True, False, True, False], [False, False, False, True], [False] * 4])
RELEVANT = np.array([3, 1, 2], dtype=np.int32)


def test_ndcg_is_over_the_whole_relevant_list() -> None:
    """Prevents: an ideal list only as long as what was found, which makes every list look good."""
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    first = (1 + 1 / math.log2(4)) / ideal
    assert metrics.ndcg(HITS, RELEVANT, 4) == pytest.approx([first, 1 / math.log2(5), 0])
    assert metrics.ndcg(HITS, RELEVANT, 2) == pytest.approx([1 / (1 + 1 / math.log2(3)), 0, 0])


def test_recall_and_hit_rate() -> None:
    """Prevents: recall divided by the cut, and a hit rate that counts hits instead of people."""
    assert metrics.recall(HITS, RELEVANT, 4) == pytest.approx([2 / 3, 1, 0])
    assert metrics.hit_rate(HITS, RELEVANT, 3).tolist() == [1, 0, 0]


def test_coverage_and_novelty_leave_empty_places_out() -> None:
    """Prevents: the mark of an empty place counted as an item."""
    lists = np.array([[0, 1], [1, -1]], dtype=np.int32)
    assert metrics.coverage(lists, 4, 2) == 0.5
    assert metrics.novelty(lists, np.array([0.5, 0.25, 1, 1]), 2) == pytest.approx((1 + 2 + 2) / 3)


def test_a_library_finds_the_same() -> None:
    """Prevents: a discount, a cut or a mean of our own invention."""
    draw = np.random.default_rng(3)
    lists = np.array([draw.permutation(200)[:20] for _ in range(50)], dtype=np.int32)
    wanted = [set(draw.choice(200, size=int(draw.integers(1, 40)), replace=False).tolist()) for _ in range(50)]
    hits = np.array([[int(item) in wanted[person] for item in row] for person, row in enumerate(lists)])
    relevant = np.array([len(items) for items in wanted], dtype=np.int32)
    truth = {str(person): {str(item): 1 for item in items} for person, items in enumerate(wanted)}
    run = {str(p): {str(item): 100.0 - place for place, item in enumerate(row)} for p, row in enumerate(lists)}
    judge: Any = pytrec_eval.RelevanceEvaluator(truth, {"ndcg_cut.10,20", "recall.20", "success.10"})
    found = judge.evaluate(run)
    for name, ours in (
        ("ndcg_cut_10", metrics.ndcg(hits, relevant, 10)),
        ("ndcg_cut_20", metrics.ndcg(hits, relevant, 20)),
        ("recall_20", metrics.recall(hits, relevant, 20)),
        ("success_10", metrics.hit_rate(hits, relevant, 10)),
    ):
        assert ours == pytest.approx([found[str(person)][name] for person in range(50)]), name
