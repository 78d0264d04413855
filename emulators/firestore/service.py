"""Owns the write, transaction and stream methods, and the table from gRPC method names to handlers.

Rules live in the modules that it calls; here requests become calls and results become responses.
"""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from emulators.firestore.database import Database, make_document_id
from emulators.firestore.fields import project_document
from emulators.firestore.listen import ListenStream
from emulators.firestore.messages import Document, Message, Write, new_document, new_write, timestamp_of
from emulators.firestore.names import (
    check_collection_id,
    check_document_id,
    parse_database,
    parse_document,
    parse_parent,
)
from emulators.firestore.reads import ReadMethods, optional_mask
from emulators.firestore.requests import (
    BeginTransactionRequest,
    CreateDocumentRequest,
    DeleteDocumentRequest,
    ListenRequest,
    RollbackRequest,
    UpdateDocumentRequest,
    WritesRequest,
    new_batch_write_response,
    new_begin_response,
    new_commit_response,
    new_empty,
    new_status,
    new_write_response,
)
from emulators.statuses import invalid, not_found


class FirestoreService(ReadMethods):
    """google.firestore.v1.Firestore over databases in memory, each made when it is first named."""

    def __init__(self) -> None:
        super().__init__(self.find_database)
        self._databases: dict[str, Database] = {}

    def find_database(self, name: str) -> Database:
        """Returns the database of this name, making it if need be."""
        database = self._databases.get(name)
        if database is None:
            database = self._databases[name] = Database(parse_database(name))
        return database

    async def create_document(self, request: CreateDocumentRequest) -> Message:
        """Creates a document, with a random id if none is given."""
        parent = parse_parent(request.parent)
        collection = parent.join(check_collection_id(request.collection_id))
        document_id = check_document_id(request.document_id) if request.document_id else make_document_id()
        name = f"{parent.database}/documents/{collection}/{document_id}"
        update = new_document(name=name, fields=request.document.fields)
        document = await self._commit_one(new_write(update=update, current_document={"exists": False}), name)
        return project_document(document, optional_mask(request, request.mask))

    async def update_document(self, request: UpdateDocumentRequest) -> Message:
        """Creates or updates a document."""
        name = request.document.name
        write = new_write(update=request.document, current_document=request.current_document)
        if request.HasField("update_mask"):
            write = new_write(
                update=request.document,
                current_document=request.current_document,
                update_mask=request.update_mask,
            )
        document = await self._commit_one(write, name)
        return project_document(document, optional_mask(request, request.mask))

    async def delete_document(self, request: DeleteDocumentRequest) -> Message:
        """Deletes a document; one that is not there is fine unless a precondition says otherwise."""
        database = self.find_database(parse_document(request.name).database)
        await database.commit([new_write(delete=request.name, current_document=request.current_document)])
        return new_empty()

    async def begin_transaction(self, request: BeginTransactionRequest) -> Message:
        """Starts a transaction."""
        return new_begin_response(transaction=self.find_database(request.database).begin(request.options).id)

    async def commit(self, request: WritesRequest) -> Message:
        """Applies writes atomically, in a transaction or outside."""
        results, commit_us = await self.find_database(request.database).commit(request.writes, request.transaction)
        return new_commit_response(write_results=results, commit_time=timestamp_of(commit_us))

    async def rollback(self, request: RollbackRequest) -> Message:
        """Ends a transaction without writing."""
        await self.find_database(request.database).rollback(request.transaction)
        return new_empty()

    async def batch_write(self, request: WritesRequest) -> Message:
        """Applies each write on its own."""
        outcomes = await self.find_database(request.database).batch_write(request.writes)
        statuses: list[Message] = []
        for outcome in outcomes:
            error = outcome.error
            code: int = error.code.value[0] if error is not None else 0
            statuses.append(new_status(code=code, message=error.message if error is not None else ""))
        return new_batch_write_response(write_results=[o.result for o in outcomes], status=statuses)

    async def write(self, requests: AsyncIterator[WritesRequest]) -> AsyncGenerator[Message]:
        """Applies a stream of commits: the first request opens it, each later one is one commit."""
        database: Database | None = None
        stream_id = secrets.token_hex(8)
        count = 0
        async for request in requests:
            token = count.to_bytes(8, "big")
            count += 1
            if database is None:
                database = self.find_database(request.database)
                if len(request.writes) > 0:
                    raise invalid("The first request of a write stream must not have writes.")
                yield new_write_response(stream_id=stream_id, stream_token=token)
                continue
            results, commit_us = await database.commit(request.writes)
            yield new_write_response(stream_token=token, write_results=results, commit_time=timestamp_of(commit_us))

    async def listen(self, requests: AsyncIterator[ListenRequest]) -> AsyncGenerator[Message]:
        """Follows documents and queries until the client ends the stream."""
        async for request in requests:
            stream = ListenStream(self.find_database(request.database))
            async with aclosing(stream.serve(request, requests)) as responses:
                async for response in responses:
                    yield response

    async def _commit_one(self, write: Write, name: str) -> Document:
        parsed = parse_document(name)
        database = self.find_database(parsed.database)
        await database.commit([write])
        document = database.store.get(parsed)
        if document is None:
            raise not_found(f"Document ({name}) was deleted at the same moment.")
        return document
