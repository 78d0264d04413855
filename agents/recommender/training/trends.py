"""What is wanted by many: popularity, lately and always, and within the categories that a person has looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from agents.recommender.training.events import Events, Floats, Ints
from agents.recommender.training.matrices import sum_columns, weigh_pairs


@dataclass(frozen=True)
class PopularityModel:
    """One list for everybody: `scores` of all items."""

    scores: Floats

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        return np.tile(self.scores, (len(users), 1))


@dataclass(frozen=True)
class CategoryModel:
    """A person's recent categories, times how wanted each item of them is now. `membership` is items by categories."""

    recent: csr_matrix
    membership: csr_matrix
    wanted: Floats

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items); 0 outside the person's categories."""
        tastes = csr_matrix(self.recent[users] @ self.membership)
        return (tastes @ self.membership.T).toarray() * self.wanted


def fit_popularity(events: Events, half_life_days: float | None = None) -> PopularityModel:
    """People per item on a log scale; with a half-life, the old count less."""
    return PopularityModel(scores=np.log1p(sum_columns(weigh_pairs(events, half_life_days))))


def fit_trend(events: Events, half_life_days: float) -> PopularityModel:
    """Weight of recent touches per item: what sells now."""
    return PopularityModel(scores=sum_columns(weigh_pairs(events, half_life_days)))


def fit_categories(events: Events, recent: csr_matrix, half_life_days: float | None) -> CategoryModel | None:
    """None when no item has a category."""
    known = np.flatnonzero(events.categories >= 0)
    if not len(known):
        return None
    numbers = events.categories[known]
    ones = np.ones(len(known), np.float32)
    membership = csr_matrix((ones, (known, numbers)), shape=(events.shape[1], int(numbers.max()) + 1))
    return CategoryModel(recent=recent, membership=membership, wanted=fit_popularity(events, half_life_days).scores)
