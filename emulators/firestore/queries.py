"""Owns structured queries: source, filter, order with its implicit parts, cursors, offset, limit, projection.

A compiled query can be run over a store and can also judge one document, which is what listeners need.
"""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emulators.firestore.fields import NAME_FIELD, FieldPath, parse_field_path, project_document
from emulators.firestore.filters import CompiledFilter, compile_filter, read_key
from emulators.firestore.messages import Document
from emulators.firestore.names import check_collection_id, parse_document, parse_parent
from emulators.firestore.requests import Cursor, StructuredQuery
from emulators.firestore.store import Source, Store
from emulators.firestore.values import encode_value, invert_key
from emulators.statuses import invalid, unimplemented

_DESCENDING = 2  # StructuredQuery.Direction
_MATCH_ALL = CompiledFilter(lambda _: True)


@dataclass(frozen=True, slots=True)
class Ordering:
    """One field of the order."""

    path: FieldPath
    is_descending: bool


@dataclass(frozen=True, slots=True)
class Bound:
    """A cursor: a joined key of the order's first fields, and the side of equal documents it stands on."""

    key: bytes
    is_before: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A query that has been checked and can be run."""

    source: Source
    filter: CompiledFilter
    orderings: tuple[Ordering, ...]
    start: Bound | None = None
    end: Bound | None = None
    offset: int = 0
    limit: int | None = None
    projection: tuple[FieldPath, ...] | None = None

    @property
    def is_windowed(self) -> bool:
        """Tells whether one document's change can move another in or out of the result."""
        return self.limit is not None or self.offset > 0

    def matches(self, document: Document) -> bool:
        """Tells whether a document is in the result, offset and limit aside."""
        return self.covers(document) and self.sort_key(document) is not None

    def covers(self, document: Document) -> bool:
        """Tells whether a document is in one of the query's collections."""
        return self.source.covers(parse_document(document.name).collection)

    def sort_key(self, document: Document) -> bytes | None:
        """Returns the document's place in the order; None when filter, order or cursors leave it out."""
        if not self.filter.matches(document):
            return None
        parts: list[bytes] = []
        for ordering in self.orderings:
            key = read_key(document, ordering.path)
            if key is None:
                return None
            parts.append(invert_key(key) if ordering.is_descending else key)
        joined = b"".join(parts)
        return joined if self._is_between_bounds(joined) else None

    def run(self, store: Store, at_us: int | None = None) -> list[Document]:
        """Returns the result in order, without the projection."""
        keyed = [
            (key, document)
            for document in store.scan(self.source, at_us)
            if (key := self.sort_key(document)) is not None
        ]
        if self.limit is None:
            keyed.sort(key=_first)
        else:
            keyed = heapq.nsmallest(self.offset + self.limit, keyed, key=_first)
        return [document for _, document in keyed[self.offset :]]

    def project(self, document: Document) -> Document:
        """Returns the document with the selected fields only."""
        return project_document(document, self.projection)

    def _is_between_bounds(self, key: bytes) -> bool:
        if self.start is not None:
            is_equal = key.startswith(self.start.key)
            if not (self.start.is_before if is_equal else key > self.start.key):
                return False
        if self.end is not None:
            is_equal = key.startswith(self.end.key)
            if not (not self.end.is_before if is_equal else key < self.end.key):
                return False
        return True


def compile_query(parent: str, message: StructuredQuery) -> Query:
    """Checks a query below a parent and compiles it; raises INVALID_ARGUMENT."""
    if message.HasField("find_nearest"):
        raise unimplemented("Vector search (find_nearest) is not served here.")
    if len(message.from_) > 1:
        raise invalid("A query reads one collection selector.")
    # Without a selector or an id the query reads every collection.
    collection_id = message.from_[0].collection_id if message.from_ else ""
    is_deep = bool(message.from_) and message.from_[0].all_descendants
    if collection_id:
        check_collection_id(collection_id)
    limit = message.limit.value if message.HasField("limit") else None
    if message.offset < 0 or (limit is not None and limit < 0):
        raise invalid("offset and limit must not be negative.")
    compiled = compile_filter(message.where) if message.HasField("where") else _MATCH_ALL
    explicit = [Ordering(parse_field_path(o.field.field_path), o.direction == _DESCENDING) for o in message.order_by]
    orderings = complete_order(explicit, compiled.inequalities)
    return Query(
        source=Source(parse_parent(parent), collection_id, is_deep),
        filter=compiled,
        orderings=orderings,
        start=_compile_bound(message.start_at, orderings) if message.HasField("start_at") else None,
        end=_compile_bound(message.end_at, orderings) if message.HasField("end_at") else None,
        offset=message.offset,
        limit=limit,
        projection=_compile_projection(message),
    )


def compile_listing(source: Source, order_by: str) -> Query:
    """Compiles what ListDocuments asks for: ``priority desc, __name__ desc``."""
    explicit: list[Ordering] = []
    for part in filter(None, (piece.strip() for piece in order_by.split(","))):
        field_path, _, direction = part.partition(" ")
        if direction.strip().lower() not in {"", "asc", "desc"}:
            raise invalid(f'Invalid order_by "{order_by}".')
        explicit.append(Ordering(parse_field_path(field_path), direction.strip().lower() == "desc"))
    return Query(source, _MATCH_ALL, complete_order(explicit, ()))


def complete_order(explicit: Sequence[Ordering], inequalities: Iterable[FieldPath]) -> tuple[Ordering, ...]:
    """Appends what Firestore orders by implicitly: inequality fields by name, then the document's name."""
    orderings = list(explicit)
    is_descending = orderings[-1].is_descending if orderings else False
    for path in [*sorted(set(inequalities) - {NAME_FIELD}), NAME_FIELD]:
        if all(ordering.path != path for ordering in orderings):
            orderings.append(Ordering(path, is_descending))
    # The name is unique: nothing after it can decide anything.
    names = [ordering.path for ordering in orderings]
    return tuple(orderings[: names.index(NAME_FIELD) + 1])


def _compile_bound(cursor: Cursor, orderings: tuple[Ordering, ...]) -> Bound:
    if len(cursor.values) > len(orderings):
        raise invalid("A cursor has more values than the query has orders.")
    parts: list[bytes] = []
    for ordering, value in zip(orderings, cursor.values, strict=False):
        if ordering.path == NAME_FIELD and value.WhichOneof("value_type") != "reference_value":
            raise invalid("A cursor on __name__ must be a reference.")
        key = encode_value(value)
        parts.append(invert_key(key) if ordering.is_descending else key)
    return Bound(b"".join(parts), cursor.before)


def _compile_projection(message: StructuredQuery) -> tuple[FieldPath, ...] | None:
    if not message.HasField("select"):
        return None
    return tuple(parse_field_path(field.field_path) for field in message.select.fields)


def _first(pair: tuple[bytes, Document]) -> bytes:
    return pair[0]
