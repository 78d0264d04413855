"""The job that brings the pairs of products that go together from the warehouse into the graph.

Owns the batches and that pairs of earlier runs go. Which pairs there are, `schemas/bigquery/models/product_pairs.sql` says.
Everything merges; a run that is killed leaves pairs of two versions, all true when they were written, until the next one.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from agents.tools.graph import Graph, neo4j
from agents.tools.warehouse import Warehouse, bigquery
from schemas.graph import statement
from schemas.warehouse import model

BATCH_PAIRS = 2_000
DROP_PAIRS = 5_000

log = logging.getLogger(__name__)


def run() -> None:
    """Bring over every pair."""
    started = time.monotonic()
    count, dropped = relate(bigquery(), neo4j(), datetime.now(UTC).isoformat())
    log.info("relate_products: %d pairs, %d dropped in %.1f s", count, dropped, time.monotonic() - started)


def relate(warehouse: Warehouse, graph: Graph, version: str) -> tuple[int, int]:
    """Merge the warehouse's pairs as this version and drop every other; how many of each.

    Without a pair nothing is dropped: an empty answer is more often a warehouse that is being filled than a shop that forgot.
    """
    pairs = [
        {
            "fromId": row["from_id"],
            "productId": row["product_id"],
            "visits": row["visits"],
            "orders": row["orders"],
            "strength": row["strength"],
        }
        for row in warehouse.query(model("product_pairs").query)
    ]
    for start in range(0, len(pairs), BATCH_PAIRS):
        graph.write(statement("merge_pairs"), {"pairs": pairs[start : start + BATCH_PAIRS], "version": version})
    dropped = 0
    while pairs:
        rows = graph.write(statement("drop_pairs"), {"version": version, "limit": DROP_PAIRS})
        found = rows[0]["dropped"] if rows else 0
        dropped += found
        if found < DROP_PAIRS:
            break
    return len(pairs), dropped
