"""Owns the Listen stream: targets added and removed, initial states, changes, consistent snapshots, resuming.

Commits that arrive while a client is slow are merged, so a client may skip intermediate states but never the
last one. What a target matches is `targets.py`.
"""

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

from emulators.firestore.database import Database
from emulators.firestore.messages import Message, micros_of, timestamp_of
from emulators.firestore.requests import (
    ListenRequest,
    Target,
    new_document_change,
    new_document_delete,
    new_document_remove,
    new_listen_response,
    new_status,
    new_target_change,
)
from emulators.firestore.targets import Delta, Matcher, make_matcher
from emulators.statuses import StatusError, invalid

# Tells this process's tokens from those of one that ran before on the same port.
_INSTANCE = os.urandom(8)


class ChangeType(IntEnum):
    """TargetChange.TargetChangeType."""

    NO_CHANGE = 0
    ADD = 1
    REMOVE = 2
    CURRENT = 3
    RESET = 4


@dataclass(slots=True)
class _Active:
    """A target of a stream."""

    target_id: int
    matcher: Matcher
    is_once: bool


class ListenStream:
    """One client's stream: reads its requests, follows the store, yields responses."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._store = database.store
        self._targets: dict[int, _Active] = {}
        self._requests: list[ListenRequest] = []
        self._changed: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._is_closed = False

    async def serve(self, first: ListenRequest, requests: AsyncIterator[ListenRequest]) -> AsyncGenerator[Message]:
        """Yields responses until the client ends the stream."""
        self._requests.append(first)
        self._wake.set()
        unsubscribe = self._store.subscribe(self._note_commit)
        reader = asyncio.create_task(self._read_requests(requests))
        try:
            while not self._is_closed:
                await self._wake.wait()
                self._wake.clear()
                for response in self._handle_requests():
                    yield response
                for response in self._handle_changes():
                    yield response
        finally:
            unsubscribe()
            reader.cancel()

    async def _read_requests(self, requests: AsyncIterator[ListenRequest]) -> None:
        try:
            async for request in requests:
                self._requests.append(request)
                self._wake.set()
        finally:
            self._is_closed = True
            self._wake.set()

    def _note_commit(self, names: Iterable[str]) -> None:
        self._changed.update(dict.fromkeys(names))
        self._wake.set()

    def _handle_requests(self) -> Iterator[Message]:
        pending, self._requests = self._requests, []
        for request in pending:
            if request.WhichOneof("target_change") == "remove_target":
                self._targets.pop(request.remove_target, None)
                yield _target_change(ChangeType.REMOVE, [request.remove_target])
            else:
                yield from self._add_target(request.add_target)

    def _add_target(self, target: Target) -> Iterator[Message]:
        target_id = target.target_id or max(self._targets, default=0) + 1
        try:
            if target_id in self._targets:
                raise invalid(f"Target id {target_id} is already in use on this stream.")
            active = _Active(target_id, make_matcher(target, self._database.name), target.once)
        except StatusError as error:
            code: int = error.code.value[0]
            cause = new_status(code=code, message=error.message)
            yield new_listen_response(
                target_change=new_target_change(
                    target_change_type=ChangeType.REMOVE, target_ids=[target_id], cause=cause
                )
            )
            return
        # All of it is computed before the first response leaves, together with what the older targets have not
        # been told yet: the snapshot that ends it speaks for the whole stream.
        responses = [*self._handle_changes(), _target_change(ChangeType.ADD, [target_id])]
        responses.extend(self._initial_responses(active, target))
        read_us = self._store.read_now()
        self._targets[target_id] = active
        yield from responses
        yield _target_change(ChangeType.CURRENT, [target_id], read_us)
        yield _target_change(ChangeType.NO_CHANGE, [], read_us)
        if active.is_once:
            del self._targets[target_id]
            yield _target_change(ChangeType.REMOVE, [target_id])

    def _initial_responses(self, active: _Active, target: Target) -> Iterator[Message]:
        if target.WhichOneof("resume_type") is None:
            yield from self._describe(active.matcher.load(self._store), [active.target_id])
            return
        since_us = self._resume_point(target)
        delta = None
        if since_us is not None:
            names = dict.fromkeys(name for at_us, name in self._store.changes if at_us > since_us)
            delta = active.matcher.resume(self._store, names)
        if delta is None:
            yield _target_change(ChangeType.RESET, [active.target_id])
            delta = active.matcher.load(self._store)
        yield from self._describe(delta, [active.target_id])

    def _resume_point(self, target: Target) -> int | None:
        if target.WhichOneof("resume_type") == "read_time":
            since_us = micros_of(target.read_time)
        elif len(target.resume_token) == 16 and target.resume_token.startswith(_INSTANCE):
            since_us = int.from_bytes(target.resume_token[8:], "big")
        else:
            return None
        return since_us if since_us >= self._store.horizon_us else None

    def _handle_changes(self) -> Iterator[Message]:
        names, self._changed = self._changed, {}
        if not names or not self._targets:
            return
        read_us = self._store.read_now()
        responses: list[Message] = []
        for active in self._targets.values():
            delta = active.matcher.update(self._store, names)
            responses.extend(self._describe(delta, [active.target_id]))
        if responses:
            yield from responses
            yield _target_change(ChangeType.NO_CHANGE, [], read_us)

    def _describe(self, delta: Delta, target_ids: list[int]) -> Iterator[Message]:
        read_time = timestamp_of(self._store.read_now())
        for document in delta.changed:
            change = new_document_change(document=document, target_ids=target_ids)
            yield new_listen_response(document_change=change)
        for name in delta.removed:
            removal = new_document_remove(document=name, removed_target_ids=target_ids, read_time=read_time)
            yield new_listen_response(document_remove=removal)
        for name in delta.deleted:
            deletion = new_document_delete(document=name, removed_target_ids=target_ids, read_time=read_time)
            yield new_listen_response(document_delete=deletion)


def _target_change(kind: ChangeType, target_ids: list[int], read_us: int | None = None) -> Message:
    change: dict[str, object] = {"target_change_type": kind, "target_ids": target_ids}
    if read_us is not None:
        change["read_time"] = timestamp_of(read_us)
        change["resume_token"] = _INSTANCE + read_us.to_bytes(8, "big")
    return new_listen_response(target_change=new_target_change(**change))
