"""Paths over what products are said to be, from the serving copy: the only ones to a product that nobody has touched.

Owns their strength, by stage 2's formula (training/walks.py). Which products are alike, agents.recommender.content says; the
job publish_serving keeps it with each product.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from agents.recommender.copies import Product
from agents.recommender.items import Link, ProductName, Relation
from agents.recommender.learned import ALIKE, FADE, RECENT_PRODUCTS
from agents.recommender.paths import LINKS, Relevance

BROUGHT = 20  # candidates of their own; more would crowd out what people's doings lead to


def add_alike(
    relevance: Mapping[str, Relevance], recent: Sequence[ProductName], products: Mapping[str, Product]
) -> dict[str, Relevance]:
    """The paths found already and those from recent products (newest first) to what is like them; `products` are the recent."""
    starts = recent[:RECENT_PRODUCTS]
    own = {start.product_id for start in starts}
    strengths: dict[str, float] = {}
    reasons: dict[str, ProductName] = {}
    for place, start in enumerate(starts):
        product = products.get(start.product_id)
        for product_id, cosine in product.alike if product else ():
            if product_id not in own:
                strengths[product_id] = strengths.get(product_id, 0.0) + FADE**place * cosine
                reasons.setdefault(product_id, start)
    best = sorted(strengths, key=lambda product_id: (-strengths[product_id], product_id))
    brought = [product_id for product_id in best if product_id not in relevance][:BROUGHT]
    joined = dict(relevance)
    for product_id in [*(one for one in best if one in relevance), *brought]:
        link = Link(
            relation=Relation.ALIKE, count=0, from_id=reasons[product_id].product_id, from_name=reasons[product_id].name
        )
        joined[product_id] = _join(joined.get(product_id), strengths[product_id], link)
    return joined


def _join(known: Relevance | None, strength: float, link: Link) -> Relevance:
    if known is None:
        return Relevance(score=0.0, name="", links=[link], parts={ALIKE: strength})
    links = [*known.links, link][:LINKS]
    return msgspec.structs.replace(known, links=links, parts={**known.parts, ALIKE: strength})
