"""Weighs signals against each other: weights that maximise NDCG@20 on a validation split, found step by step.

A person's scores by one signal are divided by their largest among what may be recommended, because signals have no common
scale; the blend is their weighted sum. Every weight but those of plain popularity is at least 0: a taste never counts against
itself, which keeps the blend from fitting the noise of a small validation split.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from agents.recommender.training.events import Flags, Floats, Ints
from agents.recommender.training.ranking import Model, find_hits, hide_known, make_blocks, take_best
from agents.recommender.training.splitting import Split

CUT = 20
DEPTH = 100  # of each signal's list, for the pool to learn from
STEPS = (0.5, 0.25, 0.1, 0.05)
ROUNDS = 30  # of each step size, at most
EVEN, AGAINST = 0.3, -0.3  # where more searches begin: all tastes alike, without and with a dislike of what is common
Value = TypeVar("Value", bound=np.generic)
_DISCOUNTS = 1 / np.log2(np.arange(2, CUT + 2))


@dataclass(frozen=True)
class Blend:
    """Weighted sum of models, each by its own largest score per person, over the items that any of `sources` has in its list.

    Only those: weights are learned among them, and mean nothing for an item that no signal would bring.
    """

    models: Mapping[str, Model]
    weights: Mapping[str, float]
    split: Split
    sources: Sequence[str]

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items), above 0; -inf for what no source brings and for what the person knows."""
        total = np.zeros((len(users), self.split.train.shape[1]), np.float32)
        chosen = np.zeros(total.shape, dtype=np.bool_)
        for name, model in self.models.items():
            scores = scale_model(model, self.split, users)
            total += np.float32(self.weights.get(name, 0.0)) * scores
            if name in self.sources:
                choose_best(scores, self.split, users, chosen)
        return _lift(total, chosen)


@dataclass(frozen=True)
class Pool:
    """What weights are learned from: scaled scores (people, places, signals), hits and valid places, relevant items each."""

    names: Sequence[str]
    scores: Floats
    hits: Flags
    valid: Flags
    relevant: Ints


def scale_model(model: Model, split: Split, users: Ints) -> Floats:
    """A model's scores, each person's divided by the largest that may be recommended; 0 for what may not be."""
    scores = hide_known(np.array(model.score(users), dtype=np.float32), split, users)
    return scale_scores(scores)


def scale_scores(scores: Floats) -> Floats:
    """Each row divided by its largest finite score, in place; what is -inf becomes 0."""
    finite = np.isfinite(scores)
    largest = np.max(scores, axis=1, keepdims=True, initial=0, where=finite)
    scores /= np.where(largest > 0, largest, 1)
    scores[~finite] = 0
    return scores


def choose_best(scores: Floats, split: Split, users: Ints, chosen: Flags) -> None:
    """Flags in `chosen` each person's best DEPTH of a signal's scores above 0."""
    best = take_best(hide_known(np.where(scores > 0, scores, np.float32(-np.inf)), split, users), DEPTH)
    rows = np.broadcast_to(np.arange(len(users))[:, None], best.shape)
    chosen[rows[best >= 0], best[best >= 0]] = True


def make_pool(models: Mapping[str, Model], split: Split, sources: Sequence[str]) -> Pool:
    """For each person the best items of every one of `sources`, with every signal's scores of them."""
    parts = [_pool_block(models, split, sources, users) for users in make_blocks(split.users, split.train.shape[1])]
    width = max(part.scores.shape[1] for part in parts)
    return Pool(
        names=list(models),
        scores=np.concatenate([_widen(part.scores, width) for part in parts]),
        hits=np.concatenate([_widen(part.hits, width) for part in parts]),
        valid=np.concatenate([_widen(part.valid, width) for part in parts]),
        relevant=np.concatenate([part.relevant for part in parts]),
    )


def learn_weights(
    pool: Pool, start: Mapping[str, float], free: Sequence[str], active: Sequence[str]
) -> dict[str, float]:
    """The weights of the active signals, from `start` (others stay).

    Without a start, from several: each search ends at its own best, and those of one night's data differ by a tenth.
    """
    weights = np.array([start.get(name, 0.0) for name in pool.names], dtype=np.float32)
    places = [pool.names.index(name) for name in active]
    if weights.any():
        found = _climb(pool, weights, places, free)[1]
    else:
        starts = _list_starts(pool, places, free)
        found = max((_climb(pool, one, places, free) for one in starts), key=lambda climbed: climbed[0])[1]
    return {name: round(float(weight), 4) for name, weight in zip(pool.names, found, strict=True)}


