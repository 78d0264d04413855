"""UserContextAgent: what is known about a person, in a few lines, without saying who it is.

Owns the summary and its short-lived copy on the blackboard. An email address never leaves this module: every message
between agents is a row in the warehouse.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import msgspec

from agents.recommender.paths import IGNORED_TYPES
from agents.swarm.agent import Action, ConversableAgent, Ports, Task, to_json
from agents.swarm.outputs import ContextSummary, Neighbour, RecentProduct
from agents.tools.graph import Graph, GraphUnavailable
from agents.tools.profiles import Profiles
from agents.tools.warehouse import Warehouse
from schemas.graph import statement
from schemas.messages import Json, context_key

CACHE_SECONDS = 300
LATEST_EVENTS, LATEST_PRODUCTS = 20, 10
NEIGHBOURHOOD_ROWS = 60
NEIGHBOURS = 10
log = logging.getLogger(__name__)
# One row per product, newest first, each with the number of orders; one row without a product when there is none. What
# our own emails showed is left out. It reads the table, which is clustered by user_id, and not the view interactions,
# which would have to de-duplicate everybody's events to find one person's.
HISTORY_SQL = """
WITH mine AS (
  SELECT event_id, event_type, event_timestamp, order_id, products
  FROM argo.user_interactions
  WHERE user_id = @user_id AND NOT STARTS_WITH(event_type, 'email_')
  QUALIFY ROW_NUMBER() OVER (PARTITION BY source, producer, event_id ORDER BY received_at) = 1
),
recent AS (
  SELECT product.product_id AS product_id, MAX(product.name) AS name, MAX(mine.event_timestamp) AS last_at
  FROM mine, UNNEST(mine.products) AS product
  GROUP BY product_id
  ORDER BY last_at DESC, product_id
  LIMIT 10
),
counted AS (
  SELECT COUNT(DISTINCT COALESCE(order_id, event_id)) AS orders
  FROM mine
  WHERE event_type = 'order_completed'
)
SELECT counted.orders AS orders, recent.product_id AS product_id, recent.name AS name
FROM counted
LEFT JOIN recent ON TRUE
ORDER BY recent.last_at DESC, recent.product_id
"""


class _Around(msgspec.Struct, frozen=True, rename="camel"):
    """One row of neighbourhood.cypher."""

    from_id: str
    category: str | None = None
    product_id: str | None = None
    name: str | None = None
    relation: str | None = None


class UserContextAgent(ConversableAgent):
    """Summarises a person."""

    name: ClassVar[str] = "UserContextAgent"

    def __init__(self, ports: Ports, profiles: Profiles, warehouse: Warehouse, graph: Graph) -> None:
        super().__init__(ports)
        self._graph = graph
        self._profiles = profiles
        self._warehouse = warehouse

    @classmethod
    def build(cls, ports: Ports) -> Self:
        """The agent on Firestore, BigQuery and Neo4j."""
        from agents.tools.graph import neo4j
        from agents.tools.profiles import firestore_profiles
        from agents.tools.warehouse import bigquery

        return cls(ports, firestore_profiles(), bigquery(), neo4j())

    def actions(self) -> Mapping[str, Action]:
        """What it can do."""
        return {"summarise": self.summarise}

    def summarise(self, task: Task) -> Json:
        """The person's language, country, consent, latest products, orders and neighbourhood; at most 5 minutes old."""
        key = context_key(task.user_id)
        if cached := self.ports.blackboard.get(key):
            return to_json(msgspec.json.decode(cached, type=ContextSummary))
        summary = self._read_summary(task.user_id)
        self.ports.blackboard.put(key, msgspec.json.encode(summary).decode(), ttl_seconds=CACHE_SECONDS)
        return to_json(summary)

    def _read_summary(self, user_id: str) -> ContextSummary:
        profile = self._profiles.read(user_id)
        fields = profile.fields if profile else {}
        history = self._warehouse.query(HISTORY_SQL, {"user_id": user_id})
        around = self._read_neighbourhood(user_id)
        return ContextSummary(
            user_id=user_id,
            language=read_language(fields),
            country=_read_text(fields, "country"),
            email_known=bool(_read_text(fields, "email")),
            marketing_consent=read_marketing_consent(fields),
            recent_products=[
                RecentProduct(product_id=row["product_id"], name=row["name"] or row["product_id"])
                for row in history
                if row["product_id"]
            ],
            orders=history[0]["orders"] if history else 0,
            categories=list(dict.fromkeys(row.category for row in around if row.category)),
            neighbours=_list_neighbours(around),
        )

    def _read_neighbourhood(self, user_id: str) -> list[_Around]:
        """What the graph knows; a summary without it is poorer, not wrong."""
        parameters: dict[str, Any] = {
            "userId": user_id,
            "ignoredTypes": IGNORED_TYPES,
            "eventLimit": LATEST_EVENTS,
            "productLimit": LATEST_PRODUCTS,
            "limit": NEIGHBOURHOOD_ROWS,
        }
        try:
            return msgspec.convert(self._graph.read(statement("neighbourhood"), parameters), list[_Around])
        except GraphUnavailable as error:
            log.warning("a summary without its neighbourhood: %s", error)
            return []


def _list_neighbours(around: list[_Around]) -> list[Neighbour]:
    """The strongest relation to each product, strongest first, without the person's own latest ones."""
    own = {row.from_id for row in around}
    found: dict[str, Neighbour] = {}
    for row in around:
        if row.product_id and row.name and row.relation and row.product_id not in own:
            near = Neighbour(product_id=row.product_id, name=row.name, relation=row.relation, from_id=row.from_id)
            found.setdefault(row.product_id, near)
    return list(found.values())[:NEIGHBOURS]


def read_language(fields: Mapping[str, Any]) -> str:
    """The person's language as ISO 639: from `language`, else from a locale such as ko-KR, else English."""
    given = _read_text(fields, "language") or _read_text(fields, "locale") or "en"
    return given.replace("_", "-").partition("-")[0].lower()[:8] or "en"


def read_marketing_consent(fields: Mapping[str, Any]) -> bool | None:
    """Whether the person agreed to marketing; None when nobody asked. Read by act as well, before anything is sent.

    Clients send a truth value, a number or a text; whatever is not clearly a yes is a no.
    """
    value = fields.get("marketingConsent")
    if value is None or isinstance(value, bool):
        return value
    return str(value).strip().lower() in {"true", "yes", "1", "granted"}


def _read_text(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return value if isinstance(value, str) and value else None
