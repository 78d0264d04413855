"""The outbox: one Firestore document per action, `outbox/{actionId}`, that says how far the action got.

Owns the transitions and the frequency cap, both in one transaction, so that two deliveries of one action never send at
the same time and two actions never reach one person within the cap. Deliberately knows neither mail nor policy texts.
A person's last contact is kept in `contacts/{document_id(userId)}`, apart from the profile, which clients may read.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import msgspec

from agents.tools.once import once
from agents.tools.profiles import REQUEST_SECONDS, client, document_id, to_plain

if TYPE_CHECKING:
    from google.cloud.firestore import DocumentReference, Transaction

OUTBOX = "outbox"
CONTACTS = "contacts"
LEASE = timedelta(seconds=60)  # as long as act may work on one delivery (topology.yaml: its acknowledgement deadline)
QUIET = timedelta(hours=24)  # at most one email per person in this time
CAPPED = "the person got another message within 24 hours"


class State(StrEnum):
    """How far an action got. PENDING: free to take; SENDING: somebody holds it; the others are final."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    SENT = "SENT"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


FINAL = frozenset({State.SENT, State.SKIPPED, State.FAILED})


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One action's document. `reported` says that its outcome was told."""

    action_id: str
    user_id: str
    state: State
    created_at: datetime
    updated_at: datetime
    lease_until: datetime | None = None
    reason: str = ""
    reported: bool = False


class Contact(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The last message to a person."""

    action_id: str
    at: datetime


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What taking an action gave: the entry, and whether the taker holds it."""

    entry: Entry
    held: bool


class Outbox(Protocol):
    """Where actions stand."""

    def take(self, action_id: str, user_id: str, now: datetime) -> Claim:
        """Hold an action for the length of a lease, unless it is final or held; capped ones become SKIPPED."""
        ...

    def settle(self, entry: Entry) -> None:
        """Write where the action stands now; whoever holds it says so. A FAILED one gives its contact back."""
        ...


def decide(entry: Entry | None, contact: Contact | None, fresh: Entry) -> Claim:
    """What a taker gets: pure, from what the transaction has read. `fresh` is the entry as the taker would hold it."""
    now = fresh.updated_at
    if entry and (entry.state in FINAL or (entry.lease_until and entry.lease_until > now)):
        return Claim(entry=entry, held=False)
    created_at = entry.created_at if entry else now
    if contact and contact.action_id != fresh.action_id and contact.at > now - QUIET:
        skipped = msgspec.structs.replace(
            fresh, state=State.SKIPPED, reason=CAPPED, lease_until=None, created_at=created_at
        )
        return Claim(entry=skipped, held=False)
    return Claim(entry=msgspec.structs.replace(fresh, created_at=created_at), held=True)


def _fresh(action_id: str, user_id: str, now: datetime) -> Entry:
    return Entry(
        action_id=action_id,
        user_id=user_id,
        state=State.SENDING,
        created_at=now,
        updated_at=now,
        lease_until=now + LEASE,
    )


class FirestoreOutbox:
    """Google Firestore."""

    def take(self, action_id: str, user_id: str, now: datetime) -> Claim:
        """Hold an action in a transaction.

        Raises:
            google.api_core.exceptions.GoogleAPICallError: Firestore does not answer, or is too contended.
        """
        from google.cloud import firestore

        outbox, contacts = _references(action_id, user_id)

        @firestore.transactional
        def run(transaction: Transaction) -> Claim:
            entry = _decode(outbox, transaction, Entry)
            contact = _decode(contacts, transaction, Contact)
            claim = decide(entry, contact, _fresh(action_id, user_id, now))
            if claim.entry != entry:
                transaction.set(outbox, _encode(claim.entry))
            if claim.held:
                transaction.set(contacts, _encode(Contact(action_id=action_id, at=now)))
            return claim

        return run(client().transaction(max_attempts=10))

    def settle(self, entry: Entry) -> None:
        """Write where the action stands now; a FAILED or SKIPPED one gives its contact back. Raises as `take` does."""
        from google.cloud import firestore

        outbox, contacts = _references(entry.action_id, entry.user_id)

        @firestore.transactional
        def run(transaction: Transaction) -> None:
            kept = _decode(outbox, transaction, Entry)
            contact = _decode(contacts, transaction, Contact)
            if not may_settle(kept, entry):
                return
            transaction.set(outbox, _encode(entry))
            if gives_back(entry, contact):
                transaction.delete(contacts)

        run(client().transaction(max_attempts=10))


def may_settle(kept: Entry | None, entry: Entry) -> bool:
    """Whether an entry may be written: a final state stays, whatever a slow delivery with an old lease says."""
    return kept is None or kept.state not in FINAL or kept.state is entry.state


def gives_back(entry: Entry, contact: Contact | None) -> bool:
    """Whether an action that reached nobody holds the person's contact."""
    return entry.state in {State.FAILED, State.SKIPPED} and bool(contact and contact.action_id == entry.action_id)


class FakeOutbox:
    """The same decisions over dicts; `errors` are raised one after another by `settle`, as a crash would."""

    def __init__(self, *errors: Exception) -> None:
        self.entries: dict[str, Entry] = {}
        self.contacts: dict[str, Contact] = {}
        self.errors: list[Exception] = list(errors)

    def take(self, action_id: str, user_id: str, now: datetime) -> Claim:
        """Hold an action."""
        claim = decide(self.entries.get(action_id), self.contacts.get(user_id), _fresh(action_id, user_id, now))
        self.entries[action_id] = claim.entry
        if claim.held:
            self.contacts[user_id] = Contact(action_id=action_id, at=now)
        return claim

    def settle(self, entry: Entry) -> None:
        """Write where the action stands now, or raise the next error."""
        if self.errors:
            raise self.errors.pop(0)
        if not may_settle(self.entries.get(entry.action_id), entry):
            return
        self.entries[entry.action_id] = entry
        if gives_back(entry, self.contacts.get(entry.user_id)):
            del self.contacts[entry.user_id]


@once
def firestore_outbox() -> FirestoreOutbox:
    """The process's one outbox."""
    return FirestoreOutbox()


Kept = Entry | Contact
KeptType = TypeVar("KeptType", Entry, Contact)


def _references(action_id: str, user_id: str) -> tuple[DocumentReference, DocumentReference]:
    store = client()
    return (
        store.collection(OUTBOX).document(document_id(action_id)),
        store.collection(CONTACTS).document(document_id(user_id)),
    )


def _decode(reference: DocumentReference, transaction: Transaction, kind: type[KeptType]) -> KeptType | None:
    document: dict[str, Any] | None = reference.get(transaction=transaction, timeout=REQUEST_SECONDS).to_dict()
    return msgspec.convert(to_plain(document), kind) if document else None


def _encode(kept: Kept) -> dict[str, Any]:
    return msgspec.to_builtins(kept, builtin_types=(datetime,))
