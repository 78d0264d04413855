"""The recommender as its callers know it: a person in, one choice out, with its reason and what it rests on.

Owns the order of the three stages and what happens when one is missing: without a model the template chooses, without
a graph stage 1 decides, without a serving copy BigQuery is asked, without history popularity does. Each source has its bound
(`agents.recommender.bounds`), so that the answer comes in time whatever they do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import TransportError
from redis.exceptions import RedisError

from agents.recommender import copies, experiments, rules, wording
from agents.recommender.alike import add_alike
from agents.recommender.bounds import Bound, Unavailable
from agents.recommender.candidates import (
    Candidate,
    drop_recent,
    list_popular,
    make_candidates,
    read_candidates,
    read_named,
)
from agents.recommender.copies import Known, NoCopy
from agents.recommender.experiments import Experiment, Variant
from agents.recommender.items import Choice, Context, Item, ProductName, Source
from agents.recommender.learned import RECENT_PRODUCTS, UNLEARNED, Weights
from agents.recommender.paths import Relevance, find_paths, find_recent, weigh_kinds
from agents.recommender.ranking import is_personal, rank_items
from agents.recommender.selection import MODEL_SECONDS, select_item
from agents.tools.graph import Graph, GraphUnavailable
from agents.tools.models import ModelGateway
from agents.tools.serving import Serving
from agents.tools.settings import SettingsError
from agents.tools.warehouse import Warehouse

__all__ = ["Choice", "Context", "Item", "NothingToRecommend", "Ports", "ProductName", "recommend"]

MODEL_ITEMS = 5  # what the model chooses among
COPY_SECONDS = 0.5  # one millisecond when it is well
GRAPH_SECONDS = 0.5  # 30 ms when it is well
WAREHOUSE_SECONDS = 5.0  # one or two queries of a second each
NOBODY = "anonymous"
NAMED_BY = "moment"  # `chosen_by` of a product that was named, not chosen
CATEGORIES = 3  # of the latest products, in which popularity speaks for somebody with too little else

Value = TypeVar("Value")

log = logging.getLogger(__name__)


class NothingToRecommend(LookupError):
    """Nothing is known that may be recommended to this person."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the recommender asks, and how long it waits for each. The bounds remember what failed lately."""

    warehouse: Warehouse
    graph: Graph
    models: ModelGateway
    serving: Serving
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    copy_bound: Bound = field(default_factory=lambda: Bound("the serving copy", COPY_SECONDS))
    graph_bound: Bound = field(default_factory=lambda: Bound("the graph", GRAPH_SECONDS))
    warehouse_bound: Bound = field(default_factory=lambda: Bound("BigQuery", WAREHOUSE_SECONDS))
    model_bound: Bound = field(default_factory=lambda: Bound("the model", MODEL_SECONDS))
    rules: rules.Rules = field(default_factory=rules.load)
    experiments: dict[str, Experiment] = field(default_factory=lambda: dict(experiments.load()))


@dataclass(frozen=True, kw_only=True)
class _Found:
    """What stages 1 and 2 brought."""

    candidates: list[Candidate]
    relevance: dict[str, Relevance]
    recent: list[ProductName]
    version: str | None = None
    weights: Weights = UNLEARNED


