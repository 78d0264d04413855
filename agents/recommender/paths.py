"""Stage 2: how a person's latest products lead to a candidate, from the graph, as facts that a person can read."""

from __future__ import annotations

from typing import Any

import msgspec

from agents.recommender.items import ProductName
from agents.tools.graph import Graph
from schemas.graph import statement
from schemas.rows import OUTCOME_TYPES

RECENT_PRODUCTS = 10
EVENTS_PER_PRODUCT = 15  # 10 to 40 rank as well as each other (Online Retail); the time grows with it
# Neither wanted nor the person's own doing.
IGNORED_TYPES = ["order_cancelled", "product_removed", *OUTCOME_TYPES]
ARROW = " → "


class _Link(msgspec.Struct, frozen=True, rename="camel"):
    from_name: str
    together: int
    orders: int


class _Answer(msgspec.Struct, frozen=True, rename="camel"):
    product_id: str
    name: str
    score: float
    links: list[_Link]


class Relevance(msgspec.Struct, frozen=True, kw_only=True):
    """How near a candidate is, and up to three paths that say why, strongest first."""

    score: float
    paths: list[str]


def find_paths(graph: Graph, user_id: str, candidate_ids: list[str]) -> dict[str, Relevance]:
    """The relevance of the candidates that the person's latest products lead to, by product id.

    Raises:
        agents.tools.graph.GraphUnavailable: no graph.
    """
    parameters: dict[str, Any] = {
        "userId": user_id,
        "candidateIds": candidate_ids,
        "recentLimit": RECENT_PRODUCTS,
        "eventLimit": EVENTS_PER_PRODUCT,
        "ignoredTypes": IGNORED_TYPES,
    }
    answers = msgspec.convert(graph.read(statement("relevance_paths"), parameters), list[_Answer])
    return {
        answer.product_id: Relevance(score=answer.score, paths=[_describe(link, answer.name) for link in answer.links])
        for answer in answers
    }


def find_recent(graph: Graph, user_id: str) -> list[ProductName]:
    """The person's latest products, newest first. Raises as `find_paths` does."""
    parameters = {"userId": user_id, "limit": RECENT_PRODUCTS, "ignoredTypes": IGNORED_TYPES}
    return msgspec.convert(graph.read(statement("recent_products"), parameters), list[ProductName])


def _describe(link: _Link, name: str) -> str:
    """Such as: PARTY BUNTING → bought together in 14 orders → JUMBO BAG RED RETROSPOT."""
    how = f"bought together in {_count(link.orders, 'order')}"
    if not link.orders:
        how = f"looked at together in {_count(link.together, 'visit')}"
    return ARROW.join((link.from_name, how, name))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
