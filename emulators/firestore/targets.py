"""Owns what one listen target matches: its documents so far, and how commits change them.

Pure over a store; the stream that carries the changes is `listen.py`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

from emulators.firestore.messages import Document
from emulators.firestore.names import parse_document
from emulators.firestore.queries import Query, compile_query
from emulators.firestore.requests import Target
from emulators.firestore.store import Store
from emulators.statuses import invalid


@dataclass(slots=True)
class Delta:
    """What changed for a target: documents to show, names that left it though they exist, names deleted."""

    changed: list[Document] = field(default_factory=list[Document])
    removed: list[str] = field(default_factory=list[str])
    deleted: list[str] = field(default_factory=list[str])

    def drop(self, name: str, store: Store) -> None:
        """Notes that a name no longer matches, and why."""
        (self.removed if name in store.documents else self.deleted).append(name)


class Matcher(Protocol):
    """The documents that one target follows."""

    def load(self, store: Store) -> Delta:
        """Returns everything that matches now."""
        ...

    def update(self, store: Store, names: Iterable[str]) -> Delta:
        """Returns what the change of these names means, against what was returned before."""
        ...

    def resume(self, store: Store, names: Iterable[str]) -> Delta | None:
        """Returns what the change of these names means to one who holds an older state; None: start anew."""
        ...


@dataclass(slots=True)
class DocumentsMatcher:
    """Follows documents by name."""

    names: tuple[str, ...]

    def load(self, store: Store) -> Delta:
        return self._delta(store, self.names)

    def update(self, store: Store, names: Iterable[str]) -> Delta:
        wanted = set(names)
        return self._delta(store, [name for name in self.names if name in wanted])

    def resume(self, store: Store, names: Iterable[str]) -> Delta | None:
        return self.update(store, names)

    def _delta(self, store: Store, names: Iterable[str]) -> Delta:
        delta = Delta()
        for name in names:
            document = store.documents.get(name)
            if document is None:
                delta.deleted.append(name)
            else:
                delta.changed.append(document)
        return delta


@dataclass(slots=True)
class QueryMatcher:
    """Follows the result of a query."""

    query: Query
    shown: dict[str, Document] = field(default_factory=dict[str, Document])

    def load(self, store: Store) -> Delta:
        documents = self.query.run(store)
        self.shown = {document.name: document for document in documents}
        return self._show(documents)

    def update(self, store: Store, names: Iterable[str]) -> Delta:
        if self.query.is_windowed:
            return self._update_window(store, names)
        delta = Delta()
        for name in names:
            document = store.documents.get(name)
            if document is not None and self.query.matches(document):
                if self.shown.get(name) is not document:
                    self.shown[name] = document
                    delta.changed.append(self.query.project(document))
            elif self.shown.pop(name, None) is not None:
                delta.drop(name, store)
        return delta

    def resume(self, store: Store, names: Iterable[str]) -> Delta | None:
        if self.query.is_windowed:
            return None
        self.load(store)
        delta = Delta()
        for name in names:
            document = self.shown.get(name)
            if document is not None:
                delta.changed.append(self.query.project(document))
            elif self.query.source.covers(parse_document(name).collection):
                delta.drop(name, store)
        return delta

    def _update_window(self, store: Store, names: Iterable[str]) -> Delta:
        # Only documents of the query's collections can move its window.
        if not any(self.query.source.covers(parse_document(name).collection) for name in names):
            return Delta()
        before = self.shown
        self.load(store)
        delta = self._show(d for d in self.shown.values() if before.get(d.name) is not d)
        for name in before.keys() - self.shown.keys():
            delta.drop(name, store)
        return delta

    def _show(self, documents: Iterable[Document]) -> Delta:
        return Delta(changed=[self.query.project(document) for document in documents])


def make_matcher(target: Target, database: str) -> Matcher:
    """Builds the matcher that a target message asks for; raises INVALID_ARGUMENT."""
    match target.WhichOneof("target_type"):
        case "documents":
            names = tuple(dict.fromkeys(target.documents.documents))
            if not names or any(parse_document(name).database != database for name in names):
                raise invalid(f'A documents target names documents of "{database}".')
            return DocumentsMatcher(names)
        case "query":
            query = compile_query(target.query.parent, target.query.structured_query)
            if query.source.parent.database != database:
                raise invalid(f'A query target reads "{database}".')
            return QueryMatcher(query)
        case _:
            raise invalid("The target's type is unset.")