def recommend(user_id: str, context: Context, ports: Ports) -> Choice:
    """What to recommend to a person now, and why; `context.limit` items of which the first five are the model's.

    Raises:
        NothingToRecommend: there is no product that may be recommended.
        agents.recommender.bounds.Unavailable: neither Redis nor BigQuery nor the graph answers; try again.
    """
    person = user_id or context.session_id or NOBODY
    assigned = experiments.assign("" if person == NOBODY else person, ports.experiments)
    variant = assigned.variant if assigned else Variant(share=1)
    sources = _Sources(ports=ports)
    found = _find(user_id, context, sources)
    now = ports.now()
    allowed = [one for one in found.candidates if not rules.find_refusal(one, ports.rules, now)]
    path_weight = variant.path_weight
    if any(product.is_news for product in found.recent) or not is_personal(allowed):
        path_weight = found.weights.news  # of which stage 1 knows nothing
    items = rules.arrange_items(rank_items(allowed, found.relevance, found.weights, path_weight), ports.rules)
    items = items[: max(context.limit, MODEL_ITEMS)]
    if not items:
        raise NothingToRecommend(f"no product is known that could be recommended to {person}")
    use_model = context.use_model if variant.use_model is None else context.use_model and variant.use_model
    told = msgspec.structs.replace(context, recent_products=found.recent[:RECENT_PRODUCTS], use_model=use_model)
    selection = select_item(items[:MODEL_ITEMS], told, ports.models, ports.model_bound)
    return Choice(
        user_id=person,
        item=selection.item,
        reason=selection.reason,
        chosen_by=selection.chosen_by,
        evidence=selection.evidence,
        items=items,
        served_at=now,
        channel=context.channel,
        task_id=context.task_id,
        shown=[item.product_id for item in items[: context.limit]],
        experiment=assigned.experiment if assigned else None,
        variant=assigned.name if assigned else None,
        version=found.version,
        degraded=[*sources.missing, *([Source.MODEL] if selection.is_degraded else [])],
    )


def present(user_id: str, product_id: str, context: Context, ports: Ports) -> Choice:
    """The product that somebody else has chosen for a person, as the catalogue has it now and if the rules allow it.

    Raises:
        NothingToRecommend: nobody knows it, or a rule forbids it.
        google.api_core.exceptions.GoogleAPICallError: BigQuery does not answer; try again.
    """
    candidate = read_named(ports.warehouse, user_id, product_id)
    if candidate is None:
        raise NothingToRecommend(f"no product {product_id!r} is known")
    now = ports.now()
    if rule := rules.find_refusal(candidate, ports.rules, now):
        raise NothingToRecommend(f"product {product_id!r} may not be recommended: the rule {rule}")
    (item,) = rank_items([candidate], {})
    return Choice(
        user_id=user_id,
        item=item,
        reason=wording.load()[wording.find_language(context.language)].write_known(),
        chosen_by=NAMED_BY,
        evidence=[product_id],
        items=[item],
        served_at=now,
        channel=context.channel,
        task_id=context.task_id,
        shown=[product_id],
    )


@dataclass(frozen=True, kw_only=True)
class _Sources:
    """The ports as one answer asks them; `missing` are those that did not answer."""

    ports: Ports
    missing: list[Source] = field(default_factory=list[Source])

    def read_copy(self, question: Callable[[Serving], Value]) -> Value:
        """From the serving copy; NoCopy or Unavailable when there is none."""
        serving = self.ports.serving
        return self.ports.copy_bound.ask(lambda: question(serving), (RedisError, SettingsError))

    def read_warehouse(self, user_id: str, recent: Sequence[ProductName]) -> list[Candidate]:
        """Candidates from BigQuery; Unavailable when it does not answer in time."""
        warehouse = self.ports.warehouse
        return self.ports.warehouse_bound.ask(
            lambda: read_candidates(warehouse, user_id, recent), (GoogleAPIError, TransportError, OSError)
        )

    def find_recent(self, user_id: str) -> list[ProductName]:
        """By the graph; nothing without it."""
        return self._ask_graph(lambda graph: find_recent(graph, user_id)) or []

    def find_paths(self, recent: Sequence[ProductName], weights: Weights) -> dict[str, Relevance]:
        """By the graph; nothing without it, or without a product to start from."""
        if not recent:
            return {}
        return self._ask_graph(lambda graph: find_paths(graph, recent, weigh_kinds(weights))) or {}

    def miss(self, source: Source, error: Exception) -> None:
        """Note that a source did not answer."""
        log.warning("degraded: no %s: %s", source.value, error)
        if source not in self.missing:
            self.missing.append(source)

    def _ask_graph(self, question: Callable[[Graph], Value]) -> Value | None:
        graph = self.ports.graph
        try:
            return self.ports.graph_bound.ask(lambda: question(graph), (GraphUnavailable,))
        except Unavailable as error:
            self.miss(Source.GRAPH, error)
            return None


