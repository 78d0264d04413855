"""Which products belong together beyond chance, in matrix form: what stage 2 walks over, learned from events at hand.

This is schemas/bigquery/models/product_relations.sql over arrays, with its constants; a test holds both to the same relations.
The warehouse's own are what the graph serves; these let a validation split say what they are worth, without seeing its future.
Work is done a block of pairs at a time, so memory is bounded by a block and by what is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from agents.recommender.training.events import ORDERED, Events, Flags, Ints
from agents.recommender.training.matrices import keep_largest
from schemas.graph import RelationKind

DAYS = 365.0
HALF_LIFE_DAYS = 90.0
STEP_DAYS = 30.0
UNIT_PRODUCTS = 40
FEWEST_PEOPLE = 3
FALSE_ONES = 0.05
SUPPORT = 5
NEIGHBOURS = 50
BLOCK_PAIRS = 4_000_000  # about 200 MB
Numbers = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class _Units:
    """Orders, visits or steps: whose each is, its weight, and which products it leads from (left) and to (right)."""

    people: Ints
    weights: Values
    left: tuple[Ints, Ints]  # unit, item
    right: tuple[Ints, Ints]


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """Pairs of products that occur in one unit: units, people, and the units' weights together."""

    left: Ints
    right: Ints
    support: Numbers
    people: Numbers
    both: Values


def relate_significant(events: Events, kind: RelationKind) -> csr_matrix | None:
    """strength(i -> c), items by items: the significant relations of a kind; None where no event is of that kind."""
    recent = events.select(events.days > events.days.max() - DAYS) if events.timed and len(events) else events
    if kind is RelationKind.THEN:
        units = _find_steps(recent) if events.timed else None
    else:
        ordered = recent.kinds == ORDERED
        units = _find_baskets(recent.select(ordered if kind is RelationKind.BOUGHT_WITH else ~ordered))
    if units is None or not len(units.weights):
        return None
    return _relate(units, events.shape[1])


def _relate(units: _Units, items: int) -> csr_matrix:
    total = float(units.weights.sum())
    rows, columns = (
        np.bincount(part[1], units.weights[part[0]], items).astype(np.float64) for part in (units.left, units.right)
    )
    tests = int((rows > 0).sum()) * int((columns > 0).sum())
    links = csr_matrix((items, items), dtype=np.float32)
    for pairs in _count_pairs(units, items):
        kept = _is_significant(pairs, (rows[pairs.left], columns[pairs.right], total), tests)
        both, support = pairs.both[kept], pairs.support[kept]
        left, right = pairs.left[kept], pairs.right[kept]
        scores = both / np.sqrt(rows[left] * columns[right]) * support / (support + SUPPORT)
        block = csr_matrix((scores.astype(np.float32), (left, right)), shape=(items, items))
        links = csr_matrix(links + keep_largest(block, NEIGHBOURS))
    return links


def _is_significant(pairs: _Pairs, counts: tuple[Values, Values, float], tests: int) -> Flags:
    """Dunning's log-likelihood ratio against Bonferroni's bound, for at least three people."""
    row, column, total = counts
    cells = (
        (pairs.both, row * column),
        (row - pairs.both, row * (total - column)),
        (column - pairs.both, (total - row) * column),
        (total - row - column + pairs.both, (total - row) * (total - column)),
    )
    ratio = np.zeros(len(pairs.both))
    for cell, expected in cells:
        there = cell > 1e-9
        ratio[there] += 2 * cell[there] * np.log(cell[there] * total / expected[there])
    beyond = pairs.both * total > row * column
    return (pairs.people >= FEWEST_PEOPLE) & beyond & (ratio >= 2 * np.log(tests / FALSE_ONES))


def _count_pairs(units: _Units, items: int) -> Iterator[_Pairs]:
    """Pairs of all units, complete for the left products of each block."""
    order = np.argsort(units.right[0], kind="stable")
    right_items = units.right[1][order]
    starts = np.searchsorted(units.right[0][order], np.arange(len(units.weights) + 1))
    order = np.argsort(units.left[1], kind="stable")
    left_units, left_items = units.left[0][order], units.left[1][order]
    sizes = np.diff(starts)[left_units]
    for begin, end in _cut_blocks(left_items, sizes):
        size = sizes[begin:end]
        offsets = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        unit = np.repeat(left_units[begin:end], size)
        left = np.repeat(left_items[begin:end], size)
        right = right_items[np.repeat(starts[left_units[begin:end]], size) + offsets]
        other = left != right
        yield _gather(units, (unit[other], left[other], right[other]), items)


