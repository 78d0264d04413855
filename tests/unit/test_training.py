"""Stage 1's training and stage 2's walks against sums written out, on data small enough to check by eye."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from agents.recommender.training.blending import Blend
from agents.recommender.training.collecting import Touch, collect_events
from agents.recommender.training.events import ADDED, ORDERED, VIEWED, Events
from agents.recommender.training.matrices import count_pairs, keep_largest, weigh_pairs
from agents.recommender.training.neighbours import fit_ease, fit_ease_within, fit_item_knn
from agents.recommender.training.ranking import rank, take_best
from agents.recommender.training.splitting import make_split, split_at_random, split_by_time
from agents.recommender.training.stages import choose_settings, fit_stages, make_validation
from agents.recommender.training.trends import PopularityModel
from agents.recommender.training.walks import WalkSettings, find_recent, relate, relate_sequences

DAY = 86_400.0


def shop(people: int = 60, items: int = 24, seed: int = 5) -> Events:
    """People of two tastes, over ten days."""
    draw = np.random.default_rng(seed)
    touches: list[Touch] = []
    for person in range(people):
        taste = person % 2 * (items // 2)
        for item in draw.choice(items // 2, size=8, replace=False):
            seconds = float(draw.uniform(0, 10 * DAY))
            touches.append(Touch(f"p{person}", f"i{taste + item}", int(draw.integers(0, 3)), seconds))
    return collect_events(touches)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30)])
def test_ease_is_ease_over_either_side(shape: tuple[int, int]) -> None:
    """Prevents: the shorter inverse giving other scores than the paper's item-by-item matrix."""
    matrix = (np.random.default_rng(0).random(shape) < 0.2).astype(np.float32)
    inverse = np.linalg.inv(matrix.T @ matrix + 3 * np.eye(shape[1]))
    links = -inverse / np.diag(inverse)
    np.fill_diagonal(links, 0)
    users = np.arange(shape[0], dtype=np.int32)
    assert fit_ease(csr_matrix(matrix), 3).score(users) == pytest.approx(matrix @ links, abs=1e-4)


def test_large_ease_says_nothing_of_the_rest() -> None:
    """Prevents: an inverse that no machine holds, and scores for items that were not fitted."""
    scores = fit_ease_within(count_pairs(shop()), 10, side=6).score(np.arange(4, dtype=np.int32))
    assert scores.shape == (4, 24)
    assert (np.abs(scores).max(axis=0) > 0).sum() <= 6


def test_neighbours_are_cosines_with_shrinkage() -> None:
    """Prevents: neighbours of two people as sure as those of two hundred."""
    matrix = csr_matrix(np.array([[1, 1, 0], [1, 1, 0], [1, 0, 1]], dtype=np.float32))
    links = fit_item_knn(matrix, 2, 1.0).links.toarray()
    assert links[1, 0] == pytest.approx(2 / (np.sqrt(6) + 1))
    assert links[2, 0] == pytest.approx(1 / (np.sqrt(3) + 1))
    assert np.diag(links).tolist() == [0, 0, 0]


def test_a_walk_is_the_sum_over_people_of_both() -> None:
    """Prevents: a matrix trick whose strengths are not those of the contract that the graph follows (walks.py)."""
    events = shop(people=20)
    settings = WalkSettings(spread=0.7, damping=0.3, neighbours=5)
    baskets: dict[int, set[int]] = defaultdict(set)
    for user, item in zip(events.users.tolist(), events.items.tolist(), strict=True):
        baskets[user].add(item)
    people = [sum(item in basket for basket in baskets.values()) for item in range(events.shape[1])]
    strength = np.zeros((events.shape[1],) * 2)
    for basket in baskets.values():
        for one in basket:
            for other in basket - {one}:
                strength[one, other] += len(basket) ** -0.7
    strength *= np.array(people)[:, None] ** -0.7 * np.array(people)[None, :] ** -0.3
    expected = keep_largest(csr_matrix(strength), 5).toarray()
    found = relate(count_pairs(events), settings).toarray()
    assert np.sort(found, axis=1)[:, -5:] == pytest.approx(np.sort(expected, axis=1)[:, -5:], rel=1e-4)
    assert ((found > 0).sum(axis=1) <= 6).all()


