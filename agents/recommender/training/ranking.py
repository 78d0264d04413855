"""Ranks items for people in blocks, so that memory stays bounded by a block and not by people times items."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from scipy.sparse import csr_matrix

from agents.recommender.training.events import Flags, Floats, Ints
from agents.recommender.training.splitting import Split

BLOCK_SCORES = 6_000_000  # 24 MB of float32 per signal, of which there are up to twenty


class Model(Protocol):
    """Anything that scores all items for some people."""

    def score(self, users: Ints) -> Floats:
        """Higher is better, (people, items)."""
        ...


def make_blocks(users: Ints, items: int) -> Iterator[Ints]:
    """The people in order, as many at a time as a block may hold."""
    size = max(1, BLOCK_SCORES // max(items, 1))
    for start in range(0, len(users), size):
        yield users[start : start + size]


def hide_known(scores: Floats, split: Split, users: Ints) -> Floats:
    """The scores with -inf, in place, for what is not asked for: what each person knows, unless repeats count, and new ones."""
    if not split.repeats:
        rows, columns = split.known[users].nonzero()
        scores[rows, columns] = -np.inf
    if split.wanted_new is not None:
        scores[:, split.is_new] = -np.inf
    return scores


def take_best(scores: Floats, count: int) -> Ints:
    """The `count` best items of each row, best first; -1 where there are not so many."""
    count = min(count, scores.shape[1])
    if count < scores.shape[1]:
        best = np.argpartition(-scores, count - 1, axis=1)[:, :count]
    else:
        best = np.tile(np.arange(count), (len(scores), 1))
    values = np.take_along_axis(scores, best, axis=1)
    order = np.lexsort((best, -values), axis=1)  # ties: the lower item, so that a run can be repeated
    best, values = np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)
    return np.where(np.isfinite(values), best, -1).astype(np.int32)


def rank(model: Model, split: Split, count: int) -> Ints:
    """The best `count` items for the split's people, (people, count)."""
    lists: list[Ints] = []
    for users in make_blocks(split.users, split.train.shape[1]):
        scores = hide_known(np.array(model.score(users), dtype=np.float32), split, users)
        lists.append(take_best(scores, count))
    return np.concatenate(lists) if lists else np.empty((0, count), np.int32)


def find_hits(lists: Ints, wanted: csr_matrix, users: Ints) -> Flags:
    """Whether each place of each list holds a wanted item."""
    flags = np.zeros(lists.shape, dtype=np.bool_)
    for row, user in enumerate(users):
        flags[row] = np.isin(lists[row], wanted.indices[wanted.indptr[user] : wanted.indptr[user + 1]])
    return flags
