"""The job that sends dead letters to their topics again. It has no schedule: a person runs it after the repair."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from agents.replay import NotReplayed, find_routes, replay
from agents.tools.bus import pubsub
from agents.tools.held import pubsub_held
from agents.tools.settings import settings
from schemas import topology

log = logging.getLogger(__name__)


def run() -> None:
    """Send everything again that is held now."""
    began, started = time.monotonic(), datetime.now(UTC)
    named = topology.load()
    (subscription,) = named.access(settings().service).pulls
    report = replay(pubsub_held(subscription), pubsub(), find_routes(named), started)
    log.info("replay: %s, in %.1f s", report.describe(), time.monotonic() - began)
    if report.failed:
        raise NotReplayed(report.reason)
