"""Walks over people, visits and sequences (stage 1), and where every path starts: a person's latest products.

Stage 2's formula, the contract that the graph's Cypher (schemas/cypher/relevance_paths.cypher) follows; a test holds both to the
same numbers on a small graph. Relations are relations.py's, here as in the graph:

    score[k](person, c) = sum over the RECENT_PRODUCTS latest products i of FADE^place(i) x strength[k](i -> c)
    score(person, c)    = weight["stage_1"] x stage 1's share + sum over kinds k of weight[k] x score[k] / the person's largest

- place(i): 0 for the product touched last, 1 for the one before; each product once;
- strength[k](i -> c): the relation's score, kinds bought_with, viewed_with, then; alike: the cosine of what both are said to be
  (agents.recommender.content). All damp c's popularity;
- without times no order is known: every product is recent, and FADE is 1.

A walk of stage 1 is the chance of i -> (person | visit | next) -> c, damped by c's popularity and by small support:

    together   i - person - c      sum over people of both of 1 / (their products)^a  / visits(i)^a  / people(c)^b
    visit      i - visit - c       the same over visits (baskets, sessions)
    next       i then c            touches of c up to `window` places after i, / (touches after i + 5) / people(c)^b

only the `neighbours` strongest of each i count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from agents.recommender.training.events import Events, Ints
from agents.recommender.training.matrices import (
    count_pairs,
    keep_largest,
    pair_columns,
    scale_columns,
    scale_rows,
    sum_columns,
    sum_rows,
)
from agents.recommender.training.neighbours import LinearModel

NEXT_SUPPORT = 5  # touches after a product before its sequence is believed
NEXT_FADE = 0.8  # one place further on counts this much less


@dataclass(frozen=True, kw_only=True)
class WalkSettings:
    """Of one walk: `spread` is a, `damping` b; `limit` recent products, each `decay` times the one before."""

    spread: float = 0.8
    damping: float = 0.35
    neighbours: int = 200
    limit: int = 50
    decay: float = 1.0


def fit_rp3beta(matrix: csr_matrix, settings: WalkSettings) -> LinearModel:
    """RP3beta (Paudel et al. 2017, doi 10.1145/2955101): all of a person's products, each alike."""
    powered = _power(matrix, settings.spread)
    start = scale_rows(powered, np.maximum(sum_rows(matrix), 1e-9) ** -settings.spread)
    return LinearModel(start=start, links=relate(matrix, settings))


def relate(matrix: csr_matrix, settings: WalkSettings) -> csr_matrix:
    """strength(i -> c) over the rows of a matrix (people or visits by items): items by items, the strongest of each row."""
    per_row = np.maximum(sum_rows(matrix), 1e-9)
    per_item = np.maximum(sum_columns(matrix), 1e-9)
    powered = _power(matrix, settings.spread)
    # The product is symmetric but for the items' own factors, so one symmetric matrix finds the largest of each row.
    halves = scale_columns(scale_rows(powered, per_row ** (-settings.spread / 2)), per_item**-settings.damping)
    pairs = pair_columns(halves, settings.neighbours)
    return scale_rows(pairs, per_item ** (settings.damping - settings.spread))


def relate_visits(events: Events, settings: WalkSettings) -> csr_matrix:
    """strength(i -> c) over visits."""
    visits = int(events.sessions.max(initial=-1)) + 1
    ones = np.ones(len(events), np.float32)
    matrix = csr_matrix((ones, (events.sessions, events.items)), shape=(visits, events.shape[1]))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return relate(matrix, settings)


def relate_sequences(events: Events, settings: WalkSettings, window: int = 3) -> csr_matrix:
    """strength(i -> c) over what a person touched within `window` places after i, whenever that was."""
    order = np.lexsort((np.arange(len(events)), events.users))
    users, items = events.users[order], events.items[order]
    follows = csr_matrix((events.shape[1], events.shape[1]), dtype=np.float32)
    for gap in range(1, window + 1):
        same = (users[gap:] == users[:-gap]) & (items[gap:] != items[:-gap])
        weights = np.full(int(same.sum()), NEXT_FADE ** (gap - 1), np.float32)
        pairs = (items[:-gap][same], items[gap:][same])
        follows = csr_matrix(follows + csr_matrix((weights, pairs), shape=follows.shape))
    follows = scale_rows(follows, 1 / (sum_rows(follows) + NEXT_SUPPORT))
    people = np.maximum(sum_columns(count_pairs(events)), 1)
    return keep_largest(scale_columns(follows, people**-settings.damping), settings.neighbours)


def find_recent(events: Events, limit: int, decay: float) -> csr_matrix:
    """decay^place for each person's `limit` latest products (people by items); without times, 1 for all of them."""
    if not events.timed:
        return count_pairs(events)
    pair = events.users.astype(np.int64) * events.shape[1] + events.items
    backwards = np.arange(len(events))[::-1]
    _, latest = np.unique(pair[backwards], return_index=True)
    rows = backwards[latest]
    rows = rows[np.lexsort((-rows, events.users[rows]))]
    users: Ints = events.users[rows]
    place = np.arange(len(rows)) - np.searchsorted(users, users, side="left")
    kept = place < limit
    weights = (np.float64(decay) ** place[kept]).astype(np.float32)
    return csr_matrix((weights, (users[kept], events.items[rows][kept])), shape=events.shape)


def _power(matrix: csr_matrix, power: float) -> csr_matrix:
    raised = matrix.copy()
    raised.data = raised.data**power
    return raised
