"""The live profile of a person in Firestore: `users/{document_id(userId)}`.

Owns the document's shape and its merge: each field keeps the value with the latest `at`, so that any order and any
number of deliveries gives the same document. Deliberately knows neither events nor what a field means.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import msgspec

from agents.errors import Poison
from agents.tools.once import once
from agents.tools.settings import settings
from schemas import topology
from schemas.messages import Json, ProfileUpdate

if TYPE_CHECKING:
    from google.cloud.firestore import Client, DocumentReference, Transaction

USERS = "users"
REQUEST_SECONDS = 10.0
# Firestore's limits: https://cloud.google.com/firestore/quotas#collections_documents_and_fields
MAX_ID_BYTES = 1500
MAX_FIELD_NAME_BYTES = 1500
_RESERVED = re.compile(r"__.*__", re.DOTALL)


class Profile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One document: every field's value, the time that it is true since, and the event that said so."""

    user_id: str
    updated_at: datetime
    fields: Json = {}
    at: dict[str, datetime] = {}
    events: dict[str, str] = {}


class Profiles(Protocol):
    """Where profiles are kept."""

    def read(self, user_id: str) -> Profile | None:
        """A person's profile, or None."""
        ...

    def apply(self, update: ProfileUpdate) -> None:
        """Merge an update; repeating it changes nothing."""
        ...


def document_id(user_id: str) -> str:
    """A Firestore document id for any user id, from which `user_id_of` gets the user id back.

    Raises:
        Poison: the id is empty or longer than Firestore takes.
    """
    encoded = user_id.replace("%", "%25").replace("/", "%2F")
    if encoded in {".", ".."}:
        encoded = encoded.replace(".", "%2E")
    if _RESERVED.fullmatch(encoded):
        encoded = "%5F" + encoded[1:]
    if not 0 < len(encoded.encode()) <= MAX_ID_BYTES:
        raise Poison(f"userId must have 1 to {MAX_ID_BYTES} bytes when encoded; it has {len(encoded.encode())}")
    return encoded


def user_id_of(document: str) -> str:
    """The user id behind a document id."""
    return unquote(document)


def merge_update(profile: Profile | None, update: ProfileUpdate) -> Profile | None:
    """The profile after an update, or None when the update changes nothing.

    Of two values with the same time the one of the larger event id stays, so that order never matters. `updatedAt` is
    the latest `at` that was merged, not the wall clock, for the same reason.
    """
    known = profile or Profile(user_id=update.user_id, updated_at=update.at)
    news = {
        name: value
        for name, value in update.fields.items()
        if name not in known.at or (update.at, update.event_id) > (known.at[name], known.events.get(name, ""))
    }
    if not news:
        return None
    return Profile(
        user_id=update.user_id,
        updated_at=max(known.updated_at, update.at),
        fields={**known.fields, **news},
        at={**known.at, **dict.fromkeys(news, update.at)},
        events={**known.events, **dict.fromkeys(news, update.event_id)},
    )


def find_unstorable(fields: Mapping[str, Any]) -> dict[str, str]:
    """The fields that Firestore can never store, each with its reason."""
    reasons = {name: _refuse_name(name) or _refuse_value(value) for name, value in fields.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def _refuse_name(name: str) -> str:
    bad = not name or _RESERVED.fullmatch(name) or len(name.encode()) > MAX_FIELD_NAME_BYTES
    return "its name is empty, __reserved__ or too long" if bad else ""


def _refuse_value(value: object, *, in_list: bool = False) -> str:
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "it holds an integer beyond 64 bits"
    if isinstance(value, list):
        if in_list:
            return "it holds a list in a list"
        items: list[Any] = value
        return next(filter(None, (_refuse_value(item, in_list=True) for item in items)), "")
    if isinstance(value, dict):
        inner: Json = value
        reasons = (_refuse_name(name) or _refuse_value(item) for name, item in inner.items())
        return next(filter(None, reasons), "")
    return ""


def split_update(update: ProfileUpdate) -> tuple[ProfileUpdate, str]:
    """The part of an update that can be stored, and what is wrong with the rest (empty: nothing)."""
    unstorable = find_unstorable(update.fields)
    fields = {name: value for name, value in update.fields.items() if name not in unstorable}
    problems = "; ".join(f"field {name!r:.80}: {reason}" for name, reason in unstorable.items())
    return msgspec.structs.replace(update, fields=fields), problems


class FirestoreProfiles:
    """Google Firestore."""

    def read(self, user_id: str) -> Profile | None:
        """A person's profile, or None."""
        return _decode(_reference(user_id).get(timeout=REQUEST_SECONDS).to_dict())

    def apply(self, update: ProfileUpdate) -> None:
        """Merge an update in a transaction; repeating it changes nothing.

        Raises:
            Poison: Firestore can never store some fields; the others are merged.
            google.api_core.exceptions.GoogleAPICallError: Firestore does not answer, or is too contended.
        """
        from google.cloud import firestore

        storable, problems = split_update(update)
        reference = _reference(update.user_id)

        @firestore.transactional
        def merge(transaction: Transaction) -> None:
            snapshot = reference.get(transaction=transaction, timeout=REQUEST_SECONDS)
            merged = merge_update(_decode(snapshot.to_dict()), storable)
            if merged:
                transaction.set(reference, msgspec.to_builtins(merged, builtin_types=(datetime,)))

        merge(client().transaction(max_attempts=10))
        if problems:
            raise Poison(f"Firestore cannot store {problems}")


class FakeProfiles:
    """Profiles in a dict."""

    def __init__(self) -> None:
        self.profiles: dict[str, Profile] = {}
        self.applied: list[ProfileUpdate] = []

    def read(self, user_id: str) -> Profile | None:
        """A person's profile, or None."""
        return self.profiles.get(document_id(user_id))

    def apply(self, update: ProfileUpdate) -> None:
        """Merge an update; the same Poison as Firestore's."""
        self.applied.append(update)
        storable, problems = split_update(update)
        merged = merge_update(self.read(update.user_id), storable)
        if merged:
            self.profiles[document_id(update.user_id)] = merged
        if problems:
            raise Poison(f"Firestore cannot store {problems}")


@once
def firestore_profiles() -> FirestoreProfiles:
    """The process's one profile store."""
    return FirestoreProfiles()


@once
def client() -> Client:
    """The process's one Firestore client, also used by the outbox."""
    from google.cloud import firestore

    if "profiles" not in topology.load().access(settings().service).stores:
        raise PermissionError(f"{settings().service} may not use profiles; topology.yaml grants it")
    return firestore.Client(project=settings().project)


def _reference(user_id: str) -> DocumentReference:
    return client().collection(USERS).document(document_id(user_id))


def _decode(document: dict[str, Any] | None) -> Profile | None:
    return msgspec.convert(to_plain(document), Profile) if document else None


def to_plain(value: Any) -> Any:
    """A Firestore value with plain datetimes: the client's own subclass of datetime is none to msgspec."""
    if isinstance(value, datetime):
        return datetime.combine(value.date(), value.timetz())
    if isinstance(value, list):
        return [to_plain(item) for item in value]  # pyright: ignore[reportUnknownVariableType]  # JSON
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]  # JSON
    return value
