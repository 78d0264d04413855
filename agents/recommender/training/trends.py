"""What is wanted by many: popularity, lately and always, and within the categories that a person has looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from agents.recommender.training.events import Events, Floats, Ints
from agents.recommender.training.matrices import count_pairs, sum_columns, weigh_pairs

PLACE_TRUST = 20.0  # people of a place, from which its own favourites count as much as everybody's


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


@dataclass(frozen=True)
class PlaceModel:
    """A list for each place: `places` has the number of each person's (-1 unknown), `scores` is places by items, the last
    row that of an unknown place."""

    places: Ints
    scores: Floats

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        return self.scores[self.places[users]]


def fit_popularity(events: Events, half_life_days: float | None = None) -> PopularityModel:
    """People per item on a log scale; with a half-life, the old count less."""
    return PopularityModel(scores=np.log1p(sum_columns(weigh_pairs(events, half_life_days))))


def fit_place_popularity(events: Events, trust: float = PLACE_TRUST) -> PlaceModel | None:
    """People per item in a person's place, as far as the place has enough, and everywhere; None when no place is known.

    The mean of the place's shares and everybody's, as if `trust` people of everywhere lived there too (Dirichlet prior).
    """
    if not (events.places >= 0).any():
        return None
    pairs = count_pairs(events)
    everywhere = sum_columns(pairs) / max(len(np.unique(events.users)), 1)
    rows = [everywhere]
    for place in range(int(events.places.max()), -1, -1):
        here = csr_matrix(pairs[events.places == place])
        people = float((np.diff(here.indptr) > 0).sum())
        rows.append((sum_columns(here) + np.float32(trust) * everywhere) / (people + trust))
    return PlaceModel(places=events.places, scores=np.array(rows[::-1], dtype=np.float32))


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
