"""How long events take from collect's clock (received_at) to a row that BigQuery answers with, by looking again and again.

BigQuery keeps no time of arrival, so the job looks every second for rows that were not there a second ago; what it finds
is at most a look older than it seems. Of a busy minute only a share of the events is looked at, chosen by their ids.
Deliberately no synthetic events: they would be in every KPI.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from agents.tools.warehouse import Warehouse

SAMPLE_EVENTS = 500  # a minute, about
BUSY = """
SELECT COUNT(*) AS events FROM argo.user_interactions
WHERE received_at > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 MINUTE)
  AND event_timestamp > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)
"""
# event_timestamp is the partition: events of older days, sent late, are not looked at.
LOOK = """
SELECT event_id, MIN(received_at) AS received_at FROM argo.user_interactions
WHERE received_at > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 10 MINUTE)
  AND event_timestamp > TIMESTAMP_SUB(CURRENT_TIMESTAMP(), INTERVAL 1 DAY)
  AND MOD(ABS(FARM_FINGERPRINT(event_id)), @share) = 0
GROUP BY event_id
"""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """How long the job looks, and how often; the clock is the wall's, as collect's is."""

    seconds: float = 30.0
    pause_seconds: float = 1.0
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep


@dataclass(kw_only=True)
class Sample:
    """Seconds from collect to BigQuery, one for each event that came."""

    seconds: list[float] = field(default_factory=list[float])

    def percentile(self, percent: int) -> float:
        """The value below which so many percent are."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def measure_arrival(warehouse: Warehouse, timing: Timing) -> Sample:
    """Look for new rows; those that were there at the first look are not counted.

    Raises:
        google.api_core.exceptions.GoogleAPICallError: BigQuery does not answer.
    """
    share = max(1, int(warehouse.query(BUSY)[0]["events"]) // SAMPLE_EVENTS)
    known = {row["event_id"] for row in warehouse.query(LOOK, {"share": share})}
    sample, began = Sample(), timing.now()
    while (timing.now() - began).total_seconds() < timing.seconds:
        timing.sleep(timing.pause_seconds)
        rows, seen_at = warehouse.query(LOOK, {"share": share}), timing.now()
        fresh = {row["event_id"]: row["received_at"] for row in rows if row["event_id"] not in known}
        sample.seconds += [(seen_at - received_at).total_seconds() for received_at in fresh.values()]
        known |= fresh.keys()
    return sample
