"""The requests of the benchmark: events of an ordinary size with ids of their own, prepared so that making one is cheap."""

import itertools
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from tests.benchmarks.load import make_request

MARK = "@id-of-the-event@"
KINDS = 256  # different products, prices and pages, so that nothing is measured that only repeats


def make_event(prefix: str, kind: int) -> bytes:
    """An anonymous click on a product as a browser's SDK sends it; MARK stands for the id.

    To collect it is what a view is. But nobody behind Pub/Sub but BigQuery is told of it: pushing views to `profiles`, which
    has machines of its own in the cloud, would take the client's core here.
    """
    product = f"85{kind:03}A"
    event = {
        "type": "track",
        "event": "Product Clicked",
        "anonymousId": f"{prefix}-visitor-{kind}",
        "messageId": MARK,
        "timestamp": datetime.now(UTC).isoformat(),
        "properties": {
            "product_id": product,
            "price": round(0.55 + kind * 0.37, 2),
            "currency": "GBP",
            "position": kind,
        },
        "context": {
            "library": {"name": "analytics.js", "version": "2.1.0"},
            "locale": "en-GB",
            "page": {
                "url": f"https://shop.example/p/{product}",
                "path": f"/p/{product}",
                "referrer": "https://search.example",
            },
        },
    }
    return json.dumps(event, separators=(",", ":")).encode()


class Maker:
    """Makes requests of `batch` events; each event's id is `prefix` and a number that rises."""

    def __init__(self, port: int, write_key: str, prefix: str, batch: int) -> None:
        self._port, self._batch, self._prefix = port, batch, prefix
        self._numbers: Iterator[int] = itertools.count()
        self._parts = [make_event(prefix, kind).split(MARK.encode()) for kind in range(KINDS)]
        self._key = write_key.encode()
        self.sent_at: dict[str, float] = {}
        """When each event was made, by id (seconds since the epoch)."""

    def __call__(self) -> bytes:
        """The next request."""
        if self._batch == 1:
            body = self._make_event()[:-1] + b',"writeKey":"' + self._key + b'"}'
            return make_request("/v1/track", self._port, body)
        events = b",".join([self._make_event() for _ in range(self._batch)])
        body = b'{"batch":[' + events + b'],"writeKey":"' + self._key + b'"}'
        return make_request("/v1/batch", self._port, body)

    def _make_event(self) -> bytes:
        number = next(self._numbers)
        event_id = f"{self._prefix}-{number:09d}"
        self.sent_at[event_id] = time.time()
        before, after = self._parts[number % KINDS]
        return before + event_id.encode() + after
