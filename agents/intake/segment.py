"""Reads one message of Segment's HTTP API into an Interaction. Pure.

Source: https://segment.com/docs/connections/spec/ (common fields, ecommerce v2). What is not lifted stays in
`properties`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from agents.intake.enrichment import consent
from agents.intake.enrichment.clues import NO_CLUES, Clues
from agents.intake.refusal import Refusal
from schemas import rows
from schemas.messages import derive_id
from schemas.rows import Failure, Interaction

JSON_DEPTH = 100  # BigQuery's JSON takes 500; each reader on the way has a limit of its own
# Streamed rows may be for partitions of the last ten years and the next one
# (https://cloud.google.com/bigquery/docs/streaming-data-into-bigquery#time-unit_column_partitioning); no event is from tomorrow.
OLDEST, NEWEST = timedelta(days=3650), timedelta(days=1)
_NAN, _NUMERIC, _PLAIN = Decimal("NaN"), Decimal("1e-9"), 10**18
CALLS = ("track", "identify", "page", "screen", "group", "alias")
Json = dict[str, Any]
Nested = TypeVar("Nested", bound=rows.Row)


@dataclass(frozen=True, kw_only=True)
class Received:
    """How an event came: `sent_at` is the client's time of sending the batch, `origin` the file and line if any.

    `clues` is what the request shows besides its events.
    """

    source: str
    received_at: datetime
    sent_at: datetime | None = None
    clues: Clues = NO_CLUES
    origin: str | None = None


def read_message(raw: object, received: Received) -> Interaction:
    """One Segment message as a row.

    Raises:
        Refusal: with the typed failure and what to fix.
    """
    if not isinstance(raw, dict):
        raise Refusal(Failure.NOT_AN_OBJECT, f"an event must be a JSON object, not {type(raw).__name__}")
    message: Json = raw
    call = read_text(message, "type")
    if call not in CALLS:
        raise Refusal(Failure.UNKNOWN_TYPE, f"type is {call!r:.60}; it must be one of {', '.join(CALLS)}")
    ids = {key: read_text(message, key) for key in ("userId", "anonymousId", "previousId", "groupId")}
    if not (ids["userId"] or ids["anonymousId"]):
        raise Refusal(Failure.MISSING_FIELD, "userId or anonymousId must be there and not empty")
    name = read_text(message, "event" if call == "track" else "name")
    if call == "track" and not name:
        raise Refusal(Failure.MISSING_FIELD, "event must be there and not empty for type 'track'")
    _require_ids(call, ids)
    sent_at = read_time(message, "sentAt") or received.sent_at
    original = read_time(message, "originalTimestamp") or read_time(message, "timestamp")
    context = read_object(message, "context")
    properties = read_object(message, "properties")
    values: Json = {
        "event_id": read_text(message, "messageId") or _derive_event_id(message, original, received),
        "event_type": to_snake_case(name) if call == "track" and name else call,
        "event_name": name,
        "event_timestamp": correct_time(original, sent_at, received.received_at),
        "client_timestamp": original,
        "sent_at": sent_at,
        "received_at": received.received_at,
        "source": received.source,
        "user_id": ids["userId"],
        "anonymous_id": ids["anonymousId"],
        "previous_id": ids["previousId"],
        "group_id": ids["groupId"],
        "traits": _to_json_text(read_object(message, "traits") or read_object(context, "traits")),
        **_read_context(context),
        **_read_properties(properties, message),
    }
    if call == "page" and values["page"] is None:
        values["page"] = _pick({"page": properties}, "page", rows.Page)
    return build_row(Interaction, values)


def _require_ids(call: str, ids: Mapping[str, str | None]) -> None:
    """Segment's spec: a group call names the group, an alias call both ids, or it says nothing."""
    if call == "group" and not ids["groupId"]:
        raise Refusal(Failure.MISSING_FIELD, "groupId must be there and not empty for type 'group'")
    if call == "alias" and not (ids["previousId"] and ids["userId"]):
        raise Refusal(Failure.MISSING_FIELD, "userId and previousId must be there and not empty for type 'alias'")


