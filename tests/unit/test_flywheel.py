"""The flywheel: the graph is read page by page, written back as one version, and the next round is better for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from agents.recommender.features import Edge, Run, describe_products
from agents.recommender.flywheel import NothingInGraph, write_features
from agents.recommender.training.events import ORDERED, Events, Ints
from agents.recommender.training.metrics import ndcg
from agents.recommender.training.ranking import Model, find_hits, rank
from agents.recommender.training.signals import SIGNALS
from agents.recommender.training.splitting import Split, make_split
from agents.tools.graph import FakeGraph, Record
from agents.tools.whole_tables import FakeTables

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TASTES, PRODUCTS, PEOPLE = 6, 20, 600


class Paged(FakeGraph):
    """Products and people by pages, as the server gives them."""

    def __init__(self, relations: list[Record], touches: list[Record], page: int = 2) -> None:
        super().__init__()
        self.found, self.page = {"productId > $after": relations, "userId > $after": touches}, page

    def read(self, statement: str, parameters: Mapping[str, Any] = {}) -> list[Record]:
        super().read(statement, parameters)
        key, rows = next((key, rows) for key, rows in self.found.items() if key in statement)
        name = key.split()[0]
        nodes = sorted({row[name] for row in rows if row[name] > parameters["after"]})[: self.page]
        return [row for row in rows if row[name] in nodes]


def relation(product: str, related: str | None) -> Record:
    return {"productId": product, "relatedId": related, "score": 0.5 if related else None}


def test_every_page_is_read_and_one_version_written() -> None:
    """Prevents: features of the first page's products only; two versions in one run."""
    pairs = [relation("a", "b"), relation("a", "c"), relation("b", "a"), relation("c", "a"), relation("d", None)]
    touches = [{"userId": user, "productId": "a", "firstAt": NOW} for user in ("u1", "u2", "u3")]
    tables = FakeTables()
    assert write_features(Paged(pairs, [*touches, {"userId": "u4"}]), tables, NOW) == (4, 3)
    rows: Any = [*tables.loads["product_features"], *tables.loads["user_features"]]
    assert {row.version for row in rows} == {NOW.isoformat()}
    assert [row.cluster for row in tables.loads["product_features"]] == ["a", "a", "a", "d"]  # pyright: ignore[reportAttributeAccessIssue] -- rows of any table


def test_an_empty_graph_replaces_nothing() -> None:
    """Prevents: a graph that was just set up, and a version without features that hides the last good one."""
    tables = FakeTables()
    with pytest.raises(NothingInGraph, match="sync_graph"):
        write_features(Paged([], []), tables, NOW)
    assert not any(tables.loads.values())


def make_shop(seed: int) -> Split:
    """Six tastes nobody names: an order has three products of the person's taste, one in five of anything; two are held out."""
    draw = np.random.default_rng(seed)
    tastes = draw.integers(TASTES, size=PEOPLE)
    own = np.array([draw.choice(PRODUCTS, 5, replace=False) for _ in tastes]) + tastes[:, None] * PRODUCTS
    anything = draw.integers(TASTES * PRODUCTS, size=own.shape)
    items = np.where(draw.random(own.shape) < 0.2, anything, own)
    items[:, 3:] = own[:, 3:]
    return make_split(*(make_events(part) for part in (items[:, :3], items[:, 3:])))


def make_events(items: Ints) -> Events:
    users = np.repeat(np.arange(PEOPLE, dtype=np.int32), items.shape[1])
    return Events(
        user_ids=[f"u{number}" for number in range(PEOPLE)],
        item_ids=[f"p{number:03}" for number in range(TASTES * PRODUCTS)],
        users=users,
        items=items.ravel().astype(np.int32),
        kinds=np.full(items.size, ORDERED, np.int8),
        quantities=np.ones(items.size, np.float32),
        days=np.zeros(items.size),
        sessions=users,
        categories=np.full(TASTES * PRODUCTS, -1, np.int32),
    )


def go_round(events: Events) -> Events:
    """The events with the graph's clusters as categories, as touches.sql gives them to the next training."""
    baskets = np.zeros((PEOPLE, TASTES * PRODUCTS))
    baskets[events.users, events.items] = 1
    together, count = baskets.T @ baskets, baskets.sum(axis=0)
    edges = [
        Edge(events.item_ids[a], events.item_ids[b], float(together[a, b] / np.sqrt(count[a] * count[b])))
        for a, b in np.argwhere(together >= 3)
        if a != b
    ]
    clusters = {feature.product_id: feature.cluster for feature in describe_products(edges, Run("v1", NOW))}
    numbers = {name: number for number, name in enumerate(sorted(set(clusters.values())))}
    categories = [numbers[clusters[name]] if name in clusters else -1 for name in events.item_ids]
    return replace(events, categories=np.array(categories, np.int32))


def measure(model: Model, split: Split) -> float:
    relevant = np.diff(split.wanted.indptr)[split.users].astype(np.int32)
    return float(ndcg(find_hits(rank(model, split, 20), split.wanted, split.users), relevant, 20).mean())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_second_round_is_better_than_the_first(seed: int) -> None:
    """Prevents: a loop that costs something every night and changes nothing. Held out: what training never saw.

    Only of the signal that the features feed: no category is known, so it is silent in the first round, and popularity
    is what answers. What it adds to all of stage 1 on real data is in docs/flywheel.md.
    """
    split = make_shop(seed)
    settings = {"limit": 20, "decay": 1.0, "half_life": 0.0}
    assert SIGNALS["category"].fit(split.train, settings) is None
    popularity = SIGNALS["popularity"].fit(split.train, {})
    second = SIGNALS["category"].fit(go_round(split.train), settings)
    assert popularity
    assert second
    assert measure(second, split) > 2 * measure(popularity, split)
