"""Makes the rows of a request durable: on Pub/Sub, or else in the landing bucket."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

import msgspec

from agents.intake.outgoing import INTERACTIONS, INVALID, UPDATES, make_interaction, make_refused, make_update
from agents.intake.verdicts import Batch
from agents.tools import metrics
from agents.tools.bus import Outgoing
from agents.tools.landing import Landing
from agents.tools.publishing import Publisher
from agents.tools.spilling import Rows, spiller
from schemas.rows import Interaction, InvalidEvent

log = logging.getLogger(__name__)


class NotDurable(Exception):
    """Neither Pub/Sub nor the landing bucket took the events; the client must send them again."""


async def store_rows(batch: Batch, publisher: Publisher, landing: Landing) -> None:
    """Return once every row of the batch is durable.

    Raises:
        NotDurable: neither Pub/Sub nor the landing bucket took it; nothing was lost that was promised.
    """
    left = await _publish(batch, publisher)
    if left:
        await _spill(left, landing)
    count_batch(batch)


async def _spill(left: Rows, landing: Landing) -> None:
    try:
        await spiller(landing).write(left, pack_spill)
    except Exception as error:
        reason = f"the landing bucket did not take {len(left)} rows: {type(error).__name__}: {error}"
        log.error(reason, extra={"event_ids": list_ids(left)})
        metrics.count("requests_unavailable")
        raise NotDurable("events could not be stored; send them again") from error
    metrics.count("events_spilled", len(left))


def count_batch(batch: Batch) -> None:
    """Count what a request or a chunk of a file has given, once it is durable."""
    if batch.accepted:
        metrics.count("events_accepted", len(batch.accepted))
    for row in batch.refused:
        metrics.count("events_rejected", 1, row.failure.value)


async def _publish(batch: Batch, publisher: Publisher) -> Rows:
    """Publish by topic; the rows of which any message may be missing come back."""
    rows, messages = _sort_by_topic(batch)
    outcomes = await _publish_all([publisher.publish(topic, of_topic) for topic, of_topic in messages.items()])
    left: dict[int, Interaction | InvalidEvent] = {}
    for topic, outcome in zip(rows, outcomes, strict=True):
        if outcome is not None:
            _note(topic, rows[topic], outcome)
            left |= {id(row): row for row in rows[topic]}
    return list(left.values())


def _sort_by_topic(batch: Batch) -> tuple[dict[str, Rows], dict[str, list[Outgoing]]]:
    """For each topic the rows, and in the same order their messages."""
    rows: dict[str, Rows] = {}
    messages: dict[str, list[Outgoing]] = {}
    if batch.accepted:
        rows[INTERACTIONS] = [*batch.accepted]
        messages[INTERACTIONS] = [make_interaction(row) for row in batch.accepted]
        updates = [(row, make_update(row, row.user_id)) for row in batch.accepted if row.user_id]
        if updates:
            rows[UPDATES] = [row for row, _ in updates]
            messages[UPDATES] = [message for _, message in updates]
    if batch.refused:
        rows[INVALID] = [*batch.refused]
        messages[INVALID] = [make_refused(row) for row in batch.refused]
    return rows, messages


async def _publish_all(calls: list[Coroutine[Any, Any, None]]) -> list[BaseException | None]:
    """The outcome of each call. A single one, which is nearly every request, needs no task of its own."""
    if len(calls) != 1:
        return await asyncio.gather(*calls, return_exceptions=True)
    try:
        await calls[0]
    except Exception as error:  # noqa: BLE001  # whatever it is, the rows are not known to be durable
        return [error]
    return [None]


def _note(topic: str, rows: Rows, error: BaseException) -> None:
    text = (
        f"{topic} did not acknowledge {len(rows)} rows, which go to the landing bucket: {type(error).__name__}: {error}"
    )
    log.warning(text, extra={"event_ids": list_ids(rows)})


def list_ids(rows: Rows) -> list[str]:
    """The first ids of some rows, for a log line."""
    return [row.event_id for row in rows[:10]]


def pack_spill(rows: Rows) -> tuple[str, bytes]:
    """An object's name and content. The name is that of the content: the same rows are the same object, and no others."""
    content = encode_spill(rows)
    day: datetime = rows[0].received_at
    return f"spill/{day:%Y-%m-%d}/{hashlib.sha256(content).hexdigest()[:32]}.ndjson", content


def encode_spill(rows: Rows) -> bytes:
    """One line a row: {"interaction": row} or {"invalid": row}."""
    lines = ({("invalid" if isinstance(row, InvalidEvent) else "interaction"): row} for row in rows)
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)
