"""A load generator that costs little: prepared HTTP/1.1 requests on kept connections, closed loop or at a fixed rate.

Deliberately no HTTP client library: on one machine the generator's own cost would be measured with the function's.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

CONNECTIONS = 200  # what one instance of collect is given at a time (schemas/topology.yaml: concurrency)
USER_AGENT = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"


@dataclass(kw_only=True)
class Outcome:
    """What one run gave: seconds it took, and each answered request's latency."""

    seconds: float
    latencies_seconds: list[float] = field(default_factory=list[float])
    failures: list[str] = field(default_factory=list[str])

    @property
    def per_second(self) -> float:
        """Requests answered with success a second."""
        return len(self.latencies_seconds) / self.seconds

    def percentile_ms(self, percent: int) -> float:
        """A percentile of the latency."""
        return percentile(self.latencies_seconds, percent) * 1000


def percentile(values: list[float], percent: int) -> float:
    """The value below which `percent` of the values are; not a number when there is none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] if ordered else float("nan")


class Connection(asyncio.Protocol):
    """One kept connection: a request at a time, its answer read by Content-Length."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the socket."""
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's own is registered as no subclass

    def data_received(self, data: bytes) -> None:
        """End the request once the whole answer is there."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end or self._answer is None:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) >= length:
            self._received.clear()
            self._answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """A request in flight fails."""
        if self._answer and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("closed"))

    async def send(self, request: bytes) -> int:
        """The status of the answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close the socket."""
        if self._transport:
            self._transport.close()


def make_request(path: str, port: int, body: bytes) -> bytes:
    """The bytes of a POST of JSON."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
    return f"{head}User-Agent: {USER_AGENT}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def run_closed(port: int, make: Callable[[], bytes], seconds: float) -> Outcome:
    """Send as fast as the function answers, on every connection."""
    end = time.perf_counter() + seconds

    async def drive(connection: Connection, outcome: Outcome) -> None:
        while time.perf_counter() < end:
            await send_timed(connection, make(), outcome)

    return await _with_connections(port, drive)


async def run_paced(port: int, make: Callable[[], bytes], seconds: float, per_second: float) -> Outcome:
    """Send at a fixed rate; a late answer does not slow the rate while a connection is free."""
    start, count = time.perf_counter(), 0

    async def drive(connection: Connection, outcome: Outcome) -> None:
        nonlocal count
        while (due := start + count / per_second) < start + seconds:
            count += 1
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await send_timed(connection, make(), outcome)

    return await _with_connections(port, drive)


async def send_timed(connection: Connection, request: bytes, outcome: Outcome) -> None:
    """Send one and note its latency, or how it failed."""
    begun = time.perf_counter()
    status = await connection.send(request)
    if status == 200:
        outcome.latencies_seconds.append(time.perf_counter() - begun)
    else:
        outcome.failures.append(str(status))


async def _with_connections(port: int, drive: Callable[[Connection, Outcome], Awaitable[None]]) -> Outcome:
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(Connection, "127.0.0.1", port) for _ in range(CONNECTIONS)]
    connections = [connection for _, connection in made]
    outcome, begun = Outcome(seconds=0), time.perf_counter()
    try:
        await asyncio.gather(*(drive(connection, outcome) for connection in connections))
    finally:
        for connection in connections:
            connection.close()
    outcome.seconds = time.perf_counter() - begun
    return outcome
