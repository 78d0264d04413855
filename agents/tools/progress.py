"""How far each file of the landing bucket got: one Firestore document a file, `files/{id}`, with a lease and a checkpoint.

Owns the transitions, each in a transaction, so that of many notifications of one object one works at a time, and the next
goes on where the last durable checkpoint is. Deliberately knows neither formats nor rows. Object and generation are
immutable, so a finished file stays finished; a document goes by Firestore's TTL after the bucket has deleted the object.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agents.tools.once import once
from agents.tools.profiles import REQUEST_SECONDS, client, to_plain
from schemas.messages import derive_id

if TYPE_CHECKING:
    from google.cloud.firestore import DocumentReference, Transaction

FILES = "files"
LEASE = timedelta(seconds=15)  # renewed with every checkpoint, each two seconds
KEPT = timedelta(days=40)  # longer than an object is in the landing bucket (topology.yaml: 30 days)


class LandedObject(msgspec.Struct, frozen=True, kw_only=True):
    """One finished object of the landing bucket."""

    bucket: str
    name: str
    generation: int

    @property
    def url(self) -> str:
        """gs://bucket/name."""
        return f"gs://{self.bucket}/{self.name}"


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Everything before it is durable on Pub/Sub. `offset`: unpacked bytes; `element`: of an array."""

    offset: int = 0
    line: int = 0
    element: int = 0
    accepted: int = 0
    refused: int = 0
    skipped: int = 0


class File(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One file's document. `token` is of the taker at work, `message_id` the notification that it works for."""

    bucket: str
    name: str
    generation: int
    updated_at: datetime
    expires_at: datetime
    checkpoint: Checkpoint = Checkpoint()
    is_done: bool = False
    token: str = ""
    message_id: str = ""
    lease_until: datetime | None = None


class Verdict(StrEnum):
    """What taking a file gave. OTHERS: another notification of the same object is at work and will end it."""

    HELD = "HELD"
    DONE = "DONE"
    BUSY = "BUSY"
    OTHERS = "OTHERS"


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A taken file, or why it was not taken."""

    file: File
    verdict: Verdict


class LeaseLost(Exception):
    """Somebody else took the file over, because this holder was silent for longer than a lease."""


class FileProgress(Protocol):
    """Where files stand."""

    def take(self, landed: LandedObject, message_id: str) -> Claim:
        """Hold a file for the length of a lease, unless it is done or held."""
        ...

    def save(self, file: File, *, hold: bool = True) -> File:
        """Write how far the file is; `hold` renews the lease, else it is given back, and the next may take it at once.

        Raises:
            LeaseLost: another taker holds the file now; nothing was written.
        """
        ...


def decide(kept: File | None, fresh: File) -> Claim:
    """What a taker gets: pure, from what the transaction has read. `fresh` is the file as a first taker would hold it."""
    if kept is None:
        return Claim(file=fresh, verdict=Verdict.HELD)
    if kept.is_done:
        return Claim(file=kept, verdict=Verdict.DONE)
    if kept.lease_until and kept.lease_until > fresh.updated_at:
        verdict = Verdict.BUSY if kept.message_id == fresh.message_id else Verdict.OTHERS
        return Claim(file=kept, verdict=verdict)
    return Claim(file=msgspec.structs.replace(fresh, checkpoint=kept.checkpoint), verdict=Verdict.HELD)


def renew(kept: File | None, file: File, *, hold: bool) -> File:
    """The file as its holder writes it; LeaseLost when it is somebody else's by now."""
    if kept is None or kept.token != file.token:
        raise LeaseLost(f"gs://{file.bucket}/{file.name} was taken over by another delivery")
    now = datetime.now(UTC)
    return msgspec.structs.replace(
        file, updated_at=now, expires_at=now + KEPT, lease_until=now + LEASE if hold and not file.is_done else None
    )


def _fresh(landed: LandedObject, message_id: str) -> File:
    now = datetime.now(UTC)
    return File(
        bucket=landed.bucket,
        name=landed.name,
        generation=landed.generation,
        updated_at=now,
        expires_at=now + KEPT,
        token=str(uuid.uuid4()),
        message_id=message_id,
        lease_until=now + LEASE,
    )


class FirestoreProgress:
    """Google Firestore. Raises google.api_core.exceptions.GoogleAPICallError when it does not answer in time."""

    def take(self, landed: LandedObject, message_id: str) -> Claim:
        """Hold a file in a transaction."""
        from google.cloud import firestore

        fresh = _fresh(landed, message_id)
        reference = _reference(fresh)

        @firestore.transactional
        def run(transaction: Transaction) -> Claim:
            claim = decide(_decode(reference, transaction), fresh)
            if claim.verdict is Verdict.HELD:
                transaction.set(reference, _encode(claim.file))
            return claim

        return run(client().transaction(max_attempts=10))

    def save(self, file: File, *, hold: bool = True) -> File:
        """Write the checkpoint; `hold` renews the lease, else it is given back. Raises LeaseLost too."""
        from google.cloud import firestore

        reference = _reference(file)

        @firestore.transactional
        def run(transaction: Transaction) -> File:
            renewed = renew(_decode(reference, transaction), file, hold=hold)
            transaction.set(reference, _encode(renewed))
            return renewed

        return run(client().transaction(max_attempts=10))


class FakeProgress:
    """The same decisions over a dict."""

    def __init__(self) -> None:
        self.files: dict[str, File] = {}
        self.saved: list[File] = []

    def take(self, landed: LandedObject, message_id: str) -> Claim:
        """Hold a file."""
        fresh = _fresh(landed, message_id)
        claim = decide(self.files.get(_name(fresh)), fresh)
        self.files[_name(fresh)] = claim.file
        return claim

    def save(self, file: File, *, hold: bool = True) -> File:
        """Write the checkpoint, or LeaseLost."""
        renewed = renew(self.files.get(_name(file)), file, hold=hold)
        self.files[_name(file)] = renewed
        self.saved.append(renewed)
        return renewed


@once
def firestore_progress() -> FirestoreProgress:
    """The process's one record of files."""
    return FirestoreProgress()


def _name(file: File) -> str:
    return derive_id(file.bucket, file.name, str(file.generation))


def _reference(file: File) -> DocumentReference:
    return client().collection(FILES).document(_name(file))


def _decode(reference: DocumentReference, transaction: Transaction) -> File | None:
    document: dict[str, Any] | None = reference.get(transaction=transaction, timeout=REQUEST_SECONDS).to_dict()
    return msgspec.convert(to_plain(document), File) if document else None


def _encode(file: File) -> dict[str, Any]:
    return msgspec.to_builtins(file, builtin_types=(datetime,))
