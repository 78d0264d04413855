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
# A message kept whole may name anybody inside: `schemas.people` has it searched when a person is to be forgotten.
MessageText = Annotated[str, Meta(extra={"bigquery": "JSON", "holds": "message"})]
MessageBytes = Annotated[bytes, Meta(extra={"holds": "message"})]


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

    url: Annotated[str, Meta(description="Address, as the client sent it")] | None = None
    path: Annotated[str, Meta(description="Path of the address")] | None = None
    title: Annotated[str, Meta(description="Title of the page")] | None = None
    referrer: Annotated[str, Meta(description="Address of the page before")] | None = None
    search: Annotated[str, Meta(description="Query string of the address")] | None = None


class App(Row, frozen=True, kw_only=True):
    """Which app."""

    name: Annotated[str, Meta(description="Name of the app")] | None = None
    version: Annotated[str, Meta(description="Version that people see")] | None = None
    build: Annotated[str, Meta(description="Build number")] | None = None


class Device(Row, frozen=True, kw_only=True):
    """With what."""

    type: Annotated[str, Meta(description="Kind of device, such as mobile or desktop")] | None = None
    os: Annotated[str, Meta(description="Operating system")] | None = None
    browser: Annotated[str, Meta(description="Browser")] | None = None
    user_agent: Annotated[str, Meta(description="User agent as it was sent")] | None = None
    locale: Annotated[str, Meta(description="Language and country, such as ko-KR")] | None = None
    timezone: Annotated[str, Meta(description="IANA time zone, such as Asia/Seoul")] | None = None


class Location(Row, frozen=True, kw_only=True):
    """Where on earth, coarse. Latitude and longitude are degrees as FLOAT64; views make points of them."""

    country: Annotated[str, Meta(description="Country")] | None = None
    region: Annotated[str, Meta(description="State, province or region")] | None = None
    city: Annotated[str, Meta(description="City")] | None = None
    latitude: Annotated[float, Meta(ge=-90, le=90, description="Degrees north, -90 to 90")] | None = None
    longitude: Annotated[float, Meta(ge=-180, le=180, description="Degrees east, -180 to 180")] | None = None


class Weather(Row, frozen=True, kw_only=True):
    """What the weather was there and then."""

    condition: Annotated[str, Meta(description="In a word, such as rain")] | None = None
    temperature_celsius: Annotated[float, Meta(description="Air temperature in degrees Celsius")] | None = None


class Campaign(Row, frozen=True, kw_only=True):
    """What brought the person here (UTM)."""

    source: Annotated[str, Meta(description="utm_source: who sent the person")] | None = None
    medium: Annotated[str, Meta(description="utm_medium: by what means, such as email")] | None = None
    name: Annotated[str, Meta(description="utm_campaign")] | None = None


class Consent(Row, frozen=True, kw_only=True):
    """What the person agreed to; absent means never asked, which for marketing counts as not given."""

    analytics: Annotated[bool, Meta(description="Whether to be measured")] | None = None
    marketing: Annotated[bool, Meta(description="Whether to be written to")] | None = None
    do_not_track: Annotated[bool, Meta(description="The request said DNT: 1; nothing was filled in")] | None = None
    global_privacy_control: (
        Annotated[bool, Meta(description="The request said Sec-GPC: 1; nothing was filled in")] | None
    ) = None
    categories: Annotated[JsonText, Meta(description="Every consent category as the client sent it")] | None = None


