"""Stage 2: how a person's latest products lead to others, from the graph, as facts that a person can read.

Owns the two questions and what counts how much: relations that are significant (job find_relations), and, where these lead to
too little, walks over shared visits. The formula over relations is the contract in training/walks.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agents.recommender.items import ARROW, Link, ProductName, Relation, Touch
from agents.recommender.learned import FADE, RECENT_PRODUCTS, UNLEARNED, VISITS, Weights
from agents.tools.graph import Graph
from schemas.graph import RelationKind, statement
from schemas.rows import OUTCOME_TYPES

__all__ = ["ARROW", "KindWeight", "PathWeights", "Relevance", "find_paths", "find_recent", "weigh_kinds"]

FOUND_LIMIT = 100
LINKS = 3  # that say why, of each product
FEW_FOUND = 5  # what an answer needs; with fewer, visits are walked too
WALKED_PRODUCTS = 3  # newest first: walks take longer than relations
WALKED_EVENTS = 15  # of each; 10 to 40 rank as well as each other (Online Retail); the time grows with it
WALKED_LIMIT = 20
SCANNED_EVENTS = 200
SCANNED_ROWS = 1_000  # a visit of a robot may have thousands
WALK_WEIGHT = 0.1  # the longer path: what is significant comes first
# Neither wanted nor the person's own doing.
IGNORED_TYPES = ["order_cancelled", "product_removed", *OUTCOME_TYPES]
_TOUCHES: Mapping[str, Touch] = {
    "order_completed": Touch.ORDERED,
    "product_added": Touch.ADDED,
    "product_viewed": Touch.VIEWED,
}
_RELATIONS: Mapping[RelationKind, Relation] = {
    RelationKind.BOUGHT_WITH: Relation.BOUGHT,
    RelationKind.VIEWED_WITH: Relation.VIEWED,
    RelationKind.THEN: Relation.THEN,
}
_NOTHING = {kind.name: 0.0 for kind in RelationKind}


class KindWeight(msgspec.Struct, frozen=True, kw_only=True):
    """How much relations of a kind count, and how much less with every product that was touched after their start."""

    weight: float
    decay: float


PathWeights = Mapping[RelationKind, KindWeight]


class _Link(msgspec.Struct, frozen=True, rename="camel"):
    from_id: str
    from_name: str
    kind: str
    count: int


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    product_id: str
    name: str
    score: float
    links: list[_Link]
    parts: dict[str, float] = {}


class _Recent(msgspec.Struct, frozen=True, rename="camel"):
    product_id: str
    name: str
    type: str = ""


class Relevance(msgspec.Struct, frozen=True, kw_only=True):
    """How near a product is, its name in the graph, and up to three links that say why, strongest first.

    `parts` says how much of the score each kind of path brought: relations by RelationKind, else VISITS or ALIKE (learned.py).
    """

    score: float
    name: str
    links: list[Link]
    parts: Mapping[str, float] = {}


def weigh_kinds(weights: Weights) -> PathWeights:
    """How much relations of each kind count in the graph, by what the last good run learned."""
    return {kind: KindWeight(weight=weights.walk(kind), decay=FADE) for kind in RelationKind}


UNLEARNED_KINDS = weigh_kinds(UNLEARNED)


def find_paths(
    graph: Graph, recent: Sequence[ProductName], weights: PathWeights = UNLEARNED_KINDS
) -> dict[str, Relevance]:
    """The relevance of what these products (newest first) lead to, by product id, the nearest first.

    Raises:
        agents.tools.graph.GraphUnavailable: no graph.
    """
    starts = recent[:RECENT_PRODUCTS]
    own = {"recentIds": [start.product_id for start in starts]}
    asked: dict[str, Any] = {
        **own,
        "recent": [_weigh(start.product_id, place, weights) for place, start in enumerate(starts)],
        "limit": FOUND_LIMIT,
    }
    found = _ask(graph, "relevance_paths", asked)
    if len(found) < FEW_FOUND:
        found = {**found, **{key: one for key, one in _walk(graph, starts, own).items() if key not in found}}
    return found


def find_recent(graph: Graph, user_id: str) -> list[ProductName]:
    """The person's latest products, newest first. Raises as `find_paths` does."""
    parameters = {"userId": user_id, "limit": RECENT_PRODUCTS, "ignoredTypes": IGNORED_TYPES}
    found = msgspec.convert(graph.read(statement("recent_products"), parameters), list[_Recent])
    return [
        ProductName(product_id=one.product_id, name=one.name, touch=_TOUCHES.get(one.type, Touch.TOUCHED))
        for one in found
    ]


def _walk(graph: Graph, starts: Sequence[ProductName], own: dict[str, list[str]]) -> dict[str, Relevance]:
    asked: dict[str, Any] = {
        **own,
        "recent": [
            {"productId": start.product_id, "weight": WALK_WEIGHT * FADE**place}
            for place, start in enumerate(starts[:WALKED_PRODUCTS])
        ],
        "ignoredTypes": IGNORED_TYPES,
        "eventLimit": WALKED_EVENTS,
        "scanLimit": SCANNED_EVENTS,
        "rowLimit": SCANNED_ROWS,
        "limit": WALKED_LIMIT,
    }
    return _ask(graph, "shared_visits", asked)


def _weigh(product_id: str, place: int, weights: PathWeights) -> dict[str, Any]:
    counted = {kind.name: one.weight * one.decay**place for kind, one in weights.items()}
    return {"productId": product_id, "weights": {**_NOTHING, **counted}}


def _ask(graph: Graph, name: str, asked: dict[str, Any]) -> dict[str, Relevance]:
    answers = msgspec.convert(graph.read(statement(name), asked), list[_Answer])
    return {answer.product_id: _read_answer(answer) for answer in answers}


def _read_answer(answer: _Answer) -> Relevance:
    return Relevance(
        score=answer.score,
        name=answer.name,
        links=[_make_link(link) for link in answer.links],
        parts={RelationKind[kind].value: part for kind, part in answer.parts.items() if part} or {VISITS: answer.score},
    )


def _make_link(link: _Link) -> Link:
    relation = _RELATIONS[RelationKind[link.kind]]
    return Link(relation=relation, count=link.count, from_id=link.from_id, from_name=link.from_name)
