"""Reads what requests to Segment's HTTP API bring: one message, a batch, or a pixel's query. Pure.

Sources: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/ and .../pixel-tracking-api/. One
message's own reading is segment.py's, HTTP itself `functions`'.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from agents.intake.limits import SEGMENT, Incoming
from agents.intake.messages import read_time
from agents.intake.reading import NotJson, decode_json
from agents.intake.refusal import Refusal
from agents.intake.segment import CALLS

BATCH = "batch"
# Long routes, and the letters of the browser SDK: https://github.com/segmentio/analytics-next. "a" is alias.
ROUTES: Mapping[str, str] = {
    **{call: call for call in CALLS},
    **{call[0]: call for call in CALLS},
    **dict.fromkeys((BATCH, "b", "import"), BATCH),
}
Json = dict[str, Any]
Body = TypeVar("Body", bound=msgspec.Struct)


class TooLarge(ValueError):
    """The request as a whole is over a published limit."""


class _Keyed(msgspec.Struct, rename="camel"):
    write_key: Any = ""


class _Batch(_Keyed, rename="camel"):
    batch: list[msgspec.Raw] | None = None
    sent_at: Any = None
    context: Any = None


def read_request(call: str, body: bytes) -> Incoming:
    """The messages of a body that was sent to the route of `call`, one of ROUTES' values.

    Raises:
        TooLarge: one message over an event's limit, or a list that no client's batch is.
        ValueError: the body cannot be read; the message says why.
    """
    if call == BATCH:
        return _read_batch(body)
    keyed = _read_body(body, _Keyed)
    if len(body) > SEGMENT.event_bytes:
        raise TooLarge(f"an event may have {SEGMENT.event_bytes} bytes; this one has {len(body)}")
    return Incoming(raws=[msgspec.Raw(body)], limits=SEGMENT, call=call, write_key=_to_key(keyed.write_key))


def _read_body(body: bytes, shape: type[Body]) -> Body:
    try:
        return decode_json(body, shape)
    except NotJson as error:
        raise ValueError(f"the body is {error}") from None
    except msgspec.ValidationError:
        if isinstance(decode_json(body), dict):
            raise ValueError('batch must be a list: send {"batch": [...]}') from None
        raise ValueError("the body must be a JSON object") from None


def read_pixel(call: str, query: Iterable[tuple[str, str]]) -> Incoming:
    """The one message of a pixel's query: `data` as base64 of JSON, or each field by itself with dots for nesting.

    Raises:
        ValueError: `data` is not base64 of a JSON object, or one field is both a value and an object.
    """
    pairs = list(query)
    data = dict(pairs).get("data")
    message = _nest_fields(pairs) if data is None else _decode_pixel(data)
    key = take_key(message)
    return Incoming(raws=[{**message, "type": call}], limits=SEGMENT, write_key=key)


def take_key(message: Json) -> str:
    """The write key of a message, which is taken out of it: it must never be stored."""
    return _to_key(message.pop("writeKey", None))


def _to_key(given: object) -> str:
    return given if isinstance(given, str) else ""


def _read_batch(body: bytes) -> Incoming:
    given = _read_body(body, _Batch)
    events = given.batch
    if events is None:
        raise ValueError('batch must be a list: send {"batch": [...]}')
    if len(events) > SEGMENT.refused_events:
        raise TooLarge(f"a batch may have {SEGMENT.batch_events} events; this one has {len(events)}")
    try:
        sent_at = read_time({"sentAt": given.sent_at}, "sentAt")
    except Refusal as refusal:
        raise ValueError(refusal.reason) from None
    context: Any = given.context
    return Incoming(
        raws=[_inherit(raw, context) for raw in events] if isinstance(context, dict) and context else events,
        limits=SEGMENT,
        sent_at=sent_at,
        write_key=_to_key(given.write_key) or _find_key(events),
    )


def _find_key(events: list[msgspec.Raw]) -> str:
    """The browser SDK puts the key into each message of a batch."""
    for raw in events:
        try:
            key = _to_key(msgspec.json.decode(raw, type=_Keyed).write_key)
        except msgspec.ValidationError:  # no object: it gets its verdict later
            continue
        if key:
            return key
    return ""


def _inherit(raw: msgspec.Raw, context: Json) -> object:
    """Give a message the batch's context where it has none (Segment: batch context is merged into each message)."""
    try:
        given = decode_json(bytes(raw))
    except NotJson:
        return raw
    if not isinstance(given, dict):
        return raw
    own: Json = given
    inner = own.get("context") or {}
    return {**own, "context": {**context, **inner}} if isinstance(inner, dict) else own


def _decode_pixel(data: str) -> Json:
    text = data.replace("-", "+").replace("_", "/").replace(" ", "+").rstrip("=")  # a query turns + into a space
    try:
        message = decode_json(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except (binascii.Error, NotJson, ValueError):
        raise ValueError("data must be base64 of JSON") from None
    if not isinstance(message, dict):
        raise ValueError("data must be base64 of a JSON object")
    return message  # pyright: ignore[reportUnknownVariableType]  # JSON


def _nest_fields(pairs: Iterable[tuple[str, str]]) -> Json:
    message: Json = {}
    for name, value in pairs:
        *path, last = name.split(".")
        inner = message
        for part in path:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{name:.60} is nested in a field that is a text")
        inner[last] = value
    return message
