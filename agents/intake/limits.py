"""How much a client may send: two published sets, and what one request brings. Pure; verdicts.py applies them.

Segment's set: https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/ (read 2026-11-20): 32 KB an
event, 500 KB and 2,500 events a batch, messageId of fewer than 100 characters; a request over its limit is answered
400, an event over its limit is refused alone. KB are read as 1,024 bytes, which is what the SDKs count with.
CloudEvents' set: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md#size-limits asks consumers to take at
least 64 KiB an event; it leaves the size of a batch to the receiver: here 1 MiB and 2,500 events, answered 413.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec


@dataclass(frozen=True, kw_only=True)
class Limits:
    """One published set; `too_large_status` is what a request as a whole over its limit is answered."""

    event_bytes: int
    batch_bytes: int
    batch_events: int
    id_characters: int
    too_large_status: int

    @property
    def refused_events(self) -> int:
        """A list this long is refused as a whole: its verdicts alone would cost more than any client's batch."""
        return 4 * self.batch_events


SEGMENT = Limits(
    event_bytes=32 * 1024, batch_bytes=500 * 1024, batch_events=2500, id_characters=99, too_large_status=400
)
CLOUDEVENTS = Limits(
    event_bytes=64 * 1024, batch_bytes=1024 * 1024, batch_events=2500, id_characters=256, too_large_status=413
)


class Incoming(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one request brings: each event as the bytes of its place in the body (msgspec.Raw), or as a JSON value.

    `call` is what the route says about every event, if it does.
    """

    raws: list[Any]
    limits: Limits
    call: str | None = None
    sent_at: datetime | None = None
    write_key: str = ""
