"""How good ranked lists are. Definitions as in shared/data/README.md, checked against hand-worked cases and pytrec_eval.

Each function takes `hits` (people x places: is the item at that place relevant?) and `relevant` (how many relevant items
each person has, at least 1) and returns one value per person; a figure is the mean over people.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.recommender.training.events import Flags, Ints

Values = NDArray[np.float64]


def ndcg(hits: Flags, relevant: Ints, cut: int) -> Values:
    """Binary gains, log2 discount, the ideal list being all of the person's relevant items, cut."""
    discounts = 1 / np.log2(np.arange(2, cut + 2))
    ideal: Values = np.concatenate([[0.0], np.cumsum(discounts)])[np.minimum(relevant, cut)]
    gained: Values = hits[:, :cut] @ discounts[: hits.shape[1]]
    return (gained / ideal).astype(np.float64)


def recall(hits: Flags, relevant: Ints, cut: int) -> Values:
    """The share of the person's relevant items within the cut."""
    found: Values = hits[:, :cut].sum(axis=1, dtype=np.float64)
    return (found / relevant).astype(np.float64)


def hit_rate(hits: Flags, relevant: Ints, cut: int) -> Values:  # noqa: ARG001 -- one signature for all
    """1 for a person with any relevant item within the cut."""
    found: NDArray[np.bool_] = np.asarray(hits[:, :cut].any(axis=1))
    return found.astype(np.float64)


def coverage(lists: Ints, items: int, cut: int) -> float:
    """The share of all items that somebody is shown. Places that could not be filled hold -1."""
    shown = lists[:, :cut]
    return len(np.unique(shown[shown >= 0])) / items


def novelty(lists: Ints, popularity: NDArray[np.float64], cut: int) -> float:
    """The mean self-information of what is shown, in bits: -log2 of the share of people who touched the item."""
    shown = lists[:, :cut]
    found = popularity[shown[shown >= 0]]
    return float(-np.log2(found).mean()) if len(found) else 0.0
