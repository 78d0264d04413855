"""Tastes that many share, kept; what only chance brings together, left out: a low-pass filter over who touched what.

PureSVD (Cremonesi et al. 2010, doi 10.1145/1864708.1864721) over a matrix divided by the degrees of its people and items, which
makes it the ideal low-pass filter of the graph of both (GF-CF, Shen et al. 2021, arXiv:2108.07567):

    N = Du^-people  R  Di^-items  ~  U S V'        `factors` of them
    score(person) = N[person] V  (S / S1)^power  V'  Di^out

The decomposition is a randomised range finder's (Halko et al. 2011, doi 10.1137/090771806) over items alone, so its memory is
items times factors whatever the number of people. On Gowalla (29,858 people, 40,981 items, two cores) it takes 20 s for 1,024
factors; scipy's svds 52 s (arpack) and 47 s (propack) for 512. scikit-learn, which has the same, would be 30 MB more for these
lines. What scores are made of is here, which settings are tried in signals.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.linalg import eigh, qr
from scipy.sparse import csr_matrix

from agents.recommender.training.events import Floats, Ints
from agents.recommender.training.matrices import scale_columns, scale_rows, shape_of, sum_columns, sum_rows

SEED = 20261120
OVERSAMPLING = 64  # directions more than asked for: the last ones asked for converge through them
PASSES = 4  # over the matrix; on Gowalla (validation) .1546; 2 reach .149, 6 .1543
PAIRS_PER_FACTOR = 50  # fewer pairs bring chance into it: with 11,000 pairs (rees46-slice) 128 factors were best
BLOCK_VALUES = 4_000_000  # of people times factors at once: 16 MB
MOST_VALUES = 64_000_000  # of items times factors: 256 MB, three times that while it is fitted


@dataclass(frozen=True, kw_only=True)
class SpectralSettings:
    """Powers of the degrees of people and items, before and after, and of the spectrum; `factors` at most."""

    factors: int = 1024
    people: float = 0.4
    items: float = 0.4
    power: float = 0.5
    out: float = 0.3


@dataclass(frozen=True)
class Basis:
    """The largest singular values of a matrix, falling, and their right vectors (items, factors)."""

    values: Floats
    items: Floats


@dataclass(frozen=True)
class SpectralModel:
    """scores = (normal @ basis x weights) @ basis' x out: people's factors follow from their row and are not kept."""

    normal: csr_matrix
    basis: Floats
    weights: Floats
    out: Floats

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        people = np.asarray(self.normal[users] @ self.basis) * self.weights
        return (people @ self.basis.T) * self.out


def fit_spectral(matrix: csr_matrix, settings: SpectralSettings) -> SpectralModel:
    """The filter over weights of 0 or more; fewer factors than asked for where the matrix is small, or memory would be short."""
    per_person, per_item = (np.maximum(sums, 1) for sums in (sum_rows(matrix), sum_columns(matrix)))
    normal = scale_columns(scale_rows(matrix, per_person**-settings.people), per_item**-settings.items)
    basis = decompose(normal, bound_factors(settings.factors, shape_of(matrix), matrix.nnz))
    largest = max(float(basis.values.max(initial=0)), 1e-9)
    return SpectralModel(
        normal=normal,
        basis=basis.items,
        weights=(basis.values / largest) ** np.float32(settings.power),
        out=per_item ** np.float32(settings.out),
    )


def bound_factors(factors: int, shape: tuple[int, int], pairs: int) -> int:
    """At most what pairs can tell, half of the shorter side (all of it would filter nothing), what memory holds; at least 1."""
    return max(min(factors, pairs // PAIRS_PER_FACTOR, min(shape) // 2, MOST_VALUES // max(shape[1], 1)), 1)


def decompose(matrix: csr_matrix, factors: int) -> Basis:
    """The `factors` largest singular values and right vectors, by a fixed seed: the same every time."""
    items = shape_of(matrix)[1]
    width = min(factors + OVERSAMPLING, *shape_of(matrix))
    draw = np.random.default_rng(SEED).standard_normal((items, width), dtype=np.float32)
    found = _orthonormalise(draw)
    for _ in range(PASSES):
        found = _orthonormalise(_square(matrix, found))
    values, turn = eigh(found.T @ _square(matrix, found), check_finite=False)
    largest = np.argsort(-values, kind="stable")[:factors]
    return Basis(values=np.sqrt(np.maximum(values[largest], 0)), items=found @ turn[:, largest])


def _orthonormalise(vectors: Floats) -> Floats:
    found, _ = cast("tuple[Floats, Floats]", qr(vectors, mode="economic", overwrite_a=True, check_finite=False))
    return found


def _square(matrix: csr_matrix, vectors: Floats) -> Floats:
    """matrix' (matrix vectors), a block of people at a time."""
    total = np.zeros_like(vectors)
    for rows in _cut_rows(matrix, vectors.shape[1]):
        total += np.asarray(rows.T @ np.asarray(rows @ vectors))
    return total


def _cut_rows(matrix: csr_matrix, width: int) -> Iterator[csr_matrix]:
    size = max(BLOCK_VALUES // width, 1)
    for start in range(0, shape_of(matrix)[0], size):
        yield csr_matrix(matrix[start : start + size])
