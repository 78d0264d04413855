"""HTTP: requests about a person's data, in the words of Segment's Public API; for callers that IAM lets in.

Owns the routes: POST /regulations, GET /regulations[?count=], GET /regulations/{id}, GET /suppressions. Carrying a regulation
out is the job `forget`'s.
"""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime
from typing import Any

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

from agents.privacy.forgetting import Desk, accept
from agents.privacy.regulations import Invalid, read_request, shape
from agents.tools.regulations import firestore_regulations
from agents.tools.suppressions import redis_suppressions
from functions.answers import answer
from functions.parameters import read_number

MAX_BODY_BYTES = 2_000_000  # 5,000 ids of 256 characters
LIMITS = range(1, 201)


class NotDone(Exception):
    """The request is answered with an error: the HTTP status and what to fix."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@functions_framework.aio.http
async def regulations(request: Request) -> Response:
    """Answer {data: ...} as Segment does, or {errors: [{type, message}]}."""
    try:
        return answer(200, {"data": await _route(request)})
    except NotDone as error:
        kind = {404: "not-found", 405: "method-not-allowed", 413: "too-large"}.get(error.status, "validation-failure")
        return answer(error.status, {"errors": [{"type": kind, "message": str(error)}]})


async def _route(request: Request) -> dict[str, Any]:
    desk = Desk(regulations=firestore_regulations(), suppressions=redis_suppressions())
    match (request.method, request.url.path.strip("/").split("/")):
        case ("POST", ["regulations"]):
            return await asyncio.to_thread(_create, await _read_body(request), desk)
        case ("GET", ["regulations"]):
            found = await asyncio.to_thread(desk.regulations.list_latest, _read_count(request))
            return {"regulations": [shape(one) for one in found]}
        case ("GET", ["regulations", regulation_id]):
            known = await asyncio.to_thread(desk.regulations.read, regulation_id)
            if known is None:
                raise NotDone(404, f"no regulation {regulation_id!r:.60}")
            return {"regulation": shape(known)}
        case ("GET", ["suppressions"]):
            listed = await asyncio.to_thread(desk.regulations.list_suppressed)
            return {"suppressed": len(listed)}
        case ("GET" | "POST", _):
            raise NotDone(404, "there are POST and GET /regulations, GET /regulations/{id}, GET /suppressions")
        case _:
            raise NotDone(405, f"{request.method} is not supported")


def _create(body: bytes, desk: Desk) -> dict[str, Any]:
    try:
        regulation = read_request(body, str(uuid.uuid4()), datetime.now(UTC))
    except Invalid as error:
        raise NotDone(422, str(error)) from error
    accept(regulation, desk)
    return {"regulateId": regulation.id}


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise NotDone(413, f"the body has more than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _read_count(request: Request) -> int:
    """Segment's pagination[count], or count."""
    given = request.query_params.get("pagination[count]") or request.query_params.get("count") or "50"
    count = read_number(given, LIMITS)
    if count is None:
        raise NotDone(422, f"count is {given!r:.20}; it must be a number from {LIMITS[0]} to {LIMITS[-1]}")
    return count
