"""The job that measures how long events take from collect's clock to a row in BigQuery, on those that come while it looks."""

from __future__ import annotations

import logging

from agents.arrival import Timing, measure_arrival
from agents.tools import metrics
from agents.tools.warehouse import bigquery

log = logging.getLogger(__name__)


def run() -> None:
    """Look for half a minute."""
    sample = measure_arrival(bigquery(), Timing())
    if not sample.seconds:
        log.info("measure_arrival: no event came while it looked")
        return
    metrics.read("arrival_p50_seconds", sample.percentile(50))
    metrics.read("arrival_p95_seconds", sample.percentile(95))
    log.info("measure_arrival: %d events looked at, p95 %.1f s", len(sample.seconds), sample.percentile(95))
