"""What stage 2 asks of the graph; that the graph answers by the contract, tests/emulator/test_paths.py proves."""

from __future__ import annotations

import pytest

from agents.recommender.items import ProductName
from agents.recommender.paths import FEW_FOUND, RECENT_PRODUCTS, KindWeight, find_paths
from agents.tools.graph import FakeGraph, Record
from schemas.graph import RelationKind

RECENT = [ProductName(product_id=f"r{place}", name="") for place in range(RECENT_PRODUCTS + 5)]


def make_answers(*product_ids: str, score: float = 0.5) -> list[Record]:
    link = {"fromId": "r0", "fromName": "R", "kind": "THEN", "count": 4}
    return [{"productId": one, "name": one, "score": score, "links": [link]} for one in product_ids]


def test_each_kind_has_its_weight_and_its_decay() -> None:
    """Prevents: a sequence that counts as much for what was touched last year as for what was touched last."""
    graph = FakeGraph()
    weights = {RelationKind.THEN: KindWeight(weight=0.5, decay=0.5)}
    find_paths(graph, RECENT, weights)
    recent = graph.asked[0][1]["recent"]
    assert [start["productId"] for start in recent] == [one.product_id for one in RECENT[:RECENT_PRODUCTS]]
    assert [start["weights"]["THEN"] for start in recent[:3]] == [0.5, 0.25, 0.125]
    assert recent[0]["weights"]["BOUGHT_WITH"] == 0


@pytest.mark.parametrize(("found", "asked"), [(0, 2), (FEW_FOUND - 1, 2), (FEW_FOUND, 1)])
def test_visits_are_walked_only_where_relations_lead_to_too_little(found: int, asked: int) -> None:
    """Prevents: a young shop without paths, and an old one that walks for every answer."""
    related = make_answers(*(f"p{place}" for place in range(found)))
    graph = FakeGraph({"relation.score": related, "second": make_answers("p0", "walked", score=0.9)})
    paths = find_paths(graph, RECENT)
    assert len(graph.asked) == asked
    assert ("walked" in paths) == (asked == 2)
    if found:
        assert paths["p0"].score == 0.5, "what is significant stays as it is"
