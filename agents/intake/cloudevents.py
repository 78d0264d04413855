"""Reads CloudEvents 1.0 over HTTP (binary, structured, batched) into Interactions. Pure.

Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md. The SDK that
functions-framework brings reads one event at a time and does not percent-decode headers, hence this module.
The event's data is a row of user_interactions, a Segment message, or any object, which then is a track of `type`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from agents.intake.reading import decode_json
from agents.intake.refusal import Refusal
from agents.intake.segment import CALLS, Received, build_row, read_message, read_text, read_time
from schemas.rows import Failure, Interaction

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
Json = dict[str, Any]


class UnsupportedFormat(ValueError):
    """The request is a CloudEvent in a format that is not read here (HTTP 415)."""


def is_cloudevent(headers: Mapping[str, str]) -> bool:
    """Whether the request claims to be one, in any mode. Header names are lower case."""
    return "ce-specversion" in headers or _media_type(headers).startswith("application/cloudevents")


def read_request(headers: Mapping[str, str], body: bytes) -> list[object]:
    """The events of a request as JSON values, not checked yet. Header names are lower case.

    Raises:
        UnsupportedFormat: neither JSON format nor binary mode with JSON data.
        ValueError: the body or a header cannot be read.
    """
    media_type = _media_type(headers)
    if media_type == BATCHED:
        events = decode_json(body)
        if not isinstance(events, list):
            raise ValueError(f"a batch must be a JSON array, not {type(events).__name__}")
        return events  # pyright: ignore[reportUnknownVariableType]  # JSON
    if media_type == STRUCTURED:
        return [decode_json(body)]
    if media_type.startswith("application/cloudevents"):
        raise UnsupportedFormat(f"{media_type} is not supported; send {STRUCTURED} or {BATCHED}")
    if media_type and not (media_type == "application/json" or media_type.endswith("+json")):
        raise UnsupportedFormat(f"data of type {media_type} is not supported; send application/json")
    attributes = {name[3:]: _decode_header(name, value) for name, value in headers.items() if name.startswith("ce-")}
    if "datacontenttype" in attributes:
        raise ValueError("ce-datacontenttype must not be there in binary mode; it is the Content-Type")
    return [{**attributes, "data": decode_json(body) if body else {}}]


def read_event(raw: object, received: Received) -> Interaction:
    """One CloudEvent as a row.

    Raises:
        Refusal: with the typed failure and what to fix.
    """
    if not isinstance(raw, dict):
        raise Refusal(Failure.NOT_AN_OBJECT, f"a CloudEvent must be a JSON object, not {type(raw).__name__}")
    event: Json = raw
    for key in ("specversion", "id", "source", "type"):
        if not read_text(event, key):
            raise Refusal(Failure.MISSING_FIELD, f"{key} must be there and not empty")
    if event["specversion"] != "1.0":
        raise Refusal(Failure.WRONG_TYPE, "specversion must be '1.0'")
    data = _read_data(event)
    if "event_type" in data:
        return _read_row(data, event, received)
    return read_message(_to_segment(data, event), received)


def _read_row(data: Json, event: Json, received: Received) -> Interaction:
    values = {
        "event_id": event["id"],
        "event_timestamp": read_time(event, "time") or received.received_at,
        **data,
        "source": received.source,
        "received_at": received.received_at,
    }
    return build_row(Interaction, values)


def _to_segment(data: Json, event: Json) -> Json:
    known = {"messageId": event["id"], "timestamp": event.get("time")}
    if data.get("type") in CALLS:
        return {**known, **data}
    ids = {
        "userId": data.get("userId") or data.get("user_id") or event.get("subject"),
        "anonymousId": data.get("anonymousId") or data.get("anonymous_id"),
        "context": data.get("context"),
    }
    properties = data.get("properties", {k: v for k, v in data.items() if k not in {*ids, "user_id", "anonymous_id"}})
    return {**known, **ids, "type": "track", "event": event["type"], "properties": properties}


def _read_data(event: Json) -> Json:
    data = event.get("data")
    if "data_base64" in event:
        try:
            data = decode_json(base64.b64decode(event["data_base64"], validate=True))
        except (TypeError, ValueError, binascii.Error):
            raise Refusal(Failure.WRONG_TYPE, "data_base64 must be base64 of a JSON object") from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise Refusal(Failure.WRONG_TYPE, f"data must be an object, not {type(data).__name__}")
    return data  # pyright: ignore[reportUnknownVariableType]  # JSON


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _decode_header(name: str, value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"{name} is not valid UTF-8 after percent-decoding") from None
