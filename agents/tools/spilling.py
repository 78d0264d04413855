"""Spilling for collect: the rows of many requests in few objects of the landing bucket.

Rows of requests that come while a write is under way go out together in the next one: an outage of Pub/Sub under load
would else be one object a request, more than a bucket takes in a second. What an object holds is storing.py's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from agents.tools.landing import Landing
from agents.tools.once import once
from schemas.rows import Interaction, InvalidEvent

SPILL_SECONDS = 5.0  # one write's own 4 seconds and a moment of waiting for the one before
WRITES_UNDER_WAY = 4
OBJECT_ROWS = 5000
Rows = list[Interaction | InvalidEvent]


@dataclass(kw_only=True)
class _Waiting:
    rows: Rows
    done: asyncio.Future[None]


class Spiller:
    """Writes rows to one landing bucket. Belongs to one event loop at a time."""

    def __init__(self, landing: Landing) -> None:
        self._landing = landing
        self._waiting: list[_Waiting] = []
        self._under_way = 0
        self._threads = ThreadPoolExecutor(WRITES_UNDER_WAY, thread_name_prefix="spill")

    async def write(self, rows: Rows, pack: Callable[[Rows], tuple[str, bytes]]) -> None:
        """Return once the rows are in an object; `pack` names and encodes the rows of one.

        Raises:
            TimeoutError: not within SPILL_SECONDS.
            Exception: whatever the landing bucket raised.
        """
        waiting = _Waiting(rows=rows, done=asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        self._start(pack)
        try:
            async with asyncio.timeout(SPILL_SECONDS):
                await waiting.done
        finally:
            waiting.done.cancel()

    def _start(self, pack: Callable[[Rows], tuple[str, bytes]]) -> None:
        self._waiting = [one for one in self._waiting if not one.done.done()]
        while self._waiting and self._under_way < WRITES_UNDER_WAY:
            taken, rows = self._take()
            self._under_way += 1
            work = asyncio.get_running_loop().run_in_executor(self._threads, self._write, rows, pack)
            work.add_done_callback(partial(self._end, taken, pack))

    def _take(self) -> tuple[list[_Waiting], Rows]:
        rows: Rows = []
        count = 0
        for one in self._waiting:
            if rows and len(rows) + len(one.rows) > OBJECT_ROWS:
                break
            rows, count = rows + one.rows, count + 1
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken, rows

    def _write(self, rows: Rows, pack: Callable[[Rows], tuple[str, bytes]]) -> None:
        self._landing.write(*pack(rows))

    def _end(
        self, taken: list[_Waiting], pack: Callable[[Rows], tuple[str, bytes]], work: asyncio.Future[None]
    ) -> None:
        self._under_way -= 1
        error = work.exception()
        for one in taken:
            if one.done.done():  # its request went away
                continue
            if error:
                one.done.set_exception(error)
            else:
                one.done.set_result(None)
        self._start(pack)


@once
def spiller(landing: Landing) -> Spiller:
    """The process's one spiller of a landing bucket."""
    return Spiller(landing)
