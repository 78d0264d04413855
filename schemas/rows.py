"""Messages that are BigQuery rows: what a topic carries is exactly what its table keeps.

Owns the columns, their types and descriptions. `python -m schemas.render` writes the table files and JSON Schemas from
them, so that a diff shows the real effect; nothing here talks to BigQuery. A JSON column travels as JSON text, which is
what a BigQuery subscription with `use_table_schema` takes for the type JSON.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=256)]
JsonText = Annotated[str, Meta(extra={"bigquery": "JSON"})]


class Row(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """One row. A field without a default is REQUIRED in BigQuery; absent fields are not sent.

    `gc`: a row holds no cycles, and collect makes too many of them for the collector to walk.
    """


_encode = msgspec.json.Encoder().encode


def encode(row: msgspec.Struct) -> bytes:
    """The row as the JSON that its topic carries: RFC 3339 times, NUMERIC as text so that it stays exact."""
    return _encode(row)


class Page(Row, frozen=True, kw_only=True):
    """Where on the web."""

    url: str | None = None
    path: str | None = None
    title: str | None = None
    referrer: str | None = None
    search: str | None = None


class App(Row, frozen=True, kw_only=True):
    """Which app."""

    name: str | None = None
    version: str | None = None
    build: str | None = None


class Device(Row, frozen=True, kw_only=True):
    """With what."""

    type: str | None = None
    os: str | None = None
    browser: str | None = None
    user_agent: str | None = None
    locale: str | None = None
    timezone: str | None = None


class Location(Row, frozen=True, kw_only=True):
    """Where on earth, coarse. Latitude and longitude are degrees as FLOAT64; views make points of them."""

    country: str | None = None
    region: str | None = None
    city: str | None = None
    latitude: Annotated[float, Meta(ge=-90, le=90)] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180)] | None = None


class Weather(Row, frozen=True, kw_only=True):
    """What the weather was there and then."""

    condition: str | None = None
    temperature_celsius: float | None = None


class Campaign(Row, frozen=True, kw_only=True):
    """What brought the person here (UTM)."""

    source: str | None = None
    medium: str | None = None
    name: str | None = None


class Consent(Row, frozen=True, kw_only=True):
    """What the person agreed to; absent means never asked, which for marketing counts as not given."""

    analytics: bool | None = None
    marketing: bool | None = None
    do_not_track: Annotated[bool, Meta(description="The request said DNT: 1; nothing was filled in")] | None = None
    global_privacy_control: (
        Annotated[bool, Meta(description="The request said Sec-GPC: 1; nothing was filled in")] | None
    ) = None
    categories: Annotated[JsonText, Meta(description="Every consent category as the client sent it")] | None = None


class Product(Row, frozen=True, kw_only=True):
    """One product of an event."""

    product_id: Id
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: Annotated[Decimal, Meta(description="Price of one, in the event's currency")] | None = None
    quantity: int | None = None


class Interaction(Row, frozen=True):
    """One accepted client event, corrected and enriched (table user_interactions, topic user-interactions)."""

    event_id: Annotated[Id, Meta(description="The client's message id; the key for de-duplication")]
    event_type: Annotated[Id, Meta(description="snake_case type, such as order_completed, page, identify")]
    event_timestamp: Annotated[
        datetime, Meta(tz=True, description="When it happened, corrected for the client's clock")
    ]
    received_at: Annotated[datetime, Meta(tz=True, description="When collect took it")]
    source: Annotated[str, Meta(description="The source that the write key belongs to")]
    producer: (
        Annotated[Id, Meta(description="CloudEvents' source: with it, and the source, event_id is unique")] | None
    ) = None
    event_name: Annotated[str, Meta(description="The name as the client sent it")] | None = None
    client_timestamp: Annotated[datetime, Meta(tz=True, description="The client's own time of the event")] | None = None
    sent_at: Annotated[datetime, Meta(tz=True, description="The client's own time of sending")] | None = None
    user_id: Annotated[Id, Meta(description="Known person")] | None = None
    anonymous_id: Annotated[Id, Meta(description="Unknown person, by device")] | None = None
    previous_id: Annotated[Id, Meta(description="alias: the id that user_id replaces")] | None = None
    group_id: Id | None = None
    session_id: Id | None = None
    order_id: Id | None = None
    revenue: Annotated[Decimal, Meta(description="Money of the event, in currency")] | None = None
    currency: Annotated[str, Meta(description="ISO 4217")] | None = None
    page: Page | None = None
    app: App | None = None
    device: Device | None = None
    location: Location | None = None
    weather: Weather | None = None
    campaign: Campaign | None = None
    consent: Consent | None = None
    products: list[Product] = []
    traits: Annotated[JsonText, Meta(description="What identify says about the person")] | None = None
    properties: Annotated[JsonText, Meta(description="Everything else that the client sent")] | None = None
    library: Annotated[str, Meta(description="SDK and version")] | None = None


# What the suite itself did to a person, told by act through collect: no act of theirs.
OUTCOME_TYPES = ("email_sent", "email_skipped", "email_failed")


class Failure(StrEnum):
    """Why an event was refused; a closed list."""

    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    MISSING_FIELD = "MISSING_FIELD"
    WRONG_TYPE = "WRONG_TYPE"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    TOO_LARGE = "TOO_LARGE"
    UNREADABLE_FILE = "UNREADABLE_FILE"


class InvalidEvent(Row, frozen=True, kw_only=True):
    """One refused event (table invalid_events). Addresses and declared personal fields are gone before it gets here."""

    event_id: Annotated[Id, Meta(description="The event's own id, or one derived from its content")]
    received_at: Annotated[datetime, Meta(tz=True)]
    source: str
    failure: Failure
    reason: Annotated[str, Meta(description="What to fix, naming the key and the value's type")]
    event_type: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    origin: Annotated[str, Meta(description="http, or gs://bucket/object#line")] | None = None
    payload: Annotated[JsonText, Meta(description="The event as it came, without personal fields")] | None = None


class ProductUpdate(Row, frozen=True, kw_only=True):
    """One version of one product (table product_updates; the view product_catalog keeps the latest)."""

    product_id: Id
    updated_at: Annotated[datetime, Meta(tz=True)]
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: Decimal | None = None
    currency: str | None = None
    in_stock: bool | None = None


class MarketSignal(Row, frozen=True, kw_only=True):
    """One outside signal (table market_signals)."""

    signal_id: Id
    kind: Id
    observed_at: Annotated[datetime, Meta(tz=True)]
    product_id: Id | None = None
    category: str | None = None
    value: float | None = None
    source: str | None = None
    data: JsonText | None = None


class Moment(Row, frozen=True, kw_only=True):
    """One situation worth acting on (table moments, topic moments)."""

    moment_id: Annotated[Id, Meta(description="uuid5 of kind and case: the same case is the same moment")]
    kind: Annotated[Id, Meta(description="The moment's name: a file in schemas/bigquery/moments or an event type")]
    user_id: Id
    detected_at: Annotated[datetime, Meta(tz=True)]
    data: Annotated[JsonText, Meta(description="The row of the moment's SQL, or of the event")]


class Action(Row, frozen=True, kw_only=True):
    """One approved action (table actions, topic actions)."""

    action_id: Annotated[Id, Meta(description="uuid5 of the task: handling it twice changes nothing")]
    task_id: Id
    moment_id: Id
    kind: Annotated[str, Meta(description="email")]
    user_id: Id
    created_at: Annotated[datetime, Meta(tz=True)]
    approved_by: Annotated[str, Meta(description="The agent whose approval let it out")]
    content: Annotated[JsonText, Meta(description="email: subject, text, html")]
    product_id: Id | None = None


class Recommendation(Row, frozen=True, kw_only=True):
    """What was recommended to whom and why (table recommendations, topic recommendations)."""

    recommendation_id: Id
    user_id: Id
    product_id: Id
    reason: str
    served_at: Annotated[datetime, Meta(tz=True)]
    chosen_by: Annotated[str, Meta(description="The model's version, or template")]
    channel: Annotated[str, Meta(description="http or swarm")]
    task_id: Id | None = None
    evidence: Annotated[JsonText, Meta(description="The candidates handed over, with their paths")] | None = None


class LlmUsage(Row, frozen=True, kw_only=True):
    """One model call (table llm_usage, topic llm-usage). Never holds a prompt or a key."""

    call_id: Id
    called_at: Annotated[datetime, Meta(tz=True)]
    caller: Annotated[str, Meta(description="Who holds the gateway key")]
    prompt: Annotated[str, Meta(description="Name and version of the prompt file")]
    model: str
    status: Annotated[str, Meta(description="ok, repaired, or the error's name")]
    input_tokens: int
    output_tokens: int
    latency_ms: int
    agent: str | None = None
    task_id: Id | None = None


class Candidate(Row, frozen=True, kw_only=True):
    """One candidate of stage 1 (table candidates), written by the job train_candidates."""

    user_id: Id
    product_id: Id
    rank: Annotated[int, Meta(ge=1)]
    score: float
    version: Annotated[str, Meta(description="One training run")]
    trained_at: Annotated[datetime, Meta(tz=True)]


class Delivery(Row, frozen=True, kw_only=True):
    """A whole message with its metadata, as a BigQuery subscription with write_metadata keeps it."""

    subscription_name: str
    message_id: str
    publish_time: Annotated[datetime, Meta(tz=True)]
    data: JsonText | None = None
    attributes: JsonText | None = None


class DeadLetter(Row, frozen=True, kw_only=True):
    """A message that no subscriber could take; why is in its attributes. Its body may be anything, so it is kept as bytes."""

    subscription_name: str
    message_id: str
    publish_time: Annotated[datetime, Meta(tz=True)]
    data: bytes | None = None
    attributes: JsonText | None = None


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
    "agent_bus": Table(
        row=Delivery,
        description="Every word between agents; query the view agent_messages instead",
        partition="publish_time",
    ),
    "dead_letters": Table(row=DeadLetter, description="What no subscriber could take", partition="publish_time"),
}