def _gather(units: _Units, rows: tuple[Ints, Ints, Ints], items: int) -> _Pairs:
    unit, left, right = rows
    people = int(units.people.max()) + 1
    pair = left.astype(np.int64) * items + right
    order = np.lexsort((units.people[unit], pair)) if people < len(units.people) else np.argsort(pair, kind="stable")
    pair, person = pair[order], units.people[unit][order]
    first = np.concatenate([[True], pair[1:] != pair[:-1]]) if len(pair) else np.zeros(0, np.bool_)
    new = first | np.concatenate([[True], person[1:] != person[:-1]]) if len(pair) else first
    begins = np.flatnonzero(first)
    return _Pairs(
        left=(pair[begins] // items).astype(np.int32),
        right=(pair[begins] % items).astype(np.int32),
        support=np.diff(np.append(begins, len(pair))),
        people=np.add.reduceat(new.astype(np.int64), begins) if len(begins) else begins,
        both=np.add.reduceat(units.weights[unit][order], begins) if len(begins) else np.zeros(0),
    )


def _cut_blocks(left_items: Ints, sizes: Numbers) -> Iterator[tuple[int, int]]:
    """Ranges of rows, each of whole products, of at most BLOCK_PAIRS pairs (or one product)."""
    ends = np.flatnonzero(np.diff(left_items, append=-1)) + 1  # after each product's last row
    pairs = np.cumsum(sizes)  # up to and with each row
    reached = pairs[ends - 1] if len(ends) else ends
    begin, done = 0, 0
    while begin < len(left_items):
        place = max(int(np.searchsorted(reached, done + BLOCK_PAIRS, side="right")) - 1, 0)
        end = int(ends[place]) if ends[place] > begin else int(ends[np.searchsorted(ends, begin, side="right")])
        yield begin, end
        begin, done = end, int(pairs[end - 1])


def _find_baskets(events: Events) -> _Units | None:
    """Each visit's latest products, at most UNIT_PRODUCTS."""
    if not len(events):
        return None
    sessions, unit = np.unique(events.sessions, return_inverse=True)
    latest = _keep_last(unit, events.items, events.days)
    unit, items, days = unit[latest].astype(np.int32), events.items[latest], events.days[latest]
    people = np.zeros(len(sessions), np.int32)
    people[unit] = events.users[latest]
    ends = np.full(len(sessions), -np.inf)
    np.maximum.at(ends, unit, days)
    return _Units(people=people, weights=_age(ends, events), left=(unit, items), right=(unit, items))


def _find_steps(events: Events) -> _Units | None:
    """From each moment of a person to that person's next one, within STEP_DAYS."""
    if not len(events):
        return None
    order = np.lexsort((events.items, events.days, events.users))
    users, days, items = events.users[order], events.days[order], events.items[order]
    new = np.concatenate([[True], (users[1:] != users[:-1]) | (days[1:] != days[:-1])])
    moment = np.cumsum(new) - 1
    again = np.concatenate([[False], (moment[1:] == moment[:-1]) & (items[1:] == items[:-1])])
    moment, items = moment[~again], items[~again]
    place = np.arange(len(moment)) - np.searchsorted(moment, moment)
    moment, items = moment[place < UNIT_PRODUCTS], items[place < UNIT_PRODUCTS]
    begins = np.flatnonzero(new)
    who, when = users[begins], days[begins]
    follows = (who[1:] == who[:-1]) & (when[1:] - when[:-1] <= STEP_DAYS)
    number = np.full(len(begins) + 1, -1, np.int32)  # of the step that leaves a moment
    number[:-1][np.append(follows, False)] = np.arange(follows.sum())
    from_unit, to_unit = number[moment], np.where(moment > 0, number[moment - 1], -1)
    return _Units(
        people=who[:-1][follows].astype(np.int32),
        weights=_age(when[1:][follows], events),
        left=(from_unit[from_unit >= 0], items[from_unit >= 0]),
        right=(to_unit[to_unit >= 0], items[to_unit >= 0]),
    )


def _keep_last(unit: Numbers, items: Ints, days: Values) -> Numbers:
    """The rows of each unit's UNIT_PRODUCTS latest products, each product once."""
    order = np.lexsort((-days, items, unit))
    first = np.concatenate([[True], (unit[order][1:] != unit[order][:-1]) | (items[order][1:] != items[order][:-1])])
    rows = order[first]
    rows = rows[np.lexsort((items[rows], -days[rows], unit[rows]))]
    place = np.arange(len(rows)) - np.searchsorted(unit[rows], unit[rows])
    return rows[place < UNIT_PRODUCTS]


def _age(days: Values, events: Events) -> Values:
    """Half as much every HALF_LIFE_DAYS."""
    return np.exp2((days - events.days.max()) / HALF_LIFE_DAYS) if len(days) else np.zeros(0)
