"""Job: actions that waited for an hour or for a person, and are due, go to their topic again."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from agents.acting.waiting import release_due
from agents.tools.bus import pubsub
from agents.tools.outbox import firestore_outbox

log = logging.getLogger(__name__)


def run() -> None:
    """Release what is due."""
    count = release_due(firestore_outbox(), pubsub(), datetime.now(UTC))
    log.info("released %d actions that were due", count)
