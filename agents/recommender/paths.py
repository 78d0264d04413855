"""Stage 2: how a person's latest products lead to others, from the graph, as facts that a person can read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from agents.recommender.items import ARROW, Link, ProductName, Relation, Touch
from agents.tools.graph import Graph
from schemas.graph import statement
from schemas.rows import OUTCOME_TYPES

__all__ = ["ARROW", "Relevance", "find_paths", "find_recent"]

RECENT_PRODUCTS = 10
EVENTS_PER_PRODUCT = 15  # 10 to 40 rank as well as each other (Online Retail); the time grows with it
EVENTS_PER_VISIT = 20  # a visit of a robot may have thousands
FADE = 0.9  # a product counts this much less than the one touched after it
# Neither wanted nor the person's own doing.
IGNORED_TYPES = ["order_cancelled", "product_removed", *OUTCOME_TYPES]
_TOUCHES: Mapping[str, Touch] = {
    "order_completed": Touch.ORDERED,
    "product_added": Touch.ADDED,
    "product_viewed": Touch.VIEWED,
}


class _Link(msgspec.Struct, frozen=True, rename="camel"):
    from_id: str
    from_name: str
    together: int
    orders: int


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    product_id: str
    name: str
    score: float
    links: list[_Link]


class _Recent(msgspec.Struct, frozen=True, rename="camel"):
    product_id: str
    name: str
    type: str = ""


class Relevance(msgspec.Struct, frozen=True, kw_only=True):
    """How near a product is, its name in the graph, and up to three links that say why, strongest first."""

    score: float
    name: str
    links: list[Link]


def find_paths(graph: Graph, recent: Sequence[ProductName]) -> dict[str, Relevance]:
    """The relevance of what these products (newest first) lead to, by product id.

    Raises:
        agents.tools.graph.GraphUnavailable: no graph.
    """
    starts = recent[:RECENT_PRODUCTS]
    parameters: dict[str, Any] = {
        "recent": [{"productId": start.product_id, "weight": FADE**place} for place, start in enumerate(starts)],
        "recentIds": [start.product_id for start in starts],
        "eventLimit": EVENTS_PER_PRODUCT,
        "visitLimit": EVENTS_PER_VISIT,
        "ignoredTypes": IGNORED_TYPES,
    }
    answers = msgspec.convert(graph.read(statement("relevance_paths"), parameters), list[_Answer])
    return {
        answer.product_id: Relevance(
            score=answer.score, name=answer.name, links=[_make_link(link) for link in answer.links]
        )
        for answer in answers
    }


def find_recent(graph: Graph, user_id: str) -> list[ProductName]:
    """The person's latest products, newest first. Raises as `find_paths` does."""
    parameters = {"userId": user_id, "limit": RECENT_PRODUCTS, "ignoredTypes": IGNORED_TYPES}
    found = msgspec.convert(graph.read(statement("recent_products"), parameters), list[_Recent])
    return [
        ProductName(product_id=one.product_id, name=one.name, touch=_TOUCHES.get(one.type, Touch.TOUCHED))
        for one in found
    ]


def _make_link(link: _Link) -> Link:
    relation, count = (Relation.BOUGHT, link.orders) if link.orders else (Relation.VIEWED, link.together)
    return Link(relation=relation, count=count, from_id=link.from_id, from_name=link.from_name)
