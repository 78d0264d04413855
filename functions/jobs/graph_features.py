"""The job that writes what the graph's shape says of products and people back to the warehouse."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from agents.recommender.flywheel import NothingInGraph, write_features
from agents.tools.graph import neo4j
from agents.tools.whole_tables import whole_tables

log = logging.getLogger(__name__)


def run() -> None:
    """Compute and load once."""
    started = time.monotonic()
    try:
        products, users = write_features(neo4j(), whole_tables(), datetime.now(UTC))
    except NothingInGraph as reason:
        raise SystemExit(f"graph_features: {reason}") from reason
    log.info("graph_features: %d products, %d people in %.1f s", products, users, time.monotonic() - started)
