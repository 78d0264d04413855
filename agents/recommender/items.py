"""What the recommender's stages hand to each other. Values only: no store, no model."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from schemas.messages import derive_id
from schemas.rows import Recommendation

ARROW = " → "


class Touch(StrEnum):
    """What a person did with a product last."""

    ORDERED = "ordered"
    ADDED = "added"
    VIEWED = "viewed"
    TOUCHED = "touched"


class Relation(StrEnum):
    """What leads to a product."""

    BOUGHT = "bought"  # by others in one order with another product
    VIEWED = "viewed"  # by others in one visit with another product
    THEN = "then"  # by others after another product
    POPULAR = "popular"
    TASTE = "taste"
    ALIKE = "alike"  # by what the shop says of it


class Source(StrEnum):
    """What an answer is made from. Each may be missing; the answer says so."""

    SERVING = "serving"
    WAREHOUSE = "warehouse"
    GRAPH = "graph"
    MODEL = "model"


class ProductName(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A product that the person touched lately, how, and whether that was after stage 1 was trained."""

    product_id: str
    name: str
    touch: Touch = Touch.TOUCHED
    is_news: bool = False


class Link(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One way to a product: from a product of the person's (empty: from the crowd), how, and how many others went it."""

    relation: Relation
    count: int
    from_id: str = ""
    from_name: str = ""

    def describe(self, name: str) -> str:
        """Such as: PARTY BUNTING → bought together in 14 orders → JUMBO BAG RED RETROSPOT."""
        if self.relation is Relation.POPULAR:
            return f"bought by {_count(self.count, 'person', 'people')} in 90 days" if self.count else LISTED
        if self.relation is Relation.TASTE:
            return "chosen by people of a like taste"
        if self.relation is Relation.ALIKE:
            return ARROW.join((self.from_name or "a product touched before", "is similar to", name))
        if self.relation is Relation.BOUGHT:
            return ARROW.join((self.from_name, f"bought together in {_count(self.count, 'order', 'orders')}", name))
        if self.relation is Relation.THEN:
            return ARROW.join((self.from_name, f"followed {_count(self.count, 'time', 'times')} by", name))
        return ARROW.join((self.from_name, f"looked at together in {_count(self.count, 'visit', 'visits')}", name))


LISTED = "one of the 100 most popular in 90 days"


class Item(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One candidate: its score (higher is better, comparable only within one answer) and why: links, and as texts."""

    product_id: str
    name: str
    score: float
    category: str | None = None
    price: Decimal | None = None
    paths: list[str] = []
    links: list[Link] = []


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What the caller knows about the occasion. `recent_products` empty: the recommender looks them up itself.

    `related_to`: what goes with this product, whoever asks. `use_model` false: the template words the reason.
    `country`: where the person is, for whom only popularity speaks.
    """

    language: str = "en"
    recent_products: list[ProductName] = []
    limit: int = 5
    channel: str = "http"
    task_id: str | None = None
    session_id: str = ""
    related_to: str = ""
    use_model: bool = True
    country: str = ""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """What to recommend now, and why. `chosen_by` is the model's version or "template"; `evidence` are ids and paths.

    `shown` are the first `limit` of the items: what the caller shows. `user_id` of nobody known is that of the session.
    `degraded` are the sources that did not answer, or not in time, so that others stood in.
    """

    user_id: str
    item: Item
    reason: str
    chosen_by: str
    evidence: list[str]
    items: list[Item]
    served_at: datetime
    channel: str = "http"
    task_id: str | None = None
    shown: list[str] = []
    experiment: str | None = None
    variant: str | None = None
    version: str | None = None
    degraded: list[Source] = []

    def to_row(self) -> Recommendation:
        """The row of table recommendations. A task has one recommendation; without a task each answer is its own."""
        handed_over: dict[str, Any] = {
            "evidence": self.evidence,
            "candidates": self.items,
            "shown": self.shown,
            "version": self.version,
            "degraded": self.degraded,
        }
        return Recommendation(
            recommendation_id=self.recommendation_id,
            user_id=self.user_id,
            product_id=self.item.product_id,
            reason=self.reason,
            served_at=self.served_at,
            chosen_by=self.chosen_by,
            channel=self.channel,
            task_id=self.task_id,
            evidence=encode_json(handed_over).decode(),
            experiment=self.experiment,
            variant=self.variant,
        )

    @property
    def recommendation_id(self) -> str:
        """By which the answer and what comes of it belong together."""
        return derive_id("recommendation", self.user_id, self.task_id or self.served_at.isoformat())


_encoder = msgspec.json.Encoder(decimal_format="number")  # a price is a number to a client and to a model


def encode_json(value: object) -> bytes:
    """JSON with exact prices as numbers."""
    return _encoder.encode(value)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
