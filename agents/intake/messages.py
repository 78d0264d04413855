"""The shape of a message of Segment's HTTP API, and its reading: in one step as clients send it, or else leniently.

Source: https://segment.com/docs/connections/spec/common/. Owns names, types and bounds of what is lifted into columns; a
field that is not here stays where it is (properties, traits) or is dropped. What a message means is segment.py's.
To lift another field: declare it here, with its type.
"""

from __future__ import annotations

import types
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from agents.intake.reading import NotJson, decode_json
from agents.intake.refusal import Refusal
from schemas import rows
from schemas.rows import Failure

Json = dict[str, Any]
Id = Annotated[str, Meta(max_length=256)]
Amount = int | float | str | None
"""Money or a count, as a number or its text."""


class Given(msgspec.Struct, frozen=True, kw_only=True, rename="camel", gc=False):
    """Part of a message. Null is absent; what is not declared is ignored. `gc`: JSON holds no cycles."""


class Library(Given, frozen=True, kw_only=True):
    """Which SDK."""

    name: str | None = None
    version: str | None = None


class Hardware(Given, frozen=True, kw_only=True):
    """context.device."""

    type: str | None = None


class System(Given, frozen=True, kw_only=True):
    """context.os."""

    name: str | None = None


class Page(rows.Page, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """context.page: the column's fields, whatever else is there."""


class App(rows.App, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """context.app."""


class Location(rows.Location, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """context.location."""


class Campaign(rows.Campaign, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """context.campaign."""


class Consent(Given, frozen=True, kw_only=True):
    """context.consent: Segment's object, and the columns by their own names."""

    category_preferences: Json | None = None
    analytics: bool | None = None
    marketing: bool | None = None


class Context(Given, frozen=True, kw_only=True):
    """What the client knew around the event."""

    session_id: Id | None = None
    page: Page | None = None
    app: App | None = None
    device: Hardware | None = None
    os: System | None = None
    user_agent: str | None = None
    locale: str | None = None
    timezone: str | None = None
    location: Location | None = None
    campaign: Campaign | None = None
    consent: Consent | None = None
    library: Library | None = None
    traits: Json | None = None


class Message(Given, frozen=True, kw_only=True):
    """One message. Its times are as the client wrote them, with or without a zone."""

    type: str | None = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    message_id: Id | None = None
    user_id: Id | None = None
    anonymous_id: Id | None = None
    previous_id: Id | None = None
    group_id: Id | None = None
    timestamp: datetime | None = None
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    context: Context | None = None
    properties: Json | None = None
    traits: Json | None = None


class Product(Given, frozen=True, kw_only=True, rename=None):
    """One product of the ecommerce spec: an entry of properties.products, or the properties of a product event."""

    product_id: Id | None = None
    sku: Id | None = None
    name: str | None = None
    category: str | None = None
    brand: str | None = None
    price: Amount = None
    quantity: Amount = None


class Commerce(Product, frozen=True, kw_only=True, rename=None):
    """What is lifted out of the properties (ecommerce v2)."""

    order_id: Id | None = None
    revenue: Amount = None
    total: Amount = None
    value: Amount = None
    currency: str | None = None
    products: list[Product] | None = None


Shape = TypeVar("Shape", bound=msgspec.Struct)
_decode = msgspec.json.Decoder(Message).decode


def read_raw(raw: object) -> object:
    """The JSON value of an event that may still be the bytes of its place in the request.

    Raises:
        Refusal: these bytes are no usable JSON.
    """
    if not isinstance(raw, msgspec.Raw):
        return raw
    try:
        return decode_json(bytes(raw))
    except NotJson as error:
        raise Refusal(Failure.WRONG_TYPE, f"the event is {error}") from None


def decode_message(raw: object) -> Message:
    """A message of its bytes or its JSON value.

    Raises:
        Refusal: what does not fit its field even leniently, naming the key.
    """
    if isinstance(raw, msgspec.Raw):
        try:
            return _decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            pass  # read again below, with a reason if it is no use
    value = read_raw(raw)
    if not isinstance(value, dict):
        raise Refusal(Failure.NOT_AN_OBJECT, f"an event must be a JSON object, not {type(value).__name__}")
    message: Json = value
    return convert(message, Message)


def convert(given: Json, shape: type[Shape]) -> Shape:
    """A JSON object in its shape; where a text is wanted a number is its text, a time is any of ISO 8601.

    Raises:
        Refusal: what does not fit its field even so, naming the key.
    """
    try:
        return msgspec.convert(given, shape)
    except msgspec.ValidationError:
        pass
    try:
        return msgspec.convert(_soften(given, shape), shape)
    except msgspec.ValidationError as error:
        raise Refusal(Failure.WRONG_TYPE, str(error)) from error


def read_text(values: Json, key: str) -> str | None:
    """A text field; numbers are taken as their text, as Segment does for ids. An empty one is none."""
    value = values.get(key)
    if value is None or isinstance(value, str):
        return value or None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(Failure.WRONG_TYPE, f"{key} must be a text, not {type(value).__name__}")
    return str(value)


def read_time(values: Json, key: str) -> datetime | None:
    """An ISO 8601 time in UTC; without a zone it is UTC."""
    value = values.get(key)
    if value is None or value == "":
        return None
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Refusal(Failure.WRONG_TYPE, f"{key} must be an ISO 8601 time such as 2026-11-20T08:00:00Z") from None
    return to_utc(time, key)


def to_utc(time: datetime, key: str) -> datetime:
    """The same time in UTC; without a zone it is UTC."""
    if time.tzinfo is UTC:
        return time
    try:
        return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    except OverflowError:
        raise Refusal(Failure.WRONG_TYPE, f"{key} is outside of the years 1 to 9999 in UTC") from None


def read_object(values: Json, key: str) -> Json:
    """An object field; absent is empty."""
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refusal(Failure.WRONG_TYPE, f"{key} must be an object, not {type(value).__name__}")
    return value


def _soften(given: Json, shape: type[msgspec.Struct]) -> Json:
    kinds = _list_kinds(shape)
    return {key: _soften_field(given, key, kind) for key, kind in kinds.items() if given.get(key) is not None}


def _soften_field(given: Json, key: str, kind: Any) -> object:
    value = given[key]
    if kind is str:
        return value if isinstance(value, str) else read_text(given, key)
    if kind is datetime:
        return read_time(given, key)
    if get_origin(kind) is dict:
        return read_object(given, key)
    if get_origin(kind) is list and isinstance(value, list):
        (inner,) = get_args(kind)
        items: list[Any] = value
        return [_soften_field({key: item}, key, inner) for item in items]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _soften(read_object(given, key), kind)
    return value


@cache
def _list_kinds(shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON key of each field and its type, without `| None` and bounds."""
    hints = get_type_hints(shape)
    return {field.encode_name: _strip(hints[field.name]) for field in msgspec.structs.fields(shape)}


def _strip(hint: Any) -> Any:
    if get_origin(hint) in (Union, types.UnionType):
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        return _strip(kinds[0]) if len(kinds) == 1 else hint
    return hint
