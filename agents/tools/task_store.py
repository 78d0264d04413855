"""The durable truth about tasks: Firestore documents that are created once and never changed.

`tasks/{taskId}` holds what a task began with and whether it is open; `tasks/{taskId}/facts/{name}` holds one fact each,
as text. Redis keeps a copy for speed (`agents.swarm.tasks`), which may be lost at any time. Deliberately knows nothing of
playbooks.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from agents.tools.once import once
from agents.tools.profiles import REQUEST_SECONDS, client

if TYPE_CHECKING:
    from google.cloud.firestore import DocumentReference

TASKS = "tasks"
FACTS = "facts"
KEPT = timedelta(days=30)  # `expireAt`, by which Firestore's own time-to-live removes documents


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a task."""

    record: str
    is_open: bool
    facts: dict[str, str]


class TaskStore(Protocol):
    """Where tasks are kept."""

    def begin(self, task_id: str, record: str) -> bool:
        """Keep a task's record as open; False when there is one already, which stays."""
        ...

    def read(self, task_id: str) -> Kept | None:
        """Everything about a task, or None."""
        ...

    def set_once(self, task_id: str, name: str, text: str) -> str:
        """Keep a fact unless there is one of that name; the fact that holds."""
        ...

    def close(self, task_id: str) -> None:
        """Note that nothing is left to do for a task."""
        ...

    def find_open(self, limit: int) -> list[str]:
        """The ids of open tasks."""
        ...


class FirestoreTasks:
    """Google Firestore. Everything raises google.api_core.exceptions.GoogleAPICallError when it does not answer."""

    def begin(self, task_id: str, record: str) -> bool:
        """Keep a task's record as open; False when there is one already."""
        return _create(_document(task_id), {"record": record, "open": True})

    def read(self, task_id: str) -> Kept | None:
        """Everything about a task, or None."""
        document: dict[str, Any] | None = _document(task_id).get(timeout=REQUEST_SECONDS).to_dict()
        if document is None:
            return None
        found = _document(task_id).collection(FACTS).stream(timeout=REQUEST_SECONDS)
        facts = {fact.id: str((fact.to_dict() or {})["text"]) for fact in found}
        return Kept(record=document["record"], is_open=document["open"], facts=facts)

    def set_once(self, task_id: str, name: str, text: str) -> str:
        """Keep a fact unless there is one of that name; the fact that holds."""
        reference = _document(task_id).collection(FACTS).document(name)
        if _create(reference, {"text": text}):
            return text
        return str((reference.get(timeout=REQUEST_SECONDS).to_dict() or {})["text"])

    def close(self, task_id: str) -> None:
        """Note that nothing is left to do for a task."""
        _document(task_id).update({"open": False}, timeout=REQUEST_SECONDS)

    def find_open(self, limit: int) -> list[str]:
        """The ids of open tasks."""
        from google.cloud.firestore import FieldFilter

        query = client().collection(TASKS).where(filter=FieldFilter("open", "==", True)).select([]).limit(limit)
        return [found.id for found in query.stream(timeout=REQUEST_SECONDS)]


class FakeTasks:
    """The same in dicts; `error` fails everything."""

    def __init__(self) -> None:
        self.kept: dict[str, Kept] = {}
        self.error: Exception | None = None

    def begin(self, task_id: str, record: str) -> bool:
        """Keep a task's record as open; False when there is one already."""
        self._fail()
        if task_id in self.kept:
            return False
        self.kept[task_id] = Kept(record=record, is_open=True, facts={})
        return True

    def read(self, task_id: str) -> Kept | None:
        """Everything about a task, or None."""
        self._fail()
        return self.kept.get(task_id)

    def set_once(self, task_id: str, name: str, text: str) -> str:
        """Keep a fact unless there is one of that name; the fact that holds."""
        self._fail()
        return self.kept[task_id].facts.setdefault(name, text)

    def close(self, task_id: str) -> None:
        """Note that nothing is left to do for a task."""
        self._fail()
        self.kept[task_id] = msgspec.structs.replace(self.kept[task_id], is_open=False)

    def find_open(self, limit: int) -> list[str]:
        """The ids of open tasks."""
        self._fail()
        return [task_id for task_id, kept in self.kept.items() if kept.is_open][:limit]

    def _fail(self) -> None:
        if self.error:
            raise self.error


@once
def firestore_tasks() -> FirestoreTasks:
    """The process's one task store."""
    return FirestoreTasks()


def _document(task_id: str) -> DocumentReference:
    return client().collection(TASKS).document(task_id)


def _create(reference: DocumentReference, content: dict[str, Any]) -> bool:
    """Create a document; False when it is there. A retry of our own request whose answer was lost finds it, too."""
    from google.api_core.exceptions import AlreadyExists

    try:
        reference.create({**content, "expireAt": datetime.now(UTC) + KEPT}, timeout=REQUEST_SECONDS)
    except AlreadyExists:
        return False
    return True
