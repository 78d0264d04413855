"""The job that brings events, slot by slot of their arrival, and product relations from the warehouse into the graph.

Owns what is read again and the shape of the batches; relations are agents.recommender.relations'. A slot is a quarter of an
hour of received_at. The graph keeps, on a Watermark node per slot, how many rows the warehouse had of it when it was read; a
slot with another number of rows is read again. So an event that reaches the warehouse long after it was received (spilled,
replayed) is met by the next run, however old its received_at is. Everything merges: a batch may be repeated, and the job may
be killed at any time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from agents.recommender.relations import sync_relations
from agents.tools.graph import Graph, neo4j
from agents.tools.warehouse import Parameter, Warehouse, bigquery
from schemas.graph import constraints, statement
from schemas.messages import derive_id

WATERMARK = "sync_graph/"  # a slot's node is named by this and the slot
# What every run reads again is at most the slot that is still filling up; a year has 35,000.
SLOT_SECONDS = 900
PAGE_ROWS = 20_000  # what one query brings into memory
BATCH_ROWS = 2_000  # one transaction

# Rows, not events of the view: their number only grows, so whatever arrived shows, even a second copy that moves its
# event into an earlier slot.
SLOTS = """
SELECT DIV(UNIX_SECONDS(received_at), {seconds}) AS slot, COUNT(*) AS row_count
FROM argo.user_interactions
GROUP BY slot
ORDER BY slot
"""
# What an identify or alias claims, except ids that are somebody's user_id: as the view identities has it.
EVENTS = """
WITH people AS (
  SELECT DISTINCT user_id FROM argo.user_interactions WHERE user_id IS NOT NULL AND event_type <> 'alias'
)
SELECT
  events.event_id, events.source, events.producer, events.event_type, events.event_timestamp, events.received_at,
  CONCAT(events.source, '@', IFNULL(events.producer, ''), '@', events.event_id) AS place,
  events.person_id, events.user_id, events.anonymous_id, events.session_id,
  IF(events.event_type IN ('identify', 'alias') AND devices.user_id IS NULL, events.anonymous_id, NULL) AS claimed_id,
  IF(events.event_type = 'alias' AND earlier.user_id IS NULL, events.previous_id, NULL) AS claimed_previous_id,
  ARRAY(
    SELECT AS STRUCT item.product_id AS product_id, item.name AS name, item.category AS category,
      CAST(item.price AS FLOAT64) AS price
    FROM UNNEST(events.products) AS item
  ) AS products
FROM argo.interactions AS events
LEFT JOIN people AS devices ON devices.user_id = events.anonymous_id
LEFT JOIN people AS earlier ON earlier.user_id = events.previous_id
WHERE events.person_id IS NOT NULL
  AND events.received_at >= @since AND events.received_at < @until
  AND (events.received_at > @since OR CONCAT(events.source, '@', IFNULL(events.producer, ''), '@', events.event_id) > @after)
