"""MarketTrendAgent: what is going on outside the shop, as far as it matters for one person: trends, competitors' prices,
season, and the weather where they were last.

Owns which signals matter: the latest of each kind about the products at hand, their categories, or everything. The feeds
that bring them are agents.intake's; what is made of them is the next agent's.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

import msgspec

from agents.swarm.agent import Action, ConversableAgent, Ports, Task, to_json
from agents.swarm.outputs import ChosenProduct, ContextSummary, MarketSignals, SeenWeather, Signal
from agents.tools.warehouse import Warehouse
from schemas.messages import Json

FRESH = timedelta(days=30)  # an older signal is history
WEATHER_FRESH = timedelta(days=2)
MAX_PRODUCTS = 20
# A signal may come more than once and is replaced by a later one of its kind about the same thing.
SIGNALS_SQL = """
WITH fresh AS (
  SELECT kind, product_id, category, value, source, observed_at
  FROM argo.market_signals
  WHERE observed_at >= @since
  QUALIFY ROW_NUMBER() OVER (PARTITION BY kind, product_id, category ORDER BY observed_at DESC, signal_id) = 1
),
mine AS (
  SELECT DISTINCT category
  FROM argo.product_catalog
  WHERE product_id IN UNNEST(@product_ids) AND category IS NOT NULL
)
SELECT fresh.kind, fresh.product_id, fresh.category, fresh.value, fresh.source, fresh.observed_at
FROM fresh
LEFT JOIN mine ON fresh.category = mine.category
WHERE fresh.product_id IN UNNEST(@product_ids)
  OR (fresh.product_id IS NULL AND (fresh.category IS NULL OR mine.category IS NOT NULL))
ORDER BY fresh.observed_at DESC, fresh.kind
LIMIT 20
"""
WEATHER_SQL = """
SELECT event_timestamp AS observed_at, weather.condition AS condition, weather.temperature_celsius AS temperature_celsius
FROM argo.user_interactions
WHERE user_id = @user_id AND event_timestamp >= @since AND weather.condition IS NOT NULL
ORDER BY event_timestamp DESC
LIMIT 1
"""


class MarketTrendAgent(ConversableAgent):
    """Looks outside."""

    name: ClassVar[str] = "MarketTrendAgent"

    def __init__(self, ports: Ports, warehouse: Warehouse) -> None:
        super().__init__(ports)
        self._warehouse = warehouse

    @classmethod
    def build(cls, ports: Ports) -> Self:
        """The agent on BigQuery."""
        from agents.tools.warehouse import bigquery

        return cls(ports, bigquery())

    def actions(self) -> Mapping[str, Action]:
        """What it can do."""
        return {"find_signals": self.find_signals}

    def find_signals(self, task: Task) -> Json:
        """The latest signals about the chosen product or else the person's latest ones, and about everything."""
        now = self.ports.now()
        asked = {"product_ids": _list_products(task), "since": now - FRESH}
        signals = msgspec.convert(self._warehouse.query(SIGNALS_SQL, asked), list[_SignalRow])
        seen = self._warehouse.query(WEATHER_SQL, {"user_id": task.user_id, "since": now - WEATHER_FRESH})
        weather = msgspec.convert(seen[0], _WeatherRow) if seen else None
        return to_json(
            MarketSignals(
                signals=[Signal(**msgspec.structs.asdict(row)) for row in signals],
                weather=SeenWeather(**msgspec.structs.asdict(weather)) if weather else None,
            )
        )


class _SignalRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of SIGNALS_SQL."""

    kind: str
    observed_at: datetime
    product_id: str | None = None
    category: str | None = None
    value: float | None = None
    source: str | None = None


class _WeatherRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row of WEATHER_SQL."""

    observed_at: datetime
    condition: str | None = None
    temperature_celsius: float | None = None


def _list_products(task: Task) -> list[str]:
    if "choose" in task.inputs:
        return [task.read_input("choose", ChosenProduct).product_id]
    if "summarise" in task.inputs:
        known = task.read_input("summarise", ContextSummary).recent_products
        return [product.product_id for product in known][:MAX_PRODUCTS]
    return []
