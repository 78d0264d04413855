"""The job that looks for moments and publishes the new ones."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from agents.moments import detect
from agents.tools.bus import pubsub
from agents.tools.warehouse import bigquery
from schemas.warehouse import moments

log = logging.getLogger(__name__)


def run() -> None:
    """Look once."""
    started = time.monotonic()
    count = detect(moments(), bigquery(), pubsub(), datetime.now(UTC))
    log.info("detect_moments: %d new moments in %.1f s", count, time.monotonic() - started)
