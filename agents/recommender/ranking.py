"""Puts the two stages together. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from agents.recommender.candidates import Candidate
from agents.recommender.items import Item, Link, Relation
from agents.recommender.learned import UNLEARNED, Weights
from agents.recommender.paths import Relevance

POPULAR_SCORE = 0.000001  # what training (run.py) gives at most to what it only filled up with


def rank_items(
    candidates: Sequence[Candidate],
    relevance: Mapping[str, Relevance],
    weights: Weights = UNLEARNED,
    path_weight: float | None = None,
) -> list[Item]:
    """The candidates by both stages, best first; the formula is the contract in training/walks.py.

    `path_weight`: what all paths count together against stage 1, whatever was learned of it; None: as it was learned.
    """
    parts = {one.product_id: relevance[one.product_id].parts for one in candidates if one.product_id in relevance}
    largest: dict[str, float] = {}
    for kinds in parts.values():
        for kind, part in kinds.items():
            largest[kind] = max(part, largest.get(kind, 0.0))
    counted = weights.kinds if path_weight is None else weights.stress(path_weight, largest)
    best = max((one.score for one in candidates), default=0.0)
    first = weights.stage_1 / best if best > POPULAR_SCORE else 1.0
    scored = [
        (
            first * one.score
            + sum(
                counted.get(kind, 0.0) * part / largest[kind] for kind, part in parts.get(one.product_id, {}).items()
            ),
            one,
        )
        for one in candidates
    ]
    scored.sort(key=lambda pair: -pair[0])
    return [_make_item(candidate, score, relevance.get(candidate.product_id)) for score, candidate in scored]


def is_personal(candidates: Sequence[Candidate]) -> bool:
    """Whether stage 1 knew the person: something is here for more than being popular."""
    return any(one.is_listed and not one.buyers and one.score > POPULAR_SCORE for one in candidates)


def _make_item(candidate: Candidate, score: float, relevance: Relevance | None) -> Item:
    name = candidate.name or (relevance.name if relevance else "") or candidate.product_id
    links = list(relevance.links) if relevance else _link_without_path(candidate)
    return Item(
        product_id=candidate.product_id,
        name=name,
        category=candidate.category,
        price=_trim(candidate.price),
        score=round(score, 6),
        paths=[link.describe(name) for link in links],
        links=links,
    )


def _link_without_path(candidate: Candidate) -> list[Link]:
    """Why a candidate is here to which no path leads: popular, or like what the person knows; nothing where taste brought it."""
    if candidate.is_new:
        return [Link(relation=Relation.ALIKE, count=0)]
    if candidate.buyers or candidate.score <= POPULAR_SCORE:
        return [Link(relation=Relation.POPULAR, count=candidate.buyers)]
    return []


def _trim(price: Decimal | None) -> Decimal | None:
    """Without the zeros that a NUMERIC column fills up with: 2.08 for 2.080000000, but 10 and not 1E+1."""
    return None if price is None else Decimal(f"{price.normalize():f}")
