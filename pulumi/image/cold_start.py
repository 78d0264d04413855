"""How long each function takes from its process's start to its first answer, on one CPU:
`cd pulumi && ../.venv/bin/python -m image.cold_start [SECONDS]`; exit 1 when the slowest takes longer (default 2).

The first answer loads the function with all that it imports; clients are built later, by the first real request. The
container's own start (about 0.3 s on Cloud Run, with CPU boost) is not in it.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from image.tree import command, make_tree
from schemas import topology
from schemas.topology import Function

HOST = "127.0.0.1"
_GIVE_UP_SECONDS = 60


def main() -> int:
    """Measure every function and print a line each."""
    limit = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    slowest = 0.0
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # children share this one CPU
    with tempfile.TemporaryDirectory() as folder:
        environment = make_tree(Path(folder))
        subprocess.run(command("-m", "compileall", "-q", "."), cwd=Path(folder) / "app", env=environment, check=True)  # noqa: S603 -- our own Python
        for function in topology.load().functions:
            seconds = measure(Path(folder) / "app", environment, function)
            slowest = max(slowest, seconds)
            print(f"{function.name:28} {seconds:5.2f} s", flush=True)  # noqa: T201 -- a command's output
    return 0 if slowest <= limit else 1


def measure(app: Path, environment: dict[str, str], function: Function) -> float:
    """Seconds from the start of the process to its first answer.

    Raises:
        TimeoutError: no answer in a minute.
        RuntimeError: the function could not be loaded.
    """
    port = _free_port()
    own = {
        "FUNCTION_TARGET": function.target,
        "FUNCTION_SOURCE": "functions/main.py",
        "K_SERVICE": function.name,
        "GOOGLE_CLOUD_PROJECT": "none",
    }
    server = (
        "-m",
        "uvicorn",
        "functions_framework.aio:app",
        "--host",
        HOST,
        "--port",
        str(port),
        "--log-level",
        "error",
    )
    started = time.monotonic()
    process = subprocess.Popen(command(*server), cwd=app, env={**environment, **own})  # noqa: S603 -- our own Python
    try:
        status = _wait_for_answer(port, started)
        seconds = time.monotonic() - started
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
    if status >= 500:
        raise RuntimeError(f"{function.name} answers {status}: it cannot be loaded")
    return seconds


def _wait_for_answer(port: int, started: float) -> int:
    while True:
        try:
            connection = http.client.HTTPConnection(HOST, port, timeout=_GIVE_UP_SECONDS)
            connection.request("GET", "/robots.txt")  # 404 by the framework, once the function is loaded
            return connection.getresponse().status
        except OSError:
            if time.monotonic() - started > _GIVE_UP_SECONDS:
                raise TimeoutError("no answer in a minute") from None
            time.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
