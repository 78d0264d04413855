"""HTTP: client events in. Segment's tracking API and CloudEvents; answers only once every event is durable.

Owns which route answers what. Segment's routes are in segment_routes.py, CloudEvents' in cloudevent_routes.py.
"""

from __future__ import annotations

from collections.abc import Awaitable

import functions_framework.aio
from starlette.requests import Request
from starlette.responses import Response

from agents.intake.storing import NotDurable
from agents.tools import trace
from functions import cloudevent_routes, segment_routes
from functions.answers import answer
from functions.exchange import BadRequest, allow_origin, answer_later, answer_options, read_headers
from functions.write_keys import KeysUnavailable

CLOUDEVENT_PATHS = ("", "/v1/events")


@functions_framework.aio.http
async def collect(request: Request) -> Response:
    """Take events; 200 (Segment) or 202 (CloudEvents) means that every accepted event is durable."""
    trace.follow(read_headers(request).get(trace.HEADER))
    try:
        response = await _find_answer(request)
    except BadRequest as error:
        response = answer(error.status, error.body)
    except (NotDurable, KeysUnavailable) as error:
        response = answer_later(error)
    return allow_origin(request, response)


def _find_answer(request: Request) -> Awaitable[Response]:
    path = request.scope["path"].rstrip("/")
    if request.method == "OPTIONS":
        return answer_options(request)
    if request.method in ("GET", "HEAD"):
        return _answer_get(request, path)
    if path in CLOUDEVENT_PATHS and request.method in ("POST", "PUT"):
        return cloudevent_routes.post_events(request)
    if request.method != "POST":
        raise BadRequest(405, f"{request.method} is not supported", "POST events to /v1/batch or /v1/events")
    if path == "/v1/m":
        return segment_routes.post_metrics(request)
    return segment_routes.post_events(request, path)


async def _answer_get(request: Request, path: str) -> Response:
    match path.split("/")[1:]:
        case [] | [""]:
            return answer(200, {"success": True, "service": "collect"})
        case ["v1", "projects", key, "settings"]:
            return await segment_routes.get_settings(request, key)
        case ["v1", "pixel", route]:
            return await segment_routes.get_pixel(request, route)
        case _:
            raise BadRequest(405, f"{request.method} is not supported here", "POST events to /v1/batch or /v1/events")
