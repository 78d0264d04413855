"""Clients that know nothing of ARGO work with local.env sourced."""

import subprocess
import sys
import time
import uuid
from pathlib import Path

import httpx
import pytest
from google.cloud import bigquery, firestore, pubsub_v1, storage
from neo4j import GraphDatabase
from redis import Redis
from segment.analytics.client import Client

EXPECTED = {
    "PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST", "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST",
    "GOOGLE_CLOUD_PROJECT", "NEO4J_URI", "NEO4J_USERNAME", "NEO4J_PASSWORD", "NEO4J_DATABASE", "REDIS_URL",
    "ARGO_DATASET", "ARGO_COLLECT_URL", "ARGO_RECOMMEND_URL", "ARGO_LLM_URL", "ARGO_MAILBOX_URL", "ARGO_WRITE_KEY",
}  # fmt: skip


def wait_for_events(client: bigquery.Client, prefix: str, count: int, seconds: float) -> list[str]:
    """The ids in the de-duplicated view that start with `prefix`, once there are `count` of them or time is up."""
    deadline = time.monotonic() + seconds
    sql = "SELECT event_id FROM argo.interactions WHERE STARTS_WITH(event_id, @prefix)"
    config = bigquery.QueryJobConfig(query_parameters=[bigquery.ScalarQueryParameter("prefix", "STRING", prefix)])
    while True:
        found = [row["event_id"] for row in client.query(sql, job_config=config).result()]
        if len(found) >= count or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def test_local_env_has_every_promised_variable(env: dict[str, str]) -> None:
    assert set(env) >= EXPECTED
    assert env["ARGO_DATASET"] == "argo"


def test_local_env_is_plain_export_lines(cloud_directory: Path, env: dict[str, str]) -> None:
    lines = (cloud_directory / "local.env").read_text().splitlines()
    assert all(line.startswith(("export ", "#")) for line in lines if line)
    shell = f". '{cloud_directory}/local.env' && echo $ARGO_COLLECT_URL"
    assert subprocess.check_output(["sh", "-c", shell], text=True).strip() == env["ARGO_COLLECT_URL"]


def test_a_segment_sdks_events_are_in_bigquery_within_5_seconds(env: dict[str, str]) -> None:
    prefix = f"sdk-{uuid.uuid4()}"
    errors: list[object] = []

    def note_error(error: object, _: object) -> None:
        errors.append(error)

    sdk = Client(env["ARGO_WRITE_KEY"], host=env["ARGO_COLLECT_URL"], on_error=note_error, gzip=True)
    for number in range(120):
        sdk.track("u-sdk", "Product Viewed", {"product_id": "p1", "n": number}, message_id=f"{prefix}-{number}")
    sdk.identify("u-sdk", {"email": "sdk@example.com"}, message_id=f"{prefix}-identify")
    sdk.shutdown()
    found = wait_for_events(bigquery.Client(), prefix, 121, seconds=5)
    assert errors == [], "the SDK counts only 200 as success"
    assert (len(found), len(set(found))) == (121, 121)


def test_bigquery_reads_the_wide_table(env: dict[str, str]) -> None:
    del env
    client = bigquery.Client()
    assert {field.name for field in client.get_table("argo.user_interactions").schema} >= {"event_id", "products"}
    assert {table.table_id for table in client.list_tables("argo")} >= {
        "user_interactions",
        "interactions",
        "kpi_churn",
    }


def test_pubsub_lists_the_topics(env: dict[str, str]) -> None:
    topics = pubsub_v1.PublisherClient().list_topics(request={"project": f"projects/{env['GOOGLE_CLOUD_PROJECT']}"})
    assert {topic.name.rpartition("/")[2] for topic in topics} >= {"user-interactions", "agent-tasks", "dead-letters"}


def test_the_neo4j_driver_runs_cypher(env: dict[str, str]) -> None:
    auth = (env["NEO4J_USERNAME"], env["NEO4J_PASSWORD"])
    with GraphDatabase.driver(env["NEO4J_URI"], auth=auth) as driver:
        records, _, _ = driver.execute_query("RETURN 1 AS one", database_=env["NEO4J_DATABASE"])
    assert records[0]["one"] == 1


