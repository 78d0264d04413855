"""Spilling for collect: the rows of many requests in few objects of the landing bucket.

Rows of requests that come while a write is under way go out together in the next one: an outage of Pub/Sub under load
would else be one object a request, more than a bucket takes in a second. What a line holds is storing.py's.
"""

from __future__ import annotations

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from agents.tools.landing import Landing
from agents.tools.once import once

SPILL_SECONDS = 5.0  # one write's own 4 seconds and a moment of waiting for the one before
WRITES_UNDER_WAY = 4
OBJECT_ROWS = 5000
Lines = list[bytes]


@dataclass(kw_only=True)
class _Waiting:
    lines: Lines
    done: asyncio.Future[None]


class Spiller:
    """Writes rows to one landing bucket. Belongs to one event loop at a time."""

    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._waiting: list[_Waiting] = []
        self._under_way = 0
        self._threads = ThreadPoolExecutor(WRITES_UNDER_WAY, thread_name_prefix="spill")

    async def write(self, lines: Lines) -> None:
        """Return once the lines are in an object, whose name is that of its content: the same rows are the same object.

        Raises:
            TimeoutError: not within SPILL_SECONDS.
            Exception: whatever the landing bucket raised.
        """
        waiting = _Waiting(lines=lines, done=asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start()
        try:
            async with asyncio.timeout(SPILL_SECONDS):
                await waiting.done
        finally:
            waiting.done.cancel()

    def _start(self) -> None:
        self._waiting = [one for one in self._waiting if not one.done.done()]
        while self._waiting and self._under_way < WRITES_UNDER_WAY:
            taken, lines = self._take()
            self._under_way += 1
            work = asyncio.get_running_loop().run_in_executor(self._threads, self._write, lines)
            work.add_done_callback(partial(self._end, taken))

    def _take(self) -> tuple[list[_Waiting], Lines]:
        lines: Lines = []
        count = 0
        for one in self._waiting:
            if lines and len(lines) + len(one.lines) > OBJECT_ROWS:
                break
            lines, count = lines + one.lines, count + 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken, lines

    def _write(self, lines: Lines) -> None:
        content = b"".join(lines)
        name = f"spill/{datetime.now(UTC):%Y-%m-%d}/{hashlib.sha256(content).hexdigest()[:32]}.ndjson"
        self._landing.write(name, content)

    def _end(self, taken: list[_Waiting], work: asyncio.Future[None]) -> None:
        self._under_way -= 1
        error = work.exception()
        for one in taken:
            if one.done.done():  # its request went away
                continue
            if error:
                one.done.set_exception(error)
            else:
                one.done.set_result(None)
        self._start()


@once
def spiller(landing: Landing) -> Spiller:
    """The process's one spiller of a landing bucket."""
    return Spiller(landing)
