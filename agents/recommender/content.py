"""Which products are alike by what is said of them: category, brand and the words of the name. For what nobody has touched.

TF-IDF and cosine (Salton and Buckley 1988). Owns the words and their weights; who is asked for which products, the callers
know: training for candidates (training/signals.py), the job publish_serving for what an answer needs. Values in, values out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array, vstack

NEIGHBOURS = 50
LEAST_LIKE = 0.05  # a cosine below is one common word
BLOCK_ROWS = 512
_WORD = re.compile(r"[^\W_]+")
_LATIN_END = "\u0530"  # scripts beyond, many of which write words together or bend them, are cut into pairs of letters


def list_words(name: str | None, category: str | None, brand: str | None) -> list[str]:
    """What a product is known by: words of its name, its brand, its category and everything above that."""
    words = [part for word in _WORD.findall((name or "").casefold()) for part in _cut(word)]
    if brand:
        words.append(f"brand={brand.casefold()}")
    levels = re.split(r"\s*[./>|]\s*", category.casefold()) if category else []
    return words + [f"category={'/'.join(levels[:depth])}" for depth in range(1, len(levels) + 1)]


def weigh_words(products: Iterable[list[str]]) -> csr_matrix:
    """Products by words: each word as rare as it is, rows of length 1; a word that only one product has relates nothing."""
    numbers: dict[str, int] = {}
    starts, columns = [0], list[int]()
    for words in products:
        columns += [numbers.setdefault(word, len(numbers)) for word in dict.fromkeys(words)]
        starts.append(len(columns))
    shape = (len(starts) - 1, max(len(numbers), 1))
    matrix = csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape=shape)
    count = np.asarray(matrix.sum(axis=0), dtype=np.float32).ravel()
    rare = np.where(count > 1, np.log((1 + shape[0]) / np.maximum(count, 1)), 0)
    matrix = csr_matrix(matrix @ diags_array(rare.astype(np.float32)))
    length = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), dtype=np.float32).ravel())
    return csr_matrix(diags_array(1 / np.maximum(length, np.float32(1e-6))) @ matrix)


def find_alike(
    words: csr_matrix, wanted: Sequence[bool] | NDArray[np.bool_] | None = None, count: int = NEIGHBOURS
) -> csr_matrix:
    """Cosines of each product with the `count` likest others (of those that are `wanted`): products by products."""
    others = words if wanted is None else csr_matrix(diags_array(np.asarray(wanted, dtype=np.float32)) @ words)
    columns = csr_matrix(others.T)
    blocks = list(_find_blocks(words, columns, count))
    return csr_matrix(vstack(blocks, format="csr"), dtype=np.float32) if blocks else csr_matrix((0, 0))


def _find_blocks(words: csr_matrix, columns: csr_matrix, count: int) -> Iterator[csr_matrix]:
    size = len(words.indptr) - 1
    for start in range(0, size, BLOCK_ROWS):
        block = csr_matrix(words[start : start + BLOCK_ROWS] @ columns)
        rows = np.repeat(np.arange(len(block.indptr) - 1), np.diff(block.indptr))
        kept = (block.data >= LEAST_LIKE) & (rows + start != block.indices)
        rows, likes, cosines = rows[kept], block.indices[kept], np.asarray(block.data[kept], np.float32)
        order = np.lexsort((likes, np.negative(cosines), rows))
        place = np.arange(len(order)) - np.searchsorted(rows[order], rows[order])
        order = np.sort(order[place < count])
        shape = (min(BLOCK_ROWS, size - start), size)
        yield csr_matrix((cosines[order], (rows[order], likes[order])), shape=shape)


def _cut(word: str) -> list[str]:
    if word[0] < _LATIN_END or len(word) < 3:
        return [word]
    return [word[place : place + 2] for place in range(len(word) - 1)]