def test_redis_firestore_and_storage_answer(env: dict[str, str]) -> None:
    redis: Redis = Redis.from_url(env["REDIS_URL"])
    assert redis.ping()
    redis.close()
    document = firestore.Client().collection("system-tests").document(str(uuid.uuid4()))
    document.set({"한글": 1})
    assert document.get().to_dict() == {"한글": 1}
    document.delete()
    buckets = {bucket.name for bucket in storage.Client().list_buckets()}
    assert buckets >= {f"{env['GOOGLE_CLOUD_PROJECT']}-landing", f"{env['GOOGLE_CLOUD_PROJECT']}-archive"}


def test_a_file_in_the_landing_bucket_becomes_rows(env: dict[str, str]) -> None:
    prefix = f"file-{uuid.uuid4()}"
    lines = [f'{{"type":"page","userId":"u-file","messageId":"{prefix}-{n}"}}' for n in range(50)]
    lines.insert(7, "{broken")
    bucket = storage.Client().bucket(f"{env['GOOGLE_CLOUD_PROJECT']}-landing")
    bucket.blob(f"events/{prefix}.ndjson").upload_from_string("\n".join(lines))
    client = bigquery.Client()
    assert len(wait_for_events(client, prefix, 50, seconds=15)) == 50
    sql = f"SELECT origin, failure FROM argo.invalid_events WHERE ENDS_WITH(origin, '{prefix}.ndjson#8')"
    deadline = time.monotonic() + 10
    while not (rows := list(client.query(sql).result())) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [row["failure"] for row in rows] == ["UNREADABLE_FILE"]


def test_a_cloudevent_is_accepted(env: dict[str, str]) -> None:
    event_id = f"ce-{uuid.uuid4()}"
    headers = {
        "ce-specversion": "1.0", "ce-id": event_id, "ce-source": "/shop", "ce-type": "cart_viewed",
        "Content-Type": "application/json", "X-Write-Key": env["ARGO_WRITE_KEY"],
    }  # fmt: skip
    answer = httpx.post(
        f"{env['ARGO_COLLECT_URL']}/v1/events", headers=headers, json={"userId": "u-ce"}, trust_env=False
    )
    assert answer.status_code == 202
    assert wait_for_events(bigquery.Client(), event_id, 1, seconds=5) == [event_id]


def test_without_a_write_key_nothing_is_taken(env: dict[str, str]) -> None:
    answer = httpx.post(f"{env['ARGO_COLLECT_URL']}/v1/batch", json={"batch": []}, trust_env=False)
    assert answer.status_code == 401


def test_recommend_answers_and_names_what_is_missing(env: dict[str, str]) -> None:
    url = f"{env['ARGO_RECOMMEND_URL']}/v1/recommend"
    assert httpx.get(url, trust_env=False).status_code == 401
    command = [sys.executable, "-m", "emulators", "token", "nobody"]
    token = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    headers = {"Authorization": f"Bearer {token}"}
    event_id = f"popular-{uuid.uuid4()}"
    event = {"type": "track", "event": "Order Completed", "userId": "u-popular", "messageId": event_id}
    body = {"batch": [{**event, "properties": {"product_id": "p1"}}], "writeKey": env["ARGO_WRITE_KEY"]}
    assert httpx.post(f"{env['ARGO_COLLECT_URL']}/v1/batch", json=body, trust_env=False).status_code == 200
    assert wait_for_events(bigquery.Client(), event_id, 1, seconds=10)
    answer = httpx.get(url, headers=headers, trust_env=False, timeout=30)
    assert (answer.status_code, answer.json()["user_id"]) == (200, "nobody")
    assert answer.json()["choice"]["reason"], "a stranger gets what is popular, and is told why"


@pytest.mark.parametrize("service", ["llm"])
def test_the_gateway_refuses_without_a_key(env: dict[str, str], service: str) -> None:
    answer = httpx.post(f"{env[f'ARGO_{service.upper()}_URL']}/v1/generate", json={}, trust_env=False)
    assert answer.status_code == 401


def test_status_says_that_all_is_ready(cloud_directory: Path) -> None:
    command = [sys.executable, "-m", "emulators", "status", "--dir", str(cloud_directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert all(name in done.stdout for name in ("pubsub", "bigquery", "graph", "collect"))