class Product(Row, frozen=True, kw_only=True):
    """One product of an event."""

    product_id: Annotated[Id, Meta(description="Id in the shop: product_id, else sku")]
    name: Annotated[str, Meta(description="Name as the event has it")] | None = None
    category: Annotated[str, Meta(description="Category")] | None = None
    brand: Annotated[str, Meta(description="Brand")] | None = None
    price: Annotated[Decimal, Meta(description="Price of one, in the event's currency")] | None = None
    quantity: Annotated[int, Meta(description="How many; absent means one")] | None = None


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
    group_id: Annotated[Id, Meta(description="Account, company or household of the person")] | None = None
    session_id: Annotated[Id, Meta(description="Visit; unique for its source and device only")] | None = None
    order_id: Annotated[Id, Meta(description="Order; several events may report the same one")] | None = None
    revenue: Annotated[Decimal, Meta(description="Money of the event, in currency")] | None = None
    currency: Annotated[str, Meta(description="ISO 4217")] | None = None
    page: Annotated[Page, Meta(description="Where on the web")] | None = None
    app: Annotated[App, Meta(description="Which app")] | None = None
    device: Annotated[Device, Meta(description="With what device")] | None = None
    location: Annotated[Location, Meta(description="Where on earth, coarse")] | None = None
    weather: Annotated[Weather, Meta(description="What the weather was there and then")] | None = None
    campaign: Annotated[Campaign, Meta(description="What brought the person here (UTM)")] | None = None
    consent: Annotated[Consent, Meta(description="What the person agreed to; absent means not asked")] | None = None
    products: Annotated[list[Product], Meta(description="Products of the event, in its order")] = []
    traits: Annotated[JsonText, Meta(description="What identify says about the person")] | None = None
    properties: Annotated[JsonText, Meta(description="Everything else that the client sent")] | None = None
    library: Annotated[str, Meta(description="SDK and version")] | None = None


# What the suite itself did to a person, told by act through collect: no act of theirs.
OUTCOME_TYPES = tuple(
    f"{kind}_{ending}" for kind in ("email", "webhook") for ending in ("sent", "skipped", "failed", "waiting")
)


class Failure(StrEnum):
    """Why an event was refused; a closed list."""

    NOT_AN_OBJECT = "NOT_AN_OBJECT"
    MISSING_FIELD = "MISSING_FIELD"
    WRONG_TYPE = "WRONG_TYPE"
    UNKNOWN_TYPE = "UNKNOWN_TYPE"
    TOO_LARGE = "TOO_LARGE"
    UNREADABLE_FILE = "UNREADABLE_FILE"
    SUPPRESSED = "SUPPRESSED"  # only ever a verdict: such an event is not stored anywhere


class InvalidEvent(Row, frozen=True, kw_only=True):
    """One refused event (table invalid_events): why, the event as it came, and every column of user_interactions.

    A column that could not be read is NULL. Addresses and declared personal fields are gone before it gets here; the ids
    stay, so that a person's events can be found and deleted.
    """

    event_id: Annotated[Id, Meta(description="The event's own id, or one derived from its content")]
    received_at: Annotated[datetime, Meta(tz=True, description="When it arrived")]
    source: Annotated[str, Meta(description="The source that the write key belongs to")]
    failure: Annotated[Failure, Meta(description="Why it was refused, from a closed list (schemas.rows.Failure)")]
    reason: Annotated[str, Meta(description="What to fix, naming the key and the value's type")]
    event_type: Annotated[str, Meta(description="Its type, as far as it could be read")] | None = None
    user_id: Annotated[str, Meta(description="Known person, as far as it could be read")] | None = None
    anonymous_id: Annotated[str, Meta(description="Unknown person, as far as it could be read")] | None = None
    origin: Annotated[str, Meta(description="http, or gs://bucket/object#line")] | None = None
    payload: Annotated[MessageText, Meta(description="The event as it came, without personal fields")] | None = None
    event_timestamp: Annotated[datetime, Meta(tz=True, description="When it happened, corrected")] | None = None
    producer: Annotated[str, Meta(description="CloudEvents' source")] | None = None
    event_name: Annotated[str, Meta(description="The name as the client sent it")] | None = None
    client_timestamp: Annotated[datetime, Meta(tz=True, description="The client's own time of the event")] | None = None
    sent_at: Annotated[datetime, Meta(tz=True, description="The client's own time of sending")] | None = None
    previous_id: Annotated[str, Meta(description="alias: the id that user_id replaces")] | None = None
    group_id: Annotated[str, Meta(description="Account, company or household of the person")] | None = None
    session_id: Annotated[str, Meta(description="Visit; unique for its source and device only")] | None = None
    order_id: Annotated[str, Meta(description="Order")] | None = None
    revenue: Annotated[Decimal, Meta(description="Money of the event, in currency")] | None = None
    currency: Annotated[str, Meta(description="ISO 4217")] | None = None
    page: Annotated[Page, Meta(description="Where on the web")] | None = None
    app: Annotated[App, Meta(description="Which app")] | None = None
    device: Annotated[Device, Meta(description="With what device")] | None = None
    location: Annotated[Location, Meta(description="Where on earth, coarse")] | None = None
    weather: Annotated[Weather, Meta(description="Of accepted events only")] | None = None
    campaign: Annotated[Campaign, Meta(description="What brought the person here (UTM)")] | None = None
    consent: Annotated[Consent, Meta(description="What the person agreed to; absent means not asked")] | None = None
    products: Annotated[list[Product], Meta(description="Products of the event that could be read")] = []
    traits: Annotated[JsonText, Meta(description="What identify says, without personal fields")] | None = None
    properties: Annotated[JsonText, Meta(description="Everything else, without personal fields")] | None = None
    library: Annotated[str, Meta(description="SDK and version")] | None = None


