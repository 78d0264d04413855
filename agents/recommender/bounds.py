"""How long an answer waits for one of its sources, and when it stops asking: somebody is waiting for a page.

A source that is late or fails is left alone for a while, in this process. Not `agents.tools.breaker`, whose circuits are in
Redis: Redis is one of the sources, and a look there costs as much as the answer that it would save.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from typing import TypeVar

Value = TypeVar("Value")
LEAST_REST_SECONDS, REST_SECONDS = 1.0, 10.0
FIRST_SECONDS = 6.0  # until a source has answered once: its client is imported, connected and signed in, on half a CPU
THREADS = 32  # more than Cloud Run's requests at once to one instance: those that are late hold theirs for a while

log = logging.getLogger(__name__)


class Unavailable(Exception):
    """The source is late, failing, or resting; the message says which."""


class Bound:
    """One source: `seconds` for an answer (`first_seconds` for its first), then left alone after a failure.

    At first for twice as long as an answer may take, so that one pause of a store is forgotten soon; while it goes on failing
    for twice as long every time, up to REST_SECONDS.
    """

    def __init__(self, name: str, seconds: float, first_seconds: float = FIRST_SECONDS) -> None:
        self.name = name
        self.seconds = seconds
        self._patience = max(seconds, first_seconds)
        self._resting_until = float("-inf")
        self._failures = 0  # since it answered last
        self._pool: ThreadPoolExecutor | None = None

    def ask(self, question: Callable[[], Value], failures: tuple[type[Exception], ...]) -> Value:
        """The answer in time.

        Raises:
            Unavailable: it is late, it raised one of `failures`, or it is resting.
        """
        if time.monotonic() < self._resting_until:
            raise Unavailable(f"{self.name} is left alone after a failure")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix=self.name)
        asked: Future[Value] = self._pool.submit(question)
        try:
            answer = asked.result(self._patience)
        except Late:
            asked.cancel()
            self._rest()
            raise Unavailable(f"{self.name} has not answered within {self._patience:g} s") from None
        except failures as error:
            self._rest()
            raise Unavailable(f"{self.name}: {type(error).__name__}: {error}") from error
        self._patience = self.seconds
        self._failures = 0
        return answer

    def _rest(self) -> None:
        self._patience = self.seconds
        now = time.monotonic()
        if now < self._resting_until:  # one pause makes many who wait late together
            return
        wanted = max(LEAST_REST_SECONDS, self.seconds * 2) * 2**self._failures
        self._resting_until = now + min(REST_SECONDS, wanted)
        self._failures = min(self._failures + 1, 10)
