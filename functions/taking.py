"""What collect's routes share behind HTTP: whose events these are, and the turn in which they are judged and made durable."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from agents.intake.limits import Incoming
from agents.intake.segment import Received
from agents.intake.suppression import suppression_list
from agents.intake.turns import turns
from agents.intake.verdicts import Keep, Reader, Verdicts, judge_events
from agents.tools import landing, publishing
from functions.exchange import find_clues
from functions.write_keys import find_source, write_keys


async def take_events(
    request: Request,
    read_request: Callable[[], Incoming],
    read_event: Reader,
    answer_verdicts: Callable[[Verdicts], Response],
) -> Response:
    """The answer about a request's events, once every accepted one is durable.

    Raises:
        BadRequest: no key that is known; and whatever `read_request` raises.
        KeysUnavailable, NotDurable: nothing was promised; the client is to come back.
    """
    keys = await write_keys()
    suppressed = suppression_list()
    if suppressed and not suppressed.is_fresh:
        await suppressed.prepare()

    def judge(keep: Keep) -> Response:
        incoming = read_request()
        received = Received(
            source=find_source(keys, request, incoming.write_key),
            received_at=datetime.now(UTC),
            sent_at=incoming.sent_at,
            clues=find_clues(request),
            suppressed=suppressed,
            call=incoming.call,
        )
        return answer_verdicts(judge_events(incoming, read_event, received, keep))

    return await turns(publishing.publisher(), landing.cloud_storage()).take(judge)
