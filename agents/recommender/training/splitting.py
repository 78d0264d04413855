"""Splits events into what may be learned from and what is asked for. Nothing later than the cut is ever learned from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.sparse import csr_matrix, diags_array

from agents.recommender.training.events import Events, Flags, Ints
from agents.recommender.training.matrices import count_pairs

SEED = 20261120


@dataclass(frozen=True, kw_only=True)
class Split:
    """`known` (people by items) is masked unless repeats count; `wanted` is asked for; `users` are those asked, in order.

    `wanted_new` is wanted as well, but nobody has touched it in training. Most models cannot know such products, so they are
    neither asked for nor ranked, unless `ask_for_new`; where nothing was held out (None), everything is ranked. `test` is the
    part that was held out, for questions about its course.
    """

    train: Events
    known: csr_matrix
    wanted: csr_matrix
    users: Ints
    repeats: bool = False
    wanted_new: csr_matrix | None = None
    test: Events | None = None

    @cached_property
    def is_new(self) -> Flags:
        """The items that nobody has touched in training."""
        return ~touched_items(self.train)

    def ask_for_new(self) -> Split:
        """The same with what nobody has touched among what is asked for."""
        if self.wanted_new is None:
            return self
        wanted = csr_matrix(self.wanted + self.wanted_new)
        known = np.diff(self.known.indptr) > 0
        asked = np.isin(np.arange(len(known)), self.users) | (np.diff(self.wanted_new.indptr) > 0)
        return replace(self, wanted=wanted, users=np.flatnonzero(known & asked).astype(np.int32), wanted_new=None)


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
    seen = touched_items(train)
    wanted, wanted_new = _keep_items(wanted, seen), _keep_items(wanted, ~seen)
    users = np.flatnonzero((np.diff(wanted.indptr) > 0) & (np.diff(known.indptr) > 0)).astype(np.int32)
    if at_most and len(users) > at_most:
        users = np.sort(np.random.default_rng(SEED).choice(users, at_most, replace=False))
    return Split(
        train=train,
        known=known,
        wanted=wanted,
        users=users,
        repeats=repeats,
        wanted_new=wanted_new,
        test=test,
    )


def touched_items(events: Events) -> Flags:
    """Which items anybody has touched."""
    found = np.zeros(events.shape[1], dtype=np.bool_)
    found[events.items] = True
    return found


def _keep_items(matrix: csr_matrix, items: Flags) -> csr_matrix:
    kept = csr_matrix(matrix @ diags_array(items.astype(np.float32)))
    kept.eliminate_zeros()
    return kept
