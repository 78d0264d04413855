"""Owns the read methods of the service: documents, lists, queries, aggregations, collection ids."""

import base64
import binascii
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import TypeVar

from emulators.firestore.aggregations import aggregate_documents
from emulators.firestore.database import Database, parse_names
from emulators.firestore.fields import FieldPath, parse_mask, project_document
from emulators.firestore.messages import Document, DocumentMask, Message, new_document, timestamp_of
from emulators.firestore.names import check_collection_id, parse_document, parse_parent
from emulators.firestore.queries import compile_listing, compile_query
from emulators.firestore.requests import (
    BatchGetDocumentsRequest,
    GetDocumentRequest,
    ListCollectionIdsRequest,
    ListDocumentsRequest,
    RunAggregationQueryRequest,
    RunQueryRequest,
    new_aggregation_response,
    new_aggregation_result,
    new_batch_get_response,
    new_list_collections_response,
    new_list_documents_response,
    new_query_response,
)
from emulators.firestore.store import Source, Store
from emulators.statuses import invalid, not_found

Item = TypeVar("Item")
DatabaseFinder = Callable[[str], Database]

_DEFAULT_PAGE = 300


class ReadMethods:
    """The methods that change nothing."""

    def __init__(self, find_database: DatabaseFinder) -> None:
        self._find_database = find_database

    async def get_document(self, request: GetDocumentRequest) -> Message:
        """Returns one document, or NOT_FOUND."""
        name = parse_document(request.name)
        database = self._find_database(name.database)
        [document] = await database.get_all([name], database.resolve(request))
        if document is None:
            raise not_found(f"Document ({name.full}) not found.")
        return project_document(document, optional_mask(request, request.mask))

    async def batch_get_documents(self, request: BatchGetDocumentsRequest) -> AsyncGenerator[Message]:
        """Yields each document, found or missing."""
        database = self._find_database(request.database)
        names = parse_names(request.documents, database.name)
        paths = optional_mask(request, request.mask)
        reading = database.resolve_or_begin(request)
        new_id = reading.new_id
        if new_id:
            yield new_batch_get_response(transaction=new_id)
        documents = await database.get_all(names, reading)
        read_time = timestamp_of(database.read_time(reading))
        for name, document in zip(names, documents, strict=True):
            if document is None:
                yield new_batch_get_response(missing=name.full, read_time=read_time)
            else:
                yield new_batch_get_response(found=project_document(document, paths), read_time=read_time)

    async def list_documents(self, request: ListDocumentsRequest) -> Message:
        """Returns a page of a collection; with show_missing also names that only have collections below them."""
        parent = parse_parent(request.parent)
        if request.collection_id:
            check_collection_id(request.collection_id)
        if request.show_missing and request.order_by:
            raise invalid("show_missing and order_by exclude each other.")
        database = self._find_database(parent.database)
        reading = database.resolve(request)
        query = compile_listing(Source(parent, request.collection_id, is_deep=False), request.order_by)
        documents = await database.run_query(query, reading)
        if request.show_missing:
            documents = _add_missing(documents, query.source, database.store)
        page, token = _cut_page(documents, request.page_size, request.page_token)
        paths = optional_mask(request, request.mask)
        return new_list_documents_response(
            documents=[project_document(document, paths) for document in page], next_page_token=token
        )

    async def run_query(self, request: RunQueryRequest) -> AsyncGenerator[Message]:
        """Yields the documents of a query, then the read time."""
        query = compile_query(request.parent, request.structured_query)
        database = self._find_database(query.source.parent.database)
        reading = database.resolve_or_begin(request)
        if reading.new_id:
            yield new_query_response(transaction=reading.new_id)
        documents = await database.run_query(query, reading)
        read_time = timestamp_of(database.read_time(reading))
        for document in documents:
            yield new_query_response(document=query.project(document), read_time=read_time)
        if not documents:
            yield new_query_response(read_time=read_time)

    async def run_aggregation_query(self, request: RunAggregationQueryRequest) -> AsyncGenerator[Message]:
        """Yields one response with every aggregation."""
        message = request.structured_aggregation_query
        query = compile_query(request.parent, message.structured_query)
        database = self._find_database(query.source.parent.database)
        reading = database.resolve_or_begin(request)
        documents = await database.run_query(query, reading)
        fields = aggregate_documents(documents, message.aggregations)
        yield new_aggregation_response(
            result=new_aggregation_result(aggregate_fields=fields),
            transaction=reading.new_id,
            read_time=timestamp_of(database.read_time(reading)),
        )

    async def list_collection_ids(self, request: ListCollectionIdsRequest) -> Message:
        """Returns a page of the ids of the collections right below a parent, in order."""
        parent = parse_parent(request.parent)
        above = f"{parent.path}/" if parent.path else ""
        store = self._find_database(parent.database).store
        below = (path[len(above) :] for path in store.collection_paths() if path.startswith(above))
        ids = sorted({rest.split("/", 1)[0] for rest in below})
        page, token = _cut_page(ids, request.page_size, request.page_token)
        return new_list_collections_response(collection_ids=page, next_page_token=token)


def optional_mask(request: Message, mask: DocumentMask) -> list[FieldPath] | None:
    """Returns the paths of a request's mask; None, which means every field, when it has none."""
    return parse_mask(mask) if request.HasField("mask") else None


def _add_missing(documents: Iterable[Document], source: Source, store: Store) -> list[Document]:
    by_name = {document.name: document for document in documents}
    root = f"{store.database}/documents/"
    above = f"{source.parent.path}/" if source.parent.path else ""
    for path in store.collection_paths():
        segments = path.removeprefix(above).split("/")
        # collection/id/more: the id has something below it.
        is_below = path.startswith(above) and len(segments) > 2
        if is_below and source.collection_id in {"", segments[0]}:
            name = f"{root}{above}{segments[0]}/{segments[1]}"
            by_name.setdefault(name, new_document(name=name))
    query = compile_listing(source, "")
    return sorted(by_name.values(), key=lambda document: query.sort_key(document) or b"")


def _cut_page(items: Sequence[Item], page_size: int, page_token: str) -> tuple[Sequence[Item], str]:
    if page_size < 0:
        raise invalid("page_size must not be negative.")
    try:
        start = int(base64.urlsafe_b64decode(page_token)) if page_token else 0
    except (ValueError, binascii.Error) as error:
        raise invalid("page_token is not one of ours.") from error
    end = start + (page_size or _DEFAULT_PAGE)
    token = base64.urlsafe_b64encode(str(end).encode()).decode() if end < len(items) else ""
    return items[start:end], token
