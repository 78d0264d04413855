"""The swarm while everything goes wrong for real, in small; in full it is `make bench NAME=chaos`."""

from __future__ import annotations

import pytest

from tests.benchmarks.chaos import run_benchmark


@pytest.mark.timeout(400)
def test_every_task_ends_once_whatever_breaks() -> None:
    """Prevents: a task that is lost or an email that is sent twice when agents die, messages double and Redis is emptied."""
    report = run_benchmark(count=30, per_second=2)
    assert report["faults"]["redis emptied"] == 2, report
    assert report["faults"].keys() >= {"killed"}, report
    assert report["ended"] == 1.0, report
    assert (report["doubled"], report["ended_both_ways"], report["completed_without_mail"]) == (0, 0, 0), report
    assert report["completed"] >= 0.9, report
