"""Person-by-item matrices of events: who touched what, how much, how lately. Sparse, float32, CSR."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array

from agents.recommender.training.events import ORDERED, Events, Floats

KIND_WEIGHTS = np.array([1.0, 2.0, 3.0], dtype=np.float32)  # viewed, added, ordered


def count_pairs(events: Events) -> csr_matrix:
    """1 where a person touched an item."""
    matrix = csr_matrix((np.ones(len(events), np.float32), (events.users, events.items)), shape=events.shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def weigh_pairs(events: Events, half_life_days: float | None = None) -> csr_matrix:
    """Implicit feedback: kind x (1 + log of quantity), halved every `half_life_days`, summed with falling returns.

    The largest weight of a person's pair of events counts fully, all of them together as 1 + log; so a hundred views are
    no hundred orders.
    """
    weights = KIND_WEIGHTS[events.kinds]
    ordered = events.kinds == ORDERED
    weights = np.where(ordered, weights * (1 + np.log1p(np.maximum(events.quantities - 1, 0)) / 5), weights)
    if half_life_days and len(events):
        weights = weights * np.exp2((events.days - events.days.max()) / half_life_days)
    matrix = csr_matrix((weights.astype(np.float32), (events.users, events.items)), shape=events.shape)
    matrix.sum_duplicates()
    matrix.data = np.log1p(matrix.data)
    return matrix


def damp_popular(matrix: csr_matrix, power: float) -> csr_matrix:
    """Each column divided by its number of people, against the median's, to a power."""
    if not power:
        return matrix
    people = np.maximum(np.asarray(matrix.count_nonzero(axis=0), dtype=np.float32), 1)
    return scale_columns(matrix, (people / np.median(people)) ** np.float32(-power))


def shape_of(matrix: csr_matrix) -> tuple[int, int]:
    """(rows, columns); scipy's types leave it open."""
    return cast("tuple[int, int]", matrix.shape)


def scale_rows(matrix: csr_matrix, factors: NDArray[np.floating[Any]]) -> csr_matrix:
    """Each row times its factor."""
    return csr_matrix(diags_array(factors.astype(np.float32)) @ matrix)


def scale_columns(matrix: csr_matrix, factors: NDArray[np.floating[Any]]) -> csr_matrix:
    """Each column times its factor."""
    return csr_matrix(matrix @ diags_array(factors.astype(np.float32)))


def sum_rows(matrix: csr_matrix) -> Floats:
    """The sum of each row."""
    return np.asarray(matrix.sum(axis=1), dtype=np.float32).ravel()


def sum_columns(matrix: csr_matrix) -> Floats:
    """The sum of each column."""
    return np.asarray(matrix.sum(axis=0), dtype=np.float32).ravel()


def pair_columns(matrix: csr_matrix, count: int) -> csr_matrix:
    """The `count` largest products of each column with the others: matrix' @ matrix, pruned by row, without the diagonal.

    By `implicit`, on every core, one row at a time: the whole product of 41,000 items would have 10^8 entries.
    """
    from implicit.nearest_neighbours import all_pairs_knn

    pairs = csr_matrix(
        all_pairs_knn(matrix.astype(np.float64), count + 1, show_progress=False, num_threads=0), dtype=np.float32
    )
    pairs.setdiag(0)
    pairs.eliminate_zeros()
    return pairs


def keep_largest(matrix: csr_matrix, count: int) -> csr_matrix:
    """At most the `count` largest entries of each row (ties: the lower column)."""
    starts = np.asarray(matrix.indptr)
    rows = np.repeat(np.arange(shape_of(matrix)[0]), np.diff(starts))
    order = np.lexsort((matrix.indices, np.negative(matrix.data), rows))
    place = np.arange(len(order)) - starts[rows[order]]
    kept = np.sort(order[place < count])
    return csr_matrix((matrix.data[kept], (rows[kept], matrix.indices[kept])), shape=matrix.shape)
