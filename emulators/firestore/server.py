"""Owns the gRPC server: method table, error mapping, start, ready line, stop. No rule of Firestore is here."""

import asyncio
import signal
import sys
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, NoReturn, Protocol

import grpc
import grpc.aio
from google.cloud.firestore_v1.types import firestore as firestore_types

from emulators.firestore.errors import StatusError
from emulators.firestore.messages import Message, builder_of
from emulators.firestore.service import FirestoreService

SERVICE_NAME = "google.firestore.v1.Firestore"

# A handler's request type varies by method; grpc passes what the method's own deserialiser made.
Request = Any
UnaryMethod = Callable[[Request], Awaitable[Message]]
StreamMethod = Callable[[Request], AsyncGenerator[Message]]

_STOP_GRACE_SECONDS = 0.5
_OPTIONS = [
    # A second server on the port must fail, not share it.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # The official clients ping idle connections every 30 s; gRPC's default would hang up on them.
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
]


class Context(Protocol):
    """What is used of a call's context."""

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn: ...


def build_handlers(service: FirestoreService) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """Returns the method table of the service."""
    unary = grpc.unary_unary_rpc_method_handler
    server_stream = grpc.unary_stream_rpc_method_handler
    both_stream = grpc.stream_stream_rpc_method_handler
    methods = {
        "GetDocument": (unary, _guard(service.get_document)),
        "ListDocuments": (unary, _guard(service.list_documents)),
        "CreateDocument": (unary, _guard(service.create_document)),
        "UpdateDocument": (unary, _guard(service.update_document)),
        "DeleteDocument": (unary, _guard(service.delete_document)),
        "BeginTransaction": (unary, _guard(service.begin_transaction)),
        "Commit": (unary, _guard(service.commit)),
        "Rollback": (unary, _guard(service.rollback)),
        "BatchWrite": (unary, _guard(service.batch_write)),
        "ListCollectionIds": (unary, _guard(service.list_collection_ids)),
        "BatchGetDocuments": (server_stream, _guard_stream(service.batch_get_documents)),
        "RunQuery": (server_stream, _guard_stream(service.run_query)),
        "RunAggregationQuery": (server_stream, _guard_stream(service.run_aggregation_query)),
        "Write": (both_stream, _guard_stream(service.write)),
        "Listen": (both_stream, _guard_stream(service.listen)),
    }
    return {
        name: make_handler(
            behavior,
            request_deserializer=builder_of(getattr(firestore_types, f"{name}Request"), Message).FromString,
            response_serializer=_serialize,
        )
        for name, (make_handler, behavior) in methods.items()
    }


async def run_server(host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT; raises RuntimeError when the port cannot be had."""
    server = grpc.aio.server(options=_OPTIONS)
    handlers = build_handlers(FirestoreService())
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))
    bound = server.add_insecure_port(f"{host}:{port}")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    print(f"firestore listening on {host}:{bound}", file=sys.stderr, flush=True)
    await stopping.wait()
    await server.stop(_STOP_GRACE_SECONDS)


def _guard(method: UnaryMethod) -> Callable[[Request, Context], Awaitable[Message]]:
    async def handle(request: Request, context: Context) -> Message:
        try:
            return await method(request)
        except StatusError as error:
            await context.abort(error.code, error.message)
        except Exception as error:
            _log_failure(error)
            raise

    return handle


def _guard_stream(method: StreamMethod) -> Callable[[Request, Context], AsyncIterator[Message]]:
    async def handle(request: Request, context: Context) -> AsyncIterator[Message]:
        try:
            async with aclosing(method(request)) as responses:
                async for response in responses:
                    yield response
        except StatusError as error:
            await context.abort(error.code, error.message)
        except Exception as error:
            _log_failure(error)
            raise

    return handle


def _log_failure(error: Exception) -> None:
    where = traceback.extract_tb(error.__traceback__)[-1]
    print(f"firestore: {type(error).__name__}: {error} at {where.filename}:{where.lineno}", file=sys.stderr)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
