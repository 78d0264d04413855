"""The job that judges quarantined events again. It has no schedule: a person runs it once a rule or a schema is mended."""

from __future__ import annotations

import logging
import time

from agents.requalify import requalify
from agents.tools.bus import pubsub
from agents.tools.warehouse import bigquery

log = logging.getLogger(__name__)


def run() -> None:
    """Publish what passes now."""
    began = time.monotonic()
    report = requalify(bigquery(), pubsub())
    log.info("requalify: %s, in %.1f s", report.describe(), time.monotonic() - began)
