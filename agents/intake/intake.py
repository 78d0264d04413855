"""Gives a verdict on each raw event and makes the rows durable: on Pub/Sub, or else in the landing bucket.

Deliberately knows neither HTTP nor files: `functions.collect` and `functions.ingest` bring the raw events.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from agents.intake.personal import remove_personal
from agents.intake.refusal import Refusal
from agents.intake.segment import Received
from agents.tools.bus import ACK_SECONDS, Bus, Outgoing
from agents.tools.landing import Landing
from schemas.messages import Json, ProfileUpdate, derive_id
from schemas.rows import Failure, Interaction, InvalidEvent, encode

# What the suite itself did to the person, told by act through collect: no act of theirs.
OUTCOME_TYPES = ("email_sent", "email_skipped", "email_failed")
EVENT_BYTES = 32_768  # Segment's published limit for one event
Reader = Callable[[object, Received], Interaction]
log = logging.getLogger(__name__)


class NotDurable(Exception):
    """Neither Pub/Sub nor the landing bucket took the events; the client must send them again."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of one event of a batch."""

    event_id: str
    failure: Failure | None = None
    reason: str = ""


@dataclass(kw_only=True)
class Batch:
    """A batch after reading: rows for the topics, and the verdicts in the client's order."""

    accepted: list[Interaction] = field(default_factory=list[Interaction])
    refused: list[InvalidEvent] = field(default_factory=list[InvalidEvent])
    verdicts: list[Verdict] = field(default_factory=list[Verdict])


def read_batch(raws: Iterable[object], read: Reader, received: Received) -> Batch:
    """Read every event; a refused one becomes a row of invalid_events and does not touch its neighbours."""
    batch = Batch()
    for raw in raws:
        try:
            row = read(raw, received)
            if len(encode(row)) > EVENT_BYTES:
                raise Refusal(Failure.TOO_LARGE, f"an event may have {EVENT_BYTES} bytes")
        except Exception as error:  # noqa: BLE001  # whatever one event does to its reader, its neighbours go on
            refusal = to_refusal(error)
            invalid = make_invalid(raw, refusal, received)
            batch.refused.append(invalid)
            batch.verdicts.append(Verdict(event_id=invalid.event_id, failure=refusal.failure, reason=refusal.reason))
        else:
            batch.accepted.append(row)
            batch.verdicts.append(Verdict(event_id=row.event_id))
    return batch


def to_refusal(error: Exception) -> Refusal:
    """The verdict of an error: its own, or for what no reader expected a plain one, with the traceback in the log."""
    if isinstance(error, Refusal):
        return error
    log.error("an event could not be read", exc_info=error)
    return Refusal(Failure.WRONG_TYPE, f"the event could not be read ({type(error).__name__})")


def make_invalid(raw: object, refusal: Refusal, received: Received) -> InvalidEvent:
    """The row that keeps a refused event: readable ids, the typed reason, the payload without personal fields."""
    message: dict[str, Any] = raw if isinstance(raw, dict) else {}
    payload = msgspec.json.encode(remove_personal(raw), order="sorted").decode()
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
        payload=payload[: 4 * EVENT_BYTES] if len(payload) <= 4 * EVENT_BYTES else None,
    )


def make_messages(row: Interaction | InvalidEvent) -> list[tuple[str, Outgoing]]:
    """The messages that a row becomes: (topic, message)."""
    if isinstance(row, InvalidEvent):
        return [("invalid-events", Outgoing(data=encode(row), attributes={"failure": row.failure.value}))]
    attributes = {"type": row.event_type[:256], "eventId": row.event_id, "source": row.source}
    messages = [("user-interactions", Outgoing(data=encode(row), attributes=attributes))]
    if row.user_id:
        update = ProfileUpdate(
            user_id=row.user_id, event_id=row.event_id, at=row.event_timestamp, fields=read_profile_fields(row)
        )
        messages.append(("user-profile-updates", Outgoing(data=msgspec.json.encode(update))))
    return messages


def read_profile_fields(row: Interaction) -> Json:
    """What one event tells about the person: traits, where and in what language they are, what they last did."""
    if row.event_type in OUTCOME_TYPES:
        return {"lastOutcome": {"type": row.event_type, "at": row.event_timestamp.isoformat()}}
    traits = msgspec.json.decode(row.traits, type=Json) if row.traits and row.event_type == "identify" else {}
    fields: Json = {key: value for key, value in traits.items() if isinstance(value, str | int | float | bool)}
    fields["lastEvent"] = {"type": row.event_type, "at": row.event_timestamp.isoformat()}
    if row.location and row.location.country:
        fields["country"] = row.location.country
    if row.device and row.device.locale:
        fields.setdefault("language", row.device.locale.partition("-")[0].lower())
    if row.consent and row.consent.marketing is not None:
        fields["marketingConsent"] = row.consent.marketing
    if row.products:
        fields["lastProducts"] = [{"productId": p.product_id, "name": p.name or ""} for p in row.products[:10]]
    if row.event_type == "order_completed":
        fields["lastOrder"] = {
            "orderId": row.order_id or row.event_id,
            "revenue": str(row.revenue) if row.revenue is not None else None,
            "at": row.event_timestamp.isoformat(),
        }
    return fields


async def store_batch(batch: Batch, bus: Bus, landing: Landing) -> None:
    """Return once every row of the batch is durable.

    Raises:
        NotDurable: neither Pub/Sub nor the landing bucket took it; nothing was lost that was promised.
    """
    rows: list[Interaction | InvalidEvent] = [*batch.accepted, *batch.refused]
    left = await publish_rows(rows, bus)
    if not left:
        return
    log.warning("Pub/Sub did not take %d of %d rows: spilling to the landing bucket", len(left), len(rows))
    try:
        await asyncio.to_thread(landing.write, spill_name(left), encode_spill(left))
    except Exception as error:
        log.exception("the landing bucket did not take %d rows", len(left))
        raise NotDurable("events could not be stored; send them again") from error


async def publish_rows(rows: list[Interaction | InvalidEvent], bus: Bus) -> list[Interaction | InvalidEvent]:
    """Publish and wait for Pub/Sub's acknowledgement; the rows that it did not take come back."""
    sent = [(row, asyncio.wrap_future(bus.send(topic, out))) for row in rows for topic, out in make_messages(row)]
    if sent:
        await asyncio.wait([future for _, future in sent], timeout=ACK_SECONDS)
    left: dict[int, Interaction | InvalidEvent] = {}  # by identity: a good and a refused row may share their event id
    for row, future in sent:
        if not future.done() or future.exception():
            reason = type(future.exception()).__name__ if future.done() else "no answer in time"
            log.warning("event %s was not acknowledged: %s", row.event_id, reason)
            left[id(row)] = row
            future.cancel()
    return list(left.values())


def spill_name(rows: list[Interaction | InvalidEvent]) -> str:
    """The object's name: a replay of the same rows is the same object."""
    day: datetime = rows[0].received_at
    return f"spill/{day:%Y-%m-%d}/{derive_id(*(row.event_id for row in rows))}.ndjson"


def encode_spill(rows: list[Interaction | InvalidEvent]) -> bytes:
    """One line a row: {"interaction": row} or {"invalid": row}."""
    lines = ({("invalid" if isinstance(row, InvalidEvent) else "interaction"): row} for row in rows)
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def _short(value: object) -> str | None:
    return str(value)[:256] if isinstance(value, str | int) and value != "" else None
