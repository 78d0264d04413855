"""The verdict on each event of a request, within the limits of its protocol. Pure; storing.py makes the rows durable."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from agents.intake.enrichment import enrich
from agents.intake.limits import Incoming, Limits
from agents.intake.messages import read_raw
from agents.intake.personal import remove_personal
from agents.intake.refusal import Refusal
from agents.intake.salvage import salvage
from agents.intake.segment import Received
from agents.intake.suppression import SUPPRESSED
from schemas.messages import derive_id
from schemas.rows import Failure, Interaction, InvalidEvent

PAYLOAD_CHARACTERS = 131_072  # four events of Segment's limit; a larger refused payload is not kept
SALVAGED_EVENTS = 100  # of one request; the columns of further refused events stay NULL
Reader = Callable[[object, Received], Interaction]
Keep = Callable[[Interaction | InvalidEvent], None]
log = logging.getLogger(__name__)


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Why one event of a request was not accepted; `index` is its place there."""

    index: int
    event_id: str
    failure: Failure
    reason: str


class Verdicts(msgspec.Struct, kw_only=True):
    """How many events of a request were accepted, and a verdict on each that was not, in the client's order."""

    accepted: int = 0
    rejected: list[Verdict] = []


def judge_events(incoming: Incoming, read: Reader, received: Received, keep: Keep) -> Verdicts:
    """Read every event; a refused one becomes a row of invalid_events and does not touch its neighbours.

    Each row is handed to `keep` as soon as it is there, which lets go of it: a batch's rows all at once are more than the
    processor's caches hold. An event of somebody who is suppressed has a verdict and becomes nothing.
    """
    verdicts, refused = Verdicts(), 0
    for index, raw in enumerate(incoming.raws):
        try:
            row = _judge_event(index, raw, incoming, read, received)
        except Exception as error:  # noqa: BLE001  # whatever one event does to its reader, its neighbours go on
            refusal = to_refusal(error)
            invalid = make_invalid(raw, refusal, received, salvaged=refused < SALVAGED_EVENTS)
            if must_drop(invalid, received):
                refusal = Refusal(Failure.SUPPRESSED, SUPPRESSED)
            else:
                refused += 1
                keep(invalid)
            verdicts.rejected.append(
                Verdict(index=index, event_id=invalid.event_id, failure=refusal.failure, reason=refusal.reason)
            )
        else:
            verdicts.accepted += 1
            keep(row)
    return verdicts


def summarise(verdicts: Verdicts) -> dict[str, Any]:
    """The small JSON body that every client gets: how many were accepted, and a verdict on each that was not."""
    rejected = [
        {"index": one.index, "messageId": one.event_id, "failure": one.failure, "reason": one.reason}
        for one in verdicts.rejected
    ]
    return {"success": True, "accepted": verdicts.accepted, "rejected": rejected}


def _judge_event(index: int, raw: object, incoming: Incoming, read: Reader, received: Received) -> Interaction:
    limits = incoming.limits
    if index >= limits.batch_events:
        raise Refusal(Failure.TOO_LARGE, f"a batch may have {limits.batch_events} events; send the rest in another")
    if type(raw) is msgspec.Raw and len(raw) > limits.event_bytes:
        raise Refusal(Failure.TOO_LARGE, f"an event may have {limits.event_bytes} bytes; this one has {len(raw)}")
    row = read(raw, received)
    if len(row.event_id) > limits.id_characters:
        raise Refusal(Failure.TOO_LARGE, f"{_name_id(limits)} may have {limits.id_characters} characters")
    if received.suppressed:
        received.suppressed.check(row)
    return enrich(row, raw, received.clues)


def _name_id(limits: Limits) -> str:
    return "messageId" if limits.id_characters < 256 else "id"


def must_drop(invalid: InvalidEvent, received: Received) -> bool:
    """Whether a refused event is of somebody who is suppressed, so that nothing of it may be stored."""
    if invalid.failure is Failure.SUPPRESSED:
        return True
    known = received.suppressed
    return known is not None and known.covers(invalid.user_id, invalid.anonymous_id, invalid.previous_id)


def to_refusal(error: Exception) -> Refusal:
    """The verdict of an error: its own, or for what no reader expected a plain one, with the traceback in the log."""
    if isinstance(error, Refusal):
        return error
    log.error("an event could not be read", exc_info=error)
    return Refusal(Failure.WRONG_TYPE, f"the event could not be read ({type(error).__name__})")


def make_invalid(raw: object, refusal: Refusal, received: Received, *, salvaged: bool = True) -> InvalidEvent:
    """The row that keeps a refused event: the typed reason, the payload without personal fields, and what could be read.

    Without `salvaged` only the ids are read, which takes a hundredth of the time.
    """
    try:
        value = read_raw(raw)
    except Refusal:
        value = {
            "unreadable": derive_id(bytes(raw).decode("latin-1")) if isinstance(raw, msgspec.Raw) else ""
        }  # bytes that nobody can read cannot be rid of personal fields either
    message: dict[str, Any] = value if isinstance(value, dict) else {}
    message.pop("writeKey", None)
    if received.call and message:
        message["type"] = received.call  # what the route said is part of the event
    clean = remove_personal(value)
    payload = msgspec.json.encode(clean, order="sorted").decode()
    given_id = message.get("messageId") or message.get("id")
    return InvalidEvent(
        event_id=_short(given_id) or derive_id(received.source, received.origin or "", payload),
        received_at=received.received_at,
        source=received.source,
        failure=refusal.failure,
        reason=str(remove_personal(refusal.reason)),
        event_type=_short(message.get("event") or message.get("type")),
        user_id=_short(message.get("userId")),
        anonymous_id=_short(message.get("anonymousId")),
        origin=received.origin,
        payload=payload if len(payload) <= PAYLOAD_CHARACTERS else None,
        producer=_short(message.get("source")) if "specversion" in message else None,
        **(salvage(clean, received) if salvaged and len(payload) <= PAYLOAD_CHARACTERS else {}),
    )


def _short(value: object) -> str | None:
    return str(value)[:256] if isinstance(value, str | int) and value != "" else None
