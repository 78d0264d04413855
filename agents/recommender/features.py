"""What the graph's shape says of products and people: communities, centrality, influence, preference. Values only.

By igraph: Leiden communities (modularity) and PageRank. Who reads the graph and who keeps the features is
agents.recommender.flywheel's.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import msgspec

from schemas.flywheel import ProductFeature, UserFeature

if TYPE_CHECKING:
    from igraph import Graph as Network

Weights = defaultdict[tuple[str, str], float]  # from, to
SEED = 20261120  # Leiden draws: the same graph gives the same communities
DAMPING = 0.85
LEADERS = 5  # how many of those who came to a product just before somebody are followed


class Edge(msgspec.Struct, frozen=True, rename="camel"):
    """A relation from a product; one without any says so by having no `related_id`."""

    product_id: str
    related_id: str | None = None
    score: float | None = None


class Touch(msgspec.Struct, frozen=True, rename="camel"):
    """That a person touched a product, and when first; a person without any has no `product_id`."""

    user_id: str
    product_id: str | None = None
    first_at: datetime | None = None


class Run(msgspec.Struct, frozen=True):
    """Which run the features are of."""

    version: str
    computed_at: datetime


def describe_products(edges: Sequence[Edge], run: Run) -> list[ProductFeature]:
    """Community and centrality of every product that the edges name, by product id."""
    names = sorted({edge.product_id for edge in edges} | {edge.related_id for edge in edges if edge.related_id})
    weights: Weights = defaultdict(float)
    for edge in edges:
        if edge.related_id and edge.score:
            weights[edge.product_id, edge.related_id] += edge.score
    network = _make_network(names, weights)
    centrality = _rank(network)
    features: list[ProductFeature] = []
    for members in _find_communities(network):
        central = min(members, key=lambda member: (-centrality[member], names[member]))
        features += [
            ProductFeature(
                product_id=names[member],
                cluster=names[central],
                cluster_size=len(members),
                centrality=centrality[member],
                version=run.version,
                computed_at=run.computed_at,
            )
            for member in members
        ]
    return sorted(features, key=lambda feature: feature.product_id)


def describe_users(touches: Iterable[Touch], clusters: dict[str, str], run: Run) -> list[UserFeature]:
    """Influence and preference of everybody who touched a product, by user id. `clusters` by product id."""
    preferences: defaultdict[str, Counter[str]] = defaultdict(Counter)
    comers: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for touch in touches:
        if touch.product_id and touch.first_at:
            preferences[touch.user_id][clusters.get(touch.product_id, touch.product_id)] += 1
            comers[touch.product_id].append((touch.first_at, touch.user_id))
    names = sorted(preferences)
    influence = _rank(_make_network(names, _follow(comers)))
    features: list[UserFeature] = []
    for place, name in enumerate(names):
        cluster, products = min(preferences[name].items(), key=lambda found: (-found[1], found[0]))
        features.append(
            UserFeature(
                user_id=name,
                influence=influence[place],
                cluster=cluster,
                cluster_share=products / preferences[name].total(),
                cluster_count=len(preferences[name]),
                version=run.version,
                computed_at=run.computed_at,
            )
        )
    return features


def _follow(comers: dict[str, list[tuple[datetime, str]]]) -> Weights:
    """Weight of each follower -> leader: who came to a product points at up to LEADERS people who came last before.

    A product counts by one over its people: to be before others at what everybody buys is no influence. People of one
    moment do not follow each other.
    """
    weights: Weights = defaultdict(float)
    for people in comers.values():
        leaders: list[str] = []
        for _, arrived in groupby(sorted(people), key=lambda comer: comer[0]):
            together = [user for _, user in arrived]
            for follower in together:
                for leader in leaders:
                    weights[follower, leader] += 1 / len(people) / len(leaders)
            leaders = [*leaders, *together][-LEADERS:]
    return weights


def _make_network(names: Sequence[str], weights: Weights) -> Network:
    from igraph import Graph as Network

    places = {name: place for place, name in enumerate(names)}
    edges = [(places[start], places[end]) for start, end in weights]
    return Network(n=len(names), edges=edges, directed=True, edge_attrs={"weight": list(weights.values())})


def _rank(network: Network) -> list[float]:
    """PageRank, 1 being the mean."""
    count = network.vcount()
    if not count:
        return []
    shares: list[float] = network.pagerank(damping=DAMPING, weights="weight")
    return [share * count for share in shares]


def _find_communities(network: Network) -> list[list[int]]:
    """Leiden over the network without directions; what stands alone is a community of its own."""
    import igraph

    undirected: Any = network.as_undirected(combine_edges={"weight": "sum"})
    igraph.set_random_number_generator(random.Random(SEED))  # noqa: S311 -- no secret
    found: Any = undirected.community_leiden(objective_function="modularity", weights="weight", n_iterations=-1)
    return [list(members) for members in found]
