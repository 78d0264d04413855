"""One event through a deployed stack: `python -m delivery.smoke URL [FOLDER]` posts to `collect` and waits for its row.

FOLDER gets a `local.env` by which the system tests aim at this stack (tests/system/conftest.py).

Proves the way in, the write key, Pub/Sub, the native subscription and the table: what no test on a laptop can.
"""

from __future__ import annotations

import json
import logging
import shlex
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from schemas import topology

WAIT_SECONDS = 90.0
SECRET = "collect-write-keys"  # noqa: S105 -- its name
log = logging.getLogger("smoke")


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the test needs from outside: the status of a POST, and how many rows an event has."""

    post: Callable[[str, bytes], int]
    count_rows: Callable[[str], int]
    sleep: Callable[[float], None] = time.sleep


def send_event(url: str, key: str, ports: Ports) -> str:
    """Send one event and wait until the warehouse has it; its id.

    Raises:
        RuntimeError: it was refused, or its row did not come.
    """
    event_id = f"smoke-{uuid.uuid4()}"
    body = {"writeKey": key, "messageId": event_id, "type": "track", "event": "Smoke Test", "anonymousId": "smoke"}
    status = ports.post(f"{url}/v1/track", json.dumps(body).encode())
    if status != 200:
        raise RuntimeError(f"{url} answers {status}")
    waited = 0.0
    while not ports.count_rows(event_id):
        if waited >= WAIT_SECONDS:
            raise RuntimeError(f"{event_id} was accepted, but is not in the warehouse after {WAIT_SECONDS:.0f} s")
        ports.sleep(3.0)
        waited += 3.0
    return event_id


def write_environment(folder: Path, url: str, key: str) -> None:
    """What the system tests need to aim at this stack; only its owner may read the file, because a write key is in it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "local.env"
    path.touch(mode=0o600)
    values = {"ARGO_COLLECT_URL": url, "ARGO_WRITE_KEY": key, "ARGO_DATASET": topology.load().dataset}
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in values.items()]
    path.write_text("".join(lines), encoding="utf-8")


def _post(url: str, body: bytes) -> int:
    import httpx

    return httpx.post(url, content=body, headers={"content-type": "application/json"}, timeout=30).status_code


def _count_rows(event_id: str) -> int:
    from google.cloud import bigquery

    named = topology.load()
    config = bigquery.QueryJobConfig(query_parameters=[bigquery.ScalarQueryParameter("event_id", "STRING", event_id)])
    sql = "SELECT COUNT(*) AS found FROM argo.user_interactions WHERE event_id = @event_id"
    rows = bigquery.Client(location=named.region).query(sql, job_config=config).result()
    return next(int(row["found"]) for row in rows)


def _read_key() -> str:
    """Any write key of the stack."""
    import google.auth
    from google.cloud import secretmanager_v1

    _, project = google.auth.default()  # pyright: ignore[reportUnknownMemberType] -- google-auth ships no full types
    name = f"projects/{project}/secrets/{SECRET}/versions/latest"
    payload = secretmanager_v1.SecretManagerServiceClient().access_secret_version(name=name).payload.data
    keys: dict[str, str] = json.loads(payload)
    return next(iter(keys))


def main(arguments: list[str]) -> int:
    """Test the stack behind a URL."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(name)s: %(message)s")
    if len(arguments) not in {1, 2}:
        log.error("usage: python -m delivery.smoke https://collect.<domain> [FOLDER]")
        return 2
    key = _read_key()
    try:
        found = send_event(arguments[0], key, Ports(post=_post, count_rows=_count_rows))
    except RuntimeError as error:
        log.error("%s", error)
        return 1
    log.info("%s is in the warehouse", found)
    if len(arguments) == 2:
        write_environment(Path(arguments[1]), arguments[0], key)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
