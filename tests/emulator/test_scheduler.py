"""Jobs run when their cron line says, one at a time, and never longer than they may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from emulators import scheduler
from schemas.topology import Job

PROGRAM = """
import os, pathlib, sys, time
pathlib.Path("ran").open("a").write(os.environ["CLOUD_RUN_JOB"] + " " + sys.argv[1] + "\\n")
time.sleep({sleep})
sys.exit(3)
"""


def make_root(directory: Path, sleep_seconds: float) -> Path:
    package = directory / "functions" / "jobs"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM.format(sleep=sleep_seconds))
    return directory


def make_job(timeout_seconds: int = 60) -> Job:
    return Job(name="tidy_up", description="stub", schedule="* * * * *", timeout_seconds=timeout_seconds)


def test_a_job_is_told_its_name_and_its_exit_code_is_logged(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Prevents: a failing job that nobody hears of."""
    assert asyncio.run(scheduler.run_job(make_job(), make_root(tmp_path, 0))) == 3
    assert (tmp_path / "ran").read_text() == "tidy_up tidy_up\n"
    assert "tidy_up: exit code 3" in capfd.readouterr().err


def test_a_job_is_ended_at_its_timeout(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Prevents: a stuck job that keeps its next run from starting for ever."""
    started = time.monotonic()
    assert asyncio.run(scheduler.run_job(make_job(timeout_seconds=1), make_root(tmp_path, 60))) < 0
    assert time.monotonic() - started < 10
    assert "is ended after its 1 s" in capfd.readouterr().err


def test_a_run_that_is_due_while_the_last_one_runs_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Prevents: two runs of one job at once, or a queue of late ones."""

    def times(_line: str, start: datetime) -> Iterator[datetime]:
        return iter([start + timedelta(seconds=seconds) for seconds in (0.1, 0.3, 4)])

    monkeypatch.setattr(scheduler, "CronSim", times)
    asyncio.run(scheduler.follow(make_job(), make_root(tmp_path, 1)))
    assert (tmp_path / "ran").read_text().count("tidy_up tidy_up") == 2
    assert capfd.readouterr().err.count("left out its run") == 1


def test_cron_lines_are_read_in_utc() -> None:
    """Prevents: a nightly job that runs at noon in another time zone."""
    start = datetime(2026, 11, 20, 2, 14, tzinfo=UTC)
    assert next(iter(scheduler.CronSim("15 2 * * *", start))) == datetime(2026, 11, 20, 2, 15, tzinfo=UTC)
