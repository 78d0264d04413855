"""Makes the rows of requests durable: on Pub/Sub, or else in the landing bucket."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Coroutine
from datetime import datetime
from typing import Any

import msgspec

from agents.intake.outgoing import INTERACTIONS, INVALID, Sorted
from agents.tools import metrics
from agents.tools.landing import Landing
from agents.tools.publishing import Publisher
from agents.tools.spilling import Rows, spiller
from schemas.rows import Interaction, InvalidEvent

log = logging.getLogger(__name__)


class NotDurable(Exception):
    """Neither Pub/Sub nor the landing bucket took the events; the client must send them again."""


async def store_rows(rows: Sorted, publisher: Publisher, landing: Landing) -> None:
    """Return once every row is durable.

    Raises:
        NotDurable: neither Pub/Sub nor the landing bucket took it; nothing was lost that was promised.
    """
    left = await _publish(rows, publisher)
    if left:
        await _spill(left, landing)
    _count(rows)


async def _spill(left: Rows, landing: Landing) -> None:
    try:
        await spiller(landing).write(left, pack_spill)
    except Exception as error:
        reason = f"the landing bucket did not take {len(left)} rows: {type(error).__name__}: {error}"
        log.error(reason, extra={"event_ids": list_ids(left)})
        metrics.count("requests_unavailable")
        raise NotDurable("events could not be stored; send them again") from error
    metrics.count("events_spilled", len(left))


def _count(rows: Sorted) -> None:
    if accepted := rows.rows.get(INTERACTIONS):
        metrics.count("events_accepted", len(accepted))
    refused = Counter(row.failure for row in rows.rows.get(INVALID, ()) if isinstance(row, InvalidEvent))
    for failure, number in refused.items():
        metrics.count("events_rejected", number, failure.value)


async def _publish(rows: Sorted, publisher: Publisher) -> Rows:
    """Publish by topic; the rows of which any message may be missing come back."""
    outcomes = await _publish_all([publisher.publish(topic, of_topic) for topic, of_topic in rows.messages.items()])
    left: dict[int, Interaction | InvalidEvent] = {}
    for topic, outcome in zip(rows.messages, outcomes, strict=True):
        if outcome is not None:
            _note(topic, rows.rows[topic], outcome)
            left |= {id(row): row for row in rows.rows[topic]}
    return list(left.values())


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
