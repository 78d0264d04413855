"""Runs the topology's jobs by their cron lines, in UTC, as Cloud Scheduler and Cloud Run would.

`python -m emulators.scheduler`. One run of a job at a time (a run that is due meanwhile is left out, and the log says
so), ended at the job's timeout.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from cronsim import CronSim

from emulators.cloud import job_command, job_environment
from emulators.plan import SCHEDULER_READY
from emulators.processes import die_with_parent, signal_group
from schemas.topology import Job, parse

_GRACE_SECONDS = 3.0


def main() -> None:
    """Runs until SIGTERM or SIGINT; running jobs are ended, too."""
    parser = argparse.ArgumentParser(prog="python -m emulators.scheduler", description=__doc__)
    parser.add_argument("--topology", type=Path, required=True)
    parser.add_argument("--root", type=Path, required=True, help="where the package `functions` is")
    arguments = parser.parse_args()
    asyncio.run(serve(parse(arguments.topology.read_text(encoding="utf-8")).jobs, arguments.root))


async def serve(jobs: list[Job], root: Path) -> None:
    """Follows every job's cron line until told to stop; a job without one is run by hand."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    followers = [asyncio.create_task(follow(job, root)) for job in jobs if job.schedule]
    log(SCHEDULER_READY)
    stop = asyncio.create_task(stopping.wait())
    await asyncio.wait([stop, *followers], return_when=asyncio.FIRST_COMPLETED)
    for task in followers:
        task.cancel()
    await asyncio.gather(*followers, return_exceptions=True)


async def follow(job: Job, root: Path) -> None:
    """Runs one job at each of its times."""
    for due in CronSim(job.schedule, datetime.now(UTC)):
        now = datetime.now(UTC)
        if due < now:
            log(f"{job.name}: left out its run of {due:%H:%M}: the last one was still running")
            continue
        await asyncio.sleep((due - now).total_seconds())
        await run_job(job, root)


async def run_job(job: Job, root: Path) -> int:
    """Runs a job to its end or its timeout; returns its exit code."""
    log(f"{job.name}: started")
    process = await asyncio.create_subprocess_exec(
        *job_command(job.name),
        cwd=root,
        env=job_environment(os.environ, job.name),
        start_new_session=True,
        preexec_fn=die_with_parent(),
    )
    try:
        async with asyncio.timeout(job.timeout_seconds):
            code = await process.wait()
    except TimeoutError:
        log(f"{job.name}: is ended after its {job.timeout_seconds} s")
        code = await _end(process)
    except asyncio.CancelledError:
        await _end(process)
        raise
    log(f"{job.name}: exit code {code}")
    return code


async def _end(process: asyncio.subprocess.Process) -> int:
    signal_group(process.pid, signal.SIGTERM)
    try:
        async with asyncio.timeout(_GRACE_SECONDS):
            return await process.wait()
    except TimeoutError:
        signal_group(process.pid, signal.SIGKILL)
        return await process.wait()


def log(line: str) -> None:
    """One line to stderr."""
    print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
