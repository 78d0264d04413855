"""Every document of Firestore that is about a person, by its collection's own way of naming them.

Owns COLLECTIONS: each collection of the suite and how a person is found in it, so that no new one is forgotten (a test holds
it to the code). For the job `forget`; everybody else reads documents by their own tools.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from agents.errors import Poison
from agents.tools.once import once
from agents.tools.profiles import REQUEST_SECONDS, client, document_id

ID, WORK = "", "/work"
COLLECTIONS = {"users": ID, "contacts": ID, "outbox": "userId", "tasks": WORK}
"""Collection -> the field that holds the user id; ID: the document's own id is made of it; WORK: it is that of a task."""
INSIDE = {"tasks": ("facts",)}
"""Collections inside of documents, which Firestore does not delete with them."""
NAMES_NOBODY = {
    "files": "how far a landed file is ingested",
    "regulations": "emptied of ids by the job itself",
    "suppressions": "digests, so that a suppression outlives the person's data",
}
IN_VALUES = 30  # Firestore's limit of an `in` filter


class Documents(Protocol):
    """Where documents are."""

    def delete_of(self, ids: Iterable[str], work: Iterable[str]) -> dict[str, int]:
        """Delete every document of these people and of the work done about them; how many by collection."""
        ...


class FirestoreDocuments:
    """Google Firestore. Raises google.api_core.exceptions.GoogleAPICallError when it does not answer."""

    def delete_of(self, ids: Iterable[str], work: Iterable[str]) -> dict[str, int]:
        """Delete every document of these people and of the work done about them; how many by collection."""
        people, tasks = list(ids), list(work)
        return {
            name: _delete_found(name, field, people)
            if field not in (ID, WORK)
            else _delete_named(name, people if field == ID else tasks)
            for name, field in COLLECTIONS.items()
        }


class FakeDocuments:
    """Documents as (collection, user or task id) pairs; `error` fails everything."""

    def __init__(self, *documents: tuple[str, str], error: Exception | None = None) -> None:
        self.documents = set(documents)
        self.error = error

    def delete_of(self, ids: Iterable[str], work: Iterable[str]) -> dict[str, int]:
        """Delete the pairs of these people and tasks."""
        if self.error:
            raise self.error
        known = {*ids, *work}
        found = {pair for pair in self.documents if pair[1] in known}
        self.documents -= found
        return {name: sum(pair[0] == name for pair in found) for name in COLLECTIONS}


@once
def firestore_documents() -> FirestoreDocuments:
    """The process's one view of the documents."""
    return FirestoreDocuments()


def _delete_named(name: str, ids: list[str]) -> int:
    """Delete the documents whose ids are made of these, with what is inside of them."""
    count = 0
    for one in ids:
        try:
            document = client().collection(name).document(document_id(one))
        except Poison:  # an id that Firestore could never have taken
            continue
        for inside in INSIDE.get(name, ()):
            for found in document.collection(inside).select([]).stream(timeout=REQUEST_SECONDS):
                found.reference.delete(timeout=REQUEST_SECONDS)
        if document.get([], timeout=REQUEST_SECONDS).exists:
            document.delete(timeout=REQUEST_SECONDS)
            count += 1
    return count


def _delete_found(name: str, field: str, ids: list[str]) -> int:
    """Delete the documents that have one of these in a field."""
    from google.cloud.firestore import FieldFilter

    count = 0
    for start in range(0, len(ids), IN_VALUES):
        wanted = FieldFilter(field, "in", ids[start : start + IN_VALUES])
        for found in client().collection(name).where(filter=wanted).select([]).stream(timeout=REQUEST_SECONDS):
            found.reference.delete(timeout=REQUEST_SECONDS)
            count += 1
    return count