def _find(user_id: str, context: Context, sources: _Sources) -> _Found:
    """By the serving copy when it is there, else by BigQuery."""
    try:
        known = sources.read_copy(lambda serving: copies.read_known(serving, user_id, context.session_id))
        return _find_by_copy(known, context, sources)
    except (Unavailable, NoCopy) as error:
        sources.miss(Source.SERVING, error)
    return _find_by_warehouse(user_id, context, sources)


def _find_by_copy(known: Known, context: Context, sources: _Sources) -> _Found:
    shop = known.pointer.shop
    ids = [product_id for product_id, _, _, _ in known.recent]
    wanted = [*ids, *(one.product_id for one in context.recent_products), context.related_to]
    names = sources.read_copy(lambda serving: copies.read_products(serving, shop, wanted))
    trained = known.pointer.trained_at.timestamp()
    recent = _join_recent(
        context,
        [
            ProductName(
                product_id=product_id,
                name=(names[product_id].name if product_id in names else None) or name or product_id,
                touch=touch,
                is_news=at > trained,
            )
            for product_id, touch, at, name in known.recent
        ],
    )
    if context.related_to:
        product = names.get(context.related_to)
        recent = [ProductName(product_id=context.related_to, name=(product and product.name) or context.related_to)]
    weights = known.pointer.weights
    relevance = add_alike(sources.find_paths(recent, weights), recent, names)
    own = [] if context.related_to else known.person.candidates
    more = [(product_id, 0.0) for product_id in relevance if product_id not in {one for one, _ in own}]
    listed = [one for one, _ in (*own, *more)]
    products = sources.read_copy(lambda serving: copies.read_products(serving, shop, listed))
    candidates = make_candidates(known, products, own)
    brought = [msgspec.structs.replace(one, is_listed=False) for one in make_candidates(known, products, more)]
    candidates = drop_recent([*candidates, *brought], recent)
    if len(candidates) < max(context.limit, MODEL_ITEMS):
        touched = [names[one.product_id].category for one in recent[:CATEGORIES] if one.product_id in names]
        liked = list(dict.fromkeys(category for category in touched if category))
        popular = sources.read_copy(lambda serving: list_popular(serving, known, liked, context.country))
        there = {one.product_id for one in candidates}
        candidates += drop_recent([one for one in popular if one.product_id not in there], recent)
    return _Found(
        candidates=candidates, relevance=relevance, recent=recent, version=known.pointer.people, weights=weights
    )


def _find_by_warehouse(user_id: str, context: Context, sources: _Sources) -> _Found:
    recent = _join_recent(context, sources.find_recent(user_id) if user_id else [])
    if context.related_to:
        recent = [ProductName(product_id=context.related_to, name=context.related_to)]
    relevance = sources.find_paths(recent, UNLEARNED)
    failed: Unavailable | None = None
    candidates: list[Candidate] = []
    try:
        candidates = sources.read_warehouse(user_id, recent)
    except Unavailable as error:
        sources.miss(Source.WAREHOUSE, error)
        failed = error
    there = {one.product_id for one in candidates}
    if context.related_to or failed:
        candidates += [
            Candidate(product_id=product_id, name=one.name, is_listed=False)
            for product_id, one in relevance.items()
            if product_id not in there
        ]
    if failed and not candidates:
        raise failed
    return _Found(candidates=drop_recent(candidates, recent), relevance=relevance, recent=recent)


def _join_recent(context: Context, known: Sequence[ProductName]) -> list[ProductName]:
    """The caller's recent products before the known ones, each once; what the caller tells is news."""
    told = [msgspec.structs.replace(product, is_news=not context.task_id) for product in context.recent_products]
    joined: dict[str, ProductName] = {}
    for product in (*told, *known):
        joined.setdefault(product.product_id, product)
    return list(joined.values())
