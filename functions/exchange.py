"""What collect's routes share about HTTP: reading a bounded body, errors with their fix, CORS."""

from __future__ import annotations

import zlib
from http import HTTPStatus
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from agents.intake.enrichment.clues import Clues, read_clues
from agents.intake.limits import Limits
from agents.tools.settings import settings
from functions.answers import answer

RETRY_AFTER_SECONDS = "5"
_HEADERS = "argo.headers"
Json = dict[str, Any]


def describe_error(status: int, error: str, fix: str) -> Json:
    """An error's body. Segment's and RudderStack's Python SDKs read `code` and `message`, and retry for ever without."""
    return {"success": False, "code": HTTPStatus(status).name.lower(), "message": error, "error": error, "fix": fix}


class BadRequest(Exception):
    """The request as a whole cannot be taken: the HTTP status, what is wrong, and the fix."""

    def __init__(self, status: int, error: str, fix: str) -> None:
        super().__init__(error)
        self.status = status
        self.body = describe_error(status, error, fix)


async def read_body(request: Request, limits: Limits) -> bytes:
    """The whole body, unpacked when it is gzip, with or without its header.

    Raises:
        BadRequest: larger than a batch may be, cut short, or not gzip.
    """
    chunks: list[bytes] = []
    size = 0
    more = True
    while more:
        part = await request.receive()
        if part["type"] == "http.disconnect":
            raise BadRequest(400, "the client went away before the body was complete", "send the batch again")
        chunks.append(part.get("body", b""))
        size += len(chunks[-1])
        if size > limits.batch_bytes:
            raise _too_large("body", limits)
        more = part.get("more_body", False)
    body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if body.startswith(b"\x1f\x8b") or read_headers(request).get("content-encoding", "").lower() == "gzip":
        return _gunzip(body, limits)
    return body


def read_headers(request: Request) -> dict[str, str]:
    """Header name in lower case -> value, of several the first; read once a request, as Starlette looks through all each time."""
    found: dict[str, str] | None = request.scope.get(_HEADERS)
    if found is None:
        pairs: list[tuple[bytes, bytes]] = request.scope["headers"]
        found = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(pairs)}
        request.scope[_HEADERS] = found
    return found


def _gunzip(body: bytes, limits: Limits) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(body, limits.batch_bytes + 1)  # bounded, so that a gzip bomb stays small
    except zlib.error as error:
        raise BadRequest(400, f"the body is not gzip: {error}", "send Content-Encoding: gzip only with gzip") from None
    if len(data) > limits.batch_bytes:
        raise _too_large("unpacked body", limits)
    if not unpacker.eof:
        raise BadRequest(400, "the gzip body is cut short", "send the whole body")
    return data


def _too_large(what: str, limits: Limits) -> BadRequest:
    error = f"the {what} is larger than {limits.batch_bytes} bytes"
    return BadRequest(limits.too_large_status, error, "send smaller batches")


def find_clues(request: Request) -> Clues:
    """What the request shows besides its events."""
    return read_clues(read_headers(request), behind_load_balancer=settings().behind_load_balancer)


def answer_later(error: Exception) -> Response:
    """503: nothing was promised, and the client is told when to come back."""
    body = describe_error(503, str(error), "try again after Retry-After seconds")
    return answer(503, body, {"Retry-After": RETRY_AFTER_SECONDS})


async def answer_options(request: Request) -> Response:
    """A browser's preflight, and the CloudEvents webhook handshake (https://github.com/cloudevents/spec, http-webhook)."""
    response = Response(status_code=204, headers={"Allow": "GET, HEAD, POST, PUT, OPTIONS"})
    if "webhook-request-origin" in read_headers(request):
        response.headers["WebHook-Allowed-Origin"] = "*"
        response.headers["WebHook-Allowed-Rate"] = "*"
    wanted = read_headers(request).get("access-control-request-headers")
    default = "authorization, content-type, content-encoding, x-write-key, x-retry-count"
    response.headers["Access-Control-Allow-Headers"] = wanted or default
    response.headers["Access-Control-Allow-Methods"] = "GET, HEAD, POST, PUT, OPTIONS"
    response.headers["Access-Control-Max-Age"] = "86400"
    if read_headers(request).get("access-control-request-private-network") == "true":
        response.headers["Access-Control-Allow-Private-Network"] = "true"
    return response


def allow_origin(request: Request, response: Response) -> Response:
    """Let a page of any origin read the answer; beacons send credentials, with which `*` would not do."""
    origin = read_headers(request).get("origin")
    if origin:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Access-Control-Expose-Headers"] = "Retry-After"
        response.headers.add_vary_header("Origin")
    return response
