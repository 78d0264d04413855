"""Reads CloudEvents 1.0 over HTTP (binary, structured, batched) into Interactions. Pure.

Sources: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md (modes, headers) and
.../formats/json-format.md (JSON). The SDK that functions-framework brings reads one event at a time and does not
percent-decode headers, hence this module.

The event's data is a row of user_interactions, a Segment message, or anything else, which then is a track of `type`. The
binding lets binary mode carry data of any media type, so none is refused: JSON objects become properties, other JSON
and texts the property `data`, other bytes the property `data_base64`. What is left of the attributes is kept as the
property `cloudevent`. Only an event *format* that is not read here is a 415.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from agents.intake.limits import CLOUDEVENTS, Incoming
from agents.intake.messages import read_raw, read_time
from agents.intake.reading import NotJson, decode_json
from agents.intake.refusal import Refusal
from agents.intake.segment import CALLS, Received, build_row, read_message, trust_time
from schemas.rows import Failure, Interaction

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
REQUIRED = ("specversion", "id", "source", "type")
# RFC 3339, which is narrower than ISO 8601 (a date alone, a week, a time without a zone are none).
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_NO_URI = re.compile(r'[\s<>"{}|\\^`]|%(?![0-9A-Fa-f]{2})')  # RFC 3986; letters of other scripts are let through
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
Json = dict[str, Any]


class UnsupportedFormat(ValueError):
    """The request is a CloudEvent in a format that is not read here (HTTP 415)."""


class TooLarge(ValueError):
    """The request as a whole is over a published limit (HTTP 413)."""


def is_batched(headers: Mapping[str, str]) -> bool:
    """Whether a request brings a list of events. Header names are lower case."""
    return _media_type(headers) == BATCHED


def read_request(headers: Mapping[str, str], body: bytes) -> Incoming:
    """The events of a request as JSON values, not checked yet. Header names are lower case.

    Raises:
        UnsupportedFormat: an event format other than JSON, or no CloudEvent at all.
        TooLarge: one event over an event's limit, or a list that no client's batch is.
        ValueError: the body or a header cannot be read.
    """
    media_type = _media_type(headers)
    if media_type == BATCHED:
        return _read_batch(body)
    if len(body) > CLOUDEVENTS.event_bytes:
        raise TooLarge(f"an event may have {CLOUDEVENTS.event_bytes} bytes; this one has {len(body)}")
    if media_type == STRUCTURED:
        return Incoming(raws=[decode_json(body)], limits=CLOUDEVENTS)
    if media_type.startswith("application/cloudevents"):
        raise UnsupportedFormat(f"{media_type} is not supported; send {STRUCTURED} or {BATCHED}")
    return Incoming(raws=[_read_binary(headers, media_type, body)], limits=CLOUDEVENTS)


def read_event(raw: object, received: Received) -> Interaction:
    """One CloudEvent (its bytes as msgspec.Raw, or its JSON value) as a row.

    Raises:
        Refusal: with the typed failure and what to fix.
    """
    value = read_raw(raw)
    if not isinstance(value, dict):
        raise Refusal(Failure.NOT_AN_OBJECT, f"a CloudEvent must be a JSON object, not {type(value).__name__}")
    given: Json = value
    event: Json = {key: value for key, value in given.items() if value is not None}  # JSON format: null is absent
    _check_attributes(event)
    data = _read_data(event)
    if "event_type" in data:
        return _read_row(data, event, received)
    row = read_message(_to_segment(data, event), received)
    return msgspec.structs.replace(row, producer=str(event["source"])[:256])


def _read_batch(body: bytes) -> Incoming:
    try:
        raws: list[msgspec.Raw] = decode_json(body, list[msgspec.Raw])
    except msgspec.ValidationError:
        raise ValueError(f"a batch must be a JSON array, not {type(decode_json(body)).__name__}") from None
    if len(raws) > CLOUDEVENTS.refused_events:
        raise TooLarge(f"a batch may have {CLOUDEVENTS.batch_events} events; this one has {len(raws)}")
    return Incoming(raws=raws, limits=CLOUDEVENTS)


def _read_binary(headers: Mapping[str, str], media_type: str, body: bytes) -> Json:
    if "ce-specversion" not in headers:
        if media_type in ("", "application/json"):
            raise ValueError("ce-specversion must be there in binary mode")
        raise UnsupportedFormat(f"{media_type} without ce- headers is no CloudEvent; send {STRUCTURED}")
    event: Json = {name[3:]: decode_header(name, value) for name, value in headers.items() if name.startswith("ce-")}
    for reserved, instead in (
        ("datacontenttype", "the Content-Type"),
        ("data", "the body"),
        ("data_base64", "the body"),
    ):
        if reserved in event:
            raise ValueError(f"ce-{reserved} must not be there in binary mode; it is {instead}")
    if not body:
        return event
    content_type = headers.get("content-type")
    if content_type:
        event["datacontenttype"] = content_type
    if _is_json(media_type):
        return {**event, "data": decode_json(body)}
    return {**event, "data_base64": base64.b64encode(body).decode()}


def _check_attributes(event: Json) -> None:
    for key in REQUIRED:
        value = event.get(key)
        if not value or not isinstance(value, str):
            raise Refusal(Failure.MISSING_FIELD, f"{key} must be there as a text that is not empty")
    if event["specversion"] != "1.0":
        raise Refusal(Failure.WRONG_TYPE, "specversion must be '1.0'")
    for key, value in event.items():
        if key in ("data", "data_base64"):
            continue
        if not isinstance(value, str | int | bool):
            raise Refusal(Failure.WRONG_TYPE, f"{key:.60} must be a text, an integer or a boolean")
        if isinstance(value, str) and _CONTROL.search(value):
            raise Refusal(Failure.WRONG_TYPE, f"{key:.60} must have no control characters")
    if _NO_URI.search(event["source"]):
        raise Refusal(Failure.WRONG_TYPE, "source must be a URI-reference")
    if "time" in event and not (isinstance(event["time"], str) and _TIME.fullmatch(event["time"])):
        raise Refusal(Failure.WRONG_TYPE, "time must be an RFC 3339 time such as 2026-11-20T08:00:00Z")


def _read_row(data: Json, event: Json, received: Received) -> Interaction:
    values = {
        "event_id": event["id"],
        "event_timestamp": read_time({"time": _read_clock(event)}, "time") or received.received_at,
        **data,
        "source": received.source,
        "producer": str(event["source"])[:256],
        "received_at": received.received_at,
    }
    for column in ("traits", "properties"):
        _check_json_text(values.get(column), column)
    row = build_row(Interaction, values)
    return msgspec.structs.replace(row, event_timestamp=trust_time(row.event_timestamp, received.received_at))


def _check_json_text(value: object, column: str) -> None:
    if value is None:
        return
    try:
        msgspec.json.decode(value if isinstance(value, str) else b"", type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError:
        raise Refusal(Failure.WRONG_TYPE, f"{column} must be the text of a JSON object") from None


def _to_segment(data: Json, event: Json) -> Json:
    known = {"messageId": event["id"], "timestamp": _read_clock(event)}
    if data.get("type") in CALLS:
        return {**known, **data}
    ids = {
        "userId": data.get("userId") or data.get("user_id") or event.get("userid") or event.get("subject"),
        "anonymousId": data.get("anonymousId") or data.get("anonymous_id") or event.get("anonymousid"),
        "context": data.get("context"),
    }
    properties = data.get("properties", {k: v for k, v in data.items() if k not in {*ids, "user_id", "anonymous_id"}})
    if isinstance(properties, dict):
        rest = {k: v for k, v in event.items() if k not in ("specversion", "id", "type", "time", "data", "data_base64")}
        properties = {**properties, "cloudevent": rest}
    return {**known, **ids, "type": "track", "event": event["type"], "properties": properties}


def _read_data(event: Json) -> Json:
    data = event.get("data")
    if "data_base64" in event:
        if data is not None:
            raise Refusal(Failure.WRONG_TYPE, "data and data_base64 must not be there both")
        data = _decode_base64(event["data_base64"], str(event.get("datacontenttype", "")))
    if data is None:
        return {}
    return data if isinstance(data, dict) else {"data": data}


def _decode_base64(given: object, content_type: str) -> Any:
    """JSON as its value, a text as itself, other bytes as they came."""
    media_type = content_type.partition(";")[0].strip().lower()
    try:
        if not isinstance(given, str):
            raise TypeError
        data = base64.b64decode(given, validate=True)
        if _is_json(media_type):
            return decode_json(data)
    except (TypeError, binascii.Error, NotJson):
        raise Refusal(Failure.WRONG_TYPE, "data_base64 must be base64 of what datacontenttype says") from None
    if media_type.startswith("text/") or media_type.endswith("xml"):
        try:
            return data.decode()
        except UnicodeDecodeError:
            pass  # a text in another charset is kept as bytes
    return {"data_base64": given}


def _read_clock(event: Json) -> str | None:
    """The event's time; a leap second, which RFC 3339 allows and Python does not, is the second before."""
    time = event.get("time")
    return time.upper().replace(":60", ":59") if time and time[17:19] == "60" else time and time.upper()


def _is_json(media_type: str) -> bool:
    return media_type in ("", "application/json", "text/json") or media_type.endswith("+json")


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def decode_header(name: str, value: str) -> str:
    """The attribute in a header: quotes undone, then percent-decoded exactly once.

    Raises:
        ValueError: what comes out is not UTF-8.
    """
    plain = _QUOTED.sub(lambda quoted: re.sub(r"\\(.)", r"\1", quoted[1]), value) if '"' in value else value
    if "%" not in plain and plain.isascii():
        return plain
    try:  # latin-1 is how ASGI servers hand over a header's bytes
        return unquote_to_bytes(plain.encode("latin-1")).decode()
    except UnicodeError:
        raise ValueError(f"{name} is not valid UTF-8 after percent-decoding") from None
