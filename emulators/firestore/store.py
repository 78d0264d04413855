"""Owns one database's documents in memory, their recent versions, and the clock that orders commits.

It installs finished documents and tells subscribers which names changed. Deciding what to install is
`writes.py`'s work, who may do it when is `locks.py`'s.
"""

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from emulators.firestore.messages import Document, micros_of
from emulators.firestore.names import DocumentName, ParentName, parse_document
from emulators.statuses import failed_precondition

# Firestore reads up to an hour back. The count bounds memory: about 100 MB of documents of 1 KB.
_HISTORY_US = 3600 * 1_000_000
_HISTORY_VERSIONS = 100_000

Subscriber = Callable[[Iterable[str]], None]


@dataclass(slots=True)
class Collection:
    """The documents right below one path, by id, and the versions they replaced, oldest first."""

    path: str
    documents: dict[str, Document] = field(default_factory=dict[str, Document])
    replaced: dict[str, list[tuple[int, Document | None]]] = field(
        default_factory=dict[str, list[tuple[int, Document | None]]]
    )


@dataclass(frozen=True, slots=True)
class Source:
    """Which collections a query reads: by parent, by id (empty: any), right below it or at any depth."""

    parent: ParentName
    collection_id: str
    is_deep: bool

    def covers(self, collection_path: str) -> bool:
        """Tells whether a collection is part of the source."""
        above, _, collection_id = collection_path.rpartition("/")
        if self.collection_id and collection_id != self.collection_id:
            return False
        parent = self.parent.path
        return above == parent or (self.is_deep and (not parent or above.startswith(parent + "/")))


class Store:
    """The documents of one database."""

    def __init__(self, database: str) -> None:
        self.database = database
        self.documents: dict[str, Document] = {}
        self.changes: deque[tuple[int, str]] = deque()
        self.horizon_us = 0
        self._collections: dict[str, Collection] = {}
        self._paths_by_id: dict[str, set[str]] = defaultdict(set)
        self._subscribers: list[Subscriber] = []
        self._last_us = 0

    def read_now(self) -> int:
        """Returns a time in microseconds at which every commit so far is seen and no later one."""
        self._last_us = max(time.time_ns() // 1000, self._last_us)
        return self._last_us

    def next_commit(self) -> int:
        """Returns a commit time in microseconds later than every time handed out before."""
        self._last_us = max(time.time_ns() // 1000, self._last_us + 1)
        return self._last_us

    def get(self, name: DocumentName, at_us: int | None = None) -> Document | None:
        """Returns a document now, or as it was at a time."""
        document = self.documents.get(name.full)
        if at_us is None or (document is not None and micros_of(document.update_time) <= at_us):
            return document
        self._check_readable(at_us)
        collection = self._collections.get(name.collection)
        return _version_at(collection, name.document_id, at_us) if collection is not None else None

    def scan(self, source: Source, at_us: int | None = None) -> Iterator[Document]:
        """Yields the documents of a source now, or as they were at a time, in no order."""
        for path in self._paths_of(source):
            collection = self._collections[path]
            if at_us is None:
                yield from collection.documents.values()
            else:
                self._check_readable(at_us)
                for document_id in collection.documents.keys() | collection.replaced.keys():
                    document = _version_at(collection, document_id, at_us)
                    if document is not None:
                        yield document

    def collection_paths(self) -> Iterator[str]:
        """Yields the path of every collection that has documents now."""
        return (path for path, collection in self._collections.items() if collection.documents)

    def install(self, staged: dict[str, Document | None], commit_us: int) -> None:
        """Makes a commit's documents the current ones, all at once, and tells the subscribers."""
        changed = [name for name, document in staged.items() if document is not self.documents.get(name)]
        for name in changed:
            self._replace(parse_document(name), staged[name], commit_us)
        self._forget_old(commit_us)
        if changed:
            for subscriber in list(self._subscribers):
                subscriber(changed)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Calls back with the changed names after each commit, until the returned function is called."""
        self._subscribers.append(subscriber)
        return lambda: self._subscribers.remove(subscriber)

    def _paths_of(self, source: Source) -> list[str]:
        if source.collection_id and not source.is_deep:
            path = source.parent.join(source.collection_id)
            return [path] if path in self._collections else []
        candidates = self._paths_by_id[source.collection_id] if source.collection_id else self._collections
        return [path for path in candidates if source.covers(path)]

    def _replace(self, name: DocumentName, document: Document | None, commit_us: int) -> None:
        collection = self._collections.get(name.collection)
        if collection is None:
            collection = self._collections[name.collection] = Collection(name.collection)
            self._paths_by_id[name.collection.rpartition("/")[2]].add(name.collection)
        old = self.documents.get(name.full)
        collection.replaced.setdefault(name.document_id, []).append((commit_us, old))
        self.changes.append((commit_us, name.full))
        if document is None:
            del self.documents[name.full]
            del collection.documents[name.document_id]
        else:
            self.documents[name.full] = document
            collection.documents[name.document_id] = document

    def _forget_old(self, now_us: int) -> None:
        while self.changes and (len(self.changes) > _HISTORY_VERSIONS or self.changes[0][0] < now_us - _HISTORY_US):
            self.horizon_us, full = self.changes.popleft()
            name = parse_document(full)
            collection = self._collections[name.collection]
            versions = collection.replaced[name.document_id]
            del versions[0]
            if not versions:
                del collection.replaced[name.document_id]

    def _check_readable(self, at_us: int) -> None:
        if at_us < self.horizon_us:
            raise failed_precondition("The requested read_time is too old.")


def _version_at(collection: Collection, document_id: str, at_us: int) -> Document | None:
    for replaced_us, document in collection.replaced.get(document_id, ()):
        if at_us < replaced_us:
            return document
    return collection.documents.get(document_id)
