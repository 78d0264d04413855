"""Latent factor models by the library `implicit`: ALS (ours and a peer) and BPR (a peer)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from agents.recommender.training.events import Floats, Ints

SEED = 20261120


@dataclass(frozen=True)
class FactorModel:
    """scores = people @ items'."""

    people: Floats
    items: Floats

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        return self.people[users] @ self.items.T


@dataclass(frozen=True, kw_only=True)
class AlsSettings:
    """`alpha` is the weight of a touch against 1 for no touch."""

    factors: int = 64
    regularisation: float = 1.0
    alpha: float = 10.0
    iterations: int = 15


def fit_als(matrix: csr_matrix, settings: AlsSettings) -> FactorModel:
    """Implicit ALS (Hu, Koren, Volinsky 2008) on weights above 0."""
    from implicit.cpu.als import AlternatingLeastSquares

    with _single_blas():
        model: Any = AlternatingLeastSquares(
            factors=settings.factors,
            regularization=settings.regularisation,
            alpha=settings.alpha,
            iterations=settings.iterations,
            random_state=SEED,
            num_threads=0,
        )
        model.fit(matrix, show_progress=False)
    return FactorModel(people=np.asarray(model.user_factors), items=np.asarray(model.item_factors))


def fit_bpr(matrix: csr_matrix, factors: int, rate: float, iterations: int) -> FactorModel:
    """Bayesian personalised ranking."""
    from implicit.cpu.bpr import BayesianPersonalizedRanking

    model: Any = BayesianPersonalizedRanking(
        factors=factors, learning_rate=rate, regularization=0.01, iterations=iterations, random_state=SEED
    )
    model.fit(matrix, show_progress=False)
    return FactorModel(people=np.asarray(model.user_factors), items=np.asarray(model.item_factors))


def _single_blas() -> AbstractContextManager[object]:
    """BLAS on one thread while `implicit` itself uses every core: threads within threads took several times as long."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")
