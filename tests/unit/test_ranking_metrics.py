"""The figures of `make evaluate`: cases worked out by hand, and a library (pytrec_eval) on random lists."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import pytrec_eval

from agents.recommender.training import metrics

HITS = np.array([[True, False, True, False], [False, False, False, True], [False] * 4])
RELEVANT = np.array([3, 1, 2], dtype=np.int32)


def test_ndcg_is_over_the_whole_relevant_list() -> None:
    """Prevents: an ideal list only as long as what was found, which makes every list look good."""
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    first = (1 + 1 / math.log2(4)) / ideal
    assert metrics.ndcg(HITS, RELEVANT, 4) == pytest.approx([first, 1 / math.log2(5), 0])
    assert metrics.ndcg(HITS, RELEVANT, 2) == pytest.approx([1 / (1 + 1 / math.log2(3)), 0, 0])


def test_recall_and_hit_rate() -> None:
    """Prevents: recall divided by the cut, and a hit rate that counts hits instead of people."""
    assert metrics.recall(HITS, RELEVANT, 4) == pytest.approx([2 / 3, 1, 0])
    assert metrics.hit_rate(HITS, RELEVANT, 3).tolist() == [1, 0, 0]


def test_coverage_and_novelty_leave_empty_places_out() -> None:
    """Prevents: the mark of an empty place counted as an item."""
    lists = np.array([[0, 1], [1, -1]], dtype=np.int32)
    assert metrics.coverage(lists, 4, 2) == 0.5
    assert metrics.novelty(lists, np.array([0.5, 0.25, 1, 1]), 2) == pytest.approx((1 + 2 + 2) / 3)


def test_a_library_finds_the_same() -> None:
    """Prevents: a discount, a cut or a mean of our own invention."""
    draw = np.random.default_rng(3)
    lists = np.array([draw.permutation(200)[:20] for _ in range(50)], dtype=np.int32)
    wanted = [set(draw.choice(200, size=int(draw.integers(1, 40)), replace=False).tolist()) for _ in range(50)]
    hits = np.array([[int(item) in wanted[person] for item in row] for person, row in enumerate(lists)])
    relevant = np.array([len(items) for items in wanted], dtype=np.int32)
    truth = {str(person): {str(item): 1 for item in items} for person, items in enumerate(wanted)}
    run = {str(p): {str(item): 100.0 - place for place, item in enumerate(row)} for p, row in enumerate(lists)}
    judge: Any = pytrec_eval.RelevanceEvaluator(truth, {"ndcg_cut.10,20", "recall.20", "success.10"})
    found = judge.evaluate(run)
    for name, ours in (
        ("ndcg_cut_10", metrics.ndcg(hits, relevant, 10)),
        ("ndcg_cut_20", metrics.ndcg(hits, relevant, 20)),
        ("recall_20", metrics.recall(hits, relevant, 20)),
        ("success_10", metrics.hit_rate(hits, relevant, 10)),
    ):
        assert ours == pytest.approx([found[str(person)][name] for person in range(50)]), name
