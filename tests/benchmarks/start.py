"""How long each function takes from its process's start to its first answer, on one CPU, from what the image holds:
`make bench NAME=start`; exit 1 when the slowest takes longer than 2 seconds. Writes build/bench/start.json.

The first answer is the function's own (a refusal is one), so that it has been loaded with all that it imports; clients are
built later, by the first real request. The container's own start (about 0.3 s on Cloud Run, with CPU boost) is not in it.
Three starts each; the median counts. A job's figure is its import only: it serves nothing.
"""

from __future__ import annotations

import http.client
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from image.tree import command, make_tree

from schemas import topology
from schemas.topology import Function
from tests.benchmarks.reports import write_report
from tests.ports import find_free_port

HOST = "127.0.0.1"
REPORT = Path(__file__).resolve().parents[2] / "build" / "bench" / "start.json"
LIMIT_SECONDS = 2.0
STARTS = 3
_GIVE_UP_SECONDS = 60
_SERVER = ("-m", "uvicorn", "functions_framework.aio:app", "--host", HOST, "--log-level", "error")


@dataclass(frozen=True, kw_only=True)
class Start:
    """One function's or job's start: the median, and every one of them, in seconds; the status of the first answer."""

    name: str
    median_seconds: float
    seconds: list[float]
    status: int = 0


def main() -> int:
    """Measure everything and print a line each."""
    named = topology.load()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # children share this one CPU
    with tempfile.TemporaryDirectory() as folder:
        environment = make_tree(Path(folder))
        app = Path(folder) / "app"
        # As the image does: nobody pays for compiling at the start.
        subprocess.run(command("-m", "compileall", "-q", "."), cwd=app, env=environment, check=True)
        starts = [_report(measure_function(app, environment, function)) for function in named.functions]
        jobs = [_report(measure_job(app, environment, job.name)) for job in named.jobs]
    slowest = max(starts, key=lambda start: start.median_seconds)
    content = {"limit_seconds": LIMIT_SECONDS, "functions": [*map(asdict, starts)], "jobs": [*map(asdict, jobs)]}
    write_report(REPORT, content)
    print(f"slowest: {slowest.name}, {slowest.median_seconds:.2f} s of {LIMIT_SECONDS:.0f} s; {REPORT}")
    return 0 if slowest.median_seconds <= LIMIT_SECONDS else 1


def _report(start: Start) -> Start:
    print(f"{start.name:32} {start.median_seconds:5.2f} s   {start.status or 'import'}", flush=True)
    return start


def measure_function(app: Path, environment: dict[str, str], function: Function) -> Start:
    """The function's starts.

    Raises:
        TimeoutError: no answer in a minute.
        RuntimeError: the function could not be loaded.
    """
    own = {
        "FUNCTION_TARGET": function.target,
        "FUNCTION_SOURCE": "functions/main.py",
        "K_SERVICE": function.name,
        "GOOGLE_CLOUD_PROJECT": "none",
    }
    measured = [_start_once(app, {**environment, **own}) for _ in range(STARTS)]
    statuses = {status for _, status in measured}
    if max(statuses) >= 500:
        raise RuntimeError(f"{function.name} answers {max(statuses)}: it cannot be loaded")
    seconds = [found for found, _ in measured]
    return Start(name=function.name, median_seconds=statistics.median(seconds), seconds=seconds, status=max(statuses))


def _start_once(app: Path, environment: dict[str, str]) -> tuple[float, int]:
    port = find_free_port()
    started = time.monotonic()
    process = subprocess.Popen(command(*_SERVER, "--port", str(port)), cwd=app, env=environment)
    try:
        status = _wait_for_answer(port, started)
        return time.monotonic() - started, status
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)


def _wait_for_answer(port: int, started: float) -> int:
    """The status of a request that every function refuses, or answers, by its own code and without a client."""
    while True:
        try:
            connection = http.client.HTTPConnection(HOST, port, timeout=_GIVE_UP_SECONDS)
            connection.request("POST", "/nowhere", body=b"{", headers={"content-type": "application/json"})
            return connection.getresponse().status
        except OSError:
            if time.monotonic() - started > _GIVE_UP_SECONDS:
                raise TimeoutError("no answer in a minute") from None
            time.sleep(0.01)


def measure_job(app: Path, environment: dict[str, str], name: str) -> Start:
    """How long the job's process takes until `run` could be called."""
    seconds: list[float] = []
    for _ in range(STARTS):
        started = time.monotonic()
        subprocess.run(command("-c", f"import functions.jobs.{name}"), cwd=app, env=environment, check=True)
        seconds.append(time.monotonic() - started)
    return Start(name=f"job {name}", median_seconds=statistics.median(seconds), seconds=seconds)


if __name__ == "__main__":
    sys.exit(main())
