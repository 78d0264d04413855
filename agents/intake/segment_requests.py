"""Reads what requests to Segment's HTTP API bring: one message, a batch, or a pixel's query. Pure.

Sources: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/ and .../pixel-tracking-api/. One
message's own reading is segment.py's, HTTP itself `functions`'.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from typing import Any

from agents.intake.limits import SEGMENT, Incoming, measure_events
from agents.intake.reading import NotJson, decode_json
from agents.intake.refusal import Refusal
from agents.intake.segment import CALLS, read_time

BATCH = "batch"
# Long routes, and the letters of the browser SDK: https://github.com/segmentio/analytics-next. "a" is alias.
ROUTES: Mapping[str, str] = {
    **{call: call for call in CALLS},
    **{call[0]: call for call in CALLS},
    **dict.fromkeys((BATCH, "b", "import"), BATCH),
}
Json = dict[str, Any]


class TooLarge(ValueError):
    """The request as a whole is over a published limit."""


def read_request(call: str, body: bytes) -> Incoming:
    """The messages of a body that was sent to the route of `call`, one of ROUTES' values.

    Raises:
        TooLarge: one message over an event's limit, or a list that no client's batch is.
        ValueError: the body cannot be read; the message says why.
    """
    try:
        given = decode_json(body)
    except NotJson as error:
        raise ValueError(f"the body is {error}") from None
    if not isinstance(given, dict):
        raise ValueError("the body must be a JSON object")
    message: Json = given
    if call == BATCH:
        return _read_batch(message, body)
    if len(body) > SEGMENT.event_bytes:
        raise TooLarge(f"an event may have {SEGMENT.event_bytes} bytes; this one has {len(body)}")
    key = take_key(message)
    return Incoming(raws=[{**message, "type": call}], limits=SEGMENT, write_key=key)


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
    key = message.pop("writeKey", None)
    return key if isinstance(key, str) else ""


def _read_batch(message: Json, body: bytes) -> Incoming:
    raws = message.get("batch")
    if not isinstance(raws, list):
        raise ValueError('batch must be a list: send {"batch": [...]}')
    events: list[object] = raws
    if len(events) > SEGMENT.refused_events:
        raise TooLarge(f"a batch may have {SEGMENT.batch_events} events; this one has {len(events)}")
    try:
        sent_at = read_time(message, "sentAt")
    except Refusal as refusal:
        raise ValueError(refusal.reason) from None
    keys = [take_key(message), *(take_key(raw) for raw in events if isinstance(raw, dict) and "writeKey" in raw)]
    context = message.get("context")
    return Incoming(
        raws=[_inherit(raw, context) for raw in events] if isinstance(context, dict) and context else events,
        limits=SEGMENT,
        sizes=measure_events(body, SEGMENT, inside_object=True),
        sent_at=sent_at,
        write_key=next(filter(None, keys), ""),  # the browser SDK puts it into each message of a batch
    )


def _inherit(raw: object, context: Json) -> object:
    """Give a message the batch's context where it has none (Segment: batch context is merged into each message)."""
    if not isinstance(raw, dict):
        return raw
    own: Json = raw
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
