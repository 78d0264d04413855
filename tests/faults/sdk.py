"""A client of collect that behaves as an SDK does, and keeps book of what it was told.

It sends a batch again, with the same message ids, on a 5xx, a 429 or a broken connection: 10 times, with an exponential
pause, or as long as Retry-After says (https://github.com/segmentio/analytics-python, analytics-node). Then it gives up.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

RETRIES = 10
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.5, 10.0
ANSWER_SECONDS = 10.0  # after which the quickest of the SDKs gives the connection up


@dataclass(kw_only=True)
class Answered:
    """One request's answer: when it was sent, how long it took, the status or the error's name."""

    at: float
    seconds: float
    outcome: str
    retry_after: bool = False


@dataclass(kw_only=True)
class Ledger:
    """What was sent, by event id, and what the client heard of it."""

    sent: int = 0
    accepted: set[str] = field(default_factory=set[str])
    rejected: Counter[str] = field(default_factory=Counter[str])
    given_up: set[str] = field(default_factory=set[str])
    answers: list[Answered] = field(default_factory=list[Answered])
    retries: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Sdk:
    """One client; each thread has its own."""

    def __init__(self, url: str, write_key: str, ledger: Ledger) -> None:
        self._client = httpx.Client(base_url=url, timeout=ANSWER_SECONDS, trust_env=False)
        self._key, self._ledger = write_key, ledger

    def send(self, events: list[dict[str, Any]]) -> None:
        """Send a batch until it is taken, refused for good, or given up."""
        ids = [event["messageId"] for event in events]
        with self._ledger.lock:
            self._ledger.sent += len(ids)
        for attempt in range(RETRIES + 1):
            pause_seconds = random.uniform(0.5, 1.0) * min(FIRST_PAUSE_SECONDS * 2**attempt, LAST_PAUSE_SECONDS)
            begun = time.monotonic()
            try:
                answer = self._client.post("/v1/batch", json={"batch": events, "writeKey": self._key})
            except httpx.HTTPError as error:
                self._note(begun, type(error).__name__)
            else:
                retry_after = answer.headers.get("Retry-After")
                self._note(begun, str(answer.status_code), retry_after=retry_after is not None)
                if answer.status_code == 200:
                    self._settle(ids, answer.json())
                    return
                if answer.status_code < 500 and answer.status_code != 429:
                    break
                pause_seconds = float(retry_after or pause_seconds)
            if attempt < RETRIES:
                with self._ledger.lock:
                    self._ledger.retries += 1
                time.sleep(pause_seconds)
        with self._ledger.lock:
            self._ledger.given_up |= set(ids)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def _note(self, begun: float, outcome: str, *, retry_after: bool = False) -> None:
        answered = Answered(at=begun, seconds=time.monotonic() - begun, outcome=outcome, retry_after=retry_after)
        with self._ledger.lock:
            self._ledger.answers.append(answered)

    def _settle(self, ids: list[str], verdict: dict[str, Any]) -> None:
        rejected = {one["index"]: one["failure"] for one in verdict["rejected"]}
        with self._ledger.lock:
            self._ledger.rejected.update(rejected.values())
            self._ledger.accepted |= {event_id for index, event_id in enumerate(ids) if index not in rejected}


def run_clients(count: int, make: Callable[[], Sdk], take: Callable[[], list[dict[str, Any]] | None]) -> None:
    """Run so many clients, each in a thread, until `take` has no batch for them; a client's error is raised here."""
    errors: list[BaseException] = []

    def work() -> None:
        sdk = make()
        try:
            while (events := take()) is not None:
                sdk.send(events)
        except BaseException as error:  # noqa: BLE001  # raised below, in the thread that asked
            errors.append(error)
        finally:
            sdk.close()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
