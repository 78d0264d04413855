"""Files on the laptop cloud: each kind lands where it should, once, whatever is killed or notified again."""

from __future__ import annotations

import base64
import contextlib
import gzip
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from google.cloud import bigquery, firestore, storage

from emulators.cloud import LaptopCloud
from emulators.demo import sample
from schemas.topology import bucket_id
from tests.emulator.cloud import cloud

__all__ = ["cloud"]

VARIABLES = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "BIGQUERY_EMULATOR_HOST",
    "STORAGE_EMULATOR_HOST",
    "FIRESTORE_EMULATOR_HOST",
)
EVENTS = 40_000  # a second of reading, so that a kill can come in between
WAIT_SECONDS = 110.0


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Official clients of the cloud under test."""

    project: str
    bucket: storage.Bucket
    warehouse: bigquery.Client
    documents: firestore.Client

    def query(self, sql: str, **parameters: str) -> list[dict[str, Any]]:
        given = [bigquery.ScalarQueryParameter(name, "STRING", value) for name, value in parameters.items()]
        config = bigquery.QueryJobConfig(query_parameters=given, use_query_cache=False)
        return [dict(row.items()) for row in self.warehouse.query(sql, job_config=config).result()]

    def find_file(self, name: str) -> dict[str, Any]:
        found = self.documents.collection("files").where(filter=firestore.FieldFilter("name", "==", name)).get()
        return next((document.to_dict() or {} for document in found), {})


@pytest.fixture(scope="module")
def stores(cloud: LaptopCloud) -> Generator[Stores]:
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.setenv(name, cloud.env[name])
        project = cloud.env["GOOGLE_CLOUD_PROJECT"]
        bucket = storage.Client(project=project).bucket(bucket_id(project, "landing"))
        with bigquery.Client(project=project) as warehouse:
            yield Stores(
                project=project, bucket=bucket, warehouse=warehouse, documents=firestore.Client(project=project)
            )


def wait_for(is_true: Callable[[], object], what: str, every_seconds: float = 0.5) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not is_true():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        time.sleep(every_seconds)


def make_events(marker: str, count: int) -> bytes:
    """Events without ids of their own, of nobody known, so that no profile is pushed for each."""
    line = '{"type":"track","event":"%s","anonymousId":"a%d","properties":{"n":%d}}'
    return "\n".join(line % (marker, number % 50, number) for number in range(count)).encode()


def test_a_kill_in_the_middle_of_a_file_loses_nothing_and_doubles_nothing(cloud: LaptopCloud, stores: Stores) -> None:
    marker = f"kill_{uuid.uuid4().hex[:8]}"
    name = f"events/{marker}.ndjson"
    stores.bucket.blob(name).upload_from_string(make_events(marker, EVENTS))
    wait_for(lambda: stores.find_file(name), "nobody took the file", every_seconds=0.02)
    former = cloud.kill("ingest")
    was_done = stores.find_file(name)["isDone"]
    cloud.wait_until_back("ingest", former)
    assert not was_done, "the kill came too late to show anything"
    wait_for(lambda: stores.find_file(name)["isDone"], "the file was not read to its end after the kill")
    wait_for(lambda: count_events(stores, marker, "user_interactions")["numbers"] >= EVENTS, "events are lost")
    assert count_events(stores, marker) == {"events": EVENTS, "numbers": EVENTS}, "an event is twice in the view"
    assert stores.find_file(name)["checkpoint"]["accepted"] == EVENTS


def count_events(stores: Stores, marker: str, table: str = "interactions") -> dict[str, Any]:
    sql = (
        f"SELECT COUNT(*) AS events, COUNT(DISTINCT JSON_VALUE(properties, '$.n')) AS numbers FROM argo.{table}"
        " WHERE event_type = @marker"
    )
    return stores.query(sql, marker=marker)[0]


def test_one_object_notified_at_once_by_many_is_published_once(cloud: LaptopCloud, stores: Stores) -> None:
    """In the table itself, before any view de-duplicates."""
    marker = f"thrice_{uuid.uuid4().hex[:8]}"
    name = f"events/{marker}.ndjson.gz"
    blob = stores.bucket.blob(name)
    blob.upload_from_string(gzip.compress(make_events(marker, 4000)))
    attributes = {
        "eventType": "OBJECT_FINALIZE",
        "bucketId": stores.bucket.name,
        "objectId": name,
        "objectGeneration": str(blob.generation),
    }

    def notify(message_id: str) -> int:
        message = {"messageId": message_id, "data": base64.b64encode(b"{}").decode(), "attributes": attributes}
        body = {"message": message, "subscription": "projects/p/subscriptions/landing-objects-ingest"}
        return httpx.post(cloud.endpoint("ingest"), json=body, timeout=60).status_code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(notify, ["n1", "n1", "n2", "n3"]))
    assert set(answers) <= {204, 503}
    wait_for(lambda: stores.find_file(name).get("isDone"), "the file was not read to its end")
    assert notify("n4") == 204
    wait_for(
        lambda: count_events(stores, marker, "user_interactions")["numbers"] >= 4000, "events of the file are lost"
    )
    assert count_events(stores, marker, "user_interactions") == {"events": 4000, "numbers": 4000}


HOUR = datetime.now(UTC).replace(minute=0, second=0, microsecond=0).isoformat()
MAPPING = "description: x\nkind: events\nfields: {event_type: what, event_timestamp: when, user_id: who}\n"
FILES = {
    "products/KEY.csv": f"product_id,name,price,updated_at\nKEY,Lantern,2.50,{HOUR}\nxKEY,Bad,much,\n",
    "prices/KEY.json": '[{"product_id": "KEY", "price": "1.99"}]',
    "signals/KEY.ndjson": '{"kind": "trend", "product_id": "KEY", "value": 2}',
    "weather/KEY.csv": f"latitude,longitude,observed_at,condition,source\n37.5,127.0,{HOUR},rain,KEY\n",
    "tickets/KEY.ndjson": f'{{"ticket_id": 1, "status": "solved", "at": "{HOUR}", "user_id": "u-KEY"}}',
    "feeds/shop-KEY/mapping.yaml": MAPPING,
    "feeds/shop-KEY/a.csv": f'who,what,when\nm-KEY,"Order\nPlaced",{HOUR}\nm-KEY,Bad,never\n',
}
LOOKS = {
    "product": "SELECT name, CAST(price AS FLOAT64) FROM argo.product_catalog WHERE product_id = @key",
    "signal": "SELECT value FROM argo.market_signals WHERE product_id = @key",
    "weather": "SELECT condition FROM argo.weather_observations WHERE source = @key",
    "people": "SELECT user_id, event_type FROM argo.interactions WHERE ENDS_WITH(user_id, @key) ORDER BY 1",
    "refused": "SELECT SPLIT(origin, '/')[OFFSET(4)] FROM argo.invalid_events WHERE STRPOS(origin, @key) > 0 ORDER BY 1",
    "orders": "SELECT COUNT(*), COUNT(DISTINCT order_id) FROM argo.interactions WHERE source = 'online-retail'",
}


def test_each_kind_lands_where_it_should_and_bad_rows_have_their_line(stores: Stores) -> None:
    key = uuid.uuid4().hex[:8]
    files = {name.replace("KEY", key): content.replace("KEY", key).encode() for name, content in FILES.items()}
    files[f"feeds/online_retail/{key}.csv.gz"] = sample.PATH.read_bytes()
    for name, data in files.items():
        stores.bucket.blob(name).upload_from_string(data)
    read = [name for name in files if not name.endswith(".yaml")]
    wait_for(lambda: all(stores.find_file(name).get("isDone") for name in read), "a file was not read to its end")
    wanted = {
        "product": [("Lantern", 1.99)],
        "signal": [(2.0,)],
        "weather": [("rain",)],
        "people": [(f"m-{key}", "order_placed"), (f"u-{key}", "support_ticket_solved")],
        "refused": [(f"{key}.csv#3",), (f"shop-{key}",)],
        "orders": [(1885, 1885)],
    }
    seen: dict[str, object] = {}

    def look() -> bool:
        seen.update({what: [tuple(row.values()) for row in stores.query(sql, key=key)] for what, sql in LOOKS.items()})
        return seen == wanted

    with contextlib.suppress(TimeoutError):
        wait_for(look, "the rows are not there")
    assert seen == wanted
