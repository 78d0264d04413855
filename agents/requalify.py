"""Judging quarantined events again: what passes by today's rules is published under its own id, the rest stays where it is.

Nothing is marked: an event whose id and source are in user_interactions is done, so a second run, or a client that has
sent a corrected event with the same id meanwhile, changes nothing. What was removed from the payload stays removed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from agents.intake import cloudevents, segment
from agents.intake.outgoing import make_messages
from agents.intake.personal import REMOVED
from agents.intake.refusal import Refusal
from agents.intake.segment import Received
from agents.tools.bus import Bus, Outgoing, send_all
from agents.tools.warehouse import Parameter, Warehouse
from schemas.rows import Interaction

PAGE_ROWS = 2000
# Rows of files count only when the file was one of events: a product is judged by its own feed.
QUARANTINED = """
SELECT invalid.event_id, invalid.source, invalid.received_at, invalid.user_id, invalid.anonymous_id, invalid.origin,
  TO_JSON_STRING(invalid.payload) AS payload, CONCAT(invalid.source, '@', invalid.event_id) AS place
FROM (
  SELECT * FROM argo.invalid_events
  WHERE payload IS NOT NULL AND (origin IS NULL OR CONTAINS_SUBSTR(origin, '/events/'))
  QUALIFY ROW_NUMBER() OVER (PARTITION BY source, event_id ORDER BY received_at) = 1
) AS invalid
LEFT JOIN (SELECT DISTINCT source, event_id FROM argo.user_interactions) AS good
  ON good.source = invalid.source AND good.event_id = invalid.event_id
WHERE good.event_id IS NULL AND CONCAT(invalid.source, '@', invalid.event_id) > @after
ORDER BY place
LIMIT {limit}
"""
Json = dict[str, Any]
log = logging.getLogger(__name__)


class _Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    event_id: str
    source: str
    received_at: datetime
    payload: str
    place: str
    user_id: str | None = None
    anonymous_id: str | None = None
    origin: str | None = None


@dataclass(kw_only=True)
class Requalified:
    """What a run did: events published, and those that are still refused, by failure."""

    published: int = 0
    refused: Counter[str] = field(default_factory=Counter[str])

    def describe(self) -> str:
        """One line."""
        still = ", ".join(f"{name} {count}" for name, count in sorted(self.refused.items()))
        return f"{self.published} events published; still refused: {still or 'none'}"


def requalify(warehouse: Warehouse, bus: Bus) -> Requalified:
    """Judge every quarantined event that is not in BigQuery by its id.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: BigQuery or Pub/Sub does not answer; run it again.
    """
    report = Requalified()
    for page in _read_pages(warehouse):
        messages: dict[str, list[Outgoing]] = {}
        for quarantined in page:
            try:
                row = judge_again(quarantined.payload, quarantined)
            except Refusal as refusal:
                report.refused[refusal.failure.value] += 1
                continue
            report.published += 1
            for topic, message in make_messages(row):
                messages.setdefault(topic, []).append(message)
        for topic, some in messages.items():
            send_all(bus, topic, some)
    return report


def judge_again(payload: str, quarantined: _Quarantined) -> Interaction:
    """The row of a payload by today's rules, with the id, time and people of its quarantine.

    Raises:
        Refusal: it is still refused.
    """
    value = _drop_removed(msgspec.json.decode(payload))
    received = Received(source=quarantined.source, received_at=quarantined.received_at, origin=quarantined.origin)
    if isinstance(value, dict) and "specversion" in value:
        row = cloudevents.read_event(value, received)
    else:
        ids = {"userId": quarantined.user_id, "anonymousId": quarantined.anonymous_id}
        known = {key: given for key, given in ids.items() if given}
        row = segment.read_message({**value, **known} if isinstance(value, dict) else value, received)
    return msgspec.structs.replace(row, event_id=quarantined.event_id)


def _read_pages(warehouse: Warehouse) -> Iterator[list[_Quarantined]]:
    after: dict[str, Parameter] = {"after": ""}
    while True:
        rows = msgspec.convert(warehouse.query(QUARANTINED.format(limit=PAGE_ROWS), after), list[_Quarantined])
        if rows:
            yield rows
        if len(rows) < PAGE_ROWS:
            return
        after = {"after": rows[-1].place}


def _drop_removed(value: Any) -> Any:
    """The value without the keys whose values were personal."""
    if isinstance(value, dict):
        return {key: _drop_removed(inner) for key, inner in value.items() if inner != REMOVED}
    if isinstance(value, list):
        return [_drop_removed(inner) for inner in value if inner != REMOVED]
    return value
