"""Drops events of suppressed people before anything of them is stored; the verdict says so, and a counter counts.

Owns the process's own copy of the list, read in the background at most every FRESH_SECONDS. So a regulation takes effect in
collect within that time and one request more, and in a new process with its first request. When Redis does not answer, the
last copy serves on; a process that never had one lets events through; the job `forget` finds those
that arrive before the regulation is FINISHED.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from agents.intake.refusal import Refusal
from agents.privacy.person import digest
from agents.tools.once import once
from agents.tools.settings import settings
from agents.tools.suppressions import Suppressions, redis_suppressions
from schemas.rows import Failure, Interaction, InvalidEvent

FRESH_SECONDS = 30.0
FIRST_SECONDS = 2.0  # how long a new process waits for its first copy
SUPPRESSED = "the person is suppressed: nothing of the event was stored"
Kept = TypeVar("Kept")
log = logging.getLogger(__name__)


class SuppressionList:
    """The list in memory. `dropped` is how many events it has dropped in this process."""

    def __init__(self, store: Callable[[], Suppressions], clock: Callable[[], float] = time.monotonic) -> None:
        self.dropped = 0
        self._store, self._clock = store, clock
        self._version, self._digests = "", frozenset[str]()
        self._asked = float("-inf")
        self._reader: threading.Thread | None = None

    @property
    def is_new(self) -> bool:
        """Whether the list was never asked for in this process, so that `refresh` may wait."""
        return self._asked == float("-inf")

    @property
    def is_fresh(self) -> bool:
        """Whether there is nothing to refresh."""
        return self._clock() - self._asked <= FRESH_SECONDS

    def refresh(self) -> None:
        """Read the list if it is time; only a process without any list waits, and not for long."""
        first = self.is_new
        if not self.is_fresh and not (self._reader and self._reader.is_alive()):
            self._asked = self._clock()
            self._reader = threading.Thread(target=self._read, name="suppressions", daemon=True)
            self._reader.start()
            if first:
                self._reader.join(FIRST_SECONDS)

    async def prepare(self) -> None:
        """`refresh` for an event loop."""
        if self.is_new:
            await asyncio.to_thread(self.refresh)
        else:
            self.refresh()

    def wait(self) -> None:
        """Return when the list is not being read any more (for tests)."""
        if self._reader:
            self._reader.join()

    def check(self, row: Interaction) -> None:
        """Nothing, or the verdict on an event of somebody who is suppressed.

        Raises:
            Refusal: SUPPRESSED; the event must not be stored, not even as a refused one.
        """
        if self._digests and self.covers(row.user_id, row.anonymous_id, row.previous_id):
            raise Refusal(Failure.SUPPRESSED, SUPPRESSED)

    def covers(self, *ids: str | None) -> bool:
        """Whether one of these ids is on the list; counted, because then an event is dropped."""
        if not self._digests or not any(one and digest(one) in self._digests for one in ids):
            return False
        self.dropped += 1
        return True

    def keep_others(self, rows: Sequence[Kept]) -> list[Kept]:
        """The rows of a file that are of nobody who is suppressed."""
        if not self._digests:
            return list(rows)
        return [row for row in rows if not (isinstance(row, Interaction | InvalidEvent) and self._is_theirs(row))]

    def _is_theirs(self, row: Interaction | InvalidEvent) -> bool:
        return self.covers(row.user_id, row.anonymous_id, row.previous_id)

    def _read(self) -> None:
        try:
            news = self._store().read(self._version)
        except Exception as error:  # noqa: BLE001  # whatever Redis' client raises, the last copy serves on
            log.warning("the suppression list could not be read (%s): the last one serves on", type(error).__name__)
            return
        if news:
            self._version, self._digests = news


@once
def suppression_list() -> SuppressionList | None:
    """The process's copy, or None where no Redis is configured."""
    return SuppressionList(redis_suppressions) if settings().redis_url else None
