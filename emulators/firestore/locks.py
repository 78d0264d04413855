"""Owns transactions and who waits for whom: read locks, commits that wait for them, deadlocks, age.

The rules, those of Firestore's pessimistic mode:
- a read in a read-write transaction locks the document; others may read it, nobody may change it;
- a commit, and a write outside transactions, waits until nobody else holds a lock on what it changes;
- of transactions that wait for each other the youngest is aborted;
- a transaction that is run again (`retry_transaction`) keeps the age of its first run;
- at a read, transactions stand in line, the oldest first: a first run only for a moment, which is enough for
  short ones never to collide, and a later run as long as a lock lasts, so that it cannot lose for ever.
Reads never fail for contention, because the official client runs again only what fails at the commit.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from emulators.statuses import aborted, invalid

# Google's emulator waits 2 s as well; the real service 20 s. A laptop wants the answer.
LOCK_TIMEOUT_SECONDS = 2.0
# Long enough for a queue of a few short transactions; short enough for code that holds two at once on purpose.
_FIRST_READ_SECONDS = 0.1
# Firestore's own limits for a transaction that is forgotten, and for one that is used.
_IDLE_SECONDS = 60.0
_TOTAL_SECONDS = 270.0
_FINISHED_KEPT = 10_000

QueryCheck = Callable[[], bool]


@dataclass(eq=False, slots=True)
class Transaction:
    """A running transaction, or (without an id) a commit outside any."""

    age: tuple[int, int]
    """When its first run began, then when it began itself: runs of one first run differ, so one is the younger."""
    id: bytes = b""
    is_retry: bool = False
    read_us: int | None = None
    """Set on a read-only transaction: the time at which it reads."""
    is_doomed: bool = False
    locked: set[str] = field(default_factory=set[str])
    query_checks: list[QueryCheck] = field(default_factory=list[QueryCheck])
    waiting_for: tuple[str, ...] = ()
    started: float = field(default_factory=time.monotonic)
    used: float = field(default_factory=time.monotonic)


class LockTable:
    """The transactions of one database and the locks they hold."""

    def __init__(self) -> None:
        self._running: dict[bytes, Transaction] = {}
        self._finished: dict[bytes, tuple[int, int]] = {}
        self._holders: dict[str, set[Transaction]] = {}
        self._waiting: list[Transaction] = []
        self._changed = asyncio.Condition()
        self._last_number = 0

    def begin(self, *, read_us: int | None = None, retry_of: bytes = b"") -> Transaction:
        """Starts a transaction; read-only when it has a read time."""
        number = self._take_number()
        first = self._age_of(retry_of)[0] if retry_of else number
        transaction = Transaction((first, number), os.urandom(16), bool(retry_of), read_us)
        self._running[transaction.id] = transaction
        return transaction

    def find(self, transaction_id: bytes) -> Transaction:
        """Returns a running transaction; raises INVALID_ARGUMENT when it is unknown, finished or expired."""
        transaction = self._running.get(transaction_id)
        if transaction is None:
            raise invalid("Transaction is invalid or closed.")
        now = time.monotonic()
        if now - transaction.used > _IDLE_SECONDS or now - transaction.started > _TOTAL_SECONDS:
            self._forget(transaction)
            raise invalid("The referenced transaction has expired or is no longer valid.")
        transaction.used = now
        return transaction

    def is_known(self, transaction_id: bytes) -> bool:
        """Tells whether an id was ever handed out (and is not too old to be remembered)."""
        return transaction_id in self._running or transaction_id in self._finished

    async def lock_for_read(self, transaction: Transaction, names: Iterable[str]) -> None:
        """Takes read locks, standing in line behind older transactions; never fails for contention."""
        wanted = tuple(names)
        patience_seconds = LOCK_TIMEOUT_SECONDS if transaction.is_retry else _FIRST_READ_SECONDS
        may_read = partial(self._may_read, transaction, wanted)
        await self._wait(transaction, wanted, may_read, patience_seconds)
        for name in wanted:
            self._holders.setdefault(name, set()).add(transaction)
            transaction.locked.add(name)

    async def wait_to_write(self, transaction: Transaction | None, names: Iterable[str]) -> None:
        """Waits until nobody else holds what is to be changed; raises ABORTED after the lock timeout."""
        number = self._take_number()
        writer = transaction or Transaction((number, number))
        wanted = tuple(names)
        may_write = partial(self._may_write, writer, wanted)
        if not await self._wait(writer, wanted, may_write, LOCK_TIMEOUT_SECONDS):
            raise aborted("Transaction lock timeout.")
        if writer.is_doomed:
            raise aborted("Too much contention on these documents. Please try again.")

    async def finish(self, transaction: Transaction) -> None:
        """Ends a transaction, whatever became of it, and lets those go on that waited for it."""
        self._forget(transaction)
        async with self._changed:
            self._changed.notify_all()

    async def _wait(
        self, waiter: Transaction, names: tuple[str, ...], is_free: Callable[[], bool], seconds: float
    ) -> bool:
        if is_free():
            return True
        waiter.waiting_for = names
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(seconds), self._changed:
                # Whoever waits already may be what this one now closes a circle with.
                self._changed.notify_all()
                await self._changed.wait_for(is_free)
            return True
        except TimeoutError:
            self._expire_idle()
            return False
        finally:
            self._waiting.remove(waiter)
            waiter.waiting_for = ()

    def _may_read(self, reader: Transaction, names: tuple[str, ...]) -> bool:
        older = [w for w in self._waiting if w.age < reader.age and not set(names).isdisjoint(w.waiting_for)]
        blockers = self._others_holding(reader, names).union(older)
        # To wait for somebody who waits for us would last until the timeout: share the lock instead, the
        # commits will sort it out.
        return not blockers or any(self._depends_on(blocker, reader) for blocker in blockers)

    def _may_write(self, writer: Transaction, names: tuple[str, ...]) -> bool:
        holders = self._others_holding(writer, names)
        rivals = [holder for holder in holders if self._depends_on(holder, writer)]
        if any(rival.age < writer.age for rival in rivals):
            writer.is_doomed = True
        return not holders or writer.is_doomed

    def _others_holding(self, transaction: Transaction, names: Iterable[str]) -> set[Transaction]:
        holders: set[Transaction] = set()
        for name in names:
            holders |= self._holders.get(name, set())
        return {holder for holder in holders if holder is not transaction and not holder.is_doomed}

    def _depends_on(self, waiter: Transaction, target: Transaction) -> bool:
        seen: set[Transaction] = set()
        stack = [waiter]
        while stack:
            current = stack.pop()
            if current in seen:
                continue
            seen.add(current)
            for holder in self._others_holding(current, current.waiting_for):
                if holder is target:
                    return True
                stack.append(holder)
        return False

    def _expire_idle(self) -> None:
        now = time.monotonic()
        for transaction in list(self._running.values()):
            if now - transaction.used > _IDLE_SECONDS:
                self._forget(transaction)

    def _forget(self, transaction: Transaction) -> None:
        if self._running.pop(transaction.id, None) is not None:
            self._finished[transaction.id] = transaction.age
            if len(self._finished) > _FINISHED_KEPT:
                del self._finished[next(iter(self._finished))]
        for name in transaction.locked:
            holders = self._holders[name]
            holders.discard(transaction)
            if not holders:
                del self._holders[name]
        transaction.locked.clear()

    def _age_of(self, transaction_id: bytes) -> tuple[int, int]:
        if not self.is_known(transaction_id):
            raise invalid("Invalid transaction.")
        running = self._running.get(transaction_id)
        return running.age if running is not None else self._finished[transaction_id]

    def _take_number(self) -> int:
        self._last_number += 1
        return self._last_number
