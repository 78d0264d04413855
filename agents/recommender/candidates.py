"""Stage 1: who might want what. The candidates were trained by the job train_candidates, and are read from the serving copy.

Owns that reading, and the way without a copy: BigQuery itself, which takes a second and knows the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import zip_longest

import msgspec

from agents.recommender import copies
from agents.recommender.copies import Known, Product
from agents.recommender.items import ProductName, Touch
from agents.tools.serving import Serving
from agents.tools.warehouse import Parameter, Warehouse

POPULAR_LIMIT = 50
# Asked first, because it costs next to nothing: a shop that has not trained yet is asked about popular products only.
HAS_CANDIDATES = "SELECT TRUE AS found FROM argo.current_candidates WHERE user_id = @user_id LIMIT 1"
# What the person touched or bought is left out before the limit, or it could be all that there is. Training knew the
# orders up to then; those since are left out here.
CANDIDATES = """
WITH bought AS (
  SELECT DISTINCT item.product_id AS product_id
  FROM argo.interactions AS events, UNNEST(events.products) AS item
  WHERE events.person_id = @user_id AND events.event_type = 'order_completed'
)
SELECT candidate.product_id, candidate.score, product.name, product.category, product.brand, product.price,
  product.cost, product.in_stock, product.product_id IS NOT NULL AND product.last_seen_at IS NULL AS is_new, 0 AS buyers
FROM argo.current_candidates AS candidate
JOIN argo.product_catalog AS product ON product.product_id = candidate.product_id
LEFT JOIN bought ON bought.product_id = candidate.product_id
WHERE candidate.user_id = @user_id AND COALESCE(product.in_stock, TRUE)
  AND bought.product_id IS NULL AND candidate.product_id NOT IN UNNEST(@recent_ids)
ORDER BY candidate.rank
LIMIT 100
"""
POPULAR = """
WITH bought AS (
  SELECT DISTINCT item.product_id AS product_id
  FROM argo.interactions AS events, UNNEST(events.products) AS item
  WHERE events.person_id = @user_id AND events.event_type = 'order_completed'
)
SELECT popular.product_id, 0.0 AS score, product.name, product.category, product.brand, product.price,
  product.cost, product.in_stock, popular.buyers
FROM argo.popular_products AS popular
JOIN argo.product_catalog AS product ON product.product_id = popular.product_id
LEFT JOIN bought ON bought.product_id = popular.product_id
WHERE bought.product_id IS NULL AND COALESCE(product.in_stock, TRUE)
  AND popular.product_id NOT IN UNNEST(@recent_ids)
ORDER BY popular.people DESC, popular.product_id
LIMIT 50
"""
NAMED = """
WITH bought AS (
  SELECT MAX(events.event_timestamp) AS bought_at
  FROM argo.interactions AS events, UNNEST(events.products) AS item
  WHERE events.person_id = @user_id AND events.event_type = 'order_completed' AND item.product_id = @product_id
)
SELECT product.product_id, product.name, product.category, product.brand, product.price, product.cost, product.in_stock,
  bought.bought_at
FROM argo.product_catalog AS product
CROSS JOIN bought
WHERE product.product_id = @product_id
"""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate, in the order of stage 1. `buyers` is set when it is here only because it is popular."""

    product_id: str
    score: float = 0.0
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: Decimal | None = None
    cost: Decimal | None = None
    in_stock: bool | None = None
    bought_at: datetime | None = None
    buyers: int = 0
    is_new: bool = False  # nobody has touched it
    is_listed: bool = True  # False: paths alone brought it


def read_candidates(warehouse: Warehouse, user_id: str, recent: Sequence[ProductName]) -> list[Candidate]:
    """The person's candidates from BigQuery, best first; what is popular when there are none."""
    asked: dict[str, Parameter] = {"user_id": user_id, "recent_ids": [product.product_id for product in recent]}
    has_candidates = bool(warehouse.query(HAS_CANDIDATES, {"user_id": user_id}))
    found = _ask(warehouse, CANDIDATES, asked, recent) if has_candidates else []
    return found or _ask(warehouse, POPULAR, asked, recent)


def _ask(
    warehouse: Warehouse, sql: str, asked: Mapping[str, Parameter], recent: Sequence[ProductName]
) -> list[Candidate]:
    return drop_recent(msgspec.convert(warehouse.query(sql, asked), list[Candidate]), recent)


def read_named(warehouse: Warehouse, user_id: str, product_id: str) -> Candidate | None:
    """One product as the catalogue has it now, and when the person ordered it last; None when nobody knows it."""
    found = warehouse.query(NAMED, {"user_id": user_id, "product_id": product_id})
    return msgspec.convert(found[0], Candidate) if found else None


def drop_recent(candidates: Sequence[Candidate], recent: Sequence[ProductName]) -> list[Candidate]:
    """Without what is, or is called like, a recent product: "LAMP goes well with LAMP" is no recommendation."""
    ids = {product.product_id for product in recent}
    names = {product.name.casefold() for product in recent}
    return [
        candidate
        for candidate in candidates
        if candidate.product_id not in ids and (candidate.name or candidate.product_id).casefold() not in names
    ]


def make_candidates(known: Known, products: Mapping[str, Product], ids: Sequence[tuple[str, float]]) -> list[Candidate]:
    """Candidates of these ids and scores, with what the catalogue and the person's orders say; unknown products dropped."""
    bought = dict(known.person.bought)
    for product_id, touch, at, _ in known.recent:
        if touch is Touch.ORDERED:
            bought[product_id] = max(at, bought.get(product_id, at))
    return [
        Candidate(
            product_id=product_id,
            score=score,
            name=product.name,
            category=product.category,
            brand=product.brand,
            price=product.price,
            cost=product.cost,
            in_stock=product.in_stock,
            is_new=product.is_new,
            bought_at=copies.to_time(bought[product_id]) if product_id in bought else None,
        )
        for product_id, score in ids
        if (product := products.get(product_id)) is not None
    ]


def list_popular(serving: Serving, known: Known, categories: Sequence[str] = (), country: str = "") -> list[Candidate]:
    """What is popular: in these categories (by turns), then in the country (else in the person's own), then everywhere."""
    popular = copies.read_popular(serving, known.pointer.shop)
    turns = zip_longest(*(popular.by_category.get(category, []) for category in categories))
    liked = [product_id for turn in turns for product_id in turn if product_id]
    ids = [*liked, *popular.by_country.get(country or known.person.country, []), *popular.everywhere]
    wanted = list(dict.fromkeys(ids))[:POPULAR_LIMIT]
    products = copies.read_products(serving, known.pointer.shop, wanted)
    made = make_candidates(known, products, [(product_id, 0.0) for product_id in wanted])
    return [msgspec.structs.replace(one, buyers=products[one.product_id].buyers) for one in made]
