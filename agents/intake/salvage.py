"""What of a refused event can be read all the same: the columns of user_interactions, invalid values nulled. Pure.

Each part of the message (an id, a time, a key of its context or properties) is read by itself, in an otherwise blank
message, by the reader that reads every message; a part that it refuses gives no column. So a new column needs no line here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from agents.intake.refusal import Refusal
from agents.intake.segment import CALLS, Received, read_message
from schemas.rows import Interaction

PARTS = 60  # of one event; a client that sends more keys gets no more read
Json = dict[str, Any]
_IDS = ("userId", "previousId", "groupId", "timestamp", "originalTimestamp", "sentAt", "traits", "category")
_BLANK: Json = {"type": "page", "anonymousId": "blank", "messageId": "blank"}
# Of these the blank message says nothing about the event, and verdicts.py reads them more leniently.
_NOT_READ = frozenset(
    {"event_id", "event_type", "event_timestamp", "received_at", "source", "user_id", "anonymous_id", "producer"}
)


def salvage(value: object, received: Received) -> Json:
    """The columns that could be read, by name; `value` is the event without personal fields."""
    if not isinstance(value, dict):
        return {}
    message = unwrap(cast("Json", value))
    blank = _read({}, received)
    columns: Json = {}
    for part in _list_parts(message):
        columns |= {name: given for name, given in _read(part, received).items() if given != blank.get(name)}
    for name in ("properties", "context"):
        whole = _read({name: message.get(name)}, received)  # better than its last key alone
        columns |= {column: given for column, given in whole.items() if given != blank.get(column)}
    return columns


def unwrap(message: Json) -> Json:
    """The Segment message in a CloudEvent, or the message itself."""
    data = message.get("data")
    if "specversion" not in message or not isinstance(data, dict):
        return message
    inner = cast("Json", data)
    return inner if inner.get("type") in CALLS else {"properties": inner, "timestamp": message.get("time"), **inner}


def _list_parts(message: Json) -> Iterator[Json]:
    left = PARTS
    name = message.get("event") or message.get("name")
    yield {"type": "track", "event": name}
    for key in _IDS:
        if key in message:
            yield {key: message[key]}
    for folder in ("context", "properties"):
        inner = message.get(folder)
        if not isinstance(inner, dict):
            continue
        for key, value in cast("Json", inner).items():
            left -= 1
            if left < 0:
                return
            yield {folder: {key: value}}


def _read(part: Json, received: Received) -> Json:
    given = {**_BLANK, **{key: value for key, value in part.items() if value is not None}}
    try:
        row = read_message(given, Received(source=received.source, received_at=received.received_at))
    except (Refusal, ValueError, ArithmeticError, RecursionError):
        return {}
    return {name: getattr(row, name) for name in Interaction.__struct_fields__ if name not in _NOT_READ}
