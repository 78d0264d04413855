"""The job that trains stage 1 of the recommender and loads its candidates, or leaves the last good ones and says why.

Reads by BigQuery's Storage API, learns in this process (agents.recommender.training), writes by load jobs; or BigQuery does all
of it (agents.recommender.bigquery_ml), as the topology's candidates_backend says. Every run leaves a row in model_runs, the
refused ones too.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import msgspec

from agents.recommender.bigquery_ml import train_in_warehouse
from agents.recommender.training.reading import CatalogueEntry, add_catalogue, read_events
from agents.recommender.training.run import train
from agents.tools.warehouse import Parameter, Warehouse, bigquery
from agents.tools.whole_tables import WholeTables, whole_tables
from schemas import topology
from schemas.rows import ModelRun
from schemas.topology import CandidatesBackend
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


class BackendRefused(Exception):
    """BigQuery does not train the model; the candidates stay as they are."""


def run() -> None:
    """Train once."""
    try:
        done = train_candidates(
            bigquery(), whole_tables(), datetime.now(UTC), backend=topology.load().candidates_backend
        )
    except (NothingToLearn, BadRun, BackendRefused) as reason:
        raise SystemExit(f"train_candidates: {reason}") from reason
    log.info("train_candidates: %d candidates for %d people in %.1f s", done.candidates, done.people, done.seconds)


def train_candidates(
    warehouse: Warehouse,
    tables: WholeTables,
    now: datetime,
    backend: CandidatesBackend = CandidatesBackend.IMPLICIT,
) -> ModelRun:
    """Add one version of candidates and the record of its run.

    Raises:
        NothingToLearn: no order has been completed yet.
        BadRun: a check failed (agents.recommender.gates); the record is kept, the candidates are not.
        BackendRefused: BigQuery ML is asked for and refuses.
    """
    rows = warehouse.query(ORDERS)
    if not rows or not rows[0]["orders"]:
        raise NothingToLearn("argo.interactions has no order_completed event; send some through collect first")
    version: dict[str, Parameter] = {"version": now.isoformat(), "trained_at": now}
    warehouse.execute(FORGET, {"trained_at": now})
    warehouse.execute(GATHER + model("touches").query, version)
    last = warehouse.query(LAST_COUNT)
    last_count = int(last[0]["last_count"]) if last else 0
    if backend is CandidatesBackend.BIGQUERY_ML:
        done = _train_in_warehouse(warehouse, now, last_count)
    else:
        done = _train_here(warehouse, tables, now, last_count)
    tables.load_rows("model_runs", [done])
    if not done.accepted:
        raise BadRun(f"{done.reason}; the last good candidates stay (argo.model_runs, version {now.isoformat()})")
    return done


def _train_here(warehouse: Warehouse, tables: WholeTables, now: datetime, last_count: int) -> ModelRun:
    events = read_events(tables.read_table("touches", f"version = '{now.isoformat()}'"))
    catalogue = msgspec.convert(warehouse.query(CATALOGUE.format(limit=MOST_PRODUCTS)), list[CatalogueEntry])
    outcome = train(add_catalogue(events, catalogue), now, last_count)
    if outcome.run.accepted:
        tables.load_rows("candidates", outcome.candidates)
    return outcome.run


def _train_in_warehouse(warehouse: Warehouse, now: datetime, last_count: int) -> ModelRun:
    from google.api_core.exceptions import ClientError

    try:
        return train_in_warehouse(warehouse, now, last_count)
    except ClientError as error:
        raise BackendRefused(
            f"BigQuery ML does not train: {error.message}; matrix factorisation needs a reservation in the project: buy slots, "
            "or set candidates_backend: implicit in schemas/topology.yaml"
        ) from error
