"""Real client SDKs against the running cloud: what was sent is what is in BigQuery, no event more and none less."""

import importlib
import json
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.cloud import bigquery

from tests.system.sdks import available
from tests.system.test_clients import wait_for_events

PROPERTIES: dict[str, Any] = {"n": 7, "nested": {"list": [1, "zwei", None]}, "text": '한글 "quoted" \u2028'}
COLUMNS = "event_id, event_type, event_name, user_id, anonymous_id, previous_id, group_id, properties, traits"
Expected = dict[str, dict[str, Any]]


def expect_each_call(prefix: str, tracks: int) -> Expected:
    """What a Segment SDK's calls must be in BigQuery, by event id."""
    user = {"user_id": f"{prefix}-user"}
    track = {**user, "event_type": "product_viewed", "event_name": "Product Viewed", "properties": PROPERTIES}
    anonymous = f"{prefix}-anonymous"
    return {
        **{f"{prefix}-track-{n}": track for n in range(tracks)},
        f"{prefix}-identify": {**user, "event_type": "identify", "traits": {"plan": "pro"}},
        f"{prefix}-page": {"anonymous_id": anonymous, "event_type": "page", "event_name": "Cart", "user_id": None,
                           "properties": PROPERTIES},
        f"{prefix}-screen": {**user, "event_type": "screen", "event_name": "Home", "properties": PROPERTIES},
        f"{prefix}-group": {**user, "event_type": "group", "group_id": "g1", "traits": {"name": "Co"}},
        f"{prefix}-alias": {**user, "event_type": "alias", "previous_id": anonymous},
    }  # fmt: skip


def expect_cloudevents(prefix: str, names: list[str]) -> Expected:
    """What the CloudEvents SDKs' events must be in BigQuery, by event id."""
    row = {"user_id": f"{prefix}-user", "event_type": "product_viewed", "properties": PROPERTIES}
    return {f"{prefix}-{name}": row for name in names}


def send_each_call(client: Any, prefix: str, tracks: int) -> None:
    """One of each call with a Python SDK that has Segment's interface."""
    user, anonymous = f"{prefix}-user", f"{prefix}-anonymous"
    for n in range(tracks):
        client.track(user, "Product Viewed", PROPERTIES, message_id=f"{prefix}-track-{n}")
    client.identify(user, {"plan": "pro"}, message_id=f"{prefix}-identify")
    client.page(None, None, "Cart", PROPERTIES, anonymous_id=anonymous, message_id=f"{prefix}-page")
    client.screen(user, None, "Home", PROPERTIES, message_id=f"{prefix}-screen")
    client.group(user, "g1", {"name": "Co"}, message_id=f"{prefix}-group")
    client.alias(anonymous, user, message_id=f"{prefix}-alias")
    client.flush()
    client.join()


def run_segment(env: dict[str, str], prefix: str) -> Expected:
    """segment-analytics-python, once with gzip and once without."""
    from segment.analytics.client import Client

    errors: list[object] = []

    def note_error(error: object, batch: object) -> None:
        errors.append((error, batch))

    for name, gzip in (("plain", False), ("gzip", True)):
        client = Client(env["ARGO_WRITE_KEY"], host=env["ARGO_COLLECT_URL"], gzip=gzip, on_error=note_error)
        send_each_call(client, f"{prefix}-{name}", 150)
    assert errors == []
    return {**expect_each_call(f"{prefix}-plain", 150), **expect_each_call(f"{prefix}-gzip", 150)}


def run_rudder(env: dict[str, str], prefix: str) -> Expected:
    """rudder-sdk-python: Basic and gzip."""
    client_module: Any = importlib.import_module("rudderstack.analytics.client")
    errors: list[object] = []

    def note_error(error: object, batch: object) -> None:
        errors.append((error, batch))

    client = client_module.Client(env["ARGO_WRITE_KEY"], host=env["ARGO_COLLECT_URL"], on_error=note_error)
    send_each_call(client, prefix, 150)
    assert errors == []
    return expect_each_call(prefix, 150)