class ProductUpdate(Row, frozen=True, kw_only=True):
    """One version of one product (table product_updates; the view product_catalog keeps the latest)."""

    product_id: Annotated[Id, Meta(description="Id in the shop")]
    updated_at: Annotated[datetime, Meta(tz=True, description="When this became true; the latest wins")]
    name: Annotated[str, Meta(description="Name")] | None = None
    category: Annotated[str, Meta(description="Category")] | None = None
    brand: Annotated[str, Meta(description="Brand")] | None = None
    price: Annotated[Decimal, Meta(description="Price of one")] | None = None
    cost: Annotated[Decimal, Meta(description="What one costs the shop, in the same currency")] | None = None
    currency: Annotated[str, Meta(description="ISO 4217")] | None = None
    in_stock: Annotated[bool, Meta(description="Whether it can be bought")] | None = None


class MarketSignal(Row, frozen=True, kw_only=True):
    """One outside signal (table market_signals)."""

    signal_id: Annotated[Id, Meta(description="One signal; the key for de-duplication")]
    kind: Annotated[Id, Meta(description="Kind of signal, such as competitor_price, trend, season")]
    observed_at: Annotated[datetime, Meta(tz=True, description="When it was observed")]
    product_id: Annotated[Id, Meta(description="The product it is about")] | None = None
    category: Annotated[str, Meta(description="The category it is about")] | None = None
    value: Annotated[float, Meta(description="Its number, in the unit of its kind")] | None = None
    source: Annotated[str, Meta(description="Who observed it")] | None = None
    data: Annotated[JsonText, Meta(description="Everything else about it")] | None = None


class ObservedWeather(Row, frozen=True, kw_only=True):
    """What the weather was somewhere at one time (table weather_observations, topic weather-observations)."""

    observation_id: Annotated[Id, Meta(description="uuid5 of place and time: the same observation is the same row")]
    observed_at: Annotated[datetime, Meta(tz=True, description="When it was so, in UTC")]
    latitude: Annotated[float, Meta(ge=-90, le=90, description="Degrees")]
    longitude: Annotated[float, Meta(ge=-180, le=180, description="Degrees")]
    condition: Annotated[str, Meta(description="In words, such as rain")] | None = None
    temperature_celsius: Annotated[float, Meta(description="Degrees Celsius")] | None = None
    source: Annotated[str, Meta(description="Whose observation")] | None = None


