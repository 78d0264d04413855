"""The job that brings events from the warehouse into the graph, from where it last stopped.

Owns the order of the batches and their shape. Everything merges, so a batch may be repeated: the job may be killed at
any time and goes on from its watermark, and it re-reads the last minutes because an event can reach the warehouse after
others that were received later.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from agents.tools.graph import Graph, neo4j
from agents.tools.warehouse import Warehouse, bigquery
from schemas.graph import constraints, statement
from schemas.messages import derive_id

WATERMARK = "sync_graph"
OVERLAP = timedelta(minutes=15)  # a BigQuery subscription delivers within seconds; collect's file path within minutes
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
PAGE_ROWS = 20_000  # what one query brings into memory
BATCH_ROWS = 2_000  # one transaction

EVENTS = """
SELECT
  event_id, event_type, event_timestamp, received_at, person_id, user_id, anonymous_id, previous_id, session_id,
  ARRAY(
    SELECT AS STRUCT item.product_id AS product_id, item.name AS name, item.category AS category,
      CAST(item.price AS FLOAT64) AS price
    FROM UNNEST(products) AS item
  ) AS products
FROM argo.interactions
WHERE person_id IS NOT NULL
  AND (received_at > @received_at OR (received_at = @received_at AND event_id > @event_id))
ORDER BY received_at, event_id
LIMIT {limit}
"""

log = logging.getLogger(__name__)


class _Product(msgspec.Struct, frozen=True):
    product_id: str
    name: str | None = None
    category: str | None = None
    price: float | None = None


class _Event(msgspec.Struct, frozen=True):
    event_id: str
    event_type: str
    event_timestamp: datetime
    received_at: datetime
    person_id: str
    user_id: str | None = None
    anonymous_id: str | None = None
    previous_id: str | None = None
    session_id: str | None = None
    products: list[_Product] = []


def run() -> None:
    """Bring over everything new."""
    started = time.monotonic()
    count = sync(bigquery(), neo4j())
    log.info("sync_graph: %d events in %.1f s", count, time.monotonic() - started)


def sync(warehouse: Warehouse, graph: Graph) -> int:
    """Bring over everything since the watermark less the overlap; the number of events merged."""
    for constraint in constraints():
        graph.write(constraint)
    count = 0
    for batch in _read_batches(warehouse, _read_watermark(graph) - OVERLAP):
        graph.write(statement("merge_products"), {"products": _shape_products(batch)})
        # Before the watermark moves, because a session that was left behind would not be met again.
        graph.write(statement("merge_people"), {"links": _find_links(batch)})
        marked = {"name": WATERMARK, "at": batch[-1].received_at.isoformat()}
        graph.write(statement("merge_events"), {"events": [_shape_event(event) for event in batch], **marked})
        count += len(batch)
    return count


def _read_watermark(graph: Graph) -> datetime:
    rows = graph.read("MATCH (mark:Watermark {name: $name}) RETURN mark.at AS at", {"name": WATERMARK})
    return datetime.fromisoformat(rows[0]["at"]) if rows else BEGINNING + OVERLAP


def _read_batches(warehouse: Warehouse, since: datetime) -> Iterator[list[_Event]]:
    received_at, event_id = since, ""
    while True:
        rows = warehouse.query(EVENTS.format(limit=PAGE_ROWS), {"received_at": received_at, "event_id": event_id})
        events = msgspec.convert(rows, list[_Event])
        for start in range(0, len(events), BATCH_ROWS):
            yield events[start : start + BATCH_ROWS]
        if len(events) < PAGE_ROWS:
            return
        received_at, event_id = events[-1].received_at, events[-1].event_id


def _shape_products(batch: list[_Event]) -> list[dict[str, Any]]:
    """Each product of the batch once, as its latest event with a name has it."""
    latest: dict[str, _Product] = {}
    for event in sorted(batch, key=lambda event: event.event_timestamp):
        for product in event.products:
            if product.name or product.product_id not in latest:
                latest[product.product_id] = product
    return [
        {
            "productId": product.product_id,
            "name": product.name,
            "price": product.price,
            "categories": [product.category] if product.category else [],
        }
        for product in latest.values()
    ]


def _find_links(batch: list[_Event]) -> list[dict[str, str]]:
    """Which earlier id of a person an identify or alias of the batch gives up for which."""
    links: dict[str, str] = {}
    for event in batch:
        if event.user_id and event.event_type in {"identify", "alias"}:
            earlier = (event.anonymous_id, event.previous_id if event.event_type == "alias" else None)
            links |= {old: event.user_id for old in earlier if old and old != event.user_id}
    return [{"fromId": old, "userId": user} for old, user in links.items()]


def _shape_event(event: _Event) -> dict[str, Any]:
    """An event without a session gets the day of its device (else of its person), which no later login changes."""
    day = event.event_timestamp.astimezone(UTC).date().isoformat()
    return {
        "eventId": event.event_id,
        "type": event.event_type,
        "at": event.event_timestamp,
        "userId": event.person_id,
        "sessionId": event.session_id or derive_id("session", event.anonymous_id or event.person_id, day),
        "productIds": sorted({product.product_id for product in event.products}),
    }
