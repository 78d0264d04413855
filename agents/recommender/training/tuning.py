"""Chooses settings on a validation split: the same split, figure and number of trials for every model, ours or a peer's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agents.recommender.training.events import Events, Ints
from agents.recommender.training.metrics import ndcg
from agents.recommender.training.ranking import Model, find_hits, rank
from agents.recommender.training.splitting import Split

CUT = 20
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The best settings tried, their NDCG@20 on the validation split, the fitted model, how many were tried."""

    values: dict[str, float]
    ndcg: float
    model: Model
    trials: int


def measure(lists: Ints, split: Split) -> float:
    """Mean NDCG@20 over the split's people; 0 when it asks nobody."""
    if not len(split.users):
        return 0.0
    relevant = np.diff(split.wanted.indptr)[split.users].astype(np.int32)
    return float(ndcg(find_hits(lists, split.wanted, split.users), relevant, CUT).mean())


def tune(
    name: str,
    fit: Callable[[Events, Mapping[str, float]], Model | None],
    settings: Sequence[Mapping[str, float]],
    split: Split,
) -> Tuned | None:
    """Fits with each of the settings on the split's training part; the best, or None where the model does not apply."""
    best: Tuned | None = None
    for trial, values in enumerate(settings, start=1):
        started = time.monotonic()
        model = fit(split.train, values)
        if model is None:
            return None
        figure = measure(rank(model, split, CUT), split)
        log.info(
            "%s %d/%d: NDCG@20 %.4f in %.1f s %s",
            name,
            trial,
            len(settings),
            figure,
            time.monotonic() - started,
            values,
        )
        if best is None or figure > best.ndcg:
            best = Tuned(values=dict(values), ndcg=figure, model=model, trials=trial)
    return best and Tuned(values=best.values, ndcg=best.ndcg, model=best.model, trials=len(settings))
