"""What the recommender's stages hand to each other. Values only: no store, no model."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from schemas.messages import derive_id
from schemas.rows import Recommendation


class ProductName(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A product that the person touched lately."""

    product_id: str
    name: str


class Item(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One candidate: its score (higher is better, comparable only within one answer) and why, as readable paths."""

    product_id: str
    name: str
    score: float
    category: str | None = None
    price: Decimal | None = None
    paths: list[str] = []


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller knows about the occasion. `recent_products` empty: the recommender looks them up itself."""

    language: str = "en"
    recent_products: list[ProductName] = []
    limit: int = 5
    channel: str = "http"
    task_id: str | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What to recommend now, and why. `chosen_by` is the model's version or "template"; `evidence` are product ids."""

    user_id: str
    item: Item
    reason: str
    chosen_by: str
    evidence: list[str]
    items: list[Item]
    served_at: datetime
    channel: str = "http"
    task_id: str | None = None

    def to_row(self) -> Recommendation:
        """The row of table recommendations. A task has one recommendation; without a task each answer is its own."""
        occasion = self.task_id or self.served_at.isoformat()
        handed_over: dict[str, Any] = {"evidence": self.evidence, "candidates": self.items}
        return Recommendation(
            recommendation_id=derive_id("recommendation", self.user_id, occasion),
            user_id=self.user_id,
            product_id=self.item.product_id,
            reason=self.reason,
            served_at=self.served_at,
            chosen_by=self.chosen_by,
            channel=self.channel,
            task_id=self.task_id,
            evidence=encode_json(handed_over).decode(),
        )


_encoder = msgspec.json.Encoder(decimal_format="number")  # a price is a number to a client and to a model


def encode_json(value: object) -> bytes:
    """JSON with exact prices as numbers."""
    return _encoder.encode(value)
