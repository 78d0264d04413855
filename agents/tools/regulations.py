"""Regulations and the suppression list in Firestore: `regulations/{id}`, `suppressions/{digest of a person's id}`.

The truth about who is suppressed; collect reads the copy in Redis (`suppressions.py`). An id is kept as its digest only, so
that the list can say "this one" and never who. Deliberately knows nothing of how a person is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

import msgspec

from agents.tools.once import once
from agents.tools.profiles import REQUEST_SECONDS, client, to_plain
from schemas.regulations import Regulation, Status

REGULATIONS = "regulations"
SUPPRESSIONS = "suppressions"
BATCH_WRITES = 400  # of Firestore's 500 in a commit


class Regulations(Protocol):
    """Where regulations are kept."""

    def save(self, regulation: Regulation) -> None:
        """Write a regulation as it stands now."""
        ...

    def read(self, regulation_id: str) -> Regulation | None:
        """A regulation, or None."""
        ...

    def list_latest(self, limit: int) -> list[Regulation]:
        """Regulations, the newest first."""
        ...

    def list_open(self) -> list[Regulation]:
        """Those that are not finished, the oldest first."""
        ...

    def suppress(self, digests: Iterable[str], subject: str, at: datetime) -> None:
        """Put ids (as digests) on the list; `subject` is the digest of the user id that they belong to."""
        ...

    def unsuppress(self, subject: str) -> int:
        """Take everything of a person off the list; how many ids."""
        ...

    def list_suppressed(self) -> set[str]:
        """Every digest on the list."""
        ...


class FirestoreRegulations:
    """Google Firestore. Raises google.api_core.exceptions.GoogleAPICallError when it does not answer."""

    def save(self, regulation: Regulation) -> None:
        """Write a regulation as it stands now."""
        document = client().collection(REGULATIONS).document(regulation.id)
        document.set(msgspec.to_builtins(regulation, builtin_types=(datetime,)), timeout=REQUEST_SECONDS)

    def read(self, regulation_id: str) -> Regulation | None:
        """A regulation, or None."""
        document = client().collection(REGULATIONS).document(regulation_id)
        return _decode(document.get(timeout=REQUEST_SECONDS).to_dict())

    def list_latest(self, limit: int) -> list[Regulation]:
        """Regulations, the newest first."""
        from google.cloud.firestore import Query

        query = client().collection(REGULATIONS).order_by("createdAt", direction=Query.DESCENDING).limit(limit)
        return [found for one in query.stream(timeout=REQUEST_SECONDS) if (found := _decode(one.to_dict()))]

    def list_open(self) -> list[Regulation]:
        """Those that are not finished, the oldest first."""
        from google.cloud.firestore import FieldFilter

        wanted = FieldFilter("overallStatus", "in", [one.value for one in Status if one is not Status.FINISHED])
        query = client().collection(REGULATIONS).where(filter=wanted)
        found = [_decode(one.to_dict()) for one in query.stream(timeout=REQUEST_SECONDS)]
        return sorted((one for one in found if one), key=lambda one: one.created_at)

    def suppress(self, digests: Iterable[str], subject: str, at: datetime) -> None:
        """Put ids on the list."""
        _write({one: {"subject": subject, "at": at} for one in digests})

    def unsuppress(self, subject: str) -> int:
        """Take everything of a person off the list; how many ids."""
        from google.cloud.firestore import FieldFilter

        query = client().collection(SUPPRESSIONS).where(filter=FieldFilter("subject", "==", subject))
        found = [one.id for one in query.stream(timeout=REQUEST_SECONDS)]
        _write(dict.fromkeys(found))
        return len(found)

    def list_suppressed(self) -> set[str]:
        """Every digest on the list."""
        return {one.id for one in client().collection(SUPPRESSIONS).select([]).stream(timeout=REQUEST_SECONDS)}


class FakeRegulations:
    """Regulations in a dict."""

    def __init__(self) -> None:
        self.regulations: dict[str, Regulation] = {}
        self.suppressed: dict[str, str] = {}

    def save(self, regulation: Regulation) -> None:
        """Keep a regulation."""
        self.regulations[regulation.id] = regulation

    def read(self, regulation_id: str) -> Regulation | None:
        """A regulation, or None."""
        return self.regulations.get(regulation_id)

    def list_latest(self, limit: int) -> list[Regulation]:
        """Regulations, the newest first."""
        return sorted(self.regulations.values(), key=lambda one: one.created_at, reverse=True)[:limit]

    def list_open(self) -> list[Regulation]:
        """Those that are not finished, the oldest first."""
        found = [one for one in self.regulations.values() if one.overall_status is not Status.FINISHED]
        return sorted(found, key=lambda one: one.created_at)

    def suppress(self, digests: Iterable[str], subject: str, at: datetime) -> None:
        """Put ids on the list."""
        del at
        self.suppressed |= dict.fromkeys(digests, subject)

    def unsuppress(self, subject: str) -> int:
        """Take everything of a person off the list."""
        found = [one for one, owner in self.suppressed.items() if owner == subject]
        for one in found:
            del self.suppressed[one]
        return len(found)

    def list_suppressed(self) -> set[str]:
        """Every digest on the list."""
        return set(self.suppressed)


@once
def firestore_regulations() -> FirestoreRegulations:
    """The process's one store of regulations."""
    return FirestoreRegulations()


def _write(documents: dict[str, dict[str, Any] | None]) -> None:
    """Set documents of the list, or delete those that are None."""
    names = list(documents)
    for start in range(0, len(names), BATCH_WRITES):
        batch = client().batch()
        for name in names[start : start + BATCH_WRITES]:
            document, content = client().collection(SUPPRESSIONS).document(name), documents[name]
            if content is None:
                batch.delete(document)
            else:
                batch.set(document, content)
        batch.commit(timeout=REQUEST_SECONDS)


def _decode(document: dict[str, Any] | None) -> Regulation | None:
    return msgspec.convert(to_plain(document), Regulation) if document else None
