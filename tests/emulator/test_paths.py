"""Stage 2's Cypher on a real graph against the contract in agents/recommender/training/walks.py."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import numpy as np
import pytest
from neo4j import GraphDatabase
from scipy.sparse import csr_matrix

from agents.recommender.items import ProductName
from agents.recommender.learned import RECENT_PRODUCTS
from agents.recommender.paths import FOUND_LIMIT, KindWeight, find_paths
from agents.recommender.training.collecting import Touch, collect_events
from agents.recommender.training.events import Events, Floats
from agents.recommender.training.neighbours import LinearModel
from agents.recommender.training.walks import find_recent
from emulators.cloud import LaptopCloud
from schemas.graph import RelationKind, relation_statement, statement
from tests.benchmarks.driver_graph import DriverGraph
from tests.emulator.cloud import cloud

__all__ = ["cloud"]

RUN = uuid4().hex[:8]
PRODUCTS, PEOPLE = 60, 8
WEIGHTS = {
    RelationKind.BOUGHT_WITH: KindWeight(weight=0.7, decay=0.85),
    RelationKind.VIEWED_WITH: KindWeight(weight=0.2, decay=0.95),
    RelationKind.THEN: KindWeight(weight=0.4, decay=0.5),
}


@pytest.fixture(scope="module")
def graph(cloud: LaptopCloud) -> Generator[DriverGraph]:
    login = (cloud.env["NEO4J_USERNAME"], cloud.env["NEO4J_PASSWORD"])
    with GraphDatabase.driver(cloud.env["NEO4J_URI"], auth=login, notifications_min_severity="OFF") as driver:
        yield DriverGraph(driver, cloud.env["NEO4J_DATABASE"])


def name(number: int) -> str:
    return f"{RUN}-p{number:02}"


def touch_shop(draw: np.random.Generator) -> Events:
    """Every product once by somebody, and each person's thirty touches, many of them twice."""
    touches = [Touch("everybody", name(item), 2, float(item)) for item in range(PRODUCTS)]
    for person in range(PEOPLE):
        for place, item in enumerate(draw.integers(0, PRODUCTS, 30).tolist()):
            touches.append(Touch(f"person{person}", name(item), 0, 1000.0 + place))
    return collect_events(touches)


def merge_random(graph: DriverGraph, draw: np.random.Generator) -> dict[RelationKind, Floats]:
    """Random relations of each kind, in the graph and as matrices."""
    matrices: dict[RelationKind, Floats] = {}
    for kind in RelationKind:
        found = np.where(draw.random((PRODUCTS, PRODUCTS)) < 0.15, draw.random((PRODUCTS, PRODUCTS)), 0)
        np.fill_diagonal(found, 0)
        matrices[kind] = found.astype(np.float32)
        rows = [
            {"fromId": name(i), "toId": name(j), "score": float(found[i, j]), "support": i + j, "version": RUN}
            for i, j in zip(*found.nonzero(), strict=True)
        ]
        graph.write(relation_statement("merge_relations", kind), {"relations": rows})
    return matrices


def test_the_cypher_scores_and_orders_as_the_contract_does(graph: DriverGraph) -> None:
    """Prevents: a graph that ranks by another formula than the one that was evaluated and whose weights were learned."""
    draw = np.random.default_rng(20)
    events = touch_shop(draw)
    assert list(events.item_ids) == [name(number) for number in range(PRODUCTS)]
    matrices = merge_random(graph, draw)
    users = np.arange(events.shape[0], dtype=np.int32)
    expected = np.zeros(events.shape)
    for kind, weight in WEIGHTS.items():
        recent = find_recent(events, RECENT_PRODUCTS, weight.decay)
        expected += weight.weight * LinearModel(recent, csr_matrix(matrices[kind])).score(users)
    plain = find_recent(events, RECENT_PRODUCTS, 0.5).toarray()
    for user in users.tolist():
        latest = [int(item) for item in np.argsort(-plain[user], kind="stable")[:RECENT_PRODUCTS]]
        expected[user, latest] = 0
        starts = [ProductName(product_id=name(item), name="") for item in latest]
        found = find_paths(graph, starts, WEIGHTS)
        best = [int(item) for item in np.argsort(-expected[user], kind="stable") if expected[user, item] > 0]
        assert list(found) == [name(item) for item in best]
        assert [one.score for one in found.values()] == pytest.approx(expected[user, best].tolist(), rel=1e-4)
        assert [sum(one.parts.values()) for one in found.values()] == pytest.approx(
            expected[user, best].tolist(), rel=1e-4
        )


def test_each_score_comes_with_its_strongest_paths(graph: DriverGraph) -> None:
    """Prevents: a score that nobody can explain, or explained by what counted least."""
    middle, *ends = (f"{RUN}-{letter}" for letter in "mabcd")
    for place, kind in enumerate((RelationKind.THEN, RelationKind.BOUGHT_WITH)):
        rows = [
            {"fromId": end, "toId": middle, "score": 0.1 * number + 0.05 * place, "support": number, "version": RUN}
            for number, end in enumerate(ends, start=1)
        ]
        graph.write(relation_statement("merge_relations", kind), {"relations": rows})
    weights = {kind: KindWeight(weight=1.0, decay=1.0) for kind in RelationKind}
    found = find_paths(graph, [ProductName(product_id=end, name="") for end in ends], weights)
    links = found[middle].links
    assert [(link.from_id, link.relation.value, link.count) for link in links] == [
        (ends[3], "bought", 4),
        (ends[3], "then", 4),
        (ends[2], "bought", 3),
    ]


def test_a_hub_is_bounded(graph: DriverGraph) -> None:
    """Prevents: an answer that grows with the graph."""
    hub = f"{RUN}-hub"
    rows = [
        {"fromId": hub, "toId": f"{RUN}-spoke{number}", "score": 0.5, "support": 3, "version": RUN}
        for number in range(FOUND_LIMIT + 20)
    ]
    graph.write(relation_statement("merge_relations", RelationKind.BOUGHT_WITH), {"relations": rows})
    assert len(find_paths(graph, [ProductName(product_id=hub, name="")])) == FOUND_LIMIT


def test_a_young_shop_walks_over_shared_visits(graph: DriverGraph) -> None:
    """Prevents: a shop without a path until three people have bought the same two things."""
    cup, saucer, hat = (f"{RUN}-{one}" for one in ("cup", "saucer", "hat"))
    orders = [[cup, saucer], [cup, saucer, hat], [hat]]
    graph.write(
        statement("merge_events"),
        {
            "events": [
                {
                    "key": f"{RUN}-{number}",
                    "eventId": f"{RUN}-{number}",
                    "type": "order_completed",
                    "at": datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number),
                    "userId": f"{RUN}-u{number}",
                    "sessionId": f"{RUN}-s{number}",
                    "productIds": products,
                }
                for number, products in enumerate(orders)
            ]
        },
    )
    found = find_paths(graph, [ProductName(product_id=cup, name="")])
    assert list(found) == [saucer, hat]
    assert [link.describe("saucer") for link in found[saucer].links] == [
        f"{cup} → bought together in 2 orders → saucer"
    ]
    related = [{"fromId": cup, "toId": hat, "score": 0.1, "support": 3, "version": RUN}]
    graph.write(relation_statement("merge_relations", RelationKind.BOUGHT_WITH), {"relations": related})
    assert list(find_paths(graph, [ProductName(product_id=cup, name="")])) == [hat, saucer], "what is significant first"