class Moment(Row, frozen=True, kw_only=True):
    """One situation worth acting on (table moments, topic moments)."""

    moment_id: Annotated[Id, Meta(description="uuid5 of kind and case: the same case is the same moment")]
    kind: Annotated[Id, Meta(description="The moment's name: a file in schemas/bigquery/moments or an event type")]
    user_id: Annotated[Id, Meta(description="The person whom it is about")]
    detected_at: Annotated[datetime, Meta(tz=True, description="When it was found")]
    data: Annotated[JsonText, Meta(description="The row of the moment's SQL, or of the event")]


class Action(Row, frozen=True, kw_only=True):
    """One approved action (table actions, topic actions)."""

    action_id: Annotated[Id, Meta(description="uuid5 of the task: handling it twice changes nothing")]
    task_id: Annotated[Id, Meta(description="The task that it is the outcome of")]
    moment_id: Annotated[Id, Meta(description="The moment that the task is for")]
    kind: Annotated[str, Meta(description="email or webhook")]
    user_id: Annotated[Id, Meta(description="The person whom it is for")]
    created_at: Annotated[datetime, Meta(tz=True, description="When it was approved")]
    approved_by: Annotated[str, Meta(description="The agent whose approval let it out")]
    content: Annotated[JsonText, Meta(description="email: subject, text, html; webhook: receiver, data")]
    product_id: Annotated[Id, Meta(description="The product that it is about")] | None = None
    risk: (
        Annotated[int, Meta(ge=0, le=10, description="How risky the playbook says it is; absent: as its kind")] | None
    ) = None


class Recommendation(Row, frozen=True, kw_only=True):
    """What was recommended to whom and why (table recommendations, topic recommendations)."""

    recommendation_id: Annotated[Id, Meta(description="One recommendation; the key for de-duplication")]
    user_id: Annotated[Id, Meta(description="The person to whom it was made")]
    product_id: Annotated[Id, Meta(description="The product that was recommended")]
    reason: Annotated[str, Meta(description="Why, in words for the person")]
    served_at: Annotated[datetime, Meta(tz=True, description="When it was made")]
    chosen_by: Annotated[str, Meta(description="The model's version, or template")]
    channel: Annotated[str, Meta(description="http or swarm")]
    task_id: Annotated[Id, Meta(description="The swarm's task, when channel is swarm")] | None = None
    evidence: Annotated[JsonText, Meta(description="The candidates handed over, with their paths")] | None = None
    experiment: Annotated[str, Meta(description="The experiment that the person was in")] | None = None
    variant: Annotated[str, Meta(description="Its variant that the person was given")] | None = None


class LlmUsage(Row, frozen=True, kw_only=True):
    """One model call (table llm_usage, topic llm-usage). Never holds a prompt or a key."""

    call_id: Annotated[Id, Meta(description="One call; the key for de-duplication")]
    called_at: Annotated[datetime, Meta(tz=True, description="When it was done")]
    caller: Annotated[str, Meta(description="Whose the gateway key is: an agent, or a function without one")]
    prompt: Annotated[str, Meta(description="Name and version of the prompt file")]
    model: Annotated[str, Meta(description="The version that answered")]
    status: Annotated[str, Meta(description="ok, repaired, or the error's name")]
    input_tokens: Annotated[int, Meta(description="Tokens of prompts and data, all attempts together")]
    output_tokens: Annotated[int, Meta(description="Tokens of the answers, all attempts together")]
    latency_ms: Annotated[int, Meta(description="Milliseconds from request to checked answer")]
    agent: Annotated[str, Meta(description="The same as caller: what a key proves, not what a request says")] | None = (
        None
    )
    task_id: Annotated[Id, Meta(description="The task that it was made for")] | None = None
    cached_tokens: Annotated[int, Meta(description="Input tokens that the provider had in its cache")] | None = None
    cost_usd: Annotated[Decimal, Meta(description="Cost of all attempts, at the registry's prices")] | None = None
    asked_model: Annotated[str, Meta(description="The model that the caller asked for")] | None = None
    shadow_limit: Annotated[str, Meta(description="Limit of the shadow plan that would have refused it")] | None = None


