"""Sends hostile input to a running collect and ingest, with good events between, and says what is never acceptable.

Never acceptable: a 5xx (but a 503 that says when to come back), silence for a request that is HTTP, a process that dies, a
traceback in its log, a good event that is refused or does not reach BigQuery, an accepted event that BigQuery refuses.
"""

from __future__ import annotations

import json
import socket
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from typing import Any

from google.cloud import bigquery, storage
from hypothesis import HealthCheck, Phase, given, settings

from schemas import topology
from tests.hostile.deliveries import Landed, envelopes, objects
from tests.hostile.requests import FAMILY, Wire, requests

ANSWER_SECONDS = 20.0
DECLARED = {200, 202, 204, 400, 401, 404, 405, 408, 411, 413, 414, 415, 417, 429, 431, 501, 505}
# What these subscriptions bring was accepted by collect or ingest; poison of a hostile push has a name of its own.
SERVICES = ("collect", "ingest", "profiles", "native")
ACCEPTED = frozenset(entry.name for entry in topology.load().subscriptions) - {"landing-objects-ingest"}
DEAD = """
SELECT JSON_VALUE(attributes, '$.CloudPubSubDeadLetterSourceSubscription') AS source,
  JSON_VALUE(attributes, '$.CloudPubSubDeadLetterSourceDeliveryErrorMessage') AS reason, data, publish_time
FROM argo.dead_letters
"""


@dataclass(kw_only=True)
class Result:
    """What was sent, what came back, and what must not be."""

    statuses: Counter[str] = field(default_factory=Counter[str])
    sent: Counter[str] = field(default_factory=Counter[str])
    good_ids: set[str] = field(default_factory=set[str])
    problems: list[str] = field(default_factory=list[str])


