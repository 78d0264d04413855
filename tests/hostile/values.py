"""Hypothesis strategies for JSON that no schema foresees and events that are nearly right; how bytes are broken."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

Json = Any
_TEXTS = [
    "", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u202e", "\ufeff", "😀" * 40, "한글", "x" * 300, "y" * 5000,
    "NaN", "null", "-1", "1e999", "0x10", "2026-13-45T99:99:99Z", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00",
    "a@example.com", "' OR 1=1 --", "<script>", "../../etc/passwd", "{}", "[]", "%00", "${jndi:ldap://x}",
]  # fmt: skip
_NUMBERS = [
    0, -1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**19, 10**40, 10**300, 0.1, -0.0, 1e-320, 1e308,
    float("inf"), float("-inf"), float("nan"),
]  # fmt: skip
KEYS = [
    "type", "event", "name", "userId", "anonymousId", "previousId", "groupId", "messageId", "timestamp", "sentAt",
    "originalTimestamp", "context", "properties", "traits", "integrations", "category", "writeKey", "batch", "data",
    "products", "product_id", "price", "quantity", "revenue", "total", "value", "currency", "order_id", "page", "url",
    "path", "app", "device", "os", "location", "latitude", "longitude", "campaign", "consent", "library", "locale",
    "userAgent", "sessionId", "ip", "id", "source", "specversion", "time", "subject", "datacontenttype", "data_base64",
    "event_type", "event_id", "received_at", "event_timestamp", "user_id", "__proto__", "", "\x00", "email",
]  # fmt: skip
CALLS = ["track", "identify", "page", "screen", "group", "alias"]

texts = st.sampled_from(_TEXTS) | st.text(max_size=20)
leaves = st.none() | st.booleans() | st.sampled_from(_NUMBERS) | texts
keys = st.sampled_from(KEYS) | st.text(max_size=8)
values: st.SearchStrategy[Json] = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=5), max_leaves=12
)


@st.composite
def events(draw: st.DrawFn) -> Json:
    """A Segment message with up to four of its fields replaced, or no message at all."""
    event: dict[str, Json] = {
        "type": draw(st.sampled_from(CALLS)),
        "event": "Order Completed",
        "userId": "hostile-user",
        "messageId": draw(st.uuids()).hex,
        "properties": {"product_id": "p1", "price": 2.5, "products": [{"product_id": "p2", "quantity": 1}]},
        "context": {"locale": "en-GB", "page": {"url": "https://shop.example"}, "location": {"latitude": 1.0}},
    }
    for key in draw(st.lists(keys, max_size=4)):
        place = draw(st.sampled_from(["event", "properties", "context"]))
        inner = event if place == "event" else event.get(place)
        if isinstance(inner, dict):
            inner[key] = draw(values)
    return draw(st.just(event) | values) if draw(st.integers(0, 9)) == 0 else event


@st.composite
def cloudevents(draw: st.DrawFn) -> Json:
    """A CloudEvent with up to three attributes replaced or taken away."""
    event: dict[str, Json] = {
        "specversion": "1.0",
        "id": draw(st.uuids()).hex,
        "source": "/hostile",
        "type": "viewed",
        "data": draw(st.just({"userId": "hostile-user"}) | events() | values),
    }
    for key in draw(
        st.lists(st.sampled_from([*event, "time", "data_base64", "datacontenttype", "subject"]), max_size=3)
    ):
        if draw(st.booleans()):
            event.pop(key, None)
        else:
            event[key] = draw(values)
    return event


def encode(value: Json) -> bytes:
    """JSON as lenient writers make it: NaN and Infinity as words, lone surrogates as escapes."""
    return json.dumps(value).encode()


def damage(rng: random.Random, body: bytes) -> bytes:
    """The body as it is, or broken: cut, a byte changed, another encoding, doubled keys, nested, packed, packed and cut."""
    at = rng.randrange(max(len(body), 1))
    kind = rng.randrange(28)
    broken: dict[int, Callable[[], bytes]] = {
        0: lambda: body[:at],
        1: lambda: body[:at] + rng.randbytes(rng.randint(1, 3)) + body[at + 1 :],
        2: lambda: body.decode("latin-1").encode("utf-16"),
        3: lambda: b"\xef\xbb\xbf" + body,
        4: lambda: body.replace(b'"type"', b'"type":"page","type"', 1),
        5: lambda: b"[" * rng.choice([50, 1500, 60_000]) + body,
        6: lambda: b'{"batch":[' + b'{"a":' * 800 + b"1" + b"}" * 800 + b"]}",
        7: lambda: gzip.compress(body),
        8: lambda: gzip.compress(body)[: max(at, 3)],
        9: lambda: gzip.compress(b" " * 3_000_000 + body, 1),
        10: lambda: gzip.compress(body) + b"tail",
        11: lambda: body + body,
        12: lambda: b'{"batch":[' + b"{}," * rng.choice([10, 3000, 11_000]) + b"{}]}",
        13: lambda: rng.randbytes(rng.randrange(200)),
    }
    return broken[kind]() if kind in broken else body