class Candidate(Row, frozen=True, kw_only=True):
    """One candidate of stage 1 (table candidates), written by the job train_candidates."""

    user_id: Annotated[Id, Meta(description="The person")]
    product_id: Annotated[Id, Meta(description="The product")]
    rank: Annotated[int, Meta(ge=1, description="Place for this person, from 1")]
    score: Annotated[float, Meta(description="Higher is better; comparable within one person and version")]
    version: Annotated[str, Meta(description="One training run")]
    trained_at: Annotated[datetime, Meta(tz=True, description="When the training run began")]


class Touch(Row, frozen=True, kw_only=True):
    """One product of one event, as a training run saw it (table touches), written and read by the job train_candidates."""

    version: Annotated[str, Meta(description="The training run that it was gathered for")]
    trained_at: Annotated[datetime, Meta(tz=True, description="When that run began")]
    user_id: Annotated[Id, Meta(description="The person behind the event (interactions.person_id)")]
    product_id: Annotated[Id, Meta(description="Touched product")]
    kind: Annotated[str, Meta(description="The event's type: order_completed, product_added or product_viewed")]
    touched_at: Annotated[datetime, Meta(tz=True, description="When it happened")]
    quantity: Annotated[int, Meta(description="1 where the event says none")]
    session_id: Annotated[Id, Meta(description="The client's visit, where it names one")] | None = None
    category: Annotated[str, Meta(description="The product's category, as far as is known")] | None = None


class ModelRun(Row, frozen=True, kw_only=True):
    """One training run (table model_runs): what it chose, how good it was, and whether its candidates were taken."""

    version: Annotated[str, Meta(description="Of the candidates that it made")]
    trained_at: Annotated[datetime, Meta(tz=True, description="When it began")]
    backend: Annotated[str, Meta(description="What trained: implicit (an ensemble around ALS) or bigquery_ml")]
    accepted: Annotated[bool, Meta(description="Whether its candidates replaced the last good ones")]
    reason: Annotated[str, Meta(description="Why not; empty when accepted")]
    events: Annotated[int, Meta(description="Touches learned from")]
    people: Annotated[int, Meta(description="People among them")]
    products: Annotated[int, Meta(description="Products among them")]
    candidates: Annotated[int, Meta(description="Candidates made, loaded only when accepted")]
    validation_people: Annotated[int, Meta(description="People asked in the temporal validation split")]
    validation_ndcg: Annotated[float, Meta(description="NDCG@20 of stage 1 on the validation split")]
    popularity_ndcg: Annotated[float, Meta(description="NDCG@20 of popularity on the same split")]
    seconds: Annotated[float, Meta(description="Choosing, fitting and ranking")]
    settings: Annotated[JsonText, Meta(description="Hyper-parameters of every signal, weights of both stages")]


class Delivery(Row, frozen=True, kw_only=True):
    """A whole message with its metadata, as a BigQuery subscription with write_metadata keeps it."""

    subscription_name: Annotated[str, Meta(description="Subscription that wrote the row")]
    message_id: Annotated[str, Meta(description="Pub/Sub's id of the message")]
    publish_time: Annotated[datetime, Meta(tz=True, description="When Pub/Sub took the message")]
    data: Annotated[MessageText, Meta(description="The message")] | None = None
    attributes: Annotated[JsonText, Meta(description="The message's attributes")] | None = None


class DeadLetter(Row, frozen=True, kw_only=True):
    """A message that no subscriber could take; why is in its attributes. Its body may be anything, so it is kept as bytes."""

    subscription_name: Annotated[str, Meta(description="Subscription that wrote the row")]
    message_id: Annotated[str, Meta(description="Pub/Sub's id of the message")]
    publish_time: Annotated[datetime, Meta(tz=True, description="When it was dead-lettered")]
    data: Annotated[MessageBytes, Meta(description="The message as it was, whatever it is")] | None = None
    attributes: Annotated[JsonText, Meta(description="Its attributes, with the subscription and the reason")] | None = (
        None
    )
