"""From the graph back to the warehouse: reads the graph page by page, has features computed, loads them as one version.

What features are is agents.recommender.features'; that they are used is schemas/bigquery/models/touches.sql's.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from agents.recommender.features import Edge, Run, Touch, describe_products, describe_users
from agents.recommender.paths import IGNORED_TYPES
from agents.tools.graph import Graph, Record
from agents.tools.whole_tables import WholeTables
from schemas.graph import statement

PAGE_NODES = 500  # products or people of one read; a read may take 10 s


class NothingInGraph(Exception):
    """The graph has no product; the features stay as they are."""


def write_features(graph: Graph, tables: WholeTables, now: datetime) -> tuple[int, int]:
    """Add one version of product_features and user_features; how many of each.

    People first: whoever sees the new products of a run sees its people. Each table is one load, complete or absent.

    Raises:
        NothingInGraph: there is no product; nothing is written.
        agents.tools.graph.GraphUnavailable: no graph.
        google.api_core.exceptions.GoogleAPICallError: the warehouse refuses, or does not answer.
    """
    run = Run(now.isoformat(), now)
    edges = msgspec.convert(list(_read_pages(graph, "page_relations", "productId")), list[Edge])
    if not edges:
        raise NothingInGraph("the graph has no product; run the job sync_graph first")
    products = describe_products(edges, run)
    touches = (msgspec.convert(row, Touch) for row in _read_pages(graph, "page_touches", "userId"))
    users = describe_users(touches, {product.product_id: product.cluster for product in products}, run)
    if users:
        tables.load_rows("user_features", users)
    tables.load_rows("product_features", products)
    return len(products), len(users)


def _read_pages(graph: Graph, name: str, key: str) -> Iterator[Record]:
    """The rows of a statement that gives those of the next nodes by `key`, until there are none."""
    after = ""
    while True:
        asked: dict[str, Any] = {"after": after, "limit": PAGE_NODES, "ignoredTypes": IGNORED_TYPES}
        rows = graph.read(statement(name), asked)
        if not rows:
            return
        for row in rows:
            first_at: Any = row.get("firstAt")
            # The driver has times of its own.
            yield {**row, "firstAt": first_at.to_native()} if hasattr(first_at, "to_native") else row
        after = max(row[key] for row in rows)
