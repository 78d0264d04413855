"""CloudEvents over HTTP: 202 once every accepted event is durable. Reading is `agents.intake.cloudevents`'."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from agents.intake import cloudevents
from agents.intake.limits import CLOUDEVENTS
from agents.intake.segment import Received
from agents.intake.storing import store_rows
from agents.intake.verdicts import judge_events, summarise
from agents.tools import landing, publishing
from functions.answers import answer
from functions.exchange import BadRequest, describe_error, find_clues, find_suppressed, read_body, read_headers
from functions.write_keys import find_source

FIX = "see the CloudEvents HTTP binding 1.0.2"


async def post_events(request: Request) -> Response:
    """202 with a verdict per event; a single event that is refused is a 400, because nothing of the request was taken."""
    body = await read_body(request, CLOUDEVENTS)
    try:
        incoming = cloudevents.read_request(read_headers(request), body)
    except cloudevents.UnsupportedFormat as error:
        raise BadRequest(415, str(error), FIX) from None
    except cloudevents.TooLarge as error:
        raise BadRequest(413, str(error), "send smaller events and batches") from None
    except ValueError as error:
        raise BadRequest(400, str(error), FIX) from None
    received = Received(
        source=await find_source(request, ""),
        received_at=datetime.now(UTC),
        clues=find_clues(request),
        suppressed=await find_suppressed(),
    )
    batch = judge_events(incoming, cloudevents.read_event, received)
    await store_rows(batch, publishing.publisher(), landing.cloud_storage())
    body_out = summarise(batch)
    if batch.refused and not cloudevents.is_batched(read_headers(request)):
        return answer(400, {**body_out, **describe_error(400, batch.verdicts[0].reason, FIX)})
    return answer(202, body_out)
