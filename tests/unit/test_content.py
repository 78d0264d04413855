"""Relations and likeness between products: sums written out, and the words of several scripts."""

from __future__ import annotations

import json
import math
from datetime import datetime
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from agents.recommender.content import find_alike, list_words, weigh_words
from agents.recommender.training import relations
from agents.recommender.training.collecting import KIND_OF_TYPE, Touch, collect_events
from agents.recommender.training.events import ORDERED, VIEWED, Events
from agents.recommender.training.relations import relate_significant
from schemas.graph import RelationKind

FIXTURE = Path(__file__).parents[1] / "emulator" / "sql" / "product_relations.json"

DAY = 86_400.0


def make_shop() -> Events:
    """Thirty people order cup and saucer together, ten days apart; thirty others a hat, three of them with a cup."""
    touches: list[Touch] = []
    for person in range(60):
        at = (person % 30) * 10 * DAY
        products = ["cup", "saucer"] if person < 30 else ["hat", "cup"] if person < 33 else ["hat"]
        touches += [Touch(f"p{person}", product, ORDERED, at, 1, f"s{person}") for product in products]
        touches.append(Touch(f"p{person}", "lamp", VIEWED, at + DAY, 1, f"v{person}"))
    return collect_events(touches)


def test_a_relation_is_what_occurs_together_beyond_chance() -> None:
    """Prevents: another formula than the warehouse's, whose relations the graph serves; relations by chance."""
    events = make_shop()
    links = relate_significant(events, RelationKind.BOUGHT_WITH)
    assert links is not None
    names = events.item_ids
    found = {(names[row], names[column]): float(links[row, column]) for row, column in np.argwhere(links.toarray())}
    last = max(events.days)
    weights = [0.5 ** ((last - (person % 30) * 10) / 90) for person in range(60)]
    together, cup = sum(weights[:30]), sum(weights[:33])
    score = together / math.sqrt(cup * together) * 30 / 35
    assert found == pytest.approx({("cup", "saucer"): score, ("saucer", "cup"): score}, rel=1e-5)


@pytest.mark.parametrize("kind", list(RelationKind))
def test_relations_are_those_of_the_warehouse(kind: RelationKind) -> None:
    """Prevents: weights that are learned over other relations than product_relations.sql puts into the graph.

    The same rows and the same expected relations hold the SQL on the laptop cloud (tests/emulator/test_warehouse_sql.py).
    """
    fixture = json.loads(FIXTURE.read_text(encoding="utf-8"))
    rows = fixture["rows"]["user_interactions"]
    cancelled = {row["order_id"] for row in rows if row["event_type"] == "order_cancelled"}
    touches = [
        Touch(
            row.get("user_id") or row["anonymous_id"],
            product["product_id"],
            KIND_OF_TYPE[row["event_type"]],
            datetime.fromisoformat(row["event_timestamp"]).timestamp(),
            1.0,
            row["event_id"] if row["event_type"] == "order_completed" else row.get("session_id", ""),
        )
        for row in rows
        if row["event_type"] in KIND_OF_TYPE and row.get("order_id") not in cancelled
        for product in row["products"]
    ]
    events = collect_events(touches)
    links = relate_significant(events, kind)
    assert links is not None
    names = events.item_ids
    found = {(names[row], names[column]): float(links[row, column]) for row, column in np.argwhere(links.toarray())}
    expected = {
        (one["product_id"], one["related_id"]): one["score"] for one in fixture["expected"] if one["kind"] == kind
    }
    assert found == pytest.approx(expected, abs=1e-4)


def test_steps_have_a_direction_and_an_end() -> None:
    """Prevents: a lamp that leads to the cup bought before it; steps of a year."""
    links = relate_significant(make_shop(), RelationKind.THEN)
    assert links is not None
    assert links.nnz == 0, "everybody sees the lamp next: nothing is beyond chance"
    many = [
        Touch(f"p{person}", product, ORDERED, (person % 30 + place * gap) * DAY, 1, f"{person}/{place}")
        for person in range(90)
        for gap, trio in ((1, "abc"), (40, "xyz"))
        if (person < 30) == (gap == 1)
        for place, product in enumerate(trio)
    ]
    events = collect_events(many)
    links = relate_significant(events, RelationKind.THEN)
    assert links is not None
    found = {(events.item_ids[row], events.item_ids[column]) for row, column in np.argwhere(links.toarray())}
    assert found == {("a", "b"), ("b", "c")}


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: relations that depend on how much memory there is."""
    events = make_shop()
    whole = relate_significant(events, RelationKind.BOUGHT_WITH)
    monkeypatch.setattr(relations, "BLOCK_PAIRS", 1)
    parts = relate_significant(events, RelationKind.BOUGHT_WITH)
    assert whole is not None
    assert parts is not None
    assert (whole.toarray() == parts.toarray()).all()


def test_without_times_or_events_of_a_kind_there_is_none() -> None:
    """Prevents: sequences of a list without an order; a crash on a shop that only shows."""
    assert relate_significant(collect_events([Touch("p", "a", ORDERED)]), RelationKind.THEN) is None
    assert relate_significant(collect_events([Touch("p", "a", VIEWED, 0.0)]), RelationKind.BOUGHT_WITH) is None


PRODUCTS = [
    ("Red mug", "home.kitchen", "Acme"),
    ("Blue mug", "home.kitchen", "Acme"),
    ("Red hat", "fashion", "Hatters"),
    ("빨간머그컵", None, None),
    ("파란머그컵", None, None),
    (None, None, None),
]


def test_likeness_is_of_words_brand_and_category() -> None:
    """Prevents: products of one brand and kind that are strangers; products without a word that are like everything."""
    links = find_alike(weigh_words([list_words(*product) for product in PRODUCTS])).toarray()
    assert links[0].argmax() == 1
    assert links[0, 1] > links[0, 2] > 0
    assert links[3].argmax() == 4, "Korean words are written together and bend"
    assert not links[5].any()
    assert not np.diag(links).any()
    assert all(links[a, b] == pytest.approx(links[b, a]) for a, b in permutations(range(6), 2))


def test_only_the_wanted_are_found() -> None:
    """Prevents: a new product that finds no place among fifty old ones that are as like."""
    words = weigh_words([list_words(*product) for product in PRODUCTS])
    wanted = np.array([False, False, True, False, False, False])
    assert find_alike(words, wanted).nonzero()[1].tolist() == [2]
    assert find_alike(words, wanted, count=0).nnz == 0
