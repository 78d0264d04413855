"""Reads one message of Segment's HTTP API into an Interaction. Pure.

Source: https://segment.com/docs/connections/spec/ (common fields, ecommerce v2). What is not lifted stays in
`properties`. The message's shape, and how leniently it is read, is messages.py's: every value here has its column's type
already, so a row is built without being checked again.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, TypeVar

import msgspec

from agents.intake import messages
from agents.intake.enrichment import consent
from agents.intake.enrichment.clues import NO_CLUES, Clues
from agents.intake.messages import Context, Json, Message, convert, decode_message, read_raw, to_utc
from agents.intake.refusal import Refusal
from agents.intake.suppression import SuppressionList
from schemas import rows
from schemas.messages import derive_id
from schemas.rows import Failure, Interaction

JSON_DEPTH = 100  # BigQuery's JSON takes 500; each reader on the way has a limit of its own
# Streamed rows may be for partitions of the last ten years and the next one
# (https://cloud.google.com/bigquery/docs/streaming-data-into-bigquery#time-unit_column_partitioning); no event is from tomorrow.
OLDEST, NEWEST = timedelta(days=3650), timedelta(days=1)
_NAN, _NUMERIC, _PLAIN = Decimal("NaN"), Decimal("1e-9"), 10**18
CALLS = ("track", "identify", "page", "screen", "group", "alias")
_NO_CONTEXT, _NO_COMMERCE = Context(), messages.Commerce()
Nested = TypeVar("Nested", bound=rows.Row)
_encode = msgspec.json.Encoder().encode


class Received(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an event came: `sent_at` is the client's time of sending the batch, `origin` the file and line if any.

    `clues` is what the request shows besides its events, `call` what its route says: it wins over the message's own type.
    `seed` is of a record of a file: its id, when the record has none, is made of it.
    `suppressed` knows whose events must not be stored.
    """

    source: str
    received_at: datetime
    sent_at: datetime | None = None
    clues: Clues = NO_CLUES
    origin: str | None = None
    call: str | None = None
    seed: str | None = None
    suppressed: SuppressionList | None = None


def read_message(raw: object, received: Received) -> Interaction:
    """One Segment message (its bytes as msgspec.Raw, or its JSON value) as a row.

    Raises:
        Refusal: with the typed failure and what to fix.
    """
    message = decode_message(raw)
    call = received.call or message.type
    if call not in CALLS:
        raise Refusal(Failure.UNKNOWN_TYPE, f"type is {call!r:.60}; it must be one of {', '.join(CALLS)}")
    name = (message.event if call == "track" else message.name) or None
    _require(call, name, message)
    received_at = received.received_at
    sent_at = to_utc(message.sent_at, "sentAt") if message.sent_at else received.sent_at
    original = _read_original(message)
    context, properties = message.context or _NO_CONTEXT, message.properties or {}
    commerce = convert(properties, messages.Commerce) if properties else _NO_COMMERCE
    page = context.page
    if page is None and call == "page":
        page = convert(properties, messages.Page)
    # By position, in the order of the columns: with more than 15 keywords CPython makes a dict of them first, which cost
    # more than the rest of the row (measured; tests/unit/test_intake.py fills every column).
    return Interaction(
        message.message_id or _derive_event_id(raw, original, received),
        _name_type(name) if call == "track" and name else call,
        correct_time(original, sent_at, received_at),
        received_at,
        received.source,
        None,  # producer: CloudEvents'
        name,
        original,
        sent_at,
        message.user_id or None,
        message.anonymous_id or None,
        message.previous_id or None,
        message.group_id or None,
        context.session_id or None,
        commerce.order_id or None,
        _read_revenue(commerce),
        commerce.currency or None,
        page and _drop_empty(page),
        context.app and _drop_empty(context.app),
        _read_device(context),
        context.location and _drop_empty(context.location),
        None,  # weather: enriched
        context.campaign and _drop_empty(context.campaign),
        context.consent and _read_consent(context.consent),
        _read_products(commerce),
        to_json_text(message.traits or context.traits),
        to_json_text(_pick_rest(properties, message)),
        context.library and _read_library(context.library),
    )


def _require(call: str, name: str | None, message: Message) -> None:
    """Segment's spec: who it was, what was tracked; a group call names the group, an alias call both ids."""
    if not (message.user_id or message.anonymous_id):
        raise Refusal(Failure.MISSING_FIELD, "userId or anonymousId must be there and not empty")
    if call == "track":
        if not name:
            raise Refusal(Failure.MISSING_FIELD, "event must be there and not empty for type 'track'")
    elif call == "group" and not message.group_id:
        raise Refusal(Failure.MISSING_FIELD, "groupId must be there and not empty for type 'group'")
    elif call == "alias" and not (message.previous_id and message.user_id):
        raise Refusal(Failure.MISSING_FIELD, "userId and previousId must be there and not empty for type 'alias'")


def _read_original(message: Message) -> datetime | None:
    if message.original_timestamp:
        return to_utc(message.original_timestamp, "originalTimestamp")
    return to_utc(message.timestamp, "timestamp") if message.timestamp else None


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