def run_cloudevents(env: dict[str, str], prefix: str) -> Expected:
    """cloudevents for Python: binary, structured, and a batch of its JSON."""
    from cloudevents.conversion import to_binary, to_json, to_structured
    from cloudevents.http import CloudEvent

    def make(name: str) -> CloudEvent:
        attributes = {"type": "product.viewed", "source": "/shop", "subject": f"{prefix}-user"}
        return CloudEvent({**attributes, "id": f"{prefix}-{name}", "datacontenttype": "application/json"}, PROPERTIES)

    batch = b"[" + b",".join(to_json(make(f"batch-{n}")) for n in (1, 2)) + b"]"
    messages = [
        to_binary(make("binary")),
        to_structured(make("structured")),
        ({"content-type": "application/cloudevents-batch+json"}, batch),
    ]
    for headers, body in messages:
        answer = httpx.post(
            f"{env['ARGO_COLLECT_URL']}/v1/events",
            content=body,
            headers={**headers, "X-Write-Key": env["ARGO_WRITE_KEY"]},
            trust_env=False,
        )
        assert answer.status_code == 202, answer.text
    return expect_cloudevents(prefix, ["binary", "structured", "batch-1", "batch-2"])


PYTHON_SDKS: dict[str, Callable[[dict[str, str], str], Expected]] = {
    "segment": run_segment,
    "rudder": run_rudder,
    "cloudevents": run_cloudevents,
}
NODE_SDKS: dict[str, Callable[[str], Expected]] = {
    "segment": lambda prefix: expect_each_call(prefix, 50),
    "cloudevents": lambda prefix: expect_cloudevents(prefix, ["binary", "structured", "batch-1", "batch-2"]),
}


def assert_in_bigquery(prefix: str, expected: Expected) -> None:
    """Every event once in the table's view, with the values that were sent."""
    client = bigquery.Client()
    found = wait_for_events(client, prefix, len(expected), seconds=15)
    assert (len(found), set(found)) == (len(expected), set(expected))
    sql = f"SELECT {COLUMNS} FROM argo.interactions WHERE STARTS_WITH(event_id, @prefix)"
    parameter = bigquery.ScalarQueryParameter("prefix", "STRING", prefix)
    config = bigquery.QueryJobConfig(query_parameters=[parameter])
    for row in client.query(sql, job_config=config).result():
        wanted = expected[row["event_id"]]
        kept: dict[str, Any] = {name: read_json(row[name]) for name in ("properties", "traits")}
        plain = {name: row[name] for name in wanted if name not in kept}
        assert plain == {name: value for name, value in wanted.items() if name not in kept}
        for name in kept.keys() & wanted.keys():
            assert kept[name].items() >= wanted[name].items()


def read_json(value: Any) -> Any:
    """A JSON column's value, whether the client has decoded it or not."""
    return json.loads(value) if isinstance(value, str) else value


@pytest.mark.parametrize("name", available.find_python_sdks())
def test_a_python_sdks_events_are_in_bigquery_as_they_were_sent(env: dict[str, str], name: str) -> None:
    prefix = f"py-{name}-{uuid.uuid4().hex[:12]}"
    assert_in_bigquery(prefix, PYTHON_SDKS[name](env, prefix))


@pytest.fixture(scope="module")
def node_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The npm SDKs, installed once."""
    directory = tmp_path_factory.mktemp("node")
    available.install_node_sdks(directory)
    return directory


if not available.find_why_no_node():  # without node or a registry there is nothing to run; pytest's header says so

    @pytest.mark.parametrize("name", NODE_SDKS)
    def test_a_node_sdks_events_are_in_bigquery_as_they_were_sent(
        env: dict[str, str], node_directory: Path, name: str
    ) -> None:
        prefix = f"js-{name}-{uuid.uuid4().hex[:12]}"
        command = ["node", f"{name}.cjs", env["ARGO_COLLECT_URL"], env["ARGO_WRITE_KEY"], prefix]
        done = subprocess.run(command, cwd=node_directory, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        assert_in_bigquery(prefix, NODE_SDKS[name](prefix))
