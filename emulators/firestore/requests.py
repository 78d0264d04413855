"""Owns the static types of the requests and queries that the server reads, and the builders of its responses.

See `messages.py` for why they are protocols over protobuf messages.
"""

from typing import Protocol, cast

from google.cloud.firestore_v1.types import aggregation_result as aggregation_types
from google.cloud.firestore_v1.types import firestore as firestore_types
from google.cloud.firestore_v1.types import write as write_types
from google.protobuf.empty_pb2 import Empty as EmptyMessage
from google.rpc.status_pb2 import Status as StatusMessage

from emulators.firestore.messages import (
    Builder,
    Document,
    DocumentMask,
    Message,
    Precondition,
    Repeated,
    Timestamp,
    Value,
    Write,
    builder_of,
)


class Int64Box(Message, Protocol):
    value: int


class FieldReference(Message, Protocol):
    field_path: str


class FieldFilter(Message, Protocol):
    field: FieldReference
    op: int
    value: Value


class UnaryFilter(Message, Protocol):
    field: FieldReference
    op: int


class CompositeFilter(Message, Protocol):
    op: int
    filters: Repeated["Filter"]


class Filter(Message, Protocol):
    composite_filter: CompositeFilter
    field_filter: FieldFilter
    unary_filter: UnaryFilter


class Order(Message, Protocol):
    field: FieldReference
    direction: int


class Cursor(Message, Protocol):
    values: Repeated[Value]
    before: bool


class CollectionSelector(Message, Protocol):
    collection_id: str
    all_descendants: bool


class Projection(Message, Protocol):
    fields: Repeated[FieldReference]


class StructuredQuery(Message, Protocol):
    select: Projection
    from_: Repeated[CollectionSelector]
    where: Filter
    order_by: Repeated[Order]
    start_at: Cursor
    end_at: Cursor
    offset: int
    limit: Int64Box


class CountAggregation(Message, Protocol):
    up_to: Int64Box


class FieldAggregation(Message, Protocol):
    field: FieldReference


class Aggregation(Message, Protocol):
    count: CountAggregation
    sum: FieldAggregation
    avg: FieldAggregation
    alias: str


class AggregationQuery(Message, Protocol):
    structured_query: StructuredQuery
    aggregations: Repeated[Aggregation]


class ReadOnly(Message, Protocol):
    read_time: Timestamp


class ReadWrite(Message, Protocol):
    retry_transaction: bytes


class TransactionOptions(Message, Protocol):
    read_only: ReadOnly
    read_write: ReadWrite


class ReadRequest(Message, Protocol):
    """What the reads have in common: the consistency selector."""

    transaction: bytes
    read_time: Timestamp


class NewTransactionRequest(ReadRequest, Protocol):
    """A read that may also start a transaction."""

    new_transaction: TransactionOptions


class GetDocumentRequest(ReadRequest, Protocol):
    name: str
    mask: DocumentMask


class ListDocumentsRequest(ReadRequest, Protocol):
    parent: str
    collection_id: str
    page_size: int
    page_token: str
    order_by: str
    mask: DocumentMask
    show_missing: bool


class CreateDocumentRequest(Message, Protocol):
    parent: str
    collection_id: str
    document_id: str
    document: Document
    mask: DocumentMask


class UpdateDocumentRequest(Message, Protocol):
    document: Document
    update_mask: DocumentMask
    mask: DocumentMask
    current_document: Precondition


class DeleteDocumentRequest(Message, Protocol):
    name: str
    current_document: Precondition


class BatchGetDocumentsRequest(NewTransactionRequest, Protocol):
    database: str
    documents: Repeated[str]
    mask: DocumentMask


class BeginTransactionRequest(Message, Protocol):
    database: str
    options: TransactionOptions


class WritesRequest(Message, Protocol):
    """A Commit, BatchWrite or Write request: they differ only in what is set beside the writes."""

    database: str
    writes: Repeated[Write]
    transaction: bytes
    stream_token: bytes


class RollbackRequest(Message, Protocol):
    database: str
    transaction: bytes


class RunQueryRequest(NewTransactionRequest, Protocol):
    parent: str
    structured_query: StructuredQuery


class RunAggregationQueryRequest(NewTransactionRequest, Protocol):
    parent: str
    structured_aggregation_query: AggregationQuery


class ListCollectionIdsRequest(Message, Protocol):
    parent: str
    page_size: int
    page_token: str


class DocumentsTarget(Message, Protocol):
    documents: Repeated[str]


class QueryTarget(Message, Protocol):
    parent: str
    structured_query: StructuredQuery


class Target(Message, Protocol):
    query: QueryTarget
    documents: DocumentsTarget
    resume_token: bytes
    read_time: Timestamp
    target_id: int
    once: bool


class ListenRequest(Message, Protocol):
    database: str
    add_target: Target
    remove_target: int


new_list_documents_response = builder_of(firestore_types.ListDocumentsResponse, Message)
new_batch_get_response = builder_of(firestore_types.BatchGetDocumentsResponse, Message)
new_begin_response = builder_of(firestore_types.BeginTransactionResponse, Message)
new_commit_response = builder_of(firestore_types.CommitResponse, Message)
new_query_response = builder_of(firestore_types.RunQueryResponse, Message)
new_aggregation_response = builder_of(firestore_types.RunAggregationQueryResponse, Message)
new_aggregation_result = builder_of(aggregation_types.AggregationResult, Message)
new_list_collections_response = builder_of(firestore_types.ListCollectionIdsResponse, Message)
new_batch_write_response = builder_of(firestore_types.BatchWriteResponse, Message)
new_write_response = builder_of(firestore_types.WriteResponse, Message)
new_listen_response = builder_of(firestore_types.ListenResponse, Message)
new_target_change = builder_of(firestore_types.TargetChange, Message)
new_document_change = builder_of(write_types.DocumentChange, Message)
new_document_delete = builder_of(write_types.DocumentDelete, Message)
new_document_remove = builder_of(write_types.DocumentRemove, Message)
new_empty = cast("Builder[Message]", EmptyMessage)
new_status = cast("Builder[Message]", StatusMessage)