@lru_cache(4096)  # an app has few names of events
def _name_type(name: str) -> str:
    event_type = to_snake_case(name)
    if len(event_type) > 256:
        raise Refusal(Failure.WRONG_TYPE, "event may have 256 characters")
    return event_type


def _derive_event_id(raw: object, original: datetime | None, received: Received) -> str:
    """A client that sends no messageId gets one that its own retry of the same message gets again."""
    when = "" if original or received.origin else received.received_at.isoformat()
    given: Any = read_raw(raw)
    message: Json = {key: value for key, value in given.items() if key not in ("sentAt", "writeKey")}
    if received.call:
        message["type"] = received.call
    try:
        content = msgspec.json.encode(message, order="sorted").decode()
    except RecursionError:
        raise Refusal(Failure.WRONG_TYPE, "the event is nested too deeply") from None
    return derive_id(received.source, received.seed or received.origin or "", when, content)


def _drop_empty(given: Nested) -> Nested | None:
    """None for an object in which nothing was that its column keeps."""
    return None if given == type(given)() else given


def _read_device(context: Context) -> rows.Device | None:
    kind = context.device.type if context.device else None
    system = context.os.name if context.os else None
    if not (context.user_agent or context.locale or context.timezone or kind or system):
        return None
    return rows.Device(
        type=kind or None,
        os=system or None,
        user_agent=context.user_agent or None,
        locale=context.locale or None,
        timezone=context.timezone or None,
    )


def _read_consent(given: messages.Consent) -> rows.Consent | None:
    """Segment's consent object, and the two columns by their own names, which come first."""
    categories = given.category_preferences or {}
    told = consent.read_preferences(categories)
    return _drop_empty(
        rows.Consent(
            analytics=told.get("analytics") if given.analytics is None else given.analytics,
            marketing=told.get("marketing") if given.marketing is None else given.marketing,
            categories=to_json_text(categories),
        )
    )


def _read_library(library: messages.Library) -> str | None:
    return " ".join(filter(None, (library.name, library.version))) or None


def _pick_rest(properties: Json, message: Message) -> Json:
    """What stays in the column properties: all but the products; page and screen may have a category beside their name."""
    if not message.category and "products" not in properties:
        return properties
    rest = {key: value for key, value in properties.items() if key != "products"}
    if message.category:
        rest.setdefault("category", message.category)
    return rest


def _read_revenue(commerce: messages.Commerce) -> Decimal | None:
    if commerce.revenue is None and commerce.total is None and commerce.value is None:
        return None
    amounts = {"revenue": commerce.revenue, "total": commerce.total, "value": commerce.value}
    found = (to_money(amount, key) for key, amount in amounts.items() if amount is not None)
    return next((money for money in found if money is not None), None)


def _read_products(commerce: messages.Commerce) -> list[rows.Product]:
    if commerce.products is None:
        return [_read_product(commerce)] if commerce.product_id or commerce.sku else []
    return [_read_product(product) for product in commerce.products]


def _read_product(given: messages.Product) -> rows.Product:
    product_id = given.product_id or given.sku
    if not product_id:
        raise Refusal(Failure.MISSING_FIELD, "a product needs product_id (or sku)")
    quantity = None if given.quantity is None else to_money(given.quantity, "quantity")
    if quantity is not None and abs(quantity) > 2**63 - 1:  # BigQuery's INT64 would refuse the whole row later
        raise Refusal(Failure.WRONG_TYPE, "quantity must fit 64 bits")
    return rows.Product(
        product_id=product_id,
        name=given.name or None,
        category=given.category or None,
        brand=given.brand or None,
        price=None if given.price is None else to_money(given.price, "price"),
        quantity=None if quantity is None else int(quantity),
    )


def read_money(values: Json, key: str) -> Decimal | None:
    """A number or its text, exact to BigQuery's NUMERIC (9 decimals)."""
    value = values.get(key)
    return None if value is None else to_money(value, key)


def to_money(value: object, key: str) -> Decimal | None:
    """A number or its text, exact to BigQuery's NUMERIC (9 decimals); an empty text is none."""
    if value == "":
        return None
    if type(value) is int and -_PLAIN <= value <= _PLAIN:
        return Decimal(value)
    text = str(value)
    if type(value) is float and len(text) < 12 and "e" not in text and "n" not in text:
        return Decimal(
            text.removesuffix(".0")
        )  # at most 9 decimals, and its shortest text has no other zeros to take off
    try:
        number = _NAN if isinstance(value, bool) else Decimal(text).quantize(_NUMERIC)
    except InvalidOperation:
        number = _NAN
    if not number.is_finite():
        raise Refusal(Failure.WRONG_TYPE, f"{key} must be a number with at most 19 digits before the point")
    return Decimal(f"{number.normalize():f}")


def to_json_text(value: Json | None) -> str | None:
    """What a JSON column takes, or None for nothing; a Refusal when it is nested more deeply than readers on the way take."""
    if not value:
        return None
    try:
        text = _encode(value).decode()
    except RecursionError:
        raise Refusal(Failure.WRONG_TYPE, "the event is nested too deeply") from None
    if (
        len(text) > 2 * JSON_DEPTH
        and text.count("{") + text.count("[") > JSON_DEPTH
        and _measure_depth(value) > JSON_DEPTH
    ):
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
