"""The job that has the orchestrator look at every open task: it finishes what was orphaned, and restarts the clock."""

from __future__ import annotations

import logging

from agents.swarm.clock import send_sweep
from agents.tools.bus import pubsub

log = logging.getLogger(__name__)


def run() -> None:
    """Ask once; the orchestrator does the looking."""
    send_sweep(pubsub())
    log.info("sweep_tasks: asked")
