"""Stage 1: who might want what, from the warehouse. The candidates were trained by the job train_candidates."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from agents.recommender.items import ProductName
from agents.tools.warehouse import Parameter, Record, Warehouse

# What the person touched or bought is left out before the limit, or it could be all that there is. Training knew the
# orders up to then; those since are left out here.
CANDIDATES = """
WITH bought AS (
  SELECT DISTINCT item.product_id AS product_id
  FROM argo.interactions AS events, UNNEST(events.products) AS item
  WHERE events.person_id = @user_id AND events.event_type = 'order_completed'
)
SELECT candidate.product_id, candidate.score, product.name, product.category, product.price, 0 AS buyers
FROM argo.current_candidates AS candidate
LEFT JOIN argo.product_catalog AS product ON product.product_id = candidate.product_id
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
SELECT popular.product_id, 0.0 AS score, product.name, product.category, product.price, popular.buyers
FROM argo.popular_products AS popular
LEFT JOIN argo.product_catalog AS product ON product.product_id = popular.product_id
LEFT JOIN bought ON bought.product_id = popular.product_id
WHERE bought.product_id IS NULL AND COALESCE(product.in_stock, TRUE)
  AND popular.product_id NOT IN UNNEST(@recent_ids)
ORDER BY popular.people DESC, popular.product_id
LIMIT 20
"""


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One candidate, in the order of stage 1. `buyers` is set when it is here only because it is popular."""

    product_id: str
    score: float = 0.0
    name: str | None = None
    category: str | None = None
    price: Decimal | None = None
    buyers: int = 0


def read_candidates(warehouse: Warehouse, user_id: str, recent: Sequence[ProductName]) -> list[Candidate]:
    """The person's candidates, best first, without the recent products; what is popular when there are none."""
    asked: dict[str, Parameter] = {"user_id": user_id, "recent_ids": [product.product_id for product in recent]}
    return _drop_recent(warehouse.query(CANDIDATES, asked), recent) or _drop_recent(
        warehouse.query(POPULAR, asked), recent
    )


def _drop_recent(rows: list[Record], recent: Sequence[ProductName]) -> list[Candidate]:
    """Without what is, or is called like, a recent product: "LAMP goes well with LAMP" is no recommendation."""
    ids = {product.product_id for product in recent}
    names = {product.name.casefold() for product in recent}
    candidates = msgspec.convert(rows, list[Candidate])
    return [
        candidate
        for candidate in candidates
        if candidate.product_id not in ids and (candidate.name or candidate.product_id).casefold() not in names
    ]
