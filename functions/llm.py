"""The model gateway over HTTP: POST /v1/generate, and /v1/stream for server-sent events.

Reads the key and the body, calls one thing, maps the outcome. Deliberately decides nothing about models.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import suppress

import functions_framework.aio
import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from agents.gateway import calls, service
from agents.gateway.errors import GatewayError
from agents.gateway.providers import find_provider
from agents.gateway.quotas import redis_quotas
from agents.tools import bus
from agents.tools.breaker import redis_breakers
from agents.tools.models import ModelAnswer
from agents.tools.secrets import read_json, secret_manager
from agents.tools.settings import settings
from functions.answers import answer

MAX_BODY_BYTES = 512_000
HEARTBEAT_SECONDS = 5.0  # proxies drop a connection on which nothing comes, the shortest after about 15 s
Piece = str | ModelAnswer | GatewayError | None  # None ends a stream
log = logging.getLogger(__name__)


@functions_framework.aio.http
async def llm(request: Request) -> Response:
    """Answer {output, model, usage, calls}, or {error, fix} with the fitting status."""
    path = request.url.path.rstrip("/")
    try:
        if request.method != "POST" or path not in {"/v1/generate", "/v1/stream"}:
            raise GatewayError(404, f"no {request.method} {request.url.path}", "POST /v1/generate or /v1/stream")
        # Secret Manager's client blocks.
        keys = await asyncio.to_thread(read_json, secret_manager(), "llm-agent-keys")
        caller = calls.find_caller(request.headers.get("authorization", ""), keys)
        call = calls.parse_call(await _read_body(request))
        if path == "/v1/stream":
            return await _stream(service.stream(call, caller, _open_ports()))
        return answer(200, await service.generate(call, caller, _open_ports()))
    except GatewayError as error:
        log.warning("llm answers %d: %s", error.status, error.error)
        return _refuse(error)


def _open_ports() -> service.Ports:
    return service.Ports(
        find_provider=find_provider,
        bus=bus.pubsub(),
        quotas=redis_quotas(),
        breakers=redis_breakers(),
        default_model=settings().default_model,
    )


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise GatewayError(413, f"the body has more than {MAX_BODY_BYTES} bytes", "send references, not contents")
    return bytes(body)


async def _stream(pieces: AsyncIterator[str | ModelAnswer]) -> Response:
    """Events: `delta` {text}, then one `answer` or one `error`. What fails before the first event keeps its status."""
    queue: asyncio.Queue[Piece] = asyncio.Queue(maxsize=16)
    # One task runs the call from its begin to its end: its time limit belongs to a task.
    producer = asyncio.create_task(_produce(pieces, queue))
    first: list[Piece] = []
    with suppress(TimeoutError):
        first.append(await asyncio.wait_for(queue.get(), HEARTBEAT_SECONDS))
    if first and isinstance(first[0], GatewayError):
        await producer
        raise first[0]
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_write_events(first, queue, producer), media_type="text/event-stream", headers=headers)


async def _produce(pieces: AsyncIterator[str | ModelAnswer], queue: asyncio.Queue[Piece]) -> None:
    try:
        async for piece in pieces:
            await queue.put(piece)
    except GatewayError as error:
        log.warning("llm ends a stream with %d: %s", error.status, error.error)
        await queue.put(error)
    except Exception:
        log.exception("llm: a stream failed")
        await queue.put(GatewayError(500, "the gateway failed", "try again later"))
    await queue.put(None)


async def _write_events(
    first: list[Piece], queue: asyncio.Queue[Piece], producer: asyncio.Task[None]
) -> AsyncIterator[bytes]:
    try:
        while True:
            try:
                piece = first.pop() if first else await asyncio.wait_for(queue.get(), HEARTBEAT_SECONDS)
            except TimeoutError:
                yield b": still at work\n\n"
                continue
            if piece is None:
                return
            yield _write_event(piece)
    finally:  # also when the reader has gone: nobody pays for an answer that nobody reads
        producer.cancel()
        with suppress(asyncio.CancelledError):
            await producer


def _write_event(piece: str | ModelAnswer | GatewayError) -> bytes:
    if isinstance(piece, str):
        name, data = "delta", msgspec.json.encode({"text": piece})
    elif isinstance(piece, ModelAnswer):
        name, data = "answer", msgspec.json.encode(piece)
    else:
        name, data = "error", msgspec.json.encode(_describe(piece) | {"status": piece.status})
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


def _describe(error: GatewayError) -> dict[str, object]:
    described: dict[str, object] = {"error": error.error, "fix": error.fix}
    return described | ({"limit": error.limit} if error.limit else {})


def _refuse(error: GatewayError) -> Response:
    after = error.retry_after_seconds
    return answer(error.status, _describe(error), {"retry-after": str(after)} if after else None)
