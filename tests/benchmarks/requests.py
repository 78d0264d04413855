"""The requests of the benchmark: events of an ordinary size with ids of their own, prepared so that making one is cheap."""

import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.benchmarks.load import make_request

MARK = "@id-of-the-event@"


def make_event(prefix: str) -> bytes:
    """An anonymous product view as a browser's SDK sends it; MARK stands for the id."""
    event = {
        "type": "track",
        "event": "Product Viewed",
        "anonymousId": f"{prefix}-visitor",
        "messageId": MARK,
        "timestamp": datetime.now(UTC).isoformat(),
        "properties": {"product_id": "85123A", "price": 2.55, "currency": "GBP", "position": 3},
        "context": {
            "library": {"name": "analytics.js", "version": "2.1.0"},
            "locale": "en-GB",
            "page": {"url": "https://shop.example/p/85123A", "path": "/p/85123A", "referrer": "https://search.example"},
        },
    }
    return json.dumps(event, separators=(",", ":")).encode()


class Maker:
    """Makes requests of `batch` events; each event's id is `prefix` and a number that rises."""

    def __init__(self, port: int, write_key: str, prefix: str, batch: int) -> None:
        self._port, self._batch, self._prefix = port, batch, prefix
        self._numbers: Iterator[int] = itertools.count()
        self._before, self._after = make_event(prefix).split(MARK.encode())
        self._key = write_key.encode()
        self.sent_at: dict[str, float] = {}
        """When each event was made, by id (seconds since the epoch)."""

    def __call__(self) -> bytes:
        """The next request."""
        if self._batch == 1:
            body = self._make_event()[:-1] + b',"writeKey":"' + self._key + b'"}'
            return make_request("/v1/track", self._port, body)
        events = b",".join(self._make_event() for _ in range(self._batch))
        body = b'{"batch":[' + events + b'],"writeKey":"' + self._key + b'"}'
        return make_request("/v1/batch", self._port, body)

    def _make_event(self) -> bytes:
        event_id = f"{self._prefix}-{next(self._numbers):09d}"
        self.sent_at[event_id] = time.time()
        return self._before + event_id.encode() + self._after
