"""Starts one stand-in of the laptop cloud as the process it really is, and ends it.

Owns nothing but the process: what the tests ask of the stand-in belongs to them.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

_READY = re.compile(r"^\w+ listening on (127\.0\.0\.1:\d+)(?: \(smtp (127\.0\.0\.1:\d+)\))?$")
_START_SECONDS = 20  # a start takes well under 1 s; the machine may be busy with fifteen others


@dataclass
class StandIn:
    """A running stand-in: where it listens, what it wrote to stderr, how it ended."""

    process: subprocess.Popen[str]
    endpoint: str = ""
    smtp_endpoint: str = ""
    lines: list[str] = field(default_factory=lambda: [])

    @property
    def url(self) -> str:
        return f"http://{self.endpoint}"

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the process as a supervisor would and returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout=10)


@contextmanager
def running(module: str, *arguments: str, env: dict[str, str] | None = None) -> Generator[StandIn]:
    """Runs `python -m emulators.<module>` on a free port until the block ends."""
    command = [sys.executable, "-m", f"emulators.{module}", "--host", "127.0.0.1", *arguments]
    if "--port" not in arguments:
        command += ["--port", "0"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ, **(env or {})}
    )
    started = StandIn(process)
    ready = threading.Event()
    reader = threading.Thread(target=_read_lines, args=(started, ready))
    reader.start()
    try:
        if not ready.wait(_START_SECONDS) or not started.endpoint:
            raise RuntimeError(f"{module} did not start:\n" + "\n".join(started.lines))
        yield started
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stderr is not None
        process.stderr.close()


def wait_until(condition: object, seconds: float = 10.0) -> None:
    """Returns as soon as the callable answers something true; fails after so many seconds."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.02)


def accepts(port: int) -> bool:
    """Says whether somebody listens on that port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _read_lines(started: StandIn, ready: threading.Event) -> None:
    assert started.process.stderr is not None
    for line in started.process.stderr:
        started.lines.append(line.rstrip("\n"))
        match = _READY.match(started.lines[-1])
        if match:
            started.endpoint, started.smtp_endpoint = match[1], match[2] or ""
            ready.set()
    ready.set()
