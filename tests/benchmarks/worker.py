"""One empty function on the worker setup that the laptop and the image use; cores, CPU time and pauses of processes."""

import os
import subprocess
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.ports import await_port, find_free_port

HOST = "127.0.0.1"
_START_SECONDS = 20.0


def cpu_seconds(pid: int) -> float:
    """What a process has used of the processors."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def pin_all(workers: set[int]) -> None:
    """Give the workers the first core, and this process and every other one below it the rest; all of them all, of none."""
    cores = list(range(os.cpu_count() or 1))
    first, rest = (cores[:1], cores[1:]) if workers and len(cores) > 1 else (cores, cores)
    here = psutil.Process()
    for process in (here, *here.children(recursive=True)):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            for thread in process.threads():  # an affinity is a thread's own; later threads inherit it
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(thread.id, first if process.pid in workers else rest)


@contextmanager
def paused(pid: int) -> Generator[None]:
    """A process that does nothing meanwhile."""
    process = psutil.Process(pid)
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@contextmanager
def run_empty_function() -> Generator[tuple[int, int]]:
    """Port and process id of an empty ASGI function, one process like collect's."""
    with run_function(Path(__file__).with_name("empty.py"), "empty", {}) as started:
        yield started


@contextmanager
def run_function(source: Path, target: str, environment: Mapping[str, str]) -> Generator[tuple[int, int]]:
    """Port and process id of the function `target` of a file, with more variables, one process as it is deployed."""
    port = find_free_port()
    told = {**os.environ, **environment, "FUNCTION_TARGET": target, "FUNCTION_SOURCE": str(source)}
    server = ("uvicorn", "functions_framework.aio:app", "--host", HOST, "--port", str(port), "--no-access-log")
    process = subprocess.Popen([sys.executable, "-m", *server], env=told, stderr=subprocess.DEVNULL)
    try:
        await_port(port)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()
