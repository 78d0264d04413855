"""Forgetting a person on the laptop cloud: afterwards no store has them, and everybody else is as they were."""

from __future__ import annotations

import gzip
import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import neo4j
import pytest
import redis
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, firestore, pubsub_v1, storage

from emulators.cloud import LaptopCloud
from emulators.environment import PROJECT
from schemas import people
from schemas.render import table_resource
from schemas.tables import TABLES
from tests.emulator.cloud import cloud

__all__ = ["cloud"]
HELD = f"projects/{PROJECT}/subscriptions/dead-letters-replay"
NOW = datetime.now(UTC).replace(microsecond=0)
Snapshot = dict[str, list[str]]


class Shop:
    """One person's traces in every store, by an id that occurs nowhere else."""

    def __init__(self, cloud: LaptopCloud, name: str) -> None:
        self.cloud, self.user = cloud, f"{name}-{uuid.uuid4().hex}"
        self.device, self.moment, self.task, self.step = (f"{part}-{self.user}" for part in ("d", "m", "t", "s"))
        self.work = [str(uuid.uuid4()) for _ in range(3)]

    def leave_traces(self) -> None:
        self._post_events()
        self._insert_rows()
        self._write_documents()
        self._write_keys()
        self._write_objects()
        path = f"projects/{PROJECT}/topics/dead-letters"
        letter = json.dumps({"user_id": self.user, "event_type": "page"}).encode()
        pubsub_v1.PublisherClient().publish(path, letter, CloudPubSubDeadLetterSourceSubscription="x").result(20)

    def _post_events(self) -> None:
        event = {"timestamp": NOW.isoformat(), "context": {"sessionId": "1"}}
        product = {"product_id": "forget-1", "name": "Bunting"}
        batch = [
            {**event, "type": "page", "anonymousId": self.device, "messageId": f"1-{self.user}"},
            {
                **event,
                "type": "identify",
                "anonymousId": self.device,
                "userId": self.user,
                "messageId": f"2-{self.user}",
            },
            {
                **event,
                "type": "track",
                "event": "Product Viewed",
                "userId": self.user,
                "properties": product,
                "messageId": f"3-{self.user}",
            },
            {**event, "type": "dance", "userId": self.user, "messageId": f"4-{self.user}"},
        ]
        assert post(self.cloud, batch)["accepted"] == 3

    def make_row(self) -> dict[str, Any]:
        at = NOW.isoformat()
        names = {"event_id": f"5-{self.user}", "event_type": "page", "source": "laptop", "user_id": self.user}
        return {**names, "event_timestamp": at, "received_at": at}

    def _insert_rows(self) -> None:
        moment, task, step = self.work
        at, ids = NOW.isoformat(), {"user_id": self.user}
        message = {"taskId": step, "parentTaskId": task, "correlationId": moment, "payload": {"text": "Dear Ada"}}
        delivery = {"subscription_name": "x", "message_id": step, "publish_time": at}
        rows: dict[str, dict[str, Any]] = {
            "moments": {**ids, "moment_id": moment, "kind": "k", "detected_at": at, "data": "{}"},
            "actions": {
                **ids,
                "action_id": step,
                "task_id": task,
                "moment_id": moment,
                "kind": "email",
                "created_at": at,
                "approved_by": "x",
                "content": "{}",
            },
            "agent_bus": {**delivery, "data": json.dumps(message)},
        }
        by_flow = {"user_interactions", "invalid_events", "dead_letters"}
        rows |= {
            table.name: make_any_row(table.name) | {table.columns[0]: self.user}
            for table in people.tables()
            if table.name not in {*rows, *by_flow}
        }
        client = warehouse()
        for table, row in rows.items():
            assert client.insert_rows_json(f"{PROJECT}.argo.{table}", [row]) == []

    def _write_documents(self) -> None:
        store = documents()
        store.collection("contacts").document(self.user).set({"actionId": self.work[2], "at": NOW})
        task = store.collection("tasks").document(self.work[1])
        task.set({"record": "{}", "open": False})
        task.collection("facts").document("1").set({"text": "Dear Ada"})
        store.collection("outbox").document(self.work[2]).set({"actionId": self.work[2], "userId": self.user})

    def _write_keys(self) -> None:
        moment, task, step = self.work
        client = blackboard(self.cloud)
        client.set(f"user:{self.user}:context_summary", "{}", ex=900)
        client.set(f"task:{task}:moment", json.dumps({"momentId": moment, "userId": self.user}), ex=900)
        client.set(f"task:{step}:results:CreativeContentAgent", json.dumps({"text": "Dear Ada"}), ex=900)
        client.xadd(f"stream-{uuid.uuid4()}", {"message": json.dumps({"userId": self.user})})

    def _write_objects(self) -> None:
        row = json.dumps({"event_id": "9", "user_id": self.user}) + "\n"
        bucket("archive").blob(f"user-interactions/{self.user[:1]}.ndjson.gz").upload_from_string(
            gzip.compress(row.encode())
        )
        bucket("archive").blob("user-interactions/both.txt").upload_from_string("nobody")


