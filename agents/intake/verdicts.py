"""The verdict on each event of a request, within the limits of its protocol. Pure; `intake.store_batch` makes it durable."""

from __future__ import annotations

from typing import Any

from agents.intake.intake import Batch, Reader, Verdict, make_invalid
from agents.intake.limits import Incoming, Limits
from agents.intake.refusal import Refusal
from agents.intake.segment import Received
from schemas.rows import Failure, Interaction


def judge_events(incoming: Incoming, read: Reader, received: Received) -> Batch:
    """Read every event; a refused one becomes a row of invalid_events and does not touch its neighbours."""
    batch = Batch()
    for index, raw in enumerate(incoming.raws):
        try:
            row = _judge_event(index, raw, incoming, read, received)
        except Refusal as refusal:
            invalid = make_invalid(raw, refusal, received)
            batch.refused.append(invalid)
            batch.verdicts.append(Verdict(event_id=invalid.event_id, failure=refusal.failure, reason=refusal.reason))
        else:
            batch.accepted.append(row)
            batch.verdicts.append(Verdict(event_id=row.event_id))
    return batch


def summarise(batch: Batch) -> dict[str, Any]:
    """The small JSON body that every client gets: how many were accepted, and a verdict on each that was not."""
    refused = [
        {"index": index, "messageId": verdict.event_id, "failure": verdict.failure, "reason": verdict.reason}
        for index, verdict in enumerate(batch.verdicts)
        if verdict.failure
    ]
    return {"success": True, "accepted": len(batch.accepted), "rejected": refused}


def _judge_event(index: int, raw: object, incoming: Incoming, read: Reader, received: Received) -> Interaction:
    limits = incoming.limits
    if index >= limits.batch_events:
        raise Refusal(Failure.TOO_LARGE, f"a batch may have {limits.batch_events} events; send the rest in another")
    if incoming.sizes and incoming.sizes[index] > limits.event_bytes:
        raise Refusal(
            Failure.TOO_LARGE, f"an event may have {limits.event_bytes} bytes; this one has {incoming.sizes[index]}"
        )
    row = read(raw, received)
    if len(row.event_id) > limits.id_characters:
        raise Refusal(Failure.TOO_LARGE, f"{_name_id(limits)} may have {limits.id_characters} characters")
    return row


def _name_id(limits: Limits) -> str:
    return "messageId" if limits.id_characters < 256 else "id"