def _list_starts(pool: Pool, places: Sequence[int], free: Sequence[str]) -> list[Floats]:
    singles = [_measure(pool, _one(len(pool.names), place)) for place in places]
    starts = [_one(len(pool.names), places[int(np.argmax(singles))])]
    for common in (0.0, AGAINST):
        start = np.zeros(len(pool.names), np.float32)
        for place in places:
            start[place] = common if pool.names[place] in free else EVEN
        starts.append(start)
    return starts


def _climb(pool: Pool, weights: Floats, places: Sequence[int], free: Sequence[str]) -> tuple[float, Floats]:
    """The best single step while any step helps, in ever smaller steps; NDCG@20 and weights."""
    best = _measure(pool, weights)
    for step in STEPS:
        for _ in range(ROUNDS):
            tried = [
                (_measure(pool, changed), tuple(changed))
                for place in places
                for sign in (1, -1)
                if (changed := _step(weights, place, sign * step))[place] >= 0 or pool.names[place] in free
            ]
            value, changed = max(tried)
            if value <= best + 1e-6:
                break
            best, weights = value, np.array(changed, dtype=np.float32)
    return best, weights


def measure_weights(pool: Pool, weights: Mapping[str, float]) -> float:
    """NDCG@20 of the blend within the pool."""
    return _measure(pool, np.array([weights.get(name, 0.0) for name in pool.names], dtype=np.float32))


def _measure(pool: Pool, weights: Floats) -> float:
    scores = np.where(pool.valid, pool.scores @ weights, -np.inf)
    cut = min(CUT, scores.shape[1])
    best = np.argpartition(-scores, cut - 1, axis=1)[:, :cut]
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    hits = np.take_along_axis(pool.hits, np.take_along_axis(best, order, axis=1), axis=1)
    ideal = np.cumsum(_DISCOUNTS)[np.minimum(pool.relevant, CUT) - 1]
    return float(((hits * _DISCOUNTS[:cut]).sum(axis=1) / ideal).mean())


def _one(size: int, place: int) -> Floats:
    return np.eye(size, dtype=np.float32)[place]


def _step(weights: Floats, place: int, step: float) -> Floats:
    changed = weights.copy()
    changed[place] += np.float32(step)
    return changed


def _pool_block(models: Mapping[str, Model], split: Split, sources: Sequence[str], users: Ints) -> Pool:
    scaled = [scale_model(model, split, users) for model in models.values()]
    chosen = np.zeros(scaled[0].shape, dtype=np.bool_)
    for name, scores in zip(models, scaled, strict=True):
        if name in sources:
            choose_best(scores, split, users, chosen)
    width = max(int(chosen.sum(axis=1).max(initial=0)), 1)
    items = np.argsort(~chosen, axis=1, kind="stable")[:, :width].astype(np.int32)
    valid = np.take_along_axis(chosen, items, axis=1)
    scores = np.stack([np.take_along_axis(one, items, axis=1) for one in scaled], axis=2)
    return Pool(
        names=list(models),
        scores=np.where(valid[:, :, None], scores, 0),
        hits=find_hits(np.where(valid, items, -1), split.wanted, users),
        valid=valid,
        relevant=np.diff(split.wanted.indptr)[users].astype(np.int32),
    )


def _lift(scores: Floats, chosen: Flags) -> Floats:
    """The chosen ones moved above 0, in their order: a negative weight must not read as 'brought by nobody' further on."""
    lowest = np.min(scores, axis=1, keepdims=True, initial=np.float32(np.inf), where=chosen)
    return np.where(chosen, scores - np.where(np.isfinite(lowest), lowest, 0) + np.float32(1e-6), np.float32(-np.inf))


def _widen(values: NDArray[Value], width: int) -> NDArray[Value]:
    padding = [(0, 0), (0, width - values.shape[1]), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values, padding)
