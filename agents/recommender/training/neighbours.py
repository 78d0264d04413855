"""Item-to-item models with a closed form: EASE, and the cosine neighbours that everybody compares with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack
from scipy.sparse import csr_matrix

from agents.recommender.training.events import Floats, Ints
from agents.recommender.training.matrices import (
    keep_largest,
    pair_columns,
    scale_columns,
    scale_rows,
    shape_of,
    sum_columns,
    sum_rows,
)

EASE_SIDE = 12_000
"""The longest side of the square matrix that EASE inverts: 1.2 GB at the peak and 20 s on two cores; both grow fast."""


class NotPositive(ValueError):
    """The regularisation is too small for the matrix."""


@dataclass(frozen=True)
class LinearModel:
    """scores = start @ links: people by items, times items by items."""

    start: csr_matrix
    links: csr_matrix

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        return (self.start[users] @ self.links).toarray()


@dataclass(frozen=True)
class Ease:
    """EASE (Steck 2019, arXiv:1905.03375), kept as what scores a person and not as its dense item-by-item matrix.

    `inverse` is (X'X + aI)^-1 over items, or (XX' + aI)^-1 over people where those are fewer: by the push-through identity
    X (X'X + aI)^-1 = (XX' + aI)^-1 X, so both give the same scores. `own` is each item's diagonal of the first.
    """

    matrix: csr_matrix
    by_item: csr_matrix
    inverse: Floats
    own: Floats
    over_people: bool

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        if self.over_people:
            reached = np.asarray(self.by_item @ self.inverse[:, users]).T
        else:
            reached = np.asarray(self.matrix[users] @ self.inverse)
        return self.matrix[users].toarray() - reached / self.own


@dataclass(frozen=True)
class PartModel:
    """A model of some items; the others score 0."""

    model: Ease
    chosen: Ints
    items: int

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        scores = np.zeros((len(users), self.items), np.float32)
        scores[:, self.chosen] = self.model.score(users)
        return scores


def fit_ease_within(matrix: csr_matrix, regularisation: float, side: int = EASE_SIDE) -> Ease | PartModel:
    """EASE where its shorter side is at most `side`; else over the `side` most popular items, and only those score."""
    if min(shape_of(matrix)) <= side:
        return fit_ease(matrix, regularisation)
    chosen = np.sort(np.argsort(-sum_columns(matrix), kind="stable")[:side]).astype(np.int32)
    part = fit_ease(csr_matrix(matrix[:, chosen]), regularisation)
    return PartModel(model=part, chosen=chosen, items=shape_of(matrix)[1])


def fit_ease(matrix: csr_matrix, regularisation: float) -> Ease:
    """Fit by one Cholesky inverse of the shorter side.

    Raises:
        NotPositive: the regularisation is too small.
    """
    people, items = shape_of(matrix)
    over_people = people < items
    gram = csr_matrix(matrix @ matrix.T) if over_people else csr_matrix(matrix.T @ matrix)
    inverse = _invert(gram, regularisation)
    own = _own_of_people(matrix, inverse, regularisation) if over_people else np.diag(inverse).copy()
    return Ease(matrix=matrix, by_item=csr_matrix(matrix.T), inverse=inverse, own=own, over_people=over_people)


def _own_of_people(matrix: csr_matrix, inverse: Floats, regularisation: float) -> Floats:
    """The diagonal of (X'X + aI)^-1 = (I - X' M X) / a, from M over people (Woodbury)."""
    columns = csr_matrix(matrix.T)
    bound = np.zeros(shape_of(columns)[0], np.float32)
    for item in range(shape_of(columns)[0]):
        start, end = columns.indptr[item], columns.indptr[item + 1]
        people, weights = columns.indices[start:end], columns.data[start:end]
        bound[item] = weights @ (inverse[np.ix_(people, people)] @ weights)
    return np.maximum((1 - bound) / regularisation, 1e-9).astype(np.float32)


def _invert(gram: csr_matrix, regularisation: float) -> Floats:
    factorise, invert = lapack.get_lapack_funcs(("potrf", "potri"), dtype=np.float32)  # in place: no second matrix
    size = shape_of(gram)[0]
    full = np.zeros((size, size), dtype=np.float32, order="F")
    rows = np.repeat(np.arange(size), np.diff(gram.indptr))
    full[rows, gram.indices] = gram.data
    full[np.diag_indices(size)] += np.float32(regularisation)
    full, failed = factorise(full, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise NotPositive(f"EASE with regularisation {regularisation}: the matrix is not positive definite; raise it")
    full, failed = invert(full, lower=1, overwrite_c=1)
    for start in range(0, size, 1024):  # the upper half mirrors the lower, a block at a time, without a second matrix
        end = min(start + 1024, size)
        full[start:end, end:] = full[end:, start:end].T
        block = full[start:end, start:end]
        full[start:end, start:end] = np.tril(block) + np.tril(block, -1).T
    return full.T  # the same, by rows: of columns, every product with a sparse matrix would copy the whole


def fit_item_knn(matrix: csr_matrix, neighbours: int, shrink: float) -> LinearModel:
    """Item-kNN: cosine similarity, shrunk while few people support it, the largest per item."""
    norms = np.sqrt(sum_columns(csr_matrix(matrix.multiply(matrix))))
    norms = np.maximum(norms, np.float32(1e-9))
    # More than asked for, because the shrinkage changes the order.
    links = pair_columns(scale_columns(matrix, 1 / norms), neighbours * 4 if shrink else neighbours)
    if shrink:
        rows = np.repeat(np.arange(shape_of(links)[0]), np.diff(links.indptr))
        both = norms[rows] * norms[links.indices]
        links.data = links.data * both / (both + np.float32(shrink))
        links = keep_largest(links, neighbours)
    return LinearModel(start=matrix, links=csr_matrix(links.T))


@dataclass(frozen=True)
class PeopleModel:
    """What people with like tastes touched: people by people, times people by items, looked up person by person."""

    alike: csr_matrix
    touched: csr_matrix

    def score(self, users: Ints) -> Floats:
        """Scores of all items, (people, items)."""
        return (self.alike[users] @ self.touched).toarray()


def fit_people_knn(matrix: csr_matrix, neighbours: int, damping: float) -> PeopleModel:
    """User-kNN: cosine over items, each divided by its popularity to `damping`; popular items count less again in the sum."""
    per_item = np.maximum(sum_columns(matrix), 1)
    rare = scale_columns(matrix, per_item ** np.float32(-damping / 2))
    norms = np.sqrt(np.maximum(sum_rows(csr_matrix(rare.multiply(rare))), np.float32(1e-9)))
    alike = pair_columns(csr_matrix(scale_rows(rare, 1 / norms).T), neighbours)
    return PeopleModel(alike=alike, touched=scale_columns(matrix, per_item ** np.float32(-damping / 4)))
