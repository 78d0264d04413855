"""Chooses settings on a validation split: the same split, figure and number of trials for every model, ours or a peer's."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace

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
    model: Model | None
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
    tried: MutableMapping[str, float] | None = None,
) -> Tuned | None:
    """Fits with each of the settings on the split's training part; the best, or None where the model does not apply.

    `tried` keeps every figure: what it holds already, of a run that was broken off, is not fitted again.
    """
    best: Tuned | None = None
    known = {} if tried is None else tried
    for trial, values in enumerate(settings, start=1):
        key = f"{name} {dict(values)}"
        model = None
        if key not in known:
            started = time.monotonic()
            model = fit(split.train, values)
            if model is None:
                return None
            known[key] = measure(rank(model, split, CUT), split)
            seconds = time.monotonic() - started
            log.info("%s %d/%d: NDCG@20 %.4f in %.1f s %s", name, trial, len(settings), known[key], seconds, values)
        if best is None or known[key] > best.ndcg:
            best = Tuned(values=dict(values), ndcg=known[key], model=model, trials=len(settings))
    if best is None or best.model:
        return best
    return replace(best, model=fit(split.train, best.values))