ORDER BY events.received_at, place
LIMIT {limit}
"""

log = logging.getLogger(__name__)


class _Slot(msgspec.Struct, frozen=True):
    slot: int  # since 1970
    row_count: int


class _Product(msgspec.Struct, frozen=True):
    product_id: str
    name: str | None = None
    category: str | None = None
    price: float | None = None


class _Event(msgspec.Struct, frozen=True):
    event_id: str
    source: str
    event_type: str
    event_timestamp: datetime
    received_at: datetime
    place: str  # among the events of one received_at
    person_id: str
    producer: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    claimed_id: str | None = None
    claimed_previous_id: str | None = None
    products: list[_Product] = []

    @property
    def key(self) -> str:
        """What makes the event one: its source and producer may use the same id for another one."""
        return derive_id("event", self.source, self.producer or "", self.event_id)


def run() -> None:
    """Bring over everything new."""
    started = time.monotonic()
    count = sync(bigquery(), neo4j())
    relations = sync_relations(bigquery(), neo4j())
    log.info("sync_graph: %d events, %d relations in %.1f s", count, relations, time.monotonic() - started)


def sync(warehouse: Warehouse, graph: Graph) -> int:
    """Bring over every slot that has other rows than when it was read last; the number of events merged."""
    for constraint in constraints():
        graph.write(constraint)
    # Counted before it is read: what arrives meanwhile makes another number, and is met by the next run.
    found = msgspec.convert(warehouse.query(SLOTS.format(seconds=SLOT_SECONDS)), list[_Slot])
    count = 0
    for slots in _group_changed(found, _read_marks(graph)):
        count += _bring(slots, warehouse, graph)
    return count


def _read_marks(graph: Graph) -> dict[str, int]:
    rows = graph.read(
        "MATCH (mark:Watermark) WHERE mark.name STARTS WITH $prefix RETURN mark.name AS name, mark.rowCount AS row_count",
        {"prefix": WATERMARK},
    )
    return {row["name"]: row["row_count"] for row in rows}


def _group_changed(found: list[_Slot], marks: Mapping[str, int]) -> Iterator[list[_Slot]]:
    """The slots to read, oldest first; those with no unchanged one between them together, as one question."""
    group: list[_Slot] = []
    for slot in found:
        if marks.get(_name_mark(slot)) != slot.row_count:
            group.append(slot)
        elif group:
            yield group
            group = []
    if group:
        yield group


def _bring(slots: list[_Slot], warehouse: Warehouse, graph: Graph) -> int:
    """Merge the slots' events; each slot is marked as soon as all of it is there."""
    waiting, count = list(slots), 0
    for batch in _read_batches(warehouse, _read_clock(slots[0].slot), _read_clock(slots[-1].slot + 1)):
        graph.write(statement("merge_products"), {"products": _shape_products(batch)})
        # Before the slot is marked, because a session that was left behind would not be met again.
        graph.write(statement("merge_people"), {"links": _find_links(batch)})
        reached = batch[-1].received_at
        done = [slot for slot in waiting if _read_clock(slot.slot + 1) <= reached]
        waiting = waiting[len(done) :]
        graph.write(statement("merge_events"), {"events": [_shape_event(event) for event in batch]})
        if done:
            graph.write(statement("merge_watermarks"), {"marks": _shape_marks(done)})
        count += len(batch)
    graph.write(statement("merge_watermarks"), {"marks": _shape_marks(waiting)})
    return count


def _read_batches(warehouse: Warehouse, since: datetime, until: datetime) -> Iterator[list[_Event]]:
    asked: dict[str, Parameter] = {"since": since, "until": until, "after": ""}
    while True:
        events = msgspec.convert(warehouse.query(EVENTS.format(limit=PAGE_ROWS), asked), list[_Event])
        for start in range(0, len(events), BATCH_ROWS):
            yield events[start : start + BATCH_ROWS]
        if len(events) < PAGE_ROWS:
            return
        asked |= {"since": events[-1].received_at, "after": events[-1].place}


def _read_clock(slot: int) -> datetime:
    return datetime.fromtimestamp(slot * SLOT_SECONDS, UTC)


def _name_mark(slot: _Slot) -> str:
    return f"{WATERMARK}{_read_clock(slot.slot):%Y-%m-%dT%H:%MZ}"


def _shape_marks(slots: list[_Slot]) -> list[dict[str, Any]]:
    return [{"name": _name_mark(slot), "rowCount": slot.row_count} for slot in slots]


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
    """Which id that is nobody's user_id an identify or alias of the batch gives up for which."""
    links: dict[str, str] = {}
    for event in batch:
        if event.user_id:
            links |= {old: event.user_id for old in (event.claimed_id, event.claimed_previous_id) if old}
    return [{"fromId": old, "userId": user} for old, user in links.items()]


def _shape_event(event: _Event) -> dict[str, Any]:
    return {
        "key": event.key,
        "eventId": event.event_id,
        "type": event.event_type,
        "at": event.event_timestamp,
        "userId": event.person_id,
        "sessionId": _derive_session(event),
        "productIds": sorted({product.product_id for product in event.products}),
    }


def _derive_session(event: _Event) -> str:
    """The visit. A client's session id is unique only for its source and device: many clients just take the time.

    The device comes before the person, because no later login changes it; without a session id its day is the visit. A
    device never counts as the person of the same name: a client may send anybody's user id as its anonymous id.
    """
    who = ("device", event.anonymous_id) if event.anonymous_id else ("person", event.person_id)
    if event.session_id:
        return derive_id("session", event.source, *who, event.session_id)
    return derive_id("session", *who, event.event_timestamp.astimezone(UTC).date().isoformat())
