"""Owns one database's operations: reads at a consistency selector, transactions, commits, batch writes.

It ties the store, the locks and the writes together; the wire is `service.py`'s. Everything between two awaits is
atomic, because one event loop runs it all.
"""

import secrets
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from emulators.firestore.locks import LockTable, Transaction
from emulators.firestore.messages import Document, Write, WriteResult, micros_of, new_write_result
from emulators.firestore.names import DocumentName, parse_document
from emulators.firestore.queries import Query
from emulators.firestore.requests import NewTransactionRequest, ReadRequest, TransactionOptions
from emulators.firestore.store import Store
from emulators.firestore.writes import Overlay, apply_write, name_of_write
from emulators.statuses import StatusError, aborted, invalid

_ID_ALPHABET = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True)
class Reading:
    """At what time to read (None: now), and in which read-write transaction, if any."""

    at_us: int | None = None
    transaction: Transaction | None = None
    new_id: bytes = b""
    """The id of the transaction that this read started, for its first response."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one write of a batch: its result, or the error it met."""

    result: WriteResult
    error: StatusError | None = None


class Database:
    """One database: its documents and its transactions."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.store = Store(name)
        self._locks = LockTable()

    def begin(self, options: TransactionOptions) -> Transaction:
        """Starts the transaction that the options describe."""
        if options.WhichOneof("mode") != "read_only":
            return self._locks.begin(retry_of=options.read_write.retry_transaction)
        if options.read_only.HasField("read_time"):
            return self._locks.begin(read_us=micros_of(options.read_only.read_time))
        return self._locks.begin(read_us=self.store.read_now())

    async def rollback(self, transaction_id: bytes) -> None:
        """Ends a transaction; one that ended already is fine."""
        if not self._locks.is_known(transaction_id):
            raise invalid("Invalid transaction.")
        try:
            await self._locks.finish(self._locks.find(transaction_id))
        except StatusError:
            return

    def resolve(self, request: ReadRequest) -> Reading:
        """Reads the consistency selector of a request."""
        match request.WhichOneof("consistency_selector"):
            case "read_time":
                read_us = micros_of(request.read_time)
                if read_us > self.store.read_now():
                    raise invalid("read_time is in the future.")
                return Reading(read_us)
            case "transaction":
                transaction = self._locks.find(request.transaction)
                return _reading_in(transaction, b"")
            case _:
                return Reading()

    def resolve_or_begin(self, request: NewTransactionRequest) -> Reading:
        """Reads the consistency selector of a request that may also start a transaction."""
        if request.WhichOneof("consistency_selector") != "new_transaction":
            return self.resolve(request)
        transaction = self.begin(request.new_transaction)
        return _reading_in(transaction, transaction.id)

    def read_time(self, reading: Reading) -> int:
        """Returns the time, in microseconds, that a read reports."""
        return reading.at_us if reading.at_us is not None else self.store.read_now()

    async def get_all(self, names: Sequence[DocumentName], reading: Reading) -> list[Document | None]:
        """Returns documents as of one moment, locked when the read is in a read-write transaction."""
        if reading.transaction is not None:
            await self._locks.lock_for_read(reading.transaction, [name.full for name in names])
        return [self.store.get(name, reading.at_us) for name in names]

    async def run_query(self, query: Query, reading: Reading) -> list[Document]:
        """Returns a query's result; a read-write transaction locks it and is checked for phantoms."""
        documents = query.run(self.store, reading.at_us)
        if reading.transaction is None:
            return documents
        await self._locks.lock_for_read(reading.transaction, [document.name for document in documents])
        # What was locked may have changed while waiting for the locks.
        documents = query.run(self.store)
        await self._locks.lock_for_read(reading.transaction, [document.name for document in documents])
        seen = _versions_of(documents)
        reading.transaction.query_checks.append(partial(self._is_result_unchanged, query, seen))
        return documents

    async def commit(self, writes: Sequence[Write], transaction_id: bytes = b"") -> tuple[list[WriteResult], int]:
        """Applies all writes or none; returns their results and the commit time in microseconds."""
        if not transaction_id:
            return await self._apply(writes, None)
        transaction = self._locks.find(transaction_id)
        try:
            if transaction.read_us is not None and len(writes) > 0:
                raise invalid("Cannot modify entities in a read-only transaction.")
            return await self._apply(writes, transaction)
        finally:
            await self._locks.finish(transaction)

    async def batch_write(self, writes: Sequence[Write]) -> list[Outcome]:
        """Applies each write on its own; returns one outcome for each."""
        names = [name_of_write(write, self.name).full for write in writes]
        if len(set(names)) < len(names):
            raise invalid("the same document cannot be written more than once in a single request")
        outcomes: list[Outcome] = []
        for write in writes:
            try:
                results, _ = await self._apply([write], None)
                outcomes.append(Outcome(results[0]))
            except StatusError as error:
                outcomes.append(Outcome(new_write_result(), error))
        return outcomes

    async def _apply(self, writes: Sequence[Write], transaction: Transaction | None) -> tuple[list[WriteResult], int]:
        names = [name_of_write(write, self.name).full for write in writes]
        await self._locks.wait_to_write(transaction, names)
        if transaction is not None and not all(check() for check in transaction.query_checks):
            raise aborted("A query's result changed while the transaction ran. Please try again.")
        commit_us = self.store.next_commit()
        overlay = Overlay(self.store.documents)
        results = [apply_write(overlay, write, commit_us) for write in writes]
        self.store.install(overlay.staged, commit_us)
        return results, commit_us

    def _is_result_unchanged(self, query: Query, seen: list[tuple[str, int]]) -> bool:
        return _versions_of(query.run(self.store)) == seen


def make_document_id() -> str:
    """Returns a random document id of 20 letters and digits, as the official clients make them."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(20))


def parse_names(names: Iterable[str], database: str) -> list[DocumentName]:
    """Checks the names of documents to read, duplicates left out."""
    parsed = [parse_document(name) for name in dict.fromkeys(names)]
    for name in parsed:
        if name.database != database:
            raise invalid(f'Document "{name.full}" is not in the database "{database}".')
    return parsed


def _reading_in(transaction: Transaction, new_id: bytes) -> Reading:
    if transaction.read_us is not None:
        return Reading(transaction.read_us, None, new_id)
    return Reading(None, transaction, new_id)


def _versions_of(documents: Iterable[Document]) -> list[tuple[str, int]]:
    return [(document.name, micros_of(document.update_time)) for document in documents]