def build_row(kind: type[Nested], values: Json) -> Nested:
    """A row of the values that are there; what does not fit its column is a Refusal that names the column."""
    try:
        return msgspec.convert({k: v for k, v in values.items() if v is not None}, kind)
    except msgspec.ValidationError as error:
        raise Refusal(Failure.WRONG_TYPE, str(error)) from error


def correct_time(original: datetime | None, sent_at: datetime | None, received_at: datetime) -> datetime:
    """Segment's rule: receivedAt - (sentAt - originalTimestamp), which takes out the client's clock error."""
    if original is None:
        return received_at
    try:
        return trust_time(received_at - (sent_at - original) if sent_at else original, received_at)
    except OverflowError:  # a clock that is millennia off
        return received_at


def trust_time(time: datetime, received_at: datetime) -> datetime:
    """The time, or that of arrival when the client's clock cannot be right: BigQuery refuses rows for partitions so far off."""
    return time if received_at - OLDEST < time < received_at + NEWEST else received_at


def to_snake_case(name: str) -> str:
    """'Order Completed' -> 'order_completed'; letters of any script stay."""
    return re.sub(r"\W+", "_", name.strip()).strip("_").lower() or "unnamed"


def read_text(message: Json, key: str) -> str | None:
    """A text field; numbers are taken as their text, as Segment does for ids."""
    value = message.get(key)
    if type(value) is str:  # nearly always, and this is asked two dozen times an event
        return value or None
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(Failure.WRONG_TYPE, f"{key} must be a text, not {type(value).__name__}")
    return str(value)


def read_object(message: Json, key: str) -> Json:
    """An object field; absent is empty."""
    value = message.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(Failure.WRONG_TYPE, f"{key} must be an object, not {type(value).__name__}")
    return value


def read_time(message: Json, key: str) -> datetime | None:
    """An ISO 8601 time; without a zone it is UTC."""
    value = message.get(key)
    if value is None or value == "":
        return None
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Refusal(Failure.WRONG_TYPE, f"{key} must be an ISO 8601 time such as 2026-11-20T08:00:00Z") from None
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        raise Refusal(Failure.WRONG_TYPE, f"{key} is outside of the years 1 to 9999 in UTC") from None


def _derive_event_id(message: Json, original: datetime | None, received: Received) -> str:
    """A client that sends no messageId gets one that its own retry of the same message gets again."""
    when = "" if original or received.origin else received.received_at.isoformat()
    try:
        content = msgspec.json.encode({k: v for k, v in message.items() if k != "sentAt"}, order="sorted").decode()
    except RecursionError:
        raise Refusal(Failure.WRONG_TYPE, "the event is nested too deeply") from None
    return derive_id(received.source, received.origin or "", when, content)


def _read_context(context: Json) -> Json:
    return {
        "session_id": read_text(context, "sessionId"),
        "page": _pick(context, "page", rows.Page),
        "app": _pick(context, "app", rows.App),
        "device": _read_device(context),
        "location": _pick(context, "location", rows.Location),
        "campaign": _pick(context, "campaign", rows.Campaign),
        "consent": _read_consent(context),
        "library": _read_library(context),
    }


def _read_device(context: Json) -> rows.Device | None:
    user_agent = read_text(context, "userAgent")
    locale, timezone = read_text(context, "locale"), read_text(context, "timezone")
    kind = read_text(read_object(context, "device"), "type") if "device" in context else None
    system = read_text(read_object(context, "os"), "name") if "os" in context else None
    if not (user_agent or locale or timezone or kind or system):
        return None
    # Every value is a text already, so nothing is left to check.
    return rows.Device(type=kind, os=system, user_agent=user_agent, locale=locale, timezone=timezone)


def _read_consent(context: Json) -> rows.Consent | None:
    """Segment's consent object, and the two columns by their own names, which come first."""
    if context.get("consent") is None:
        return None
    given = read_object(context, "consent")
    categories = read_object(given, "categoryPreferences")
    known = {name: given[name] for name in consent.CATEGORIES if given.get(name) is not None}
    values = {**consent.read_preferences(categories), **known, "categories": _to_json_text(categories)}
    return build_row(rows.Consent, values) if any(value is not None for value in values.values()) else None


