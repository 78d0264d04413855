"""A push endpoint that misbehaves on demand: it can answer anything, stall, or refuse connections."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Push:
    """One request that arrived."""

    at: float
    headers: dict[str, str]
    body: bytes

    @property
    def envelope(self) -> dict[str, Any]:
        """The body as JSON (Any: a JSON border)."""
        return json.loads(self.body)


@dataclass
class Endpoint:
    """`statuses` are used up one by one; after them every answer is 204. `stall_seconds` delays each.

    A message with the attribute `status` gets that answer the first time it comes.
    """

    port: int = 0
    statuses: list[int] = field(default_factory=list[int])
    stall_seconds: float = 0.0
    pushes: list[Push] = field(default_factory=list[Push])
    arrivals: list[float] = field(default_factory=list[float])
    busy: int = 0
    most_busy: int = 0
    _answered: set[str] = field(default_factory=set[str])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _server: "_Server | None" = None

    @property
    def url(self) -> str:
        """Where to push."""
        return f"http://127.0.0.1:{self.port}/push?token=t"

    def open(self, port: int = 0) -> None:
        """Begins to accept connections."""
        self._server = _Server(("127.0.0.1", port), self)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Refuses connections from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def take(self, push: Push) -> int:
        """Records a request and returns the status to answer with."""
        with self._lock:
            self.arrivals.append(time.monotonic())
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        time.sleep(self.stall_seconds)
        with self._lock:
            self.busy -= 1
            self.pushes.append(push)
            return self._status_for(push)

    def _status_for(self, push: Push) -> int:
        if b'"status"' in push.body:
            message = push.envelope["message"]
            if message["messageId"] not in self._answered:
                self._answered.add(message["messageId"])
                return int(message["attributes"]["status"])
        return self.statuses.pop(0) if self.statuses else 204

    def wait_for(self, count: int, seconds: float = 10.0) -> list[Push]:
        """Returns the requests as soon as there are `count`, or fails."""
        wait_until(lambda: len(self.pushes) >= count, seconds, f"{count} pushes, got {len(self.pushes)}")
        return list(self.pushes)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def __init__(self, address: tuple[str, int], endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]  # socketserver types it as any server

    def do_POST(self) -> None:  # the name that http.server calls
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        status = self.server.endpoint.take(Push(time.monotonic(), headers, body))
        try:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the pusher gave up, as the stall tests want

    def log_message(self, format: str, *args: object) -> None:  # the base class's name
        del format, args


def wait_until(holds: Callable[[], bool], seconds: float, what: str) -> None:
    """Waits for a condition; fails, saying what was missing, when time is over."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.02)


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An open endpoint that answers 204."""
    opened = Endpoint()
    opened.open()
    yield opened
    opened.close()
