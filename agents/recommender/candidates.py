"""Stage 1: who might want what, from the warehouse. The candidates were trained by the job train_candidates."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from agents.tools.warehouse import Warehouse

CANDIDATES = """
SELECT candidate.product_id, candidate.score, product.name, product.category, product.price, 0 AS buyers
FROM argo.current_candidates AS candidate
LEFT JOIN argo.product_catalog AS product ON product.product_id = candidate.product_id
WHERE candidate.user_id = @user_id AND COALESCE(product.in_stock, TRUE)
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


def read_candidates(warehouse: Warehouse, user_id: str) -> list[Candidate]:
    """The person's candidates, best first; what is popular when nothing was trained for the person."""
    rows = warehouse.query(CANDIDATES, {"user_id": user_id}) or warehouse.query(POPULAR, {"user_id": user_id})
    return msgspec.convert(rows, list[Candidate])
