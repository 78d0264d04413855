"""The job that trains stage 1 of the recommender: one statement, so that a bad run adds nothing."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from agents.tools.warehouse import Warehouse, bigquery
from schemas.warehouse import model

ORDERS = "SELECT COUNT(*) AS orders FROM argo.interactions WHERE event_type = 'order_completed'"
INSERT = "INSERT INTO argo.candidates (user_id, product_id, rank, score, version, trained_at)\n"

log = logging.getLogger(__name__)


class NothingToLearn(Exception):
    """There is no order to learn from; the candidates stay as they are."""


def run() -> None:
    """Train once."""
    started = time.monotonic()
    try:
        count = train(bigquery(), datetime.now(UTC))
    except NothingToLearn as reason:
        raise SystemExit(f"train_candidates: {reason}") from reason
    log.info("train_candidates: %d candidates in %.1f s", count, time.monotonic() - started)


def train(warehouse: Warehouse, now: datetime) -> int:
    """Add one version of candidates; how many.

    Raises:
        NothingToLearn: no order has been completed yet.
    """
    rows = warehouse.query(ORDERS)
    if not rows or not rows[0]["orders"]:
        raise NothingToLearn("argo.interactions has no order_completed event; send some through collect first")
    return warehouse.execute(INSERT + model("candidates").query, {"version": now.isoformat(), "trained_at": now})
