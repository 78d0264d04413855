"""The job that publishes the recommender's serving copy: from BigQuery, which is slow and complete, to Redis.

Owns the questions and the pages. Keys and contents are `agents.recommender.copies`'. The people are copied once per version
of the candidates, the catalogue and what is popular every time; the pointer moves last, so that a run that breaks off
changes nothing that anybody reads.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from agents.recommender import copies
from agents.recommender.copies import Person, Pointer, Popular, Product
from agents.tools.serving import Serving, redis_serving
from agents.tools.warehouse import Record, Warehouse, bigquery

PAGE_PEOPLE = 2_000
VERSION = "SELECT version, MAX(trained_at) AS trained_at FROM argo.current_candidates GROUP BY version LIMIT 1"
PEOPLE = """
SELECT user_id, ARRAY_AGG(STRUCT(product_id AS product_id, score AS score) ORDER BY rank LIMIT 100) AS candidates
FROM argo.current_candidates
WHERE user_id > @after
GROUP BY user_id
ORDER BY user_id
LIMIT {limit}
"""
# What these people touched in the last 180 days; an order stays known as such, however often they looked since.
HISTORY = """
SELECT interactions.person_id AS user_id, product.product_id AS product_id,
  MAX(IF(interactions.event_type = 'order_completed', interactions.event_timestamp, NULL)) AS ordered_at,
  MAX(IF(interactions.event_type = 'product_added', interactions.event_timestamp, NULL)) AS added_at,
  MAX(interactions.event_timestamp) AS touched_at
FROM argo.interactions AS interactions, UNNEST(interactions.products) AS product
WHERE interactions.person_id > @after AND interactions.person_id <= @until
  AND interactions.event_type IN ('order_completed', 'product_added', 'product_viewed')
GROUP BY interactions.person_id, product.product_id
"""
PRODUCTS = """
SELECT catalog.product_id, catalog.name, catalog.category, catalog.brand, catalog.price, catalog.cost, catalog.in_stock,
  COALESCE(popular.buyers, 0) AS buyers, COALESCE(popular.people, 0) AS people
FROM argo.product_catalog AS catalog
LEFT JOIN argo.popular_products AS popular ON popular.product_id = catalog.product_id
"""

log = logging.getLogger(__name__)


def run() -> None:
    """Publish once."""
    started = time.monotonic()
    people, products = publish(bigquery(), redis_serving(), datetime.now(UTC))
    log.info("publish_serving: %d people, %d products in %.1f s", people, products, time.monotonic() - started)


def publish(warehouse: Warehouse, serving: Serving, now: datetime) -> tuple[int, int]:
    """Copy what changed, then move the pointer; how many people and products were copied."""
    current = copies.read_pointer(serving)
    found = warehouse.query(VERSION)
    version, trained_at = (found[0]["version"], found[0]["trained_at"]) if found else ("none", now)
    people = 0
    if found and (current is None or current.people != version):
        for page in _read_people(warehouse):
            serving.put({copies.person_key(version, user_id): text for user_id, text in page.items()})
            people += len(page)
    shop = f"shop-{now.isoformat()}"
    products = _copy_products(warehouse.query(PRODUCTS), serving, shop)
    copies.publish(serving, Pointer(people=version, shop=shop, trained_at=trained_at))
    return people, products


def _read_people(warehouse: Warehouse) -> Iterator[dict[str, str]]:
    """Pages of people: user id -> their part of the copy as JSON."""
    after = ""
    while True:
        rows = warehouse.query(PEOPLE.format(limit=PAGE_PEOPLE), {"after": after})
        if not rows:
            return
        until = str(rows[-1]["user_id"])
        history: dict[str, list[Record]] = {}
        for row in warehouse.query(HISTORY, {"after": after, "until": until}):
            history.setdefault(row["user_id"], []).append(row)
        yield {row["user_id"]: _shape_person(row["candidates"], history.get(row["user_id"], [])) for row in rows}
        after = until


def _shape_person(candidates: list[dict[str, Any]], history: list[Record]) -> str:
    recent = sorted(history, key=lambda row: row["touched_at"], reverse=True)[: copies.READ_TOUCHES]
    person = Person(
        candidates=[(one["product_id"], round(one["score"], 9)) for one in candidates],
        bought={row["product_id"]: row["ordered_at"].timestamp() for row in history if row["ordered_at"]},
        recent=[(row["product_id"], _read_touch(row), row["touched_at"].timestamp()) for row in recent],
    )
    return msgspec.json.encode(person).decode()


def _read_touch(row: Record) -> copies.Touch:
    if row["ordered_at"]:
        return copies.Touch.ORDERED
    return copies.Touch.ADDED if row["added_at"] else copies.Touch.VIEWED


def _copy_products(rows: list[Record], serving: Serving, shop: str) -> int:
    shaped = {row["product_id"]: msgspec.convert(row, Product) for row in rows}
    serving.fill(copies.products_key(shop), {name: msgspec.json.encode(one).decode() for name, one in shaped.items()})
    order = sorted((row for row in rows if row["people"]), key=lambda row: (-row["people"], row["product_id"]))
    ids = [row["product_id"] for row in order]
    by_category: dict[str, list[str]] = {}
    for product_id in ids:
        category = shaped[product_id].category
        if category and len(by_category.setdefault(category, [])) < copies.POPULAR_COUNT:
            by_category[category].append(product_id)
    popular = Popular(everywhere=ids[: copies.POPULAR_COUNT], by_category=by_category)
    serving.put({copies.popular_key(shop): msgspec.json.encode(popular).decode()})
    return len(shaped)
