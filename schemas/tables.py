"""Which row types are BigQuery tables, and how each is kept. The columns are rows.py's."""

from __future__ import annotations

import msgspec

from schemas.flywheel import ProductFeature, ProductRelation, UserFeature
from schemas.rows import (
    Action,
    Candidate,
    DeadLetter,
    Delivery,
    Interaction,
    InvalidEvent,
    LlmUsage,
    MarketSignal,
    ModelRun,
    Moment,
    ObservedWeather,
    ProductUpdate,
    Recommendation,
    Row,
    Touch,
)


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """How a row type is kept: day partitions on `partition`, clustered by `cluster`."""

    row: type[Row]
    description: str
    partition: str
    cluster: tuple[str, ...] = ()


TABLES: dict[str, Table] = {
    "user_interactions": Table(
        row=Interaction,
        description="Client events as they arrived, at least once; query the view interactions instead",
        partition="event_timestamp",
        cluster=("user_id", "event_type"),
    ),
    "invalid_events": Table(
        row=InvalidEvent, description="Refused events", partition="received_at", cluster=("failure",)
    ),
    "product_updates": Table(row=ProductUpdate, description="Catalogue history", partition="updated_at"),
    "market_signals": Table(
        row=MarketSignal, description="Outside signals", partition="observed_at", cluster=("kind",)
    ),
    "weather_observations": Table(
        row=ObservedWeather, description="Weather by place and time, at least once", partition="observed_at"
    ),
    "moments": Table(
        row=Moment, description="Moments, at least once", partition="detected_at", cluster=("kind", "user_id")
    ),
    "actions": Table(
        row=Action, description="Approved actions, at least once", partition="created_at", cluster=("user_id",)
    ),
    "recommendations": Table(
        row=Recommendation, description="Recommendations served", partition="served_at", cluster=("user_id",)
    ),
    "llm_usage": Table(row=LlmUsage, description="Model calls", partition="called_at", cluster=("caller",)),
    "candidates": Table(
        row=Candidate, description="Stage 1, every training run", partition="trained_at", cluster=("user_id",)
    ),
    "touches": Table(row=Touch, description="What stage 1 learned from, for a day", partition="trained_at"),
    "model_runs": Table(row=ModelRun, description="Training runs of stage 1, good and refused", partition="trained_at"),
    "product_relations": Table(
        row=ProductRelation,
        description="Products that go together beyond chance, by the latest run",
        partition="found_at",
        cluster=("product_id",),
    ),
    "product_features": Table(
        row=ProductFeature,
        description="Products in the graph, every run; query the view current_product_features instead",
        partition="computed_at",
        cluster=("product_id",),
    ),
    "user_features": Table(
        row=UserFeature,
        description="People in the graph, every run; query the view current_user_features instead",
        partition="computed_at",
        cluster=("user_id",),
    ),
    "agent_bus": Table(
        row=Delivery,
        description="Every word between agents; query the view agent_messages instead",
        partition="publish_time",
    ),
    "dead_letters": Table(row=DeadLetter, description="What no subscriber could take", partition="publish_time"),
}
