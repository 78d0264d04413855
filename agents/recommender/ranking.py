"""Puts the two stages together. Pure: values in, values out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from agents.recommender.candidates import Candidate
from agents.recommender.items import Item, Link, Relation
from agents.recommender.paths import Relevance

# Reciprocal rank fusion: the stages' scores are not comparable, their orders are. Tuned on Online Retail (trained on
# 2011-11-07 to 11-27, asked for new products of the 378 people who came back by 12-08; hit@5 / recall@20): popularity
# 0.249 / 0.071, stage 1 0.400 / 0.143, paths alone 0.286 / 0.110, both with weight 1 0.381 / 0.134, with 0.25 0.405 / 0.141.
# So paths decide between neighbours and explain; they do not improve the hits yet.
FUSION_CONSTANT = 10
PATH_WEIGHT = 0.25
# What stage 1 could not know: touches since it was trained, or a person of whom it knows nothing. Not tuned: the data has no
# such moment. Above 1, so that what goes with the product in somebody's hand comes before what is merely popular.
NEWS_WEIGHT = 1.5
POPULAR_SCORE = 0.000001  # what training (run.py) gives at most to what it only filled up with


def rank_items(
    candidates: Sequence[Candidate], relevance: Mapping[str, Relevance], path_weight: float = PATH_WEIGHT
) -> list[Item]:
    """The candidates by both orders, best first; without relevance, the order of stage 1."""
    by_path = sorted(relevance, key=lambda product_id: (-relevance[product_id].score, product_id))
    path_places = {product_id: place for place, product_id in enumerate(by_path, start=1)}
    listed = [candidate.product_id for candidate in candidates if candidate.is_listed]
    places = {product_id: place for place, product_id in enumerate(listed, start=1)}
    scored = [
        (_fuse(places.get(one.product_id), path_places.get(one.product_id), path_weight), one) for one in candidates
    ]
    scored.sort(key=lambda pair: -pair[0])
    return [_make_item(candidate, score, relevance.get(candidate.product_id)) for score, candidate in scored]


def is_personal(candidates: Sequence[Candidate]) -> bool:
    """Whether stage 1 knew the person: something is here for more than being popular."""
    return any(one.is_listed and not one.buyers and one.score > POPULAR_SCORE for one in candidates)


def _fuse(place: int | None, path_place: int | None, path_weight: float) -> float:
    score = 1 / (FUSION_CONSTANT + place) if place else 0.0
    return score + path_weight / (FUSION_CONSTANT + path_place) if path_place else score


def _make_item(candidate: Candidate, score: float, relevance: Relevance | None) -> Item:
    name = candidate.name or (relevance.name if relevance else "") or candidate.product_id
    links = list(relevance.links) if relevance else _link_popularity(candidate)
    return Item(
        product_id=candidate.product_id,
        name=name,
        category=candidate.category,
        price=_trim(candidate.price),
        score=round(score, 6),
        paths=[link.describe(name) for link in links],
        links=links,
    )


def _link_popularity(candidate: Candidate) -> list[Link]:
    """Why a candidate is here that only popularity brought, such as to a stranger; nothing for any other."""
    if candidate.buyers or candidate.score <= POPULAR_SCORE:
        return [Link(relation=Relation.POPULAR, count=candidate.buyers)]
    return []


def _trim(price: Decimal | None) -> Decimal | None:
    """Without the zeros that a NUMERIC column fills up with: 2.08 for 2.080000000, but 10 and not 1E+1."""
    return None if price is None else Decimal(f"{price.normalize():f}")