@dataclass(kw_only=True)
class Campaign:
    """One attack on a cloud; `logs` is the folder of the services' logs."""

    env: dict[str, str]
    logs: Path
    result: Result = field(default_factory=Result)
    prefix: str = field(default_factory=lambda: f"good-{uuid.uuid4().hex[:10]}")

    def __post_init__(self) -> None:
        """Note how things are, so that only what this attack does is judged."""
        self._began = datetime.now(UTC)
        self._restarts = self._read_restarts()
        self._log_bytes = {name: self._log(name).stat().st_size for name in SERVICES}

    def attack_collect(self, count: int) -> None:
        """Send so many hostile requests, each on a connection of its own."""
        port, key = read_port(self.env["ARGO_COLLECT_URL"]), self.env["ARGO_WRITE_KEY"]

        def attack(wires: list[Wire]) -> None:
            self._send_good(port, key)
            for wire in wires:
                self.result.sent["requests to collect"] += 1
                status = exchange(port, wire.data, half_close=not wire.is_http)
                self._judge("collect", status, may_be_silent=not wire.is_http, sent=wire.data)

        run_examples(requests(key), attack, ceil(count / FAMILY))

    def attack_ingest(self, count: int) -> None:
        """Push so many hostile envelopes."""
        port, bucket = read_port(self.env["ARGO_INGEST_URL"]), f"{self.env['GOOGLE_CLOUD_PROJECT']}-landing"

        def attack(bodies: list[bytes]) -> None:
            for body in bodies:
                self.result.sent["envelopes to ingest"] += 1
                status = exchange(port, make_post("/", body))
                self._judge("ingest", status, may_be_silent=False, sent=body)

        run_examples(envelopes(bucket), attack, ceil(count / FAMILY))

    def attack_landing(self, count: int) -> None:
        """Land so many hostile objects; Cloud Storage tells ingest of them."""
        bucket = storage.Client().bucket(f"{self.env['GOOGLE_CLOUD_PROJECT']}-landing")

        def attack(landed: Landed) -> None:
            self.result.sent["objects"] += 1
            bucket.blob(landed.name).upload_from_string(landed.content)

        run_examples(objects(), attack, count)

    def finish(self, seconds: float) -> Result:
        """Wait for the good events and look for what must not be."""
        found: Counter[str] = Counter()
        deadline = time.monotonic() + seconds
        sql = f"SELECT event_id FROM argo.interactions WHERE STARTS_WITH(event_id, '{self.prefix}')"
        while time.monotonic() < deadline:
            found = Counter(row["event_id"] for row in query(sql))
            if found.keys() >= self.result.good_ids:
                break
            time.sleep(0.5)
        self._expect(
            not self.result.good_ids - found.keys(), f"{len(self.result.good_ids - found.keys())} good events lost"
        )
        self._expect(found.total() == len(found), f"{found.total() - len(found)} good events twice in the view")
        for row in query(DEAD):
            if row["source"] in ACCEPTED and row["publish_time"] >= self._began:
                self._expect(False, f"accepted, then refused by {row['source']}: {row['reason']}: {row['data']!r:.600}")
        for name in SERVICES:
            text = self._log(name).read_bytes()[self._log_bytes[name] :].decode(errors="replace")
            for line in text.splitlines():
                self._expect("Traceback" not in line, f"{name} wrote a traceback: {line:.1500}")
        self._expect(self._read_restarts() == self._restarts, "a function or worker died")
        return self.result

    def _log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    def _read_restarts(self) -> dict[str, int]:
        state = json.loads((self.logs.parent / "state.json").read_text(encoding="utf-8"))
        return {name: state["services"][name]["restarts"] for name in SERVICES}

    def _send_good(self, port: int, key: str) -> None:
        """A batch with a good event between bad ones: the good one is taken."""
        event_id = f"{self.prefix}-{len(self.result.good_ids)}"
        good = {"type": "track", "event": "Good", "anonymousId": "good", "messageId": event_id}
        body = json.dumps({"batch": [{"type": 7}, good, "x"], "writeKey": key}).encode()
        status = exchange(port, make_post("/v1/batch", body))
        self.result.good_ids.add(event_id)
        self._expect(status == "200", f"a batch with a good event was answered {status}")

    def _judge(self, service: str, status: str, *, may_be_silent: bool, sent: bytes) -> None:
        self.result.statuses[f"{service} {status}"] += 1
        known = (status.isdigit() and int(status) in DECLARED) or status == "503 with Retry-After"
        silent_is_fine = may_be_silent and status == "closed"
        self._expect(known or silent_is_fine, f"{service} answered {status!r} to {sent!r:.1500}")

    def _expect(self, condition: bool, problem: str) -> None:
        if not condition and len(self.result.problems) < 200:
            self.result.problems.append(problem)


def run_examples(strategy: Any, attack: Callable[[Any], None], count: int) -> None:
    """Let Hypothesis make so many examples; nothing is shrunk, because a server has a memory."""
    make = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[
            HealthCheck.too_slow,
            HealthCheck.data_too_large,
            HealthCheck.filter_too_much,
            HealthCheck.large_base_example,
        ],
    )
    make(given(strategy)(attack))()


def exchange(port: int, data: bytes, *, half_close: bool = False) -> str:
    """Send bytes on a new connection; the status, `closed` without one, or `silent` when nothing came in time."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
        try:
            connection.sendall(data)
            if half_close:
                connection.shutdown(socket.SHUT_WR)
            answer = b""
            while b"\r\n\r\n" not in answer and (part := connection.recv(65536)):
                answer += part
        except TimeoutError:
            return "silent"
        except OSError:
            return "closed"
    words = answer[:20].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/"):
        return "closed"
    status = words[1].decode("latin-1")
    return "503 with Retry-After" if status == "503" and b"\r\nretry-after:" in answer.lower() else status


def make_post(path: str, body: bytes) -> bytes:
    """A POST of JSON that closes its connection."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def read_port(url: str) -> int:
    """The port of a function's address."""
    return int(url.rpartition(":")[2])


def query(sql: str) -> list[dict[str, Any]]:
    """Rows of BigQuery as they are now."""
    config = bigquery.QueryJobConfig(use_query_cache=False)
    return [dict(row.items()) for row in bigquery.Client().query(sql, job_config=config).result()]
