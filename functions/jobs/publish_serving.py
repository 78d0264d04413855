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
from agents.recommender.learned import UNLEARNED, Weights, read_weights
from agents.tools.serving import Serving, redis_serving
from agents.tools.warehouse import Record, Warehouse, bigquery

PAGE_PEOPLE = 2_000
ALIKE_COUNT = 10
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
  catalog.last_seen_at IS NULL AS is_new, COALESCE(popular.buyers, 0) AS buyers, COALESCE(popular.people, 0) AS people
FROM argo.product_catalog AS catalog
LEFT JOIN argo.popular_products AS popular ON popular.product_id = catalog.product_id
"""

COUNTRIES = """
SELECT country, product_id
FROM argo.popular_by_country
QUALIFY ROW_NUMBER() OVER (PARTITION BY country ORDER BY people DESC, product_id) <= 50
ORDER BY country, people DESC, product_id
"""
# Where each of these people was last, newest first.
PLACES = """
WITH seen AS (
  SELECT interactions.person_id AS user_id, interactions.location.country AS country, interactions.event_timestamp
  FROM argo.interactions AS interactions
  WHERE interactions.person_id > @after AND interactions.person_id <= @until
)
SELECT user_id, country, MAX(event_timestamp) AS seen_at
FROM seen
WHERE country IS NOT NULL
GROUP BY user_id, country
ORDER BY seen_at DESC
"""
LEARNED = "SELECT settings FROM argo.model_runs WHERE accepted AND version = @version LIMIT 1"

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
    by_country: dict[str, list[str]] = {}
    for row in warehouse.query(COUNTRIES):
        by_country.setdefault(row["country"], []).append(row["product_id"])
    products = _copy_products(warehouse.query(PRODUCTS), by_country, serving, shop)
    weights = _read_weights(warehouse, version)
    copies.publish(serving, Pointer(people=version, shop=shop, trained_at=trained_at, weights=weights))
    return people, products


def _read_weights(warehouse: Warehouse, version: str) -> Weights:
    """What the run learned of paths, which made these candidates."""
    found = warehouse.query(LEARNED, {"version": version})
    try:
        return read_weights(found[0]["settings"]) if found else UNLEARNED
    except msgspec.MsgspecError as error:
        log.warning("what run %s learned is not readable, paths count as before any run: %s", version, error)
        return UNLEARNED


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
        countries: dict[str, str] = {}
        for row in warehouse.query(PLACES, {"after": after, "until": until}):
            countries.setdefault(row["user_id"], row["country"])
        yield {
            row["user_id"]: _shape_person(
                row["candidates"], history.get(row["user_id"], []), countries.get(row["user_id"], "")
            )
            for row in rows
        }
        after = until


def _shape_person(candidates: list[dict[str, Any]], history: list[Record], country: str) -> str:
    recent = sorted(history, key=lambda row: row["touched_at"], reverse=True)[: copies.READ_TOUCHES]
    person = Person(
        candidates=[(one["product_id"], round(one["score"], 9)) for one in candidates],
        bought={row["product_id"]: row["ordered_at"].timestamp() for row in history if row["ordered_at"]},
        recent=[(row["product_id"], _read_touch(row), row["touched_at"].timestamp()) for row in recent],
        country=country,
    )
    return msgspec.json.encode(person).decode()


def _read_touch(row: Record) -> copies.Touch:
    if row["ordered_at"]:
        return copies.Touch.ORDERED
    return copies.Touch.ADDED if row["added_at"] else copies.Touch.VIEWED


def _copy_products(rows: list[Record], by_country: dict[str, list[str]], serving: Serving, shop: str) -> int:
    alike = list_alike(rows)
    shaped = {
        row["product_id"]: msgspec.structs.replace(
            msgspec.convert(row, Product), alike=alike.get(row["product_id"], [])
        )
        for row in rows
    }
    serving.fill(copies.products_key(shop), {name: msgspec.json.encode(one).decode() for name, one in shaped.items()})
    order = sorted((row for row in rows if row["people"]), key=lambda row: (-row["people"], row["product_id"]))
    ids = [row["product_id"] for row in order]
    by_category: dict[str, list[str]] = {}
    for product_id in ids:
        category = shaped[product_id].category
        if category and len(by_category.setdefault(category, [])) < copies.POPULAR_COUNT:
            by_category[category].append(product_id)
    popular = Popular(everywhere=ids[: copies.POPULAR_COUNT], by_category=by_category, by_country=by_country)
    serving.put({copies.popular_key(shop): msgspec.json.encode(popular).decode()})
    return len(shaped)


def list_alike(rows: list[Record]) -> dict[str, list[tuple[str, float]]]:
    """What is like each product, by its name, category and brand: the likest products for sale."""
    from agents.recommender.content import find_alike, list_words, weigh_words

    words = weigh_words([list_words(row["name"], row["category"], row["brand"]) for row in rows])
    links = find_alike(words, [row["in_stock"] is not False for row in rows], count=ALIKE_COUNT)
    ids = [str(row["product_id"]) for row in rows]
    found: dict[str, list[tuple[str, float]]] = {}
    for place, product_id in enumerate(ids):
        begin, end = links.indptr[place], links.indptr[place + 1]
        near = sorted(zip(links.data[begin:end].tolist(), links.indices[begin:end].tolist(), strict=True), reverse=True)
        found[product_id] = [(ids[other], round(cosine, 4)) for cosine, other in near]
    return found
