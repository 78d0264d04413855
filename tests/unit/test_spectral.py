"""The low-pass filter of stage 1 against a dense decomposition, and where it could go astray."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from agents.recommender.training import spectral
from agents.recommender.training.events import Floats, Ints
from agents.recommender.training.spectral import SpectralSettings, bound_factors, decompose, fit_spectral


def touched(people: int, items: int, seed: int = 0) -> Floats:
    """A sparse matrix of three tastes and some chance."""
    draw = np.random.default_rng(seed)
    alike = np.arange(people)[:, None] % 3 == np.arange(items)[None, :] % 3
    return (draw.random((people, items)) < np.where(alike, 0.4, 0.05)).astype(np.float32)


def everybody(matrix: Floats) -> Ints:
    """All rows."""
    return np.arange(len(matrix), dtype=np.int32)


def filter_dense(matrix: Floats, settings: SpectralSettings) -> Floats:
    """The formula of the module's docstring by numpy's whole decomposition."""
    people, items = np.maximum(matrix.sum(axis=1), 1), np.maximum(matrix.sum(axis=0), 1)
    normal = matrix * people[:, None] ** -settings.people * items[None, :] ** -settings.items
    _, values, vectors = np.linalg.svd(normal.astype(np.float64), full_matrices=False)
    vectors, values = vectors[: settings.factors], values[: settings.factors]
    return (normal @ vectors.T) * (values / values[0]) ** settings.power @ vectors * items**settings.out


@pytest.mark.parametrize("shape", [(300, 200), (200, 300)])
def test_the_filter_is_the_formula(shape: tuple[int, int]) -> None:
    """Prevents: a randomised decomposition that is near the spectrum's beginning and wrong at its end."""
    matrix = touched(*shape)  # more on either side than directions are drawn, so that it is no whole decomposition
    settings = SpectralSettings(factors=40, people=0.3, items=0.4, power=1.0, out=0.2)
    found = fit_spectral(csr_matrix(matrix), settings).score(everybody(matrix))
    assert found.dtype == np.float32
    assert found == pytest.approx(filter_dense(matrix, settings), abs=2e-3)


def test_blocks_of_people_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prevents: people left out, or counted twice, where a block ends."""
    matrix = csr_matrix(touched(90, 60))
    whole = decompose(matrix, 10)
    monkeypatch.setattr(spectral, "BLOCK_VALUES", 42 * 7)  # seven people at a time
    parts = decompose(matrix, 10)
    assert parts.values == pytest.approx(whole.values, rel=1e-4)
    assert np.abs((parts.items * whole.items).sum(axis=0)) == pytest.approx(np.ones(10), abs=1e-2)


def test_two_runs_are_one() -> None:
    """Prevents: candidates that change from night to night although nothing happened."""
    matrix = touched(50, 40)
    first, second = (
        fit_spectral(csr_matrix(matrix), SpectralSettings(factors=9)).score(everybody(matrix)) for _ in range(2)
    )
    assert (first == second).all()


def test_a_taste_reaches_what_was_not_touched() -> None:
    """Prevents: a filter that only gives back what went in: two groups of people, each with its own products."""
    matrix = np.kron(np.eye(2), np.ones((20, 10))).astype(np.float32)
    matrix[np.random.default_rng(1).random(matrix.shape) < 0.3] = 0
    scores = fit_spectral(csr_matrix(matrix), SpectralSettings(factors=2)).score(everybody(matrix))
    own = np.kron(np.eye(2), np.ones((20, 10))) > 0
    assert scores[own & (matrix == 0)].min() > 10 * np.abs(scores[~own]).max()


def test_who_or_what_is_unknown_scores_nothing() -> None:
    """Prevents: a division by a degree of zero, and a score made of rounding for what nobody has touched."""
    matrix = touched(30, 20)
    matrix[4] = 0
    matrix[:, 7] = 0
    scores = fit_spectral(csr_matrix(matrix), SpectralSettings(factors=8)).score(everybody(matrix))
    assert np.isfinite(scores).all()
    assert np.abs(scores[4]).max() == 0
    assert np.abs(scores[:, 7]).max() < 1e-6 < np.abs(scores).max()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (3, 2), (40, 30)])
def test_a_small_shop_has_few_factors(shape: tuple[int, int]) -> None:
    """Prevents: a first day on which training fails because more factors are asked for than there are products."""
    model = fit_spectral(csr_matrix(np.ones(shape, np.float32)), SpectralSettings(factors=1024))
    scores = model.score(np.arange(shape[0], dtype=np.int32))
    assert scores.shape == shape
    assert np.isfinite(scores).all()
    assert (scores > 0).all()
    assert model.basis.shape[1] == max(min(shape) // 2, 1)


def test_nobody_and_nothing() -> None:
    """Prevents: a matrix without a touch, as of a split's empty part, ending the night."""
    model = fit_spectral(csr_matrix((5, 4), dtype=np.float32), SpectralSettings(factors=2))
    assert not model.score(np.arange(5, dtype=np.int32)).any()


def test_memory_bounds_the_factors() -> None:
    """Prevents: a catalogue of a million products whose factors do not fit into the job's memory."""
    people, items = 10_000_000, 1_000_000
    assert bound_factors(1024, (people, items), 100_000_000) * items <= spectral.MOST_VALUES
    assert bound_factors(1024, (30_000, 41_000), 800_000) == 1024
    assert bound_factors(1024, (30_000, 41_000), 10_000) < 1024
