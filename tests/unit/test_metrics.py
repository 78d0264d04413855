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