def test_sequences_and_recency() -> None:
    """Prevents: a relation that runs backwards in time, and an old product counted before a new one."""
    events = collect_events(
        [Touch("p", name, VIEWED, seconds) for name, seconds in (("a", 0), ("b", 1), ("c", 2), ("a", 3))]
    )
    settings = WalkSettings(damping=0.0, neighbours=9)
    links = relate_sequences(events, settings, window=1).toarray()
    assert links == pytest.approx(np.array([[0, 1 / 6, 0], [0, 0, 1 / 6], [1 / 6, 0, 0]]))
    assert find_recent(events, 2, 0.5).toarray().tolist() == [[1, 0, 0.5]]


def test_a_pair_weighs_by_kind_and_age() -> None:
    """Prevents: a view that counts like an order, and last year like today."""
    touches = [Touch("p", "viewed", VIEWED, DAY), Touch("p", "added", ADDED, DAY), Touch("p", "ordered", ORDERED, DAY)]
    weights = weigh_pairs(collect_events([*touches, Touch("p", "old", ORDERED, 0.0)]), half_life_days=1).toarray()[0]
    ids = collect_events([*touches, Touch("p", "old", ORDERED, 0.0)]).item_ids
    of = dict(zip(ids, weights.tolist(), strict=True))
    assert of["viewed"] < of["added"] < of["ordered"]
    assert of["old"] == pytest.approx(np.log1p(1.5))


def test_nothing_later_is_learned_from() -> None:
    """Prevents: a split that lets the training see the future, or asks for what is masked."""
    events = shop()
    train, test = split_by_time(events, 0.8)
    assert train.days.max() < test.days.min()
    split = make_split(train, test)
    assert split.wanted.multiply(split.known).nnz == 0
    assert len(split.users)
    earlier, later = split_at_random(events, 0.8)
    assert len(earlier) + len(later) == len(events)
    assert np.unique(later.users).size == events.shape[0]


def test_lists_are_the_same_whatever_the_ties() -> None:
    """Prevents: two runs with two answers."""
    scores = np.array([[1, 3, 3, -np.inf], [-np.inf] * 4], dtype=np.float32)
    assert take_best(scores, 3).tolist() == [[1, 2, 0], [-1, -1, -1]]


def test_a_blend_brings_only_what_a_signal_brings() -> None:
    """Prevents: an unpopular product first, because popularity has a negative weight and nothing else knows it."""
    events = shop()
    split = make_split(*split_by_time(events, 0.8))
    taste = fit_item_knn(split.known, 5, 1.0)
    popular = PopularityModel(np.asarray(split.known.sum(axis=0), dtype=np.float32).ravel())
    blend = Blend({"taste": taste, "popular": popular}, {"taste": 0.1, "popular": -5.0}, split, ["taste"])
    allowed = taste.score(split.users) > 0
    lists = rank(blend, split, 10)
    for row, places in enumerate(lists):
        assert allowed[row, places[places >= 0]].all()


def test_both_stages_find_the_taste() -> None:
    """Prevents: a pipeline that runs and recommends the other half of the shop, or what the person has."""
    events = shop(people=80)
    train, test = split_by_time(events, 0.8)
    settings = choose_settings(make_validation(train), trials=1)
    split = make_split(train, test)
    lists = rank(fit_stages(settings, split), split, 3)
    names = np.array(events.item_ids)
    for user, places in zip(split.users, lists, strict=True):
        taste = int(events.user_ids[user][1:]) % 2
        shown = [int(name[1:]) // 12 for name in names[places[places >= 0]]]
        assert sum(half == taste for half in shown) >= 2
        assert not set(places.tolist()) & set(split.known[user].indices.tolist())
    assert settings.validation["both"] >= settings.validation["stage_1"] > settings.validation["popularity"]
