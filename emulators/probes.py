"""Asks whether a service is ready: by connecting, by HTTP, or by what it wrote to its log. One question, no retries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from emulators.ports import HOST

_ANSWER_SECONDS = 5.0  # a function imports its modules when it is asked for the first time


class BrokenError(Exception):
    """The service answered, and the answer says that it will never be ready."""


@dataclass(frozen=True, kw_only=True)
class Connects:
    """Ready when its port takes a connection."""

    port: int
    host: str = HOST


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Ready when GET `path` answers `status`; broken when it answers `broken_status`."""

    port: int
    path: str
    status: int
    broken_status: int | None = None


@dataclass(frozen=True, kw_only=True)
class Says:
    """Ready when its log holds this text."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Ends:
    """Ready when the process has ended with exit code 0 (a task)."""


Probe = Connects | Answers | Says | Ends


async def ask(probe: Probe, log: Path, since_bytes: int) -> bool:
    """Says whether the service is ready; `since_bytes` is where this process's part of the log begins.

    Raises:
        BrokenError: waiting longer is no use.
    """
    match probe:
        case Connects():
            return await _ask_http(probe.host, probe.port, None) is not None
        case Answers():
            status = await _ask_http(HOST, probe.port, probe.path)
            if status is not None and status == probe.broken_status:
                raise BrokenError(f"GET {probe.path} answered {status}")
            return status == probe.status
        case Says():
            return probe.text.encode() in _read_from(log, since_bytes)
        case Ends():
            return False


async def _ask_http(host: str, port: int, path: str | None) -> int | None:
    """The status of GET `path`, 0 for a connection when there is no path, None for no answer."""
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                if path is None:
                    return 0
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                words = (await reader.readline()).split()
                return int(words[1]) if len(words) > 1 and words[1].isdigit() else None
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return None


def _read_from(log: Path, since_bytes: int) -> bytes:
    try:
        with log.open("rb") as file:
            file.seek(since_bytes)
            return file.read(64_000)
    except FileNotFoundError:
        return b""
