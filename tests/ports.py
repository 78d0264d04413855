"""Ports for servers that a test starts."""

from __future__ import annotations

import socket
import time

HOST = "127.0.0.1"


def find_free_port() -> int:
    """A port that nothing listens on now, for a server that cannot be told to take a free one itself."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def await_port(port: int, seconds: float = 20.0) -> None:
    """Return once something listens there; OSError when nothing does in time."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return
