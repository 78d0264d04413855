"""The job that trains stage 1 of the recommender and loads its candidates, or leaves the last good ones and says why.

Reads by BigQuery's Storage API, learns in this process (agents.recommender.training), writes by load jobs. Every run leaves a
row in model_runs, the refused ones too.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

from agents.recommender.training.reading import CatalogueEntry, add_catalogue, read_events
from agents.recommender.training.run import train
from agents.tools.warehouse import Parameter, Warehouse, bigquery
from agents.tools.whole_tables import WholeTables, whole_tables
from schemas.rows import ModelRun
from schemas.warehouse import model

ORDERS = "SELECT COUNT(*) AS orders FROM argo.interactions WHERE event_type = 'order_completed'"
FORGET = "DELETE FROM argo.touches WHERE trained_at < TIMESTAMP_SUB(@trained_at, INTERVAL 1 DAY)"
GATHER = "INSERT INTO argo.touches (version, trained_at, user_id, product_id, kind, touched_at, quantity, session_id, category)\n"
# Products that events do not know are in the order in which the shop told of them: the newest may be new to everybody.
CATALOGUE = """
SELECT product_id, name, category, brand, in_stock
FROM argo.product_catalog
ORDER BY last_seen_at IS NULL DESC, updated_at DESC, product_id
LIMIT {limit}
"""
MOST_PRODUCTS = 100_000
LAST_COUNT = "SELECT candidates AS last_count FROM argo.model_runs WHERE accepted ORDER BY trained_at DESC LIMIT 1"

log = logging.getLogger(__name__)


class NothingToLearn(Exception):
    """There is no order to learn from; the candidates stay as they are."""


class BadRun(Exception):
    """The new candidates failed a check; the last good ones stay."""


def run() -> None:
    """Train once."""
    try:
        done = train_candidates(bigquery(), whole_tables(), datetime.now(UTC))
    except (NothingToLearn, BadRun) as reason:
        raise SystemExit(f"train_candidates: {reason}") from reason
    log.info("train_candidates: %d candidates for %d people in %.1f s", done.candidates, done.people, done.seconds)


def train_candidates(warehouse: Warehouse, tables: WholeTables, now: datetime) -> ModelRun:
    """Add one version of candidates and the record of its run.

    Raises:
        NothingToLearn: no order has been completed yet.
        BadRun: a check failed (agents.recommender.training.run.find_fault); the record is kept, the candidates are not.
    """
    rows = warehouse.query(ORDERS)
    if not rows or not rows[0]["orders"]:
        raise NothingToLearn("argo.interactions has no order_completed event; send some through collect first")
    version: dict[str, Parameter] = {"version": now.isoformat(), "trained_at": now}
    warehouse.execute(FORGET, {"trained_at": now})
    warehouse.execute(GATHER + model("touches").query, version)
    events = read_events(tables.read_table("touches", f"version = '{now.isoformat()}'"))
    catalogue = msgspec.convert(warehouse.query(CATALOGUE.format(limit=MOST_PRODUCTS)), list[CatalogueEntry])
    events = add_catalogue(events, catalogue)
    last = warehouse.query(LAST_COUNT)
    outcome = train(events, now, int(last[0]["last_count"]) if last else 0)
    if outcome.run.accepted:
        tables.load_rows("candidates", outcome.candidates)
    tables.load_rows("model_runs", [outcome.run])
    if not outcome.run.accepted:
        raise BadRun(
            f"{outcome.run.reason}; the last good candidates stay (argo.model_runs, version {now.isoformat()})"
        )
    return outcome.run