def _read_library(context: Json) -> str | None:
    if context.get("library") is None:
        return None
    library = read_object(context, "library")
    return " ".join(filter(None, (read_text(library, "name"), read_text(library, "version")))) or None


def _pick(context: Json, key: str, kind: type[Nested]) -> Nested | None:
    """The known fields of one context object, or None when none is there."""
    if context.get(key) is None:
        return None
    given = read_object(context, key)
    known = {field: given[field] for field in kind.__struct_fields__ if given.get(field) is not None}
    return build_row(kind, known) if known else None


def _read_properties(properties: Json, message: Json) -> Json:
    category = read_text(message, "category")  # page and screen may have it beside their name
    rest = properties
    if category or "products" in properties:
        rest = {key: value for key, value in properties.items() if key != "products"}
        if category:
            rest.setdefault("category", category)
    return {
        "order_id": read_text(properties, "order_id"),
        "revenue": read_money(properties, "revenue")
        or read_money(properties, "total")
        or read_money(properties, "value"),
        "currency": read_text(properties, "currency"),
        "products": _read_products(properties),
        "properties": _to_json_text(rest),
    }


def _read_products(properties: Json) -> list[rows.Product]:
    given = properties.get("products")
    if given is None:
        return [_read_product(properties)] if _product_id(properties) else []
    if not isinstance(given, list):
        raise Refusal(Failure.WRONG_TYPE, f"properties.products must be a list, not {type(given).__name__}")
    return [_read_product(product) for product in given]  # pyright: ignore[reportUnknownVariableType]  # JSON


def _read_product(product: object) -> rows.Product:
    if not isinstance(product, dict):
        raise Refusal(Failure.WRONG_TYPE, f"a product must be an object, not {type(product).__name__}")
    given: Json = product
    quantity = None if given.get("quantity") is None else read_money(given, "quantity")
    if quantity is not None and abs(quantity) > 2**63 - 1:  # BigQuery's INT64 would refuse the whole row later
        raise Refusal(Failure.WRONG_TYPE, "quantity must fit 64 bits")
    values = {
        "product_id": _product_id(given),
        "price": read_money(given, "price"),
        "quantity": None if quantity is None else int(quantity),
        **{key: read_text(given, key) for key in ("name", "category", "brand")},
    }
    if not values["product_id"]:
        raise Refusal(Failure.MISSING_FIELD, "a product needs product_id (or sku)")
    return build_row(rows.Product, values)


def _product_id(product: Json) -> str | None:
    return read_text(product, "product_id") or read_text(product, "sku")


def read_money(values: Json, key: str) -> Decimal | None:
    """A number or its text, exact to BigQuery's NUMERIC (9 decimals)."""
    value = values.get(key)
    if value is None or value == "":
        return None
    if type(value) is int and -_PLAIN <= value <= _PLAIN:
        return Decimal(value)
    try:
        number = _NAN if isinstance(value, bool) else Decimal(str(value)).quantize(_NUMERIC)
    except InvalidOperation:
        number = _NAN
    if not number.is_finite():
        raise Refusal(Failure.WRONG_TYPE, f"{key} must be a number with at most 19 digits before the point")
    return Decimal(f"{number.normalize():f}")


def _to_json_text(value: Json) -> str | None:
    if not value:
        return None
    try:
        text = msgspec.json.encode(value).decode()
    except RecursionError:
        raise Refusal(Failure.WRONG_TYPE, "the event is nested too deeply") from None
    if text.count("{") + text.count("[") > JSON_DEPTH and _measure_depth(value) > JSON_DEPTH:
        raise Refusal(Failure.WRONG_TYPE, f"properties and traits may be nested {JSON_DEPTH} levels deep")
    return text


def _measure_depth(value: object) -> int:
    """How many objects and lists are inside each other, without recursion."""
    depth, layer = 0, [value]
    while layer := [inner for outer in layer for inner in _list_inner(outer)]:
        depth += 1
    return depth


def _list_inner(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())  # pyright: ignore[reportUnknownArgumentType]  # JSON
    return value if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType]  # JSON
