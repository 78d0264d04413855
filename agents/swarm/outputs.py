"""What agents hand to each other: the outputs of their actions, typed. They hold no address and no person's name."""

from __future__ import annotations

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


class ContextSummary(Output, frozen=True, kw_only=True):
    """UserContextAgent.summarise. Consent None means: not asked."""

    user_id: str
    language: str = "en"
    country: str | None = None
    email_known: bool = False
    marketing_consent: bool | None = None
    recent_products: list[RecentProduct] = []
    orders: int = 0


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


class Approval(Output, frozen=True, kw_only=True):
    """SecurityGuardianAgent.review; a refusal is a FAILED result with its reasons instead."""

    approved: bool
    reasons: list[str] = []
    reviewed_by: str = ""
