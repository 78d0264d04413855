"""The outbox: one Firestore document per action, `outbox/{actionId}`, that says how far the action got.

Owns the transitions, the frequency caps and the approvals, each in one transaction, so that two deliveries of one action
never send at the same time and no two actions break a cap together. Deliberately knows neither mail nor policy texts.
What reached a person, and that they opted out, is kept in `contacts/{document_id(userId)}`, apart from the profile, which
clients may read and whose fields their events may change.
"""

from __future__ import annotations

from collections.abc import Sequence
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
MEMORY = timedelta(days=366)  # the longest cap that a policy may have
MOMENT_ANSWERED = "another message has answered this moment"


class State(StrEnum):
    """How far an action got. PENDING: free to take; WAITING: for a time or a person; SENDING: held; others are final."""

    PENDING = "PENDING"
    WAITING = "WAITING"
    SENDING = "SENDING"
    SENT = "SENT"
    SKIPPED = "SKIPPED"
    FAILED = "FAILED"


FINAL = frozenset({State.SENT, State.SKIPPED, State.FAILED})


class Approval(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A person's word about exactly one wording: `digest` is of the action's bytes. Undecided while `approved` is None."""

    digest: str
    expires_at: datetime
    approved: bool | None = None
    decided_by: str = ""
    decided_at: datetime | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One action's document. `reported` says that its outcome was told; `body` is the action of one that waits."""

    action_id: str
    user_id: str
    state: State
    created_at: datetime
    updated_at: datetime
    moment_id: str = ""
    lease_until: datetime | None = None
    not_before: datetime | None = None
    body: str = ""
    approval: Approval | None = None
    reason: str = ""
    reported: bool = False


class Sent(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One message to a person."""

    action_id: str
    moment_id: str
    at: datetime


class Contact(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What reached a person lately, and when they opted out by a link."""

    sent: list[Sent] = []
    opted_out_at: datetime | None = None


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `messages` within `span`."""

    messages: int
    span: timedelta


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What taking an action gave: the entry, and whether the taker holds it."""

    entry: Entry
    held: bool


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be taken, and within which caps."""

    action_id: str
    user_id: str
    moment_id: str
    limits: Sequence[Limit]


class Outbox(Protocol):
    """Where actions stand."""

    def read(self, action_id: str) -> Entry | None:
        """An action's entry."""
        ...

    def read_contact(self, user_id: str) -> Contact:
        """What reached a person, and whether they opted out."""
        ...

    def take(self, order: Order, now: datetime) -> Claim:
        """Hold an action for the length of a lease, unless it is final or held; capped ones become SKIPPED."""
        ...

    def settle(self, entry: Entry) -> None:
        """Write where the action stands now. A FAILED or SKIPPED one gives its contact back."""
        ...

    def decide_approval(self, action_id: str, decision: Approval) -> Entry | None:
        """Write a person's word when the entry waits for exactly it; the entry as it is then."""
        ...

    def list_waiting(self, count: int) -> list[Entry]:
        """Entries that wait, those with the earliest `not_before` first."""
        ...

    def opt_out(self, user_id: str, now: datetime) -> None:
        """Note that a person wants no more messages."""
        ...


def decide(entry: Entry | None, contact: Contact, order: Order, now: datetime) -> Claim:
    """What a taker gets: pure, from what the transaction has read."""
    if entry and (entry.state in FINAL or (entry.lease_until and entry.lease_until > now)):
        return Claim(entry=entry, held=False)
    known = entry or fresh_entry(order, now)
    others = [sent for sent in contact.sent if sent.action_id != order.action_id]
    if reason := _find_cap(others, order, now):
        skipped = msgspec.structs.replace(
            known, state=State.SKIPPED, reason=reason, lease_until=None, body="", updated_at=now
        )
        return Claim(entry=skipped, held=False)
    held = msgspec.structs.replace(known, state=State.SENDING, lease_until=now + LEASE, updated_at=now, reason="")
    return Claim(entry=held, held=True)


def fresh_entry(order: Order, now: datetime) -> Entry:
    """The entry of an action that nobody has seen before."""
    return Entry(
        action_id=order.action_id,
        user_id=order.user_id,
        moment_id=order.moment_id,
        state=State.PENDING,
        created_at=now,
        updated_at=now,
    )


def add_contact(contact: Contact, order: Order, now: datetime) -> Contact:
    """The contact with this action as the latest; what no cap can count any more is dropped."""
    kept = [sent for sent in contact.sent if sent.action_id != order.action_id and sent.at > now - MEMORY]
    new = Sent(action_id=order.action_id, moment_id=order.moment_id, at=now)
    return msgspec.structs.replace(contact, sent=[*kept, new])


def may_settle(kept: Entry | None, entry: Entry) -> bool:
    """Whether an entry may be written: a final state stays, whatever a slow delivery with an old lease says."""
    return kept is None or kept.state not in FINAL or kept.state is entry.state


def give_back(entry: Entry, contact: Contact) -> Contact:
    """The contact without an action that reached nobody."""
    if entry.state not in {State.FAILED, State.SKIPPED, State.WAITING}:
        return contact
    kept = [sent for sent in contact.sent if sent.action_id != entry.action_id]
    return contact if kept == contact.sent else msgspec.structs.replace(contact, sent=kept)


def judge(entry: Entry | None, decision: Approval) -> Entry | None:
    """The entry after a person's word, or None when it waits for no such word: decided, expired, or other bytes."""
    waiting = entry.approval if entry and entry.state is State.WAITING else None
    if entry is None or waiting is None or waiting.approved is not None or waiting.digest != decision.digest:
        return None
    if decision.decided_at is None or decision.decided_at >= waiting.expires_at:
        return None
    decided = msgspec.structs.replace(decision, expires_at=waiting.expires_at)
    return msgspec.structs.replace(
        entry, approval=decided, not_before=decided.decided_at, updated_at=decided.decided_at
    )


def _find_cap(others: Sequence[Sent], order: Order, now: datetime) -> str:
    if order.moment_id and any(sent.moment_id == order.moment_id for sent in others):
        return MOMENT_ANSWERED
    for limit in order.limits:
        if sum(sent.at > now - limit.span for sent in others) >= limit.messages:
            hours = int(limit.span.total_seconds() // 3600)
            return f"the person got {limit.messages} other messages within {hours} hours"
    return ""


class FirestoreOutbox:
    """Google Firestore. Every method raises google.api_core.exceptions.GoogleAPICallError when it does not answer."""

    def read(self, action_id: str) -> Entry | None:
        """An action's entry."""
        return _decode(_entry_of(action_id), None, Entry)

    def read_contact(self, user_id: str) -> Contact:
        """What reached a person."""
        return _decode(_contact_of(user_id), None, Contact) or Contact()

    def take(self, order: Order, now: datetime) -> Claim:
        """Hold an action in a transaction."""
        from google.cloud import firestore

        outbox, contacts = _entry_of(order.action_id), _contact_of(order.user_id)

        @firestore.transactional
        def run(transaction: Transaction) -> Claim:
            entry = _decode(outbox, transaction, Entry)
            contact = _decode(contacts, transaction, Contact) or Contact()
            claim = decide(entry, contact, order, now)
            if claim.entry != entry:
                transaction.set(outbox, _encode(claim.entry))
            if claim.held:
                transaction.set(contacts, _encode(add_contact(contact, order, now)))
            return claim

        return run(client().transaction(max_attempts=10))

    def settle(self, entry: Entry) -> None:
        """Write where the action stands now."""
        from google.cloud import firestore

        outbox, contacts = _entry_of(entry.action_id), _contact_of(entry.user_id)

        @firestore.transactional
        def run(transaction: Transaction) -> None:
            kept = _decode(outbox, transaction, Entry)
            contact = _decode(contacts, transaction, Contact) or Contact()
            if not may_settle(kept, entry):
                return
            transaction.set(outbox, _encode(entry))
            if (rest := give_back(entry, contact)) != contact:
                transaction.set(contacts, _encode(rest))

        run(client().transaction(max_attempts=10))

    def decide_approval(self, action_id: str, decision: Approval) -> Entry | None:
        """Write a person's word."""
        from google.cloud import firestore

        outbox = _entry_of(action_id)

        @firestore.transactional
        def run(transaction: Transaction) -> Entry | None:
            judged = judge(_decode(outbox, transaction, Entry), decision)
            if judged:
                transaction.set(outbox, _encode(judged))
            return judged

        return run(client().transaction(max_attempts=10))

    def list_waiting(self, count: int) -> list[Entry]:
        """Entries that wait."""
        from google.cloud.firestore import FieldFilter

        query = client().collection(OUTBOX).where(filter=FieldFilter("state", "==", State.WAITING.value))
        found = query.order_by("notBefore").limit(count).stream(timeout=REQUEST_SECONDS)
        return [msgspec.convert(to_plain(document.to_dict()), Entry) for document in found]

    def opt_out(self, user_id: str, now: datetime) -> None:
        """Note that a person wants no more messages."""
        _contact_of(user_id).set({"optedOutAt": now}, merge=True, timeout=REQUEST_SECONDS)


class FakeOutbox:
    """The same decisions over dicts; `errors` are raised one after another by `settle`, as a crash would."""

    def __init__(self, *errors: Exception) -> None:
        self.entries: dict[str, Entry] = {}
        self.contacts: dict[str, Contact] = {}
        self.errors: list[Exception] = list(errors)

    def read(self, action_id: str) -> Entry | None:
        """An action's entry."""
        return self.entries.get(action_id)

    def read_contact(self, user_id: str) -> Contact:
        """What reached a person."""
        return self.contacts.get(user_id, Contact())

    def take(self, order: Order, now: datetime) -> Claim:
        """Hold an action."""
        contact = self.read_contact(order.user_id)
        claim = decide(self.entries.get(order.action_id), contact, order, now)
        self.entries[order.action_id] = claim.entry
        if claim.held:
            self.contacts[order.user_id] = add_contact(contact, order, now)
        return claim

    def settle(self, entry: Entry) -> None:
        """Write where the action stands now, or raise the next error."""
        if self.errors:
            raise self.errors.pop(0)
        if not may_settle(self.entries.get(entry.action_id), entry):
            return
        self.entries[entry.action_id] = entry
        self.contacts[entry.user_id] = give_back(entry, self.read_contact(entry.user_id))

    def decide_approval(self, action_id: str, decision: Approval) -> Entry | None:
        """Write a person's word."""
        judged = judge(self.entries.get(action_id), decision)
        if judged:
            self.entries[action_id] = judged
        return judged

    def list_waiting(self, count: int) -> list[Entry]:
        """Entries that wait."""
        waiting = [entry for entry in self.entries.values() if entry.state is State.WAITING and entry.not_before]
        return sorted(waiting, key=lambda entry: str(entry.not_before))[:count]

    def opt_out(self, user_id: str, now: datetime) -> None:
        """Note that a person wants no more messages."""
        self.contacts[user_id] = msgspec.structs.replace(self.read_contact(user_id), opted_out_at=now)


@once
def firestore_outbox() -> FirestoreOutbox:
    """The process's one outbox."""
    return FirestoreOutbox()


KeptType = TypeVar("KeptType", Entry, Contact)


def _entry_of(action_id: str) -> DocumentReference:
    return client().collection(OUTBOX).document(document_id(action_id))


def _contact_of(user_id: str) -> DocumentReference:
    return client().collection(CONTACTS).document(document_id(user_id))


def _decode(reference: DocumentReference, transaction: Transaction | None, kind: type[KeptType]) -> KeptType | None:
    document: dict[str, Any] | None = reference.get(transaction=transaction, timeout=REQUEST_SECONDS).to_dict()
    return msgspec.convert(to_plain(document), kind) if document else None


def _encode(kept: Entry | Contact) -> dict[str, Any]:
    return msgspec.to_builtins(kept, builtin_types=(datetime,))
