"""HTTP: client events in. Segment's tracking API and CloudEvents; answers only once every event is durable."""

from __future__ import annotations

import base64
import hmac
import logging
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import functions_framework.aio
import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from agents.intake import cloudevents
from agents.intake.intake import Batch, NotDurable, Reader, read_batch, store_batch
from agents.intake.reading import NotJson, decode_json
from agents.intake.refusal import Refusal
from agents.intake.segment import CALLS, Received, read_message, read_time
from agents.tools import bus, landing, secrets

BODY_BYTES = 512_000  # Segment's published limit for a batch
RETRY_AFTER_SECONDS = "5"
ROUTES: Mapping[str, str] = {
    **{f"/v1/{call}": call for call in CALLS},
    **{f"/v1/{call[0]}": call for call in CALLS if call != "alias"},
    "/v1/a": "alias",
    **dict.fromkeys(("/v1/batch", "/v1/b", "/v1/import"), "batch"),
}
CLOUDEVENT_PATHS = ("/", "/v1/events")
Json = dict[str, Any]
log = logging.getLogger(__name__)


class BadRequest(Exception):
    """The request as a whole cannot be taken: the HTTP status, what is wrong, and the fix."""

    def __init__(self, status: int, error: str, fix: str) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"success": False, "error": error, "fix": fix}


@functions_framework.aio.http
async def collect(request: Request) -> Response:
    """Take events; 200 (Segment) or 202 (CloudEvents) means that every accepted event is durable."""
    if request.method == "OPTIONS":
        return Response(status_code=204, headers=_cors(request))
    try:
        response = await _take_request(request)
    except BadRequest as error:
        response = _answer(error.status, error.body)
    except NotDurable as error:
        response = _answer(503, {"success": False, "error": str(error), "fix": "try again after Retry-After seconds"})
        response.headers["Retry-After"] = RETRY_AFTER_SECONDS
    response.headers.update(_cors(request))
    return response


async def _take_request(request: Request) -> Response:
    if request.method != "POST":
        raise BadRequest(405, f"{request.method} is not supported", "POST events to /v1/batch or /v1/events")
    body = await _read_body(request)
    is_cloudevent = request.url.path in CLOUDEVENT_PATHS and cloudevents.is_cloudevent(request.headers)
    if is_cloudevent:
        raws, sent_at, body_key = _read_cloudevents(request, body), None, ""
        read: Reader = cloudevents.read_event
    else:
        raws, sent_at, body_key = _read_segment(request.url.path, body)
        read = read_message
    received = Received(
        source=_find_source(request, body_key),
        received_at=datetime.now(UTC),
        sent_at=sent_at,
        user_agent=request.headers.get("user-agent"),
    )
    batch = read_batch(raws, read, received)
    await store_batch(batch, bus.pubsub(), landing.cloud_storage())
    return _answer(202 if is_cloudevent else 200, _summarise(batch))


async def _read_body(request: Request) -> bytes:
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > BODY_BYTES:
                raise BadRequest(413, f"the body is larger than {BODY_BYTES} bytes", "send smaller batches")
            chunks.append(chunk)
    except ClientDisconnect:
        raise BadRequest(400, "the client went away before the body was complete", "send the batch again") from None
    body = b"".join(chunks)
    if request.headers.get("content-encoding", "").lower() == "gzip" or body.startswith(b"\x1f\x8b"):
        return _gunzip(body)
    return body


def _gunzip(body: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(body, BODY_BYTES + 1)  # bounded, so that a gzip bomb stays small
    except zlib.error as error:
        raise BadRequest(400, f"the body is not gzip: {error}", "send Content-Encoding: gzip only with gzip") from None
    if len(data) > BODY_BYTES:
        raise BadRequest(413, f"the unpacked body is larger than {BODY_BYTES} bytes", "send smaller batches")
    if not unpacker.eof:
        raise BadRequest(400, "the gzip body is cut short", "send the whole body")
    return data


def _read_segment(path: str, body: bytes) -> tuple[list[object], datetime | None, str]:
    """The messages of a request, the client's time of sending, and the write key of the body."""
    call = ROUTES.get(path.rstrip("/"))
    if call is None:
        raise BadRequest(404, f"no route {path!r:.80}", "POST to /v1/batch, /v1/track and the like, or /v1/events")
    try:
        message = decode_json(body)
        if not isinstance(message, dict):
            raise BadRequest(400, "the body must be a JSON object", "see Segment's HTTP tracking API")
        given: Json = message
        key = given.pop("writeKey", None)
        if call != "batch":
            return [{**given, "type": call}], None, key if isinstance(key, str) else ""
        raws = given.get("batch")
        if not isinstance(raws, list):
            raise BadRequest(400, "batch must be a list", 'send {"batch": [...]}')
        return [_inherit(raw, given) for raw in raws], read_time(given, "sentAt"), key if isinstance(key, str) else ""
    except NotJson as error:
        raise BadRequest(400, f"the body is {error}", "send a JSON object in UTF-8") from None
    except Refusal as refusal:
        raise BadRequest(400, refusal.reason, "send sentAt as an ISO 8601 time") from None


def _inherit(raw: object, batch: Json) -> object:
    """Give a message the batch's context where it has none (Segment: batch context is merged into each message)."""
    if not isinstance(raw, dict) or not isinstance(batch.get("context"), dict):
        return raw
    own: Json = raw
    context = own.get("context") or {}
    return {**own, "context": {**batch["context"], **context}} if isinstance(context, dict) else own


def _read_cloudevents(request: Request, body: bytes) -> list[object]:
    try:
        return cloudevents.read_request(request.headers, body)
    except cloudevents.UnsupportedFormat as error:
        raise BadRequest(415, str(error), "see the CloudEvents HTTP binding 1.0") from None
    except ValueError as error:
        raise BadRequest(400, str(error), "see the CloudEvents HTTP binding 1.0") from None


def _find_source(request: Request, body_key: str) -> str:
    """The source that the request's write key belongs to: in the body, Basic, Bearer, X-Write-Key or the query."""
    given = body_key or _read_header_key(request) or request.query_params.get("writeKey", "")
    for key, source in secrets.read_json(secrets.secret_manager(), "collect-write-keys").items():
        if hmac.compare_digest(key.encode(), given.encode()):
            return source
    raise BadRequest(401, "no write key, or one that is not known", "send your write key as writeKey or Basic user")


def _read_header_key(request: Request) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[0]
        except ValueError:
            return ""
    return request.headers.get("x-write-key", "")


def _summarise(batch: Batch) -> Json:
    refused = [
        {"index": index, "messageId": verdict.event_id, "failure": verdict.failure, "reason": verdict.reason}
        for index, verdict in enumerate(batch.verdicts)
        if verdict.failure
    ]
    return {"success": True, "accepted": len(batch.accepted), "rejected": refused}


def _answer(status: int, body: Json) -> Response:
    return Response(msgspec.json.encode(body), status_code=status, media_type="application/json")


def _cors(request: Request) -> dict[str, str]:
    origin = request.headers.get("origin")
    if not origin:
        return {}
    return {
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "POST, GET, OPTIONS",
        "Access-Control-Allow-Headers": "authorization, content-type, content-encoding, x-write-key, x-retry-count",
        "Access-Control-Max-Age": "86400",
    }
