"""HTTP POSTs over kept-open connections, many at once.

httpx searches its whole pool for each request, so that its throughput falls as connections are added (1,100
requests/s with 10, 300 with 100; measured 2026-11-20 on 2 shared cores); pushing needs both. Speaks HTTP/1.1
through h11, which httpx and uvicorn bring along. Follows no redirect and knows nothing of Pub/Sub.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

import h11

_READ_BYTES = 65_536
_MAX_IDLE = 100


class PostError(Exception):
    """No answer: the connection failed or the other side does not speak HTTP."""


@dataclass(slots=True, eq=False)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    http: h11.Connection = field(default_factory=lambda: h11.Connection(h11.CLIENT))
    is_used: bool = False


class Poster:
    """Connections by origin, the ones not in use kept for the next POST."""

    def __init__(self) -> None:
        self._idle: dict[tuple[str, str], list[_Connection]] = {}

    async def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        """Returns the status of the answer; raises PostError when there is none."""
        try:
            parts = urlsplit(url)
            _ = parts.port  # read here because it is only checked when read
        except ValueError as error:
            raise PostError("a URL that cannot be read") from error
        origin = (parts.scheme, parts.netloc)
        while True:
            connection = await self._connect(origin, parts)
            was_used = connection.is_used
            try:
                status = await _exchange(connection, parts, headers, body)
            except (OSError, EOFError, ValueError, h11.ProtocolError) as error:
                # ValueError: a header that is not ASCII, which an attribute of an unwrapped push can be.
                connection.writer.close()
                if was_used and isinstance(error, OSError | EOFError):
                    continue  # the endpoint closed a kept connection as we used it: ask a fresh one
                raise PostError(type(error).__name__) from error
            except BaseException:
                connection.writer.close()  # cancelled or timed out: the answer may still come, to nobody
                raise
            self._keep(origin, connection)
            return status

    def close(self) -> None:
        """Closes what is idle."""
        for connections in self._idle.values():
            for connection in connections:
                connection.writer.close()
        self._idle.clear()

    async def _connect(self, origin: tuple[str, str], parts: SplitResult) -> _Connection:
        idle = self._idle.get(origin, [])
        while idle:
            connection = idle.pop()
            if not connection.reader.at_eof():
                return connection
            connection.writer.close()
        is_https = parts.scheme == "https"
        context = ssl.create_default_context() if is_https else None
        port = parts.port or (443 if is_https else 80)
        try:
            reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=context)
        except OSError as error:
            raise PostError(type(error).__name__) from error
        return _Connection(reader, writer)

    def _keep(self, origin: tuple[str, str], connection: _Connection) -> None:
        http = connection.http
        idle = self._idle.setdefault(origin, [])
        if http.our_state is h11.DONE and http.their_state is h11.DONE and len(idle) < _MAX_IDLE:
            http.start_next_cycle()
            connection.is_used = True
            idle.append(connection)
        else:
            connection.writer.close()


async def _exchange(connection: _Connection, parts: SplitResult, headers: dict[str, str], body: bytes) -> int:
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fields = {"host": parts.netloc, "content-length": str(len(body)), **headers}
    request = h11.Request(method="POST", target=target, headers=[(k, v) for k, v in fields.items()])
    http, writer = connection.http, connection.writer
    for event in (request, h11.Data(data=body), h11.EndOfMessage()):
        writer.write(http.send(event) or b"")
    await writer.drain()
    status = 0
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            data = await connection.reader.read(_READ_BYTES)
            if not data and not status and http.their_state is h11.SEND_RESPONSE:
                raise EOFError
            http.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return status
