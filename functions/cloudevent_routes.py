"""CloudEvents over HTTP: 202 once every accepted event is durable. Reading is `agents.intake.cloudevents`'."""

from __future__ import annotations

from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from agents.intake import cloudevents
from agents.intake.limits import CLOUDEVENTS, Incoming
from agents.intake.verdicts import Verdicts, summarise
from functions.answers import answer
from functions.exchange import BadRequest, describe_error, read_body, read_headers
from functions.taking import take_events
from schemas.rows import Failure

FIX = "see the CloudEvents HTTP binding 1.0.2"


async def post_events(request: Request) -> Response:
    """202 with a verdict per event; a single event that is refused is a 400, because nothing of the request was taken."""
    body = await read_body(request, CLOUDEVENTS)
    is_batched = cloudevents.is_batched(read_headers(request))
    return await take_events(
        request,
        partial(_read_request, request, body),
        cloudevents.read_event,
        partial(_answer_verdicts, is_batched=is_batched),
    )


def _answer_verdicts(verdicts: Verdicts, *, is_batched: bool) -> Response:
    body = summarise(verdicts)
    refused = [verdict for verdict in verdicts.rejected if verdict.failure is not Failure.SUPPRESSED]
    if refused and not is_batched:
        return answer(400, {**body, **describe_error(400, refused[0].reason, FIX)})
    return answer(202, body)


def _read_request(request: Request, body: bytes) -> Incoming:
    try:
        return cloudevents.read_request(read_headers(request), body)
    except cloudevents.UnsupportedFormat as error:
        raise BadRequest(415, str(error), FIX) from None
    except cloudevents.TooLarge as error:
        raise BadRequest(413, str(error), "send smaller events and batches") from None
    except ValueError as error:
        raise BadRequest(400, str(error), FIX) from None
