"""The model gateway over HTTP: POST /v1/generate. Reads the key and the body, calls one thing, maps the outcome."""

from __future__ import annotations

import asyncio
import logging

import functions_framework.aio
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from agents.gateway import service
from agents.gateway.providers import gemini
from agents.gateway.service import GatewayError
from agents.tools import bus
from agents.tools.secrets import read_json, secret_manager
from agents.tools.settings import settings

MAX_BODY_BYTES = 512_000
log = logging.getLogger(__name__)


@functions_framework.aio.http
async def llm(request: Request) -> Response:
    """Answer {output, model, usage}, or {error, fix} with the fitting status."""
    try:
        if request.method != "POST" or request.url.path.rstrip("/") != "/v1/generate":
            raise GatewayError(404, f"no {request.method} {request.url.path}", "POST /v1/generate")
        # Secret Manager's client blocks.
        keys = await asyncio.to_thread(read_json, secret_manager(), "llm-agent-keys")
        caller = service.find_caller(request.headers.get("authorization", ""), keys)
        call = service.parse_call(await _read_body(request))
        ports = service.Ports(provider=gemini(), bus=bus.pubsub(), default_model=settings().default_model)
        answer = await service.generate(call, caller, ports)
    except GatewayError as error:
        log.warning("llm answers %d: %s", error.status, error.error)
        return _write_json({"error": error.error, "fix": error.fix}, error.status)
    return _write_json(answer, 200)


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise GatewayError(413, f"the body has more than {MAX_BODY_BYTES} bytes", "send references, not contents")
    return bytes(body)


def _write_json(value: object, status: int) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
