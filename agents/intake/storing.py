"""Makes the rows of requests durable: on Pub/Sub, or else in the landing bucket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

import msgspec

from agents.intake.outgoing import INTERACTIONS, INVALID, Outbox
from agents.tools import metrics
from agents.tools.landing import Landing
from agents.tools.publishing import Publisher
from agents.tools.spilling import Lines, spiller

log = logging.getLogger(__name__)


class NotDurable(Exception):
    """Neither Pub/Sub nor the landing bucket took the events; the client must send them again."""


async def store_rows(outbox: Outbox, publisher: Publisher, landing: Landing) -> None:
    """Return once every row is durable.

    Raises:
        NotDurable: neither Pub/Sub nor the landing bucket took it; nothing was lost that was promised.
    """
    left = await _publish(outbox, publisher)
    if left:
        await _spill(left, landing)
    if accepted := outbox.rows.get(INTERACTIONS):
        metrics.count("events_accepted", len(accepted))
    for failure, number in outbox.failures.items():
        metrics.count("events_rejected", number, failure.value)


async def _spill(left: Lines, landing: Landing) -> None:
    try:
        await spiller(landing).write(left)
    except Exception as error:
        reason = f"the landing bucket did not take {len(left)} rows: {type(error).__name__}: {error}"
        log.error(reason, extra={"event_ids": _list_ids(left)})
        raise NotDurable("events could not be stored; send them again") from error
    metrics.count("events_spilled", len(left))


async def _publish(outbox: Outbox, publisher: Publisher) -> Lines:
    """Publish by topic; the rows of which any message may be missing come back, as lines of a spill."""
    outcomes = await _publish_all([publisher.publish(topic, messages) for topic, messages in outbox.messages.items()])
    left: dict[int, bytes] = {}
    for topic, outcome in zip(outbox.rows, outcomes, strict=True):
        if outcome is not None:
            lines = {id(row): make_line(row, is_refused=topic == INVALID) for row in outbox.rows[topic]}
            _note(topic, [*lines.values()], outcome)
            left |= lines
    return [*left.values()]


async def _publish_all(calls: list[Coroutine[Any, Any, None]]) -> list[BaseException | None]:
    """The outcome of each call. A single one, which is nearly every request, needs no task of its own."""
    if len(calls) != 1:
        return await asyncio.gather(*calls, return_exceptions=True)
    try:
        await calls[0]
    except Exception as error:  # noqa: BLE001  # whatever it is, the rows are not known to be durable
        return [error]
    return [None]


def _note(topic: str, lines: Lines, error: BaseException) -> None:
    text = f"{topic} did not acknowledge {len(lines)} rows, which go to the landing bucket: {type(error).__name__}: {error}"
    log.warning(text, extra={"event_ids": _list_ids(lines)})


def _list_ids(lines: Lines) -> list[str]:
    """The first ids of some rows, for a log line."""
    read = [msgspec.json.decode(line, type=dict[str, _Row]) for line in lines[:10]]
    return [row.event_id for given in read for row in given.values()]


class _Row(msgspec.Struct):
    event_id: str


def make_line(row: bytes, *, is_refused: bool) -> bytes:
    """A row's JSON as a line of a spill: {"interaction": row} or {"invalid": row}."""
    return (b'{"invalid":' if is_refused else b'{"interaction":') + row + b"}\n"
