"""How often a cron line fires in a month of 730 hours, counted over one real month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import takewhile

from cronsim import CronSim

_BEGIN = datetime(2027, 1, 1, tzinfo=UTC)


@cache
def count_runs(cron: str) -> float:
    """Runs in 730 hours."""
    end = _BEGIN + timedelta(hours=730)
    return float(sum(1 for _ in takewhile(lambda moment: moment < end, CronSim(cron, _BEGIN))))
