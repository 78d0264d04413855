"""Puts the two stages together. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from agents.recommender.candidates import Candidate
from agents.recommender.items import Item
from agents.recommender.paths import Relevance

# Reciprocal rank fusion: the stages' scores are not comparable, their orders are. Tuned on Online Retail (trained on
# 2011-11-07 to 11-27, asked for new products of the 378 people who came back by 12-08; hit@5 / recall@20): popularity
# 0.249 / 0.071, stage 1 0.400 / 0.143, paths alone 0.286 / 0.110, both with weight 1 0.381 / 0.134, with 0.25 0.405 / 0.141.
# So paths decide between neighbours and explain; they do not improve the hits yet.
FUSION_CONSTANT = 10
PATH_WEIGHT = 0.25
POPULAR_SCORE = 0.000001  # what training (run.py) gives at most to what it only filled up with


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
    return score + PATH_WEIGHT / (FUSION_CONSTANT + path_place) if path_place else score


def _make_item(candidate: Candidate, score: float, relevance: Relevance | None) -> Item:
    paths = list(relevance.paths) if relevance else _describe_popularity(candidate)
    return Item(
        product_id=candidate.product_id,
        name=candidate.name or candidate.product_id,
        category=candidate.category,
        price=_trim(candidate.price),
        score=round(score, 6),
        paths=paths,
    )


def _describe_popularity(candidate: Candidate) -> list[str]:
    """Why a candidate is here that only popularity brought, such as to a stranger; nothing for any other."""
    if candidate.buyers:
        return [f"bought by {candidate.buyers} people in 90 days"]
    return ["one of the 100 most popular in 90 days"] if candidate.score <= POPULAR_SCORE else []


def _trim(price: Decimal | None) -> Decimal | None:
    """Without the zeros that a NUMERIC column fills up with: 2.08 for 2.080000000, but 10 and not 1E+1."""
    return None if price is None else Decimal(f"{price.normalize():f}")
