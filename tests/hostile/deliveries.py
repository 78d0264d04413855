"""Hypothesis strategies for what reaches ingest: push envelopes of any shape, and objects of any content."""

from __future__ import annotations

import base64
import gzip
import json
import random
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.hostile.values import damage, encode, events, texts, values

FAMILY = 16
_FOLDERS = ["events", "products", "signals", "prices", "weather", "tickets", "spill", "nowhere", "", "events/a/b"]
_ENDINGS = [".ndjson", ".jsonl", ".csv", ".json", ".ndjson.gz", ".csv.gz", ".json.gz", ".txt", "", ".NDJSON", ".gz"]
_HEADERS = [
    "product_id,name,price", "type,userId,messageId,properties.revenue", "a,a,a", "", "type,type.x", "\ufefftype,userId", ",,,",
    "product_id,price,updated_at,in_stock", "signal_id,kind,observed_at,value,data",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Landed:
    """One object of the landing bucket."""

    name: str
    content: bytes


@st.composite
def objects(draw: st.DrawFn) -> Landed:
    """An object in any folder, with any ending, whose content may be what its name says."""
    name = f"{draw(st.sampled_from(_FOLDERS))}/hostile-{draw(st.uuids()).hex}{draw(st.sampled_from(_ENDINGS))}"
    kind = draw(st.integers(0, 4))
    if kind == 0:
        rows = [draw(st.sampled_from(_HEADERS)), *draw(st.lists(csv_lines(), max_size=8))]
        content = "\n".join(rows).encode("utf-8", "surrogatepass")
    elif kind == 1:
        content = encode(draw(st.lists(events() | values, max_size=6)))
    elif kind == 2:
        row = {"event_id": "x", "source": "s", "received_at": "2026-11-20T08:00:00Z"}
        lines = [{draw(st.sampled_from(["interaction", "invalid", "x"])): {**row, "event_type": draw(values)}}]
        content = b"\n".join(encode(line) for line in lines)
    else:
        content = b"\n".join(encode(value) for value in draw(st.lists(events() | values, max_size=8)))
    content = damage(random.Random(draw(st.integers(0, 2**32))), content)
    return Landed(name=name, content=gzip.compress(content) if ".gz" in name and draw(st.booleans()) else content)


@st.composite
def csv_lines(draw: st.DrawFn) -> str:
    """Cells with quotes and line ends in the wrong places."""
    cells = draw(st.lists(texts | st.sampled_from(['"', '""', '"a', 'a"b"', "1,5", "\r", "1e99", "-0"]), max_size=6))
    return ",".join(cells)


@st.composite
def envelopes(draw: st.DrawFn, bucket: str) -> list[bytes]:
    """FAMILY bodies of pushes: a notification with parts replaced, or anything else."""
    rng = random.Random(draw(st.integers(0, 2**32)))
    odd = [*draw(st.lists(values, min_size=2, max_size=5)), *draw(st.lists(texts, min_size=2, max_size=4))]
    name = draw(objects()).name
    return [make_envelope(rng, odd, name, bucket) for _ in range(FAMILY)]


def make_envelope(rng: random.Random, odd: list[Any], name: str, bucket: str) -> bytes:
    """One of them."""
    attributes: dict[str, Any] = {
        "eventType": "OBJECT_FINALIZE",
        "bucketId": bucket,
        "objectId": name,
        "objectGeneration": "1",
        "payloadFormat": "JSON_API_V1",
    }
    for key in rng.sample([*attributes, "other"], rng.choice([0, 1, 1, 2])):
        attributes[key] = rng.choice([value for value in odd if isinstance(value, str)] if rng.randrange(3) else odd)
    message: dict[str, Any] = {
        "messageId": rng.randbytes(8).hex(),
        "data": base64.b64encode(rng.randbytes(20)).decode(),
        "attributes": attributes,
    }
    if rng.randrange(4) == 0:
        message[rng.choice([*message, "publishTime", "orderingKey"])] = rng.choice(odd)
    envelope = {"message": message, "subscription": "projects/p/subscriptions/hostile", "deliveryAttempt": 1}
    body = json.dumps(rng.choice(odd) if rng.randrange(10) == 0 else envelope).encode()
    return damage(rng, body) if rng.randrange(3) == 0 else body
