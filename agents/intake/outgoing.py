"""What a row becomes on the way out: its message on a topic, and what it tells about the person."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import msgspec

from agents.tools import trace
from agents.tools.bus import Outgoing
from schemas.messages import Json, ProfileUpdate
from schemas.rows import OUTCOME_TYPES, Failure, Interaction, InvalidEvent, encode

INTERACTIONS = "user-interactions"
UPDATES = "user-profile-updates"
INVALID = "invalid-events"


class Outbox:
    """Rows on their way: of each topic the rows' JSON, and in the same order the messages. The rows themselves are let go."""

    def __init__(self) -> None:
        self.rows: dict[str, list[bytes]] = {}
        self.messages: dict[str, list[Outgoing]] = {}
        self.failures: Counter[Failure] = Counter()

    def add(self, row: Interaction | InvalidEvent) -> None:
        """Add a row; its messages carry the trace that is followed now."""
        if isinstance(row, InvalidEvent):
            message = make_refused(row)
            self.failures[row.failure] += 1
            self._add(INVALID, message.data, message)
            return
        message = make_interaction(row)
        self._add(INTERACTIONS, message.data, message)
        if row.user_id:
            self._add(UPDATES, message.data, make_update(row, row.user_id))

    def _add(self, topic: str, row: bytes, message: Outgoing) -> None:
        if topic not in self.rows:
            self.rows[topic], self.messages[topic] = [], []
        self.rows[topic].append(row)
        if trace.is_followed():
            message = Outgoing(data=message.data, attributes=dict(trace.stamp(message.attributes)))
        self.messages[topic].append(message)


def make_messages(row: Interaction | InvalidEvent) -> list[tuple[str, Outgoing]]:
    """The messages that a row becomes: (topic, message)."""
    if isinstance(row, InvalidEvent):
        return [(INVALID, make_refused(row))]
    messages = [(INTERACTIONS, make_interaction(row))]
    if row.user_id:
        messages.append((UPDATES, make_update(row, row.user_id)))
    return messages


def make_interaction(row: Interaction) -> Outgoing:
    """The message of an accepted event."""
    return Outgoing(data=encode(row), attributes=_describe(row.event_type[:256], row.source))


def make_update(row: Interaction, user_id: str) -> Outgoing:
    """What an event tells about a known person."""
    fields = read_profile_fields(row)
    update = ProfileUpdate(user_id=user_id, event_id=row.event_id, at=row.event_timestamp, fields=fields)
    return Outgoing(data=msgspec.json.encode(update))


def make_refused(row: InvalidEvent) -> Outgoing:
    """The message of a refused event."""
    return Outgoing(data=encode(row), attributes={"failure": row.failure.value})


@lru_cache(4096)
def _describe(event_type: str, source: str) -> dict[str, str]:
    """What subscriptions filter by. Events of one kind share the object, so that it is encoded once a call."""
    return {"type": event_type, "source": source}


def read_profile_fields(row: Interaction) -> Json:
    """What one event tells about the person: traits, where and in what language they are, what they last did."""
    if row.event_type in OUTCOME_TYPES:
        return {"lastOutcome": {"type": row.event_type, "at": row.event_timestamp.isoformat()}}
    traits = msgspec.json.decode(row.traits, type=Json) if row.traits and row.event_type == "identify" else {}
    fields: Json = {key: value for key, value in traits.items() if isinstance(value, str | int | float | bool)}
    fields["lastEvent"] = {"type": row.event_type, "at": row.event_timestamp.isoformat()}
    if row.location and row.location.country:
        fields["country"] = row.location.country
    if row.device and row.device.locale:
        fields.setdefault("language", row.device.locale.partition("-")[0].lower())
    if row.device and row.device.timezone:
        fields["timezone"] = row.device.timezone
    if row.consent and row.consent.marketing is not None:
        fields["marketingConsent"] = row.consent.marketing
    if row.products:
        fields["lastProducts"] = [{"productId": p.product_id, "name": p.name or ""} for p in row.products[:10]]
    if row.event_type == "order_completed":
        fields["lastOrder"] = {
            "orderId": row.order_id or row.event_id,
            "revenue": str(row.revenue) if row.revenue is not None else None,
            "at": row.event_timestamp.isoformat(),
        }
    return fields
