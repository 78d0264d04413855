"""Owns the gRPC server: method table, error mapping, start, ready line, stop. No rule of Firestore is here."""

import asyncio
import signal
import sys
import traceback
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn, Protocol

import grpc
import grpc.aio
from google.cloud.firestore_v1.types import firestore as firestore_types

from emulators.firestore.messages import Message, builder_of
from emulators.firestore.service import FirestoreService
from emulators.statuses import StatusError

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


class Calls:
    """Runs the calls: maps their errors to statuses, and ends those still open when the server stops."""

    def __init__(self) -> None:
        self._open: set[asyncio.Task[object]] = set()
        self._is_stopping = False

    def guard(self, method: UnaryMethod) -> Callable[[Request, Context], Awaitable[Message]]:
        """Wraps a method that answers once."""

        async def handle(request: Request, context: Context) -> Message:
            async with self._run(context):
                return await method(request)
            raise AssertionError("a call that failed was not ended")

        return handle

    def guard_stream(self, method: StreamMethod) -> Callable[[Request, Context], AsyncIterator[Message]]:
        """Wraps a method that answers with a stream."""

        async def handle(request: Request, context: Context) -> AsyncIterator[Message]:
            async with self._run(context), aclosing(method(request)) as responses:
                async for response in responses:
                    yield response

        return handle

    def stop(self) -> None:
        """Ends the open calls as UNAVAILABLE; left to gRPC, each would leave a traceback in the log."""
        self._is_stopping = True
        for task in self._open:
            task.cancel()

    @asynccontextmanager
    async def _run(self, context: Context) -> AsyncGenerator[None]:
        task = asyncio.current_task()
        if task is not None:
            self._open.add(task)
        try:
            yield
        except StatusError as error:
            await context.abort(error.code, error.message)
        except asyncio.CancelledError:
            if not self._is_stopping:
                raise
            await context.abort(grpc.StatusCode.UNAVAILABLE, "The server is stopping.")
        except Exception as error:
            _log_failure(error)
            raise
        finally:
            if task is not None:
                self._open.discard(task)


def build_handlers(service: FirestoreService, calls: Calls) -> "dict[str, grpc.RpcMethodHandler[Any, Any]]":
    """Returns the method table of the service."""
    unary = grpc.unary_unary_rpc_method_handler
    server_stream = grpc.unary_stream_rpc_method_handler
    both_stream = grpc.stream_stream_rpc_method_handler
    methods = {
        "GetDocument": (unary, calls.guard(service.get_document)),
        "ListDocuments": (unary, calls.guard(service.list_documents)),
        "CreateDocument": (unary, calls.guard(service.create_document)),
        "UpdateDocument": (unary, calls.guard(service.update_document)),
        "DeleteDocument": (unary, calls.guard(service.delete_document)),
        "BeginTransaction": (unary, calls.guard(service.begin_transaction)),
        "Commit": (unary, calls.guard(service.commit)),
        "Rollback": (unary, calls.guard(service.rollback)),
        "BatchWrite": (unary, calls.guard(service.batch_write)),
        "ListCollectionIds": (unary, calls.guard(service.list_collection_ids)),
        "BatchGetDocuments": (server_stream, calls.guard_stream(service.batch_get_documents)),
        "RunQuery": (server_stream, calls.guard_stream(service.run_query)),
        "RunAggregationQuery": (server_stream, calls.guard_stream(service.run_aggregation_query)),
        "Write": (both_stream, calls.guard_stream(service.write)),
        "Listen": (both_stream, calls.guard_stream(service.listen)),
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
    calls = Calls()
    handlers = build_handlers(FirestoreService(), calls)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))
    bound = server.add_insecure_port(f"{host}:{port}")
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await server.start()
    print(f"firestore listening on {host}:{bound}", file=sys.stderr, flush=True)
    await stopping.wait()
    calls.stop()
    await server.stop(_STOP_GRACE_SECONDS)


def _log_failure(error: Exception) -> None:
    where = traceback.extract_tb(error.__traceback__)[-1]
    print(f"firestore: {type(error).__name__}: {error} at {where.filename}:{where.lineno}", file=sys.stderr)


def _serialize(message: Message) -> bytes:
    return message.SerializeToString()
