"""The recommender as its callers know it: a person in, one choice out, with its reason and what it rests on.

Owns the order of the three stages and what happens when one is missing: without a model the template chooses, without
a graph stage 1 decides, without history popularity does. Only without a warehouse is there no answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from agents.recommender.candidates import Candidate, read_candidates
from agents.recommender.items import Choice, Context, Item, ProductName
from agents.recommender.paths import Relevance, find_paths, find_recent
from agents.recommender.ranking import rank_items
from agents.recommender.selection import select_item
from agents.tools.graph import Graph, GraphUnavailable
from agents.tools.models import ModelGateway
from agents.tools.warehouse import Warehouse

__all__ = ["Choice", "Context", "Item", "NothingToRecommend", "Ports", "ProductName", "recommend"]

MODEL_ITEMS = 5  # what the model chooses among

log = logging.getLogger(__name__)


class NothingToRecommend(LookupError):
    """The warehouse knows no product that could be recommended to this person."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the recommender asks."""

    warehouse: Warehouse
    graph: Graph
    models: ModelGateway
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def recommend(user_id: str, context: Context, ports: Ports) -> Choice:
    """What to recommend to a person now, and why; `context.limit` items of which the first five are the model's.

    Raises:
        NothingToRecommend: there is no product that the person has not bought or lately touched.
        google.api_core.exceptions.GoogleAPICallError: the warehouse does not answer; try again.
    """
    recent = _find_recent(ports.graph, user_id)
    candidates = read_candidates(ports.warehouse, user_id, [*context.recent_products, *recent])
    if not candidates:
        raise NothingToRecommend(f"no product is known that could be recommended to {user_id}")
    relevance: dict[str, Relevance] = {}
    if recent:  # without, there is no path to find, or nobody to ask
        relevance = _find_paths(ports.graph, user_id, candidates)
    if recent and not context.recent_products:
        context = msgspec.structs.replace(context, recent_products=recent)
    items = rank_items(candidates, relevance, max(context.limit, MODEL_ITEMS))
    selection = select_item(items[:MODEL_ITEMS], user_id, context, ports.models)
    return Choice(
        user_id=user_id,
        item=selection.item,
        reason=selection.reason,
        chosen_by=selection.chosen_by,
        evidence=selection.evidence,
        items=items,
        served_at=ports.now(),
        channel=context.channel,
        task_id=context.task_id,
    )


def _find_recent(graph: Graph, user_id: str) -> list[ProductName]:
    try:
        return find_recent(graph, user_id)
    except GraphUnavailable as error:
        log.warning("no graph, stage 1 decides: %s", error)
        return []


def _find_paths(graph: Graph, user_id: str, candidates: list[Candidate]) -> dict[str, Relevance]:
    try:
        return find_paths(graph, user_id, [candidate.product_id for candidate in candidates])
    except GraphUnavailable as error:
        log.warning("no paths, stage 1 decides: %s", error)
        return {}
