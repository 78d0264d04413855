"""Puts the two stages together. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from agents.recommender.candidates import Candidate
from agents.recommender.items import Item
from agents.recommender.paths import Relevance

# Reciprocal rank fusion: the stages' scores are not comparable, their orders are. 10 instead of the customary 60 lets
# the first places matter in lists of at most 100.
FUSION_CONSTANT = 10


def rank_items(candidates: list[Candidate], relevance: Mapping[str, Relevance], limit: int) -> list[Item]:
    """The best `limit` candidates by both orders; without relevance, the order of stage 1."""
    by_path = sorted(relevance, key=lambda product_id: (-relevance[product_id].score, product_id))
    path_places = {product_id: place for place, product_id in enumerate(by_path, start=1)}
    scored = [
        (_fuse(place, path_places.get(candidate.product_id)), candidate)
        for place, candidate in enumerate(candidates, start=1)
    ]
    scored.sort(key=lambda pair: -pair[0])
    return [_make_item(candidate, score, relevance.get(candidate.product_id)) for score, candidate in scored[:limit]]


def _fuse(place: int, path_place: int | None) -> float:
    score = 1 / (FUSION_CONSTANT + place)
    return score + 1 / (FUSION_CONSTANT + path_place) if path_place else score


def _make_item(candidate: Candidate, score: float, relevance: Relevance | None) -> Item:
    paths = list(relevance.paths) if relevance else []
    if candidate.buyers and not paths:
        paths = [f"bought by {candidate.buyers} people in 90 days"]
    return Item(
        product_id=candidate.product_id,
        name=candidate.name or candidate.product_id,
        category=candidate.category,
        price=_trim(candidate.price),
        score=round(score, 6),
        paths=paths,
    )


def _trim(price: Decimal | None) -> Decimal | None:
    """Without the zeros that a NUMERIC column fills up with: 2.08 for 2.080000000, but 10 and not 1E+1."""
    return None if price is None else Decimal(f"{price.normalize():f}")
