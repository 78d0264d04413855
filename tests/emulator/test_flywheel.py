"""Information goes round once on real stores: warehouse -> relations -> graph -> features -> warehouse."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import uuid4

import pytest
from google.cloud import bigquery

from emulators.cloud import LaptopCloud
from tests.emulator.cloud import cloud
from tests.emulator.test_recommender import graph, insert, run_job, warehouse

__all__ = ["cloud", "graph", "warehouse"]

RUN = uuid4().hex[:8]
CUP, SAUCER, HAT = (f"{RUN}-{name}" for name in ("cup", "saucer", "hat"))
RELATED: LiteralString = """
MATCH (from:Product {productId: $run})-[relation:BOUGHT_WITH]->(to:Product)
RETURN to.productId AS id
"""


def make_order(number: int, kind: str, products: list[str]) -> dict[str, Any]:
    now = datetime.now(UTC)
    return {
        "event_id": f"{RUN}-{kind}{number}",
        "event_type": kind,
        "event_timestamp": (now - timedelta(days=1)).isoformat(),
        "received_at": now.isoformat(),
        "source": "test",
        "user_id": f"{RUN}-person{number:02}",
        "order_id": f"{RUN}-order{number}",
        "products": [{"product_id": product} for product in products],
    }


@pytest.fixture(scope="module")
def orders(cloud: LaptopCloud, warehouse: bigquery.Client) -> None:
    """Twenty people bought cup and saucer together, twenty others a hat."""
    insert(warehouse, [make_order(n, "order_completed", [CUP, SAUCER] if n < 20 else [HAT]) for n in range(40)])
    for job in ("sync_graph", "find_relations", "sync_graph", "graph_features"):
        run_job(cloud, job)


def find_related(cloud: LaptopCloud, graph: Any, product: str) -> list[str]:
    found = graph.execute_query(RELATED, {"run": product}, database_=cloud.env["NEO4J_DATABASE"])
    return [record["id"] for record in found.records]


@pytest.mark.usefixtures("orders")
def test_features_come_back_to_the_warehouse(cloud: LaptopCloud, graph: Any, warehouse: bigquery.Client) -> None:
    """Prevents: four jobs that each run, and a loop that is open somewhere."""
    assert find_related(cloud, graph, CUP) == [SAUCER]
    assert find_related(cloud, graph, SAUCER) == [CUP]
    sql = f"SELECT product_id, cluster, cluster_size FROM argo.current_product_features WHERE product_id LIKE '{RUN}%'"
    found = {row["product_id"]: row for row in warehouse.query(sql).result()}
    assert found[CUP]["cluster"] == found[SAUCER]["cluster"] != found[HAT]["cluster"]
    assert [found[name]["cluster_size"] for name in (CUP, SAUCER, HAT)] == [2, 2, 1]
    sql = f"SELECT user_id, cluster, cluster_share FROM argo.current_user_features WHERE user_id LIKE '{RUN}%'"
    people = {row["user_id"]: row for row in warehouse.query(sql).result()}
    assert len(people) == 40
    assert (people[f"{RUN}-person00"]["cluster"], people[f"{RUN}-person00"]["cluster_share"]) == (
        found[CUP]["cluster"],
        1,
    )


@pytest.mark.usefixtures("orders")
def test_a_relation_that_is_no_longer_significant_leaves_the_graph(
    cloud: LaptopCloud, graph: Any, warehouse: bigquery.Client
) -> None:
    """Prevents: paths over orders that were all cancelled; a second sync that changes anything."""
    run_job(cloud, "sync_graph")
    assert find_related(cloud, graph, CUP) == [SAUCER]
    insert(warehouse, [make_order(number, "order_cancelled", []) for number in range(20)])
    run_job(cloud, "find_relations")
    assert find_related(cloud, graph, CUP) == [SAUCER]
    run_job(cloud, "sync_graph")
    assert find_related(cloud, graph, CUP) == []
