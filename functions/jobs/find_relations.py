"""The job that finds which products go together, in the warehouse; sync_graph carries them into the graph."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from agents.recommender.relations import find_relations
from agents.tools.warehouse import bigquery

log = logging.getLogger(__name__)


def run() -> None:
    """Look once."""
    started = time.monotonic()
    count = find_relations(bigquery(), datetime.now(UTC))
    log.info("find_relations: %d relations added, changed or removed in %.1f s", count, time.monotonic() - started)
