"""Segment's HTTP API: events, the browser SDK's settings and metrics, and the pixel. Reading is `agents.intake`'s."""

from __future__ import annotations

import logging
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from agents.intake import segment_requests
from agents.intake.limits import SEGMENT, Incoming
from agents.intake.segment import read_message
from agents.intake.verdicts import Verdicts, summarise
from functions.answers import answer
from functions.exchange import BadRequest, read_body, read_headers
from functions.taking import take_events
from functions.write_keys import find_source, write_keys

PREFIX = "/v1/"
# The smallest transparent GIF89a: header, 1x1 screen, two colours, transparency, one pixel, end.
GIF = bytes.fromhex("47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b")
log = logging.getLogger(__name__)


async def post_events(request: Request, path: str) -> Response:
    """One message or a batch: 200 once every accepted event is durable, with a verdict per event."""
    call = segment_requests.ROUTES.get(path.removeprefix(PREFIX)) if path.startswith(PREFIX) else None
    if call is None:
        raise BadRequest(404, f"no route {path!r:.80}", "POST to /v1/batch, /v1/track and the like, or /v1/events")
    body = await read_body(request, SEGMENT)
    return await take_events(request, partial(_read_request, call, body), read_message, _answer_verdicts)


def _answer_verdicts(verdicts: Verdicts) -> Response:
    return answer(200, summarise(verdicts))


def _read_request(call: str, body: bytes) -> Incoming:
    try:
        return segment_requests.read_request(call, body)
    except ValueError as error:
        raise BadRequest(400, str(error), "see Segment's HTTP tracking API and its limits") from None


async def post_metrics(request: Request) -> Response:
    """The browser SDK's measurements of itself (/v1/m): taken, so that it is content, and dropped: they are no events."""
    await read_body(request, SEGMENT)
    return answer(200, {"success": True})


async def get_settings(request: Request, key: str) -> Response:
    """What the browser and mobile SDKs ask for before they send anything."""
    try:
        find_source(await write_keys(), request, key)
    except BadRequest:
        raise BadRequest(404, "no such project", "ask for /v1/projects/<your write key>/settings") from None
    host = read_headers(request).get("host", "")
    scheme = read_headers(request).get("x-forwarded-proto", request.url.scheme)
    allowed = {"__default": {"enabled": True, "integrations": {}}}
    settings = {
        "integrations": {
            "Segment.io": {
                "apiKey": key,
                "apiHost": f"{host}/v1",
                "protocol": scheme,
                "addBundledMetadata": True,
                "unbundledIntegrations": [],
                "maybeBundledConfigIds": {},
                "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
            }
        },
        "plan": {"track": allowed, "identify": allowed, "group": allowed},
        "metrics": {"sampleRate": 0, "host": f"{host}/v1", "protocol": scheme},
        "edgeFunction": {},
        "middlewareSettings": {},
        "enabledMiddleware": {},
        "remotePlugins": [],
        "analyticsNextEnabled": True,
        "legacyVideoPluginsEnabled": False,
    }
    response = answer(200, settings)
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


async def get_pixel(request: Request, route: str) -> Response:
    """One message in an image's address. As published, 200 and the image even when the event is refused."""
    try:
        call = segment_requests.ROUTES.get(route, segment_requests.BATCH)
        if call == segment_requests.BATCH:
            raise BadRequest(404, f"no pixel {route:.60}", "see Segment's pixel API")
        read = partial(segment_requests.read_pixel, call, request.query_params.multi_items())
        await take_events(request, read, read_message, _answer_verdicts)
    except (BadRequest, ValueError) as error:
        log.info("a pixel's event was refused: %s", error)  # an image has no reader for a verdict
    response = Response(GIF, media_type="image/gif")
    response.headers["Cache-Control"] = "no-store, no-cache, must-revalidate, private"
    return response