def make_any_row(table: str) -> dict[str, Any]:
    """A row with a value in every column that must have one, so that new tables are in this test by themselves."""
    values = {"INTEGER": 1, "FLOAT": 1.0, "NUMERIC": "1", "BOOLEAN": True, "TIMESTAMP": NOW.isoformat(), "JSON": "{}"}
    fields = table_resource(TABLES[table])["schema"]["fields"]
    return {field["name"]: values.get(field["type"], "x") for field in fields if field["mode"] == "REQUIRED"}


def post(cloud: LaptopCloud, batch: list[dict[str, Any]]) -> dict[str, Any]:
    body = {"batch": batch, "writeKey": cloud.env["ARGO_WRITE_KEY"]}
    answer = httpx.post(f"{cloud.env['ARGO_COLLECT_URL']}/v1/batch", json=body, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(cloud: LaptopCloud, method: str, path: str, body: object = None) -> dict[str, Any]:
    answer = httpx.request(method, f"{cloud.env['ARGO_REGULATIONS_URL']}{path}", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


def warehouse() -> bigquery.Client:
    return bigquery.Client(project=PROJECT, credentials=AnonymousCredentials())


def documents() -> firestore.Client:
    return firestore.Client(project=PROJECT, credentials=AnonymousCredentials())


def bucket(name: str) -> storage.Bucket:
    return storage.Client(project=PROJECT, credentials=AnonymousCredentials()).bucket(f"{PROJECT}-{name}")


def blackboard(cloud: LaptopCloud) -> redis.Redis:
    return redis.Redis.from_url(cloud.env["REDIS_URL"], decode_responses=True)


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.2)


def look(cloud: LaptopCloud) -> Snapshot:
    """Everything that every store has, as texts: rows, nodes, documents, keys, lines, held messages."""
    found: Snapshot = {}
    for table in people.tables():
        rows = warehouse().list_rows(f"{PROJECT}.argo.{table.name}")
        found[table.name] = [str(sorted(row.items())) for row in rows]
    account = (cloud.env["NEO4J_USERNAME"], cloud.env["NEO4J_PASSWORD"])
    with neo4j.GraphDatabase.driver(cloud.env["NEO4J_URI"], auth=account) as driver:
        for label in ("User", "Session", "Event"):
            sql = f"MATCH (n:{label}) RETURN properties(n) AS all"
            records = driver.execute_query(sql, database_=cloud.env["NEO4J_DATABASE"]).records  # pyright: ignore[reportArgumentType] -- no literal
            found[label] = [str(sorted(record["all"].items())) for record in records]
    for name in ("users", "contacts", "outbox", "tasks"):
        found[name] = [f"{one.id} {one.to_dict()}" for one in documents().collection(name).stream()]
    found["redis"] = [str(key) for key in blackboard(cloud).scan_iter() if not str(key).startswith("suppressions")]  # pyright: ignore[reportGeneralTypeIssues] -- sync and async as one
    for name in ("landing", "archive"):
        found[name] = [line for blob in bucket(name).list_blobs() for line in read_lines(blob)]
    found["held"] = list_held()
    # Sets: a landing object that was written anew is ingested again, and at least once is what every store expects.
    return {name: sorted(set(texts)) for name, texts in found.items()}


def read_lines(blob: storage.Blob) -> list[str]:
    data = blob.download_as_bytes(raw_download=True)
    data = gzip.decompress(data) if str(blob.name).endswith(".gz") else data
    return [line for line in data.decode().splitlines() if line]


def list_held() -> list[str]:
    subscriber = pubsub_v1.SubscriberClient()
    hour_ago = datetime.now(UTC) - timedelta(hours=1)
    subscriber.seek(request={"subscription": HELD, "time": hour_ago})
    found: dict[str, str] = {}
    for _ in range(3):
        answer = subscriber.pull(subscription=HELD, max_messages=500, timeout=5)
        found |= {one.message.message_id: one.message.data.decode(errors="replace") for one in answer.received_messages}
        if answer.received_messages:
            ids = [one.ack_id for one in answer.received_messages]
            subscriber.modify_ack_deadline(subscription=HELD, ack_ids=ids, ack_deadline_seconds=0)
    return list(found.values())


@pytest.fixture(autouse=True)
def _clients_find_the_cloud(cloud: LaptopCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PUBSUB", "BIGQUERY", "FIRESTORE", "STORAGE"):
        monkeypatch.setenv(f"{name}_EMULATOR_HOST", cloud.env[f"{name}_EMULATOR_HOST"])


def is_everywhere(cloud: LaptopCloud, shop: Shop) -> bool:
    """Whether the traces have reached what they reach by themselves."""
    found = look(cloud)
    tables = {"user_interactions": 4, "invalid_events": 1, "dead_letters": 1, "users": 1, "held": 1, "archive": 5}
    return all(sum(shop.user in text for text in found[name]) >= count for name, count in tables.items())


def test_nothing_of_a_forgotten_person_is_left_and_nobody_else_is_touched(cloud: LaptopCloud) -> None:
    """Prevents: a store that is left out, somebody else's data lost with it, and a report that names who was forgotten."""
    gone, stays = Shop(cloud, "gone"), Shop(cloud, "stays")
    for shop in (gone, stays):
        shop.leave_traces()
    spill = "".join(json.dumps({"interaction": shop.make_row()}) + "\n" for shop in (gone, stays))
    bucket("landing").blob(f"spill/{gone.user[-32:]}.ndjson").upload_from_string(spill)
    for shop in (gone, stays):
        wait_for(lambda shop=shop: is_everywhere(cloud, shop), 90, f"{shop.user} is in every store")
    assert cloud.run_job("sync_graph").returncode == 0
    before = look(cloud)
    traces = [gone.user, gone.device, *gone.work]
    for name in set(before) - {"Session", "Event"}:
        assert any(trace in text for text in before[name] for trace in traces), (
            f"the test has nothing to find in {name}"
        )

    asked = {"regulationType": "SUPPRESS_AND_DELETE", "subjectType": "USER_ID", "subjectIds": [gone.user]}
    regulation = ask(cloud, "POST", "/regulations", asked)["regulateId"]
    run_forget(cloud)
    after = look(cloud)
    for name, texts in before.items():
        rest = [text for text in texts if not any(trace in text for trace in traces)]
        if name in ("Session", "Event"):
            assert len(texts) - len(after[name]) == {"Session": 3, "Event": 4}[name]
            assert set(after[name]) < set(texts)
        elif name == "redis":
            assert len(rest) - len(after[name]) == 1, "the stream, whose name says nothing"
            assert set(after[name]) < set(rest)
        else:
            assert after[name] == rest, name

    report = ask(cloud, "GET", f"/regulations/{regulation}")["regulation"]
    assert report["overallStatus"] == "RUNNING", "events may still be on their way"
    counts = {name: entry["deleted"] for name, entry in report["report"].items() if entry["deleted"]}
    assert (counts["warehouse.user_interactions"], counts["graph.Event"]) == (4, 4)
    assert (counts["redis.keys"], counts["firestore.users"]) == (5, 1)  # what they just touched among them
    assert (counts["archive.lines"], counts["landing.lines"]) == (5, 1)

    documents().collection("regulations").document(regulation).update({"createdAt": NOW - timedelta(hours=1)})
    run_forget(cloud)
    assert look(cloud) == after, "a second run changes nothing"
    report = ask(cloud, "GET", f"/regulations/{regulation}")["regulation"]
    assert report["overallStatus"] == "FINISHED"
    assert {name: entry["deleted"] for name, entry in report["report"].items() if entry["deleted"]} == counts
    kept = str(documents().collection("regulations").document(regulation).get().to_dict())
    assert not any(trace in kept for trace in traces)


def run_forget(cloud: LaptopCloud) -> None:
    done = cloud.run_job("forget")
    assert done.returncode == 0, done.stderr


def test_collect_drops_who_is_suppressed_until_they_are_not(cloud: LaptopCloud) -> None:
    """Prevents: a person who said no and is followed on; and one who came back and is not."""
    user = f"no-{uuid.uuid4().hex}"
    asked = {"regulationType": "SUPPRESS_ONLY", "subjectType": "USER_ID", "subjectIds": [user]}
    regulation = ask(cloud, "POST", "/regulations", asked)["regulateId"]
    assert ask(cloud, "GET", f"/regulations/{regulation}")["regulation"]["overallStatus"] == "FINISHED"
    event = {"type": "page", "userId": user, "messageId": f"s-{user}"}

    def is_dropped() -> bool:
        return [one["failure"] for one in post(cloud, [event])["rejected"]] == ["SUPPRESSED"]

    wait_for(is_dropped, 40, "collect has read the list")
    ask(cloud, "POST", "/regulations", {**asked, "regulationType": "UNSUPPRESS"})
    wait_for(lambda: not is_dropped(), 40, "collect has read the list again")
