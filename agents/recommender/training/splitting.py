"""Splits events into what may be learned from and what is asked for. Nothing later than the cut is ever learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix, diags_array

from agents.recommender.training.events import Events, Ints
from agents.recommender.training.matrices import count_pairs

SEED = 20261120


@dataclass(frozen=True, kw_only=True)
class Split:
    """`known` (people by items) is masked unless repeats count; `wanted` is asked for; `users` are those asked, in order."""

    train: Events
    known: csr_matrix
    wanted: csr_matrix
    users: Ints
    repeats: bool = False


def split_by_time(events: Events, share: float) -> tuple[Events, Events]:
    """The earlier `share` of the events, and those after that moment."""
    cut = np.quantile(events.days, share)
    return events.select(events.days <= cut), events.select(events.days > cut)


def split_at_random(events: Events, share: float) -> tuple[Events, Events]:
    """For events without times: of each person's events, `share` (rounded up) and the rest, drawn by a fixed seed."""
    draw = np.random.default_rng(SEED).random(len(events))
    order = np.lexsort((draw, events.users))
    users = events.users[order]
    counts = np.bincount(users, minlength=events.shape[0])
    place = np.arange(len(events)) - np.searchsorted(users, users, side="left")
    earlier = np.zeros(len(events), dtype=np.bool_)
    earlier[order] = place < np.ceil(counts[users] * share)
    return events.select(earlier), events.select(~earlier)


def make_split(train: Events, test: Events, *, repeats: bool = False, at_most: int = 0) -> Split:
    """Who can be asked for what: people and items that the training knows; of the people at most `at_most`, by a fixed seed.

    Without `repeats`, what a person has touched in training is not asked for. People new in the test are no part of it:
    every model answers them with popularity.
    """
    known = count_pairs(train)
    wanted = count_pairs(test)
    if not repeats:
        wanted = csr_matrix(wanted - wanted.multiply(known))
    seen = np.asarray(known.sum(axis=0)).ravel() > 0
    wanted = csr_matrix(wanted @ diags_array(seen.astype(np.float32)))
    wanted.eliminate_zeros()
    users = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(known.indptr) > 0)).astype(np.int32)
    if at_most and len(users) > at_most:
        users = np.sort(np.random.default_rng(SEED).choice(users, at_most, replace=False))
    return Split(train=train, known=known, wanted=wanted, users=users, repeats=repeats)
