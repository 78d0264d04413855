"""What agents hand to each other: the outputs of their actions, typed. They hold no address and no person's name."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

UNSUBSCRIBE = "{{unsubscribe}}"  # every message holds it; act replaces it with the person's own line


PRODUCT_LINK = "{{product_link}}"  # where a message may lead to its product; act replaces it with a measured link


class Output(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The base of every output; a reader ignores what it does not know, so that agents can be deployed one by one."""


class RecentProduct(Output, frozen=True, kw_only=True):
    """A product that the person had to do with."""

    product_id: str
    name: str


class Neighbour(Output, frozen=True, kw_only=True):
    """A product that goes with one of the person's: how (BOUGHT_WITH, VIEWED_WITH, THEN) and with which."""

    product_id: str
    name: str
    relation: str
    from_id: str


class ContextSummary(Output, frozen=True, kw_only=True):
    """UserContextAgent.summarise. Consent None means: not asked. `categories` and `neighbours` are from the graph."""

    user_id: str
    language: str = "en"
    country: str | None = None
    email_known: bool = False
    marketing_consent: bool | None = None
    recent_products: list[RecentProduct] = []
    orders: int = 0
    categories: list[str] = []
    neighbours: list[Neighbour] = []


class ChosenProduct(Output, frozen=True, kw_only=True):
    """RecommendationAgent.choose."""

    product_id: str
    name: str
    reason: str
    price: Decimal | None = None
    evidence: list[str] = []
    chosen_by: str = ""


class Email(Output, frozen=True, kw_only=True):
    """CreativeContentAgent.write_email. `written_by` is the model's version, or template."""

    subject: str
    text: str
    html: str
    language: str
    product_id: str
    image_prompt: str = ""
    written_by: str = "template"


class EvidenceRow(Output, frozen=True, kw_only=True):
    """A row that was really returned, and what it is taken to say."""

    says: str
    result: str
    row: dict[str, Any]


class Analysis(Output, frozen=True, kw_only=True):
    """EngagementAnalystAgent.analyse."""

    cause: str
    hypothesis: str
    confidence: float
    suggestion: str
    evidence: list[EvidenceRow]
    analysed_by: str = ""


class Signal(Output, frozen=True, kw_only=True):
    """The latest outside signal of its kind about a product, a category, or the whole market."""

    kind: str
    observed_at: datetime
    product_id: str | None = None
    category: str | None = None
    value: float | None = None
    source: str | None = None


class SeenWeather(Output, frozen=True, kw_only=True):
    """The weather where the person was last."""

    observed_at: datetime
    condition: str | None = None
    temperature_celsius: float | None = None


class MarketSignals(Output, frozen=True, kw_only=True):
    """MarketTrendAgent.find_signals."""

    signals: list[Signal] = []
    weather: SeenWeather | None = None


class Approval(Output, frozen=True, kw_only=True):
    """SecurityGuardianAgent.review; a refusal is a FAILED result with its reasons instead."""

    approved: bool
    reasons: list[str] = []
    reviewed_by: str = ""
